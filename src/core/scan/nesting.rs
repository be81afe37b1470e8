//! The end of a nested value, by its brackets and strings alone: nothing else is asked of what is not sent.

use super::strings::{Strings, below};
use super::syntax::{Look, in_scalar, skip_string};
use crate::core::simd::{Level, Simd, Task, load_padded};

/// Levels of nesting of one record, its own braces included; a deeper one is a bad record. serde_json stops at 128.
pub const NESTING_MAX: usize = LEVELS as usize;
const LEVELS: u32 = 1024;

/// Levels that leave the top of a [`Stack`] together, and come back.
const SPILLED: u32 = 32;
/// Levels that are at the top at most.
const HELD_MAX: u32 = 62;

/// Of each open bracket a bit, whether it is a brace. The innermost ones are in one word, and no step depends on what the next
/// bracket is, but for those that are seldom: so the processor has nothing to guess.
#[derive(Debug)]
pub(super) struct Stack<'l> {
    pub(super) top: Top,
    /// With so many held there something is to be done.
    full: u32,
    lower: &'l mut Lower,
}

/// The innermost levels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Top {
    /// The innermost one's bit is the lowest. Behind those that are held here there is a bit for the one around them.
    bits: u64,
    /// Levels held here, and one.
    held: u32,
}

impl Top {
    /// Nothing is open.
    pub(super) const NONE: Self = Self { bits: 0, held: 1 };
}

/// Those below.
#[derive(Clone, Debug)]
pub(super) struct Lower {
    /// Levels that may be open, those at the top as well.
    most: u32,
    spilled: u32,
    words: [u64; (LEVELS / SPILLED) as usize],
}

/// What is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    Some,
    None,
    /// One more would be too many, and is not taken.
    Most,
}

impl Lower {
    /// None, while so many levels are outside.
    pub(super) const fn within(outside: u32) -> Self {
        Self { most: LEVELS - outside, spilled: 0, words: [0; (LEVELS / SPILLED) as usize] }
    }

    /// None again.
    pub(super) const fn begin(&mut self) {
        self.spilled = 0;
    }

    fn full(&self) -> u32 {
        (self.most - SPILLED * self.spilled).min(HELD_MAX) + 2
    }

    /// All of those at the top are closed, or they are as many as may be there.
    #[cold]
    #[inline(never)]
    fn seldom(&mut self, top: Top) -> (Top, Depth) {
        let Top { mut bits, mut held } = top;
        if held > 1 {
            if SPILLED * self.spilled + held - 1 > self.most {
                return (Top { bits: bits >> 1, held: held - 1 }, Depth::Most);
            }
            held -= SPILLED;
            if let Some(word) = self.words.get_mut(self.spilled as usize) {
                *word = bits >> (held - 1);
            }
            self.spilled += 1;
        } else {
            let Some(spilled) = self.spilled.checked_sub(1) else { return (top, Depth::None) };
            let word = |at: u32| self.words.get(at as usize).copied().unwrap_or_default() & !(u64::MAX << SPILLED);
            let around = spilled.checked_sub(1).map_or(0, |around| word(around) & 1);
            bits = around << SPILLED | word(spilled);
            held += SPILLED;
            self.spilled = spilled;
        }
        (Top { bits, held }, Depth::Some)
    }
}

impl<'l> Stack<'l> {
    pub(super) fn new(top: Top, lower: &'l mut Lower) -> Self {
        Self { top, full: lower.full(), lower }
    }

    /// 1 if the innermost level is a brace's (`around` is 0), or the one around it (1).
    #[inline(always)]
    pub(super) const fn brace(&self, around: u32) -> u8 {
        (self.top.bits >> around & 1) as u8
    }

