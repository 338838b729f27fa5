//! Checkpoints as C2SP signed notes.
//!
//! Source: C2SP signed-note, tlog-checkpoint and tlog-cosignature; what of them the ledger uses is
//! in `schemas/format.md`, section 5.

use std::fmt;
use std::str::FromStr;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use graven_record::{Hash, Origin, sha256};
use zeroize::Zeroizing;

/// Signature types of C2SP signed-note.
const TYPE_ED25519: u8 = 0x01;
const TYPE_COSIGNATURE: u8 = 0x04;

const PRIVATE_PREFIX: &str = "PRIVATE+KEY+";

type KeyId = [u8; 4];

/// The key id of C2SP signed-note: first four bytes of SHA-256(name ‖ newline ‖ type ‖ key).
fn key_id(name: &Origin, kind: u8, public: &[u8; 32]) -> KeyId {
    let hash = sha256(&[name.as_str().as_bytes(), b"\n", &[kind], public].concat());
    [hash.0[0], hash.0[1], hash.0[2], hash.0[3]]
}

/// A text that is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {0}")]
pub struct KeyParseError(&'static str);

/// The public key of a ledger, in C2SP form `<origin>+<key id>+<base64(0x01 ‖ key)>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    origin: Origin,
    key: VerifyingKey,
}

impl VerifierKey {
    /// The ledger that the key signs for.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

/// Splits `<name>+<key id>+<base64(0x01 ‖ 32 bytes)>`; the id is checked by the caller.
fn split_key(text: &str) -> Option<(Origin, KeyId, Zeroizing<[u8; 32]>)> {
    // Names hold no `+`, base64 may: so the cuts are made from the left.
    let (name, rest) = text.split_once('+')?;
    let (id, key) = rest.split_once('+')?;
    let mut id_bytes = [0; 4];
    const_hex::decode_to_slice(id, &mut id_bytes).ok()?;
    // Only one spelling: hex would take capitals too.
    if id.bytes().any(|digit| digit.is_ascii_uppercase()) {
        return None;
    }
    let bytes = Zeroizing::new(BASE64_STANDARD.decode(key).ok()?);
    let (kind, key) = bytes.split_first()?;
    let key = Zeroizing::new(<[u8; 32]>::try_from(key).ok()?);
    (*kind == TYPE_ED25519).then_some((name.parse().ok()?, id_bytes, key))
}

impl FromStr for VerifierKey {
    type Err = KeyParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const BAD: KeyParseError = KeyParseError(
            "verifier key: expected one line `<origin>+<8 hex digits>+<base64>`, as `graven init` writes it",
        );
        let (origin, id, key) = split_key(text.trim_end_matches('\n')).ok_or(BAD)?;
        if id != key_id(&origin, TYPE_ED25519, &key) {
            return Err(KeyParseError("verifier key: its id does not fit its name and key"));
        }
        let key = VerifyingKey::from_bytes(&key)
            .map_err(|_| KeyParseError("verifier key: no point of the curve"))?;
        Ok(Self { origin, key })
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let public = self.key.as_bytes();
        let id = key_id(&self.origin, TYPE_ED25519, public);
        let key = BASE64_STANDARD.encode([&[TYPE_ED25519], &public[..]].concat());
        write!(f, "{}+{}+{key}", self.origin, const_hex::encode(id))
    }
}

/// The private key of a ledger; wiped from memory when dropped.
pub struct PrivateKey {
    origin: Origin,
    key: SigningKey,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl PrivateKey {
    /// Makes a key for `origin` from 32 random bytes.
    #[must_use]
    pub fn from_seed(origin: Origin, seed: &[u8; 32]) -> Self {
        Self { origin, key: SigningKey::from_bytes(seed) }
    }

    /// The public half.
    #[must_use]
    pub fn verifier(&self) -> VerifierKey {
        VerifierKey { origin: self.origin.clone(), key: self.key.verifying_key() }
    }

    /// The text for the key file: `PRIVATE+KEY+<origin>+<key id>+<base64(0x01 ‖ seed)>`.
    #[must_use]
    pub fn to_secret_text(&self) -> Zeroizing<String> {
        let seed = Zeroizing::new(self.key.to_bytes());
        let id = key_id(&self.origin, TYPE_ED25519, self.key.verifying_key().as_bytes());
        let bytes = Zeroizing::new([&[TYPE_ED25519], &seed[..]].concat());
        let key = Zeroizing::new(BASE64_STANDARD.encode(&*bytes));
        Zeroizing::new(format!(
            "{PRIVATE_PREFIX}{}+{}+{}",
            self.origin,
            const_hex::encode(id),
            *key
        ))
    }

    /// Signs `checkpoint` at `unix_s`: the note signature, then the log's own cosignature.
    #[must_use]
    pub fn sign(&self, checkpoint: &Checkpoint, unix_s: u64) -> String {
        let text = checkpoint.to_string();
        let public = self.key.verifying_key();
        let line = |kind: u8, payload: &[u8]| {
            let id = key_id(&self.origin, kind, public.as_bytes());
            let encoded = BASE64_STANDARD.encode([&id[..], payload].concat());
            format!("— {} {encoded}\n", self.origin)
        };
        let note = self.key.sign(text.as_bytes()).to_bytes();
        let cosignature = self.key.sign(cosigned(unix_s, &text).as_bytes()).to_bytes();
        let timed = [&unix_s.to_be_bytes()[..], &cosignature].concat();
        format!("{text}\n{}{}", line(TYPE_ED25519, &note), line(TYPE_COSIGNATURE, &timed))
    }
}

/// The message of a cosignature/v1. Source: C2SP tlog-cosignature.
fn cosigned(unix_s: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {unix_s}\n{text}")
}

impl FromStr for PrivateKey {
    type Err = KeyParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const BAD: KeyParseError =
            KeyParseError("private key: expected `PRIVATE+KEY+<origin>+<8 hex digits>+<base64>`");
        let rest = text.trim_end_matches('\n').strip_prefix(PRIVATE_PREFIX).ok_or(BAD)?;
        let (origin, id, seed) = split_key(rest).ok_or(BAD)?;
        let key = Self::from_seed(origin, &seed);
        if id != key_id(&key.origin, TYPE_ED25519, key.key.verifying_key().as_bytes()) {
            return Err(KeyParseError("private key: its id does not fit its name and key"));
        }
        Ok(key)
    }
}

