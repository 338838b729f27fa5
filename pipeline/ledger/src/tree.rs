//! The RFC 6962 Merkle tree, grown leaf by leaf.

use graven_record::{Hash, node_hash, sha256};

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

    /// Adds a leaf (or, in a tree of subtrees, a subtree's root). Cost: amortised one hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut node = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.roots.pop() {
                node = node_hash(&left, &node);
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

impl FromIterator<Hash> for Frontier {
    fn from_iter<I: IntoIterator<Item = Hash>>(leaves: I) -> Self {
        let mut frontier = Self::default();
        for leaf in leaves {
            frontier.push(leaf);
        }
        frontier
    }
}
