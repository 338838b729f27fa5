//! Whose a cgroup or a program is where several watches ask for it.

use std::fs;
use std::path::Path;
use std::process::Command;

use graven_capture::{CallSet, CaptureError, Watch};

use crate::cat::Cat;
use crate::rig::{all, calls, cgroup, drained, is_root, watching};

const RING_BYTES: u32 = 1 << 20;

fn is_taken(result: Result<(), CaptureError>, of: &Path, by: u32) -> bool {
    matches!(result, Err(CaptureError::Taken { path, other }) if path == of && other == by)
}

#[test]
fn an_exclusion_never_takes_a_cgroup_from_who_records_it() {
    if !is_root() {
        return;
    }
    for recording_first in [true, false] {
        let cgroup = cgroup("shared");
        let mut capture = graven_capture::Capture::load().expect("the program loads");
        let mut ring = capture.open_ring(RING_BYTES).expect("a ring");
        let mut other = capture.open_ring(RING_BYTES).expect("a ring");
        capture.set_watch(0, &all(&ring)).expect("set");
        let exclusion = Watch { recorded: CallSet::NONE, ..all(&other) };
        capture.set_watch(1, &exclusion).expect("set");
        for index in if recording_first { [0, 1] } else { [1, 0] } {
            capture.watch_cgroup(cgroup.path(), index).expect("watched");
        }
        let mut recorded = || {
            let mut cat = Cat::start_in(&cgroup);
            cat.echo();
            cat.end();
            let records = drained(&mut ring);
            (calls(&records).contains(&"write".to_owned()), !drained(&mut other).is_empty())
        };
        assert_eq!(recorded(), (true, false));
        capture.unwatch_cgroup(cgroup.path(), 5).expect("nothing to do");
        assert_eq!(recorded(), (true, false), "it is not 5's to take off");
        capture.unwatch_cgroup(cgroup.path(), 0).expect("taken off");
        assert_eq!(recorded(), (false, true), "who was beaten has it now");
        capture.watch_cgroup(cgroup.path(), 0).expect("watched");
        capture.drop_watch(0).expect("it was set");
        assert_eq!(recorded(), (false, true));
        capture.unwatch_cgroup(cgroup.path(), 1).expect("taken off");
        assert_eq!(recorded(), (false, false));
        cgroup.remove().expect("empty");
    }
}

#[test]
fn two_watches_that_record_one_cgroup_are_refused_and_one_may_hand_it_over() {
    if !is_root() {
        return;
    }
    let cgroup = cgroup("disputed");
    let (mut capture, mut first) = watching(&cgroup, RING_BYTES);
    let mut second = capture.open_ring(RING_BYTES).expect("a ring");
    capture.set_watch(1, &all(&second)).expect("set");
    assert!(is_taken(capture.watch_cgroup(cgroup.path(), 1), cgroup.path(), 0));
    capture.watch_cgroup(cgroup.path(), 0).expect("it has it already");
    let mut cat = Cat::start_in(&cgroup);
    assert!(calls(&drained(&mut first)).contains(&"write".to_owned()), "the first goes on");

    assert!(is_taken(capture.hand_over_cgroup(cgroup.path(), 7, 1), cgroup.path(), 0));
    capture.hand_over_cgroup(cgroup.path(), 0, 1).expect("handed over");
    cat.echo();
    capture.drop_watch(0).expect("it was set");
    let before = calls(&drained(&mut first));
    cat.echo();
    assert!(calls(&drained(&mut second)).contains(&"write".to_owned()));
    assert_eq!(before.iter().filter(|name| *name == "write").count(), 1, "{before:?}");
    assert!(drained(&mut first).is_empty());
    cat.end();
    cgroup.remove().expect("empty");
}

#[test]
fn a_program_is_one_watchs_too() {
    if !is_root() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let agent = directory.path().join("agent");
    fs::copy(fs::canonicalize("/bin/true").expect("there"), &agent).expect("copied");
    let elsewhere = cgroup("nobody");
    let (mut capture, mut first) = watching(&elsewhere, RING_BYTES);
    let mut second = capture.open_ring(RING_BYTES).expect("a ring");
    capture.set_watch(1, &all(&second)).expect("set");
    let mut recorded = || {
        assert!(Command::new(&agent).status().expect("it starts").success());
        (!drained(&mut first).is_empty(), !drained(&mut second).is_empty())
    };
    capture.watch_executable(&agent, 0).expect("watched");
    assert!(is_taken(capture.watch_executable(&agent, 1), &agent, 0));
    capture.unwatch_executable(&agent, 1).expect("nothing to do");
    assert_eq!(recorded(), (true, false));
    capture.hand_over_executable(&agent, 0, 1).expect("handed over");
    capture.unwatch_executable(&agent, 0).expect("nothing to do");
    assert_eq!(recorded(), (false, true));
    capture.unwatch_executable(&agent, 1).expect("taken off");
    assert_eq!(recorded(), (false, false));
    elsewhere.remove().expect("empty");
}
