//! DEFLATE (RFC 1951), streamed: compressed bytes in any pieces → decompressed bytes behind those that came before.
//!
//! What a match copies lies in the caller's buffer, in front of what is written, so no second window is kept and no byte is
//! copied out of one. The caller keeps the last [`WINDOW_BYTES`] of what came before in front, or all of it when it is less.
//!
//! Nearly all of the time is spent in [`fast`], which needs some input and some room in hand and then looks at neither for a
//! whole symbol. [`Inflate::symbol`] does the same with no margin at all, bit by bit if need be, so that the input may be cut
//! anywhere and the buffer may be full anywhere.

mod fast;
mod huffman;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use self::fast::{Fast, INPUT_MARGIN, OUTPUT_MARGIN};
use self::huffman::{DISTS, DistTable, END, Found, LITERAL, LITLENS, LitlenTable, PRECODES, PrecodeTable, SPECIAL};
use crate::core::simd::Level;

/// How far back a match may reach. Source: RFC 1951, 2.
pub const WINDOW_BYTES: usize = 32 * 1024;

/// The order in which the lengths of the codes of code lengths stand. Source: RFC 1951, 3.2.7.
const PRECODE_ORDER: [u8; PRECODES] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// The symbol that ends a block.
const END_OF_BLOCK: usize = 256;
/// Symbols that stand for something. Source: RFC 1951, 3.2.6; zlib refuses blocks with codes for more.
const LITLENS_USED: usize = 286;
/// As above.
const DISTS_USED: usize = 30;

/// The codes of a block, side by side.
#[derive(Debug)]
struct Tables {
    litlens: LitlenTable,
    distances: DistTable,
}

/// Input and buffer of a call, and how far it has come in both.
#[derive(Debug)]
struct Place<'p> {
    input: &'p [u8],
    taken: usize,
    buffer: &'p mut [u8],
    at: usize,
    /// Where the bytes begin that a match may reach.
    least: usize,
}

impl Place<'_> {
    /// Whether a symbol may be decoded without a look at either end.
    fn has_margins(&self) -> bool {
        self.input.len() - self.taken >= INPUT_MARGIN && self.buffer.len().saturating_sub(self.at) >= OUTPUT_MARGIN
    }
}

/// How much of input and buffer a call used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Input bytes taken.
    pub consumed: usize,
    /// Bytes written behind those that were there.
    pub produced: usize,
    /// The last block has ended. Bytes that were taken and belong to what follows are in [`Inflate::behind`].
    pub ended: bool,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// A block's first three bits.
    Block,
    /// The lengths of a stored block.
    StoredLength,
    /// So many bytes of a stored block.
    Stored(usize),
    /// The fixed codes.
    Fixed,
    /// How many codes a block has.
    Counts,
    /// The length of the code of so many code lengths is known.
    Precodes(usize),
    /// So many code lengths are known.
    Lengths(usize),
    /// A literal or a length.
    Litlen,
    /// The distance of a match of so many bytes.
    Distance(usize),
    /// So many bytes of a match, from so far back.
    Match(usize, usize),
    /// Nothing.
    Ended,
}

/// Bits that were taken from the input and are not used yet, the next one lowest.
#[derive(Clone, Copy, Debug, Default)]
struct Bits {
    /// Above the last of them it is zero.
    bits: u64,
    count: u32,
}

impl Bits {
    /// Takes as many whole bytes as have room.
    fn fill(&mut self, input: &[u8], at: &mut usize) {
        while self.count < 56
            && let Some(byte) = input.get(*at)
        {
            self.bits |= u64::from(*byte) << self.count;
            self.count += 8;
            *at += 1;
        }
    }

    fn drop(&mut self, count: u32) {
        debug_assert!(count <= self.count);
        self.bits >>= count;
        self.count -= count;
    }

    /// A length or distance, with the bits that follow its code. There must be enough of them.
    fn value(&mut self, Found { entry, before }: Found) -> usize {
        self.drop(before);
        let value = huffman::value(entry, self.bits);
        self.drop(entry & 0xff);
        value
    }

    /// The next `count` bits, if there are so many.
    fn take(&mut self, count: u32) -> Option<u32> {
        if self.count < count {
            return None;
        }
        let bits = self.bits & ((1 << count) - 1);
        self.drop(count);
        u32::try_from(bits).ok()
    }
}

