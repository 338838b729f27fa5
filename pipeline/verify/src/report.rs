//! What a verification found. As JSON the members stand in canonical order.

use graven_record::Hash;
use serde::Serialize;

use crate::Missing;

/// What a verification comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// No fault, under a key from outside.
    Good,
    /// The evidence is at fault.
    Fault,
    /// No fault, but no key was given: the ledger agrees with itself, and who signed it is unproven.
    Unproven,
}

impl Verdict {
    /// The exit code: 0 good, 1 fault, 4 unproven.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Fault => 1,
            Self::Unproven => 4,
        }
    }
}

/// Names an enum's variants in kebab case, for JSON and for people alike.
macro_rules! kinds {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// The kind in kebab case.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

kinds! {
    /// Kinds of fault.
    FaultKind {
        /// `ledger.json` is missing beside segments or headers.
        MissingFile = "missing-file",
        /// `ledger.json` is not what its specification says.
        BadLedgerFile = "bad-ledger-file",
        /// The key in `ledger.json` is not the key given.
        WrongKey = "wrong-key",
        /// A record's bytes are not in canonical form.
        NotCanonical = "not-canonical",
        /// A line is longer than any record may be.
        TooLong = "too-long",
        /// A line has no newline.
        TornRecord = "torn-record",
        /// A member is missing or malformed.
        WrongShape = "wrong-shape",
        /// A record is another ledger's, or misstates this one.
        WrongLedger = "wrong-ledger",
        /// A record stands where another belongs.
        WrongSeq = "wrong-seq",
        /// Records are missing.
        MissingRecords = "missing-records",
        /// A record does not hash to what the record after it names.
        RecordChanged = "record-changed",
        /// A record names another predecessor than the one that stands before it.
        BrokenChain = "broken-chain",
        /// A record names another epoch than the newest `pipeline.started`.
        WrongEpoch = "wrong-epoch",
        /// A `block.opened` names another header or height.
        WrongOpening = "wrong-opening",
        /// A block begins or ends where it must not.
        BlockBoundary = "block-boundary",
        /// A line of `blocks.jsonl` is no header.
        UnreadableHeader = "unreadable-header",
        /// Members of a header differ from what the records give.
        HeaderMismatch = "header-mismatch",
        /// A header has no block of records.
        ExtraHeader = "extra-header",
        /// A sealed block has no header.
        MissingHeader = "missing-header",
        /// A checkpoint is no signed note.
        UnreadableNote = "unreadable-note",
        /// A checkpoint lacks a valid signature of the key.
        BadSignature = "bad-signature",
        /// The file `checkpoint` is missing.
        MissingCheckpoint = "missing-checkpoint",
        /// The file `checkpoint` is of another size or root than the headers.
        CheckpointMismatch = "checkpoint-mismatch",
        /// The ledger ends before a checkpoint that it, or the caller, holds.
        CutBack = "cut-back",
        /// The ledger has another root at the size of the caller's checkpoint.
        OtherHistory = "other-history",
        /// A tile file is missing or short.
        MissingTile = "missing-tile",
        /// A hash in a tile file is not the tree's.
        TileMismatch = "tile-mismatch",
        /// A superseded record is not equal to the one that stands in its place.
        SupersededDiffers = "superseded-differs",
    }
}

kinds! {
    /// Kinds of note: what is reported and is no fault.
    NoteKind {
        /// There is no header, so nothing is signed.
        NothingSealed = "nothing-sealed",
        /// Records above the last header.
        Unsealed = "unsealed",
        /// A damaged end of the last segment, above the last header.
        DamagedTail = "damaged-tail",
        /// Bytes of a segment beyond the next one's name.
        Superseded = "superseded",
        /// Superseded bytes that are no records.
        SupersededDamage = "superseded-damage",
        /// A last line of `blocks.jsonl` without newline.
        TornHeader = "torn-header",
        /// The file `checkpoint` is one block behind, or absent beside a single header.
        CheckpointBehind = "checkpoint-behind",
        /// A tile file is longer than the last header's size demands.
        LongerTile = "longer-tile",
        /// Records with members or actions that this version does not know.
        UnknownMembers = "unknown-members",
        /// `ledger.created` is missing, or not in block 0.
        LedgerCreated = "ledger-created",
        /// Files that are no part of a ledger.
        OtherFiles = "other-files",
        /// What could not be checked, because of a fault.
        NotChecked = "not-checked",
    }
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Offset in `file`: of the line, header or hash concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub byte: Option<u64>,
    /// The file, relative to the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What kind of fault.
    pub kind: FaultKind,
    /// Leaf index of the record concerned, or of the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<u64>,
    /// What is wrong, in a sentence.
    pub sentence: String,
}

/// Something reported that is no fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// Offset in `file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub byte: Option<u64>,
    /// How many bytes from there on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The file, relative to the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What kind of note.
    pub kind: NoteKind,
    /// Leaf index of the first record concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<u64>,
    /// What was found, in a sentence.
    pub sentence: String,
    /// SHA-256 of those bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Hash>,
}

