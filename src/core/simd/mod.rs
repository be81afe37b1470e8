//! Bytes that are looked at many at a time, by whatever vectors the processor has.
//!
//! A loop is written once, for any [`Simd`], and is compiled for each [`Level`]; which one runs is found out at run time. All
//! give the same answers: a vector says something of each of its bytes, and nothing depends on how many there are.

#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::OnceLock;

/// Most bytes that any looks at.
pub(super) const WIDTH_MAX: usize = 64;

/// What a processor can do with some bytes at once.
pub(super) trait Simd: Copy {
    /// How many they are: a power of two, at most [`WIDTH_MAX`].
    const WIDTH: usize;
    /// So many bytes.
    type Bytes: Copy;
    /// Yes or no for each of them.
    type Marks: Copy;

    /// Does something in a function of its own, which has the registers for itself.
    fn run<T: Task>(self, task: T) -> T::Output;
    /// The first bytes, if there are so many.
    fn load(self, bytes: &[u8]) -> Option<Self::Bytes>;
    /// Those that are `byte`.
    fn equal(self, bytes: Self::Bytes, byte: u8) -> Self::Marks;
    /// Those that are below a space or above DEL: control characters, and what is no ASCII.
    fn unusual(self, bytes: Self::Bytes) -> Self::Marks;
    /// Those that are an opening or closing bracket or brace.
    fn bracket(self, bytes: Self::Bytes) -> Self::Marks;
    /// Those that are in one or in the other.
    fn or(self, one: Self::Marks, other: Self::Marks) -> Self::Marks;
    /// As bits, the first byte's lowest; bits beyond the width are zero.
    fn bits(self, marks: Self::Marks) -> u64;
    /// Those that are no ASCII, as bits.
    fn high(self, bytes: Self::Bytes) -> u64;
    /// Those in which two differ, as bits.
    fn differ(self, one: Self::Bytes, other: Self::Bytes) -> u64;
}

/// Something to be done with vectors. `run` must be inlined, and what it calls with the vectors as well: so they are compiled
/// to the level's instructions.
pub(super) trait Task {
    /// What comes of it.
    type Output;
    /// Does it.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// The instructions that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Portable(portable::Words),
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Neon),
    #[cfg(target_arch = "x86_64")]
    Avx2(x86::Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(x86::Avx512),
}

/// What [`Level::best`] gives.
static BEST: OnceLock<Level> = OnceLock::new();

impl Default for Level {
    fn default() -> Self {
        Self::best()
    }
}

impl Level {
    /// Words of 8 bytes, which every processor has.
    pub const PORTABLE: Self = Self(Kind::Portable(portable::Words));
    /// The variable that names the level of a process: tests, fuzz targets and benches have no other settings.
    pub const SETTING: &str = "MILLRACE_SIMD";

    /// The one that [`Self::prefer`] or else [`Self::SETTING`] named, if this processor has it; else the best that it has.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "what has no settings needs it too; the daemon's own tell it before")]
    pub fn best() -> Self {
        *BEST.get_or_init(|| Self::best_unless(std::env::var(Self::SETTING).ok().as_deref()))
    }

    fn best_unless(named: Option<&str>) -> Self {
        named.and_then(Self::named).or_else(|| Self::all().last()).unwrap_or(Self::PORTABLE)
    }

    /// Has this one used in this process from now on, unless another one is already: to look for its mistakes, and to measure
    /// it.
    pub fn prefer(self) {
        let _another_one_is_used = BEST.set(self);
    }

    /// All that this processor has, the best last.
    pub fn all() -> impl Iterator<Item = Self> {
        let levels = [
            Some(Self::PORTABLE),
            #[cfg(target_arch = "aarch64")]
            neon::Neon::detect().map(Kind::Neon).map(Self),
            #[cfg(target_arch = "x86_64")]
            x86::Avx2::detect().map(Kind::Avx2).map(Self),
            #[cfg(target_arch = "x86_64")]
            x86::Avx512::detect().map(Kind::Avx512).map(Self),
        ];
        levels.into_iter().flatten()
    }

