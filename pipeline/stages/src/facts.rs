//! What is known of the machine: once, in `pipeline.started`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Namespaces {
    pub(crate) mnt: u32,
    pub(crate) net: u32,
    pub(crate) pid: u32,
}

impl Namespaces {
    /// Those of this process: what the records' are compared with. Source: namespaces(7).
    pub(crate) fn own() -> Self {
        let inode = |name: &str| {
            let metadata = fs::metadata(format!("/proc/self/ns/{name}")).ok();
            metadata.and_then(|it| u32::try_from(it.ino()).ok()).unwrap_or(0)
        };
        Self { mnt: inode("mnt"), net: inode("net"), pid: inode("pid") }
    }

    pub(crate) fn to_value(self) -> Value {
        Value::object([
            ("mnt", self.mnt.into()),
            ("net", self.net.into()),
            ("pid", self.pid.into()),
        ])
    }
}

/// Kernel and machine, and the namespaces that Graven itself is in.
pub(crate) fn host() -> Value {
    let name = uname();
    let text = |part: &std::ffi::CStr| Value::from(part.to_string_lossy().into_owned());
    Value::object([
        ("kernel", text(name.release())),
        ("machine", text(name.machine())),
        ("name", text(name.nodename())),
        ("namespaces", Namespaces::own().to_value()),
        ("system", text(name.sysname())),
    ])
}
