//! Gaps: what the kernel numbered and nobody received.

use std::collections::{BTreeMap, HashMap};

use graven_abi::CpuCounters;
use graven_record::{Gap, Value};

/// Follows the sequence numbers of every CPU.
///
/// Records of one CPU may arrive out of order by a little, where one task displaced another while it
/// wrote. So a hole becomes a gap only when it is still open two ticks later.
#[derive(Debug, Default)]
pub(crate) struct GapTracker {
    cpus: HashMap<u32, Cpu>,
    counters: Vec<CpuCounters>,
    recursion_misses: u64,
    malformed: u64,
    /// Whether anything at all was lost so far.
    lost: bool,
}

#[derive(Debug, Default)]
struct Cpu {
    next: u64,
    /// Open holes: first number → last number and ticks seen.
    holes: BTreeMap<u64, (u64, u8)>,
}

/// Ticks that a hole stays open before it counts as lost.
const TICKS: u8 = 2;

impl Cpu {
    fn see(&mut self, seq: u64) {
        if seq >= self.next {
            if seq > self.next {
                self.holes.insert(self.next, (seq - 1, 0));
            }
            self.next = seq + 1;
            return;
        }
        // A late one: cut it out of its hole.
        let Some((&from, &(to, ticks))) = self.holes.range(..=seq).next_back() else {
            return;
        };
        if seq > to {
            return;
        }
        self.holes.remove(&from);
        if from < seq {
            self.holes.insert(from, (seq - 1, ticks));
        }
        if seq < to {
            self.holes.insert(seq + 1, (to, ticks));
        }
    }
}

fn gap(cpu: Option<u32>, stage: &'static str, lost: u64, range: Option<(u64, u64)>) -> Gap {
    Gap {
        cpu,
        from: range.map(|(from, _)| from).into(),
        lost: Some(lost),
        stage,
        to: range.map(|(_, to)| to).into(),
    }
}

impl GapTracker {
    /// Takes note of a received record.
    pub(crate) fn see(&mut self, cpu: u32, seq: u64) {
        self.cpus.entry(cpu).or_default().see(seq);
    }

    /// Takes note of bytes that are no record. Their number is not known, so a hole may show as well.
    pub(crate) fn see_malformed(&mut self) {
        self.malformed += 1;
    }

    /// Ages the holes and gives those that have lasted.
    pub(crate) fn tick(&mut self) -> Vec<Gap> {
        let mut gaps = self.take_holes(TICKS);
        if self.malformed > 0 {
            gaps.push(gap(None, "decode", std::mem::take(&mut self.malformed), None));
        }
        self.lost |= !gaps.is_empty();
        gaps
    }

