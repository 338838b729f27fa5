//! Exit codes of all verbs but `exec`.

use std::io::Write as _;
use std::process::ExitCode;

use graven_capture::CaptureError;
use graven_ledger::LedgerError;
use graven_stages::StageError;

/// All is well.
pub(crate) const GOOD: u8 = 0;
/// The evidence is damaged or was changed.
pub(crate) const FAULT: u8 = 1;
/// The command line, the configuration or the input is wrong.
pub(crate) const USAGE: u8 = 2;
/// The operating system refused to read or write.
pub(crate) const IO: u8 = 3;

/// Prints an error, if there is one, and gives the exit code.
pub(crate) fn finish(result: anyhow::Result<u8>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            report(&error);
            ExitCode::from(code(&error))
        }
    }
}

/// Prints an error with its causes as one sentence.
pub(crate) fn report(error: &anyhow::Error) {
    // Standard error is all there is to complain to.
    drop(writeln!(std::io::stderr(), "graven: {error:#}"));
}

/// Whoever read our output has seen enough (`graven show 0 | head`): no failure of a verb that only shows.
pub(crate) fn seen_enough(result: anyhow::Result<u8>) -> anyhow::Result<u8> {
    match result {
        Err(error) if is_closed_pipe(&error) => Ok(GOOD),
        result => result,
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// The exit code that an error's causes call for.
pub(crate) fn code(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if let Some(error) = cause.downcast_ref::<LedgerError>() {
            return of_ledger(error);
        }
        if let Some(StageError::Ledger(error)) = cause.downcast_ref::<StageError>() {
            return of_ledger(error);
        }
        if let Some(error) = cause.downcast_ref::<graven_verify::VerifyError>() {
            return error.exit_code();
        }
        if cause.is::<std::io::Error>() || cause.is::<StageError>() {
            return IO;
        }
        if let Some(CaptureError::Read { .. } | CaptureError::Change { .. }) = cause.downcast_ref()
        {
            return IO;
        }
    }
    USAGE
}

fn of_ledger(error: &LedgerError) -> u8 {
    match error {
        LedgerError::Corrupt { .. } | LedgerError::GoneBack { .. } => FAULT,
        LedgerError::Io { .. } => IO,
        _ => USAGE,
    }
}
