//! Calls that change the kernel itself: modules, programs, keys, clocks, names.

use syscalls::x86_64::Sysno;

use super::Kind::{
    Bytes, Count, Enum, EnumOrInt, Fd, FdPath, Flags, Hex, Int, LongFlags, PidOrSelf, Str,
    StrOrNull, Struct, StructOrNull,
};
use super::{Syscall, calls};
use crate::flags::kernel::{
    BPF, CLOCK, DELETE_MODULE, FINIT_MODULE, IO_URING_ENTER, IO_URING_REGISTER, KEXEC, KEXEC_FILE,
    KEYCTL, KEYRING, PERF_EVENT_OPEN, REBOOT, SYSLOG, USERFAULTFD,
};
use crate::structures::{TIMESPEC, TIMEVAL, TIMEX};

calls! {
    bpf(cmd: Enum(BPF), attr: Hex, size: Count);
    perf_event_open(attr: Hex, pid: PidOrSelf, cpu: Int, group_fd: Fd, flags: LongFlags(&PERF_EVENT_OPEN));
    userfaultfd(flags: Flags(&USERFAULTFD));
    io_uring_setup(entries: Count, params: Hex);
    io_uring_enter(fd: Fd, to_submit: Count, min_complete: Count, flags: Flags(&IO_URING_ENTER), argp: Hex, argsz: Count);
    io_uring_register(fd: Fd, opcode: Enum(IO_URING_REGISTER), arg: Hex, nr_args: Count);
    init_module(module_image: Hex, len: Count, param_values: Str);
    finit_module(fd: FdPath, param_values: Str, flags: Flags(&FINIT_MODULE));
    delete_module(name: Str, flags: Flags(&DELETE_MODULE));
    kexec_load(entry: Hex, nr_segments: Count, segments: Hex, flags: LongFlags(&KEXEC));
    kexec_file_load(kernel_fd: FdPath, initrd_fd: Fd, cmdline_len: Count, cmdline: Bytes { len: 2 }, flags: LongFlags(&KEXEC_FILE));
    keyctl(operation: Enum(KEYCTL), arg2: Hex, arg3: Hex, arg4: Hex, arg5: Hex);
    add_key(type: Str, description: StrOrNull, payload: Hex, plen: Count, keyring: EnumOrInt(KEYRING));
    request_key(type: Str, description: Str, callout_info: StrOrNull, dest_keyring: EnumOrInt(KEYRING));
    reboot(magic: Hex, magic2: Hex, cmd: Enum(REBOOT), arg: Hex);
    settimeofday(tv: StructOrNull(&TIMEVAL), tz: Hex);
    clock_settime(clockid: Enum(CLOCK), tp: Struct(&TIMESPEC));
    adjtimex(buf: Struct(&TIMEX));
    clock_adjtime(clk_id: Enum(CLOCK), buf: Struct(&TIMEX));
    sethostname(name: Bytes { len: 1 }, len: Count);
    setdomainname(name: Bytes { len: 1 }, len: Count);
    syslog(type: Enum(SYSLOG), bufp: Hex, len: Int);
    iopl(level: Int);
    ioperm(from: Hex, num: Count, turn_on: Int);
}
