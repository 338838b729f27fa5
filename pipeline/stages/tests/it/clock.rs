//! Clocks that jump, under the whole graph.

use graven_record::event::{Admission, Defaults, Event};
use graven_record::{ClockSample, DraftBatch, Timestamp};
use graven_stages::{Raw, clock};

use crate::support::Home;

const SECOND_NS: i64 = 1_000_000_000;
const DAY_NS: i64 = 86_400 * SECOND_NS;

/// What was set on the clock before each batch of events, as a distance from the true time.
const SET: [i64; 8] =
    [0, -3 * DAY_NS, -7 * SECOND_NS, 3_653 * DAY_NS, -DAY_NS, 3_660 * DAY_NS, 3_659 * DAY_NS, 0];
/// The batches before which it was set to a day that is later than any before.
const LATER: [usize; 2] = [3, 5];
const EVENTS: usize = 3;

/// Events at this moment, as a clock has it that shows `real`.
fn batch(action: &str, real: Timestamp) -> DraftBatch {
    let mono_ns = clock::mono_ns();
    let sample = ClockSample {
        mono_ns,
        real,
        reading_error_ns: 100,
        max_error_ns: 2_000_000,
        synchronised: true,
    };
    let line = format!(
        r#"{{"action":"{action}","actor":{{"kind":"user","id":"u"}},"subject":{{"kind":"k","id":"i"}}}}"#
    );
    let event = Event::parse(line.as_bytes(), &Admission::default()).unwrap();
    let defaults = Defaults {
        host: "host",
        ledger: "example.org/graph",
        time: sample.true_time(mono_ns),
        trace_id: "6f9619ff-8b86-4011-b42d-00cf4fc964ff",
    };
    let mut batch = DraftBatch::default();
    for _ in 0..EVENTS {
        batch.push(&event.draft(&defaults)).unwrap();
    }
    batch
}

fn day(record: &serde_json::Value) -> i64 {
    let time = record["timestamp_truetime"]["earliest"].as_str().unwrap();
    Timestamp::parse(time).unwrap().utc_day()
}

/// Records keep the order in which they came, whatever the clock says; no block reaches into a later day than
/// the one in which it was opened; and the ledger verifies.
#[test]
fn a_clock_that_jumps_changes_no_order() {
    let home = Home::new();
    let true_time = clock::now();
    home.run(Vec::new(), move |intake| {
        for (turn, set_ns) in SET.iter().enumerate() {
            let real = Timestamp { unix_ns: true_time.unix_ns + set_ns };
            let batch = batch(&format!("turn.t{turn}"), real);
            let answer = intake.submit_acknowledged(Raw::Drafts(batch)).unwrap();
            let receipts = answer.blocking_recv().unwrap().accepted;
            assert_eq!(receipts.len(), EVENTS);
        }
    });
    let records = home.assert_good();
    let events: Vec<&serde_json::Value> =
        records.iter().filter(|record| record["kind"] == "event").collect();
    assert_eq!(events.len(), EVENTS * SET.len());
    for (at, event) in events.iter().enumerate() {
        let turn = at / EVENTS;
        assert_eq!(event["action"], format!("turn.t{turn}"));
        let days = (true_time.unix_ns + SET[turn]).div_euclid(DAY_NS);
        // At midnight an interval reaches back into the day before.
        assert!((days - 1..=days).contains(&day(event)), "{event}");
    }
    let mut opened = i64::MIN;
    for record in &records {
        if record["action"] == "block.opened" {
            opened = day(record);
        }
        assert!(day(record) <= opened, "{record} lies in a block of an earlier day");
    }
    for turn in LATER {
        let action = format!("turn.t{turn}");
        let first = records.iter().position(|record| record["action"] == *action).unwrap();
        assert_eq!(records[first - 1]["action"], "block.opened", "a later day, another block");
    }
}
