//! The graph over real ledgers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod clock;
mod graph;
mod release;
mod support;
mod words;