/// What a note signs: the size and the root of a ledger's tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The ledger.
    pub origin: Origin,
    /// Number of leaves.
    pub size: u64,
    /// RFC 6962 root of those leaves.
    pub root: Hash,
}

impl fmt::Display for Checkpoint {
    /// The note's text: three lines, each with its newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = BASE64_STANDARD.encode(self.root.0);
        write!(f, "{}\n{}\n{root}\n", self.origin, self.size)
    }
}

/// Why a note is not a checkpoint of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not a signed note with a checkpoint in it.
    #[error("not a signed checkpoint: {0}")]
    Malformed(&'static str),
    /// A checkpoint of another ledger.
    #[error("the checkpoint is of `{actual}`, not of `{expected}`")]
    OtherLedger {
        /// The ledger that the key is for.
        expected: Origin,
        /// The ledger named by the note.
        actual: Origin,
    },
    /// The key's signature is not among the lines, or does not verify.
    #[error("the checkpoint has no valid {0} of the key")]
    NotSigned(&'static str),
}

/// A signed note, opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// What is signed.
    pub checkpoint: Checkpoint,
    /// When the log cosigned it, in POSIX seconds.
    pub cosigned_unix_s: u64,
}

/// What a note's lines show under one key.
struct Opened {
    checkpoint: Checkpoint,
    note_signed: bool,
    cosigned_unix_s: Option<u64>,
}

/// Opens a signed note: reads the checkpoint and requires both signatures of `key`.
///
/// # Errors
///
/// [`NoteError`]. Lines of other keys are ignored, as C2SP signed-note demands.
pub fn open_checkpoint(note: &str, key: &VerifierKey) -> Result<SignedCheckpoint, NoteError> {
    let opened = open_note(note, key)?;
    if !opened.note_signed {
        return Err(NoteError::NotSigned("signature"));
    }
    Ok(SignedCheckpoint {
        checkpoint: opened.checkpoint,
        cosigned_unix_s: opened
            .cosigned_unix_s
            .ok_or(NoteError::NotSigned("timestamped cosignature"))?,
    })
}

/// Opens a signed note of which one signature of `key`, of either type, is enough: a checkpoint as
/// others keep it.
///
/// # Errors
///
/// [`NoteError`], also where a line of `key` does not verify.
pub fn open_signed(note: &str, key: &VerifierKey) -> Result<Checkpoint, NoteError> {
    let opened = open_note(note, key)?;
    if opened.note_signed || opened.cosigned_unix_s.is_some() {
        Ok(opened.checkpoint)
    } else {
        Err(NoteError::NotSigned("signature"))
    }
}

fn open_note(note: &str, key: &VerifierKey) -> Result<Opened, NoteError> {
    let (text, lines) = note
        .split_once("\n\n")
        .ok_or(NoteError::Malformed("no empty line between text and signatures"))?;
    let text = format!("{text}\n");
    let lines = lines.strip_suffix('\n').ok_or(NoteError::Malformed("no final newline"))?;
    let checkpoint = parse_checkpoint(&text)?;
    if checkpoint.origin != key.origin {
        return Err(NoteError::OtherLedger {
            expected: key.origin.clone(),
            actual: checkpoint.origin,
        });
    }
    let mut opened = Opened { checkpoint, note_signed: false, cosigned_unix_s: None };
    let public = key.key.as_bytes();
    for line in lines.split('\n') {
        let (name, id, payload) = parse_signature(line)?;
        if name != key.origin.as_str() {
            continue;
        }
        // One false line of the key spoils the note, whatever its other lines say.
        if id == key_id(&key.origin, TYPE_ED25519, public) {
            if !verifies(&key.key, text.as_bytes(), &payload) {
                return Err(NoteError::NotSigned("signature"));
            }
            opened.note_signed = true;
        } else if id == key_id(&key.origin, TYPE_COSIGNATURE, public) {
            let unix_s = payload.split_at_checked(8).and_then(|(time, signature)| {
                let unix_s = u64::from_be_bytes(time.try_into().ok()?);
                verifies(&key.key, cosigned(unix_s, &text).as_bytes(), signature).then_some(unix_s)
            });
            opened.cosigned_unix_s =
                Some(unix_s.ok_or(NoteError::NotSigned("timestamped cosignature"))?);
        }
    }
    Ok(opened)
}

