//! The simplest sink: the records, line by line, in a file of their own, for instance on another
//! disk. Its lines are the ledger's, so any line of it can be checked against a checkpoint.

use std::fs::{self, File};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use graven_ledger::{LineReader, ReadLine};
use graven_record::{RECORD_BYTES_MAX, canonical};
use graven_sink::{CommittedBatch, Sink, SinkError};

/// Appends records to a file and syncs it.
#[derive(Debug)]
pub struct FileSink {
    name: String,
    path: PathBuf,
    file: File,
    next: u64,
}

impl FileSink {
    /// Opens or creates the file and reads its cursor. A torn last line is cut off: the ledger
    /// still has it.
    ///
    /// # Errors
    ///
    /// [`SinkError::Unavailable`] if the file cannot be opened or read; [`SinkError::Fork`] if it
    /// holds something other than records in order.
    pub fn open(path: &Path) -> Result<Self, SinkError> {
        let name = Self::name_of(path);
        let unavailable = unavailable(&name);
        let file = File::options()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(&unavailable)?;
        if !file.metadata().map_err(&unavailable)?.is_file() {
            return Err(unavailable(io::Error::other("it is no regular file: name one")));
        }
        let (next, whole_bytes) = cursor_of(&name, &file)?;
        file.set_len(whole_bytes).and_then(|()| file.sync_all()).map_err(&unavailable)?;
        // The ledger may release what is in here: so its name must last as well.
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        File::open(dir.unwrap_or(Path::new(".")))
            .and_then(|dir| dir.sync_all())
            .map_err(&unavailable)?;
        Ok(Self { name, path: path.to_owned(), file, next })
    }

    /// The name of the sink whose file is `path`.
    #[must_use]
    pub fn name_of(path: &Path) -> String {
        format!("file {}", path.display())
    }

    /// What was written to a file without a name is gone with it.
    fn still_has_its_name(&self) -> Result<(), SinkError> {
        let unavailable = unavailable(&self.name);
        let held = self.file.metadata().map_err(&unavailable)?;
        let lost = |problem| Err(SinkError::Lost { sink: self.name.clone(), problem });
        match fs::metadata(&self.path) {
            Ok(named) if (named.dev(), named.ino()) == (held.dev(), held.ino()) => Ok(()),
            Ok(_) => lost("another file stands in its place"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => lost("the file was removed"),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Compares the records that the file holds already with those of `batch`.
    fn compare(&self, batch: &CommittedBatch) -> Result<(), SinkError> {
        let unavailable = unavailable(&self.name);
        let mut lines =
            LineReader::new(File::open(&self.path).map_err(&unavailable)?, RECORD_BYTES_MAX);
        for index in 0..batch.first {
            if lines.next_line().map_err(&unavailable)?.is_none() {
                return Err(SinkError::Fork { sink: self.name.clone(), index });
            }
        }
        let known = batch.lines.split(|byte| *byte == b'\n').zip(batch.first..self.next);
        for (expected, index) in known {
            match lines.next_line().map_err(&unavailable)? {
                Some((_, ReadLine::Whole(line))) if line == expected => {}
                _ => {
                    return Err(SinkError::Fork { sink: self.name.clone(), index });
                }
            }
        }
        Ok(())
    }
}

fn unavailable(sink: &str) -> impl Fn(io::Error) -> SinkError + use<> {
    let sink = sink.to_owned();
    move |error| SinkError::Unavailable {
        sink: sink.clone(),
        problem: error.to_string(),
        source: Some(Box::new(error)),
    }
}

/// Counts the whole lines and their bytes, and checks that the last one is the record it should be.
fn cursor_of(name: &str, file: &File) -> Result<(u64, u64), SinkError> {
    let unavailable = unavailable(name);
    let mut source = file;
    source.seek(SeekFrom::Start(0)).map_err(&unavailable)?;
    let mut lines = LineReader::new(source, RECORD_BYTES_MAX);
    let (mut next, mut bytes) = (0, 0);
    while let Some((offset, line)) = lines.next_line().map_err(&unavailable)? {
        match line {
            ReadLine::Whole(record) if seq_of(record) == Some(next) => {
                next += 1;
                bytes = offset + record.len() as u64 + 1;
            }
            ReadLine::Unterminated(_) => break,
            _ => {
                return Err(SinkError::Fork { sink: name.to_owned(), index: next });
            }
        }
    }
    Ok((next, bytes))
}

fn seq_of(record: &[u8]) -> Option<u64> {
    let mut seq = None;
    canonical::object(record, |key, value| {
        if key == b"seq" {
            seq = canonical::unsigned(value);
        }
    })
    .ok()?;
    seq
}

#[async_trait]
impl Sink for FileSink {
    fn name(&self) -> &str {
        &self.name
    }

    async fn cursor(&mut self) -> Result<u64, SinkError> {
        Ok(self.next)
    }

    async fn append(&mut self, batch: &CommittedBatch) -> Result<u64, SinkError> {
        self.still_has_its_name()?;
        if batch.first > self.next {
            return Err(SinkError::Hole {
                sink: self.name.clone(),
                expected: self.next,
                first: batch.first,
            });
        }
        if batch.first < self.next {
            self.compare(batch)?;
        }
        if let Some(new) = batch.since(self.next) {
            let unavailable = unavailable(&self.name);
            let length = self.file.metadata().map_err(&unavailable)?.len();
            let written = self.file.write_all(&new.lines).and_then(|()| self.file.sync_data());
            if let Err(error) = written {
                // Whatever part was written goes, so that a repetition meets whole lines.
                self.file.set_len(length).map_err(&unavailable)?;
                return Err(unavailable(error));
            }
            self.next = new.end();
        }
        Ok(self.next)
    }

    async fn close(self: Box<Self>) -> Result<(), SinkError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn passes_the_suite() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mirror.jsonl");
        run(graven_sink::conformance::check(|| FileSink::open(&path).unwrap()));
    }

    #[test]
    fn a_torn_last_line_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mirror.jsonl");
        std::fs::write(&path, "{\"seq\":0}\n{\"se").unwrap();
        let mut sink = FileSink::open(&path).unwrap();
        assert_eq!(run(sink.cursor()).unwrap(), 1);
        let batch = CommittedBatch { first: 1, count: 1, lines: b"{\"seq\":1}\n".to_vec() };
        assert_eq!(run(sink.append(&batch)).unwrap(), 2);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"seq\":0}\n{\"seq\":1}\n");
    }

    #[test]
    fn a_file_that_was_removed_or_replaced_holds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mirror.jsonl");
        let batch = |first: u64| {
            let lines = format!("{{\"seq\":{first}}}\n").into_bytes();
            CommittedBatch { first, count: 1, lines }
        };
        let mut sink = FileSink::open(&path).unwrap();
        assert_eq!(run(sink.append(&batch(0))).unwrap(), 1, "control");
        std::fs::rename(&path, dir.path().join("rotated")).unwrap();
        assert!(matches!(run(sink.append(&batch(1))), Err(SinkError::Lost { .. })));
        std::fs::write(&path, "").unwrap();
        assert!(matches!(run(sink.append(&batch(1))), Err(SinkError::Lost { .. })));
    }

    #[test]
    fn a_file_of_something_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mirror.jsonl");
        std::fs::write(&path, "hello\n").unwrap();
        assert!(matches!(FileSink::open(&path), Err(SinkError::Fork { index: 0, .. })));
    }
}
