//! Times as the log formats write them.
//!
//! A date changes once a second at most, a line comes every microsecond: [`Stamp`] keeps the rendered second and writes
//! only the fraction anew.

use std::time::Duration;

use crate::SpecError;

/// Where the time of seeded output starts unless told: 2025-09-01T00:00:00Z. A constant, so that a seed gives the same
/// bytes on any day.
pub const DEFAULT_START_MS: i64 = 1_756_684_800_000;

/// Four-digit years end with 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;

const PAIRS: &[u8; 200] = b"00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

/// A start of time in milliseconds since 1970 from `2025-09-01T00:00:00Z` (a fraction may follow the seconds) or from
/// whole Unix seconds.
///
/// # Errors
/// [`SpecError::Start`] for anything else, and for years outside 1970–9999.
pub fn parse_start(text: &str) -> Result<i64, SpecError> {
    let bad = || SpecError::Start { given: text.to_owned() };
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        let seconds: u64 = text.parse().map_err(|_| bad())?;
        let millis = seconds.min(LAST_SECOND + 1).saturating_mul(1000);
        return if seconds > LAST_SECOND { Err(bad()) } else { i64::try_from(millis).map_err(|_| bad()) };
    }
    let (moment, fraction) = match text.strip_suffix('Z').ok_or_else(bad)?.split_once('.') {
        Some((moment, fraction)) => (moment, fraction),
        None => (text.trim_end_matches('Z'), ""),
    };
    let shape = moment.len() == 19
        && moment.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            10 => byte == b'T',
            13 | 16 => byte == b':',
            _ => byte.is_ascii_digit(),
        });
    if !shape || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    let number = |from: usize, to: usize| moment.get(from..to).and_then(|digits| digits.parse::<u64>().ok());
    let field = |from: usize, to: usize, range: std::ops::RangeInclusive<u64>| {
        number(from, to).filter(|value| range.contains(value)).ok_or_else(bad)
    };
    let days = days_from_civil(field(0, 4, 1970..=9999)?, field(5, 7, 1..=12)?, field(8, 10, 1..=31)?);
    let seconds = days * 86_400 + field(11, 13, 0..=23)? * 3600 + field(14, 16, 0..=59)? * 60 + field(17, 19, 0..=59)?;
    let mut written = Vec::new();
    Stamp::at(seconds.saturating_mul(1_000_000)).iso(0, b"", &mut written);
    if written != moment.as_bytes() {
        return Err(bad()); // the 31st of a month that has 30 days
    }
    let millis: u64 =
        fraction.bytes().chain(std::iter::repeat(b'0')).take(3).fold(0, |n, b| n * 10 + u64::from(b - b'0'));
    i64::try_from(seconds * 1000 + millis).map_err(|_| bad())
}

/// Days since 1970-01-01 of a date of the Gregorian calendar, by counting years from March on.
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    (year * 365 + year / 4 - year / 100 + year / 400 + day_of_year).saturating_sub(719_468)
}

/// The inverse of [`days_from_civil`]: year, month and day.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// One moment, ready to be written in any of the formats' ways.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    second: u64,
    micros: u32,
    /// `2025-09-01T00:00:00` of `second`.
    text: [u8; 19],
}

impl Stamp {
    /// The moment `micros` after 1970.
    pub(crate) fn at(micros: u64) -> Self {
        let mut stamp = Self { second: u64::MAX, micros: 0, text: *b"1970-01-01T00:00:00" };
        stamp.set(micros);
        stamp
    }

    /// Moves to another moment; times after the year 9999 are written as its last second.
    pub(crate) fn set(&mut self, micros: u64) {
        let second = (micros / 1_000_000).min(LAST_SECOND);
        self.micros = (micros % 1_000_000) as u32;
        if second != self.second {
            self.second = second;
            self.render();
        }
    }

    #[cold]
    fn render(&mut self) {
        let (year, month, day) = civil_from_days(self.second / 86_400);
        let of_day = self.second % 86_400;
        let pairs = [year / 100, year % 100, month, day, of_day / 3600, of_day / 60 % 60, of_day % 60];
        for (at, value) in [0, 2, 5, 8, 11, 14, 17].into_iter().zip(pairs) {
            self.text[at] = b'0' + (value / 10 % 10) as u8;
            self.text[at + 1] = b'0' + (value % 10) as u8;
        }
    }

