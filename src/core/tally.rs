//! The accounting of one attempt at one object for one delivery.
//!
//! The unit is the event; a slot that gave no event counts as one, and each part of a split event as one. At any time
//! `read = resumed_skipped + delivered + rejected + dropped + superseded + pending`, and `pending` is zero at the end.

use std::fmt;

/// Why the API did not keep an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rejected {
    /// Older than 14 days when it arrived (PutLogEvents, `tooOldLogEventEndIndex`).
    TooOld,
    /// Too far in the future when it arrived (`tooNewLogEventStartIndex`).
    TooNew,
    /// Past the group's retention (`expiredLogEventEndIndex`).
    Expired,
    /// Alone guilty of the refusal of its batch.
    Refused,
}

/// The rule by which an event was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dropped {
    /// Its message is the empty string, which the API does not take.
    EmptyMessage,
    /// The slot is no JSON object with sound text.
    BadRecord,
    /// The record is longer than the setting allows.
    OversizeRecord,
    /// The array that the slot belongs to is broken there.
    ArrayTail,
    /// Older than the API takes, at sealing time.
    TooOld,
    /// Newer than the API takes, at sealing time.
    TooNew,
}

impl Rejected {
    /// All reasons, in the order of their counts.
    pub const ALL: [Self; 4] = [Self::TooOld, Self::TooNew, Self::Expired, Self::Refused];

    /// The reason's name in metrics and receipts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooOld => "too_old",
            Self::TooNew => "too_new",
            Self::Expired => "expired",
            Self::Refused => "refused",
        }
    }
}

impl Dropped {
    /// All rules, in the order of their counts.
    pub const ALL: [Self; 6] =
        [Self::EmptyMessage, Self::BadRecord, Self::OversizeRecord, Self::ArrayTail, Self::TooOld, Self::TooNew];

    /// The rule's name in metrics and receipts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EmptyMessage => "empty_message",
            Self::BadRecord => "bad_record",
            Self::OversizeRecord => "oversize_record",
            Self::ArrayTail => "array_tail",
            Self::TooOld => "too_old",
            Self::TooNew => "too_new",
        }
    }
}

/// The sums. Every change keeps the identity; see [`Self::balances`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    read: u64,
    resumed_skipped: u64,
    delivered: u64,
    rejected: [u64; Rejected::ALL.len()],
    dropped: [u64; Dropped::ALL.len()],
    superseded: u64,
    pending: u64,
    possibly_duplicated: u64,
    delivered_unverified: u64,
}

impl Tally {
    /// Events that an earlier attempt had delivered were read over.
    pub const fn skip_resumed(&mut self, events: u64) {
        self.read += events;
        self.resumed_skipped += events;
    }

    /// Events were put into a batch.
    pub const fn pend(&mut self, events: u64) {
        self.read += events;
        self.pending += events;
    }

    /// Events were read and dropped by `rule` at once.
    pub const fn drop_by(&mut self, rule: Dropped, events: u64) {
        self.read += events;
        self.dropped[rule as usize] += events;
    }

    /// Pending events were dropped by `rule` when their batch was sealed.
    pub const fn drop_pending(&mut self, rule: Dropped, events: u64) {
        self.settle(events);
        self.dropped[rule as usize] += events;
    }

    /// Pending events were accepted.
    pub const fn deliver(&mut self, events: u64) {
        self.settle(events);
        self.delivered += events;
    }

    /// Of the delivered events, so many may have been accepted twice, because an answer was lost.
    pub const fn duplicate(&mut self, events: u64) {
        self.possibly_duplicated += events;
    }

    /// Nothing that was delivered so far came before a good checksum.
    pub const fn doubt(&mut self) {
        self.delivered_unverified = self.delivered;
    }

    /// Pending events were rejected by the API.
    pub const fn reject(&mut self, reason: Rejected, events: u64) {
        self.settle(events);
        self.rejected[reason as usize] += events;
    }

    /// Pending events are not sent, because a newer version of the object replaces them.
    pub const fn supersede(&mut self, events: u64) {
        self.settle(events);
        self.superseded += events;
    }

    /// Pending events are not sent, because another attempt had delivered them.
    pub const fn skip_pending(&mut self, events: u64) {
        self.settle(events);
        self.resumed_skipped += events;
    }

    /// Pending events are left to a later attempt: this one has not read them.
    pub const fn forget(&mut self, events: u64) {
        self.settle(events);
        self.read -= events;
    }

    const fn settle(&mut self, events: u64) {
        debug_assert!(self.pending >= events);
        self.pending -= events;
    }

    /// Adds another attempt's sums.
    pub fn merge(&mut self, other: &Self) {
        self.read += other.read;
        self.resumed_skipped += other.resumed_skipped;
        self.delivered += other.delivered;
        for (mine, others) in self.rejected.iter_mut().zip(other.rejected) {
            *mine += others;
        }
        for (mine, others) in self.dropped.iter_mut().zip(other.dropped) {
            *mine += others;
        }
        self.superseded += other.superseded;
        self.pending += other.pending;
        self.possibly_duplicated += other.possibly_duplicated;
        self.delivered_unverified += other.delivered_unverified;
    }

    /// Whether the identity holds.
    #[must_use]
    pub fn balances(&self) -> bool {
        let rejected: u64 = self.rejected.iter().sum();
        let dropped: u64 = self.dropped.iter().sum();
        let known = self.resumed_skipped + self.delivered + rejected + dropped + self.superseded + self.pending;
        self.read == known && self.possibly_duplicated.max(self.delivered_unverified) <= self.delivered
    }

