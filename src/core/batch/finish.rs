//! A finished request: its body as it is sent, hashed and, if that is wanted, packed; and what may still become of it.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::pack::{self, Packer};
use super::{BODY_END, Entry, Origin, SegmentId, seal};
use crate::core::shelf::Buffer;
use crate::core::time::UnixMillis;

/// A finished PutLogEvents request.
#[derive(Clone, Debug)]
pub struct Batch {
    body: Buffer,
    /// Bytes of the body before it was packed, if it is.
    packed_from: Option<usize>,
    /// Of the body as it is. Signing it is most of what a call costs, so it is hashed once for all attempts.
    sha256: Option<[u8; 32]>,
    head: usize,
    entries: Buffer<Entry>,
    segments: Arc<[SegmentId]>,
}

impl Batch {
    /// Ends a body.
    pub(super) fn new(mut body: Buffer, head: usize, entries: Buffer<Entry>, segments: Arc<[SegmentId]>) -> Self {
        body.bytes().extend_from_slice(BODY_END);
        Self { body, packed_from: None, sha256: None, head, entries, segments }
    }

    /// Has the body as it is to be sent: packed, if there is a packer and it is worth it, and hashed. It is the most work that
    /// there is with a batch, so it is done where it hinders nobody; but whatever is sent is hashed, also without this.
    pub fn finish(&mut self, packer: Option<&mut Packer>) {
        if self.packed_from.is_none()
            && let Some(packed) = packer.and_then(|packer| packer.pack(&self.body))
        {
            self.packed_from = Some(self.body.len());
            self.body = packed.into();
            self.sha256 = None;
        }
        self.sha256();
    }

    /// The whole request body; packed, if it is.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Whether the body is packed.
    #[must_use]
    pub const fn is_packed(&self) -> bool {
        self.packed_from.is_some()
    }

    /// The SHA-256 of [`Self::body`].
    pub fn sha256(&mut self) -> [u8; 32] {
        *self.sha256.get_or_insert_with(|| Sha256::digest(&*self.body).into())
    }

    /// Takes the request body out, to be shared with the HTTP client; [`Self::restore_body`] brings it back.
    pub fn take_body(&mut self) -> Buffer {
        std::mem::take(&mut self.body)
    }

    /// Brings the body back that was taken out, and unpacks it.
    pub fn restore_body(&mut self, body: impl Into<Buffer>) {
        self.body = body.into();
        self.unpack();
    }

    fn unpack(&mut self) {
        if let Some(bytes) = self.packed_from.take() {
            self.body = pack::unpack(&self.body, bytes).into();
            self.sha256 = None;
        }
    }

    /// Events in it, 1 to [`super::BATCH_EVENTS_MAX`].
    #[must_use]
    pub fn events(&self) -> usize {
        self.entries.len()
    }

    /// Bytes as CloudWatch Logs counts them.
    #[must_use]
    pub fn billed_bytes(&self) -> usize {
        self.entries.iter().map(Entry::billed).sum()
    }

    /// The time of the first and the last event.
    #[must_use]
    pub fn span(&self) -> Option<(UnixMillis, UnixMillis)> {
        Some((self.entries.first()?.timestamp, self.entries.last()?.timestamp))
    }

    /// Where its events came from, in the order in which they are sent.
    pub fn origins(&self) -> impl ExactSizeIterator<Item = Origin> {
        self.entries.iter().map(|entry| self.origin(entry))
    }

    fn origin(&self, entry: &Entry) -> Origin {
        let segment = usize::try_from(entry.segment).ok().and_then(|at| self.segments.get(at)).copied();
        let Some(segment) = segment else { unreachable!("an entry's segment is in its batch's table") };
        Origin { segment, ordinal: entry.ordinal, part: entry.part, timestamp: entry.timestamp }
    }

    /// Takes the events out for which `gone` says so, and gives where they came from. `None`: no other is left.
    #[must_use]
    pub fn sift(mut self, gone: impl Fn(&Origin) -> bool) -> (Option<Self>, Vec<Origin>) {
        let (mut keep, mut taken) = (Vec::new(), Vec::new());
        for entry in &*self.entries {
            let origin = self.origin(entry);
            if gone(&origin) { taken.push(origin) } else { keep.push(*entry) }
        }
        if taken.is_empty() {
            return (Some(self), taken);
        }
        self.unpack();
        let head = self.body.get(..self.head).filter(|_| !keep.is_empty());
        let rest = head.map(|head| {
            let (body, entries) = seal::rebuild(head, &self.body, &keep);
            Self::new(body, self.head, entries, Arc::clone(&self.segments))
        });
        (rest, taken)
    }

    /// One event: where it came from, and as it stands in the body, which must not be packed.
    #[must_use]
    pub fn event(&self, index: usize) -> Option<(Origin, &[u8])> {
        debug_assert!(!self.is_packed());
        let entry = self.entries.get(index)?;
        Some((self.origin(entry), self.body.get(entry.range())?))
    }

    /// The segments that its events may be of.
    #[must_use]
    pub fn segments(&self) -> &[SegmentId] {
        &self.segments
    }

    /// Two halves of a batch that was refused as a whole, its body restored. `None` for a single event: it alone is to blame.
    #[must_use]
    pub fn bisect(&self) -> Option<(Self, Self)> {
        debug_assert!(!self.is_packed());
        if self.entries.len() < 2 {
            return None;
        }
        let (left, right) = self.entries.split_at_checked(self.entries.len() / 2)?;
        let head = self.body.get(..self.head)?;
        let half = |entries| {
            let (body, entries) = seal::rebuild(head, &self.body, entries);
            Self::new(body, self.head, entries, Arc::clone(&self.segments))
        };
        Some((half(left), half(right)))
    }
}
