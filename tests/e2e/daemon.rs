//! The service: several ledgers, what is watched, how it changes, and how it ends.

mod followed;
mod rig;
mod seen;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::schema;
use crate::support::{EVENT, GRAVEN, Ledger, code, have_root, stderr, text};
use rig::{Cgroup, Daemon, free_port, http_get, wait_for};

/// Paths that a ledger's records of opened files name.
fn opened(ledger: &Ledger) -> Vec<String> {
    let records = ledger.records().into_iter().filter(|record| record["action"] == "openat");
    records.filter_map(|record| Some(record["subject"]["id"].as_str()?.to_owned())).collect()
}

fn actions(ledger: &Ledger, action: &str) -> Vec<Value> {
    ledger.records().into_iter().filter(|record| record["action"] == action).collect()
}

/// A mark that a process leaves: an open of a file that does not exist.
fn mark(name: &str) -> String {
    format!("cat /nonexistent/{name} 2> /dev/null || true")
}

fn has_mark(ledger: &Ledger, name: &str) -> bool {
    opened(ledger).contains(&format!("/nonexistent/{name}"))
}

/// The metrics of a daemon that has everything: a ring, a mirror, a watch, and synced records.
pub(crate) fn metrics_page() -> String {
    let (ledger, port) = (Ledger::new(), free_port());
    let settings = format!("mirror = \"{}\"\n", ledger.home().join("mirror").display())
        + &watch("ci", &format!("cgroups = [\"/{}\"]", Cgroup::name("metrics")));
    let more = format!("[metrics]\nlisten = \"127.0.0.1:{port}\"");
    let daemon = Daemon::start(&[(&ledger, &settings)], &more);
    let page = wait_for("a sync", || {
        let page = http_get(port, "/metrics");
        (!page.contains("graven_sync_seconds_count{ledger=\"one\"} 0")).then_some(page)
    });
    assert_eq!(daemon.stop(), 0);
    ledger.assert_good();
    page
}

fn watch(agent: &str, target: &str) -> String {
    format!("[[ledger.watch]]\nagent = \"{agent}\"\n{target}\n")
}

#[test]
fn tenants_stand_side_by_side_and_see_their_own_alone() {
    if !have_root("tenants") {
        return;
    }
    let (one, two) = (Ledger::new(), Ledger::new());
    let (left, right) = (Cgroup::new("left"), Cgroup::new("right"));
    let of = |agent, cgroup: &Cgroup| watch(agent, &format!("cgroups = [\"{}\"]", cgroup.below()));
    let daemon = Daemon::start(&[(&one, &of("ci", &left)), (&two, &of("bot", &right))], "");
    left.run(&mark("left"));
    right.run(&mark("right"));
    Command::new("sh").arg("-c").arg(mark("outside")).status().expect("sh runs");
    assert_eq!(daemon.stop(), 0);
    for (ledger, own, other, agent) in
        [(&one, "left", "right", "ci"), (&two, "right", "left", "bot")]
    {
        assert!(has_mark(ledger, own), "its own agent is on record");
        assert!(!has_mark(ledger, other) && !has_mark(ledger, "outside"), "and nobody else");
        let calls = ledger.records().into_iter().filter(|record| record["kind"] == "syscall");
        assert!(calls.map(|call| call["actor"]["id"].clone()).all(|id| id == agent));
        assert!(actions(ledger, "gap").is_empty());
        ledger.assert_good();
    }
}

