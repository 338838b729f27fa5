//! Who may be killed when a watch ends.

use graven_capture::Ring;

use crate::cat::Cat;
use crate::rig::{all, cgroup, is_root, watching};

const RING_BYTES: u32 = 1 << 20;

fn follows(ring: &Ring, index: u32, cat: &Cat) -> bool {
    ring.follower(index, cat.id()).expect("told").is_some()
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
    assert!(second.follower(5, id).expect("told").is_none(), "it has ended");
    for cgroup in [one, two] {
        cgroup.remove().expect("empty");
    }
}
