//! The warden by itself, given orders by a recorder that means ill.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use graven_daemon::warden::{Order, VERB, Ward, Warden};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use super::{APPEND_ONLY, CLOSED, assert_refused, on, own_attributes};
use crate::support::GRAVEN;

/// Segments in directories of their own, with retentions, and a warden over them.
struct Rig {
    home: tempfile::TempDir,
    warden: Warden,
}

/// A directory whose segments are never released, and one that keeps them for a day.
const FOR_EVER: u8 = 0;
const A_DAY: u8 = 1;
const DAY: Duration = Duration::from_hours(24);

impl Rig {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let wards = [None, Some(DAY.as_secs())].into_iter().enumerate().map(|(at, retention_s)| {
            let segments = home.path().join(at.to_string());
            fs::create_dir(&segments).expect("a directory");
            Ward { segments, retention_s }
        });
        let wards: Vec<_> = wards.collect();
        let warden = Warden::start(Command::new(GRAVEN).arg(VERB), &wards).expect("it starts");
        Self { home, warden }
    }

    fn path(&self, ledger: u8, first: u64) -> PathBuf {
        self.home.path().join(format!("{ledger}/{first:020}.jsonl"))
    }

    /// A segment whose last change was so long ago.
    fn segment(&self, ledger: u8, first: u64, age: Duration) -> PathBuf {
        let path = self.path(ledger, first);
        fs::write(&path, "record\n").expect("a file");
        let then = now() - age;
        File::options()
            .write(true)
            .open(&path)
            .and_then(|it| it.set_modified(then))
            .expect("a time");
        path
    }

    fn order(&self, order: Order, ledger: u8, first: u64) -> Result<(), Errno> {
        self.warden.order(order, ledger, first).map_err(|error| {
            Errno::from_io_error(&error).unwrap_or_else(|| panic!("no answer: {error}"))
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "a file's age")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn attributes_are_added_and_never_taken_away() {
    on("ext4", "worm::warden::attributes_are_added_and_never_taken_away", || {
        let rig = Rig::new();
        let written = rig.segment(FOR_EVER, 0, DAY);
        for (order, expected) in [
            (Order::AppendOnly, APPEND_ONLY),
            (Order::AppendOnly, APPEND_ONLY),
            (Order::Close, CLOSED),
            (Order::AppendOnly, CLOSED),
            (Order::Close, CLOSED),
        ] {
            rig.order(order, FOR_EVER, 0).expect("granted");
            assert_eq!(own_attributes(&written), expected, "{order:?}");
            assert_refused(&written);
        }
        assert_eq!(mode(&written), 0o644, "the mode of what was append-only stays");
        let late = rig.segment(FOR_EVER, 7, DAY);
        rig.order(Order::Close, FOR_EVER, 7).expect("granted");
        assert_eq!((mode(&late), &*own_attributes(&late)), (0o444, CLOSED));
        assert_refused(&late);
    });
}

#[test]
fn only_segments_of_its_ledgers_are_touched() {
    on("ext4", "worm::warden::only_segments_of_its_ledgers_are_touched", || {
        let rig = Rig::new();
        rig.segment(FOR_EVER, 0, DAY);
        rig.order(Order::Close, FOR_EVER, 0).expect("control: a segment is closed");

        let elsewhere = rig.home.path().join("elsewhere");
        fs::write(&elsewhere, "elsewhere").expect("a file");
        symlink(&elsewhere, rig.path(FOR_EVER, 1)).expect("a link");
        fs::hard_link(&elsewhere, rig.path(FOR_EVER, 2)).expect("a second name");
        fs::create_dir(rig.path(FOR_EVER, 3)).expect("a directory");
        let fifo = Command::new("mkfifo").arg(rig.path(FOR_EVER, 4)).status();
        assert!(fifo.expect("mkfifo runs").success());
        // The directory that a name leads to now is another than at the start.
        let moved = rig.home.path().join("moved");
        fs::rename(rig.home.path().join(A_DAY.to_string()), moved).expect("root may rename it");
        fs::create_dir(rig.home.path().join(A_DAY.to_string())).expect("a directory");
        let other = rig.segment(A_DAY, 5, DAY);

        for order in [Order::AppendOnly, Order::Close, Order::Release] {
            for (ledger, first, expected) in [
                (FOR_EVER, 1, Errno::LOOP),
                (FOR_EVER, 2, Errno::PERM),
                (FOR_EVER, 3, Errno::PERM),
                (FOR_EVER, 4, Errno::PERM),
                (A_DAY, 5, Errno::NOENT),
                (FOR_EVER, 6, Errno::NOENT),
                (2, 0, Errno::INVAL),
            ] {
                assert_eq!(rig.order(order, ledger, first), Err(expected), "{order:?} {first}");
            }
        }
        assert_eq!((own_attributes(&elsewhere), own_attributes(&other)), Default::default());
    });
}

#[test]
fn a_segment_is_released_after_its_retention_and_no_earlier() {
    on("ext4", "worm::warden::a_segment_is_released_after_its_retention_and_no_earlier", || {
        let rig = Rig::new();
        let (old, young) = (Duration::from_hours(25), Duration::from_hours(23));
        rig.segment(FOR_EVER, 0, old);
        rig.segment(A_DAY, 1, young);
        let due = rig.segment(A_DAY, 2, old);
        for (ledger, first) in [(FOR_EVER, 0), (A_DAY, 1), (A_DAY, 2)] {
            let early = rig.order(Order::Release, ledger, first);
            assert_eq!(early, Err(Errno::PERM), "whose time can be set has no age: {first}");
            rig.order(Order::Close, ledger, first).expect("granted");
        }
        // Append-only alone is not lifted, however old.
        let open = rig.segment(A_DAY, 3, old);
        rig.order(Order::AppendOnly, A_DAY, 3).expect("granted");
        for (ledger, first) in [(FOR_EVER, 0), (A_DAY, 1), (A_DAY, 3)] {
            assert_eq!(rig.order(Order::Release, ledger, first), Err(Errno::PERM), "{first}");
            assert_refused(&rig.path(ledger, first));
        }
        assert_eq!(own_attributes(&open), APPEND_ONLY);
        rig.order(Order::Release, A_DAY, 2).expect("its retention is over");
        fs::remove_file(due).expect("it can be removed");
    });
}

/// Goal: closing has no moment in which a waiting attacker gets in. Method: one that never stops trying.
#[test]
fn closing_opens_no_gap() {
    on("ext4", "worm::warden::closing_opens_no_gap", || {
        let rig = Rig::new();
        for first in 0..300 {
            let path = rig.segment(FOR_EVER, first, DAY);
            File::options().write(true).open(&path).expect("control: it can be opened before");
            rig.order(Order::AppendOnly, FOR_EVER, first).expect("granted");
            let closed = AtomicBool::new(false);
            thread::scope(|scope| {
                let attacker = scope.spawn(|| {
                    let mut opened = 0;
                    while !closed.load(Ordering::Relaxed) {
                        opened += u32::from(File::options().write(true).open(&path).is_ok());
                    }
                    opened
                });
                rig.order(Order::Close, FOR_EVER, first).expect("granted");
                closed.store(true, Ordering::Relaxed);
                assert_eq!(attacker.join().expect("it ends"), 0, "segment {first}");
            });
        }
    });
}

/// Goal: whoever gives an order does not hang with a warden that does. Method: one that is stopped.
#[test]
fn one_that_hangs_is_ended() {
    on("ext4", "worm::warden::one_that_hangs_is_ended", || {
        for order_first in [true, false] {
            let rig = Rig::new();
            rig.segment(FOR_EVER, 0, DAY);
            rig.order(Order::AppendOnly, FOR_EVER, 0).expect("control: it answers");
            let pid = i32::try_from(rig.warden.pid()).ok().and_then(Pid::from_raw);
            kill_process(pid.expect("a pid"), Signal::STOP).expect("it runs");
            for kind in [ErrorKind::TimedOut, ErrorKind::BrokenPipe].iter().filter(|_| order_first)
            {
                let error = rig.warden.order(Order::Close, FOR_EVER, 0).expect_err("no answer");
                assert_eq!(error.kind(), *kind, "{error}");
                assert!(error.to_string().contains("restart graven"), "{error}");
            }
            let process = format!("/proc/{}", rig.warden.pid());
            drop(rig.warden);
            assert!(!Path::new(&process).exists());
        }
    });
}

#[test]
fn it_ends_with_its_recorder() {
    on("ext4", "worm::warden::it_ends_with_its_recorder", || {
        let rig = Rig::new();
        let process = format!("/proc/{}", rig.warden.pid());
        assert!(Path::new(&process).exists(), "control");
        drop(rig.warden);
        assert!(!Path::new(&process).exists());
    });
}
