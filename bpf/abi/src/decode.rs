//! A call in the form in which it goes on record.

mod arguments;
mod numbers;

use std::borrow::Cow;

use syscalls::{x86, x86_64};

use crate::layout::flag;
use crate::parse::Arch;
use crate::record::Call;
use crate::table;

/// An argument's value. Text is bytes that need not be UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArgValue<'a> {
    /// An identifier.
    Int(i64),
    /// A file's mode; written as `0…`, in octal.
    Octal(u32),
    /// Any other number; written as `0x…`.
    Hex(u64),
    /// A path, an address, a name.
    Text(Cow<'a, [u8]>),
    /// Flags by name; bits without a name are one last `0x…` entry.
    Flags(Vec<Cow<'static, str>>),
    /// The strings of an array.
    List(Vec<Cow<'a, [u8]>>),
    /// The identifiers of an array.
    Ints(Vec<i64>),
    /// Members of a structure, sorted by name.
    Object(Vec<(&'static str, ArgValue<'a>)>),
}

/// What a call acted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject<'a> {
    /// `file`, `process` or `socket`.
    pub kind: &'static str,
    /// Absolute path, process id in decimal, or address.
    pub id: Cow<'a, [u8]>,
}

/// What weakens a record, as a set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weakened(u8);

impl Weakened {
    /// The entry was not seen.
    pub const EXIT_ONLY: Self = Self(1 << 0);
    /// An argument was read at the call's end, since its page was absent at entry.
    pub const READ_AT_EXIT: Self = Self(1 << 1);
    /// An argument was longer than the capture limit.
    pub const TRUNCATED: Self = Self(1 << 2);
    /// An argument could not be read.
    pub const UNREAD: Self = Self(1 << 3);
    /// What was executed is not what the caller's memory named at entry.
    pub const CHANGED: Self = Self(1 << 4);

    /// Adds what `other` has.
    pub const fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether all of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether nothing weakens the record.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names on the record, sorted.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        [
            (Self::CHANGED, "changed"),
            (Self::EXIT_ONLY, "exit_only"),
            (Self::READ_AT_EXIT, "read_at_exit"),
            (Self::TRUNCATED, "truncated"),
            (Self::UNREAD, "unread"),
        ]
        .into_iter()
        .filter(move |(bit, _)| self.contains(*bit))
        .map(|(_, name)| name)
    }
}

/// A call with its arguments in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodedCall<'a> {
    /// The call's name; `syscall_<number>` where there is none.
    pub name: Cow<'static, str>,
    /// `x86_64`, `i386` or `x32`.
    pub arch: &'static str,
    /// The arguments, sorted by name. Besides those of the manual page: `path`, the path of a
    /// descriptor, and `root`, the task's root directory where it is not `/`.
    pub args: Vec<(&'static str, ArgValue<'a>)>,
    /// What the call acted on; `None` where that is not known or is nothing in particular.
    pub subject: Option<Subject<'a>>,
    /// The peer's IP address.
    pub target_host: Option<String>,
    /// What weakens the record.
    pub weakened: Weakened,
}

/// Numbers from here on mean something else under x32 than under `x86_64`.
const X32_OWN_FIRST: usize = 512;
const X32_BIT: u32 = 0x4000_0000;

/// x32's own calls, from number 512 on (`arch/x86/entry/syscalls/syscall_64.tbl`).
const X32_OWN: [&str; 36] = [
    "rt_sigaction",
    "rt_sigreturn",
    "ioctl",
    "readv",
    "writev",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "execve",
    "ptrace",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "sigaltstack",
    "timer_create",
    "mq_notify",
    "kexec_load",
    "waitid",
    "set_robust_list",
    "get_robust_list",
    "vmsplice",
    "move_pages",
    "preadv",
    "pwritev",
    "rt_tgsigqueueinfo",
    "recvmmsg",
    "sendmmsg",
    "process_vm_readv",
    "process_vm_writev",
    "setsockopt",
    "getsockopt",
    "io_setup",
    "io_submit",
    "execveat",
    "preadv2",
    "pwritev2",
];

const ARG_NAMES: [&str; 6] = ["arg0", "arg1", "arg2", "arg3", "arg4", "arg5"];

/// The name of a call; `syscall_<number>` where there is none.
#[must_use]
pub fn name(arch: Arch, nr: u32) -> Cow<'static, str> {
    let known = usize::try_from(nr).ok().and_then(|index| match arch {
        Arch::X86_64 => x86_64::Sysno::new(index).map(|sysno| sysno.name()),
        Arch::I386 => x86::Sysno::new(index).map(|sysno| sysno.name()),
        Arch::X32 => {
            let index = usize::try_from(nr & !X32_BIT).ok()?;
            match index.checked_sub(X32_OWN_FIRST) {
                Some(own) => X32_OWN.get(own).copied(),
                None => x86_64::Sysno::new(index).map(|sysno| sysno.name()),
            }
        }
    });
    known.map_or_else(|| Cow::Owned(format!("syscall_{nr}")), Cow::Borrowed)
}

/// Puts a call into words.
///
/// A call that the table does not name, and any call of another architecture than `x86_64`, has its
/// raw arguments as `arg0` to `arg5`.
#[must_use]
pub fn decode<'a>(call: &Call<'a>) -> DecodedCall<'a> {
    let mut decoded = DecodedCall {
        name: name(call.arch, call.body.nr),
        arch: call.arch.name(),
        args: Vec::with_capacity(8),
        subject: None,
        target_host: None,
        weakened: Weakened::default(),
    };
    if call.header.flags & flag::EXIT_ONLY != 0 {
        decoded.weakened.insert(Weakened::EXIT_ONLY);
    }
    if call.header.flags & flag::CHANGED != 0 {
        decoded.weakened.insert(Weakened::CHANGED);
    }
    if call.header.flags & flag::ITEMS_FULL != 0 {
        decoded.weakened.insert(Weakened::TRUNCATED);
    }
    let line = if call.arch == Arch::X86_64 { table::lookup(call.body.nr) } else { None };
    match line {
        Some(line) => arguments::describe(call, line, &mut decoded),
        None => decoded.args.extend(
            ARG_NAMES.into_iter().zip(call.body.args).map(|(name, raw)| (name, ArgValue::Hex(raw))),
        ),
    }
    decoded.args.sort_unstable_by_key(|(name, _)| *name);
    decoded
}
