//! Takes the lines in order: which record is which, and what of a fault is the fault of which.
//!
//! One edit should give one fault, at the record that was edited. So a record's leaf hash is
//! settled only when the record after it has said what it should be; and after a fault the walk goes
//! on with the hash that the others agree on. Whatever is mended here has been reported before.

use graven_record::Hash;

use crate::findings::{At, Findings};
use crate::growth::{Facts, Growth};
use crate::line::{BadLine, CheckedLines, Entry, Line};
use crate::released::Accounted;
use crate::segments::Segment;
use crate::tally::Tally;
use crate::{FaultKind, NoteKind, VerifyError, files};

/// A line that stands, whose leaf hash is not settled yet.
#[derive(Debug)]
struct Pending {
    segment: usize,
    at_byte: u64,
    leaf: Hash,
    /// `None` for a line that is no record.
    facts: Option<Facts>,
}

/// A stretch of a segment beyond the next one's name.
#[derive(Debug)]
pub(crate) struct Superseded {
    pub(crate) segment: usize,
    pub(crate) at_byte: u64,
    /// Index of its first record.
    pub(crate) seq: u64,
    /// Leaf hash of the record before, where it is known.
    pub(crate) prev: Option<Hash>,
}

/// What names the hash that a record should have.
#[derive(Debug, Clone, Copy)]
struct Named {
    hash: Hash,
    /// The record that names it and where it stands; `None` for a header.
    by: Option<(usize, u64)>,
}

