//! Proofs: what proves something proves nothing else.

use graven_ledger::Frontier;
use graven_ledger::proof::{ProofError, prove_inclusion, verify_consistency, verify_inclusion};
use graven_record::{Hash, leaf_hash};

const HASH_BYTES: usize = 32;
/// Leaves of the largest tree that is built.
const LEAVES_MAX: u64 = 80;
const NO_ROOT: Hash = Hash([0; HASH_BYTES]);

/// Takes two numbers and a list of hashes as a proof of each kind; says whether one of them proves something.
pub fn proof(bytes: &[u8]) -> bool {
    let Some((numbers, rest)) = bytes.split_first_chunk::<16>() else { return false };
    let [first, second] = [0, 8].map(|at| {
        let number = numbers[at..at + 8].try_into().expect("eight bytes");
        u64::from_le_bytes(number)
    });
    let (hashes, _) = rest.as_chunks::<HASH_BYTES>();
    let path: Vec<Hash> = hashes.iter().copied().map(Hash).collect();
    made(first, second);
    let inclusion = inclusion(first, second, &path);
    consistency(first, second, &path) || inclusion
}

/// A proof that was made here proves its leaf at its place, and nothing else.
fn made(first: u64, second: u64) {
    let size = second % LEAVES_MAX + 1;
    let index = first % size;
    let leaf = |index: u64| leaf_hash(&index.to_le_bytes());
    let root_of = |from, to| (from..to).map(leaf).collect::<Frontier>().root();
    let root = root_of(0, size);
    let path = prove_inclusion::<()>(index, size, |from, to| Ok(root_of(from, to)))
        .expect("every root is there");
    assert_eq!(verify_inclusion(&leaf(index), index, size, &path, &root), Ok(()), "control");
    assert!(verify_inclusion(&leaf(index + 1), index, size, &path, &root).is_err());
    for claimed in (0..size).filter(|claimed| *claimed != index) {
        assert!(verify_inclusion(&leaf(index), claimed, size, &path, &root).is_err());
    }
}

/// Learns the root that the path leads to, if it has the right length for one.
fn inclusion(index: u64, size: u64, path: &[Hash]) -> bool {
    let leaf = leaf_hash(b"leaf");
    let verify =
        |leaf: &Hash, root: &Hash, path: &[Hash]| verify_inclusion(leaf, index, size, path, root);
    let Some((_, root)) = missed(verify(&leaf, &NO_ROOT, path)) else { return false };
    assert_eq!(verify(&leaf, &root, path), Ok(()), "control");
    assert!(index < size && path.len() <= 64);
    assert!(verify(&leaf_hash(b"other"), &root, path).is_err());
    assert!(changes(path).iter().all(|changed| verify(&leaf, &root, changed).is_err()));
    true
}

/// Learns the roots that the path leads from and to.
fn consistency(old: u64, new: u64, path: &[Hash]) -> bool {
    let verify =
        |from: &Hash, to: &Hash, path: &[Hash]| verify_consistency(old, from, new, to, path);
    let any = leaf_hash(b"any");
    let Some((expected, actual)) = missed(verify(&any, &NO_ROOT, path)) else { return false };
    // An old tree that is itself the first node may have any root.
    let from = if expected == any { actual } else { any };
    let (_, to) = missed(verify(&from, &NO_ROOT, path)).expect("the length is right");
    assert_eq!(verify(&from, &to, path), Ok(()), "control");
    assert!(0 < old && old <= new && path.len() <= 65);
    assert!(verify(&NO_ROOT, &to, path).is_err());
    assert!(changes(path).iter().all(|changed| verify(&from, &to, changed).is_err()));
    true
}

/// The root that was given and the one that a path leads to, if it leads anywhere.
fn missed(verdict: Result<(), ProofError>) -> Option<(Hash, Hash)> {
    match verdict {
        Err(ProofError::WrongRoot { expected, actual }) => Some((expected, actual)),
        Err(ProofError::OutOfRange | ProofError::WrongLength) => None,
        Ok(()) => unreachable!("nobody finds bytes of this hash"),
    }
}

/// The path with one hash less, one more, and each bit-flipped in turn.
fn changes(path: &[Hash]) -> Vec<Vec<Hash>> {
    let mut changes: Vec<Vec<Hash>> = (0..path.len())
        .map(|at| {
            let mut changed = path.to_vec();
            changed[at].0[at % HASH_BYTES] ^= 1;
            changed
        })
        .collect();
    changes.extend(path.split_last().map(|(_, rest)| rest.to_vec()));
    changes.push([path, &[NO_ROOT]].concat());
    changes
}
