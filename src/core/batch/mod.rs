//! Packs one log stream's events into PutLogEvents batches.
//!
//! In: [`Batcher::feed`], which writes the event straight into the request body of the open commit group, and says
//! [`Fed::Full`] when it does not fit. Out: [`Batcher::seal`], which closes the group: contiguous events, at most one batch
//! of bytes and of events, sorted by time if they are not, cut into as few batches as the API's span needs. When every
//! batch of a group is accepted, all that was fed before the seal is settled; so days that alternate in an object cost a
//! few calls per group, not a call per event.
//!
//! An event is written, then judged, then kept or rolled back: nothing of a refused event stays. Invariants, whatever is
//! fed: every batch is within the limits below; events fed = events in batches + events dropped at the seal + events open;
//! each body is valid JSON.

mod body;
mod finish;
mod pack;
pub mod reference;
mod reject;
mod seal;
mod split;
#[cfg(test)]
mod tests;

use std::ops::{ControlFlow, Range};

pub use self::body::{BadEscape, append_escaped, append_escaping};
pub use self::finish::Batch;
pub use self::pack::{PACK_BYTES_MIN, Packer};
pub use self::reject::RejectRanges;
pub use self::seal::{Sealed, SegmentShare, SendWindow};

use self::body::Writer;
use self::split::Split;
use super::object::{Ordinal, Position};
use super::scan::{Message, PIECE_BLOCK_BYTES};
use super::shelf::Buffer;
use super::simd::Level;
use super::tally::Dropped;
use super::time::UnixMillis;

/// Most bytes of one batch: the UTF-8 bytes of each message plus [`EVENT_OVERHEAD_BYTES`] each.
/// Source: CloudWatch Logs API Reference, "PutLogEvents".
pub const BATCH_BYTES_MAX: usize = 1_048_576;
/// What each event counts beside its message. Source: as above.
pub const EVENT_OVERHEAD_BYTES: usize = 26;
/// Most events of one batch. Source: as above.
pub const BATCH_EVENTS_MAX: usize = 10_000;
/// Most UTF-8 bytes of one message. Source: "CloudWatch Logs quotas", event size, which includes the overhead.
pub const EVENT_BYTES_MAX: usize = BATCH_BYTES_MAX - EVENT_OVERHEAD_BYTES;
/// Default of the bytes of a request body at which a group is sealed: escapes can make it six times the counted bytes.
pub const WIRE_BYTES_MAX: usize = 2 << 20;
/// Most time between the first and the last event of a batch, in milliseconds: under the API's 24 hours, so that it does
/// not matter whether the API counts the ends in.
pub const SPAN_MILLIS_MAX: i64 = 24 * 60 * 60 * 1000 - 1;

/// Most bytes in a body for one byte of a message, counted or as it came: `\u0000`.
pub const ESCAPED_MAX: usize = 6;
/// Bytes that an event's frame may take: separator, keys, braces and the digits of its timestamp.
const FRAME_BYTES_MAX: usize = 64;
/// Step in which a body grows, and bytes of a short one.
pub const GROW_BYTES: usize = 64 << 10;
/// Bytes of a body that has room for a full batch of all but the shortest messages.
pub const FULL_BODY_BYTES: usize = 1280 << 10;
/// Entries of a full batch of messages of 300 bytes and more: 128 KiB.
pub const FULL_ENTRIES: usize = 3276;
/// What ends a body after its last event.
const BODY_END: &[u8] = b"]}";

const _: () = assert!(EVENT_OVERHEAD_BYTES < BATCH_BYTES_MAX);
const _: () = assert!(FULL_ENTRIES * (300 + EVENT_OVERHEAD_BYTES) > BATCH_BYTES_MAX);
const _: () = assert!(split::PREFIX_BYTES_MAX + 4 < EVENT_BYTES_MIN);

/// Least setting for the bytes of one message: room for a part's number and some text.
pub const EVENT_BYTES_MIN: usize = 256;

/// One attempt at one object in one lane: whose events they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentId(pub u64);

/// What happens to a message over the event limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Oversize {
    /// It is sent in numbered parts, `[1/3] …`.
    #[default]
    Split,
    /// It is cut at the limit.
    Truncate,
}

