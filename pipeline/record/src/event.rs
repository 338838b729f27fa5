//! Application events: one JSON object a line, with the members that are admitted and no other.

use crate::{
    Actor, ActorKind, Body, Draft, Source, Subject, Text, TrueTime, Value, ValueError, Where,
};

/// An event as an application sent it, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    action: String,
    actor: (ActorKind, String, Option<String>),
    bytes_severed: Option<u64>,
    device: Option<String>,
    external_trace_id: Option<String>,
    host: Option<String>,
    ip: Option<String>,
    occurred: Option<String>,
    payload: Option<Value>,
    source: Source,
    subject: (String, String),
    target_host: Option<String>,
    trace_id: Option<String>,
}

/// What of an event is admitted beyond the envelope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admission {
    /// Names that may stand in `payload.before` and `payload.after`. A payload with another name is
    /// refused: what is not listed has no place to land in.
    pub payload_fields: Vec<String>,
}

/// What the host adds to an event that does not say it.
#[derive(Debug, Clone, Copy)]
pub struct Defaults<'a> {
    /// This host's name.
    pub host: &'a str,
    /// The ledger's origin.
    pub ledger: &'a str,
    /// When it came in.
    pub time: TrueTime,
    /// The run's UUID.
    pub trace_id: &'a str,
}

/// Longest line of an event, in bytes: more than any record may be, so that white space and escapes
/// do not count against the sender.
pub const EVENT_LINE_BYTES_MAX: usize = 1 << 20;

const MEMBERS: &str = "action, actor, bytes_severed, external_trace_id, occurred, payload, source, \
                       subject, target_host, trace_id, where";

/// Actions that Graven itself writes: an application cannot claim them.
const RESERVED_PREFIXES: [&str; 13] = [
    "process.",
    "cgroup.",
    "capture.",
    "ledger.",
    "pipeline.",
    "block.",
    "policy.",
    "syscall.",
    "anchor.",
    "proof.",
    "verify.",
    "recovery.",
    "sink.",
];

impl Event {
    /// Reads one line.
    ///
    /// # Errors
    ///
    /// [`ValueError`] with the member and what to do, for anything that is not an admitted event.
    pub fn parse(line: &[u8], admission: &Admission) -> Result<Self, ValueError> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Err(ValueError::at("", "the line is empty: send one JSON object a line"));
        }
        let mut event = Members::of("", Value::parse(line).map_err(one_a_line)?)?;
        let (device, host, ip) = place(event.take("where"))?;
        let parsed = Self {
            action: action(&mut event)?,
            actor: actor(event.take("actor"))?,
            bytes_severed: event.unsigned("bytes_severed")?,
            device,
            external_trace_id: event.text("external_trace_id")?,
            host,
            ip,
            occurred: event.text("occurred")?,
            payload: event.take("payload").map(|value| payload(value, admission)).transpose()?,
            source: source(event.text("source")?.as_deref())?,
            subject: subject(event.take("subject"))?,
            target_host: event.text("target_host")?,
            trace_id: trace_id(event.text("trace_id")?)?,
        };
        event.nothing_else(MEMBERS)?;
        Ok(parsed)
    }

    /// The event as a draft record.
    #[must_use]
    pub fn draft<'a>(&'a self, defaults: &Defaults<'a>) -> Draft<'a> {
        let (kind, id, via) = &self.actor;
        Draft {
            action: &self.action,
            actor: Actor { id: id.into(), kind: *kind, via: via.as_deref().map(Into::into) },
            body: Body::Event {
                bytes_severed: self.bytes_severed,
                external_trace_id: self.external_trace_id.as_deref(),
                occurred: self.occurred.as_deref(),
                payload: self.payload.as_ref(),
                target_host: self.target_host.as_deref(),
            },
            ledger: defaults.ledger,
            place: Where {
                device: self.device.as_deref().map(Into::into),
                host: self.host.as_deref().unwrap_or(defaults.host).into(),
                ip: self.ip.as_deref().map(Into::into),
            },
            source: self.source,
            subject: Subject {
                id: Text::from(self.subject.1.as_str()),
                kind: self.subject.0.as_str().into(),
            },
            time: defaults.time,
            trace_id: self.trace_id.as_deref().unwrap_or(defaults.trace_id),
        }
    }
}