    /// Events read.
    #[must_use]
    pub const fn read(&self) -> u64 {
        self.read
    }

    /// Events accepted.
    #[must_use]
    pub const fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Events in a batch that is not settled.
    #[must_use]
    pub const fn pending(&self) -> u64 {
        self.pending
    }

    /// Events read over because an earlier attempt had delivered them.
    #[must_use]
    pub const fn resumed_skipped(&self) -> u64 {
        self.resumed_skipped
    }

    /// Of the delivered events, those that may have been accepted twice.
    #[must_use]
    pub const fn possibly_duplicated(&self) -> u64 {
        self.possibly_duplicated
    }

    /// Of the delivered events, those of bytes that turned out to be damaged, or to end before their checksum.
    #[must_use]
    pub const fn delivered_unverified(&self) -> u64 {
        self.delivered_unverified
    }

    /// Events that the API rejected for `reason`.
    #[must_use]
    pub const fn rejected(&self, reason: Rejected) -> u64 {
        self.rejected[reason as usize]
    }

    /// Events that `rule` dropped.
    #[must_use]
    pub const fn dropped(&self, rule: Dropped) -> u64 {
        self.dropped[rule as usize]
    }

    /// The reasons for which the API rejected events, by name, with their counts.
    pub fn rejections(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Rejected::ALL.map(|reason| (reason.name(), self.rejected(reason))).into_iter().filter(|(_, events)| *events > 0)
    }

    /// The rules that dropped events, by name, with their counts.
    pub fn drops(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Dropped::ALL.map(|rule| (rule.name(), self.dropped(rule))).into_iter().filter(|(_, events)| *events > 0)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read {} = delivered {}", self.read, self.delivered)?;
        for (name, events) in
            [("possibly_duplicated", self.possibly_duplicated), ("delivered_unverified", self.delivered_unverified)]
        {
            if events > 0 {
                write!(f, " ({events} {name})")?;
            }
        }
        for (reason, events) in self.rejections() {
            write!(f, " + rejected {reason} {events}")?;
        }
        for (rule, events) in self.drops() {
            write!(f, " + dropped {rule} {events}")?;
        }
        for (name, events) in
            [("resumed_skipped", self.resumed_skipped), ("superseded", self.superseded), ("pending", self.pending)]
        {
            if events > 0 {
                write!(f, " + {name} {events}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_reads_as_a_sum() {
        let mut tally = Tally::default();
        tally.pend(5);
        tally.deliver(1);
        tally.doubt();
        tally.deliver(1);
        tally.reject(Rejected::TooOld, 1);
        tally.drop_by(Dropped::BadRecord, 4);
        assert_eq!(
            tally.to_string(),
            "read 9 = delivered 2 (1 delivered_unverified) + rejected too_old 1 + dropped bad_record 4 + pending 2"
        );
        assert_eq!(tally.rejections().collect::<Vec<_>>(), [("too_old", 1)]);
        assert_eq!(tally.drops().collect::<Vec<_>>(), [("bad_record", 4)]);
    }

    proptest! {
        /// Each step changes what it says and nothing else; the sum of attempts is the sum of their counts.
        #[test]
        fn every_step_keeps_the_balance(steps in prop::collection::vec((0_usize..10, 0_u64..50, 0_usize..6), 0..40)) {
            let mut tally = Tally::default();
            let mut sum = Tally::default();
            let mut total = 0;
            let (mut read, mut pending, mut delivered, mut skipped, mut superseded) = (0, 0, 0, 0, 0);
            let (mut rejected, mut dropped) = ([0; 4], [0; 6]);
            for (step, events, which) in steps {
                let held = events.min(pending);
                let (rule, reason) = (Dropped::ALL[which], Rejected::ALL[which % 4]);
                match step {
                    0 | 1 => { tally.pend(events); read += events; pending += events; }
                    2 => { tally.skip_resumed(events); read += events; skipped += events; }
                    3 => { tally.drop_by(rule, events); read += events; dropped[which] += events; }
                    4 => { tally.drop_pending(rule, held); pending -= held; dropped[which] += held; }
                    5 => { tally.deliver(held); tally.duplicate(held); pending -= held; delivered += held; }
                    6 => { tally.reject(reason, held); pending -= held; rejected[which % 4] += held; }
                    7 => { tally.supersede(held); pending -= held; superseded += held; }
                    8 => { tally.skip_pending(held); pending -= held; skipped += held; }
                    _ => { tally.forget(held); pending -= held; read -= held; }
                }
                prop_assert!(tally.balances(), "{}", tally);
                let found = (tally.read(), tally.pending(), tally.delivered(), tally.resumed_skipped(), tally.possibly_duplicated());
                prop_assert_eq!(found, (read, pending, delivered, skipped, delivered));
                prop_assert_eq!(Rejected::ALL.map(|reason| tally.rejected(reason)), rejected);
                prop_assert_eq!(Dropped::ALL.map(|rule| tally.dropped(rule)), dropped);
                prop_assert_eq!(read, skipped + delivered + superseded + pending + rejected.iter().sum::<u64>() + dropped.iter().sum::<u64>());
                sum.merge(&tally);
                total += read;
                prop_assert!(sum.balances(), "{}", sum);
                prop_assert_eq!(sum.read(), total);
            }
        }
    }
}