fn verifies(key: &VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
    // Strict: one message, one signature (no small-order keys, no malleable encodings).
    Signature::from_slice(signature).is_ok_and(|it| key.verify_strict(message, &it).is_ok())
}

fn parse_checkpoint(text: &str) -> Result<Checkpoint, NoteError> {
    const BAD: NoteError = NoteError::Malformed("the text is not origin, size and root");
    let mut lines = text.split('\n');
    let (Some(origin), Some(size), Some(root), Some(""), None) =
        (lines.next(), lines.next(), lines.next(), lines.next(), lines.next())
    else {
        return Err(BAD);
    };
    let root = BASE64_STANDARD.decode(root).ok().and_then(|root| root.try_into().ok());
    let checkpoint = Checkpoint {
        origin: origin.parse().map_err(|_| BAD)?,
        size: size.parse().map_err(|_| BAD)?,
        root: Hash(root.ok_or(BAD)?),
    };
    // Only one spelling: no leading zeros, no `+`.
    if checkpoint.to_string() == text { Ok(checkpoint) } else { Err(BAD) }
}

fn parse_signature(line: &str) -> Result<(&str, KeyId, Vec<u8>), NoteError> {
    const BAD: NoteError = NoteError::Malformed("a signature line is not `— name base64`");
    let (name, encoded) = line.strip_prefix("— ").and_then(|it| it.split_once(' ')).ok_or(BAD)?;
    let bytes = BASE64_STANDARD.decode(encoded).map_err(|_| BAD)?;
    let (id, payload) = bytes.split_first_chunk::<4>().ok_or(BAD)?;
    Ok((name, *id, payload.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> PrivateKey {
        PrivateKey::from_seed("acme.example/test".parse().unwrap(), &[7; 32])
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint { origin: key().origin, size: 42, root: sha256(b"root") }
    }

    #[test]
    fn keys_come_back_from_their_text() {
        let verifier = key().verifier();
        assert_eq!(verifier.to_string().parse::<VerifierKey>().unwrap(), verifier);
        let again: PrivateKey = key().to_secret_text().parse().unwrap();
        assert_eq!(again.verifier(), verifier);
        assert!(!format!("{:?}", key()).contains(&const_hex::encode([7; 32])));
    }

    #[test]
    fn a_note_opens_under_its_key_alone() {
        let note = key().sign(&checkpoint(), 1_700_000_000);
        let opened = open_checkpoint(&note, &key().verifier()).unwrap();
        assert_eq!(opened.checkpoint, checkpoint());
        assert_eq!(opened.cosigned_unix_s, 1_700_000_000);
        let other = PrivateKey::from_seed(key().origin, &[8; 32]).verifier();
        assert_eq!(open_checkpoint(&note, &other), Err(NoteError::NotSigned("signature")));
        let elsewhere = PrivateKey::from_seed("b.example".parse().unwrap(), &[7; 32]).verifier();
        assert!(matches!(open_checkpoint(&note, &elsewhere), Err(NoteError::OtherLedger { .. })));
    }

    #[test]
    fn signatures_of_others_are_ignored() {
        let note = key().sign(&checkpoint(), 5);
        let witnessed = format!("{note}— witness.example AAAAAAAA\n");
        assert!(open_checkpoint(&witnessed, &key().verifier()).is_ok());
    }

    #[test]
    fn every_edited_byte_of_a_note_is_found() {
        let note = key().sign(&checkpoint(), 5);
        for at in 0..note.len() {
            let mut edited = note.clone().into_bytes();
            edited[at] ^= 1;
            let Ok(edited) = String::from_utf8(edited) else {
                continue;
            };
            assert!(open_checkpoint(&edited, &key().verifier()).is_err(), "byte {at}");
        }
    }

    /// Found by fuzzing.
    #[test]
    fn a_key_id_in_capitals_is_refused() {
        let capitals = |text: &str| {
            let parts: Vec<&str> = text.rsplitn(3, '+').collect();
            format!("{}+{}+{}", parts[2], parts[1].to_ascii_uppercase(), parts[0])
        };
        let (public, private) = (key().verifier().to_string(), key().to_secret_text());
        assert_ne!(capitals(&public), public, "control: the id has letters");
        assert!(capitals(&public).parse::<VerifierKey>().is_err());
        assert!(capitals(&private).parse::<PrivateKey>().is_err());
    }

    #[test]
    fn bad_keys_are_refused() {
        let good = key().verifier().to_string();
        for bad in ["", "x", "a+b+c", &good.replace("acme", "acne"), &good[..good.len() - 4]] {
            assert!(bad.parse::<VerifierKey>().is_err(), "{bad}");
        }
    }
}
