//! The schemas: that they are sound, and that what the binary writes and admits is what they say.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind;
use serde_json::{Value, json};

use crate::daemon::rig::wait_for;
use crate::support::{EVENT, Ledger, code, have_root, root, text};

const NAMES: [&str; 7] =
    ["block-header", "config", "event", "ledger", "receipt", "record", "signer-state"];

struct Schema(Validator);

impl Schema {
    fn document(name: &str) -> Value {
        let path = root().join(format!("schemas/{name}.schema.json"));
        let bytes = fs::read(&path).expect("the schema is there");
        serde_json::from_slice(&bytes).expect("a schema is JSON")
    }

    fn named(name: &str) -> Self {
        let document = Self::document(name);
        Self(jsonschema::draft202012::new(&document).expect("a schema is valid"))
    }

    /// What is wrong with one JSON text, and where in it.
    fn check(&self, json: &[u8]) -> Result<(), String> {
        let value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        self.check_value(&value)
    }

    fn check_value(&self, value: &Value) -> Result<(), String> {
        // Where another rule has refused a member, it also counts as unevaluated: that rule says more.
        let error = self.0.iter_errors(value).min_by_key(|error| {
            matches!(error.kind(), ValidationErrorKind::UnevaluatedProperties { .. })
        });
        error.map_or(Ok(()), |error| Err(format!("at `{}`: {error}", error.instance_path())))
    }
}

/// Every JSON text of the ledger is as its schema says: `ledger.json`, each header, each record.
///
/// Superseded lines and a torn last line are no records, and not looked at.
pub(crate) fn assert_valid(ledger_dir: &Path) {
    if let Err(violation) = check_ledger(ledger_dir) {
        panic!("{violation}");
    }
}

/// One record is as its schema says.
pub(crate) fn assert_valid_record(record: &Value) {
    Schema::named("record").check_value(record).unwrap_or_else(|problem| panic!("{problem}"));
}

fn check_ledger(dir: &Path) -> Result<(), String> {
    let info = dir.join("ledger.json");
    let bytes = fs::read(&info).expect("ledger.json is there");
    Schema::named("ledger")
        .check(&bytes)
        .map_err(|problem| format!("{}: {problem}", info.display()))?;
    let headers = dir.join("blocks.jsonl");
    // There is none before the first block.
    if headers.exists() {
        check_lines(&Schema::named("block-header"), &headers, usize::MAX)?;
    }
    let (record, segments) = (Schema::named("record"), segments(dir));
    for (index, (first, path)) in segments.iter().enumerate() {
        let end = segments.get(index + 1).map_or(usize::MAX, |(next, _)| *next);
        check_lines(&record, path, end - first)?;
    }
    Ok(())
}

/// The segments in order, each with the number of its first record.
fn segments(dir: &Path) -> Vec<(usize, PathBuf)> {
    let entries = fs::read_dir(dir.join("segments")).expect("segments are there");
    let mut segments: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
            (name.parse().expect("a segment's name is a number"), path)
        })
        .collect();
    segments.sort();
    segments
}

fn check_lines(schema: &Schema, path: &Path, lines_max: usize) -> Result<(), String> {
    let bytes = fs::read(path).expect("the file is there");
    let whole = bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    for (number, line) in (1..).zip(whole.take(lines_max)) {
        schema
            .check(line)
            .map_err(|problem| format!("{}, line {number}: {problem}", path.display()))?;
    }
    Ok(())
}

/// The lines that have a receipt; each receipt is as its schema says.
fn received(output: &Output) -> BTreeSet<u64> {
    let schema = Schema::named("receipt");
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            schema.check(line).expect("a receipt is as its schema says");
            let receipt: Value = serde_json::from_slice(line).expect("it is JSON");
            receipt["line"].as_u64().expect("a line")
        })
        .collect()
}

/// EVENT with `members` put in as its first.
fn event_with(members: &str) -> String {
    EVENT.replacen('{', &format!("{{{members},"), 1)
}

