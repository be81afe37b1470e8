//! A message over the event limit, in numbered parts.
//!
//! Parts are cut between characters of the text, never inside an escape or a surrogate pair. A first walk over the message
//! counts them, since each part names their number; a second one packs them, straight into the body. So a long message
//! needs no more memory than the parts that a batch has room for; and each batch goes on where the one before has ended, so
//! that a message is walked twice, however many batches it takes.

use std::ops::ControlFlow;

use super::body::{self, Sink};
use super::{BadEscape, Batcher, Event, Fed, Oversize, SegmentId};
use crate::core::object::Ordinal;
use crate::core::scan::{Message, PIECE_BLOCK_BYTES, PiecePlace, Seen};
use crate::core::simd::Level;

/// Bytes of the longest part number, `[4294967295/4294967295] `.
pub(super) const PREFIX_BYTES_MAX: usize = 24;

/// Bytes of the longest character in UTF-8.
const CHARACTER_BYTES_MAX: usize = 4;

/// A place in a message's text as it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    /// The pieces, if it has some.
    piece: PiecePlace,
    /// The byte of them, joined.
    at: usize,
}

/// A record that was split, and how far it is packed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Split {
    segment: SegmentId,
    ordinal: Ordinal,
    count: u32,
    /// A part of it, and where that begins.
    part: u32,
    begins: Place,
}

/// What is done with the parts of a text.
trait Parts {
    /// See [`Sink::COUNTS`].
    const COUNTS: bool;
    /// Some of the part's text, `len` bytes of it, as it is to be written.
    fn put(&mut self, written: &[u8], len: usize) -> ControlFlow<()>;
    /// The part is at its end, and the next one begins there.
    fn next(&mut self, begins: Place) -> ControlFlow<()>;
}

/// Cuts a text into parts of at most `room` bytes.
#[derive(Debug)]
struct Cutter<P> {
    room: usize,
    /// Bytes of the part so far.
    used: usize,
    /// How far the walk has come.
    place: Place,
    parts: P,
}

impl<P: Parts> Cutter<P> {
    const fn new(room: usize, place: Place, parts: P) -> Self {
        Self { room, used: 0, place, parts }
    }

    fn next(&mut self) -> ControlFlow<()> {
        self.used = 0;
        self.parts.next(self.place)
    }

    /// Walks what lies behind the place where it is.
    fn walk(&mut self, message: &Message<'_>, level: Level) -> Result<ControlFlow<()>, BadEscape> {
        let from = self.place.at;
        match message {
            Message::Escaped(text) | Message::Seen(text, _) => {
                body::walk_escaped(text.get(from..).unwrap_or_default(), level, self)
            }
            Message::Json(text) => Ok(body::walk_raw(text.get(from..).unwrap_or_default(), level, self)),
            Message::Pieces(pieces) => {
                let (mut pieces, mut from) = (pieces.from(self.place.piece), from);
                let mut block = [0; PIECE_BLOCK_BYTES];
                loop {
                    let Some((piece, text)) = pieces.join(&mut block) else { return Ok(ControlFlow::Continue(())) };
                    self.place = Place { piece, at: from };
                    let walked = body::walk_raw(text.get(from..).unwrap_or_default(), level, self);
                    if walked.is_break() {
                        return Ok(walked);
                    }
                    from = 0;
                }
            }
            Message::Empty => Ok(ControlFlow::Continue(())),
        }
    }
}

impl<P: Parts> Sink for Cutter<P> {
    const WHOLE: bool = false;
    const COUNTS: bool = P::COUNTS;

    fn has_room(&self, len: usize) -> bool {
        len <= self.room - self.used
    }

    fn run(&mut self, text: &[u8]) -> ControlFlow<()> {
        let mut rest = text;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(whole_characters(rest, self.room - self.used));
            self.parts.put(now, now.len())?;
            self.used += now.len();
            self.place.at += now.len();
            if !later.is_empty() {
                self.next()?;
            }
            rest = later;
        }
        ControlFlow::Continue(())
    }

    fn piece(&mut self, written: &[u8], len: usize, walked: usize) -> ControlFlow<()> {
        if !self.has_room(len) {
            // Else where a part ends would depend on where the walk began.
            debug_assert!(len <= CHARACTER_BYTES_MAX, "one character, or there is room");
            self.next()?;
        }
        self.used += len;
        self.place.at += walked;
        self.parts.put(written, len)
    }
}

/// The most bytes, `most` or fewer, that a text may be cut behind.
fn whole_characters(text: &[u8], most: usize) -> usize {
    if most >= text.len() {
        return text.len();
    }
    let continues = |byte: &u8| byte & 0xc0 == 0x80;
    most - text.iter().take(most + 1).rev().take_while(|byte| continues(byte)).count()
}

/// Counts the parts that are at their end.
#[derive(Debug, Default)]
struct Count(u32);

impl Parts for Count {
    const COUNTS: bool = true;

    fn put(&mut self, _: &[u8], _: usize) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn next(&mut self, _: Place) -> ControlFlow<()> {
        self.0 += 1;
        ControlFlow::Continue(())
    }
}

