//! Values with units.

use std::ops::RangeInclusive;
use std::time::Duration;

const BYTE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];
const TIME_UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// Reads a whole number within bounds, which the type must hold.
pub(super) fn count<T: TryFrom<u64>>(allowed: RangeInclusive<u64>) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        let value = text.parse().ok().filter(|value| allowed.contains(value));
        let value = value.and_then(|value| T::try_from(value).ok());
        value.ok_or_else(|| format!("{} to {} are allowed", allowed.start(), allowed.end()))
    }
}

/// Reads a number of bytes such as `8MiB`, within bounds.
pub(super) fn bytes(least: u64, most: u64) -> impl Fn(&str) -> Result<u64, String> + Clone {
    move |text| {
        let allowed = || format!("{} to {} are allowed", show_bytes(least), show_bytes(most));
        let value = with_unit(text, &BYTE_UNITS).ok_or_else(|| format!("bytes are wanted; {}", allowed()))?;
        if (least..=most).contains(&value) { Ok(value) } else { Err(allowed()) }
    }
}

/// Reads a time such as `500ms`, within bounds.
pub(super) fn duration(least: Duration, most: Duration) -> impl Fn(&str) -> Result<Duration, String> + Clone {
    move |text| {
        let least_text = if least.is_zero() { "0".to_owned() } else { format!("{least:?}") };
        let allowed = || format!("{least_text} to {most:?} are allowed, such as 500ms, 20s, 5m or 1h");
        let value = if text == "0" { Some(0) } else { with_unit_only(text, &TIME_UNITS) };
        let value =
            value.map(Duration::from_millis).ok_or_else(|| format!("a time with its unit is wanted; {}", allowed()))?;
        if (least..=most).contains(&value) { Ok(value) } else { Err(allowed()) }
    }
}

/// Reads a time of whole seconds, from zero on.
pub(super) fn seconds(most: u64) -> impl Fn(&str) -> Result<Duration, String> + Clone {
    move |text| {
        let value = duration(Duration::ZERO, Duration::from_secs(most))(text).ok();
        let whole = value.filter(|value| value.subsec_nanos() == 0);
        whole.ok_or_else(|| format!("whole seconds from 0s to {most}s are allowed"))
    }
}

/// A whole number with or without a unit.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    text.parse().ok().or_else(|| with_unit_only(text, units))
}

fn with_unit_only(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn show_bytes(bytes: u64) -> String {
    let fits = |(_, factor): &&(&str, u64)| bytes.is_multiple_of(*factor);
    match BYTE_UNITS.iter().take(3).find(fits) {
        Some((unit, factor)) if bytes > 0 => format!("{}{unit}", bytes / factor),
        _ => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_are_read_and_bounds_are_said() {
        let part = bytes(256 << 10, 64 << 20);
        assert_eq!(part("8MiB"), Ok(8 << 20));
        assert_eq!(part("1000000"), Ok(1_000_000));
        assert_eq!(part("5 MB"), Ok(5_000_000));
        assert_eq!(part("1KiB"), Err("256KiB to 64MiB are allowed".to_owned()));
        assert!(part("8 bananas").is_err() && part("").is_err() && part("99999999999GiB").is_err());
        let wait = duration(Duration::ZERO, Duration::from_secs(20));
        assert_eq!(wait("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(wait("0"), Ok(Duration::ZERO));
        assert!(wait("20").is_err(), "a bare number does not say what it counts");
        assert!(wait("21s").unwrap_err().starts_with("0 to 20s"));
        let whole = seconds(20);
        assert_eq!((whole("20s"), whole("0")), (Ok(Duration::from_secs(20)), Ok(Duration::ZERO)));
        for wrong in ["500ms", "21s", "5"] {
            assert_eq!(whole(wrong), Err("whole seconds from 0s to 20s are allowed".to_owned()));
        }
    }

    #[test]
    fn counts_say_what_is_allowed() {
        let few = count::<u8>(1..=7);
        assert_eq!((few("1"), few("7")), (Ok(1), Ok(7)));
        for wrong in ["0", "8", "-1", "256", "many", "", "99999999999999999999"] {
            assert_eq!(few(wrong), Err("1 to 7 are allowed".to_owned()), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn noise_never_panics(text in "\\PC{0,20}") {
            let _ = (bytes(0, u64::MAX)(&text), duration(Duration::ZERO, Duration::MAX)(&text));
        }
    }
}
