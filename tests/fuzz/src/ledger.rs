//! `ledger.json`: what a ledger says of itself.

use graven_ledger::LedgerInfo;
use graven_record::sha256;

/// Reads the bytes, and writes again what was admitted.
pub fn ledger(bytes: &[u8]) -> bool {
    let Ok((info, genesis)) = LedgerInfo::parse(bytes) else {
        return false;
    };
    assert_eq!(info.to_bytes(), bytes, "a ledger.json has one spelling");
    assert_eq!(genesis, sha256(bytes), "the chain begins with these bytes");
    true
}
