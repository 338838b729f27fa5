//! `graven-verify`: the verifier alone, for those who audit a ledger and run none.

use std::error::Error as _;
use std::process::ExitCode;

use clap::Parser;
use graven_verify::command::{EXAMPLES, VerifyArgs, exit_code, run};
use graven_verify::screen::{UntilClosed, output};

/// Verifies a Graven ledger: every record, hash, header, tile and signature in it.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    args: VerifyArgs,
}

#[expect(clippy::print_stderr, reason = "a binary speaks to its user")]
fn main() -> ExitCode {
    let Cli { args } = Cli::parse();
    let result = run(&args, &mut UntilClosed::new(output(args.json)));
    if let Err(error) = &result {
        eprintln!("graven-verify: {error}");
        let mut cause = error.source();
        while let Some(it) = cause {
            eprintln!("  because: {it}");
            cause = it.source();
        }
    }
    ExitCode::from(exit_code(&result))
}
