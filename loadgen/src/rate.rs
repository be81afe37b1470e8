//! A token bucket that is told the time.
//!
//! [`Bucket::take`] always grants and says how long to wait *before* using what it granted, so a caller may take a whole
//! buffer of lines at once: the bucket goes into debt and the debt is the wait. Law: by any moment, what a waiting
//! caller has used is at most the burst plus rate × time; and a caller that takes as soon as it may loses none of the rate.

use std::time::Duration;

use crate::SpecError;

/// What `--rate` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// Log lines a second.
    Lines(u64),
    /// Bytes a second, line ends included.
    Bytes(u64),
}

impl Rate {
    /// Reads `5000`, `5000/s`, `5000 lines/s` (lines) or `20MB/s`, `1.5GB`, `512KiB/s` (bytes; MB = 1,000,000).
    ///
    /// # Errors
    /// [`SpecError::Rate`] for anything else, and for a rate below one a second.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        let bad = || SpecError::Rate { given: text.to_owned() };
        let compact = text.trim().to_ascii_lowercase();
        let amount = compact.strip_suffix("/s").unwrap_or(&compact).trim();
        if let Some(lines) = amount.strip_suffix("lines").or_else(|| amount.strip_suffix("line")) {
            return parse_amount(lines.trim()).map(Self::Lines).ok_or_else(bad);
        }
        match parse_amount(amount) {
            Some(lines) => Ok(Self::Lines(lines)),
            None => parse_bytes(amount).filter(|bytes| *bytes > 0).map(Self::Bytes).ok_or_else(bad),
        }
    }

    /// Lines or bytes a second.
    #[must_use]
    pub fn per_second(self) -> u64 {
        match self {
            Self::Lines(amount) | Self::Bytes(amount) => amount,
        }
    }
}

fn parse_amount(text: &str) -> Option<u64> {
    text.parse().ok().filter(|amount| *amount > 0)
}

/// Bytes from `1000`, `64KiB`, `1.5MB`: the units are B, KB, MB, GB (powers of 1000) and KiB, MiB, GiB (of 1024), in any
/// case. `None` for anything else.
#[must_use]
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(unit_at)?;
    let factor: u64 = match unit {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return None,
    };
    let number = number.trim();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let scale = 10_u64.pow(u32::try_from(fraction.len()).ok()?);
    let part: u64 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let part = u128::from(part) * u128::from(factor) / u128::from(scale);
    whole.parse::<u64>().ok()?.checked_mul(factor)?.checked_add(u64::try_from(part).ok()?)
}

const NANOS: u128 = 1_000_000_000;

/// The bucket. Time is a duration since any origin; a clock that goes back is taken to stand still.
#[derive(Clone, Debug)]
pub struct Bucket {
    per_second: u64,
    burst: u64,
    at: Duration,
    /// What may be used at once, and what is owed, in units × nanoseconds, so that no fraction is ever lost.
    credit: u128,
    debt: u128,
}

impl Bucket {
    /// A full bucket: `burst` units may be used at once, then `per_second`. Zero counts as one.
    #[must_use]
    pub fn new(per_second: u64, burst: u64, now: Duration) -> Self {
        let burst = burst.max(1);
        Self { per_second: per_second.max(1), burst, at: now, credit: u128::from(burst) * NANOS, debt: 0 }
    }

    /// Takes `amount` units, and says how long after `now` they may be used.
    #[must_use]
    pub fn take(&mut self, amount: u64, now: Duration) -> Duration {
        self.refill(now);
        let wanted = u128::from(amount) * NANOS;
        let paid = wanted.min(self.credit);
        self.credit -= paid;
        self.debt = self.debt.saturating_add(wanted - paid);
        let nanos = self.debt.div_ceil(u128::from(self.per_second));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn refill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at);
        self.at = self.at.max(now);
        let earned = passed.as_nanos().saturating_mul(u128::from(self.per_second));
        let repaid = earned.min(self.debt);
        self.debt -= repaid;
        self.credit = self.credit.saturating_add(earned - repaid).min(u128::from(self.burst) * NANOS);
        debug_assert!(self.debt == 0 || self.credit == 0, "credit pays debt first");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Used by any moment ≤ burst + rate × time, for a caller that waits as told.
        #[test]
        fn never_faster_than_the_rate(
            rate in 1..2_000_000_u64, burst in 1..10_000_u64,
            takes in prop::collection::vec((0..20_000_u64, 0..50_000_000_u64), 1..60),
        ) {
            let mut now = Duration::ZERO;
            let mut bucket = Bucket::new(rate, burst, now);
            let mut used: u128 = 0;
            for (amount, idle) in takes {
                now += Duration::from_nanos(idle);
                now += bucket.take(amount, now);
                used += u128::from(amount);
                prop_assert!(used * NANOS <= u128::from(burst) * NANOS + u128::from(rate) * now.as_nanos());
            }
        }

        /// A caller that never idles gets the whole rate: it waits at most what its use is worth, rounded up.
        #[test]
        fn never_slower_than_the_rate(
            rate in 1..2_000_000_u64, burst in 1..10_000_u64, amounts in prop::collection::vec(0..20_000_u64, 1..60),
        ) {
            let mut now = Duration::ZERO;
            let mut bucket = Bucket::new(rate, burst, now);
            let (mut used, mut takes): (u128, u128) = (0, 0);
            for amount in amounts {
                now += bucket.take(amount, now);
                used += u128::from(amount);
                takes += 1;
                let worth = (used * NANOS).div_ceil(u128::from(rate));
                prop_assert!(now.as_nanos() <= worth + takes, "{now:?} for {used} at {rate}/s");
            }
        }

        /// Taking in parts is taking at once.
        #[test]
        fn parts_wait_as_long_as_the_whole(rate in 1..1_000_000_u64, a in 0..1_000_000_u64, b in 0..1_000_000_u64) {
            let mut parts = Bucket::new(rate, 10, Duration::ZERO);
            let mut whole = parts.clone();
            let first = parts.take(a, Duration::ZERO);
            let second = parts.take(b, Duration::ZERO);
            prop_assert!(first <= second);
            prop_assert_eq!(second, whole.take(a + b, Duration::ZERO));
        }

        /// A clock that jumps back neither grants nor takes away.
        #[test]
        fn time_going_back_changes_nothing(rate in 1..1_000_000_u64, back in 0..1000_u64, amount in 0..100_000_u64) {
            let now = Duration::from_millis(1000);
            let mut still = Bucket::new(rate, 5, now);
            let mut jumping = still.clone();
            prop_assert_eq!(jumping.take(0, now - Duration::from_millis(back)), Duration::ZERO);
            prop_assert_eq!(jumping.take(amount, now), still.take(amount, now));
        }
    }

    #[test]
    fn rates_are_read_or_refused() {
        for (text, rate) in [
            ("5000", Rate::Lines(5000)),
            ("5000/s", Rate::Lines(5000)),
            ("12 lines/s", Rate::Lines(12)),
            ("20MB/s", Rate::Bytes(20_000_000)),
            ("1.5gb", Rate::Bytes(1_500_000_000)),
            ("512KiB/s", Rate::Bytes(524_288)),
        ] {
            assert_eq!(Rate::parse(text).unwrap(), rate, "{text}");
        }
        for bad in ["", "0", "-1", "fast", "5 parsecs", "0MB/s", "1.2.3MB", "1e3", "99999999999999GB"] {
            assert!(Rate::parse(bad).is_err(), "{bad}");
        }
    }
}
