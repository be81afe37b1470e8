//! Code lengths → tables that decode a symbol by one look, or two for a long code.
//!
//! An entry says all that decoding needs, so that no second array is asked:
//!
//! | bits | of a literal | of a length or distance | of a longer code | end of block, invalid |
//! |---|---|---|---|---|
//! | 0–7 | bits of the code | of the code and what follows it | bits looked at so far | bits of the code |
//! | 8–11 | | bits of the code | bits to look at further | |
//! | 13, 14, 15 | | | [`LONGER`], [`SPECIAL`] | [`END`] or none, [`SPECIAL`] |
//! | 16–30 | the byte | the least value | where its part of the table begins | |
//! | 31 | [`LITERAL`] | | | |

/// Bits by which a literal or length is looked up first.
pub(super) const LITLEN_BITS: u32 = 11;
/// The same of a distance.
pub(super) const DIST_BITS: u32 = 8;
/// The same of a code length, which has no longer codes.
pub(super) const PRECODE_BITS: u32 = 7;
/// Most entries of 288 codes of 15 bits with 11 bits first. Source: zlib's `enough 288 11 15`.
const LITLEN_ENTRIES: usize = 2342;
/// Most entries of 32 codes of 15 bits with 8 bits first. Source: zlib's `enough 32 8 15`.
const DIST_ENTRIES: usize = 402;

/// Bits of the longest code. Source: RFC 1951, 3.2.7.
const CODE_BITS_MAX: usize = 15;
/// Symbols of literals and lengths, of which the last two stand for nothing. Source: RFC 1951, 3.2.6.
pub(super) const LITLENS: usize = 288;
/// Symbols of distances, of which the last two stand for nothing.
pub(super) const DISTS: usize = 32;
/// Symbols of code lengths.
pub(super) const PRECODES: usize = 19;

/// The symbol is a byte.
pub(super) const LITERAL: u32 = 1 << 31;
/// It is no literal, length or distance.
pub(super) const SPECIAL: u32 = 1 << 15;
/// The code is longer than what was looked at.
pub(super) const LONGER: u32 = 1 << 14;
/// The symbol ends the block.
pub(super) const END: u32 = 1 << 13;
/// No symbol has this code. One bit of it is known.
const INVALID: u32 = SPECIAL | 1;

/// Least length and bits that follow, from symbol 257 on. Source: RFC 1951, 3.2.5.
const LENGTHS: [(u16, u8); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];
/// Least distance and bits that follow. Source: as above.
const DISTANCES: [(u16, u8); 30] = [
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 1),
    (7, 1),
    (9, 2),
    (13, 2),
    (17, 3),
    (25, 3),
    (33, 4),
    (49, 4),
    (65, 5),
    (97, 5),
    (129, 6),
    (193, 6),
    (257, 7),
    (385, 7),
    (513, 8),
    (769, 8),
    (1025, 9),
    (1537, 9),
    (2049, 10),
    (3073, 10),
    (4097, 11),
    (6145, 11),
    (8193, 12),
    (12289, 12),
    (16385, 13),
    (24577, 13),
];

/// What a symbol is, without its code.
const fn symbol(base: u16, extra: u8) -> u32 {
    (base as u32) << 16 | extra as u32
}

/// The entry of each symbol of literals and lengths, but for its code.
const LITLEN_VALUES: [u32; LITLENS] = {
    let mut values = [INVALID & !0xff; LITLENS];
    let (mut at, mut byte) = (0, 0_u32);
    while at < 256 {
        values[at] = LITERAL | byte << 16;
        (at, byte) = (at + 1, byte + 1);
    }
    values[256] = SPECIAL | END;
    at = 0;
    while at < LENGTHS.len() {
        values[257 + at] = symbol(LENGTHS[at].0, LENGTHS[at].1);
        at += 1;
    }
    values
};

const DIST_VALUES: [u32; DISTS] = {
    let mut values = [INVALID & !0xff; DISTS];
    let mut at = 0;
    while at < DISTANCES.len() {
        values[at] = symbol(DISTANCES[at].0, DISTANCES[at].1);
        at += 1;
    }
    values
};

