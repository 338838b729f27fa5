//! Calls that change what memory is mapped, and how.

use syscalls::x86_64::Sysno;

use super::Kind::{Count, Enum, Fd, Flags, Hex, Int, LongFlags};
use super::{Syscall, calls};
use crate::flags::files::CLOEXEC;
use crate::flags::memory::{ADVICE, MLOCK, MLOCKALL, MMAP, MREMAP, MSYNC, PKEY, PROTECTION};

calls! {
    mmap(addr: Hex, length: Count, prot: LongFlags(&PROTECTION), flags: LongFlags(&MMAP), fd: Fd, offset: Count);
    munmap(addr: Hex, length: Count) is routine;
    mprotect(addr: Hex, len: Count, prot: LongFlags(&PROTECTION));
    pkey_mprotect(addr: Hex, len: Count, prot: LongFlags(&PROTECTION), pkey: Int);
    pkey_alloc(flags: Hex, access_rights: LongFlags(&PKEY)) is routine;
    pkey_free(pkey: Int) is routine;
    mremap(old_address: Hex, old_size: Count, new_size: Count, flags: LongFlags(&MREMAP), new_address: Hex) is routine;
    remap_file_pages(addr: Hex, size: Count, prot: LongFlags(&PROTECTION), pgoff: Count, flags: LongFlags(&MMAP));
    madvise(addr: Hex, length: Count, advice: Enum(ADVICE)) is routine;
    process_madvise(pidfd: Fd, iovec: Hex, vlen: Count, advice: Enum(ADVICE), flags: Hex);
    msync(addr: Hex, length: Count, flags: Flags(&MSYNC)) is routine;
    mlock(addr: Hex, len: Count) is routine;
    mlock2(addr: Hex, len: Count, flags: Flags(&MLOCK)) is routine;
    munlock(addr: Hex, len: Count) is routine;
    mlockall(flags: Flags(&MLOCKALL)) is routine;
    munlockall() is routine;
    memfd_secret(flags: Flags(&CLOEXEC));
    mseal(addr: Hex, length: Count, flags: Hex);
    brk(addr: Hex) is routine;
}
