//! What the kernel says, on the record in words; both verifiers and the schema agree on each.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use globset::{Glob, GlobSetBuilder};
use graven_abi::encode::{self, ItemSpec};
use graven_abi::layout::{
    CallBody, CgroupBody, ExecBody, ItemHeader, MovedBody, TaskBody, item_flag, item_kind, reason,
};
use graven_abi::{CpuCounters, Header};
use graven_stages::{Intake, KernelSource, Raw, Watched};
use serde_json::{Value, json};

use crate::support::{Home, agent, agents, header};

const OPENAT: u32 = 257;
const RENAME: u32 = 82;
const CALLS: usize = graven_abi::layout::PLANS;
const GETPPID: usize = 110;
const AT_FDCWD: u64 = (-100_i64).cast_unsigned();

fn item(arg: u8, kind: u8, flags: u16, bytes: &[u8]) -> ItemSpec<'_> {
    (ItemHeader { arg, kind, err: 0, len: 0, flags }, bytes)
}

fn call(header: Header, nr: u32, args: [u64; 6], items: &[ItemSpec<'_>]) -> Vec<u8> {
    let exit_ns = header.entry_ns + 7;
    encode::call(header, CallBody { exit_ns, ret: 0, args, nr, arch: 1, items_bytes: 0 }, items)
}

fn open(header: Header, path: &str) -> Vec<u8> {
    let path = [item(1, item_kind::STRING, 0, path.as_bytes())];
    call(header, OPENAT, [AT_FDCWD, 9, 0, 0, 0, 0], &path)
}

fn exec(header: Header, items: &[ItemSpec<'_>]) -> Vec<u8> {
    encode::exec(header, ExecBody { old_tid: header.tid, items_bytes: 0 }, items)
}

/// A source that finds the root alone: what else has a name, it was told.
fn source() -> KernelSource {
    KernelSource::new(agents(), Box::new(|id| (id == 1).then(|| b"/".to_vec())))
}

fn submit(intake: &Intake, source: &mut KernelSource) {
    intake.submit(Raw::Kernel(source.take().unwrap())).unwrap();
}

/// Records what `source` was given, and ends it.
fn finish(intake: &Intake, mut source: KernelSource) {
    submit(intake, &mut source);
    intake.record(source.finish()).unwrap();
}

/// The ledger's records from the kernel and of what it left out, after all three judges have agreed.
fn judged(home: &Home) -> Vec<Value> {
    let records = home.assert_good();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let schema = fs::read(root.join("schemas/record.schema.json")).unwrap();
    let schema = serde_json::from_slice(&schema).unwrap();
    let schema = jsonschema::draft202012::new(&schema).unwrap();
    for record in &records {
        if let Some(error) = schema.iter_errors(record).next() {
            panic!("at `{}`: {error}\n{record:#}", error.instance_path());
        }
    }
    let second = Command::new("python3")
        .arg(root.join("tests/second_verifier/verify.py"))
        .arg(home.ledger())
        .arg("--key")
        .arg(home.dir.path().join("ledger.vkey"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stdout);
    assert!(second.status.success() && !said.contains("unknown"), "{said}");
    let of_capture =
        |record: &Value| record["source"] == "kernel" || record["subject"]["kind"] == "capture";
    records.into_iter().filter(of_capture).collect()
}

#[test]
fn each_watch_has_its_own_agent() {
    let home = Home::new();
    home.run(Vec::new(), |intake| {
        let agents = agents();
        agents.set(5, Watched::new(agent("builder"), "graven run"));
        let mut source = KernelSource::new(agents.clone(), Box::new(|_| Some(b"/".to_vec())));
        for (seq, watch) in (0..).zip([0, 5, 9]) {
            source.push(&open(Header { watch, ..header(0, seq) }, "/f"));
        }
        agents.remove(5);
        source.push(&open(Header { watch: 5, ..header(0, 3) }, "/f"));
        finish(&intake, source);
    });
    let actors: Vec<_> = judged(&home).iter().map(|it| it["actor"].clone()).collect();
    assert_eq!(
        actors,
        [
            json!({"id": "agent", "kind": "agent", "via": "graven exec"}),
            json!({"id": "builder", "kind": "agent", "via": "graven run"}),
            json!({"id": "unregistered watch 9", "kind": "agent"}),
            json!({"id": "unregistered watch 5", "kind": "agent"}),
        ]
    );
}

#[test]
fn a_process_has_what_says_something_and_nothing_else() {
    let own = |name: &str| {
        let ino = fs::metadata(format!("/proc/self/ns/{name}")).unwrap().ino();
        u32::try_from(ino).unwrap()
    };
    let (mnt_ns, net_ns, pid_ns) = (own("mnt"), own("net"), own("pid"));
    let ordinary = Header { mnt_ns, net_ns, pid_ns, ..header(0, 0) };
    let home = Home::new();
    home.run(Vec::new(), move |intake| {
        let mut source = KernelSource::new(
            agents(),
            Box::new(|id| match id {
                1 => Some(b"/system.slice/sshd.service".to_vec()),
                _ => Some([&b"/docker/"[..], &[b'7'; 64]].concat()),
            }),
        );
        source.push(&open(ordinary, "/f"));
        let other = Header {
            euid: 1,
            egid: 2,
            mnt_ns: mnt_ns + 1,
            net_ns: net_ns + 1,
            pid_ns: pid_ns + 1,
            cgroup_id: 2,
            seq: 1,
            ..ordinary
        };
        source.push(&open(other, "/f"));
        source.push(&open(Header { mnt_ns: 0, net_ns: 0, seq: 2, ..ordinary }, "/f"));
        finish(&intake, source);
    });
    let records = judged(&home);
    let members = |at: usize| records[at]["process"].as_object().unwrap().clone();
    let mut expected = json!({
        "cgroup": "/system.slice/sshd.service", "comm": "agent", "executable": "", "gid": 0,
        "pid": 4_000_000, "ppid": 1, "tid": 4_000_000, "uid": 0,
    });
    assert_eq!(Value::from(members(0)), expected);
    assert_eq!(Value::from(members(2)), expected, "a namespace that is gone is none");
    expected["cgroup"] = format!("/docker/{}", "7".repeat(64)).into();
    expected["container"] = format!("docker://{}", "7".repeat(64)).into();
    for (name, value) in [("euid", 1), ("egid", 2)] {
        expected[name] = value.into();
    }
    for (name, own) in [("mnt_ns", mnt_ns), ("net_ns", net_ns), ("pid_ns", pid_ns)] {
        expected[name] = (own + 1).into();
    }
    assert_eq!(Value::from(members(1)), expected);
    let started = home.assert_good();
    let started = started.iter().find(|it| it["action"] == "pipeline.started").unwrap();
    let namespaces = json!({"mnt": mnt_ns, "net": net_ns, "pid": pid_ns});
    assert_eq!(started["detail"]["host"]["namespaces"], namespaces);
}

#[test]
fn tasks_that_are_found_and_moved_are_on_the_record() {
    let home = Home::new();
    home.run(Vec::new(), |intake| {
        let mut source = source();
        let namespaces = Header { mnt_ns: 5, net_ns: 6, pid_ns: 7, ..header(0, 0) };
        let body = TaskBody { reason: reason::JOINED, items_bytes: 0, start_ns: u64::MAX };
        let program = item(0, item_kind::EXE, 0, b"agent\0bin\0");
        let argv = item(0, item_kind::ARGV, item_flag::TRUNCATED, b"agent\0-\xff\0cut");
        source.push(&encode::task(namespaces, body, &[program, argv]));
        let body = TaskBody { reason: reason::INVENTORY, ..body };
        source.push(&encode::task(header(0, 1), body, &[]));
        let made = CgroupBody { cgroup_id: 20, parent_id: 1, made: 1, items_bytes: 0 };
        let name = [item(0, item_kind::STRING, 0, b"below\xff")];
        source.push(&encode::cgroup(header(0, 2), made, &name));
        let moved = MovedBody { from_cgroup: 1, to_cgroup: 20 };
        source.push(&encode::moved(Header { cgroup_id: 20, ..header(0, 3) }, moved));
        // It comes in no path that can be looked up, and is gone before its last record.
        source.push(&open(Header { cgroup_id: 20, ..header(0, 4) }, "/f"));
        let outsider = Header { pid: 4_000_009, tid: 4_000_009, ..header(0, 5) };
        source.push(&encode::cgroup(outsider, CgroupBody { made: 0, ..made }, &name));
        source.push(&open(Header { cgroup_id: 20, ..header(0, 6) }, "/f"));
        finish(&intake, source);
    });
    let records = judged(&home);
    let actions: Vec<_> = records.iter().map(|it| it["action"].as_str().unwrap()).collect();
    let expected = [
        "process.found",
        "process.found",
        "cgroup.made",
        "process.moved",
        "openat",
        "cgroup.removed",
        "openat",
    ];
    assert_eq!(actions, expected);
    assert_eq!(
        records[0]["detail"],
        json!({
            "argv": ["agent", {"b64": "Lf8="}, "cut"],
            "argv_truncated": true,
            "cgroup_id": 1,
            "namespaces": {"mnt": 5, "net": 6, "pid": 7},
            "reason": "joined",
            "start_boottime_ns": u64::MAX.to_string(),
        })
    );
    assert_eq!(records[1]["process"]["executable"], "/bin/agent", "it stays known");
    assert_eq!(records[1]["detail"]["reason"], "inventory");
    assert_eq!(records[1]["detail"].get("argv"), None);
    // "/below" and a byte that is no UTF-8.
    let below = json!({"b64": "L2JlbG93/w=="});
    let cgroup = json!({"id": 20, "parent": 1, "path": below});
    assert_eq!(records[2]["detail"], cgroup);
    assert_eq!(records[2]["subject"], json!({"id": below, "kind": "cgroup"}));
    assert_eq!(records[2]["actor"]["id"], "agent");
    let from_to = json!({"from": {"id": 1, "path": "/"}, "to": {"id": 20, "path": below}});
    assert_eq!(records[3]["detail"], from_to);
    assert_eq!(records[5]["detail"], cgroup);
    assert_eq!(records[5]["actor"], json!({"id": "host", "kind": "system"}), "no agent's doing");
    for record in [&records[3], &records[4], &records[6]] {
        assert_eq!(record["process"]["cgroup"], below, "{record}");
    }
}

#[test]
fn only_the_chosen_variables_reach_the_ledger() {
    const BLOCK: &[u8] = b"PATH=/bin\0SECRET=hunter2\0LANG=\xff\0PATH2=no\0TERM=a\0TERM=b\0PATH";
    let home = Home::new();
    home.run(Vec::new(), |intake| {
        let agents = agents();
        let mut watched = Watched::new(agent("builder"), "graven run");
        watched.environment = ["PATH", "LANG", "TERM", "UNSET"].map(str::to_owned).into();
        agents.set(1, watched);
        let mut source = KernelSource::new(agents, Box::new(|_| Some(b"/".to_vec())));
        let block = |flags| [item(0, item_kind::ENV, flags, BLOCK)];
        let chosen = Header { watch: 1, ..header(0, 0) };
        source.push(&exec(chosen, &block(item_flag::TRUNCATED)));
        source.push(&exec(Header { seq: 1, ..chosen }, &[]));
        source.push(&exec(header(0, 2), &block(0)));
        // A block that says more than a record holds.
        let long = [&b"LANG="[..], &vec![1; 20_000]].concat();
        source.push(&exec(Header { seq: 3, ..chosen }, &[item(0, item_kind::ENV, 0, &long)]));
        finish(&intake, source);
    });
    let details: Vec<_> = judged(&home).iter().map(|it| it["detail"].clone()).collect();
    let old_tid = 4_000_000;
    assert_eq!(
        details,
        [
            json!({
                "env": {"LANG": {"b64": "/w=="}, "PATH": "/bin", "TERM": ["a", "b"]},
                "env_truncated": true,
                "old_tid": old_tid,
            }),
            json!({"old_tid": old_tid}),
            json!({"old_tid": old_tid}),
            json!({"env_truncated": true, "old_tid": old_tid}),
        ]
    );
    let ledger = fs::read(home.ledger().join("segments/00000000000000000000.jsonl")).unwrap();
    assert!(!String::from_utf8(ledger).unwrap().contains("hunter2"));
}

/// Of the calls that were made each is recorded or counted, by the kernel or by its path, and nothing that
/// may lie elsewhere is left out.
#[test]
fn what_is_left_out_is_counted_to_the_last_call() {
    const LEFT_OUT: u64 = 3_000;
    let home = Home::new();
    home.run(Vec::new(), |intake| {
        let agents = agents();
        let mut watched = Watched::new(agent("builder"), "graven run");
        let globs = ["/cache/**", "/tmp/*.o"].map(|glob| Glob::new(glob).unwrap());
        let mut excluded = GlobSetBuilder::new();
        for glob in globs {
            excluded.add(glob);
        }
        watched.excluded = excluded.build().unwrap();
        agents.set(1, watched);
        let mut source = KernelSource::new(agents, Box::new(|_| Some(b"/".to_vec())));
        let watched = |seq| Header { watch: 1, ..header(0, seq) };
        let string = |arg, path: &'static str| item(arg, item_kind::STRING, 0, path.as_bytes());
        for seq in 0..LEFT_OUT {
            source.push(&open(watched(seq), "/cache/a/b"));
            if let Some(batch) = source.take_full() {
                intake.submit(Raw::Kernel(batch)).unwrap();
            }
        }
        let both = [string(0, "/cache/a"), string(1, "/tmp/b.o")];
        source.push(&call(watched(LEFT_OUT), RENAME, [8, 9, 0, 0, 0, 0], &both));
        // What is on the record all the same.
        let cut = [item(1, item_kind::STRING, item_flag::TRUNCATED, b"/cache/a")];
        let late = [item(1, item_kind::STRING, item_flag::AT_EXIT, b"/cache/a")];
        let root = [string(1, "/cache/a"), item(0, item_kind::ROOT, 0, b"jail\0")];
        let out_of_it = [string(0, "/cache/a"), string(1, "/etc/passwd")];
        let openat = [AT_FDCWD, 9, 0, 0, 0, 0];
        for (seq, record) in (LEFT_OUT + 1..).zip([
            open(watched(0), "/etc/passwd"),
            open(watched(0), "/cache/../etc/passwd"),
            open(header(0, 0), "/cache/a"),
            call(watched(0), OPENAT, openat, &cut),
            call(watched(0), OPENAT, openat, &late),
            call(watched(0), OPENAT, openat, &root),
            call(watched(0), RENAME, [8, 9, 0, 0, 0, 0], &out_of_it),
        ]) {
            let mut record = record;
            let at = std::mem::offset_of!(Header, seq);
            record[at..at + 8].copy_from_slice(&seq.to_le_bytes());
            source.push(&record);
        }
        submit(&intake, &mut source);
        let mut totals = [0; CALLS];
        totals[GETPPID] = 17;
        intake.record(source.left_out(&totals)).unwrap();
        totals[GETPPID] = 20;
        totals[CALLS - 1] = 1;
        intake.record(source.left_out(&totals)).unwrap();
        assert_eq!(source.losses().left_out, 21);
        intake.record(source.finish()).unwrap();
    });
    let records = judged(&home);
    let recorded = records.iter().filter(|it| it["kind"] == "syscall").count();
    assert_eq!(recorded, 7);
    // More than one where a minute has turned meanwhile.
    let spans: Vec<_> = records.iter().filter(|it| it["action"] == "capture.left_out").collect();
    let sum = |by: &str, call: &str| -> u64 {
        spans.iter().filter_map(|it| it["detail"]["by"][by][call].as_u64()).sum()
    };
    assert_eq!(sum("path", "openat"), LEFT_OUT);
    assert_eq!(sum("path", "rename"), 1);
    assert_eq!(sum("filter", "getppid"), 20);
    assert_eq!(sum("filter", "syscall_511"), 1);
    assert!(spans.len() <= 2, "{spans:?}");
    assert!(records.iter().all(|it| it["kind"] != "gap"));
}

#[test]
fn a_span_without_anything_left_out_is_not_on_record() {
    let home = Home::new();
    home.run(Vec::new(), |intake| {
        let mut source = source();
        source.push(&open(header(0, 0), "/f"));
        submit(&intake, &mut source);
        intake.record(source.left_out(&[0; CALLS])).unwrap();
        intake.record(source.finish()).unwrap();
    });
    assert_eq!(judged(&home).len(), 1);
}

/// A loss that no later record shows is on the record two ticks after it was counted, long before the
/// source ends.
#[test]
fn a_loss_at_the_tail_does_not_wait_for_the_end() {
    let mut source = source();
    source.push(&open(header(0, 0), "/f"));
    let counted = CpuCounters { seq: 3, emitted: 1, dropped: 2, ..CpuCounters::default() };
    assert!(source.count(&[counted], 0).is_empty());
    assert!(source.tick().is_empty());
    let gaps = source.tick();
    assert_eq!(gaps.len(), 1);
    let home = Home::new();
    home.run(Vec::new(), |intake| intake.record(gaps).unwrap());
    let records = judged(&home);
    let expected = json!({"cpu": 0, "from": 1, "lost": 2, "stage": "ring", "to": 2});
    assert_eq!(records[0]["gap"], expected);
    assert_eq!((source.losses().emitted, source.losses().dropped), (1, 2));
}
