//! Names of flags and of enumerated values, from the kernel's user-space headers.
//!
//! What `libc` knows is taken from there; the families in the folder have the numbers themselves,
//! since `libc` lacks many of them.

pub mod devices;
pub mod files;
pub mod kernel;
pub mod memory;
pub mod mounts;
pub mod network;
pub mod processes;
pub mod watches;

use std::borrow::Cow;

/// A word made of an optional enumerated field and of single bits.
#[derive(Debug)]
pub struct FlagTable {
    /// Mask of the enumerated field; 0 where there is none.
    pub field_mask: u64,
    /// Names of the field's values; a value without a name is left in hexadecimal.
    pub field: &'static [(&'static str, u64)],
    /// Names of bits; a name of several bits stands before those that it contains.
    pub bits: &'static [(&'static str, u64)],
}

impl FlagTable {
    /// The names in `value`, in the table's order; bits without a name are one last `0x…` entry.
    #[must_use]
    pub fn names(&self, value: u64) -> Vec<Cow<'static, str>> {
        let mut names = Vec::new();
        let mut rest = value;
        let field = value & self.field_mask;
        if let Some((name, _)) = self.field.iter().find(|(_, number)| *number == field) {
            names.push(Cow::Borrowed(*name));
            rest &= !self.field_mask;
        }
        for (name, bits) in self.bits {
            if rest & bits == *bits {
                names.push(Cow::Borrowed(*name));
                rest &= !bits;
            }
        }
        if rest != 0 {
            names.push(Cow::Owned(format!("{rest:#x}")));
        }
        names
    }

    /// Whether the table knows a bit of this name, and `value` has it.
    #[must_use]
    pub fn has(&self, value: u64, name: &str) -> bool {
        self.bits.iter().any(|(known, bits)| *known == name && value & bits == *bits)
    }
}

