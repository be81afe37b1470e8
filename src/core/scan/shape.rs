//! What a record looks like, for those that follow it to be compared with.
//!
//! The records of one stream differ in a few of their members, and not in the others: what a pod is called and where it runs is
//! the same in all. So one of them is kept, with the places of its members. Where another begins a member as the kept one does,
//! and goes on alike up to a later member, what lies between is read in the kept one: equal bytes have equal meaning.

/// Most bytes of a record that is kept.
const TEXT_BYTES_MAX: usize = 4096;
/// Most members that are known by place; those behind them are read.
const MEMBERS_MAX: usize = 64;
/// What stands behind the text, so that vectors may look beyond its end.
const MARGIN: usize = 64;
/// Records of which more had to be read than of others, before another one is kept.
const MISSES_MAX: u32 = 4;
/// How many bytes more are more.
const MORE_BYTES: usize = 64;

pub(super) const MESSAGE: &[u8] = b"message";
pub(super) const TIMESTAMP: &[u8] = b"timestamp";

/// What a member is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Message,
    Timestamp,
    Other,
}

impl Role {
    /// That of a key without escapes.
    pub(super) fn of(key: &[u8]) -> Self {
        match key {
            MESSAGE => Self::Message,
            TIMESTAMP => Self::Timestamp,
            _ => Self::Other,
        }
    }
}

/// The places of a member in its record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    /// The key's opening quote, and its closing one.
    pub(super) start: usize,
    pub(super) key_end: usize,
    /// The value's first byte, and the one behind it.
    pub(super) value: usize,
    pub(super) end: usize,
    pub(super) role: Role,
}

impl Mark {
    /// The same elsewhere.
    #[inline(always)]
    pub(super) fn moved(&self, to: impl Fn(usize) -> usize) -> Self {
        let Self { start, key_end, value, end, role } = *self;
        Self { start: to(start), key_end: to(key_end), value: to(value), end: to(end), role }
    }
}

/// A record that others may be like. At first there is none.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// The record, and a margin of zeros.
    text: Vec<u8>,
    len: usize,
    marks: Vec<Mark>,
    /// Fewest bytes that had to be read of a record that was compared, its message aside, and how often it was more.
    least: usize,
    misses: u32,
}

impl Shape {
    /// The member of this number.
    #[inline(always)]
    pub(super) fn mark(&self, number: usize) -> Option<&Mark> {
        self.marks.get(number)
    }

    /// The record from this place on, and what is behind it.
    #[inline(always)]
    pub(super) fn from(&self, place: usize) -> &[u8] {
        self.text.get(place..).unwrap_or_default()
    }

    /// The record's bytes.
    #[inline(always)]
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// A member's key, from quote to quote.
    #[inline(always)]
    pub(super) fn key(&self, mark: &Mark) -> &[u8] {
        self.text.get(mark.start..mark.key_end).unwrap_or_default()
    }

    /// Whether the record that was just compared, of `len` bytes of which `read` had to be read beside its message, is the better
    /// one to keep.
    #[inline(always)]
    pub(super) fn is_to_be_learnt(&mut self, len: usize, read: usize) -> bool {
        if len > TEXT_BYTES_MAX {
            return false;
        }
        if read <= self.least.saturating_add(MORE_BYTES) && !self.marks.is_empty() {
            self.least = self.least.min(read);
            self.misses = 0;
            return false;
        }
        self.misses += 1;
        self.marks.is_empty() || self.misses > MISSES_MAX
    }

    /// Keeps a record; its members are added then.
    pub(super) fn begin(&mut self, record: &[u8]) {
        debug_assert!(record.len() <= TEXT_BYTES_MAX);
        self.marks.clear();
        self.text.clear();
        self.text.reserve_exact(record.len() + MARGIN);
        self.text.extend_from_slice(record);
        self.text.resize(record.len() + MARGIN, 0);
        (self.len, self.least, self.misses) = (record.len(), usize::MAX, 0);
    }

    /// Adds the next member. `false`: there are too many.
    pub(super) fn add(&mut self, mark: Mark) -> bool {
        let fits = self.marks.len() < MEMBERS_MAX;
        if fits {
            self.marks.push(mark);
        } else {
            // What stands behind the last member that is known is not the record's end.
            self.len = usize::MAX;
        }
        fits
    }
}
