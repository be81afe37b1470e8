//! Delays between attempts, with chance passed in.

use std::time::Duration;

/// Full jitter: a delay drawn evenly from `0..=min(cap, base * 2^attempt)`. For retries in place.
#[must_use]
pub fn full_jitter(attempt: u32, base: Duration, cap: Duration, entropy: u64) -> Duration {
    scaled(ceiling(attempt, base, cap), entropy)
}

/// Equal jitter: half of `min(cap, base * 2^attempt)` is fixed, the other half drawn. For work that is handed back, which
/// must not come again at once.
#[must_use]
pub fn equal_jitter(attempt: u32, base: Duration, cap: Duration, entropy: u64) -> Duration {
    let half = ceiling(attempt, base, cap) / 2;
    half + scaled(half, entropy)
}

fn ceiling(attempt: u32, base: Duration, cap: Duration) -> Duration {
    base.saturating_mul(2_u32.saturating_pow(attempt)).min(cap)
}

/// `duration` times `entropy` over its range.
fn scaled(duration: Duration, entropy: u64) -> Duration {
    let nanos = duration.as_nanos().saturating_mul(u128::from(entropy)) / u128::from(u64::MAX);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn delays_double_up_to_their_cap() {
        let (base, cap) = (Duration::from_secs(1), Duration::from_secs(30));
        let delays: Vec<u64> = (0..7).map(|attempt| full_jitter(attempt, base, cap, u64::MAX).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(full_jitter(u32::MAX, base, cap, 0), Duration::ZERO);
        assert_eq!(equal_jitter(u32::MAX, base, cap, 0), Duration::from_secs(15));
    }

    proptest! {
        #[test]
        fn delays_stay_in_their_range(attempt: u32, entropy: u64, base in 0_u64..10_000, cap in 0_u64..100_000_000) {
            let (base, cap) = (Duration::from_millis(base), Duration::from_millis(cap));
            prop_assert!(full_jitter(attempt, base, cap, entropy) <= cap);
            let equal = equal_jitter(attempt, base, cap, entropy);
            prop_assert!(equal <= cap && equal >= ceiling(attempt, base, cap) / 2);
        }
    }
}
