//! Inclusion and consistency proofs of RFC 6962, made and verified.

use graven_record::{Hash, node_hash};

/// Why a proof does not prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The indices cannot belong to such a proof.
    #[error("leaf index or size is out of range")]
    OutOfRange,
    /// The proof has too few or too many hashes for its tree sizes.
    #[error("the proof has the wrong number of hashes")]
    WrongLength,
    /// The hashes lead to another root.
    #[error("the proof leads to {actual}, not to the root {expected}")]
    WrongRoot {
        /// The root given.
        expected: Hash,
        /// The root computed.
        actual: Hash,
    },
}

fn expect_root(expected: &Hash, actual: Hash) -> Result<(), ProofError> {
    if actual == *expected {
        Ok(())
    } else {
        Err(ProofError::WrongRoot { expected: *expected, actual })
    }
}

/// Verifies that `leaf` is leaf `index` of the tree of `size` leaves with `root`.
///
/// # Errors
///
/// [`ProofError`]. Source: RFC 9162, section 2.1.3.2.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    path: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::OutOfRange);
    }
    let (mut node_at, mut last_at) = (index, size - 1);
    let mut node = *leaf;
    for sibling in path {
        if last_at == 0 {
            return Err(ProofError::WrongLength);
        }
        if node_at & 1 == 1 || node_at == last_at {
            node = node_hash(sibling, &node);
            while node_at & 1 == 0 && node_at != 0 {
                node_at >>= 1;
                last_at >>= 1;
            }
        } else {
            node = node_hash(&node, sibling);
        }
        node_at >>= 1;
        last_at >>= 1;
    }
    if last_at != 0 {
        return Err(ProofError::WrongLength);
    }
    expect_root(root, node)
}

/// Verifies that the tree of `old_size` leaves with `old_root` is the beginning of the tree of
/// `new_size` leaves with `new_root`.
///
/// # Errors
///
/// [`ProofError`]; [`ProofError::OutOfRange`] also where `old_size` is zero: every tree begins with
/// the empty one, so that nothing would be proven. Source: RFC 9162, section 2.1.4.2.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    path: &[Hash],
) -> Result<(), ProofError> {
    if old_size == 0 || old_size > new_size {
        return Err(ProofError::OutOfRange);
    }
    if old_size == new_size {
        if !path.is_empty() {
            return Err(ProofError::WrongLength);
        }
        return expect_root(new_root, *old_root);
    }
    let (mut old_at, mut new_at) = (old_size - 1, new_size - 1);
    while old_at & 1 == 1 {
        old_at >>= 1;
        new_at >>= 1;
    }
    let mut rest = path.iter();
    // A complete old tree is itself the first node.
    let start = if old_size.is_power_of_two() {
        *old_root
    } else {
        *rest.next().ok_or(ProofError::WrongLength)?
    };
    let (mut old_node, mut new_node) = (start, start);
    for sibling in rest {
        if new_at == 0 {
            return Err(ProofError::WrongLength);
        }
        if old_at & 1 == 1 || old_at == new_at {
            old_node = node_hash(sibling, &old_node);
            new_node = node_hash(sibling, &new_node);
            while old_at & 1 == 0 && old_at != 0 {
                old_at >>= 1;
                new_at >>= 1;
            }
        } else {
            new_node = node_hash(&new_node, sibling);
        }
        old_at >>= 1;
        new_at >>= 1;
    }
    if new_at != 0 {
        return Err(ProofError::WrongLength);
    }
    expect_root(old_root, old_node)?;
    expect_root(new_root, new_node)
}

/// Makes the inclusion proof of leaf `index` in the tree of `size` leaves.
///
/// `root_of(first, end)` gives the root of the leaves `first..end`, whose length is a power of two
/// unless `end` is `size`.
///
/// # Errors
///
/// Those of `root_of`.
///
/// # Panics
///
/// If `index >= size`.
pub fn prove_inclusion<E>(
    index: u64,
    size: u64,
    mut root_of: impl FnMut(u64, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    assert!(index < size, "leaf {index} is not in a tree of {size}");
    let (mut first, mut end) = (0, size);
    let mut path = Vec::new();
    while end - first > 1 {
        let middle = first + split(end - first);
        if index < middle {
            path.push(root_of(middle, end)?);
            end = middle;
        } else {
            path.push(root_of(first, middle)?);
            first = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The largest power of two below `size`: how many leaves stand in the left subtree.
fn split(size: u64) -> u64 {
    1 << (u64::BITS - 1 - (size - 1).leading_zeros())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::cast_possible_truncation, reason = "trees in tests are small")]

    use graven_record::leaf_hash;

    use super::*;
    use crate::Frontier;

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|index| leaf_hash(&index.to_be_bytes())).collect()
    }

    /// The definition, word for word: RFC 6962, section 2.1.
    fn root_by_definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => graven_record::sha256(b""),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(split(leaves.len() as u64) as usize);
                node_hash(&root_by_definition(left), &root_by_definition(right))
            }
        }
    }

    /// RFC 6962, section 2.1.2: PROOF(m, D\[n\]), word for word.
    fn consistency_by_definition(old: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
        if old == leaves.len() {
            return if whole { vec![] } else { vec![root_by_definition(leaves)] };
        }
        let (left, right) = leaves.split_at(split(leaves.len() as u64) as usize);
        let mut path;
        if old <= left.len() {
            path = consistency_by_definition(old, left, whole);
            path.push(root_by_definition(right));
        } else {
            path = consistency_by_definition(old - left.len(), right, false);
            path.push(root_by_definition(left));
        }
        path
    }

    #[test]
    fn frontier_gives_the_root_of_the_definition() {
        for size in 0..130 {
            let leaves = leaves(size);
            let frontier: Frontier = leaves.iter().copied().collect();
            assert_eq!(frontier.root(), root_by_definition(&leaves), "{size} leaves");
            assert_eq!(frontier.size(), size);
        }
    }

    #[test]
    fn every_inclusion_proof_proves_its_leaf_and_no_other() {
        for size in 1..40_u64 {
            let leaves = leaves(size);
            let root = root_by_definition(&leaves);
            for index in 0..size {
                let path = prove_inclusion::<()>(index, size, |first, end| {
                    Ok(root_by_definition(&leaves[first as usize..end as usize]))
                })
                .unwrap();
                for claimed in 0..size {
                    let verdict =
                        verify_inclusion(&leaves[index as usize], claimed, size, &path, &root);
                    assert_eq!(
                        verdict.is_ok(),
                        claimed == index,
                        "leaf {index} as {claimed} of {size}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_consistency_proof_proves_its_sizes_and_no_other() {
        let leaves = leaves(24);
        let roots: Vec<Hash> = (0..=24).map(|size| root_by_definition(&leaves[..size])).collect();
        for new in 1..=24_usize {
            for old in 1..=new {
                let path = consistency_by_definition(old, &leaves[..new], true);
                for claimed in 1..=new {
                    let verdict = verify_consistency(
                        claimed as u64,
                        &roots[claimed],
                        new as u64,
                        &roots[new],
                        &path,
                    );
                    assert_eq!(verdict.is_ok(), claimed == old, "{claimed} for {old} of {new}");
                }
            }
        }
    }
}
