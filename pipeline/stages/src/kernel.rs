//! The kernel's records on their way in: losses noticed, and each record given its process.
//!
//! This part is sequential, since a process's program depends on the records before. What follows,
//! putting calls into words, is not.

use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::sync::Arc;

use graven_abi::layout::item_kind;
use graven_abi::{CpuCounters, Exec, KernelRecord, encode};
use graven_record::Gap;

use crate::agents::{Agents, AgentsView, Watched};
use crate::batch::{AboutCgroup, Attributed, BATCH_BYTES_MAX, KernelBatch, OwnBody, OwnRecord};
use crate::cgroups::{CgroupLookup, Cgroups};
use crate::clock;
use crate::figures::KernelFigures;
use crate::gaps::GapTracker;
use crate::left_out::{self, LeftOut, Span};

/// Turns what one ring hands over, whatever the number of its watches, into batches.
#[derive(Debug)]
pub struct KernelSource {
    agents: AgentsView,
    cgroups: Cgroups,
    processes: HashMap<u32, Program>,
    gaps: GapTracker,
    left_out: LeftOut,
    pending: KernelBatch,
}

/// The program of a process, and the one it called exec from, until that call's own record comes.
#[derive(Debug, Clone)]
struct Program {
    executable: Arc<[u8]>,
    before_exec: Option<Arc<[u8]>>,
    /// The watch of its newest record.
    watch: u32,
}

impl Program {
    fn of(executable: Vec<u8>, watch: u32) -> Self {
        Self { executable: executable.into(), before_exec: None, watch }
    }
}

