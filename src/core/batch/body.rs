//! Text → the inside of a JSON string of a request body, counted as CloudWatch Logs counts it.
//!
//! A message mostly comes as it stands in the record: the inside of a JSON string, still escaped. It is copied as it is;
//! in the same pass its escapes and its UTF-8 are checked and the length of the text that it stands for is counted. What
//! comes out is always valid inside a JSON string: raw control characters are escaped, invalid UTF-8 and lone surrogates
//! become U+FFFD. What needs no change is found by vectors, with its escapes of two bytes, which are most.
//!
//! The text is handed to a [`Sink`] in pieces, so that one walk serves copying, measuring and splitting.

use std::ops::ControlFlow;

use super::GROW_BYTES;
use crate::core::scan::Seen;
use crate::core::simd::{Level, Simd, Task, WIDTH_MAX, escaped, load_padded, longer_escapes};

/// An escape that JSON does not have, or a quote that is not escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text has an escape that JSON does not have, at byte {at}")]
pub struct BadEscape {
    /// Offset of the escape.
    pub at: usize,
}

/// Takes a text piece by piece. [`ControlFlow::Break`] ends the walk.
pub(super) trait Sink {
    /// Whether it takes any text uncut.
    const WHOLE: bool;
    /// Whether it makes no difference to it how a text is written.
    const COUNTS: bool;
    /// Whether it takes so many more bytes of text uncut.
    fn has_room(&self, len: usize) -> bool;
    /// Valid UTF-8 that is written as it is, without an escape; it may be cut between characters.
    fn run(&mut self, text: &[u8]) -> ControlFlow<()>;
    /// What is written for `walked` bytes, and stands for `len` bytes of text. It has room for it, or it is one character.
    fn piece(&mut self, written: &[u8], len: usize, walked: usize) -> ControlFlow<()>;
}

/// Makes room for `more` bytes. A body grows in blocks: doubling it would take what nobody claimed.
#[inline]
pub(super) fn reserve(out: &mut Vec<u8>, more: usize) {
    if out.capacity() - out.len() < more {
        out.reserve_exact(more.next_multiple_of(GROW_BYTES));
    }
}

/// Writes to a body, which grows.
#[inline]
pub(super) fn append(out: &mut Vec<u8>, written: &[u8]) {
    reserve(out, written.len());
    out.extend_from_slice(written);
}

/// Writes to a body, up to a length of the text and an end of the body; it ends the walk at what would go beyond.
#[derive(Debug)]
pub(super) struct Writer<'o> {
    pub(super) out: &'o mut Vec<u8>,
    /// UTF-8 bytes of the text so far; above `len_max` when the walk was ended for that.
    pub(super) len: usize,
    pub(super) len_max: usize,
    pub(super) end: usize,
}

impl<'o> Writer<'o> {
    const fn unbounded(out: &'o mut Vec<u8>) -> Self {
        Self { out, len: 0, len_max: usize::MAX, end: usize::MAX }
    }

    fn put(&mut self, written: &[u8], len: usize) -> ControlFlow<()> {
        self.len += len;
        if self.len > self.len_max || written.len() > self.end.saturating_sub(self.out.len()) {
            return ControlFlow::Break(());
        }
        self.out.extend_from_slice(written);
        ControlFlow::Continue(())
    }
}

impl Sink for Writer<'_> {
    const WHOLE: bool = true;
    const COUNTS: bool = false;

    fn has_room(&self, _: usize) -> bool {
        true
    }

    fn run(&mut self, text: &[u8]) -> ControlFlow<()> {
        self.put(text, text.len())
    }

    fn piece(&mut self, written: &[u8], len: usize, _: usize) -> ControlFlow<()> {
        self.put(written, len)
    }
}

/// Copies the inside of a JSON string, still escaped, and gives the length of the text that it stands for in UTF-8 bytes.
///
/// # Errors
/// [`BadEscape`]; `out` then holds a part of the text, for the caller to cut off.
pub fn append_escaped(out: &mut Vec<u8>, escaped: &[u8], level: Level) -> Result<usize, BadEscape> {
    let mut writer = Writer::unbounded(out);
    let _all = walk_escaped(escaped, level, &mut writer)?;
    Ok(writer.len)
}

