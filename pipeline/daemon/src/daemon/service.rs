//! What the service manager is told. Source: `sd_notify(3)`; without one, nothing happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use graven_stages::clock;
use sd_notify::NotifyState;

use super::BEAT;

pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// How long a reload, or a stalled disk, may keep the service from its beat before the manager is no longer
/// told that all is well.
const PATIENCE_NS: u64 = 60_000_000_000;

/// Says every second that the service goes on, as long as its own beat, told by `beaten`, is not too old.
pub(super) async fn keep_alive(beaten: Arc<AtomicU64>) {
    let mut beat = tokio::time::interval(BEAT);
    let since_ns = clock::mono_ns();
    loop {
        beat.tick().await;
        let beaten_ns = beaten.load(Ordering::Relaxed).max(since_ns);
        if clock::mono_ns().saturating_sub(beaten_ns) < PATIENCE_NS {
            tell(&[NotifyState::Watchdog]);
        }
    }
}

pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager was not told");
    }
}