    /// As users name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable(_) => "portable",
            #[cfg(target_arch = "aarch64")]
            Kind::Neon(_) => "neon",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_) => "avx512",
        }
    }

    /// The level of this name, if this processor has it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|level| level.name() == name)
    }

    /// Does something with its vectors.
    #[inline]
    pub(super) fn run<T: Task>(self, task: T) -> T::Output {
        match self.0 {
            Kind::Portable(words) => words.run(task),
            #[cfg(target_arch = "aarch64")]
            Kind::Neon(neon) => neon.run(task),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(avx2) => avx2.run(task),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(avx512) => avx512.run(task),
        }
    }
}

/// The first bytes, with zeros behind them if they are fewer than are looked at at once; and how many they are. None: there are none.
#[inline(always)]
pub(super) fn load_padded<S: Simd>(simd: S, bytes: &[u8]) -> Option<(S::Bytes, usize)> {
    if let Some(vector) = simd.load(bytes) {
        return Some((vector, S::WIDTH));
    }
    let mut block = [0; WIDTH_MAX];
    block.get_mut(..bytes.len()).filter(|start| !start.is_empty())?.copy_from_slice(bytes);
    Some((simd.load(&block)?, bytes.len()))
}

/// How many bytes two texts begin with in common.
#[inline(always)]
pub(super) fn common<S: Simd>(simd: S, one: &[u8], other: &[u8]) -> usize {
    let mut at = 0;
    while let (Some(mine), Some(theirs)) =
        (one.get(at..).and_then(|rest| simd.load(rest)), other.get(at..).and_then(|rest| simd.load(rest)))
    {
        let differ = simd.differ(mine, theirs);
        if differ != 0 {
            return at + differ.trailing_zeros() as usize;
        }
        at += S::WIDTH;
    }
    let rest = one.get(at..).unwrap_or_default().iter().zip(other.get(at..).unwrap_or_default());
    at + rest.take_while(|(one, other)| one == other).count()
}

/// Of some bytes, those that a backslash escapes. `width` is how many they are, `backslashes` says which of them are such, and
/// `carry` whether the first is escaped by what came before; it is set for what comes after.
///
/// It is simdjson's: an addition carries through each run of backslashes, and the parity of its start says which are left.
#[inline(always)]
pub(super) const fn escaped(width: usize, backslashes: u64, carry: &mut bool) -> u64 {
    const ODD: u64 = 0xaaaa_aaaa_aaaa_aaaa;
    let first = *carry as u64;
    if backslashes == 0 {
        *carry = false;
        return first;
    }
    let starts = backslashes & !first;
    let behind_runs = ((starts << 1) | ODD).wrapping_sub(starts) ^ ODD;
    *carry = (behind_runs & backslashes) >> (width - 1) & 1 == 1;
    behind_runs ^ (backslashes | first)
}

