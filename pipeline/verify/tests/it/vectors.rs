//! Known answers from other people's software. Where they come from is in `schemas/vectors/README.md`.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use graven_ledger::proof::{verify_consistency, verify_inclusion};
use graven_ledger::{
    Checkpoint, Frontier, KeyParseError, NoteError, PrivateKey, VerifierKey, open_checkpoint,
    open_signed,
};
use graven_record::{Canonical as _, Hash, Value, canonical, leaf_hash};
use serde::Deserialize;

const PROOFS: &str = include_str!("../../../../schemas/vectors/rfc6962-proofs.json");
const ROOTS: &str = include_str!("../../../../schemas/vectors/rfc6962-roots.json");
const CANONICAL: &str = include_str!("../../../../schemas/vectors/rfc8785.json");
const NOTES: &str = include_str!("../../../../schemas/vectors/signed-note.json");

#[derive(Deserialize)]
struct Proofs {
    inclusion: Vec<Inclusion>,
    consistency: Vec<Consistency>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inclusion {
    file: String,
    leaf_idx: u64,
    tree_size: u64,
    root: String,
    leaf_hash: String,
    proof: Option<Vec<String>>,
    want_err: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Consistency {
    file: String,
    size1: u64,
    size2: u64,
    root1: String,
    root2: String,
    proof: Option<Vec<String>>,
    want_err: bool,
}

/// Some cases hold other words where a hash does not matter: these stand for themselves.
fn hash(text: &str) -> Hash {
    let bytes = BASE64_STANDARD.decode(text).unwrap();
    <[u8; 32]>::try_from(&bytes[..]).map_or_else(|_| leaf_hash(&bytes), Hash)
}

fn path(proof: Option<&Vec<String>>) -> Vec<Hash> {
    proof.into_iter().flatten().map(|it| hash(it)).collect()
}

#[test]
fn inclusion_proofs_of_transparency_dev() {
    let proofs: Proofs = serde_json::from_str(PROOFS).unwrap();
    assert!(proofs.inclusion.len() > 90, "{}", proofs.inclusion.len());
    assert!(proofs.inclusion.iter().any(|case| !case.want_err));
    for case in &proofs.inclusion {
        // What is no hash cannot even be stated here.
        if [&case.root, &case.leaf_hash].iter().any(|it| it.is_empty()) {
            assert!(case.want_err, "{}", case.file);
            continue;
        }
        let (leaf, root) = (hash(&case.leaf_hash), hash(&case.root));
        let path = path(case.proof.as_ref());
        let verdict = verify_inclusion(&leaf, case.leaf_idx, case.tree_size, &path, &root);
        assert_eq!(verdict.is_err(), case.want_err, "{}", case.file);
    }
}

#[test]
fn consistency_proofs_of_transparency_dev() {
    let proofs: Proofs = serde_json::from_str(PROOFS).unwrap();
    assert!(proofs.consistency.len() > 90, "{}", proofs.consistency.len());
    assert!(proofs.consistency.iter().any(|case| !case.want_err));
    for case in &proofs.consistency {
        let (old, new) = (hash(&case.root1), hash(&case.root2));
        let path = path(case.proof.as_ref());
        let verdict = verify_consistency(case.size1, &old, case.size2, &new, &path);
        assert_eq!(verdict.is_err(), case.want_err, "{}", case.file);
    }
}

#[test]
fn roots_of_the_reference_leaves() {
    #[derive(Deserialize)]
    struct Roots {
        leaves: Vec<String>,
        roots: Vec<String>,
    }
    let Roots { leaves, roots } = serde_json::from_str(ROOTS).unwrap();
    assert_eq!((leaves.len(), roots.len()), (8, 9));
    let mut tree = Frontier::default();
    assert_eq!(tree.root().to_string(), format!("sha256:{}", roots[0]));
    for (leaf, root) in leaves.iter().zip(&roots[1..]) {
        let bytes: Vec<u8> = (0..leaf.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&leaf[at..at + 2], 16).unwrap())
            .collect();
        tree.push(leaf_hash(&bytes));
        assert_eq!(tree.root().to_string(), format!("sha256:{root}"));
    }
}

#[test]
fn canonical_forms_of_rfc_8785() {
    #[derive(Deserialize)]
    struct Case {
        name: String,
        input: String,
        canonical: Option<String>,
    }
    let cases: Vec<Case> = serde_json::from_str(CANONICAL).unwrap();
    assert!(cases.len() > 30);
    for case in cases {
        let value = Value::parse(case.input.as_bytes());
        let Some(expected) = case.canonical else {
            assert!(value.is_err(), "{}", case.name);
            let strict = canonical::object(case.input.as_bytes(), |_, _| {});
            assert!(strict.is_err(), "{}", case.name);
            continue;
        };
        let value = value.unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let written = String::from_utf8(value.to_canonical()).unwrap();
        assert_eq!(written, expected, "{}", case.name);
        canonical::object(expected.as_bytes(), |_, _| {}).expect(&case.name);
        if case.input != expected {
            let strict = canonical::object(case.input.as_bytes(), |_, _| {});
            assert!(strict.is_err(), "only one spelling: {}", case.name);
        }
    }
}

#[derive(Deserialize)]
struct Notes {
    checkpoint: GoNote,
    bad_keys: Vec<String>,
    peter_neumann: GoNote,
}

#[derive(Deserialize)]
struct GoNote {
    note: String,
    skey: String,
    vkey: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    size: u64,
}

#[test]
fn keys_of_go_are_keys_here() {
    let notes: Notes = serde_json::from_str(NOTES).unwrap();
    for it in [&notes.peter_neumann, &notes.checkpoint] {
        let verifier: VerifierKey = it.vkey.parse().unwrap();
        assert_eq!(verifier.to_string(), it.vkey);
        let private: PrivateKey = it.skey.parse().unwrap();
        assert_eq!(*private.to_secret_text(), it.skey);
        assert_eq!(private.verifier(), verifier);
    }
    for bad in &notes.bad_keys {
        let key: Result<VerifierKey, KeyParseError> = bad.parse();
        assert!(key.is_err(), "{bad}");
    }
}

#[test]
fn a_checkpoint_signed_by_go_opens_and_is_signed_alike() {
    let Notes { checkpoint: it, peter_neumann, .. } = serde_json::from_str(NOTES).unwrap();
    let key: VerifierKey = it.vkey.parse().unwrap();
    let opened = open_signed(&it.note, &key).unwrap();
    assert_eq!(opened.size, it.size);
    assert_eq!(opened.to_string(), it.text);
    // Ed25519 is deterministic: the same key signs the same text with the same bytes.
    let private: PrivateKey = it.skey.parse().unwrap();
    let checkpoint = Checkpoint { ..opened };
    let ours = private.sign(&checkpoint, 1_700_000_000);
    assert!(ours.starts_with(&it.note), "{ours}\n{}", it.note);
    open_checkpoint(&ours, &key).unwrap();
    // A header needs the timestamped cosignature too, which Go's package does not make.
    assert!(matches!(open_checkpoint(&it.note, &key), Err(NoteError::NotSigned(_))));
    // A text that is no checkpoint is none, however well it is signed.
    let peter: VerifierKey = peter_neumann.vkey.parse().unwrap();
    assert!(matches!(open_signed(&peter_neumann.note, &peter), Err(NoteError::Malformed(_))));
}
