//! The command: `graven-verify`, and the `verify` verb of `graven`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::{Bar, Trust, Verdict, VerifyError, verify};

/// What `--help` shows below the options.
pub const EXAMPLES: &str = "\
Examples:
  Against the key that the ledger's owner gave you, and the newest checkpoint you have of it:
      graven-verify /var/lib/graven/host-7 --key host-7.vkey --at-least host-7.checkpoint

  For a program to read:
      graven-verify /var/lib/graven/host-7 --key host-7.vkey --json

Exit status:
  0  good
  1  the evidence is at fault
  2  usage error
  3  input or output error: no verdict
  4  no fault, but without --key the signer is unproven";

/// The arguments of a verification.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// The ledger's directory.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// The ledger's verifier key, or a file that holds it, as you got it from outside the ledger.
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// A file with a signed checkpoint that the ledger must contain, as you keep it outside.
    #[arg(long, value_name = "NOTE", requires = "key")]
    pub at_least: Option<PathBuf>,
    /// Print the report as one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Verifies, and writes the report to `out`; the caller maps the verdict to an exit code.
///
/// The report for people has colours: give [`crate::screen::output`], which knows where they are wanted.
///
/// # Errors
///
/// [`VerifyError`], which has an exit code of its own.
pub fn run(args: &VerifyArgs, out: &mut impl Write) -> Result<Verdict, VerifyError> {
    let mut trust = match &args.key {
        Some(key) => Trust::in_key_or_file(key)?,
        None => Trust::default(),
    };
    if let Some(note) = &args.at_least {
        trust = trust.and_at_least_file(note)?;
    }
    let report = verify(&args.dir, &trust, &Bar::new())?;
    let mut write = || -> io::Result<()> {
        if args.json {
            serde_json::to_writer(&mut *out, &report)?;
            writeln!(out)?;
        } else {
            write!(out, "{report:#}")?;
        }
        out.flush()
    };
    write().map_err(VerifyError::io("write", Path::new("the report")))?;
    Ok(report.verdict)
}

/// The exit code of a run: 0 good, 1 fault, 2 usage error, 3 I/O error, 4 unproven.
#[must_use]
pub fn exit_code(result: &Result<Verdict, VerifyError>) -> u8 {
    match result {
        Ok(verdict) => verdict.exit_code(),
        Err(error) => error.exit_code(),
    }
}
