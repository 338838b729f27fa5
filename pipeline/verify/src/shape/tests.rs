use graven_record::{Canonical as _, Value};

use super::*;

const PROCESS: &str =
    r#""cgroup":"/","comm":"sh","executable":"/bin/sh","gid":0,"pid":7,"ppid":1,"tid":7,"uid":0"#;
const TIME: &str = "2023-11-14T22:13:20.000000000Z";

/// The form of a system record with these members besides those that every record has.
fn shape_of(members: &str) -> Shape {
    let text = format!(
        r#"{{"actor":{{"id":"a","kind":"agent"}},"epoch":0,"kind":"system","ledger":"o","prev":"sha256:{}",
        "schema_version":"4.0.0","seq":5,"subject":{{"id":"7","kind":"process"}},
        "timestamp_truetime":{{"earliest":"{TIME}","latest":"{TIME}"}},
        "trace_id":"6f9619ff-8b86-d011-b42d-00cf4fc964ff","where":{{"host":"h"}},{members}}}"#,
        "0f".repeat(32),
    );
    let value = Value::parse(text.as_bytes()).unwrap();
    let bytes = value.to_canonical();
    check(&Members::read(&bytes).unwrap(), &Members::default())
}

fn good() -> Shape {
    Shape { wrong: None, unknown: None }
}

fn of_kernel(action: &str, more: &str) -> String {
    format!(r#""action":"{action}","detail":{{}},"process":{{{PROCESS}{more}}},"source":"kernel""#)
}

#[test]
fn a_process_may_say_more_or_nothing_more() {
    assert_eq!(shape_of(&of_kernel("process.exited", "")), good());
    let more = r#","container":"docker://7","egid":1,"euid":2,"mnt_ns":3,"net_ns":4,"pid_ns":5"#;
    assert_eq!(shape_of(&of_kernel("process.exited", more)), good());
    for (wrong, name) in [
        (r#","container":7"#, "container"),
        (r#","egid":"1""#, "egid"),
        (r#","euid":null"#, "euid"),
        (r#","mnt_ns":{}"#, "mnt_ns"),
        (r#","net_ns":[]"#, "net_ns"),
        (r#","pid_ns":true"#, "pid_ns"),
    ] {
        let sentence = format!("`process.{name}` is malformed");
        assert_eq!(shape_of(&of_kernel("process.exited", wrong)).wrong, Some(sentence));
    }
    let unknown = shape_of(&of_kernel("process.exited", r#","user_ns":7"#));
    assert_eq!(unknown.unknown.as_deref(), Some("process.user_ns"));
}

#[test]
fn what_the_kernel_tells_comes_from_the_kernel() {
    for action in ["process.found", "process.moved", "cgroup.made", "cgroup.removed"] {
        assert_eq!(shape_of(&of_kernel(action, "")), good(), "{action}");
        let elsewhere = of_kernel(action, "").replace(r#""kernel""#, r#""system""#);
        assert!(shape_of(&elsewhere).wrong.is_some(), "{action}");
        let nobody = format!(r#""action":"{action}","detail":{{}},"source":"kernel""#);
        assert!(shape_of(&nobody).wrong.is_some(), "{action}");
    }
    let unknown = shape_of(&of_kernel("process.slept", "")).unknown;
    assert_eq!(unknown.as_deref(), Some("action process.slept"));
}

#[test]
fn what_filters_left_out_has_its_form() {
    let left_out = |detail: &str| {
        let detail = detail.replace("TIME", TIME);
        shape_of(&format!(r#""action":"capture.left_out","detail":{detail},"source":"system""#))
    };
    let good_detail = r#"{"by":{"filter":{"getppid":3},"path":{}},"from":"TIME","to":"TIME"}"#;
    assert_eq!(left_out(good_detail), good());
    for (from, to) in [
        (r#","to":"TIME""#, ""),
        (r#""to":"TIME""#, r#""to":5"#),
        (r#""from":"TIME""#, r#""from":"yesterday""#),
        (r#"{"getppid":3}"#, "3"),
        (r#""path":{}"#, r#""path":[]"#),
    ] {
        let detail = good_detail.replace(from, to);
        assert!(left_out(&detail).wrong.is_some(), "{detail}");
    }
    let unknown = left_out(&good_detail.replace("filter", "moon")).unknown;
    assert_eq!(unknown.as_deref(), Some("detail.by.moon"));
}

#[test]
fn what_the_disk_allows_has_its_form() {
    let budget = |detail: &str| {
        shape_of(&format!(r#""action":"budget.reached","detail":{detail},"source":"system""#))
    };
    let good_detail =
        r#"{"bytes_max":5,"free_bytes":"9007199254740992","free_bytes_min":null,"used_bytes":7}"#;
    assert_eq!(budget(good_detail), good());
    for (from, to) in [
        (r#""bytes_max":5,"#, ""),
        (r#""bytes_max":5"#, r#""bytes_max":"five""#),
        (r#""used_bytes":7"#, r#""used_bytes":null"#),
    ] {
        assert!(budget(&good_detail.replace(from, to)).wrong.is_some(), "{from}");
    }
}
