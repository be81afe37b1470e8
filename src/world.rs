//! The wall clock, the monotonic clock and chance: the only place that asks for them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::core::time::{Tick, UnixMillis};

/// Where the shell gets times and chance from, to pass them into the core. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct World {
    origin: Instant,
    wall: Wall,
}

#[derive(Clone, Copy, Debug)]
enum Wall {
    /// The system's clock, which is put right now and then.
    System,
    /// So late at the origin, and as much later as the monotonic clock says.
    Since(UnixMillis),
}

impl World {
    /// The real world.
    #[must_use]
    pub fn new() -> Self {
        Self { origin: Instant::now(), wall: Wall::System }
    }

    /// A world whose clocks both are tokio's, which stands still under tests as long as anything can be done. It is
    /// `start` now. Chance is the thread's, to be seeded by whoever runs it.
    #[must_use]
    pub fn simulated(start: UnixMillis) -> Self {
        Self { origin: Instant::now(), wall: Wall::Since(start) }
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
        let millis = |since: Duration| i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        match self.wall {
            Wall::System => UnixMillis(millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())),
            Wall::Since(start) => start.plus(millis(self.origin.elapsed())),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn simulated_clocks_go_together_and_only_when_nothing_can_be_done() {
        let world = World::simulated(UnixMillis(1000));
        assert_eq!((world.wall(), world.now()), (UnixMillis(1000), Tick(0)));
        let hour = Duration::from_secs(3600);
        tokio::time::sleep(hour).await;
        assert_eq!((world.wall(), world.now()), (UnixMillis(3_601_000), Tick(0).after(hour)));
    }
}
