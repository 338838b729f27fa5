//! File systems that end with the test.

use std::env;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{IFlags, ioctl_getflags};

use crate::support::{have_root, text};

/// Tells this binary, when it is started anew, which file system it is on.
const INSIDE: &str = "GRAVEN_TEST_ON";

/// Runs `test`, which is the whole of the test called `name`, with its temporary directories on a new file system of
/// `kind`: `ext4` in a file, or one that needs no device. However the test ends, its mount namespace ends with it, and
/// so do the mount and the loop device.
pub(super) fn on(kind: &str, name: &str, test: impl FnOnce()) {
    match env::var(INSIDE) {
        Ok(inside) if inside == kind => return test(),
        Ok(_) => return,
        Err(_) if !have_root(name) => return,
        Err(_) => {}
    }
    let outside = tempfile::tempdir().expect("a temporary directory");
    let mount = match kind {
        "ext4" => "truncate -s 256M image && mkfs.ext4 -q image && mount -o loop image mnt",
        _ => "mount -t \"$GRAVEN_TEST_ON\" none mnt",
    };
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-ec"])
        .arg(format!("mkdir mnt; {mount}; exec \"$0\" --exact {name} --nocapture"))
        .arg(env::current_exe().expect("this binary"))
        .current_dir(outside.path())
        .env(INSIDE, kind)
        .env("TMPDIR", outside.path().join("mnt"))
        .stdin(Stdio::null())
        .output()
        .expect("unshare runs");
    let ran = String::from_utf8_lossy(&output.stdout).contains("test result: ok. 1 passed");
    assert!(output.status.success() && ran, "on {kind}: {}", text(&output));
}

/// The attributes of a file that matter here, as lsattr(1) has them.
pub(super) fn own_attributes(path: &Path) -> String {
    let file = File::open(path).expect("it can be read");
    // A file system may not even be able to say that there are none.
    let flags = ioctl_getflags(&file).unwrap_or(IFlags::empty());
    let named = [(IFlags::APPEND, 'a'), (IFlags::IMMUTABLE, 'i')];
    named.into_iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| name).collect()
}
