//! What the kernel tells of tasks and cgroups, as drafts.

use std::collections::BTreeMap;

use graven_abi::layout::{item_flag, item_kind};
use graven_abi::{Cgroup, Exec, Exit, Fork, KernelRecord, Moved, Task};
use graven_record::{Body, DraftBatch, Subject, Text, Value};

use super::kernel::{Context, process_subject};

/// The members of a record's `detail`.
type Members = Vec<(&'static str, Value)>;

/// A text of a process's own making, as long as it likes: the member, and the one that flags it cut.
type Words = (&'static str, Value, &'static str);

/// What a record says in its `detail`.
#[derive(Default)]
struct Told {
    action: &'static str,
    subject: Option<Subject<'static>>,
    members: Members,
    words: Option<Words>,
    is_cut: bool,
}

impl Told {
    /// With the words, or where they are too many for a record, without.
    fn detail(&self, with_words: bool) -> Value {
        let words = self.words.iter();
        let (words, flags): (Vec<_>, Vec<_>) = words
            .map(|(name, value, flag)| ((*name, value.clone()), (*flag, Value::Bool(true))))
            .unzip();
        let words = words.into_iter().filter(|_| with_words);
        let flags = flags.into_iter().filter(|_| self.is_cut || !with_words);
        Value::object(self.members.iter().cloned().chain(words).chain(flags))
    }
}

impl Context<'_> {
    /// Adds the record of anything but a call.
    pub(super) fn task(&self, record: &KernelRecord<'_>, drafts: &mut DraftBatch) {
        let told = match record {
            KernelRecord::Fork(fork) => forked(fork),
            KernelRecord::Exec(exec) => executed(exec),
            KernelRecord::Exit(exit) => exited(exit),
            KernelRecord::Task(task) => found(task),
            KernelRecord::Moved(moved) => self.moved(moved),
            KernelRecord::Cgroup(cgroup) => self.cgroup(cgroup),
            KernelRecord::Call(_) => return,
        };
        let header = record.header();
        let subject = told.subject.clone().unwrap_or_else(|| process_subject(header.pid));
        for with_words in [true, false] {
            let detail = told.detail(with_words);
            let body = Body::System { detail: &detail, process: Some(self.process(header)) };
            let draft = self.draft(header, told.action, subject.clone(), body);
            if drafts.push(&draft).is_ok() {
                return;
            }
        }
        self.too_long(header, drafts);
    }

    fn moved(&self, moved: &Moved) -> Told {
        let from = self.attributed.about.as_ref().map(|about| about.cgroup.path.as_slice());
        let cgroup = |id: u64, path: &[u8]| {
            Value::object([("id", id.into()), ("path", Text::from(path).into())])
        };
        let from = cgroup(moved.body.from_cgroup, from.unwrap_or_default());
        let to = cgroup(moved.body.to_cgroup, &self.attributed.cgroup.path);
        Told {
            action: "process.moved",
            members: vec![("from", from), ("to", to)],
            ..Told::default()
        }
    }

    fn cgroup(&self, cgroup: &Cgroup<'_>) -> Told {
        let path = self.attributed.about.as_ref().map(|about| about.cgroup.path.clone());
        let path = Text(path.unwrap_or_default().into());
        Told {
            action: if cgroup.is_made() { "cgroup.made" } else { "cgroup.removed" },
            subject: Some(Subject { id: path.clone(), kind: "cgroup".into() }),
            members: vec![
                ("id", cgroup.body.cgroup_id.into()),
                ("parent", cgroup.body.parent_id.into()),
                ("path", path.into()),
            ],
            ..Told::default()
        }
    }
}

fn forked(fork: &Fork) -> Told {
    Told {
        action: "process.forked",
        subject: Some(process_subject(fork.body.child_pid)),
        members: vec![
            ("child_pid", fork.body.child_pid.into()),
            ("child_tid", fork.body.child_tid.into()),
            ("thread", fork.is_thread().into()),
        ],
        ..Told::default()
    }
}

fn executed(exec: &Exec<'_>) -> Told {
    let members = vec![("old_tid", exec.body.old_tid.into())];
    let told = Told { action: "process.executed", members, ..Told::default() };
    // What is left of it since intake: the variables that the watch asks for.
    let Some(item) = exec.items.find(0, item_kind::ENV) else {
        return told;
    };
    let mut variables = BTreeMap::<String, Vec<Value>>::new();
    for string in exec.environment().into_iter().flat_map(|strings| strings.iter()) {
        let mut parts = string.splitn(2, |byte| *byte == b'=');
        if let (Some(Ok(name)), Some(value)) = (parts.next().map(std::str::from_utf8), parts.next())
        {
            variables.entry(name.to_owned()).or_default().push(Text::from(value).into());
        }
    }
    let one_or_all = |mut values: Vec<Value>| match values.len() {
        1 => values.remove(0),
        _ => values.into(),
    };
    let variables = variables.iter().map(|(name, all)| (name.as_str(), one_or_all(all.clone())));
    Told {
        words: Some(("env", Value::object(variables), "env_truncated")),
        is_cut: item.header.err != 0 || item.has(item_flag::TRUNCATED),
        ..told
    }
}

/// Exit code or signal, as wait(2) encodes them.
fn exited(exit: &Exit) -> Told {
    let status = u64::from(exit.body.status);
    let signal = status & 0x7f;
    let (code, signal) =
        if signal == 0 { (Some(status >> 8 & 0xff), None) } else { (None, Some(signal)) };
    Told {
        action: "process.exited",
        members: vec![
            ("code", code.into()),
            ("last_thread", (exit.body.group_dead != 0).into()),
            ("signal", signal.into()),
        ],
        ..Told::default()
    }
}

fn found(task: &Task<'_>) -> Told {
    let header = &task.header;
    let namespaces = Value::object([
        ("mnt", header.mnt_ns.into()),
        ("net", header.net_ns.into()),
        ("pid", header.pid_ns.into()),
    ]);
    let argv = task.argv();
    let words =
        argv.map(|argv| argv.iter().map(|it| Text::from(it).into()).collect::<Vec<Value>>());
    Told {
        action: "process.found",
        members: vec![
            ("cgroup_id", header.cgroup_id.into()),
            ("namespaces", namespaces),
            ("reason", task.reason.name().into()),
            ("start_boottime_ns", task.body.start_ns.to_string().into()),
        ],
        words: words.map(|words| ("argv", words.into(), "argv_truncated")),
        is_cut: argv.is_some_and(|argv| argv.is_truncated),
        ..Told::default()
    }
}
