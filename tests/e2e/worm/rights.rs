//! Who holds which right, and what the recorder can no longer do.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use super::{Ledger, append_through, attributes, on, segments, wait_until_sealed, worm};
use crate::daemon::rig::{Daemon, wait_for};
use crate::support::text;

/// Numbers of the rights in linux/capability.h.
const KILL: u64 = 1 << 5;
const LINUX_IMMUTABLE: u64 = 1 << 9;
const BPF: u64 = 1 << 39;

fn field(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with(name)).expect("a field");
    line.split_whitespace().nth(1).expect("a value").to_owned()
}

fn rights(pid: u32, set: &str) -> u64 {
    u64::from_str_radix(&field(pid, set), 16).expect("a set")
}

/// The daemon's one child.
fn warden_of(daemon: &Daemon) -> u32 {
    let pid = daemon.pid();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("it runs");
    let [warden] = children.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("one child: {children}")
    };
    warden.parse().expect("a pid")
}

#[test]
fn the_warden_alone_can_hold_and_the_recorder_cannot_lift() {
    on("ext4", "worm::rights::the_warden_alone_can_hold_and_the_recorder_cannot_lift", || {
        let ledger = Ledger::new();
        let daemon = Daemon::start(&[(&ledger, "worm = \"required\"\n")], "");
        wait_until_sealed(&daemon);
        let warden = warden_of(&daemon);
        for set in ["CapPrm:", "CapEff:", "CapBnd:"] {
            assert_eq!(rights(warden, set), LINUX_IMMUTABLE, "the warden's {set}");
            assert_eq!(rights(daemon.pid(), set) & !(KILL | BPF), 0, "the daemon's {set}");
        }
        assert_eq!(
            (field(warden, "NoNewPrivs:"), field(warden, "Seccomp:")),
            ("1".into(), "2".into())
        );

        // With the daemon's own rights neither the file nor the warden's memory can be got at.
        let segment = segments(&ledger)[0].0.display().to_string();
        let lift = format!("chattr -i -a {segment} && [ -z \"$(lsattr {segment} | grep -- -a)\" ]");
        let enter = format!(": 3<> /proc/{warden}/mem");
        for script in [&lift, &enter] {
            let ran = as_recorder(script);
            assert!(!ran.status.success(), "{script}: {}", text(&ran));
        }
        assert_eq!(attributes(&ledger), ["a"]);
        for script in [&enter, &lift] {
            let ran = Command::new("sh").args(["-c", script]).output().expect("sh runs");
            assert!(ran.status.success(), "control: every right is enough: {}", text(&ran));
        }
        assert_eq!(daemon.stop(), 0);
        let gone = || !Path::new(&format!("/proc/{warden}")).exists();
        wait_for("the warden's end", || gone().then_some(()));
        ledger.assert_good();
    });
}

#[test]
fn a_warden_that_dies_is_missed_and_nothing_else_stops() {
    on("ext4", "worm::rights::a_warden_that_dies_is_missed_and_nothing_else_stops", || {
        let ledger = Ledger::new();
        let daemon = Daemon::start(&[(&ledger, "worm = \"required\"\n")], "");
        wait_until_sealed(&daemon);
        assert_eq!(worm(&daemon), "append-only and immutable", "control");
        let warden = i32::try_from(warden_of(&daemon)).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(warden, Signal::KILL).expect("it runs");
        let gone = "not here: the warden has gone: restart graven";
        wait_for("the news", || (worm(&daemon) == gone).then_some(()));
        append_through(&daemon, &ledger);
        assert_eq!(attributes(&ledger), ["a"], "what is held stays held");
        assert_eq!(daemon.stop(), 0);
        ledger.assert_good();
    });
}

/// Runs a script as root with the rights that the daemon keeps.
fn as_recorder(script: &str) -> std::process::Output {
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all,+kill,+bpf", "--inh-caps=-all", "--no-new-privs"]);
    command.args(["sh", "-c", script]).output().expect("setpriv runs")
}
