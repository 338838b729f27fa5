//! The kernel's records on their way in: losses noticed, and each record given its process.
//!
//! This part is sequential, since a process's program depends on the records before. What follows,
//! putting calls into words, is not.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::sync::Arc;

use graven_abi::{CpuCounters, KernelRecord};
use graven_record::{Gap, Value};

use crate::batch::{Agent, Attributed, BATCH_BYTES_MAX, KernelBatch, OwnBody, OwnRecord};
use crate::clock;
use crate::gaps::GapTracker;

/// Finds a cgroup's path by its id.
pub type CgroupLookup = Box<dyn FnMut(u64) -> Option<Vec<u8>> + Send>;

/// Turns what the ring hands over into batches.
pub struct KernelSource {
    agent: Arc<Agent>,
    cgroups: HashMap<u64, Arc<[u8]>>,
    lookup: CgroupLookup,
    processes: HashMap<u32, Program>,
    gaps: GapTracker,
    pending: KernelBatch,
}

impl fmt::Debug for KernelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KernelSource").field("agent", &self.agent).finish_non_exhaustive()
    }
}

/// The program of a process, and the one it called exec from, until that call's own record comes.
#[derive(Debug, Clone)]
struct Program {
    executable: Arc<[u8]>,
    before_exec: Option<Arc<[u8]>>,
}

impl Program {
    fn of(executable: Vec<u8>) -> Self {
        Self { executable: executable.into(), before_exec: None }
    }
}

impl KernelSource {
    /// A source for the records of `agent`.
    #[must_use]
    pub fn new(agent: Agent, lookup: CgroupLookup) -> Self {
        Self {
            agent: Arc::new(agent),
            cgroups: HashMap::new(),
            lookup,
            processes: HashMap::new(),
            gaps: GapTracker::default(),
            pending: KernelBatch::default(),
        }
    }

    /// Takes one record in. Bytes that are no record become a gap.
    pub fn push(&mut self, bytes: &[u8]) {
        let Ok(record) = graven_abi::parse(bytes) else {
            self.gaps.see_malformed();
            return;
        };
        let header = *record.header();
        self.gaps.see(header.cpu, header.seq);
        let executable = self.program(&record);
        let cgroup = self.cgroup(header.cgroup_id);
        self.pending.bytes.extend_from_slice(bytes);
        self.pending.attributed_bytes += executable.len() + cgroup.len();
        let end = self.pending.bytes.len();
        self.pending.records.push(Attributed { end, executable, cgroup });
    }

    /// Follows forks, execs and exits; returns the program that the record's process ran.
    fn program(&mut self, record: &KernelRecord<'_>) -> Arc<[u8]> {
        let pid = record.header().pid;
        if let KernelRecord::Cgroup(_) = record {
            // Whoever made or removed it need not be watched, so nobody is followed for that.
            let known = self.processes.get(&pid).map(|known| Arc::clone(&known.executable));
            return known.unwrap_or_else(|| executable_from_proc(pid).into());
        }
        let known =
            self.processes.entry(pid).or_insert_with(|| Program::of(executable_from_proc(pid)));
        match record {
            KernelRecord::Call(call)
                if known.before_exec.is_some()
                    && graven_abi::name(call.arch, call.body.nr).starts_with("exec") =>
            {
                known.before_exec.take().unwrap_or_else(|| Arc::clone(&known.executable))
            }
            KernelRecord::Call(_) | KernelRecord::Moved(_) | KernelRecord::Cgroup(_) => {
                Arc::clone(&known.executable)
            }
            KernelRecord::Exec(exec) => {
                let before = std::mem::replace(&mut known.executable, exec.executable().into());
                known.before_exec = Some(before);
                Arc::clone(&known.executable)
            }
            KernelRecord::Fork(fork) => {
                let program = known.clone();
                let executable = Arc::clone(&program.executable);
                if !fork.is_thread() {
                    self.processes.insert(fork.body.child_pid, program);
                }
                executable
            }
            // What was known of the process, if anything was, is older.
            KernelRecord::Task(task) => {
                let executable = task.executable();
                if !executable.is_empty() {
                    *known = Program::of(executable);
                }
                Arc::clone(&known.executable)
            }
            KernelRecord::Exit(exit) => {
                let executable = Arc::clone(&known.executable);
                if exit.body.group_dead != 0 {
                    self.processes.remove(&pid);
                }
                executable
            }
        }
    }

