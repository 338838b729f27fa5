//! The kernel program's structures, byte for byte.
//!
//! The C side is `bpf/capture/src/bpf/abi.h`. Both assert the same sizes and offsets, so that one
//! cannot be edited without the other. Integers are little-endian; nothing has implicit padding.

use std::mem::{offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Operations a plan can hold.
pub const OPS_MAX: usize = 4;
/// System call numbers that can have a plan: 0 to 511.
pub const PLANS: usize = 512;
/// Bytes of items below which one more item is begun.
pub const ITEMS_BYTES: usize = 8192;
/// Bytes that the last item may take beyond [`ITEMS_BYTES`].
pub const SLACK_BYTES: usize = 4352;
/// Largest record, in bytes.
pub const RECORD_BYTES_MAX: usize =
    size_of::<Header>() + size_of::<CallBody>() + ITEMS_BYTES + SLACK_BYTES;
/// "No argument" in [`Op::other`].
pub const NO_ARG: u8 = 0xff;

/// Values of [`Header::kind`].
pub mod kind {
    /// A system call.
    pub const CALL: u16 = 1;
    /// A new process or thread.
    pub const FORK: u16 = 2;
    /// A new program in a process.
    pub const EXEC: u16 = 3;
    /// The end of a thread.
    pub const EXIT: u16 = 4;
    /// A task that came under watch while it ran.
    pub const TASK: u16 = 5;
    /// A watched task found in another cgroup than before.
    pub const MOVED: u16 = 6;
    /// A cgroup made or removed below a watched one.
    pub const CGROUP: u16 = 7;
}

/// Values of [`TaskBody::reason`].
pub mod reason {
    /// It was running already when the watch was set.
    pub const INVENTORY: u32 = 1;
    /// It was found in a watched cgroup: moved there, or born there by `CLONE_INTO_CGROUP`.
    pub const JOINED: u32 = 2;
    /// It executed a watched program.
    pub const EXECUTABLE: u32 = 3;
}

/// Bits of [`Header::flags`].
pub mod flag {
    /// The entry was not seen: the call was refused before its tracepoint.
    pub const EXIT_ONLY: u16 = 1 << 0;
    /// The call has no result, because the task ended inside it.
    pub const NO_RETURN: u16 = 1 << 1;
    /// An item was left out because the buffer was full.
    pub const ITEMS_FULL: u16 = 1 << 2;
    /// The program's path was another when the kernel read it than at entry: something changed the memory.
    pub const CHANGED: u16 = 1 << 3;
}

/// Values of [`ItemHeader::kind`].
pub mod item_kind {
    /// A string without its NUL.
    pub const STRING: u8 = 1;
    /// Bytes as they lay in memory.
    pub const BYTES: u8 = 2;
    /// Strings, each with its NUL.
    pub const ARGV: u8 = 3;
    /// Path components of a directory or open file, deepest first, each with its NUL.
    pub const DIR: u8 = 4;
    /// The same of the task's root directory; absent where that is `/`.
    pub const ROOT: u8 = 5;
    /// The same of the executable, up to the mount namespace's root.
    pub const EXE: u8 = 6;
    /// Environment strings, each with its NUL; the last may be cut short.
    pub const ENV: u8 = 7;
}

/// Bits of [`ItemHeader::flags`].
pub mod item_flag {
    /// Longer than the capture limit.
    pub const TRUNCATED: u16 = 1 << 0;
    /// Unreadable at entry, so read at the call's end.
    pub const AT_EXIT: u16 = 1 << 1;
    /// In no directory: memfd, pipe, socket.
    pub const DETACHED: u16 = 1 << 2;
    /// Not below the task's root.
    pub const UNREACHABLE: u16 = 1 << 3;
}

/// Values of [`Op::kind`].
pub mod op_kind {
    /// Ends a plan.
    pub const NONE: u8 = 0;
    /// A string.
    pub const STRING: u8 = 1;
    /// A path; with it, where it is relative, the directory it starts from.
    pub const PATH: u8 = 2;
    /// The path of an open file.
    pub const FD_PATH: u8 = 3;
    /// An array of strings.
    pub const ARGV: u8 = 4;
    /// A counted array of bytes or larger elements; without a count, [`super::Op::max_bytes`].
    pub const BYTES: u8 = 5;
    /// An address that the call writes.
    pub const ADDR_OUT: u8 = 6;
    /// The address in a `struct msghdr`.
    pub const MSG_NAME: u8 = 7;
    /// The same, written by the call.
    pub const MSG_NAME_OUT: u8 = 8;
}

/// What every record begins with.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Header {
    /// One of [`kind`].
    pub kind: u16,
    /// Bits of [`flag`].
    pub flags: u16,
    /// Bytes of the whole record.
    pub size: u32,
    /// Number of the record on its CPU, from 0, over all kinds; a number never seen is a loss.
    pub seq: u64,
    /// `CLOCK_MONOTONIC` nanoseconds at the call's entry, or at the event.
    pub entry_ns: u64,
    /// Inode of the task's cgroup (version 2).
    pub cgroup_id: u64,
    /// CPU on which the record was numbered.
    pub cpu: u32,
    /// Process (thread group) id in the initial PID namespace.
    pub pid: u32,
    /// Thread id in the initial PID namespace, as it was at entry.
    pub tid: u32,
    /// The parent's process id.
    pub ppid: u32,
    /// Real user id in the initial user namespace.
    pub uid: u32,
    /// Real group id in the initial user namespace.
    pub gid: u32,
    /// Effective user id in the initial user namespace.
    pub euid: u32,
    /// Effective group id in the initial user namespace.
    pub egid: u32,
    /// Inode number of the mount namespace, which paths are to be read in; 0 where it has none left.
    pub mnt_ns: u32,
    /// Inode number of the PID namespace that the task is in.
    pub pid_ns: u32,
    /// Inode number of the network namespace, which addresses are to be read in; 0 like `mnt_ns`.
    pub net_ns: u32,
    /// Index of the watch that the record belongs to.
    pub watch: u32,
    /// Name of the thread, NUL-padded.
    pub comm: [u8; 16],
}