/// The walk through all segments.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    segments: &'a [Segment],
    sealed: u64,
    pub(crate) growth: Growth<'a>,
    pub(crate) tally: Tally,
    pub(crate) superseded: Vec<Superseded>,
    pub(crate) accounted: Accounted,
    segment: Option<usize>,
    pending: Option<Pending>,
    /// `None` where the ledger begins within an epoch.
    epoch: Option<u64>,
    created: Option<u64>,
    /// True behind an unsealed damaged tail.
    ended: bool,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(segments: &'a [Segment], sealed: u64, growth: Growth<'a>) -> Self {
        Self {
            segments,
            sealed,
            growth,
            tally: Tally::default(),
            superseded: Vec::new(),
            accounted: Accounted::default(),
            segment: None,
            pending: None,
            epoch: Some(0),
            created: None,
            ended: false,
        }
    }

    /// Index of the record that comes next.
    fn next(&self) -> u64 {
        self.growth.size + u64::from(self.pending.is_some())
    }

    /// Leaf hash of the record before, where it is known.
    fn head(&self) -> Option<Hash> {
        match &self.pending {
            Some(pending) => Some(pending.leaf),
            None => self.growth.head,
        }
    }

    fn at(&self, segment: usize, at_byte: u64) -> At<'a> {
        At::file(&self.segments[segment].name).byte(at_byte)
    }

    /// Takes the next lines of a segment.
    pub(crate) fn add(
        &mut self,
        segment: usize,
        checked: CheckedLines,
        findings: &mut Findings,
    ) -> Result<(), VerifyError> {
        let mut counts = vec![0; checked.actions.len()];
        for line in checked.lines {
            if self.ended {
                break;
            }
            self.line(segment, line, &mut counts, findings)?;
        }
        self.tally.add_actions(checked.actions, &counts);
        Ok(())
    }

    fn line(
        &mut self,
        segment: usize,
        line: Line,
        counts: &mut [u64],
        findings: &mut Findings,
    ) -> Result<(), VerifyError> {
        self.enter_up_to(segment, findings)?;
        if self.next() >= self.segments[segment].end {
            if self.superseded.last().map(|it| it.segment) != Some(segment) {
                self.superseded.push(Superseded {
                    segment,
                    at_byte: line.at_byte,
                    seq: self.next(),
                    prev: self.head(),
                });
            }
            return Ok(());
        }
        let at = (segment, line.at_byte);
        match line.read {
            Err(bad) => self.bad_line(at, line.leaf, &bad, findings),
            Ok(entry) => self.record(at, line.leaf, entry, counts, findings),
        }
    }

    /// Enters the segments up to this one. What has no line shows by its name alone that records should stand
    /// before it.
    fn enter_up_to(&mut self, segment: usize, findings: &mut Findings) -> Result<(), VerifyError> {
        let after = self.segment.map_or(0, |entered| entered + 1);
        (after..=segment).try_for_each(|next| self.enter(next, findings))
    }

    /// The segments before this one must have reached its first record.
    fn enter(&mut self, segment: usize, findings: &mut Findings) -> Result<(), VerifyError> {
        self.segment = Some(segment);
        let first = self.segments[segment].first;
        if segment == 0 && first > 0 {
            // Whether that was said is known at the end.
            self.accounted.begins = first;
            self.growth.released = first;
            self.epoch = None;
            return self.fill(first, self.at(segment, 0), findings);
        }
        if self.next() < first {
            let at = match segment.checked_sub(1) {
                Some(before) => self.at(before, self.segments[before].bytes),
                None => self.at(segment, 0),
            };
            self.missing(first, at, findings)?;
        }
        Ok(())
    }

    /// True where the next record, at `at`, is not sealed and a crash can have damaged it.
    fn is_unsynced(&self, (segment, at_byte): (usize, u64)) -> bool {
        self.next() >= self.sealed && self.segments[segment].is_unsynced(at_byte)
    }

    fn damaged_tail(
        &mut self,
        (segment, at_byte): (usize, u64),
        problem: &str,
        findings: &mut Findings,
    ) -> Result<(), VerifyError> {
        self.ended = true;
        let stretch = files::digest_from(&self.segments[segment].path, at_byte)?;
        let at = self.at(segment, at_byte).record(self.next());
        let sentence = format!("the unsealed end of the segment is damaged: {problem}");
        findings.note_of_bytes(NoteKind::DamagedTail, at, Some(stretch), sentence);
        Ok(())
    }

    fn bad_line(
        &mut self,
        place: (usize, u64),
        leaf: Hash,
        bad: &BadLine,
        findings: &mut Findings,
    ) -> Result<(), VerifyError> {
        let seq = self.next();
        // A record in its place that lacks a member is no crash's work, sealed or not.
        let chained = bad.place.is_some() && bad.place == self.head().map(|head| (seq, head));
        if self.is_unsynced(place) && !chained {
            return self.damaged_tail(place, &bad.problem, findings);
        }
        let at = self.at(place.0, place.1).record(seq);
        findings.fault(bad.kind, at, format!("record {seq}: {}", bad.problem));
        self.settle(None, findings)?;
        self.pending = Some(Pending { segment: place.0, at_byte: place.1, leaf, facts: None });
        Ok(())
    }

    fn record(
        &mut self,
        place: (usize, u64),
        leaf: Hash,
        mut entry: Entry,
        counts: &mut [u64],
        findings: &mut Findings,
    ) -> Result<(), VerifyError> {
        let (seq, prev) = (entry.placement.seq, entry.placement.prev);
        // Where the record before this one is no record, it may be a line too many.
        let garbage = self.pending.as_ref().is_some_and(|it| it.facts.is_none());
        if garbage && seq.checked_add(1) == Some(self.next()) {
            self.pending = None;
        }
        if self.is_unsynced(place)
            && let Some(problem) = self.unfit(&entry)
        {
            return self.damaged_tail(place, &problem, findings);
        }
        let at = self.at(place.0, place.1);
        if seq != self.next() && !self.find_place(place, seq, prev, findings)? {
            return Ok(());
        }
        let seq = self.next();
        let at = at.record(seq);
        let named = Named { hash: prev, by: Some(place) };
        if self.pending.is_some() {
            self.settle(Some(named), findings)?;
        } else if let Some(head) = self.growth.head.filter(|head| *head != prev) {
            let sentence =
                format!("record {seq} names {prev} as the hash before it, which is {head}");
            findings.fault(FaultKind::BrokenChain, at, sentence);
        }
        self.check_epoch(&entry, at, findings);
        self.check_entry(&mut entry, seq, at, findings);
        counts[entry.action] += 1;
        self.tally.add(seq, &mut entry);
        if let Some(release) = entry.released.filter(|_| seq < self.sealed) {
            self.accounted.add(seq, *release);
        }
        self.pending = Some(Pending {
            segment: place.0,
            at_byte: place.1,
            leaf,
            facts: Some(Facts {
                earliest: entry.placement.earliest,
                latest: entry.placement.latest,
                is_gap: entry.placement.is_gap,
                opens_block: entry.placement.opens_block,
                opening: entry.opening,
            }),
        });
        Ok(())
    }

    /// Why a record does not continue the chain, as far as a crash can explain it.
    fn unfit(&self, entry: &Entry) -> Option<String> {
        let it = &entry.placement;
        let next = self.next();
        if it.seq != next {
            return Some(format!("the line says it is record {}, not {next}", it.seq));
        }
        let head = self.head().filter(|head| *head != it.prev)?;
        // The last sealed record may be the one that was changed: its header knows.
        if next == self.sealed && self.growth.head_of_header() == Some(it.prev) {
            return None;
        }
        Some(format!("record {next} names {} as the hash before it, which is {head}", it.prev))
    }

    /// Deals with a record whose `seq` is not the next one; false where it is passed over.
    fn find_place(
        &mut self,
        place: (usize, u64),
        seq: u64,
        prev: Hash,
        findings: &mut Findings,
    ) -> Result<bool, VerifyError> {
        let next = self.next();
        let at = self.at(place.0, place.1);
        if self.head().is_some_and(|head| head == prev) {
            // In its place in the chain: the number alone is wrong.
            let sentence = format!("record {next} says that it is record {seq}");
            findings.fault(FaultKind::WrongSeq, at.record(next), sentence);
            return Ok(true);
        }
        if seq > next && seq < self.segments[place.0].end {
            self.missing(seq, at, findings)?;
            return Ok(true);
        }
        let sentence = format!("record {seq} stands where record {next} belongs");
        findings.fault(FaultKind::WrongSeq, at.record(seq), sentence);
        Ok(false)
    }

    /// Reports that the records up to `until` are missing, and fills the tree from the tiles.
    fn missing(
        &mut self,
        until: u64,
        at: At<'_>,
        findings: &mut Findings,
    ) -> Result<(), VerifyError> {
        let first = self.next();
        let sentence = if until - first == 1 {
            format!("record {first} is missing")
        } else {
            format!("records {first} to {} are missing", until - 1)
        };
        findings.fault(FaultKind::MissingRecords, at.record(first), sentence);
        self.settle(None, findings)?;
        self.fill(until, at, findings)
    }

    /// Fills the tree up to `until` from the tiles.
    fn fill(&mut self, until: u64, at: At<'_>, findings: &mut Findings) -> Result<(), VerifyError> {
        while self.growth.size < until {
            let Some(leaf) = self.growth.stored_leaf(findings)? else {
                if !self.growth.is_lost() {
                    let sentence = format!(
                        "roots and tiles from record {} on were not recomputed",
                        self.growth.size
                    );
                    let at = At::default().record(self.growth.size);
                    findings.note(NoteKind::NotChecked, at, sentence);
                }
                return self.growth.lose(until);
            };
            self.growth.add(leaf, None, true, at, findings)?;
        }
        Ok(())
    }

    fn epoch_of(&self, entry: &Entry) -> u64 {
        let unknown = entry.placement.epoch;
        if entry.placement.begins_epoch { self.next() } else { self.epoch.unwrap_or(unknown) }
    }

    fn check_epoch(&mut self, entry: &Entry, at: At<'_>, findings: &mut Findings) {
        let (expected, actual) = (self.epoch_of(entry), entry.placement.epoch);
        if expected != actual {
            let sentence =
                format!("`epoch` is {actual}, but the newest pipeline.started is {expected}");
            findings.fault(FaultKind::WrongEpoch, at, sentence);
        }
        // Its own word from here on: so a wrong epoch is reported where it begins.
        self.epoch = Some(actual);
    }

    /// Checks the record's form, and `ledger.created`.
    fn check_entry(&mut self, entry: &mut Entry, seq: u64, at: At<'_>, findings: &mut Findings) {
        if let Some(wrong) = entry.wrong.take() {
            let sentence = format!("record {seq}: {wrong}");
            findings.fault(FaultKind::WrongShape, at, sentence);
        }
        let Some(is_equal) = entry.created else {
            return;
        };
        if !is_equal {
            let sentence = "ledger.created does not say what ledger.json says";
            findings.fault(FaultKind::WrongLedger, at, sentence);
        }
        if let Some(before) = self.created {
            let sentence = format!("ledger.created stands a second time, after record {before}");
            findings.fault(FaultKind::WrongLedger, at, sentence);
        } else if self.growth.height() > 0 {
            let sentence = "ledger.created does not stand in block 0";
            findings.note(NoteKind::LedgerCreated, at, sentence);
        }
        self.created = Some(seq);
    }

    /// Settles the leaf hash of the pending record, now that what comes after has named it.
    fn settle(&mut self, named: Option<Named>, findings: &mut Findings) -> Result<(), VerifyError> {
        let Some(pending) = self.pending.take() else {
            return Ok(());
        };
        let stored = self.growth.stored_leaf(findings)?;
        let leaf = match (named, pending.facts) {
            (Some(named), Some(_)) if named.hash != pending.leaf => {
                self.blame(&pending, named, stored, findings)
            }
            // A line that is no record was reported; its neighbours know what it was.
            (Some(named), None) => named.hash,
            (None, None) => stored.unwrap_or(pending.leaf),
            _ => pending.leaf,
        };
        let doubtful = leaf != pending.leaf;
        let at = self.at(pending.segment, pending.at_byte);
        let at = at.record(self.growth.size);
        self.growth.add(leaf, pending.facts.as_ref(), doubtful, at, findings)
    }

    /// Two records, or a record and a header, contradict each other: the tiles decide which one is
    /// to blame. Returns the hash to go on with.
    fn blame(
        &self,
        pending: &Pending,
        named: Named,
        stored: Option<Hash>,
        findings: &mut Findings,
    ) -> Hash {
        let seq = self.growth.size;
        let (hash, leaf) = (named.hash, pending.leaf);
        if stored == Some(leaf) {
            if let Some((segment, at_byte)) = named.by {
                let sentence = format!(
                    "record {} names {hash} as the hash before it, but record {seq} hashes to {leaf}",
                    seq + 1
                );
                let at = self.at(segment, at_byte).record(seq + 1);
                findings.fault(FaultKind::BrokenChain, at, sentence);
            }
            return leaf; // Where it is a header, its comparison will say so.
        }
        let by = match named.by {
            Some(_) => format!("record {}", seq + 1),
            None => "its block's header".into(),
        };
        let sentence = format!("record {seq} hashes to {leaf}, but {by} names {hash}");
        let at = self.at(pending.segment, pending.at_byte).record(seq);
        findings.fault(FaultKind::RecordChanged, at, sentence);
        hash
    }

    /// Settles what is left at the end of the last segment. Returns the number of standing records.
    pub(crate) fn finish(&mut self, findings: &mut Findings) -> Result<u64, VerifyError> {
        if let Some(last) = self.segments.len().checked_sub(1) {
            self.enter_up_to(last, findings)?;
        }
        let named = self.growth.head_of_header();
        self.settle(named.map(|hash| Named { hash, by: None }), findings)?;
        let standing = self.next();
        if standing < self.sealed {
            let at = match self.segments.last() {
                Some(last) => At::file(&last.name).byte(last.bytes),
                None => At::file("segments"),
            };
            self.missing(self.sealed, at, findings)?;
        }
        self.growth.finish(findings)?;
        if standing > self.sealed {
            let sentence = format!(
                "{} records from {} on are not yet sealed",
                standing - self.sealed,
                self.sealed
            );
            let at = At::default().record(self.sealed);
            findings.note(NoteKind::Unsealed, at, sentence);
        }
        if self.created.is_none() && self.sealed > 0 && self.accounted.begins == 0 {
            let sentence = "there is no record ledger.created";
            findings.note(NoteKind::LedgerCreated, At::default(), sentence);
        }
        self.tally.note_unknown(findings);
        Ok(standing)
    }
}
