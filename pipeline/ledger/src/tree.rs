//! The RFC 6962 Merkle tree, grown leaf by leaf.

use graven_record::{Hash, node_hash, sha256};

use crate::tiles::TILE_BITS;

/// The roots of the complete subtrees that make up a tree, largest first: all that is needed to go
/// on growing it, and to name its root.
///
/// Also known as a compact range. Size: one hash for each set bit of the leaf count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    roots: Vec<Hash>,
}

impl Frontier {
    /// A frontier from its parts: `roots` belong to the set bits of `size`, highest first.
    ///
    /// Returns `None` when their number does not fit.
    #[must_use]
    pub fn from_parts(size: u64, roots: Vec<Hash>) -> Option<Self> {
        (roots.len() == size.count_ones() as usize).then_some(Self { size, roots })
    }

    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf. Cost: amortised one hash.
    pub fn push(&mut self, leaf: Hash) {
        self.grow(leaf, |_, _| {});
    }

    /// Adds a leaf, and to `roots` the level and root of each subtree of 256^level leaves that it
    /// completes.
    pub fn push_tiled(&mut self, leaf: Hash, roots: &mut Vec<(u32, Hash)>) {
        self.grow(leaf, |height, node| {
            if height % TILE_BITS == 0 {
                roots.push((height / TILE_BITS, node));
            }
        });
    }

    /// Adds a leaf and tells of each subtree that it completes, with its height.
    fn grow(&mut self, leaf: Hash, mut completed: impl FnMut(u32, Hash)) {
        let mut node = leaf;
        for height in 1..=self.size.trailing_ones() {
            if let Some(left) = self.roots.pop() {
                node = node_hash(&left, &node);
                completed(height, node);
            }
        }
        self.roots.push(node);
        self.size += 1;
    }

    /// The root hash; of the empty tree SHA-256 of nothing. Cost: O(log n) hashes.
    ///
    /// Source: RFC 6962, section 2.1.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.roots
            .iter()
            .rev()
            .copied()
            .reduce(|right, left| node_hash(&left, &right))
            .unwrap_or_else(|| sha256(b""))
    }
}

/// Leaf hashes that follow each other in a tree, with what they complete: all that the tiles keep.
#[derive(Debug, Clone, Default)]
pub struct Leaves {
    /// The leaf hashes.
    pub hashes: Vec<Hash>,
    /// Level, from 1, and root of each subtree of 256^level leaves that ends with one of them, in
    /// the order of their ends.
    pub roots: Vec<(u32, Hash)>,
}

impl Leaves {
    /// Adds leaf hashes to `tree`.
    pub(crate) fn grown(tree: &mut Frontier, hashes: Vec<Hash>) -> Self {
        let mut roots = Vec::new();
        for hash in &hashes {
            tree.push_tiled(*hash, &mut roots);
        }
        Self { hashes, roots }
    }

    /// Adds a leaf hash to these and to `tree`.
    pub(crate) fn push(&mut self, tree: &mut Frontier, hash: Hash) {
        tree.push_tiled(hash, &mut self.roots);
        self.hashes.push(hash);
    }
}

impl FromIterator<Hash> for Frontier {
    fn from_iter<I: IntoIterator<Item = Hash>>(leaves: I) -> Self {
        let mut frontier = Self::default();
        for leaf in leaves {
            frontier.push(leaf);
        }
        frontier
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// A subtree's root is named when its last leaf comes, however the leaves are handed over.
        #[test]
        fn completed_subtrees_are_named(before in prop_oneof![0..600_u64, 65_000..65_600_u64], count in 0..600_usize) {
            let leaf = |index: u64| sha256(&index.to_le_bytes());
            let mut tree: Frontier = (0..before).map(leaf).collect();
            let after = before + count as u64;
            let leaves = Leaves::grown(&mut tree, (before..after).map(leaf).collect());
            let mut expected = Vec::new();
            for end in before + 1..=after {
                for (level, length) in [(1, 256), (2, 65_536)] {
                    if end % length == 0 {
                        let subtree: Frontier = (end - length..end).map(leaf).collect();
                        expected.push((level, subtree.root()));
                    }
                }
            }
            prop_assert_eq!(leaves.roots, expected);
            prop_assert_eq!(tree, (0..after).map(leaf).collect::<Frontier>());
        }
    }
}
