//! What the measurements feed to Graven, shared by the table and the micro-benchmarks.

pub mod samples;