/// Says what to send where a line is no JSON at all.
fn one_a_line(mut error: ValueError) -> ValueError {
    if error.problem.starts_with("is not JSON") {
        error.problem.push_str(": send one object a line");
    }
    error
}

/// An object's members, taken out one by one so that what is left over is unknown.
struct Members {
    path: &'static str,
    members: Vec<(String, Value)>,
}

impl Members {
    fn of(path: &'static str, value: Value) -> Result<Self, ValueError> {
        match value {
            Value::Object(members) => Ok(Self { path, members }),
            other => {
                Err(ValueError::at(path, format!("expected an object, found {}", other.kind())))
            }
        }
    }

    fn at(&self, member: &str) -> String {
        if self.path.is_empty() { member.to_owned() } else { format!("{}.{member}", self.path) }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let index = self.members.iter().position(|(key, _)| key == name)?;
        Some(self.members.remove(index).1)
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, ValueError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(Value::String(_)) => Err(ValueError::at(self.at(name), "is empty")),
            Some(other) => Err(ValueError::at(
                self.at(name),
                format!("expected a string, found {}", other.kind()),
            )),
        }
    }

    fn required_text(&mut self, name: &str, why: &str) -> Result<String, ValueError> {
        self.text(name)?.ok_or_else(|| ValueError::at(self.at(name), format!("is missing: {why}")))
    }

    fn unsigned(&mut self, name: &str) -> Result<Option<u64>, ValueError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Integer(value)) if value >= 0 => Ok(Some(value.unsigned_abs())),
            Some(other) => Err(ValueError::at(
                self.at(name),
                format!("expected an integer of at least 0, found {}", other.kind()),
            )),
        }
    }

    fn nothing_else(&self, admitted: &str) -> Result<(), ValueError> {
        match self.members.first() {
            None => Ok(()),
            Some((name, _)) => Err(ValueError::at(
                self.at(name),
                format!("is not an admitted member; admitted are {admitted}"),
            )),
        }
    }
}

fn action(event: &mut Members) -> Result<String, ValueError> {
    let action =
        event.required_text("action", "say what was done, for instance \"trade.amended\"")?;
    if action == "heartbeat"
        || action == "gap"
        || RESERVED_PREFIXES.iter().any(|prefix| action.starts_with(prefix))
    {
        return Err(ValueError::at(
            "action",
            format!("`{action}` is one that Graven itself writes"),
        ));
    }
    Ok(action)
}

fn actor(value: Option<Value>) -> Result<(ActorKind, String, Option<String>), ValueError> {
    const WHY: &str =
        "is missing: name who did it, for instance {\"kind\":\"user\",\"id\":\"ada\"}";
    let mut actor = Members::of("actor", value.ok_or_else(|| ValueError::at("actor", WHY))?)?;
    let kind = match actor.required_text("kind", "user, agent, system or service")?.as_str() {
        "user" => ActorKind::User,
        "agent" => ActorKind::Agent,
        "system" => ActorKind::System,
        "service" => ActorKind::Service,
        other => {
            return Err(ValueError::at(
                "actor.kind",
                format!("`{other}` is not one of user, agent, system, service"),
            ));
        }
    };
    let id = actor.required_text("id", "the actor's name")?;
    let via = actor.text("via")?;
    actor.nothing_else("id, kind, via")?;
    Ok((kind, id, via))
}

