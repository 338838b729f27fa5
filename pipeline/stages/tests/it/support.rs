//! A ledger in a directory of its own, a graph over it, and the kernel's records to feed it with.

use std::path::{Path, PathBuf};

use graven_abi::encode;
use graven_abi::layout::{CallBody, Header};
use graven_ledger::{Paths, Run, SegmentCursor};
use graven_record::Value;
use graven_sink::Sink;
use graven_stages::{
    Agent, Agents, EventBatch, Intake, Pipeline, PipelineOptions, Summary, Watched, clock,
};
use graven_verify::{Trust, Verdict, verify};
use tempfile::TempDir;

pub(crate) struct Home {
    pub(crate) dir: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Self { dir };
        let origin = "example.org/graph".parse().unwrap();
        graven_ledger::create(&home.ledger(), &home.key(), origin, clock::now().to_string())
            .unwrap();
        home
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.dir.path().join("ledger")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.dir.path().join("key")
    }

    /// Runs a pipeline with `sinks`, feeds it from a thread of its own, and drains it.
    pub(crate) fn run(
        &self,
        sinks: Vec<Box<dyn Sink>>,
        feed: impl FnOnce(Intake) + Send + 'static,
    ) -> Summary {
        let options =
            PipelineOptions { block_ms_max: 5, normalizers: 3, ..PipelineOptions::default() };
        self.run_with(&options, sinks, feed)
    }

    /// The same with other settings.
    pub(crate) fn run_with(
        &self,
        options: &PipelineOptions,
        sinks: Vec<Box<dyn Sink>>,
        feed: impl FnOnce(Intake) + Send + 'static,
    ) -> Summary {
        let ledger = graven_ledger::open(&self.ledger(), &self.key(), clock::unix_s()).unwrap();
        let run = Run {
            host: "host".into(),
            ledger: ledger.info.origin.to_string(),
            trace_id: "6f9619ff-8b86-4011-b42d-00cf4fc964ff".into(),
        };
        actix::System::new().block_on(async move {
            let pipeline = Pipeline::start(ledger, run, Value::object([]), sinks, options);
            let intake = pipeline.intake();
            tokio::task::spawn_blocking(move || feed(intake)).await.unwrap();
            pipeline.drain().await.unwrap()
        })
    }

    pub(crate) fn assert_good(&self) -> Vec<serde_json::Value> {
        records(&self.ledger(), self.verify_good())
    }

    /// Verifies; gives the number of sealed records.
    pub(crate) fn verify_good(&self) -> u64 {
        let key = std::fs::read_to_string(self.dir.path().join("ledger.vkey")).unwrap();
        let trust = Trust::in_key_or_file(key.trim()).unwrap();
        let report = verify(&self.ledger(), &trust, &()).unwrap();
        assert_eq!(report.verdict, Verdict::Good, "{report}");
        report.sealed
    }
}

pub(crate) fn records(ledger: &Path, size: u64) -> Vec<serde_json::Value> {
    let mut cursor = SegmentCursor::new(&Paths::new(ledger), 0);
    let (_, lines) = cursor.read(size, usize::MAX).unwrap();
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

pub(crate) fn event(action: &str) -> EventBatch {
    let line = format!(
        r#"{{"action":"{action}","actor":{{"kind":"user","id":"u"}},"subject":{{"kind":"k","id":"i"}}}}"#
    );
    let ends = vec![(line.len(), 1)];
    EventBatch {
        lines: line.into_bytes(),
        ends,
        mono_ns: clock::mono_ns(),
        ..EventBatch::default()
    }
}

/// One watch, number 0, of one agent.
pub(crate) fn agents() -> Agents {
    let agents = Agents::default();
    agents.set(0, Watched::new(agent("agent"), "graven exec"));
    agents
}

pub(crate) fn agent(id: &str) -> Agent {
    Agent { id: id.into(), trace_id: "6f9619ff-8b86-4011-b42d-00cf4fc96400".into() }
}

/// What a record of the agent's one process begins with; there is no such process.
pub(crate) fn header(cpu: u32, seq: u64) -> Header {
    Header {
        seq,
        entry_ns: clock::mono_ns(),
        cgroup_id: 1,
        cpu,
        pid: 4_000_000,
        tid: 4_000_000,
        ppid: 1,
        comm: *b"agent\0\0\0\0\0\0\0\0\0\0\0",
        ..Header::default()
    }
}

/// A `close` on `cpu` with that CPU's number `seq`.
pub(crate) fn call(cpu: u32, seq: u64) -> Vec<u8> {
    let header = header(cpu, seq);
    let body = CallBody {
        exit_ns: header.entry_ns + 7,
        ret: 0,
        args: [3, 0, 0, 0, 0, 0],
        nr: 3,
        arch: 1,
        items_bytes: 0,
    };
    encode::call(header, body, &[])
}