/// The newest checkpoint of the ledger whose signatures verify.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewestCheckpoint {
    /// When the log cosigned it, in POSIX seconds, by its own clock.
    pub cosigned_unix_s: u64,
    /// Root of its tree.
    pub root: Hash,
    /// Leaves of its tree.
    pub size: u64,
}

/// Records that are not in the ledger any more, as a sealed record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Released {
    /// Leaf index of the record that says so.
    pub record: u64,
    /// How many, from record 0 on.
    pub records: u64,
    /// Segments in which they stood.
    pub segments: u64,
}

/// Standing records by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "each is named by the kind itself")]
pub struct Kinds {
    pub event: u64,
    pub gap: u64,
    pub syscall: u64,
    pub system: u64,
}

/// How often an action stands in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ActionCount {
    /// The action.
    pub action: String,
    /// Records with it.
    pub count: u64,
}

/// What was checked, and how often.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Checks {
    /// Bytes of record lines read.
    pub bytes: u64,
    /// Block headers recomputed from records and compared, member by member.
    pub headers: u64,
    /// Records whose form, hash and place were checked.
    pub records: u64,
    /// Signatures verified.
    pub signatures: u64,
    /// Superseded records compared with those that stand in their place.
    pub superseded: u64,
    /// Hashes in the tiles compared with the tree's.
    pub tile_hashes: u64,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The commonest actions, most frequent first.
    pub actions: Vec<ActionCount>,
    /// Headers in `blocks.jsonl`.
    pub blocks: u64,
    /// The newest checkpoint whose signatures verify.
    pub checkpoint: Option<NewestCheckpoint>,
    /// What was checked.
    pub checks: Checks,
    /// The first faults, at most 20 of a kind and 100 in all.
    pub faults: Vec<Fault>,
    /// How many faults there are, those that are not listed included.
    pub faults_total: u64,
    /// Standing gap records.
    pub gaps: u64,
    /// Standing records by kind.
    pub kinds: Kinds,
    /// What the gap records say is missing.
    pub missing: Missing,
    /// Notes, at most 20 of a kind and 100 in all.
    pub notes: Vec<Note>,
    /// How many notes there are, those that are not listed included.
    pub notes_total: u64,
    /// The ledger's name, where it is known.
    pub origin: Option<String>,
    /// Records of the ledger, sealed or not, those that were released included.
    pub records: u64,
    /// What was released of the ledger's beginning; `None` where nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub released: Option<Released>,
    /// Root of the sealed records, as recomputed; `None` where it could not be.
    pub root: Option<Hash>,
    /// Size of the last header: how many records are sealed.
    pub sealed: u64,
    /// Standing records above it.
    pub unsealed: u64,
    /// What it comes to.
    pub verdict: Verdict,
}
