//! The whole graph over a real ledger, each test ending with the verifier.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use async_trait::async_trait;
use graven_abi::CpuCounters;
use graven_ledger::{Paths, SegmentCursor};
use graven_sink::{CommittedBatch, Sink, SinkError};
use graven_stages::{KernelSource, Raw};

use crate::support::{Home, agents, call, event};

#[test]
fn each_sources_records_keep_their_order() {
    const SOURCES: u32 = 6;
    const EVENTS: u32 = 400;
    let home = Home::new();
    home.run(Vec::new(), |intake| {
        let sources: Vec<_> = (0..SOURCES)
            .map(|source| {
                let intake = intake.clone();
                thread::spawn(move || {
                    for number in 0..EVENTS {
                        intake.submit(Raw::Events(event(&format!("s{source}.{number}")))).unwrap();
                    }
                })
            })
            .collect();
        for source in sources {
            source.join().unwrap();
        }
    });
    let records = home.assert_good();
    for source in 0..SOURCES {
        let prefix = format!("s{source}.");
        let actions = records.iter().filter_map(|record| record["action"].as_str());
        let numbers: Vec<u32> =
            actions.filter_map(|action| action.strip_prefix(&prefix)?.parse().ok()).collect();
        assert_eq!(numbers, (0..EVENTS).collect::<Vec<_>>(), "source {source}");
    }
}

/// What the kernel lost, and bytes that are no record, are on the ledger exactly; the calls around
/// them are there.
#[test]
fn losses_and_malformed_records_become_gaps() {
    let home = Home::new();
    home.run(Vec::new(), |intake| {
        let mut source = KernelSource::new(agents(), Box::new(|_| Some(b"/graven/test".to_vec())));
        for seq in (0..10).chain(13..20) {
            source.push(&call(0, seq));
        }
        source.push(&call(1, 0));
        let whole = call(1, 1);
        source.push(b"");
        source.push(&whole[..whole.len() - 1]);
        source.push(&vec![0xff; whole.len()]);
        intake.submit(Raw::Kernel(source.take().unwrap())).unwrap();
        // The kernel has numbered three more on CPU 1: the malformed ones among them.
        let counted = [20, 4].map(|seq| CpuCounters { seq, ..CpuCounters::default() });
        let mut gaps = source.count(&counted, 2);
        gaps.extend(source.finish());
        intake.record(gaps).unwrap();
    });
    let records = home.assert_good();
    let calls = records.iter().filter(|record| record["kind"] == "syscall").count();
    assert_eq!(calls, 18);
    let gaps: Vec<_> =
        records.iter().filter(|it| it["kind"] == "gap").map(|it| it["gap"].clone()).collect();
    let gap = |cpu: Option<u32>, from: Option<u64>, lost: u64, stage: &str, to: Option<u64>| serde_json::json!({"cpu": cpu, "from": from, "lost": lost, "stage": stage, "to": to});
    assert_eq!(
        gaps,
        [
            gap(None, None, 2, "recursion", None),
            gap(Some(0), Some(10), 3, "ring", Some(12)),
            gap(Some(1), Some(1), 3, "ring", Some(3)),
            gap(None, None, 3, "decode", None),
        ]
    );
}

/// A destination that is away at first.
#[derive(Debug)]
struct Away {
    refusals: AtomicU32,
    taken: Arc<Mutex<Vec<u8>>>,
    next: u64,
}

#[async_trait]
impl Sink for Away {
    fn name(&self) -> &'static str {
        "away"
    }

    async fn cursor(&mut self) -> Result<u64, SinkError> {
        Ok(self.next)
    }

    async fn append(&mut self, batch: &CommittedBatch) -> Result<u64, SinkError> {
        if self.refusals.fetch_sub(1, Ordering::Relaxed) > 1 {
            return Err(SinkError::Unavailable {
                sink: "away".into(),
                problem: "away".into(),
                source: None,
            });
        }
        self.refusals.store(1, Ordering::Relaxed);
        assert_eq!(batch.first, self.next, "no hole, no repeat");
        self.taken.lock().unwrap().extend_from_slice(&batch.lines);
        self.next = batch.end();
        Ok(self.next)
    }

    async fn close(self: Box<Self>) -> Result<(), SinkError> {
        Ok(())
    }
}

#[test]
fn a_sink_that_was_away_gets_everything() {
    let home = Home::new();
    let taken = Arc::new(Mutex::new(Vec::new()));
    let sink = Away { refusals: AtomicU32::new(3), taken: Arc::clone(&taken), next: 0 };
    let summary = home.run(vec![Box::new(sink)], |intake| {
        // More than the window holds, so that the sink has to read from the segments.
        let long = "x".repeat(60_000);
        for number in 0..300 {
            intake.submit(Raw::Events(event(&format!("e{number}.{long}")))).unwrap();
        }
    });
    let [report] = &summary.sinks[..] else { panic!("one sink") };
    assert_eq!((report.cursor, &report.failure), (summary.records, &None));
    home.assert_good();
    let mut cursor = SegmentCursor::new(&Paths::new(&home.ledger()), 0);
    let (_, lines) = cursor.read(summary.records, usize::MAX).unwrap();
    assert!(*taken.lock().unwrap() == lines, "the sink holds the ledger's lines");
}

/// A sink that holds something else is stopped and reported; the ledger does not mind.
#[test]
fn a_fork_stops_the_sink_alone() {
    let home = Home::new();
    let mirror = home.dir.path().join("mirror");
    std::fs::write(&mirror, "{\"seq\":0}\n").unwrap();
    let sink = graven_sink_file::FileSink::open(&mirror).unwrap();
    let summary = home.run(vec![Box::new(sink)], |intake| {
        intake.submit(Raw::Events(event("a.b"))).unwrap();
    });
    // It takes what follows its own record 0, so the difference lies in the past.
    assert_eq!(summary.sinks.len(), 1);
    let again = graven_sink_file::FileSink::open(&mirror).unwrap();
    let summary = home.run(vec![Box::new(Replayed(again))], |_| {});
    let failure = summary.sinks[0].failure.as_deref().unwrap();
    assert!(failure.contains("different record 0"), "{failure}");
    home.assert_good();
}

/// A sink whose destination has forgotten its cursor.
#[derive(Debug)]
struct Replayed(graven_sink_file::FileSink);

#[async_trait]
impl Sink for Replayed {
    fn name(&self) -> &str {
        self.0.name()
    }

    async fn cursor(&mut self) -> Result<u64, SinkError> {
        Ok(0)
    }

    async fn append(&mut self, batch: &CommittedBatch) -> Result<u64, SinkError> {
        self.0.append(batch).await
    }

    async fn close(self: Box<Self>) -> Result<(), SinkError> {
        Box::new(self.0).close().await
    }
}
