//! Runs programs of known behaviour under capture, and compares what is on record with what they did.
//!
//! Needs root; without it each test says so and passes.

mod arguments;
mod cat;
mod cgroups;
mod claims;
mod expected;
mod families;
mod follower;
mod processes;
mod recorder;
mod rig;
mod subject;
mod watches;
