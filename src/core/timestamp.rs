//! A record's `timestamp`, text or number → [`UnixMillis`].
//!
//! Text is RFC 3339 with any fraction and any offset; a space may stand for the `T`. Digits below the millisecond are cut
//! off, never rounded, so a time is never moved into the future. A leap second (`:60`) counts as the next minute's first
//! second, as POSIX time does. Numbers above 10¹² are milliseconds, others seconds (predecessor's rule, taken from
//! Vector); they are read as decimal text, so `1704110400.123` is exact.

use super::time::UnixMillis;

/// Numbers up to and including this one are seconds; larger ones are milliseconds.
const SECONDS_MAX: i128 = 1_000_000_000_000;
/// Digits of a number's integer part that can matter: more would be far beyond any date.
const DIGITS_MAX: usize = 18;

/// Reads an RFC 3339 timestamp. `None` when it is none, or names a day or time that does not exist.
#[must_use]
pub fn parse_text(text: &[u8]) -> Option<UnixMillis> {
    let mut at = Cursor(text);
    let year = at.digits(4)?;
    at.one_of(b"-")?;
    let month = at.digits(2)?;
    at.one_of(b"-")?;
    let day = at.digits(2)?;
    at.one_of(b"Tt ")?;
    let hour = at.digits(2)?;
    at.one_of(b":")?;
    let minute = at.digits(2)?;
    at.one_of(b":")?;
    let second = at.digits(2)?;
    let millis = at.fraction()?;
    let offset_minutes = at.offset()?;
    if !at.0.is_empty() || !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let minutes = (days_from_epoch(year, month, day) * 24 + hour) * 60 + minute - offset_minutes;
    Some(UnixMillis((minutes * 60 + second) * 1000 + millis))
}

/// Reads a JSON number. `None` when it is none, negative, or beyond the range of milliseconds in 64 bits.
#[must_use]
pub fn parse_number(text: &[u8]) -> Option<UnixMillis> {
    let (mantissa, exponent) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (text.get(..at)?, parse_exponent(text.get(at + 1..)?)?),
        None => (text, 0),
    };
    let (integer, fraction) = match mantissa.iter().position(|byte| *byte == b'.') {
        Some(at) => (mantissa.get(..at)?, mantissa.get(at + 1..)?),
        None => (mantissa, &[][..]),
    };
    if integer.is_empty() || !integer.iter().chain(fraction).all(u8::is_ascii_digit) {
        return None;
    }
    // The decimal point moves by the exponent; what then stands before it, plus three digits, is all that matters.
    let point = i64::try_from(integer.len()).ok()?.checked_add(exponent)?;
    let digits = || integer.iter().chain(fraction);
    let leading_zeros = i64::try_from(digits().take_while(|digit| **digit == b'0').count()).ok()?;
    if point - leading_zeros > i64::try_from(DIGITS_MAX).ok()? && digits().any(|digit| *digit != b'0') {
        return None;
    }
    let mut thousandths: i128 = 0;
    let mut exact = true;
    for place in 0..(point + 3).max(0) {
        let digit = usize::try_from(place).ok().and_then(|place| digits().nth(place)).map_or(0, |digit| digit - b'0');
        thousandths = thousandths.checked_mul(10)?.checked_add(i128::from(digit))?;
    }
    let rest = usize::try_from((point + 3).max(0)).ok()?;
    if point + 3 < 0 || digits().skip(rest).any(|digit| *digit != b'0') {
        exact = false;
    }
    let above = thousandths > SECONDS_MAX * 1000 || (thousandths == SECONDS_MAX * 1000 && !exact);
    let millis = if above { thousandths / 1000 } else { thousandths };
    i64::try_from(millis).ok().map(UnixMillis)
}

fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] | digits => (1, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().try_fold(0_i64, |sum, digit| {
        let sum = sum * 10 + i64::from(digit - b'0');
        (sum <= 1_000_000).then_some(sum)
    })?;
    Some(sign * value)
}

struct Cursor<'t>(&'t [u8]);

impl Cursor<'_> {
    fn digits(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
    }

    fn one_of(&mut self, allowed: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        allowed.contains(first).then_some(*first)
    }

    /// Milliseconds of an optional fraction.
    fn fraction(&mut self) -> Option<i64> {
        let [b'.' | b',', rest @ ..] = self.0 else { return Some(0) };
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = rest.split_at_checked(count)?;
        self.0 = rest;
        let millis =
            (0..3).fold(0, |sum, place| sum * 10 + digits.get(place).map_or(0, |digit| i64::from(digit - b'0')));
        (count > 0).then_some(millis)
    }

    /// Minutes east of Greenwich.
    fn offset(&mut self) -> Option<i64> {
        let sign = match self.one_of(b"Zz+-")? {
            b'+' => 1,
            b'-' => -1,
            _ => return Some(0),
        };
        let hours = self.digits(2)?;
        self.one_of(b":")?;
        let minutes = self.digits(2)?;
        (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes))
    }
}

const fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar: years are counted from March, so that the leap day is last.
const fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_of_the_predecessors_tests_and_the_edges() {
        let cases: &[(&str, Option<i64>)] = &[
            ("2024-01-01T12:00:00Z", Some(1_704_110_400_000)),
            ("2024-01-01T12:00:00+00:00", Some(1_704_110_400_000)),
            ("2024-01-01T12:00:00.123456789Z", Some(1_704_110_400_123)),
            ("2024-01-01T12:00:00-05:00", Some(1_704_128_400_000)),
            ("2024-01-01T12:00:00.9Z", Some(1_704_110_400_900)),
            // The predecessor took the present for a space separator without a zone; a zone is still asked for here.
            ("2024-01-01 12:00:00Z", Some(1_704_110_400_000)),
            ("2024-01-15 10:30:00", None),
            ("", None),
            ("1969-12-31T23:59:59.999Z", Some(-1)),
            ("2024-02-29T00:00:00Z", Some(1_709_164_800_000)),
            ("2023-02-29T00:00:00Z", None),
            ("1900-02-29T00:00:00Z", None),
            ("2016-12-31T23:59:60Z", Some(1_483_228_800_000)),
            ("2024-01-01T24:00:00Z", None),
            ("2024-01-01T12:00:00.Z", None),
            ("2024-01-01T12:00:00Z ", None),
            ("2024-13-01T12:00:00Z", None),
            ("2024-01-01T12:00:00+24:00", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_text(text.as_bytes()).map(|time| time.0), *expected, "{text}");
        }
    }

    #[test]
    fn numbers_of_the_predecessors_tests_and_the_edges() {
        let cases: &[(&str, Option<i64>)] = &[
            ("1704110400", Some(1_704_110_400_000)),
            ("1704110400000", Some(1_704_110_400_000)),
            ("999999999999", Some(999_999_999_999_000)),
            ("1000000000000", Some(1_000_000_000_000_000)),
            ("1000000000001", Some(1_000_000_000_001)),
            ("1000000000000.0001", Some(1_000_000_000_000)),
            ("1704110400.1239", Some(1_704_110_400_123)),
            ("1.7041104e9", Some(1_704_110_400_000)),
            ("17041104e+2", Some(1_704_110_400_000)),
            ("1704110400123e-3", Some(1_704_110_400_123)),
            ("0", Some(0)),
            ("0e999999", Some(0)),
            ("1e999999999999999999", None),
            ("1e400", None),
            ("-5", None),
            ("1.5e-999999", Some(0)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_number(text.as_bytes()).map(|time| time.0), *expected, "{text}");
        }
    }

    proptest! {
        /// Every day of four millennia is one more than the day before it.
        #[test]
        fn days_follow_each_other(year in 0_i64..4000, month in 1_i64..=12, day in 1_i64..=31) {
            prop_assume!(day <= days_in(year, month));
            let next = if day < days_in(year, month) {
                (year, month, day + 1)
            } else if month < 12 {
                (year, month + 1, 1)
            } else {
                (year + 1, 1, 1)
            };
            prop_assert_eq!(days_from_epoch(year, month, day) + 1, days_from_epoch(next.0, next.1, next.2));
        }

        #[test]
        fn fields_that_are_written_are_read(
            days in -700_000_i64..2_900_000, hour in 0_i64..24, minute in 0_i64..60, second in 0_i64..60,
            nanos in 0_i64..1_000_000_000, offset in -1439_i64..=1439,
        ) {
            // The date is found by searching, not by a formula that could be wrong in the same way.
            let mut year = 1970 + days.div_euclid(if days < 0 { 365 } else { 366 }) - 3;
            while days_from_epoch(year + 1, 1, 1) <= days { year += 1; }
            let mut month = 1;
            while month < 12 && days_from_epoch(year, month + 1, 1) <= days { month += 1; }
            let day = days - days_from_epoch(year, month, 1) + 1;
            prop_assume!((0..=9999).contains(&year));
            let sign = if offset < 0 { '-' } else { '+' };
            let text = format!(
                "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}{sign}{:02}:{:02}",
                offset.abs() / 60, offset.abs() % 60,
            );
            let expected = (((days * 24 + hour) * 60 + minute - offset) * 60 + second) * 1000 + nanos / 1_000_000;
            prop_assert_eq!(parse_text(text.as_bytes()), Some(UnixMillis(expected)), "{}", text);
        }

        #[test]
        fn noise_never_panics(text in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = (parse_text(&text), parse_number(&text));
        }

        #[test]
        fn decimal_seconds_are_exact(seconds in 0_i64..=1_000_000_000_000, millis in 0_i64..1000) {
            prop_assume!(seconds < 1_000_000_000_000 || millis == 0);
            let text = format!("{seconds}.{millis:03}");
            prop_assert_eq!(parse_number(text.as_bytes()), Some(UnixMillis(seconds * 1000 + millis)));
        }
    }
}
