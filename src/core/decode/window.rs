//! Decompressed bytes in one buffer: those that a decoder may reach back to, those that are not scanned yet, and room.

use std::sync::Arc;

use super::inflate::WINDOW_BYTES as REACH_MAX;
use crate::core::shelf::{Buffer, Shelf};

/// Steps that have room behind what may be reached, which is moved to the front after as many.
const STEPS: usize = 4;

/// A buffer that is used for one object after the other, and by turns.
#[derive(Debug)]
pub struct Window {
    bytes: Vec<u8>,
    /// Where the bytes begin that are not scanned yet, and where they end.
    at: usize,
    filled: usize,
    /// Bytes that are decoded at a time.
    step: usize,
}

/// What of a window is kept while others use the buffer.
#[derive(Debug, Default)]
pub struct Kept {
    bytes: Buffer,
    at: usize,
}

impl Kept {
    /// Bytes that came before, are scanned, and may be reached.
    #[must_use]
    pub fn scanned(bytes: Vec<u8>) -> Self {
        Self { at: bytes.len(), bytes: bytes.into() }
    }

    /// Whether nothing is kept that is not scanned yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Bytes that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }
}

impl Window {
    /// A window into which `step` bytes are decoded at a time, with as many that are not scanned yet.
    #[must_use]
    pub fn new(step: usize) -> Self {
        Self { bytes: vec![0; Self::least(step)], at: 0, filled: 0, step }
    }

    const fn least(step: usize) -> usize {
        REACH_MAX + STEPS * step
    }

    /// Goes on with what was kept.
    pub fn take_up(&mut self, kept: &mut Kept) {
        (self.at, self.filled) = (std::mem::take(&mut kept.at), kept.bytes.len());
        if self.filled > Self::kept_max(self.step) {
            // It is long: the buffer itself was kept.
            self.bytes = std::mem::take(kept.bytes.items());
        } else if let Some(to) = self.bytes.get_mut(..self.filled) {
            to.copy_from_slice(&kept.bytes);
            kept.bytes.items().clear();
        }
    }

    /// Has `kept`, which is empty, keep what is needed of it when `reach` bytes of what came before are, in a buffer from the
    /// shelf if that is long; then it is empty.
    pub fn keep(&mut self, reach: usize, kept: &mut Kept, shelf: &Arc<Shelf>) {
        debug_assert!(kept.bytes.is_empty());
        let from = self.needed_from(reach);
        let len = self.filled - from;
        if len > Self::kept_max(self.step) {
            self.shift(reach);
            let mut bytes = std::mem::replace(&mut self.bytes, vec![0; Self::least(self.step)]);
            bytes.truncate(len);
            if bytes.capacity() / 2 > len {
                // A record that was longer has ended.
                bytes.shrink_to_fit();
            }
            kept.bytes = bytes.into();
        } else {
            if kept.bytes.capacity() < len {
                kept.bytes = if len >= REACH_MAX { shelf.take() } else { Buffer::default() };
            }
            kept.bytes.items().extend_from_slice(self.bytes.get(from..self.filled).unwrap_or_default());
            self.at -= from;
        }
        if self.bytes.capacity() > Self::least(self.step) {
            // It had grown for a long record, and is nobody's to keep.
            self.bytes = vec![0; Self::least(self.step)];
        }
        kept.at = std::mem::take(&mut self.at);
        self.filled = 0;
    }

    /// Bytes that are kept as a copy, at most, of a window with such steps.
    #[must_use]
    pub const fn kept_max(step: usize) -> usize {
        REACH_MAX + step
    }

    /// Where the bytes begin that are not scanned yet or may be reached.
    fn needed_from(&self, reach: usize) -> usize {
        self.at.min(self.filled.saturating_sub(reach))
    }

    /// Moves what is still needed to the front.
    fn shift(&mut self, reach: usize) {
        let from = self.needed_from(reach);
        self.bytes.copy_within(from..self.filled, 0);
        (self.at, self.filled) = (self.at - from, self.filled - from);
    }

    /// The bytes of the buffer that are filled; those from [`Self::at`] on are not scanned yet.
    #[must_use]
    pub fn filled(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }

    /// Where the bytes begin that are not scanned yet.
    #[must_use]
    pub const fn at(&self) -> usize {
        self.at
    }

    /// Says that they begin at another place.
    pub const fn scanned_to(&mut self, at: usize) {
        debug_assert!(self.at <= at && at <= self.filled);
        self.at = at;
    }

    /// Bytes that are not scanned yet.
    #[must_use]
    pub const fn unscanned(&self) -> usize {
        self.filled - self.at
    }

    /// Makes room for one step behind what is filled, or for less if there would be more than `most` bytes unscanned then.
    /// `reach` bytes of what came before are still needed. Gives the buffer up to the end of the room, and where the room begins.
    pub fn room(&mut self, reach: usize, most: usize) -> (&mut [u8], usize) {
        let wanted = self.step.min(most.saturating_sub(self.unscanned()));
        if self.filled + wanted > self.bytes.len() {
            self.shift(reach);
        }
        let end = self.filled + wanted;
        if end > self.bytes.len() {
            self.bytes.resize(end, 0);
        }
        (self.bytes.get_mut(..end).unwrap_or_default(), self.filled)
    }

    /// Says that so many bytes more are filled.
    pub const fn fill(&mut self, bytes: usize) {
        debug_assert!(self.filled + bytes <= self.bytes.len());
        self.filled += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is unscanned, and what may be reached, is there whatever happens between.
    #[test]
    fn what_is_needed_stays() {
        let (mut window, shelf) = (Window::new(1000), Shelf::new(Window::kept_max(1000)));
        let (mut next, mut scanned, mut kept) = (0_usize, 0_usize, Kept::default());
        let byte = |at: usize| (at % 251).to_le_bytes()[0];
        for turn in 0..300_usize {
            window.take_up(&mut kept);
            for _ in 0..turn % 7 {
                let reach = next.min(REACH_MAX);
                // Now and then a record is long.
                let most = if turn % 50 > 40 { 20_000 } else { 2_000 };
                let (buffer, at) = window.room(reach, most);
                assert!(buffer.len() - at <= 1000);
                let before = buffer.get(at - reach..at).unwrap();
                assert!(before.iter().enumerate().all(|(place, it)| *it == byte(next - reach + place)));
                let some = (buffer.len() - at).min(turn * 37 % 1001);
                (0..some).for_each(|place| buffer[at + place] = byte(next + place));
                window.fill(some);
                next += some;
                let left = if turn % 50 > 40 { 15_000 } else { 300 };
                let at = window.at() + window.unscanned().saturating_sub(left);
                scanned += at - window.at();
                window.scanned_to(at);
            }
            let unscanned = window.filled().get(window.at()..).unwrap();
            assert!(unscanned.iter().enumerate().all(|(place, it)| *it == byte(scanned + place)));
            window.keep(next.min(REACH_MAX), &mut kept, &shelf);
            assert!(kept.len() <= REACH_MAX.max(next - scanned));
            assert_eq!(window.bytes.capacity(), Window::least(1000));
            assert!(kept.bytes.capacity() <= shelf.room().max(2 * kept.len() + 1));
        }
        assert!(next > 100_000 && scanned + 20_000 > next);
        assert!(shelf.buffers() <= 1);
        drop(kept);
        assert_eq!(shelf.buffers(), 1, "the same buffer each time");
    }
}
