//! The one place that asks what time it is.

use std::time::{Duration, Instant, SystemTime};

/// A clock that counts from its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this module is where the program asks for the time")]
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Time since the start; never goes back.
    pub(crate) fn elapsed(self) -> Duration {
        self.origin.elapsed()
    }

    /// Wall-clock time in microseconds since 1970.
    #[expect(clippy::disallowed_methods, reason = "this module is where the program asks for the time")]
    pub(crate) fn wall_micros() -> u64 {
        loadgen::micros_since_epoch(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
    }

    /// Waits on this thread until `until` after the start, or until `stopped` says so; the thread is unparked then.
    pub(crate) fn pause_until(self, until: Duration, stopped: impl Fn() -> bool) {
        while !stopped() {
            let left = until.saturating_sub(self.elapsed());
            if left.is_zero() {
                break;
            }
            std::thread::park_timeout(left);
        }
    }
}