    fn cgroup(&mut self, id: u64) -> Arc<[u8]> {
        let lookup = &mut self.lookup;
        let path = self.cgroups.entry(id).or_insert_with(|| {
            // Removed before it could be looked up: its id still tells it apart.
            lookup(id).unwrap_or_else(|| format!("unresolved:{id}").into_bytes()).into()
        });
        Arc::clone(path)
    }

    /// The batch that is full, if one is.
    pub fn take_full(&mut self) -> Option<KernelBatch> {
        if self.pending.bytes_len() >= BATCH_BYTES_MAX { self.take() } else { None }
    }

    /// What has come in since the last batch, if anything has.
    pub fn take(&mut self) -> Option<KernelBatch> {
        if self.pending.is_empty() {
            return None;
        }
        let agent = Some(Arc::clone(&self.agent));
        Some(KernelBatch { agent, ..std::mem::take(&mut self.pending) })
    }

    /// Losses that are certain by now. Call it every tenth of a second or so.
    pub fn tick(&mut self) -> Vec<OwnRecord> {
        let gaps = self.gaps.tick();
        self.records_of(gaps)
    }

    /// Losses that the kernel's counters tell of. Call it every second or so.
    pub fn count(&mut self, counters: &[CpuCounters], recursion_misses: u64) -> Vec<OwnRecord> {
        let gaps = self.gaps.count(counters, recursion_misses);
        self.records_of(gaps)
    }

    /// All losses, once the ring is empty and nothing watched runs any more.
    pub fn finish(&mut self) -> Vec<OwnRecord> {
        let gaps = self.gaps.finish();
        self.records_of(gaps)
    }

    /// The followed processes that have not ended: with the cgroup empty, those that left it. `None`
    /// where something was lost, and so perhaps the end of one.
    #[must_use]
    pub fn alive(&self) -> Option<Vec<u32>> {
        self.gaps.is_whole().then(|| self.processes.keys().copied().collect())
    }

    /// What the kernel has counted, for heartbeats.
    #[must_use]
    pub fn losses(&self) -> Value {
        self.gaps.to_value()
    }

    fn records_of(&self, gaps: Vec<Gap>) -> Vec<OwnRecord> {
        let record = |gap| gap_record(gap, &self.agent.id);
        gaps.into_iter().map(record).collect()
    }
}

/// A gap as a record.
pub(crate) fn gap_record(gap: Gap, subject: &str) -> OwnRecord {
    OwnRecord {
        action: "gap",
        subject: ("capture", subject.to_owned()),
        body: OwnBody::Gap(gap),
        mono_ns: clock::mono_ns(),
    }
}

/// The program of a process that came under watch while it ran; empty where it is gone already.
fn executable_from_proc(pid: u32) -> Vec<u8> {
    fs::read_link(format!("/proc/{pid}/exe"))
        .map(|path| path.into_os_string().into_vec())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use graven_abi::layout::{CgroupBody, ItemHeader, TaskBody, item_kind, reason};
    use graven_abi::{Header, encode};

    use super::*;

    #[test]
    fn a_task_that_comes_under_watch_is_followed_and_who_makes_a_cgroup_is_not() {
        let agent = Agent { id: "agent".into(), trace_id: String::new() };
        let mut source = KernelSource::new(agent, Box::new(|_| None));
        let of = |pid, seq| Header { pid, tid: pid, seq, ..Header::default() };
        let made = CgroupBody { cgroup_id: 2, parent_id: 1, made: 1, items_bytes: 0 };
        source.push(&encode::cgroup(of(4_000_000, 0), made, &[]));
        assert_eq!(source.alive(), Some(vec![]), "it may be anybody");

        let body = TaskBody { reason: reason::JOINED, items_bytes: 0, start_ns: 1 };
        let exe = ItemHeader { arg: 0, kind: item_kind::EXE, err: 0, len: 0, flags: 0 };
        let task = encode::task(of(4_000_001, 1), body, &[(exe, b"sh\0bin\0".as_slice())]);
        source.push(&task);
        assert_eq!(source.alive(), Some(vec![4_000_001]));
        let batch = source.take().expect("two records");
        let programs: Vec<_> = batch.records.iter().map(|it| it.executable.to_vec()).collect();
        assert_eq!(programs, [b"".to_vec(), b"/bin/sh".to_vec()]);
    }
}
