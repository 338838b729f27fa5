//! A record as one line for a person.

use console::{measure_text_width, truncate_str};
use serde_json::Value;

use graven_verify::screen::{BAD, DIM, NAME, STRONG, WEAK, painted};

use super::{call, words};

/// Characters of what a record says beyond its subject that are shown.
const DETAIL_CHARS: usize = 160;

/// Index, time, actor, process, action, what it was about, and its result, in colours. What is too wide loses
/// arguments first: the result says more.
pub(super) fn line(record: &Value, index_width: usize, width: Option<usize>) -> String {
    let text = |pointer: &str| clean(text_at(record, pointer));
    let index = record["seq"].as_u64().unwrap_or_default();
    // Of `2026-11-21T00:54:45.123456789Z` the time of day to the millisecond.
    let time = text_at(record, "/timestamp_truetime/earliest").get(11..23).unwrap_or_default();
    let mut parts = vec![
        painted(DIM, format!("{index:>index_width$}")),
        painted(DIM, clean(time)),
        painted(NAME, text("/actor/id")),
    ];
    if let Some(pid) = record.pointer("/process/pid") {
        parts.push(painted(DIM, format!("{}[{pid}]", text("/process/comm"))));
    }
    let action = text("/action");
    let mut detail = None;
    match text_at(record, "/kind") {
        "syscall" => {
            parts.push(painted(STRONG, action));
            parts.extend(subject(record).map(clean));
            detail = Some(parts.len());
            parts.push(shortened(&call::arguments(record)));
            parts.push(result(&record["syscall"]["result"]));
            parts.extend(weakened(record));
        }
        "gap" => parts.push(painted(BAD, format!("{action}  {}", words::gap(&record["gap"])))),
        "system" => {
            parts.push(painted(STRONG, action));
            parts.push(painted(DIM, shortened(&words::system(record))));
        }
        _ => parts.extend([painted(STRONG, action), text("/subject/id")]),
    }
    let verdict = text("/verdict");
    if !matches!(&*verdict, "" | "PERMIT") {
        parts.push(painted(BAD, verdict));
    }
    let whole = |parts: &[String]| {
        let parts: Vec<_> = parts.iter().map(String::as_str).filter(|it| !it.is_empty()).collect();
        parts.join(" ")
    };
    let line = whole(&parts);
    let Some(width) = width else { return line };
    let too_wide = measure_text_width(&line).saturating_sub(width);
    if let Some(detail) = detail.and_then(|at| parts.get_mut(at)) {
        let room = measure_text_width(detail).saturating_sub(too_wide);
        *detail = truncate_str(detail, room, "…").into_owned();
    }
    truncate_str(&whole(&parts), width, "…").into_owned()
}

/// The day that a record belongs to, `2026-11-21`.
pub(super) fn day(record: &Value) -> &str {
    text_at(record, "/timestamp_truetime/earliest").get(..10).unwrap_or_default()
}

/// What a call acts on, unless that is the process which makes it: that stands before it already.
fn subject(record: &Value) -> Option<&str> {
    let id = record["subject"]["id"].as_str()?;
    let own = record.pointer("/process/pid").map(Value::to_string);
    let is_own = record["subject"]["kind"] == "process" && own.is_some_and(|own| own == id);
    (!is_own).then_some(id)
}

/// The error's number, where a call's result is one.
pub(super) fn errno(result: &Value) -> Option<i32> {
    let number = result.as_i64().filter(|number| (-4095..0).contains(number))?;
    i32::try_from(-number).ok()
}

fn result(result: &Value) -> String {
    if let Some(errno) = errno(result) {
        let name = syscalls::Errno::new(errno).name();
        let name = name.map_or(format!("-{errno}"), str::to_owned);
        return format!("= {}", painted(WEAK, name));
    }
    let number = result.as_u64().or_else(|| result.as_str()?.parse().ok());
    match number {
        _ if result.is_null() => String::new(),
        // No count is so large: an address.
        Some(number) if number > u32::MAX.into() => format!("= {number:#x}"),
        Some(number) => format!("= {number}"),
        None => format!("= {}", clean(result.to_string())),
    }
}

