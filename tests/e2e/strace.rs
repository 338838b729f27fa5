//! The ledger holds the calls that strace sees in the same run.

use std::io::Write as _;
use std::process::Command;

use crate::support::{GRAVEN, have_root, root, text};

#[test]
fn the_ledger_holds_the_calls_that_strace_sees() {
    if !have_root("the comparison with strace") {
        return;
    }
    let output = Command::new("python3")
        .arg(root().join("tests/strace/compare.py"))
        .args(["--graven", GRAVEN])
        .output()
        .expect("python3 runs");
    assert!(output.status.success(), "{}", text(&output));
    // Past the harness, which hides what passing tests print.
    let said = String::from_utf8_lossy(&output.stdout);
    for line in said.lines().filter(|line| line.starts_with("SKIPPED")) {
        writeln!(std::io::stderr(), "{line}").expect("standard error");
    }
}
