//! Whom the service follows from when on, and whom it kills when a command is over.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::rig::{Cgroup, Daemon, wait_for};
use super::{has_mark, mark, watch};
use crate::support::{Ledger, code, have_root, text};

/// What is made after the start is watched from its first process on: the look once a second comes too late.
#[test]
fn nothing_runs_before_its_unit_is_found() {
    if !have_root("units made late") {
        return;
    }
    let ledger = Ledger::new();
    let names = ["path", "unit", "other"].map(Cgroup::name);
    let [path, unit, other] = &names;
    let slice = Cgroup::new("slice");
    let (unit, other) = (format!("{unit}.service"), format!("{other}.service"));
    let settings = watch("path", &format!("cgroups = [\"{}/{path}\"]", slice.below()))
        + &watch("unit", &format!("units = [\"{unit}\"]"));
    let daemon = Daemon::start(&[(&ledger, &settings)], "");
    // Right after a look of the daemon's, or long after it: several times, and each at once.
    for round in 0..5 {
        for (name, kind) in [(path, "path"), (&unit, "unit"), (&other, "other")] {
            let made = Cgroup::named(&format!("{}/{name}", &slice.below()[1..]));
            made.run(&mark(&format!("{kind}-{round}")));
        }
        thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(daemon.stop(), 0);
    for round in 0..5 {
        assert!(has_mark(&ledger, &format!("path-{round}")), "path, round {round}");
        assert!(has_mark(&ledger, &format!("unit-{round}")), "unit, round {round}");
        assert!(!has_mark(&ledger, &format!("other-{round}")), "nobody asked for it");
    }
    ledger.assert_good();
}

fn pid_in(file: &Path) -> Pid {
    let text = fs::read_to_string(file).expect("the script has written it");
    Pid::from_raw(text.trim().parse().expect("a number")).expect("a process")
}

fn lives(process: Pid) -> bool {
    // A zombie, whose parent has not waited for it, is dead all the same.
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_pid()));
    test_kill_process(process).is_ok() && !stat.is_ok_and(|stat| stat.contains(") Z "))
}

#[test]
fn whoever_is_another_watchs_by_now_is_not_killed() {
    if !have_root("stragglers") {
        return;
    }
    let (one, two) = (Ledger::new(), Ledger::new());
    let other = Cgroup::new("other");
    let settings = watch("other", &format!("cgroups = [\"{}\"]", other.below()));
    let daemon = Daemon::start(&[(&one, ""), (&two, &settings)], "");
    let top = other.path().parent().expect("the root of the hierarchy");
    // One sleeps, one goes on making calls; the third is the control, which has gone where nobody watches.
    let script = format!(
        "leave() {{ echo $! > $1; echo $! > $2/cgroup.procs; }}; exec > /dev/null 2>&1
         sleep 600 & leave asleep {other}
         sh -c 'while :; do sleep 0.05; done' & leave awake {other}
         sleep 600 & leave stray {top}
         sleep 0.3",
        other = other.path().display(),
        top = top.display()
    );
    let mut exec = one.command(&["exec", "--", "sh", "-c", &script]);
    let output = exec.env("GRAVEN_SOCKET", daemon.socket()).output().expect("graven runs");
    assert_eq!(code(output.status), 0, "{}", text(&output));
    let [asleep, awake, stray] =
        ["asleep", "awake", "stray"].map(|name| pid_in(&one.home().join(name)));
    assert!(!lives(stray), "control: a straggler is killed");
    assert!(lives(asleep) && lives(awake));
    kill_process(asleep, Signal::KILL).expect("it runs");
    kill_process(awake, Signal::KILL).expect("it runs");
    assert_eq!(daemon.stop(), 0);
    one.assert_good();
    two.assert_good();
}

#[test]
fn whoever_was_let_go_by_a_reload_is_not_killed() {
    if !have_root("a reload's processes") {
        return;
    }
    let ledger = Ledger::new();
    let cgroup = Cgroup::new("let-go");
    let settings = watch("ci", &format!("cgroups = [\"{}\"]", cgroup.below()));
    let daemon = Daemon::start(&[(&ledger, &settings)], "");
    let script = format!("{}; exec sleep 600", mark("before"));
    let mut process = Process(cgroup.script(&script).spawn().expect("sh starts"));
    daemon.reconfigure(&[(&ledger, "")], "");
    // Its newest record is of the watch that ends now.
    let name = format!("/proc/{}/comm", process.0.id());
    wait_for("the sleep", || {
        fs::read_to_string(&name).is_ok_and(|comm| comm == "sleep\n").then_some(())
    });
    let applied = daemon.graven(&["reload"]);
    assert_eq!(code(applied.status), 0, "{}", text(&applied));
    // Until the watch's index is free again.
    thread::sleep(Duration::from_millis(2_500));
    for _ in 0..2 {
        let mut exec = ledger.command(&["exec", "--", "true"]);
        let output = exec.env("GRAVEN_SOCKET", daemon.socket()).output().expect("graven runs");
        assert_eq!(code(output.status), 0, "{}", text(&output));
    }
    assert_eq!(process.0.try_wait().expect("ours"), None, "it was let go, and is nobody's");
    drop(process);
    assert_eq!(daemon.stop(), 0);
    assert!(has_mark(&ledger, "before"), "control: it was watched");
    ledger.assert_good();
}

/// Killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
