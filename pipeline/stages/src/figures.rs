//! The figures of a run, as status, metrics and heartbeats show them.

use graven_record::Value;
use serde::{Deserialize, Serialize};

use crate::disk_budget::Standing;

/// A run's figures at one moment. Counts are since the run's start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Records in the ledger that are durable, those of earlier runs included.
    pub size: u64,
    /// Records below the newest signed checkpoint.
    pub sealed_size: u64,
    /// Records made durable.
    pub records: u64,
    /// Bytes made durable.
    pub bytes: u64,
    /// Syncs of the ledger.
    pub syncs: u64,
    /// Blocks sealed.
    pub blocks: u64,
    /// Lines of input refused.
    pub rejected: u64,
    /// Gaps put on record.
    pub gaps: u64,
    /// Milliseconds since the newest heartbeat.
    pub heartbeat_age_ms: u64,
    /// What the ledger holds on disk.
    pub disk: DiskFigures,
    /// What was released of it.
    pub release: ReleaseFigures,
    /// What is inside the graph.
    pub intake: IntakeFigures,
    /// Each stage, in the order of the graph.
    pub stages: Vec<StageFigures>,
    /// fdatasync(2) of the ledger.
    pub sync: Latency,
    /// Each sink.
    pub sinks: Vec<SinkFigures>,
    /// The clock.
    pub clock: ClockFigures,
    /// What the kernel has counted.
    pub kernel: KernelFigures,
}

/// The byte budget and the queues behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntakeFigures {
    /// Raw bytes inside the graph.
    pub used_bytes: u64,
    /// Raw bytes that may be.
    pub max_bytes: u64,
    /// Microseconds that sources have waited for room.
    pub waited_us: u64,
}

/// The budget of disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskFigures {
    /// Bytes that the ledger's directory may hold; `None` where that is not limited.
    pub bytes_max: Option<u64>,
    /// Bytes that are to stay free on its file system; `None` where that is not limited.
    pub free_bytes_min: Option<u64>,
    /// Bytes that the directory holds.
    pub used_bytes: u64,
    /// How the one stands to the other.
    pub standing: Standing,
    /// Microseconds that sources were slowed down or stopped.
    pub waited_us: u64,
}

/// What was released in this run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseFigures {
    /// Segments.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Why no more are, where a release has failed; it is tried again.
    pub failure: Option<String>,
}

/// What one stage has handed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageFigures {
    /// Its name.
    pub stage: String,
    /// Records handed on.
    pub records: u64,
    /// Their bytes, in the form that the stage gives them.
    pub bytes: u64,
    /// Microseconds that it has waited on the stage after it.
    pub waited_us: u64,
}

/// How long something took, in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// Median of the last minute or two; 0 where there was none.
    pub recent_p50_us: u64,
    /// 99th percentile of the same.
    pub recent_p99_us: u64,
    /// Longest of the same.
    pub recent_max_us: u64,
    /// How many since the start.
    pub count: u64,
    /// Their sum.
    pub sum_us: u64,
    /// Upper bound in microseconds, and how many were at most that.
    pub buckets: Vec<(u64, u64)>,
}

/// How far a sink has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkFigures {
    /// Its name.
    pub name: String,
    /// Records that its destination holds.
    pub cursor: u64,
    /// Durable records that it lacks.
    pub lag_records: u64,
    /// Milliseconds since it last had them all; 0 while it has.
    pub lag_ms: u64,
    /// Why it has stopped, where it has.
    pub failure: Option<String>,
}

/// The clock's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockFigures {
    /// Whether the kernel calls it synchronised.
    pub synchronised: bool,
    /// The kernel's bound of its error, in nanoseconds; meaningless where it is not synchronised.
    pub max_error_ns: u64,
}

/// What the kernel program has counted for this ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelFigures {
    /// Records handed to the ring.
    pub emitted: u64,
    /// Records that found the ring full.
    pub dropped: u64,
    /// Calls for which no memory was to be had.
    pub stash_failed: u64,
    /// Calls that were in progress when their task came under watch, and are not recorded.
    pub skipped_mid_call: u64,
    /// Events that came while the program was running on that CPU already.
    pub recursion_misses: u64,
    /// Calls that its filters left out. What is left out by path is not among them.
    pub left_out: u64,
}

impl KernelFigures {
    /// The figures as members of a record's `detail`.
    pub(crate) fn to_value(self) -> Value {
        Value::object([
            ("dropped", self.dropped.into()),
            ("emitted", self.emitted.into()),
            ("left_out", self.left_out.into()),
            ("recursion_misses", self.recursion_misses.into()),
            ("skipped_mid_call", self.skipped_mid_call.into()),
            ("stash_failed", self.stash_failed.into()),
        ])
    }
}
