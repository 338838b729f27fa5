//! What is held of a ledger while it is written, breaks off, and is taken up again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::sync::{Arc, Mutex};

use graven_ledger::{Paths, Protection};

use crate::support::Home;

/// Records that a few small segments hold, in bytes.
const SMALL: u64 = 2_000;

/// Stands in for the attributes: remembers what is held, and tells whether it was changed all the same.
#[derive(Debug)]
struct Attributes {
    paths: Paths,
    held: Mutex<BTreeMap<u64, Held>>,
}

#[derive(Debug)]
struct Held {
    closed: bool,
    inode: u64,
    bytes: Vec<u8>,
}

impl Attributes {
    fn over(home: &Home) -> Arc<Self> {
        Arc::new(Self { paths: home.paths(), held: Mutex::default() })
    }

    fn hold(&self, first: u64, closed: bool) {
        let headers = fs::read_to_string(self.paths.blocks()).unwrap();
        let newest: serde_json::Value =
            serde_json::from_str(headers.lines().last().unwrap()).unwrap();
        assert!(first < newest["size"].as_u64().unwrap(), "{first} has no sealed record");
        let path = self.paths.segment(first);
        let (inode, bytes) = (fs::metadata(&path).unwrap().ino(), fs::read(path).unwrap());
        let mut held = self.held.lock().unwrap();
        let before = held.insert(first, Held { closed, inode, bytes });
        assert!(closed || before.is_none_or(|before| !before.closed), "{first} was opened again");
    }

    /// Whether everything still stands under its name and as it was held.
    fn assert_untouched(&self) {
        for (first, Held { closed, inode, bytes }) in &*self.held.lock().unwrap() {
            let path = self.paths.segment(*first);
            let now = fs::read(&path).expect("a held segment is not renamed or removed");
            assert_eq!(fs::metadata(&path).unwrap().ino(), *inode, "{first} was replaced");
            assert!(now.starts_with(bytes), "{first} was changed");
            assert!(!closed || now.len() == bytes.len(), "{first} was closed and is written");
        }
    }

    fn closed(&self) -> Vec<u64> {
        let held = self.held.lock().unwrap();
        held.iter().filter(|(_, held)| held.closed).map(|(first, _)| *first).collect()
    }
}

impl Protection for Attributes {
    fn append_only(&self, first: u64) {
        self.hold(first, false);
    }

    fn close(&self, first: u64) {
        self.hold(first, true);
    }

    fn release(&self, _first: u64) -> std::io::Result<()> {
        unreachable!("nothing is released here")
    }
}

fn modes(home: &Home) -> Vec<u32> {
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    home.segments().iter().map(mode).collect()
}

/// Goal: wherever a run breaks off, what is held is never in the way of the next one. Method: runs that break off at
/// each distance from the last seal, some with a torn line behind, over segments of a few records.
#[test]
fn recovery_never_touches_what_is_held() {
    for sealed in 0..8 {
        let home = Home::new();
        let attributes = Attributes::over(&home);
        for unsealed in 0..12 {
            let mut writer = home.start_held(SMALL, attributes.clone());
            writer.events(sealed);
            if sealed > 0 {
                writer.seal();
            }
            writer.events(unsealed);
            drop(writer);
            attributes.assert_untouched();
            if unsealed % 3 == 1 {
                let last = home.segments().pop().unwrap();
                File::options().append(true).open(last).unwrap().write_all(b"{\"torn").unwrap();
            }
            let held = attributes.held.lock().unwrap().len();
            home.assert_good();
            drop(home.open().unwrap());
            attributes.assert_untouched();
            assert!(sealed == 0 || held > 0, "control: something is held");
        }
        let writer = home.start_held(SMALL, attributes.clone());
        let size = writer.opened.chain.size();
        drop(writer);
        let mut firsts: Vec<u64> = graven_ledger::list_segments(&home.paths())
            .unwrap()
            .iter()
            .map(|it| it.first)
            .collect();
        firsts.retain(|first| *first < size);
        assert!(firsts.len() > 3, "control: {firsts:?}");
        firsts.pop();
        // All that were there at the start: the run's own first records may have begun one more.
        assert!(attributes.closed().starts_with(&firsts[..firsts.len() - 1]), "{firsts:?}");
        home.assert_good();
    }
}

/// A run that nobody held is held by the next.
#[test]
fn what_an_earlier_run_left_open_is_held_at_the_start() {
    let home = Home::with_blocks(4, 12, SMALL);
    let attributes = Attributes::over(&home);
    let mut opened = home.open().unwrap();
    opened.hold(attributes.clone()).unwrap();
    let segments = home.segments().len();
    assert!(segments > 3, "control: {segments}");
    assert_eq!(attributes.closed().len(), segments - 1);
    assert_eq!(attributes.held.lock().unwrap().len(), segments);
}

/// Without a protection the mode is what there is; a segment is closed by the first checkpoint behind it.
#[test]
fn a_segment_is_closed_once_a_later_one_has_a_sealed_record() {
    let home = Home::new();
    let mut writer = home.start(SMALL);
    writer.seal();
    writer.events(12);
    assert!(modes(&home).len() > 2, "control");
    assert!(modes(&home).iter().all(|mode| *mode == 0o644), "{:?}", modes(&home));
    writer.seal();
    let modes = modes(&home);
    let (open, closed) = modes.split_last().unwrap();
    assert!(*open == 0o644 && closed.iter().all(|mode| *mode == 0o444), "{modes:?}");
    drop(writer);
    home.assert_good();
}
