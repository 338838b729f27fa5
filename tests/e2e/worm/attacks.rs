//! What root may try on a file.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::SystemTime;

type Attack = fn(&Path) -> io::Result<()>;

/// Every change but appending. The file is gone after the last one.
pub(super) const ATTACKS: [(&str, Attack); 8] = [
    ("chmod", |path| fs::set_permissions(path, Permissions::from_mode(0o600))),
    ("set its time", |path| File::open(path)?.set_modified(SystemTime::UNIX_EPOCH)),
    ("overwrite", |path| File::options().write(true).open(path)?.write_all_at(b"x", 0)),
    ("truncate", |path| File::options().write(true).open(path)?.set_len(1)),
    ("empty", |path| File::create(path).map(drop)),
    ("link", |path| {
        let link = path.with_extension("link");
        fs::hard_link(path, &link)?;
        fs::remove_file(link)
    }),
    ("replace", |path| {
        let other = path.with_extension("other");
        fs::write(&other, "other")?;
        let replaced = fs::rename(&other, path);
        // Gone where it has taken the other's place.
        drop(fs::remove_file(other));
        replaced
    }),
    ("remove", |path| fs::remove_file(path)),
];

pub(super) fn append(path: &Path) -> io::Result<()> {
    File::options().append(true).open(path)?.write_all(b"x")
}

/// Each of them, and a rename, is refused with EPERM, and the file is what it was.
pub(super) fn assert_refused(path: &Path) {
    let read = || fs::read(path).expect("it is there");
    let before = read();
    let rename: Attack = |path| fs::rename(path, path.with_extension("moved"));
    for (what, attack) in ATTACKS.into_iter().chain([("rename", rename)]) {
        let error = attack(path).expect_err(what);
        assert_eq!(error.raw_os_error(), Some(1), "{what}: {error}");
    }
    assert!(read().starts_with(&before), "its writer may have appended meanwhile");
}
