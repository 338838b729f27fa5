//! Small real ledgers, made as the stages make them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use graven_ledger::{
    Chain, LedgerError, Oldest, OpenedLedger, Paths, Protection, RELEASED, Receipt, Run, Signer,
    Step, VerifierKey, begin_release, create, open, release_detail,
};
use graven_record::event::{Admission, Defaults, Event};
use graven_record::{Body, DraftBatch, Gap, Timestamp, TrueTime, Value};
use graven_verify::{FaultKind, Report, Trust, Verdict, verify};
use tempfile::TempDir;

pub(crate) const ORIGIN: &str = "acme.example/test";
const TRACE_ID: &str = "6f9619ff-8b86-d011-b42d-00cf4fc964ff";
/// 2023-11-14T22:13:20Z, in nanoseconds and in seconds.
const START_NS: i64 = 1_700_000_000_000_000_000;
pub(crate) const NOW_S: u64 = 1_700_000_000;

/// A ledger in a directory of its own, its key beside it.
pub(crate) struct Home {
    pub(crate) root: TempDir,
    pub(crate) verifier: VerifierKey,
    info: Vec<u8>,
}

/// A run of the pipeline on an open ledger.
pub(crate) struct Writer {
    pub(crate) opened: OpenedLedger,
    run: Run,
    info: Value,
    clock: i64,
}

/// A directory in memory where there is one: thousands of syncs then cost nothing.
fn temporary() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub(crate) fn time(unix_ns: i64) -> TrueTime {
    TrueTime {
        earliest: Timestamp { unix_ns },
        latest: Timestamp { unix_ns: unix_ns + 1000 },
        synchronised: true,
    }
}

impl Home {
    pub(crate) fn new() -> Self {
        let root = temporary();
        let created = create(
            &root.path().join("ledger"),
            &root.path().join("key"),
            ORIGIN.parse().unwrap(),
            Timestamp { unix_ns: START_NS }.to_string(),
        )
        .unwrap();
        Self { root, verifier: created.verifier, info: created.info.to_bytes() }
    }

    /// A ledger of `blocks` blocks with `events` events each, in segments of `segment_bytes` bytes.
    pub(crate) fn with_blocks(blocks: u32, events: u32, segment_bytes: u64) -> Self {
        let home = Self::new();
        let mut writer = home.start(segment_bytes);
        for block in 0..blocks {
            writer.events(events);
            if block % 3 == 1 {
                writer.gap();
            }
            writer.seal();
        }
        drop(writer);
        home
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.root.path().join("ledger")
    }

    pub(crate) fn key_path(&self) -> PathBuf {
        self.root.path().join("key")
    }

    pub(crate) fn state_path(&self) -> PathBuf {
        Signer::state_path(&self.key_path())
    }

    pub(crate) fn paths(&self) -> Paths {
        Paths::new(&self.dir())
    }

    pub(crate) fn open(&self) -> Result<OpenedLedger, LedgerError> {
        open(&self.dir(), &self.key_path(), NOW_S)
    }

    /// Opens the ledger and begins a run in it.
    pub(crate) fn start(&self, segment_bytes: u64) -> Writer {
        self.begin(self.open().unwrap(), segment_bytes)
    }

    /// The same, with its sealed segments held.
    pub(crate) fn start_held(&self, segment_bytes: u64, by: Arc<dyn Protection>) -> Writer {
        let mut opened = self.open().unwrap();
        opened.hold(by).unwrap();
        self.begin(opened, segment_bytes)
    }

    fn begin(&self, opened: OpenedLedger, segment_bytes: u64) -> Writer {
        let mut writer = Writer {
            clock: START_NS + i64::try_from(opened.chain.size()).unwrap() * 1_000_000,
            run: Run { host: "host-7".into(), ledger: ORIGIN.into(), trace_id: TRACE_ID.into() },
            info: Value::parse(&self.info).unwrap(),
            opened: OpenedLedger { ..opened },
        };
        let segments = writer.opened.segments;
        writer.opened.segments = segments.with_bytes_max(segment_bytes);
        writer.begin();
        writer
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust::in_key(self.verifier.clone())
    }

    /// Trust that includes the newest checkpoint as it is now.
    pub(crate) fn trust_at_least(&self) -> Trust {
        let note = fs::read_to_string(self.paths().checkpoint()).unwrap();
        self.trust().and_at_least(&note).unwrap()
    }

    pub(crate) fn verify(&self) -> Report {
        verify(&self.dir(), &self.trust(), &()).unwrap()
    }

    /// Verifies, and says what is wrong where something is.
    pub(crate) fn assert_good(&self) -> Report {
        let report = self.verify();
        assert_eq!(report.verdict, Verdict::Good, "{report}");
        report
    }

    /// A copy of the ledger directory, its key and the signer's state.
    pub(crate) fn copy(&self) -> Home {
        let root = temporary();
        copy_dir(self.root.path(), root.path());
        Self { root, verifier: self.verifier.clone(), info: self.info.clone() }
    }

