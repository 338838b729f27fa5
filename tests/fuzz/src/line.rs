//! Lines of a segment: cut at newlines, read as records, and taken into a chain.

use graven_ledger::{Chain, LineReader, Members, Placement, ReadLine};
use graven_record::{Canonical as _, Hash, Value, leaf_hash};

const ORIGIN: &str = "example.org/fuzz";
/// Longest line that is read: short, so that inputs reach it.
const LINE_BYTES_MAX: usize = 4_096;

/// Reads the bytes as a segment; says whether a record was in it.
pub fn line(bytes: &[u8]) -> bool {
    let mut lines = LineReader::new(bytes, LINE_BYTES_MAX);
    let (mut end, mut admitted) = (0, false);
    while let Some((offset, line)) = lines.next_line().expect("memory can be read") {
        assert_eq!(offset, end, "no byte is passed over in silence");
        match line {
            ReadLine::Whole(line) => {
                assert!(line.len() <= LINE_BYTES_MAX && !line.contains(&b'\n'));
                end += line.len() as u64 + 1;
                admitted |= record(line);
            }
            ReadLine::Unterminated(rest) => {
                assert!(rest.len() <= LINE_BYTES_MAX && bytes.ends_with(rest));
                end += rest.len() as u64;
            }
            ReadLine::Overlong(length) => {
                assert!(length > LINE_BYTES_MAX as u64);
                // The newline, unless it is the last line and has none.
                end = (end + length + 1).min(bytes.len() as u64);
            }
        }
    }
    assert_eq!(end, bytes.len() as u64);
    admitted
}

/// Reads a record, and has the chain take it in where it belongs there.
fn record(line: &[u8]) -> bool {
    let Ok(members) = Members::read(line) else { return false };
    let value = Value::parse(line).expect("canonical bytes are JSON");
    assert_eq!(value.to_canonical(), line, "a record has one spelling");
    let Ok(placement) = Placement::read(&members, ORIGIN) else { return false };
    assert!(placement.earliest <= placement.latest, "{placement:?}");

    let leaf = leaf_hash(line);
    let mut chain = Chain::new(placement.prev);
    let taken = chain.replay(&placement, leaf);
    let begins = placement.seq == 0 && placement.epoch == 0 && placement.opens_block;
    assert_eq!(taken.is_ok(), begins, "{taken:?}: {placement:?}");
    assert_eq!((chain.size(), chain.head() == leaf), (begins.into(), begins));
    if begins {
        assert!(chain.replay(&placement, leaf).is_err(), "no record follows itself");
        let header = chain.seal().expect("a block is open");
        assert_eq!((header.count, header.head, header.root), (1, leaf, leaf));
    }
    let mut other = Chain::new(Hash(leaf.0));
    assert!(other.replay(&placement, leaf).is_err(), "it names another beginning");
    true
}
