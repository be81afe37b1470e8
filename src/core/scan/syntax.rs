//! The lexical rules that every part of the scanner shares.

use super::fields::string_end;
use crate::core::simd::{Level, WIDTH_MAX};

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

impl Look {
    /// The same of what stands behind so many bytes.
    pub(super) const fn behind(self, bytes: usize) -> Self {
        match self {
            Self::End(at) => Self::End(bytes + at),
            Self::Broken(at) => Self::Broken(bytes + at),
            Self::RanOut => Self::RanOut,
        }
    }
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
