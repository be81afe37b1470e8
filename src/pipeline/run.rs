//! An object on its way through a machine: how far it is, what was counted of it, where it may be gone on with.

use std::sync::Arc;

use crate::core::checkpoint::Checkpoint;
use crate::core::decode::{Decoder, Kept, Mark};
use crate::core::event::Timeline;
use crate::core::object::{ObjectFault, Ordinal, Position};
use crate::core::progress::Progress;
use crate::core::scan::{ScanLimits, Scanner};
use crate::core::tally::{Dropped, Tally};
use crate::core::time::UnixMillis;

/// Faults of one object that are described one by one; the rest is only counted.
pub const FAULTS_KEPT_MAX: usize = 8;

/// What became of an object's records on the way to batches.
#[derive(Clone, Debug, Default)]
pub struct ObjectCount {
    /// The sums so far; events in a batch are pending.
    pub tally: Tally,
    /// The first faults.
    pub faults: Vec<ObjectFault>,
    /// Good records.
    pub good: u64,
    /// Decompressed bytes.
    pub bytes: u64,
    /// The earliest and latest event time.
    pub first: Option<UnixMillis>,
    /// See `first`.
    pub last: Option<UnixMillis>,
}

/// An object on its way through the machine.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) decoder: Decoder,
    pub(super) scanner: Scanner,
    pub(super) timeline: Timeline,
    modified: UnixMillis,
    /// What earlier attempts have settled.
    pub(super) settled: Progress,
    /// Where the record goes on that was cut, or is resumed within.
    pub(super) cut: Position,
    /// Stored bytes of the whole object.
    pub(super) stored_bytes: u64,
    /// The first record that is not counted yet: those before it are read again after a pause.
    pub(super) next: Ordinal,
    pub(super) count: ObjectCount,
    /// Stored bytes that were decoded, and what they gave, since the object was last begun.
    pub(super) decoded: u64,
    given: u64,
    /// Decompressed bytes that were counted.
    counted: u64,
    /// Decompressed bytes that are passed over before the first record.
    pub(super) skip: u64,
    pub(super) scanned: bool,
    places: Places,
}

/// Where an object may be gone on with.
#[derive(Debug)]
struct Places {
    /// The last one, and whether it was told of.
    last: Option<Arc<Checkpoint>>,
    told: bool,
    /// A place that the decoder has passed and the scanner has not, with the decompressed bytes before it.
    decoded: Option<(Mark, u64)>,
    /// Decompressed bytes from which on the decoder looks for the next one.
    from: u64,
    /// Those before `decoded`; no scanner gets so far when there is none.
    scan_to: u64,
    every: u64,
}

impl Places {
    /// The decoder has passed a place, with so many decompressed bytes before it.
    fn passed(&mut self, mark: Mark, given: u64) {
        self.from = given + self.every;
        self.scan_to = given;
        self.decoded = Some((mark, given));
    }
}

impl Run {
    /// An object of so many stored bytes, written at `modified`, of which earlier attempts have `settled` some. Its decoder has a window of so many bytes, and a place to go on at is made `every` so many decompressed ones.
    pub(super) fn new(
        scanner: Scanner,
        (stored_bytes, modified): (u64, UnixMillis),
        settled: Progress,
        (window_bytes, every): (u64, u64),
    ) -> Self {
        Self {
            decoder: Decoder::with_window(window_bytes),
            scanner,
            timeline: Timeline::new(modified),
            modified,
            cut: settled.next(),
            settled,
            stored_bytes,
            next: Ordinal(0),
            count: ObjectCount::default(),
            decoded: 0,
            given: 0,
            counted: 0,
            skip: 0,
            scanned: false,
            places: Places { last: None, told: true, decoded: None, from: every, scan_to: u64::MAX, every },
        }
    }

    /// Passes over what comes before a checkpoint: all of it must be settled. [`Self::start_over`] goes there.
    pub(super) fn pass_over(&mut self, checkpoint: Arc<Checkpoint>) {
        debug_assert!(self.decoded == 0 && checkpoint.next() <= self.settled.next().ordinal);
        self.next = checkpoint.next();
        self.count.tally.skip_resumed(self.next.0);
        self.counted = checkpoint.decompressed;
        self.places.last = Some(checkpoint);
    }

