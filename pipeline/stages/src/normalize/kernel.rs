//! The kernel's records as drafts.

use graven_abi::{ArgValue, Call, KernelRecord, decode};
use graven_record::{
    Actor, ActorKind, Body, Draft, DraftBatch, Gap, ObjectWriter, Process, Source, Subject,
    Syscall, Text, Value, Where,
};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::Normalizer;
use crate::batch::{Agent, Attributed, KernelBatch};

/// Adds a draft for each record of `batch`.
pub(super) fn drafts(normalizer: &Normalizer, batch: &KernelBatch, drafts: &mut DraftBatch) {
    let Some(agent) = &batch.agent else { return };
    let mut start = 0;
    for attributed in &batch.records {
        let bytes = batch.bytes.get(start..attributed.end).unwrap_or_default();
        start = attributed.end;
        // It was parsed at intake, so it parses.
        let Ok(record) = graven_abi::parse(bytes) else {
            continue;
        };
        let context = Context { normalizer, agent, attributed };
        match &record {
            KernelRecord::Call(call) => context.call(call, drafts),
            _ => context.task(&record, drafts),
        }
    }
}

struct Context<'a> {
    normalizer: &'a Normalizer,
    agent: &'a Agent,
    attributed: &'a Attributed,
}

impl Context<'_> {
    fn draft<'a>(
        &'a self,
        header: &graven_abi::Header,
        action: &'a str,
        subject: Subject<'a>,
        body: Body<'a>,
    ) -> Draft<'a> {
        let run = &self.normalizer.run;
        Draft {
            action,
            actor: Actor {
                id: self.agent.id.as_str().into(),
                kind: ActorKind::Agent,
                via: Some("graven exec".into()),
            },
            body,
            ledger: &run.ledger,
            place: Where { device: None, host: run.host.as_str().into(), ip: None },
            source: Source::Kernel,
            subject,
            time: self.normalizer.clock.at(header.entry_ns),
            trace_id: &self.agent.trace_id,
        }
    }

    fn process<'a>(&'a self, header: &'a graven_abi::Header) -> Process<'a> {
        let comm = header.comm.split(|byte| *byte == 0).next().unwrap_or_default();
        Process {
            cgroup: Text::from(&*self.attributed.cgroup),
            comm: Text::from(comm),
            executable: Text::from(&*self.attributed.executable),
            gid: header.gid,
            pid: header.pid,
            ppid: header.ppid,
            tid: header.tid,
            uid: header.uid,
        }
    }

    fn call(&self, call: &Call<'_>, drafts: &mut DraftBatch) {
        let decoded = decode(call);
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
            self.left_out(call, drafts);
        }
    }

    /// A call that no record can hold is itself on the record.
    fn left_out(&self, call: &Call<'_>, drafts: &mut DraftBatch) {
        let gap = Gap {
            cpu: Some(call.header.cpu),
            from: call.header.seq.into(),
            lost: Some(1),
            stage: "decode",
            to: call.header.seq.into(),
        };
        let time = self.normalizer.clock.at(call.header.entry_ns);
        let subject = ("capture", self.agent.id.as_str());
        let draft = self.normalizer.run.own("gap", subject, Body::Gap(gap), time);
        drafts.push(&draft).expect("a gap's record is short");
    }

    fn task(&self, record: &KernelRecord<'_>, drafts: &mut DraftBatch) {
        let (action, subject_pid, detail) = match record {
            KernelRecord::Fork(fork) => (
                "process.forked",
                fork.body.child_pid,
                Value::object([
                    ("child_pid", u64::from(fork.body.child_pid).into()),
                    ("child_tid", u64::from(fork.body.child_tid).into()),
                    ("thread", fork.is_thread().into()),
                ]),
            ),
            KernelRecord::Exec(exec) => (
                "process.executed",
                exec.header.pid,
                Value::object([("old_tid", u64::from(exec.body.old_tid).into())]),
            ),
            KernelRecord::Exit(exit) => ("process.exited", exit.header.pid, exit_detail(exit)),
            // The ledger's format has no words for these yet.
            KernelRecord::Call(_)
            | KernelRecord::Task(_)
            | KernelRecord::Moved(_)
            | KernelRecord::Cgroup(_) => return,
        };
        let header = record.header();
        let body = Body::System { detail: &detail, process: Some(self.process(header)) };
        let draft = self.draft(header, action, process_subject(subject_pid), body);
        if let Err(oversized) = drafts.push(&draft) {
            tracing::error!(action, %oversized, "a task's record was left out");
        }
    }
}

/// Exit code or signal, as wait(2) encodes them.
fn exit_detail(exit: &graven_abi::Exit) -> Value {
    let status = u64::from(exit.body.status);
    let signal = status & 0x7f;
    let (code, signal) =
        if signal == 0 { (Some(status >> 8 & 0xff), None) } else { (None, Some(signal)) };
    Value::object([
        ("code", code.into()),
        ("last_thread", (exit.body.group_dead != 0).into()),
        ("signal", signal.into()),
    ])
}

fn process_subject(pid: u32) -> Subject<'static> {
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

impl Serialize for Arg<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            ArgValue::Int(value) => serializer.serialize_i64(*value),
            ArgValue::Octal(mode) => serializer.collect_str(&format_args!("0{mode:03o}")),
            ArgValue::Hex(value) => serializer.collect_str(&format_args!("{value:#x}")),
            ArgValue::Text(bytes) => Text::from(&**bytes).serialize(serializer),
            ArgValue::Flags(names) => serializer.collect_seq(names),
            ArgValue::Ints(values) => serializer.collect_seq(values),
            ArgValue::List(items) => {
                let mut seq = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    seq.serialize_element(&Text::from(&**item))?;
                }
                seq.end()
            }
            ArgValue::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, &Arg(value))?;
                }
                map.end()
            }
        }
    }
}