    /// Takes what opens a level, or closes one, or does neither: 1 or 0 each; and 1 if it opens one with a brace.
    #[inline(always)]
    pub(super) fn step(&mut self, opens: u8, closes: u8, brace: u8) -> Depth {
        let Top { bits, held } = self.top;
        let bits = (bits << opens | u64::from(brace)) >> closes;
        let held = held.wrapping_add(u32::from(opens)).wrapping_sub(u32::from(closes));
        self.top = Top { bits, held };
        if held.wrapping_sub(2) < self.full.wrapping_sub(2) {
            return Depth::Some;
        }
        let (top, depth) = self.lower.seldom(Top { bits, held });
        (self.top, self.full) = (top, self.lower.full());
        depth
    }
}

/// What came of a bracket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    Within,
    /// It was the last.
    End,
    /// It is of the wrong kind.
    Wrong,
    TooDeep,
}

/// Keeps account of the brackets that are open.
trait Brackets {
    /// Whether it knows no kinds, so that many brackets can be counted at once.
    const COUNTS: bool;
    /// Whether what a block opens and closes at once makes no difference to it: no level there is too deep.
    fn skips(&self) -> bool;
    /// Takes one.
    fn take(&mut self, bracket: u8) -> Taken;
    /// Takes those of a block together: the place of the last, if it is among them. None: they must be taken one by one.
    fn take_all(&mut self, opens: u64, closes: u64) -> Option<Option<usize>>;
}

/// 1 if a bracket closes a level.
const fn closes(bracket: u8) -> u8 {
    bracket >> 2 & 1
}

impl Brackets for Stack<'_> {
    const COUNTS: bool = false;

    #[inline(always)]
    fn skips(&self) -> bool {
        // A block has far fewer than may be open besides.
        self.lower.spilled == 0
    }

    #[inline(always)]
    fn take(&mut self, bracket: u8) -> Taken {
        let (closes, brace) = (closes(bracket), bracket >> 5 & 1);
        let wrong = closes & (self.brace(0) ^ brace);
        match self.step(1 - closes, closes, brace & (1 - closes)) {
            _ if wrong != 0 => Taken::Wrong,
            Depth::Some => Taken::Within,
            Depth::None => Taken::End,
            Depth::Most => Taken::TooDeep,
        }
    }

    fn take_all(&mut self, _: u64, _: u64) -> Option<Option<usize>> {
        None
    }
}

/// Levels of a value that is like most.
const SHALLOW: usize = 64;

/// As [`Stack`], of a few levels, each with a place of its own: what becomes of a bracket waits for the depth alone.
struct Shallow {
    braces: [u8; SHALLOW],
    depth: usize,
}

impl Brackets for Shallow {
    const COUNTS: bool = false;

    #[inline(always)]
    fn skips(&self) -> bool {
        true
    }

    #[inline(always)]
    fn take(&mut self, bracket: u8) -> Taken {
        let (closes, brace) = (closes(bracket), bracket & 0x20);
        let at = self.depth.wrapping_sub(usize::from(closes));
        let Some(level) = self.braces.get_mut(at) else { return Taken::TooDeep };
        let wrong = closes != 0 && *level != brace;
        *level = brace;
        self.depth = at + usize::from(1 - closes);
        if wrong {
            Taken::Wrong
        } else if self.depth == 0 {
            Taken::End
        } else {
            Taken::Within
        }
    }

    fn take_all(&mut self, _: u64, _: u64) -> Option<Option<usize>> {
        None
    }
}

/// As [`Stack`], but levels that are too many are counted without their kind, so that an element too deep to be read can still
/// be skipped.
struct Deep<'l> {
    stack: Stack<'l>,
    beyond: u64,
    too_deep: bool,
}

impl Brackets for Deep<'_> {
    const COUNTS: bool = false;

    #[inline(always)]
    fn skips(&self) -> bool {
        self.stack.skips()
    }

    #[inline(always)]
    fn take(&mut self, bracket: u8) -> Taken {
        if self.beyond == 0 {
            let taken = self.stack.take(bracket);
            if taken != Taken::TooDeep {
                return taken;
            }
            self.too_deep = true;
        }
        self.beyond = self.beyond + u64::from(1 - closes(bracket)) - u64::from(closes(bracket));
        Taken::Within
    }

    fn take_all(&mut self, _: u64, _: u64) -> Option<Option<usize>> {
        None
    }
}