/// Bounds of a batch. [`Default`] gives the API's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Events, 1 to [`BATCH_EVENTS_MAX`].
    pub events_max: usize,
    /// Bytes of one message, [`EVENT_BYTES_MIN`] to [`EVENT_BYTES_MAX`].
    pub event_bytes_max: usize,
    /// Bytes of a request body at which the group is sealed; one event alone may be longer.
    pub wire_bytes_max: usize,
    /// What happens to longer messages.
    pub oversize: Oversize,
    /// Whether events out of the API's window are given back by sealing, to be kept elsewhere.
    pub keeps_dropped: bool,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            events_max: BATCH_EVENTS_MAX,
            event_bytes_max: EVENT_BYTES_MAX,
            wire_bytes_max: WIRE_BYTES_MAX,
            oversize: Oversize::Split,
            keeps_dropped: false,
        }
    }
}

/// One event to be packed.
#[derive(Clone, Debug)]
pub struct Event<'w> {
    /// What it says.
    pub message: Message<'w>,
    /// When it happened.
    pub timestamp: UnixMillis,
    /// Its record.
    pub ordinal: Ordinal,
    /// The first part that is still to be packed, when the message is split.
    pub from_part: u32,
    /// Whether the message may take [`ESCAPED_MAX`] times its bytes; see [`Fed::Wide`].
    pub wide: bool,
}

/// What became of an event that was fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fed {
    /// It is in the open group, in so many parts.
    Taken {
        /// Parts that were packed by this call.
        parts: u32,
    },
    /// It does not fit: seal, then feed it again.
    Full,
    /// Some of its parts are in the open group: seal, then feed it again from `next`.
    PartTaken {
        /// Parts that were packed by this call.
        parts: u32,
        /// The first part that was not.
        next: u32,
    },
    /// It is longer in the body than it came, or longer than one event: feed it again as wide, with the memory for that.
    Wide,
    /// A rule drops it.
    Dropped(Dropped),
    /// Its text is not sound; nothing of it was packed.
    Bad(BadEscape),
}

/// One event of a body: where it stands, and where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands in the body, without separators; no body is longer than 4 GiB.
    start: u32,
    end: u32,
    timestamp: UnixMillis,
    ordinal: Ordinal,
    part: u32,
    /// Place of its segment in the table.
    segment: u32,
    /// UTF-8 bytes of its message.
    message_bytes: usize,
}

impl Entry {
    /// Where it stands in the body.
    fn range(&self) -> Range<usize> {
        let at = |offset| usize::try_from(offset).unwrap_or(usize::MAX);
        at(self.start)..at(self.end)
    }

    const fn billed(&self) -> usize {
        self.message_bytes + EVENT_OVERHEAD_BYTES
    }
}

/// Where an event of a batch came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The object and attempt.
    pub segment: SegmentId,
    /// The record.
    pub ordinal: Ordinal,
    /// The part, when it was split.
    pub part: u32,
    /// The event's time.
    pub timestamp: UnixMillis,
}

impl Origin {
    /// Its place in its object's events.
    #[must_use]
    pub const fn position(&self) -> Position {
        Position { ordinal: self.ordinal, part: self.part }
    }
}

/// Fills one log stream's commit groups.
///
/// ```
/// use millrace::core::batch::{BatchLimits, Batcher, Event, Fed, SegmentId, SendWindow};
/// use millrace::core::{object::Ordinal, scan::Message, time::UnixMillis};
///
/// let mut batcher = Batcher::new(BatchLimits::default(), "/acme/logs", "pod-0");
/// batcher.begin_segment(SegmentId(1));
/// let message = Message::Escaped(b"one \\\"quoted\\\" word");
/// let event = Event { message, timestamp: UnixMillis(5), ordinal: Ordinal(0), from_part: 0, wide: false };
/// assert_eq!(batcher.feed(&event), Fed::Taken { parts: 1 });
///
/// let mut sealed = batcher.seal(SendWindow::ALL);
/// let batch = sealed.batches.pop().unwrap();
/// assert_eq!((batch.events(), batch.billed_bytes()), (1, 17 + 26));
/// ```
#[derive(Debug)]
pub struct Batcher {
    limits: BatchLimits,
    level: Level,
    head: Vec<u8>,
    body: Buffer,
    entries: Buffer<Entry>,
    /// How many the last group had: the next one is likely to have about as many.
    usual: usize,
    segments: Vec<SegmentId>,
    billed: usize,
    /// Whether the entries' times ascend so far.
    ascending: bool,
    /// Where the last event goes on: not all of its parts had room.
    cut: Option<Position>,
    /// The record that was split last: what is behind a cut goes on there.
    split: Option<Split>,
    begun: Option<SegmentId>,
}

