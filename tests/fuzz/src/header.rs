//! Block headers: lines of `blocks.jsonl`.

use graven_ledger::BlockHeader;

/// Reads the bytes, and writes again what was admitted. The hash is of the records alone.
pub fn header(bytes: &[u8]) -> bool {
    let Ok(header) = BlockHeader::parse(bytes) else {
        return false;
    };
    assert_eq!(header.to_line(), bytes, "a header has one spelling");
    let signed_otherwise = BlockHeader { checkpoint: Some("another".into()), ..header.clone() };
    assert_eq!(signed_otherwise.hash(), header.hash(), "a signature changes no hash");
    let grown = BlockHeader { size: header.size ^ 1, ..header.clone() };
    assert_ne!(grown.hash(), header.hash());
    true
}
