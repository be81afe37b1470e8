//! Large buffers that are used again.
//!
//! A new buffer of a mebibyte costs 256 page faults when it is written to, and two calls of the system, which make all threads
//! forget what they knew of the process's memory: together a fifth of the time of a daemon that delivers large objects. So those
//! that come back are kept for the next ones, as many as whoever accounts for memory has room for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Buffers of one size. What is on it is memory that is written to: [`Self::cut`] it to what may be.
#[derive(Debug)]
pub struct Shelf<T = u8> {
    room: usize,
    kept: Mutex<Vec<Vec<T>>>,
}

impl<T> Shelf<T> {
    /// An empty shelf for buffers with room for so many items each: bytes, as a rule.
    #[must_use]
    pub fn new(room: usize) -> Arc<Self> {
        Arc::new(Self { room, kept: Mutex::new(Vec::new()) })
    }

    /// Items for which each of its buffers has room.
    #[must_use]
    pub const fn room(&self) -> usize {
        self.room
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Vec<T>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty buffer: one that was used before, if there is one.
    #[must_use]
    pub fn take(self: &Arc<Self>) -> Buffer<T> {
        let kept = self.kept().pop();
        Buffer { items: kept.unwrap_or_else(|| Vec::with_capacity(self.room)), shelf: Some(Arc::clone(self)) }
    }

    /// Buffers that are on it.
    #[must_use]
    pub fn buffers(&self) -> usize {
        self.kept().len()
    }

    /// Lets go of buffers until there are so many at most.
    pub fn cut(&self, most: u64) {
        let mut kept = self.kept();
        let left = usize::try_from(most).unwrap_or(usize::MAX).min(kept.len());
        let gone = kept.split_off(left);
        drop(kept);
        // To give them back takes time, in which nobody has to wait.
        drop(gone);
    }

    fn take_back(&self, mut items: Vec<T>) {
        if items.capacity() == self.room {
            items.clear();
            self.kept().push(items);
        }
    }
}

/// Items that go back to the shelf that they are from when nobody has them any more, unless they have outgrown it.
#[derive(Debug)]
pub struct Buffer<T = u8> {
    items: Vec<T>,
    shelf: Option<Arc<Shelf<T>>>,
}

impl<T> Buffer<T> {
    /// What is in it, to be added to.
    pub const fn items(&mut self) -> &mut Vec<T> {
        &mut self.items
    }

    /// Items for which there is room in all.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.items.capacity()
    }

    /// An empty one for so many items: from the same shelf, if that gives no more than twice as much.
    #[must_use]
    pub fn another(&self, room: usize) -> Self {
        match &self.shelf {
            Some(shelf) if room <= shelf.room && shelf.room / 2 < room => shelf.take(),
            _ => Vec::with_capacity(room).into(),
        }
    }
}

impl<T: Clone> Buffer<T> {
    /// Cuts it off, and lets go of room that it has no use for but for `more` items: a fourth of a shelf's buffer is left at most.
    pub fn cut(&mut self, len: usize, more: usize) {
        self.items.truncate(len);
        let room = self.items.len() + more;
        match &self.shelf {
            Some(shelf) if self.items.capacity() == shelf.room => {
                if room < shelf.room / 4 * 3 {
                    let mut items = Vec::with_capacity(room);
                    items.extend_from_slice(&self.items);
                    *self = items.into();
                }
            }
            _ => self.items.shrink_to(room),
        }
    }
}

impl Buffer {
    /// The bytes, to be written behind.
    pub const fn bytes(&mut self) -> &mut Vec<u8> {
        self.items()
    }
}

impl<T> Default for Buffer<T> {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl<T> std::ops::Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<T> AsRef<[T]> for Buffer<T> {
    fn as_ref(&self) -> &[T] {
        &self.items
    }
}

impl<T> From<Vec<T>> for Buffer<T> {
    fn from(items: Vec<T>) -> Self {
        Self { items, shelf: None }
    }
}

impl<T: Clone> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        self.items.clone().into()
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        if let Some(shelf) = self.shelf.take() {
            shelf.take_back(std::mem::take(&mut self.items));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 100_000;

    #[test]
    fn buffers_come_back_and_no_more_are_kept_than_may_be() {
        let shelf = Shelf::<u8>::new(BYTES);
        let (mut one, two, three) = (shelf.take(), shelf.take(), shelf.take());
        one.bytes().extend_from_slice(b"text");
        let place = one.as_ptr();
        drop(one);
        let again = shelf.take();
        assert_eq!((again.as_ptr(), again.len(), again.capacity()), (place, 0, BYTES), "it is used again, empty");
        drop((again, two, three));
        assert_eq!(shelf.buffers(), 3);
        shelf.cut(2);
        assert_eq!(shelf.buffers(), 2);
        shelf.cut(0);
        assert_eq!(shelf.buffers(), 0);
    }

    #[test]
    fn another_is_of_the_shelf_if_it_is_about_as_long() {
        let shelf = Shelf::<u8>::new(BYTES);
        let one = shelf.take();
        for (bytes, is_kept) in [(1, 0), (BYTES / 2, 0), (BYTES / 2 + 1, 1), (BYTES, 1), (BYTES + 1, 1)] {
            let another = one.another(bytes);
            assert!(another.is_empty() && another.capacity() >= bytes);
            drop(another);
            assert_eq!(shelf.buffers(), is_kept, "{bytes}");
        }
        assert!(Buffer::<u8>::default().another(BYTES).shelf.is_none());
    }

    #[test]
    fn what_is_cut_holds_little_more_than_it_has() {
        let shelf = Shelf::new(BYTES);
        for (filled, len, capacity, kept) in [
            (BYTES, BYTES * 3 / 4, BYTES, 0),
            (BYTES, BYTES * 3 / 4 - 3, BYTES * 3 / 4 - 1, 1),
            // It has outgrown the shelf.
            (BYTES + 1, 10, 12, 0),
        ] {
            shelf.cut(0);
            let mut buffer = shelf.take();
            buffer.bytes().resize(filled, b'x');
            buffer.cut(len, 2);
            assert_eq!((buffer.len(), buffer.capacity(), shelf.buffers()), (len, capacity, kept), "{filled} to {len}");
        }
    }

    #[test]
    fn what_has_outgrown_it_and_copies_are_not_kept() {
        let shelf = Shelf::<u8>::new(BYTES);
        let (mut long, short) = (shelf.take(), shelf.take());
        long.bytes().resize(BYTES + 1, 0);
        drop((long, short.clone()));
        assert_eq!(shelf.buffers(), 0);
        drop(short);
        assert_eq!(shelf.buffers(), 1);
    }
}
