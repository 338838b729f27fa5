//! One stored line, read back: the members that place a record in its ledger.

use graven_record::canonical::{self, NotCanonical};
use graven_record::{Hash, RECORD_BYTES_MAX, Timestamp};

use crate::RECOVERED;

/// Why a stored line is not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The bytes are not in canonical form.
    #[error(transparent)]
    NotCanonical(#[from] NotCanonical),
    /// Longer than any record may be.
    #[error("{0} bytes long, the limit is {RECORD_BYTES_MAX}")]
    TooLong(usize),
    /// A member is missing or of the wrong form.
    #[error("the member `{0}` is missing or malformed")]
    Member(&'static str),
}

/// The top-level members of a record, as canonical bytes.
#[derive(Debug, Default, Clone)]
#[expect(missing_docs, reason = "each field is the member of its name")]
pub struct Members<'a> {
    pub action: Option<&'a [u8]>,
    pub actor: Option<&'a [u8]>,
    pub bytes_severed: Option<&'a [u8]>,
    pub detail: Option<&'a [u8]>,
    pub enforcement: Option<&'a [u8]>,
    pub epoch: Option<&'a [u8]>,
    pub external_trace_id: Option<&'a [u8]>,
    pub gap: Option<&'a [u8]>,
    pub kind: Option<&'a [u8]>,
    pub ledger: Option<&'a [u8]>,
    pub mono_ns: Option<&'a [u8]>,
    pub occurred: Option<&'a [u8]>,
    pub payload: Option<&'a [u8]>,
    pub prev: Option<&'a [u8]>,
    pub process: Option<&'a [u8]>,
    pub schema_version: Option<&'a [u8]>,
    pub seq: Option<&'a [u8]>,
    pub source: Option<&'a [u8]>,
    pub subject: Option<&'a [u8]>,
    pub syscall: Option<&'a [u8]>,
    pub target_host: Option<&'a [u8]>,
    pub timestamp_truetime: Option<&'a [u8]>,
    pub trace_id: Option<&'a [u8]>,
    pub verdict: Option<&'a [u8]>,
    pub place: Option<&'a [u8]>,
    /// First member that the format does not know.
    pub unknown: Option<&'a [u8]>,
}

impl<'a> Members<'a> {
    /// Reads a record's canonical bytes.
    ///
    /// # Errors
    ///
    /// [`LineError::NotCanonical`] or [`LineError::TooLong`].
    pub fn read(record: &'a [u8]) -> Result<Self, LineError> {
        Self::read_after(&mut Members::default(), record)
    }

    /// As [`Self::read`], for a record behind one that was read: most values are the same again.
    ///
    /// # Errors
    ///
    /// Those of [`Self::read`].
    pub fn read_after(before: &mut Members<'_>, record: &'a [u8]) -> Result<Self, LineError> {
        if record.len() > RECORD_BYTES_MAX {
            return Err(LineError::TooLong(record.len()));
        }
        let mut members = Self::default();
        canonical::object_like(
            record,
            |key| before.slot(key).and_then(|slot| *slot),
            |key, value| match members.slot(key) {
                Some(slot) => *slot = Some(value),
                None => members.unknown = members.unknown.or(Some(key)),
            },
        )?;
        Ok(members)
    }

    /// Whether the members are there that every record has.
    #[must_use]
    pub fn are_complete(&self) -> bool {
        [
            self.action,
            self.actor,
            self.epoch,
            self.kind,
            self.ledger,
            self.place,
            self.prev,
            self.schema_version,
            self.seq,
            self.source,
            self.subject,
            self.timestamp_truetime,
            self.trace_id,
        ]
        .iter()
        .all(Option::is_some)
    }

    /// Whether it is a `kind: system` of this action.
    #[must_use]
    pub fn is_system(&self, action: &str) -> bool {
        is(self.kind, "system") && is(self.action, action)
    }

