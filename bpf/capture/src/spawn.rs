//! Starts a command inside its cgroup.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use rustix::fs::{Access, access};

use crate::cgroup::AgentCgroup;
use crate::error::CaptureError;

/// Where execvp(3) looks if `PATH` is not set.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Why a command was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// There is no such program.
    #[error("`{}` was not found; give its path, or check PATH", program.display())]
    NotFound {
        /// The program as it was named.
        program: OsString,
    },
    /// There is a file, but it cannot be executed.
    #[error("`{}` cannot be executed; check its permissions and its interpreter", program.display())]
    NotExecutable {
        /// The program as it was named.
        program: OsString,
        /// Why not.
        source: io::Error,
    },
    /// The cgroup could not be entered.
    #[error(transparent)]
    Cgroup(#[from] CaptureError),
}

impl SpawnError {
    /// The exit code that shells give: 127 not found, 126 not executable, 125 our own failure.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound { .. } => 127,
            Self::NotExecutable { .. } => 126,
            Self::Cgroup(_) => 125,
        }
    }
}

/// A command for [`spawn`], its program already looked up in `PATH`.
///
/// The search is done here, outside the cgroup: otherwise each directory of `PATH` would put a failed
/// `execve` on record. `argv[0]` stays the name as given.
///
/// # Errors
///
/// [`SpawnError::NotFound`] or [`SpawnError::NotExecutable`], as execvp(3) would have it.
pub fn command(program: &OsStr) -> Result<Command, SpawnError> {
    let path = resolve(program, env::var_os("PATH").as_deref())?;
    let mut command = Command::new(path);
    command.arg0(program);
    Ok(command)
}

fn resolve(program: &OsStr, search: Option<&OsStr>) -> Result<PathBuf, SpawnError> {
    if program.as_bytes().contains(&b'/') {
        return Ok(PathBuf::from(program));
    }
    let search = search.unwrap_or(OsStr::new(DEFAULT_PATH));
    let mut refused = None;
    for directory in env::split_paths(search).filter(|_| !program.is_empty()) {
        // An empty entry means the working directory (environ(7)).
        let path = Path::new(".").join(directory).join(program);
        if !path.is_file() {
            continue;
        }
        match access(&path, Access::EXEC_OK) {
            Ok(()) => return Ok(path),
            Err(errno) => refused = Some(errno),
        }
    }
    let program = program.to_owned();
    Err(match refused {
        Some(errno) => SpawnError::NotExecutable { program, source: errno.into() },
        None => SpawnError::NotFound { program },
    })
}

/// Starts `command`, made by [`command`], in `cgroup`.
///
/// The child enters the cgroup as the last thing it does before `execve`: that is the first call on
/// record. (The write that moves it was begun outside, and belongs to the time before.)
///
/// # Errors
///
/// [`SpawnError::NotFound`] and [`SpawnError::NotExecutable`] if `execve` failed, which is on record;
/// [`SpawnError::Cgroup`] if the cgroup cannot be entered.
#[expect(unsafe_code, reason = "code between fork and exec")]
pub fn spawn(command: &mut Command, cgroup: &AgentCgroup) -> Result<Child, SpawnError> {
    let procs = cgroup.open_procs()?;
    // SAFETY: between fork and exec only async-signal-safe functions are allowed; this is one
    // write(2) on a descriptor that is already open, and it allocates nothing.
    unsafe {
        command.pre_exec(move || {
            rustix::io::write(&procs, b"0")?;
            Ok(())
        });
    }
    command.spawn().map_err(|source| {
        let program = command.get_program().to_owned();
        if source.kind() == io::ErrorKind::NotFound {
            SpawnError::NotFound { program }
        } else {
            SpawnError::NotExecutable { program, source }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_as_execvp_would() {
        let search = Some(OsStr::new("/nonexistent:/bin:/usr/bin"));
        let found = resolve(OsStr::new("sh"), search).expect("sh is in PATH");
        assert!(found.is_absolute() && found.ends_with("bin/sh"), "{}", found.display());
        assert_eq!(
            resolve(OsStr::new("a/b"), search).expect("a path is taken as it is"),
            Path::new("a/b")
        );
        let missing = resolve(OsStr::new("no-such-program"), search).expect_err("not there");
        assert_eq!(missing.exit_code(), 127);
    }

    #[test]
    fn a_file_without_the_right_to_execute_is_126() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(directory.path().join("plain"), "").expect("a file");
        let error = resolve(OsStr::new("plain"), Some(directory.path().as_os_str()));
        assert_eq!(error.expect_err("not executable").exit_code(), 126);
    }
}
