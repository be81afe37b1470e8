//! The lexical rules that every part of the scanner shares, and the two machines that find a value's end across windows.
//!
//! Both machines are fed only the bytes they have not seen, so a value of any length costs one look at each byte however
//! the windows cut it, and both are of constant size. [`Balance`] counts brackets and skips strings: it finds the end of
//! a whole but bad array element. [`Grammar`] is all of RFC 8259: it frames pretty-printed values, where a value that
//! lost its closing bracket must be noticed before it swallows the object, and it judges nested text that is to be sent.

use super::fields::string_end;
use crate::core::simd::{Level, WIDTH_MAX};

/// Levels of nesting of one record, its own braces included; a deeper one is a bad record. serde_json stops at 128.
pub const NESTING_MAX: usize = 1024;
const NESTING_WORDS: usize = NESTING_MAX / 64;
const _: () = assert!(NESTING_MAX.is_multiple_of(64));

/// What a look at a value's next bytes came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// The value ends before this byte of those given.
    End(usize),
    /// This byte of those given cannot belong to the value.
    Broken(usize),
    /// All were taken.
    RanOut,
}

const EACH_BYTE: u64 = 0x0101_0101_0101_0101;
const EACH_TOP: u64 = 0x8080_8080_8080_8080;
/// Escapes looked at one by one before vectors are worth their start.
const ESCAPES_BY_HAND: usize = 8;
/// Words looked at by hand before memchr's vectors are worth their start: most strings are short.
const WORDS_BY_HAND: usize = 4;

/// The zero bytes of a word, each as its top bit; only the lowest one is certain.
#[inline]
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(EACH_BYTE) & !word & EACH_TOP
}

/// The quotes, backslashes and newlines of a word, as [`zeros`].
#[inline(always)]
const fn string_stops(word: u64) -> u64 {
    zeros(word ^ (EACH_BYTE * b'"' as u64))
        | zeros(word ^ (EACH_BYTE * b'\\' as u64))
        | zeros(word ^ (EACH_BYTE * b'\n' as u64))
}

/// The place of the closing quote of a string whose inside begins here, if it is as short as most keys, and plain.
#[inline(always)]
pub(super) fn short_end(bytes: &[u8], from: usize) -> Option<usize> {
    let word = bytes.get(from..)?.first_chunk::<8>()?;
    let stops = string_stops(u64::from_le_bytes(*word));
    let at = from + (stops.trailing_zeros() / 8) as usize;
    (stops != 0 && bytes.get(at) == Some(&b'"')).then_some(at)
}

/// The place of the first quote, backslash or newline from `from` on, or the length.
#[inline]
pub(super) fn string_stop(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    for _ in 0..WORDS_BY_HAND {
        let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) else {
            let tail = bytes.get(at..).unwrap_or_default();
            return tail
                .iter()
                .position(|byte| matches!(byte, b'"' | b'\\' | b'\n'))
                .map_or(bytes.len(), |found| at + found);
        };
        let hits = string_stops(u64::from_le_bytes(*word));
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let tail = bytes.get(at..).unwrap_or_default();
    memchr::memchr3(b'"', b'\\', b'\n', tail).map_or(bytes.len(), |found| at + found)
}

/// Skips a string from behind its opening quote: [`Look::End`] is the place of the closing quote. A raw newline is never
/// within a string, so that one lost quote costs one line.
#[inline]
pub(super) fn skip_string(bytes: &[u8], from: usize, escaped: &mut bool) -> Look {
    let mut at = from;
    let mut escapes = 0;
    loop {
        if escapes == ESCAPES_BY_HAND && bytes.len() - at >= 2 * WIDTH_MAX {
            return string_end(Level::best(), bytes, at, escaped);
        }
        at = string_stop(bytes, at);
        match bytes.get(at) {
            None => return Look::RanOut,
            Some(b'"') => return Look::End(at),
            Some(b'\\') => match bytes.get(at + 1) {
                None => return Look::RanOut,
                Some(b'\n') => return Look::Broken(at + 1),
                Some(_) => {
                    *escaped = true;
                    escapes += 1;
                    at += 2;
                }
            },
            Some(_) => return Look::Broken(at),
        }
    }
}

