//! A recorder that is fed one event at a time, so that each is a commit of its own.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use crate::support::{EVENT, Receipt, receipts};

/// `graven append --receipts` at work.
pub(super) struct Recorder {
    child: Child,
    /// `None` once it takes no more.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    complaints: PathBuf,
    pub(super) receipts: Vec<Receipt>,
}

/// How it ended.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) receipts: Vec<Receipt>,
    pub(super) stderr: String,
}

impl Recorder {
    /// Starts `command`; what it complains of goes to the file `complaints`.
    pub(super) fn start(command: &mut Command, complaints: &Path) -> Self {
        let stderr = File::create(complaints).expect("a file");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().expect("it starts");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, stdin, stdout, complaints: complaints.to_owned(), receipts: Vec::new() }
    }

    /// Submits events, each once the one before is acknowledged, for as long as they are taken.
    pub(super) fn submit(&mut self, events: u32) {
        for _ in 0..events {
            let Some(stdin) = &mut self.stdin else { return };
            let mut line = Vec::new();
            let taken =
                writeln!(stdin, "{EVENT}").and_then(|()| self.stdout.read_until(b'\n', &mut line));
            let acknowledged = receipts(&line);
            if taken.is_err() || acknowledged.is_empty() {
                self.stdin = None;
            }
            self.receipts.extend(acknowledged);
        }
    }

    /// Kills it, and gives what it had acknowledged.
    pub(super) fn kill(mut self) -> Vec<Receipt> {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
        self.receipts
    }

    /// Lets it end.
    pub(super) fn end(mut self) -> Ended {
        drop(self.stdin.take());
        let status = self.child.wait().expect("it ends");
        let stderr = std::fs::read_to_string(&self.complaints).expect("text");
        Ended { status, receipts: self.receipts, stderr }
    }
}
