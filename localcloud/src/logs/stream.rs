//! The events of a log stream, and what is told of those that are not in it.

use std::hash::{DefaultHasher, Hasher};
use std::ops::Range;

/// What is kept of the events that are accepted. They are judged all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// All of them, with their texts.
    #[default]
    Texts,
    /// Timestamps, and a number for each message: enough to compare what arrived with what was sent.
    Digests,
    /// How many they are and their bytes: the memory stays as it is, however much arrives. What faults did to events is not
    /// kept either.
    Counts,
}

/// The events of one stream, in the order in which they were accepted.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// All messages, one behind the other.
    pub(super) text: Vec<u8>,
    /// Timestamp, and end of the message in `text`.
    pub(super) events: Vec<(i64, usize)>,
    /// What stands for each message when its text is not kept.
    pub(super) digests: Vec<u64>,
    /// Accepted calls, their events, and the bytes of their messages.
    pub(super) batches: u64,
    pub(super) accepted: u64,
    pub(super) accepted_bytes: u64,
    /// Events so far and time of arrival, for each accepted call.
    pub(super) arrivals: Vec<(usize, i64)>,
    /// Timestamps and digests of what faults rejected.
    pub(super) rejected: Vec<(i64, u64)>,
    /// Timestamps and digests of events that were refused when they came alone.
    pub(super) refused: Vec<(i64, u64)>,
    /// Events of accepted calls whose answers faults lost or kept back.
    pub(super) unanswered: Vec<Range<usize>>,
    pub(super) created_ms: i64,
}

/// A number that stands for a message; the same text gives the same number within one process.
#[must_use]
pub fn digest(message: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(message);
    hasher.finish()
}

impl Stream {
    /// Timestamps and messages in order. Messages are empty when text is not kept.
    pub fn events(&self) -> impl ExactSizeIterator<Item = (i64, &str)> {
        let start = |at: usize| at.checked_sub(1).and_then(|at| self.events.get(at)).map_or(0, |(_, end)| *end);
        self.events.iter().enumerate().map(move |(at, (timestamp, end))| {
            let message = self.text.get(start(at)..*end).unwrap_or_default();
            (*timestamp, std::str::from_utf8(message).unwrap_or_default())
        })
    }

    pub(super) fn arrived_ms(&self, at: usize) -> i64 {
        let call = self.arrivals.partition_point(|(events, _)| *events <= at);
        self.arrivals.get(call).map_or(0, |(_, ms)| *ms)
    }

    /// When the last call was accepted, milliseconds since 1970, unless only counts are kept.
    #[must_use]
    pub fn last_arrival_ms(&self) -> Option<i64> {
        self.arrivals.last().map(|(_, ms)| *ms)
    }

    /// The events that are wanted, with their places, in the order of time, as they are shown.
    pub(super) fn by_time(&self, wanted: impl Fn(i64) -> bool) -> Vec<(i64, usize, &str)> {
        let all = self.events().enumerate().filter(|(_, (time, _))| wanted(*time));
        let mut found: Vec<_> = all.map(|(at, (time, message))| (time, at, message)).collect();
        found.sort_by_key(|(time, ..)| *time);
        found
    }

    /// Timestamps and [`digest`]s of the messages, in order.
    pub fn digests(&self) -> impl ExactSizeIterator<Item = (i64, u64)> {
        self.events.iter().zip(&self.digests).map(|((timestamp, _), digest)| (*timestamp, *digest))
    }

    /// Timestamps and [`digest`]s of the events that faults rejected, so that they are not here. A client that was told
    /// does not send them again; one whose answer was lost may have.
    #[must_use]
    pub fn rejected(&self) -> &[(i64, u64)] {
        &self.rejected
    }

    /// Timestamps and [`digest`]s of the events that were alone in a call that was refused for what they say, once for each
    /// such call. See [`Cloud::refuse`](crate::Cloud::refuse).
    #[must_use]
    pub fn refused(&self) -> &[(i64, u64)] {
        &self.refused
    }

    /// Timestamps and [`digest`]s of the events that are here though faults lost the answers, or kept them back: such a
    /// client may send them again, and does right.
    pub fn unanswered(&self) -> impl Iterator<Item = (i64, u64)> {
        let range = |range: &Range<usize>| self.events.get(range.clone()).zip(self.digests.get(range.clone()));
        let pairs = self.unanswered.iter().filter_map(range);
        pairs.flat_map(|(events, digests)| events.iter().zip(digests).map(|((time, _), digest)| (*time, *digest)))
    }

    /// Calls of PutLogEvents that were accepted.
    #[must_use]
    pub const fn batches(&self) -> u64 {
        self.batches
    }

    /// Events that were accepted, whatever is kept of them, and the bytes of their messages.
    #[must_use]
    pub const fn accepted(&self) -> (u64, u64) {
        (self.accepted, self.accepted_bytes)
    }
}
