//! The members that a record must have, and their form. Source: `schemas/format.md`, section 1.
//!
//! The bytes are canonical when they come here, so that their first byte tells a value's type.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use graven_ledger::Members;
use graven_record::canonical;
use graven_record::{Hash, SCHEMA_VERSION, Timestamp};

/// What is wrong with a record's form, and what in it is not known.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// The first member that is missing or malformed, in a sentence.
    pub(crate) wrong: Option<String>,
    /// The first member, or system action, that this version does not know.
    pub(crate) unknown: Option<String>,
}

/// The form of one value.
#[derive(Clone, Copy)]
enum Form {
    Any,
    Text,
    TextOrBytes,
    Integer,
    Natural,
    Null,
    IntegerOrNull,
    /// An integer, or as a string a decimal one that is beyond 2^53−1.
    Number,
    NumberOrNull,
    IntegerOrText,
    Decimal,
    Object,
    Texts,
    Time,
    Hash,
    Uuid,
    /// One of these words.
    Word(&'static [&'static str]),
    /// An object of these members.
    Members(&'static [Member]),
    /// `null`, or an object of these members.
    NullOr(&'static [Member]),
}

/// Name, form, and whether it must be there.
type Member = (&'static str, Form, bool);

const ACTOR: &[Member] = &[
    ("id", Form::Text, true),
    ("kind", Form::Word(&["user", "agent", "system", "service"]), true),
    ("via", Form::Any, false),
];
const SUBJECT: &[Member] = &[("id", Form::TextOrBytes, true), ("kind", Form::Text, true)];
const PLACE: &[Member] =
    &[("device", Form::Text, false), ("host", Form::Text, true), ("ip", Form::Text, false)];
const TRUETIME: &[Member] = &[
    ("clock", Form::Word(&["unsynchronised"]), false),
    ("earliest", Form::Any, true),
    ("latest", Form::Any, true),
];
const PROCESS: &[Member] = &[
    ("cgroup", Form::TextOrBytes, true),
    ("comm", Form::TextOrBytes, true),
    ("container", Form::Text, false),
    ("egid", Form::Integer, false),
    ("euid", Form::Integer, false),
    ("executable", Form::TextOrBytes, true),
    ("gid", Form::Integer, true),
    ("mnt_ns", Form::Integer, false),
    ("net_ns", Form::Integer, false),
    ("pid", Form::Integer, true),
    ("pid_ns", Form::Integer, false),
    ("ppid", Form::Integer, true),
    ("tid", Form::Integer, true),
    ("uid", Form::Integer, true),
];
const SYSCALL: &[Member] = &[
    ("arch", Form::Text, true),
    ("args", Form::Object, true),
    ("duration_ns", Form::Number, false),
    ("flags", Form::Texts, false),
    ("id", Form::Integer, true),
    ("name", Form::Text, true),
    ("result", Form::IntegerOrText, false),
];
const PAYLOAD: &[Member] = &[("after", Form::Object, false), ("before", Form::Object, false)];
const APPLIED: &[Member] =
    &[("changes", Form::Texts, true), ("file", Form::Text, true), ("sha256", Form::Hash, true)];
const BUDGET: &[Member] = &[
    ("bytes_max", Form::NumberOrNull, true),
    ("free_bytes", Form::Number, true),
    ("free_bytes_min", Form::NumberOrNull, true),
    ("used_bytes", Form::Number, true),
];
const RELEASED: &[Member] = &[
    ("bytes", Form::Number, true),
    ("count", Form::Natural, true),
    ("first", Form::Natural, true),
    ("last", Form::Hash, true),
    ("newest", Form::Time, true),
    ("segments", Form::Natural, true),
    ("sha256", Form::Hash, true),
    ("sinks", Form::Texts, true),
];
const OPENED: &[Member] = &[("header", Form::Hash, true), ("height", Form::Natural, true)];
const COPIED: &[Member] = &[("count", Form::Natural, true), ("first", Form::Natural, true)];
const DAMAGED: &[Member] = &[
    ("bytes", Form::Natural, true),
    ("offset", Form::Natural, true),
    ("segment", Form::Any, true),
    ("sha256", Form::Hash, true),
];
const RECOVERED: &[Member] =
    &[("copied", Form::Members(COPIED), true), ("damaged", Form::NullOr(DAMAGED), true)];
const LEFT_OUT: &[Member] =
    &[("by", Form::Members(FILTERS), true), ("from", Form::Time, true), ("to", Form::Time, true)];
const FILTERS: &[Member] = &[("filter", Form::Object, false), ("path", Form::Object, false)];
const SOURCES: &[&str] = &["kernel", "api", "ui", "fix", "chain", "kafka", "file", "system"];

const fn gap(cpu: Form, lost: Form, bounds: Form) -> [Member; 5] {
    [
        ("cpu", cpu, true),
        ("from", bounds, true),
        ("lost", lost, true),
        ("stage", Form::Text, true),
        ("to", bounds, true),
    ]
}
const GAP_RING: &[Member] = &gap(Form::Integer, Form::Integer, Form::Integer);
const GAP_CALLS: &[Member] = &gap(Form::IntegerOrNull, Form::Integer, Form::IntegerOrNull);
const GAP_DOWNTIME: &[Member] = &gap(Form::Null, Form::Null, Form::Time);

/// Checks the members of a record whose bytes are canonical. What is the same as in `before`, a record that is
/// as it should be, needs no second look.
pub(crate) fn check(members: &Members<'_>, before: &Members<'_>) -> Shape {
    let mut shape = Shape { wrong: None, unknown: members.unknown.map(text) };
    if let Err(wrong) = shape.record(members, before) {
        shape.wrong = Some(wrong);
    }
    shape
}

/// Whether a member has to be checked.
fn is_news(value: Option<&[u8]>, was: Option<&[u8]>) -> bool {
    value.is_none() || value != was
}

fn is(value: Option<&[u8]>, word: &str) -> bool {
    value.is_some_and(|value| canonical::is_string(value, word))
}

impl Shape {
    fn record(&mut self, it: &Members<'_>, was: &Members<'_>) -> Result<(), String> {
        self.must("action", it.action, Form::Text)?;
        if is_news(it.actor, was.actor) {
            self.must("actor", it.actor, Form::Members(ACTOR))?;
        }
        self.must("schema_version", it.schema_version, Form::Word(&[SCHEMA_VERSION]))?;
        self.must("source", it.source, Form::Word(SOURCES))?;
        if is_news(it.subject, was.subject) {
            self.must("subject", it.subject, Form::Members(SUBJECT))?;
        }
        self.must("timestamp_truetime", it.timestamp_truetime, Form::Members(TRUETIME))?;
        if is_news(it.trace_id, was.trace_id) {
            self.must("trace_id", it.trace_id, Form::Uuid)?;
        }
        if is_news(it.place, was.place) {
            self.must("where", it.place, Form::Members(PLACE))?;
        }
        match it.kind {
            kind if is(kind, "syscall") => self.syscall(it, was),
            kind if is(kind, "event") => self.event(it),
            kind if is(kind, "gap") => self.gap(it),
            kind if is(kind, "system") => self.system(it),
            _ => Err("`kind` is none of syscall, event, gap and system".into()),
        }
    }

    fn syscall(&mut self, it: &Members<'_>, was: &Members<'_>) -> Result<(), String> {
        self.must("enforcement", it.enforcement, Form::Word(&["observed"]))?;
        self.must("mono_ns", it.mono_ns, Form::Decimal)?;
        if is_news(it.process, was.process) {
            self.must("process", it.process, Form::Members(PROCESS))?;
        }
        self.must("syscall", it.syscall, Form::Members(SYSCALL))?;
        self.may("target_host", it.target_host, Form::Text)?;
        self.must("verdict", it.verdict, Form::Word(&["PERMIT"]))?;
        let mut name = None;
        canonical::members(it.syscall.unwrap_or_default(), |key, value| {
            if key == b"name" {
                name = Some(value);
            }
        });
        if name != it.action {
            return Err("`action` is not the system call's name".into());
        }
        self.others(&[
            ("bytes_severed", it.bytes_severed),
            ("detail", it.detail),
            ("external_trace_id", it.external_trace_id),
            ("gap", it.gap),
            ("occurred", it.occurred),
            ("payload", it.payload),
        ]);
        Ok(())
    }

    fn event(&mut self, it: &Members<'_>) -> Result<(), String> {
        self.may("bytes_severed", it.bytes_severed, Form::Integer)?;
        self.may("external_trace_id", it.external_trace_id, Form::Text)?;
        self.may("payload", it.payload, Form::Members(PAYLOAD))?;
        self.may("target_host", it.target_host, Form::Text)?;
        self.others(&[("detail", it.detail), ("gap", it.gap)]);
        self.not_a_call(it);
        self.others(&[("process", it.process)]);
        Ok(())
    }

    fn gap(&mut self, it: &Members<'_>) -> Result<(), String> {
        let gap = it.gap.ok_or("`gap` is missing")?;
        let mut stage = None;
        canonical::members(gap, |key, value| {
            if key == b"stage" {
                stage = Some(value);
            }
        });
        let form = match stage {
            stage if is(stage, "ring") => GAP_RING,
            stage if ["stash", "recursion", "decode"].iter().any(|it| is(stage, it)) => GAP_CALLS,
            stage if is(stage, "downtime") => GAP_DOWNTIME,
            _ => return Err("`gap` has no stage that is known".into()),
        };
        self.must("gap", it.gap, Form::Members(form))?;
        self.others(&[("detail", it.detail), ("process", it.process)]);
        self.not_an_event(it);
        self.not_a_call(it);
        Ok(())
    }

    fn system(&mut self, it: &Members<'_>) -> Result<(), String> {
        self.must("detail", it.detail, Form::Object)?;
        self.may("process", it.process, Form::Members(PROCESS))?;
        let from_kernel = is(it.source, "kernel");
        if from_kernel && it.process.is_none() {
            return Err("`process` is missing on a system record from the kernel".into());
        }
        match it.action.and_then(canonical::string).as_deref() {
            Some("block.opened") => self.must("detail", it.detail, Form::Members(OPENED))?,
            Some("recovery.completed") => {
                self.must("detail", it.detail, Form::Members(RECOVERED))?;
            }
            Some("config.applied") => self.must("detail", it.detail, Form::Members(APPLIED))?,
            Some("budget.reached" | "budget.resumed") => {
                self.must("detail", it.detail, Form::Members(BUDGET))?;
            }
            Some("segment.released") => {
                self.must("detail", it.detail, Form::Members(RELEASED))?;
            }
            Some("capture.left_out") => {
                self.must("detail", it.detail, Form::Members(LEFT_OUT))?;
            }
            Some(
                "process.forked" | "process.executed" | "process.exited" | "process.found"
                | "process.moved" | "cgroup.made" | "cgroup.removed",
            ) => {
                if !from_kernel {
                    return Err("`source` of a task's or cgroup's record is not kernel".into());
                }
            }
            Some("ledger.created" | "pipeline.started" | "pipeline.stopped" | "heartbeat") => {}
            other => {
                let action = other.unwrap_or_default();
                self.note_unknown(|| format!("action {action}"));
            }
        }
        if !from_kernel {
            self.others(&[("process", it.process)]);
        }
        self.others(&[("gap", it.gap)]);
        self.not_an_event(it);
        self.not_a_call(it);
        Ok(())
    }

    fn not_an_event(&mut self, it: &Members<'_>) {
        self.others(&[
            ("bytes_severed", it.bytes_severed),
            ("external_trace_id", it.external_trace_id),
            ("occurred", it.occurred),
            ("payload", it.payload),
            ("target_host", it.target_host),
        ]);
    }

    fn not_a_call(&mut self, it: &Members<'_>) {
        self.others(&[
            ("enforcement", it.enforcement),
            ("mono_ns", it.mono_ns),
            ("syscall", it.syscall),
            ("verdict", it.verdict),
        ]);
    }

    /// Members that the format does not put on this kind of record: unknown there.
    fn others(&mut self, members: &[(&str, Option<&[u8]>)]) {
        if let Some((name, _)) = members.iter().find(|(_, value)| value.is_some()) {
            self.note_unknown(|| (*name).to_owned());
        }
    }

    fn note_unknown(&mut self, name: impl FnOnce() -> String) {
        if self.unknown.is_none() {
            self.unknown = Some(name());
        }
    }

    fn must(&mut self, name: &str, value: Option<&[u8]>, form: Form) -> Result<(), String> {
        let value = value.ok_or_else(|| format!("`{name}` is missing"))?;
        self.value(name, value, form)
    }

    fn may(&mut self, name: &str, value: Option<&[u8]>, form: Form) -> Result<(), String> {
        value.map_or(Ok(()), |value| self.value(name, value, form))
    }

    /// Checks one value; `name` is the way to it.
    fn value(&mut self, name: &str, value: &[u8], form: Form) -> Result<(), String> {
        match form {
            Form::NullOr(_) if value == b"null" => Ok(()),
            Form::Members(members) | Form::NullOr(members) => self.members(name, value, members),
            _ if plain(value, form) => Ok(()),
            _ => Err(format!("`{name}` is malformed")),
        }
    }

    /// Checks the members of an object. Both lists are in the order of their names.
    fn members(&mut self, path: &str, value: &[u8], members: &[Member]) -> Result<(), String> {
        if value.first() != Some(&b'{') {
            return Err(format!("`{path}` is no object"));
        }
        let mut expected = members.iter().peekable();
        let (mut malformed, mut missing) = (Ok(()), None);
        canonical::members(value, |key, value| {
            // Names are of a-z and _, so that an escape in a key sorts before them, decoded or not.
            while let Some((name, _, must)) = expected.next_if(|it| it.0.as_bytes() < key) {
                missing = missing.or(must.then_some(name));
            }
            match expected.next_if(|it| it.0.as_bytes() == key) {
                Some((_, form, _)) if malformed.is_ok() && !plain(value, *form) => {
                    malformed = self.value(&format!("{path}.{}", text(key)), value, *form);
                }
                Some(_) => {}
                None => self.note_unknown(|| format!("{path}.{}", text(key))),
            }
        });
        malformed?;
        match missing.or_else(|| expected.find(|(.., must)| *must).map(|(name, ..)| name)) {
            Some(name) => Err(format!("`{path}.{name}` is missing")),
            None => Ok(()),
        }
    }
}

/// A key, to be shown.
fn text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

/// True where `value` has a form that needs no further look inside.
fn plain(value: &[u8], form: Form) -> bool {
    let first = value.first().copied().unwrap_or_default();
    let is_null = value == b"null";
    let is_integer = matches!(first, b'-' | b'0'..=b'9');
    let is_text = first == b'"';
    match form {
        Form::Any => true,
        Form::Text => is_text,
        Form::TextOrBytes => is_text || is_bytes(value),
        Form::Integer => is_integer,
        Form::Natural => is_integer && first != b'-',
        Form::Null => is_null,
        Form::IntegerOrNull => is_integer || is_null,
        Form::Number => is_integer || is_decimal(value),
        Form::NumberOrNull => is_integer || is_decimal(value) || is_null,
        Form::IntegerOrText => is_integer || is_text,
        Form::Decimal => is_decimal(value),
        Form::Object => first == b'{',
        Form::Texts => first == b'[' && texts(value),
        Form::Time => canonical::string(value).is_some_and(|it| Timestamp::parse(&it).is_some()),
        Form::Hash => canonical::string(value).is_some_and(|it| it.parse::<Hash>().is_ok()),
        Form::Uuid => is_uuid(value),
        Form::Word(words) => words.iter().any(|word| is(Some(value), word)),
        Form::Members(_) | Form::NullOr(_) => false,
    }
}

/// True for `{"b64":"…"}`.
fn is_bytes(value: &[u8]) -> bool {
    value
        .strip_prefix(b"{\"b64\":\"")
        .and_then(|value| value.strip_suffix(b"\"}"))
        .is_some_and(|text| BASE64_STANDARD.decode(text).is_ok())
}

/// True for a decimal number without sign and leading zeros, as a string.
fn is_decimal(value: &[u8]) -> bool {
    let [b'"', digits @ .., b'"'] = value else {
        return false;
    };
    !digits.is_empty()
        && digits.iter().all(u8::is_ascii_digit)
        && (digits[0] != b'0' || digits.len() == 1)
}

/// True for a lower-case UUID.
fn is_uuid(value: &[u8]) -> bool {
    let [b'"', text @ .., b'"'] = value else {
        return false;
    };
    text.len() == 36
        && text.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

/// True for an array of strings. Canonical: so an element begins behind `[` or `,` outside strings.
fn texts(array: &[u8]) -> bool {
    let inner = &array[1..array.len() - 1];
    let (mut at_start, mut in_text, mut escaped) = (true, false, false);
    for byte in inner {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b',' => {
                at_start = true;
                continue;
            }
            _ => return false,
        }
        if at_start && *byte != b'"' {
            return false;
        }
        at_start = false;
    }
    true
}

#[cfg(test)]
mod tests;
