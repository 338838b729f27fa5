//! Counts of what stands, in bounded memory.

use std::collections::HashMap;

use crate::findings::{At, Findings};
use crate::line::{Entry, Kind};
use crate::screen::number;
use crate::{ActionCount, Kinds, Missing, NoteKind};

/// Most actions that are counted by name.
const ACTIONS_MAX: usize = 1 << 12;

/// Most actions in the report.
const ACTIONS_LISTED_MAX: usize = 10;

/// Counts of standing records.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) kinds: Kinds,
    pub(crate) missing: Missing,
    actions: HashMap<String, u64>,
    unknown: Option<Unknown>,
}

#[derive(Debug)]
struct Unknown {
    count: u64,
    first: u64,
    name: Box<str>,
}

impl Tally {
    /// Counts a record, its action aside.
    pub(crate) fn add(&mut self, seq: u64, entry: &mut Entry) {
        let kind = match entry.kind {
            Kind::Event => &mut self.kinds.event,
            Kind::Gap => &mut self.kinds.gap,
            Kind::Syscall => &mut self.kinds.syscall,
            Kind::System => &mut self.kinds.system,
        };
        *kind += 1;
        if let Some(missing) = &entry.missing {
            self.missing.add(seq, missing);
        }
        if let Some(name) = entry.unknown.take() {
            let unknown = self.unknown.get_or_insert(Unknown { count: 0, first: seq, name });
            unknown.count += 1;
        }
    }

    /// Counts actions; beyond the first few thousand different ones they go uncounted.
    pub(crate) fn add_actions(&mut self, actions: Vec<String>, counts: &[u64]) {
        for (action, count) in actions.into_iter().zip(counts) {
            let has_room = self.actions.len() < ACTIONS_MAX;
            if *count == 0 {
                continue;
            }
            if let Some(known) = self.actions.get_mut(&action) {
                *known += count;
            } else if has_room {
                self.actions.insert(action, *count);
            }
        }
    }

    /// The commonest actions, most frequent first.
    pub(crate) fn commonest(&self) -> Vec<ActionCount> {
        let mut actions: Vec<_> = self
            .actions
            .iter()
            .map(|(action, count)| ActionCount { action: action.clone(), count: *count })
            .collect();
        actions.sort_unstable_by(|a, b| (b.count, &a.action).cmp(&(a.count, &b.action)));
        actions.truncate(ACTIONS_LISTED_MAX);
        actions
    }

    /// Notes members that are not known.
    pub(crate) fn note_unknown(&self, findings: &mut Findings) {
        if let Some(unknown) = &self.unknown {
            let sentence = format!(
                "{} members or actions that this version does not know, the first of them `{}`",
                match unknown.count {
                    1 => "1 record has".to_owned(),
                    many => format!("{} records have", number(many)),
                },
                unknown.name.escape_debug()
            );
            let at = At::default().record(unknown.first);
            findings.note(NoteKind::UnknownMembers, at, sentence);
        }
    }
}
