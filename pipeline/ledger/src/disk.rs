//! The seam between the ledger and the disk: everything that changes files goes through it.
//!
//! A test can so put a model in the disk's place, let it fail at any operation, and ask what would
//! stand after a power loss. Reading needs no seam: the model keeps real files as its page cache.

use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate};

/// What [`Disk::open`] does about a file that is there, or is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// Made where it is missing; all writes go to its end.
    Append,
    /// Must not exist.
    New,
    /// Made where it is missing, emptied where it is there.
    Emptied,
}

/// A place that holds files. Paths and errors are those of the system calls of the same names.
///
/// Nothing is durable before it is synced: bytes and lengths by the file, names by the directory.
pub trait Disk: Debug + Send + Sync {
    /// Opens a file for writing; `mode` is that of a file that is made.
    ///
    /// # Errors
    ///
    /// Those of open(2).
    fn open(&self, path: &Path, opening: Opening, mode: u32) -> io::Result<Box<dyn DiskFile>>;

    /// Makes a directory, whose parent must exist.
    ///
    /// # Errors
    ///
    /// Those of mkdir(2).
    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()>;

    /// Gives a file another name, in place of the file that had it.
    ///
    /// # Errors
    ///
    /// Those of rename(2).
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name, which must be free.
    ///
    /// # Errors
    ///
    /// Those of link(2).
    fn hard_link(&self, file: &Path, name: &Path) -> io::Result<()>;

    /// Takes a name away; the file goes with its last one.
    ///
    /// # Errors
    ///
    /// Those of unlink(2).
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Sets the permission bits of a file.
    ///
    /// # Errors
    ///
    /// Those of chmod(2).
    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    ///
    /// Those of fsync(2).
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Syncs a file and drops it from the page cache, so that what is read next is what the disk
    /// has: after a failed sync the cache may hold, as clean, what never got there.
    ///
    /// # Errors
    ///
    /// Those of fsync(2) and `posix_fadvise(2)`.
    fn evict(&self, path: &Path) -> io::Result<()>;
}

/// A file that is open for writing.
#[expect(clippy::len_without_is_empty, reason = "a length in bytes is wanted, to append behind")]
pub trait DiskFile: Debug + Send {
    /// Writes all of `bytes`. After an error any part of them may stand.
    ///
    /// # Errors
    ///
    /// Those of write(2).
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file, or fills it with zeros, to a length in bytes.
    ///
    /// # Errors
    ///
    /// Those of ftruncate(2).
    fn set_len(&self, len_bytes: u64) -> io::Result<()>;

    /// Makes bytes and length durable: fdatasync(2). After an error nothing is known of them.
    ///
    /// # Errors
    ///
    /// Those of fdatasync(2).
    fn sync_data(&self) -> io::Result<()>;

    /// As [`Self::sync_data`], with mode and times.
    ///
    /// # Errors
    ///
    /// Those of fsync(2).
    fn sync_all(&self) -> io::Result<()>;

    /// The length in bytes.
    ///
    /// # Errors
    ///
    /// Those of fstat(2).
    fn len(&self) -> io::Result<u64>;

    /// A hint: the file will grow to `len_bytes`. Its length stays as it is.
    fn reserve(&self, _len_bytes: u64) {}

    /// A hint: `len_bytes` from `offset_bytes` on are complete, so the disk may begin with them.
    fn start_writing(&self, _offset_bytes: u64, _len_bytes: NonZeroU64) {}
}

/// The host's own file systems.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostDisk;

impl Disk for HostDisk {
    fn open(&self, path: &Path, opening: Opening, mode: u32) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        match opening {
            Opening::Append => options.append(true).create(true),
            Opening::New => options.write(true).create_new(true),
            Opening::Emptied => options.write(true).create(true).truncate(true),
        };
        Ok(Box::new(options.mode(mode).open(path)?))
    }

    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        DirBuilder::new().mode(mode).create(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn hard_link(&self, file: &Path, name: &Path) -> io::Result<()> {
        fs::hard_link(file, name)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        fs::set_permissions(path, Permissions::from_mode(mode))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn evict(&self, path: &Path) -> io::Result<()> {
        let file = File::open(path)?;
        file.sync_all()?;
        Ok(fadvise(&file, 0, None, Advice::DontNeed)?)
    }
}

impl DiskFile for File {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::Write::write_all(self, bytes)
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        Self::set_len(self, len_bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        Self::sync_data(self)
    }

    fn sync_all(&self) -> io::Result<()> {
        Self::sync_all(self)
    }

    fn len(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }

    fn reserve(&self, len_bytes: u64) {
        // A file system that cannot reserve allocates with each write, as without the hint.
        fallocate(self, FallocateFlags::KEEP_SIZE, 0, len_bytes).ok();
    }

    fn start_writing(&self, offset_bytes: u64, len_bytes: NonZeroU64) {
        // Linux begins to write the dirty pages of a range that it is told to forget, and keeps
        // them until they are written. It is what `sync_file_range(2)` does, without unsafe code.
        fadvise(self, offset_bytes, Some(len_bytes), Advice::DontNeed).ok();
    }
}
