//! The slow, complete way for the few records that [`super::fields`] leaves: every key compared unescaped, the last of
//! equal keys taken, a message that is no string judged by the whole grammar, and the whole-record rule.

use std::ops::Range;

use super::grammar::{is_value, sendable_end};
use super::nesting;
use super::shape::{MESSAGE, TIMESTAMP};
use super::syntax::{Look, in_scalar, short_end, skip_string};
use super::{Message, Stamp};
use crate::core::simd::Level;

/// Top-level fields that say where a record came from; the whole-record rule leaves them out.
pub const METADATA: [&str; 8] = [
    "cluster_id",
    "customer_id",
    "namespace",
    "application",
    "pod_name",
    "ingest_timestamp",
    "timestamp",
    "kubernetes",
];

/// Message and timestamp of the record `text`, whose skeleton is known to be sound. `None`: it is a bad record, because
/// of a bad escape in a key, or because the text that would be sent is no valid JSON. `judged`: it is valid JSON but for its escapes,
/// as is known already. `nested`: where a nested value of it begins and ends, or nothing.
pub(super) fn read(text: &[u8], judged: bool, nested: (usize, usize)) -> Option<(Message<'_>, Stamp<'_>)> {
    let (mut message, mut timestamp) = (None::<Member<'_>>, Stamp::Missing);
    // Of what is sent if there is no message, whether it is sound, and how long it is: two braces, and a comma behind each member.
    let (mut sound, mut whole, mut at) = (true, 2, 1);
    let mut longest = 0..0;
    while let Some((member, end)) = member(text, at, !judged && message.is_none(), nested) {
        at = end;
        let name = if member.may_be_named() { Name::of(&member)? } else { Name::Other };
        if name.is(MESSAGE) {
            message = Some(member);
        } else if name.is(TIMESTAMP) {
            timestamp = Stamp::of(member.value);
            continue;
        } else if name.is_metadata() {
            continue;
        } else if message.is_none() {
            sound = sound && member.is_sound(judged);
        }
        whole += member.text.len() + 1;
        if member.text.len() > longest.len() {
            longest = end - member.text.len()..end;
        }
    }
    let message = match message.map(|member| (member, member.value)) {
        Some((_, [b'"', b'"'])) => Message::Empty,
        Some((_, [b'"', inside @ .., b'"'])) => Message::Escaped(inside),
        Some((member, value)) if value != b"null" => member.is_sound(judged).then_some(Message::Json(value))?,
        nothing @ (Some(_) | None) => {
            // What stands behind a message was not looked at.
            if !sound || nothing.is_some() && !kept(text).all(|member| member.is_sound(judged)) {
                return None;
            }
            self::whole(text, if whole > 2 { whole - 1 } else { whole }, longest)
        }
    };
    Some((message, timestamp))
}

/// What is sent of a record without a message, so many bytes: it itself, unless it has metadata or blanks between members. Of those
/// that are sent one is the longest, if that is known.
pub(super) fn whole(text: &[u8], bytes: usize, longest: Range<usize>) -> Message<'_> {
    if bytes == text.len() {
        return Message::Json(text);
    }
    let longest = (longest.start, longest.end);
    Message::Pieces(Pieces { record: text, bytes, longest, place: PiecePlace { at: 0, next: NextPiece::Brace } })
}

/// One `"key": value` of a record's top level.
#[derive(Clone, Copy, Debug)]
struct Member<'w> {
    /// From the key's quote to the value's last byte.
    text: &'w [u8],
    /// The inside of the key's string, and whether there is an escape in it.
    key: &'w [u8],
    escaped: bool,
    value: &'w [u8],
    /// Whether the value is valid JSON, if that is known.
    sound: Option<bool>,
}

