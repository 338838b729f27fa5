//! A ledger in a directory of its own, and the events that go there.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use graven_ledger::{OpenedLedger, Paths, Receipt, SegmentCursor};
use graven_record::leaf_hash;
use graven_stages::clock;
use graven_verify::{Trust, Verdict, verify};
use tempfile::TempDir;

pub(crate) const EVENT: &str =
    r#"{"action":"a.b","actor":{"kind":"user","id":"u"},"subject":{"kind":"k","id":"i"}}"#;

pub(crate) struct Home {
    pub(crate) dir: TempDir,
    /// There is one failpoint armed in a process.
    _alone: MutexGuard<'static, ()>,
}

impl Home {
    pub(crate) fn new() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().expect("a directory");
        let home = Self { dir, _alone: alone };
        let origin = "example.org/failpoints".parse().expect("a good origin");
        let created = clock::now().to_string();
        graven_ledger::create(&home.ledger(), &home.key(), origin, created).expect("a ledger");
        home
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.dir.path().join("ledger")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.dir.path().join("ledger.key")
    }

    pub(crate) fn open(&self) -> OpenedLedger {
        graven_ledger::open(&self.ledger(), &self.key(), clock::unix_s()).expect("it recovers")
    }

    /// The verifier finds nothing, and every acknowledged record is sealed at its place; gives all lines.
    pub(crate) fn assert_good(&self, acknowledged: &[(u64, String)]) -> Vec<u8> {
        let key = std::fs::read_to_string(self.dir.path().join("ledger.vkey")).expect("a key");
        let trust = Trust::in_key_or_file(key.trim()).expect("a good key");
        let report = verify(&self.ledger(), &trust, &()).expect("it can be read");
        assert_eq!(report.verdict, Verdict::Good, "{report}");
        let mut cursor = SegmentCursor::new(&Paths::new(&self.ledger()), 0);
        let (_, lines) = cursor.read(report.sealed, usize::MAX).expect("it can be read");
        let stored = lines.split_inclusive(|byte| *byte == b'\n');
        let leaves: Vec<String> =
            stored.map(|line| leaf_hash(&line[..line.len() - 1]).to_string()).collect();
        for (seq, leaf) in acknowledged {
            let stands = usize::try_from(*seq).ok().and_then(|seq| leaves.get(seq));
            assert_eq!(stands, Some(leaf), "acknowledged record {seq}");
        }
        lines
    }
}

pub(crate) fn told((_, receipt): &(u64, Receipt)) -> (u64, String) {
    (receipt.seq, receipt.leaf.to_string())
}
