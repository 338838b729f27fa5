//! The two attributes that hold a file against its owner and against root without the right to lift them.
//!
//! Source: `ioctl_iflags(2)`.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{
    CWD, IFlags, Mode, OFlags, ioctl_getflags, ioctl_setflags, major, minor, openat, stat,
};
use rustix::io::Errno;

/// A file with both can only be read.
pub(super) const CLOSED: IFlags = IFlags::APPEND.union(IFlags::IMMUTABLE);

/// Adds attributes, in one step and without taking one away: at no moment is a file held by less than before.
pub(super) fn add(file: impl AsFd, wanted: IFlags) -> Result<(), Errno> {
    let flags = ioctl_getflags(&file)?;
    if flags.contains(wanted) { Ok(()) } else { ioctl_setflags(&file, flags | wanted) }
}

/// Takes both away.
pub(super) fn lift(file: impl AsFd) -> Result<(), Errno> {
    let flags = ioctl_getflags(&file)?;
    ioctl_setflags(&file, flags - CLOSED)
}

/// Whether this process can hold files in `dir`: tried on a file that has no name, so that nothing of it stays.
///
/// # Errors
///
/// Why not, in a few words.
pub fn probe(dir: &Path) -> Result<(), String> {
    let tried = || {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = openat(CWD, dir, flags, Mode::RUSR)?;
        add(&file, CLOSED)?;
        let taken = ioctl_getflags(&file)?.contains(CLOSED);
        lift(&file)?;
        if taken { Ok(()) } else { Err(Errno::OPNOTSUPP) }
    };
    tried().map_err(|errno| match errno {
        Errno::PERM => "no CAP_LINUX_IMMUTABLE".to_owned(),
        Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL => {
            let kind = file_system(dir).map(|kind| format!(" ({kind})")).unwrap_or_default();
            format!("the file system has none{kind}")
        }
        other => other.to_string(),
    })
}

/// The file system's kind, as mounts name it.
fn file_system(dir: &Path) -> Option<String> {
    let device = stat(dir).ok()?.st_dev;
    let device = format!("{}:{}", major(device), minor(device));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let of_device = |line: &&str| line.split(' ').nth(2) == Some(&*device);
    let (_, behind) = mounts.lines().find(of_device)?.split_once(" - ")?;
    behind.split(' ').next().map(str::to_owned)
}
