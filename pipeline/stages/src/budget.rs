//! The byte budget that bounds the graph's memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::clock;

/// Bytes that may be on their way at once. A batch takes a permit on entry, carries it along, and
/// gives it back when its records are committed.
#[derive(Debug, Clone)]
pub struct ByteBudget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    max: usize,
    state: Mutex<State>,
    freed: Condvar,
    waited_us: AtomicU64,
}

#[derive(Debug)]
struct State {
    used: usize,
    closed: bool,
}

/// The graph has ended: nothing more is taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pipeline has ended")]
pub struct Closed;

/// Part of a budget, given back when dropped.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Inner>,
    bytes: usize,
}

impl ByteBudget {
    /// A budget of `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self(Arc::new(Inner {
            max,
            state: Mutex::new(State { used: 0, closed: false }),
            freed: Condvar::new(),
            waited_us: AtomicU64::new(0),
        }))
    }

    /// Waits until `bytes` are free. A batch over the whole budget waits until it is alone.
    ///
    /// # Errors
    ///
    /// [`Closed`] once [`Self::close`] was called.
    pub fn take(&self, bytes: usize) -> Result<Permit, Closed> {
        let bytes = bytes.min(self.0.max);
        let mut state = self.0.lock();
        if !state.closed && state.used + bytes > self.0.max {
            let since_ns = clock::mono_ns();
            while !state.closed && state.used + bytes > self.0.max {
                state = self.0.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let waited_us = (clock::mono_ns() - since_ns) / 1_000;
            self.0.waited_us.fetch_add(waited_us, Ordering::Relaxed);
        }
        if state.closed {
            return Err(Closed);
        }
        state.used += bytes;
        Ok(Permit { budget: Arc::clone(&self.0), bytes })
    }

    /// Refuses everything from now on and wakes whoever waits.
    pub fn close(&self) {
        self.0.lock().closed = true;
        self.0.freed.notify_all();
    }

    /// Bytes that may be on their way at once.
    #[must_use]
    pub fn max(&self) -> usize {
        self.0.max
    }

    /// Bytes on their way.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.lock().used
    }

    /// Microseconds that sources have waited for room.
    #[must_use]
    pub fn waited_us(&self) -> u64 {
        self.0.waited_us.load(Ordering::Relaxed)
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.lock().used -= self.bytes;
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_permit_is_waited_for_and_given_back() {
        let budget = ByteBudget::new(10);
        let held = budget.take(8).unwrap();
        let waiting = thread::spawn({
            let budget = budget.clone();
            move || budget.take(5).map(|permit| permit.bytes)
        });
        assert_eq!(budget.used(), 8);
        drop(held);
        assert_eq!(waiting.join().unwrap(), Ok(5));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_batch_over_the_budget_goes_alone() {
        let budget = ByteBudget::new(10);
        assert_eq!(budget.take(1_000).unwrap().bytes, 10);
    }

    #[test]
    fn closing_wakes_whoever_waits() {
        let budget = ByteBudget::new(1);
        let _held = budget.take(1).unwrap();
        let waiting = thread::spawn({
            let budget = budget.clone();
            move || budget.take(1).map(|_| ())
        });
        budget.close();
        assert_eq!(waiting.join().unwrap(), Err(Closed));
    }
}
