//! Failpoints: where a test has a stage panic, as a defect would.
//!
//! Only with the feature `failpoints`, which nothing but `tests/failpoints` enables; without it
//! [`pass`] is empty.

#[cfg(feature = "failpoints")]
use std::sync::{Mutex, PoisonError};

/// The place that is armed, and how often it is still passed unharmed.
#[cfg(feature = "failpoints")]
static ARMED: Mutex<Option<(&str, u32)>> = Mutex::new(None);

/// Has `place` panic, once, after it was passed `passes` times more.
#[cfg(feature = "failpoints")]
pub fn arm(place: &'static str, passes: u32) {
    *ARMED.lock().unwrap_or_else(PoisonError::into_inner) = Some((place, passes));
}

/// A place where a stage may be made to panic.
#[cfg(feature = "failpoints")]
pub(crate) fn pass(place: &str) {
    let mut armed = ARMED.lock().unwrap_or_else(PoisonError::into_inner);
    match &mut *armed {
        Some((name, 0)) if *name == place => {
            *armed = None;
            drop(armed);
            panic!("failpoint {place}");
        }
        Some((name, passes)) if *name == place => *passes -= 1,
        _ => {}
    }
}

/// A place where a test would have the stage panic.
#[cfg(not(feature = "failpoints"))]
pub(crate) fn pass(_place: &str) {}
