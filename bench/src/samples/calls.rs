//! System calls as the kernel program hands them over, in the mix of a program that is being built.

use std::mem::offset_of;

use graven_abi::encode::{self, ItemSpec};
use graven_abi::layout::{CallBody, ExecBody, ItemHeader, item_kind};
use graven_abi::{Arch, Header};
use graven_stages::{Agent, Agents, KernelBatch, KernelSource, Watched, clock};

/// Calls after which the mix begins again.
pub const CALLS_IN_MIX: usize = 20;

/// Records that the feed holds; it sends them in turn, each with a number and a time of its own.
const RECORDS: usize = 4_000;

/// The feed's processes: none that there is, so that none of the machine's own is looked up.
const PID: u32 = 4_000_000;
const CGROUP_ID: u64 = 4_711;

const AT_FDCWD: u64 = (-100_i64).cast_unsigned();
const MMAP_AT: u64 = 0x7f3a_1c00_0000;
const BUFFER_AT: u64 = 0x7ffd_5e12_3a40;

/// From one entry to the next, in nanoseconds.
const STEP_NS: u64 = 3_000;
/// From entry to exit, in nanoseconds.
const CALL_NS: u64 = 900;

fn header() -> Header {
    Header {
        cgroup_id: CGROUP_ID,
        pid: PID,
        tid: PID,
        ppid: PID - 1,
        uid: 1000,
        gid: 1000,
        euid: 1000,
        egid: 1000,
        comm: *b"cc1\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ..Header::default()
    }
}

fn call(nr: u32, args: [u64; 6], ret: i64, items: &[ItemSpec<'_>]) -> Vec<u8> {
    let arch = Arch::X86_64.number();
    let body = CallBody { exit_ns: 0, ret, args, nr, arch, items_bytes: 0 };
    encode::call(header(), body, items)
}

fn item(arg: u8, kind: u8, bytes: &[u8]) -> ItemSpec<'_> {
    (ItemHeader { arg, kind, err: 0, len: 0, flags: 0 }, bytes)
}

/// Record `n`: of twenty calls five are openat, four read, three close, three newfstatat, two mmap, and one
/// each of write, connect and execve.
fn record(n: usize) -> Vec<u8> {
    let (at, fd) = (n as u64, 3 + n as u64 % 40);
    let read = 4_096 + at.cast_signed();
    let include = format!("/usr/include/x86_64-linux-gnu/bits/types/__number_{n}.h");
    let relative = format!("src/module_{n}.c");
    let directory = item(1, item_kind::DIR, b"project\0agent\0home\0");
    match n % CALLS_IN_MIX {
        0 | 6 | 12 => {
            let path = [item(1, item_kind::STRING, include.as_bytes())];
            call(257, [AT_FDCWD, BUFFER_AT, 0o2_000_000, 0, 0, 0], 3, &path)
        }
        3 | 15 => {
            let path = [item(1, item_kind::STRING, relative.as_bytes()), directory];
            call(257, [AT_FDCWD, BUFFER_AT, 0o1102, 0o644, 0, 0], 4, &path)
        }
        1 | 7 | 13 | 16 => call(0, [fd, BUFFER_AT + at, 32_768, 0, 0, 0], read, &[]),
        2 | 8 | 14 => call(3, [fd, 0, 0, 0, 0, 0], 0, &[]),
        4 | 9 | 17 => {
            let path = [item(1, item_kind::STRING, relative.as_bytes()), directory];
            call(262, [AT_FDCWD, BUFFER_AT, BUFFER_AT + at, 0, 0, 0], -2, &path)
        }
        5 | 10 => call(9, [0, 4_096 + at, 3, 0x22, u64::MAX, 0], (MMAP_AT + at).cast_signed(), &[]),
        11 => {
            let [.., high, low] = (n as u64).to_be_bytes();
            // AF_INET, port 443, 198.51.high.low, and the padding of struct sockaddr_in.
            let peer = [2, 0, 1, 187, 198, 51, high, low, 0, 0, 0, 0, 0, 0, 0, 0];
            call(42, [fd, BUFFER_AT, 16, 0, 0, 0], -115, &[item(1, item_kind::BYTES, &peer)])
        }
        18 => {
            let argv = format!("cc1\0-quiet\0-O2\0-o\0/tmp/cc{n}.s\0{relative}\0");
            let program = b"/usr/libexec/gcc/x86_64-linux-gnu/12/cc1";
            let items =
                [item(0, item_kind::STRING, program), item(1, item_kind::ARGV, argv.as_bytes())];
            call(59, [BUFFER_AT, BUFFER_AT + 64, BUFFER_AT + 256, 0, 0, 0], 0, &items)
        }
        _ => call(1, [1, BUFFER_AT, 64 + at % 512, 0, 0, 0], 64, &[]),
    }
}

/// Puts little-endian `value` at `offset`; offsets are the layout's own, so the bytes are there.
fn patch(record: &mut [u8], offset: usize, value: u64) {
    record[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
}

/// The kernel's side of the ring, played.
#[derive(Debug)]
pub struct KernelFeed {
    source: KernelSource,
    records: Vec<Vec<u8>>,
    sent: u64,
    entry_ns: u64,
}

impl Default for KernelFeed {
    fn default() -> Self {
        let agent =
            Agent { id: "builder".into(), trace_id: "1b4e28ba-2fa1-41d2-883f-0016d3cca427".into() };
        let path = b"/graven/exec-1b4e28ba-2fa1-41d2-883f-0016d3cca427";
        let agents = Agents::default();
        agents.set(0, Watched::new(agent, "graven exec"));
        let mut source = KernelSource::new(agents, Box::new(|_| Some(path.to_vec())));
        let program =
            [item(0, item_kind::EXE, b"cc1\x0012\0x86_64-linux-gnu\0gcc\0libexec\0usr\0")];
        let mut exec = encode::exec(header(), ExecBody { old_tid: PID, items_bytes: 0 }, &program);
        let entry_ns = clock::mono_ns();
        patch(&mut exec, offset_of!(Header, entry_ns), entry_ns);
        source.push(&exec);
        Self { source, records: (0..RECORDS).map(record).collect(), sent: 1, entry_ns }
    }
}

impl KernelFeed {
    /// The next record's bytes, with its number on its CPU and its times.
    pub fn next_record(&mut self) -> &[u8] {
        let index = self.renew();
        &self.records[index]
    }

    /// Gives the next record its number and its times, and says which it is.
    fn renew(&mut self) -> usize {
        let index = usize::try_from(self.sent).unwrap_or(0) % RECORDS;
        let record = &mut self.records[index];
        patch(record, offset_of!(Header, seq), self.sent);
        patch(record, offset_of!(Header, entry_ns), self.entry_ns);
        let exit_at = size_of::<Header>() + offset_of!(CallBody, exit_ns);
        patch(record, exit_at, self.entry_ns + CALL_NS);
        self.sent += 1;
        self.entry_ns += STEP_NS;
        index
    }

    /// The next batch that the source deems full.
    pub fn next_batch(&mut self) -> KernelBatch {
        loop {
            let index = self.renew();
            self.source.push(&self.records[index]);
            if let Some(batch) = self.source.take_full() {
                return batch;
            }
        }
    }
}