/// A stream that is being inflated.
#[derive(Debug)]
pub struct Inflate {
    bits: Bits,
    stage: Stage,
    /// This block is the last.
    last: bool,
    /// Bytes that a match may reach back from where the last call ended, at most [`WINDOW_BYTES`].
    reach: usize,
    tables: Tables,
    /// The tables are those of fixed codes.
    fixed: bool,
    precodes: PrecodeTable,
    lengths: [u8; LITLENS + DISTS],
    /// How many of the lengths are of literals and lengths, of distances, of code lengths.
    counts: [usize; 3],
    fast: Fast,
    /// It stops where another one could go on.
    halts: bool,
}

/// Where within a stream one stops and another goes on: at the beginning of a block, or within one of fixed codes. Blocks of
/// such codes may have any length, as some fast encoders write them; those of other codes have theirs in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// The bits of the byte before that are not used, lowest first, and how many they are.
    bits: (u8, u8),
    /// Within a block of fixed codes: whether it is the last.
    fixed: Option<bool>,
}

impl Default for Inflate {
    fn default() -> Self {
        Self::new()
    }
}

impl Inflate {
    /// At the beginning of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self {
            bits: Bits::default(),
            stage: Stage::Block,
            last: false,
            reach: 0,
            tables: Tables { litlens: LitlenTable::new(), distances: DistTable::new() },
            fixed: false,
            precodes: PrecodeTable::new(),
            lengths: [0; LITLENS + DISTS],
            counts: [0; 3],
            fast: Fast::of(Level::best()),
            halts: false,
        }
    }

    /// Where another one has stopped; so many bytes came before and may be reached.
    #[must_use]
    pub fn at(stop: Stop, reach: usize) -> Self {
        let count = u32::from(stop.bits.1).min(7);
        Self {
            bits: Bits { bits: u64::from(stop.bits.0) & ((1 << count) - 1), count },
            stage: if stop.fixed.is_some() { Stage::Fixed } else { Stage::Block },
            last: stop.fixed.unwrap_or(false),
            reach: reach.min(WINDOW_BYTES),
            ..Self::new()
        }
    }

    /// Whether it stops where another one could go on, as if the input had ended there.
    pub const fn halt(&mut self, halts: bool) {
        self.halts = halts;
    }

    /// If it is at such a place: how many bytes that were taken are not used there, and how it is gone on with.
    #[must_use]
    pub fn stop(&self) -> Option<(usize, Stop)> {
        let fixed = match self.stage {
            Stage::Block => None,
            Stage::Litlen if self.fixed => Some(self.last),
            Stage::StoredLength
            | Stage::Stored(_)
            | Stage::Fixed
            | Stage::Counts
            | Stage::Precodes(_)
            | Stage::Lengths(_)
            | Stage::Litlen
            | Stage::Distance(_)
            | Stage::Match(..)
            | Stage::Ended => return None,
        };
        let Bits { bits, count } = self.bits;
        let rest = count % 8;
        let bits = ((bits & ((1 << rest) - 1)).to_le_bytes()[0], rest.to_le_bytes()[0]);
        Some((count as usize / 8, Stop { bits, fixed }))
    }

    /// At the beginning of another one.
    pub fn reset(&mut self) {
        (self.bits, self.stage, self.last, self.reach) = (Bits::default(), Stage::Block, false, 0);
    }

    /// How much of what came before must stand in front of what comes next.
    #[must_use]
    pub const fn reaches(&self) -> usize {
        self.reach
    }

    /// Bytes that were taken behind the end, with their number: at most 7.
    #[must_use]
    pub fn behind(&self) -> ([u8; 8], usize) {
        debug_assert_eq!(self.stage, Stage::Ended);
        (self.bits.bits.to_le_bytes(), self.bits.count as usize / 8)
    }

    /// Inflates what it can of `input` into `buffer` from `at` on. In front of it stands what came before: all of it, or its last
    /// [`WINDOW_BYTES`]. What stands behind what was written may be overwritten too. It takes all input, unless the buffer is
    /// full or the stream ends.
    ///
    /// # Errors
    /// What is wrong with the stream; then nothing is said of what was written. It must not be called again.
    pub fn inflate(&mut self, input: &[u8], buffer: &mut [u8], at: usize) -> Result<Step, &'static str> {
        let mut place = Place { input, taken: 0, buffer, at, least: at.saturating_sub(self.reach) };
        self.run(&mut place)?;
        let produced = place.at - at;
        self.reach = self.reach.saturating_add(produced).min(WINDOW_BYTES);
        let mut consumed = place.taken;
        let ended = self.stage == Stage::Ended;
        if ended {
            // What follows is given back, as far as it is of this input.
            self.bits.drop(self.bits.count % 8);
            let back = (self.bits.count as usize / 8).min(consumed);
            consumed -= back;
            self.bits.count -= u32::try_from(8 * back).unwrap_or(self.bits.count);
            self.bits.bits &= (1 << self.bits.count) - 1;
        }
        Ok(Step { consumed, produced, ended })
    }

    /// Until input or room is needed, or the stream ends.
    fn run(&mut self, place: &mut Place<'_>) -> Result<(), &'static str> {
        loop {
            let goes_on = match self.stage {
                Stage::Ended => false,
                Stage::Block | Stage::Litlen if self.halts && self.stop().is_some() => false,
                Stage::Litlen if place.has_margins() => {
                    self.quick(place)?;
                    true
                }
                Stage::Litlen | Stage::Distance(_) => {
                    self.bits.fill(place.input, &mut place.taken);
                    self.symbol(place)?
                }
                Stage::Match(len, distance) => self.copy(place, len, distance),
                Stage::Stored(left) => self.stored(place, left),
                Stage::Block
                | Stage::StoredLength
                | Stage::Fixed
                | Stage::Counts
                | Stage::Precodes(_)
                | Stage::Lengths(_) => {
                    self.bits.fill(place.input, &mut place.taken);
                    self.header()?
                }
            };
            if !goes_on {
                return Ok(());
            }
        }
    }

    /// Symbols while there are margins.
    fn quick(&mut self, place: &mut Place<'_>) -> Result<(), &'static str> {
        if self.fast.run(&self.tables, &mut self.bits, place)? {
            self.stage = self.behind_block();
        }
        Ok(())
    }

    const fn behind_block(&self) -> Stage {
        if self.last { Stage::Ended } else { Stage::Block }
    }

    /// One literal, length or distance. Whether it could be decoded, and written.
    fn symbol(&mut self, place: &mut Place<'_>) -> Result<bool, &'static str> {
        let Self { tables: Tables { litlens, distances }, bits, .. } = self;
        if let Stage::Distance(len) = self.stage {
            let Some(found) = distances.look(bits.bits, bits.count) else { return Ok(false) };
            if found.entry & SPECIAL != 0 {
                return Err("invalid distance code");
            }
            let distance = bits.value(found);
            if distance > place.at - place.least {
                return Err("distance too far back");
            }
            self.stage = Stage::Match(len, distance);
            return Ok(true);
        }
        let Some(found) = litlens.look(bits.bits, bits.count) else { return Ok(false) };
        if found.entry & LITERAL != 0 {
            let Some(to) = place.buffer.get_mut(place.at) else { return Ok(false) };
            *to = found.entry.to_le_bytes()[2];
            bits.drop(found.before + (found.entry & 0xff));
            place.at += 1;
        } else if found.entry & SPECIAL == 0 {
            self.stage = Stage::Distance(bits.value(found));
        } else if found.entry & END != 0 {
            bits.drop(found.before + (found.entry & 0xff));
            self.stage = self.behind_block();
        } else {
            return Err("invalid code of a literal or length");
        }
        Ok(true)
    }

    /// Copies what there is room for of a match. Whether that was all.
    fn copy(&mut self, place: &mut Place<'_>, len: usize, distance: usize) -> bool {
        let part = len.min(place.buffer.len().saturating_sub(place.at));
        for at in place.at..place.at + part {
            // A match may repeat what it writes; so it is copied byte by byte.
            place.buffer[at] = place.buffer[at - distance];
        }
        place.at += part;
        self.stage = if part == len { Stage::Litlen } else { Stage::Match(len - part, distance) };
        part == len
    }

    /// Copies what there is of a stored block, and room for. Whether that was all.
    fn stored(&mut self, place: &mut Place<'_>, mut left: usize) -> bool {
        while left > 0
            && let Some(to) = place.buffer.get_mut(place.at)
            && let Some(byte) = self.bits.take(8)
        {
            *to = byte.to_le_bytes()[0];
            (place.at, left) = (place.at + 1, left - 1);
        }
        if self.bits.count == 0 {
            let from = place.input.get(place.taken..).unwrap_or_default();
            let to = place.buffer.get_mut(place.at..).unwrap_or_default();
            let part = left.min(from.len()).min(to.len());
            if let (Some(from), Some(to)) = (from.get(..part), to.get_mut(..part)) {
                to.copy_from_slice(from);
            }
            (place.taken, place.at, left) = (place.taken + part, place.at + part, left - part);
        }
        self.stage = if left == 0 { self.behind_block() } else { Stage::Stored(left) };
        left == 0
    }

    /// A part of a block's header. Whether there were bits enough for it.
    fn header(&mut self) -> Result<bool, &'static str> {
        let stage = match self.stage {
            Stage::Block => self.block()?,
            Stage::StoredLength => self.stored_length()?,
            Stage::Fixed => Some(self.fixed_codes()?),
            Stage::Counts => self.code_counts()?,
            Stage::Precodes(at) => self.precode(at)?,
            Stage::Lengths(at) => self.length(at)?,
            Stage::Stored(_) | Stage::Litlen | Stage::Distance(_) | Stage::Match(..) | Stage::Ended => None,
        };
        if let Some(stage) = stage {
            self.stage = stage;
        }
        Ok(stage.is_some())
    }

    fn block(&mut self) -> Result<Option<Stage>, &'static str> {
        let Some(head) = self.bits.take(3) else { return Ok(None) };
        self.last = head & 1 != 0;
        match head >> 1 {
            0 => {
                self.bits.drop(self.bits.count % 8);
                Ok(Some(Stage::StoredLength))
            }
            1 => Ok(Some(Stage::Fixed)),
            2 => Ok(Some(Stage::Counts)),
            _ => Err("invalid type of a block"),
        }
    }

    fn fixed_codes(&mut self) -> Result<Stage, &'static str> {
        if !self.fixed {
            self.tables.litlens.build(&fixed_lengths())?;
            self.tables.distances.build(&[5; DISTS])?;
            self.fixed = true;
        }
        Ok(Stage::Litlen)
    }

    fn stored_length(&mut self) -> Result<Option<Stage>, &'static str> {
        let Some(lengths) = self.bits.take(32) else { return Ok(None) };
        let (length, inverted) = (lengths & 0xffff, lengths >> 16);
        if length != inverted ^ 0xffff {
            return Err("invalid length of a stored block");
        }
        Ok(Some(Stage::Stored(length as usize)))
    }

    fn code_counts(&mut self) -> Result<Option<Stage>, &'static str> {
        let Some(counts) = self.bits.take(14) else { return Ok(None) };
        self.counts = [257 + (counts & 31), 1 + (counts >> 5 & 31), 4 + (counts >> 10)].map(|count| count as usize);
        if self.counts[0] > LITLENS_USED || self.counts[1] > DISTS_USED {
            return Err("too many codes");
        }
        self.lengths[..PRECODES].fill(0);
        Ok(Some(Stage::Precodes(0)))
    }

    fn precode(&mut self, at: usize) -> Result<Option<Stage>, &'static str> {
        let Some(length) = self.bits.take(3) else { return Ok(None) };
        self.lengths[usize::from(PRECODE_ORDER[at])] = length.to_le_bytes()[0];
        if at + 1 < self.counts[2] {
            return Ok(Some(Stage::Precodes(at + 1)));
        }
        self.precodes.build(&self.lengths[..PRECODES])?;
        Ok(Some(Stage::Lengths(0)))
    }

    fn length(&mut self, at: usize) -> Result<Option<Stage>, &'static str> {
        let Some(Found { entry, .. }) = self.precodes.look(self.bits.bits, self.bits.count) else { return Ok(None) };
        let code = entry & 0xf;
        // What is repeated, how often at least, and the bits that say how often more.
        let (length, least, extra) = match entry >> 16 {
            16 => (at.checked_sub(1).map(|before| self.lengths[before]), 3, 2),
            17 => (Some(0), 3, 3),
            18 => (Some(0), 11, 7),
            length => (Some(length.to_le_bytes()[0]), 1, 0),
        };
        if self.bits.count < code + extra {
            return Ok(None);
        }
        let length = length.ok_or("no code length to repeat")?;
        self.bits.drop(code);
        let times = least + self.bits.take(extra).unwrap_or(0) as usize;
        let [litlens, distances, _] = self.counts;
        let to = self.lengths.get_mut(at..at + times).filter(|_| at + times <= litlens + distances);
        to.ok_or("too many code lengths")?.fill(length);
        if at + times < litlens + distances {
            return Ok(Some(Stage::Lengths(at + times)));
        }
        if self.lengths[END_OF_BLOCK] == 0 {
            return Err("no code for the end of a block");
        }
        let (litlens, distances) = self.lengths[..litlens + distances].split_at(litlens);
        self.tables.litlens.build(litlens)?;
        self.tables.distances.build(distances)?;
        self.fixed = false;
        Ok(Some(Stage::Litlen))
    }
}

/// Source: RFC 1951, 3.2.6.
fn fixed_lengths() -> [u8; LITLENS] {
    std::array::from_fn(|symbol| match symbol {
        144..256 => 9,
        256..280 => 7,
        _ => 8,
    })
}
