//! A writer of one thread, made of the parts that the stages use, and in the stages' order.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use fastrand::Rng;
use graven_ledger::{
    Created, LedgerError, OpenedLedger, RECOVERED, Receipt, Run, Step, VerifierKey, create_on,
    open_on,
};
use graven_record::event::{Admission, Defaults, Event};
use graven_record::{Body, DraftBatch, Gap, Hash, Timestamp, TrueTime, Value};
use tempfile::TempDir;

use crate::model::Model;

const ORIGIN: &str = "acme.example/crash";
const TRACE_ID: &str = "6f9619ff-8b86-d011-b42d-00cf4fc964ff";
/// 2023-11-14T22:13:20Z, in nanoseconds and in seconds.
const START_NS: i64 = 1_700_000_000_000_000_000;
const NOW_S: u64 = 1_700_000_000;
const DAY_NS: i64 = 86_400_000_000_000;

/// A ledger on a model disk, and what its writers were told.
pub(crate) struct World {
    _root: TempDir,
    pub(crate) model: Model,
    pub(crate) dir: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) verifier: VerifierKey,
    clock_ns: i64,
    /// Events that were given to a writer: they are numbered.
    pub(crate) submitted: u64,
    /// Leaf hash of every record that was acknowledged.
    pub(crate) acknowledged: BTreeMap<u64, Hash>,
}

/// What a writer does until it ends or fails.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) seed: u64,
    pub(crate) groups: u32,
    pub(crate) segment_bytes: u64,
    /// Whether records up to the largest size are among them.
    pub(crate) large: bool,
}

/// A writer at work.
pub(crate) struct Writer<'a> {
    world: &'a mut World,
    opened: OpenedLedger,
    run: Run,
    rng: Rng,
    /// Durable, and not yet with the sealer.
    durable: VecDeque<Step>,
}

/// A directory in memory where there is one: thousands of files then cost little.
pub(crate) fn temporary() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Makes a ledger, and its key beside it.
pub(crate) fn create(model: &Model, root: &Path) -> Result<Created, LedgerError> {
    let created = Timestamp { unix_ns: START_NS }.to_string();
    let origin = ORIGIN.parse().unwrap();
    create_on(model.as_disk(), &root.join("ledger"), &root.join("key"), origin, created)
}

impl World {
    /// A new ledger, itself durable.
    pub(crate) fn new() -> Self {
        let root = temporary();
        let model = Model::new(root.path());
        let verifier = create(&model, root.path()).unwrap().verifier;
        let (dir, key) = (root.path().join("ledger"), root.path().join("key"));
        Self {
            _root: root,
            model,
            dir,
            key,
            verifier,
            clock_ns: START_NS,
            submitted: 0,
            acknowledged: BTreeMap::new(),
        }
    }

    pub(crate) fn open(&self) -> Result<OpenedLedger, LedgerError> {
        open_on(self.model.as_disk(), &self.dir, &self.key, NOW_S)
    }

    /// One life of a writer, from opening the ledger to an orderly end or a failure.
    pub(crate) fn live(&mut self, work: &Work) -> Result<(), LedgerError> {
        let opened = self.open()?;
        self.write(opened, work)
    }

    pub(crate) fn write(&mut self, opened: OpenedLedger, work: &Work) -> Result<(), LedgerError> {
        let segments = opened.segments.with_bytes_max(work.segment_bytes);
        let mut writer = Writer {
            world: self,
            opened: OpenedLedger { segments, ..opened },
            run: Run { host: "host-7".into(), ledger: ORIGIN.into(), trace_id: TRACE_ID.into() },
            rng: Rng::with_seed(work.seed),
            durable: VecDeque::new(),
        };
        writer.begin()?;
        for _ in 0..work.groups {
            writer.group(work.large)?;
        }
        writer.drain()
    }
}

