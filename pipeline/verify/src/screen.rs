//! What people see, the same in every verb: colours, figures, and an output that may be closed early.

use std::fmt::Display;
use std::io::{self, Write};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};

/// All is well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Worth a look, and no failure.
pub const WEAK: Style = AnsiColor::Yellow.on_default();
/// A failure.
pub const BAD: Style = AnsiColor::Red.on_default();
/// Somebody's name.
pub const NAME: Style = AnsiColor::Cyan.on_default();
/// What a line is about.
pub const STRONG: Style = Style::new().bold();
/// What is there for those who look for it.
pub const DIM: Style = Style::new().dimmed();

/// The text in that style. [`output`] takes the style out again where nobody would see it.
pub fn painted(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Standard output. What is for people loses its colours where that is no terminal, or where they are not
/// wanted (`NO_COLOR`); what is for machines passes as it is.
#[must_use]
pub fn output(for_machines: bool) -> Box<dyn Write> {
    let stdout = io::stdout().lock();
    if for_machines { Box::new(stdout) } else { Box::new(AutoStream::auto(stdout)) }
}

/// An output whose reader may leave before the end, as `head` does.
///
/// What comes after that goes nowhere and is no error, so that a verb still comes to its own end and its
/// exit code says what it found, not how much of it was read.
#[derive(Debug)]
pub struct UntilClosed<W> {
    inner: W,
    is_closed: bool,
}

impl<W: Write> UntilClosed<W> {
    /// Nobody has left yet.
    pub fn new(inner: W) -> Self {
        Self { inner, is_closed: false }
    }

    fn note<T>(&mut self, result: io::Result<T>, instead: T) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(instead)
            }
            result => result,
        }
    }
}

impl<W: Write> Write for UntilClosed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_closed {
            return Ok(bytes.len());
        }
        let written = self.inner.write(bytes);
        self.note(written, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_closed {
            return Ok(());
        }
        let flushed = self.inner.flush();
        self.note(flushed, ())
    }
}

/// A number with its thousands apart.
#[must_use]
pub fn number(value: u64) -> String {
    indicatif::HumanCount(value).to_string()
}

/// `1 record`, `2 records`.
#[must_use]
pub fn count(value: u64, noun: &str) -> String {
    let plural = if value == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", number(value))
}

/// A size in bytes: `64 KiB`, `99.0 MiB`.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn bytes(value: u64) -> String {
    let mut value = value as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return format!("{} {unit}", three_digits(value));
        }
        value /= 1024.0;
    }
    format!("{} TiB", three_digits(value))
}

/// A span of time in nanoseconds: `0.13 ms`, `1.16 s`, `2 min 5 s`.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn span(ns: u64) -> String {
    let s = ns / 1_000_000_000;
    match s {
        0 => format!("{} ms", three_digits(ns as f64 / 1e6)),
        1..60 => format!("{} s", three_digits(ns as f64 / 1e9)),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86400 => format!("{} h {} min", s / 3600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86400, s / 3600 % 24),
    }
}

/// As many decimals as make three digits; none where there is nothing behind the point.
fn three_digits(value: f64) -> String {
    let decimals = match value {
        value if value.fract() == 0.0 || value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_a_unit() {
        assert_eq!(number(3_895_833), "3,895,833");
        assert_eq!([count(0, "gap"), count(1, "gap")], ["0 gaps", "1 gap"]);
        assert_eq!(
            [0, 64 << 10, 103_900_000, 1 << 50].map(bytes),
            ["0 B", "64 KiB", "99.1 MiB", "1024 TiB"]
        );
        let spans = [0, 130_000, 13_400_000, 1_160_000_000, 125_000_000_000, 90_000_000_000_000];
        assert_eq!(
            spans.map(span),
            ["0 ms", "0.13 ms", "13.4 ms", "1.16 s", "2 min 5 s", "1 d 1 h"]
        );
    }

    struct Full(io::ErrorKind);

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn a_reader_who_leaves_is_no_error_and_a_full_disk_is() {
        let mut full = UntilClosed::new(Full(io::ErrorKind::StorageFull));
        assert!(full.write_all(b"x").is_err() && full.flush().is_err(), "control");
        let mut closed = UntilClosed::new(Full(io::ErrorKind::BrokenPipe));
        closed.write_all(b"x").expect("nobody reads it");
        closed.flush().expect("nobody reads it");
    }
}