impl Member<'_> {
    /// Whether the value is valid JSON, where that is known of all but its escapes if it is `judged`. What is neither nested nor a
    /// string is, for the skeleton is sound.
    fn is_sound(&self, judged: bool) -> bool {
        self.sound.unwrap_or_else(|| match self.value.first() {
            Some(b'"' | b'{' | b'[') => {
                let is_read = judged || self.value.first() == Some(&b'"');
                is_read && memchr::memchr(b'\\', self.value).is_none() || is_value(Level::best(), self.value)
            }
            _ => true,
        })
    }

    /// Whether the key must be read: most say nothing here by their length alone.
    fn may_be_named(&self) -> bool {
        self.escaped || (NAME_BYTES_MIN..=NAME_BYTES_MAX).contains(&self.key.len())
    }

    fn is_metadata(&self) -> bool {
        // A longer one is none, however it is escaped.
        let is_short = self.key.len() <= ESCAPE_BYTES * NAME_BYTES_MAX;
        is_short && self.may_be_named() && Name::of(self).is_some_and(|name| name.is_metadata())
    }
}

/// The members of a record of sound skeleton that are no metadata.
fn kept(record: &[u8]) -> impl Iterator<Item = Member<'_>> {
    let mut at = 1;
    let members = std::iter::from_fn(move || {
        let (member, end) = member(record, at, false, (0, 0))?;
        at = end;
        Some(member)
    });
    members.filter(|member| !member.is_metadata())
}

/// The first byte behind place `at` that is neither a blank nor a comma: a member's, if there is one.
#[inline(always)]
fn member_start(record: &[u8], at: usize) -> Option<usize> {
    let blanks = record.get(at..)?.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b','))?;
    Some(at + blanks)
}

/// The member that follows place `at`, and the place behind it. If it is asked for, a nested value is judged on the way.
#[inline(always)]
fn member(record: &[u8], at: usize, judges: bool, nested: (usize, usize)) -> Option<(Member<'_>, usize)> {
    let start = member_start(record, at)?;
    if record.get(start) != Some(&b'"') {
        return None;
    }
    let mut escaped = false;
    let key_end = string_end(record, start + 1, &mut escaped)?;
    let colon = key_end + record.get(key_end..)?.iter().position(|&byte| byte == b':')?;
    let value_at = colon + 1 + record.get(colon + 1..)?.iter().position(|byte| !byte.is_ascii_whitespace())?;
    let value = record.get(value_at..)?;
    let judges = judges && matches!(value, [b'{' | b'[', ..]);
    let judged = if judges { sendable_end(Level::best(), value) } else { None };
    let (len, sound) = match (judged, value.first()?) {
        (Some(len), _) => (len, Some(true)),
        (None, b'"') => (string_end(value, 1, &mut false)? + 1, None),
        (None, b'{' | b'[') if value_at == nested.0 => (nested.1 - nested.0, None),
        (None, b'{' | b'[') => (nesting::sound_len(Level::best(), value)?, None),
        (None, b'0'..=b'9') if !in_scalar(*value.get(1)?) => (1, Some(true)),
        (None, _) => (value.iter().position(|&byte| !in_scalar(byte))?, Some(true)),
    };
    let end = value_at + len;
    let member = Member {
        text: record.get(start..end)?,
        key: record.get(start + 1..key_end)?,
        escaped,
        value: record.get(value_at..end)?,
        sound,
    };
    Some((member, end))
}

#[inline(always)]
fn string_end(record: &[u8], from: usize, escaped: &mut bool) -> Option<usize> {
    if let Some(end) = short_end(record, from) {
        return Some(end);
    }
    match skip_string(record, from, escaped) {
        Look::End(end) => Some(end),
        Look::Broken(_) | Look::RanOut => None,
    }
}

/// A key as it is meant, if it may be one that says something here: those are ASCII, and short.
#[derive(Clone, Copy, Debug)]
enum Name<'w> {
    /// As it is written.
    Plain(&'w [u8]),
    /// Unescaped: so many bytes.
    Unescaped([u8; NAME_BYTES_MAX], usize),
    /// Not one of those.
    Other,
}

/// Most bytes of a character in a key: `\uXXXX`.
const ESCAPE_BYTES: usize = 6;
/// Bytes of the shortest name, and of the longest.
const NAME_BYTES_MIN: usize = 7;
const NAME_BYTES_MAX: usize = 16;