const PRECODE_VALUES: [u32; PRECODES] = {
    let mut values = [0; PRECODES];
    let (mut at, mut length) = (0, 0_u32);
    while at < PRECODES {
        values[at] = length << 16;
        (at, length) = (at + 1, length + 1);
    }
    values
};

/// An entry, and how many bits of its code come before those that it counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) entry: u32,
    pub(super) before: u32,
}

/// A length or distance: the least value of its symbol, and what the bits behind the code add to it.
#[inline(always)]
pub(super) const fn value(entry: u32, bits: u64) -> usize {
    let with_code = bits & ((1 << (entry & 0x3f)) - 1);
    // Of the bits from the eighth on, those that are not the code's are the flags of what is none.
    (entry >> 16) as usize + low(with_code.wrapping_shr(entry >> 8))
}

/// A few low bits, as an index.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "there are fewer than 32 of them")]
const fn low(bits: u64) -> usize {
    bits as usize
}

/// The table of one code.
#[derive(Clone, Debug)]
pub(super) struct Table<const ENTRIES: usize, const FIRST_BITS: u32> {
    entries: [u32; ENTRIES],
}

/// Literals and lengths.
pub(super) type LitlenTable = Table<LITLEN_ENTRIES, LITLEN_BITS>;
/// Distances.
pub(super) type DistTable = Table<DIST_ENTRIES, DIST_BITS>;
/// Code lengths.
pub(super) type PrecodeTable = Table<{ 1 << PRECODE_BITS }, PRECODE_BITS>;

/// Which codes may lack some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lacks {
    /// None: every bit pattern begins a code.
    Nothing,
    /// One that is a single code of one bit. Such are written where there is but one distance; zlib takes them for lengths,
    /// too.
    Single,
    /// That, or one without any symbol, which then must not be used.
    SingleOrAll,
}

impl LitlenTable {
    /// The table for these code lengths.
    ///
    /// # Errors
    /// They are no code.
    pub(super) fn build(&mut self, lens: &[u8]) -> Result<(), &'static str> {
        self.fill(lens, &LITLEN_VALUES, Lacks::Single).ok_or("invalid code of literals and lengths")
    }
}

impl DistTable {
    /// As [`LitlenTable::build`].
    ///
    /// # Errors
    /// They are no code.
    pub(super) fn build(&mut self, lens: &[u8]) -> Result<(), &'static str> {
        self.fill(lens, &DIST_VALUES, Lacks::SingleOrAll).ok_or("invalid code of distances")
    }
}

impl PrecodeTable {
    /// As [`LitlenTable::build`].
    ///
    /// # Errors
    /// They are no code.
    pub(super) fn build(&mut self, lens: &[u8]) -> Result<(), &'static str> {
        if lens.iter().all(|len| *len == 0) {
            // zlib takes each bit for a length of zero, and then misses the code that ends the block. So what is cut off before
            // that is cut off here, too.
            self.entries.fill(with_code(PRECODE_VALUES[0], 1));
            return Ok(());
        }
        self.fill(lens, &PRECODE_VALUES, Lacks::Nothing).ok_or("invalid code of code lengths")
    }
}

impl<const ENTRIES: usize, const FIRST_BITS: u32> Table<ENTRIES, FIRST_BITS> {
    pub(super) const fn new() -> Self {
        Self { entries: [INVALID; ENTRIES] }
    }

    /// The entry for what the next bits are, by the first of them.
    #[inline(always)]
    pub(super) fn first(&self, bits: u64) -> u32 {
        const { assert!(ENTRIES >= 1 << FIRST_BITS) };
        // In range by the assertion, which the compiler sees.
        self.entries[low(bits & ((1 << FIRST_BITS) - 1))]
    }

    /// The entry for a longer code. `entry` is that of its first bits, `bits` what comes behind them.
    #[inline(always)]
    pub(super) fn further(&self, entry: u32, bits: u64) -> u32 {
        let at = (entry >> 16) as usize + low(bits & ((1 << (entry >> 8 & 0xf)) - 1));
        // A part of the table ends within it; the check is one compare of a rare way.
        self.entries.get(at).copied().unwrap_or(INVALID)
    }

