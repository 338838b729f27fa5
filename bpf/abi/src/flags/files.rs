//! Files and descriptors.

use super::{enum_tables, flag_tables};

flag_tables! {
    /// `access(2)`, `faccessat(2)`; no bit asks whether the file exists.
    ACCESS (0x7: F_OK = 0x0) {
        R_OK = 0x4, W_OK = 0x2, X_OK = 0x1,
    }
    /// `faccessat2(2)`.
    FACCESS {
        AT_EACCESS = 0x200, AT_EMPTY_PATH = 0x1000, AT_SYMLINK_NOFOLLOW = 0x100,
    }
    /// `newfstatat(2)`, `statx(2)`.
    STAT {
        AT_EMPTY_PATH = 0x1000, AT_NO_AUTOMOUNT = 0x800, AT_STATX_DONT_SYNC = 0x4000,
        AT_STATX_FORCE_SYNC = 0x2000, AT_SYMLINK_NOFOLLOW = 0x100,
    }
    /// `statx(2)`, what is asked for.
    STATX {
        STATX_BASIC_STATS = 0x7ff, STATX_ATIME = 0x20, STATX_BLOCKS = 0x400, STATX_BTIME = 0x800,
        STATX_CTIME = 0x80, STATX_DIOALIGN = 0x2000, STATX_GID = 0x10, STATX_INO = 0x100,
        STATX_MNT_ID = 0x1000, STATX_MNT_ID_UNIQUE = 0x4000, STATX_MODE = 0x2, STATX_MTIME = 0x40,
        STATX_NLINK = 0x4, STATX_SIZE = 0x200, STATX_SUBVOL = 0x8000, STATX_TYPE = 0x1,
        STATX_UID = 0x8, STATX_WRITE_ATOMIC = 0x1_0000,
    }
    /// `name_to_handle_at(2)`.
    HANDLE {
        AT_EMPTY_PATH = 0x1000, AT_HANDLE_FID = 0x200, AT_HANDLE_MNT_ID_UNIQUE = 0x1,
        AT_SYMLINK_FOLLOW = 0x400,
    }
    /// `fallocate(2)`.
    FALLOCATE {
        FALLOC_FL_COLLAPSE_RANGE = 0x8, FALLOC_FL_INSERT_RANGE = 0x20, FALLOC_FL_KEEP_SIZE = 0x1,
        FALLOC_FL_NO_HIDE_STALE = 0x4, FALLOC_FL_PUNCH_HOLE = 0x2, FALLOC_FL_UNSHARE_RANGE = 0x40,
        FALLOC_FL_ZERO_RANGE = 0x10,
    }
    /// `setxattr(2)` and its kin.
    XATTR {
        XATTR_CREATE = 0x1, XATTR_REPLACE = 0x2,
    }
    /// `flock(2)`.
    FLOCK {
        LOCK_EX = 0x2, LOCK_NB = 0x4, LOCK_SH = 0x1, LOCK_UN = 0x8,
    }
    /// `dup3(2)`, `open_by_handle_at(2)` and others: flags of `open(2)` without a mode of access.
    CLOEXEC {
        O_CLOEXEC = 0x8_0000, O_DIRECT = 0x4000, O_NONBLOCK = 0x800,
    }
    /// `close_range(2)`.
    CLOSE_RANGE {
        CLOSE_RANGE_CLOEXEC = 0x4, CLOSE_RANGE_UNSHARE = 0x2,
    }
    /// `memfd_create(2)`.
    MEMFD {
        MFD_HUGE_1GB = 0x7800_0000, MFD_HUGE_2MB = 0x5400_0000, MFD_ALLOW_SEALING = 0x2,
        MFD_CLOEXEC = 0x1, MFD_EXEC = 0x10, MFD_HUGETLB = 0x4, MFD_NOEXEC_SEAL = 0x8,
    }
}

enum_tables! {
    /// `lseek(2)`.
    WHENCE {
        SEEK_SET = 0, SEEK_CUR = 1, SEEK_END = 2, SEEK_DATA = 3, SEEK_HOLE = 4,
    }
    /// `fcntl(2)`.
    FCNTL {
        F_DUPFD = 0, F_GETFD = 1, F_SETFD = 2, F_GETFL = 3, F_SETFL = 4, F_GETLK = 5, F_SETLK = 6,
        F_SETLKW = 7, F_SETOWN = 8, F_GETOWN = 9, F_SETSIG = 10, F_GETSIG = 11, F_SETOWN_EX = 15,
        F_GETOWN_EX = 16, F_GETOWNER_UIDS = 17, F_OFD_GETLK = 36, F_OFD_SETLK = 37,
        F_OFD_SETLKW = 38, F_SETLEASE = 0x400, F_GETLEASE = 0x401, F_NOTIFY = 0x402,
        F_DUPFD_QUERY = 0x403, F_CREATED_QUERY = 0x404, F_CANCELLK = 0x405, F_DUPFD_CLOEXEC = 0x406,
        F_SETPIPE_SZ = 0x407, F_GETPIPE_SZ = 0x408, F_ADD_SEALS = 0x409, F_GET_SEALS = 0x40a,
        F_GET_RW_HINT = 0x40b, F_SET_RW_HINT = 0x40c, F_GET_FILE_RW_HINT = 0x40d,
        F_SET_FILE_RW_HINT = 0x40e,
    }
}
