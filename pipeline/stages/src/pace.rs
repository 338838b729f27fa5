//! How a ledger slows its sources down as its budget of disk runs out. Pure.

/// Cost of a raw byte in the middle of the slow part, in nanoseconds: some 10 MB a second.
const MIDDLE_NS: u128 = 100;

/// Longest delay of one batch, in nanoseconds: whoever waits can still be told to stop.
pub(crate) const DELAY_NS_MAX: u64 = 1_000_000_000;

/// How long `bytes` raw bytes are held back where `left` bytes of a slow part of `slow` bytes are left, in
/// nanoseconds.
///
/// Nothing where the slow part begins, without bound towards its end, and smooth in between: so sources
/// feel it long before they are stopped.
pub(crate) fn delay_ns(left: u64, slow: u64, bytes: u64) -> u64 {
    let gone = slow.saturating_sub(left);
    let delay =
        (u128::from(bytes) * MIDDLE_NS).saturating_mul(gone.into()) / u128::from(left.max(1));
    u64::try_from(delay).map_or(DELAY_NS_MAX, |delay| delay.min(DELAY_NS_MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_middle_costs_what_it_says() {
        assert_eq!(delay_ns(1_000, 1_000, 4_096), 0, "control: where the slow part begins");
        assert_eq!(delay_ns(500, 1_000, 4_096), 4_096 * 100);
        assert_eq!(delay_ns(100, 1_000, 4_096), 4_096 * 900);
        assert_eq!(delay_ns(0, 1_000, 4_096), 4_096 * 100 * 1_000);
        assert_eq!(delay_ns(0, u64::MAX, u64::MAX), DELAY_NS_MAX);
    }

    proptest! {
        /// The less is left, and the more comes in, the longer it takes; before the slow part, nothing.
        #[test]
        fn it_only_gets_slower(
            slow in 1..1_u64 << 40,
            (less, more) in (0..1_u64 << 41, 0..1_u64 << 41).prop_map(|(a, b)| (a.min(b), a.max(b))),
            bytes in 1..1_u64 << 18,
        ) {
            prop_assert!(delay_ns(less, slow, bytes) >= delay_ns(more, slow, bytes));
            prop_assert!(delay_ns(less, slow, bytes) <= delay_ns(less, slow, bytes + 1));
            prop_assert!(delay_ns(less, slow, bytes) <= DELAY_NS_MAX);
            prop_assert_eq!(delay_ns(slow + more, slow, bytes), 0);
        }

        /// No step anywhere: a hundredth of the slow part further changes the cost of a byte by no more than
        /// the curve's slope there.
        #[test]
        fn it_has_no_steps(slow in 1_000_000..1_u64 << 40, percent in 2..100_u64) {
            let at = |percent: u64| delay_ns(slow / 100 * percent, slow, 1_000) ;
            let (here, further) = (at(percent), at(percent - 1));
            // 100 ns × 1,000 bytes × slow × step / (left × (left − step)), rounding aside.
            let slope = 100_000 * 100 / (percent * (percent - 1)) + 200;
            prop_assert!(further - here <= slope, "{here} to {further} at {percent} %");
        }
    }
}
