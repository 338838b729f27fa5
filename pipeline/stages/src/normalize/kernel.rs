//! The kernel's records as drafts.

use std::ffi::OsStr;
use std::fmt;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;

use globset::GlobSet;
use graven_abi::{ArgValue, Call, DecodedCall, Header, KernelRecord, decode};
use graven_record::{
    Actor, ActorKind, Body, Canonical, Draft, DraftBatch, Gap, ObjectWriter, Process, Source,
    Subject, Syscall, Text, Where,
};

use super::Normalizer;
use crate::batch::{Attributed, KernelBatch};
use crate::left_out::CallCounts;

/// Adds a draft for each record of `batch`, but for the calls that are left out by their path: these it
/// counts.
pub(super) fn drafts(
    normalizer: &Normalizer,
    batch: &KernelBatch,
    drafts: &mut DraftBatch,
) -> CallCounts {
    let mut left_out = CallCounts::new();
    let mut start = 0;
    for attributed in &batch.records {
        let bytes = batch.bytes.get(start..attributed.end).unwrap_or_default();
        start = attributed.end;
        // It was parsed at intake, so it parses.
        let Ok(record) = graven_abi::parse(bytes) else {
            continue;
        };
        let context = Context { normalizer, attributed };
        match &record {
            KernelRecord::Call(call) => {
                let decoded = decode(call);
                if is_excluded(&decoded, &attributed.watched.excluded) {
                    *left_out.entry(decoded.name).or_default() += 1;
                } else {
                    context.call(call, &decoded, drafts);
                }
            }
            _ => context.task(&record, drafts),
        }
    }
    left_out
}

/// Whether a call is on a file that is excluded, and on nothing besides.
///
/// Left out is only what is sure to lie there: no path with `..`, which may lead out; no call one of whose
/// paths, the process's own root included, lies elsewhere; none with an argument that was cut, missed or
/// read late.
fn is_excluded(decoded: &DecodedCall<'_>, excluded: &GlobSet) -> bool {
    if excluded.is_empty() || !decoded.weakened.is_empty() {
        return false;
    }
    let lies_there = |path: &[u8]| {
        !path.split(|byte| *byte == b'/').any(|name| name == b"..")
            && excluded.is_match(OsStr::from_bytes(path))
    };
    let mut paths = decoded.args.iter().filter_map(|(_, value)| match value {
        ArgValue::Text(text) if text.contains(&b'/') => Some(text),
        _ => None,
    });
    decoded.subject.as_ref().is_some_and(|it| it.kind == "file" && lies_there(&it.id))
        && paths.all(|path| lies_there(path))
}

pub(super) struct Context<'a> {
    pub(super) normalizer: &'a Normalizer,
    pub(super) attributed: &'a Attributed,
}