/// How many are open, of a value whose kinds are known to match.
#[derive(Clone, Copy, Debug, Default)]
struct Count(i64);

impl Brackets for Count {
    const COUNTS: bool = true;

    #[inline(always)]
    fn skips(&self) -> bool {
        true
    }

    #[inline(always)]
    fn take(&mut self, bracket: u8) -> Taken {
        self.0 += 1 - 2 * i64::from(closes(bracket));
        if self.0 <= 0 { Taken::End } else { Taken::Within }
    }

    #[inline(always)]
    fn take_all(&mut self, opens: u64, closes: u64) -> Option<Option<usize>> {
        let down = i64::from(closes.count_ones());
        if self.0 <= down {
            let mut depth = self.0;
            for at in (0..u64::BITS).step_by(4) {
                let [four, ..] = (opens >> at & 0xf | (closes >> at & 0xf) << 4).to_le_bytes();
                let [down, change] = FOUR[usize::from(four)].map(i64::from);
                if depth.wrapping_add(down) <= 0 {
                    return Some(last(depth, opens >> at, closes >> at).map(|place| at as usize + place));
                }
                depth = depth.wrapping_add(change);
            }
        }
        self.0 = self.0.wrapping_add(i64::from(opens.count_ones())).wrapping_sub(down);
        Some(None)
    }
}

/// The place of the bracket that closes the last level, of brackets among which it is.
#[inline(never)]
fn last(depth: i64, opens: u64, closes: u64) -> Option<usize> {
    let mut left = closes;
    while left != 0 {
        let place = left.trailing_zeros();
        let up_to = !(u64::MAX << place << 1);
        if depth + i64::from((opens & up_to).count_ones()) <= i64::from((closes & up_to).count_ones()) {
            return Some(place as usize);
        }
        left &= left - 1;
    }
    None
}

/// Of four bytes, by those that open (the low bits) and close: how far those that close go down at most, and how far all have come.
static FOUR: [[i8; 2]; 256] = {
    let mut of = [[0, 0]; 256];
    let mut bits = 0;
    while bits < 256 {
        // Without any that closes it comes to no end.
        let (mut down, mut depth, mut at) = (4, 0, 0);
        while at < 4 {
            if bits >> at & 1 == 1 {
                depth += 1;
            }
            if bits >> (at + 4) & 1 == 1 {
                depth -= 1;
                down = if depth < down { depth } else { down };
            }
            at += 1;
        }
        of[bits] = [down, depth];
        bits += 1;
    }
    of
};

/// Walks a nested value, from its first bracket on, to its end.
struct Walk<B> {
    strings: Strings,
    brackets: B,
    /// A newline outside of strings was passed.
    crossed: bool,
    /// There were more levels than `brackets` knows.
    too_deep: bool,
}

impl<B: Brackets> Walk<B> {
    const fn new(brackets: B) -> Self {
        Self { strings: Strings::NONE, brackets, crossed: false, too_deep: false }
    }

