//! Runs a command and prints its system calls: `trace PROGRAM [ARGUMENT]…`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

use std::env;
use std::error::Error;
use std::time::Duration;

use graven_abi::{CallSet, KernelRecord, decode, parse};
use graven_capture::{Capture, Cgroup2, RING_BYTES_DEFAULT, Watch, command, spawn};

const POLL: Duration = Duration::from_millis(10);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let program = arguments.next().ok_or("usage: trace PROGRAM [ARGUMENT]…")?;
    let cgroup = Cgroup2::find()?.create(&format!("trace-{}", std::process::id()))?;
    let mut capture = Capture::load()?;
    let mut ring = capture.open_ring(RING_BYTES_DEFAULT)?;
    let watch = Watch { ring: ring.slot(), recorded: CallSet::ALL, environment: false };
    capture.set_watch(0, &watch)?;
    capture.watch_cgroup(cgroup.path(), 0)?;
    let quiet = env::var_os("TRACE_QUIET").is_some();
    let mut show = |bytes: &[u8]| {
        if !quiet {
            show(bytes);
        }
    };
    let mut child = spawn(command(&program)?.args(arguments), &cgroup)?;
    let mut records = 0;
    let status = loop {
        records += ring.poll(POLL, &mut show)?;
        if let Some(status) = child.try_wait()? {
            break status;
        }
    };
    while cgroup.populated()? {
        records += ring.poll(POLL, &mut show)?;
    }
    records += ring.consume(&mut show);
    eprintln!("{status}; {records} records; {} missed", ring.recursion_misses()?);
    for (cpu, counters) in ring.counters()?.iter().enumerate() {
        eprintln!("CPU {cpu}: {counters:?}");
    }
    cgroup.remove()?;
    Ok(())
}

fn show(bytes: &[u8]) {
    match parse(bytes) {
        Ok(KernelRecord::Call(call)) => {
            let decoded = decode(&call);
            println!(
                "{}/{} {} {:?} = {:?} {:?} {:?} {:?}",
                call.header.cpu,
                call.header.seq,
                decoded.name,
                decoded
                    .args
                    .iter()
                    .map(|(name, value)| format!("{name}={}", text(value)))
                    .collect::<Vec<_>>(),
                call.result(),
                decoded.subject.map(|subject| (
                    subject.kind,
                    String::from_utf8_lossy(&subject.id).into_owned()
                )),
                decoded.target_host,
                decoded.weakened.names().collect::<Vec<_>>(),
            );
        }
        Ok(KernelRecord::Exec(exec)) => {
            println!("exec {} {:?}", exec.header.pid, String::from_utf8_lossy(&exec.executable()));
        }
        Ok(KernelRecord::Fork(fork)) => {
            println!("fork {} -> {:?} thread {}", fork.header.pid, fork.body, fork.is_thread());
        }
        Ok(KernelRecord::Exit(exit)) => {
            println!("exit {}/{} {:?}", exit.header.pid, exit.header.tid, exit.body);
        }
        Ok(KernelRecord::Task(task)) => {
            let executable = task.executable();
            let executable = String::from_utf8_lossy(&executable);
            println!("{} {} {executable:?}", task.reason.name(), task.header.pid);
        }
        Ok(KernelRecord::Moved(moved)) => println!("moved {} {:?}", moved.header.tid, moved.body),
        Ok(KernelRecord::Cgroup(cgroup)) => {
            println!("cgroup {:?} {:?}", String::from_utf8_lossy(cgroup.name()), cgroup.body);
        }
        Err(error) => println!("malformed: {error}"),
    }
}

fn text(value: &graven_abi::ArgValue<'_>) -> String {
    use graven_abi::ArgValue::{Flags, Hex, Int, Ints, List, Object, Octal, Text};
    match value {
        Int(number) => number.to_string(),
        Hex(number) => format!("{number:#x}"),
        Octal(mode) => format!("0{mode:03o}"),
        Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Flags(names) => names.join("|"),
        List(strings) => format!(
            "{:?}",
            strings.iter().map(|bytes| String::from_utf8_lossy(bytes)).collect::<Vec<_>>()
        ),
        Ints(numbers) => format!("{numbers:?}"),
        Object(members) => {
            let members = members.iter().map(|(name, value)| format!("{name}:{}", text(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(" "))
        }
    }
}
