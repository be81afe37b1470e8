//! A commit group → batches: what is out of the API's window is dropped, the rest sorted and cut by span.

use std::sync::Arc;

use super::{BODY_END, Batch, Entry, SPAN_MILLIS_MAX, SegmentId, offset};
use crate::core::object::{Ordinal, Position};
use crate::core::shelf::Buffer;
use crate::core::tally::Dropped;
use crate::core::time::UnixMillis;

/// Times that the API takes, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendWindow {
    /// Older events are dropped.
    pub oldest: UnixMillis,
    /// Newer events are dropped.
    pub newest: UnixMillis,
}

impl SendWindow {
    /// Every time.
    pub const ALL: Self = Self { oldest: UnixMillis(i64::MIN), newest: UnixMillis(i64::MAX) };

    /// Days that an event may be old. Source: CloudWatch Logs API Reference, "PutLogEvents".
    const OLD_MILLIS_MAX: i64 = 14 * 24 * 60 * 60 * 1000;
    /// How far an event may be ahead. Source: as above.
    const NEW_MILLIS_MAX: i64 = 2 * 60 * 60 * 1000;

    /// The window of the API at `now`.
    #[must_use]
    pub const fn at(now: UnixMillis) -> Self {
        Self { oldest: now.plus(-Self::OLD_MILLIS_MAX), newest: now.plus(Self::NEW_MILLIS_MAX) }
    }
}

/// How much of a group is a segment's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentShare {
    /// The object and attempt.
    pub segment: SegmentId,
    /// Events in the group's batches.
    pub sent: u64,
    /// Events dropped because they are older than the window.
    pub too_old: u64,
    /// Events dropped because they are newer than the window.
    pub too_new: u64,
    /// Where the segment goes on behind its events in the group.
    pub end: Position,
}

impl SegmentShare {
    /// An event that a rule was to drop is not dropped.
    pub const fn keep(&mut self, rule: Dropped) {
        match rule {
            Dropped::TooOld => self.too_old -= 1,
            Dropped::TooNew => self.too_new -= 1,
            Dropped::EmptyMessage | Dropped::BadRecord | Dropped::OversizeRecord | Dropped::ArrayTail => {}
        }
    }
}

/// A closed group.
#[derive(Clone, Debug, Default)]
pub struct Sealed {
    /// The batches, in the order in which they must be sent; none when all events were dropped.
    pub batches: Vec<Batch>,
    /// Whose the events were.
    pub shares: Vec<SegmentShare>,
    /// Events that were dropped, with the rules, if they are to be given back.
    pub dropped: Vec<(Dropped, Batch)>,
}

pub(super) struct Group<'h> {
    pub(super) head: &'h [u8],
    pub(super) body: Buffer,
    pub(super) entries: Buffer<Entry>,
    pub(super) segments: Vec<SegmentId>,
    pub(super) ascending: bool,
    /// Where the last event goes on, if it was cut.
    pub(super) cut: Option<Position>,
    pub(super) keeps_dropped: bool,
}

impl Group<'_> {
    pub(super) fn seal(self, window: SendWindow) -> Sealed {
        let shares = self.shares(window);
        let segments: Arc<[SegmentId]> = self.segments.as_slice().into();
        let batch = |body, entries| Batch::new(body, self.head.len(), entries, Arc::clone(&segments));
        if self.in_place(window) {
            return Sealed { batches: vec![batch(self.body, self.entries)], shares, dropped: Vec::new() };
        }
        let within = |entry: &&Entry| entry.timestamp >= window.oldest && entry.timestamp <= window.newest;
        let mut kept: Vec<Entry> = self.entries.iter().filter(within).copied().collect();
        kept.sort_by_key(|entry| entry.timestamp);
        let batches = spans(&kept)
            .map(|entries| {
                let (body, entries) = rebuild(self.head, &self.body, entries);
                batch(body, entries)
            })
            .collect();
        let mut dropped = Vec::new();
        if self.keeps_dropped {
            let old = |entry: &Entry| entry.timestamp < window.oldest;
            let new = |entry: &Entry| entry.timestamp > window.newest;
            for (rule, is_out) in [(Dropped::TooOld, &old as &dyn Fn(&Entry) -> bool), (Dropped::TooNew, &new)] {
                let out: Vec<Entry> = self.entries.iter().filter(|entry| is_out(entry)).copied().collect();
                if !out.is_empty() {
                    let (body, entries) = rebuild(self.head, &self.body, &out);
                    dropped.push((rule, batch(body, entries)));
                }
            }
        }
        Sealed { batches, shares, dropped }
    }

    /// Whether the body can be sent as it stands.
    fn in_place(&self, window: SendWindow) -> bool {
        let (Some(first), Some(last)) = (self.entries.first(), self.entries.last()) else { return false };
        self.ascending
            && first.timestamp >= window.oldest
            && last.timestamp <= window.newest
            && last.timestamp.0.saturating_sub(first.timestamp.0) <= SPAN_MILLIS_MAX
    }

    fn shares(&self, window: SendWindow) -> Vec<SegmentShare> {
        let share = |segment: &SegmentId| SegmentShare {
            segment: *segment,
            sent: 0,
            too_old: 0,
            too_new: 0,
            end: Position::default(),
        };
        let mut shares: Vec<SegmentShare> = self.segments.iter().map(share).collect();
        for entry in &*self.entries {
            let Some(share) = usize::try_from(entry.segment).ok().and_then(|at| shares.get_mut(at)) else { continue };
            share.end = Position { ordinal: Ordinal(entry.ordinal.0 + 1), part: 0 };
            if entry.timestamp < window.oldest {
                share.too_old += 1;
            } else if entry.timestamp > window.newest {
                share.too_new += 1;
            } else {
                share.sent += 1;
            }
        }
        if let (Some(last), Some(cut)) = (self.entries.last(), self.cut)
            && let Some(share) = usize::try_from(last.segment).ok().and_then(|at| shares.get_mut(at))
        {
            share.end = cut;
        }
        shares
    }
}

/// Cuts entries in time order into as few runs as the API's span allows.
fn spans(entries: &[Entry]) -> impl Iterator<Item = &[Entry]> {
    let mut rest = entries;
    std::iter::from_fn(move || {
        let first = rest.first()?;
        let late = |entry: &Entry| entry.timestamp.0.saturating_sub(first.timestamp.0) > SPAN_MILLIS_MAX;
        let len = rest.iter().position(late).unwrap_or(rest.len());
        let (run, after) = rest.split_at_checked(len)?;
        rest = after;
        Some(run)
    })
}

/// A body, still open, with `head` and the given events of another body, which it is instead of.
pub(super) fn rebuild(head: &[u8], from: &Buffer, entries: &[Entry]) -> (Buffer, Buffer<Entry>) {
    rebuild_in(|bytes| from.another(bytes), head, from, entries)
}

/// The same in a buffer for so many bytes.
pub(super) fn rebuild_in(
    buffer: impl FnOnce(usize) -> Buffer,
    head: &[u8],
    from: &[u8],
    entries: &[Entry],
) -> (Buffer, Buffer<Entry>) {
    let bytes: usize = entries.iter().map(|entry| entry.range().len() + 1).sum();
    let mut buffer = buffer(head.len() + bytes + BODY_END.len());
    let body = buffer.bytes();
    body.extend_from_slice(head);
    let mut moved = Vec::with_capacity(entries.len());
    for (at, entry) in entries.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        let start = offset(body.len());
        body.extend_from_slice(from.get(entry.range()).unwrap_or_default());
        moved.push(Entry { start, end: offset(body.len()), ..*entry });
    }
    (buffer, moved.into())
}