    /// Looks at the value's next bytes. A newline within a string is broken, and one outside, unless the value may span lines.
    #[inline(always)]
    fn look<S: Simd>(&mut self, simd: S, bytes: &[u8], from: usize, spanning: bool) -> Look {
        let mut at = from;
        while let Some((vector, len)) = bytes.get(at..).and_then(|rest| load_padded(simd, rest)) {
            let block = self.strings.block(simd, vector, len);
            let newlines = simd.bits(simd.equal(vector, b'\n')) & below(len);
            let broken = if spanning { newlines & block.inside } else { newlines };
            // Those before what is broken, if anything is.
            let before = broken.wrapping_sub(1) & !broken;
            let outside = !block.inside & below(len) & before;
            let is = |byte| simd.bits(simd.equal(vector, byte)) & outside;
            let mut brackets = simd.bits(simd.bracket(vector)) & outside;
            if brackets & brackets >> 1 != 0 && self.brackets.skips() {
                let empty = is(b'[') & is(b']') >> 1 | is(b'{') & is(b'}') >> 1;
                // Not the value itself.
                let empty = empty & !u64::from(at == from);
                brackets &= !(empty | empty << 1);
            }
            if B::COUNTS {
                let opens = (is(b'[') | is(b'{')) & brackets;
                match self.brackets.take_all(opens, brackets & !opens) {
                    Some(Some(place)) => return Look::End(at + place + 1),
                    Some(None) => brackets = 0,
                    None => {}
                }
            }
            while brackets != 0 {
                let place = brackets.trailing_zeros() as usize;
                brackets &= brackets - 1;
                match bytes.get(at + place).map_or(Taken::Wrong, |bracket| self.brackets.take(*bracket)) {
                    Taken::Within => {}
                    Taken::End => {
                        self.crossed |= newlines & !(u64::MAX << place) != 0;
                        return Look::End(at + place + 1);
                    }
                    taken @ (Taken::Wrong | Taken::TooDeep) => {
                        self.too_deep = taken == Taken::TooDeep;
                        self.strings.within = false;
                        return Look::Broken(at + place);
                    }
                }
            }
            if broken != 0 {
                let place = broken.trailing_zeros();
                self.strings.within = block.inside >> place & 1 == 1;
                return Look::Broken(at + place as usize);
            }
            self.crossed |= newlines != 0;
            at += len;
        }
        Look::RanOut
    }
}

/// The end of a record's nested value whose first bracket is at `from`, and whether what breaks it, if anything does, is within a string.
#[inline(always)]
pub(super) fn end<S: Simd>(simd: S, bytes: &[u8], from: usize, spanning: bool) -> (Look, bool) {
    struct End<'w>(&'w [u8], usize, bool);

    impl Task for End<'_> {
        type Output = (Look, bool);

        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> (Look, bool) {
            let Self(bytes, from, spanning) = self;
            let mut walk = Walk::new(Shallow { braces: [0; SHALLOW], depth: 0 });
            let look = walk.look(simd, bytes, from, spanning);
            if !walk.too_deep {
                return (look, walk.strings.within);
            }
            // Within the record's own braces.
            let mut lower = Lower::within(1);
            let mut walk = Walk::new(Stack::new(Top::NONE, &mut lower));
            let look = walk.look(simd, bytes, from, spanning);
            (look, walk.strings.within)
        }
    }

    simd.run(End(bytes, from, spanning))
}

/// The end of the nested value whose first bracket is at `from`, and whose brackets are known to match.
#[inline(always)]
pub(super) fn sound_end<S: Simd>(simd: S, bytes: &[u8], from: usize) -> Look {
    struct End<'w>(&'w [u8], usize);

    impl Task for End<'_> {
        type Output = Look;

        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> Look {
            Walk::new(Count(0)).look(simd, self.0, self.1, true)
        }
    }

    simd.run(End(bytes, from))
}

/// The length of the nested value that `bytes` begin with, whose brackets are known to match.
pub(super) fn sound_len(level: Level, bytes: &[u8]) -> Option<usize> {
    struct Len<'w>(&'w [u8]);

    impl Task for Len<'_> {
        type Output = Look;

        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> Look {
            sound_end(simd, self.0, 0)
        }
    }

    match level.run(Len(bytes)) {
        Look::End(end) => Some(end),
        Look::Broken(_) | Look::RanOut => None,
    }
}

/// Finds the end of a nested value within its line, if its brackets match, however it is cut. If they do not, it goes on for longer
/// than it must, up to the line's end.
#[derive(Clone, Debug, Default)]
pub(super) struct Outline {
    strings: Strings,
    count: Count,
}

impl Outline {
    /// Looks at the value's next bytes. Whether all of them are its, and there may be more.
    pub(super) fn goes_on(&mut self, level: Level, bytes: &[u8]) -> bool {
        struct Line<'o, 'w>(&'o mut Outline, &'w [u8]);

        impl Task for Line<'_, '_> {
            type Output = bool;

            #[inline(always)]
            fn run<S: Simd>(self, simd: S) -> bool {
                let Self(Outline { strings, count }, bytes) = self;
                let mut walk = Walk { strings: *strings, ..Walk::new(*count) };
                let look = walk.look(simd, bytes, 0, false);
                (*strings, *count) = (walk.strings, walk.brackets);
                look == Look::RanOut
            }
        }

        level.run(Line(self, bytes))
    }
}

