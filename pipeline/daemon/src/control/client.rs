//! The asking end.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::{Answer, Request};

/// Longest answer, in bytes: a status of many ledgers.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Why the daemon could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// Nobody listens.
    #[error("no daemon answers at {}; start one with `graven run`, or name its socket with --socket", socket.display())]
    NotRunning {
        /// The socket.
        socket: PathBuf,
    },
    /// The socket belongs to somebody else.
    #[error("{} is not for you; run as the user who runs the daemon", socket.display())]
    NotPermitted {
        /// The socket.
        socket: PathBuf,
    },
    /// The connection broke.
    #[error("the daemon at {} has gone: see its log, and its ledgers for what it acknowledged", socket.display())]
    Gone {
        /// The socket.
        socket: PathBuf,
        /// Why, where it is known.
        source: Option<io::Error>,
    },
    /// The answer is none that this version knows.
    #[error("the daemon at {} speaks another version; use the `graven` that it was started with", socket.display())]
    Foreign {
        /// The socket.
        socket: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The daemon refused.
    #[error("{0}")]
    Refused(String),
}

/// One connection to a daemon.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    stream: UnixStream,
    answers: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the daemon that listens on `socket`, and asks.
    ///
    /// # Errors
    ///
    /// [`ControlError::NotRunning`], [`ControlError::NotPermitted`] or [`ControlError::Gone`].
    pub fn ask(socket: &Path, request: &Request) -> Result<Self, ControlError> {
        let stream = UnixStream::connect(socket).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ControlError::NotRunning { socket: socket.to_owned() }
            }
            io::ErrorKind::PermissionDenied => {
                ControlError::NotPermitted { socket: socket.to_owned() }
            }
            _ => ControlError::Gone { socket: socket.to_owned(), source: Some(source) },
        })?;
        let answers = stream.try_clone().map(BufReader::new).map_err(|source| {
            ControlError::Gone { socket: socket.to_owned(), source: Some(source) }
        })?;
        let mut client = Self { socket: socket.to_owned(), stream, answers };
        let mut line = serde_json::to_vec(request).expect("plain data serialises");
        line.push(b'\n');
        client.stream.write_all(&line).map_err(|source| client.gone(Some(source)))?;
        Ok(client)
    }

    /// Whether nothing more has come yet: then [`Self::answer`] may have to wait.
    #[must_use]
    pub fn would_wait(&self) -> bool {
        !self.answers.buffer().contains(&b'\n')
    }

    /// The next answer.
    ///
    /// # Errors
    ///
    /// [`ControlError::Refused`] where the daemon says so; [`ControlError::Gone`] or
    /// [`ControlError::Foreign`] otherwise.
    pub fn answer(&mut self) -> Result<Answer, ControlError> {
        let mut line = Vec::new();
        let read = (&mut self.answers).take(ANSWER_BYTES_MAX).read_until(b'\n', &mut line);
        if read.map_err(|source| self.gone(Some(source)))? == 0 {
            return Err(self.gone(None));
        }
        match serde_json::from_slice(&line) {
            Ok(Answer::Failed { error }) => Err(ControlError::Refused(error)),
            Ok(answer) => Ok(answer),
            Err(source) => Err(ControlError::Foreign { socket: self.socket.clone(), source }),
        }
    }

    /// The sending half, for a thread of its own.
    ///
    /// # Errors
    ///
    /// [`ControlError::Gone`] if no descriptor is to be had.
    pub fn sender(&self) -> Result<UnixStream, ControlError> {
        self.stream.try_clone().map_err(|source| self.gone(Some(source)))
    }

    /// Tells the daemon that nothing more comes.
    pub fn finish(&self) {
        // Fails only where the daemon has gone, which the next answer tells.
        let _closed = self.stream.shutdown(Shutdown::Write);
    }

    fn gone(&self, source: Option<io::Error>) -> ControlError {
        ControlError::Gone { socket: self.socket.clone(), source }
    }
}
