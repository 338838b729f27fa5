//! Whatever the bytes, there are settings or problems: never a panic.

use std::path::Path;

use graven_config::{Config, ConfigError, diff, parse};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::{LEAST, bad, good, with_watch};

/// Parses, and looks at all that can be looked at.
fn look(bytes: &[u8]) -> Result<Config, ConfigError> {
    let parsed = parse(Path::new("graven.toml"), bytes);
    match &parsed {
        Ok(config) => {
            assert!(!config.to_canonical().is_empty());
            for watch in config.ledgers.iter().flat_map(|ledger| &ledger.watches) {
                watch.excluded_paths().expect("checked");
            }
        }
        Err(ConfigError::Invalid(problems)) => {
            assert!(!problems.problems().is_empty());
            for problem in problems.problems() {
                assert!(problem.line > 0 && problem.column > 0 && !problem.what.is_empty());
                assert!(!problem.remedy.is_empty(), "{problem:?}");
            }
            assert!(!problems.render(false).is_empty() && !problems.render(true).is_empty());
            assert!(!problems.to_string().contains('\x1b'), "{problems:?}");
        }
        Err(error) => panic!("{error}"),
    }
    parsed
}

/// Pieces from which files are put together that get past the first check.
fn piece() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "name",
        "dir",
        "key",
        "mirror",
        "heartbeat_s",
        "ring_bytes",
        "payload_fields",
        "agent",
        "cgroups",
        "units",
        "executables",
        "syscalls",
        "exclude_paths",
        "exec_env",
        "socket",
        "listen",
        "ledger",
        "watch",
        "\"\\u001b[2J\"",
        "x",
    ]);
    let value = prop::sample::select(vec![
        "1",
        "-1",
        "0x7fffffffffffffff",
        "1e9",
        "true",
        "\"a\"",
        "\"/a\"",
        "\"/a/b\"",
        "\"ä\\n\"",
        "[]",
        "[\"/a\", \"/a\"]",
        "[\"read\", 1]",
        "{}",
        "{ x = [{}] }",
        "1979-05-27",
        "\"127.0.0.1:1\"",
        "\"all\"",
        "[\"**\", \"/[\", \"/{a,b}**\"]",
        "",
        "= =",
        "nan",
    ]);
    prop_oneof![
        4 => (key, value).prop_map(|(key, value)| format!("{key} = {value}\n")),
        1 => prop::sample::select(vec![
            "[[ledger]]\n", "[[ledger.watch]]\n", "[control]\n", "[metrics]\n", "[ledger]\n", "[[", "\r", "\u{feff}",
        ]).prop_map(str::to_owned),
        1 => Just(LEAST.to_owned()),
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_settings_or_problems(bytes in vec(any::<u8>(), 0..512)) {
        drop(look(&bytes));
    }

    #[test]
    fn any_settings_are_settings_or_problems(pieces in vec(piece(), 0..24)) {
        drop(look(pieces.concat().as_bytes()));
    }

    /// Goal: no single byte makes the reader fall. Method: damage a good file.
    #[test]
    fn a_damaged_file_is_settings_or_problems(at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = include_bytes!("../../../../configs/reference.toml").to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        drop(look(&bytes));
    }

    /// Nothing changes exactly if the hashes are equal.
    #[test]
    fn hash_and_difference_agree(a in setting(), b in setting()) {
        let (a, b) = (good(&a), good(&b));
        prop_assert_eq!(diff(&a, &b).is_empty(), a.sha256() == b.sha256());
        prop_assert_eq!(diff(&a, &b).is_empty(), a == b);
    }
}

/// A good file with one of a few settings, in one of several spellings.
fn setting() -> impl Strategy<Value = String> {
    let watches = prop::sample::select(vec![
        "",
        "syscalls = \"all\"",
        "units = [\"a.service\", \"b.service\"]",
        "units = [\"b.service\", \"a.service\"]",
        "syscalls = [\"read\"]",
        "exec_env = []",
    ]);
    let ledgers = prop::sample::select(vec![
        "",
        "heartbeat_s = 60\n",
        "heartbeat_s = 61\n",
        "mirror = \"/m\"\n",
    ]);
    (ledgers, watches).prop_map(|(ledger, watch)| {
        with_watch(watch).replace("[[ledger.watch]]", &format!("{ledger}[[ledger.watch]]"))
    })
}

/// A file of problems alone ends soon, and says how many more there are.
#[test]
fn problems_without_end_are_counted() {
    let many: Vec<_> = (0..50_000).map(|index| format!("x{index}=1")).collect();
    let problems = bad(&many.join("\n"));
    assert_eq!(problems.problems().len(), 100);
    assert_eq!(problems.omitted(), 49_901);
    assert!(problems.render(false).ends_with("and 49901 more\n"));

    // Of a list that is too long, as many items are judged as it may have.
    let items = "1,".repeat(250_000);
    let problems = bad(&format!("{LEAST}payload_fields = [{items}]\n"));
    assert_eq!(problems.problems().len() + problems.omitted(), 513);
}

/// Depth is bounded by the parser.
#[test]
fn nesting_without_end_is_a_problem() {
    for open in ["[", "{a="] {
        bad(&format!("x = {}", open.repeat(100_000)));
    }
    bad(&format!("[{}a]", "a.".repeat(100_000)));
}
