//! Each call on the ledger's files fails once, or the recorder is killed as it makes it: strace sees to that.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::recorder::{Ended, Recorder};
use crate::support::{EVENT, GRAVEN, Ledger, Receipt, assert_stand, code, text};

/// Events of a run, each a commit of its own.
const EVENTS: u32 = 6;

/// Points of each call where a fault is tried, unless all are (`GRAVEN_FAULT_POINTS=all`).
const POINTS: usize = 12;

const FAILS: &[&str] = &["error=EIO", "signal=KILL"];
const FAILS_OR_IS_FULL: &[&str] = &["error=EIO", "error=ENOSPC", "signal=KILL"];

#[test]
fn a_sync_of_data_that_fails() {
    every_point("fdatasync", FAILS);
}

#[test]
fn a_sync_that_fails() {
    every_point("fsync", FAILS);
}

#[test]
fn an_opening_that_fails() {
    every_point("openat", FAILS_OR_IS_FULL);
}

#[test]
fn a_write_that_fails() {
    every_point("write", FAILS_OR_IS_FULL);
}

#[test]
fn a_renaming_that_fails() {
    every_point("rename,renameat,renameat2", FAILS);
}

/// A ledger with a sealed block and a tail that a kill left, so that a run begins with a recovery.
struct Fixture {
    ledger: Ledger,
    acknowledged: Vec<Receipt>,
}

impl Fixture {
    fn new() -> Self {
        let ledger = Ledger::new();
        assert!(ledger.feed(&["append"], EVENT.as_bytes()).status.success());
        let complaints = ledger.home().join("complaints");
        let mut recorder =
            Recorder::start(&mut ledger.command(&["append", "--receipts"]), &complaints);
        recorder.submit(3);
        let acknowledged = recorder.kill();
        assert_eq!(acknowledged.len(), 3);
        Self { ledger, acknowledged }
    }

    /// A copy of ledger and keys, in which one fault is tried.
    fn copy(&self, name: &str) -> PathBuf {
        let home = self.ledger.home().canonicalize().expect("it is there").join(name);
        fs::create_dir(&home).expect("ours");
        let copied = Command::new("cp")
            .args(["-a", "ledger", "ledger.key", "ledger.key.state", "ledger.vkey"])
            .arg(&home)
            .current_dir(self.ledger.home())
            .status();
        assert!(copied.expect("cp runs").success());
        home
    }
}

/// Runs `append` in `home` under strace, whose own words go to `home/trace`.
fn traced(home: &Path, strace: &[String]) -> Ended {
    let mut command = Command::new("strace");
    // Without `--seccomp-bpf`, with which strace 6.1 forgets to kill.
    command.args(["-f", "-qq", "-y", "-o"]).arg(home.join("trace")).args(strace);
    command.args([GRAVEN, "append", "--receipts", "--ledger"]).arg(home.join("ledger"));
    let mut recorder = Recorder::start(&mut command, &home.join("complaints"));
    recorder.submit(EVENTS);
    recorder.end()
}

/// What a run without faults does: the paths below `home` that it opens, and how often one of its threads makes
/// each of `calls` on them at most. strace counts the calls of each thread by itself.
fn control(home: &Path, calls: &str) -> (BTreeSet<PathBuf>, usize) {
    let ended = traced(home, &[format!("--trace=openat,{calls}")]);
    assert_eq!(code(ended.status), 0, "{}", ended.stderr);
    assert_eq!(ended.receipts.len(), EVENTS as usize);
    let trace = fs::read_to_string(home.join("trace")).expect("a trace");
    let below = format!("{}/", home.display());
    let mut paths = BTreeSet::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for line in trace.lines() {
        let (thread, call) = line.split_once(' ').expect("each line begins with its thread");
        let (name, arguments) = call.trim_start().split_once('(').unwrap_or_default();
        if name == "openat" {
            let path = arguments.split('"').nth(1).expect("a path");
            paths.extend(path.starts_with(&below).then(|| PathBuf::from(path)));
        }
        if calls.split(',').any(|it| it == name) && arguments.contains(&below) {
            *counts.entry(thread).or_default() += 1;
        }
    }
    (paths, counts.into_values().max().unwrap_or(0))
}

/// Tries each fault at each point, or at some of them.
fn every_point(calls: &str, faults: &[&str]) {
    let fixture = Fixture::new();
    let home = fixture.copy("control");
    let (paths, points) = control(&home, calls);
    assert!(points > 0, "a run makes no {calls}");
    let all = std::env::var_os("GRAVEN_FAULT_POINTS").is_some_and(|it| it == "all");
    let step = if all { 1 } else { points.div_ceil(POINTS) };
    let (mut tried, mut struck) = (0, 0);
    for point in (1..=points).step_by(step) {
        for fault in faults {
            let home_of_point = fixture.copy(&format!("{point}.{fault}"));
            let mut strace = vec![format!("--trace={calls}")];
            for path in &paths {
                let path = path.strip_prefix(&home).expect("below it");
                strace.push(format!("--trace-path={}", home_of_point.join(path).display()));
            }
            strace.push(format!("--inject={calls}:{fault}:when={point}"));
            tried += 1;
            struck += usize::from(one(&fixture, &home_of_point, &strace, fault));
            fs::remove_dir_all(home_of_point).expect("ours");
        }
    }
    // A machine that is slow or fast seals more or less often than in the control run.
    assert!(struck * 4 >= tried * 3, "{struck} of {tried} faults of {calls} have struck");
}

/// Whether a run goes on without what could not be opened: tiles are made again from the records, and how much
/// the directory holds is asked for its budget alone.
fn is_no_loss(line: &str) -> bool {
    line.contains("/ledger/tile/") || line.contains("O_DIRECTORY")
}

/// One run with one fault, and the run after it; says whether the fault has struck.
fn one(fixture: &Fixture, home: &Path, strace: &[String], fault: &str) -> bool {
    let ended = traced(home, strace);
    let trace = fs::read_to_string(home.join("trace")).expect("a trace");
    let injected: Vec<&str> = trace.lines().filter(|line| line.contains("(INJECTED)")).collect();
    let killed = ended.status.signal() == Some(9);
    let context = format!("{:?}: {injected:#?}\n{}", strace.last(), ended.stderr);
    if killed {
        assert_eq!(fault, "signal=KILL", "{context}");
    } else if injected.is_empty()
        || injected.iter().all(|line| is_no_loss(line)) && ended.status.success()
    {
        assert_eq!(code(ended.status), 0, "{context}");
        assert_eq!(ended.receipts.len(), EVENTS as usize, "{context}");
    } else {
        assert_eq!(code(ended.status), 3, "{context}");
        assert!(ended.stderr.contains(&*home.to_string_lossy()), "no file is named: {context}");
        assert!(ended.stderr.contains("then run it again"), "no remedy: {context}");
        assert_eq!(ended.stderr.trim().lines().count(), 1, "one sentence: {context}");
    }
    let run = |args: &[&str], input: &str| {
        let output = fixture.ledger.feed(
            &args
                .iter()
                .copied()
                .chain([&*home.join("ledger").to_string_lossy()])
                .collect::<Vec<_>>(),
            input.as_bytes(),
        );
        assert_eq!(code(output.status), 0, "afterwards, {args:?}: {}\n{context}", text(&output));
    };
    run(&["append", "--ledger"], EVENT);
    run(&["verify", "--key", "ledger.vkey"], "");
    assert_stand(&home.join("ledger"), &fixture.acknowledged);
    assert_stand(&home.join("ledger"), &ended.receipts);
    killed || !injected.is_empty()
}
