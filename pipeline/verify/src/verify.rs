//! The verification of one ledger, from its first file to the report.

use std::io::Read as _;
use std::path::Path;

use graven_ledger::{LedgerInfo, Paths, VerifierKey};
use graven_record::{Hash, RECORD_BYTES_MAX};

use crate::blocks::HeaderStream;
use crate::checkpoints::{self, Signed};
use crate::chunks::cut;
use crate::findings::{At, Findings};
use crate::growth::Growth;
use crate::line::LineChecker;
use crate::segments::Segment;
use crate::tiles::{Tiles, is_level};
use crate::walk::Walk;
use crate::{
    Checks, FaultKind, Kinds, Missing, NewestCheckpoint, NoteKind, Progress, Report, Trust,
    Verdict, VerifyError, files, pipeline, screen, segments, superseded,
};

/// What a ledger directory holds, its reserved names included.
const KNOWN_FILES: [&str; 11] = [
    "ledger.json",
    "lock",
    "segments",
    "blocks.jsonl",
    "tile",
    "checkpoint",
    "recovering",
    "releasing",
    "anchors.jsonl",
    "blobs",
    "torn",
];

/// Most names of other files that a note lists.
const OTHER_NAMES_MAX: usize = 5;

/// Verifies the ledger in `dir` against what is trusted.
///
/// Reads everything once, on all cores, in memory that does not grow with the ledger. Writes
/// nothing. A ledger that a writer is at work on may be verified.
///
/// # Errors
///
/// [`VerifyError::NotALedger`] and [`VerifyError::Io`]. What is wrong with the ledger is no error:
/// it is in the report. Source: `schemas/format.md`, section 8.
pub fn verify(dir: &Path, trust: &Trust, progress: &dyn Progress) -> Result<Report, VerifyError> {
    let paths = Paths::new(dir);
    // A writer may release what was about to be read, or before the record that says so was known to be
    // sealed: then the ledger is read anew.
    loop {
        let begins = graven_ledger::begins(&paths).unwrap_or_default();
        let verified = verify_once(&paths, trust, progress);
        let moved = || graven_ledger::begins(&paths).is_ok_and(|now| now > begins);
        let holds = verified.as_ref().is_ok_and(|report| report.verdict != Verdict::Fault);
        if holds || !moved() {
            return verified;
        }
    }
}

fn verify_once(
    paths: &Paths,
    trust: &Trust,
    progress: &dyn Progress,
) -> Result<Report, VerifyError> {
    let mut findings = Findings::default();
    let Some(identity) = Identity::read(paths, trust, &mut findings)? else {
        return Ok(report(trust, findings));
    };
    let key = trust.key().unwrap_or(&identity.key);

    // What is read later only reaches further, should a writer be at work.
    let checkpoint = checkpoints::read_file(paths, key)?;
    let mut signed = checkpoints::read_headers(paths, key, &mut findings)?;
    signed.compare(checkpoint, &checkpoints::read_file(paths, key)?, &mut findings);
    demand(trust, &signed, &mut findings);

    let segments = segments::read(paths)?;
    let parts = (HeaderStream::open(paths, signed.bytes)?, Tiles::new(paths, signed.sealed));
    let mut growth = Growth::new(key, trust.at_least(), signed.sealed, identity.genesis, parts);
    growth.reached(&mut findings);
    let mut walk = Walk::new(&segments, signed.sealed, growth);
    let bytes = read_records(&identity, &segments, &mut walk, progress, &mut findings)?;
    let records = walk.finish(&mut findings)?;
    let begins = walk.accounted.begins;
    let first = segments.first().map_or("segments", |segment| segment.name.as_str());
    let released = walk.accounted.close(first, &mut findings);

    let mut compared = 0;
    for stretch in &walk.superseded {
        compared += superseded::check(stretch, &segments, identity.origin(), &mut findings)?;
    }
    walk.growth.tiles.report_wrong(&mut findings);
    walk.growth.tiles.note_longer(&mut findings)?;
    note_other_files(paths, &mut findings)?;
    progress.end();
    Ok(Report {
        actions: walk.tally.commonest(),
        blocks: signed.blocks,
        checkpoint: signed.newest.map(|it| NewestCheckpoint {
            cosigned_unix_s: it.cosigned_unix_s,
            root: it.checkpoint.root,
            size: it.checkpoint.size,
        }),
        checks: Checks {
            bytes,
            headers: walk.growth.compared,
            records: records - begins,
            signatures: signed.signatures,
            superseded: compared,
            tile_hashes: walk.growth.tiles.compared,
        },
        gaps: walk.tally.kinds.gap,
        kinds: walk.tally.kinds,
        missing: walk.tally.missing,
        origin: Some(identity.origin().to_owned()),
        records,
        released,
        root: walk.growth.root,
        sealed: signed.sealed,
        unsealed: records.saturating_sub(signed.sealed),
        ..report(trust, findings)
    })
}

/// `ledger.json`, read.
struct Identity {
    info: Vec<u8>,
    key: VerifierKey,
    /// SHA-256 of the file: what the first record and the first header name.
    genesis: Hash,
}

