//! What is known of the machine: once, in `pipeline.started`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::LazyLock;

use graven_record::Value;
use rustix::system::uname;

/// This host's name.
#[must_use]
pub fn host_name() -> String {
    uname().nodename().to_string_lossy().into_owned()
}

/// UUID of this boot: the one that `mono_ns` counts from.
#[must_use]
pub fn boot_id() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// Inode numbers of a process's namespaces; 0 where one could not be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Namespaces {
    pub(crate) mnt: u32,
    pub(crate) net: u32,
    pub(crate) pid: u32,
}

impl Namespaces {
    /// The host's, with which the records' are compared: those of process 1, since a service may have some
    /// of its own; where they may not be read, this process's. Source: namespaces(7).
    pub(crate) fn of_host() -> Self {
        static FOUND: LazyLock<Namespaces> = LazyLock::new(|| {
            Namespaces::of("1").or_else(|| Namespaces::of("self")).unwrap_or_default()
        });
        *FOUND
    }

    fn of(process: &str) -> Option<Self> {
        let inode = |name: &str| {
            let metadata = fs::metadata(format!("/proc/{process}/ns/{name}")).ok()?;
            u32::try_from(metadata.ino()).ok()
        };
        Some(Self { mnt: inode("mnt")?, net: inode("net")?, pid: inode("pid")? })
    }

    pub(crate) fn to_value(self) -> Value {
        Value::object([
            ("mnt", self.mnt.into()),
            ("net", self.net.into()),
            ("pid", self.pid.into()),
        ])
    }
}

/// Reads what later needs rights that may be given up by then.
pub fn look_at_host() {
    Namespaces::of_host();
}

/// Kernel and machine, and the host's namespaces.
pub(crate) fn host() -> Value {
    let name = uname();
    let text = |part: &std::ffi::CStr| Value::from(part.to_string_lossy().into_owned());
    Value::object([
        ("kernel", text(name.release())),
        ("machine", text(name.machine())),
        ("name", text(name.nodename())),
        ("namespaces", Namespaces::of_host().to_value()),
        ("system", text(name.sysname())),
    ])
}