#[test]
fn exec_and_append_hand_over() {
    if !have_root("handing over") {
        return;
    }
    let ledger = Ledger::new();
    let daemon = Daemon::start(&[(&ledger, "")], "");
    let socket = daemon.socket();
    let with = |args: &[&str]| {
        let mut command = ledger.command(args);
        command.env("GRAVEN_SOCKET", &socket);
        command
    };
    fs::write(ledger.home().join("events"), format!("{EVENT}\nnonsense\n{EVENT}\n"))
        .expect("events");
    let appended = with(&["append", "--receipts", "events"]).output().expect("graven runs");
    assert_eq!(code(appended.status), 2, "{}", text(&appended));
    assert!(stderr(&appended).contains("line 2: "), "{}", text(&appended));
    let receipts: Vec<Value> = String::from_utf8_lossy(&appended.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a receipt"))
        .collect();
    assert_eq!(receipts.iter().map(|it| it["line"].clone()).collect::<Vec<_>>(), [1, 3]);

    let script = format!("{}; exit 7", mark("handed-over"));
    let run = with(&["exec", "--summary", "--agent", "bot", "--", "sh", "-c", &script])
        .output()
        .expect("graven runs");
    assert_eq!(code(run.status), 7, "{}", text(&run));
    assert!(stderr(&run).contains("through the daemon"), "{}", text(&run));
    assert!(stderr(&run).contains("gaps        none"), "{}", text(&run));

    let refused = with(&["append", "--mirror", "x", "events"]).output().expect("graven runs");
    assert_eq!(code(refused.status), 2);
    assert!(
        stderr(&refused).contains("name the mirror in its configuration"),
        "{}",
        text(&refused)
    );
    assert_eq!(daemon.stop(), 0);

    assert!(has_mark(&ledger, "handed-over"));
    let records = ledger.records();
    for receipt in &receipts {
        let at = usize::try_from(receipt["seq"].as_u64().expect("an index")).expect("small");
        assert_eq!(records[at]["action"], "trade.amended");
    }
    ledger.assert_good();
}

#[test]
fn a_daemon_that_dies_takes_the_handed_over_command_along() {
    if !have_root("a daemon's death") {
        return;
    }
    let ledger = Ledger::new();
    let mut daemon = Daemon::start(&[(&ledger, "")], "");
    let mut client = ledger.command(&["exec", "--", "sh", "-c", "touch started; sleep 600"]);
    let client = client.env("GRAVEN_SOCKET", daemon.socket()).spawn().expect("graven starts");
    wait_for("the command", || ledger.home().join("started").exists().then_some(()));
    daemon.signal(Signal::KILL);
    let output = client.wait_with_output().expect("the client ends");
    assert_eq!(code(output.status), 125, "{}", text(&output));
    assert_eq!(daemon.wait(), None);
    let after = ledger.graven(&["exec", "--", "true"]);
    assert!(after.status.success(), "the ledger is taken up again: {}", text(&after));
    let gaps = actions(&ledger, "gap");
    assert!(gaps.iter().any(|gap| gap["gap"]["stage"] == "downtime"), "{gaps:?}");
    ledger.assert_good();
}

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
fn cgroups_units_and_programs_are_found_when_they_come() {
    if !have_root("late targets") {
        return;
    }
    let ledger = Ledger::new();
    let (late, unit) = (Cgroup::name("late"), format!("{}.service", Cgroup::name("unit")));
    let tool = ledger.home().join("tool");
    fs::copy("/bin/cat", &tool).expect("a program");
    let tool = tool.canonicalize().expect("its path");
    let settings = watch("late", &format!("cgroups = [\"/{late}\"]"))
        + &watch("unit", &format!("units = [\"{unit}\"]"))
        + &watch("tool", &format!("executables = [\"{}\"]", tool.display()));
    let daemon = Daemon::start(&[(&ledger, &settings)], "");
    assert!(daemon.waiting(&format!("/{late}")).is_some(), "control: it is not there yet");
    let late = Cgroup::named(&late);
    let slice = Cgroup::new("slice");
    let unit_name = unit;
    let unit = Cgroup::named(&format!("{}/{unit_name}", &slice.below()[1..]));
    wait_for("the cgroup", || daemon.waiting(&late.below()).is_none().then_some(()));
    wait_for("the unit", || daemon.waiting(&unit_name).is_none().then_some(()));
    late.run(&mark("late"));
    unit.run(&mark("unit"));
    // A child cgroup of a watched one is followed without a look-up.
    late.run(&format!(
        "mkdir {0}/child && sh -c 'echo $$ > {0}/child/cgroup.procs; {1}'; rmdir {0}/child || true",
        late.path().display(),
        mark("child")
    ));
    let script =
        format!("{} /nonexistent/tool 2> /dev/null || true; {}", tool.display(), mark("shell"));
    Command::new("sh").arg("-c").arg(script).status().expect("sh runs");
    assert_eq!(daemon.stop(), 0);
    for name in ["late", "unit", "child", "tool"] {
        assert!(has_mark(&ledger, name), "{name} is not on record");
    }
    assert!(!has_mark(&ledger, "shell"), "the shell that started the tool is not watched");
    ledger.assert_good();
}

#[test]
fn what_a_filter_leaves_out_is_counted_exactly() {
    if !have_root("filters") {
        return;
    }
    let ledger = Ledger::new();
    let cgroup = Cgroup::new("filter");
    let settings = watch(
        "ci",
        &format!(
            "cgroups = [\"{}\"]\nsyscalls = [\"openat\"]\nexclude_paths = [\"/nonexistent/hidden/**\"]",
            cgroup.below()
        ),
    );
    let daemon = Daemon::start(&[(&ledger, &settings)], "");
    let script = "import os\nfor i in range(1000): os.sched_get_priority_max(os.SCHED_FIFO)\nfor i in range(7):\n try: os.open('/nonexistent/hidden/x', 0)\n except OSError: pass\ntry: os.open('/nonexistent/seen', 0)\nexcept OSError: pass";
    fs::write(ledger.home().join("calls.py"), script).expect("a script");
    cgroup.run(&format!("exec python3 {}/calls.py", ledger.home().display()));
    assert_eq!(daemon.stop(), 0);
    assert!(has_mark(&ledger, "seen"), "control: what the filter lets through is there");
    let calls = ledger.records().into_iter().filter(|record| record["kind"] == "syscall");
    assert!(calls.map(|call| call["action"].clone()).all(|action| action == "openat"));
    assert!(!opened(&ledger).iter().any(|path| path.starts_with("/nonexistent/hidden")));
    let left_out = actions(&ledger, "capture.left_out");
    let sum = |pointer: &str| -> u64 {
        left_out.iter().filter_map(|record| record.pointer(pointer)?.as_u64()).sum()
    };
    assert_eq!(sum("/detail/by/filter/sched_get_priority_max"), 1_000, "{left_out:#?}");
    assert_eq!(sum("/detail/by/path/openat"), 7, "{left_out:#?}");
    ledger.assert_good();
}

#[test]
fn after_the_start_it_has_no_more_rights_than_it_needs() {
    if !have_root("privileges") {
        return;
    }
    let ledger = Ledger::new();
    let port = free_port();
    let daemon =
        Daemon::start(&[(&ledger, "")], &format!("[metrics]\nlisten = \"127.0.0.1:{port}\""));
    http_get(port, "/metrics");
    let mut confined = 0;
    for task in fs::read_dir(format!("/proc/{}/task", daemon.pid())).expect("its threads") {
        let status =
            fs::read_to_string(task.expect("a thread").path().join("status")).expect("a status");
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).expect(name);
            line.split_whitespace().nth(1).expect("a value").to_owned()
        };
        let held = u64::from_str_radix(&field("CapEff:"), 16).expect("a set");
        // CAP_KILL is 5, CAP_BPF is 39 (linux/capability.h).
        assert_eq!(held & !(1 << 5 | 1 << 39), 0, "{status}");
        assert_eq!(field("NoNewPrivs:"), "1", "{status}");
        confined += u32::from(field("Seccomp:") == "2");
    }
    assert_eq!(confined, 1, "the thread that serves metrics");
    let mode = fs::metadata(daemon.socket()).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(daemon.stop(), 0);
    ledger.assert_good();
}

