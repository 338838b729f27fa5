//! Who may be killed when a watch ends.

use graven_capture::{CallSet, RING_BYTES_MIN, Ring, Watch};
use rustix::process::{Signal, pidfd_send_signal};

use crate::cat::Cat;
use crate::rig::{all, cgroup, drained, is_root, shell, watching};

const RING_BYTES: u32 = 1 << 20;

/// Pids of those that are followed for a watch.
fn followers(ring: &Ring, index: u32) -> Vec<u32> {
    ring.followers(index).expect("told").iter().map(|follower| follower.pid).collect()
}

fn follows(ring: &Ring, index: u32, cat: &Cat) -> bool {
    followers(ring, index).contains(&cat.id())
}

#[test]
fn a_process_is_one_watchs_at_a_time() {
    if !is_root() {
        return;
    }
    let (one, two) = (cgroup("of-one"), cgroup("of-two"));
    let (mut capture, first) = watching(&one, RING_BYTES);
    let second = capture.open_ring(RING_BYTES).expect("a ring");
    capture.set_watch(5, &all(&second)).expect("set");
    capture.watch_cgroup(two.path(), 5).expect("watched");
    let mut cat = Cat::start();
    assert!(!follows(&first, 0, &cat), "nobody's");

    cat.moved_to(one.path());
    assert!(follows(&first, 0, &cat) && !follows(&first, 5, &cat));
    cat.moved_to(one.path().parent().expect("graven"));
    assert!(follows(&first, 0, &cat), "leaving is no way out");

    // In the other's cgroup already, and asleep: its next call is the other's.
    let procs = two.path().join("cgroup.procs");
    std::fs::write(procs, cat.id().to_string()).expect("root may");
    assert!(!follows(&first, 0, &cat));
    cat.echo();
    assert!(!follows(&first, 0, &cat) && follows(&first, 5, &cat));

    // Its watch is dropped, and the index used again at once.
    capture.drop_watch(5).expect("it was set");
    assert!(!follows(&second, 5, &cat));
    capture.set_watch(5, &all(&second)).expect("set");
    assert!(!follows(&second, 5, &cat), "of another generation");
    capture.watch_cgroup(two.path(), 5).expect("watched");
    assert!(!follows(&second, 5, &cat), "not until its next call");
    cat.echo();
    assert!(follows(&second, 5, &cat));
    let id = cat.id();
    cat.end();
    assert!(!followers(&second, 5).contains(&id), "it has ended");
    for cgroup in [one, two] {
        cgroup.remove().expect("empty");
    }
}

#[test]
fn stragglers_are_found_whatever_was_lost_and_wherever_they_hide() {
    if !is_root() {
        return;
    }
    let (command, excluded) = (cgroup("command"), cgroup("hideout"));
    let (mut capture, mut ring) = watching(&command, RING_BYTES_MIN);
    capture.set_watch(1, &Watch { recorded: CallSet::NONE, ..all(&ring) }).expect("set");
    capture.watch_cgroup(excluded.path(), 1).expect("watched");
    // Nobody reads the ring: of all that follows, nothing comes through.
    shell("i=0; while [ $i -lt 300 ]; do : > /dev/null; i=$((i+1)); done", &command);
    assert_eq!(followers(&ring, 0), [] as [u32; 0], "control: the shell has ended");
    let outside = command.path().parent().expect("graven");
    let (mut left, mut hidden) = (Cat::start_in(&command), Cat::start_in(&command));
    let stranger = Cat::start();
    left.moved_to(outside);
    hidden.moved_to(excluded.path());
    let counters = ring.counters().expect("counters");
    assert!(counters.iter().any(|cpu| cpu.dropped > 0), "control: records were lost");
    let mut expected = [left.id(), hidden.id()];
    expected.sort_unstable();
    let found = ring.followers(0).expect("told");
    assert_eq!(found.iter().map(|follower| follower.pid).collect::<Vec<_>>(), expected);
    assert!(found.iter().all(|follower| follower.start_ns > 0));
    for follower in &found {
        pidfd_send_signal(&follower.process, Signal::KILL).expect("it runs");
    }
    left.killed();
    hidden.killed();
    assert_eq!(followers(&ring, 0), [] as [u32; 0]);
    stranger.end();
    drained(&mut ring);
    for cgroup in [command, excluded] {
        cgroup.remove().expect("empty");
    }
}
