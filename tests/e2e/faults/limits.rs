//! Limits of the process that are too low.

use std::process::Command;

use crate::support::{EVENT, GRAVEN, Ledger, code, text};

/// Where files run out it says so, and what to do; it never panics.
#[test]
fn too_few_open_files() {
    let ledger = Ledger::new();
    let limited = |limit: u32, args: &str| {
        let script = format!("echo '{EVENT}' | (ulimit -n {limit}; exec {GRAVEN} {args})");
        let ran = Command::new("bash").args(["-c", &script]).current_dir(ledger.home()).output();
        ran.expect("bash runs")
    };
    let control = limited(256, "append");
    assert_eq!(code(control.status), 0, "{}", text(&control));
    for limit in [5, 7, 8, 12, 24, 72, 255] {
        for (args, failed) in [("append", 2), ("run --config none.toml", 2), ("exec -- true", 125)]
        {
            let output = limited(limit, args);
            assert_eq!(code(output.status), failed, "{limit}, {args}: {}", text(&output));
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains("run `ulimit -n 1024`"), "{limit}, {args}: {said}");
            assert!(!said.contains("panicked"), "{limit}, {args}: {said}");
        }
    }
    ledger.assert_good();
}
