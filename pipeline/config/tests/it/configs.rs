//! The files in `configs/`: the good ones are good, the bad ones are told as it says beside them.

use std::fs;
use std::path::{Path, PathBuf};

use graven_config::{ConfigError, load};

use crate::schema::keys;
use crate::support::{assert_file, bad, good, parse, root, with_watch};

fn text(name: &str) -> String {
    fs::read_to_string(root().join("configs").join(name)).expect("the file is there")
}

/// Every `.toml` in `folder`, sorted.
fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|it| it == "toml")).collect();
    files.sort();
    files
}

#[test]
fn the_examples_are_good() {
    let files = files("configs");
    assert_eq!(files.len(), 4, "{files:?}");
    for file in files {
        load(&file).unwrap_or_else(|error| panic!("{error}"));
    }
    assert!(good(&text("sovereign.toml")).metrics.is_none(), "no port is open");
    let fleet = good(&text("fleet.toml"));
    assert!(fleet.ledgers.len() > 1 && fleet.metrics.is_some());
    assert!(fleet.ledgers.iter().all(|ledger| ledger.mirror.is_some()));
}

/// The reference is what one gets without saying any of it.
#[test]
fn the_reference_has_the_defaults() {
    let least = r#"
        [[ledger]]
        name = "builds"
        dir = "/var/lib/graven/builds"
        [[ledger.watch]]
        agent = "ci"
        cgroups = ["/system.slice/ci.service"]
    "#;
    assert_eq!(good(&text("reference.toml")), good(least));
}

/// The reference has every key there is, each after a comment.
#[test]
fn the_reference_has_every_key() {
    let reference = text("reference.toml");
    let whole: Vec<_> = reference
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting)
                if setting.starts_with(|first: char| first.is_alphabetic() || first == '[') =>
            {
                setting
            }
            _ => line,
        })
        .collect();
    let table: toml::Table = whole.join("\n").parse().expect("TOML");
    good(&whole.join("\n"));
    let all = keys(&graven_config::schema(), "");
    assert_eq!(all.len(), 32, "control: the schema's keys");
    for (key, _) in all {
        let mut value = Some(&toml::Value::Table(table.clone())).cloned();
        for part in key.split('.') {
            value = value.and_then(|value| match value {
                toml::Value::Array(items) => items[0].get(part).cloned(),
                value => value.get(part).cloned(),
            });
        }
        assert!(value.is_some(), "{key} is not in reference.toml");
        let name = key.rsplit('.').next().expect("a name");
        let begins = |line: &str| {
            line.starts_with(&format!("{name} = "))
                || line.trim_matches(['[', ']']) == key && line.starts_with('[')
        };
        let at = whole.iter().position(|line| begins(line)).expect("it has a line");
        assert!(whole[at - 1].starts_with("# "), "{key} has no comment");
    }
}

/// Goal: each problem of a file is told at once, in words that stay.
#[test]
fn invalid_files_are_told_as_beside_them() {
    let files = files("configs/invalid");
    assert!(files.len() >= 14, "control: {files:?}");
    for file in files {
        let bytes = fs::read(&file).expect("the file is there");
        let name = Path::new("configs/invalid").join(file.file_name().expect("a name"));
        match graven_config::parse(&name, &bytes) {
            Err(ConfigError::Invalid(problems)) => {
                assert_file(&name.with_extension("err"), &problems.render(false));
            }
            other => panic!("{}: {other:?}", name.display()),
        }
    }
}

#[test]
fn what_is_no_settings_file_is_said_to_be_none() {
    let dir = tempfile::tempdir().expect("a directory");
    let told = |path: &Path| load(path).expect_err("no settings").to_string();
    let missing = load(&dir.path().join("none")).expect_err("no settings");
    assert!(matches!(missing, ConfigError::Io { .. }), "{missing}");
    // Not even a device is opened: a pipe would keep us waiting.
    for path in [dir.path(), Path::new("/dev/null")] {
        assert!(told(path).contains("no regular file"), "{}", told(path));
    }
    let huge = dir.path().join("huge.toml");
    fs::write(&huge, " ".repeat(1 << 20)).expect("a file");
    assert!(told(&huge).contains("`ledger` is missing"), "control: {}", told(&huge));
    fs::write(&huge, " ".repeat((1 << 20) + 1)).expect("a file");
    assert!(told(&huge).contains("more than 1048576 bytes"), "{}", told(&huge));
}

#[test]
fn limits_are_where_they_are_said_to_be() {
    let ledger = |index: usize| format!("[[ledger]]\nname = \"l{index}\"\ndir = \"/l/{index}\"\n");
    let ledgers = |count| (0..count).map(ledger).collect::<String>();
    assert_eq!(good(&ledgers(32)).ledgers.len(), 32);
    assert!(bad(&ledgers(33)).to_string().contains("at most 32"));

    let watch = |index: usize| {
        format!("[[ledger.watch]]\nagent = \"a{index}\"\ncgroups = [\"/{index}\"]\n")
    };
    let watches = |from, to| (from..to).map(watch).collect::<String>();
    let both = |most: usize| [ledger(0), watches(0, 32), ledger(1), watches(32, most)].concat();
    assert_eq!(good(&both(64)).ledgers[1].watches.len(), 32);
    let problems = bad(&both(65));
    assert_eq!(problems.problems()[0].key, "ledger[1].watch[32]", "{problems}");
    assert!(problems.problems()[0].remedy.contains("at most 64"), "{problems}");

    let executable =
        |bytes: usize| with_watch(&format!("executables = [\"/{}\"]", "x".repeat(bytes - 1)));
    good(&executable(255));
    assert!(bad(&executable(256)).to_string().contains("at most 255"));
}

/// What is told goes to terminals and logs: nothing in a file can steer them.
#[test]
fn no_control_character_comes_back() {
    for wrong in ["syscalls = \"\\u001b[2J\"", "units = [\"\\u001b[2J\"]", "\"\\u001b[2J\" = 1"] {
        let problems = bad(&with_watch(wrong));
        assert!(!problems.to_string().contains('\x1b'), "{problems:?}");
        assert!(!problems.render(false).contains('\x1b'), "{problems:?}");
    }
}

/// The position is that of the value, counted in characters.
#[test]
fn a_problem_has_its_place() {
    let problems = bad("[[ledger]]\nname = \"a\"\ndir = \"/a\"\npayload_fields = [\"ä\", 5]\n");
    let [problem] = problems.problems() else { panic!("{problems}") };
    assert_eq!((problem.line, problem.column), (4, 24));
    assert_eq!(problem.key, "ledger[0].payload_fields[1]");
    assert_eq!(
        problems.to_string(),
        "graven.toml:4:24: ledger[0].payload_fields[1]: expected a string, found an integer; write it in quotes"
    );
}

#[test]
fn globs_stop_where_they_are_said_to() {
    let config = good(&with_watch(r#"exclude_paths = ["/proc/**", "/tmp/*.log"]"#));
    let excluded = config.ledgers[0].watches[0].excluded_paths().expect("checked");
    for (path, expected) in [
        ("/proc/self/status", true),
        ("/tmp/a.log", true),
        ("/tmp/a/b.log", false),
        ("/etc/proc/x", false),
    ] {
        assert_eq!(excluded.is_match(path), expected, "{path}");
    }
    assert!(parse(&with_watch("exclude_paths = []")).is_ok());
}