/// What follows the header of a call; then come its items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CallBody {
    /// `CLOCK_MONOTONIC` nanoseconds at the call's exit; 0 where it did not return.
    pub exit_ns: u64,
    /// The kernel's result: a value, or −errno.
    pub ret: i64,
    /// The raw arguments.
    pub args: [u64; 6],
    /// System call number.
    pub nr: u32,
    /// 1 `x86_64`, 2 `i386`, 3 `x32`.
    pub arch: u16,
    /// Bytes of items.
    pub items_bytes: u16,
}

/// What follows the header of a fork; the header is the parent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ForkBody {
    /// Process id of the child; the parent's own where the child is a thread.
    pub child_pid: u32,
    /// Thread id of the child.
    pub child_tid: u32,
}

/// What follows the header of an exec; then come the executable and, where asked for, the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ExecBody {
    /// Thread id before the call: a thread that calls exec takes over the leader's.
    pub old_tid: u32,
    /// Bytes of items.
    pub items_bytes: u32,
}

/// What follows the header of an exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ExitBody {
    /// Status in the form of wait(2).
    pub status: u32,
    /// 1 for the last thread of its process.
    pub group_dead: u32,
}

/// What follows the header of a task that came under watch; then come its executable and its argv.
///
/// At inventory there is one for each process, whatever the number of its threads; otherwise one for each
/// task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TaskBody {
    /// One of [`reason`].
    pub reason: u32,
    /// Bytes of items.
    pub items_bytes: u32,
    /// `CLOCK_BOOTTIME` nanoseconds at which the task was started (`task_struct.start_boottime`; field 22
    /// of `proc_pid_stat(5)`, which rounds it).
    pub start_ns: u64,
}

/// What follows the header of a task that was moved; the header has the new cgroup and the old watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct MovedBody {
    /// The cgroup that it was in.
    pub from_cgroup: u64,
    /// The cgroup that it is in.
    pub to_cgroup: u64,
}

/// What follows the header of a cgroup's record; then comes its name. The header is the task that made
/// or removed it, watched or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CgroupBody {
    /// The cgroup.
    pub cgroup_id: u64,
    /// The one above it.
    pub parent_id: u64,
    /// 1 made, 0 removed.
    pub made: u32,
    /// Bytes of items.
    pub items_bytes: u32,
}

/// What every item begins with; `len` bytes follow, then padding up to a multiple of 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ItemHeader {
    /// Index of the argument, 0 to 5.
    pub arg: u8,
    /// One of [`item_kind`].
    pub kind: u8,
    /// 0, or −errno of the read.
    pub err: i16,
    /// Bytes that follow.
    pub len: u16,
    /// Bits of [`item_flag`].
    pub flags: u16,
}

/// One thing the kernel program is to read for a call.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Op {
    /// One of [`op_kind`].
    pub kind: u8,
    /// Index of the argument.
    pub arg: u8,
    /// Index of a second argument (directory, count, length), or [`NO_ARG`].
    pub other: u8,
    /// Base-2 logarithm of the bytes that each counted element has.
    pub scale: u8,
    /// Most bytes to read.
    pub max_bytes: u16,
    /// 0.
    pub reserved: u16,
}

