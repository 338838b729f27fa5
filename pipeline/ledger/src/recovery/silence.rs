//! Since when nobody has written.

use graven_record::Timestamp;

use crate::{LedgerError, LedgerInfo, Members, Paths, Placement};

/// Most records that are walked back over: a few starts that were each cut short.
const PREAMBLE_MAX: u32 = 32;

/// When the silence before this run began: at the last record of the run before, unless that run stopped
/// in order. A start that was cut short before its own gap record passes the silence before it on.
pub(super) fn began(
    paths: &Paths,
    info: &LedgerInfo,
    last: Placement,
) -> Result<Option<Timestamp>, LedgerError> {
    let mut record = last;
    for _ in 0..PREAMBLE_MAX {
        if !record.is_preamble || record.seq == 0 {
            break;
        }
        let before = crate::find(paths, record.seq - 1)?.and_then(|found| {
            let members = Members::read(&found.record).ok()?;
            Placement::read(&members, info.origin.as_str()).ok()
        });
        match before {
            // It stopped in order: the silence began with the start that was cut short.
            Some(before) if before.ends_run => break,
            Some(before) => record = before,
            None => break,
        }
    }
    Ok(if last.ends_run { None } else { Some(record.latest) })
}
