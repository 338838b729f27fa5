//! What is said to the warden: ten bytes an order, four bytes an answer.

use rustix::io::Errno;

/// Bytes of an order: what, which ledger, and the segment's first record (little-endian).
pub(super) const REQUEST_BYTES: usize = 10;

/// Bytes of an answer: 0, or the errno (little-endian).
pub(super) const ANSWER_BYTES: usize = 4;

/// What can be done to a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// From now on it can be appended to, and nothing else.
    AppendOnly,
    /// From now on it can be read alone.
    Close,
    /// It can be removed again; refused before its retention is over.
    Release,
}

/// An order about one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) order: Order,
    /// The ledger's place on the warden's command line.
    pub(super) ledger: u8,
    /// The segment, by its first record.
    pub(super) first: u64,
}

impl Request {
    pub(super) fn to_bytes(self) -> [u8; REQUEST_BYTES] {
        let order = match self.order {
            Order::AppendOnly => b'a',
            Order::Close => b'c',
            Order::Release => b'r',
        };
        let mut bytes = [0; REQUEST_BYTES];
        (bytes[0], bytes[1]) = (order, self.ledger);
        bytes[2..].copy_from_slice(&self.first.to_le_bytes());
        bytes
    }

    /// `None` where there is no such order.
    pub(super) fn from_bytes([order, ledger, first @ ..]: [u8; REQUEST_BYTES]) -> Option<Self> {
        let order = match order {
            b'a' => Order::AppendOnly,
            b'c' => Order::Close,
            b'r' => Order::Release,
            _ => return None,
        };
        Some(Self { order, ledger, first: u64::from_le_bytes(first) })
    }
}

pub(super) fn answer(outcome: Result<(), Errno>) -> [u8; ANSWER_BYTES] {
    outcome.map_or_else(Errno::raw_os_error, |()| 0).to_le_bytes()
}

/// Largest number of an error. Source: `MAX_ERRNO` in the kernel's `include/linux/err.h`.
const ERRNO_MAX: i32 = 4_095;

/// What an answer says; one that no warden gives is a broken protocol.
pub(super) fn outcome(answer: [u8; ANSWER_BYTES]) -> Result<(), Errno> {
    match i32::from_le_bytes(answer) {
        0 => Ok(()),
        errno @ 1..=ERRNO_MAX => Err(Errno::from_raw_os_error(errno)),
        _ => Err(Errno::PROTO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_and_answers_come_through() {
        for order in [Order::AppendOnly, Order::Close, Order::Release] {
            let request = Request { order, ledger: 31, first: u64::MAX - 1 };
            assert_eq!(Request::from_bytes(request.to_bytes()), Some(request));
        }
        assert_eq!(Request::from_bytes([b'x'; REQUEST_BYTES]), None);
        for told in [Ok(()), Err(Errno::PERM)] {
            assert_eq!(outcome(answer(told)), told);
        }
        for no_answer in [*b"\nrun", 4_096_i32.to_le_bytes(), (-1_i32).to_le_bytes()] {
            assert_eq!(outcome(no_answer), Err(Errno::PROTO), "{no_answer:?}");
        }
    }
}