/// Escapes a text, and gives its length in UTF-8 bytes as it will be read.
pub fn append_escaping(out: &mut Vec<u8>, text: &[u8], level: Level) -> usize {
    let mut writer = Writer::unbounded(out);
    let _all = walk_raw(text, level, &mut writer);
    writer.len
}

/// The start of a text that is written as it is.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    /// Its bytes.
    bytes: usize,
    seen: Seen,
}

/// Finds a [`Run`] up to a quote or a control character that is not escaped, or up to any escape; if `ESCAPES` may stand in it,
/// to one of more than two bytes, or to none.
struct FindRun<'t, const ESCAPES: bool>(&'t [u8]);

impl<const ESCAPES: bool> Task for FindRun<'_, ESCAPES> {
    type Output = Run;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Run {
        let Self(text) = self;
        let mut run = Run::default();
        while let Some(bytes) = text.get(run.bytes..).and_then(|rest| simd.load(rest)) {
            if run.add::<S, ESCAPES>(simd, bytes) {
                return run;
            }
        }
        if let Some((bytes, _)) = text.get(run.bytes..).and_then(|rest| load_padded(simd, rest)) {
            // It ends at the zeros, or before them.
            run.add::<S, ESCAPES>(simd, bytes);
        }
        run
    }
}

impl Run {
    /// Adds what it can of the next bytes. Whether it ends among them.
    #[inline(always)]
    fn add<S: Simd, const ESCAPES: bool>(&mut self, simd: S, bytes: S::Bytes) -> bool {
        let (quotes, backslashes) = (simd.equal(bytes, b'"'), simd.equal(bytes, b'\\'));
        let unusual = simd.unusual(bytes);
        let special = simd.or(quotes, backslashes);
        if simd.bits(simd.or(special, unusual)) == 0 {
            self.bytes += S::WIDTH;
            return false;
        }
        let high = simd.high(bytes);
        let controls = simd.bits(unusual) & !high;
        let mut cut = false;
        let (starts, stops) = if ESCAPES {
            let backslashes = simd.bits(backslashes);
            let escaped = escaped(S::WIDTH, backslashes, &mut cut);
            let longer = longer_escapes(simd, bytes, special, escaped);
            (backslashes & !escaped, controls | simd.bits(quotes) & !escaped | longer)
        } else {
            (0, controls | simd.bits(special))
        };
        // An escape whose second byte is not here, or is not one of those, is not taken.
        let stop = stops & u64::MAX >> (64 - S::WIDTH);
        let taken = if stop == 0 {
            S::WIDTH - usize::from(cut)
        } else {
            let at = stop.trailing_zeros();
            let behind_start = at > 0 && starts >> (at - 1) & 1 == 1;
            at as usize - usize::from(behind_start)
        };
        let within = if taken == 0 { 0 } else { u64::MAX >> (64 - taken) };
        self.bytes += taken;
        self.seen.escapes += (starts & within).count_ones() as usize;
        self.seen.high |= high & within != 0;
        stop != 0
    }

    /// Hands the start of `text` that it is to a sink, which has room for what has escapes in it.
    fn put(self, text: &[u8], sink: &mut impl Sink) -> ControlFlow<()> {
        let text = text.get(..self.bytes).unwrap_or_default();
        if text.is_empty() {
            return ControlFlow::Continue(());
        }
        // Several times as fast as a walk by chunks, which is left to what is no UTF-8.
        let Seen { escapes, high } = self.seen;
        if !high || simdutf8::basic::from_utf8(text).is_ok() {
            return if escapes == 0 { sink.run(text) } else { sink.piece(text, text.len() - escapes, text.len()) };
        }
        let mut replaced = Replaced::default();
        let mut rest = text;
        loop {
            let invalid = invalid(rest);
            if invalid > 0 {
                replaced.add(invalid, sink)?;
                rest = rest.get(invalid..).unwrap_or_default();
                continue;
            }
            replaced.put(sink)?;
            // Whatever is no ASCII is part of no escape: so they are as whole as they were.
            let Some(valid) = rest.utf8_chunks().next().map(|chunk| chunk.valid().as_bytes()) else {
                return ControlFlow::Continue(());
            };
            let escapes = if escapes == 0 { 0 } else { Level::PORTABLE.run(FindRun::<true>(valid)).seen.escapes };
            Self { bytes: valid.len(), seen: Seen { escapes, high: false } }.put(valid, sink)?;
            rest = rest.get(valid.len()..).unwrap_or_default();
        }
    }