/// Whether the last byte of a string that goes on behind `bytes` begins an escape: from place `from` on it is within.
fn ends_in_escape(bytes: &[u8], from: usize) -> bool {
    let within = bytes.get(from..).unwrap_or_default();
    within.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// Whether a byte may stand in `true`, `false`, `null` or a number, or in what someone took for one.
pub(in crate::core) const fn in_scalar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

/// Whether this is `true`, `false`, `null` or a number, whole.
pub(in crate::core) fn is_scalar(text: &[u8]) -> bool {
    let mut scalar = None;
    for &byte in text {
        scalar = match scalar {
            None => Scalar::begin(byte),
            Some(scalar) => Scalar::step(scalar, byte),
        };
        if scalar.is_none() {
            return false;
        }
    }
    scalar.is_some_and(Scalar::whole)
}

/// `true`, `false`, `null` or a number, so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scalar {
    /// What a literal still lacks.
    Literal(&'static [u8]),
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

impl Scalar {
    const fn begin(byte: u8) -> Option<Self> {
        match byte {
            b't' => Some(Self::Literal(b"rue")),
            b'f' => Some(Self::Literal(b"alse")),
            b'n' => Some(Self::Literal(b"ull")),
            b'-' => Some(Self::Minus),
            b'0' => Some(Self::Zero),
            b'1'..=b'9' => Some(Self::Integer),
            _ => None,
        }
    }

    fn step(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Literal(lacks), _) => {
                let (&next, lacks) = lacks.split_first()?;
                (next == byte).then_some(Self::Literal(lacks))
            }
            (Self::Minus, b'0') => Some(Self::Zero),
            (Self::Minus, b'1'..=b'9') | (Self::Integer, b'0'..=b'9') => Some(Self::Integer),
            (Self::Zero | Self::Integer, b'.') => Some(Self::Point),
            (Self::Point | Self::Fraction, b'0'..=b'9') => Some(Self::Fraction),
            (Self::Zero | Self::Integer | Self::Fraction, b'e' | b'E') => Some(Self::Exponent),
            (Self::Exponent, b'+' | b'-') => Some(Self::ExponentSign),
            (Self::Exponent | Self::ExponentSign | Self::ExponentDigits, b'0'..=b'9') => Some(Self::ExponentDigits),
            _ => None,
        }
    }

    const fn whole(self) -> bool {
        match self {
            Self::Literal(lacks) => lacks.is_empty(),
            Self::Zero | Self::Integer | Self::Fraction | Self::ExponentDigits => true,
            Self::Minus | Self::Point | Self::Exponent | Self::ExponentSign => false,
        }
    }
}

/// The open brackets, one bit each: set for an object.
#[derive(Clone, Debug, Default)]
pub(super) struct Nesting {
    kinds: [u64; NESTING_WORDS],
    depth: usize,
}

impl Nesting {
    pub(super) const fn depth(&self) -> usize {
        self.depth
    }

    /// Opens a level; `false` when that is too deep.
    pub(super) fn open(&mut self, bracket: u8) -> bool {
        let Some(word) = self.kinds.get_mut(self.depth / 64) else { return false };
        let bit = 1 << (self.depth % 64);
        if bracket == b'{' {
            *word |= bit;
        } else {
            *word &= !bit;
        }
        self.depth += 1;
        true
    }

    /// Closes a level; `false` when the bracket is of the wrong kind or none is open.
    pub(super) fn close(&mut self, bracket: u8) -> bool {
        let fits = self.depth > 0 && self.in_object() == (bracket == b'}');
        if fits {
            self.depth -= 1;
        }
        fits
    }

    /// Whether the innermost open bracket is a brace.
    fn in_object(&self) -> bool {
        let Some(level) = self.depth.checked_sub(1) else { return false };
        self.kinds.get(level / 64).is_some_and(|word| word >> (level % 64) & 1 == 1)
    }
}

/// Where a machine stands when its bytes run out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Within {
    #[default]
    Nothing,
    String,
    /// Behind a backslash.
    Escape,
    /// Hexadecimal digits still to come.
    Hex(u8),
    Scalar,
}

/// Finds the end of a value by its brackets and strings alone.
///
/// Levels beyond [`NESTING_MAX`] are counted without their kind, so that an element too deep to be read can still be
/// skipped.
#[derive(Clone, Debug, Default)]
pub(super) struct Balance {
    nesting: Nesting,
    beyond: u64,
    within: Within,
    /// A newline was passed.
    crossed: bool,
}

impl Balance {
    pub(super) const fn crossed(&self) -> bool {
        self.crossed
    }