fn subject(value: Option<Value>) -> Result<(String, String), ValueError> {
    const WHY: &str =
        "is missing: name the entity acted on, for instance {\"kind\":\"trade\",\"id\":\"T-17\"}";
    let mut subject = Members::of("subject", value.ok_or_else(|| ValueError::at("subject", WHY))?)?;
    let kind = subject.required_text("kind", "the kind of entity")?;
    let id = subject.required_text("id", "the entity's name")?;
    subject.nothing_else("id, kind")?;
    Ok((kind, id))
}

fn source(text: Option<&str>) -> Result<Source, ValueError> {
    match text {
        None | Some("file") => Ok(Source::File),
        Some("api") => Ok(Source::Api),
        Some("ui") => Ok(Source::Ui),
        Some("fix") => Ok(Source::Fix),
        Some("chain") => Ok(Source::Chain),
        Some("kafka") => Ok(Source::Kafka),
        Some(other) => Err(ValueError::at(
            "source",
            format!("`{other}` is not one of api, ui, fix, chain, kafka, file"),
        )),
    }
}

fn trace_id(text: Option<String>) -> Result<Option<String>, ValueError> {
    text.map(|text| match uuid::Uuid::try_parse(&text) {
        Ok(id) => Ok(id.hyphenated().to_string()),
        Err(_) => Err(ValueError::at(
            "trace_id",
            "is not a UUID: send an id of another form as `external_trace_id`",
        )),
    })
    .transpose()
}

/// Device, host and address.
type Place = (Option<String>, Option<String>, Option<String>);

fn place(value: Option<Value>) -> Result<Place, ValueError> {
    let Some(value) = value else {
        return Ok((None, None, None));
    };
    let mut place = Members::of("where", value)?;
    let found = (place.text("device")?, place.text("host")?, place.text("ip")?);
    place.nothing_else("device, host, ip")?;
    Ok(found)
}

