//! What is known of the machine: once, in `pipeline.started`.

use std::fs;

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

/// Kernel and machine.
pub(crate) fn host() -> Value {
    let name = uname();
    let text = |part: &std::ffi::CStr| Value::from(part.to_string_lossy().into_owned());
    Value::object([
        ("kernel", text(name.release())),
        ("machine", text(name.machine())),
        ("name", text(name.nodename())),
        ("system", text(name.sysname())),
    ])
}