/// Of the `escaped` ones of some bytes, of which quotes and backslashes are `special`, those that are the second of no JSON escape
/// of two bytes.
#[inline(always)]
pub(super) fn longer_escapes<S: Simd>(simd: S, bytes: S::Bytes, special: S::Marks, escaped: u64) -> u64 {
    let longer = escaped & !simd.bits(special);
    if longer == 0 {
        return 0;
    }
    let letter = |letter| simd.equal(bytes, letter);
    let white = simd.or(simd.or(letter(b'n'), letter(b't')), letter(b'r'));
    let rare = simd.or(simd.or(letter(b'/'), letter(b'b')), letter(b'f'));
    longer & !simd.bits(simd.or(white, rare))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Look<'b>(&'b [u8], &'b [u8]);

    /// Each answer for the first bytes of the first text: equal to a quote, unusual, a bracket, one of two, high, different
    /// from the second's; then the quotes of its last few bytes and how many those are, and how long a start the two have in common.
    impl Task for Look<'_> {
        type Output = (usize, [u64; 6], Option<(u64, usize)>, usize);

        fn run<S: Simd>(self, simd: S) -> Self::Output {
            let (Some(one), Some(other)) = (simd.load(self.0), simd.load(self.1)) else {
                unreachable!("they are long")
            };
            let quote = simd.equal(one, b'"');
            let bits = [
                simd.bits(quote),
                simd.bits(simd.unusual(one)),
                simd.bits(simd.bracket(one)),
                simd.bits(simd.or(quote, simd.unusual(one))),
                simd.high(one),
                simd.differ(one, other),
            ];
            let few = load_padded(simd, &self.0[self.0.len() - self.0.len() % S::WIDTH..]);
            let few = few.map(|(bytes, len)| (simd.bits(simd.equal(bytes, b'"')), len));
            (S::WIDTH, bits, few, common(simd, self.0, self.1))
        }
    }

    fn is_bracket(byte: u8) -> bool {
        matches!(byte, b'{' | b'}' | b'[' | b']')
    }

    fn is_unusual(byte: u8) -> bool {
        !(0x20..0x80).contains(&byte)
    }

    fn bits(width: usize, mark: impl Fn(usize) -> bool) -> u64 {
        (0..width).filter(|at| mark(*at)).map(|at| 1 << at).sum()
    }

    proptest! {
        #[test]
        fn each_byte_is_what_it_is(one in prop::collection::vec(any::<u8>(), 64..200), seed: u64, same in 0..200_usize) {
            let other: Vec<u8> = (0..)
                .zip(&one)
                .map(|(at, byte)| if at < same || seed >> (at % 61) & 1 == 0 { *byte } else { byte ^ 1 << (at % 8) })
                .collect();
            for level in Level::all() {
                let (width, found, few, start) = level.run(Look(&one, &other));
                let expected = [
                    bits(width, |at| one[at] == b'"'),
                    bits(width, |at| is_unusual(one[at])),
                    bits(width, |at| is_bracket(one[at])),
                    bits(width, |at| one[at] == b'"' || is_unusual(one[at])),
                    bits(width, |at| one[at] > 0x7f),
                    bits(width, |at| one[at] != other[at]),
                ];
                prop_assert_eq!(found, expected, "{}", level.name());
                let last = &one[one.len() - one.len() % width..];
                let quotes = (bits(last.len(), |at| last[at] == b'"'), last.len());
                prop_assert_eq!(few, (!last.is_empty()).then_some(quotes), "{}", level.name());
                let differ = one.iter().zip(&other).position(|(one, other)| one != other);
                prop_assert_eq!(start, differ.unwrap_or(one.len()), "{}", level.name());
            }
        }

        /// However many bytes are looked at together.
        #[test]
        fn backslashes_escape_what_follows(text in prop::collection::vec(prop::bool::weighted(0.7), 256..257)) {
            let mut expected = vec![false; text.len() + 1];
            for at in 0..text.len() {
                expected[at + 1] = text[at] && !expected[at];
            }
            for width in [8, 16, 32, 64] {
                let mut carry = false;
                for (piece, expected) in text.chunks(width).zip(expected.chunks(width)) {
                    let found = escaped(width, bits(width, |at| piece[at]), &mut carry);
                    let found = found & (u64::MAX >> (64 - width));
                    prop_assert_eq!(found, bits(width, |at| expected[at]), "{}", width);
                }
            }
        }
    }

    #[test]
    fn levels_have_names() {
        for level in Level::all() {
            assert_eq!(Level::named(level.name()), Some(level));
        }
        assert_eq!(Level::named("none"), None);
        #[cfg(target_arch = "aarch64")]
        assert_eq!(Level::all().last().map(Level::name), Some("neon"));
    }

    #[test]
    fn the_best_is_used_unless_another_is_asked_for() {
        let best = Level::all().last();
        assert_eq!(Level::best_unless(Some("portable")), Level::PORTABLE);
        assert_eq!((Some(Level::best_unless(None)), Some(Level::best_unless(Some("none")))), (best, best));
    }
}
