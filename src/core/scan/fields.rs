//! The top level of one record in one pass: its end, its `message`, its `timestamp`.
//!
//! Nearly every record takes this way and no other. Strings are skipped by vectors, nested values by their brackets;
//! nothing is copied, and what is unusual (see [`Fields::exact`]) is only noticed here and left to [`super::exact`].

use super::Stamp;
use super::syntax::{Look, Nesting, in_scalar, is_scalar, skip_string};

pub(super) const MESSAGE: &[u8] = b"message";
pub(super) const TIMESTAMP: &[u8] = b"timestamp";

/// What the bytes from a record's `{` on are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict<'w> {
    /// A whole record of sound skeleton.
    Whole(Fields<'w>),
    /// No record, whatever follows.
    Unsound,
    /// A newline before the record's end, outside a string; only asked for when a record must not span lines.
    Newline,
    /// The bytes end first.
    RanOut,
}

/// A record's length and fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fields<'w> {
    /// Bytes from `{` to `}`.
    pub(super) len: usize,
    /// The inside of the message's string.
    pub(super) message: &'w [u8],
    pub(super) timestamp: Stamp<'w>,
    /// The fields above are not to be used: a key holds an escape, or a message is absent or no string.
    pub(super) exact: bool,
}

/// Why a value has no end among the bytes.
enum Stop {
    Unsound,
    Newline,
    RanOut,
}

impl From<Look> for Stop {
    fn from(look: Look) -> Self {
        match look {
            Look::RanOut => Self::RanOut,
            Look::Broken(_) | Look::End(_) => Self::Unsound,
        }
    }
}

/// Reads the record at the start of `bytes`, which is its `{`. Whatever bytes follow, a verdict other than
/// [`Verdict::RanOut`] stays the same.
pub(super) fn read<const SPANNING: bool>(bytes: &[u8]) -> Verdict<'_> {
    match members::<SPANNING>(bytes) {
        Ok(fields) => Verdict::Whole(fields),
        Err(Stop::Unsound) => Verdict::Unsound,
        Err(Stop::Newline) => Verdict::Newline,
        Err(Stop::RanOut) => Verdict::RanOut,
    }
}

fn members<const SPANNING: bool>(bytes: &[u8]) -> Result<Fields<'_>, Stop> {
    debug_assert_eq!(bytes.first(), Some(&b'{'));
    let mut message = None;
    let mut timestamp = Stamp::Missing;
    let mut exact = false;
    let (mut byte, mut at) = token::<SPANNING>(bytes, 1)?;
    if byte != b'}' {
        loop {
            if byte != b'"' {
                return Err(Stop::Unsound);
            }
            let key_at = at + 1;
            let key_end = string::<true>(bytes, key_at, &mut exact)?;
            let (colon, colon_at) = token::<SPANNING>(bytes, key_end + 1)?;
            if colon != b':' {
                return Err(Stop::Unsound);
            }
            let (first, value_at) = token::<SPANNING>(bytes, colon_at + 1)?;
            let value_end = match first {
                b'"' => string::<false>(bytes, value_at + 1, &mut exact)? + 1,
                b'{' | b'[' => nested::<SPANNING>(bytes, value_at)?,
                _ => scalar(bytes, value_at)?,
            };
            match bytes.get(key_at..key_end).unwrap_or_default() {
                // Of equal keys the last wins.
                MESSAGE => {
                    exact |= first != b'"';
                    message = bytes.get(value_at + 1..value_end - 1);
                }
                TIMESTAMP => timestamp = Stamp::of(bytes.get(value_at..value_end).unwrap_or_default()),
                _ => {}
            }
            let (after, after_at) = token::<SPANNING>(bytes, value_end)?;
            at = after_at;
            if after == b'}' {
                break;
            }
            if after != b',' {
                return Err(Stop::Unsound);
            }
            (byte, at) = token::<SPANNING>(bytes, at + 1)?;
        }
    }
    exact |= message.is_none();
    Ok(Fields { len: at + 1, message: message.unwrap_or_default(), timestamp, exact })
}

/// The next byte that is no blank, and its place.
#[inline]
fn token<const SPANNING: bool>(bytes: &[u8], from: usize) -> Result<(u8, usize), Stop> {
    let mut at = from;
    loop {
        match bytes.get(at) {
            None => return Err(Stop::RanOut),
            Some(b' ' | b'\t' | b'\r') => at += 1,
            Some(b'\n') if SPANNING => at += 1,
            Some(b'\n') => return Err(Stop::Newline),
            Some(&byte) => return Ok((byte, at)),
        }
    }
}

/// The place of a string's closing quote. An escape within a key is noted.
#[inline]
fn string<const KEY: bool>(bytes: &[u8], from: usize, exact: &mut bool) -> Result<usize, Stop> {
    let mut escaped = false;
    match skip_string(bytes, from, &mut escaped) {
        Look::End(end) => {
            *exact |= KEY && escaped;
            Ok(end)
        }
        look @ (Look::Broken(_) | Look::RanOut) => Err(look.into()),
    }
}

/// The end of a nested value: brackets of matching kinds and terminated strings, nothing else is asked.
fn nested<const SPANNING: bool>(bytes: &[u8], from: usize) -> Result<usize, Stop> {
    let mut nesting = Nesting::default();
    nesting.open(b'{'); // the record itself
    let mut at = from;
    loop {
        match bytes.get(at) {
            None => return Err(Stop::RanOut),
            Some(b'"') => at = string::<false>(bytes, at + 1, &mut false)?,
            Some(&open @ (b'{' | b'[')) => {
                if !nesting.open(open) {
                    return Err(Stop::Unsound);
                }
            }
            Some(&close @ (b'}' | b']')) => {
                if !nesting.close(close) {
                    return Err(Stop::Unsound);
                }
                if nesting.depth() == 1 {
                    return Ok(at + 1);
                }
            }
            Some(b'\n') if !SPANNING => return Err(Stop::Newline),
            Some(_) => {}
        }
        at += 1;
    }
}

fn scalar(bytes: &[u8], from: usize) -> Result<usize, Stop> {
    let rest = bytes.get(from..).unwrap_or_default();
    let Some(len) = rest.iter().position(|&byte| !in_scalar(byte)) else { return Err(Stop::RanOut) };
    if rest.get(..len).is_some_and(is_scalar) { Ok(from + len) } else { Err(Stop::Unsound) }
}

impl<'w> Stamp<'w> {
    /// The stamp that a `timestamp` of this JSON text is.
    pub(super) fn of(value: &'w [u8]) -> Self {
        match value {
            [b'"', inside @ .., b'"'] => Self::Text(inside),
            [b'-' | b'0'..=b'9', ..] => Self::Number(value),
            _ => Self::Missing,
        }
    }
}