fn full_event() -> String {
    event_with(
        r#""source":"fix","occurred":"yesterday","bytes_severed":0,"target_host":"h","external_trace_id":"x","trace_id":"6F9619FF-8B86-D011-B42D-00CF4FC964FF","where":{"host":"desk-4","ip":"10.0.0.1","device":"d"},"payload":{"before":{"price":"1.5","legs":[]},"after":{"price":-2,"legs":[{"a":null},true]}}"#,
    )
}

fn good_events() -> Vec<String> {
    let mut good = vec![EVENT.to_owned(), full_event()];
    good.extend(
        [
            r#""payload":{}"#,
            r#""payload":{"after":{}}"#,
            r#""payload":{"after":{"price":9007199254740991}}"#,
            r#""where":{}"#,
            r#""where":{"ip":"::1"}"#,
            r#""trace_id":"6f9619ff8b86d011b42d00cf4fc964ff""#,
            r#""trace_id":"{6f9619ff-8b86-d011-b42d-00cf4fc964ff}""#,
            r#""trace_id":"URN:uuid:6f9619ff-8b86-d011-b42d-00cf4fc964ff""#,
            r#""source":"kafka""#,
        ]
        .map(event_with),
    );
    good.push(EVENT.replace("trade.amended", "blocked"));
    good.push(EVENT.replace("\"id\":\"ada\"", "\"id\":\"ada\",\"via\":\"desk\""));
    good
}

fn bad_events() -> Vec<String> {
    let mut bad: Vec<String> = [
        r#""colour":1"#,
        r#""seq":1"#,
        r#""prev":"sha256:00""#,
        r#""kind":"event""#,
        r#""payload":[]"#,
        r#""payload":null"#,
        r#""payload":{"price":1}"#,
        r#""payload":{"after":[]}"#,
        r#""payload":{"after":{"price":1.5}}"#,
        r#""payload":{"after":{"price":[{"deep":0.1}]}}"#,
        r#""payload":{"after":{"price":9007199254740992}}"#,
        r#""bytes_severed":-1"#,
        r#""bytes_severed":1.5"#,
        r#""bytes_severed":"1""#,
        r#""bytes_severed":null"#,
        r#""source":"kernel""#,
        r#""source":"system""#,
        r#""trace_id":"7""#,
        r#""trace_id":"{6f9619ff8b86d011b42d00cf4fc964ff}""#,
        r#""occurred":5"#,
        r#""occurred":"""#,
        r#""external_trace_id":"""#,
        r#""target_host":["h"]"#,
        r#""where":{"port":1}"#,
        r#""where":{"host":""}"#,
        r#""where":null"#,
    ]
    .map(event_with)
    .into();
    bad.extend(
        [
            r#"{"action":"a.b","subject":{"kind":"k","id":"i"}}"#,
            r#"{"action":"a.b","actor":null,"subject":{"kind":"k","id":"i"}}"#,
            r#"{"action":"a.b","actor":{"kind":"user"},"subject":{"kind":"k","id":"i"}}"#,
            r#"{"action":"a.b","actor":{"id":"ada"},"subject":{"kind":"k","id":"i"}}"#,
            r#"{"action":"a.b","actor":{"kind":"ghost","id":"i"},"subject":{"kind":"k","id":"i"}}"#,
            r#"{"action":"a.b","actor":{"kind":"user","id":""},"subject":{"kind":"k","id":"i"}}"#,
            r#"{"action":"a.b","actor":{"kind":"user","id":"i","x":1},"subject":{"kind":"k","id":"i"}}"#,
            r#"{"action":"a.b","actor":{"kind":"user","id":"i"}}"#,
            r#"{"action":"a.b","actor":{"kind":"user","id":"i"},"subject":{"kind":"k"}}"#,
            r#"{"action":"a.b","actor":{"kind":"user","id":"i"},"subject":{"kind":"k","id":{"b64":"/w=="}}}"#,
            r#"{"actor":{"kind":"user","id":"i"},"subject":{"kind":"k","id":"i"}}"#,
            r#"{"action":"","actor":{"kind":"user","id":"i"},"subject":{"kind":"k","id":"i"}}"#,
            "{}",
            "[]",
            "1",
            "null",
        ]
        .map(str::to_owned),
    );
    bad.extend(
        [
            "heartbeat",
            "block.opened",
            "process.x",
            "cgroup.x",
            "capture.x",
            "ledger.x",
            "pipeline.started",
            "policy.x",
            "syscall.x",
            "anchor.x",
            "proof.x",
            "verify.x",
            "recovery.completed",
            "sink.x",
        ]
        .map(|action| EVENT.replace("trade.amended", action)),
    );
    bad
}

