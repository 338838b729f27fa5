//! Changes of the configuration under way.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use super::rig::{Cgroup, Daemon, wait_for};
use super::{actions, has_mark, mark, opened, two_marks, watch};
use crate::schema;
use crate::support::{EVENT, Ledger, code, have_root, stderr, text};

#[test]
fn a_reload_changes_everything_or_nothing() {
    if !have_root("a reload") {
        return;
    }
    let (ledger, other) = (Ledger::new(), Ledger::new());
    let cgroup = Cgroup::new("reload");
    let daemon = Daemon::start(&[(&ledger, "")], "");
    cgroup.run(&mark("before"));
    let settings = watch("ci", &format!("cgroups = [\"{}\"]", cgroup.below()));

    // A control: a file with a mistake changes nothing.
    daemon.reconfigure(&[(&ledger, &settings.replace("agent", "agnet"))], "");
    let refused = daemon.graven(&["reload"]);
    assert_eq!(code(refused.status), 2, "{}", text(&refused));
    assert!(stderr(&refused).contains("agnet"), "{}", text(&refused));
    // Nor does one whose second ledger is none.
    fs::rename(other.path(), other.home().join("elsewhere")).expect("moved");
    daemon.reconfigure(&[(&ledger, &settings), (&other, "")], "");
    let refused = daemon.graven(&["reload"]);
    assert!(stderr(&refused).contains("nothing was changed"), "{}", text(&refused));
    cgroup.run(&mark("between"));
    fs::rename(other.home().join("elsewhere"), other.path()).expect("moved back");

    let applied = daemon.graven(&["reload"]);
    assert_eq!(code(applied.status), 0, "{}", text(&applied));
    let printed = String::from_utf8_lossy(&applied.stdout).into_owned();
    assert!(printed.contains("ledger \"two\""), "{printed}");
    let hash = daemon.status()["config_sha256"].as_str().expect("a hash").to_owned();
    assert!(printed.contains(&hash), "{printed}");
    cgroup.run(&mark("after"));

    // SIGHUP does the same.
    daemon.reconfigure(&[(&ledger, &settings)], "");
    daemon.signal(Signal::HUP);
    wait_for("one ledger", || (daemon.status()["ledgers"].as_array()?.len() == 1).then_some(()));
    assert_eq!(daemon.stop(), 0);

    assert!(
        has_mark(&ledger, "after") && !has_mark(&ledger, "before") && !has_mark(&ledger, "between")
    );
    let news = actions(&ledger, "config.applied");
    assert!(news.iter().any(|record| record["detail"]["sha256"] == hash.as_str()), "{news:#?}");
    schema::assert_valid(&ledger.path());
    ledger.assert_good();
    other.assert_good();
}

#[test]
fn a_watch_may_move_from_one_ledger_to_another() {
    if !have_root("a moved watch") {
        return;
    }
    let (one, two) = (Ledger::new(), Ledger::new());
    let cgroup = Cgroup::new("moving");
    let target = watch("ci", &format!("cgroups = [\"{}\"]", cgroup.below()));
    let daemon = Daemon::start(&[(&one, ""), (&two, &target)], "");
    cgroup.run(&mark("first"));
    // To a ledger that comes earlier, and back.
    daemon.reconfigure(&[(&one, &target), (&two, "")], "");
    assert_eq!(code(daemon.graven(&["reload"]).status), 0);
    cgroup.run(&mark("second"));
    daemon.reconfigure(&[(&one, ""), (&two, &target)], "");
    assert_eq!(code(daemon.graven(&["reload"]).status), 0);
    cgroup.run(&mark("third"));
    assert_eq!(daemon.stop(), 0);
    let marks = |ledger: &Ledger| ["first", "second", "third"].map(|name| has_mark(ledger, name));
    assert_eq!(marks(&two), [true, false, true]);
    assert_eq!(marks(&one), [false, true, false]);
    one.assert_good();
    two.assert_good();
}

#[test]
fn a_reload_loses_no_call_of_a_command_that_runs() {
    if !have_root("a reload under a command") {
        return;
    }
    let ledger = Ledger::new();
    let daemon = Daemon::start(&[(&ledger, "")], "");
    let mut client = daemon.exec(&ledger, &[], &two_marks(&ledger));
    daemon.reconfigure(&[(&ledger, "heartbeat_s = 30")], "");
    let reloaded = daemon.graven(&["reload"]);
    assert_eq!(code(reloaded.status), 0, "{}", text(&reloaded));
    fs::write(ledger.home().join("go"), "").expect("a sign");
    assert!(client.wait().expect("it ends").success());
    assert_eq!(daemon.stop(), 0);
    assert!(has_mark(&ledger, "early") && has_mark(&ledger, "late"));
    assert_eq!(actions(&ledger, "pipeline.started").len(), 2, "the graph began anew");
    assert_eq!(actions(&ledger, "gap"), [] as [Value; 0]);
    ledger.assert_good();
}

