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
use crate::core::simd::{Level, Simd, Task, WIDTH_MAX, escaped, longer_escapes};

/// An escape that JSON does not have, or a quote that is not escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text has an escape that JSON does not have, at byte {at}")]
pub struct BadEscape {
    /// Offset of the escape.
    pub at: usize,
}

/// Takes a text piece by piece. [`ControlFlow::Break`] ends the walk.
pub(super) trait Sink {
    /// Whether escapes may stand within a run.
    const WHOLE: bool;
    /// Valid UTF-8 that is written as it is, and stands for `len` bytes of text. If a run has no escapes in it these are its
    /// own, and it may be cut between characters.
    fn run(&mut self, written: &[u8], len: usize) -> ControlFlow<()>;
    /// One character as it is to be written, which stands for `len` bytes of UTF-8.
    fn character(&mut self, written: &[u8], len: usize) -> ControlFlow<()>;
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

    fn run(&mut self, written: &[u8], len: usize) -> ControlFlow<()> {
        self.put(written, len)
    }

    fn character(&mut self, written: &[u8], len: usize) -> ControlFlow<()> {
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
        let rest = text.get(run.bytes..).unwrap_or_default();
        let mut block = [0; WIDTH_MAX];
        if let Some(start) = block.get_mut(..rest.len())
            && !rest.is_empty()
        {
            start.copy_from_slice(rest);
            if let Some(bytes) = simd.load(&block) {
                // It ends at the zeros, or before them.
                run.add::<S, ESCAPES>(simd, bytes);
            }
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

    /// Hands the start of `text` that it is to a sink.
    fn put(self, text: &[u8], sink: &mut impl Sink) -> ControlFlow<()> {
        let text = text.get(..self.bytes).unwrap_or_default();
        if text.is_empty() {
            return ControlFlow::Continue(());
        }
        // Several times as fast as a walk by chunks, which is left to what is no UTF-8.
        let Seen { escapes, high } = self.seen;
        if !high || simdutf8::basic::from_utf8(text).is_ok() {
            return sink.run(text, text.len() - escapes);
        }
        text.utf8_chunks().try_for_each(|chunk| {
            // Whatever is no ASCII is part of no escape: so they are as whole as they were.
            let valid = chunk.valid().as_bytes();
            let escapes = if escapes == 0 { 0 } else { Level::PORTABLE.run(FindRun::<true>(valid)).seen.escapes };
            Self { bytes: valid.len(), seen: Seen { escapes, high: false } }.put(valid, sink)?;
            if chunk.invalid().is_empty() {
                ControlFlow::Continue(())
            } else {
                sink.character("\u{fffd}".as_bytes(), 3)
            }
        })
    }
}

fn put_control(byte: u8, sink: &mut impl Sink) -> ControlFlow<()> {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'\n' => sink.character(b"\\n", 1),
        b'\r' => sink.character(b"\\r", 1),
        b'\t' => sink.character(b"\\t", 1),
        _ => {
            let digit = |nibble: u8| HEX[usize::from(nibble & 15)];
            sink.character(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte)], 1)
        }
    }
}

/// Walks the inside of a JSON string. `Break` when the sink ended it.
pub(super) fn walk_escaped<S: Sink>(escaped: &[u8], level: Level, sink: &mut S) -> Result<ControlFlow<()>, BadEscape> {
    let mut rest = escaped;
    loop {
        let run = if S::WHOLE { level.run(FindRun::<true>(rest)) } else { level.run(FindRun::<false>(rest)) };
        if run.put(rest, sink).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        let tail = rest.get(run.bytes..).unwrap_or_default();
        let Some((&special, after)) = tail.split_first() else { return Ok(ControlFlow::Continue(())) };
        let bad = BadEscape { at: escaped.len() - tail.len() };
        let (flow, next) = match special {
            b'\\' => escape(tail, sink).ok_or(bad)?,
            b'"' => return Err(bad),
            control => (put_control(control, sink), after),
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
pub(super) fn walk_raw(text: &[u8], level: Level, sink: &mut impl Sink) -> ControlFlow<()> {
    let mut rest = text;
    loop {
        let run = level.run(FindRun::<false>(rest));
        run.put(rest, sink)?;
        let tail = rest.get(run.bytes..).unwrap_or_default();
        let Some((&special, after)) = tail.split_first() else { return ControlFlow::Continue(()) };
        match special {
            b'\\' => sink.character(b"\\\\", 1)?,
            b'"' => sink.character(b"\\\"", 1)?,
            control => put_control(control, sink)?,
        }
        rest = after;
    }
}

/// Reads the escape that `text` begins with. `None` when it is none.
fn escape<'t>(text: &'t [u8], sink: &mut impl Sink) -> Option<(ControlFlow<()>, &'t [u8])> {
    match text.get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
            let (escape, rest) = text.split_at_checked(2)?;
            Some((sink.character(escape, 1), rest))
        }
        b'u' => {
            let (escape, rest) = text.split_at_checked(6)?;
            let unit = unit(escape)?;
            match unit {
                0xd800..=0xdbff => {
                    let low = rest.get(..6).filter(|next| next.starts_with(b"\\u")).and_then(self::unit);
                    if low.is_some_and(|low| (0xdc00..=0xdfff).contains(&low)) {
                        let (pair, rest) = text.split_at_checked(12)?;
                        return Some((sink.character(pair, 4), rest));
                    }
                    Some((sink.character(b"\\ufffd", 3), rest))
                }
                0xdc00..=0xdfff => Some((sink.character(b"\\ufffd", 3), rest)),
                0..0x80 => Some((sink.character(escape, 1), rest)),
                0x80..0x800 => Some((sink.character(escape, 2), rest)),
                0x800.. => Some((sink.character(escape, 3), rest)),
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
