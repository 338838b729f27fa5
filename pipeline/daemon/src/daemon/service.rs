//! What the service manager is told. Source: `sd_notify(3)`; without one, nothing happens.

use sd_notify::NotifyState;

use super::BEAT;

pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Says every second that the service's loop goes round; it waits for nothing but the loop itself.
pub(super) async fn keep_alive() {
    let mut beat = tokio::time::interval(BEAT);
    loop {
        beat.tick().await;
        tell(&[NotifyState::Watchdog]);
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
