//! The ranges of a batch that the API accepted but did not keep → events.

use super::{Batch, Origin};
use crate::core::tally::Rejected;

/// `rejectedLogEventsInfo` of an answer. Source: CloudWatch Logs API Reference, "RejectedLogEventsInfo".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RejectRanges {
    /// Events before this index are too old.
    pub too_old_end: Option<i32>,
    /// Events before this index are past the group's retention.
    pub expired_end: Option<i32>,
    /// Events from this index on are too new.
    pub too_new_start: Option<i32>,
}

impl RejectRanges {
    /// Why the event at `index` was rejected, if it was. An event in several ranges is counted once: too old before
    /// expired before too new.
    fn reason(&self, index: usize) -> Option<Rejected> {
        let at = |bound: Option<i32>, default: usize| {
            bound.map_or(default, |bound| usize::try_from(bound.max(0)).unwrap_or(default))
        };
        if index < at(self.too_old_end, 0) {
            Some(Rejected::TooOld)
        } else if index < at(self.expired_end, 0) {
            Some(Rejected::Expired)
        } else if index >= at(self.too_new_start, usize::MAX) {
            Some(Rejected::TooNew)
        } else {
            None
        }
    }
}

impl Batch {
    /// What became of each event of a batch that was accepted with these ranges, in the order in which they were sent.
    pub fn outcomes(&self, ranges: RejectRanges) -> impl Iterator<Item = (Origin, Option<Rejected>)> {
        self.origins().enumerate().map(move |(index, origin)| (origin, ranges.reason(index)))
    }
}
