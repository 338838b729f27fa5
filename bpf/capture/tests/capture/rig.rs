//! Runs one scenario of [`crate::subject`] under capture.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use graven_abi::{ArgValue, Call, CallSet, CpuCounters, DecodedCall, KernelRecord, decode, parse};
use graven_capture::{AgentCgroup, Capture, Cgroup2, Ring, Watch, command, spawn};
use tempfile::TempDir;

const POLL: Duration = Duration::from_millis(5);
const RING_BYTES: u32 = 4 << 20;

/// A call, raw and in words.
pub(crate) type Seen<'a> = (Call<'a>, DecodedCall<'a>);

/// What a scenario left behind.
pub(crate) struct Trace {
    pub(crate) records: Vec<Vec<u8>>,
    pub(crate) counters: Vec<CpuCounters>,
    pub(crate) recursion_misses: u64,
    pub(crate) directory: TempDir,
    pub(crate) output: String,
    pub(crate) cgroup_id: u64,
    pub(crate) cgroup_name: String,
    pub(crate) cgroup_path: Option<PathBuf>,
}

pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        // Not by a macro: the test harness would keep it to itself.
        writeln!(std::io::stderr(), "SKIPPED: needs root").expect("stderr is open");
    }
    root
}

pub(crate) fn cgroup(purpose: &str) -> AgentCgroup {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name =
        format!("test-{}-{purpose}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    Cgroup2::find().expect("cgroup2 is mounted").create(&name).expect("root may make a cgroup")
}

/// This test's own executable, about to run a scenario of [`crate::subject`].
pub(crate) fn subject(scenario: &str, directory: &Path) -> Command {
    let exe = std::env::current_exe().expect("this test's path");
    let mut subject = command(exe.as_os_str()).expect("it is executable");
    subject.args(["--ignored", "--nocapture", "--exact", "subject::run"]);
    subject.env("GRAVEN_SCENARIO", scenario).env("GRAVEN_DIRECTORY", directory);
    subject.stdout(Stdio::null());
    subject
}

/// Everything that is in the ring. The records live as long as the test.
pub(crate) fn drained(ring: &mut Ring) -> Vec<KernelRecord<'static>> {
    let mut records = Vec::new();
    ring.consume(|bytes| records.push(parse(bytes.to_vec().leak()).expect("well-formed")));
    records
}

/// The names of the calls, in order.
pub(crate) fn calls(records: &[KernelRecord<'_>]) -> Vec<String> {
    let name = |record: &KernelRecord<'_>| match record {
        KernelRecord::Call(call) => Some(decode(call).name.into_owned()),
        _ => None,
    };
    records.iter().filter_map(name).collect()
}

/// Runs a shell script in the cgroup, to its end.
pub(crate) fn shell(script: &str, cgroup: &AgentCgroup) {
    let mut shell = command("sh".as_ref()).expect("sh is in PATH");
    let mut child = spawn(shell.args(["-c", script]), cgroup).expect("sh starts");
    assert!(child.wait().expect("wait").success(), "{script}");
}

/// A watch for all calls, which feeds `ring`.
pub(crate) fn all(ring: &Ring) -> Watch {
    Watch { ring: ring.slot(), recorded: CallSet::ALL, environment: false }
}

/// The program, loaded, with watch 0 on one cgroup.
pub(crate) fn watching(cgroup: &AgentCgroup, ring_bytes: u32) -> (Capture, Ring) {
    let mut capture = Capture::load().expect("the program loads");
    let ring = capture.open_ring(ring_bytes).expect("a ring");
    capture.set_watch(0, &all(&ring)).expect("set");
    capture.watch_cgroup(cgroup.path(), 0).expect("watched");
    (capture, ring)
}

impl Trace {
    /// Runs the scenario; `None` without root.
    pub(crate) fn of(scenario: &str) -> Option<Self> {
        if !is_root() {
            return None;
        }
        let cgroup = cgroup(scenario);
        let mut paths = Cgroup2::find().expect("cgroup2 is mounted").paths();
        let directory = TempDir::new().expect("a temporary directory");
        let (_capture, mut ring) = watching(&cgroup, RING_BYTES);
        let mut subject = subject(scenario, directory.path());
        let mut child = spawn(&mut subject, &cgroup).expect("it starts");

        let mut records = Vec::new();
        let mut keep = |bytes: &[u8]| records.push(bytes.to_vec());
        let status = loop {
            ring.poll(POLL, &mut keep).expect("the ring can be read");
            if let Some(status) = child.try_wait().expect("wait") {
                break status;
            }
        };
        // A scenario may leave the cgroup, so an empty one is not all: the child has ended too.
        while !cgroup.wait_empty(POLL).expect("cgroup.events") {
            ring.poll(POLL, &mut keep).expect("the ring can be read");
        }
        ring.consume(&mut keep);
        assert!(status.success(), "scenario {scenario}: {status}");
        let output = std::fs::read_to_string(directory.path().join("output")).unwrap_or_default();
        let trace = Self {
            counters: ring.counters().expect("counters"),
            recursion_misses: ring.recursion_misses().expect("misses"),
            output,
            cgroup_id: cgroup.id(),
            cgroup_name: cgroup.path().file_name().expect("a name").to_string_lossy().into_owned(),
            cgroup_path: paths.path_of(cgroup.id()).map(Path::to_owned),
            records,
            directory,
        };
        cgroup.remove().expect("it is empty");
        Some(trace)
    }

    pub(crate) fn parsed(&self) -> impl Iterator<Item = KernelRecord<'_>> {
        self.records.iter().map(|bytes| parse(bytes).expect("well-formed"))
    }

    pub(crate) fn calls(&self) -> Vec<Seen<'_>> {
        self.parsed()
            .filter_map(|record| match record {
                KernelRecord::Call(call) => Some((call, decode(&call))),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn named(&self, name: &str) -> Vec<Seen<'_>> {
        self.calls().into_iter().filter(|(_, call)| call.name == name).collect()
    }

    /// The only call of this name.
    pub(crate) fn one(&self, name: &str) -> Seen<'_> {
        let mut found = self.named(name);
        assert_eq!(found.len(), 1, "calls of {name}");
        found.remove(0)
    }

    /// The first call of this name whose argument `arg` is the text `value`.
    pub(crate) fn with_path(&self, name: &str, arg: &str, value: &[u8]) -> Seen<'_> {
        let found = self.named(name);
        let index = found.iter().position(|(_, call)| {
            call.args.iter().any(|(known, text)| {
                *known == arg && matches!(text, ArgValue::Text(text) if &**text == value)
            })
        });
        let Some(index) = index else {
            let all: Vec<_> = found.iter().map(|(_, call)| shown(&text(call, arg))).collect();
            panic!("no {name} with {arg} `{}`, but {all:#?}", shown(value));
        };
        found.into_iter().nth(index).expect("it was found")
    }
}

pub(crate) fn args<'a>(call: &DecodedCall<'a>, name: &str) -> ArgValue<'a> {
    let found = call.args.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("no argument {name} in {call:?}")).1.clone()
}

pub(crate) fn text(call: &DecodedCall<'_>, name: &str) -> Vec<u8> {
    match args(call, name) {
        ArgValue::Text(bytes) => bytes.into_owned(),
        other => panic!("{name} is {other:?} in {call:?}"),
    }
}

pub(crate) fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
