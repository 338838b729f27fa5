//! The actor graph: intake → normalize → sequence → commit → seal, and the fan-out beside it.
//!
//! Each stage is three thin layers: a state machine without threads, a loop that feeds it from a
//! bounded channel, and an actix shell that starts it and sees it end. A message is a batch. Memory is
//! bounded by a byte budget: a batch takes a permit at intake and gives it back when it is committed.

mod agents;
mod batch;
mod budget;
mod cgroups;
pub mod clock;
mod commit;
mod container;
mod counters;
mod disk_budget;
mod facts;
#[cfg(feature = "failpoints")]
pub mod failpoint;
#[cfg(not(feature = "failpoints"))]
mod failpoint;
mod fanout;
mod figures;
mod gaps;
mod graph;
mod heartbeat;
mod intake;
mod keeper;
mod kernel;
mod left_out;
mod meter;
mod normalize;
mod observe;
mod pace;
mod preamble;
mod release;
mod seal;
mod sequence;
mod stage;
mod window;

pub use agents::{Agent, Agents, Watched};
pub use batch::{
    Acknowledgement, BATCH_BYTES_MAX, EventBatch, KernelBatch, OwnBody, OwnRecord, Raw, Rejection,
};
pub use budget::{ByteBudget, Closed, Permit};
pub use cgroups::CgroupLookup;
pub use counters::{Counters, Losses};
pub use disk_budget::{DiskBudget, DiskLimits, Standing};
pub use facts::{boot_id, host_name, look_at_host};
pub use fanout::{DeliveryError, SinkReport};
pub use figures::{
    ClockFigures, DiskFigures, Figures, IntakeFigures, KernelFigures, Latency, ReleaseFigures,
    SinkFigures, StageFigures,
};
pub use graph::{BUDGET_BYTES, HEARTBEAT_S, Pipeline, PipelineError, PipelineOptions, Summary};
pub use intake::Intake;
pub use kernel::KernelSource;
pub use left_out::Span;
pub use observe::Observer;
pub use release::ReleasePolicy;
pub use sequence::BLOCK_MS_MAX;
pub use stage::StageError;
