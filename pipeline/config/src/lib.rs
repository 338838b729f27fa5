//! The daemon's settings: read from TOML, checked as a whole, hashed, compared.
//!
//! [`load`] reads a file; [`parse`] is the same over bytes, and everything but [`load`] is pure. A file goes
//! through three forms: TOML with the place of each byte, the raw settings whose JSON Schema is [`schema`],
//! and [`Config`], in which everything has been checked. What is wrong is told all at once; only a text that
//! is no TOML is told alone, since what it says is a guess.

mod config;
mod diff;
mod error;
mod fault;
mod key;
pub mod limits;
mod nearest;
mod raw;
mod shape;
mod validate;
mod values;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use toml::de::DeTable;

pub use config::{
    Budget, Config, Control, Ledger, Metrics, Release, Syscalls, Watch, Worm, excluded,
};
pub use diff::{Change, Setting, diff};
pub use error::{ConfigError, Problem, Problems};
pub use fault::Fault;
pub use values::path_glob;

use fault::Findings;
use key::Key;

/// Reads and checks the settings in the file at `path`.
///
/// # Errors
///
/// [`ConfigError::Invalid`] with all that is wrong in the file; the others where it cannot be read.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let failed = |source| ConfigError::Io { path: path.to_owned(), source };
    // Asked before it is opened: opening a pipe would wait for its other end.
    if !path.metadata().map_err(failed)?.is_file() {
        return Err(ConfigError::NotAFile { path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(limits::FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    parse(path, &bytes)
}

/// Checks the settings in `bytes`; `path` is where they are from, for messages.
///
/// # Errors
///
/// [`ConfigError::Invalid`] with all that is wrong; [`ConfigError::TooLarge`].
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Config, ConfigError> {
    if bytes.len() as u64 > limits::FILE_BYTES_MAX {
        return Err(ConfigError::TooLarge { path: path.to_owned() });
    }
    let mut findings = Findings::default();
    let text = String::from_utf8_lossy(bytes);
    if let Err(error) = std::str::from_utf8(bytes) {
        let at = error.valid_up_to();
        let fault = Fault::new("this is not UTF-8", "save the file as UTF-8, the encoding of TOML");
        findings.note_at(&Key::default(), Some(at..at), fault);
        return Err(problems(path, &text, None, findings).into());
    }
    let (table, errors) = DeTable::parse_recoverable(&text);
    for error in &errors {
        findings.note_at(&Key::default(), error.span(), syntax(error.message()));
    }
    if !errors.is_empty() {
        return Err(problems(path, &text, None, findings).into());
    }
    let json = shape::check(&table, &mut findings);
    if findings.omitted == 0 {
        match serde_json::from_value(json) {
            Ok(raw) => {
                let (config, found) = validate::validate(raw);
                findings.extend(found);
                if findings.kept.is_empty() {
                    return Ok(config);
                }
            }
            // The schema is derived from the type that is read here: it has told already.
            Err(error) => findings.note(&Key::default(), syntax(&error.to_string())),
        }
    }
    Err(problems(path, &text, Some(&table), findings).into())
}

/// The JSON Schema (2020-12) of a settings file, with every setting's meaning, range and default.
#[must_use]
pub fn schema() -> serde_json::Value {
    shape::SCHEMA.clone()
}

fn syntax(message: &str) -> Fault {
    let remedy = if message == "duplicate key" {
        "keep one of the two"
    } else {
        "write it as TOML; configs/reference.toml has every setting"
    };
    Fault::new(message, remedy)
}

fn problems(
    path: &Path,
    text: &str,
    table: Option<&toml::Spanned<DeTable<'_>>>,
    findings: Findings,
) -> Problems {
    let span = |finding: &fault::Finding| {
        let stated = finding.span.clone();
        stated.or_else(|| table.map(|table| finding.key.span(table))).unwrap_or(0..0)
    };
    let found = findings.kept.into_iter().map(|finding| (span(&finding), finding)).collect();
    Problems::new(path, text, found, findings.omitted)
}
