//! What a watch records, leaves out, and ends with; and who comes under it by its program.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use graven_abi::{KernelRecord, Reason, decode};
use graven_capture::{CallSet, CaptureError, RING_BYTES_MIN, Watch, spawn};

use crate::cat::Cat;
use crate::rig::{all, calls, cgroup, drained, is_root, shell, subject, watching};

const RING_BYTES: u32 = 4 << 20;
const GETPPID: usize = 110;

#[test]
fn what_is_left_out_is_counted_exactly() {
    if !is_root() {
        return;
    }
    let cgroup = cgroup("filter");
    let (mut capture, mut ring) = watching(&cgroup, RING_BYTES);
    let mut others = Vec::new();
    for recorded in [CallSet::ALL, CallSet::ALL.without(&CallSet::of(["getppid"]).expect("a call"))]
    {
        capture.set_watch(0, &Watch { recorded, ..all(&ring) }).expect("set");
        let directory = tempfile::tempdir().expect("a directory");
        let mut subject = subject("counted", directory.path());
        let mut child = spawn(&mut subject, &cgroup).expect("it starts");
        assert!(child.wait().expect("wait").success());
        let names = calls(&drained(&mut ring));
        let (counted, rest): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|name| name == "getppid");
        let left_out = ring.left_out().expect("counted");
        let whole = recorded == CallSet::ALL;
        assert_eq!(counted.len(), if whole { 1000 } else { 0 });
        assert_eq!(left_out[GETPPID], if whole { 0 } else { 1000 });
        assert_eq!(left_out.iter().sum::<u64>(), left_out[GETPPID], "nothing else is left out");
        // How often a thread waits for another differs from run to run.
        others.push(rest.iter().filter(|name| *name == "execve" || *name == "mkdir").count());
    }
    assert_eq!(others, [2, 2], "the others are complete");
    assert!(ring.counters().expect("counters").iter().all(|cpu| cpu.dropped == 0));
    cgroup.remove().expect("empty");
}

#[test]
fn a_stalled_ring_costs_only_itself() {
    if !is_root() {
        return;
    }
    let (stalled, read) = (cgroup("stalled"), cgroup("read"));
    let (mut capture, mut small) = watching(&stalled, RING_BYTES_MIN);
    let mut large = capture.open_ring(RING_BYTES).expect("a ring");
    capture.set_watch(1, &all(&large)).expect("set");
    capture.watch_cgroup(read.path(), 1).expect("watched");
    let script = "i=0; while [ $i -lt 300 ]; do : > /dev/null; i=$((i+1)); done";
    shell(script, &stalled);
    shell(script, &read);
    for (ring, loses) in [(&mut small, true), (&mut large, false)] {
        let records = drained(ring);
        let counters = ring.counters().expect("counters");
        let dropped: u64 = counters.iter().map(|cpu| cpu.dropped).sum();
        assert_eq!(dropped > 0, loses);
        for (cpu, counters) in (0..).zip(&counters) {
            let of_cpu: Vec<_> =
                records.iter().filter(|record| record.header().cpu == cpu).collect();
            // Numbers that nobody received are the dropped ones, no more and no fewer.
            let missing = (0..counters.seq)
                .filter(|seq| !of_cpu.iter().any(|record| record.header().seq == *seq))
                .count();
            assert_eq!((missing as u64, of_cpu.len() as u64), (counters.dropped, counters.emitted));
        }
    }
    for cgroup in [stalled, read] {
        cgroup.remove().expect("empty");
    }
}

#[test]
fn a_dropped_watch_records_nothing_more() {
    if !is_root() {
        return;
    }
    let cgroup = cgroup("dropped");
    let (mut capture, mut ring) = watching(&cgroup, RING_BYTES);
    let mut cat = Cat::start_in(&cgroup);
    assert!(calls(&drained(&mut ring)).contains(&"write".to_owned()), "control");
    capture.drop_watch(0).expect("it was set");
    cat.echo();
    assert!(drained(&mut ring).is_empty());
    assert!(matches!(capture.drop_watch(0), Err(CaptureError::NoWatch { index: 0 })));
    assert!(matches!(capture.watch_cgroup(cgroup.path(), 0), Err(CaptureError::NoWatch { .. })));
    assert!(matches!(capture.set_watch(64, &all(&ring)), Err(CaptureError::NoWatch { index: 64 })));

    // The index is used again, for others: the task of before is not among them.
    capture.set_watch(0, &all(&ring)).expect("set");
    cat.echo();
    assert!(drained(&mut ring).is_empty());
    capture.watch_cgroup(cgroup.path(), 0).expect("watched");
    cat.echo();
    let records = drained(&mut ring);
    assert!(matches!(records.first(), Some(KernelRecord::Task(_))), "{records:?}");
    // A closed ring takes its watches with it.
    let slot = ring.slot();
    drop(ring);
    assert!(matches!(capture.drop_watch(0), Err(CaptureError::NoWatch { .. })));
    let mut ring = capture.open_ring(RING_BYTES).expect("a ring");
    assert_ne!(ring.slot(), slot, "the one that was free the longest");
    cat.echo();
    assert!(drained(&mut ring).is_empty());
    cat.end();
    cgroup.remove().expect("empty");
}

#[test]
fn rings_are_given_back() {
    if !is_root() {
        return;
    }
    let mut capture = graven_capture::Capture::load().expect("the program loads");
    let open = |capture: &mut graven_capture::Capture| capture.open_ring(RING_BYTES_MIN);
    let mut rings: Vec<_> = (0..32).map(|_| open(&mut capture).expect("a ring")).collect();
    assert!(matches!(open(&mut capture), Err(CaptureError::NoRing)));
    let slot = rings.remove(7).slot();
    assert_eq!(open(&mut capture).expect("a ring").slot(), slot);
}