/// What the record itself says that it lacks.
fn weakened(record: &Value) -> Option<String> {
    let flags = record.pointer("/syscall/flags")?.as_array()?;
    let flags: Vec<_> = flags.iter().filter_map(Value::as_str).map(clean).collect();
    (!flags.is_empty()).then(|| painted(WEAK, format!("({})", flags.join(", "))))
}

fn text_at<'a>(record: &'a Value, pointer: &str) -> &'a str {
    record.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// On one line and not too long.
fn shortened(text: &str) -> String {
    let text = clean(text);
    match text.char_indices().nth(DETAIL_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// Text from the record is the agent's: what would move the cursor, change the colour or hide itself is shown,
/// not sent.
fn clean(text: impl AsRef<str>) -> String {
    let mut cleaned = String::new();
    for char in text.as_ref().chars() {
        match char {
            char if char.is_control() => cleaned.extend(char.escape_default()),
            // Marks without width, marks that turn the direction of writing, and separators of lines.
            '\u{061c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}' => {
                cleaned.extend(char.escape_unicode());
            }
            char => cleaned.push(char),
        }
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plain(record: &Value) -> String {
        anstream::adapter::strip_str(&line(record, 4, None)).to_string()
    }

    fn call(action: &str, subject: (&str, &str), args: &Value, result: &Value) -> Value {
        json!({
            "action": action, "actor": {"id": "ci", "kind": "agent"}, "kind": "syscall", "seq": 17,
            "process": {"comm": "sh", "pid": 7}, "subject": {"id": subject.1, "kind": subject.0},
            "syscall": {"args": args, "arch": "x86_64", "name": action, "result": result}, "verdict": "PERMIT",
            "timestamp_truetime": {"earliest": "2026-11-21T00:54:45.123456789Z"}
        })
    }

    fn own(action: &str, args: &Value, result: i64) -> Value {
        call(action, ("process", "7"), args, &json!(result))
    }

    #[test]
    fn a_call_says_what_was_done() {
        let open = json!({"dirfd": "AT_FDCWD", "flags": ["O_WRONLY", "O_CREAT"], "mode": "0666", "pathname": "/etc/x"});
        let map = json!({"addr": "0x0", "fd": -1, "flags": ["MAP_PRIVATE"], "length": 8192, "offset": 0, "prot": ["PROT_READ"]});
        let cases = [
            (
                call("openat", ("file", "/etc/x"), &open, &json!(3)),
                "openat /etc/x O_WRONLY|O_CREAT mode=0666 = 3",
            ),
            (call("openat", ("file", "/etc/x"), &json!({}), &json!(-2)), "openat /etc/x = ENOENT"),
            (
                call(
                    "execve",
                    ("process", "7"),
                    &json!({"argv": ["rm", "-r", "a b"], "envp": "0x7ffd6706825c", "pathname": "/usr/bin/rm"}),
                    &json!(0),
                ),
                "execve /usr/bin/rm [rm -r \"a b\"] = 0",
            ),
            (own("close", &json!({"fd": 3}), 0), "close fd=3 = 0"),
            (
                own("fcntl", &json!({"arg": "0xa", "cmd": "F_DUPFD", "fd": 1}), 11),
                "fcntl fd=1 F_DUPFD arg=0xa = 11",
            ),
            (
                own("mmap", &map, 140_111_065_767_936),
                "mmap length=8192 PROT_READ MAP_PRIVATE fd=-1 offset=0 = 0x7f6e264de000",
            ),
            (
                call(
                    "rename",
                    ("file", "/a"),
                    &json!({"newpath": "/b", "oldpath": "/a"}),
                    &json!(0),
                ),
                "rename /a /b = 0",
            ),
            (
                call("kill", ("process", "9"), &json!({"pid": 9, "sig": "SIGTERM"}), &json!(0)),
                "kill 9 SIGTERM = 0",
            ),
            (own("exit_group", &json!({"status": 1}), 0), "exit_group status=1 = 0"),
        ];
        for (record, expected) in cases {
            assert_eq!(plain(&record), format!("  17 00:54:45.123 ci sh[7] {expected}"));
        }
    }

    #[test]
    fn a_line_fits_the_terminal_and_keeps_its_result() {
        let flags = json!({"flags": ["O_RDONLY", "O_CLOEXEC", "O_NONBLOCK"]});
        let record = call("openat", ("file", "/usr/lib/locale"), &flags, &json!(-2));
        let cut = |width| {
            let line = line(&record, 4, Some(width));
            assert!(measure_text_width(&line) <= width, "{line:?}");
            anstream::adapter::strip_str(&line).to_string()
        };
        let whole = "  17 00:54:45.123 ci sh[7] openat /usr/lib/locale O_RDONLY|O_CLOEXEC|O_NONBLOCK = ENOENT";
        assert_eq!(cut(100), whole, "control");
        let narrow = "  17 00:54:45.123 ci sh[7] openat /usr/lib/locale O_RDONLY|… = ENOENT";
        assert_eq!(cut(narrow.chars().count()), narrow);
        assert_eq!(cut(30), "  17 00:54:45.123 ci sh[7] op…");
    }

    #[test]
    fn gaps_and_system_records_are_words() {
        let system = |action: &str, detail: Value| {
            json!({
                "action": action, "actor": {"id": "graven"}, "kind": "system", "seq": 5, "detail": detail,
                "subject": {"id": "x", "kind": "pipeline"},
                "timestamp_truetime": {"earliest": "2026-11-21T00:54:45.123456789Z"}
            })
        };
        let gap = |gap: Value| {
            json!({
                "action": "gap", "actor": {"id": "graven"}, "kind": "gap", "seq": 5, "gap": gap,
                "timestamp_truetime": {"earliest": "2026-11-21T00:54:45.123456789Z"}
            })
        };
        let hash = format!("sha256:7731{}", "0".repeat(60));
        let cases = [
            (
                gap(json!({"cpu": 1, "from": 0, "lost": 3113, "stage": "ring", "to": 3112})),
                "gap  3,113 records lost: kernel ring full (cpu 1)",
            ),
            (
                gap(
                    json!({"cpu": null, "from": "2026-11-21T00:00:00.000000000Z", "lost": null, "stage": "downtime", "to": "2026-11-21T00:00:01.500000000Z"}),
                ),
                "gap  nothing was recorded for 1.50 s",
            ),
            (
                system("heartbeat", json!({"counters": {"records": 7131, "gaps": 0}})),
                "heartbeat 7,131 records, 0 gaps",
            ),
            (
                system("process.found", json!({"argv": ["sh", "-c", "x"], "reason": "joined"})),
                "process.found joined [sh -c x]",
            ),
            (
                system("config.applied", json!({"changes": ["a", "b", "c"], "sha256": hash})),
                "config.applied sha256:7731…, 3 changes",
            ),
            (system("some.other", json!({"a": 1})), "some.other {\"a\":1}"),
        ];
        for (record, expected) in cases {
            assert_eq!(plain(&record), format!("   5 00:54:45.123 graven {expected}"));
        }
    }

    /// Everywhere that an agent's text comes to: subject, arguments, process, action.
    #[test]
    fn what_an_agent_writes_cannot_move_the_cursor() {
        let evil = "/tmp/\u{1b}[2J\u{202e}x\r\u{200b}";
        let mut record = call(
            "openat",
            ("file", evil),
            &json!({"argv": [evil, {"b64": evil}], evil: evil}),
            &json!(evil),
        );
        record["process"]["comm"] = json!(evil);
        record["actor"]["id"] = json!(evil);
        record["verdict"] = json!(evil);
        for kind in ["syscall", "gap", "system", "event"] {
            record["kind"] = json!(kind);
            record["gap"] = json!({"stage": evil, "from": evil, "cpu": evil});
            record["detail"] = json!({"reason": evil, "argv": [evil], evil: evil});
            for action in ["openat", "process.found", "some.other", evil] {
                record["action"] = json!(action);
                let line = line(&record, 4, Some(60));
                let marks = ['\r', '\n', '\u{202e}', '\u{200b}'];
                assert!(!line.contains("\u{1b}[2J") && !line.contains(marks), "{kind}: {line:?}");
            }
        }
    }
}
