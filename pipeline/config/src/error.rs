//! What can be wrong with a settings file, and how it is told.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;

use crate::fault::Finding;
use crate::limits::FILE_BYTES_MAX;

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("failed to read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is a directory, a device or a pipe.
    #[error("{} is no regular file: name the settings file itself", path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// It is larger than any settings file.
    #[error("{} has more than {FILE_BYTES_MAX} bytes: is it a settings file?", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It was read, and something in it is wrong.
    #[error(transparent)]
    Invalid(#[from] Problems),
}

/// One thing that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The setting, as in `ledger[1].watch[0].syscalls`; empty where the text is no TOML.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
    /// The line, and the bytes of it that are meant.
    #[serde(skip)]
    source: (String, Range<usize>),
}

/// All that is wrong in a file, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    path: PathBuf,
    found: Vec<Problem>,
    omitted: usize,
}

impl std::error::Error for Problems {}

impl Problems {
    /// Puts `findings` into the file's order and on its lines.
    pub(crate) fn new(
        path: &Path,
        text: &str,
        findings: Vec<(Range<usize>, Finding)>,
        omitted: usize,
    ) -> Self {
        let mut findings = findings;
        findings.sort_by_key(|(span, _)| span.start);
        let found = findings.into_iter().map(|(span, finding)| Problem::new(text, span, finding));
        Self { path: path.to_owned(), found: found.collect(), omitted }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is wrong, in the file's order.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.found
    }

    /// Problems beyond [`Self::problems`], of which only the number is known.
    #[must_use]
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// Every problem with its line of the file, as a compiler would tell it; `colour` by ANSI escapes.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let path = self.path.to_string_lossy();
        let mut out = String::new();
        for problem in &self.found {
            out.push_str(&renderer.render(&[problem.report(&path)]));
            out.push_str("\n\n");
        }
        match self.omitted {
            0 => out,
            more => out + &format!("and {more} more\n"),
        }
    }
}

/// One line each: `FILE:LINE:COLUMN: KEY: what; remedy`.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.found.iter().enumerate() {
            let Problem { line, column, key, what, remedy, .. } = problem;
            let end = if at == 0 { "" } else { "\n" };
            let colon = if key.is_empty() { "" } else { ": " };
            write!(
                f,
                "{end}{}:{line}:{column}: {key}{colon}{what}; {remedy}",
                self.path.display()
            )?;
        }
        if self.omitted > 0 {
            write!(f, "\n{}: and {} more", self.path.display(), self.omitted)?;
        }
        Ok(())
    }
}

impl Problem {
    fn new(text: &str, span: Range<usize>, finding: Finding) -> Self {
        let start = text.floor_char_boundary(span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = text.ceil_char_boundary(span.end).clamp(start, line_end);
        Self {
            line: text[..line_start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            key: finding.key.to_string(),
            what: finding.fault.what,
            remedy: finding.fault.remedy,
            source: (text[line_start..line_end].to_owned(), start - line_start..end - line_start),
        }
    }

    fn report<'a>(&'a self, path: &'a str) -> Group<'a> {
        let (line, span) = &self.source;
        let annotation = AnnotationKind::Primary.span(span.clone()).label(&self.key);
        Level::ERROR
            .primary_title(&self.what)
            .element(Snippet::source(line).path(path).line_start(self.line).annotation(annotation))
            .element(Level::HELP.message(&self.remedy))
    }
}
