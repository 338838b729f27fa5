//! `graven check`: whether settings are good, before a daemon is told of them.

mod machine;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use graven_config::{Config, ConfigError};
use graven_verify::screen::{BAD, GOOD, WEAK, count, painted};
use serde_json::{Value, json};

use crate::exit;
use machine::Warning;

/// Check settings files of the daemon, and tell all that is wrong with them.
///
/// Says too what this machine lacks for them, as warnings: a ledger that is not made yet, a unit that nobody
/// knows. Exits with 0 where all files are good, warnings or not, and with 2 otherwise.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  graven check /etc/graven/graven.toml

The hash is over the effective settings in canonical form; to take it by other means:
  graven check --json FILE | jq -cjS .config | sha256sum")]
pub(crate) struct CheckArgs {
    /// Settings files, in TOML.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Judge the files alone, without a look at this machine.
    #[arg(long)]
    file_only: bool,
    /// Print one JSON object a line for each file.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn run(args: &CheckArgs, out: &mut impl Write) -> anyhow::Result<u8> {
    let mut total = Total::default();
    for file in &args.files {
        let loaded = graven_config::load(file);
        let warnings = match &loaded {
            Ok(config) if !args.file_only => machine::look(config),
            _ => Vec::new(),
        };
        total.add(&loaded, &warnings);
        if args.json {
            writeln!(out, "{}", to_json(file, loaded, &warnings))?;
        } else {
            write_text(out, file, loaded, &warnings)?;
        }
    }
    if !args.json {
        total.write(out)?;
    }
    Ok(if total.bad == 0 { exit::GOOD } else { exit::USAGE })
}

fn write_text(
    out: &mut impl Write,
    file: &Path,
    loaded: Result<Config, ConfigError>,
    warnings: &[Warning],
) -> io::Result<()> {
    match loaded {
        Ok(config) => {
            let watches: usize = config.ledgers.iter().map(|ledger| ledger.watches.len()).sum();
            writeln!(
                out,
                "{}: {}  {}, {}, {}",
                painted(GOOD.bold(), "good"),
                file.display(),
                counted(config.ledgers.len(), "ledger"),
                if watches == 1 { "1 watch".to_owned() } else { format!("{watches} watches") },
                config.sha256()
            )?;
            for Warning { setting, found, remedy } in warnings {
                let mark = painted(WEAK.bold(), "warning");
                writeln!(out, "\n  {mark}: {setting}: {found}\n           → {remedy}")?;
            }
            if warnings.is_empty() { Ok(()) } else { writeln!(out) }
        }
        Err(ConfigError::Invalid(problems)) => write!(out, "{}", problems.render(true)),
        Err(error) => writeln!(out, "{}: {}", painted(BAD.bold(), "error"), sentence(error)),
    }
}

/// What all files together come to.
#[derive(Default)]
struct Total {
    good: usize,
    bad: usize,
    problems: usize,
    warnings: usize,
}

impl Total {
    fn add(&mut self, loaded: &Result<Config, ConfigError>, warnings: &[Warning]) {
        self.warnings += warnings.len();
        match loaded {
            Ok(_) => self.good += 1,
            Err(error) => {
                self.bad += 1;
                self.problems += match error {
                    ConfigError::Invalid(all) => all.problems().len() + all.omitted(),
                    _ => 1,
                };
            }
        }
    }

    /// Nothing where one line has said it all.
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { good, bad, problems, warnings } = *self;
        let files = match (good, bad) {
            _ if good + bad == 1 => None,
            (_, 0) => Some(format!("{}, all good", counted(good, "file"))),
            (_, _) => Some(format!("{}, {bad} of them bad", counted(good + bad, "file"))),
        };
        let problems = (problems > 0).then(|| counted(problems, "problem"));
        let warnings = (warnings > 0).then(|| counted(warnings, "warning"));
        let parts: Vec<_> = [files, problems, warnings].into_iter().flatten().collect();
        if parts.is_empty() { Ok(()) } else { writeln!(out, "{}", parts.join(", ")) }
    }
}

fn counted(number: usize, noun: &str) -> String {
    count(u64::try_from(number).unwrap_or(u64::MAX), noun)
}

/// An error with its causes.
fn sentence(error: ConfigError) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

fn to_json(file: &Path, loaded: Result<Config, ConfigError>, warnings: &[Warning]) -> Value {
    let file = file.to_string_lossy();
    match loaded {
        Ok(config) => json!({
            "config": config.to_json(),
            "file": file,
            "good": true,
            "sha256": config.sha256().to_string(),
            "warnings": warnings.iter().map(|warning| json!({
                "found": warning.found,
                "remedy": warning.remedy,
                "setting": warning.setting.to_string(),
            })).collect::<Vec<_>>(),
        }),
        Err(ConfigError::Invalid(problems)) => json!({
            "file": file,
            "good": false,
            "omitted": problems.omitted(),
            "problems": problems.problems(),
        }),
        Err(error) => json!({ "error": sentence(error), "file": file, "good": false }),
    }
}

#[cfg(test)]
mod tests {
    use graven_config::{Config, limits, parse};

    use super::*;

    fn least() -> Config {
        let file = b"[[ledger]]\nname = \"a\"\ndir = \"/var/lib/graven/a\"\n";
        parse(Path::new("graven.toml"), file).expect("it is good")
    }

    /// The settings' crate links neither stages nor kernel interface, and repeats what they define.
    #[test]
    fn defaults_and_bounds_are_those_in_force() {
        assert_eq!(limits::HEARTBEAT_S, graven_stages::HEARTBEAT_S);
        assert_eq!(limits::BLOCK_MS_MAX, graven_stages::BLOCK_MS_MAX);
        assert_eq!(limits::BUDGET_BYTES, graven_stages::BUDGET_BYTES);
        assert_eq!(limits::BUDGET_BYTES_MIN, graven_stages::BATCH_BYTES_MAX);
        assert_eq!(limits::SEGMENT_BYTES, graven_ledger::SEGMENT_BYTES_MAX);
        assert_eq!(limits::RING_BYTES, graven_capture::RING_BYTES_DEFAULT);
        assert_eq!(limits::RING_BYTES_MIN, graven_capture::RING_BYTES_MIN);
        let ledger = &least().ledgers[0];
        assert_eq!(ledger.key, crate::init::default_key(&ledger.dir));
    }
}