/// Everything the kernel program is to read for a call, in order.
pub type Plan = [Op; OPS_MAX];

/// Most watches at a time; their indices are 0 to 63.
pub const WATCHES: usize = 64;
/// Most rings at a time.
pub const RINGS: usize = 32;
/// Most cgroups watched at a time.
pub const CGROUPS: usize = 16384;
/// Bytes that tell quickly which cgroups are certainly not watched: one for all ids that end alike.
pub const CGROUP_BYTES: usize = 65536;
/// Most cgroups expected at a time.
pub const EXPECTED: usize = 1024;
/// Bytes of an expected cgroup's path or name, padded with zeros.
pub const EXPECTED_BYTES: usize = 256;
/// Most executables watched at a time.
pub const EXECUTABLES: usize = 1024;
/// Bytes of a watched executable's path, as components deepest first, each with its NUL.
pub const EXECUTABLE_BYTES: usize = 256;

/// Bits of [`WatchEntry::flags`].
pub mod watch_flag {
    /// Exec records carry the environment.
    pub const WANTS_ENV: u32 = 1 << 0;
    /// Every call is left out; who comes from no other watch is let go again.
    pub const EXCLUSION: u32 = 1 << 1;
}

/// A watch as the kernel program knows it.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct WatchEntry {
    /// 0: none; otherwise another number each time that the index is used anew.
    pub generation: u32,
    /// Slot of the ring that its records go to.
    pub ring: u32,
    /// Bits of [`watch_flag`].
    pub flags: u32,
    /// Pending bytes from which the reader is woken.
    pub wake_bytes: u32,
    /// Bit n: `x86_64` call n is counted, not recorded.
    pub left_out: [u64; PLANS / 64],
}

/// A thread that is watched, as the list of followers has it.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct FollowerEntry {
    /// Its watch: the index, and above it the generation.
    pub claim: u64,
    /// When its process was started, in nanoseconds of `CLOCK_BOOTTIME`.
    pub start_ns: u64,
    /// Its process.
    pub pid: u32,
    /// 0.
    pub reserved: u32,
}

/// Counters of one ring on one CPU since the ring was opened.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct CpuCounters {
    /// Records numbered: `emitted + dropped`.
    pub seq: u64,
    /// Records handed to the ring.
    pub emitted: u64,
    /// Records that found the ring full.
    pub dropped: u64,
    /// Calls, children or cgroups for which no memory was to be had.
    pub stash_failed: u64,
    /// Calls that were in progress when their task came under watch by inventory, by the program it
    /// executed, or by a fork: not recorded. (The call that moves a task into a watched cgroup belongs to
    /// the time before, and is not counted.)
    pub skipped_mid_call: u64,
}

const _: () = {
    assert!(size_of::<Header>() == 96);
    assert!(offset_of!(Header, seq) == 8);
    assert!(offset_of!(Header, cpu) == 32);
    assert!(offset_of!(Header, euid) == 56);
    assert!(offset_of!(Header, watch) == 76);
    assert!(offset_of!(Header, comm) == 80);
    assert!(size_of::<CallBody>() == 72);
    assert!(offset_of!(CallBody, args) == 16);
    assert!(offset_of!(CallBody, nr) == 64);
    assert!(offset_of!(CallBody, items_bytes) == 70);
    assert!(size_of::<ForkBody>() == 8);
    assert!(size_of::<ExecBody>() == 8);
    assert!(size_of::<ExitBody>() == 8);
    assert!(size_of::<TaskBody>() == 16);
    assert!(offset_of!(TaskBody, start_ns) == 8);
    assert!(size_of::<MovedBody>() == 16);
    assert!(size_of::<CgroupBody>() == 24);
    assert!(offset_of!(CgroupBody, made) == 16);
    assert!(size_of::<ItemHeader>() == 8);
    assert!(offset_of!(ItemHeader, len) == 4);
    assert!(size_of::<Op>() == 8);
    assert!(offset_of!(Op, max_bytes) == 4);
    assert!(size_of::<Plan>() == 32);
    assert!(size_of::<WatchEntry>() == 80);
    assert!(offset_of!(WatchEntry, left_out) == 16);
    assert!(size_of::<FollowerEntry>() == 24);
    assert!(offset_of!(FollowerEntry, pid) == 16);
    assert!(size_of::<CpuCounters>() == 40);
};
