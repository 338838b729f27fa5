//! Who has a cgroup or an executable where several watches ask for it.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use graven_abi::layout::watch_flag;

use super::kernel::Kernel;
use crate::error::CaptureError;

/// What a watch asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) index: u32,
    is_exclusion: bool,
}

impl Claim {
    pub(super) fn of(kernel: &Kernel, index: u32) -> Result<Self, CaptureError> {
        let at = kernel.require_watch(index)?;
        let flags = kernel.slots().watches[at].flags;
        Ok(Self { index, is_exclusion: flags & watch_flag::EXCLUSION != 0 })
    }
}

/// The claims on each thing. The one watch that records it has it; where there is none, the first of those
/// that leave it out. Nothing is recorded twice, and nothing is left out that somebody wants on record.
#[derive(Debug)]
pub(super) struct Claims<K> {
    claims: BTreeMap<K, Vec<Claim>>,
}

// Not derived: that would ask for a default key.
impl<K> Default for Claims<K> {
    fn default() -> Self {
        Self { claims: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Claims<K> {
    /// Adds a claim, in place of the one that watch `instead_of` has, if it has one.
    ///
    /// Where another watch records it already, that watch's index is the error, and nothing is changed.
    pub(super) fn add(&mut self, key: K, claim: Claim, instead_of: Option<u32>) -> Result<(), u32> {
        let goes = |known: &Claim| known.index == claim.index || Some(known.index) == instead_of;
        let known = self.claims.get(&key).map_or(&[][..], Vec::as_slice);
        let rival = known.iter().find(|known| !known.is_exclusion && !goes(known));
        if let Some(rival) = rival.filter(|_| !claim.is_exclusion) {
            return Err(rival.index);
        }
        let claims = self.claims.entry(key).or_default();
        claims.retain(|known| !goes(known));
        claims.push(claim);
        Ok(())
    }

    /// Takes a watch's claim away; false if it had none.
    pub(super) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q, index: u32) -> bool
    where
        K: Borrow<Q>,
    {
        let Some(claims) = self.claims.get_mut(key) else { return false };
        let before = claims.len();
        claims.retain(|claim| claim.index != index);
        let is_removed = claims.len() < before;
        if claims.is_empty() {
            self.claims.remove(key);
        }
        is_removed
    }

    /// The watch that has it.
    pub(super) fn holder<Q: Ord + ?Sized>(&self, key: &Q) -> Option<u32>
    where
        K: Borrow<Q>,
    {
        let claims = self.claims.get(key)?;
        let recording = claims.iter().find(|claim| !claim.is_exclusion);
        recording.or(claims.first()).map(|claim| claim.index)
    }

    /// What a watch has claims on.
    pub(super) fn of_watch(&self, index: u32) -> Vec<K> {
        let is_its = |claims: &[Claim]| claims.iter().any(|claim| claim.index == index);
        self.claims
            .iter()
            .filter(|(_, claims)| is_its(claims))
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// What is claimed by anybody.
    pub(super) fn keys(&self) -> impl ExactSizeIterator<Item = &K> {
        self.claims.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn records(index: u32) -> Claim {
        Claim { index, is_exclusion: false }
    }

    const fn excludes(index: u32) -> Claim {
        Claim { index, is_exclusion: true }
    }

    #[test]
    fn recording_goes_before_excluding_whoever_came_first() {
        for order in [[records(1), excludes(2)], [excludes(2), records(1)]] {
            let mut claims = Claims::default();
            for claim in order {
                assert_eq!(claims.add("a", claim, None), Ok(()));
            }
            assert_eq!((claims.holder("a"), claims.holder("b")), (Some(1), None));
            assert!(!claims.remove("a", 3), "it is not 3's");
            assert!(claims.remove("a", 1) && !claims.remove("a", 1));
            assert_eq!(claims.holder("a"), Some(2));
            assert!(claims.remove("a", 2));
            assert_eq!((claims.holder("a"), claims.keys().len()), (None, 0));
        }
    }

    #[test]
    fn one_watch_records_and_may_hand_over() {
        let mut claims = Claims::default();
        assert_eq!(claims.add("a", records(1), None), Ok(()));
        assert_eq!(claims.add("a", records(1), None), Ok(()), "once more");
        assert_eq!(claims.add("a", records(2), None), Err(1));
        assert_eq!(claims.add("a", records(2), Some(3)), Err(1), "it was never 3's");
        assert_eq!((claims.holder("a"), claims.of_watch(2)), (Some(1), vec![]));
        assert_eq!(claims.add("a", records(2), Some(1)), Ok(()));
        assert_eq!((claims.of_watch(1), claims.of_watch(2)), (vec![], vec!["a"]));
    }
}
