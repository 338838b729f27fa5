//! Lines of a ledger's files: a block header, `ledger.json`, a record.

use graven_ledger::{BlockHeader, LedgerInfo, Members, Placement};

const ORIGIN: &str = "example.org/fuzz";

/// Reads the bytes as each of the three, and writes again what can be written.
pub fn ledger(bytes: &[u8]) -> bool {
    let header = BlockHeader::parse(bytes);
    if let Ok(header) = &header {
        assert_eq!(header.to_line(), bytes);
    }
    let info = LedgerInfo::parse(bytes);
    if let Ok((info, _)) = &info {
        assert_eq!(info.to_bytes(), bytes);
    }
    let placement = Members::read(bytes).and_then(|members| Placement::read(&members, ORIGIN));
    if let Ok(placement) = &placement {
        assert!(placement.earliest <= placement.latest, "{placement:?}");
    }
    header.is_ok() || info.is_ok() || placement.is_ok()
}
