//! The machine of a lane: chunk → window → record → batch.
//!
//! It holds all that lasts between its turns, and waits for nothing: a turn ends when something is missing, and says what
//! ([`Rest`]). Memory is claimed by `try_` alone; who runs it sees to the waiting.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::budget::{BODY_BYTES, GROWTH_STEP_BYTES, LaneBudget, Permit, WINDOW_BYTES};
use super::run::{ObjectCount, Run};
use crate::core::batch::{Batch, Batcher, Event, Fed, Packer, Sealed, SegmentId, SendWindow};
use crate::core::checkpoint::{Checkpoint, Spacing};
use crate::core::decode::{DecodeFault, Kept, SmallDecoder, Window, members};
use crate::core::object::{ObjectFault, Position};
use crate::core::progress::Progress;
use crate::core::scan::{Record, ScanLimits, Scanner, Shape, Step};
use crate::core::shelf::{Buffer, Shelf};
use crate::core::time::UnixMillis;

/// Windows that a machine may fill in one turn before another lane gets the thread.
const WINDOWS_PER_TURN: usize = 32;
/// Windows that it may fill in a turn that is run where the lane is.
const WINDOWS_PER_LIGHT_TURN: usize = 2;
/// Stored bytes of an object whose first turn is light, and as a rule its only one.
const LIGHT_STORED_MAX: u64 = 8 * 1024;
/// Stored bytes of an object that are likely to fill a batch, or half of one.
const LONG_STORED_MIN: u64 = 128 * 1024;
/// Stored bytes of an object that are read and decoded again after a pause, at most. An object is paused once a second at
/// most, and decodes to ten times as much in about a tenth of that.
const READ_AGAIN_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Window of a zstd frame for which nothing more is claimed than any object has.
const WINDOW_FREE_BYTES: u64 = 128 * 1024;
/// Stored bytes of the largest object that is taken to fit one batch: what is longer when compressed than a batch may be
/// does not.
const ONE_BATCH_STORED_MAX: u64 = 1024 * 1024;

/// Why a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// All input is used: give the next chunk, or say that there is none.
    Input,
    /// A batch was sealed: take it, and come again when there is a place for the next. Another one may be open already.
    Sealed,
    /// The next event needs so many bytes of growth, and the open batch is empty.
    Growth(u64),
    /// The unfinished record is longer than a window; it needs a carry of its own.
    Carry,
    /// The unfinished record is longer than a carry; it needs the permit for big records.
    BigRecord,
    /// The turn is over, nothing is missing.
    Turn,
    /// The object's bytes are used up and checked, or damaged.
    ObjectEnd(Result<(), DecodeFault>),
}

/// Bytes of an object, in their order.
#[derive(Debug)]
pub enum Piece {
    /// As they are stored.
    Stored(Bytes),
    /// Those that were decoded before their turn.
    Early(Early),
}

/// What was decoded before its turn: whole members, if it comes to that.
#[derive(Debug)]
pub struct Early {
    stored: Bytes,
    text: Buffer,
    given: usize,
    _memory: Permit,
}

impl Early {
    /// What these stored bytes hold, and the memory that it takes.
    #[must_use]
    pub const fn new(stored: Bytes, text: Buffer, memory: Permit) -> Self {
        Self { stored, text, given: 0, _memory: memory }
    }

    /// Gives as much of the text as there is room for. How much that is.
    fn give(&mut self, room: &mut [u8]) -> usize {
        let rest = self.text.get(self.given..).unwrap_or_default();
        let len = rest.len().min(room.len());
        if let (Some(room), Some(rest)) = (room.get_mut(..len), rest.get(..len)) {
            room.copy_from_slice(rest);
        }
        self.given += len;
        len
    }

    /// Its stored bytes, when all of the text was given.
    fn done(&self) -> Option<u64> {
        (self.given == self.text.len()).then(|| u64::try_from(self.stored.len()).unwrap_or(u64::MAX))
    }
}

/// A sealed group with the memory that its bodies hold.
#[derive(Debug)]
pub struct Group {
    /// The batches, in the order in which they must be sent, and what was dropped at sealing.
    pub sealed: Sealed,
    /// The memory of all bodies.
    pub growth: Permit,
}

