//! Request bodies that are used again.
//!
//! A body of a mebibyte costs hundreds of page faults when it is new, which is a tenth of what all else about it costs. So those
//! that have grown are kept for the next ones: a few, however many batches there are.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes for which a kept body has room: a full batch of all but the shortest messages.
pub const KEPT_BODY_BYTES: usize = 1280 << 10;
/// A body that has grown beyond this is not kept.
const KEPT_BODY_BYTES_MAX: usize = 2 * KEPT_BODY_BYTES;

/// Keeps bodies. At most so many are in use and on it together; whoever asks for more does without.
#[derive(Debug)]
pub struct Shelf {
    bodies_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    kept: Vec<Vec<u8>>,
    in_use: usize,
}

impl Shelf {
    /// A shelf for so many bodies of [`KEPT_BODY_BYTES`].
    #[must_use]
    pub fn new(bodies_max: usize) -> Arc<Self> {
        Arc::new(Self { bodies_max, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty body, if there is one left.
    fn take(self: &Arc<Self>) -> Option<Body> {
        let mut state = self.state();
        if state.kept.is_empty() && state.in_use >= self.bodies_max {
            return None;
        }
        state.in_use += 1;
        let bytes = state.kept.pop().unwrap_or_default();
        drop(state);
        let mut body = Body { bytes, shelf: Some(Arc::clone(self)) };
        body.bytes.reserve_exact(KEPT_BODY_BYTES);
        Some(body)
    }

    fn take_back(&self, mut bytes: Vec<u8>) {
        let mut state = self.state();
        state.in_use -= 1;
        if bytes.capacity() <= KEPT_BODY_BYTES_MAX {
            bytes.clear();
            state.kept.push(bytes);
        }
    }
}

/// The bytes of a request body. It goes back to the shelf that it is from when nobody has it any more.
#[derive(Debug, Default)]
pub struct Body {
    bytes: Vec<u8>,
    shelf: Option<Arc<Shelf>>,
}

impl Body {
    /// Makes room for `more` bytes: in a body from the shelf, if it has outgrown the smallest ones, or in steps.
    #[inline]
    pub(super) fn reserve(&mut self, more: usize, shelf: Option<&Arc<Shelf>>) {
        if self.bytes.capacity() - self.bytes.len() < more {
            self.grow(more, shelf);
        }
    }

    #[cold]
    fn grow(&mut self, more: usize, shelf: Option<&Arc<Shelf>>) {
        let outgrown = self.bytes.capacity() < KEPT_BODY_BYTES && self.bytes.len() + more > super::GROW_BYTES;
        if outgrown {
            match shelf.and_then(Shelf::take) {
                Some(mut larger) => {
                    larger.bytes.extend_from_slice(&self.bytes);
                    *self = larger;
                }
                // What is not written takes no memory, only addresses: to grow step by step is a call of the system each time.
                None => self.bytes.reserve_exact(KEPT_BODY_BYTES - self.bytes.len()),
            }
        }
        super::body::reserve(&mut self.bytes, more);
    }

    /// Cuts it off, and lets go of room that it has no use for.
    pub(super) fn cut(&mut self, len: usize) {
        self.bytes.truncate(len);
        if self.shelf.is_none() {
            self.bytes.shrink_to_fit();
        }
    }

    /// The bytes, to be written behind.
    pub(super) const fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl std::ops::Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, shelf: None }
    }
}

impl Clone for Body {
    fn clone(&self) -> Self {
        self.bytes.clone().into()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(shelf) = self.shelf.take() {
            shelf.take_back(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grown(shelf: &Arc<Shelf>) -> Body {
        let mut body = Body::from(b"start".to_vec());
        body.reserve(super::super::GROW_BYTES, Some(shelf));
        assert_eq!(&body[..], b"start");
        body
    }

    /// Bodies that are kept, and in use.
    fn counts(shelf: &Shelf) -> (usize, usize) {
        let state = shelf.state();
        (state.kept.len(), state.in_use)
    }

    #[test]
    fn bodies_come_back_and_are_no_more_than_may_be() {
        let shelf = Shelf::new(2);
        let (one, two, three) = (grown(&shelf), grown(&shelf), grown(&shelf));
        assert!(one.bytes.capacity() >= KEPT_BODY_BYTES && two.bytes.capacity() >= KEPT_BODY_BYTES);
        assert!(three.bytes.capacity() >= KEPT_BODY_BYTES && three.shelf.is_none());
        let place = one.bytes.as_ptr();
        drop((one, three));
        let again = grown(&shelf);
        assert_eq!(again.bytes.as_ptr(), place, "it is used again");
        drop((again, two));
        assert_eq!(counts(&shelf), (2, 0));
    }

    #[test]
    fn a_short_body_needs_none_and_a_long_one_is_not_kept() {
        let shelf = Shelf::new(2);
        let mut body = Body::default();
        body.reserve(1000, Some(&shelf));
        assert_eq!(counts(&shelf), (0, 0));
        body.reserve(KEPT_BODY_BYTES_MAX + 1, Some(&shelf));
        assert_eq!(counts(&shelf), (0, 1));
        drop(body);
        assert_eq!(counts(&shelf), (0, 0));
    }
}
