//! Exit codes of all verbs but `exec`.

use std::io::Write as _;
use std::process::ExitCode;

use graven_capture::CaptureError;
use graven_ledger::LedgerError;
use graven_stages::StageError;
use graven_verify::screen::{UntilClosed, output};

/// All is well.
pub(crate) const GOOD: u8 = 0;
/// The evidence is damaged or was changed.
pub(crate) const FAULT: u8 = 1;
/// The command line, the configuration or the input is wrong.
pub(crate) const USAGE: u8 = 2;
/// The operating system refused to read or write.
pub(crate) const IO: u8 = 3;

/// What they mean, for help and manual.
pub(crate) const CODES: [(u8, &str); 5] = [
    (GOOD, "good"),
    (FAULT, "the evidence is at fault, or a service is not well"),
    (USAGE, "usage, configuration or input is wrong"),
    (IO, "input or output failed"),
    (4, "self-consistent, but the signer is unproven"),
];

/// Runs a verb that only shows: to its end and its exit code, however little of it is read.
pub(crate) fn show(
    for_machines: bool,
    verb: impl FnOnce(&mut Shown) -> anyhow::Result<u8>,
) -> ExitCode {
    finish(verb(&mut UntilClosed::new(output(for_machines))))
}

/// Where such a verb writes to.
pub(crate) type Shown = UntilClosed<Box<dyn std::io::Write>>;

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

/// Whoever read our output has seen enough (`graven tail | head`): the end of a verb that has none of its own.
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
        LedgerError::Io { .. } | LedgerError::NotPermitted { .. } => IO,
        _ => USAGE,
    }
}
