//! The recorder itself: numbers, losses, the guard, and what it says when it cannot work.

use std::fs::{self, FileTimes};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use graven_abi::parse;
use graven_capture::{
    COMMAND_PREFIX, Capture, CaptureError, Cgroup2, Guard, RING_BYTES_MIN, run_guard, spawn,
};

use crate::rig::{Trace, cgroup, is_root, watching};

#[test]
fn every_record_has_a_number_and_none_is_missing() {
    let Some(trace) = Trace::of("files") else {
        return;
    };
    for (cpu, counters) in trace.counters.iter().enumerate() {
        let mut numbers: Vec<u64> = trace
            .parsed()
            .filter(|record| usize::try_from(record.header().cpu) == Ok(cpu))
            .map(|record| record.header().seq)
            .collect();
        numbers.sort_unstable();
        assert!(numbers.iter().copied().eq(0..counters.seq), "a hole on CPU {cpu}");
        assert_eq!((counters.emitted, counters.dropped), (counters.seq, 0));
        assert_eq!(counters.stash_failed, 0);
    }
    let skipped: u64 = trace.counters.iter().map(|counters| counters.skipped_mid_call).sum();
    assert_eq!(skipped, 0, "the write that moved the command belongs to the time before");
    assert_eq!(trace.recursion_misses, 0);
}

#[test]
fn what_is_lost_is_counted_exactly() {
    if !is_root() {
        return;
    }
    let cgroup = cgroup("loss");
    let (_capture, mut ring) = watching(&cgroup, RING_BYTES_MIN);
    let mut shell = graven_capture::command("sh".as_ref()).expect("sh is in PATH");
    let script = "i=0; while [ $i -lt 300 ]; do : > /dev/null; i=$((i+1)); done";
    let mut child = spawn(shell.args(["-c", script]), &cgroup).expect("sh starts");
    assert!(child.wait().expect("wait").success());
    let mut seen = vec![0; ring.counters().expect("counters").len()];
    let records = ring.consume(|bytes| {
        let record = parse(bytes).expect("well-formed");
        seen[usize::try_from(record.header().cpu).expect("a CPU")] += 1;
    });
    let counters = ring.counters().expect("counters");
    assert!(counters.iter().any(|cpu| cpu.dropped > 0), "control: the ring was too small");
    for (seen, counters) in seen.iter().zip(&counters) {
        assert_eq!((counters.emitted, counters.seq - counters.dropped), (*seen, *seen));
    }
    assert_eq!(records as u64, seen.iter().sum::<u64>());
    cgroup.remove().expect("it is empty");
}

#[test]
fn the_command_dies_with_its_recorder() {
    if !is_root() {
        return;
    }
    for disarm in [true, false] {
        let cgroup = cgroup("guard");
        let path = cgroup.path().to_owned();
        let exe = std::env::current_exe().expect("this test's path");
        let mut command = Command::new(exe);
        command
            .args(["--ignored", "--exact", "recorder::guard_process"])
            .env("GRAVEN_GUARD", &path);
        let guard = Guard::start(&mut command).expect("the guard starts");
        let mut sleep = graven_capture::command("sleep".as_ref()).expect("sleep is in PATH");
        let mut child = spawn(sleep.arg("60"), &cgroup).expect("sleep starts");
        assert!(cgroup.populated().expect("cgroup.events"));
        if disarm {
            guard.disarm().expect("the guard is there");
            assert!(child.try_wait().expect("wait").is_none(), "disarmed, yet the command died");
            cgroup.kill().expect("cgroup.kill");
        } else {
            drop(guard);
        }
        assert!(!child.wait().expect("wait").success());
        if disarm {
            while !cgroup.wait_empty(Duration::from_secs(1)).expect("cgroup.events") {}
            cgroup.remove().expect("it is empty");
        } else {
            // The guard, which nobody waits for here, removes it.
            while path.exists() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// Not a test: what the guard of the test above runs.
#[test]
#[ignore = "run by the_command_dies_with_its_recorder"]
fn guard_process() {
    if let Some(path) = std::env::var_os("GRAVEN_GUARD") {
        run_guard(Path::new(&path)).expect("the cgroup can be killed");
    }
}

/// Makes a cgroup look as if it had been made so long ago.
#[expect(clippy::disallowed_methods, reason = "the age of a directory")]
fn age(path: &Path, seconds: u64) {
    let made = SystemTime::now() - Duration::from_secs(seconds);
    let directory = fs::File::open(path).expect("it is there");
    directory.set_times(FileTimes::new().set_modified(made)).expect("root may");
}

#[test]
fn what_a_killed_recorder_left_behind_is_swept() {
    if !is_root() {
        return;
    }
    let cgroups = Cgroup2::find().expect("a mount");
    let name = |what: &str| format!("{COMMAND_PREFIX}test-{}-{what}", std::process::id());
    let held = cgroups.create(&name("held")).expect("made");
    let parent = held.path().parent().expect("graven").to_owned();
    let left = ["young", "old", "nested", "busy"].map(|what| parent.join(name(what)));
    let other = parent.join(format!("test-{}-of-another-kind", std::process::id()));
    let [young, old, nested, busy] = &left;
    for path in [young, old, &nested.join("deep"), busy, &other] {
        fs::create_dir_all(path).expect("made");
    }
    let mut sleep = Command::new("sleep").arg("60").spawn().expect("sleep starts");
    fs::write(busy.join("cgroup.procs"), sleep.id().to_string()).expect("moved");
    for path in [held.path(), old, nested, busy, &other] {
        age(path, 70);
    }
    age(young, 50);
    let next = cgroups.create(&name("next")).expect("made");
    for (path, stays) in [
        (held.path(), true),
        (young, true),
        (busy, true),
        (&other, true),
        (old, false),
        (nested, false),
    ] {
        assert_eq!(path.exists(), stays, "{}", path.display());
    }
    sleep.kill().expect("it runs");
    sleep.wait().expect("it ends");
    for path in [young, busy, &other] {
        fs::remove_dir(path).expect("empty");
    }
    for cgroup in [held, next] {
        cgroup.remove().expect("empty");
    }
}

#[test]
fn what_cannot_work_says_what_to_do() {
    assert!(parse(&[]).is_err());
    if is_root() {
        let mut capture = Capture::load().expect("the program loads");
        let error = capture.open_ring(12_345).expect_err("no power of two");
        assert!(matches!(error, CaptureError::RingBytes { .. }), "{error}");
        let cgroup = cgroup("twice");
        let name = cgroup.path().file_name().expect("a name").to_string_lossy().into_owned();
        let again = Cgroup2::find().expect("a mount").create(&name);
        assert!(matches!(again, Err(CaptureError::Cgroup { operation: "create", .. })));
        cgroup.remove().expect("it is empty");
    }
}
