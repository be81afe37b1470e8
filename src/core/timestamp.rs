//! A record's `timestamp`, text or number → [`UnixMillis`].
//!
//! Text is RFC 3339 with any fraction and any offset; a space may stand for the `T`. Digits below the millisecond are cut
//! off, never rounded, so a time is never moved into the future. A leap second (`:60`) counts as the next minute's first
//! second, as POSIX time does. Numbers above 10¹² are milliseconds, others seconds (predecessor's rule, taken from
//! Vector); they are read as decimal text, so `1704110400.123` is exact.

use super::time::UnixMillis;

/// Numbers up to and including this one are seconds; larger ones are milliseconds.
const SECONDS_MAX: i64 = 1_000_000_000_000;
/// Digits of a number's integer part that can matter: more would be far beyond any date.
const DIGITS_MAX: i64 = 18;
/// An exponent that no record has digits enough to make up for.
const EXPONENT_MAX: i64 = 1 << 50;
/// Characters of a timestamp that is written with escapes; no clock gives that many digits.
const ESCAPED_BYTES_MAX: usize = 128;

/// Bytes of a text up to its minutes: `2024-01-01T12:00`.
const MINUTE_BYTES: usize = 16;

/// Reads texts of which many lie in the same minute: it is not read again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reader {
    /// The minute that was read last, as text and from 1970 on, without its offset.
    last: Option<([u8; MINUTE_BYTES], i64)>,
}

impl Reader {
    /// Reads an RFC 3339 timestamp. `None` when it is none, or names a day or time that does not exist.
    pub fn text(&mut self, text: &[u8]) -> Option<UnixMillis> {
        let (&start, rest) = text.split_first_chunk()?;
        let minute = match self.last {
            Some((text, minute)) if text == start => minute,
            Some(_) | None => {
                let minute = minute(&start)?;
                self.last = Some((start, minute));
                minute
            }
        };
        let mut at = Cursor(rest);
        at.one_of(b":")?;
        let second = at.digits(2)?;
        let millis = at.fraction()?;
        let offset_minutes = at.offset()?;
        if !at.0.is_empty() || second > 60 {
            return None;
        }
        Some(UnixMillis(((minute - offset_minutes) * 60 + second) * 1000 + millis))
    }

    /// The same from the inside of a JSON string, which may hold escapes: some writers escape `+`.
    pub fn escaped(&mut self, text: &[u8]) -> Option<UnixMillis> {
        // Most are not, and are no longer than a few words.
        self.text(text).or_else(|| parse_escaped(text))
    }
}

/// Minutes from 1970 on.
fn minute(text: &[u8; MINUTE_BYTES]) -> Option<i64> {
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
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) || hour > 23 || minute > 59 {
        return None;
    }
    Some((days_from_epoch(year, month, day) * 24 + hour) * 60 + minute)
}

/// Reads an RFC 3339 timestamp. `None` when it is none, or names a day or time that does not exist.
#[must_use]
pub fn parse_text(text: &[u8]) -> Option<UnixMillis> {
    Reader::default().text(text)
}

/// Reads an RFC 3339 timestamp from the inside of a JSON string, which may hold escapes: some writers escape `+`.
#[must_use]
pub fn parse_escaped(text: &[u8]) -> Option<UnixMillis> {
    if memchr::memchr(b'\\', text).is_none() {
        return parse_text(text);
    }
    let mut plain = [0_u8; ESCAPED_BYTES_MAX];
    let mut len = 0;
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let byte = match byte {
            b'\\' => {
                // No other escape than a code unit's stands for a character that a timestamp may hold.
                let (digits, after) = rest.strip_prefix(b"u")?.split_at_checked(4)?;
                rest = after;
                let unit =
                    digits.iter().try_fold(0, |unit, &digit| Some(unit * 16 + char::from(digit).to_digit(16)?))?;
                u8::try_from(unit).ok()?
            }
            byte => byte,
        };
        *plain.get_mut(len)? = byte;
        len += 1;
    }
    parse_text(plain.get(..len)?)
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
    // What matters are the digits from the first that is not zero to the third behind the point, which the exponent moves.
    let mut digits =
        integer.iter().chain(fraction).map(|digit| i64::from(digit - b'0')).skip_while(|digit| *digit == 0);
    let leading_zeros = integer.iter().chain(fraction).take_while(|digit| **digit == b'0').count();
    if leading_zeros == integer.len() + fraction.len() {
        return Some(UnixMillis(0));
    }
    let point = i64::try_from(integer.len()).ok()? - i64::try_from(leading_zeros).ok()? + exponent;
    if point > DIGITS_MAX {
        return None;
    }
    let mut seconds: i64 = 0;
    for _ in 0..point {
        seconds = seconds * 10 + digits.next().unwrap_or(0);
    }
    let mut millis: i64 = 0;
    for place in 0..3 {
        let digit = if point + place < 0 { 0 } else { digits.next().unwrap_or(0) };
        millis = millis * 10 + digit;
    }
    let above = seconds > SECONDS_MAX || seconds == SECONDS_MAX && (millis > 0 || digits.any(|digit| digit != 0));
    if above { Some(UnixMillis(seconds)) } else { Some(UnixMillis(seconds * 1000 + millis)) }
}

fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] | digits => (1, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // Beyond the bound it does not matter how far: the number is zero, or out of all range.
    let value = digits.iter().fold(0_i64, |sum, digit| (sum * 10 + i64::from(digit - b'0')).min(EXPONENT_MAX));
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
            ("2000-02-29T00:00:00Z", Some(951_782_400_000)),
            ("2100-02-29T00:00:00Z", None),
            ("2023-02-29T00:00:00Z", None),
            ("2024-04-31T00:00:00Z", None),
            ("2024-00-01T00:00:00Z", None),
            ("2024-01-00T00:00:00Z", None),
            ("0000-01-01T00:00:00Z", Some(-62_167_219_200_000)),
            ("9999-12-31T23:59:59.999Z", Some(253_402_300_799_999)),
            ("9999-12-31T23:59:59-23:59", Some(253_402_387_139_000)),
            ("2024-01-01T12:00:00+05:45", Some(1_704_089_700_000)),
            ("2024-01-01T12:00:00-00:00", Some(1_704_110_400_000)),
            ("2024-01-01t12:00:00z", Some(1_704_110_400_000)),
            ("2024-01-01T12:00:00.9999999999999999999999Z", Some(1_704_110_400_999)),
            ("2024-01-01T12:60:00Z", None),
            ("2024-01-01T12:00:61Z", None),
            ("2024-01-01T12:00:00+0500", None),
            ("2024-01-01T12:00:00+05", None),
            ("2024-01-01", None),
            ("24-01-01T12:00:00Z", None),
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
            ("0e1000001", Some(0)),
            ("1e-1000001", Some(0)),
            ("0e99999999999999999999", Some(0)),
            ("1e-99999999999999999999", Some(0)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_number(text.as_bytes()).map(|time| time.0), *expected, "{text}");
        }
    }

    #[test]
    fn escapes_mean_what_they_stand_for() {
        // .NET's JSON writer escapes each `+`.
        let cases: &[(&str, Option<i64>)] = &[
            (r"2024-01-01T12:00:00\u002B00:00", Some(1_704_110_400_000)),
            (r"2024-01-01T12:00:00\u002b00:00", Some(1_704_110_400_000)),
            (r"\u0032024-01-01T12:00:00\u005A", Some(1_704_110_400_000)),
            (r"2024-01-01T12:00:00Z\n", None),
            (r"2024-01-01T12:00:00\/Z", None),
            (r"2024-01-01T12:00:00Z\", None),
            (r"2024-01-01T12:00:00\u005", None),
            (r"2024-01-01T12:00:00\u00e9Z", None),
            (r"2024-01-01T12:00:00\x5a", None),
            (r"2024-01-01T12:00:00\u0130Z", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_escaped(text.as_bytes()).map(|time| time.0), *expected, "{text}");
        }
        let long = format!("2024-01-01T12:00:00.{}\\u005a", "0".repeat(100_000));
        assert_eq!(parse_escaped(long.as_bytes()), None);
    }

    #[test]
    fn a_long_number_takes_linear_time() {
        // Quadratic, each of these would be 10^11 steps and more.
        let zeros = "0".repeat(500_000);
        assert_eq!(parse_number(format!("0.{zeros}17041104e500010").as_bytes()), Some(UnixMillis(1_704_110_400_000)));
        assert_eq!(parse_number(format!("{zeros}1704110400").as_bytes()), Some(UnixMillis(1_704_110_400_000)));
        assert_eq!(parse_number(format!("1704110400.{zeros}1").as_bytes()), Some(UnixMillis(1_704_110_400_000)));
        assert_eq!(parse_number(format!("1{zeros}e-500000").as_bytes()), Some(UnixMillis(1_000)));
        for _ in 0..10_000 {
            assert_eq!(parse_number(b"0e1000000"), Some(UnixMillis(0)));
        }
    }

    /// The number written out without an exponent, then cut by hand.
    fn naive_number(integer: &str, fraction: &str, exponent: i32) -> Option<i64> {
        let (mut whole, mut part) = (integer.to_owned(), fraction.to_owned());
        for _ in 0..exponent {
            whole.push(if part.is_empty() { '0' } else { part.remove(0) });
        }
        for _ in exponent..0 {
            part.insert(0, whole.pop().unwrap_or('0'));
        }
        let whole = whole.trim_start_matches('0');
        let seconds: i64 = if whole.is_empty() { 0 } else { whole.parse().ok().filter(|_| whole.len() <= 18)? };
        let above = seconds > 1_000_000_000_000 || seconds == 1_000_000_000_000 && part.contains(|digit| digit != '0');
        if above {
            return Some(seconds);
        }
        let millis: i64 = format!("{part}000").get(..3)?.parse().ok()?;
        Some(seconds * 1000 + millis)
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
        fn numbers_are_those_of_the_naive_reading(
            integer in "(0|[1-9][0-9]{0,20}|1000000000000)", fraction in "([0-9]{1,20}|0{1,9})", exponent in -30..30_i32,
            upper: bool, plain: bool,
        ) {
            let e = if upper { 'E' } else { 'e' };
            let text = if plain { format!("{integer}.{fraction}") } else { format!("{integer}.{fraction}{e}{exponent:+}") };
            let expected = naive_number(&integer, &fraction, if plain { 0 } else { exponent });
            prop_assert_eq!(parse_number(text.as_bytes()), expected.map(UnixMillis), "{}", text);
        }

        /// However its characters are escaped, a text has the same time.
        #[test]
        fn escaped_texts_have_the_same_time(
            text in "[0-9]{4}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-5][0-9]:[0-6][0-9](\\.[0-9]{1,9})?(Z|[+-][01][0-9]:[0-5][0-9])",
            escape in prop::collection::vec(0..3_u8, 40),
        ) {
            let escaped: String = text.bytes().zip(escape).map(|(byte, how)| match how {
                0 => format!("\\u{byte:04x}"),
                1 => format!("\\u{byte:04X}"),
                _ => char::from(byte).to_string(),
            }).collect();
            prop_assert_eq!(parse_escaped(escaped.as_bytes()), parse_text(text.as_bytes()), "{}", escaped);
        }

        /// Whatever was read before.
        #[test]
        fn a_reader_reads_each_as_if_it_were_the_first(
            texts in prop::collection::vec(
                "20(24|23)-0[12]-(28|29|30)[T ]1[12]:0[01]:[0-6][0-9](\\.[0-9]{1,9})?(Z|\\+01:00|\\\\u002B01:00|)", 1..12,
            ),
        ) {
            let mut reader = Reader::default();
            for text in texts {
                prop_assert_eq!(reader.escaped(text.as_bytes()), parse_escaped(text.as_bytes()), "{}", text);
            }
        }

        #[test]
        fn noise_never_panics(text in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = (parse_text(&text), parse_escaped(&text), parse_number(&text));
        }

        #[test]
        fn decimal_seconds_are_exact(seconds in 0_i64..=1_000_000_000_000, millis in 0_i64..1000) {
            prop_assume!(seconds < 1_000_000_000_000 || millis == 0);
            let text = format!("{seconds}.{millis:03}");
            prop_assert_eq!(parse_number(text.as_bytes()), Some(UnixMillis(seconds * 1000 + millis)));
        }
    }
}