/// What an array's element is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    /// It has not begun.
    Unknown,
    Nested,
    String,
    /// As before, behind a backslash.
    Escape,
    Scalar,
}

/// Finds the end of a value by its brackets and strings alone, however it is cut.
#[derive(Clone, Debug)]
pub(super) struct Balance {
    element: Element,
    strings: Strings,
    top: Top,
    lower: Lower,
    /// Levels that are too many, and whether there were any.
    beyond: u64,
    too_deep: bool,
    crossed: bool,
}

impl Default for Balance {
    fn default() -> Self {
        let (top, lower) = (Top::NONE, Lower::within(0));
        Self {
            element: Element::Unknown,
            strings: Strings::NONE,
            top,
            lower,
            beyond: 0,
            too_deep: false,
            crossed: false,
        }
    }
}

impl Balance {
    /// Goes on with another value.
    pub(super) const fn begin(&mut self) {
        (self.element, self.strings, self.top) = (Element::Unknown, Strings::NONE, Top::NONE);
        (self.beyond, self.too_deep, self.crossed) = (0, false, false);
        self.lower.begin();
    }

    /// Some levels were too many.
    pub(super) const fn too_deep(&self) -> bool {
        self.too_deep
    }

    /// A newline was passed.
    pub(super) const fn crossed(&self) -> bool {
        self.crossed
    }

    /// Looks at the value's next bytes. A newline outside a string is broken unless the value may span lines.
    pub(super) fn look(&mut self, level: Level, bytes: &[u8], spanning: bool) -> Look {
        let mut at = 0;
        loop {
            match self.element {
                Element::Unknown => {
                    self.element = match bytes.first() {
                        None => return Look::RanOut,
                        Some(b'{' | b'[') => Element::Nested,
                        Some(b'"') => {
                            at = 1;
                            Element::String
                        }
                        Some(&byte) if in_scalar(byte) => Element::Scalar,
                        Some(_) => return Look::Broken(0),
                    }
                }
                Element::Nested => return level.run(Nested { balance: self, bytes, spanning }),
                Element::String => match skip_string(bytes, at, &mut false) {
                    Look::End(quote) => return Look::End(quote + 1),
                    Look::Broken(at) => return Look::Broken(at),
                    Look::RanOut => {
                        if ends_in_escape(bytes, at) {
                            self.element = Element::Escape;
                        }
                        return Look::RanOut;
                    }
                },
                Element::Escape => {
                    match bytes.first() {
                        None => return Look::RanOut,
                        Some(b'\n') => return Look::Broken(0),
                        Some(_) => self.element = Element::String,
                    }
                    at = 1;
                }
                Element::Scalar => {
                    let len = bytes.iter().position(|&byte| !in_scalar(byte));
                    return len.map_or(Look::RanOut, Look::End);
                }
            }
        }
    }
}

struct Nested<'b, 'w> {
    balance: &'b mut Balance,
    bytes: &'w [u8],
    spanning: bool,
}

impl Task for Nested<'_, '_> {
    type Output = Look;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Look {
        let Self { balance: Balance { strings, top, lower, beyond, too_deep, crossed, .. }, bytes, spanning } = self;
        let brackets = Deep { stack: Stack::new(*top, lower), beyond: *beyond, too_deep: *too_deep };
        let mut walk = Walk { strings: *strings, crossed: *crossed, ..Walk::new(brackets) };
        let look = walk.look(simd, bytes, 0, spanning);
        (*strings, *crossed) = (walk.strings, walk.crossed);
        (*top, *beyond, *too_deep) = (walk.brackets.stack.top, walk.brackets.beyond, walk.brackets.too_deep);
        look
    }
}

