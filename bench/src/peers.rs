//! Others on the same call: strace, and the kernel's own audit.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::added::{Call, GROUP, arguments, looped, opened_file};
use crate::part;
use crate::stats::Figure;

/// Loops, of which the quickest counts. Few, since each call takes these a hundred times as long.
const LOOPS: u32 = 10;

/// Nanoseconds that strace adds to an openat.
pub(crate) fn strace(dir: &Path) -> anyhow::Result<Vec<Figure>> {
    added(dir, "strace -f -o /dev/null", under_strace)
}

/// Nanoseconds that a rule of the kernel's audit adds to an openat, with auditd at work.
pub(crate) fn audit(dir: &Path) -> anyhow::Result<Vec<Figure>> {
    added(dir, "an audit rule, auditd at work", under_audit)
}

fn added(
    dir: &Path,
    by: &str,
    under: fn(&Path) -> anyhow::Result<f64>,
) -> anyhow::Result<Vec<Figure>> {
    let file = opened_file(dir)?;
    let under_ns = under(&file)?;
    let alone_ns = looped(Call::Openat, &file, None)?;
    Ok(vec![Figure::new(GROUP, format!("openat, added by {by}"), "ns", under_ns - alone_ns)])
}

fn under_strace(file: &Path) -> anyhow::Result<f64> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null"]).arg(part::program()?);
    strace.args(arguments(Call::Openat, file, LOOPS));
    part::answer(strace.stdout(Stdio::piped()).spawn().context("strace cannot be run")?)
}

/// Only where auditd is at work already: once the kernel's audit was switched on, every process started
/// later pays for it until the next boot, and that is not for a measurement to decide.
fn under_audit(file: &Path) -> anyhow::Result<f64> {
    let status = auditctl(&["-s"])?;
    let number = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().parse::<u32>().ok())
    };
    ensure!(
        number("enabled ") == Some(1) && number("pid ").is_some_and(|pid| pid > 0),
        "auditd is not at work, and starting it would slow down every process until the next boot"
    );
    let parent = format!("ppid={}", std::process::id());
    let rule = ["always,exit", "-F", "arch=b64", "-S", "openat", "-F", &parent];
    auditctl(&[&["-a"], &rule[..]].concat())?;
    let mut audited = Command::new(part::program()?);
    audited.args(arguments(Call::Openat, file, LOOPS)).stdout(Stdio::piped());
    let ns = audited.spawn().map_err(Into::into).and_then(part::answer);
    auditctl(&[&["-d"], &rule[..]].concat())?;
    ns
}

fn auditctl(arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("auditctl").args(arguments).output();
    let output = output.context("auditctl cannot be run: is auditd installed?")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "auditctl {}: {}", arguments.join(" "), said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
