//! A record as one line for a person.

use std::fmt;
use std::io::{self, Write};

use serde_json::Value;

/// Characters of an argument list that are shown.
const DETAIL_CHARS: usize = 160;

#[derive(Clone, Copy)]
enum Paint {
    Dim,
    Bold,
    Red,
    Yellow,
    Cyan,
}

/// Writes time, actor, process, action, subject and result.
pub(super) fn write(out: &mut impl Write, record: &Value, colour: bool) -> io::Result<()> {
    let paint = |paint, text: &dyn fmt::Display| Painted { paint, text: text.to_string(), colour };
    let text =
        |pointer: &str| clean(record.pointer(pointer).and_then(Value::as_str).unwrap_or_default());
    let time = text("/timestamp_truetime/earliest");
    // Of `2026-11-21T00:54:45.123456789Z` the time of day to the millisecond.
    let time = time.get(11..23).unwrap_or(&time);
    write!(out, "{} {}", paint(Paint::Dim, &time), paint(Paint::Cyan, &text("/actor/id")))?;
    if let Some(pid) = record.pointer("/process/pid") {
        let process = format!("{}[{pid}]", text("/process/comm"));
        write!(out, " {}", paint(Paint::Dim, &process))?;
    }
    let action = text("/action");
    let action_paint = if action == "gap" { Paint::Red } else { Paint::Bold };
    write!(out, " {} {}", paint(action_paint, &action), text("/subject/id"))?;
    match record["kind"].as_str() {
        Some("syscall") => write_result(out, &record["syscall"]["result"], colour)?,
        Some("gap") => write!(out, " {}", paint(Paint::Red, &shortened(&record["gap"])))?,
        Some("system") => write!(out, " {}", paint(Paint::Dim, &shortened(&record["detail"])))?,
        _ => {}
    }
    let verdict = text("/verdict");
    if !matches!(&*verdict, "" | "PERMIT") {
        write!(out, " {}", paint(Paint::Red, &verdict))?;
    }
    writeln!(out)
}

fn write_result(out: &mut impl Write, result: &Value, colour: bool) -> io::Result<()> {
    let number = result.as_i64();
    let errno = number.filter(|number| (-4095..0).contains(number));
    match errno.and_then(|number| i32::try_from(-number).ok()) {
        Some(errno) => {
            let text =
                syscalls::Errno::new(errno).name().map_or(format!("-{errno}"), str::to_owned);
            write!(out, " = {}", Painted { paint: Paint::Yellow, text, colour })
        }
        None if result.is_null() => Ok(()),
        None => write!(out, " = {}", clean(&result.to_string())),
    }
}

/// What stands in the record, on one line and not too long.
fn shortened(value: &Value) -> String {
    let text = clean(&value.to_string());
    match text.char_indices().nth(DETAIL_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// Text from the record is the agent's: what would move the cursor or change the colour is shown, not sent.
fn clean(text: &str) -> String {
    text.chars()
        .map(|char| match char {
            char if char.is_control() => char.escape_default().to_string(),
            // Marks that turn the direction of writing.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                char.escape_unicode().to_string()
            }
            char => char.to_string(),
        })
        .collect()
}

struct Painted {
    paint: Paint,
    text: String,
    colour: bool,
}

impl fmt::Display for Painted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.colour {
            return f.write_str(&self.text);
        }
        let code = match self.paint {
            Paint::Dim => "2",
            Paint::Bold => "1",
            Paint::Red => "31",
            Paint::Yellow => "33",
            Paint::Cyan => "36",
        };
        write!(f, "\x1b[{code}m{}\x1b[0m", self.text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(record: &Value, colour: bool) -> String {
        let mut out = Vec::new();
        write(&mut out, record, colour).expect("memory takes it");
        String::from_utf8(out).expect("text")
    }

    fn call(subject: &str, result: i64) -> Value {
        json!({
            "action": "openat", "actor": {"id": "ci", "kind": "agent"}, "kind": "syscall",
            "process": {"comm": "sh", "pid": 7}, "subject": {"id": subject, "kind": "file"},
            "syscall": {"result": result}, "verdict": "PERMIT",
            "timestamp_truetime": {"earliest": "2026-11-21T00:54:45.123456789Z"}
        })
    }

    #[test]
    fn a_call_is_one_line() {
        assert_eq!(
            shown(&call("/etc/passwd", 3), false),
            "00:54:45.123 ci sh[7] openat /etc/passwd = 3\n"
        );
        assert_eq!(
            shown(&call("/nope", -2), false),
            "00:54:45.123 ci sh[7] openat /nope = ENOENT\n"
        );
    }

    #[test]
    fn what_an_agent_writes_cannot_move_the_cursor() {
        let hostile = call("/tmp/\u{1b}[2J\u{202e}x\r", 0);
        for colour in [false, true] {
            let line = shown(&hostile, colour);
            assert!(!line.contains("\u{1b}[2J") && !line.contains(['\r', '\u{202e}']), "{line:?}");
        }
    }
}