    fn slot(&mut self, key: &[u8]) -> Option<&mut Option<&'a [u8]>> {
        Some(match key {
            b"action" => &mut self.action,
            b"actor" => &mut self.actor,
            b"bytes_severed" => &mut self.bytes_severed,
            b"detail" => &mut self.detail,
            b"enforcement" => &mut self.enforcement,
            b"epoch" => &mut self.epoch,
            b"external_trace_id" => &mut self.external_trace_id,
            b"gap" => &mut self.gap,
            b"kind" => &mut self.kind,
            b"ledger" => &mut self.ledger,
            b"mono_ns" => &mut self.mono_ns,
            b"occurred" => &mut self.occurred,
            b"payload" => &mut self.payload,
            b"prev" => &mut self.prev,
            b"process" => &mut self.process,
            b"schema_version" => &mut self.schema_version,
            b"seq" => &mut self.seq,
            b"source" => &mut self.source,
            b"subject" => &mut self.subject,
            b"syscall" => &mut self.syscall,
            b"target_host" => &mut self.target_host,
            b"timestamp_truetime" => &mut self.timestamp_truetime,
            b"trace_id" => &mut self.trace_id,
            b"verdict" => &mut self.verdict,
            b"where" => &mut self.place,
            _ => return None,
        })
    }
}

/// What the chain has to know of a stored record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, no state machine")]
pub struct Placement {
    /// Leaf index.
    pub seq: u64,
    /// Leaf hash of the record before.
    pub prev: Hash,
    /// `seq` of the newest `pipeline.started`.
    pub epoch: u64,
    /// Start of the interval that holds the record's true time.
    pub earliest: Timestamp,
    /// End of that interval.
    pub latest: Timestamp,
    /// True for `kind: gap`.
    pub is_gap: bool,
    /// True for the first record of a block.
    pub opens_block: bool,
    /// True for `pipeline.started`.
    pub begins_epoch: bool,
    /// True for `pipeline.stopped`.
    pub ends_run: bool,
    /// True for what a run writes before anything has happened in it.
    pub is_preamble: bool,
}

impl Placement {
    /// Reads what places a record from its members.
    ///
    /// # Errors
    ///
    /// [`LineError::Member`] with the first member that is missing or malformed; `ledger` where it
    /// is another ledger's.
    pub fn read(members: &Members<'_>, origin: &str) -> Result<Self, LineError> {
        let bad = LineError::Member;
        let unsigned =
            |value: Option<&[u8]>, name| value.and_then(canonical::unsigned).ok_or(bad(name));
        if !is(members.ledger, origin) {
            return Err(bad("ledger"));
        }
        let prev = members.prev.and_then(canonical::string).ok_or(bad("prev"))?;
        let (earliest, latest) =
            interval(members.timestamp_truetime.ok_or(bad("timestamp_truetime"))?)
                .ok_or(bad("timestamp_truetime"))?;
        Ok(Self {
            seq: unsigned(members.seq, "seq")?,
            prev: prev.parse().map_err(|_| bad("prev"))?,
            epoch: unsigned(members.epoch, "epoch")?,
            earliest,
            latest,
            is_gap: is(members.kind, "gap"),
            opens_block: members.is_system("block.opened"),
            begins_epoch: members.is_system("pipeline.started"),
            ends_run: members.is_system("pipeline.stopped"),
            is_preamble: ["block.opened", "ledger.created", "pipeline.started", RECOVERED]
                .iter()
                .any(|action| members.is_system(action)),
        })
    }
}

fn is(value: Option<&[u8]>, text: &str) -> bool {
    value.is_some_and(|value| canonical::is_string(value, text))
}

/// Reads `{clock?, earliest, latest}`.
fn interval(value: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let (mut earliest, mut latest, mut strange) = (None, None, false);
    let time = |value| canonical::string(value).and_then(|text| Timestamp::parse(&text));
    canonical::members(value, |key, value| match key {
        b"clock" => strange |= value != b"\"unsynchronised\"",
        b"earliest" => earliest = time(value),
        b"latest" => latest = time(value),
        // Members that a later version adds are kept and reported, like any others.
        _ => {}
    });
    let interval = (earliest?, latest?);
    (!strange && interval.0 <= interval.1).then_some(interval)
}
