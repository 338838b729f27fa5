//! System calls made of any parts: past the parser at once, whatever the layout is.

use graven_abi::layout::{CallBody, ItemHeader, RECORD_BYTES_MAX, item_kind};
use graven_abi::{Arch, Header, encode};
use zerocopy::FromBytes;

use super::parse;

const ARCHES: [Arch; 3] = [Arch::X86_64, Arch::I386, Arch::X32];
/// System call numbers with a plan or near one, and the bit that x32 sets.
const NUMBERS: u32 = 0x4000_03ff;

/// Takes the bytes as header, body and items, makes them fit, and requires that the record is admitted.
pub fn call(bytes: &[u8]) -> bool {
    let Ok((header, rest)) = Header::read_from_prefix(bytes) else {
        return false;
    };
    let Ok((body, mut rest)) = CallBody::read_from_prefix(rest) else {
        return false;
    };
    if bytes.len() > RECORD_BYTES_MAX {
        return false;
    }
    let arch = ARCHES[usize::from(body.arch) % ARCHES.len()].number();
    let mut items = Vec::new();
    while let Ok((item, after)) = ItemHeader::read_from_prefix(rest) {
        let (payload, after) = after.split_at(usize::from(item.len).min(after.len()));
        let kind = item_kind::STRING + item.kind % item_kind::EXE;
        items.push((ItemHeader { kind, ..item }, payload));
        rest = after;
    }
    let record = encode::call(header, CallBody { arch, nr: body.nr & NUMBERS, ..body }, &items);
    assert!(parse(&record), "{record:?}");
    true
}
