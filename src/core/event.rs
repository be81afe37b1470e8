//! The time of a record that has none of its own.
//!
//! An absent or unreadable timestamp takes the time of the previous good record of the object, and before the first one
//! the object's `LastModified`. So a retry yields the same events, and a continuation line stays where it was written.

use super::scan::Stamp;
use super::time::UnixMillis;
use super::timestamp;

/// The times of one object's records, in their order.
///
/// ```
/// use millrace::core::{event::Timeline, scan::Stamp, time::UnixMillis};
///
/// let mut timeline = Timeline::new(UnixMillis(5));
/// assert_eq!(timeline.resolve(Stamp::Missing), UnixMillis(5));
/// assert_eq!(timeline.resolve(Stamp::Number(b"7")), UnixMillis(7_000));
/// assert_eq!(timeline.resolve(Stamp::Text(b"yesterday")), UnixMillis(7_000));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Timeline {
    last: UnixMillis,
    texts: timestamp::Reader,
}

impl Timeline {
    /// The times of an object that was last modified at `modified`.
    #[must_use]
    pub fn new(modified: UnixMillis) -> Self {
        Self { last: modified, texts: timestamp::Reader::default() }
    }

    /// The time that a record with this stamp has, without counting it as seen.
    #[must_use]
    pub fn peek(&mut self, stamp: Stamp<'_>) -> UnixMillis {
        let own = match stamp {
            Stamp::Text(text) => self.texts.escaped(text),
            Stamp::Number(text) => timestamp::parse_number(text),
            Stamp::Missing => None,
        };
        own.unwrap_or(self.last)
    }

    /// The time of the next good record; the following records fall back on it.
    pub fn resolve(&mut self, stamp: Stamp<'_>) -> UnixMillis {
        self.last = self.peek(stamp);
        self.last
    }

    /// The time that a record has without one of its own.
    #[must_use]
    pub const fn last(&self) -> UnixMillis {
        self.last
    }

    /// The next good record has this time, which [`Self::peek`] has given.
    pub const fn pass(&mut self, time: UnixMillis) {
        self.last = time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::scan::{ScanLimits, Scanner, Step};

    const MODIFIED: UnixMillis = UnixMillis(1_700_000_000_000);

    /// The times of an object's records.
    fn times(object: &str) -> Vec<i64> {
        let mut scanner = Scanner::new(ScanLimits::default());
        let mut timeline = Timeline::new(MODIFIED);
        let (mut at, mut times) = (0, Vec::new());
        loop {
            match scanner.next(object.as_bytes(), at, true) {
                (Step::Record(record), next) => {
                    at = next;
                    times.push(timeline.resolve(record.timestamp).0);
                }
                (Step::End, _) => return times,
                (step, _) => panic!("{step:?}"),
            }
        }
    }

    /// predecessor.md §15, rows "time". It took the present where it could read no time; design §4 takes the time of the
    /// record before, and before the first one the object's LastModified.
    #[test]
    fn predecessor_15_time() {
        let modified = MODIFIED.0;
        let cases = [
            ("…Z", r#""2024-01-01T12:00:00Z""#, 1_704_110_400_000),
            ("+00:00", r#""2024-01-01T12:00:00+00:00""#, 1_704_110_400_000),
            ("nanoseconds", r#""2024-01-01T12:00:00.123456789Z""#, 1_704_110_400_123),
            ("-05:00", r#""2024-01-01T12:00:00-05:00""#, 1_704_128_400_000),
            ("seconds", "1704110400", 1_704_110_400_000),
            ("milliseconds", "1704110400000", 1_704_110_400_000),
            ("999999999999 is seconds", "999999999999", 999_999_999_999_000),
            ("10^12 is seconds", "1000000000000", 1_000_000_000_000_000),
            ("10^12 in another spelling", "1e12", 1_000_000_000_000_000),
            ("10^12 + 1 is milliseconds", "1000000000001", 1_000_000_000_001),
            ("no zone", r#""2024-01-15 10:30:00""#, modified),
            ("space and zone: read here", r#""2024-01-01 12:00:00Z""#, 1_704_110_400_000),
            ("empty text", r#""""#, modified),
            ("null", "null", modified),
            ("true", "true", modified),
            ("struct", r#"{"seconds":1704110400}"#, modified),
            ("list", "[1704110400]", modified),
            ("number in a text", r#""1704110400""#, modified),
            ("number beyond all range", "1e400", modified),
            // It sent negative times, and the whole batch was refused.
            ("negative number", "-1", modified),
        ];
        for (case, timestamp, expected) in cases {
            let record = format!(r#"{{"message":"m","timestamp":{timestamp}}}"#);
            assert_eq!(times(&record), [expected], "15 time: {case}");
            let before = format!(r#"{{"message":"m","timestamp":1}}{record}"#);
            let expected = if expected == modified { 1000 } else { expected };
            assert_eq!(times(&before), [1000, expected], "15 time: {case}, after a record with a time");
        }
        let both = r#"{"ingest_timestamp":"2025-01-01T00:00:00Z","timestamp":"2024-01-01T12:00:00Z","message":"m"}"#;
        assert_eq!(times(both), [1_704_110_400_000], "15 time: timestamp wins over ingest_timestamp");
        let ingest = r#"{"ingest_timestamp":"2025-01-01T00:00:00Z","message":"m"}"#;
        assert_eq!(times(ingest), [modified], "15 time: ingest_timestamp alone is never used");
    }

    #[test]
    fn unreadable_times_follow_the_record_before() {
        let mut timeline = Timeline::new(UnixMillis(1));
        assert_eq!(timeline.resolve(Stamp::Missing), UnixMillis(1));
        assert_eq!(timeline.resolve(Stamp::Text(b"2024-01-01T12:00:00Z")), UnixMillis(1_704_110_400_000));
        assert_eq!(timeline.peek(Stamp::Number(b"3")), UnixMillis(3_000));
        assert_eq!(timeline.resolve(Stamp::Text(b"2024-01-15 10:30:00")), UnixMillis(1_704_110_400_000));
    }
}
