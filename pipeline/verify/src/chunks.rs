//! Cuts a file of lines into chunks of whole lines, in bounded memory.

use std::io::{self, Read};

/// Bytes read at a time, and so about the size of a chunk.
const CHUNK_BYTES: usize = 1 << 20;

/// Most lines in a chunk: what is kept of each line is bounded too.
const CHUNK_LINES_MAX: usize = 1 << 14;

/// Lines that stand one after the other in a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// Lines, each with its newline; only the last line of a file may lack it.
    Lines {
        /// Offset of the first.
        at_byte: u64,
        /// The lines.
        bytes: Vec<u8>,
    },
    /// A line too long to be held.
    Overlong {
        /// Its offset.
        at_byte: u64,
        /// Its length, newline included where there is one.
        bytes: u64,
    },
}

/// Cuts `source` into chunks of whole lines. Lines longer than `limit` may come as
/// [`Chunk::Overlong`]. Ends early when `emit` says false.
pub(crate) fn cut(
    mut source: impl Read,
    limit: usize,
    mut emit: impl FnMut(Chunk) -> bool,
) -> io::Result<bool> {
    let mut bytes: Vec<u8> = Vec::new();
    let mut at_byte = 0;
    loop {
        let read = (&mut source).take(CHUNK_BYTES as u64).read_to_end(&mut bytes)?;
        let at_end = read == 0;
        let end = if at_end {
            bytes.len()
        } else {
            memchr::memrchr(b'\n', &bytes).map_or(0, |at| at + 1)
        };
        let rest = bytes.split_off(end);
        for part in parts(bytes) {
            let length = part.len() as u64;
            let chunk = Chunk::Lines { at_byte, bytes: part };
            if !emit(chunk) {
                return Ok(false);
            }
            at_byte += length;
        }
        if at_end {
            return Ok(true);
        }
        bytes = rest;
        if bytes.len() > limit {
            let (length, after) = pass_over(&mut source, std::mem::take(&mut bytes))?;
            let chunk = Chunk::Overlong { at_byte, bytes: length };
            if !emit(chunk) {
                return Ok(false);
            }
            at_byte += length;
            bytes = after;
        }
    }
}

/// Splits lines so that none of the parts holds too many.
fn parts(mut bytes: Vec<u8>) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    while let Some(at) = memchr::memchr_iter(b'\n', &bytes).nth(CHUNK_LINES_MAX - 1) {
        let rest = bytes.split_off(at + 1);
        parts.push(bytes);
        bytes = rest;
    }
    if !bytes.is_empty() {
        parts.push(bytes);
    }
    parts
}

/// Skips to the end of the line that begins with `held`; gives its length and what was read of the
/// lines behind it.
fn pass_over(source: &mut impl Read, held: Vec<u8>) -> io::Result<(u64, Vec<u8>)> {
    let mut length = held.len() as u64;
    let mut bytes = held;
    loop {
        bytes.clear();
        if source.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut bytes)? == 0 {
            return Ok((length, bytes));
        }
        if let Some(at) = memchr::memchr(b'\n', &bytes) {
            length += at as u64 + 1;
            return Ok((length, bytes.split_off(at + 1)));
        }
        length += bytes.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(bytes: &[u8], limit: usize) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        let whole = cut(bytes, limit, |chunk| {
            chunks.push(chunk);
            true
        });
        assert!(whole.unwrap());
        chunks
    }

    #[test]
    fn chunks_hold_whole_lines_and_every_byte() {
        let mut bytes = Vec::new();
        for length in 0..2000 {
            bytes.extend(std::iter::repeat_n(b'x', length));
            bytes.push(b'\n');
        }
        bytes.extend(b"torn");
        let mut joined: Vec<u8> = Vec::new();
        let all = chunks(&bytes, 4000);
        assert!(all.len() > 2);
        for (index, chunk) in all.iter().enumerate() {
            let Chunk::Lines { at_byte, bytes: part } = chunk else {
                panic!("{chunk:?}");
            };
            assert_eq!(*at_byte, joined.len() as u64);
            assert!(part.ends_with(b"\n") || index + 1 == all.len());
            joined.extend(part);
        }
        assert_eq!(joined, bytes);
    }

    #[test]
    fn a_line_without_end_is_passed_over() {
        let long = 3 * CHUNK_BYTES;
        let mut bytes = b"a\n".to_vec();
        bytes.resize(2 + long, b'x');
        bytes.extend(b"\nb\n");
        let all = chunks(&bytes, 10);
        let overlong = Chunk::Overlong { at_byte: 2, bytes: long as u64 + 1 };
        assert!(all.contains(&overlong), "{:?}", all.len());
        assert_eq!(
            all.last(),
            Some(&Chunk::Lines { at_byte: long as u64 + 3, bytes: b"b\n".to_vec() })
        );
    }

    #[test]
    fn short_lines_do_not_fill_the_memory() {
        let all = chunks(&vec![b'\n'; 100_000], 10);
        assert_eq!(all.len(), 100_000_usize.div_ceil(CHUNK_LINES_MAX));
    }
}