#[test]
fn a_second_daemon_and_a_stranger_are_refused() {
    if !have_root("refusals") {
        return;
    }
    let ledger = Ledger::new();
    let daemon = Daemon::start(&[(&ledger, "")], "");
    let second = Command::new(GRAVEN)
        .arg("run")
        .arg("--config")
        .arg(Daemon::config(daemon.home.path()))
        .output()
        .expect("graven runs");
    assert_eq!(code(second.status), 2, "{}", text(&second));
    assert!(stderr(&second).contains("another daemon listens on"), "{}", text(&second));
    fs::set_permissions(daemon.home.path(), fs::Permissions::from_mode(0o755))
        .expect("open to all");
    // A copy, since the build's own directory may be closed to strangers.
    let copy = daemon.home.path().join("graven");
    fs::copy(GRAVEN, &copy).expect("a copy");
    let stranger = Command::new(&copy)
        .args(["status"])
        .env("GRAVEN_SOCKET", daemon.socket())
        .uid(65_534)
        .output()
        .expect("graven runs");
    assert!(stderr(&stranger).contains("is not for you"), "{}", text(&stranger));
    assert_eq!(code(daemon.graven(&["status"]).status), 0, "control: its owner is answered");
    assert_eq!(daemon.stop(), 0);
    let nobody = Command::new(GRAVEN)
        .arg("status")
        .env("GRAVEN_SOCKET", "/nonexistent/sock")
        .output()
        .expect("graven runs");
    assert!(
        stderr(&nobody).contains("no daemon answers at /nonexistent/sock"),
        "{}",
        text(&nobody)
    );
}

