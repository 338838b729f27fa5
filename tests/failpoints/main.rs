//! Stages that panic, as a defect would have them do: what was acknowledged stands, and the ledger is taken up again.
//!
//! The feature `failpoints` is this binary's alone. `cargo test --workspace` leaves the binary out, since it needs the
//! feature, and so the feature is unified into nothing else that the same command builds.

mod daemon;
mod graph;
mod home;
