//! How fast one account and region are called: as fast as they let us, found out by being told not to.
//!
//! Until the first refusal the rate is free. A refusal halves it, at most once in a while, for the calls that were on their
//! way say nothing new; each acceptance raises it a little; when it has been high for long, it is free again. Calls wait in
//! the order in which they ask, so lanes that have one call each on their way share the rate evenly.

use std::time::Duration;

use crate::core::time::Tick;

/// Calls per second, at least: one that is refused always is still tried.
const RATE_MIN: f64 = 0.5;
/// Calls per second from which on nothing is held back: the highest quota of PutLogEvents. Source: CloudWatch Logs User
/// Guide, "CloudWatch Logs service quotas" (5,000 per second, account and region; 800 to 1,500 in most).
const RATE_FREE: f64 = 5_000.0;
/// By how many calls per second the rate rises within a second of calls that are all accepted.
const RISE: f64 = 5.0;
/// After a halving, refusals say nothing new for so long.
const HALVE_EVERY: Duration = Duration::from_secs(1);
/// Over which time calls are counted to know the rate that was refused.
const SEEN_FOR: Duration = Duration::from_secs(1);

/// The rate of one account and region. [`Default`] is free.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Governor {
    /// Calls per second; none: free.
    rate: Option<f64>,
    /// When the next call may be made.
    next: Tick,
    halved: Tick,
    /// Calls since `counted_from`, to know how fast we were, and how many were made in the time before.
    calls: u32,
    counted_from: Tick,
    calls_before: u32,
}

impl Governor {
    /// Takes a place for a call, and gives how long it has to wait. `None`: longer than `most`, and no place is taken.
    pub fn ask(&mut self, now: Tick, most: Duration) -> Option<Duration> {
        if now.since(self.counted_from) >= SEEN_FOR {
            let stale = now.since(self.counted_from) >= 2 * SEEN_FOR;
            self.calls_before = if stale { 0 } else { self.calls };
            (self.calls, self.counted_from) = (0, now);
        }
        let at = self.next.max(now);
        let wait = at.since(now);
        if self.rate.is_some() && wait > most {
            return None;
        }
        self.calls += 1;
        let Some(rate) = self.rate else { return Some(Duration::ZERO) };
        self.next = at.after(Duration::from_secs_f64(1.0 / rate));
        Some(wait)
    }

    /// A call was refused because there were too many.
    pub fn throttled(&mut self, now: Tick) {
        if self.rate.is_some() && now.since(self.halved) < HALVE_EVERY {
            return;
        }
        let seen = f64::from(self.calls.max(self.calls_before)) / SEEN_FOR.as_secs_f64();
        let rate = self.rate.map_or(seen, |rate| rate.min(seen.max(1.0)));
        self.rate = Some((rate / 2.0).max(RATE_MIN));
        self.halved = now;
        // Places that were given at the old rate are not called back; the next one comes behind them.
        self.next = self.next.max(now);
    }

    /// A call was accepted.
    pub fn accepted(&mut self) {
        if let Some(rate) = self.rate {
            let rate = rate + RISE / rate.max(1.0);
            self.rate = (rate < RATE_FREE).then_some(rate);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_secs(60);

    const fn at(millis: u64) -> Tick {
        Tick(millis * 1_000_000)
    }

    #[test]
    fn it_is_free_until_a_call_is_refused_then_half_as_fast_and_slowly_faster() {
        let mut governor = Governor::default();
        for call in 0..100 {
            assert_eq!(governor.ask(at(call * 10), MOST), Some(Duration::ZERO));
        }
        governor.throttled(at(999));
        governor.throttled(at(999));
        let waits: Vec<_> = (0..4).map(|_| governor.ask(at(999), Duration::from_millis(50))).collect();
        let expected = [Some(0), Some(20), Some(40), None].map(|wait| wait.map(Duration::from_millis));
        assert_eq!(waits, expected, "fifty a second, in the order of asking, and nobody waits too long");
        for _ in 0..50 {
            governor.accepted();
        }
        let rate = governor.rate.unwrap();
        assert!((54.0..56.0).contains(&rate), "a second of acceptances: {rate}");
        governor.throttled(at(1500));
        assert_eq!(governor.rate, Some(rate), "calls that were on their way say nothing new");
    }

    /// An account that takes a hundred calls a second, in whole seconds, from many lanes that each have one call on its way.
    #[test]
    fn it_settles_near_what_the_account_takes() {
        let (mut governor, mut second, mut taken, mut refused) = (Governor::default(), 0, 0_u32, 0_u32);
        let mut in_second = 0;
        let mut now = at(0);
        let end = at(120_000);
        while now < end {
            now = now.after(governor.ask(now, MOST).unwrap().max(Duration::from_millis(2)));
            if now.0 / 1_000_000_000 != second {
                (second, in_second) = (now.0 / 1_000_000_000, 0);
            }
            in_second += 1;
            if in_second > 100 {
                refused += 1;
                governor.throttled(now);
            } else {
                taken += 1;
                governor.accepted();
            }
        }
        assert!(taken > 120 * 70, "{taken} of 12,000 places used");
        assert!(refused < taken / 10, "{refused} refused, {taken} taken");
    }

    #[test]
    fn what_is_refused_always_is_tried_every_other_second() {
        let mut governor = Governor::default();
        let mut now = at(0);
        for _ in 0..20 {
            now = now.after(governor.ask(now, MOST).unwrap().max(Duration::from_millis(1)));
            governor.throttled(now);
        }
        let begun = now;
        for _ in 0..10 {
            now = now.after(governor.ask(now, MOST).unwrap());
            governor.throttled(now);
        }
        let took = now.since(begun).as_secs_f64();
        assert!((17.0..=21.0).contains(&took), "{took}");
        assert!(governor.rate.is_some());
        (0..3_000_000).for_each(|_| governor.accepted());
        assert_eq!(governor.rate, None, "it was fast for long");
    }
}
