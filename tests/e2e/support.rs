//! A ledger in a directory of its own, and the commands that work on it.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;

use serde_json::Value;
use tempfile::TempDir;

/// The binary under test.
pub(crate) const GRAVEN: &str = env!("CARGO_BIN_EXE_graven");

/// The project's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the root is there")
}

pub(crate) struct Ledger {
    dir: TempDir,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        let ledger = Self { dir: tempfile::tempdir().expect("a temporary directory") };
        let made = ledger.graven(&["init", "ledger", "--origin", "example.org/test"]);
        assert!(made.status.success(), "{made:?}");
        ledger
    }

    /// The directory that holds the ledger and its keys: where commands run.
    pub(crate) fn home(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.home().join("ledger")
    }

    /// A command of `graven`, to be run in the ledger's home.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(GRAVEN);
        command.args(args).current_dir(self.home());
        command
    }

    pub(crate) fn graven(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().expect("graven runs")
    }

    /// Runs a script in the ledger's home, in a mount namespace of its own; needs root.
    pub(crate) fn among_own_mounts(&self, script: &str) -> Output {
        Command::new("unshare")
            .args(["--mount", "sh", "-c", script])
            .current_dir(self.home())
            .output()
            .expect("unshare runs")
    }

    /// Runs `graven` with `input` on its standard input.
    pub(crate) fn feed(&self, args: &[&str], input: &[u8]) -> Output {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("graven starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = input.to_vec();
        // It may stop reading early; then the rest is of no interest.
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().expect("graven ends");
        writer.join().expect("the writer ends");
        output
    }

    /// Every record, in order.
    pub(crate) fn records(&self) -> Vec<Value> {
        let mut segments: Vec<_> = std::fs::read_dir(self.path().join("segments"))
            .expect("segments")
            .map(|entry| entry.expect("an entry").path())
            // A running writer may be making its next one under another name.
            .filter(|path| path.extension().is_some_and(|it| it == "jsonl"))
            .collect();
        segments.sort();
        let mut records: Vec<Value> = Vec::new();
        for segment in segments {
            let text = std::fs::read(&segment).expect("a segment");
            // A segment ends where the next one's name begins.
            let first: usize = segment
                .file_stem()
                .and_then(|name| name.to_str())
                .and_then(|name| name.parse().ok())
                .expect("a segment's name is a number");
            records.truncate(first);
            let lines =
                text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
            records.extend(lines.map_while(|line| serde_json::from_slice(line).ok()));
        }
        records
    }

    /// Both verifiers find nothing at fault.
    pub(crate) fn assert_good(&self) {
        let ours = self.graven(&["verify", "ledger", "--key", "ledger.vkey"]);
        assert!(ours.status.success(), "{}", text(&ours));
        let second = Command::new("python3")
            .arg(root().join("tests/second_verifier/verify.py"))
            .args(["ledger", "--key", "ledger.vkey"])
            .current_dir(self.home())
            .output()
            .expect("python3 runs");
        assert!(second.status.success(), "the second verifier: {}", text(&second));
    }
}

/// Lines as they come, read by a thread of its own: a test that waits for one can lose its patience.
pub(crate) fn lines_of(output: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        let read = BufReader::new(output).lines().map_while(Result::ok);
        read.map(|line| sender.send(line)).take_while(Result::is_ok).for_each(drop);
    });
    lines
}

/// What was acknowledged: index and leaf hash.
pub(crate) type Receipt = (u64, String);

/// The receipts in what `append --receipts` printed; a torn last line is none.
pub(crate) fn receipts(printed: &[u8]) -> Vec<Receipt> {
    let lines = printed.split(|byte| *byte == b'\n');
    let parsed = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    parsed.filter_map(|it| Some((it["seq"].as_u64()?, it["leaf"].as_str()?.to_owned()))).collect()
}

/// Every acknowledged record is sealed in the ledger in `dir`, at its index.
pub(crate) fn assert_stand(dir: &Path, acknowledged: &[Receipt]) {
    let paths = graven_ledger::Paths::new(dir);
    let note = std::fs::read_to_string(paths.checkpoint()).expect("a checkpoint");
    let size = note.lines().nth(1).and_then(|line| line.parse().ok()).expect("its size");
    let mut cursor = graven_ledger::SegmentCursor::new(&paths, 0);
    let (_, lines) = cursor.read(size, usize::MAX).expect("every record can be read");
    let leaves: Vec<String> = lines
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| graven_record::leaf_hash(&line[..line.len() - 1]).to_string())
        .collect();
    for (seq, leaf) in acknowledged {
        let stands = usize::try_from(*seq).ok().and_then(|seq| leaves.get(seq));
        assert_eq!(stands, Some(leaf), "acknowledged record {seq}");
    }
}

/// Both streams, for messages.
pub(crate) fn text(output: &Output) -> String {
    format!(
        "{:?}\n{}{}",
        output.status.code(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn code(status: ExitStatus) -> i32 {
    status.code().expect("it was not killed")
}

/// False without root, with a loud word. Where everything must run (`CI=true`) that is a failure.
pub(crate) fn have_root(test: &str) -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "{test} needs root, and in CI nothing is skipped");
    // Past the harness, which hides what passing tests print.
    writeln!(std::io::stderr(), "SKIPPED: {test} needs root").expect("standard error");
    false
}

/// A whole event.
pub(crate) const EVENT: &str = r#"{"action":"trade.amended","actor":{"kind":"user","id":"ada"},"subject":{"kind":"trade","id":"T-17"}}"#;