impl Identity {
    /// Reads `ledger.json`; `None` where nothing can be checked without it, which is a fault.
    fn read(
        paths: &Paths,
        trust: &Trust,
        findings: &mut Findings,
    ) -> Result<Option<Self>, VerifyError> {
        const FILE: &str = "ledger.json";
        let Some(info) = files::read_small(&paths.info())? else {
            // Without that file it may still be a ledger, from which the file was taken.
            if !paths.segments().is_dir() && !paths.blocks().is_file() {
                return Err(VerifyError::NotALedger(paths.dir().to_owned()));
            }
            let sentence = "the file is missing, and without it nothing can be checked";
            findings.fault(FaultKind::MissingFile, At::file(FILE), sentence);
            return Ok(None);
        };
        let parsed = LedgerInfo::parse(&info)
            .and_then(|(it, genesis)| it.verifier_key().map(|key| (key, genesis)));
        let (key, genesis) = match parsed {
            Ok(parsed) => parsed,
            Err(problem) => {
                let sentence = format!(
                    "the file is malformed, and without it nothing can be checked: {problem}"
                );
                findings.fault(FaultKind::BadLedgerFile, At::file(FILE).byte(0), sentence);
                return Ok(None);
            }
        };
        if let Some(given) = trust.key().filter(|given| **given != key) {
            let sentence = format!("the file names the key {key}, but the key given is {given}");
            findings.fault(FaultKind::WrongKey, At::file(FILE).byte(0), sentence);
        }
        Ok(Some(Self { info, key, genesis }))
    }

    fn origin(&self) -> &str {
        self.key.origin().as_str()
    }
}

/// A ledger whose sealed size is smaller than the checkpoint from outside was cut.
fn demand(trust: &Trust, signed: &Signed, findings: &mut Findings) {
    if let Some(at_least) = trust.at_least().filter(|it| it.size > signed.sealed) {
        let sentence = format!(
            "the checkpoint given covers {} records, but only {} are sealed here: an older copy, or records were removed",
            at_least.size, signed.sealed
        );
        findings.fault(FaultKind::CutBack, At::default(), sentence);
    }
    if signed.blocks == 0 {
        let sentence = "there is no block header, so nothing is signed";
        findings.note(NoteKind::NothingSealed, At::default(), sentence);
    }
}

/// Reads all segments, line by line, on all cores; returns their bytes.
fn read_records(
    identity: &Identity,
    segments: &[Segment],
    walk: &mut Walk<'_>,
    progress: &dyn Progress,
    findings: &mut Findings,
) -> Result<u64, VerifyError> {
    progress.begin(segments.iter().map(|segment| segment.bytes).sum());
    let checker = LineChecker { origin: identity.origin().to_owned(), info: identity.info.clone() };
    let mut bytes = 0;
    pipeline::in_order(
        |emit| {
            for (index, segment) in segments.iter().enumerate() {
                let file = files::open_known(&segment.path)?;
                // No further than it reached at first: a writer may be faster than its reader.
                let file = file.take(segment.bytes);
                let wanted = cut(file, RECORD_BYTES_MAX, |chunk| emit((index, chunk)))
                    .map_err(VerifyError::io("read", &segment.path))?;
                if !wanted {
                    break;
                }
            }
            Ok(())
        },
        |(index, chunk)| (index, checker.check(chunk)),
        |(index, checked)| {
            bytes += checked.bytes;
            progress.advance(checked.bytes);
            walk.add(index, checked, findings)
        },
    )?;
    Ok(bytes)
}

/// Files that are no part of a ledger are reported, and otherwise ignored.
fn note_other_files(paths: &Paths, findings: &mut Findings) -> Result<(), VerifyError> {
    let mut others = Vec::new();
    let mut count = 0_u64;
    let mut look = |dir: &str, name: String, known: bool| {
        if !known {
            count += 1;
            if others.len() < OTHER_NAMES_MAX {
                others.push(format!("{dir}{name}").escape_debug().to_string());
            }
        }
    };
    for name in files::names(paths.dir())? {
        let known = KNOWN_FILES.contains(&name.as_str());
        look("", name, known);
    }
    for name in files::names(&paths.segments())? {
        let known = Paths::segment_first(&name).is_some();
        look("segments/", name, known);
    }
    for name in files::names(&paths.tiles())? {
        let known = is_level(&name);
        look("tile/", name, known);
    }
    if count > 0 {
        let more = if count > others.len() as u64 { ", …" } else { "" };
        let files = screen::count(count, "other file");
        let sentence = format!("{files}: {}{more}", others.join(", "));
        findings.note(NoteKind::OtherFiles, At::default(), sentence);
    }
    Ok(())
}

/// A report of the findings, and of nothing else yet.
fn report(trust: &Trust, findings: Findings) -> Report {
    let verdict = match (findings.faults_total, trust.key()) {
        (0, Some(_)) => Verdict::Good,
        (0, None) => Verdict::Unproven,
        _ => Verdict::Fault,
    };
    Report {
        actions: Vec::new(),
        blocks: 0,
        checkpoint: None,
        checks: Checks::default(),
        faults: findings.faults,
        faults_total: findings.faults_total,
        gaps: 0,
        kinds: Kinds::default(),
        missing: Missing::default(),
        notes: findings.notes,
        notes_total: findings.notes_total,
        origin: None,
        records: 0,
        released: None,
        root: None,
        sealed: 0,
        unsealed: 0,
        verdict,
    }
}
