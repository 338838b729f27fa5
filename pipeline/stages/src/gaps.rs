//! Gaps: what the kernel numbered and nobody received.

use std::collections::{BTreeMap, HashMap};

use graven_abi::CpuCounters;
use graven_record::Gap;

use crate::figures::KernelFigures;

/// Follows the sequence numbers of every CPU.
///
/// Records of one CPU may arrive out of order by a little, where one task displaced another while it
/// wrote; and what the kernel's counter has numbered may still lie in the ring. So a hole becomes a gap
/// only when it is still open two ticks later, with the ring emptied before each.
#[derive(Debug, Default)]
pub(crate) struct GapTracker {
    cpus: HashMap<u32, Cpu>,
    counters: Vec<CpuCounters>,
    recursion_misses: u64,
    malformed: u64,
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
    /// Opens a hole for every number below `seq` that has not come.
    fn expect_below(&mut self, seq: u64) {
        if seq > self.next {
            self.holes.insert(self.next, (seq - 1, 0));
            self.next = seq;
        }
    }

    fn see(&mut self, seq: u64) {
        if seq >= self.next {
            self.expect_below(seq);
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

    /// Ages the holes and gives those that have lasted. Call it with the ring just emptied.
    pub(crate) fn tick(&mut self) -> Vec<Gap> {
        let mut gaps = self.take_holes(TICKS);
        if self.malformed > 0 {
            gaps.push(gap(None, "decode", std::mem::take(&mut self.malformed), None));
        }
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

    /// Compares with the kernel's counters, which also know of calls that were never numbered, and of numbers
    /// that no later record of their CPU shows to be missing.
    pub(crate) fn count(&mut self, counters: &[CpuCounters], recursion_misses: u64) -> Vec<Gap> {
        let mut gaps = Vec::new();
        self.counters.resize(counters.len().max(self.counters.len()), CpuCounters::default());
        for (cpu, (known, now)) in (0..).zip(self.counters.iter_mut().zip(counters)) {
            let lost = now.stash_failed.saturating_sub(known.stash_failed);
            if lost > 0 {
                gaps.push(gap(Some(cpu), "stash", lost, None));
            }
            if now.seq > 0 {
                self.cpus.entry(cpu).or_default().expect_below(now.seq);
            }
            *known = *now;
        }
        let lost = recursion_misses.saturating_sub(self.recursion_misses);
        if lost > 0 {
            gaps.push(gap(None, "recursion", lost, None));
        }
        self.recursion_misses = recursion_misses;
        gaps
    }

    /// With the ring empty and nothing watched any more: whatever is still missing is lost.
    pub(crate) fn finish(&mut self) -> Vec<Gap> {
        let mut gaps = self.take_holes(0);
        gaps.extend(self.tick());
        gaps
    }

    /// What the kernel has counted so far; what filters left out is not known here.
    pub(crate) fn figures(&self) -> KernelFigures {
        let sum = |field: fn(&CpuCounters) -> u64| self.counters.iter().map(field).sum();
        KernelFigures {
            emitted: sum(|it| it.emitted),
            dropped: sum(|it| it.dropped),
            stash_failed: sum(|it| it.stash_failed),
            skipped_mid_call: sum(|it| it.skipped_mid_call),
            recursion_misses: self.recursion_misses,
            left_out: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use graven_record::Value;
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Emit { cpu: usize, lost: bool },
        Take(usize),
        Count,
        Tick,
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..2_usize, any::<bool>()).prop_map(|(cpu, lost)| Step::Emit { cpu, lost }),
            2 => (0..8_usize).prop_map(Step::Take),
            2 => Just(Step::Count),
            2 => Just(Step::Tick),
        ]
    }

    /// The CPU and the numbers that a gap names.
    fn numbers(gap: &Gap) -> Vec<(usize, u64)> {
        let (Value::Integer(from), Value::Integer(to)) = (&gap.from, &gap.to) else {
            panic!("a range")
        };
        let cpu = usize::try_from(gap.cpu.unwrap()).unwrap();
        (from.unsigned_abs()..=to.unsigned_abs()).map(|seq| (cpu, seq)).collect()
    }

    fn counters(seq: u64) -> CpuCounters {
        CpuCounters { seq, ..CpuCounters::default() }
    }

    #[test]
    fn a_tail_that_no_record_follows_is_found_by_the_counter() {
        let mut tracker = GapTracker::default();
        tracker.see(0, 0);
        assert!(tracker.count(&[counters(4), counters(0)], 0).is_empty());
        assert!(tracker.tick().is_empty());
        assert_eq!(tracker.tick(), [gap(Some(0), "ring", 3, Some((1, 3)))]);
        assert!(tracker.count(&[counters(4), counters(0)], 0).is_empty(), "each loss once");
        assert!(tracker.finish().is_empty());
    }

    #[test]
    fn the_end_of_the_source_waits_for_no_tick() {
        let mut tracker = GapTracker::default();
        tracker.see(0, 0);
        assert!(tracker.count(&[counters(4)], 0).is_empty());
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

        /// A ring that drops, counters that are read whenever, ticks that each find it emptied: what is
        /// dropped becomes a gap by the second tick after it was counted, at the tail too, and
        /// nothing else ever does.
        #[test]
        fn losses_at_the_tail_are_found_in_time_and_nothing_else_is(steps in proptest::collection::vec(any_step(), 1..120)) {
            let mut tracker = GapTracker::default();
            let (mut ring, mut seq, mut counted) = (Vec::new(), [0_u64; 2], [0; 2]);
            let (mut dropped, mut found, mut ticks_since_count) = (BTreeSet::new(), BTreeSet::new(), 0);
            for step in steps {
                match step {
                    Step::Emit { cpu, lost } => {
                        let record = (cpu, seq[cpu]);
                        seq[cpu] += 1;
                        if lost {
                            dropped.insert(record);
                        } else {
                            ring.push(record);
                        }
                    }
                    Step::Take(count) => {
                        for (cpu, seq) in ring.drain(..count.min(ring.len())) {
                            tracker.see(u32::try_from(cpu).unwrap(), seq);
                        }
                    }
                    Step::Count => {
                        prop_assert!(tracker.count(&seq.map(counters), 0).is_empty());
                        (counted, ticks_since_count) = (seq, 0);
                    }
                    Step::Tick => {
                        for (cpu, seq) in ring.drain(..) {
                            tracker.see(u32::try_from(cpu).unwrap(), seq);
                        }
                        for number in tracker.tick().iter().flat_map(numbers) {
                            prop_assert!(dropped.contains(&number), "{number:?} was not dropped");
                            prop_assert!(found.insert(number), "{number:?} twice");
                        }
                        ticks_since_count += 1;
                        if ticks_since_count == TICKS {
                            let due = dropped.iter().filter(|(cpu, seq)| *seq < counted[*cpu]);
                            prop_assert!(due.clone().all(|number| found.contains(number)));
                        }
                    }
                }
            }
        }
    }
}
