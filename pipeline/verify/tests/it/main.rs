//! The verifier and recovery, tried on real ledgers, and on vectors from outside.

mod edits;
mod recovery;
mod report;
mod support;
mod vectors;