#[test]
fn whoever_executes_a_watched_program_is_followed() {
    if !is_root() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let agent = directory.path().join("agent");
    fs::copy(fs::canonicalize("/bin/sh").expect("a shell"), &agent).expect("copied");
    let elsewhere = cgroup("elsewhere");
    let (mut capture, mut ring) = watching(&elsewhere, RING_BYTES);
    let outside = |script: &str| {
        let status = Command::new("sh").args(["-c", script]).status().expect("sh starts");
        assert!(status.success());
    };
    let script = format!("/bin/true; {} -c '/bin/true; :'; /bin/true", agent.display());
    outside(&script);
    assert!(drained(&mut ring).is_empty(), "control: not watched yet");

    capture.watch_executable(&agent, 0).expect("watched");
    outside(&script);
    let records = drained(&mut ring);
    let Some(KernelRecord::Task(task)) = records.first() else { panic!("{records:?}") };
    assert_eq!(task.reason, Reason::Executable);
    assert_eq!(task.executable(), agent.as_os_str().as_encoded_bytes());
    let executed: Vec<_> = records
        .iter()
        .filter_map(|record| match record {
            KernelRecord::Exec(exec) => Some((exec.header.pid, exec.header.ppid)),
            _ => None,
        })
        .collect();
    let pid = task.header.pid;
    // The agent, then its own child; not the two that the shell outside ran.
    assert_eq!(executed.len(), 2);
    assert_eq!((executed[0].0, executed[1].1), (pid, pid));
    assert!(records.iter().all(|it| it.header().pid == pid || it.header().ppid == pid));
    let skipped = ring.counters().expect("counters").iter().map(|cpu| cpu.skipped_mid_call).sum();
    assert_eq!(1_u64, skipped, "the execve itself");

    capture.unwatch_executable(&agent, 0).expect("taken off");
    outside(&script);
    assert!(drained(&mut ring).is_empty());
    elsewhere.remove().expect("empty");
}

#[test]
fn the_environment_is_on_record_only_if_asked_for() {
    if !is_root() {
        return;
    }
    let cgroup = cgroup("environment");
    let (mut capture, mut ring) = watching(&cgroup, RING_BYTES);
    for environment in [false, true] {
        capture.set_watch(0, &Watch { environment, ..all(&ring) }).expect("set");
        let long = "x".repeat(10_000);
        for value in ["short", &long] {
            let mut program = graven_capture::command("true".as_ref()).expect("in PATH");
            program.env_clear().env("FIRST", "1").env("SECOND", value);
            assert!(spawn(&mut program, &cgroup).expect("starts").wait().expect("wait").success());
            let records = drained(&mut ring);
            let exec = records.iter().find_map(|record| match record {
                KernelRecord::Exec(exec) => Some(exec),
                _ => None,
            });
            let read = exec.expect("an exec").environment();
            assert_eq!(read.is_some(), environment);
            let Some(read) = read else { continue };
            let strings: Vec<_> = read.iter().collect();
            let expected = format!("SECOND={value}").into_bytes();
            let cut = value.len() > 8192;
            assert_eq!((strings[0], read.is_truncated), (b"FIRST=1".as_slice(), cut));
            assert!(if cut { expected.starts_with(strings[1]) } else { expected == strings[1] });
            assert_eq!(strings.iter().map(|it| it.len() + 1).sum::<usize>() > 8192, cut);
        }
    }
    cgroup.remove().expect("empty");
}

#[test]
fn identities_and_namespaces_are_on_record() {
    if !is_root() {
        return;
    }
    let cgroup = cgroup("identity");
    let (_capture, mut ring) = watching(&cgroup, RING_BYTES);
    let directory = tempfile::tempdir().expect("a directory");
    let mut identity = subject("identity", directory.path());
    let mut child = spawn(&mut identity, &cgroup).expect("it starts");
    child.wait().expect("wait");
    let records = drained(&mut ring);
    let before = records[0].header();
    assert_eq!((before.uid, before.euid, before.gid, before.egid), (0, 0, 0, 0));
    let number =
        |path: String| u32::try_from(fs::metadata(path).expect("there").ino()).expect("32 bits");
    let own = |kind: &str| number(format!("/proc/self/ns/{kind}"));
    assert_eq!((before.mnt_ns, before.pid_ns, before.net_ns), (own("mnt"), own("pid"), own("net")));
    let after = records.iter().find_map(|record| match record {
        KernelRecord::Call(call) if decode(call).name == "getppid" => Some(call.header),
        _ => None,
    });
    let after = after.expect("the call");
    assert_eq!((after.uid, after.euid), (0, 65534));

    shell("unshare -m -n -p -f sh -c 'exit 0'", &cgroup);
    let records = drained(&mut ring);
    let first = records[0].header();
    let last = records
        .iter()
        .rev()
        .find_map(|record| match record {
            KernelRecord::Exec(exec) => Some(exec.header),
            _ => None,
        })
        .expect("sh");
    assert_eq!((first.mnt_ns, first.pid_ns, first.net_ns), (own("mnt"), own("pid"), own("net")));
    assert_ne!(last.mnt_ns, first.mnt_ns);
    assert_ne!(last.pid_ns, first.pid_ns);
    assert_ne!(last.net_ns, first.net_ns);
    cgroup.remove().expect("empty");
}
