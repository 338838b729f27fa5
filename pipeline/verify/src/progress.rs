//! How far a verification has come, for those who watch.

use std::io::{IsTerminal as _, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Told how far a verification has come. The calls come from one thread.
pub trait Progress {
    /// Called once, before the records are read: how many bytes of records there are.
    fn begin(&self, bytes: u64);
    /// Called after `bytes` more bytes of records were checked.
    fn advance(&self, bytes: u64);
    /// Called once, after the last.
    fn end(&self);
}

/// Nobody watches.
impl Progress for () {
    fn begin(&self, _: u64) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
}

/// A bar on standard error, drawn only where that is a terminal.
#[derive(Debug)]
pub struct Bar(ProgressBar);

/// Redraws per second.
const REDRAWS_HZ: u8 = 10;

impl Bar {
    /// A bar that is drawn once [`Progress::begin`] is called.
    #[must_use]
    pub fn new() -> Self {
        let target = if stderr().is_terminal() {
            ProgressDrawTarget::stderr_with_hz(REDRAWS_HZ)
        } else {
            ProgressDrawTarget::hidden()
        };
        Self(ProgressBar::with_draw_target(None, target))
    }
}

impl Default for Bar {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress for Bar {
    fn begin(&self, bytes: u64) {
        let style = ProgressStyle::with_template(
            "verifying {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
        );
        if let Ok(style) = style {
            self.0.set_style(style);
        }
        self.0.set_length(bytes);
        self.0.enable_steady_tick(Duration::from_millis(1000 / u64::from(REDRAWS_HZ)));
    }

    fn advance(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    fn end(&self) {
        self.0.finish_and_clear();
    }
}