    /// The same without the character that may go on behind the block that it was found in.
    fn within(self, block: &[u8], text: &[u8]) -> Self {
        if self.bytes < block.len() || block.len() == text.len() {
            return self;
        }
        let tail = block.get(..self.bytes).unwrap_or_default().iter().rev();
        // Three that are not a character's first need no more.
        let behind = tail.take(3).take_while(|byte| **byte & 0xc0 == 0x80).count();
        let open = block.get(self.bytes.saturating_sub(behind + 1)).is_some_and(|first| behind < 3 && *first >= 0xc0);
        Self { bytes: if open { self.bytes - behind - 1 } else { self.bytes }, ..self }
    }
}

/// What is sent for bytes that are no UTF-8.
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();
/// It sixteen times, to be handed on together.
const REPLACEMENTS: &[u8] = "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}".as_bytes();

/// So many bytes of replacements, for so many that were walked.
#[derive(Debug, Default)]
struct Replaced {
    len: usize,
    walked: usize,
}

impl Replaced {
    /// Adds one, for so many bytes that were walked.
    fn add(&mut self, walked: usize, sink: &mut impl Sink) -> ControlFlow<()> {
        self.len += REPLACEMENT.len();
        self.walked += walked;
        if self.len < REPLACEMENTS.len() && sink.has_room(self.len + REPLACEMENT.len()) {
            ControlFlow::Continue(())
        } else {
            self.put(sink)
        }
    }

    /// Hands them to a sink that has room for them, and begins anew.
    fn put(&mut self, sink: &mut impl Sink) -> ControlFlow<()> {
        let Self { len, walked } = std::mem::take(self);
        if len == 0 {
            return ControlFlow::Continue(());
        }
        sink.piece(REPLACEMENTS.get(..len).unwrap_or_default(), len, walked)
    }
}

/// Of bytes that begin with no character, how many one U+FFFD stands for: the longest start of one, or a byte. Source: Unicode
/// Standard, 3.9, "U+FFFD Substitution of Maximal Subparts", which the standard library does, too. 0: they begin with one, or
/// there are none.
fn invalid(bytes: &[u8]) -> usize {
    let continues = |byte: Option<&u8>| byte.is_some_and(|byte| byte & 0xc0 == 0x80);
    let Some(first) = bytes.first() else { return 0 };
    let (characters, second) = match first {
        0..0x80 => return 0,
        0xc2..0xe0 => (2, 0x80..0xc0),
        0xe0 => (3, 0xa0..0xc0),
        0xed => (3, 0x80..0xa0),
        0xe1..0xf0 => (3, 0x80..0xc0),
        0xf0 => (4, 0x90..0xc0),
        0xf1..0xf4 => (4, 0x80..0xc0),
        0xf4 => (4, 0x80..0x90),
        _ => return 1,
    };
    if !bytes.get(1).is_some_and(|byte| second.contains(byte)) {
        return 1;
    }
    let more = (2..characters).take_while(|at| continues(bytes.get(*at))).count();
    if more + 2 == characters { 0 } else { more + 2 }
}

/// Bytes that a walk hands at once to a sink that cuts.
const BLOCK_BYTES: usize = 4 << 10;
/// Bytes of text for one that came, at most: [`REPLACEMENT`].
const GROWTH_MAX: usize = 3;

/// What a walk looks at at once of what is left: a sink that cuts may take no more of it than a part, and would see all of it
/// again for each.
fn block<S: Sink>(rest: &[u8]) -> &[u8] {
    if S::WHOLE { rest } else { rest.get(..BLOCK_BYTES).unwrap_or(rest) }
}

/// What is written for a byte: up to six bytes, lowest first, and in the highest how many. None: it is not written by itself.
type Table = [u64; 256];

