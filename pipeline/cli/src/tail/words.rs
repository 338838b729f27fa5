//! What Graven's own records say, in words.

use graven_record::Timestamp;
use graven_verify::screen::{count, span};
use serde_json::Value;

use super::call::words;

/// What a gap's member `gap` says is missing. Source: `schemas/format.md`, section 1.3.
pub(super) fn gap(gap: &Value) -> String {
    let time = |member: &str| gap[member].as_str().and_then(Timestamp::parse);
    let lost = gap["lost"].as_u64().unwrap_or_default();
    let cpu = gap["cpu"].as_u64().map(|cpu| format!(" (cpu {cpu})")).unwrap_or_default();
    let (noun, why) = match gap["stage"].as_str() {
        Some("downtime") => {
            let ns = time("from").zip(time("to")).map(|(from, to)| to.unix_ns - from.unix_ns);
            let ns = ns.and_then(|ns| u64::try_from(ns).ok()).unwrap_or_default();
            return format!("nothing was recorded for {}", span(ns));
        }
        Some("ring") => ("record", "kernel ring full"),
        Some("stash") => ("call", "no memory to hold them"),
        Some("recursion") => ("call", "kernel program busy"),
        Some("decode") => ("record", "unreadable"),
        _ => ("record", "for a reason that this version does not know"),
    };
    format!("{} lost: {why}{cpu}", count(lost, noun))
}

/// What a system record says; as it stands, where nothing better is known.
pub(super) fn system(record: &Value) -> String {
    let detail = &record["detail"];
    known(record, detail).unwrap_or_else(|| detail.to_string())
}

fn known(record: &Value, detail: &Value) -> Option<String> {
    let text = |pointer: &str| detail.pointer(pointer)?.as_str();
    let number = |pointer: &str| detail.pointer(pointer)?.as_u64();
    Some(match record["action"].as_str()? {
        "block.opened" => format!("block {}", number("/height")?),
        "ledger.created" => text("/origin")?.to_owned(),
        "pipeline.started" => {
            let version = text("/versions/graven")?;
            format!(
                "graven {version}, {} {} on {}",
                text("/host/system")?,
                text("/host/kernel")?,
                text("/host/name")?
            )
        }
        "heartbeat" => format!(
            "{}, {}",
            count(number("/counters/records")?, "record"),
            count(number("/counters/gaps")?, "gap")
        ),
        "pipeline.stopped" => {
            let counters = |name: &str| {
                number(&format!("/counters/{name}")).or_else(|| number(&format!("/{name}")))
            };
            format!(
                "{}, {}",
                count(counters("records")?, "record"),
                count(counters("gaps")?, "gap")
            )
        }
        "recovery.completed" => {
            let copied = format!("{} copied", count(number("/copied/count")?, "unsealed record"));
            let damaged = number("/damaged/bytes");
            let damaged = damaged.map(|it| format!(", {} damaged", count(it, "byte")));
            copied + &damaged.unwrap_or_default()
        }
        "config.applied" => {
            let hash = text("/sha256")?.get(..11)?;
            let changes = u64::try_from(detail["changes"].as_array()?.len()).ok()?;
            format!("{hash}…, {}", count(changes, "change"))
        }
        "capture.left_out" => {
            let by = detail["by"].as_object()?.values().filter_map(Value::as_object);
            let calls = by.flat_map(|counts| counts.values()).filter_map(Value::as_u64).sum();
            format!("{} left out by filters", count(calls, "call"))
        }
        "process.found" => {
            let argv = detail["argv"].as_array().map(|argv| format!(" {}", words(argv)));
            text("/reason")?.to_owned() + &argv.unwrap_or_default()
        }
        "process.forked" if detail["thread"] == true => format!("thread {}", number("/child_tid")?),
        "process.forked" => format!("child {}", number("/child_pid")?),
        "process.executed" => record.pointer("/process/executable")?.as_str()?.to_owned(),
        "process.exited" => match &detail["signal"] {
            Value::Null => format!("code {}", number("/code")?),
            signal => {
                format!("killed by {}", signal.as_str().map_or(signal.to_string(), str::to_owned))
            }
        },
        "process.moved" => format!("from {} to {}", text("/from/path")?, text("/to/path")?),
        "cgroup.made" | "cgroup.removed" => text("/path")?.to_owned(),
        _ => return None,
    })
}