impl<'w> Name<'w> {
    /// Of a member's key. `None`: it holds a bad escape.
    fn of(member: &Member<'w>) -> Option<Self> {
        if !member.escaped {
            return Some(Self::Plain(member.key));
        }
        let (mut name, mut len) = ([0; NAME_BYTES_MAX], 0);
        let mut rest = member.key;
        while let Some((&byte, behind)) = rest.split_first() {
            rest = behind;
            let unit = if byte == b'\\' { unescape(&mut rest)? } else { u32::from(byte) };
            // What is no ASCII may become anything that is none either.
            let unit = u8::try_from(unit).unwrap_or(u8::MAX);
            if let Some(place) = name.get_mut(len) {
                *place = unit;
            }
            len += 1;
        }
        Some(if len <= NAME_BYTES_MAX { Self::Unescaped(name, len) } else { Self::Other })
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Plain(key) => key,
            Self::Unescaped(name, len) => name.get(..*len).unwrap_or_default(),
            Self::Other => &[],
        }
    }

    fn is(&self, name: &[u8]) -> bool {
        self.bytes() == name
    }

    fn is_metadata(&self) -> bool {
        is_metadata(self.bytes())
    }
}

/// Whether a key without escapes is the name of a metadata field.
pub(super) fn is_metadata(key: &[u8]) -> bool {
    (NAME_BYTES_MIN..=NAME_BYTES_MAX).contains(&key.len()) && METADATA.iter().any(|name| name.as_bytes() == key)
}

/// The code unit of the escape whose backslash stands before `rest`, which goes on behind it then.
fn unescape(rest: &mut &[u8]) -> Option<u32> {
    let (&kind, behind) = rest.split_first()?;
    *rest = behind;
    Some(match kind {
        b'"' | b'\\' | b'/' => u32::from(kind),
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => 0x0a,
        b'r' => 0x0d,
        b't' => 0x09,
        b'u' => {
            let (digits, behind) = rest.split_at_checked(4)?;
            *rest = behind;
            digits.iter().try_fold(0, |unit, &digit| Some(unit * 16 + char::from(digit).to_digit(16)?))?
        }
        _ => return None,
    })
}

/// Bytes of the block that [`Pieces::join`] joins pieces in.
pub const PIECE_BLOCK_BYTES: usize = 1 << 10;
/// Bytes at which a piece ends, with the member that it has come to.
const PIECE_BYTES: usize = 4 << 10;

/// The texts of a whole record less its metadata, in their order, punctuation included: `{`, `"a":1,"b":2`, `}`. Joined without
/// anything between they are one JSON object. The blanks between members are not kept.
#[derive(Clone, Copy, Debug)]
pub struct Pieces<'w> {
    record: &'w [u8],
    bytes: usize,
    /// A member that is kept, from one place to the other: it need not be read again. Or nothing.
    longest: (usize, usize),
    place: PiecePlace,
}

impl PartialEq for Pieces<'_> {
    fn eq(&self, other: &Self) -> bool {
        // What is known of them makes no difference.
        (self.record, self.bytes, self.place) == (other.record, other.bytes, other.place)
    }
}

impl Eq for Pieces<'_> {}

/// A place between pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PiecePlace {
    /// The place in the record behind the last member that was given out.
    at: usize,
    next: NextPiece,
}

/// What is given out next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum NextPiece {
    #[default]
    Brace,
    First,
    /// A comma with the members behind it, or by itself.
    Comma,
    /// The member from one place to the other, behind a comma.
    Member(usize, usize),
    /// Members, likewise, and no more.
    Members(usize, usize),
    End,
}