    /// Looks at the value's next bytes. A newline outside a string is broken unless the value may span lines.
    pub(super) fn look(&mut self, bytes: &[u8], spanning: bool) -> Look {
        let mut at = 0;
        loop {
            match self.within {
                Within::String => {
                    match skip_string(bytes, at, &mut false) {
                        Look::End(quote) => at = quote + 1,
                        Look::Broken(at) => return Look::Broken(at),
                        Look::RanOut => {
                            if ends_in_escape(bytes, at) {
                                self.within = Within::Escape;
                            }
                            return Look::RanOut;
                        }
                    }
                    self.within = Within::Nothing;
                    if self.closed() {
                        return Look::End(at);
                    }
                    continue;
                }
                Within::Escape | Within::Hex(_) => {
                    match bytes.get(at) {
                        None => return Look::RanOut,
                        Some(b'\n') => return Look::Broken(at),
                        Some(_) => self.within = Within::String,
                    }
                    at += 1;
                    continue;
                }
                Within::Scalar => {
                    let len = bytes.get(at..).unwrap_or_default().iter().position(|&byte| !in_scalar(byte));
                    return len.map_or(Look::RanOut, |len| Look::End(at + len));
                }
                Within::Nothing => {}
            }
            let Some(&byte) = bytes.get(at) else { return Look::RanOut };
            match byte {
                b'"' => self.within = Within::String,
                b'{' | b'[' => {
                    let within = self.beyond == 0 && self.nesting.open(byte);
                    self.beyond += u64::from(!within);
                }
                b'}' | b']' => {
                    if self.beyond > 0 {
                        self.beyond -= 1;
                    } else if !self.nesting.close(byte) {
                        return Look::Broken(at);
                    }
                    if self.closed() {
                        return Look::End(at + 1);
                    }
                }
                b'\n' if !spanning => return Look::Broken(at),
                b'\n' => self.crossed = true,
                _ if self.closed() && !in_scalar(byte) => return Look::Broken(at),
                _ if self.closed() => self.within = Within::Scalar,
                _ => {}
            }
            at += 1;
        }
    }

    const fn closed(&self) -> bool {
        self.nesting.depth() == 0 && self.beyond == 0
    }
}

/// What may come next in a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Expect {
    #[default]
    Value,
    ElementOrEnd,
    KeyOrEnd,
    Key,
    Colon,
    CommaOrEnd,
}

/// Reads one value by the whole grammar. Control characters but newline are let pass within strings, as everywhere in
/// the scanner, and so is invalid UTF-8; a value that spans lines may have newlines wherever blanks may be.
#[derive(Clone, Debug, Default)]
pub(super) struct Grammar {
    nesting: Nesting,
    within: Within,
    scalar: Option<Scalar>,
    expect: Expect,
    /// The string being read is a key.
    key: bool,
    /// Escapes must be sound, which matters only for text that is sent as it is.
    escapes: bool,
}

impl Grammar {
    /// A reader that also judges escapes.
    pub(super) fn with_escapes() -> Self {
        Self { escapes: true, ..Self::default() }
    }

    /// Whether all of `text` is one value that may be sent as it is.
    pub(super) fn is_value(text: &[u8]) -> bool {
        let mut grammar = Self::with_escapes();
        match grammar.look(text) {
            Look::End(end) => end == text.len(),
            Look::RanOut => grammar.nesting.depth() == 0 && grammar.scalar.is_some_and(Scalar::whole),
            Look::Broken(_) => false,
        }
    }

    /// The length of the nested value that `text` begins with, if it may be sent as it is.
    pub(super) fn end(text: &[u8]) -> Option<usize> {
        match Self::with_escapes().look(text) {
            Look::End(end) => Some(end),
            Look::RanOut | Look::Broken(_) => None,
        }
    }

    pub(super) const fn in_string(&self) -> bool {
        matches!(self.within, Within::String | Within::Escape | Within::Hex(_))
    }

    /// Looks at the value's next bytes.
    pub(super) fn look(&mut self, bytes: &[u8]) -> Look {
        let mut at = 0;
        loop {
            if self.within == Within::String {
                at = self.skip(bytes, at);
            }
            let Some(&byte) = bytes.get(at) else { return Look::RanOut };
            match self.within {
                Within::String | Within::Escape | Within::Hex(_) => match self.string_byte(byte) {
                    Some(true) if self.nesting.depth() == 0 => return Look::End(at + 1),
                    Some(_) => {}
                    None => return Look::Broken(at),
                },
                Within::Scalar if in_scalar(byte) => match self.scalar.and_then(|scalar| scalar.step(byte)) {
                    Some(scalar) => self.scalar = Some(scalar),
                    None => return Look::Broken(at),
                },
                Within::Scalar => {
                    if !self.scalar.is_some_and(Scalar::whole) {
                        return Look::Broken(at);
                    }
                    self.within = Within::Nothing;
                    if self.nesting.depth() == 0 {
                        return Look::End(at);
                    }
                    self.expect = Expect::CommaOrEnd;
                    continue;
                }
                Within::Nothing => {
                    if self.nesting.depth() > 0
                        && let Some(end) = self.whole(byte, bytes, at)
                    {
                        at = end;
                        continue;
                    }
                    if !self.token(byte) {
                        return Look::Broken(at);
                    }
                    if self.nesting.depth() == 0 && self.within == Within::Nothing && matches!(byte, b'}' | b']') {
                        return Look::End(at + 1);
                    }
                }
            }
            at += 1;
        }
    }

