//! A message over the event limit, in numbered parts.
//!
//! Parts are cut between characters of the text, never inside an escape or a surrogate pair. A first walk over the message
//! counts them, since each part names their number; a second one packs them, straight into the body. So a long message
//! needs no more memory than the parts that a batch has room for.

use std::ops::ControlFlow;

use super::body::{self, Sink};
use super::{Batcher, Event, Fed, Oversize, SegmentId};

/// Bytes of the longest part number, `[4294967295/4294967295] `.
pub(super) const PREFIX_BYTES_MAX: usize = 24;

/// What is done with the parts of a text.
pub(super) trait Parts {
    /// Some of the part's text, `len` bytes of it, as it is to be written.
    fn put(&mut self, written: &[u8], len: usize) -> ControlFlow<()>;
    /// The part is at its end, and the next one begins.
    fn next(&mut self) -> ControlFlow<()>;
}

/// Cuts a text into parts of at most `room` bytes.
#[derive(Debug)]
pub(super) struct Cutter<P> {
    room: usize,
    /// Bytes of the part so far.
    used: usize,
    parts: P,
}

impl<P: Parts> Cutter<P> {
    const fn new(room: usize, parts: P) -> Self {
        Self { room, used: 0, parts }
    }

    fn next(&mut self) -> ControlFlow<()> {
        self.used = 0;
        self.parts.next()
    }
}

impl<P: Parts> Sink for Cutter<P> {
    const WHOLE: bool = false;

    fn run(&mut self, written: &[u8], _: usize) -> ControlFlow<()> {
        let mut rest = written;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(whole_characters(rest, self.room - self.used));
            self.parts.put(now, now.len())?;
            self.used += now.len();
            if !later.is_empty() {
                self.next()?;
            }
            rest = later;
        }
        ControlFlow::Continue(())
    }

    fn character(&mut self, written: &[u8], len: usize) -> ControlFlow<()> {
        if self.used + len > self.room {
            self.next()?;
        }
        self.used += len;
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
    fn put(&mut self, _: &[u8], _: usize) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn next(&mut self) -> ControlFlow<()> {
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
    /// The part that the walk is in.
    part: u32,
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

    fn next(&mut self) -> ControlFlow<()> {
        self.end()?;
        self.begin()
    }
}

/// Packs as many parts of a long message as there is room for.
pub(super) fn pack(batcher: &mut Batcher, event: &Event<'_>) -> Fed {
    let (room, cut) = match batcher.limits.oversize {
        Oversize::Truncate => (batcher.limits.event_bytes_max, true),
        Oversize::Split => (batcher.limits.event_bytes_max - PREFIX_BYTES_MAX, false),
    };
    let segment = batcher.begun.unwrap_or(SegmentId(0));
    let count = match batcher.split {
        // It goes on, and was sound up to its end when its first part was packed.
        Some((of, ordinal, count)) if (of, ordinal) == (segment, event.ordinal) && event.from_part > 0 => count,
        Some(_) | None => {
            let mut counter = Cutter::new(room, Count::default());
            if let Err(bad) = super::walk(&event.message, batcher.level, &mut counter) {
                return Fed::Bad(bad);
            }
            if cut { 1 } else { counter.parts.0 + 1 }
        }
    };
    batcher.split = Some((segment, event.ordinal, count));
    let level = batcher.level;
    let pack = Pack { batcher, event, count, part: 0, open: None };
    let mut packer = Cutter::new(room, pack);
    if packer.parts.begin().is_continue() {
        let walked = super::walk(&event.message, level, &mut packer);
        debug_assert!(walked.is_ok());
        if walked == Ok(ControlFlow::Continue(())) {
            let _last = packer.parts.end();
        }
    }
    let part = packer.parts.part;
    match part.saturating_sub(event.from_part) {
        parts if part >= count => Fed::Taken { parts },
        0 => Fed::Full,
        parts => Fed::PartTaken { parts, next: part },
    }
}
