//! Files that tests compare with, and how they are written anew.

use std::fs;
use std::path::{Path, PathBuf};

use graven_config::{Config, ConfigError, Problems};

/// The smallest file.
pub(crate) const LEAST: &str = "[[ledger]]\nname = \"a\"\ndir = \"/var/lib/graven/a\"\n";

/// The project's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(crate) fn parse(text: &str) -> Result<Config, ConfigError> {
    graven_config::parse(Path::new("graven.toml"), text.as_bytes())
}

/// The settings in `text`, which must be good.
pub(crate) fn good(text: &str) -> Config {
    parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The problems in `text`, which must be bad.
pub(crate) fn bad(text: &str) -> Problems {
    match parse(text) {
        Err(ConfigError::Invalid(problems)) => problems,
        other => panic!("expected problems, got {other:?} of\n{text}"),
    }
}

/// A whole file with one watch that has `setting`.
pub(crate) fn with_watch(setting: &str) -> String {
    format!("{LEAST}[[ledger.watch]]\nagent = \"x\"\ncgroups = [\"/x\"]\n{setting}\n")
}

/// The file at `path` (from the root) must be `content`; with `BLESS=1` it becomes that.
pub(crate) fn assert_file(path: &Path, content: &str) {
    let path = root().join(path);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, content).expect("the file can be written");
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        stored,
        content,
        "{} is stale: look at the difference, then `BLESS=1 cargo test -p graven-config`",
        path.display()
    );
}
