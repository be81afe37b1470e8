//! Words of 8 bytes, of which each byte is looked at by itself: no carry goes from one to the next.

use super::{Simd, Task};

const EACH: u64 = 0x0101_0101_0101_0101;
const TOP: u64 = 0x8080_8080_8080_8080;

/// Every processor has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Words;

/// The top bit of each byte that is zero.
#[inline(always)]
const fn zero(word: u64) -> u64 {
    !(((word & !TOP) + !TOP) | word) & TOP
}

/// Top bits, side by side.
#[inline(always)]
const fn gather(tops: u64) -> u64 {
    // Bit 8i times bit 7(8 - i) is bit 56 + i, and no two of the products meet.
    (tops >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

#[inline(never)]
fn of_words<T: Task>(words: Words, task: T) -> T::Output {
    task.run(words)
}

impl Simd for Words {
    const WIDTH: usize = 8;
    type Bytes = u64;
    type Marks = u64;

    #[inline(always)]
    fn run<T: Task>(self, task: T) -> T::Output {
        of_words(self, task)
    }

    #[inline(always)]
    fn load(self, bytes: &[u8]) -> Option<u64> {
        bytes.first_chunk().copied().map(u64::from_le_bytes)
    }

    #[inline(always)]
    fn equal(self, bytes: u64, byte: u8) -> u64 {
        zero(bytes ^ (EACH * byte as u64))
    }

    #[inline(always)]
    fn unusual(self, bytes: u64) -> u64 {
        zero(bytes & (EACH * 0xe0)) | bytes & TOP
    }

    #[inline(always)]
    fn bracket(self, bytes: u64) -> u64 {
        let braces = bytes | (EACH * 0x20);
        self.equal(braces, b'{') | self.equal(braces, b'}')
    }

    #[inline(always)]
    fn or(self, one: u64, other: u64) -> u64 {
        one | other
    }

    #[inline(always)]
    fn bits(self, marks: u64) -> u64 {
        gather(marks)
    }

    #[inline(always)]
    fn high(self, bytes: u64) -> u64 {
        gather(bytes & TOP)
    }

    #[inline(always)]
    fn differ(self, one: u64, other: u64) -> u64 {
        gather(!zero(one ^ other) & TOP)
    }
}
