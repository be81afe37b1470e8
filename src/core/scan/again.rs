//! A record that was taken back, by its places: the window may have moved when it is given again.

use std::ops::Range;

use super::framing::State;
use super::{Message, Pieces, Record, Scanner, Seen, Stamp, Step};

/// All that is known of such a record.
#[derive(Clone, Debug)]
pub(super) struct Again {
    len: usize,
    message: Told,
    timestamp: Written,
    /// What the scanner is at behind it.
    behind: State,
}

/// A [`Message`], by its place in the record.
#[derive(Clone, Debug)]
enum Told {
    Escaped(Range<usize>),
    Seen(Range<usize>, Seen),
    Json(Range<usize>),
    /// Of a text that is not to be looked at.
    Pieces(Pieces<'static>),
    Empty,
}

/// A [`Stamp`], likewise.
#[derive(Clone, Debug)]
enum Written {
    Text(Range<usize>),
    Number(Range<usize>),
    Missing,
}

impl Again {
    /// Of a record behind which the scanner is at `behind`.
    pub(super) fn of(record: &Record<'_>, behind: State) -> Self {
        let place = |part: &[u8]| {
            let start = part.as_ptr().addr().wrapping_sub(record.text.as_ptr().addr());
            start..start.wrapping_add(part.len())
        };
        Self {
            len: record.text.len(),
            message: match record.message {
                Message::Escaped(text) => Told::Escaped(place(text)),
                Message::Seen(text, seen) => Told::Seen(place(text), seen),
                Message::Json(text) => Told::Json(place(text)),
                Message::Pieces(pieces) => Told::Pieces(pieces.of(&[])),
                Message::Empty => Told::Empty,
            },
            timestamp: match record.timestamp {
                Stamp::Text(text) => Written::Text(place(text)),
                Stamp::Number(text) => Written::Number(place(text)),
                Stamp::Missing => Written::Missing,
            },
            behind,
        }
    }

    fn message<'w>(&self, text: &'w [u8]) -> Option<Message<'w>> {
        Some(match &self.message {
            Told::Escaped(place) => Message::Escaped(text.get(place.clone())?),
            Told::Seen(place, seen) => Message::Seen(text.get(place.clone())?, *seen),
            Told::Json(place) => Message::Json(text.get(place.clone())?),
            Told::Pieces(pieces) => Message::Pieces(pieces.of(text)),
            Told::Empty => Message::Empty,
        })
    }

    fn timestamp<'w>(&self, text: &'w [u8]) -> Option<Stamp<'w>> {
        Some(match &self.timestamp {
            Written::Text(place) => Stamp::Text(text.get(place.clone())?),
            Written::Number(place) => Stamp::Number(text.get(place.clone())?),
            Written::Missing => Stamp::Missing,
        })
    }
}

impl Scanner {
    /// Gives a record again that stands at `at`. `None`, and nothing changed: it is not there.
    pub(super) fn give_again<'w>(&mut self, again: &Again, window: &'w [u8], at: &mut usize) -> Option<Step<'w>> {
        let text = window.get(*at..)?.get(..again.len)?;
        let (message, timestamp) = (again.message(text)?, again.timestamp(text)?);
        self.before = (self.state, self.offset);
        self.state = again.behind;
        let (ordinal, offset) = (self.slot(), self.offset);
        self.advance(at, again.len);
        Some(Step::Record(Record { ordinal, offset, text, message, timestamp }))
    }
}
