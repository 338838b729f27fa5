//! Collects faults and notes in bounded memory.

use std::collections::BTreeMap;

use crate::{Fault, FaultKind, Note, NoteKind};

/// Most faults, and most notes, that are listed.
const LISTED_MAX: usize = 100;

/// Most of one kind, so that one that repeats does not hide the others.
const LISTED_OF_A_KIND_MAX: u64 = 20;

/// Faults and notes in the order in which they were found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) faults: Vec<Fault>,
    pub(crate) notes: Vec<Note>,
    pub(crate) faults_total: u64,
    pub(crate) notes_total: u64,
    faults_of: BTreeMap<FaultKind, u64>,
    notes_of: BTreeMap<NoteKind, u64>,
}

/// Where something was found.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct At<'a> {
    pub(crate) file: Option<&'a str>,
    pub(crate) byte: Option<u64>,
    pub(crate) record: Option<u64>,
}

impl<'a> At<'a> {
    pub(crate) fn file(file: &'a str) -> Self {
        Self { file: Some(file), ..Self::default() }
    }

    pub(crate) fn byte(self, byte: u64) -> Self {
        Self { byte: Some(byte), ..self }
    }

    pub(crate) fn record(self, record: u64) -> Self {
        Self { record: Some(record), ..self }
    }
}

impl Findings {
    /// Adds a fault.
    pub(crate) fn fault(&mut self, kind: FaultKind, at: At<'_>, sentence: impl Into<String>) {
        self.faults_total += 1;
        let of_kind = self.faults_of.entry(kind).or_default();
        *of_kind += 1;
        if *of_kind <= LISTED_OF_A_KIND_MAX && self.faults.len() < LISTED_MAX {
            self.faults.push(Fault {
                byte: at.byte,
                file: at.file.map(str::to_owned),
                kind,
                record: at.record,
                sentence: sentence.into(),
            });
        }
    }

    /// Adds a note.
    pub(crate) fn note(&mut self, kind: NoteKind, at: At<'_>, sentence: impl Into<String>) {
        self.note_of_bytes(kind, at, None, sentence);
    }

    /// Adds a note about a stretch of bytes: their number and their SHA-256.
    pub(crate) fn note_of_bytes(
        &mut self,
        kind: NoteKind,
        at: At<'_>,
        stretch: Option<(u64, graven_record::Hash)>,
        sentence: impl Into<String>,
    ) {
        self.notes_total += 1;
        let of_kind = self.notes_of.entry(kind).or_default();
        *of_kind += 1;
        if *of_kind <= LISTED_OF_A_KIND_MAX && self.notes.len() < LISTED_MAX {
            self.notes.push(Note {
                byte: at.byte,
                bytes: stretch.map(|(bytes, _)| bytes),
                file: at.file.map(str::to_owned),
                kind,
                record: at.record,
                sentence: sentence.into(),
                sha256: stretch.map(|(_, sha256)| sha256),
            });
        }
    }
}
