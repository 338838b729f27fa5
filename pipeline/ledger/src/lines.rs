//! Lines of bounded length from an unbounded source.

use std::io::{self, Read};

/// Bytes asked for at a time.
const CHUNK_BYTES: usize = 1 << 18;

/// What stands between two newlines.
#[derive(Debug, PartialEq, Eq)]
pub enum ReadLine<'a> {
    /// A line, without its newline.
    Whole(&'a [u8]),
    /// The last bytes, after which no newline came.
    Unterminated(&'a [u8]),
    /// A line longer than the limit: passed over, its length in bytes without newline.
    Overlong(u64),
}

/// Reads lines and never holds more than the limit and one chunk.
#[derive(Debug)]
pub struct LineReader<R> {
    source: R,
    limit: usize,
    buffer: Vec<u8>,
    /// Start of the next line in `buffer`.
    start: usize,
    /// Offset of that line from the beginning of the source.
    offset: u64,
    at_end: bool,
}

impl<R: Read> LineReader<R> {
    /// Reads `source`, refusing lines over `limit` bytes.
    pub fn new(source: R, limit: usize) -> Self {
        Self { source, limit, buffer: Vec::new(), start: 0, offset: 0, at_end: false }
    }

    /// Gives the next line and its byte offset; `None` at the end.
    ///
    /// # Errors
    ///
    /// Those of the source.
    pub fn next_line(&mut self) -> io::Result<Option<(u64, ReadLine<'_>)>> {
        let mut searched = self.start;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[searched..]) {
                let (start, end) = (self.start, searched + at);
                let offset = self.advance(end + 1 - start);
                let line = if end - start > self.limit {
                    ReadLine::Overlong((end - start) as u64)
                } else {
                    ReadLine::Whole(&self.buffer[start..end])
                };
                return Ok(Some((offset, line)));
            }
            if self.buffer.len() - self.start > self.limit {
                return self.pass_over().map(Some);
            }
            searched = self.buffer.len();
            if self.at_end {
                let start = self.start;
                if start == searched {
                    return Ok(None);
                }
                let offset = self.advance(searched - start);
                return Ok(Some((offset, ReadLine::Unterminated(&self.buffer[start..]))));
            }
            searched -= self.fill()?;
        }
    }

    /// Whether the next line is here already: then [`Self::next_line`] does not wait for the source.
    pub fn has_line(&self) -> bool {
        self.at_end || memchr::memchr(b'\n', &self.buffer[self.start..]).is_some()
    }

    fn advance(&mut self, bytes: usize) -> u64 {
        let offset = self.offset;
        self.start += bytes;
        self.offset += bytes as u64;
        offset
    }

    /// Reads more; returns by how many bytes the content of the buffer moved to the left.
    fn fill(&mut self) -> io::Result<usize> {
        let moved = self.start;
        self.buffer.drain(..moved);
        self.start = 0;
        let filled = self.buffer.len();
        self.buffer.resize(filled + CHUNK_BYTES, 0);
        let read = loop {
            match self.source.read(&mut self.buffer[filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
        self.at_end = read? == 0;
        Ok(moved)
    }

    /// Skips to the end of a line that is too long.
    fn pass_over(&mut self) -> io::Result<(u64, ReadLine<'static>)> {
        let offset = self.offset;
        let mut length = 0;
        loop {
            let rest = &self.buffer[self.start..];
            if let Some(at) = memchr::memchr(b'\n', rest) {
                length += at as u64;
                self.advance(at + 1);
                return Ok((offset, ReadLine::Overlong(length)));
            }
            let held = rest.len();
            length += held as u64;
            self.advance(held);
            if self.at_end {
                return Ok((offset, ReadLine::Overlong(length)));
            }
            self.fill()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Hands over a few bytes at a time.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let step = self.0.len().min(self.1).min(into.len());
            into[..step].copy_from_slice(&self.0[..step]);
            self.0 = &self.0[step..];
            Ok(step)
        }
    }

    proptest! {
        /// Lines, offsets and lengths are those of splitting the whole at newlines.
        #[test]
        fn lines_are_those_of_the_whole(text in "[ab\n]{0,200}", step in 1..9_usize, limit in 0..12_usize) {
            let mut reader = LineReader::new(Trickle(text.as_bytes(), step), limit);
            let mut offset = 0;
            for line in text.split_inclusive('\n') {
                let bytes = line.trim_end_matches('\n').as_bytes();
                let expected = if bytes.len() > limit {
                    ReadLine::Overlong(bytes.len() as u64)
                } else if line.ends_with('\n') {
                    ReadLine::Whole(bytes)
                } else {
                    ReadLine::Unterminated(bytes)
                };
                prop_assert_eq!(reader.next_line().unwrap(), Some((offset, expected)));
                offset += line.len() as u64;
            }
            prop_assert_eq!(reader.next_line().unwrap(), None);
        }
    }
}
