//! The graph over real ledgers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod graph;
mod release;
mod support;
mod words;
