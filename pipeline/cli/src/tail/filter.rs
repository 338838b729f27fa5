//! Which records are shown.

use clap::Args;
use globset::{GlobBuilder, GlobMatcher};
use graven_record::Timestamp;
use serde_json::Value;

use super::line::errno;
use crate::value::moment;

#[derive(Debug, Args)]
pub(super) struct Filter {
    /// Only records of this actor.
    #[arg(long, value_name = "ID")]
    actor: Option<String>,
    /// Only records whose action, such as the name of a call, matches this glob.
    #[arg(long, value_name = "GLOB", value_parser = glob)]
    call: Option<GlobMatcher>,
    /// Only what went wrong: calls that failed, refusals and gaps.
    #[arg(long)]
    failed: bool,
    /// Only records of this kind.
    #[arg(long, value_name = "KIND", value_parser = ["syscall", "event", "gap", "system"])]
    kind: Option<String>,
    /// Only records whose subject, such as a file, matches this glob; `*` stops at a slash, `**` does not.
    #[arg(long, value_name = "GLOB", value_parser = glob)]
    path: Option<GlobMatcher>,
    /// Only records since then: a time such as 2026-11-21T08:00:00Z, or how long ago, such as 10m. All of them,
    /// unless --lines says how many.
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub(super) since: Option<Timestamp>,
    /// Only records until then; stops at the newest of them.
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub(super) until: Option<Timestamp>,
    /// Only records with this verdict. This version observes: the verdict of each call is PERMIT.
    #[arg(long, value_name = "VERDICT", value_parser = ["PERMIT", "BLOCK", "QUARANTINE"], ignore_case = true)]
    verdict: Option<String>,
}

fn glob(text: &str) -> Result<GlobMatcher, globset::Error> {
    Ok(GlobBuilder::new(text).literal_separator(true).build()?.compile_matcher())
}

/// When a record was made, at the earliest.
pub(super) fn time(record: &Value) -> Option<Timestamp> {
    let text = record.pointer("/timestamp_truetime/earliest")?;
    text.as_str().and_then(Timestamp::parse)
}

impl Filter {
    /// The record, if it is to be shown.
    pub(super) fn passes(&self, record: &[u8]) -> Option<Value> {
        let value: Value = serde_json::from_slice(record).ok()?;
        let text =
            |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let is = |wanted: &Option<String>, pointer| {
            wanted.as_ref().is_none_or(|wanted| wanted == text(pointer))
        };
        let matches = |glob: &Option<GlobMatcher>, pointer| {
            glob.as_ref().is_none_or(|glob| glob.is_match(text(pointer)))
        };
        let time = time(&value);
        let passes = is(&self.actor, "/actor/id")
            && is(&self.kind, "/kind")
            && self.verdict.as_ref().is_none_or(|it| it.eq_ignore_ascii_case(text("/verdict")))
            && matches(&self.call, "/action")
            && matches(&self.path, "/subject/id")
            && self.since.is_none_or(|since| time.is_some_and(|time| time >= since))
            && self.until.is_none_or(|until| time.is_some_and(|time| time <= until))
            && (!self.failed || has_failed(&value));
        passes.then_some(value)
    }
}

/// A call that gave an error, a refusal, or a gap.
fn has_failed(record: &Value) -> bool {
    let refused = record["verdict"].as_str().is_some_and(|verdict| verdict != "PERMIT");
    refused || record["kind"] == "gap" || errno(&record["syscall"]["result"]).is_some()
}
