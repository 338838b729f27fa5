//! An ext4 file system of its own below a ledger, which can be full, and which the kernel can give up.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::support::{Ledger, text};

const IMAGE_BYTES: u64 = 16 << 20;

/// Mounted at the ledger's directory; unmounted when dropped.
pub(super) struct SmallDisk {
    image: PathBuf,
    at: PathBuf,
}

impl SmallDisk {
    /// Moves the ledger onto a disk of 16 MiB. Needs root.
    pub(super) fn under(ledger: &Ledger) -> Self {
        let (image, moved) = (ledger.home().join("image"), ledger.home().join("moved"));
        let file = fs::File::create(&image).expect("a file");
        file.set_len(IMAGE_BYTES).expect("sparse");
        run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image));
        fs::rename(ledger.path(), &moved).expect("ours");
        fs::create_dir(ledger.path()).expect("ours");
        let disk = Self { image, at: ledger.path() };
        disk.mount();
        run(Command::new("cp").arg("-a").arg(moved.join(".")).arg(&disk.at));
        run(Command::new("sync").arg("--file-system").arg(&disk.at));
        fs::remove_dir_all(moved).expect("ours");
        disk
    }

    fn mount(&self) {
        let mut mount = Command::new("mount");
        run(mount.args(["-o", "loop,errors=remount-ro"]).args([&self.image, &self.at]));
        // Which is no part of a ledger.
        fs::remove_dir(self.at.join("lost+found")).expect("mkfs and fsck make it");
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }

    /// Leaves so many bytes free, about.
    pub(super) fn fill(&self, leave_bytes: u64) {
        let free = rustix::fs::statvfs(&self.at).expect("it is mounted");
        let bytes = (free.f_bavail * free.f_frsize).saturating_sub(leave_bytes);
        let mut fallocate = Command::new("fallocate");
        run(fallocate.arg("--length").arg(bytes.to_string()).arg(self.filler()));
    }

    pub(super) fn make_room(&self) {
        fs::remove_file(self.filler()).expect("it was filled");
    }

    /// Has the kernel meet an error of the file system, at which it lets nobody write to it any more. A file
    /// system with files open for writing cannot be remounted read-only in any other way.
    pub(super) fn fail(&self) {
        let mounts = fs::read_to_string("/proc/mounts").expect("mounts");
        let line =
            mounts.lines().find(|line| line.split(' ').nth(1).map(Path::new) == Some(&self.at));
        let device = line.and_then(|line| line.split(' ').next()?.strip_prefix("/dev/"));
        let device = device.expect("it is mounted");
        fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "a test").expect("root may");
    }

    /// Mends it as an operator does: unmount, check, mount.
    pub(super) fn repair(&self) {
        self.unmount();
        let mut fsck = Command::new("e2fsck");
        let checked = fsck.arg("-p").arg(&self.image).output().expect("e2fsck runs");
        assert!(checked.status.code() <= Some(1), "1: errors corrected; {}", text(&checked));
        self.mount();
    }

    /// Whoever still has a file open is about to close it.
    fn unmount(&self) {
        for _ in 0..500 {
            let unmounted = Command::new("umount").arg(&self.at).output().expect("umount runs");
            if unmounted.status.success() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("{} is busy", self.at.display());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Also where a test has failed, and its processes are still there.
        drop(Command::new("umount").args(["--lazy", "--quiet"]).arg(&self.at).status());
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {}", text(&output));
}