    /// Goes back to the last place, or to the beginning. Gives the decompressed bytes before it that the decoder may reach.
    pub(super) fn start_over(&mut self, limits: ScanLimits, window_bytes: u64) -> Kept {
        self.scanned = false;
        let shape = self.scanner.take_shape();
        let kept = if let Some(checkpoint) = &self.places.last {
            (self.decoder, self.decoded) = (Decoder::at(&checkpoint.mark), checkpoint.mark.stored());
            self.scanner = Scanner::at(limits, &checkpoint.place).with_shape(shape);
            self.timeline = Timeline::new(checkpoint.time);
            (self.given, self.skip) = (checkpoint.decompressed, checkpoint.skip());
            Kept::scanned(checkpoint.mark.before().to_vec())
        } else {
            (self.decoder, self.decoded) = (Decoder::with_window(window_bytes), 0);
            self.scanner = Scanner::new(limits).with_shape(shape);
            self.timeline = Timeline::new(self.modified);
            (self.given, self.skip) = (0, 0);
            Kept::default()
        };
        let Places { decoded, from, scan_to, every, .. } = &mut self.places;
        (*decoded, *from, *scan_to) = (None, self.given + *every, u64::MAX);
        kept
    }

    /// Stored bytes that are not decoded yet.
    pub(super) const fn left(&self) -> u64 {
        self.stored_bytes.saturating_sub(self.decoded)
    }

    /// The stored byte of the last place, or the first one.
    pub(super) fn from(&self) -> u64 {
        self.places.last.as_ref().map_or(0, |checkpoint| checkpoint.mark.stored())
    }

    /// The last place, if it was not told of before.
    pub(super) fn take_checkpoint(&mut self) -> Option<Arc<Checkpoint>> {
        if std::mem::replace(&mut self.places.told, true) { None } else { self.places.last.clone() }
    }

    /// Has the decoder look for the next place, when it is time.
    pub(super) fn look_for_place(&mut self) {
        if self.places.decoded.is_none() && self.given >= self.places.from {
            self.decoder.halt();
        }
    }

    /// Takes the place at which the decoder stands, if it is one: the window is filled with so many bytes, some of them new.
    pub(super) fn take_place(&mut self, filled: &[u8], new: usize) {
        if let Some(mark) = self.decoder.mark(filled) {
            self.places.passed(mark, self.given + u64::try_from(new).unwrap_or(u64::MAX));
        }
    }

    /// Counts decompressed bytes, those that were not counted before a pause.
    pub(super) fn give(&mut self, bytes: usize) {
        self.given += u64::try_from(bytes).unwrap_or(u64::MAX);
        let more = self.given.saturating_sub(self.counted);
        self.count.bytes += more;
        self.counted += more;
    }

    /// A record is counted, whatever became of it.
    pub(super) fn passed(&mut self, ordinal: Ordinal) {
        self.next = self.next.max(Ordinal(ordinal.0 + 1));
    }

    /// Makes a checkpoint where the scanner is, if it has come to one of the decoder's places.
    pub(super) fn reached(&mut self) {
        if self.scanner.offset() < self.places.scan_to {
            return;
        }
        let Some(place) = self.scanner.place() else { return };
        let Some((mark, decompressed)) = self.places.decoded.take() else { return };
        let time = self.timeline.last();
        self.places.last = Some(Arc::new(Checkpoint { mark, decompressed, place, time }));
        self.places.told = false;
        self.places.scan_to = u64::MAX;
    }

    pub(super) fn good(&mut self, timestamp: UnixMillis, parts: u64) {
        self.timeline.pass(timestamp);
        let count = &mut self.count;
        count.good += 1;
        count.tally.pend(parts);
        count.first = Some(count.first.map_or(timestamp, |first| first.min(timestamp)));
        count.last = Some(count.last.map_or(timestamp, |last| last.max(timestamp)));
    }

    pub(super) fn bad(&mut self, fault: ObjectFault) {
        if fault.ordinal() < self.next {
            return;
        }
        if self.settled.has_record(fault.ordinal()) {
            self.count.tally.skip_resumed(1);
            return;
        }
        let rule = match fault {
            ObjectFault::BadRecord { .. } => Dropped::BadRecord,
            ObjectFault::OversizeRecord { .. } => Dropped::OversizeRecord,
            ObjectFault::ArrayTail { .. } => Dropped::ArrayTail,
        };
        self.count.tally.drop_by(rule, 1);
        if self.count.faults.len() < FAULTS_KEPT_MAX {
            self.count.faults.push(fault);
        }
    }
}
