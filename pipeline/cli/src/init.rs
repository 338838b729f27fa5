//! `graven init`: makes a ledger and its key.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use graven_record::Origin;
use graven_stages::{clock, host_name};

use crate::exit;

/// Make an empty ledger and its signing key.
///
/// The key is made with mode 0600 beside the ledger, never in it, and with it the signer's memory of what
/// it has signed. The verifier key may be given to anyone.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  graven init /var/lib/graven/ledger --origin acme.example/prod/host-7")]
pub(crate) struct InitArgs {
    /// Directory of the ledger; it must not exist.
    dir: PathBuf,
    /// The ledger's name, unique among all yours. Default: the host name, `/`, the directory name.
    #[arg(long, value_name = "NAME")]
    origin: Option<Origin>,
    /// File for the private key. Default: DIR.key.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// Where the key of the ledger in `dir` is by default.
pub(crate) fn default_key(dir: &Path) -> PathBuf {
    let mut key = OsString::from(dir.components().as_path());
    key.push(".key");
    key.into()
}

pub(crate) fn run(args: &InitArgs, out: &mut impl Write) -> anyhow::Result<u8> {
    let origin = match &args.origin {
        Some(origin) => origin.clone(),
        None => default_origin(&args.dir)?,
    };
    let key = args.key.clone().unwrap_or_else(|| default_key(&args.dir));
    let created = graven_ledger::create(&args.dir, &key, origin, clock::now().to_string())?;
    writeln!(out, "ledger        {}", args.dir.display())?;
    writeln!(out, "origin        {}", created.info.origin)?;
    writeln!(
        out,
        "private key   {}  (mode 0600: keep it, and keep it apart)",
        created.key_path.display()
    )?;
    writeln!(out, "verifier key  {}  (give it away)", created.verifier_path.display())?;
    writeln!(out, "              {}", created.verifier)?;
    let dir = args.dir.display();
    let own_key = args.key.as_ref().map(|key| format!(" --key {}", key.display()));
    let own_key = own_key.unwrap_or_default();
    let verifier = created.verifier_path.display();
    writeln!(out, "next          sudo graven exec --ledger {dir}{own_key} -- COMMAND")?;
    writeln!(out, "              graven verify {dir} --key {verifier}")?;
    Ok(exit::GOOD)
}

fn default_origin(dir: &Path) -> anyhow::Result<Origin> {
    let absolute = std::path::absolute(dir)?;
    let name = absolute.file_name().unwrap_or_default().to_string_lossy();
    format!("{}/{name}", host_name())
        .parse()
        .context("the directory's name cannot be part of an origin: name one with --origin")
}