/// For text that is not escaped.
static RAW: Table = table(false);
/// For the inside of a JSON string.
static ESCAPED: Table = table(true);

const fn table(escaped: bool) -> Table {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut table = [0; 256];
    let mut byte = 0_u8;
    while byte < 0x80 {
        let [high, low] = [HEX[byte as usize >> 4], HEX[byte as usize & 15]];
        let (written, len) = match byte {
            b'"' | b'\\' if escaped => ([0; 8], 0),
            b'"' | b'\\' => ([b'\\', byte, 0, 0, 0, 0, 0, 0], 2),
            b'\n' => ([b'\\', b'n', 0, 0, 0, 0, 0, 0], 2),
            b'\r' => ([b'\\', b'r', 0, 0, 0, 0, 0, 0], 2),
            b'\t' => ([b'\\', b't', 0, 0, 0, 0, 0, 0], 2),
            0..b' ' => ([b'\\', b'u', b'0', b'0', high, low, 0, 0], 6),
            _ => ([byte, 0, 0, 0, 0, 0, 0, 0], 1),
        };
        table[byte as usize] = u64::from_le_bytes(written) | len << 56;
        byte += 1;
    }
    table
}

/// Bytes that are written by a table together, and those after which it is asked whether that is still worth it.
const DENSE_BYTES: usize = 64;
const DENSE_STEP: usize = 16;
/// Bytes of text that they are at most: the last one may begin a character of four bytes.
const DENSE_TEXT_MAX: usize = GROWTH_MAX * (DENSE_BYTES - 1) + 4;

/// Hands the byte that `text` begins with to a sink, by a table that has it, and what is behind it as far as many bytes are not
/// written as they are. How many they were.
fn put_dense(text: &[u8], table: &Table, sink: &mut impl Sink) -> (ControlFlow<()>, usize) {
    let (mut written, mut walked) = ([0; 6 * DENSE_BYTES + 16], 0);
    loop {
        let has_room = sink.has_room(DENSE_TEXT_MAX);
        let most = if has_room { DENSE_BYTES } else { 1 };
        let rest = text.get(walked..).unwrap_or_default();
        let (mut len, mut taken, mut of_text, mut dense) = (0, 0, 0, has_room);
        let (mut step, mut before) = (DENSE_STEP, 0);
        while taken < most
            && let Some(&byte) = rest.get(taken)
        {
            if taken >= step {
                dense = len - before >= DENSE_STEP + 2;
                if !dense {
                    break;
                }
                (step, before) = (taken + DENSE_STEP, len);
            }
            let entry = table[usize::from(byte)].to_le_bytes();
            let of_byte = usize::from(entry[7]);
            let Some(room) = written.get_mut(len..len + 8) else { break };
            if of_byte > 0 {
                room.copy_from_slice(&entry);
                (len, taken, of_text) = (len + of_byte, taken + 1, of_text + 1);
                continue;
            }
            let (as_is, replaced) = character(rest.get(taken..).unwrap_or_default());
            let (put, of) = if replaced > 0 { (REPLACEMENT, replaced) } else { (as_is, as_is.len()) };
            if put.is_empty() {
                dense = false;
                break;
            }
            if let Some(room) = room.get_mut(..put.len()) {
                room.copy_from_slice(put);
            }
            (len, taken, of_text) = (len + put.len(), taken + of, of_text + put.len());
        }
        dense &= taken >= most && len - before >= DENSE_STEP + 2;
        if taken == 0 {
            return (ControlFlow::Continue(()), walked);
        }
        walked += taken;
        let flow = sink.piece(written.get(..len).unwrap_or_default(), of_text, taken);
        if flow.is_break() || !dense {
            return (flow, walked);
        }
    }
}

/// The character of several bytes that a text begins with; or how many bytes of it one U+FFFD stands for.
fn character(text: &[u8]) -> (&[u8], usize) {
    let invalid = invalid(text);
    let len = match text.first() {
        Some(0xc2..0xe0) => 2,
        Some(0xe0..0xf0) => 3,
        Some(0xf0..) => 4,
        _ => 0,
    };
    (if invalid == 0 { text.get(..len).unwrap_or_default() } else { &[] }, invalid)
}

