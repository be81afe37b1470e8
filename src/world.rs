//! The wall clock, the monotonic clock and chance: the only place that asks for them.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::core::time::{Tick, UnixMillis};

/// Where the shell gets times and chance from, to pass them into the core. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct World {
    origin: Instant,
}

impl World {
    /// The real world.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the place that asks")]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }

    /// The monotonic time.
    #[must_use]
    pub fn now(&self) -> Tick {
        Tick(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Whole milliseconds since an earlier time.
    #[must_use]
    pub fn millis_since(&self, earlier: Tick) -> u64 {
        u64::try_from(self.now().since(earlier).as_millis()).unwrap_or(u64::MAX)
    }

    /// The wall-clock time.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the place that asks")]
    pub fn wall(&self) -> UnixMillis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// A number drawn evenly from all; for jitter, not for secrets.
    #[must_use]
    pub fn entropy(&self) -> u64 {
        fastrand::u64(..)
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}