impl Context<'_> {
    pub(super) fn draft<'a>(
        &'a self,
        header: &Header,
        action: &'a str,
        subject: Subject<'a>,
        body: Body<'a>,
    ) -> Draft<'a> {
        let run = &self.normalizer.run;
        let watched = &self.attributed.watched;
        let actor = if self.attributed.about.as_ref().is_some_and(|about| about.by_outsider) {
            Actor { id: run.host.as_str().into(), kind: ActorKind::System, via: None }
        } else {
            let id = watched.agent.id.as_str().into();
            Actor { id, kind: ActorKind::Agent, via: watched.via.map(Into::into) }
        };
        Draft {
            action,
            actor,
            body,
            ledger: &run.ledger,
            place: Where { device: None, host: run.host.as_str().into(), ip: None },
            source: Source::Kernel,
            subject,
            time: self.normalizer.clock.at(header.entry_ns),
            trace_id: &watched.agent.trace_id,
        }
    }

    pub(super) fn process<'a>(&'a self, header: &'a Header) -> Process<'a> {
        let comm = header.comm.split(|byte| *byte == 0).next().unwrap_or_default();
        let (cgroup, own) = (&self.attributed.cgroup, self.normalizer.namespaces);
        // A task that is ending may have left its namespaces already: then there is none to name.
        let other = |ns: u32, own: u32| (ns != own && ns != 0).then_some(ns);
        Process {
            cgroup: Text::from(&*cgroup.path),
            comm: Text::from(comm),
            container: cgroup.container.as_deref(),
            egid: (header.egid != header.gid).then_some(header.egid),
            euid: (header.euid != header.uid).then_some(header.euid),
            executable: Text::from(&*self.attributed.executable),
            gid: header.gid,
            mnt_ns: other(header.mnt_ns, own.mnt),
            net_ns: other(header.net_ns, own.net),
            pid: header.pid,
            pid_ns: other(header.pid_ns, own.pid),
            ppid: header.ppid,
            tid: header.tid,
            uid: header.uid,
        }
    }

    fn call(&self, call: &Call<'_>, decoded: &DecodedCall<'_>, drafts: &mut DraftBatch) {
        let mut args = Vec::with_capacity(256);
        write_args(&decoded.args, &mut args);
        let flags: Vec<&str> = decoded.weakened.names().collect();
        let syscall = Syscall {
            arch: decoded.arch,
            args: &args,
            duration_ns: call.duration_ns(),
            flags: &flags,
            id: call.body.nr,
            name: &decoded.name,
            result: call.result(),
        };
        let subject = decoded.subject.as_ref().map_or_else(
            || process_subject(call.header.pid),
            |subject| Subject { id: Text::from(&*subject.id), kind: subject.kind.into() },
        );
        let body = |syscall| Body::Syscall {
            mono_ns: call.header.entry_ns,
            process: self.process(&call.header),
            syscall,
            target_host: decoded.target_host.as_deref(),
        };
        let draft = self.draft(&call.header, &decoded.name, subject, body(syscall.clone()));
        if drafts.push(&draft).is_ok() {
            return;
        }
        // Too long in words (an argument of many control characters): the raw registers always fit.
        let mut args = Vec::new();
        let raw = ["arg0", "arg1", "arg2", "arg3", "arg4", "arg5"].into_iter();
        let raw: Vec<_> =
            raw.zip(call.body.args).map(|(name, raw)| (name, ArgValue::Hex(raw))).collect();
        write_args(&raw, &mut args);
        let mut flags = flags.clone();
        if !flags.contains(&"truncated") {
            flags.push("truncated");
            flags.sort_unstable();
        }
        let bare = Syscall { args: &args, flags: &flags, ..syscall };
        let subject = process_subject(call.header.pid);
        let draft = self.draft(&call.header, &decoded.name, subject, body(bare));
        if drafts.push(&draft).is_err() {
            self.too_long(&call.header, drafts);
        }
    }

    /// What no record can hold is itself on the record.
    pub(super) fn too_long(&self, header: &Header, drafts: &mut DraftBatch) {
        let gap = Gap {
            cpu: Some(header.cpu),
            from: header.seq.into(),
            lost: Some(1),
            stage: "decode",
            to: header.seq.into(),
        };
        self.normalizer.counters.gap();
        let time = self.normalizer.clock.at(header.entry_ns);
        let subject = ("capture", "kernel");
        let draft = self.normalizer.run.own("gap", subject, Body::Gap(gap), time);
        drafts.push(&draft).expect("a gap's record is short");
    }
}

pub(super) fn process_subject(pid: u32) -> Subject<'static> {
    Subject { id: pid.to_string().into(), kind: "process".into() }
}

fn write_args(args: &[(&'static str, ArgValue<'_>)], out: &mut Vec<u8>) {
    let mut object = ObjectWriter::begin(out);
    for (name, value) in args {
        object.member(name, &Arg(value));
    }
    object.end();
}

/// An argument as canonical JSON.
struct Arg<'a>(&'a ArgValue<'a>);

impl Canonical for Arg<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        match self.0 {
            ArgValue::Int(value) => value.write(out),
            ArgValue::Octal(mode) => write_ascii(out, format_args!("\"0{mode:03o}\"")),
            ArgValue::Hex(value) => write_ascii(out, format_args!("\"{value:#x}\"")),
            ArgValue::Text(bytes) => Text::from(&**bytes).write(out),
            ArgValue::Flags(names) => names.write(out),
            ArgValue::Ints(values) => values.write(out),
            ArgValue::List(items) => {
                let items: Vec<_> = items.iter().map(|item| Text::from(&**item)).collect();
                items.write(out);
            }
            ArgValue::Object(members) => write_args(members, out),
        }
    }
}

fn write_ascii(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a Vec takes every byte");
}