/// All that a lane's work holds between turns.
#[derive(Debug)]
pub struct Machine {
    batcher: Batcher,
    run: Option<Run>,
    input: VecDeque<Piece>,
    input_ended: bool,
    /// Decompressed bytes that are not scanned yet, and those that the decoder may still reach.
    carry: Kept,
    growth: Permit,
    long_record: Permit,
    carry_limit: usize,
    record_bytes_max: usize,
    /// Bytes of a zstd frame's window that the object's memory is enough for.
    window_bytes: u64,
    /// Decompressed bytes from one checkpoint to the next.
    checkpoint_bytes: u64,
    /// What the records of the last object looked like: those of the next look alike.
    shape: Shape,
    sealed: Option<Group>,
}

impl Machine {
    /// A machine that fills batches by `batcher`.
    #[must_use]
    pub fn new(batcher: Batcher, record_bytes_max: usize) -> Self {
        Self {
            batcher,
            run: None,
            input: VecDeque::new(),
            input_ended: false,
            carry: Kept::default(),
            growth: Permit::default(),
            long_record: Permit::default(),
            carry_limit: WINDOW_BYTES,
            record_bytes_max,
            window_bytes: WINDOW_FREE_BYTES,
            checkpoint_bytes: Spacing::default().made,
            shape: Shape::default(),
            sealed: None,
        }
    }

    /// The same with another distance between checkpoints, decompressed bytes.
    #[must_use]
    pub const fn with_checkpoints(mut self, every: u64) -> Self {
        self.checkpoint_bytes = every;
        self
    }

    /// Begins an object of so many stored bytes, of which earlier attempts have `settled` some; events without a time of
    /// their own before the first that has one get `modified`.
    pub fn begin(&mut self, segment: SegmentId, stored_bytes: u64, modified: UnixMillis, settled: Progress) {
        debug_assert!(self.run.is_none() && self.carry.is_empty());
        self.batcher.begin_segment(segment);
        self.input_ended = false;
        self.window_bytes = WINDOW_FREE_BYTES;
        let (scanner, every) = (self.scanner(), self.checkpoint_bytes);
        self.run = Some(Run::new(scanner, (stored_bytes, modified), settled, (self.window_bytes, every)));
    }

    /// Has the object that has begun gone on with at a checkpoint: all before it must be settled, and none of its bytes given.
    pub fn resume(&mut self, checkpoint: Arc<Checkpoint>) {
        let Some(run) = &mut self.run else { return };
        run.pass_over(checkpoint);
        self.start_over();
    }

    /// The stored byte from which on the object that has begun must be given: after a pause, too.
    #[must_use]
    pub fn from(&self) -> u64 {
        self.run.as_ref().map_or(0, Run::from)
    }

    /// The last place at which the object that has begun may be gone on with, if it was not given before.
    pub fn take_checkpoint(&mut self) -> Option<Arc<Checkpoint>> {
        self.run.as_mut()?.take_checkpoint()
    }

    /// Lets go of all that the object holds, if little enough of it was decoded to be decoded again: it must then be given
    /// anew, from [`Self::from`] on. Nothing of it is lost or counted twice. `false`: too much was decoded; nothing has
    /// changed.
    pub fn pause(&mut self) -> bool {
        let from = self.from();
        let few = self.run.as_ref().is_some_and(|run| run.decoded - from <= READ_AGAIN_BYTES_MAX);
        if few {
            self.start_over();
        }
        few
    }

    /// Says that there is memory for a zstd frame's window of so many bytes ([`DecodeFault::Window`]). All else is let go
    /// of as by [`Self::pause`].
    pub fn widen(&mut self, window_bytes: u64) {
        debug_assert!(window_bytes > self.window_bytes);
        self.window_bytes = window_bytes;
        self.start_over();
    }

    fn start_over(&mut self) {
        self.input_ended = false;
        self.let_go();
        let limits = self.limits();
        if let Some(run) = &mut self.run {
            self.carry = run.start_over(limits, self.window_bytes);
        }
    }

    const fn limits(&self) -> ScanLimits {
        ScanLimits { record_bytes_max: self.record_bytes_max }
    }

    fn scanner(&mut self) -> Scanner {
        let shape = std::mem::take(&mut self.shape);
        Scanner::new(self.limits()).with_shape(shape)
    }

