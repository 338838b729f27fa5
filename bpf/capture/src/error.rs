//! What can keep capture from starting, each with its remedy.

use std::io;
use std::path::PathBuf;

use graven_abi::layout::{CGROUPS, EXECUTABLES, EXPECTED};

/// Why capture does not start or go on. Each message ends with what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// Neither root nor the two capabilities.
    #[error(
        "capture needs root, or the capabilities CAP_BPF, CAP_PERFMON and CAP_SYS_RESOURCE; run it with sudo"
    )]
    NotPermitted,
    /// The kernel was built without type information.
    #[error("the kernel has no type information at {}; use a kernel built with CONFIG_DEBUG_INFO_BTF=y", path.display())]
    NoBtf {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The kernel refused the program although the caller has the rights.
    #[error(
        "the kernel refused the capture program; check `cat /sys/kernel/security/lockdown` (\"confidentiality\" forbids it) and that no container or security profile forbids bpf(2)"
    )]
    Refused {
        /// What libbpf says.
        source: libbpf_rs::Error,
    },
    /// The kernel is too old, or its types have changed.
    #[error(
        "the capture program does not load on this kernel; it needs Linux 6.1 or newer on x86_64"
    )]
    Load {
        /// What libbpf says.
        source: libbpf_rs::Error,
    },
    /// No cgroup version 2 file system.
    #[error(
        "no cgroup2 file system is mounted; mount one with `mount -t cgroup2 none /sys/fs/cgroup`"
    )]
    NoCgroup2,
    /// A cgroup could not be made or changed.
    #[error("failed to {operation} {}; run as root, and mount the cgroup2 file system writable", path.display())]
    Cgroup {
        /// What was being done.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A cgroup's name that is no single file name.
    #[error("`{name}` is no name for a cgroup; use letters, digits, `-` and `_`")]
    CgroupName {
        /// The name.
        name: String,
    },
    /// The ring's size is none that the kernel takes.
    #[error("a ring of {bytes} bytes is not possible; use a power of two from {RING_BYTES_MIN} to 2147483648", RING_BYTES_MIN = crate::RING_BYTES_MIN)]
    RingBytes {
        /// The size asked for.
        bytes: u64,
    },
    /// As many rings as there can be are open.
    #[error("{RINGS} rings are open, which is the most; close one, or record several ledgers in several runs", RINGS = graven_abi::layout::RINGS)]
    NoRing,
    /// A watch that is not set, or cannot be.
    #[error("there is no watch {index}; set one with an index below {WATCHES}", WATCHES = graven_abi::layout::WATCHES)]
    NoWatch {
        /// The index that was given.
        index: u32,
    },
    /// Another watch records the cgroup or executable already.
    #[error("{} is watched by watch {other} already; take it out of one of the two, or hand it over", path.display())]
    Taken {
        /// The cgroup or executable, symbolic links resolved.
        path: PathBuf,
        /// The other watch's index.
        other: u32,
    },
    /// A path by which no executable can be watched.
    #[error("`{}` cannot be watched as an executable; give an absolute path of at most 255 bytes", path.display())]
    Executable {
        /// The path, symbolic links resolved.
        path: PathBuf,
    },
    /// The cgroup namespace is not the machine's own.
    #[error(
        "cgroups can be expected in the machine's own cgroup namespace alone; give the container the host's (`--cgroupns=host`)"
    )]
    CgroupNamespace,
    /// A path or name by which no cgroup can be expected.
    #[error(
        "no cgroup can be expected as {expected:?}; give an absolute path or a single name, of at most 254 bytes"
    )]
    Expected {
        /// What was given.
        expected: crate::Expected,
    },
    /// The kernel did not take a change of what is watched.
    #[error(
        "failed to {operation}; at most {CGROUPS} cgroups and {EXECUTABLES} executables can be watched, and {EXPECTED} cgroups expected, at a time"
    )]
    Change {
        /// What was being done.
        operation: &'static str,
        /// Why it failed.
        source: libbpf_rs::Error,
    },
    /// The ring or a map could not be read.
    #[error("failed to {operation}; the capture cannot go on, so stop the command and start again")]
    Read {
        /// What was being done.
        operation: &'static str,
        /// Why it failed.
        source: libbpf_rs::Error,
    },
    /// The guard's process could not be started or told something.
    #[error(
        "failed to {operation} the guard; without it the command could outlive its recorder, so do not start it"
    )]
    Guard {
        /// What was being done.
        operation: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}
