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
}

impl Timeline {
    /// The times of an object that was last modified at `modified`.
    #[must_use]
    pub const fn new(modified: UnixMillis) -> Self {
        Self { last: modified }
    }

    /// The time that a record with this stamp has, without counting it as seen.
    #[must_use]
    pub fn peek(&self, stamp: Stamp<'_>) -> UnixMillis {
        let own = match stamp {
            Stamp::Text(text) => timestamp::parse_text(text),
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreadable_times_follow_the_record_before() {
        let mut timeline = Timeline::new(UnixMillis(1));
        assert_eq!(timeline.resolve(Stamp::Missing), UnixMillis(1));
        assert_eq!(timeline.resolve(Stamp::Text(b"2024-01-01T12:00:00Z")), UnixMillis(1_704_110_400_000));
        assert_eq!(timeline.peek(Stamp::Number(b"3")), UnixMillis(3_000));
        assert_eq!(timeline.resolve(Stamp::Text(b"2024-01-15 10:30:00")), UnixMillis(1_704_110_400_000));
    }
}