impl Writer<'_> {
    fn tick(&mut self) -> TrueTime {
        let day = if self.rng.u8(..12) == 0 { DAY_NS } else { 0 };
        self.world.clock_ns += 1_000_000 + day;
        let earliest = Timestamp { unix_ns: self.world.clock_ns };
        let latest = Timestamp { unix_ns: self.world.clock_ns + 1000 };
        TrueTime { earliest, latest, synchronised: true }
    }

    /// What a run writes before anything else. Source: `schemas/format.md`, section 1.2.
    fn begin(&mut self) -> Result<(), LedgerError> {
        let mut batches = Vec::new();
        if self.opened.chain.size() <= 1 {
            let info = fs::read(self.opened.paths.info()).expect("the ledger is open");
            batches.push(self.system("ledger.created", &Value::parse(&info).unwrap()));
        }
        batches.push(self.system("pipeline.started", &Value::Object(Vec::new())));
        for recovered in std::mem::take(&mut self.opened.recovered) {
            batches.push(self.system(RECOVERED, &recovered.detail()));
        }
        if let Some(since) = self.opened.silent_since {
            batches.push(self.downtime(since));
        }
        self.commit(&batches)?;
        let named = self.opened.chain.size();
        self.opened.blocks.recoveries_named_below(named);
        Ok(())
    }

    fn system(&mut self, action: &str, detail: &Value) -> DraftBatch {
        let time = self.tick();
        let mut batch = DraftBatch::default();
        batch.push(&self.run.system(action, ("ledger", ORIGIN), detail, time)).unwrap();
        batch
    }

    fn downtime(&mut self, since: Timestamp) -> DraftBatch {
        let time = self.tick();
        let gap = Gap {
            cpu: None,
            from: since.to_string().into(),
            lost: None,
            stage: "downtime",
            to: time.earliest.to_string().into(),
        };
        let mut batch = DraftBatch::default();
        batch.push(&self.run.own("gap", ("ledger", ORIGIN), Body::Gap(gap), time)).unwrap();
        batch
    }

    /// A group of batches of events, with one sync for all of them.
    fn group(&mut self, large: bool) -> Result<(), LedgerError> {
        let batches: Vec<_> = (0..self.rng.u8(1..4)).map(|_| self.events(large)).collect();
        self.commit(&batches)?;
        if self.rng.u8(..3) == 0 {
            let sealed = self.opened.chain.seal().map(Step::Seal);
            self.durable.extend(sealed);
        }
        // The sealer comes after, sooner or later.
        let steps = self.rng.usize(..=self.durable.len());
        self.seal(steps)
    }

    fn events(&mut self, large: bool) -> DraftBatch {
        let mut batch = DraftBatch::default();
        for _ in 0..self.rng.u8(1..4) {
            let filler_bytes = match self.rng.u8(..20) {
                0 if large => self.rng.usize(60_000..64_800),
                1..4 => self.rng.usize(3000..9000),
                _ => self.rng.usize(..400),
            };
            let (number, filler) = (self.world.submitted, "x".repeat(filler_bytes));
            self.world.submitted += 1;
            let line = format!(
                r#"{{"action":"trade.amended","actor":{{"id":"ada","kind":"user"}},"subject":{{"id":"T-{number}","kind":"trade"}},"payload":{{"after":{{"note":"{filler}"}}}}}}"#
            );
            let admission = Admission { payload_fields: vec!["note".into()] };
            let event = Event::parse(line.as_bytes(), &admission).unwrap();
            let time = self.tick();
            let defaults = Defaults { host: "host-7", ledger: ORIGIN, time, trace_id: TRACE_ID };
            batch.push(&event.draft(&defaults)).unwrap();
        }
        batch
    }

    /// Writes batches, syncs once, and only then takes the receipts for acknowledged.
    fn commit(&mut self, batches: &[DraftBatch]) -> Result<(), LedgerError> {
        let (mut steps, mut receipts) = (Vec::new(), Vec::new());
        for batch in batches {
            let before = steps.len();
            self.opened.chain.append(&self.run, batch, &mut steps, &mut receipts);
            for step in &steps[before..] {
                if let Step::Append(lines) = step {
                    self.opened.segments.append(lines)?;
                }
            }
        }
        self.opened.segments.sync()?;
        for Receipt { seq, leaf } in receipts {
            let before = self.world.acknowledged.insert(seq, leaf);
            assert_eq!(before, None, "record {seq} was acknowledged before");
        }
        self.durable.extend(steps);
        Ok(())
    }

    /// Lets the sealer have the next `steps` steps.
    fn seal(&mut self, steps: usize) -> Result<(), LedgerError> {
        for step in self.durable.drain(..steps) {
            match step {
                Step::Append(lines) => self.opened.blocks.append(&lines.leaves)?,
                Step::Seal(header) => drop(self.opened.blocks.seal(header, NOW_S)?),
            }
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<(), LedgerError> {
        let sealed = self.opened.chain.seal().map(Step::Seal);
        self.durable.extend(sealed);
        self.seal(self.durable.len())
    }
}
