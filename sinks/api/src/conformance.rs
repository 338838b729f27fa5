//! The suite that every sink passes.

use crate::{CommittedBatch, Sink, SinkError};

/// Three records of a made-up ledger.
fn batch(first: u64, actions: &[&str]) -> CommittedBatch {
    let mut lines = Vec::new();
    for (action, seq) in actions.iter().zip(first..) {
        lines.extend_from_slice(format!("{{\"action\":\"{action}\",\"seq\":{seq}}}\n").as_bytes());
    }
    CommittedBatch { first, count: actions.len() as u64, lines }
}

/// Checks the contract of [`Sink`]. `open` opens the same destination each time; it is empty at
/// first.
///
/// # Panics
///
/// Where the sink breaks the contract.
pub async fn check<S: Sink>(open: impl Fn() -> S) {
    let mut sink = open();
    assert_eq!(cursor(&mut sink).await, 0, "an empty destination lacks record 0");
    let first = batch(0, &["a", "b", "c"]);
    assert_eq!(append(&mut sink, &first).await, 3);
    assert_eq!(append(&mut sink, &first).await, 3, "a repeated batch changes nothing");
    let overlapping = batch(2, &["c", "d"]);
    assert_eq!(append(&mut sink, &overlapping).await, 4, "an overlap is completed");
    assert_eq!(cursor(&mut sink).await, 4);

    let hole = sink.append(&batch(5, &["f"])).await;
    assert!(matches!(hole, Err(SinkError::Hole { expected: 4, first: 5, .. })), "{hole:?}");
    let fork = sink.append(&batch(1, &["x"])).await;
    assert!(matches!(fork, Err(SinkError::Fork { index: 1, .. })), "{fork:?}");
    Box::new(sink).close().await.expect("the sink closes");

    let mut again = open();
    assert_eq!(cursor(&mut again).await, 4, "the cursor lives at the destination");
    assert_eq!(append(&mut again, &batch(4, &["e"])).await, 5);
    Box::new(again).close().await.expect("the sink closes");
}

async fn cursor(sink: &mut impl Sink) -> u64 {
    sink.cursor().await.expect("the cursor can be read")
}

async fn append(sink: &mut impl Sink, batch: &CommittedBatch) -> u64 {
    sink.append(batch).await.expect("the batch is taken")
}
