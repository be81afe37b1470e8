//! Texts that are escaped once, when the generator starts, and then only copied.
//!
//! A line stands alone, or as a string in a record; a message stands in the line as it is, or as a string in a JSON
//! line. So a text is needed raw, as the inside of a JSON string, and as the inside of a JSON string within a JSON
//! string. [`Phrase`] and [`Pool`] hold all three; [`Depth`] says which one is wanted.

use std::path::{Path, PathBuf};

use fastrand::Rng;

use crate::SpecError;

/// Most bytes of real lines that are read: they are held three times.
const REAL_BYTES_MAX: u64 = 256 << 20;

/// How many JSON strings a text stands inside of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    Raw,
    Once,
    Twice,
}

impl Depth {
    /// Inside of one string more. Nothing here nests deeper than two.
    pub(crate) fn deeper(self) -> Self {
        match self {
            Self::Raw => Self::Once,
            Self::Once | Self::Twice => Self::Twice,
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Raw => 0,
            Self::Once => 1,
            Self::Twice => 2,
        }
    }
}

/// Appends `text` as the inside of a JSON string.
pub(crate) fn escape(text: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for &byte in text {
        let short = match byte {
            b'"' | b'\\' => byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            0..0x20 => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
                continue;
            }
            _ => {
                out.push(byte);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    }
}

fn escaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 8);
    escape(text, &mut out);
    out
}

/// One text in its three forms.
#[derive(Clone, Debug)]
pub(crate) struct Phrase([Box<[u8]>; 3]);

impl Phrase {
    pub(crate) fn new(text: &str) -> Self {
        let once = escaped(text.as_bytes());
        let twice = escaped(&once);
        Self([text.as_bytes().into(), once.into(), twice.into()])
    }

    #[inline]
    pub(crate) fn at(&self, depth: Depth) -> &[u8] {
        &self.0[depth.index()]
    }
}

/// Many texts in their three forms, each form in one piece of memory.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    forms: [Vec<u8>; 3],
    ends: Vec<[usize; 3]>,
}

impl Pool {
    pub(crate) fn new<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Self {
        let mut pool = Self::default();
        for text in texts {
            pool.push(text.as_ref().as_bytes());
        }
        pool
    }

    fn push(&mut self, text: &[u8]) {
        let once = escaped(text);
        let twice = escaped(&once);
        self.forms[0].extend_from_slice(text);
        self.forms[1].extend_from_slice(&once);
        self.forms[2].extend_from_slice(&twice);
        self.ends.push([self.forms[0].len(), self.forms[1].len(), self.forms[2].len()]);
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The number of any one text, each as likely.
    #[inline]
    pub(crate) fn pick(&self, rng: &mut Rng) -> usize {
        rng.usize(..self.ends.len())
    }

    #[inline]
    pub(crate) fn at(&self, number: usize, depth: Depth) -> &[u8] {
        let form = depth.index();
        let start = if number == 0 { 0 } else { self.ends[number - 1][form] };
        &self.forms[form][start..self.ends[number][form]]
    }

    /// How long a text is when it is not escaped: what decides about fit, so that a line has the same text at any depth.
    #[inline]
    pub(crate) fn raw_len(&self, number: usize) -> usize {
        self.at(number, Depth::Raw).len()
    }
}

/// Lines of real log files, to be used as messages in place of invented ones.
///
/// Lines end at `\n` alone and are otherwise kept byte for byte; empty ones are left out. Bytes that are not UTF-8 become
/// U+FFFD, because a record is JSON.
#[derive(Debug)]
pub struct RealLines {
    pub(crate) pool: Pool,
}

impl RealLines {
    /// The lines of `files`, in order.
    ///
    /// # Errors
    /// [`SpecError::From`] names the file that cannot be read, [`SpecError::FromTooLong`] the limit that all of them
    /// exceed, [`SpecError::FromEmpty`] says that no line was found.
    pub fn read<P: AsRef<Path>>(files: &[P]) -> Result<Self, SpecError> {
        let mut pool = Pool::default();
        let mut total: u64 = 0;
        for file in files {
            let file = file.as_ref();
            let unreadable = |cause| SpecError::From { file: PathBuf::from(file), cause };
            total = total.saturating_add(std::fs::metadata(file).map_err(unreadable)?.len());
            if total > REAL_BYTES_MAX {
                return Err(SpecError::FromTooLong { limit: REAL_BYTES_MAX });
            }
            Self::add(&mut pool, &std::fs::read(file).map_err(unreadable)?);
        }
        Self::checked(pool)
    }

    /// The lines of a text that is already in memory.
    ///
    /// # Errors
    /// [`SpecError::FromEmpty`] when it holds no line.
    pub fn from_bytes(text: &[u8]) -> Result<Self, SpecError> {
        let mut pool = Pool::default();
        Self::add(&mut pool, text);
        Self::checked(pool)
    }

    fn add(pool: &mut Pool, text: &[u8]) {
        for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            pool.push(String::from_utf8_lossy(line).as_bytes());
        }
    }

    fn checked(pool: Pool) -> Result<Self, SpecError> {
        if pool.len() == 0 { Err(SpecError::FromEmpty) } else { Ok(Self { pool }) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Escaping is what serde_json does, and a second escaping needs a second unescaping.
        #[test]
        fn forms_are_those_of_serde_json(text in any::<String>()) {
            let phrase = Phrase::new(&text);
            let once = String::from_utf8(phrase.at(Depth::Once).to_vec()).unwrap();
            prop_assert_eq!(format!("\"{once}\""), serde_json::to_string(&text).unwrap());
            let twice = String::from_utf8(phrase.at(Depth::Twice).to_vec()).unwrap();
            let back: String = serde_json::from_str(&format!("\"{twice}\"")).unwrap();
            prop_assert_eq!(back, once);
        }

        #[test]
        fn a_pool_gives_back_what_went_in(texts in prop::collection::vec(any::<String>(), 1..20)) {
            let pool = Pool::new(&texts);
            prop_assert_eq!(pool.len(), texts.len());
            for (number, text) in texts.iter().enumerate() {
                let phrase = Phrase::new(text);
                for depth in [Depth::Raw, Depth::Once, Depth::Twice] {
                    prop_assert_eq!(pool.at(number, depth), phrase.at(depth));
                }
                prop_assert_eq!(pool.raw_len(number), text.len());
            }
        }
    }

    #[test]
    fn real_lines_keep_their_bytes() {
        let lines = RealLines::from_bytes(b"a\tb\r\n\n\xff\"x\"\n\\ \xc3\xa9").unwrap();
        let all: Vec<_> = (0..lines.pool.len()).map(|number| lines.pool.at(number, Depth::Raw)).collect();
        assert_eq!(all, [&b"a\tb\r"[..], "\u{fffd}\"x\"".as_bytes(), "\\ é".as_bytes()]);
        assert!(matches!(RealLines::from_bytes(b"\n\n"), Err(SpecError::FromEmpty)));
    }
}
