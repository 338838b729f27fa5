//! The service: several ledgers, what is watched, how it changes, and how it ends.

mod budget;
mod clients;
mod failures;
mod followed;
pub(crate) mod release;
mod reload;
pub(crate) mod rig;
mod seen;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use serde_json::Value;

use crate::support::{Ledger, have_root};
use rig::{Cgroup, Daemon, free_port, http_get, wait_for};

/// Paths that a ledger's records of opened files name.
fn opened(ledger: &Ledger) -> Vec<String> {
    let records = ledger.records().into_iter().filter(|record| record["action"] == "openat");
    records.filter_map(|record| Some(record["subject"]["id"].as_str()?.to_owned())).collect()
}

pub(crate) fn actions(ledger: &Ledger, action: &str) -> Vec<Value> {
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