impl Batcher {
    /// A batcher for `stream` of `group`; both must be names that the API takes.
    #[must_use]
    pub fn new(limits: BatchLimits, group: &str, stream: &str) -> Self {
        let level = Level::best();
        let mut head = b"{\"logGroupName\":\"".to_vec();
        append_escaping(&mut head, group.as_bytes(), level);
        head.extend_from_slice(b"\",\"logStreamName\":\"");
        append_escaping(&mut head, stream.as_bytes(), level);
        head.extend_from_slice(b"\",\"logEvents\":[");
        Self {
            limits,
            level,
            head,
            body: Buffer::default(),
            entries: Buffer::default(),
            usual: 0,
            segments: Vec::new(),
            billed: 0,
            ascending: true,
            cut: None,
            split: None,
            begun: None,
        }
    }

    /// Says whose the events are that are fed from now on.
    pub const fn begin_segment(&mut self, segment: SegmentId) {
        self.begun = Some(segment);
    }

    /// Whether there is no body yet.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.body.capacity() == 0
    }

    /// Whether the body has room for a full batch.
    #[must_use]
    pub fn is_roomy(&self) -> bool {
        self.body.capacity() >= FULL_BODY_BYTES
    }

    /// Whether the next group is likely to have no more than [`FULL_ENTRIES`].
    #[must_use]
    pub const fn is_of_few(&self) -> bool {
        self.usual <= FULL_ENTRIES
    }

    /// Has the next group's body stand in this buffer, and its entries in the other. No event may be open.
    pub fn set_buffers(&mut self, body: Buffer, entries: Buffer<Entry>) {
        debug_assert!(self.is_empty() && body.is_empty() && entries.is_empty());
        (self.body, self.entries) = (body, entries);
    }

    /// Packs one event, or says why not.
    pub fn feed(&mut self, event: &Event<'_>) -> Fed {
        if self.entries.len() >= self.limits.events_max {
            return Fed::Full;
        }
        let goes_on = |split: Split| split.is_of(self.begun.unwrap_or(SegmentId(0)), event.ordinal);
        let is_long = text_bytes_min(&event.message) > self.limits.event_bytes_max;
        if is_long || event.from_part > 0 && self.split.is_some_and(goes_on) {
            if !event.wide {
                return Fed::Wide;
            }
            self.reserve(Self::room(&event.message, true));
            return self.pack_parts(event);
        }
        let room = Self::room(&event.message, event.wide);
        let (mark, start) = self.open_event(event.timestamp, room);
        let (len_max, end) = (self.limits.event_bytes_max, self.body.len() + room);
        let mut writer = Writer { out: self.body.bytes(), len: 0, len_max, end };
        let walked = walk(&event.message, self.level, &mut writer);
        let len = writer.len;
        match walked {
            Ok(ControlFlow::Continue(())) if len > 0 => self.commit(mark, start, event, 0, len),
            ended => {
                self.roll_back(mark);
                match ended {
                    Ok(ControlFlow::Continue(())) => Fed::Dropped(Dropped::EmptyMessage),
                    Ok(ControlFlow::Break(())) if event.wide => self.pack_parts(event),
                    Ok(ControlFlow::Break(())) => Fed::Wide,
                    Err(bad) => Fed::Bad(bad),
                }
            }
        }
    }

    /// Packs parts of an event that is too long for one.
    fn pack_parts(&mut self, event: &Event<'_>) -> Fed {
        let fed = split::pack(self, event);
        if let Fed::PartTaken { next, .. } = fed {
            self.cut = Some(Position { ordinal: event.ordinal, part: next });
        }
        fed
    }

    /// Writes what stands before a message. Gives where to roll back to, and where the event begins.
    fn open_event(&mut self, timestamp: UnixMillis, message_bytes: usize) -> (usize, usize) {
        self.reserve(message_bytes);
        let body = self.body.bytes();
        let mark = body.len();
        if self.entries.is_empty() {
            body.clear();
            body.extend_from_slice(&self.head);
        } else {
            body.push(b',');
        }
        let start = body.len();
        body.extend_from_slice(b"{\"timestamp\":");
        body.extend_from_slice(itoa::Buffer::new().format(timestamp.0).as_bytes());
        body.extend_from_slice(b",\"message\":\"");
        (mark, start)
    }

    /// Makes room for one more message that takes so many bytes.
    fn reserve(&mut self, message_bytes: usize) {
        let more = self.head.len() + message_bytes + FRAME_BYTES_MAX;
        let body = self.body.bytes();
        if body.capacity() - body.len() < more {
            make_room(body, more);
        }
    }

    fn roll_back(&mut self, mark: usize) {
        self.body.bytes().truncate(mark);
    }

    /// Whether the group may have one more message of so many bytes, when its body is so long with it.
    fn fits(&self, message_bytes: usize, body_bytes: usize) -> bool {
        let within_wire = body_bytes + BODY_END.len() <= self.limits.wire_bytes_max;
        self.billed + message_bytes + EVENT_OVERHEAD_BYTES <= BATCH_BYTES_MAX
            && (within_wire || self.entries.is_empty())
    }

    /// Ends the event that stands at the body's end if it fits, and takes it back if it does not.
    fn commit(&mut self, mark: usize, start: usize, event: &Event<'_>, part: u32, message_bytes: usize) -> Fed {
        self.body.bytes().extend_from_slice(b"\"}");
        if !self.fits(message_bytes, self.body.len()) {
            self.roll_back(mark);
            return Fed::Full;
        }
        self.billed += message_bytes + EVENT_OVERHEAD_BYTES;
        self.ascending &= self.entries.last().is_none_or(|last| last.timestamp <= event.timestamp);
        let segment = self.segment();
        if self.entries.capacity() == 0 {
            self.entries.items().reserve(self.usual);
        }
        self.entries.items().push(Entry {
            start: offset(start),
            end: offset(self.body.len()),
            timestamp: event.timestamp,
            ordinal: event.ordinal,
            part,
            segment,
            message_bytes,
        });
        Fed::Taken { parts: 1 }
    }

    /// The place of the begun segment in the table.
    fn segment(&mut self) -> u32 {
        let begun = self.begun.unwrap_or(SegmentId(0));
        if self.segments.last() != Some(&begun) {
            self.segments.push(begun);
        }
        u32::try_from(self.segments.len() - 1).unwrap_or(u32::MAX)
    }

    /// Takes the events of `segment` out of the open group, and says how many they were.
    pub fn abandon_unsealed(&mut self, segment: SegmentId) -> u64 {
        let keep: Vec<Entry> = self.entries.iter().filter(|entry| !self.is_of(entry, segment)).copied().collect();
        let gone = self.entries.len() - keep.len();
        if gone > 0 {
            let (body, entries) = seal::rebuild(&self.head, &self.body, &keep);
            self.billed = entries.iter().map(Entry::billed).sum();
            self.ascending = entries.is_sorted_by_key(|entry| entry.timestamp);
            self.body = body;
            self.entries = entries;
            // What was cut is its segment's last event, and that segment is the last.
            self.cut = None;
        }
        u64::try_from(gone).unwrap_or(u64::MAX)
    }

    fn is_of(&self, entry: &Entry, segment: SegmentId) -> bool {
        usize::try_from(entry.segment).ok().and_then(|at| self.segments.get(at)) == Some(&segment)
    }

    /// Whether no event is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Events that are open.
    #[must_use]
    pub fn events(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of memory that the open group would hold with one more message, written as it came or `wide`.
    #[must_use]
    pub fn memory_with(&self, message: &Message<'_>, wide: bool) -> usize {
        let head = if self.entries.is_empty() { self.head.len() } else { self.body.len() };
        head + Self::room(message, wide) + FRAME_BYTES_MAX + (self.entries.len() + 1) * size_of::<Entry>()
    }

    /// Most bytes of a body that a message may take, or its parts that fit one batch when it is too long for one event.
    fn room(message: &Message<'_>, wide: bool) -> usize {
        let factor = match message {
            _ if wide => ESCAPED_MAX,
            Message::Escaped(_) | Message::Seen(..) | Message::Empty => 1,
            // JSON text has quotes to escape, but no raw control characters or invalid UTF-8 in any number.
            Message::Json(_) | Message::Pieces(_) => 2,
        };
        message_bytes(message).saturating_mul(factor).min(ESCAPED_MAX * EVENT_BYTES_MAX)
    }

    /// Closes the open group but for the events of the segment that was begun last, which stay open. `None`: there are only
    /// such, or none such, or its last event was cut.
    pub fn seal_earlier(&mut self, window: SendWindow) -> Option<Sealed> {
        let begun = self.begun?;
        let at = self.entries.iter().position(|entry| self.is_of(entry, begun)).filter(|at| *at > 0)?;
        if self.cut.is_some() {
            return None;
        }
        let entries = self.entries.items().split_off(at);
        // There are two bodies now, where memory was claimed for one.
        let (rest, mut moved) =
            seal::rebuild_in(|bytes| Vec::with_capacity(bytes).into(), &self.head, &self.body, &entries);
        moved.items().iter_mut().for_each(|entry| entry.segment = 0);
        self.body.cut(self.entries.last().map_or(0, |last| last.range().end), BODY_END.len());
        self.segments.retain(|segment| *segment != begun);
        let sealed = self.seal(window);
        self.billed = moved.iter().map(Entry::billed).sum();
        self.ascending = moved.is_sorted_by_key(|entry| entry.timestamp);
        (self.body, self.entries, self.segments) = (rest, moved, vec![begun]);
        Some(sealed)
    }

    /// Bytes of memory that the open group holds.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.body.len() + self.entries.len() * size_of::<Entry>()
    }

    /// Closes the open group: what `window` takes in is made into batches. The batcher is empty afterwards.
    pub fn seal(&mut self, window: SendWindow) -> Sealed {
        let group = seal::Group {
            head: &self.head,
            body: std::mem::take(&mut self.body),
            entries: std::mem::take(&mut self.entries),
            segments: std::mem::take(&mut self.segments),
            ascending: self.ascending,
            cut: self.cut.take(),
            keeps_dropped: self.limits.keeps_dropped,
        };
        self.usual = (group.entries.len() + group.entries.len() / 4).min(self.limits.events_max);
        self.billed = 0;
        self.ascending = true;
        group.seal(window)
    }
}