impl<'w> Pieces<'w> {
    /// The same of the same record, which has moved.
    pub(super) const fn of(self, record: &[u8]) -> Pieces<'_> {
        Pieces { record, ..self }
    }

    /// Bytes of all pieces together.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The same from another place on.
    #[must_use]
    pub const fn from(self, place: PiecePlace) -> Self {
        Self { place, ..self }
    }

    /// The next pieces, short ones joined, for to do anything with a piece costs more than to copy a short one; and from where on
    /// they are given again. That of a long one says where it ends.
    pub fn join<'b>(&mut self, block: &'b mut [u8; PIECE_BLOCK_BYTES]) -> Option<(PiecePlace, &'b [u8])>
    where
        'w: 'b,
    {
        let long = block.len() / 2;
        let first = self.place;
        let mut piece = self.next()?;
        if piece.len() >= long {
            return Some((self.given(piece), piece));
        }
        let mut len = 0;
        loop {
            copy_short(block.get_mut(len..len + piece.len())?, piece);
            len += piece.len();
            let place = self.place;
            match self.next() {
                Some(next) if next.len() <= block.len() - len => piece = next,
                next => {
                    if let Some(next) = next {
                        self.place = if next.len() >= long { self.given(next) } else { place };
                    }
                    return Some((first, block.get(..len)?));
                }
            }
        }
    }

    /// The place of a piece of members that was given last.
    const fn given(&self, piece: &[u8]) -> PiecePlace {
        let end = self.place.at;
        PiecePlace { at: end, next: NextPiece::Members(end - piece.len(), end) }
    }

    /// The next member that is kept, from one place to the other.
    fn kept(&self, mut at: usize) -> Option<(usize, usize)> {
        loop {
            let start = member_start(self.record, at)?;
            if start == self.longest.0 {
                return Some(self.longest);
            }
            let (member, end) = member(self.record, start, false, (0, 0))?;
            if !member.is_metadata() {
                return Some((end - member.text.len(), end));
            }
            at = end;
        }
    }

    /// Gives out what begins at one place and goes to the other, with the members that follow at once.
    fn members(&mut self, start: usize, mut end: usize) -> Option<&'w [u8]> {
        while end - start < PIECE_BYTES
            && self.record.get(end..end + 2) == Some(b",\"")
            && let Some((next, next_end)) = self.kept(end)
            && next == end + 1
        {
            end = next_end;
        }
        self.place = PiecePlace { at: end, next: NextPiece::Comma };
        self.record.get(start..end)
    }

    fn end(&mut self) -> Option<&'w [u8]> {
        self.place.next = NextPiece::End;
        Some(b"}")
    }
}

/// Copies, without a call for what is as short as most members.
#[inline(always)]
fn copy_short(to: &mut [u8], from: &[u8]) {
    match (to, from) {
        ([to], [from]) => *to = *from,
        (to, from) if (8..=16).contains(&from.len()) => {
            if let (Some(to), Some(from)) = (to.first_chunk_mut::<8>(), from.first_chunk()) {
                *to = *from;
            }
            if let (Some(to), Some(from)) = (to.last_chunk_mut::<8>(), from.last_chunk()) {
                *to = *from;
            }
        }
        (to, from) => to.copy_from_slice(from),
    }
}

impl<'w> Iterator for Pieces<'w> {
    type Item = &'w [u8];

    fn next(&mut self) -> Option<&'w [u8]> {
        let PiecePlace { at, next } = self.place;
        match next {
            NextPiece::Brace => {
                self.place.next = NextPiece::First;
                Some(b"{")
            }
            NextPiece::First => match self.kept(1) {
                Some((start, end)) => self.members(start, end),
                None => self.end(),
            },
            NextPiece::Comma => match self.kept(at) {
                Some((start, end)) if self.record.get(start - 1) == Some(&b',') => self.members(start - 1, end),
                Some((start, end)) => {
                    self.place.next = NextPiece::Member(start, end);
                    Some(b",")
                }
                None => self.end(),
            },
            NextPiece::Member(start, end) => self.members(start, end),
            NextPiece::Members(start, end) => {
                self.place = PiecePlace { at: end, next: NextPiece::Comma };
                self.record.get(start..end)
            }
            NextPiece::End => None,
        }
    }
}
