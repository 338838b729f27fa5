//! Cgroups that are watched from the moment they are made.

#![expect(unsafe_code, reason = "a thread changes its namespace by a call that has no safe form")]

use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};

use graven_abi::KernelRecord;
use graven_capture::{Capture, CaptureError, Cgroup2, Expected, Ring};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::cat::Cat;
use crate::cgroups::born_in;
use crate::rig::{all, calls, cgroup, drained, is_root};

const RING_BYTES: u32 = 1 << 20;

/// Its path from the root of the hierarchy.
fn below(path: &Path) -> Expected {
    let mount = Cgroup2::find().expect("a mount").mount().to_owned();
    Expected::Path(Path::new("/").join(path.strip_prefix(mount).expect("below the mount")))
}

fn named(name: &str) -> Expected {
    Expected::Name(name.into())
}

/// Makes the cgroup, and at once a process in it: the watch that the cgroup came under, and the process's
/// calls on record.
fn made(path: &Path, ring: &mut Ring) -> (Option<u32>, Vec<String>) {
    fs::create_dir(path).expect("root may");
    born_in(path);
    let records = drained(ring);
    let watch = records.iter().find_map(|record| match record {
        KernelRecord::Cgroup(cgroup) if cgroup.is_made() => Some(cgroup.header.watch),
        _ => None,
    });
    (watch, calls(&records))
}

fn gone(path: &Path, ring: &mut Ring) {
    fs::remove_dir(path).expect("empty");
    drained(ring);
}

fn whole(watch: u32) -> (Option<u32>, Vec<String>) {
    (Some(watch), vec!["getppid".into(), "exit_group".into()])
}

fn nothing() -> (Option<u32>, Vec<String>) {
    (None, Vec::new())
}

/// The program with watches 0 to 2, and nobody under them.
fn loaded() -> (Capture, Ring) {
    let mut capture = Capture::load().expect("the program loads");
    let ring = capture.open_ring(RING_BYTES).expect("a ring");
    for index in 0..3 {
        capture.set_watch(index, &all(&ring)).expect("set");
    }
    (capture, ring)
}

#[test]
fn an_expected_cgroup_is_watched_from_its_first_call_on() {
    if !is_root() {
        return;
    }
    let top = cgroup("expects");
    let unit = top.path().file_name().expect("a name").to_string_lossy().into_owned() + ".service";
    let (there, beside) = (top.path().join("there"), top.path().join("ther"));
    let slice = top.path().join("slice");
    fs::create_dir(&slice).expect("made");
    let nested = slice.join(&unit);
    let (mut capture, mut ring) = loaded();
    assert_eq!(made(&there, &mut ring), nothing(), "control");
    gone(&there, &mut ring);

    capture.expect(&below(&there), 1).expect("expected");
    capture.expect(&named(&unit), 2).expect("expected");
    assert_eq!(made(&there, &mut ring), whole(1));
    assert_eq!(made(&there.join("deep"), &mut ring), whole(1), "and what is below it");
    assert_eq!(made(&nested, &mut ring), whole(2), "by its name alone");
    for other in [beside, slice.join(unit.replace(".service", ".servic")), slice.join("there")] {
        assert_eq!(made(&other, &mut ring), nothing(), "{}", other.display());
        gone(&other, &mut ring);
    }
    for path in [there.join("deep"), there.clone(), nested.clone()] {
        gone(&path, &mut ring);
    }

    // The most specific counts: a path, a name, the cgroup above.
    capture.watch_cgroup(&slice, 0).expect("watched");
    assert_eq!(made(&slice.join("other"), &mut ring), whole(0), "control");
    assert_eq!(made(&nested, &mut ring), whole(2));
    gone(&nested, &mut ring);
    capture.expect(&below(&nested), 1).expect("expected");
    assert_eq!(made(&nested, &mut ring), whole(1));
    gone(&nested, &mut ring);
    capture.expect_no_more(&below(&nested), 1).expect("forgotten");
    capture.expect_no_more(&named(&unit), 2).expect("forgotten");
    assert_eq!(made(&nested, &mut ring), whole(0));
    gone(&nested, &mut ring);
    gone(&slice.join("other"), &mut ring);
    fs::remove_dir(slice).expect("empty");
    top.remove().expect("empty");
}