    /// Drops the bytes of the object, and what is held for them.
    fn let_go(&mut self) {
        self.input.clear();
        self.carry = Kept::default();
        self.long_record = Permit::default();
        self.carry_limit = WINDOW_BYTES;
    }

    /// Gives stored bytes of the object that has begun.
    pub fn push(&mut self, chunk: Bytes) {
        self.push_piece(Piece::Stored(chunk));
    }

    /// Gives bytes of the object that has begun.
    pub fn push_piece(&mut self, piece: Piece) {
        self.input.push_back(piece);
    }

    /// Says that the object has no more bytes.
    pub const fn end_of_input(&mut self) {
        self.input_ended = true;
    }

    /// Gives memory that [`Rest::Growth`] asked for.
    pub fn grow(&mut self, permit: Permit) {
        self.growth.merge(permit);
    }

    /// Gives memory that [`Rest::Carry`] or [`Rest::BigRecord`] asked for.
    pub fn lengthen(&mut self, permit: Permit, carry_limit: usize) {
        self.long_record.merge(permit);
        self.carry_limit = self.carry_limit.max(carry_limit);
    }

    /// The sealed group of the last turn, if there was one.
    pub const fn take_sealed(&mut self) -> Option<Group> {
        self.sealed.take()
    }

    /// What was counted since the last call.
    pub fn take_count(&mut self) -> ObjectCount {
        self.run.as_mut().map(|run| std::mem::take(&mut run.count)).unwrap_or_default()
    }

    /// Ends the object that has begun, whole or not. Its events in the open batch stay.
    pub fn finish(&mut self) {
        self.let_go();
        self.shape = self.run.take().map(|mut run| run.scanner.take_shape()).unwrap_or_default();
    }

    /// Removes the events of `segment` that are not sealed yet, and says how many they were.
    pub fn abandon(&mut self, segment: SegmentId) -> u64 {
        let events = self.batcher.abandon_unsealed(segment);
        if self.batcher.is_empty() {
            self.shrink();
        }
        events
    }

    /// Bytes of memory that are claimed for the open batch; sealing gives them on, or back when it is empty.
    #[must_use]
    pub fn open_bytes(&self) -> u64 {
        self.growth.bytes()
    }

    /// Bytes of memory that the open batch takes.
    #[must_use]
    pub fn filled_bytes(&self) -> u64 {
        u64::try_from(self.batcher.memory()).unwrap_or(u64::MAX)
    }

    /// Seals the open batch, if there is one. The previous group must have been taken.
    pub fn seal(&mut self, window: SendWindow) {
        debug_assert!(self.sealed.is_none());
        if self.batcher.is_empty() {
            self.shrink();
            return;
        }
        let sealed = self.batcher.seal(window);
        self.sealed = Some(Group { sealed, growth: std::mem::take(&mut self.growth) });
    }

    /// Seals the open batch because it has no room. Of an object that may fit one batch nothing is sent before its checksum:
    /// if others are in the batch too, they go without it.
    fn make_room(&mut self, run: &Run, window: SendWindow) {
        debug_assert!(self.sealed.is_none());
        let earlier = if run.stored_bytes <= ONE_BATCH_STORED_MAX { self.batcher.seal_earlier(window) } else { None };
        match earlier {
            Some(sealed) => {
                let kept = u64::try_from(self.batcher.memory()).unwrap_or(u64::MAX);
                let kept = self.growth.split(kept.next_multiple_of(GROWTH_STEP_BYTES));
                let growth = std::mem::replace(&mut self.growth, kept);
                self.sealed = Some(Group { sealed, growth });
            }
            None => self.seal(window),
        }
    }

