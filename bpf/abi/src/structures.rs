//! Structures that arguments point to.

use crate::flags::kernel::ADJTIME;
use crate::flags::mounts::MOUNT_ATTR;
use crate::flags::processes::{CAPABILITY_VERSION, CLONE3};
use crate::flags::{OPEN, RESOLVE};
use crate::table::Kind;

/// A structure: how much of it is read, and what its members mean.
#[derive(Debug)]
pub struct Structure {
    /// Argument with its size in bytes; without one the size is [`Self::bytes_max`].
    pub size: Option<u8>,
    /// Most bytes to read.
    pub bytes_max: u16,
    /// The members that go on record, sorted by name.
    pub members: &'static [Member],
}

/// A member of a structure.
#[derive(Debug)]
pub struct Member {
    /// Its name in the kernel's header.
    pub name: &'static str,
    /// Its offset, in bytes.
    pub offset: usize,
    /// Its width in bytes: 4 or 8.
    pub width: usize,
    /// What it means; a kind that needs nothing but the number.
    pub kind: Kind,
}

const fn member(name: &'static str, offset: usize, width: usize, kind: Kind) -> Member {
    Member { name, offset, width, kind }
}

/// `struct open_how` of `openat2(2)`, whose size is argument 3.
pub static OPEN_HOW: Structure = Structure {
    size: Some(3),
    bytes_max: 64,
    members: &[
        member("flags", 0, 8, Kind::LongFlags(&OPEN)),
        member("mode", 8, 8, Kind::Mode),
        member("resolve", 16, 8, Kind::LongFlags(&RESOLVE)),
    ],
};

/// `struct clone_args` of `clone3(2)`, whose size is argument 1.
pub static CLONE_ARGS: Structure = Structure {
    size: Some(1),
    bytes_max: 128,
    members: &[
        member("exit_signal", 32, 8, Kind::Signal),
        member("flags", 0, 8, Kind::LongFlags(&CLONE3)),
    ],
};

const MOUNT_ATTR_MEMBERS: &[Member] = &[
    member("attr_clr", 8, 8, Kind::LongFlags(&MOUNT_ATTR)),
    member("attr_set", 0, 8, Kind::LongFlags(&MOUNT_ATTR)),
    member("propagation", 16, 8, Kind::LongFlags(&crate::flags::mounts::MOUNT)),
    member("userns_fd", 24, 8, Kind::Fd),
];

/// `struct mount_attr` of `mount_setattr(2)` and `open_tree_attr(2)`, whose size is argument 4.
pub static MOUNT_SETATTR: Structure =
    Structure { size: Some(4), bytes_max: 64, members: MOUNT_ATTR_MEMBERS };

/// `struct rlimit`; no limit is all ones.
pub static RLIMIT: Structure = Structure {
    size: None,
    bytes_max: 16,
    members: &[member("rlim_cur", 0, 8, Kind::Count), member("rlim_max", 8, 8, Kind::Count)],
};

/// `struct timespec`.
pub static TIMESPEC: Structure = Structure {
    size: None,
    bytes_max: 16,
    members: &[member("tv_nsec", 8, 8, Kind::Count), member("tv_sec", 0, 8, Kind::Count)],
};

/// `struct timeval`.
pub static TIMEVAL: Structure = Structure {
    size: None,
    bytes_max: 16,
    members: &[member("tv_sec", 0, 8, Kind::Count), member("tv_usec", 8, 8, Kind::Count)],
};

/// The beginning of `struct timex`: what is changed.
pub static TIMEX: Structure = Structure {
    size: None,
    bytes_max: 4,
    members: &[member("modes", 0, 4, Kind::Flags(&ADJTIME))],
};

/// `struct __user_cap_header_struct`.
pub static CAPABILITY_HEADER: Structure = Structure {
    size: None,
    bytes_max: 8,
    members: &[
        member("pid", 4, 4, Kind::Int),
        member("version", 0, 4, Kind::Enum(CAPABILITY_VERSION)),
    ],
};