impl KernelSource {
    /// A source for the records of the watches that `agents` knows. Its first span begins now.
    #[must_use]
    pub fn new(agents: Agents, lookup: CgroupLookup) -> Self {
        Self {
            agents: AgentsView::new(agents),
            cgroups: Cgroups::new(lookup),
            processes: HashMap::new(),
            gaps: GapTracker::default(),
            left_out: LeftOut::since(clock::now()),
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
        self.renew();
        let (watch, about) = self.about_cgroup(&record);
        let watched = self.agents.of(watch);
        let executable = self.program(&record);
        let cgroup = self.cgroups.name(header.cgroup_id);
        match &record {
            KernelRecord::Exec(exec) if exec.items.find(0, item_kind::ENV).is_some() => {
                self.pending.bytes.extend(with_environment_of(&watched, exec));
            }
            _ => self.pending.bytes.extend_from_slice(bytes),
        }
        self.pending.attributed_bytes += executable.len() + cgroup.bytes_len();
        let end = self.pending.bytes.len();
        self.pending.records.push(Attributed { end, executable, cgroup, watched, about });
    }

    /// Takes over what has changed of the watches; of one that is over nothing comes any more.
    fn renew(&mut self) {
        if self.agents.renew() {
            let Self { processes, agents, .. } = self;
            processes.retain(|_, program| agents.knows(program.watch));
        }
    }

    /// The watch that the record's task is under, and what it tells of a cgroup.
    ///
    /// Anyone may make or remove a cgroup below a watched one: the header's watch is the cgroup's then.
    fn about_cgroup(&mut self, record: &KernelRecord<'_>) -> (u32, Option<Box<AboutCgroup>>) {
        let watch = record.header().watch;
        match record {
            KernelRecord::Cgroup(cgroup) => {
                let id = cgroup.body.cgroup_id;
                let name = self.cgroups.learn(id, cgroup.body.parent_id, cgroup.name());
                let maker = self.processes.get(&cgroup.header.pid);
                let about = AboutCgroup { cgroup: name, by_outsider: maker.is_none() };
                (maker.map_or(watch, |program| program.watch), Some(Box::new(about)))
            }
            KernelRecord::Moved(moved) => {
                let cgroup = self.cgroups.name(moved.body.from_cgroup);
                (watch, Some(Box::new(AboutCgroup { cgroup, by_outsider: false })))
            }
            _ => (watch, None),
        }
    }

    /// Follows forks, execs and exits; returns the program that the record's process ran.
    fn program(&mut self, record: &KernelRecord<'_>) -> Arc<[u8]> {
        let (pid, watch) = (record.header().pid, record.header().watch);
        // Whoever makes a cgroup need not be watched, and is not followed for it.
        if let KernelRecord::Cgroup(_) = record {
            let known = self.processes.get(&pid).map(|known| Arc::clone(&known.executable));
            return known.unwrap_or_else(|| executable_from_proc(pid).into());
        }
        let found = || Program::of(executable_from_proc(pid), watch);
        let known = self.processes.entry(pid).or_insert_with(found);
        known.watch = watch;
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
                    *known = Program::of(executable, watch);
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

    /// The batch that is full, if one is.
    pub fn take_full(&mut self) -> Option<KernelBatch> {
        if self.pending.bytes_len() >= BATCH_BYTES_MAX { self.take() } else { None }
    }

    /// What has come in since the last batch, if anything has.
    pub fn take(&mut self) -> Option<KernelBatch> {
        (!self.pending.is_empty()).then(|| std::mem::take(&mut self.pending))
    }

    /// Losses that are certain by now. Call it every tenth of a second or so, when the ring has just been
    /// emptied: what was numbered before the tick before last and has not come is lost.
    pub fn tick(&mut self) -> Vec<OwnRecord> {
        self.cgroups.tick();
        // A ring that has fallen silent is to forget too.
        self.renew();
        records_of(self.gaps.tick())
    }

    /// Losses that the kernel's counters tell of. Call it every second or so. What they number beyond the
    /// newest record of a CPU is lost unless it comes before the second tick from now.
    pub fn count(&mut self, counters: &[CpuCounters], recursion_misses: u64) -> Vec<OwnRecord> {
        records_of(self.gaps.count(counters, recursion_misses))
    }

    /// What the kernel's filters have left out since the ring was opened, by call number of `x86_64`. Call it
    /// every second or so, behind the batches that have come in: with the first call in a new minute of UTC
    /// comes the record of all that was left out since the one before, by the kernel and by path.
    pub fn left_out(&mut self, totals: &[u64]) -> Vec<OwnRecord> {
        self.left_out.count(totals, clock::now()).map(span_record).into_iter().collect()
    }

    /// All losses, and what was left out since the last span ended; once the ring is empty and nothing
    /// watched runs any more, behind the last batch.
    pub fn finish(&mut self) -> Vec<OwnRecord> {
        let mut records = records_of(self.gaps.finish());
        records.push(span_record(self.left_out.end(clock::now())));
        records
    }

    /// What the kernel has counted, for heartbeats.
    #[must_use]
    pub fn losses(&self) -> KernelFigures {
        KernelFigures { left_out: self.left_out.total(), ..self.gaps.figures() }
    }
}

fn records_of(gaps: Vec<Gap>) -> Vec<OwnRecord> {
    gaps.into_iter().map(|gap| gap_record(gap, "kernel")).collect()
}

fn span_record(span: Span) -> OwnRecord {
    let (kind, id) = left_out::SUBJECT;
    OwnRecord {
        action: left_out::ACTION,
        subject: (kind, id.to_owned()),
        body: OwnBody::LeftOut(span),
        mono_ns: clock::mono_ns(),
    }
}

/// The record of an exec with the variables alone that its watch asks for: the values of others are
/// nobody's business, and go no further than this.
fn with_environment_of(watched: &Watched, exec: &Exec<'_>) -> Vec<u8> {
    let is_wanted = |string: &&[u8]| {
        watched.environment.iter().any(|name| {
            string.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="))
        })
    };
    let strings = exec.environment().into_iter().flat_map(|strings| strings.iter());
    let mut wanted = Vec::new();
    for string in strings.filter(is_wanted) {
        wanted.extend_from_slice(string);
        wanted.push(0);
    }
    let items = exec.items.iter().filter_map(|item| match item.header.kind {
        item_kind::ENV if watched.environment.is_empty() => None,
        item_kind::ENV => Some((item.header, &*wanted)),
        _ => Some((item.header, item.bytes)),
    });
    encode::exec(exec.header, exec.body, &items.collect::<Vec<_>>())
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
    use graven_abi::Header;
    use graven_abi::layout::{
        CgroupBody, ExecBody, ExitBody, ForkBody, ItemHeader, TaskBody, reason,
    };

    use super::*;
    use crate::agents::Agent;

    /// The batch itself, not only the ledger, is without the values of variables that nobody asked for.
    #[test]
    fn a_batch_holds_the_chosen_variables_alone() {
        let block = b"PATH=/bin\0SECRET=hunter2\0PATHS=hunter2\0PATH";
        let env = ItemHeader { arg: 0, kind: item_kind::ENV, err: 0, len: 0, flags: 0 };
        let body = ExecBody { old_tid: 1, items_bytes: 0 };
        let batch_of = |environment: &[&str]| {
            let agents = Agents::default();
            let agent = Agent { id: "a".into(), trace_id: "t".into() };
            let environment = environment.iter().map(|name| (*name).to_owned()).collect();
            agents.set(0, Watched { environment, ..Watched::new(agent, "graven run") });
            let mut source = KernelSource::new(agents, Box::new(|_| None));
            source.push(&encode::exec(graven_abi::Header::default(), body, &[(env, block)]));
            source.take().unwrap().bytes
        };
        let holds = |bytes: &[u8], text: &[u8]| bytes.windows(text.len()).any(|it| it == text);
        assert!(holds(&batch_of(&["SECRET"]), b"hunter2"), "the control");
        let bytes = batch_of(&["PATH"]);
        assert!(holds(&bytes, b"PATH=/bin\0") && !holds(&bytes, b"hunter2"));
        let bytes = batch_of(&[]);
        let Ok(KernelRecord::Exec(exec)) = graven_abi::parse(&bytes) else { panic!("an exec") };
        assert_eq!(exec.environment(), None);
    }

    #[test]
    fn a_task_that_comes_under_watch_is_followed_and_who_makes_a_cgroup_is_not() {
        let mut source = KernelSource::new(Agents::default(), Box::new(|_| None));
        let of = |pid, seq| Header { pid, tid: pid, seq, ..Header::default() };
        let made = CgroupBody { cgroup_id: 2, parent_id: 1, made: 1, items_bytes: 0 };
        source.push(&encode::cgroup(of(4_000_000, 0), made, &[]));
        assert_eq!(of_watch(&source, 0), [] as [u32; 0], "it may be anybody");

        let body = TaskBody { reason: reason::JOINED, items_bytes: 0, start_ns: 1 };
        let exe = ItemHeader { arg: 0, kind: item_kind::EXE, err: 0, len: 0, flags: 0 };
        let task = encode::task(of(4_000_001, 1), body, &[(exe, b"sh\0bin\0".as_slice())]);
        source.push(&task);
        assert_eq!(of_watch(&source, 0), [4_000_001]);
        let batch = source.take().expect("two records");
        let programs: Vec<_> = batch.records.iter().map(|it| it.executable.to_vec()).collect();
        assert_eq!(programs, [b"".to_vec(), b"/bin/sh".to_vec()]);
    }

    #[test]
    fn the_living_are_told_apart_by_their_watch() {
        let agents = Agents::default();
        for watch in [0, 5] {
            let agent = Agent { id: "a".into(), trace_id: "t".into() };
            agents.set(watch, Watched::new(agent, "graven run"));
        }
        let mut source = KernelSource::new(agents.clone(), Box::new(|_| None));
        let of = |pid: u32, watch: u32, seq: u64| Header {
            pid,
            tid: pid,
            watch,
            seq,
            ..Header::default()
        };
        let exec = |header| encode::exec(header, ExecBody { old_tid: 1, items_bytes: 0 }, &[]);
        source.push(&exec(of(4_000_001, 0, 0)));
        source.push(&exec(of(4_000_002, 5, 1)));
        let child = ForkBody { child_pid: 4_000_003, child_tid: 4_000_003 };
        source.push(&encode::fork(of(4_000_002, 5, 2), child));
        source.push(&encode::exit(of(4_000_002, 5, 3), ExitBody { status: 0, group_dead: 1 }));
        // Made by a process that nobody watches: it is not to be taken for one that is.
        let body = CgroupBody { cgroup_id: 7, parent_id: 1, made: 1, items_bytes: 0 };
        source.push(&encode::cgroup(of(4_000_004, 5, 4), body, &[]));
        assert_eq!(of_watch(&source, 0), [4_000_001]);
        assert_eq!(of_watch(&source, 5), [4_000_003]);
        assert_eq!(of_watch(&source, 6), [] as [u32; 0]);
        // Moved to the other watch.
        source.push(&exec(of(4_000_003, 0, 5)));
        assert_eq!(of_watch(&source, 5), [] as [u32; 0]);
        // With its watch, each is forgotten.
        agents.remove(0);
        source.push(&exec(of(4_000_005, 5, 6)));
        assert_eq!(of_watch(&source, 0), [] as [u32; 0]);
    }

    /// The processes that are known under a watch.
    fn of_watch(source: &KernelSource, watch: u32) -> Vec<u32> {
        let of_watch = source.processes.iter().filter(|(_, program)| program.watch == watch);
        of_watch.map(|(pid, _)| *pid).collect()
    }
}