    /// Whether the next turn is so short that to pass the machine to a thread and back would cost more: all of a small object
    /// is here, and nothing of it is decoded.
    #[must_use]
    pub fn is_light(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.stored_bytes <= LIGHT_STORED_MAX && self.whole(run).is_some())
    }

    /// Works until something is missing, or so many windows are filled. The thread's window is empty between turns.
    fn work(&mut self, worker: &mut Worker, budget: &LaneBudget, send_window: SendWindow, windows: usize) -> Rest {
        let Some(mut run) = self.run.take() else { return Rest::Input };
        let Worker { window, small, .. } = worker;
        window.take_up(&mut self.carry);
        let rest = self.fill_and_scan(&mut run, (window, small), budget, (send_window, windows));
        let kept = window.unscanned();
        window.keep(run.decoder.reaches(), &mut self.carry, budget.windows());
        if kept <= WINDOW_BYTES && self.long_record.bytes() > 0 && rest != Rest::Carry && rest != Rest::BigRecord {
            self.long_record = Permit::default();
            self.carry_limit = WINDOW_BYTES;
        }
        self.run = Some(run);
        rest
    }

    fn fill_and_scan(
        &mut self,
        run: &mut Run,
        (window, small): (&mut Window, &mut SmallDecoder),
        budget: &LaneBudget,
        (send_window, windows): (SendWindow, usize),
    ) -> Rest {
        let mut left = windows;
        loop {
            // What is in the window first: an earlier turn may have stopped before its end.
            if let Some(rest) = self.scan(run, window, run.scanned, budget, send_window) {
                return rest;
            }
            if run.scanned {
                return Rest::ObjectEnd(Ok(()));
            }
            // Between turns nothing is kept but the beginning of a record, and what may be reached.
            if left == 0 {
                return Rest::Turn;
            }
            left -= 1;
            if window.unscanned() >= self.carry_limit {
                return if self.carry_limit <= WINDOW_BYTES { Rest::Carry } else { Rest::BigRecord };
            }
            match self.decode(run, window, small) {
                Ok(Filled::More) => {}
                Ok(Filled::Starved) => return Rest::Input,
                Ok(Filled::Ended) => run.scanned = true,
                Err(fault) => return Rest::ObjectEnd(Err(fault)),
            }
        }
    }

    /// Decodes behind what the window holds, up to one step more.
    fn decode(&mut self, run: &mut Run, window: &mut Window, small: &mut SmallDecoder) -> Result<Filled, DecodeFault> {
        let (buffer, start) = window.room(run.decoder.reaches(), self.carry_limit + WINDOW_BYTES);
        let mut filled = start;
        if start == 0
            && let Some(made) = self.whole(run).and_then(|stored| small.decode(stored, buffer))
        {
            self.input.clear();
            run.decoded = run.stored_bytes;
            filled = made;
        }
        run.look_for_place();
        let outcome = loop {
            if filled == buffer.len() {
                break Ok(Filled::More);
            }
            let input = match self.input.front_mut() {
                Some(Piece::Early(early)) if early.given > 0 || run.decoder.at_border() => {
                    filled += early.give(buffer.get_mut(filled..).unwrap_or_default());
                    if let Some(stored) = early.done() {
                        run.decoder.pass(stored);
                        run.decoded += stored;
                        self.input.pop_front();
                    }
                    continue;
                }
                // No member begins here after all.
                Some(Piece::Early(early)) => {
                    let stored = std::mem::take(&mut early.stored);
                    if let Some(front) = self.input.front_mut() {
                        *front = Piece::Stored(stored);
                    }
                    continue;
                }
                Some(Piece::Stored(bytes)) => &**bytes,
                None => &[],
            };
            if input.is_empty() && !run.decoder.pending() {
                self.input.pop_front();
                if !self.input.is_empty() {
                    continue;
                }
                break match (self.input_ended, filled > start) {
                    (_, true) => Ok(Filled::More),
                    (false, false) => Ok(Filled::Starved),
                    (true, false) => run.decoder.finish().map(|()| Filled::Ended),
                };
            }
            match run.decoder.decode(input, buffer, filled) {
                Ok(progress) => {
                    filled += progress.produced;
                    run.decoded += u64::try_from(progress.consumed).unwrap_or(u64::MAX);
                    if let Some(Piece::Stored(front)) = self.input.front_mut() {
                        bytes::Buf::advance(front, progress.consumed);
                    }
                    run.take_place(buffer.get(..filled).unwrap_or_default(), filled - start);
                }
                Err(fault) => break Err(fault),
            }
        };
        window.fill(filled - start);
        let skipped = usize::try_from(run.skip).unwrap_or(usize::MAX).min(window.unscanned());
        if skipped > 0 {
            run.skip -= u64::try_from(skipped).unwrap_or(0);
            window.scanned_to(window.at() + skipped);
        }
        run.give(filled - start);
        outcome
    }

    /// All stored bytes of the object that has begun, if they are here and none is decoded yet.
    fn whole(&self, run: &Run) -> Option<&Bytes> {
        let [Piece::Stored(stored), ..] = self.input.as_slices().0 else { return None };
        (run.decoded == 0 && u64::try_from(stored.len()) == Ok(run.stored_bytes)).then_some(stored)
    }

    /// Scans the window from `at`. `None` when it needs more bytes (or, after the last ones, when nothing is left).
    fn scan(
        &mut self,
        run: &mut Run,
        window: &mut Window,
        last: bool,
        budget: &LaneBudget,
        send_window: SendWindow,
    ) -> Option<Rest> {
        loop {
            let (step, next) = run.scanner.next(window.filled(), window.at(), last);
            match step {
                Step::NeedMore | Step::End => {
                    window.scanned_to(next);
                    return self.sealed.as_ref().map(|_| Rest::Sealed);
                }
                Step::Bad(fault) => {
                    window.scanned_to(next);
                    let ordinal = fault.ordinal();
                    run.bad(fault);
                    run.passed(ordinal);
                    run.reached();
                }
                Step::Record(record) => match self.take(run, &record, budget, send_window) {
                    Taken::Whole => {
                        run.passed(record.ordinal);
                        run.reached();
                        window.scanned_to(next);
                    }
                    Taken::Stop(rest) => {
                        let from = next - record.text.len();
                        run.scanner.take_back(&record);
                        window.scanned_to(from);
                        return Some(rest);
                    }
                },
            }
        }
    }

    /// Puts one record's event into the open batch, sealing what stands in its way.
    fn take(&mut self, run: &mut Run, record: &Record<'_>, budget: &LaneBudget, send_window: SendWindow) -> Taken {
        if record.ordinal < run.next {
            run.timeline.resolve(record.timestamp);
            return Taken::Whole;
        }
        if run.settled.has_record(record.ordinal) {
            // The time is still learnt, so that a record without one gets the same as at the first attempt.
            run.timeline.resolve(record.timestamp);
            run.count.tally.skip_resumed(1);
            return Taken::Whole;
        }
        let part = if record.ordinal == run.cut.ordinal { run.cut.part } else { 0 };
        let mut event = Event {
            message: record.message,
            timestamp: run.timeline.peek(record.timestamp),
            ordinal: record.ordinal,
            from_part: part,
            wide: false,
        };
        let fed = loop {
            if let Some(rest) = self.claim(run, &event, budget, send_window) {
                return Taken::Stop(rest);
            }
            let fed = self.batcher.feed(&event);
            if fed == Fed::Wide && !event.wide {
                event.wide = true;
            } else if fed == Fed::Full && self.sealed.is_none() && !self.batcher.is_empty() {
                // The rest of the window goes into the next batch, if there is memory for it.
                self.make_room(run, send_window);
            } else {
                break fed;
            }
        };
        match fed {
            Fed::Taken { parts } => {
                run.good(event.timestamp, u64::from(parts));
                Taken::Whole
            }
            // A wide event is as wide as it gets.
            Fed::Full | Fed::Wide => Taken::Stop(Rest::Sealed),
            Fed::PartTaken { next, parts } => {
                run.count.tally.pend(u64::from(parts));
                run.cut = Position { ordinal: record.ordinal, part: next };
                if self.sealed.is_none() {
                    self.seal(send_window);
                }
                Taken::Stop(Rest::Sealed)
            }
            Fed::Dropped(rule) => {
                run.timeline.resolve(record.timestamp);
                run.count.good += 1;
                run.count.tally.drop_by(rule, 1);
                Taken::Whole
            }
            Fed::Bad(_) => {
                // Its time counts, for a record that is only read over is not looked at as closely.
                run.timeline.resolve(record.timestamp);
                run.bad(ObjectFault::BadRecord { ordinal: record.ordinal, offset: record.offset });
                Taken::Whole
            }
        }
    }

    /// Lets go of what an empty batch holds.
    fn shrink(&mut self) {
        self.growth = Permit::default();
        self.batcher.set_buffers(Buffer::default(), Buffer::default());
    }

    /// Takes a body that has room for a full batch, for an object that is likely to fill one. `Some` when it must wait for that:
    /// its tenant has others, which will be sent. One that has none begins small if it must.
    fn claim_body(&mut self, budget: &LaneBudget) -> Option<Rest> {
        let held = self.growth.bytes();
        if held < BODY_BYTES {
            match budget.try_grow(BODY_BYTES - held) {
                Some(permit) => self.growth.merge(permit),
                None if self.sealed.is_some() => return Some(Rest::Sealed),
                None if budget.has_grown() => {
                    self.shrink();
                    return Some(Rest::Growth(BODY_BYTES));
                }
                None => return None,
            }
        }
        let entries = if self.batcher.is_of_few() { budget.entries() } else { Buffer::default() };
        self.batcher.set_buffers(budget.body(), entries);
        None
    }

    /// Sees to it that the open batch may grow by an event. `Some` when it must stop for that.
    fn claim(&mut self, run: &Run, event: &Event<'_>, budget: &LaneBudget, send_window: SendWindow) -> Option<Rest> {
        if self.batcher.is_empty()
            && !self.batcher.is_roomy()
            && run.left() >= LONG_STORED_MIN
            && let Some(rest) = self.claim_body(budget)
        {
            return Some(rest);
        }
        let need = u64::try_from(self.batcher.memory_with(&event.message, event.wide)).unwrap_or(u64::MAX);
        let held = self.growth.bytes();
        if need > held
            && let Some(rest) = self.claim_growth(run, need, budget, send_window)
        {
            return Some(rest);
        }
        if self.batcher.is_bare() && need <= GROWTH_STEP_BYTES {
            self.batcher.set_buffers(budget.short_body(), Buffer::default());
        }
        None
    }

    /// Claims memory for a batch that is to hold so many bytes. `Some` when it must stop for that.
    fn claim_growth(&mut self, run: &Run, need: u64, budget: &LaneBudget, send_window: SendWindow) -> Option<Rest> {
        let more = (need - self.growth.bytes()).next_multiple_of(GROWTH_STEP_BYTES);
        if let Some(permit) = budget.try_grow(more) {
            self.growth.merge(permit);
            return None;
        }
        if self.sealed.is_some() {
            return Some(Rest::Sealed);
        }
        if self.batcher.is_empty() {
            self.shrink();
            return Some(Rest::Growth(need.next_multiple_of(GROWTH_STEP_BYTES)));
        }
        self.make_room(run, send_window);
        Some(Rest::Sealed)
    }
}