    fn take_holes(&mut self, ticks_min: u8) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let mut cpus: Vec<_> = self.cpus.iter_mut().collect();
        cpus.sort_unstable_by_key(|(cpu, _)| **cpu);
        for (cpu, state) in cpus {
            state.holes.retain(|from, (to, ticks)| {
                *ticks = ticks.saturating_add(1);
                let open = *ticks < ticks_min;
                if !open {
                    gaps.push(gap(Some(*cpu), "ring", *to - from + 1, Some((*from, *to))));
                }
                open
            });
        }
        gaps
    }

    /// Compares with the kernel's counters, which also know of calls that were never numbered.
    pub(crate) fn count(&mut self, counters: &[CpuCounters], recursion_misses: u64) -> Vec<Gap> {
        let mut gaps = Vec::new();
        self.counters.resize(counters.len().max(self.counters.len()), CpuCounters::default());
        for (cpu, (known, now)) in self.counters.iter_mut().zip(counters).enumerate() {
            let lost = now.stash_failed.saturating_sub(known.stash_failed);
            if lost > 0 {
                gaps.push(gap(u32::try_from(cpu).ok(), "stash", lost, None));
            }
            *known = *now;
        }
        let lost = recursion_misses.saturating_sub(self.recursion_misses);
        if lost > 0 {
            gaps.push(gap(None, "recursion", lost, None));
        }
        self.recursion_misses = recursion_misses;
        self.lost |= !gaps.is_empty();
        gaps
    }

    /// With the ring empty and the command gone: whatever is still missing is lost, that at the tail
    /// included, which no later record shows.
    pub(crate) fn finish(&mut self) -> Vec<Gap> {
        for (cpu, counters) in (0..).zip(&self.counters) {
            let state = self.cpus.entry(cpu).or_default();
            if counters.seq > state.next {
                state.see(counters.seq);
                state.next = counters.seq;
            }
        }
        let mut gaps = self.take_holes(0);
        gaps.extend(self.tick());
        gaps
    }

    /// True while every record has come in.
    pub(crate) fn is_whole(&self) -> bool {
        !self.lost && self.malformed == 0 && self.cpus.values().all(|cpu| cpu.holes.is_empty())
    }

    /// What the kernel has counted so far, as members of a record's `detail`.
    pub(crate) fn to_value(&self) -> Value {
        let sum = |field: fn(&CpuCounters) -> u64| -> Value {
            self.counters.iter().map(field).sum::<u64>().into()
        };
        Value::object([
            ("dropped", sum(|it| it.dropped)),
            ("emitted", sum(|it| it.emitted)),
            ("recursion_misses", self.recursion_misses.into()),
            ("skipped_mid_call", sum(|it| it.skipped_mid_call)),
            ("stash_failed", sum(|it| it.stash_failed)),
        ])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counters(seq: u64) -> CpuCounters {
        CpuCounters { seq, ..CpuCounters::default() }
    }

    #[test]
    fn a_tail_that_no_record_follows_is_found_by_the_counter() {
        let mut tracker = GapTracker::default();
        tracker.see(0, 0);
        assert!(tracker.count(&[counters(4), counters(0)], 0).is_empty());
        assert_eq!(tracker.finish(), [gap(Some(0), "ring", 3, Some((1, 3)))]);
    }

    #[test]
    fn a_late_record_closes_its_hole() {
        let mut tracker = GapTracker::default();
        for seq in [0, 2, 1, 3] {
            tracker.see(0, seq);
        }
        assert!(tracker.tick().is_empty());
        assert!(tracker.tick().is_empty());
        assert!(tracker.finish().is_empty());
    }

    #[test]
    fn calls_that_were_never_numbered_are_counted() {
        let mut tracker = GapTracker::default();
        let failed = CpuCounters { stash_failed: 2, ..CpuCounters::default() };
        assert_eq!(
            tracker.count(&[failed], 3),
            [gap(Some(0), "stash", 2, None), gap(None, "recursion", 3, None),]
        );
        assert!(tracker.count(&[failed], 3).is_empty(), "each loss once");
        tracker.see_malformed();
        assert_eq!(tracker.tick(), [gap(None, "decode", 1, None)]);
    }

    proptest! {
        /// Whatever is dropped and however far the rest is displaced, the gaps are the dropped
        /// numbers exactly.
        #[test]
        fn gaps_are_exactly_what_was_dropped(kept in proptest::collection::vec(any::<bool>(), 1..200), swaps in proptest::collection::vec(any::<proptest::sample::Index>(), 0..20)) {
            let mut arriving: Vec<u64> =
                (0..).zip(&kept).filter(|(_, kept)| **kept).map(|(seq, _)| seq).collect();
            for swap in swaps {
                if arriving.len() > 1 {
                    let at = swap.index(arriving.len() - 1);
                    arriving.swap(at, at + 1);
                }
            }
            let mut tracker = GapTracker::default();
            for seq in arriving {
                tracker.see(5, seq);
            }
            tracker.count(&vec![counters(0); 5].into_iter().chain([counters(kept.len() as u64)]).collect::<Vec<_>>(), 0);
            let mut lost = Vec::new();
            for gap in tracker.finish() {
                let (Value::Integer(from), Value::Integer(to)) = (gap.from, gap.to) else { panic!("a range") };
                prop_assert_eq!(gap.lost, Some((to - from + 1).unsigned_abs()));
                lost.extend(from.unsigned_abs()..=to.unsigned_abs());
            }
            let dropped: Vec<u64> =
                (0..).zip(&kept).filter(|(_, kept)| !**kept).map(|(seq, _)| seq).collect();
            lost.sort_unstable();
            prop_assert_eq!(lost, dropped);
        }
    }
}