    /// `2025-09-01T00:00:00`, a fraction of `digits` (0, 3 or 6) and the zone.
    #[inline]
    pub(crate) fn iso(&self, digits: usize, zone: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.text);
        if digits > 0 {
            let fraction = fraction(self.micros);
            out.extend_from_slice(&fraction[..=digits.min(6)]);
        }
        out.extend_from_slice(zone);
    }

    /// `0901 00:00:00.000000`, as klog writes it.
    #[inline]
    pub(crate) fn klog(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.text[5..7]);
        out.extend_from_slice(&self.text[8..10]);
        out.push(b' ');
        out.extend_from_slice(&self.text[11..]);
        out.extend_from_slice(&fraction(self.micros));
    }

    /// `2025/09/01 00:00:00`, as Go's log package writes it.
    #[inline]
    pub(crate) fn go(&self, out: &mut Vec<u8>) {
        let mut text = self.text;
        (text[4], text[7], text[10]) = (b'/', b'/', b' ');
        out.extend_from_slice(&text);
    }

    /// `20250901-000000`, as Vector names objects.
    pub(crate) fn file_name(&self, out: &mut Vec<u8>) {
        out.extend(self.text.iter().filter(|byte| byte.is_ascii_digit() || **byte == b'T').map(|&byte| match byte {
            b'T' => b'-',
            digit => digit,
        }));
    }
}

/// `.000000`
#[inline]
fn fraction(micros: u32) -> [u8; 7] {
    let (high, middle, low) = (micros / 10_000 % 100, micros / 100 % 100, micros % 100);
    let [a, b, c] = [high, middle, low].map(|pair| (pair * 2) as usize);
    [b'.', PAIRS[a], PAIRS[a + 1], PAIRS[b], PAIRS[b + 1], PAIRS[c], PAIRS[c + 1]]
}

/// Writes `number` in decimal.
#[inline]
pub(crate) fn decimal(number: u32, out: &mut Vec<u8>) {
    let mut digits = [0; 10];
    let (mut at, mut rest) = (digits.len(), number);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Microseconds since 1970 of a wall-clock reading.
#[must_use]
pub fn micros_since_epoch(since_epoch: Duration) -> u64 {
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iso(micros: u64) -> String {
        let mut out = Vec::new();
        Stamp::at(micros).iso(6, b"+00:00", &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn known_moments() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000+00:00"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000+00:00"),
            (1_704_110_400_000_007, "2024-01-01T12:00:00.000007+00:00"),
            (1_756_684_799_999_999, "2025-08-31T23:59:59.999999+00:00"),
            (4_107_542_399_120_000, "2100-02-28T23:59:59.120000+00:00"),
            (253_402_300_799_000_000, "9999-12-31T23:59:59.000000+00:00"),
        ] {
            assert_eq!(iso(micros), text);
        }
    }

    #[test]
    fn other_writings_agree_with_iso() {
        let stamp = Stamp::at(1_756_553_221_564_974);
        let mut out = Vec::new();
        stamp.klog(&mut out);
        out.push(b'|');
        stamp.go(&mut out);
        out.push(b'|');
        stamp.file_name(&mut out);
        out.push(b'|');
        stamp.iso(3, b"Z", &mut out);
        let expected = "0830 11:27:01.564974|2025/08/30 11:27:01|20250830-112701|2025-08-30T11:27:01.564Z";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn dates_and_days_are_inverse_through_four_centuries() {
        for days in 0..200_000 {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
    }

    #[test]
    fn starts_are_read_or_refused() {
        assert_eq!(parse_start("2025-09-01T00:00:00Z").unwrap(), DEFAULT_START_MS);
        assert_eq!(parse_start("1756684800").unwrap(), DEFAULT_START_MS);
        assert_eq!(parse_start("2024-02-29T23:59:59.9876Z").unwrap(), 1_709_251_199_987);
        for bad in [
            "",
            "now",
            "2025-09-01",
            "2025-02-30T00:00:00Z",
            "2025-09-01T24:00:00Z",
            "2025-09-01T00:00:00",
            "1969-12-31T23:59:59Z",
            "253402300800",
            "2025-09-01T00:00:00.Z1Z",
            "-5",
        ] {
            assert!(parse_start(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn decimals() {
        let mut out = Vec::new();
        for number in [0, 7, 10, 999, u32::MAX] {
            decimal(number, &mut out);
            out.push(b' ');
        }
        assert_eq!(out, b"0 7 10 999 4294967295 ");
    }
}
