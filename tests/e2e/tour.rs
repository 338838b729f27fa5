//! The README's tour and `make run`, as a newcomer would go through them.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{GRAVEN, Ledger, code, have_root, root, text};

/// One command of the tour and the output that the README shows.
struct Step {
    command: String,
    output: Vec<String>,
}

fn steps(readme: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if inside {
            if let Some(command) = line.strip_prefix("$ ") {
                steps.push(Step { command: command.to_owned(), output: Vec::new() });
            } else {
                let step = steps.last_mut().expect("a command comes first");
                step.output.push(line.to_owned());
            }
        }
    }
    steps
}

/// A line with everything replaced that differs from run to run.
fn shape(line: &str) -> String {
    let mut shape = String::new();
    // A slow machine needs more of them.
    for word in line.replace(" blocks", " block").split_whitespace() {
        let key = word.len() > 40 && word.contains('+');
        let varies = |c: char| c.is_ascii_digit();
        let word = if key { "KEY".to_owned() } else { hash_free(word).replace(varies, "#") };
        // Numbers of any length, with or without separators, look alike.
        let mut last = ' ';
        for c in word.chars().filter(|c| *c != ',') {
            if c != '#' || last != '#' {
                shape.push(c);
            }
            last = c;
        }
        shape.push(' ');
    }
    shape
}

/// The word with each `sha256:…` cut down to its prefix.
fn hash_free(word: &str) -> String {
    let mut parts = word.split("sha256:");
    let mut free = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        free += "HASH";
        free += part.trim_start_matches(|c: char| c.is_ascii_hexdigit());
    }
    free
}

/// Compares by shape; `...` stands for any number of lines.
fn matches(expected: &[String], actual: &[&str]) -> bool {
    match expected.split_first() {
        None => actual.is_empty(),
        Some((first, rest)) if first == "..." => {
            (0..=actual.len()).any(|skipped| matches(rest, &actual[skipped..]))
        }
        Some((first, rest)) => actual
            .split_first()
            .is_some_and(|(line, others)| shape(line) == shape(first) && matches(rest, others)),
    }
}

#[test]
fn the_tour_of_the_readme_is_what_happens() {
    if !have_root("the README's tour") {
        return;
    }
    let readme = fs::read_to_string(root().join("README.md")).expect("a README");
    let steps = steps(&readme);
    assert!(steps.len() >= 6, "the tour has {} steps", steps.len());
    let home = tempfile::tempdir().expect("a directory");
    let binaries = Path::new(GRAVEN).parent().expect("a directory");
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").expect("a PATH"));
    for Step { command, output } in steps {
        // Root needs no sudo, and a small machine has none.
        let ran = Command::new("sh")
            .args(["-c", &format!("{} 2>&1", command.replace("sudo ", ""))])
            .current_dir(home.path())
            .env("PATH", &path)
            .output()
            .expect("sh runs");
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        let lines: Vec<&str> = said.lines().collect();
        assert!(
            matches(&output, &lines),
            "`{command}`\nthe README says:\n{}\n\nit says:\n{said}",
            output.join("\n")
        );
    }
}

#[test]
fn make_run_records_an_agent_and_verifies() {
    if !have_root("the demonstration") {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    // Twice: the second time the ledger goes on.
    for round in 1..=2 {
        let output = Command::new(root().join("tests/demo/run.sh"))
            .env("GRAVEN", GRAVEN)
            .env("DEMO", home.path())
            .output()
            .expect("the demonstration runs");
        assert_eq!(code(output.status), 0, "{}", text(&output));
        let said = text(&output);
        let parts = [
            "agent: done",
            "system calls",
            "gaps        none",
            "good: example.org/demo",
            "What to try next",
        ];
        for part in parts {
            assert!(said.contains(part), "round {round}: no `{part}` in\n{said}");
        }
    }
    let records =
        fs::read_to_string(home.path().join("ledger/segments/00000000000000000000.jsonl"))
            .expect("a segment");
    for call in ["rename", "symlink", "chmod", "connect", "unlink", "execve", "rmdir"] {
        assert!(
            records.contains(&format!("{{\"action\":\"{call}\"")),
            "the agent's {call} is on record"
        );
    }
}

#[test]
fn a_link_can_be_checked_by_hand() {
    let ledger = Ledger::new();
    let output = ledger.feed(&["append"], crate::support::EVENT.as_bytes());
    assert_eq!(code(output.status), 0, "{}", text(&output));
    let script = "sed -n 1p ledger/segments/*.jsonl | tr -d '\\n' | (printf '\\0'; cat) | sha256sum | cut -d' ' -f1";
    let hash = Command::new("sh")
        .args(["-c", script])
        .current_dir(ledger.home())
        .output()
        .expect("sh runs");
    let hash = String::from_utf8_lossy(&hash.stdout).trim().to_owned();
    assert_eq!(ledger.records()[1]["prev"], format!("sha256:{hash}"));
}