/// Where the bytes of four go when a backslash is put before some of them.
#[derive(Clone, Copy, Debug)]
struct Spread {
    /// By how many bits each is moved up.
    shifts: [u8; 4],
    /// The backslashes.
    backslashes: u64,
}

/// By a bit for each of the four, the lowest for the first.
static SPREADS: [Spread; 16] = {
    let mut spreads = [Spread { shifts: [0; 4], backslashes: 0 }; 16];
    let mut bits = 0;
    while bits < 16 {
        let (mut at, mut shift) = (0_u8, 0);
        while at < 4 {
            if bits >> at & 1 == 1 {
                spreads[bits].backslashes |= (b'\\' as u64) << (8 * at + shift);
                shift += 8;
            }
            spreads[bits].shifts[at as usize] = shift;
            at += 1;
        }
        bits += 1;
    }
    spreads
};

/// Most bytes that a vector's are written as with backslashes, and what is written behind them.
const QUOTED_MAX: usize = 2 * WIDTH_MAX + 8;

/// Quotes of what is written together from which on there will be some in what follows.
const MANY_QUOTES: usize = 4;

/// Writes the first few bytes of a text with a backslash before each quote and backslash, up to a control character or what is no
/// ASCII. How many bytes they were, and are.
struct Quote<'t, 'w>(&'t [u8], &'w mut [u8; QUOTED_MAX]);

impl Task for Quote<'_, '_> {
    type Output = (usize, usize);

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> (usize, usize) {
        let Self(text, written) = self;
        let Some((vector, len)) = load_padded(simd, text) else { return (0, 0) };
        let mut special = simd.bits(simd.or(simd.equal(vector, b'"'), simd.equal(vector, b'\\')));
        let usual = len.min(simd.bits(simd.unusual(vector)).trailing_zeros() as usize);
        let (mut walked, mut len) = (0, 0);
        while walked < usual {
            let rest = text.get(walked..).unwrap_or_default();
            let four =
                rest.first_chunk().copied().unwrap_or_else(|| std::array::from_fn(|at| *rest.get(at).unwrap_or(&0)));
            let taken = (usual - walked).min(4);
            let bits = (special & 0xf) as usize & ((1 << taken) - 1);
            let Spread { shifts: [a, b, c, d], backslashes } = SPREADS[bits % 16];
            let four = u64::from(u32::from_le_bytes(four));
            let low = (four & 0xff) << a | (four & 0xff00) << b;
            let high = (four & 0xff_0000) << c | (four & 0xff00_0000) << d;
            if let Some(eight) = written.get_mut(len..len + 8) {
                eight.copy_from_slice(&(low | high | backslashes).to_le_bytes());
            }
            special >>= 4;
            walked += taken;
            len += taken + bits.count_ones() as usize;
        }
        (walked, len)
    }
}

/// Walks the inside of a JSON string. `Break` when the sink ended it.
pub(super) fn walk_escaped<S: Sink>(escaped: &[u8], level: Level, sink: &mut S) -> Result<ControlFlow<()>, BadEscape> {
    let mut rest = escaped;
    loop {
        let block = block::<S>(rest);
        let run = if S::WHOLE || sink.has_room(GROWTH_MAX * block.len()) {
            level.run(FindRun::<true>(block))
        } else {
            level.run(FindRun::<false>(block))
        };
        let run = run.within(block, rest);
        if run.put(rest, sink).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        let tail = rest.get(run.bytes..).unwrap_or_default();
        let Some((&special, _)) = tail.split_first() else { return Ok(ControlFlow::Continue(())) };
        let bad = BadEscape { at: escaped.len() - tail.len() };
        let (flow, next) = match special {
            b'\\' => escape(tail, sink).ok_or(bad)?,
            b'"' => return Err(bad),
            0..b' ' => {
                let (flow, taken) = put_dense(tail, &ESCAPED, sink);
                (flow, tail.get(taken..).unwrap_or_default())
            }
            // The block ended.
            _ => (ControlFlow::Continue(()), tail),
        };
        if flow.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        rest = next;
    }
}

