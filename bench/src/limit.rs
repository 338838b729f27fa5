//! When a measurement has gone on for long enough.

use clap::Args;
use graven_stages::clock;

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Limit {
    /// Longest time of one measurement, in seconds.
    #[arg(long, value_name = "S", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// Most records of one measurement: bounds what is written.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub(crate) records: u64,
}

impl Limit {
    /// The same limit as arguments of this program.
    pub(crate) fn to_args(self) -> [String; 2] {
        [format!("--seconds={}", self.seconds), format!("--records={}", self.records)]
    }

    /// Whether to go on after `records`, begun at `since_ns`.
    pub(crate) fn allows(self, records: u64, since_ns: u64) -> bool {
        records < self.records && clock::mono_ns() - since_ns < self.seconds * 1_000_000_000
    }
}