/// The part that is being written.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// What to roll back to.
    mark: usize,
    /// Where its event begins.
    start: usize,
    /// UTF-8 bytes of its message so far, the number included.
    len: usize,
}

/// Packs the parts from the event's `from_part` on.
#[derive(Debug)]
struct Pack<'b, 'e> {
    batcher: &'b mut Batcher,
    event: &'b Event<'e>,
    count: u32,
    /// The part that the walk is in, and where it begins.
    part: u32,
    begins: Place,
    /// None: the part is not to be packed.
    open: Option<Open>,
}

impl Pack<'_, '_> {
    /// Begins the part, if it is one to be packed. `Break` when there is no room for one more event.
    fn begin(&mut self) -> ControlFlow<()> {
        if self.part < self.event.from_part {
            return ControlFlow::Continue(());
        }
        if self.batcher.entries.len() >= self.batcher.limits.events_max {
            return ControlFlow::Break(());
        }
        let (mark, start) = self.batcher.open_event(self.event.timestamp, 0);
        self.open = Some(Open { mark, start, len: 0 });
        match self.batcher.limits.oversize {
            Oversize::Truncate => ControlFlow::Continue(()),
            Oversize::Split => {
                let prefix = format!("[{}/{}] ", self.part + 1, self.count);
                self.put(prefix.as_bytes(), prefix.len())
            }
        }
    }

    /// Ends the part. `Break` when it does not fit, or was the last one.
    fn end(&mut self) -> ControlFlow<()> {
        if let Some(Open { mark, start, len }) = self.open.take()
            && self.batcher.commit(mark, start, self.event, self.part, len) == Fed::Full
        {
            return ControlFlow::Break(());
        }
        self.part += 1;
        if self.part < self.count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

impl Parts for Pack<'_, '_> {
    const COUNTS: bool = false;

    /// `Break` as soon as the part is known not to fit, so that the body holds no more than it may.
    fn put(&mut self, written: &[u8], len: usize) -> ControlFlow<()> {
        let Some(open) = &mut self.open else { return ControlFlow::Continue(()) };
        open.len += len;
        if !self.batcher.fits(open.len, self.batcher.body.len() + written.len()) {
            self.batcher.roll_back(open.mark);
            return ControlFlow::Break(());
        }
        body::append(self.batcher.body.bytes(), written);
        ControlFlow::Continue(())
    }

    fn next(&mut self, begins: Place) -> ControlFlow<()> {
        self.end()?;
        self.begins = begins;
        self.begin()
    }
}

impl Split {
    /// Whether it is of a record.
    pub(super) fn is_of(&self, segment: SegmentId, ordinal: Ordinal) -> bool {
        (self.segment, self.ordinal) == (segment, ordinal)
    }
}

/// The parts that a message makes.
fn count(message: &Message<'_>, room: usize, level: Level) -> Result<u32, BadEscape> {
    if let Message::Seen(text, Seen { escapes, high: false }) = message {
        // Each character is a byte of text, so that each part but the last is full.
        return Ok(u32::try_from((text.len() - escapes).div_ceil(room)).unwrap_or(u32::MAX));
    }
    let mut counter = Cutter::new(room, Place::default(), Count::default());
    let _all = counter.walk(message, level)?;
    Ok(counter.parts.0 + 1)
}

/// Packs as many parts of a long message as there is room for.
pub(super) fn pack(batcher: &mut Batcher, event: &Event<'_>) -> Fed {
    let (room, cut) = match batcher.limits.oversize {
        Oversize::Truncate => (batcher.limits.event_bytes_max, true),
        Oversize::Split => (batcher.limits.event_bytes_max - PREFIX_BYTES_MAX, false),
    };
    let segment = batcher.begun.unwrap_or(SegmentId(0));
    let level = batcher.level;
    // It goes on, and was sound up to its end when its first part was packed.
    let goes_on = batcher.split.filter(|split| split.is_of(segment, event.ordinal) && event.from_part > 0);
    let count = match goes_on {
        Some(split) => split.count,
        None => match count(&event.message, room, level) {
            Ok(_) if cut => 1,
            Ok(count) => count,
            Err(bad) => return Fed::Bad(bad),
        },
    };
    let (part, begins) = goes_on
        .filter(|split| split.part <= event.from_part && split.part < split.count)
        .map(|split| (split.part, split.begins))
        .unwrap_or_default();
    let pack = Pack { batcher, event, count, part, begins, open: None };
    let mut packer = Cutter::new(room, begins, pack);
    if packer.parts.begin().is_continue() {
        let walked = packer.walk(&event.message, level);
        debug_assert!(walked.is_ok());
        if walked == Ok(ControlFlow::Continue(())) {
            debug_assert_eq!(packer.parts.part + 1, count, "as many parts as were counted");
            let _last = packer.parts.end();
        }
    }
    let Pack { part, begins, .. } = packer.parts;
    batcher.split = Some(Split { segment, ordinal: event.ordinal, count, part, begins });
    match part.saturating_sub(event.from_part) {
        parts if part >= count => Fed::Taken { parts },
        0 => Fed::Full,
        parts => Fed::PartTaken { parts, next: part },
    }
}