fn payload(value: Value, admission: &Admission) -> Result<Value, ValueError> {
    let mut payload = Members::of("payload", value)?;
    let mut sides = Vec::new();
    for (side, path) in [("after", "payload.after"), ("before", "payload.before")] {
        let Some(value) = payload.take(side) else {
            continue;
        };
        let fields = Members::of(path, value)?.members;
        if let Some((name, _)) =
            fields.iter().find(|(name, _)| !admission.payload_fields.contains(name))
        {
            return Err(ValueError::at(
                format!("{path}.{name}"),
                "is not an admitted payload field: list it with --payload-field, or under `payload_fields` in \
                 the settings of the service that writes the ledger",
            ));
        }
        sides.push((side.to_owned(), Value::Object(fields)));
    }
    payload.nothing_else("after, before")?;
    Ok(Value::Object(sides))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"action":"trade.amended","actor":{"kind":"user","id":"ada"},"subject":{"kind":"trade","id":"T-17"}}"#;

    fn parse(line: &str) -> Result<Event, ValueError> {
        Event::parse(line.as_bytes(), &Admission { payload_fields: vec!["price".into()] })
    }

    /// GOOD with `extra` put in as its first members.
    fn with(extra: &str) -> Result<Event, ValueError> {
        parse(&GOOD.replacen('{', &format!("{{{extra},"), 1))
    }

    #[test]
    fn good_events_pass() {
        parse(GOOD).unwrap();
        let full = with(
            r#""source":"fix","occurred":"yesterday","bytes_severed":0,"target_host":"h","external_trace_id":"x","trace_id":"6F9619FF-8B86-D011-B42D-00CF4FC964FF","where":{"host":"desk-4","ip":"10.0.0.1","device":"d"},"payload":{"before":{"price":"1.5"},"after":{"price":"2.5"}}"#,
        )
        .unwrap();
        assert_eq!(full.trace_id.as_deref(), Some("6f9619ff-8b86-d011-b42d-00cf4fc964ff"));
    }

    #[test]
    fn each_bad_member_is_named() {
        for (event, member) in [
            (with(r#""colour":1"#), "colour"),
            (with(r#""seq":1"#), "seq"),
            (with(r#""prev":"sha256:00""#), "prev"),
            (with(r#""payload":{"after":{"prompt":"p"}}"#), "payload.after.prompt"),
            (with(r#""payload":{"price":1}"#), "payload.price"),
            (with(r#""payload":[]"#), "payload"),
            (with(r#""payload":{"after":{"price":1.5}}"#), "payload.after.price"),
            (with(r#""payload":{"after":{"price":9007199254740992}}"#), "payload.after.price"),
            (with(r#""payload":{"after":{"price":-0}}"#), "payload.after.price"),
            (with(r#""payload":{"after":{"price":1e2}}"#), "payload.after.price"),
            (with(r#""bytes_severed":-1"#), "bytes_severed"),
            (with(r#""bytes_severed":"1""#), "bytes_severed"),
            (with(r#""source":"kernel""#), "source"),
            (with(r#""trace_id":"7""#), "trace_id"),
            (with(r#""occurred":5"#), "occurred"),
            (with(r#""occurred":"""#), "occurred"),
            (with(r#""where":{"port":1}"#), "where.port"),
            (with(r#""actor":{"kind":"user","id":"b"}"#), "actor"),
            (parse(r#"{"action":"a.b","subject":{"kind":"k","id":"i"}}"#), "actor"),
            (
                parse(
                    r#"{"action":"a.b","actor":{"kind":"ghost","id":"i"},"subject":{"kind":"k","id":"i"}}"#,
                ),
                "actor.kind",
            ),
            (
                parse(
                    r#"{"action":"a.b","actor":{"kind":"user"},"subject":{"kind":"k","id":"i"}}"#,
                ),
                "actor.id",
            ),
            (parse(r#"{"action":"a.b","actor":{"kind":"user","id":"i"}}"#), "subject"),
            (
                parse(r#"{"actor":{"kind":"user","id":"i"},"subject":{"kind":"k","id":"i"}}"#),
                "action",
            ),
            (parse(&GOOD.replace("trade.amended", "block.opened")), "action"),
            (parse(&GOOD.replace("trade.amended", "heartbeat")), "action"),
            (parse(&GOOD.replace("trade.amended", "cgroup.made")), "action"),
            (parse(&GOOD.replace("trade.amended", "capture.left_out")), "action"),
        ] {
            let error = event.expect_err(member);
            assert_eq!(error.member, member, "{error}");
        }
    }

    #[test]
    fn text_that_is_no_json_is_refused() {
        for line in [
            "",
            "  ",
            "[]",
            "{",
            &GOOD[..GOOD.len() - 1],
            "\0\0\0",
            &format!("{GOOD}{GOOD}"),
            &GOOD.replace("ada", r"\ud800"),
            &GOOD.replace("ada", r"\udc00\ud800"),
            &GOOD.replace("ada", "a\0a"),
        ] {
            assert!(parse(line).is_err(), "{line:?}");
        }
        let mut not_utf8 = GOOD.as_bytes().to_vec();
        not_utf8[GOOD.find("ada").unwrap()] = 0xff;
        let error = Event::parse(&not_utf8, &Admission::default()).unwrap_err();
        assert!(error.problem.contains("invalid UTF-8 at byte"), "{error}");
        parse(&GOOD.replace("ada", r"\u0000"))
            .expect("an escaped NUL is a character like any other");
    }

    #[test]
    fn depth_is_bounded_by_the_record() {
        let nested = |depth: usize| {
            let open = "[".repeat(depth);
            let close = "]".repeat(depth);
            with(&format!(r#""payload":{{"after":{{"price":{open}{close}}}}}"#))
        };
        nested(29).expect("the record, payload, after and 29 arrays make 32");
        let error = nested(30).unwrap_err();
        assert!(error.problem.contains("nested deeper than 32"), "{error}");
    }
}
