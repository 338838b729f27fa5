//! The daemon's settings: any bytes are settings or a list of what is wrong.

use std::path::Path;

use graven_config::{ConfigError, diff, parse};

/// Parses and looks at all that there is to look at.
pub fn config(bytes: &[u8]) -> bool {
    match parse(Path::new("graven.toml"), bytes) {
        Ok(config) => {
            assert_eq!(diff(&config, &config), [], "nothing changes where nothing has changed");
            let again = parse(Path::new("elsewhere"), bytes).expect("it was read before");
            assert_eq!(config.sha256(), again.sha256());
            for watch in config.ledgers.iter().flat_map(|ledger| &ledger.watches) {
                watch.excluded_paths().expect("checked settings have good globs");
            }
            true
        }
        Err(ConfigError::Invalid(problems)) => {
            let lines = bytes.split(|byte| *byte == b'\n').count();
            assert!(!problems.problems().is_empty());
            for problem in problems.problems() {
                assert!((1..=lines).contains(&problem.line) && problem.column > 0, "{problem:?}");
                assert!(!problem.what.is_empty() && !problem.remedy.is_empty(), "{problem:?}");
            }
            assert!(
                !problems.to_string().contains('\x1b'),
                "the terminal is not the file's to speak to"
            );
            assert!(!problems.render(false).is_empty() && !problems.render(true).is_empty());
            false
        }
        Err(ConfigError::TooLarge { .. }) => false,
        Err(error) => panic!("no file is read: {error}"),
    }
}