#[test]
fn the_service_manager_hears_how_it_goes() {
    if !have_root("notifications") {
        return;
    }
    let ledger = Ledger::new();
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).expect("a time-out");
    let daemon =
        Daemon::spawn(&[(&ledger, "")], "", &format!("export NOTIFY_SOCKET={}", path.display()));
    let hear = || {
        let mut bytes = [0; 256];
        let read = socket.recv(&mut bytes).expect("word from the daemon");
        String::from_utf8_lossy(&bytes[..read]).trim().to_owned()
    };
    assert_eq!(hear(), "READY=1");
    assert_eq!(hear(), "WATCHDOG=1");
    assert_eq!(daemon.stop(), 0);
    assert_eq!(
        std::iter::repeat_with(hear).find(|word| word != "WATCHDOG=1").as_deref(),
        Some("STOPPING=1")
    );
}

#[test]
fn a_graph_that_failed_is_rebuilt() {
    if !have_root("a rebuild") {
        return;
    }
    let ledger = Ledger::new();
    // Too few threads are allowed for the graph's stages, as on a machine that has run out of them.
    let cramped = Cgroup::of_pids("cramped");
    fs::write(cramped.path().join("pids.max"), "6").expect("the pids controller");
    let enter = format!("echo $$ > {}/cgroup.procs", cramped.path().display());
    let daemon = Daemon::spawn(&[(&ledger, "")], "", &enter);
    let down = wait_for("the failure", || {
        let output = daemon.graven(&["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        status["ledgers"][0]["down"].as_str().map(str::to_owned)
    });
    assert!(down.contains("thread"), "{down}");
    fs::write(cramped.path().join("pids.max"), "max").expect("room");
    wait_for("the rebuilt graph", || daemon.status()["ledgers"][0]["down"].is_null().then_some(()));
    assert!(daemon.status()["ledgers"][0]["rebuilds"].as_u64() >= Some(1));
    let events = ledger.home().join("events");
    fs::write(&events, EVENT).expect("an event");
    let appended = ledger
        .command(&["append", "events"])
        .env("GRAVEN_SOCKET", daemon.socket())
        .output()
        .expect("graven runs");
    assert!(appended.status.success(), "{}", text(&appended));
    assert_eq!(daemon.stop(), 0);
    ledger.assert_good();
}

#[test]
fn a_ledger_that_cannot_be_written_is_down_alone_and_comes_back() {
    if !have_root("a full disk") {
        return;
    }
    let (full, other) = (Ledger::new(), Ledger::new());
    let disk = full.home().join("disk");
    fs::create_dir(&disk).expect("a mount point");
    // In a mount namespace of its own: the daemon alone sees the small disk.
    let before = format!(
        "[ -n \"$INSIDE\" ] || INSIDE=1 exec unshare --mount sh -c \"$(cat {0}/enter)\" \"$0\"",
        full.home().display()
    );
    let enter = format!(
        "mount -t tmpfs -o size=6m none {1} && cp -r {0} {1}/ledger && head -c 4m /dev/zero > {1}/filler && mount --bind {1}/ledger {0} && exec {GRAVEN} run --config \"$0\"",
        full.path().display(),
        disk.display()
    );
    fs::write(full.home().join("enter"), enter).expect("a script");
    let daemon = Daemon::spawn(&[(&full, ""), (&other, "")], "", &before);
    wait_for("the daemon", || daemon.graven(&["status"]).status.code().filter(|code| *code < 2));
    let inside = |path: &std::path::Path| {
        PathBuf::from(format!("/proc/{}/root{}", daemon.pid(), path.display()))
    };
    let events = full.home().join("events");
    fs::write(&events, format!("{EVENT}\n").repeat(20_000)).expect("events");
    let small = other.home().join("events");
    fs::write(&small, EVENT).expect("an event");
    let socket = daemon.socket();
    let append = |ledger: &Ledger, file: &std::path::Path| {
        let mut command = ledger.command(&["append", "--receipts", "--ledger"]);
        command.arg(ledger.path()).arg(file).env("GRAVEN_SOCKET", &socket);
        command.output().expect("graven runs")
    };
    let appended = append(&full, &events);
    assert!(!appended.status.success(), "the disk holds a part of it: {}", text(&appended));
    let down = wait_for("the failure", || {
        daemon.status()["ledgers"][0]["down"].as_str().map(str::to_owned)
    });
    assert!(down.contains("No space left on device"), "{down}");
    let control = append(&other, &small);
    assert!(control.status.success(), "the other goes on: {}", text(&control));
    let receipts = String::from_utf8_lossy(&appended.stdout).lines().count();

    fs::remove_file(inside(&disk.join("filler"))).expect("room again");
    wait_for("the ledger", || daemon.status()["ledgers"][0]["down"].is_null().then_some(()));
    let again = append(&full, &small);
    assert!(again.status.success(), "{}", text(&again));
    let copied = full.home().join("copied");
    let copy = Command::new("cp").arg("-r").arg(inside(&full.path())).arg(&copied).status();
    assert!(copy.expect("cp runs").success());
    assert_eq!(daemon.stop(), 0);
    let verdict = full.graven(&["verify", "copied", "--key", "ledger.vkey"]);
    assert!(verdict.status.success(), "{}", text(&verdict));
    let kept = fs::read_dir(copied.join("segments")).expect("segments");
    let kept: usize = kept
        .map(|entry| fs::read_to_string(entry.expect("a file").path()).expect("text"))
        .map(|text| text.matches("trade.amended").count())
        .sum();
    assert!(
        kept > receipts,
        "{kept} events stand, {receipts} were acknowledged, and one more since"
    );
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

/// A command that leaves one mark, waits for a sign, and leaves another.
fn two_marks(ledger: &Ledger) -> String {
    let home = ledger.home().display();
    format!(
        "{}; touch {home}/at-it; while [ ! -e {home}/go ]; do sleep 0.02; done; {}",
        mark("early"),
        mark("late")
    )
}

#[test]
fn a_reload_loses_no_call_of_a_command_that_runs() {
    if !have_root("a reload under a command") {
        return;
    }
    let ledger = Ledger::new();
    let daemon = Daemon::start(&[(&ledger, "")], "");
    let mut client = ledger.command(&["exec", "--", "sh", "-c", &two_marks(&ledger)]);
    let mut client = client.env("GRAVEN_SOCKET", daemon.socket()).spawn().expect("graven starts");
    wait_for("the command", || ledger.home().join("at-it").exists().then_some(()));
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
fn a_service_that_stops_takes_its_commands_along_and_records_their_end() {
    if !have_root("a stop under a command") {
        return;
    }
    let ledger = Ledger::new();
    let daemon = Daemon::start(&[(&ledger, "")], "");
    let mut client = ledger.command(&["exec", "--", "sh", "-c", &two_marks(&ledger)]);
    let mut client = client.env("GRAVEN_SOCKET", daemon.socket()).spawn().expect("graven starts");
    wait_for("the command", || ledger.home().join("at-it").exists().then_some(()));
    assert_eq!(daemon.stop(), 0);
    assert!(!client.wait().expect("it ends").success(), "the command was killed");
    fs::write(ledger.home().join("go"), "").expect("a sign");
    assert!(has_mark(&ledger, "early") && !has_mark(&ledger, "late"));
    let killed = actions(&ledger, "process.exited");
    assert!(
        killed.iter().any(|it| it["detail"]["signal"] == 9),
        "its end is on record: {killed:#?}"
    );
    assert!(actions(&ledger, "gap").is_empty());
    ledger.assert_good();
}

#[test]
fn a_command_that_is_to_go_on_is_recorded_to_its_end() {
    if !have_root("a command that goes on") {
        return;
    }
    let ledger = Ledger::new();
    let daemon = Daemon::start(&[(&ledger, "")], "");
    let script = format!("{}; touch over", two_marks(&ledger));
    let mut client = ledger.command(&["exec", "--keep-going", "--", "sh", "-c", &script]);
    let mut client = client.env("GRAVEN_SOCKET", daemon.socket()).spawn().expect("graven starts");
    wait_for("the command", || ledger.home().join("at-it").exists().then_some(()));
    client.kill().expect("it runs");
    client.wait().expect("it ends");
    fs::write(ledger.home().join("go"), "").expect("a sign");
    wait_for("the command's end", || ledger.home().join("over").exists().then_some(()));
    assert_eq!(daemon.stop(), 0);
    assert!(has_mark(&ledger, "early") && has_mark(&ledger, "late"));
    ledger.assert_good();
}

#[test]
fn nothing_that_is_asked_brings_the_service_down() {
    if !have_root("bad requests") {
        return;
    }
    let ledger = Ledger::new();
    let daemon = Daemon::start(&[(&ledger, "")], "");
    let cgroup = Cgroup::new("asked");
    let inode = fs::metadata(cgroup.path()).expect("a cgroup").ino();
    let good = serde_json::json!({
        "ask": "watch", "ledger": ledger.path().canonicalize().expect("a path"), "agent": "a",
        "trace_id": "6f9619ff-8b86-4011-b42d-00cf4fc964ff", "cgroup": cgroup.path(), "cgroup_id": inode,
        "keep_going": false,
    });
    let ask = |bytes: &[u8]| {
        let mut stream = UnixStream::connect(daemon.socket()).expect("it listens");
        stream.write_all(bytes).expect("it reads");
        let mut line = String::new();
        BufReader::new(stream.try_clone().expect("a descriptor"))
            .read_line(&mut line)
            .expect("an answer");
        (stream, line)
    };
    let ask_with = |name: &str, value: Value| {
        let mut request = good.clone();
        request["trace_id"] = "6f9619ff-8b86-4011-b42d-00cf4fc96500".into();
        request[name] = value;
        ask(format!("{request}\n").as_bytes()).1
    };
    let (held, answer) = ask(format!("{good}\n").as_bytes());
    assert!(answer.contains("ready"), "control: {answer}");
    assert!(ask(format!("{good}\n").as_bytes()).1.contains("at work already"));
    drop(held);
    wait_for("the watch's end", || {
        let (stream, answer) = ask(format!("{good}\n").as_bytes());
        drop(stream);
        answer.contains("ready").then_some(())
    });
    let up = cgroup.path().join("../../../../../etc");
    for (name, value, why) in [
        ("cgroup", up.to_str().expect("text").into(), "is no cgroup below"),
        ("cgroup", "/etc".into(), "is no cgroup below"),
        (
            "cgroup",
            cgroup.path().join("none").to_str().expect("text").into(),
            "is not the same cgroup",
        ),
        ("cgroup_id", 1.into(), "is not the same cgroup"),
        ("trace_id", "no uuid".into(), "no UUID"),
        ("agent", "".into(), "bytes: use 1 to"),
        ("agent", "x".repeat(5_000).into(), "bytes: use 1 to"),
        ("ledger", "/nonexistent".into(), "is none of the daemon's ledgers"),
        ("colour", "red".into(), "none that this version knows"),
    ] {
        let answer = ask_with(name, value);
        assert!(answer.contains("failed") && answer.contains(why), "{name}: {answer}");
    }
    for garbage in [&b"\n"[..], b"{\n", b"\xff\xfe\n", &vec![b'x'; 70_000]] {
        assert!(ask(garbage).1.contains("failed"));
    }
    assert_eq!(code(daemon.graven(&["status"]).status), 0);
    assert_eq!(daemon.stop(), 0);
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
fn who_runs_already_is_found_and_followed() {
    if !have_root("the inventory") {
        return;
    }
    let ledger = Ledger::new();
    let cgroup = Cgroup::new("running");
    let go = ledger.home().join("go");
    let script = format!("while [ ! -e {} ]; do sleep 0.05; done; {}", go.display(), mark("after"));
    let mut early =
        cgroup.script(&format!("{}; {script}", mark("before"))).spawn().expect("sh runs");
    let settings = watch("ci", &format!("cgroups = [\"{}\"]", cgroup.below()));
    wait_for("the first mark", || Some(()).filter(|()| cgroup.is_populated()));
    let daemon = Daemon::start(&[(&ledger, &settings)], "");
    fs::write(&go, "").expect("a sign");
    assert!(early.wait().expect("it ends").success());
    assert_eq!(daemon.stop(), 0);
    assert!(has_mark(&ledger, "after"), "it is followed from the start of the daemon on");
    let pid = Value::from(early.id());
    let found = actions(&ledger, "process.found");
    let own: Vec<_> = found.iter().filter(|record| record["process"]["pid"] == pid).collect();
    assert_eq!(own.len(), 1, "{found:#?}");
    assert_eq!(own[0]["detail"]["reason"], "inventory");
    assert_eq!(own[0]["detail"]["argv"][0], "sh");
    ledger.assert_good();
}

#[test]
fn an_excluded_cgroup_is_counted_and_not_recorded() {
    if !have_root("an exclusion") {
        return;
    }
    let ledger = Ledger::new();
    let outer = Cgroup::new("outer");
    let inner = Cgroup::named(&format!("{}/inner", &outer.below()[1..]));
    let targets =
        format!("cgroups = [\"{}\"]\nexclude_cgroups = [\"{}\"]", outer.below(), inner.below());
    let daemon = Daemon::start(&[(&ledger, &watch("ci", &targets))], "");
    inner.run(&mark("inside"));
    outer.run(&mark("outside"));
    assert_eq!(daemon.stop(), 0);
    assert!(has_mark(&ledger, "outside"), "control: around the exclusion all is recorded");
    assert!(!has_mark(&ledger, "inside"));
    let left_out = actions(&ledger, "capture.left_out");
    let opens: u64 =
        left_out.iter().filter_map(|it| it.pointer("/detail/by/filter/openat")?.as_u64()).sum();
    assert!(opens > 0, "{left_out:#?}");
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

#[test]
fn idle_connections_to_the_metrics_starve_nobody() {
    if !have_root("metrics under siege") {
        return;
    }
    let (ledger, port) = (Ledger::new(), free_port());
    let more = format!("[metrics]\nlisten = \"127.0.0.1:{port}\"");
    let daemon = Daemon::start(&[(&ledger, "")], &more);
    http_get(port, "/metrics");
    let descriptors =
        || fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("its descriptors").count();
    let before = descriptors();
    let idle: Vec<_> = (0..150)
        .map(|_| std::net::TcpStream::connect(("127.0.0.1", port)).expect("a backlog"))
        .collect();
    wait_for("some of them", || (descriptors() > before + 10).then_some(()));
    assert!(descriptors() < before + 50, "{} descriptors more", descriptors() - before);
    // Each is cut in its time, and whoever waits behind them is served.
    assert!(http_get(port, "/metrics").contains("graven_up"));
    drop(idle);
    assert_eq!(daemon.stop(), 0);
    ledger.assert_good();
}
