//! `graven show`: one record, and where it stands.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use graven_ledger::{
    BlockHeader, Found, LedgerError, LineReader, Paths, ReadLine, TileReader, proof,
};
use graven_record::leaf_hash;
use graven_verify::screen::{BAD, GOOD, count, painted};

use crate::exit;
use crate::value::number;

/// Show one record and where it stands.
///
/// The record is shown as it is stored, its members one a line. Its place in the tree is proved against the
/// newest block header; whether that is the signer's word is for `graven verify` to say.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  graven show 17 --ledger ledger")]
pub(crate) struct ShowArgs {
    /// Index of the record, from 0.
    #[arg(value_parser = number::<u64>)]
    seq: u64,
    /// Directory of the ledger.
    #[arg(long, value_name = "DIR", env = "GRAVEN_LEDGER", default_value = "ledger")]
    ledger: PathBuf,
    /// Print the record's canonical bytes alone.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Longest header line that is read, in bytes: far more than any has.
const HEADER_BYTES_MAX: usize = 1 << 16;

pub(crate) fn run(args: &ShowArgs, out: &mut impl Write) -> anyhow::Result<u8> {
    let paths = graven_ledger::look(&args.ledger)?;
    let Some(found) = graven_ledger::find(&paths, args.seq)? else {
        let begins = graven_ledger::begins(&paths)?;
        if args.seq < begins {
            return released(&paths, args, begins, out);
        }
        bail!(
            "{} has no record {}: `graven verify` tells how many it has",
            args.ledger.display(),
            args.seq
        );
    };
    if args.json {
        out.write_all(&found.record)?;
        writeln!(out)?;
        return Ok(exit::GOOD);
    }
    let leaf = leaf_hash(&found.record);
    let Found { record, segment, at_byte } = &found;
    let bytes = record.len();
    writeln!(out, "record     {}", args.seq)?;
    writeln!(out, "stored     {}, byte {at_byte}, {bytes} bytes", segment.path.display())?;
    writeln!(out, "leaf hash  {leaf}")?;
    let code = place(&paths, args.seq, &leaf, out)?;
    let value: serde_json::Value = serde_json::from_slice(record)
        .context("the stored record is no JSON: run `graven verify`")?;
    writeln!(out, "\n{}", serde_json::to_string_pretty(&value)?)?;
    Ok(code)
}

/// A record that is not in the ledger any more: its leaf hash is, and proves where it stood.
fn released(
    paths: &Paths,
    args: &ShowArgs,
    begins: u64,
    out: &mut impl Write,
) -> anyhow::Result<u8> {
    if args.json {
        return Err(LedgerError::Released { record: args.seq, begins }.into());
    }
    let leaf = TileReader::new(paths).root_of(args.seq, args.seq + 1)?;
    writeln!(out, "record     {}", args.seq)?;
    writeln!(out, "stored     not any more: the ledger's records begin with {begins}")?;
    writeln!(out, "leaf hash  {leaf}, as the tiles have it")?;
    place(paths, args.seq, &leaf, out)
}

/// Tells the record's block, and proves its place in the tree.
fn place(
    paths: &Paths,
    seq: u64,
    leaf: &graven_record::Hash,
    out: &mut impl Write,
) -> anyhow::Result<u8> {
    let mut code = exit::GOOD;
    let (block, newest) = headers(paths, seq)?;
    match (block, newest) {
        (Some(block), Some(newest)) => {
            writeln!(
                out,
                "block      {}, records {} to {}",
                block.height,
                block.first,
                block.size - 1
            )?;
            let path = prove(paths, seq, newest.size)?;
            let proved = proof::verify_inclusion(leaf, seq, newest.size, &path, &newest.root);
            match proved {
                Ok(()) => writeln!(
                    out,
                    "in tree    {}: {} lead to the root of {}",
                    painted(GOOD, "yes"),
                    hashes(path.len()),
                    count(newest.size, "record")
                )?,
                Err(error) => {
                    code = exit::FAULT;
                    writeln!(out, "in tree    {}: {error}", painted(BAD, "NO"))?;
                }
            }
        }
        _ => writeln!(out, "block      none yet: the record is not sealed")?,
    }
    Ok(code)
}

fn hashes(many: usize) -> String {
    if many == 1 { "1 hash".to_owned() } else { format!("{many} hashes") }
}

/// The header of the block that holds record `seq`, and the newest header.
fn headers(paths: &Paths, seq: u64) -> anyhow::Result<(Option<BlockHeader>, Option<BlockHeader>)> {
    let path = paths.blocks();
    if !path.exists() {
        return Ok((None, None));
    }
    let mut lines = LineReader::new(open(&path)?, HEADER_BYTES_MAX);
    let (mut block, mut newest) = (None, None);
    while let Some((offset, line)) = lines.next_line()? {
        let ReadLine::Whole(line) = line else {
            continue;
        };
        let header = BlockHeader::parse(line).map_err(|problem| {
            anyhow::anyhow!("{}, byte {offset}: {problem}: run `graven verify`", path.display())
        })?;
        if (header.first..header.size).contains(&seq) {
            block = Some(header.clone());
        }
        newest = Some(header);
    }
    Ok((block, newest))
}

fn open(path: &Path) -> anyhow::Result<File> {
    File::open(path).with_context(|| format!("failed to open {}", path.display()))
}

fn prove(paths: &Paths, seq: u64, size: u64) -> anyhow::Result<Vec<graven_record::Hash>> {
    let tiles = TileReader::new(paths);
    Ok(proof::prove_inclusion(seq, size, |first, end| tiles.root_of(first, end))?)
}