/// A place in a body, as entries have it.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Makes room for `more` bytes of a body that has none. What is not written takes no memory, only addresses: one that has
/// outgrown the least gets those of a full one, for to grow step by step is a call of the system each time.
#[cold]
fn make_room(body: &mut Vec<u8>, more: usize) {
    let len = body.len() + more;
    if len > GROW_BYTES && len <= FULL_BODY_BYTES {
        body.reserve_exact(FULL_BODY_BYTES - body.len());
    } else {
        body::reserve(body, more);
    }
}

fn message_bytes(message: &Message<'_>) -> usize {
    match message {
        Message::Escaped(text) | Message::Seen(text, _) | Message::Json(text) => text.len(),
        Message::Pieces(pieces) => pieces.bytes(),
        Message::Empty => 0,
    }
}

/// Bytes of text that a message has at least.
fn text_bytes_min(message: &Message<'_>) -> usize {
    match message {
        // A byte may be written as `\u0041`.
        Message::Escaped(text) | Message::Seen(text, _) => text.len() / 6,
        Message::Json(_) | Message::Pieces(_) | Message::Empty => message_bytes(message),
    }
}

/// Walks a message's text. `Break` when the sink ended it.
fn walk(message: &Message<'_>, level: Level, sink: &mut impl body::Sink) -> Result<ControlFlow<()>, BadEscape> {
    match message {
        Message::Escaped(text) => body::walk_escaped(text, level, sink),
        Message::Seen(text, seen) => body::walk_seen(text, *seen, level, sink),
        Message::Json(text) => Ok(body::walk_raw(text, level, sink)),
        Message::Pieces(pieces) => {
            let (mut pieces, mut block) = (*pieces, [0; PIECE_BLOCK_BYTES]);
            while let Some((_, text)) = pieces.join(&mut block) {
                if body::walk_raw(text, level, sink).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        }
        Message::Empty => Ok(ControlFlow::Continue(())),
    }
}
