//! Symbols of a block with margins in hand: the loop that inflating is.
//!
//! It is libdeflate's way: a 64-bit buffer that is filled by one unaligned load, entries that say how many bits to drop, up to
//! three literals per turn, and matches that are copied in words beyond their end. The fuzz targets `decode` and `object` reach
//! all of it.

#![expect(
    unsafe_code,
    clippy::multiple_unsafe_ops_per_block,
    reason = "a look at both ends per byte would take as long as all the rest; the margins say that none is needed"
)]

use super::huffman::{END, LITERAL, LONGER, SPECIAL, value};
use super::{Bits, Place, Tables};
use crate::core::simd::Level;

/// Input that a turn may look at: it begins up to 7 bytes behind the last place that has all of this in front of it, fills
/// twice, and each fill reads 8 bytes and goes on by 7 at most.
pub(super) const INPUT_MARGIN: usize = 32;
/// Room that a turn may write to: three literals and the longest match, whose last word may end up to 31 bytes behind it.
pub(super) const OUTPUT_MARGIN: usize = 3 + MATCH_BYTES_MAX + 31;
/// Source: RFC 1951, 3.2.5.
const MATCH_BYTES_MAX: usize = 258;

/// Which instructions it is compiled to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fast {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Bmi2,
}

impl Fast {
    /// The fastest that this processor has, or [`Self::Portable`] where no more is to be used.
    pub(super) fn of(level: Level) -> Self {
        #[cfg(target_arch = "x86_64")]
        if level != Level::PORTABLE && std::arch::is_x86_feature_detected!("bmi2") {
            return Self::Bmi2;
        }
        Self::Portable
    }