    /// The entry for the next of `count` bits. None when there are too few for it.
    pub(super) fn look(&self, bits: u64, count: u32) -> Option<Found> {
        let (mut entry, mut before) = (self.first(bits), 0);
        if entry & LONGER != 0 {
            if count < FIRST_BITS {
                return None;
            }
            (entry, before) = (self.further(entry, bits >> FIRST_BITS), FIRST_BITS);
        }
        (before + (entry & 0xff) <= count).then_some(Found { entry, before })
    }

    /// None when they are no code, or one that may not be.
    fn fill(&mut self, lens: &[u8], values: &[u32], lacks: Lacks) -> Option<()> {
        let mut counts = [0_u16; CODE_BITS_MAX + 1];
        for len in lens {
            *counts.get_mut(usize::from(*len))? += 1;
        }
        counts[0] = 0;
        // The codes that are left of those that so many bits can be, and where symbols of a length begin in their order.
        let (mut left, mut offsets, mut longest) = (1_i32, [0_u16; CODE_BITS_MAX + 2], 0);
        for bits in 1..=CODE_BITS_MAX {
            left = (left << 1) - i32::from(counts[bits]);
            if left < 0 {
                return None;
            }
            offsets[bits + 1] = offsets[bits] + counts[bits];
            if counts[bits] > 0 {
                longest = bits;
            }
        }
        let may = match lacks {
            Lacks::Nothing => false,
            Lacks::Single => longest == 1,
            Lacks::SingleOrAll => longest <= 1,
        };
        if left > 0 {
            if !may {
                return None;
            }
            self.entries.get_mut(..1 << FIRST_BITS)?.fill(INVALID);
        }
        let mut sorted = [0_u16; LITLENS];
        for (symbol, len) in (0..).zip(lens) {
            if *len > 0 {
                let place = offsets.get_mut(usize::from(*len))?;
                *sorted.get_mut(usize::from(*place))? = symbol;
                *place += 1;
            }
        }
        let (mut code, mut place) = (0_u32, 0_usize);
        // The part of the table for longer codes with the same first bits: where it is, and its bits.
        let (mut next, mut part, mut part_bits, mut prefix) = (1_usize << FIRST_BITS, 0, 0, u32::MAX);
        for (len, bits) in (1..=longest).zip(1_u32..) {
            for behind in (0..counts[len]).rev() {
                let symbol = usize::from(*sorted.get(place)?);
                place += 1;
                let value = *values.get(symbol)?;
                // Codes come with their first bit in the lowest place.
                let reversed = code.reverse_bits() >> (32 - bits);
                code += 1;
                if bits <= FIRST_BITS {
                    let entry = with_code(value, bits);
                    let places = self.entries.get_mut(..1 << FIRST_BITS)?;
                    places.iter_mut().skip(reversed as usize).step_by(1 << bits).for_each(|place| *place = entry);
                    continue;
                }
                let first = reversed & ((1 << FIRST_BITS) - 1);
                if first != prefix {
                    prefix = first;
                    // As many bits as the longest code with this prefix needs: of a whole code, as many as fill it.
                    part_bits = bits - FIRST_BITS;
                    let mut used = u32::from(behind) + 1;
                    while used < 1 << part_bits {
                        part_bits += 1;
                        used = (used << 1) + u32::from(*counts.get((FIRST_BITS + part_bits) as usize)?);
                    }
                    part = next;
                    next += 1 << part_bits;
                    let longer = SPECIAL | LONGER | u32::try_from(part).ok()? << 16 | part_bits << 8 | FIRST_BITS;
                    *self.entries.get_mut(first as usize)? = longer;
                }
                let entry = with_code(value, bits - FIRST_BITS);
                let places = self.entries.get_mut(part..part + (1 << part_bits))?;
                let from = (reversed >> FIRST_BITS) as usize;
                places.iter_mut().skip(from).step_by(1 << (bits - FIRST_BITS)).for_each(|place| *place = entry);
            }
            code <<= 1;
        }
        Some(())
    }
}

/// A symbol's entry with a code of so many bits.
const fn with_code(value: u32, bits: u32) -> u32 {
    if value & (LITERAL | SPECIAL) != 0 { value | bits } else { (value + bits) | bits << 8 }
}
