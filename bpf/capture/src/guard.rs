//! Nothing runs unrecorded: a small process that outlives the recorder by the one write that kills
//! the watched command.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::cgroup;
use crate::error::CaptureError;

/// The byte that tells the guard to go without killing.
pub const DISARM: u8 = b'd';

/// How the guard's process ended its watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuardOutcome {
    /// The recorder said that all is well.
    Disarmed,
    /// The recorder died: the cgroup was killed and removed.
    Killed,
}

/// The recorder's end of the guard. Dropping it without [`Self::disarm`] kills the command.
///
/// The guard reads from a pipe of which the recorder alone holds the other end; the kernel closes that
/// end however the recorder dies, SIGKILL included.
#[derive(Debug)]
pub struct Guard {
    child: Child,
    pipe: ChildStdin,
}

impl Guard {
    /// Starts the guard: `command` re-executes the recorder's own program so that it calls [`run`].
    ///
    /// It gets its own session, so that a Ctrl-C or a kill of the recorder's process group does not
    /// take it along. Start it before the command: even if it has yet to run, it will find the pipe
    /// closed.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Guard`] if it cannot be started.
    #[expect(unsafe_code, reason = "code between fork and exec")]
    pub fn start(command: &mut Command) -> Result<Self, CaptureError> {
        let failed = |source| CaptureError::Guard { operation: "start", source };
        // SAFETY: setsid(2) is async-signal-safe and allocates nothing.
        unsafe {
            command.pre_exec(|| {
                rustix::process::setsid()?;
                Ok(())
            });
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().map_err(failed)?;
        let pipe = child.stdin.take().ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
        Ok(Self { child, pipe })
    }

    /// Ends the guard without killing, and waits for it.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Guard`] if it is gone already.
    pub fn disarm(self) -> Result<(), CaptureError> {
        let failed = |source| CaptureError::Guard { operation: "disarm", source };
        let Self { mut child, mut pipe } = self;
        pipe.write_all(&[DISARM]).map_err(failed)?;
        drop(pipe);
        child.wait().map(|_| ()).map_err(failed)
    }
}

/// What the guard's process does: waits until standard input ends, then kills the cgroup at `cgroup` and
/// removes it, unless [`DISARM`] was read before.
///
/// # Errors
///
/// [`CaptureError::Guard`] if standard input cannot be read, which kills the cgroup too;
/// [`CaptureError::Cgroup`] if it cannot be killed or removed.
pub fn run(cgroup: &Path) -> Result<GuardOutcome, CaptureError> {
    let mut said = Vec::new();
    // More than one byte was never sent by the recorder.
    let read = io::stdin().lock().take(1).read_to_end(&mut said);
    if said == [DISARM] {
        return Ok(GuardOutcome::Disarmed);
    }
    cgroup::kill_cgroup(cgroup)?;
    cgroup::remove_tree(cgroup)?;
    read.map_err(|source| CaptureError::Guard { operation: "hear from", source })?;
    Ok(GuardOutcome::Killed)
}
