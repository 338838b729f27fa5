//! Who is followed when cgroups come and go and tasks move between them.

#![expect(unsafe_code, reason = "a child is born in a cgroup by a call that has no safe form")]

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;

use graven_abi::{KernelRecord, Reason, layout::MovedBody};
use graven_capture::{CallSet, Capture, Ring, Watch, spawn};

use crate::cat::Cat;
use crate::rig::{all, calls, cgroup, drained, is_root, shell, subject, watching};

const RING_BYTES: u32 = 1 << 20;

fn joined(records: &[KernelRecord<'_>]) -> Vec<u32> {
    let joined = records.iter().filter_map(|record| match record {
        KernelRecord::Task(task) => {
            assert_eq!(task.reason, Reason::Joined);
            Some(task.header.pid)
        }
        _ => None,
    });
    joined.collect()
}

fn moves(records: &[KernelRecord<'_>]) -> Vec<MovedBody> {
    let moves = records.iter().filter_map(|record| match record {
        KernelRecord::Moved(moved) => Some(moved.body),
        _ => None,
    });
    moves.collect()
}

#[test]
fn a_task_is_followed_in_and_between_watches_and_not_let_go() {
    if !is_root() {
        return;
    }
    let (one, two) = (cgroup("one"), cgroup("two"));
    let (mut capture, mut first) = watching(&one, RING_BYTES);
    let mut second = capture.open_ring(RING_BYTES).expect("a ring");
    capture.set_watch(5, &all(&second)).expect("set");
    capture.watch_cgroup(two.path(), 5).expect("watched");
    let mut cat = Cat::start();
    assert!(drained(&mut first).is_empty(), "control: not watched yet");

    cat.moved_to(one.path());
    let records = drained(&mut first);
    assert_eq!(joined(&records), [cat.id()]);
    let KernelRecord::Task(task) = &records[0] else { panic!("the first is the task's") };
    assert!(task.executable().ends_with(b"bin/cat"));
    assert_eq!(task.argv().expect("read").iter().collect::<Vec<_>>(), [b"cat"]);
    assert!(task.body.start_ns > 0);
    assert!(calls(&records).contains(&"write".to_owned()));

    cat.moved_to(two.path());
    let (left, entered) = (drained(&mut first), drained(&mut second));
    let body = MovedBody { from_cgroup: one.id(), to_cgroup: two.id() };
    assert_eq!(moves(&left), [body]);
    // The call in which it was moved had begun under the old watch.
    assert_eq!(calls(&left).len(), 1, "{left:?}");
    assert_eq!(joined(&entered), [cat.id()]);
    assert!(entered.iter().all(|record| record.header().watch == 5));

    let outside = one.path().parent().expect("graven");
    cat.moved_to(outside);
    let records = drained(&mut second);
    let to_cgroup = fs::metadata(outside).expect("there").ino();
    assert_eq!(moves(&records), [MovedBody { from_cgroup: two.id(), to_cgroup }]);
    assert!(calls(&records).contains(&"write".to_owned()), "leaving is no way out");
    assert!(drained(&mut first).is_empty());
    cat.end();
    for cgroup in [one, two] {
        cgroup.remove().expect("empty");
    }
}

#[test]
fn an_excluded_cgroup_is_counted_and_what_leaves_it_is_let_go() {
    if !is_root() {
        return;
    }
    let top = cgroup("top");
    let (mut capture, mut ring) = watching(&top, RING_BYTES);
    let excluded = top.path().join("excluded");
    fs::create_dir(&excluded).expect("made");
    let watch = Watch { recorded: CallSet::NONE, ..all(&ring) };
    capture.set_watch(1, &watch).expect("set");
    capture.watch_cgroup(&excluded, 1).expect("watched");
    let mut cat = Cat::start();
    drained(&mut ring);
    cat.moved_to(&excluded);
    cat.echo();
    let records = drained(&mut ring);
    assert_eq!((joined(&records), calls(&records)), (vec![cat.id()], vec![]));
    let counted = ring.left_out().expect("counted");
    assert!(counted[0] >= 1 && counted[1] == 2, "reads {}, writes {}", counted[0], counted[1]);

    cat.moved_to(top.path().parent().expect("graven"));
    let left = drained(&mut ring);
    assert_eq!((moves(&left).len(), calls(&left).len()), (1, 0));
    cat.moved_to(top.path());
    let records = drained(&mut ring);
    assert_eq!(joined(&records), [cat.id()]);
    assert!(calls(&records).contains(&"write".to_owned()));
    cat.end();
    // Where the inner watch is taken off, the outer one goes on.
    capture.unwatch_cgroup(&excluded, 1).expect("taken off");
    drained(&mut ring);
    let mut cat = Cat::start();
    cat.moved_to(&excluded);
    assert!(calls(&drained(&mut ring)).contains(&"write".to_owned()));
    cat.end();
    fs::remove_dir(&excluded).expect("empty");
    top.remove().expect("empty");
}

/// Watch 1 of another ring leaves out every call of the cgroup.
fn excluding(capture: &mut Capture, cgroup: &Path) -> Ring {
    let ring = capture.open_ring(RING_BYTES).expect("a ring");
    capture.set_watch(1, &Watch { recorded: CallSet::NONE, ..all(&ring) }).expect("set");
    capture.watch_cgroup(cgroup, 1).expect("watched");
    ring
}

#[test]
fn an_excluded_cgroup_is_no_way_out() {
    if !is_root() {
        return;
    }
    let (agents, excluded) = (cgroup("agents"), cgroup("aside"));
    let (mut capture, mut ring) = watching(&agents, RING_BYTES);
    let mut others = excluding(&mut capture, excluded.path());
    let outside = agents.path().parent().expect("graven");
    let to_cgroup = fs::metadata(outside).expect("there").ino();
    let mut cat = Cat::start_in(&agents);
    cat.moved_to(excluded.path());
    drained(&mut ring);
    cat.echo();
    assert!(drained(&mut ring).is_empty(), "control: nothing is recorded in there");

    cat.moved_to(outside);
    let records = drained(&mut ring);
    assert_eq!(moves(&records), [MovedBody { from_cgroup: excluded.id(), to_cgroup }]);
    assert!(calls(&records).contains(&"write".to_owned()), "{records:?}");
    assert_eq!(moves(&drained(&mut others)).len(), 1, "it has left there, too");
    cat.echo();
    assert!(calls(&drained(&mut ring)).contains(&"write".to_owned()));
    cat.end();
    for cgroup in [agents, excluded] {
        cgroup.remove().expect("empty");
    }
}

#[test]
fn who_is_born_to_an_agent_in_an_exclusion_is_the_agents() {
    if !is_root() {
        return;
    }
    let (agents, excluded) = (cgroup("parents"), cgroup("nursery"));
    let (mut capture, mut ring) = watching(&agents, RING_BYTES);
    let others = excluding(&mut capture, excluded.path());
    let at = |path: &Path| path.join("cgroup.procs").display().to_string();
    let outside = at(agents.path().parent().expect("graven"));
    let script =
        format!("echo 0 > {}; (:; (echo 0 > {outside}; exec true); :); :", at(excluded.path()));
    shell(&script, &agents);
    let records = drained(&mut ring);
    let grandchild = records.iter().find_map(|record| match record {
        KernelRecord::Exec(exec) if exec.executable().ends_with(b"/true") => Some(exec.header),
        _ => None,
    });
    let grandchild = grandchild.expect("what it executes is on record");
    assert_eq!(grandchild.watch, 0);
    assert!(records.iter().any(|record| matches!(record, KernelRecord::Moved(moved)
        if moved.header.pid == grandchild.pid && moved.body.from_cgroup == excluded.id())));

    // Where the exclusion itself is dropped, who was watched before it is watched again.
    let mut cat = Cat::start_in(&agents);
    cat.moved_to(excluded.path());
    drained(&mut ring);
    capture.drop_watch(1).expect("it was set");
    cat.echo();
    assert!(calls(&drained(&mut ring)).contains(&"write".to_owned()));
    cat.end();
    drop(others);
    for cgroup in [agents, excluded] {
        cgroup.remove().expect("empty");
    }
}

#[test]
fn cgroups_made_later_are_followed_and_their_end_is_seen() {
    if !is_root() {
        return;
    }
    let top = cgroup("grows");
    let before = top.path().join("before");
    fs::create_dir_all(before.join("deep")).expect("made");
    let (_capture, mut ring) = watching(&top, RING_BYTES);
    let mut seen = Vec::new();
    for (path, name, parent) in [
        (top.path().join("later"), "later", top.id()),
        (
            before.join("deep/later"),
            "later",
            fs::metadata(before.join("deep")).expect("there").ino(),
        ),
    ] {
        fs::create_dir(&path).expect("made");
        let id = fs::metadata(&path).expect("there").ino();
        let mut cat = Cat::start();
        cat.moved_to(&path);
        cat.end();
        fs::remove_dir(&path).expect("empty");
        seen.push((id, name, parent));
    }
    // Version 1 numbers its cgroups by itself, so that the same number may be watched here.
    let records = drained(&mut ring);
    for (id, name, parent) in seen {
        let made: Vec<_> = records
            .iter()
            .filter_map(|record| match record {
                KernelRecord::Cgroup(cgroup) if cgroup.body.cgroup_id == id => Some((
                    cgroup.is_made(),
                    cgroup.name(),
                    cgroup.body.parent_id,
                    cgroup.header.pid,
                )),
                _ => None,
            })
            .collect();
        let (name, pid) = (name.as_bytes(), std::process::id());
        assert_eq!(made, [(true, name, parent, pid), (false, name, parent, pid)]);
        let there: Vec<_> =
            records.iter().filter(|it| it.header().cgroup_id == id).copied().collect();
        assert_eq!(joined(&there).len(), 1);
        assert!(calls(&there).contains(&"write".to_owned()));
    }
    fs::remove_dir(before.join("deep")).expect("empty");
    fs::remove_dir(before).expect("empty");
    top.remove().expect("empty");
}

/// Makes a child that is born in the cgroup, asks for its parent's id, and ends; returns its id.
pub(crate) fn born_in(cgroup: &Path) -> u32 {
    let directory = File::open(cgroup).expect("opened");
    // SAFETY: all zeros are valid; the child makes two calls on its copy of the stack, and ends.
    unsafe {
        let mut arguments: libc::clone_args = std::mem::zeroed();
        arguments.flags = 0x2_0000_0000; // CLONE_INTO_CGROUP
        arguments.exit_signal = 17; // SIGCHLD
        arguments.cgroup = u64::try_from(directory.as_raw_fd()).expect("a descriptor");
        let child = libc::syscall(libc::SYS_clone3, &raw const arguments, size_of_val(&arguments));
        if child == 0 {
            libc::syscall(libc::SYS_getppid);
            libc::syscall(libc::SYS_exit_group, 7);
        }
        let mut status = 0;
        libc::waitpid(child.try_into().expect("a process"), &raw mut status, 0);
        assert_eq!(libc::WEXITSTATUS(status), 7);
        u32::try_from(child).expect("a process")
    }
}

#[test]
fn a_child_born_in_a_watched_cgroup_is_followed() {
    if !is_root() {
        return;
    }
    let cgroup = cgroup("born");
    let (_capture, mut ring) = watching(&cgroup, RING_BYTES);
    let child = born_in(cgroup.path());
    let records = drained(&mut ring);
    assert_eq!(joined(&records), [child]);
    assert_eq!(calls(&records), ["getppid", "exit_group"]);
    assert!(matches!(records.last(), Some(KernelRecord::Exit(exit)) if exit.body.status == 7 << 8));
    cgroup.remove().expect("empty");
}

/// Waits for the scenario's word.
fn ready(directory: &Path) {
    while !fs::read_to_string(directory.join("output")).is_ok_and(|said| said == "ready") {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    // Into their calls.
    std::thread::sleep(std::time::Duration::from_millis(50));
}

#[test]
fn the_inventory_takes_in_what_sleeps() {
    if !is_root() {
        return;
    }
    let cgroup = cgroup("sleeps");
    let directory = tempfile::tempdir().expect("a directory");
    let mut sleeping = subject("sleeping", directory.path());
    let mut child = spawn(sleeping.stdin(Stdio::piped()), &cgroup).expect("it starts");
    ready(directory.path());
    let threads = fs::read_dir(format!("/proc/{}/task", child.id())).expect("it runs").count();
    assert!(threads > 2, "{threads} threads");

    let (mut capture, mut ring): (Capture, Ring) = watching(&cgroup, RING_BYTES);
    assert!(drained(&mut ring).is_empty(), "control: it sleeps");
    capture.inventory().expect("taken");
    let records = drained(&mut ring);
    let [KernelRecord::Task(task)] = &records[..] else { panic!("one process: {records:?}") };
    assert_eq!(
        (task.reason, task.header.pid, task.header.tid),
        (Reason::Inventory, child.id(), child.id())
    );
    assert_eq!(task.header.cgroup_id, cgroup.id());
    let exe = std::env::current_exe().expect("this test's path");
    assert_eq!(task.executable(), exe.as_os_str().as_encoded_bytes());
    assert_eq!(task.argv().expect("read").iter().nth(1), Some(b"--ignored".as_slice()));
    capture.inventory().expect("taken");
    assert!(drained(&mut ring).is_empty(), "each process once");

    drop(child.stdin.take());
    assert!(child.wait().expect("wait").success());
    let records = drained(&mut ring);
    let ended = records.iter().filter(|record| matches!(record, KernelRecord::Exit(_))).count();
    assert_eq!(ended, threads);
    let counters = ring.counters().expect("counters");
    let skipped: u64 = counters.iter().map(|cpu| cpu.skipped_mid_call).sum();
    assert_eq!(skipped, threads as u64, "each was in a call");
    cgroup.remove().expect("empty");
}

#[test]
fn each_ring_has_its_own_cgroups_only() {
    if !is_root() {
        return;
    }
    let (one, two) = (cgroup("left"), cgroup("right"));
    let (mut capture, mut first) = watching(&one, RING_BYTES);
    let mut second = capture.open_ring(RING_BYTES).expect("a ring");
    capture.set_watch(63, &all(&second)).expect("set");
    capture.watch_cgroup(two.path(), 63).expect("watched");
    shell(": > /dev/null", &one);
    shell(": > /dev/null; : > /dev/full", &two);
    for (ring, cgroup, watch, redirections) in
        [(&mut first, &one, 0, 1), (&mut second, &two, 63, 2)]
    {
        let records = drained(ring);
        assert!(!records.is_empty());
        for record in &records {
            assert_eq!((record.header().cgroup_id, record.header().watch), (cgroup.id(), watch));
        }
        let counters = ring.counters().expect("counters");
        let numbered: u64 = counters.iter().map(|cpu| cpu.seq).sum();
        assert_eq!(numbered, records.len() as u64);
        // Each is made, and undone.
        let made = calls(&records).iter().filter(|name| *name == "dup2").count();
        assert_eq!(made, 2 * redirections);
    }
    for cgroup in [one, two] {
        cgroup.remove().expect("empty");
    }
}
