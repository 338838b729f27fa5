//! The kinds of record, as what reads them sees them.

use crate::layout::{
    CallBody, CgroupBody, ExecBody, ExitBody, ForkBody, Header, MovedBody, TaskBody, flag,
    item_kind, reason,
};
use crate::parse::{Arch, Items, Strings};

/// A record from the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelRecord<'a> {
    /// A system call, with its result where it has one.
    Call(Call<'a>),
    /// A new process or thread.
    Fork(Fork),
    /// A new program in a process.
    Exec(Exec<'a>),
    /// The end of a thread.
    Exit(Exit),
    /// A task that came under watch while it ran.
    Task(Task<'a>),
    /// A watched task found in another cgroup than before.
    Moved(Moved),
    /// A cgroup made or removed below a watched one.
    Cgroup(Cgroup<'a>),
}

impl KernelRecord<'_> {
    /// The part that all kinds share.
    #[must_use]
    pub const fn header(&self) -> &Header {
        match self {
            Self::Call(call) => &call.header,
            Self::Fork(fork) => &fork.header,
            Self::Exec(exec) => &exec.header,
            Self::Exit(exit) => &exit.header,
            Self::Task(task) => &task.header,
            Self::Moved(moved) => &moved.header,
            Self::Cgroup(cgroup) => &cgroup.header,
        }
    }
}

/// A system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call<'a> {
    /// Who, when and where.
    pub header: Header,
    /// Number, arguments, result.
    pub body: CallBody,
    /// Which table the number belongs to.
    pub arch: Arch,
    /// What the arguments point to.
    pub items: Items<'a>,
}

impl Call<'_> {
    /// The kernel's result, or `None` for a call that did not return.
    #[must_use]
    pub const fn result(&self) -> Option<i64> {
        if self.header.flags & flag::NO_RETURN == 0 { Some(self.body.ret) } else { None }
    }

    /// Nanoseconds from entry to exit, or `None` where either was not seen.
    #[must_use]
    pub const fn duration_ns(&self) -> Option<u64> {
        if self.header.flags & (flag::NO_RETURN | flag::EXIT_ONLY) == 0 {
            Some(self.body.exit_ns.saturating_sub(self.header.entry_ns))
        } else {
            None
        }
    }
}

/// A new process or thread; the header is the parent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fork {
    /// The parent.
    pub header: Header,
    /// The child.
    pub body: ForkBody,
}

impl Fork {
    /// Whether the child is a thread of the same process.
    #[must_use]
    pub const fn is_thread(&self) -> bool {
        self.body.child_pid == self.header.pid
    }
}

/// A new program in a process; the header is the process as it is after the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exec<'a> {
    /// The process.
    pub header: Header,
    /// What it was.
    pub body: ExecBody,
    /// The executable.
    pub items: Items<'a>,
}

impl<'a> Exec<'a> {
    /// Absolute path of the executable in its mount namespace; empty where it is not known.
    #[must_use]
    pub fn executable(&self) -> Vec<u8> {
        self.items.executable()
    }

    /// The environment as far as it was read; `None` where the watch does not ask for it.
    #[must_use]
    pub fn environment(&self) -> Option<Strings<'a>> {
        self.items.strings(item_kind::ENV)
    }
}

/// The end of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The thread.
    pub header: Header,
    /// Its status.
    pub body: ExitBody,
}

/// Why a task came under watch while it ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It was running already when the watch was set.
    Inventory,
    /// It was found in a watched cgroup: moved there, or born there by `CLONE_INTO_CGROUP`.
    Joined,
    /// It executed a watched program.
    Executable,
}

impl Reason {
    /// The word on the record.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inventory => "inventory",
            Self::Joined => "joined",
            Self::Executable => "executable",
        }
    }

    pub(crate) const fn from_number(number: u32) -> Option<Self> {
        match number {
            reason::INVENTORY => Some(Self::Inventory),
            reason::JOINED => Some(Self::Joined),
            reason::EXECUTABLE => Some(Self::Executable),
            _ => None,
        }
    }
}

/// A task that came under watch while it ran: what it did before is not on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task<'a> {
    /// The task.
    pub header: Header,
    /// When it was started.
    pub body: TaskBody,
    /// Why it is watched from now on.
    pub reason: Reason,
    /// The executable and its arguments.
    pub items: Items<'a>,
}

impl<'a> Task<'a> {
    /// Absolute path of the executable in its mount namespace; empty where it is not known.
    #[must_use]
    pub fn executable(&self) -> Vec<u8> {
        self.items.executable()
    }

    /// The arguments as they lie in the process's memory, which it may have changed; `None` where they
    /// could not be read.
    #[must_use]
    pub fn argv(&self) -> Option<Strings<'a>> {
        self.items.strings(item_kind::ARGV)
    }
}

/// A watched task found in another cgroup than before; the call after it is the first one there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// The task; its cgroup is the new one, its watch the one that it was under.
    pub header: Header,
    /// From where to where.
    pub body: MovedBody,
}

/// A cgroup made or removed below a watched one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cgroup<'a> {
    /// The task that did it, watched or not; its watch is the cgroup's.
    pub header: Header,
    /// Which one, and below which.
    pub body: CgroupBody,
    /// The name.
    pub items: Items<'a>,
}

impl<'a> Cgroup<'a> {
    /// The name of its directory; empty where it could not be read.
    #[must_use]
    pub fn name(&self) -> &'a [u8] {
        self.items.find(0, item_kind::STRING).map_or(&[], |item| item.bytes)
    }

    /// Whether it was made; otherwise it was removed.
    #[must_use]
    pub const fn is_made(&self) -> bool {
        self.body.made != 0
    }
}