/// The same, of one of which it is known what there is in it.
pub(super) fn walk_seen<S: Sink>(
    escaped: &[u8],
    seen: Seen,
    level: Level,
    sink: &mut S,
) -> Result<ControlFlow<()>, BadEscape> {
    if !S::WHOLE {
        return walk_escaped(escaped, level, sink);
    }
    Ok(Run { bytes: escaped.len(), seen }.put(escaped, sink))
}

/// Walks a text that is not escaped yet. `Break` when the sink ended it.
pub(super) fn walk_raw<S: Sink>(text: &[u8], level: Level, sink: &mut S) -> ControlFlow<()> {
    if S::COUNTS && simdutf8::basic::from_utf8(text).is_ok() {
        return sink.run(text);
    }
    let (mut rest, mut many) = (text, false);
    loop {
        let mut tail = rest;
        if !many {
            let block = block::<S>(rest);
            let run = level.run(FindRun::<false>(block)).within(block, rest);
            run.put(rest, sink)?;
            tail = rest.get(run.bytes..).unwrap_or_default();
        }
        if tail.is_empty() {
            return ControlFlow::Continue(());
        }
        if sink.has_room(WIDTH_MAX) {
            let mut written = [0; QUOTED_MAX];
            let (walked, len) = level.run(Quote(tail, &mut written));
            sink.piece(written.get(..len).unwrap_or_default(), walked, walked)?;
            // Where quotes are many they are not searched for.
            many = len - walked >= MANY_QUOTES;
            if walked > 0 {
                rest = tail.get(walked..).unwrap_or_default();
                continue;
            }
        }
        many = false;
        let (flow, taken) = put_dense(tail, &RAW, sink);
        flow?;
        rest = tail.get(taken..).unwrap_or_default();
    }
}

/// Reads the escape that `text` begins with. `None` when it is none.
fn escape<'t>(text: &'t [u8], sink: &mut impl Sink) -> Option<(ControlFlow<()>, &'t [u8])> {
    match text.get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
            let (escape, rest) = text.split_at_checked(2)?;
            Some((sink.piece(escape, 1, 2), rest))
        }
        b'u' => {
            let (escape, rest) = text.split_at_checked(6)?;
            let unit = unit(escape)?;
            match unit {
                0xd800..=0xdbff => {
                    let low = rest.get(..6).filter(|next| next.starts_with(b"\\u")).and_then(self::unit);
                    if low.is_some_and(|low| (0xdc00..=0xdfff).contains(&low)) {
                        let (pair, rest) = text.split_at_checked(12)?;
                        return Some((sink.piece(pair, 4, 12), rest));
                    }
                    Some((sink.piece(b"\\ufffd", 3, 6), rest))
                }
                0xdc00..=0xdfff => Some((sink.piece(b"\\ufffd", 3, 6), rest)),
                0..0x80 => Some((sink.piece(escape, 1, 6), rest)),
                0x80..0x800 => Some((sink.piece(escape, 2, 6), rest)),
                0x800.. => Some((sink.piece(escape, 3, 6), rest)),
            }
        }
        _ => None,
    }
}

