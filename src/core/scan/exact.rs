//! The slow, complete way for the few records that [`super::fields`] leaves: every key compared unescaped, the last of
//! equal keys taken, a message that is no string judged by the whole grammar, and the whole-record rule.

use super::shape::{MESSAGE, TIMESTAMP};
use super::syntax::{Grammar, Look, in_scalar, skip_string};
use super::{Message, Stamp};

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

/// Most bytes that a character of a metadata field's name takes in a key: `\uXXXX`.
const ESCAPED_MAX: usize = 6;

/// Message and timestamp of the record `text`, whose skeleton is known to be sound. `None`: it is a bad record, because
/// of a bad escape in a key, or because the text that would be sent is no valid JSON.
pub(super) fn read(text: &[u8]) -> Option<(Message<'_>, Stamp<'_>)> {
    let (mut message, mut timestamp) = (None, Stamp::Missing);
    for member in members(text) {
        if is_key(member.key, MESSAGE)? {
            message = Some(member.value);
        } else if is_key(member.key, TIMESTAMP)? {
            timestamp = Stamp::of(member.value);
        }
    }
    let message = match message {
        Some([b'"', b'"']) => Message::Empty,
        Some([b'"', inside @ .., b'"']) => Message::Escaped(inside),
        Some(value) if value != b"null" => Grammar::is_value(value).then_some(Message::Json(value))?,
        Some(_) | None => {
            let sound = members(text).all(|member| member.is_metadata() || Grammar::is_value(member.value));
            sound.then_some(Message::Pieces(Pieces::new(text)))?
        }
    };
    Some((message, timestamp))
}

/// One `"key": value` of a record's top level.
#[derive(Clone, Copy, Debug)]
struct Member<'w> {
    /// From the key's quote to the value's last byte.
    text: &'w [u8],
    /// The inside of the key's string.
    key: &'w [u8],
    value: &'w [u8],
}

impl Member<'_> {
    fn is_metadata(&self) -> bool {
        let plain = memchr::memchr(b'\\', self.key).is_none();
        METADATA.iter().map(|name| name.as_bytes()).any(|name| {
            // Most keys are as they are meant; of the others, none that is too long to be the name is read.
            if plain {
                self.key == name
            } else {
                self.key.len() <= ESCAPED_MAX * name.len() && is_key(self.key, name) == Some(true)
            }
        })
    }
}

/// The members of a record of sound skeleton.
fn members(record: &[u8]) -> impl Iterator<Item = Member<'_>> {
    let mut at = 1;
    std::iter::from_fn(move || {
        let (member, end) = member(record, at)?;
        at = end;
        Some(member)
    })
}

/// The member that follows place `at`, and the place behind it.
fn member(record: &[u8], at: usize) -> Option<(Member<'_>, usize)> {
    let start = at + record.get(at..)?.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b','))?;
    if record.get(start) != Some(&b'"') {
        return None;
    }
    let key_end = string_end(record, start + 1)?;
    let colon = key_end + record.get(key_end..)?.iter().position(|&byte| byte == b':')?;
    let value_at = colon + 1 + record.get(colon + 1..)?.iter().position(|byte| !byte.is_ascii_whitespace())?;
    let end = value_end(record, value_at)?;
    let member = Member {
        text: record.get(start..end)?,
        key: record.get(start + 1..key_end)?,
        value: record.get(value_at..end)?,
    };
    Some((member, end))
}

fn value_end(record: &[u8], from: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = from;
    loop {
        match record.get(at)? {
            b'"' => at = string_end(record, at + 1)?,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            _ if depth == 0 => return Some(at + record.get(at..)?.iter().position(|&byte| !in_scalar(byte))?),
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

fn string_end(record: &[u8], from: usize) -> Option<usize> {
    match skip_string(record, from, &mut false) {
        Look::End(end) => Some(end),
        Look::Broken(_) | Look::RanOut => None,
    }
}

/// Whether an escaped key, unescaped, is `name`, which is ASCII. `None`: the key holds a bad escape.
fn is_key(mut key: &[u8], name: &[u8]) -> Option<bool> {
    if memchr::memchr(b'\\', key).is_none() {
        return Some(key == name);
    }
    let mut name = name.iter();
    let mut same = true;
    while let Some((&byte, rest)) = key.split_first() {
        key = rest;
        let unit = if byte == b'\\' {
            let (&kind, rest) = key.split_first()?;
            key = rest;
            match kind {
                b'"' | b'\\' | b'/' => u32::from(kind),
                b'b' => 0x08,
                b'f' => 0x0c,
                b'n' => 0x0a,
                b'r' => 0x0d,
                b't' => 0x09,
                b'u' => {
                    let (digits, rest) = key.split_at_checked(4)?;
                    key = rest;
                    digits.iter().try_fold(0, |unit, &digit| Some(unit * 16 + char::from(digit).to_digit(16)?))?
                }
                _ => return None,
            }
        } else {
            u32::from(byte)
        };
        same &= name.next().is_some_and(|&byte| u32::from(byte) == unit);
    }
    Some(same && name.next().is_none())
}

/// The texts of a whole record less its metadata, in their order, punctuation included: `{`, `"a":1`, `,`, `"b":2`, `}`.
/// Joined without anything between they are one JSON object. The blanks between members are not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pieces<'w> {
    record: &'w [u8],
    at: usize,
    stage: Stage<'w>,
}

/// What was given out last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage<'w> {
    Nothing,
    Brace,
    Comma(&'w [u8]),
    Member,
    End,
}

impl<'w> Pieces<'w> {
    const fn new(record: &'w [u8]) -> Self {
        Self { record, at: 1, stage: Stage::Nothing }
    }

    /// Bytes of the record, which the texts together do not exceed.
    pub(in crate::core) const fn record_bytes(&self) -> usize {
        self.record.len()
    }

    fn kept(&mut self) -> Option<&'w [u8]> {
        loop {
            let (member, end) = member(self.record, self.at)?;
            self.at = end;
            if !member.is_metadata() {
                return Some(member.text);
            }
        }
    }
}

impl<'w> Iterator for Pieces<'w> {
    type Item = &'w [u8];

    fn next(&mut self) -> Option<&'w [u8]> {
        let (piece, stage): (&[u8], _) = match self.stage {
            Stage::Nothing => (b"{", Stage::Brace),
            Stage::Brace => self.kept().map_or((b"}", Stage::End), |member| (member, Stage::Member)),
            Stage::Member => self.kept().map_or((b"}", Stage::End), |member| (b",", Stage::Comma(member))),
            Stage::Comma(member) => (member, Stage::Member),
            Stage::End => return None,
        };
        self.stage = stage;
        Some(piece)
    }
}
