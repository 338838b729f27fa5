//! Sets of system calls, by which a watch says what goes on record.

use std::fmt;

use syscalls::x86_64::Sysno;

use crate::layout::PLANS;
use crate::table;

/// A set of `x86_64` system calls, by number.
///
/// It says nothing of calls of other architectures: those are always on record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CallSet {
    bits: [u64; PLANS / 64],
}

/// A name that no system call has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no system call `{name}`; did you mean `{nearest}`?")]
pub struct UnknownCall {
    /// The name as it was given.
    pub name: String,
    /// The known name that is nearest to it.
    pub nearest: &'static str,
}

impl CallSet {
    /// Every call, those that no table names included.
    pub const ALL: Self = Self { bits: [u64::MAX; PLANS / 64] };
    /// No call.
    pub const NONE: Self = Self { bits: [0; PLANS / 64] };

    /// Every call that changes something, crosses a boundary, or starts or ends something.
    ///
    /// Left out are pure reads, waits, and the housekeeping of memory, clocks and locks. A call that
    /// this version does not know is in the set.
    #[must_use]
    pub fn security() -> Self {
        let mut set = Self::ALL;
        for sysno in table::routine() {
            let (word, bit) = place(sysno);
            set.bits[word] &= !bit;
        }
        set
    }

    /// The calls of these names, as in the manual pages' section 2.
    ///
    /// # Errors
    ///
    /// [`UnknownCall`] for the first name that no `x86_64` call has.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownCall> {
        let mut set = Self::NONE;
        for name in names {
            let sysno = Sysno::iter().find(|sysno| sysno.name() == name);
            let sysno = sysno
                .ok_or_else(|| UnknownCall { name: name.to_owned(), nearest: nearest(name) })?;
            let (word, bit) = place(sysno);
            set.bits[word] |= bit;
        }
        Ok(set)
    }

    /// The calls of this set that are not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut bits = self.bits;
        for (word, removed) in bits.iter_mut().zip(other.bits) {
            *word &= !removed;
        }
        Self { bits }
    }

    /// Whether call `nr` is in the set; a number from 512 on always is.
    #[must_use]
    pub fn contains(&self, nr: u32) -> bool {
        let word = usize::try_from(nr / 64).ok().and_then(|word| self.bits.get(word));
        word.is_none_or(|word| word >> (nr % 64) & 1 == 1)
    }

    /// The others, as a bitmap: bit `n % 64` of word `n / 64` is call `n`.
    #[must_use]
    pub fn left_out(&self) -> [u64; PLANS / 64] {
        self.bits.map(|word| !word)
    }
}

impl fmt::Debug for CallSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Sysno::iter().filter(|sysno| {
            let (word, bit) = place(*sysno);
            self.bits[word] & bit != 0
        });
        f.debug_set().entries(names.map(|sysno| sysno.name())).finish()
    }
}

/// Word and bit of a call; a test shows that every number of the table is below 512.
fn place(sysno: Sysno) -> (usize, u64) {
    let nr = usize::try_from(sysno.id()).unwrap_or(0) % PLANS;
    (nr / 64, 1 << (nr % 64))
}

/// The known name with the fewest edits.
fn nearest(name: &str) -> &'static str {
    Sysno::iter().map(|sysno| sysno.name()).min_by_key(|known| edits(known, name)).unwrap_or("read")
}

/// Levenshtein distance, in characters.
fn edits(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (index, from) in one.chars().enumerate() {
        let mut diagonal = index;
        row[0] = index + 1;
        for (column, to) in other.chars().enumerate() {
            let change = diagonal + usize::from(from != to);
            diagonal = row[column + 1];
            row[column + 1] = change.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_fits_the_set() {
        assert!(Sysno::iter().all(|sysno| usize::try_from(sysno.id()).is_ok_and(|nr| nr < PLANS)));
        assert!(CallSet::ALL.contains(0) && CallSet::ALL.contains(511));
        assert!(!CallSet::NONE.contains(511) && CallSet::NONE.contains(512));
    }

    #[test]
    fn names_make_a_set_and_a_wrong_one_is_told() {
        let set = CallSet::of(["openat", "kill"]).expect("both are calls");
        assert!(set.contains(257) && set.contains(62) && !set.contains(2));
        let rest = CallSet::ALL.without(&set);
        assert!(!rest.contains(257) && rest.contains(2) && set.without(&set) == CallSet::NONE);
        assert_eq!(format!("{set:?}"), r#"{"kill", "openat"}"#);
        let error = CallSet::of(["openat", "opennat"]).expect_err("no such call");
        assert_eq!((error.name.as_str(), error.nearest), ("opennat", "openat"));
        assert_eq!(error.to_string(), "there is no system call `opennat`; did you mean `openat`?");
        assert!(CallSet::of(["", "\u{0}"]).is_err());
    }
}
