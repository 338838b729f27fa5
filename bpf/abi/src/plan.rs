//! What the kernel program reads for each call, derived from the table.

use crate::layout::{NO_ARG, Op, PLANS, Plan, op_kind};
use crate::table::{self, Kind, Syscall};

/// Largest `struct sockaddr`, in bytes.
const ADDRESS_BYTES: u16 = 128;
/// Bytes of the two `struct __user_cap_data_struct` of capset(2).
const CAPABILITIES_BYTES: u16 = 24;
/// Most of a counted text, in bytes; the longest is the command line of `kexec_file_load(2)`.
const TEXT_BYTES: u16 = 2048;
/// Most of a list of group ids, in bytes: 1,024 groups.
const GROUPS_BYTES: u16 = 4096;

/// The plans of all calls: entry `nr` for `x86_64` system call `nr`.
///
/// A call that the table does not name has an empty plan: only its raw arguments are recorded.
#[must_use]
pub fn fetch_plan() -> Vec<Plan> {
    let mut plans = vec![Plan::default(); PLANS];
    for line in table::lines() {
        if let Some(slot) = usize::try_from(line.sysno.id()).ok().and_then(|nr| plans.get_mut(nr)) {
            *slot = plan_of(line);
        }
    }
    plans
}

fn plan_of(line: &Syscall) -> Plan {
    let mut plan = Plan::default();
    let ops = (0u8..).zip(line.params).filter_map(|(arg, (_, kind))| op_of(arg, *kind));
    for (slot, op) in plan.iter_mut().zip(ops) {
        *slot = op;
    }
    plan
}

fn op_of(arg: u8, kind: Kind) -> Option<Op> {
    let op = |kind, other, scale, max_bytes| Op { kind, arg, other, scale, max_bytes, reserved: 0 };
    Some(match kind {
        Kind::Path | Kind::PathOrNull => op(op_kind::PATH, NO_ARG, 0, 0),
        Kind::PathAt(directory) | Kind::PathAtOrNull(directory) => {
            op(op_kind::PATH, directory, 0, 0)
        }
        Kind::Bytes { len } => op(op_kind::BYTES, len, 0, TEXT_BYTES),
        Kind::Str | Kind::StrOrNull => op(op_kind::STRING, NO_ARG, 0, 0),
        Kind::Argv => op(op_kind::ARGV, NO_ARG, 0, 0),
        Kind::FdPath => op(op_kind::FD_PATH, NO_ARG, 0, 0),
        Kind::Struct(structure) | Kind::StructOrNull(structure) => {
            op(op_kind::BYTES, structure.size.unwrap_or(NO_ARG), 0, structure.bytes_max)
        }
        Kind::Capabilities { .. } => op(op_kind::BYTES, NO_ARG, 0, CAPABILITIES_BYTES),
        Kind::Gids { count } => op(op_kind::BYTES, count, 2, GROUPS_BYTES),
        Kind::LocalAddr { len } | Kind::PeerAddr { len } => {
            op(op_kind::BYTES, len, 0, ADDRESS_BYTES)
        }
        Kind::LocalAddrOut { len } | Kind::PeerAddrOut { len } => {
            op(op_kind::ADDR_OUT, len, 0, ADDRESS_BYTES)
        }
        Kind::PeerMessage | Kind::PeerMessages { .. } => {
            op(op_kind::MSG_NAME, NO_ARG, 0, ADDRESS_BYTES)
        }
        Kind::PeerMessageOut => op(op_kind::MSG_NAME_OUT, NO_ARG, 0, ADDRESS_BYTES),
        Kind::Dirfd
        | Kind::Fd
        | Kind::Flags(_)
        | Kind::LongFlags(_)
        | Kind::Enum(_)
        | Kind::EnumOrInt(_)
        | Kind::SocketOption { .. }
        | Kind::Mode
        | Kind::CreateMode(_)
        | Kind::Count
        | Kind::Int
        | Kind::Uid
        | Kind::Gid
        | Kind::Pid
        | Kind::PidOrSelf
        | Kind::Tid
        | Kind::Signal
        | Kind::Hex => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::OPS_MAX;

    #[test]
    fn every_line_of_the_table_fits_a_plan() {
        for line in table::lines() {
            let ops = (0u8..).zip(line.params).filter_map(|(arg, (_, kind))| op_of(arg, *kind));
            assert!(ops.count() <= OPS_MAX, "{} needs more operations", line.sysno.name());
            assert!(line.params.len() <= 6, "{} has too many arguments", line.sysno.name());
            assert!(line.sysno.id() < 512, "{} has no plan", line.sysno.name());
        }
    }

    #[test]
    fn no_call_stands_twice_in_the_table() {
        let mut numbers: Vec<_> = table::lines().map(|line| line.sysno.id()).collect();
        let lines = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), lines);
    }

    #[test]
    fn an_unnamed_call_has_an_empty_plan() {
        let plans = fetch_plan();
        assert_eq!(plans[39], Plan::default(), "getpid");
        assert_eq!(plans[257][0].kind, op_kind::PATH, "openat");
        assert_eq!(plans[257][0].other, 0, "openat starts from its first argument");
    }
}