    /// Passes over a nested string or scalar that begins at `at` if all of it is there, and over a key's colon or a value's comma:
    /// the place behind.
    fn whole(&mut self, byte: u8, bytes: &[u8], at: usize) -> Option<usize> {
        let key = match self.expect {
            Expect::Key | Expect::KeyOrEnd => true,
            Expect::Value | Expect::ElementOrEnd => false,
            Expect::Colon | Expect::CommaOrEnd => return None,
        };
        let end = if byte == b'"' {
            let quote = short_end(bytes, at + 1).unwrap_or_else(|| self.skip(bytes, at + 1));
            (bytes.get(quote) == Some(&b'"')).then_some(quote + 1)?
        } else if !key && byte.is_ascii_digit() && bytes.get(at + 1).is_some_and(|&byte| !in_scalar(byte)) {
            at + 1
        } else if !key && in_scalar(byte) {
            let len = bytes.get(at..)?.iter().position(|&byte| !in_scalar(byte))?;
            is_scalar(bytes.get(at..at + len)?).then_some(at + len)?
        } else {
            return None;
        };
        let (behind, next, otherwise) = if key {
            (b':', Expect::Value, Expect::Colon)
        } else {
            (b',', if self.nesting.in_object() { Expect::Key } else { Expect::Value }, Expect::CommaOrEnd)
        };
        if bytes.get(end) == Some(&behind) {
            self.expect = next;
            return Some(end + 1);
        }
        self.expect = otherwise;
        Some(end)
    }

    /// The place of the byte within a string, from `at` on, that [`Self::string_byte`] must look at.
    fn skip(&self, bytes: &[u8], mut at: usize) -> usize {
        if !self.escapes {
            return match skip_string(bytes, at, &mut false) {
                Look::End(at) | Look::Broken(at) => at,
                Look::RanOut => bytes.len() - usize::from(ends_in_escape(bytes, at)),
            };
        }
        loop {
            at = string_stop(bytes, at);
            match bytes.get(at..) {
                Some([b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..]) => at += 2,
                _ => return at,
            }
        }
    }

    /// One byte within a string; `Some(true)` when it ended the string, `None` when it cannot be there.
    fn string_byte(&mut self, byte: u8) -> Option<bool> {
        if byte == b'\n' {
            return None;
        }
        self.within = match self.within {
            Within::String if byte == b'\\' => Within::Escape,
            Within::String if byte == b'"' => {
                self.expect = if self.key { Expect::Colon } else { Expect::CommaOrEnd };
                self.within = Within::Nothing;
                return Some(true);
            }
            Within::Escape if self.escapes => match byte {
                b'u' => Within::Hex(4),
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Within::String,
                _ => return None,
            },
            Within::Hex(_) if !byte.is_ascii_hexdigit() => return None,
            Within::Hex(left) if left > 1 => Within::Hex(left - 1),
            Within::String | Within::Escape | Within::Hex(_) | Within::Nothing | Within::Scalar => Within::String,
        };
        Some(false)
    }

    /// One byte outside strings and scalars; whether it may be there.
    #[inline]
    fn token(&mut self, byte: u8) -> bool {
        match (byte, self.expect) {
            (b' ' | b'\t' | b'\r' | b'\n', _) => {}
            (b'"', Expect::Value | Expect::ElementOrEnd) => {
                self.within = Within::String;
                self.key = false;
            }
            (b'"', Expect::Key | Expect::KeyOrEnd) => {
                self.within = Within::String;
                self.key = true;
            }
            (b':', Expect::Colon) => self.expect = Expect::Value,
            (b',', Expect::CommaOrEnd) => {
                self.expect = if self.nesting.in_object() { Expect::Key } else { Expect::Value };
            }
            (b'}', Expect::KeyOrEnd | Expect::CommaOrEnd) | (b']', Expect::ElementOrEnd | Expect::CommaOrEnd) => {
                self.expect = Expect::CommaOrEnd;
                return self.nesting.close(byte);
            }
            (b'{' | b'[', Expect::Value | Expect::ElementOrEnd) => {
                self.expect = if byte == b'{' { Expect::KeyOrEnd } else { Expect::ElementOrEnd };
                return self.nesting.open(byte);
            }
            (_, Expect::Value | Expect::ElementOrEnd) => {
                self.within = Within::Scalar;
                self.scalar = Scalar::begin(byte);
                return self.scalar.is_some();
            }
            _ => return false,
        }
        true
    }
}
