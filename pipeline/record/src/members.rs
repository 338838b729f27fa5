//! The members of a record.

use std::borrow::Cow;

use crate::Value;
use crate::write::{Canonical, ObjectWriter};
use base64::prelude::{BASE64_STANDARD, Engine as _};

/// Bytes from the kernel: text where they are UTF-8, `{"b64":"…"}` where they are not, so that two
/// different names never look the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text<'a>(pub Cow<'a, [u8]>);

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text.as_bytes()))
    }
}

impl<'a> From<&'a [u8]> for Text<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self(Cow::Borrowed(bytes))
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text.into_bytes()))
    }
}

impl From<Text<'_>> for Value {
    fn from(text: Text<'_>) -> Self {
        match String::from_utf8(text.0.into_owned()) {
            Ok(text) => text.into(),
            Err(error) => Self::object([("b64", BASE64_STANDARD.encode(error.as_bytes()).into())]),
        }
    }
}

impl Canonical for Text<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        if let Ok(text) = std::str::from_utf8(&self.0) {
            return text.write(out);
        }
        let mut object = ObjectWriter::begin(out);
        object.member("b64", &*BASE64_STANDARD.encode(&self.0));
        object.end();
    }
}

/// What kind of actor did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActorKind {
    /// A person.
    User,
    /// An autonomous agent.
    Agent,
    /// A machine or its kernel, Graven included.
    System,
    /// A program that acts for others.
    Service,
}

impl Canonical for ActorKind {
    fn write(&self, out: &mut Vec<u8>) {
        let word: &[u8] = match self {
            Self::User => br#""user""#,
            Self::Agent => br#""agent""#,
            Self::System => br#""system""#,
            Self::Service => br#""service""#,
        };
        out.extend_from_slice(word);
    }
}

/// Who did it: on every record.
#[derive(Debug, Clone)]
pub struct Actor<'a> {
    /// The actor's name among its kind.
    pub id: Cow<'a, str>,
    /// Its kind.
    pub kind: ActorKind,
    /// Through what it acted.
    pub via: Option<Cow<'a, str>>,
}

impl Canonical for Actor<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::begin(out);
        object.member("id", &*self.id);
        object.member("kind", &self.kind);
        object.optional("via", self.via.as_deref());
        object.end();
    }
}

/// The entity acted on.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// The entity's name among its kind.
    pub id: Text<'a>,
    /// Its kind, for instance `file` or `socket`.
    pub kind: Cow<'a, str>,
}

impl Canonical for Subject<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::begin(out);
        object.member("id", &self.id);
        object.member("kind", &*self.kind);
        object.end();
    }
}

/// On which machine.
#[derive(Debug, Clone)]
pub struct Where<'a> {
    /// The device, where the source names one.
    pub device: Option<Cow<'a, str>>,
    /// The host's name.
    pub host: Cow<'a, str>,
    /// The address, where the source names one.
    pub ip: Option<Cow<'a, str>>,
}

impl Canonical for Where<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::begin(out);
        object.optional("device", self.device.as_deref());
        object.member("host", &*self.host);
        object.optional("ip", self.ip.as_deref());
        object.end();
    }
}

/// Through which door a record came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named by the word itself; schemas/format.md lists them")]
pub enum Source {
    Kernel,
    Api,
    Ui,
    Fix,
    Chain,
    Kafka,
    File,
    System,
}

impl Canonical for Source {
    fn write(&self, out: &mut Vec<u8>) {
        let word: &[u8] = match self {
            Self::Kernel => br#""kernel""#,
            Self::Api => br#""api""#,
            Self::Ui => br#""ui""#,
            Self::Fix => br#""fix""#,
            Self::Chain => br#""chain""#,
            Self::Kafka => br#""kafka""#,
            Self::File => br#""file""#,
            Self::System => br#""system""#,
        };
        out.extend_from_slice(word);
    }
}

/// The process that made a system call. What says nothing is `None`, and not on the record.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the kernel's own names")]
pub struct Process<'a> {
    pub cgroup: Text<'a>,
    pub comm: Text<'a>,
    /// The container that the cgroup's path names.
    pub container: Option<&'a str>,
    /// The effective group, where it is not `gid`.
    pub egid: Option<u32>,
    /// The effective user, where it is not `uid`.
    pub euid: Option<u32>,
    pub executable: Text<'a>,
    pub gid: u32,
    /// Inode of the mount namespace, where it is not the recorder's.
    pub mnt_ns: Option<u32>,
    /// Inode of the network namespace, where it is not the recorder's.
    pub net_ns: Option<u32>,
    pub pid: u32,
    /// Inode of the PID namespace, where it is not the recorder's.
    pub pid_ns: Option<u32>,
    pub ppid: u32,
    pub tid: u32,
    pub uid: u32,
}

