//! What numbers mean by themselves: in a register, or as members of a structure.

use std::borrow::Cow;

use super::ArgValue;
use crate::flags::network::{
    IP_OPTION, IPV6_OPTION, NETLINK_OPTION, SOL_SOCKET_OPTION, TCP_OPTION, UDP_OPTION,
};
use crate::flags::{EnumTable, SIGNAL};
use crate::table::Kind;

/// The last number that every JSON reader keeps.
const EXACT_MAX: u64 = (1 << 53) - 1;

/// What a number means by itself.
pub(super) fn number(kind: Kind, raw: u64) -> ArgValue<'static> {
    let int = ArgValue::Int(i64::from(low_half(raw).cast_signed()));
    match kind {
        Kind::Dirfd
        | Kind::Fd
        | Kind::FdPath
        | Kind::Int
        | Kind::Pid
        | Kind::PidOrSelf
        | Kind::Tid => int,
        Kind::Flags(table) => ArgValue::Flags(table.names(u64::from(low_half(raw)))),
        Kind::LongFlags(table) => ArgValue::Flags(table.names(raw)),
        Kind::Enum(table) => enumerated(table, raw),
        Kind::EnumOrInt(table) => name_in(table, raw).unwrap_or(int),
        Kind::Signal => enumerated(SIGNAL, raw),
        Kind::Mode => u32::try_from(raw).map_or(ArgValue::Hex(raw), ArgValue::Octal),
        Kind::Uid | Kind::Gid => ArgValue::Int(identity(low_half(raw))),
        Kind::Count if raw <= EXACT_MAX => ArgValue::Int(raw.cast_signed()),
        _ => ArgValue::Hex(raw),
    }
}

/// Names of the options of a socket's level.
pub(super) fn socket_options(level: i32) -> &'static EnumTable {
    match level {
        0 => IP_OPTION,
        1 => SOL_SOCKET_OPTION,
        6 => TCP_OPTION,
        17 => UDP_OPTION,
        41 => IPV6_OPTION,
        270 => NETLINK_OPTION,
        _ => &[],
    }
}

pub(super) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

pub(super) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes.get(offset..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

pub(super) fn text(bytes: &[u8]) -> ArgValue<'_> {
    ArgValue::Text(Cow::Borrowed(bytes))
}

pub(super) const fn low_half(raw: u64) -> u32 {
    (raw & 0xffff_ffff) as u32
}

/// −1 means "unchanged" in calls that set identities.
pub(super) fn identity(id: u32) -> i64 {
    if id == u32::MAX { -1 } else { i64::from(id) }
}

pub(super) fn enumerated(table: &EnumTable, raw: u64) -> ArgValue<'static> {
    name_in(table, raw).unwrap_or(ArgValue::Hex(u64::from(low_half(raw))))
}

fn name_in(table: &EnumTable, raw: u64) -> Option<ArgValue<'static>> {
    let value = u64::from(low_half(raw));
    table.iter().find(|(_, number)| *number == value).map(|(name, _)| text(name.as_bytes()))
}
