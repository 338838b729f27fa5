//! The verifier and recovery, tried on real ledgers, and on vectors from outside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod edits;
mod forgery;
mod hold;
mod recovery;
mod release;
mod report;
mod support;
mod vectors;
