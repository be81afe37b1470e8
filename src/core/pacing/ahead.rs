//! How early the next parts of an object are asked for.
//!
//! A store gives the first byte of a part after a while, and the others at the speed of one connection. So a part is asked for while
//! those before it are still being taken: when what is left of them takes as long as its first byte does, if it is read in its turn
//! then; when it takes as long as the whole part does, if it is a connection that is slow and there is memory to read the part beside
//! them. What is taken faster then raises the number of parts in flight, until it is the taker that is slow.

use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Bytes, and the time that they took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// The bytes.
    pub bytes: u64,
    /// Their time.
    pub time: Duration,
}

impl Pace {
    /// So many bytes a second.
    #[must_use]
    pub const fn by_second(bytes: u64) -> Self {
        Self { bytes, time: SECOND }
    }

    /// The bytes of a second.
    #[must_use]
    pub fn a_second(self) -> u64 {
        self.within(SECOND)
    }

    /// The bytes of so much time.
    #[must_use]
    pub fn within(self, time: Duration) -> u64 {
        self.bytes.saturating_mul(micros(time)) / micros(self.time).max(1)
    }

    /// The time of so many bytes.
    #[must_use]
    pub fn time_of(self, bytes: u64) -> Duration {
        Duration::from_micros(bytes.saturating_mul(micros(self.time)) / self.bytes.max(1))
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// How an object is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// The time from a question to the first bytes of its answer.
    pub asking: Duration,
    /// What one connection gives, while it is read.
    pub given: Pace,
    /// What is taken of the object, waiting for bytes included.
    pub taken: Pace,
}

impl Flow {
    /// Bytes that are left of those asked for when it is time for a part that is read in its turn.
    #[must_use]
    pub fn behind(&self) -> u64 {
        // Twice, for no question takes as long as the one before.
        self.taken.within(self.asking * 2)
    }

    /// The same for a part of so many bytes that is read beside those before it. None where a connection gives twice what is taken,
    /// and one that is read in its turn is there in time.
    #[must_use]
    pub fn beside(&self, part: u64) -> u64 {
        if self.taken.a_second().saturating_mul(2) < self.given.a_second() && self.behind() <= part {
            return 0;
        }
        self.taken.within(self.given.time_of(part).saturating_add(self.asking * 2))
    }

    /// The least part that is worth being read beside another: shorter ones are asked for longer than they are read.
    #[must_use]
    pub fn least(&self) -> u64 {
        self.given.within(self.asking)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const PART: u64 = 8 << 20;

    /// A store and a taker, in bytes of a millisecond, and memory for so many parts beside the one that is taken.
    #[derive(Debug)]
    struct Case {
        connection: u64,
        taker: u64,
        asking: Duration,
        beside_max: usize,
    }

    /// Bytes taken in a millisecond, in the later half of a long object; and the most parts that were read beside another.
    fn run(case: &Case) -> (u64, usize) {
        const MILLIS: u64 = 20_000;
        // What is left until it begins, and bytes that have come, of each part; of the first those that were taken.
        let mut parts: VecDeque<(Duration, u64)> = [(case.asking, 0)].into();
        let (mut taken, mut since) = (0, (0, 0));
        let mut most = 0;
        let mut half = 0;
        for now in 0..MILLIS {
            for (wait, come) in &mut parts {
                *wait = wait.saturating_sub(MS);
                *come = if wait.is_zero() { PART.min(*come + case.connection) } else { 0 };
            }
            let Some((_, come)) = parts.front() else { unreachable!("a part is always asked for") };
            let step = case.taker.min(come - taken);
            taken += step;
            half += if now >= MILLIS / 2 { step } else { 0 };
            let left = PART - taken + PART * (parts.len() as u64 - 1);
            let flow = Flow {
                asking: case.asking,
                given: Pace { bytes: case.connection, time: MS },
                taken: Pace { bytes: since.1 + taken, time: MS * u32::try_from(now - since.0 + 1).unwrap() },
            };
            let beside = parts.len() <= case.beside_max && left <= flow.beside(PART);
            if beside || (parts.len() == 1 && left <= flow.behind().max(256 << 10)) {
                parts.push_back((case.asking, 0));
                most = most.max(parts.len() - 1);
            }
            if taken == PART {
                parts.pop_front();
                (taken, since) = (0, (now + 1, 0));
            }
        }
        (half / (MILLIS / 2), most)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// With memory for enough parts the taker gets what it takes, as far as connections can give it.
        #[test]
        fn the_taker_does_not_wait_for_one_connection(
            connection in 20_000_u64..200_000, taker in 10_000_u64..400_000, asking in 1_u32..100, beside_max in 2_usize..4,
        ) {
            let case = Case { connection, taker, asking: MS * asking, beside_max };
            let (speed, most) = run(&case);
            let of_one = PART / (u64::from(asking) + PART / connection);
            let possible = taker.min(of_one * beside_max as u64);
            prop_assert!(speed * 100 >= possible * 90, "{speed} of {possible}");
            // No more parts are in flight than it takes while one comes.
            let one_comes = 2 * u64::from(asking) + PART.div_ceil(connection);
            prop_assert!(most as u64 <= (taker * one_comes).div_ceil(PART), "{most} parts");
        }
    }

    #[test]
    fn whoever_takes_half_of_what_a_connection_gives_needs_no_other() {
        let flow =
            |taken| Flow { asking: MS, given: Pace { bytes: 1_000, time: MS }, taken: Pace { bytes: taken, time: MS } };
        assert!(flow(499).behind() > 0 && flow(499).beside(PART) == 0);
        assert!(flow(500).beside(PART) > 0);
        assert!(flow(499).beside(900) > 0, "what is asked for in its turn comes too late");
    }

    #[test]
    fn nothing_is_known_at_first() {
        let flow = Flow::default();
        assert_eq!((flow.behind(), flow.beside(PART), flow.least()), (0, 0, 0));
    }
}
