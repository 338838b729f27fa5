//! What was released: records whose leaf hashes alone are left, behind a sealed record that says so.
//!
//! Source: `schemas/format.md`, section 9.

use graven_ledger::Release;

use crate::FaultKind;
use crate::findings::{At, Findings};
use crate::report::Released;

/// The beginning that is missing, and the newest record that accounts for it.
#[derive(Debug, Default)]
pub(crate) struct Accounted {
    /// Leaf index of the first record that stands.
    pub(crate) begins: u64,
    newest: Option<(u64, Release)>,
}

impl Accounted {
    /// Takes note of what the sealed record `seq` says; records come in order.
    pub(crate) fn add(&mut self, seq: u64, release: Release) {
        self.newest = Some((seq, release));
    }

    /// Holds what is missing at the beginning against what was said of it; gives what was released.
    pub(crate) fn close(&self, first: &str, findings: &mut Findings) -> Option<Released> {
        let end = self.newest.map_or(0, |(_, release)| release.end());
        if end < self.begins {
            let sentence = if self.begins - end == 1 {
                format!("record {end} is missing")
            } else {
                format!("records {end} to {} are missing", self.begins - 1)
            };
            let at = At::file(first).byte(0).record(end);
            findings.fault(FaultKind::MissingRecords, at, sentence);
        }
        let (record, release) = self.newest?;
        Some(Released { record, records: release.end(), segments: release.segments })
    }
}