/// Refused by the binary, but not by a schema: it sees values, not their spelling, and no settings.
fn unseen_events() -> Vec<String> {
    let deep = format!("{}{}", "[".repeat(30), "]".repeat(30));
    let mut unseen: Vec<String> = [
        r#""payload":{"after":{"prompt":"not among the admitted fields"}}"#,
        r#""payload":{"after":{"price":1.0}}"#,
        r#""payload":{"after":{"price":1e2}}"#,
        r#""bytes_severed":-0"#,
        r#""action":"given twice""#,
    ]
    .map(event_with)
    .into();
    unseen.push(event_with(&format!(r#""payload":{{"after":{{"price":{deep}}}}}"#)));
    unseen.push(EVENT.replace("T-17", &"x".repeat(70_000)));
    unseen
}

/// A record of each kind that capture makes, as it is stored.
fn samples() -> [Value; 3] {
    let common = json!({
        "actor": {"id": "sh", "kind": "agent", "via": "graven exec"},
        "epoch": 2,
        "ledger": "example.org/test",
        "prev": format!("sha256:{}", "0f".repeat(32)),
        "schema_version": "4.0.0",
        "seq": 5,
        "subject": {"id": "/tmp/f", "kind": "file"},
        "timestamp_truetime": {
            "clock": "unsynchronised",
            "earliest": "2023-11-14T22:13:20.000000000Z",
            "latest": "2023-11-14T22:13:20.000000000Z",
        },
        "trace_id": "6f9619ff-8b86-d011-b42d-00cf4fc964ff",
        "where": {"host": "h"},
    });
    let process = json!({
        "cgroup": "/graven", "comm": {"b64": "/w=="}, "executable": "", "gid": 0, "pid": 7, "ppid": 1, "tid": 7,
        "uid": 4_294_967_295_u32,
    });
    let of_kind = |members: Value| {
        let mut record = common.clone();
        let members = members.as_object().expect("an object").clone();
        record.as_object_mut().expect("an object").extend(members);
        record
    };
    [
        of_kind(json!({
            "action": "openat",
            "enforcement": "observed",
            "kind": "syscall",
            "mono_ns": "18446744073709551615",
            "process": process,
            "source": "kernel",
            "syscall": {
                "arch": "x86_64",
                "args": {
                    "argv": ["sh", {"b64": "/w=="}],
                    "dirfd": -1,
                    "flags": ["O_RDONLY", "0x40000000"],
                    "how": {"flags": [], "mode": "0644", "resolve": []},
                    "list": [1, -1],
                    "pathname": {"b64": "/w=="},
                },
                "duration_ns": 1,
                "flags": ["read_at_exit", "truncated"],
                "id": 257,
                "name": "openat",
                "result": "-9223372036854775808",
            },
            "target_host": "::1",
            "verdict": "PERMIT",
        })),
        of_kind(json!({
            "action": "process.exited",
            "detail": {"code": null, "last_thread": true, "signal": 9},
            "kind": "system",
            "process": process,
            "source": "kernel",
        })),
        of_kind(json!({
            "action": "gap",
            "gap": {"cpu": 0, "from": 5, "lost": 3, "stage": "ring", "to": 7},
            "kind": "gap",
            "source": "system",
        })),
    ]
}

/// `record` with the value at `pointer` set, or removed where it is `None`.
fn edited(record: &Value, pointer: &str, value: Option<Value>) -> Value {
    let mut record = record.clone();
    let (parent, member) = pointer.rsplit_once('/').expect("a pointer has a slash");
    let parent = record.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object");
    match value {
        Some(value) => drop(parent.insert(member.to_owned(), value)),
        None => drop(parent.remove(member).expect("it was there")),
    }
    record
}

#[test]
fn each_schema_is_valid_and_describes_its_members() {
    let entries = fs::read_dir(root().join("schemas")).expect("schemas are there");
    let found: BTreeSet<String> = entries
        .filter_map(|entry| entry.expect("an entry").file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".schema.json").map(str::to_owned))
        .collect();
    assert_eq!(found, NAMES.map(str::to_owned).into());
    for name in NAMES {
        let document = Schema::document(name);
        assert_eq!(document["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name}");
        if let Err(error) = jsonschema::draft202012::meta::validate(&document) {
            panic!("{name}: {error}");
        }
        Schema::named(name);
        assert_described(name, &document);
    }
}

/// Every member has a description, but where a condition only narrows it.
fn assert_described(path: &str, schema: &Value) {
    for item in schema.as_array().into_iter().flatten() {
        assert_described(path, item);
    }
    for (key, value) in schema.as_object().into_iter().flatten() {
        if ["if", "then", "else", "oneOf"].contains(&key.as_str()) {
            continue;
        }
        for (member, schema) in value.as_object().into_iter().flatten() {
            let described = schema["description"].is_string();
            assert!(key != "properties" || described, "{path}: `{member}` has no description");
        }
        assert_described(&format!("{path}/{key}"), value);
    }
}

/// A run with every optional member, one that is killed and leaves a torn tail, and one that lives
/// to its first heartbeat.
#[test]
fn what_append_writes_is_as_the_schemas_say() {
    let ledger = Ledger::new();
    let state = ledger.home().join("ledger.key.state");
    let state_is_valid =
        || Schema::named("signer-state").check(&fs::read(&state).expect("a state"));
    assert_eq!(state_is_valid(), Ok(()), "before the first checkpoint");
    assert_valid(&ledger.path());

    let fields = ["--payload-field", "price", "--payload-field", "legs"];
    let args = [&["append", "--receipts"][..], &fields].concat();
    let output = ledger.feed(&args, format!("{EVENT}\n{}\n", full_event()).as_bytes());
    assert_eq!(code(output.status), 0, "{}", text(&output));
    assert_eq!(received(&output), [1, 2].into());

    let mut killed = ledger
        .command(&["append", "--receipts"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("graven starts");
    let mut stdin = killed.stdin.take().expect("a pipe");
    writeln!(stdin, "{EVENT}").expect("it reads");
    let mut receipt = String::new();
    BufReader::new(killed.stdout.take().expect("a pipe"))
        .read_line(&mut receipt)
        .expect("a receipt");
    killed.kill().expect("it is ours");
    killed.wait().expect("it has ended");
    Schema::named("receipt").check(receipt.as_bytes()).expect("a receipt is as its schema says");
    let (_, last) = segments(&ledger.path()).pop().expect("a segment");
    fs::File::options()
        .append(true)
        .open(last)
        .and_then(|mut segment| segment.write_all(b"torn"))
        .expect("the last segment can be written");

    let mut beating = ledger
        .command(&["append", "--heartbeat-s", "1"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("graven starts");
    let written = |action: &str| ledger.records().iter().any(|record| record["action"] == action);
    wait_for("a heartbeat", || written("heartbeat").then_some(()));
    drop(beating.stdin.take());
    assert!(beating.wait().expect("it ends").success());

    for action in [
        "block.opened",
        "ledger.created",
        "pipeline.started",
        "trade.amended",
        "pipeline.stopped",
        "recovery.completed",
        "gap",
        "heartbeat",
    ] {
        assert!(written(action), "no record of `{action}`");
    }
    assert_valid(&ledger.path());
    assert_eq!(state_is_valid(), Ok(()));
    ledger.assert_good();
}

#[test]
fn what_exec_writes_is_as_the_schemas_say() {
    if !have_root("what_exec_writes_is_as_the_schemas_say") {
        return;
    }
    let ledger = Ledger::new();
    let script = r#": > "$(printf '\377')"; ls; cd /tmp; false"#;
    let output = ledger.graven(&["exec", "--", "sh", "-c", script]);
    assert_eq!(code(output.status), 1, "{}", text(&output));
    assert_valid(&ledger.path());
    let records = ledger.records();
    for action in ["chdir", "execve", "process.forked", "process.executed", "process.exited"] {
        let found = records.iter().any(|record| record["action"] == action);
        assert!(found, "no record of `{action}`");
    }
    let bytes = |record: &Value| record.pointer("/syscall/args/pathname/b64").is_some();
    assert!(records.iter().any(bytes), "the name that is not UTF-8");
    ledger.assert_good();
}

#[test]
fn a_violation_is_reported_with_file_and_line() {
    let ledger = Ledger::new();
    let output = ledger.feed(&["append"], EVENT.as_bytes());
    assert_eq!(code(output.status), 0, "{}", text(&output));
    assert_eq!(check_ledger(&ledger.path()), Ok(()));
    let damage = |file: &str, from: &str, to: &str| {
        let path = ledger.path().join(file);
        let good = fs::read_to_string(&path).expect("text");
        assert!(good.contains(from), "{file}");
        // As another file: `ledger.json` cannot be written.
        fs::remove_file(&path).expect("it is ours");
        fs::write(&path, good.replace(from, to)).expect("it is ours");
        let problem = check_ledger(&ledger.path()).expect_err(file);
        fs::write(&path, good).expect("it is ours");
        problem
    };
    let segment = "segments/00000000000000000000.jsonl";
    let problem =
        damage(segment, r#""action":"trade.amended","#, r#""action":"trade.amended","x":1,"#);
    assert!(problem.contains(&format!("{segment}, line 4: ")), "{problem}");
    assert!(problem.contains("'x'"), "{problem}");
    let problem = damage("blocks.jsonl", r#""gaps":0,"#, "");
    assert!(problem.contains("blocks.jsonl, line 1: "), "{problem}");
    let problem = damage("ledger.json", r#""id":""#, r#""id":"x"#);
    assert!(problem.contains("ledger.json: at `/id`"), "{problem}");
    assert_eq!(check_ledger(&ledger.path()), Ok(()));
}

#[test]
fn a_record_of_another_form_is_no_record() {
    let schema = Schema::named("record");
    let [call, exit, gap] = samples();
    for sample in [&call, &exit, &gap] {
        assert_eq!(schema.check_value(sample), Ok(()));
    }
    let time = json!("2023-11-14T22:13:20.000000000Z");
    for (stage, cpu, from, lost, to) in [
        ("ring", json!(0), json!(5), json!(3), json!(7)),
        ("stash", json!(0), Value::Null, json!(3), Value::Null),
        ("recursion", Value::Null, Value::Null, json!(3), Value::Null),
        ("decode", json!(0), json!(5), json!(1), json!(5)),
        ("downtime", Value::Null, time.clone(), Value::Null, time.clone()),
    ] {
        let good = json!({"cpu": cpu, "from": from, "lost": lost, "stage": stage, "to": to});
        let gap = edited(&gap, "/gap", Some(good));
        assert_eq!(schema.check_value(&gap), Ok(()), "{stage}");
    }
    let raw: serde_json::Map<_, _> = (0..6).map(|i| (format!("arg{i}"), json!("0x0"))).collect();
    let of_i386 = edited(&call, "/syscall/arch", Some(json!("i386")));
    let of_i386 = edited(&of_i386, "/syscall/args", Some(raw.into()));
    assert_eq!(schema.check_value(&of_i386), Ok(()));

    let hash = call["prev"].as_str().expect("a hash");
    for (record, pointer, value) in [
        (&call, "/colour", Some(json!(1))),
        (&call, "/actor", None),
        (&call, "/actor/name", Some(json!("n"))),
        (&call, "/actor/kind", Some(json!("ghost"))),
        (&call, "/prev", None),
        (&call, "/prev", Some(json!(hash.to_uppercase()))),
        (&call, "/prev", Some(json!(hash.replace("0f", "0F")))),
        (&call, "/prev", Some(json!(hash.replace("sha256:", "")))),
        (&call, "/prev", Some(json!(format!("{hash}0")))),
        (&call, "/schema_version", Some(json!("3.0.0"))),
        (&call, "/seq", Some(json!(-1))),
        (&call, "/seq", Some(json!("5"))),
        (&call, "/epoch", Some(json!(9_007_199_254_740_992_u64))),
        (&call, "/trace_id", Some(json!("6F9619FF-8B86-D011-B42D-00CF4FC964FF"))),
        (&call, "/timestamp_truetime/earliest", Some(json!("2023-11-14T22:13:20Z"))),
        (&call, "/timestamp_truetime/latest", Some(json!("2023-11-14T22:13:20.000000000+00:00"))),
        (&call, "/timestamp_truetime/clock", Some(json!("synchronised"))),
        (&call, "/where/host", None),
        (&call, "/ledger", Some(json!("a b"))),
        (&call, "/kind", Some(json!("other"))),
        (&call, "/kind", None),
        (&call, "/source", Some(json!("api"))),
        (&call, "/verdict", Some(json!("BLOCK"))),
        (&call, "/enforcement", None),
        (&call, "/mono_ns", Some(json!(5))),
        (&call, "/mono_ns", Some(json!("05"))),
        (&call, "/process", None),
        (&call, "/process/comm", Some(json!({"b64": "/w="}))),
        (&call, "/process/uid", Some(json!(-1))),
        (&call, "/subject/id", Some(json!(7))),
        (&call, "/detail", Some(json!({}))),
        (&call, "/payload", Some(json!({}))),
        (&call, "/gap", Some(gap["gap"].clone())),
        (&call, "/syscall/colour", Some(json!(1))),
        (&call, "/syscall/name", None),
        (&call, "/syscall/arch", Some(json!("arm64"))),
        (&call, "/syscall/arch", Some(json!("i386"))),
        (&call, "/syscall/flags", Some(json!([]))),
        (&call, "/syscall/flags", Some(json!(["unsure"]))),
        (&call, "/syscall/result", Some(json!("5"))),
        (&call, "/syscall/args/dirfd", Some(json!(1.5))),
        (&call, "/syscall/args/dirfd", Some(json!(null))),
        (&call, "/syscall/args/how", Some(json!({"Other member": 1}))),
        (&call, "/syscall/args/list", Some(json!([[1]]))),
        (&exit, "/detail/colour", Some(json!(1))),
        (&exit, "/detail/signal", None),
        (&exit, "/detail/code", Some(json!(0))),
        (&exit, "/process", None),
        (&exit, "/source", Some(json!("system"))),
        (&exit, "/action", Some(json!("heartbeat"))),
        (&exit, "/action", Some(json!("process.slept"))),
        (&exit, "/action", Some(json!("process.forked"))),
        (&gap, "/gap", None),
        (&gap, "/gap/colour", Some(json!(1))),
        (&gap, "/gap/cpu", Some(Value::Null)),
        (&gap, "/gap/from", Some(Value::Null)),
        (&gap, "/gap/to", Some(time.clone())),
        (&gap, "/gap/lost", Some(json!(0))),
        (&gap, "/gap/stage", Some(json!("downtime"))),
        (&gap, "/gap/stage", Some(json!("sink"))),
        (&gap, "/process", Some(call["process"].clone())),
        (&of_i386, "/syscall/args/arg5", None),
        (&of_i386, "/syscall/args/arg5", Some(json!(5))),
        (&of_i386, "/syscall/args/path", Some(json!("0x0"))),
    ] {
        let record = edited(record, pointer, value.clone());
        assert!(schema.check_value(&record).is_err(), "{pointer} {value:?} passes");
    }
}

/// `exit` as another action with another `detail`.
fn told(exit: &Value, action: &str, detail: Value) -> Value {
    edited(&edited(exit, "/action", Some(json!(action))), "/detail", Some(detail))
}

/// What only a kernel with many watches, or with filters, tells.
#[test]
fn a_record_of_a_watch_has_its_form() {
    let schema = Schema::named("record");
    let [call, exit, _] = samples();
    let (time, text) = ("2023-11-14T22:13:20.000000000Z", json!({"b64": "/w=="}));
    let members = json!({
        "container": "docker://7", "egid": 1, "euid": 2, "mnt_ns": 4_026_531_841_u32, "net_ns": 4, "pid_ns": 5,
    });
    for (name, value) in members.as_object().expect("an object") {
        let pointer = format!("/process/{name}");
        assert_eq!(schema.check_value(&edited(&call, &pointer, Some(value.clone()))), Ok(()));
        let wrong = edited(&call, &pointer, Some(json!([])));
        assert!(schema.check_value(&wrong).is_err(), "{pointer}");
    }
    let found = json!({
        "argv": ["sh", text], "argv_truncated": true, "cgroup_id": 7, "namespaces": {"mnt": 1, "net": 2, "pid": 3},
        "reason": "inventory", "start_boottime_ns": "18446744073709551615",
    });
    let found = told(&exit, "process.found", found);
    let place = json!({"id": "18446744073709551615", "path": text});
    let moved = told(&exit, "process.moved", json!({"from": place, "to": place}));
    let cgroup = json!({"id": 7, "parent": 1, "path": "unresolved:7"});
    let removed = told(&exit, "cgroup.removed", cgroup.clone());
    let variables = json!({"PATH": "/bin", "LANG": text, "TERM": ["a", "b"]});
    let executed = json!({"env": variables, "env_truncated": true, "old_tid": 7});
    let executed = told(&exit, "process.executed", executed);
    let by = json!({"filter": {"getppid": 3}, "path": {"openat": "9007199254740992"}});
    let left_out = told(&exit, "capture.left_out", json!({"by": by, "from": time, "to": time}));
    let left_out = edited(&left_out, "/source", Some(json!("system")));
    let left_out = edited(&left_out, "/process", None);
    for good in
        [&found, &moved, &removed, &told(&exit, "cgroup.made", cgroup), &executed, &left_out]
    {
        assert_eq!(schema.check_value(good), Ok(()), "{good}");
    }
    for (record, pointer, value) in [
        (&call, "/process/container", Some(json!("7"))),
        (&found, "/detail/reason", Some(json!("chance"))),
        (&found, "/detail/namespaces/net", None),
        (&found, "/detail/argv_truncated", Some(json!(false))),
        (&found, "/detail/start_boottime_ns", Some(json!(5))),
        (&found, "/detail/colour", Some(json!(1))),
        (&found, "/source", Some(json!("system"))),
        (&moved, "/detail/from/path", None),
        (&moved, "/detail/to/id", Some(json!(-1))),
        (&removed, "/detail/parent", None),
        (&removed, "/process", None),
        (&removed, "/source", Some(json!("system"))),
        (&removed, "/action", Some(json!("cgroup.frozen"))),
        (&executed, "/detail/env/PATH", Some(json!(1))),
        (&executed, "/detail/env/PATH", Some(json!(["once"]))),
        (&executed, "/detail/env_truncated", Some(json!(false))),
        (&left_out, "/detail/by", Some(json!({}))),
        (&left_out, "/detail/by/filter", Some(json!({}))),
        (&left_out, "/detail/by/filter/getppid", Some(json!(0))),
        (&left_out, "/detail/by/moon", Some(json!({"getppid": 1}))),
        (&left_out, "/detail/from", Some(json!("then"))),
        (&left_out, "/source", Some(json!("kernel"))),
    ] {
        let record = edited(record, pointer, value.clone());
        assert!(schema.check_value(&record).is_err(), "{pointer} {value:?} passes");
    }
}

#[test]
fn the_event_schema_and_the_binary_agree() {
    let schema = Schema::named("event");
    for (events, by_schema, by_binary) in
        [(good_events(), true, true), (bad_events(), false, false), (unseen_events(), true, false)]
    {
        let ledger = Ledger::new();
        let fields = ["--payload-field", "price", "--payload-field", "legs"];
        let args = [&["append", "--receipts"][..], &fields].concat();
        let output = ledger.feed(&args, events.join("\n").as_bytes());
        assert_eq!(code(output.status), if by_binary { 0 } else { 2 }, "{}", text(&output));
        let received = received(&output);
        for (line, event) in (1..).zip(&events) {
            let valid = schema.check(event.as_bytes());
            assert_eq!(valid.is_ok(), by_schema, "schema: {event}: {valid:?}");
            assert_eq!(received.contains(&line), by_binary, "binary: {event}: {}", text(&output));
        }
        assert_valid(&ledger.path());
    }
}
