//! What is wrong with a setting, before it is known on which line it stands.

use std::ops::Range;

use crate::key::Key;

/// What is wrong with a value, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {remedy}")]
pub struct Fault {
    pub(crate) what: String,
    pub(crate) remedy: String,
}

impl Fault {
    pub(crate) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

/// A fault and its setting. Without a span it is where the setting is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) key: Key,
    pub(crate) span: Option<Range<usize>>,
    pub(crate) fault: Fault,
}

/// Faults of one file. A file of faults alone is not worth the memory: of some only the number is kept.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) kept: Vec<Finding>,
    pub(crate) omitted: usize,
}

/// Faults that are kept.
const FINDINGS_MAX: usize = 100;

impl Findings {
    /// Notes a fault of the setting `key`.
    pub(crate) fn note(&mut self, key: &Key, fault: Fault) {
        self.note_at(key, None, fault);
    }

    /// Notes a fault in the bytes `span`.
    pub(crate) fn note_at(&mut self, key: &Key, span: Option<Range<usize>>, fault: Fault) {
        if self.kept.len() < FINDINGS_MAX {
            self.kept.push(Finding { key: key.clone(), span, fault });
        } else {
            self.omitted += 1;
        }
    }

    /// The value, or that type's empty one once its fault is noted.
    pub(crate) fn take<T: Default>(&mut self, key: &Key, judged: Result<T, Fault>) -> T {
        judged.unwrap_or_else(|fault| {
            self.note(key, fault);
            T::default()
        })
    }

    /// Adds what `later` found about settings in which nothing was found so far: a key that is misspelt
    /// is not also missing.
    pub(crate) fn extend(&mut self, later: Self) {
        let fresh: Vec<_> = later
            .kept
            .into_iter()
            .filter(|new| self.kept.iter().all(|old| !old.key.is_related(&new.key)))
            .collect();
        for finding in fresh {
            self.note_at(&finding.key, finding.span, finding.fault);
        }
        self.omitted += later.omitted;
    }
}
