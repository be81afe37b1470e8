//! Large buffers that are used again.
//!
//! A new buffer of a mebibyte costs 256 page faults when it is written to, and two calls of the system, which make all threads
//! forget what they knew of the process's memory: together a fifth of the time of a daemon that delivers large objects. So those
//! that come back are kept for the next ones, as many as whoever accounts for memory has room for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Buffers of one size. What is on it is memory that is written to: [`Self::cut`] it to what may be.
#[derive(Debug)]
pub struct Shelf {
    bytes: usize,
    kept: Mutex<Vec<Vec<u8>>>,
}

impl Shelf {
    /// An empty shelf for buffers of so many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { bytes, kept: Mutex::default() })
    }

    /// Bytes of each of its buffers.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty buffer: one that was used before, if there is one.
    #[must_use]
    pub fn take(self: &Arc<Self>) -> Buffer {
        let kept = self.kept().pop();
        Buffer { bytes: kept.unwrap_or_else(|| Vec::with_capacity(self.bytes)), shelf: Some(Arc::clone(self)) }
    }

    /// Buffers that are on it.
    #[must_use]
    pub fn buffers(&self) -> usize {
        self.kept().len()
    }

    /// Lets go of buffers until those that are left have so many bytes at most.
    pub fn cut(&self, bytes_max: u64) {
        let most = usize::try_from(bytes_max).unwrap_or(usize::MAX) / self.bytes;
        let mut kept = self.kept();
        let left = most.min(kept.len());
        let gone = kept.split_off(left);
        drop(kept);
        // To give them back takes time, in which nobody has to wait.
        drop(gone);
    }

    fn take_back(&self, mut bytes: Vec<u8>) {
        if bytes.capacity() == self.bytes {
            bytes.clear();
            self.kept().push(bytes);
        }
    }
}

/// Bytes that go back to the shelf that they are from when nobody has them any more, unless they have outgrown it.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    shelf: Option<Arc<Shelf>>,
}

impl Buffer {
    /// The bytes, to be written behind.
    pub const fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Bytes for which there is room in all.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// An empty one for so many bytes: from the same shelf, if that gives no more than twice as much.
    #[must_use]
    pub fn another(&self, bytes: usize) -> Self {
        match &self.shelf {
            Some(shelf) if bytes <= shelf.bytes && shelf.bytes / 2 < bytes => shelf.take(),
            _ => Vec::with_capacity(bytes).into(),
        }
    }

    /// Cuts it off, and lets go of room that it has no use for.
    pub fn cut(&mut self, len: usize) {
        self.bytes.truncate(len);
        if self.shelf.is_none() {
            self.bytes.shrink_to_fit();
        }
    }
}

impl std::ops::Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, shelf: None }
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        self.bytes.clone().into()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(shelf) = self.shelf.take() {
            shelf.take_back(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 100_000;

    #[test]
    fn buffers_come_back_and_no_more_are_kept_than_may_be() {
        let shelf = Shelf::new(BYTES);
        let (mut one, two, three) = (shelf.take(), shelf.take(), shelf.take());
        one.bytes().extend_from_slice(b"text");
        let place = one.as_ptr();
        drop(one);
        let again = shelf.take();
        assert_eq!((again.as_ptr(), again.len(), again.capacity()), (place, 0, BYTES), "it is used again, empty");
        drop((again, two, three));
        assert_eq!(shelf.buffers(), 3);
        shelf.cut(3 * BYTES as u64 - 1);
        assert_eq!(shelf.buffers(), 2);
        shelf.cut(0);
        assert_eq!(shelf.buffers(), 0);
    }

    #[test]
    fn another_is_of_the_shelf_if_it_is_about_as_long() {
        let shelf = Shelf::new(BYTES);
        let one = shelf.take();
        for (bytes, is_kept) in [(1, 0), (BYTES / 2, 0), (BYTES / 2 + 1, 1), (BYTES, 1), (BYTES + 1, 1)] {
            let another = one.another(bytes);
            assert!(another.is_empty() && another.capacity() >= bytes);
            drop(another);
            assert_eq!(shelf.buffers(), is_kept, "{bytes}");
        }
        assert!(Buffer::default().another(BYTES).shelf.is_none());
    }

    #[test]
    fn what_has_outgrown_it_and_copies_are_not_kept() {
        let shelf = Shelf::new(BYTES);
        let (mut long, short) = (shelf.take(), shelf.take());
        long.bytes().resize(BYTES + 1, 0);
        drop((long, short.clone()));
        assert_eq!(shelf.buffers(), 0);
        drop(short);
        assert_eq!(shelf.buffers(), 1);
    }
}
