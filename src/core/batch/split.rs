//! A message over the event limit, in numbered parts.
//!
//! Parts are cut between characters of the text, never inside an escape or a surrogate pair. Each part is found by a walk
//! over the whole message, so that a long message needs no more memory than its parts; it is rare enough for that.

use std::ops::ControlFlow;

use super::body::Sink;

/// Bytes of the longest part number, `[99999/99999] `. A message of 16 MiB in parts of 256 bytes has fewer parts.
pub(super) const PREFIX_BYTES_MAX: usize = 14;

/// What a part begins with.
pub(super) fn prefix(part: u32, count: u32) -> String {
    format!("[{}/{count}] ", part + 1)
}

/// Parts of at most `room` bytes that the walk's text makes.
pub(super) fn count<T, E>(room: usize, walk: impl FnOnce(&mut Cut<'_>) -> Result<T, E>) -> Result<u32, E> {
    let mut nothing = Vec::new();
    let mut cut = Cut::new(room, u32::MAX, &mut nothing);
    walk(&mut cut)?;
    Ok(cut.part + 1)
}

/// Lets one part of a text through.
#[derive(Debug)]
pub(super) struct Cut<'o> {
    room: usize,
    wanted: u32,
    out: &'o mut Vec<u8>,
    /// The part that the walk is in, and the bytes that it has so far.
    part: u32,
    used: usize,
    /// Bytes of the wanted part.
    len: usize,
}

impl<'o> Cut<'o> {
    /// Writes part `wanted` (from 0) to `out`; each part has at most `room` bytes.
    pub(super) const fn new(room: usize, wanted: u32, out: &'o mut Vec<u8>) -> Self {
        Self { room, wanted, out, part: 0, used: 0, len: 0 }
    }

    /// UTF-8 bytes of the wanted part.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    fn put(&mut self, written: &[u8], len: usize) {
        self.used += len;
        if self.part == self.wanted {
            self.out.extend_from_slice(written);
            self.len += len;
        }
    }

    fn next_part(&mut self) -> ControlFlow<()> {
        self.part += 1;
        self.used = 0;
        if self.part > self.wanted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Sink for Cut<'_> {
    fn run(&mut self, text: &str) -> ControlFlow<()> {
        let mut rest = text;
        while !rest.is_empty() {
            let fits = rest.floor_char_boundary(self.room - self.used);
            let (now, later) = rest.split_at_checked(fits).unwrap_or((rest, ""));
            self.put(now.as_bytes(), now.len());
            if !later.is_empty() {
                self.next_part()?;
            }
            rest = later;
        }
        ControlFlow::Continue(())
    }

    fn character(&mut self, written: &[u8], len: usize) -> ControlFlow<()> {
        if self.used + len > self.room {
            self.next_part()?;
        }
        self.put(written, len);
        ControlFlow::Continue(())
    }
}