    /// Every segment in order.
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let segments = graven_ledger::list_segments(&self.paths()).unwrap();
        segments.into_iter().map(|it| it.path).collect()
    }
}

pub(crate) fn copy_dir(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// Replaces a file's content, whatever its mode is.
pub(crate) fn overwrite(path: &Path, bytes: &[u8]) {
    // A closed segment is read-only, which keeps out nobody who may write the directory.
    fs::remove_file(path).ok();
    fs::write(path, bytes).unwrap();
}

impl Writer {
    fn tick(&mut self) -> TrueTime {
        self.clock += 1_000_000;
        time(self.clock)
    }

    fn begin(&mut self) {
        if self.opened.chain.size() == 0 {
            let info = self.info.clone();
            self.system("ledger.created", &info);
        }
        self.system("pipeline.started", &Value::Object(Vec::new()));
    }

    fn system(&mut self, action: &str, detail: &Value) {
        let time = self.tick();
        let mut batch = DraftBatch::default();
        let draft = self.run.system(action, ("ledger", ORIGIN), detail, time);
        batch.push(&draft).unwrap();
        self.append(&batch);
    }

    /// Puts the release of the oldest segment on record, after `already` others.
    pub(crate) fn release(&mut self, already: u64) {
        let paths = self.opened.paths.clone();
        let oldest = graven_ledger::list_segments(&paths).unwrap();
        // Those that are on record already may still stand.
        let newest = graven_ledger::newest_release(&paths, self.opened.chain.size()).unwrap();
        let end = newest.map_or(0, |newest| newest.end());
        let at = oldest.iter().position(|it| it.first >= end).unwrap();
        let oldest = Oldest {
            path: oldest[at].path.clone(),
            first: oldest[at].first,
            end: oldest[at + 1].first,
        };
        let contents = oldest.read(&paths, ORIGIN).unwrap();
        begin_release(&paths, self.opened.chain.size()).unwrap();
        let detail = release_detail(&oldest, &contents, already + 1, &[]);
        self.system(RELEASED, &detail);
    }

    pub(crate) fn gap(&mut self) {
        let time = self.tick();
        let gap = Gap {
            cpu: Some(1),
            from: Value::Integer(7),
            lost: Some(3),
            stage: "ring",
            to: Value::Integer(9),
        };
        let mut batch = DraftBatch::default();
        let draft = self.run.own("records.lost", ("cpu", "1"), Body::Gap(gap), time);
        batch.push(&draft).unwrap();
        self.append(&batch);
    }

    /// Events, each in a batch of its own so that segments can end behind each.
    pub(crate) fn events(&mut self, count: u32) {
        for index in 0..count {
            let time = self.tick();
            let line = format!(
                r#"{{"action":"trade.amended","actor":{{"id":"ada","kind":"user"}},"subject":{{"id":"T-{index}","kind":"trade"}},"payload":{{"after":{{"price":"{index}.5"}}}}}}"#
            );
            let admission = Admission { payload_fields: vec!["price".into()] };
            let event = Event::parse(line.as_bytes(), &admission).unwrap();
            let defaults = Defaults { host: "host-7", ledger: ORIGIN, time, trace_id: TRACE_ID };
            let mut batch = DraftBatch::default();
            batch.push(&event.draft(&defaults)).unwrap();
            self.append(&batch);
        }
    }

    /// Appends and syncs, as the stages do; seals where the chain says so.
    pub(crate) fn append(&mut self, batch: &DraftBatch) -> Vec<Receipt> {
        let (mut steps, mut receipts) = (Vec::new(), Vec::new());
        let chain: &mut Chain = &mut self.opened.chain;
        chain.append(&self.run, batch, &mut steps, &mut receipts);
        for step in steps {
            match step {
                Step::Append(lines) => {
                    self.opened.segments.append(&lines).unwrap();
                    self.opened.segments.sync().unwrap();
                    self.opened.blocks.append(&lines.leaves).unwrap();
                }
                Step::Seal(header) => {
                    self.opened.blocks.seal(header, NOW_S).unwrap();
                }
            }
        }
        receipts
    }

    pub(crate) fn seal(&mut self) {
        if let Some(header) = self.opened.chain.seal() {
            self.opened.blocks.seal(header, NOW_S).unwrap();
        }
    }
}

/// Small enough for several segments, with all kinds of file in it.
pub(crate) fn ledger() -> Home {
    Home::with_blocks(4, 12, 6000)
}

/// The kinds of the faults listed.
pub(crate) fn faults(report: &Report) -> Vec<FaultKind> {
    report.faults.iter().map(|fault| fault.kind).collect()
}

/// The lines of a file, each with its newline.
pub(crate) fn lines(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    bytes.split_inclusive(|it| *it == b'\n').map(<[u8]>::to_vec).collect()
}
