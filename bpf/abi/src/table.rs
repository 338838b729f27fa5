//! The table of system calls: what each argument is called and what it means.
//!
//! The same line decides what the kernel program reads ([`crate::fetch_plan`]) and how it is
//! written down ([`crate::decode`]), so a call is added by adding its line. Names of arguments are
//! those of the manual pages, section 2.

mod descriptors;
mod devices;
mod files;
mod kernel;
mod memory;
mod mounts;
mod network;
mod processes;
mod routine;
mod tasks;
mod watches;

use std::sync::LazyLock;

use syscalls::x86_64::Sysno;

use crate::flags::{EnumTable, FlagTable};
use crate::layout::PLANS;
use crate::structures::Structure;

/// What an argument means. Numbers are indices of other arguments.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A path; relative ones start from the working directory.
    Path,
    /// A path; relative ones start from the directory in that argument.
    PathAt(u8),
    /// A string that is not made absolute, such as a symbolic link's target.
    Str,
    /// A path like [`Self::Path`]; NULL means no file.
    PathOrNull,
    /// A path like [`Self::PathAt`]; NULL means the file behind the descriptor.
    PathAtOrNull(u8),
    /// A string like [`Self::Str`], or NULL.
    StrOrNull,
    /// Text whose length is in an argument.
    Bytes {
        /// Argument with the length in bytes.
        len: u8,
    },
    /// An array of strings, ended by NULL.
    Argv,
    /// A directory's descriptor, or `AT_FDCWD`.
    Dirfd,
    /// A descriptor.
    Fd,
    /// A descriptor whose path is put on record as `path`.
    FdPath,
    /// Flags by name.
    Flags(&'static FlagTable),
    /// Flags by name, of a word of 64 bits.
    LongFlags(&'static FlagTable),
    /// One of several names.
    Enum(&'static EnumTable),
    /// One of several names, or else an identifier.
    EnumOrInt(&'static EnumTable),
    /// An option of a socket.
    SocketOption {
        /// Argument with the level.
        level: u8,
    },
    /// File mode.
    Mode,
    /// File mode, meaningful only if the flags in that argument create a file.
    CreateMode(u8),
    /// A structure.
    Struct(&'static Structure),
    /// A structure, or NULL.
    StructOrNull(&'static Structure),
    /// Sets of capabilities.
    Capabilities {
        /// Argument that points to the version and the process.
        header: u8,
    },
    /// A signed integer of 32 bits that identifies something.
    Int,
    /// User id; −1 leaves it unchanged.
    Uid,
    /// Group id; −1 leaves it unchanged.
    Gid,
    /// Group ids.
    Gids {
        /// Argument with their number.
        count: u8,
    },
    /// Process id, or the negative id of a process group.
    Pid,
    /// Process or thread id; 0 is the caller, and a negative one names none.
    PidOrSelf,
    /// Thread id.
    Tid,
    /// Signal.
    Signal,
    /// Address of this side.
    LocalAddr {
        /// Argument with the length in bytes.
        len: u8,
    },
    /// Address of this side, written by the call.
    LocalAddrOut {
        /// Argument that points to the length in bytes.
        len: u8,
    },
    /// Address of the other side.
    PeerAddr {
        /// Argument with the length in bytes.
        len: u8,
    },
    /// Address of the other side, written by the call.
    PeerAddrOut {
        /// Argument that points to the length in bytes.
        len: u8,
    },
    /// `struct msghdr` whose `msg_name` is the other side's address.
    PeerMessage,
    /// `struct msghdr` whose `msg_name` the call fills in with the other side's address.
    PeerMessageOut,
    /// An array of `struct mmsghdr`; the other side's address is that of the first.
    PeerMessages {
        /// Argument with their number.
        count: u8,
    },
    /// A number of bytes or things.
    Count,
    /// Anything else.
    Hex,
}

/// Name and meaning of an argument.
pub type Param = (&'static str, Kind);

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Syscall {
    /// Name and number.
    pub sysno: Sysno,
    /// The arguments, in the order of the call.
    pub params: &'static [Param],
    /// Whether the call acts on the process that makes it; otherwise it acts on the first
    /// argument that names a file, a process or an address.
    pub about_caller: bool,
    /// Whether the call only looks, waits or keeps house: left out of
    /// [`CallSet::security`](crate::CallSet::security).
    pub is_routine: bool,
}

/// The lines of one family: `name(argument: Kind, …);`, then `about caller` and `is routine` where that
/// holds.
///
/// One call is one line, however long: the tables are read down, not across.
macro_rules! calls {
    (@about) => { false };
    (@about caller) => { true };
    (@is) => { false };
    (@is routine) => { true };
    ($($name:ident($($param:ident: $kind:expr),*) $(about $caller:ident)? $(is $class:ident)?;)*) => {
        pub(super) static CALLS: &[Syscall] = &[$(Syscall {
            sysno: Sysno::$name,
            params: &[$((stringify!($param), $kind)),*],
            about_caller: calls!(@about $($caller)?),
            is_routine: calls!(@is $($class)?),
        }),*];
    };
}
use calls;

/// Every line of the table.
pub fn lines() -> impl Iterator<Item = &'static Syscall> {
    [
        files::CALLS,
        descriptors::CALLS,
        mounts::CALLS,
        watches::CALLS,
        processes::CALLS,
        tasks::CALLS,
        memory::CALLS,
        network::CALLS,
        kernel::CALLS,
        devices::CALLS,
    ]
    .into_iter()
    .flatten()
}

/// Every call that only looks, waits or keeps house, in the table or not.
pub(crate) fn routine() -> impl Iterator<Item = Sysno> {
    let lines = lines().filter(|line| line.is_routine).map(|line| line.sysno);
    lines.chain(routine::CALLS.iter().copied())
}

static BY_NUMBER: LazyLock<Vec<Option<&'static Syscall>>> = LazyLock::new(|| {
    let mut by_number = vec![None; PLANS];
    for line in lines() {
        if let Some(slot) =
            usize::try_from(line.sysno.id()).ok().and_then(|nr| by_number.get_mut(nr))
        {
            *slot = Some(line);
        }
    }
    by_number
});

/// The line of an `x86_64` call, if the table has one.
#[must_use]
pub fn lookup(nr: u32) -> Option<&'static Syscall> {
    BY_NUMBER.get(usize::try_from(nr).ok()?).copied().flatten()
}
