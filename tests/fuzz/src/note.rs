//! Signed notes and keys: what is admitted has one spelling.

use graven_ledger::{PrivateKey, VerifierKey, open_checkpoint, open_signed};

/// The key of the checkpoint in `schemas/vectors/signed-note.json`, which is in the corpus.
const KEY: &str = "graven.example/vector+dcd4d94c+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";

/// Reads a note and both kinds of key.
pub fn note(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let line = text.trim_end_matches('\n');
    let verifier = text.parse::<VerifierKey>();
    if let Ok(key) = &verifier {
        assert_eq!(key.to_string(), line);
    }
    let private = text.parse::<PrivateKey>();
    if let Ok(key) = &private {
        assert_eq!(key.to_secret_text().as_str(), line);
    }
    let key = KEY.parse().expect("a good key");
    let signed = open_signed(text, &key);
    if let Ok(checkpoint) = &signed {
        assert!(text.starts_with(&format!("{checkpoint}\n")), "{checkpoint}");
    }
    if let Ok(opened) = open_checkpoint(text, &key) {
        assert_eq!(signed, Ok(opened.checkpoint), "both signatures are more than one");
    }
    verifier.is_ok() || private.is_ok() || signed.is_ok()
}
