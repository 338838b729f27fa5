//! Exit codes of all verbs but `exec`.

use std::io::Write as _;
use std::process::ExitCode;

use graven_capture::CaptureError;
use graven_ledger::LedgerError;
use graven_stages::StageError;
use graven_verify::screen::{UntilClosed, output};
use rustix::io::Errno;

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
    let remedy = refused(error).and_then(remedy).map(|it| format!("; {it}")).unwrap_or_default();
    // Standard error is all there is to complain to.
    drop(writeln!(std::io::stderr(), "graven: {error:#}{remedy}"));
}

/// The operating system's refusal to read or write a ledger, where that is what went wrong.
fn refused(error: &anyhow::Error) -> Option<&std::io::Error> {
    error.chain().find_map(of_cause).and_then(|error| match error {
        LedgerError::Io { source, .. } => Some(source),
        _ => None,
    })
}

/// What to do about it, where it is the machine that is at fault. What was acknowledged stands in any case.
fn remedy(refusal: &std::io::Error) -> Option<&'static str> {
    match refusal.raw_os_error().map(Errno::from_raw_os_error)? {
        Errno::NOSPC | Errno::DQUOT => Some("make room there, then run it again"),
        Errno::ROFS => Some("mount that file system writable, then run it again"),
        Errno::MFILE | Errno::NFILE => Some("raise `ulimit -n`, then run it again"),
        Errno::IO => Some("see with `dmesg` what ails that disk, then run it again"),
        _ => None,
    }
}

/// The ledger's error that a cause is.
fn of_cause<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a LedgerError> {
    let in_stage = || match cause.downcast_ref() {
        Some(StageError::Ledger(error)) => Some(error),
        _ => None,
    };
    cause.downcast_ref().or_else(in_stage)
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
        if let Some(error) = of_cause(cause) {
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