impl Canonical for Process<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::begin(out);
        object.member("cgroup", &self.cgroup);
        object.member("comm", &self.comm);
        object.optional("container", self.container);
        object.optional("egid", self.egid.as_ref());
        object.optional("euid", self.euid.as_ref());
        object.member("executable", &self.executable);
        object.member("gid", &self.gid);
        object.optional("mnt_ns", self.mnt_ns.as_ref());
        object.optional("net_ns", self.net_ns.as_ref());
        object.member("pid", &self.pid);
        object.optional("pid_ns", self.pid_ns.as_ref());
        object.member("ppid", &self.ppid);
        object.member("tid", &self.tid);
        object.member("uid", &self.uid);
        object.end();
    }
}

/// A system call with its normalized arguments.
#[derive(Debug, Clone)]
pub struct Syscall<'a> {
    /// `x86_64`, `i386` or `x32`.
    pub arch: &'a str,
    /// Canonical JSON of the argument object.
    pub args: &'a [u8],
    /// From entry to exit; `None` for a call that does not return.
    pub duration_ns: Option<u64>,
    /// What weakens the record, sorted.
    pub flags: &'a [&'a str],
    /// The call's number on `arch`.
    pub id: u32,
    /// The call's name.
    pub name: &'a str,
    /// What the kernel returned, −errno on failure.
    pub result: Option<i64>,
}

impl Canonical for Syscall<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::begin(out);
        object.member("arch", self.arch);
        object.key("args").extend_from_slice(self.args);
        if let Some(duration_ns) = self.duration_ns {
            object.member("duration_ns", &Value::from(duration_ns));
        }
        if !self.flags.is_empty() {
            object.member("flags", self.flags);
        }
        object.member("id", &self.id);
        object.member("name", self.name);
        match self.result {
            Some(result) if result.unsigned_abs() > crate::INTEGER_MAX.unsigned_abs() => {
                object.member("result", &*result.to_string());
            }
            Some(result) => object.member("result", &result),
            None => {}
        }
        object.end();
    }
}

/// What could not be handed over (G1). Members that are not known are `null`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The CPU on which it was lost.
    pub cpu: Option<u32>,
    /// First lost sequence number, or the time at which the silence began.
    pub from: Value,
    /// How many records were lost.
    pub lost: Option<u64>,
    /// Where they were lost: `ring`, `stash`, `recursion`, `decode` or `downtime`.
    pub stage: &'static str,
    /// Last lost sequence number, or the time at which the silence ended.
    pub to: Value,
}

impl Canonical for Gap {
    fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::begin(out);
        object.member("cpu", &self.cpu);
        object.member("from", &self.from);
        object.member("lost", &self.lost);
        object.member("stage", self.stage);
        object.member("to", &self.to);
        object.end();
    }
}

/// The members that one kind of record has and the others lack.
#[derive(Debug, Clone)]
pub enum Body<'a> {
    /// `kind: syscall`
    Syscall {
        /// `CLOCK_MONOTONIC` at entry.
        mono_ns: u64,
        /// Who called.
        process: Process<'a>,
        /// The call.
        syscall: Syscall<'a>,
        /// The IP peer, where the call names one.
        target_host: Option<&'a str>,
    },
    /// `kind: event`
    Event {
        /// Bytes cut off, as the source counts them.
        bytes_severed: Option<u64>,
        /// The source's own trace id.
        external_trace_id: Option<&'a str>,
        /// The time the source gives, as it gave it.
        occurred: Option<&'a str>,
        /// `{after?, before?}`.
        payload: Option<&'a Value>,
        /// The host concerned.
        target_host: Option<&'a str>,
    },
    /// `kind: gap`
    Gap(Gap),
    /// `kind: system`
    System {
        /// The action's own members.
        detail: &'a Value,
        /// The task concerned, of what the kernel's scheduler reports.
        process: Option<Process<'a>>,
    },
}

impl Body<'_> {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Syscall { .. } => "syscall",
            Self::Event { .. } => "event",
            Self::Gap(_) => "gap",
            Self::System { .. } => "system",
        }
    }
}