    /// Decodes while there are margins. Whether the block has ended.
    ///
    /// # Errors
    /// What is wrong with the stream.
    pub(super) fn run(self, tables: &Tables, bits: &mut Bits, place: &mut Place<'_>) -> Result<bool, &'static str> {
        match self {
            Self::Portable => symbols(tables, bits, place),
            // SAFETY: the processor was asked for it.
            #[cfg(target_arch = "x86_64")]
            Self::Bmi2 => unsafe { symbols_bmi2(tables, bits, place) },
        }
    }
}

/// [`symbols`] with shifts and masks of one instruction each.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "bmi2")]
fn symbols_bmi2(tables: &Tables, bits: &mut Bits, place: &mut Place<'_>) -> Result<bool, &'static str> {
    symbols(tables, bits, place)
}

/// Input that is known to be long enough.
struct Source {
    at: *const u8,
    bits: u64,
    /// The low 8 bits are the number of bits; above them is whatever entries leave there.
    count: u32,
}

impl Source {
    /// Fills the bits up to 56 or more.
    ///
    /// # Safety
    /// 8 bytes of input are left.
    #[inline(always)]
    unsafe fn fill(&mut self) {
        // SAFETY: the caller says that these 8 bytes are there.
        unsafe {
            let word = self.at.cast::<u64>().read_unaligned();
            self.bits |= u64::from_le(word).wrapping_shl(self.count);
            self.at = self.at.add(7).sub((self.count >> 3 & 7) as usize);
        }
        self.count |= 56;
    }

    /// Drops the bits of an entry.
    #[inline(always)]
    const fn drop(&mut self, entry: u32) {
        self.bits = self.bits.wrapping_shr(entry);
        self.count = self.count.wrapping_sub(entry);
    }
}

#[inline(always)]
fn symbols(tables: &Tables, bits: &mut Bits, place: &mut Place<'_>) -> Result<bool, &'static str> {
    let Tables { litlens, distances } = tables;
    if !place.has_margins() {
        return Ok(false);
    }
    let input = place.input.as_ptr_range();
    let buffer = place.buffer.as_mut_ptr_range();
    let mut outcome = Ok(false);
    // SAFETY: all in this block. `has_margins` says that INPUT_MARGIN bytes of input and OUTPUT_MARGIN of the buffer are left,
    // so `last` and `full` lie within their slices, and so do `source.at` and `at`. Input: there are 32 - 7 = 25 bytes behind
    // `last`. The fill in front of the loop has all 32 and goes on by 7 at most, to `last` or before. A turn begins at `last` or
    // before and fills twice: the first reads 8 bytes and goes on by 7, the second ends 7 + 8 = 15 bytes behind where the turn
    // began, and 14 are gone on by; so both lie within the 25. Buffer: a turn begins at `full` or before and writes 3 literals,
    // and 258 bytes and 31, as the margin is. What a match reads lies between `least` and `at`, which is checked, or was
    // written by itself.
    unsafe {
        let last = input.end.sub(INPUT_MARGIN).add(7);
        let full = buffer.end.sub(OUTPUT_MARGIN);
        let least = buffer.start.add(place.least);
        let mut source = Source { at: input.start.add(place.taken), bits: bits.bits, count: bits.count };
        let mut at = buffer.start.add(place.at);
        source.fill();
        let mut entry = litlens.first(source.bits);
        while source.at <= last && at <= full {
            let mut looked = source.bits;
            source.drop(entry);
            if entry & LITERAL != 0 {
                at.write(byte(entry));
                at = at.add(1);
                entry = litlens.first(source.bits);
                looked = source.bits;
                source.drop(entry);
                if entry & LITERAL != 0 {
                    at.write(byte(entry));
                    at = at.add(1);
                    entry = litlens.first(source.bits);
                    looked = source.bits;
                    source.drop(entry);
                    if entry & LITERAL != 0 {
                        at.write(byte(entry));
                        at = at.add(1);
                        entry = litlens.first(source.bits);
                        source.fill();
                        continue;
                    }
                }
            }
            if entry & SPECIAL != 0 {
                if entry & LONGER != 0 {
                    entry = litlens.further(entry, source.bits);
                    looked = source.bits;
                    source.drop(entry);
                    if entry & LITERAL != 0 {
                        at.write(byte(entry));
                        at = at.add(1);
                        entry = litlens.first(source.bits);
                        source.fill();
                        continue;
                    }
                }
                if entry & SPECIAL != 0 {
                    outcome = if entry & END != 0 { Ok(true) } else { Err("invalid code of a literal or length") };
                    break;
                }
            }
            let len = value(entry, looked);
            entry = distances.first(source.bits);
            source.fill();
            if entry & SPECIAL != 0 {
                if entry & LONGER != 0 {
                    source.drop(entry);
                    entry = distances.further(entry, source.bits);
                }
                if entry & SPECIAL != 0 {
                    outcome = Err("invalid distance code");
                    break;
                }
            }
            let distance = value(entry, source.bits);
            source.drop(entry);
            if distance > at as usize - least as usize {
                outcome = Err("distance too far back");
                break;
            }
            entry = litlens.first(source.bits);
            source.fill();
            copy(at, distance, len);
            at = at.add(len);
        }
        // The count's low bits are right; the bits above it were filled, and are filled again.
        let count = source.count & 0xff;
        *bits = Bits { bits: source.bits & ((1 << count) - 1), count };
        place.taken = source.at as usize - input.start as usize;
        place.at = at as usize - buffer.start as usize;
    }
    outcome
}

/// The byte of a literal's entry.
#[inline(always)]
const fn byte(entry: u32) -> u8 {
    entry.to_le_bytes()[2]
}

/// Copies `len` bytes from so far back, and up to 31 more.
///
/// # Safety
/// All of it lies in one buffer: `distance` bytes before `to`, which were written, and `len` and 31 behind it.
#[inline(always)]
unsafe fn copy(mut to: *mut u8, distance: usize, len: usize) {
    // SAFETY: each step ends less than a step behind the end, and reads what lies before what it writes.
    unsafe {
        let end = to.add(len);
        if distance >= 16 {
            // Twice without a look, which nearly always is enough or not far from it.
            loop {
                let word = to.sub(distance).cast::<u128>().read_unaligned();
                to.cast::<u128>().write_unaligned(word);
                let word = to.add(16).sub(distance).cast::<u128>().read_unaligned();
                to.add(16).cast::<u128>().write_unaligned(word);
                to = to.add(32);
                if to >= end {
                    return;
                }
            }
        }
        if distance == 1 {
            let word = u128::from_ne_bytes([to.sub(1).read(); 16]);
            loop {
                to.cast::<u128>().write_unaligned(word);
                to = to.add(16);
                if to >= end {
                    return;
                }
            }
        }
        // Of a word that overlaps itself the first bytes are right, as many as lie between.
        let step = distance.min(8);
        loop {
            let word = to.sub(distance).cast::<u64>().read_unaligned();
            to.cast::<u64>().write_unaligned(word);
            to = to.add(step);
            if to >= end {
                return;
            }
        }
    }
}
