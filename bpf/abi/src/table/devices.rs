//! Requests to devices.

use syscalls::x86_64::Sysno;

use super::Kind::{Enum, Fd, Hex};
use super::{Syscall, calls};
use crate::flags::devices::IOCTL;

calls! {
    ioctl(fd: Fd, request: Enum(IOCTL), argp: Hex);
}
