//! A graph by itself.

use std::time::Duration;

use graven_ledger::Run;
use graven_record::Value;
use graven_sink::Sink;
use graven_sink_file::FileSink;
use graven_stages::{
    EventBatch, Intake, Pipeline, PipelineError, PipelineOptions, Raw, StageError, Summary, clock,
    failpoint,
};

use crate::home::{EVENT, Home, told};

/// Events after which it is clear that nothing fails.
const EVENTS: u32 = 20;

/// Every place where a stage may panic; its first word is the stage.
const PLACES: [&str; 6] =
    ["normalize", "sequence", "commit, written", "commit, synced", "seal, leaves", "seal, block"];

type Acknowledged = Vec<(u64, String)>;

fn event() -> Raw {
    let (lines, ends) = (EVENT.into(), vec![(EVENT.len(), 1)]);
    Raw::Events(EventBatch { lines, ends, mono_ns: clock::mono_ns(), ..EventBatch::default() })
}

/// Submits events one after the other for as long as they are acknowledged.
async fn submit(intake: &Intake, acknowledged: &mut Acknowledged) {
    for _ in 0..EVENTS {
        let Ok(answer) = intake.submit_acknowledged(event()) else { return };
        let Ok(answer) = answer.await else { return };
        acknowledged.extend(answer.accepted.iter().map(told));
        // So that blocks grow old, and are sealed, while events come.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A run over the ledger in which `place` panics.
fn run(
    home: &Home,
    place: Option<&'static str>,
    sinks: Vec<Box<dyn Sink>>,
) -> (Acknowledged, Result<Summary, PipelineError>) {
    let ledger = home.open();
    let trace_id = "6f9619ff-8b86-4011-b42d-00cf4fc964ff".into();
    let run = Run { host: "host".into(), ledger: ledger.info.origin.to_string(), trace_id };
    actix::System::new().block_on(async move {
        let options =
            PipelineOptions { block_ms_max: 40, normalizers: 2, ..PipelineOptions::default() };
        let pipeline = Pipeline::start(ledger, run, Value::object([]), sinks, &options);
        let (intake, mut acknowledged) = (pipeline.intake(), Vec::new());
        submit(&intake, &mut acknowledged).await;
        assert_eq!(acknowledged.len(), EVENTS as usize, "control");
        if let Some(place) = place {
            failpoint::arm(place, 1);
            submit(&intake, &mut acknowledged).await;
        }
        (acknowledged, pipeline.drain().await)
    })
}

#[test]
fn a_stage_that_panics_ends_the_graph_and_loses_nothing() {
    for place in PLACES {
        let home = Home::new();
        let (control, drained) = run(&home, None, Vec::new());
        drained.expect("nothing fails");
        home.assert_good(&control);

        let (mut acknowledged, drained) = run(&home, Some(place), Vec::new());
        let failure = drained.expect_err("a stage has panicked");
        assert_eq!(Some(failure.stage), place.split(',').next(), "{place}");
        assert!(matches!(failure.source, StageError::Panicked), "{place}: {:?}", failure.source);

        let (again, drained) = run(&home, None, Vec::new());
        drained.expect("the ledger is taken up again");
        acknowledged.extend(control.into_iter().chain(again));
        home.assert_good(&acknowledged);
    }
}

#[test]
fn a_sink_that_panics_is_reported_and_holds_nothing_up() {
    let home = Home::new();
    let mirror = home.dir.path().join("mirror");
    let sink =
        || -> Vec<Box<dyn Sink>> { vec![Box::new(FileSink::open(&mirror).expect("a mirror"))] };
    let (mut acknowledged, drained) = run(&home, None, sink());
    assert_eq!(drained.expect("nothing fails").sinks[0].failure, None, "control");

    let (more, drained) = run(&home, Some("fan-out"), sink());
    assert_eq!(more.len(), 2 * EVENTS as usize, "all is acknowledged");
    let sinks = drained.expect("a sink is no stage").sinks;
    let [report] = &sinks[..] else { panic!("one sink: {sinks:?}") };
    let failure = report.failure.as_deref().expect("it has panicked");
    assert!(failure.contains("panicked") && report.name.starts_with("file"), "{report:?}");
    acknowledged.extend(more);
    home.assert_good(&acknowledged);

    let (again, drained) = run(&home, None, sink());
    assert_eq!(drained.expect("nothing fails").sinks[0].failure, None);
    acknowledged.extend(again);
    let lines = home.assert_good(&acknowledged);
    assert!(
        std::fs::read(&mirror).expect("a mirror") == lines,
        "the next run brings it what it lacks"
    );
}
