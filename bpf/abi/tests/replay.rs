//! Records that a kernel wrote, replayed: what they say must not change unnoticed.
//!
//! `records/README.md` tells how they are made.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use graven_abi::layout::Header;
use graven_abi::{ArgValue, KernelRecord, Strings, decode, parse};
use zerocopy::FromBytes;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/records")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn value(argument: &ArgValue<'_>) -> String {
    match argument {
        ArgValue::Int(number) => number.to_string(),
        ArgValue::Hex(number) => format!("{number:#x}"),
        ArgValue::Octal(mode) => format!("0{mode:03o}"),
        ArgValue::Text(bytes) => format!("{:?}", text(bytes)),
        ArgValue::Flags(names) => names.join("|"),
        ArgValue::List(strings) => {
            format!("{:?}", strings.iter().map(|it| text(it)).collect::<Vec<_>>())
        }
        ArgValue::Ints(numbers) => format!("{numbers:?}"),
        ArgValue::Object(members) => {
            let members = members.iter().map(|(name, it)| format!("{name}: {}", value(it)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
    }
}

fn strings(strings: Option<Strings<'_>>) -> String {
    let read = strings.map(|it| (it.iter().map(text).collect::<Vec<_>>(), it.is_truncated));
    format!("{read:?}")
}

fn words(record: &KernelRecord<'_>) -> String {
    let header = record.header();
    let what = match record {
        KernelRecord::Call(call) => {
            let decoded = decode(call);
            let args = decoded.args.iter().map(|(name, it)| format!("{name}: {}", value(it)));
            let args = args.collect::<Vec<_>>().join(", ");
            let subject = decoded.subject.as_ref().map(|it| (it.kind, text(&it.id)));
            let weak: Vec<_> = decoded.weakened.names().collect();
            format!(
                "{} {}({args}) = {:?} in {:?} ns, {subject:?} {weak:?}",
                decoded.arch,
                decoded.name,
                call.result(),
                call.duration_ns()
            )
        }
        KernelRecord::Fork(fork) => {
            format!("forked {} {}", fork.body.child_pid, fork.body.child_tid)
        }
        KernelRecord::Exec(exec) => {
            let environment = strings(exec.environment());
            format!("executed {:?} environment {environment}", text(&exec.executable()))
        }
        KernelRecord::Exit(exit) => {
            format!("exited {:#x} last {}", exit.body.status, exit.body.group_dead)
        }
        KernelRecord::Task(task) => format!(
            "{} {:?} argv {} started {}",
            task.reason.name(),
            text(&task.executable()),
            strings(task.argv()),
            task.body.start_ns
        ),
        KernelRecord::Moved(moved) => {
            format!("moved from {} to {}", moved.body.from_cgroup, moved.body.to_cgroup)
        }
        KernelRecord::Cgroup(cgroup) => format!(
            "cgroup {} {:?} below {} {}",
            cgroup.body.cgroup_id,
            text(cgroup.name()),
            cgroup.body.parent_id,
            if cgroup.is_made() { "made" } else { "removed" }
        ),
    };
    format!(
        "{}/{} {} {}/{}<{} {}:{} {}:{} ns {} {} {} cgroup {} watch {} {}: {what}\n",
        header.cpu,
        header.seq,
        header.entry_ns,
        header.pid,
        header.tid,
        header.ppid,
        header.uid,
        header.gid,
        header.euid,
        header.egid,
        header.mnt_ns,
        header.pid_ns,
        header.net_ns,
        header.cgroup_id,
        header.watch,
        text(&header.comm).trim_end_matches('\0'),
    )
}

#[test]
fn what_a_kernel_wrote_is_read_as_it_was() {
    let bytes = fs::read(directory().join("kinds.bin")).expect("the records");
    let (mut rest, mut said, mut kinds) = (bytes.as_slice(), String::new(), BTreeSet::new());
    while !rest.is_empty() {
        let (header, _) = Header::read_from_prefix(rest).expect("a header");
        let (record, after) = rest.split_at(usize::try_from(header.size).expect("small"));
        let parsed = parse(record).expect("well-formed");
        kinds.insert(parsed.header().kind);
        said += &words(&parsed);
        rest = after;
    }
    assert_eq!(kinds, (1..=7).collect(), "every kind is there");
    let file = directory().join("kinds.txt");
    if std::env::var_os("GRAVEN_RENEW_RECORDS").is_some() {
        fs::write(&file, &said).expect("written");
    }
    let expected = fs::read_to_string(file).expect("the words");
    for (line, expected) in said.lines().zip(expected.lines()) {
        assert_eq!(line, expected);
    }
    assert_eq!(said.lines().count(), expected.lines().count());
}
