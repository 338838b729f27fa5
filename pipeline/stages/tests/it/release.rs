//! When a segment may leave the ledger, and when not.

use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use graven_ledger::Paths;
use graven_sink::{CommittedBatch, Sink, SinkError};
use graven_sink_file::FileSink;
use graven_stages::{PipelineOptions, Raw, ReleasePolicy};

use crate::support::{Home, event};

/// A destination that says at first that it has everything, and takes nothing.
#[derive(Debug)]
struct Boaster(u64);

#[async_trait]
impl Sink for Boaster {
    fn name(&self) -> &'static str {
        "boaster"
    }

    async fn cursor(&mut self) -> Result<u64, SinkError> {
        Ok(self.0)
    }

    async fn append(&mut self, _: &CommittedBatch) -> Result<u64, SinkError> {
        Err(SinkError::Fork { sink: "boaster".into(), index: 0 })
    }

    async fn close(self: Box<Self>) -> Result<(), SinkError> {
        Ok(())
    }
}

/// A few closed segments, and time for the keeper to look at them; gives where the ledger begins then.
fn begins_after(home: &Home, sinks: Vec<Box<dyn Sink>>, policy: ReleasePolicy) -> u64 {
    let options = PipelineOptions {
        block_ms_max: 5,
        segment_bytes_max: 1 << 16,
        release: Some(policy),
        ..PipelineOptions::default()
    };
    home.run_with(&options, sinks, |intake| {
        let long = "x".repeat(20_000);
        for number in 0..12 {
            intake.submit(Raw::Events(event(&format!("e{number}.{long}")))).unwrap();
        }
        thread::sleep(Duration::from_millis(3_500));
    });
    home.verify_good();
    graven_ledger::begins(&Paths::new(&home.ledger())).unwrap()
}

#[test]
fn a_segment_stays_until_it_is_old_and_the_required_sink_has_it() {
    let policy = |retention_s, sinks: &[&str]| ReleasePolicy {
        retention_s,
        sinks: sinks.iter().map(|name| (*name).to_owned()).collect(),
    };
    let without_copy = begins_after(&Home::new(), Vec::new(), policy(1, &[]));
    assert!(without_copy > 0, "control: where no copy is asked for, age is enough");
    assert_eq!(begins_after(&Home::new(), Vec::new(), policy(60, &[])), 0, "too young");
    assert_eq!(begins_after(&Home::new(), Vec::new(), policy(1, &["mirror"])), 0, "no such sink");

    let home = Home::new();
    home.run(Vec::new(), |_| {});
    let boaster: Box<dyn Sink> = Box::new(Boaster(3));
    assert_eq!(begins_after(&home, vec![boaster], policy(1, &["boaster"])), 0, "it only says so");

    let path = home.dir.path().join("mirror");
    let mirror = FileSink::open(&path).unwrap();
    let name = mirror.name().to_owned();
    assert!(begins_after(&home, vec![Box::new(mirror)], policy(1, &[&name])) > 0);
}