#[test]
fn what_is_appended_across_a_reload_is_kept_or_refused() {
    let ledger = Ledger::new();
    let daemon = Daemon::start(&[(&ledger, "")], "");
    let mut client = ledger.command(&["append", "--receipts"]);
    let client = client.env("GRAVEN_SOCKET", daemon.socket());
    let mut client = client
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("graven starts");
    let mut feed = client.stdin.take().expect("a pipe");
    writeln!(feed, "{EVENT}").expect("it reads");
    wait_for("the first", || (actions(&ledger, "trade.amended").len() == 1).then_some(()));
    daemon.reconfigure(&[(&ledger, "heartbeat_s = 30")], "");
    assert_eq!(code(daemon.graven(&["reload"]).status), 0);
    writeln!(feed, "{EVENT}").expect("it reads");
    drop(feed);
    let output = client.wait_with_output().expect("it ends");
    assert_eq!(daemon.stop(), 0);
    let (kept, told) = (
        actions(&ledger, "trade.amended").len(),
        output.stdout.split(|it| *it == b'\n').count() - 1,
    );
    assert_eq!(kept, told, "what is kept is acknowledged: {}", text(&output));
    assert!(
        kept == 2 || !output.status.success(),
        "and what is not is no success: {}",
        text(&output)
    );
    ledger.assert_good();
}

#[test]
fn a_watch_changes_under_way_without_a_moment_unwatched() {
    if !have_root("a changed watch") {
        return;
    }
    let ledger = Ledger::new();
    let cgroup = Cgroup::new("changing");
    let tool = ledger.home().canonicalize().expect("its path").join("tool");
    fs::copy("/bin/sh", &tool).expect("a program");
    let with = |more: &str| {
        let targets =
            format!("cgroups = [\"{}\"]\nexecutables = [\"{}\"]", cgroup.below(), tool.display());
        watch("ci", &format!("{targets}\n{more}"))
    };
    let daemon = Daemon::start(&[(&ledger, &with(""))], "");
    // Each opens a file of the next number, again and again, until it is told to stop; not so fast that the
    // recorder falls behind.
    let home = ledger.home().display();
    let script = |name: &str| {
        format!(
            "i=0; while [ ! -e {home}/go ]; do i=$((i+1)); true < /nonexistent/{name}-$i; j=0; while [ $j -lt 2000 ]; do j=$((j+1)); done; done 2> /dev/null; echo $i > {home}/{name}; true"
        )
    };
    let mut inside = cgroup.script(&script("inside")).spawn().expect("sh runs");
    let mut executed =
        Command::new(&tool).args(["-c", &script("executed")]).spawn().expect("it runs");
    wait_for("both", || {
        (has_mark(&ledger, "inside-9") && has_mark(&ledger, "executed-9")).then_some(())
    });
    for more in
        ["exec_env = [\"HOME\"]", "exclude_paths = [\"/proc/**\"]", "syscalls = [\"openat\"]"]
    {
        daemon.reconfigure(&[(&ledger, &with(more))], "");
        let reloaded = daemon.graven(&["reload"]);
        assert_eq!(code(reloaded.status), 0, "{}", text(&reloaded));
    }
    fs::write(ledger.home().join("go"), "").expect("a sign");
    assert!(
        inside.wait().expect("it ends").success() && executed.wait().expect("it ends").success()
    );
    assert_eq!(daemon.stop(), 0);
    let opened: std::collections::HashSet<String> = opened(&ledger).into_iter().collect();
    assert!(actions(&ledger, "gap").is_empty(), "{:#?}", actions(&ledger, "gap"));
    for name in ["inside", "executed"] {
        let last = fs::read_to_string(ledger.home().join(name)).expect("a number");
        let last: u32 = last.trim().parse().expect("a number");
        // The first may have been made before the daemon saw the cgroup's task, never the later ones.
        let missing: Vec<u32> =
            (2..=last).filter(|i| !opened.contains(&format!("/nonexistent/{name}-{i}"))).collect();
        assert!(missing.is_empty(), "{name}: {} of {last} are missing: {missing:?}", missing.len());
    }
    ledger.assert_good();
}
