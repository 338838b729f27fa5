//! `graven check`: good files, bad files, and what the machine lacks.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{GRAVEN, Ledger, code, root, stderr, text};

fn check(args: &[&str]) -> Output {
    Command::new(GRAVEN).arg("check").args(args).current_dir(root()).output().expect("graven runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn good_files_are_told_in_a_line() {
    let output = check(&["--file-only", "configs/fleet.toml", "configs/sovereign.toml"]);
    assert_eq!(code(output.status), 0, "{}", text(&output));
    let told = stdout(&output);
    let lines: Vec<_> = told.lines().collect();
    let [fleet, sovereign, total] = lines[..] else { panic!("{told}") };
    assert!(fleet.starts_with("good: configs/fleet.toml  3 ledgers, 3 watches, sha256:"), "{told}");
    assert!(
        sovereign.starts_with("good: configs/sovereign.toml  1 ledger, 1 watch, sha256:"),
        "{told}"
    );
    assert_eq!(total, "2 files, all good");
}

/// What is told of a bad file is what stands beside it, and a good file after it is told too.
#[test]
fn bad_files_are_told_as_by_a_compiler() {
    let bad = "configs/invalid/unknown-keys.toml";
    let output = check(&["--file-only", bad, "configs/local.toml"]);
    assert_eq!(code(output.status), 2, "{}", text(&output));
    let expected = fs::read_to_string(root().join(bad).with_extension("err")).expect("it is there");
    let rest = stdout(&output).strip_prefix(&expected).map(str::to_owned);
    let rest = rest.unwrap_or_else(|| panic!("{}", text(&output)));
    assert!(rest.starts_with("good: "), "{rest}");
    assert!(
        rest.lines().last().is_some_and(|it| it.starts_with("2 files, 1 of them bad, ")),
        "{rest}"
    );
    assert_eq!(stderr(&output), "");

    for (file, words) in [("configs", "no regular file"), ("none.toml", "No such file")] {
        let output = check(&[file]);
        assert_eq!(code(output.status), 2, "{}", text(&output));
        assert!(stdout(&output).contains(words), "{}", text(&output));
        let lines: Vec<_> = stdout(&output).lines().map(str::to_owned).collect();
        assert_eq!(lines.get(1).map(String::as_str), Some("1 problem"), "{lines:?}");
    }
}

#[test]
fn machines_get_an_object_a_line() {
    let output = check(&[
        "--file-only",
        "--json",
        "configs/local.toml",
        "configs/invalid/twice.toml",
        "none",
    ]);
    assert_eq!(code(output.status), 2, "{}", text(&output));
    let told: Vec<Value> = stdout(&output)
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect();
    assert_eq!(told[0]["good"], true);
    assert_eq!(told[0]["config"]["ledger"][0]["heartbeat_s"], 60, "defaults are filled in");
    assert_eq!(told[1]["good"], false);
    assert_eq!(told[1]["problems"][0]["key"], "ledger[0].payload_fields[1]");
    assert_eq!(told[1]["problems"][0]["line"], 4);
    assert!(told[2]["error"].as_str().is_some_and(|error| error.contains("No such file")));
}

/// The hash, by means that are not Graven's.
#[test]
fn the_hash_is_found_with_jq_and_sha256sum() {
    for file in ["reference", "local", "fleet", "sovereign"] {
        let told = stdout(&check(&["--file-only", &format!("configs/{file}.toml")]));
        let hash = told.trim_end().rsplit_once("sha256:").expect("a hash").1;
        let script =
            format!("{GRAVEN} check --json configs/{file}.toml | jq -cjS .config | sha256sum");
        let output =
            Command::new("sh").args(["-c", &script]).current_dir(root()).output().expect("sh runs");
        assert_eq!(stdout(&output), format!("{hash}  -\n"), "{file}: {}", text(&output));
    }
}

/// Goal: what the machine lacks is a warning with a remedy, and what it has is none.
#[test]
fn the_machine_is_looked_at() {
    let ledger = Ledger::new();
    let home = ledger.home().canonicalize().expect("the home is there");
    let at = |name: &str| home.join(name).display().to_string();
    let file = home.join("graven.toml");
    let warnings = |content: String| {
        fs::write(&file, content).expect("the file can be written");
        let output = ledger.graven(&["check", "--json", "graven.toml"]);
        assert_eq!(code(output.status), 0, "a warning is no fault: {}", text(&output));
        let told: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
        let warnings = told["warnings"].as_array().expect("a list").clone();
        assert!(warnings.iter().all(|it| it["remedy"].as_str().is_some_and(|it| !it.is_empty())));
        let words = |it: &Value| {
            format!(
                "{}: {}",
                it["setting"].as_str().expect("text"),
                it["found"].as_str().expect("text")
            )
        };
        warnings.iter().map(words).collect::<Vec<_>>()
    };
    let program = fs::canonicalize(GRAVEN).expect("the binary is there");
    let good = format!(
        "[[ledger]]\nname = \"a\"\ndir = \"{}\"\n[[ledger.watch]]\nagent = \"x\"\nexecutables = [\"{}\"]\n",
        at("ledger"),
        program.display()
    );
    assert_eq!(warnings(good.clone()), [""; 0], "control");

    let key = home.join("ledger.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("the mode can be set");
    let told = warnings(good.clone());
    assert!(told.len() == 1 && told[0].contains("can be read by others (mode 0644)"), "{told:?}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("the mode can be set");

    let told =
        warnings(good.replace("[[ledger.watch]]", "key = \"/absent.key\"\n[[ledger.watch]]"));
    assert!(told.len() == 1 && told[0].contains("/absent.key does not exist"), "{told:?}");

    symlink(&program, home.join("link")).expect("a link");
    fs::write(home.join("script"), "#!/bin/sh\n").expect("a script");
    fs::set_permissions(home.join("script"), fs::Permissions::from_mode(0o755)).expect("a mode");
    let told = warnings(format!(
        "[[ledger]]\nname = \"b\"\ndir = \"{}\"\nmirror = \"{}\"\n[[ledger.watch]]\nagent = \"x\"\n\
         cgroups = [\"/no-such-cgroup\"]\nunits = [\"no-such-unit.service\"]\n\
         executables = [\"{}\", \"{}\", \"{}\"]\n",
        at("none"),
        at("nowhere/mirror.jsonl"),
        at("absent"),
        at("link"),
        at("script"),
    ));
    let expected = [
        ("ledger \"b\" dir: ", "is not a ledger"),
        ("ledger \"b\" mirror: ", "does not exist"),
        ("ledger \"b\" watch \"x\" executables: ", "No such file"),
        ("ledger \"b\" watch \"x\" executables: ", "through a symbolic link"),
        ("ledger \"b\" watch \"x\" executables: ", "no program: a script"),
        ("ledger \"b\" watch \"x\" cgroups: ", "cgroup"),
        ("ledger \"b\" watch \"x\" units: ", "no unit"),
    ];
    // A machine without cgroups of version 2 says that once, instead of the last two.
    assert!(told.len() == expected.len() || told.len() == expected.len() - 1, "{told:#?}");
    for (told, (setting, words)) in told.iter().zip(expected) {
        assert!(told.starts_with(setting) && told.contains(words), "{told} against {words}");
    }
    let alone = ledger.graven(&["check", "--file-only", "graven.toml"]);
    assert_eq!(stdout(&alone).lines().count(), 1, "the file alone is good: {}", text(&alone));
    let both = ledger.graven(&["check", "graven.toml"]);
    assert!(stdout(&both).contains("→ make it with `graven init"), "{}", text(&both));
}