#[test]
fn a_dropped_watch_expects_nothing_and_leaves_nothing_behind() {
    if !is_root() {
        return;
    }
    let top = cgroup("drops");
    let (early, late) = (top.path().join("early"), top.path().join("late"));
    let (mut capture, mut ring) = loaded();
    capture.watch_cgroup(top.path(), 0).expect("watched");
    capture.expect(&below(&early), 1).expect("expected");
    capture.expect(&below(&late), 1).expect("expected");
    assert_eq!(made(&early, &mut ring), whole(1), "control");
    capture.drop_watch(1).expect("it was set");
    assert_eq!(made(&late, &mut ring), whole(0), "as any other below");
    // Nobody has told user space of this one.
    born_in(&early);
    assert!(drained(&mut ring).iter().all(|record| record.header().watch == 0));
    assert!(matches!(capture.expect(&below(&late), 1), Err(CaptureError::NoWatch { index: 1 })));

    // The index is used again, for others.
    capture.set_watch(1, &all(&ring)).expect("set");
    capture.drop_watch(0).expect("it was set");
    born_in(&early);
    born_in(&late);
    assert!(drained(&mut ring).is_empty());
    gone(&early, &mut ring);
    gone(&late, &mut ring);
    assert_eq!(made(&late, &mut ring), nothing());
    gone(&late, &mut ring);
    top.remove().expect("empty");
}

#[test]
fn a_cgroup_of_version_1_is_not_meant() {
    if !is_root() {
        return;
    }
    let unique = cgroup("version-1");
    let name = unique.path().file_name().expect("a name").to_string_lossy().into_owned() + "-first";
    let (mut capture, mut ring) = loaded();
    capture.expect(&named(&name), 1).expect("expected");
    capture.expect(&below(&unique.path().join(&name)), 2).expect("expected");
    let second = unique.path().join(&name);
    assert_eq!(made(&second, &mut ring), whole(2), "control");
    gone(&second, &mut ring);
    // A hierarchy of its own, without a controller: any kernel that knows version 1 has it.
    let directory = tempfile::tempdir().expect("a directory");
    let options = CString::new(format!("none,name={name}")).expect("text");
    mount(c"none", directory.path(), c"cgroup", MountFlags::empty(), &*options).expect("mounted");
    let first = directory.path().join(&name);
    fs::create_dir(&first).expect("made");
    let mut cat = Cat::start();
    cat.moved_to(&first);
    cat.end();
    fs::remove_dir(&first).expect("empty");
    unmount(directory.path(), UnmountFlags::empty()).expect("mounted");
    assert!(drained(&mut ring).is_empty());
    unique.remove().expect("empty");
}

#[test]
fn what_cannot_be_expected_is_refused() {
    if !is_root() {
        return;
    }
    let (mut capture, _ring) = loaded();
    let relative = Expected::Path(PathBuf::from("a"));
    for refused in [named("a/b"), named(&"x".repeat(255)), relative] {
        let error = capture.expect(&refused, 0).expect_err("none such");
        assert!(matches!(error, CaptureError::Expected { .. }), "{error}");
    }
    assert!(matches!(capture.expect(&named("a"), 9), Err(CaptureError::NoWatch { index: 9 })));
}

#[test]
fn a_container_expects_nothing_under_names_of_its_own() {
    if !is_root() {
        return;
    }
    let (mut capture, _ring) = loaded();
    capture.expect(&named("a"), 0).expect("control");
    let refused = std::thread::scope(|scope| {
        let apart = scope.spawn(|| {
            // SAFETY: it changes what this thread alone sees, and the thread ends here.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWCGROUP) }, 0);
            capture.expect(&named("b"), 0)
        });
        apart.join().expect("it ends")
    });
    assert!(matches!(refused, Err(CaptureError::CgroupNamespace)), "{refused:?}");
}