/// Whether the last byte of a string that goes on behind `bytes` begins an escape: from place `from` on it is within.
fn ends_in_escape(bytes: &[u8], from: usize) -> bool {
    let within = bytes.get(from..).unwrap_or_default();
    within.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Where the value ends or breaks, by a list of what is open.
    fn naive(text: &[u8], outside: usize) -> Look {
        let (mut open, mut at) = (Vec::new(), 0);
        let mut string = false;
        while let Some(byte) = text.get(at) {
            match byte {
                b'"' => string = !string,
                b'\\' if string => at += 1,
                _ if string => {}
                b'{' | b'[' if open.len() + outside == NESTING_MAX => return Look::Broken(at),
                b'{' | b'[' => open.push(*byte),
                b'}' | b']' if open.pop() != Some(if *byte == b'}' { b'{' } else { b'[' }) => return Look::Broken(at),
                b'}' | b']' if open.is_empty() => return Look::End(at + 1),
                _ => {}
            }
            at += 1;
        }
        Look::RanOut
    }

    /// A nested value: steps up or down, each of so many levels, with something between; `close`: and all that is open then.
    fn nested(steps: &[(i16, u8)], close: bool) -> Vec<u8> {
        let (mut text, mut open) = (vec![b'['], vec![b']']);
        for &(step, what) in steps {
            text.extend(std::iter::repeat_n(b'0', usize::from(what % 5)));
            text.extend(&b"\"]}\\\"\\\\\""[..if what % 3 == 0 { 8 } else { 0 }]);
            for at in 0..step {
                let brace = (at + i16::from(what)) % 3 == 0;
                text.push(if brace { b'{' } else { b'[' });
                open.push(if brace { b'}' } else { b']' });
            }
            for _ in step..0 {
                if open.len() > 1 {
                    text.extend(open.pop());
                }
            }
        }
        text.extend(open.iter().rev().filter(|_| close));
        text
    }

    proptest! {
        /// However deep, however it is cut, and with whatever brackets behind its end; and if one of its bytes is another.
        #[test]
        fn the_end_is_where_the_brackets_say(
            steps in prop::collection::vec((-90..=90_i16, any::<u8>()), 0..60),
            close in any::<bool>(), behind in "[\\[\\]{}0]{0,80}", cut in any::<prop::sample::Index>(),
            changed in prop::option::of((any::<prop::sample::Index>(), prop::sample::select(&b"[]{}\"0"[..]))),
        ) {
            let mut text = nested(&steps, close);
            let sound = close.then_some(text.len());
            text.extend(behind.bytes());
            for level in Level::all() {
                if let Some(len) = sound {
                    prop_assert_eq!(sound_len(level, &text), Some(len), "{}", level.name());
                }
            }
            if let Some((at, byte)) = changed {
                let len = text.len();
                text[1 + at.index(len) % (len - 1).max(1)..].first_mut().into_iter().for_each(|changed| *changed = byte);
            }
            for level in Level::all() {
                let mut balance = Balance::default();
                let (start, rest) = text.split_at(cut.index(text.len() + 1));
                let look = match balance.look(level, start, true) {
                    Look::RanOut => balance.look(level, rest, true).behind(start.len()),
                    look => look,
                };
                let expected = naive(&text, 0);
                let too_deep = |look| matches!(look, Look::Broken(at) if matches!(text[at], b'[' | b'{'));
                if !too_deep(expected) {
                    prop_assert_eq!(look, expected, "{}", level.name());
                }
                prop_assert_eq!(in_record(level, &text), naive(&text, 1), "{}", level.name());
            }
        }
    }

    /// [`end`] of a value that `text` begins with.
    fn in_record(level: Level, text: &[u8]) -> Look {
        struct InRecord<'w>(&'w [u8]);

        impl Task for InRecord<'_> {
            type Output = Look;

            fn run<S: Simd>(self, simd: S) -> Look {
                end(simd, self.0, 0, true).0
            }
        }

        level.run(InRecord(text))
    }
}
