//! What stands within strings, found for many bytes at once.

use crate::core::simd::{Simd, escaped};

/// Where a text is between two blocks of it: outside of strings at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Strings {
    /// Within a string.
    pub(super) within: bool,
    /// Behind a backslash there: the next byte is escaped.
    escape: bool,
}

/// A block of a text, a bit for each of its bytes, the first byte's lowest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    /// Those within strings, their first quotes included.
    pub(super) inside: u64,
    /// The quotes that begin or end a string.
    pub(super) quotes: u64,
    /// Those that a backslash within a string escapes.
    pub(super) escaped: u64,
}

impl Strings {
    /// Outside of them.
    pub(super) const NONE: Self = Self { within: false, escape: false };

    /// What there is in the next bytes, of which `len` are the text's: at least one.
    #[inline(always)]
    pub(super) fn block<S: Simd>(&mut self, simd: S, bytes: S::Bytes, len: usize) -> Block {
        let quotes = simd.bits(simd.equal(bytes, b'"')) & below(len);
        let backslashes = simd.bits(simd.equal(bytes, b'\\')) & below(len);
        self.of(quotes, backslashes, len)
    }

    #[inline(always)]
    fn of(&mut self, quotes: u64, backslashes: u64, len: usize) -> Block {
        let begun = if self.within { u64::MAX } else { 0 };
        let mut block = Block { inside: 0, quotes, escaped: 0 };
        if backslashes != 0 || self.escape {
            let mut escape = self.escape;
            block.escaped = escaped(len, backslashes, &mut escape) & below(len);
            block.quotes &= !block.escaped;
            block.inside = prefix_xor(block.quotes) ^ begun;
            if backslashes & !block.inside != 0 {
                return self.one_by_one(quotes, backslashes, len);
            }
            self.escape = escape;
        } else {
            block.inside = prefix_xor(quotes) ^ begun;
        }
        self.within ^= block.quotes.count_ones() % 2 == 1;
        block
    }

    /// The same where there are backslashes outside of strings, which escape nothing.
    #[inline(never)]
    fn one_by_one(&mut self, quotes: u64, backslashes: u64, len: usize) -> Block {
        let mut block =
            Block { inside: if self.within { u64::MAX } else { 0 }, quotes: 0, escaped: u64::from(self.escape) };
        self.escape = false;
        let mut left = (quotes | backslashes) & !block.escaped;
        while left != 0 {
            let bit = left & left.wrapping_neg();
            left ^= bit;
            if quotes & bit != 0 {
                self.within = !self.within;
                block.inside ^= !(bit - 1);
                block.quotes |= bit;
            } else if self.within {
                block.escaped |= bit << 1;
                left &= !(bit << 1);
                self.escape = bit == 1 << (len - 1);
            }
        }
        block.escaped &= below(len);
        block
    }
}

/// The lowest `len` bits, of which there is at least one.
#[inline(always)]
pub(super) const fn below(len: usize) -> u64 {
    u64::MAX >> (64 - len)
}

/// Each bit, whether an odd number of those up to it are set.
const fn prefix_xor(mut bits: u64) -> u64 {
    let mut shift = 1;
    while shift < 64 {
        bits ^= bits << shift;
        shift *= 2;
    }
    bits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Byte by byte, as in [`Block`]; a bit for each byte.
    fn naive(text: &[u8]) -> (Strings, [Vec<bool>; 3]) {
        let mut strings = Strings::default();
        let mut found = [Vec::new(), Vec::new(), Vec::new()];
        for byte in text {
            let escaped = std::mem::take(&mut strings.escape);
            let quote = *byte == b'"' && !escaped;
            strings.within ^= quote;
            strings.escape = strings.within && *byte == b'\\' && !escaped;
            for (found, is) in found.iter_mut().zip([strings.within, quote, escaped]) {
                found.push(is);
            }
        }
        (strings, found)
    }

    proptest! {
        /// However a text is cut into blocks, and with whatever backslashes between strings.
        #[test]
        fn blocks_say_what_is_within_strings(
            text in prop::collection::vec(prop::sample::select(&b"\"\"\\\\a"[..]), 0..400),
            cuts in prop::collection::vec(1_usize..=64, 1..8),
        ) {
            let (end, [inside, quotes, escaped]) = naive(&text);
            let (mut strings, mut at) = (Strings::default(), 0);
            for len in cuts.iter().cycle() {
                let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) else { break };
                let block = rest.get(..*len).unwrap_or(rest);
                let bits = |is: &dyn Fn(usize) -> bool| (0..block.len()).fold(0, |bits, at| bits | u64::from(is(at)) << at);
                let found = strings.of(bits(&|at| block[at] == b'"'), bits(&|at| block[at] == b'\\'), block.len());
                let all = below(block.len());
                prop_assert_eq!(found.inside & all, bits(&|place| inside[at + place]));
                prop_assert_eq!(found.quotes, bits(&|place| quotes[at + place]));
                prop_assert_eq!(found.escaped, bits(&|place| escaped[at + place]));
                at += block.len();
            }
            prop_assert_eq!(strings, end);
        }
    }
}