enum Filled {
    More,
    Starved,
    Ended,
}

enum Taken {
    Whole,
    Stop(Rest),
}

/// A compute thread's own tools, which all machines that it runs share.
#[derive(Debug)]
pub struct Worker {
    window: Window,
    small: SmallDecoder,
    packer: Packer,
}

impl Default for Worker {
    fn default() -> Self {
        Self::new()
    }
}

impl Worker {
    /// The tools of one thread.
    #[must_use]
    pub fn new() -> Self {
        Self { window: Window::new(WINDOW_BYTES), small: SmallDecoder::new(), packer: Packer::default() }
    }

    /// Runs a machine until it rests. This and [`Self::finish`] is all that a compute thread does, and what benches measure.
    pub fn turn(&mut self, machine: &mut Machine, budget: &LaneBudget, send_window: SendWindow) -> Rest {
        machine.work(self, budget, send_window, WINDOWS_PER_TURN)
    }

    /// The same, and not for long, of a machine that [is light](Machine::is_light).
    pub fn light_turn(&mut self, machine: &mut Machine, budget: &LaneBudget, send_window: SendWindow) -> Rest {
        machine.work(self, budget, send_window, WINDOWS_PER_LIGHT_TURN)
    }

    /// Decodes stored bytes that may be whole members, into a buffer from the shelf if it is long enough, for which there is memory.
    /// What are none stay as they are.
    pub fn decode(stored: Bytes, bytes: usize, shelf: &Arc<Shelf>, memory: Permit) -> Piece {
        // Room for one byte more.
        let mut text = if bytes < shelf.room() { shelf.take() } else { Vec::with_capacity(bytes + 1).into() };
        if members::decode(&stored, bytes, text.bytes()) {
            Piece::Early(Early::new(stored, text, memory))
        } else {
            Piece::Stored(stored)
        }
    }

    /// Finishes batches: packs them, if that is wanted, and hashes them.
    pub fn finish(&mut self, batches: &mut [Batch], packs: bool) {
        for batch in batches {
            batch.finish(if packs { Some(&mut self.packer) } else { None });
        }
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "hostile_tests.rs"]
mod hostile;
