//! Numbers from a seed: the same for the same rule and call, whatever happens elsewhere.

/// All of a chance, in the unit that chances are kept in: a millionth.
pub(super) const ALWAYS_PPM: u32 = 1_000_000;

/// A number that stands for a rule: FNV-1a of its text.
pub(super) fn of_text(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The number of a rule's `call`th call, the first one being 0: SplitMix64, at that place of its sequence.
pub(super) fn of_call(seed: u64, rule: u64, call: u64) -> u64 {
    mixed(mixed(seed ^ rule).wrapping_add(call.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// The next number after `number`, for a fault with more than one thing to choose.
pub(crate) fn next(number: u64) -> u64 {
    mixed(number.wrapping_add(0x9e37_79b9_7f4a_7c15))
}

/// A number below `limit`, or 0 if that is 0.
pub(crate) fn below(number: u64, limit: u64) -> u64 {
    let scaled = (u128::from(number) * u128::from(limit)) >> 64;
    u64::try_from(scaled).unwrap_or_default()
}

/// Whether a chance comes true.
pub(super) fn hits(chance_ppm: u32, number: u64) -> bool {
    below(number, u64::from(ALWAYS_PPM)) < u64::from(chance_ppm)
}

fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_are_what_they_say() {
        for chance_ppm in [0, 1000, 50_000, 500_000, 999_000, ALWAYS_PPM] {
            let calls = 100_000;
            let hits = (0..calls).filter(|call| hits(chance_ppm, of_call(7, of_text("rule"), *call))).count();
            let expected = usize::try_from(calls * u64::from(chance_ppm) / u64::from(ALWAYS_PPM)).unwrap();
            assert!(hits.abs_diff(expected) <= 500, "{hits} for {chance_ppm}");
            assert!(![0, ALWAYS_PPM].contains(&chance_ppm) || hits == expected, "{hits} for {chance_ppm}");
        }
    }

    #[test]
    fn seed_rule_and_call_all_count() {
        let numbers = [of_call(1, 2, 3), of_call(2, 2, 3), of_call(1, 3, 3), of_call(1, 2, 4), next(of_call(1, 2, 3))];
        let distinct: std::collections::BTreeSet<u64> = numbers.into();
        assert_eq!(distinct.len(), numbers.len());
        assert_eq!(of_call(1, 2, 3), of_call(1, 2, 3));
    }

    #[test]
    fn a_number_is_below_its_limit() {
        assert_eq!((below(u64::MAX, 10), below(0, 10), below(u64::MAX, 0)), (9, 0, 0));
        assert_eq!(below(u64::MAX, u64::MAX), u64::MAX - 1);
    }
}