/// Names of the values of an enumeration.
pub type EnumTable = [(&'static str, u64)];

/// Tables of flags: `NAME (mask of a field: NAME = value, …) { NAME = bits, … }`.
///
/// Their values stand in the order in which they go on record: names of several bits first.
macro_rules! flag_tables {
    ($(
        $(#[$doc:meta])*
        $table:ident $(($mask:literal: $($value:ident = $number:literal),*))? {
            $($name:ident = $bits:literal),* $(,)?
        }
    )*) => {
        $(
            $(#[$doc])*
            pub static $table: super::FlagTable = super::FlagTable {
                field_mask: 0 $(+ $mask)?,
                field: &[$($((stringify!($value), $number)),*)?],
                bits: &[$((stringify!($name), $bits)),*],
            };
        )*
    };
}
use flag_tables;

/// Tables of enumerated values: `NAME { NAME = value, … }`.
macro_rules! enum_tables {
    ($($(#[$doc:meta])* $table:ident { $($name:ident = $value:literal),* $(,)? })*) => {
        $(
            $(#[$doc])*
            pub static $table: &super::EnumTable = &[$((stringify!($name), $value)),*];
        )*
    };
}
use enum_tables;

/// Pairs of a constant's name and its value, from `libc`.
macro_rules! values {
    ($($name:ident),* $(,)?) => {
        &[$((stringify!($name), libc::$name as u64)),*]
    };
}

macro_rules! libc_flag_tables {
    ($($(#[$doc:meta])* $table:ident: $values:expr;)*) => {
        $(
            $(#[$doc])*
            #[allow(clippy::cast_sign_loss, clippy::cast_lossless, trivial_numeric_casts,
                reason = "libc gives flags in various integer types, all of them positive")]
            pub static $table: FlagTable = FlagTable { field_mask: 0, field: &[], bits: $values };
        )*
    };
}

libc_flag_tables! {
    /// `unlinkat(2)`.
    UNLINK: values![AT_REMOVEDIR];
    /// `linkat(2)`.
    LINK: values![AT_EMPTY_PATH, AT_SYMLINK_FOLLOW];
    /// `fchownat(2)`, `fchmodat2(2)`, `execveat(2)`.
    AT: values![AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW];
    /// `renameat2(2)`.
    RENAME: values![RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT];
    /// `accept4(2)`.
    ACCEPT: values![SOCK_CLOEXEC, SOCK_NONBLOCK];
    /// `openat2(2)`, member `resolve`.
    RESOLVE: values![
        RESOLVE_BENEATH, RESOLVE_CACHED, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS,
        RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV,
    ];
    /// `sendto(2)`, `recvfrom(2)`, `sendmsg(2)`.
    MESSAGE: values![
        MSG_CONFIRM, MSG_DONTROUTE, MSG_DONTWAIT, MSG_EOR, MSG_ERRQUEUE, MSG_FASTOPEN, MSG_MORE,
        MSG_NOSIGNAL, MSG_OOB, MSG_PEEK, MSG_TRUNC, MSG_WAITALL,
    ];
}

/// `open(2)`, `openat(2)`, and the member `flags` of `openat2(2)`.
#[allow(clippy::cast_sign_loss, reason = "libc gives flags as positive values of a signed type")]
pub static OPEN: FlagTable = FlagTable {
    field_mask: libc::O_ACCMODE as u64,
    field: values![O_RDONLY, O_WRONLY, O_RDWR],
    bits: &[
        // Of several bits each, hence first.
        ("O_TMPFILE", libc::O_TMPFILE as u64),
        ("O_SYNC", libc::O_SYNC as u64),
        ("O_APPEND", libc::O_APPEND as u64),
        ("O_ASYNC", libc::O_ASYNC as u64),
        ("O_CLOEXEC", libc::O_CLOEXEC as u64),
        ("O_CREAT", libc::O_CREAT as u64),
        ("O_DIRECT", libc::O_DIRECT as u64),
        ("O_DIRECTORY", libc::O_DIRECTORY as u64),
        ("O_DSYNC", libc::O_DSYNC as u64),
        ("O_EXCL", libc::O_EXCL as u64),
        // The kernel's bit: on this architecture libc has it as 0.
        ("O_LARGEFILE", 0o100_000),
        ("O_NOATIME", libc::O_NOATIME as u64),
        ("O_NOCTTY", libc::O_NOCTTY as u64),
        ("O_NOFOLLOW", libc::O_NOFOLLOW as u64),
        ("O_NONBLOCK", libc::O_NONBLOCK as u64),
        ("O_PATH", libc::O_PATH as u64),
        ("O_TRUNC", libc::O_TRUNC as u64),
    ],
};

/// `socket(2)`, `socketpair(2)`.
#[allow(clippy::cast_sign_loss, reason = "libc gives flags as positive values of a signed type")]
pub static SOCKET_TYPE: FlagTable = FlagTable {
    field_mask: 0xf,
    field: values![SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_RDM, SOCK_SEQPACKET, SOCK_DCCP,],
    bits: values![SOCK_CLOEXEC, SOCK_NONBLOCK],
};

/// Address families.
#[allow(clippy::cast_sign_loss, reason = "libc gives families as positive values of a signed type")]
pub static FAMILY: &EnumTable = values![
    AF_UNSPEC,
    AF_UNIX,
    AF_INET,
    AF_AX25,
    AF_IPX,
    AF_APPLETALK,
    AF_INET6,
    AF_KEY,
    AF_NETLINK,
    AF_PACKET,
    AF_RDS,
    AF_CAN,
    AF_TIPC,
    AF_BLUETOOTH,
    AF_ALG,
    AF_VSOCK,
    AF_XDP,
];

/// Signals; 0 asks whether the process exists.
#[allow(clippy::cast_sign_loss, reason = "libc gives signals as positive values of a signed type")]
pub static SIGNAL: &EnumTable = values![
    SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGUSR1, SIGSEGV,
    SIGUSR2, SIGPIPE, SIGALRM, SIGTERM, SIGSTKFLT, SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN,
    SIGTTOU, SIGURG, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF, SIGWINCH, SIGIO, SIGPWR, SIGSYS,
];