/// The code unit of `\uXXXX`.
fn unit(escape: &[u8]) -> Option<u16> {
    escape.get(2..6)?.iter().try_fold(0_u16, |unit, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(unit << 4 | u16::try_from(digit).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn copied(escaped: &[u8]) -> Result<(String, usize), BadEscape> {
        let mut levels = Level::all().map(|level| {
            let mut out = Vec::new();
            append_escaped(&mut out, escaped, level).map(|len| (out, len))
        });
        let found = levels.next().unwrap();
        levels.for_each(|other| assert_eq!(other, found));
        let (out, len) = found?;
        let json = format!("\"{}\"", String::from_utf8(out).unwrap());
        Ok((serde_json::from_str(&json).unwrap(), len))
    }

    #[test]
    fn escapes_are_copied_checked_and_counted() {
        let cases: &[(&[u8], &str)] = &[
            (b"plain", "plain"),
            (br#"a\"b\\c\/d\b\f\n\r\t"#, "a\"b\\c/d\u{8}\u{c}\n\r\t"),
            (br"\u0000\u007f\u0080\u07ff\u0800\uffff", "\0\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}"),
            (br"\ud83d\ude00 \uD83D\uDE00", "😀 😀"),
            (br"\ud83d", "\u{fffd}"),
            (br"\ude00x", "\u{fffd}x"),
            (br"\ud83d\u0041", "\u{fffd}A"),
            (br"\ud83d\ud83d\ude00", "\u{fffd}😀"),
            (b"tab\there\x01", "tab\there\u{1}"),
            ("größe 😀".as_bytes(), "größe 😀"),
            (b"\xff\xe2\x82x", "\u{fffd}\u{fffd}x"),
            (b"\xe2\x82\\n", "\u{fffd}\n"),
        ];
        for (escaped, text) in cases {
            assert_eq!(copied(escaped), Ok(((*text).to_owned(), text.len())), "{escaped:?}");
        }
    }

    #[test]
    fn what_is_no_utf_8_is_replaced_as_the_standard_library_does() {
        let bytes = [
            0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef,
            0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff,
        ];
        let of = |four: [usize; 4]| four.map(|at| bytes[at]);
        let all = 0..bytes.len();
        for (a, b) in all.clone().flat_map(|a| all.clone().map(move |b| (a, b))) {
            for (c, d) in all.clone().flat_map(|c| all.clone().map(move |d| (c, d))) {
                let text = of([a, b, c, d]);
                for text in [&text[..], &text[..3], &text[..2], &text[..1], &[]] {
                    let chunk = text.utf8_chunks().next();
                    let expected =
                        chunk.filter(|chunk| chunk.valid().is_empty()).map_or(0, |chunk| chunk.invalid().len());
                    assert_eq!(invalid(text), expected, "{text:x?}");
                }
            }
        }
    }

    #[test]
    fn bad_escapes_are_refused_where_they_stand() {
        for bad in [&br"ab\x"[..], br"ab\", br"ab\u12", br"ab\u12g4", br#"ab"c"#, br"ab\u+123"] {
            assert_eq!(copied(bad), Err(BadEscape { at: 2 }), "{bad:?}");
        }
    }

    proptest! {
        /// The text that serde_json reads from the string is the text that arrives, and its length is what is counted.
        #[test]
        fn texts_arrive_as_they_were(text in any::<String>(), ascii in any::<bool>()) {
            let mut json = serde_json::to_string(&text).unwrap();
            if ascii {
                json = json.chars().map(|c| match c {
                    c if c.is_ascii() => c.to_string(),
                    c => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
                }).collect();
            }
            let inside = &json.as_bytes()[1..json.len() - 1];
            prop_assert_eq!(copied(inside), Ok((text.clone(), text.len())));
        }

        /// Raw text comes out as itself, with what is no UTF-8 replaced as the standard library does it.
        #[test]
        fn raw_texts_are_escaped(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut levels = Level::all().map(|level| {
                let mut out = Vec::new();
                let len = append_escaping(&mut out, &text, level);
                (out, len)
            });
            let (out, len) = levels.next().unwrap();
            levels.for_each(|other| assert_eq!(other, (out.clone(), len)));
            let read: String = serde_json::from_str(&format!("\"{}\"", String::from_utf8(out).unwrap())).unwrap();
            let expected = String::from_utf8_lossy(&text);
            prop_assert_eq!(len, expected.len());
            prop_assert_eq!(read, expected);
        }

        /// Whatever stands between quotes is refused or becomes a valid string, and serde_json refuses what is refused.
        #[test]
        fn noise_is_refused_or_valid(noise in prop::collection::vec(prop_oneof![
            Just(b'\\'), Just(b'u'), Just(b'd'), Just(b'8'), Just(b'0'), Just(b'n'), Just(b'"'), Just(0xc3), any::<u8>(),
        ], 0..100)) {
            let refused = copied(&noise).is_err();
            let json = [b"\"", &noise[..], b"\""].concat();
            if refused {
                prop_assert!(serde_json::from_slice::<String>(&json).is_err());
            } else if let Ok(text) = serde_json::from_slice::<String>(&json) {
                prop_assert_eq!(copied(&noise), Ok((text.clone(), text.len())));
            }
        }
    }
}
