//! All of RFC 8259, by a table: where a pretty-printed value ends, and whether nested text may be sent as it is.
//!
//! A value that lost its closing bracket must be noticed before it swallows the object. Strings are passed over by their masks,
//! as one token each; what stands between is looked at byte by byte, each by one step of the table, whatever it is: so text that
//! nobody can foresee takes no longer than any other.

use super::nesting::{Depth, Lower, Stack, Top};
use super::strings::{Strings, below};
use super::syntax::Look;
use crate::core::simd::{Level, Simd, Task, load_padded, longer_escapes};

/// What a byte between strings is.
type Symbol = u8;

const OTHER: Symbol = 0;
const BLANK: Symbol = 1;
/// A whole string.
const QUOTE: Symbol = 2;
const COLON: Symbol = 3;
const COMMA: Symbol = 4;
const BRACE: Symbol = 5;
/// What closes an array or an object that is in an array, or in nothing; in an object it is the next one.
const BRACKET_END: Symbol = 6;
const BRACE_END: Symbol = 8;
const IN_OBJECT: Symbol = 1;
const BRACKET: Symbol = 10;
const ZERO: Symbol = 11;
/// Of 1 to 9.
const DIGIT: Symbol = 12;
const MINUS: Symbol = 13;
const PLUS: Symbol = 14;
const POINT: Symbol = 15;
const CAPITAL_E: Symbol = 16;
/// The letters of [`LETTERS`] from here on.
const LETTER: Symbol = 17;
const LETTERS: &[u8] = b"aeflnrstu";
const SYMBOLS: Row = 64;
/// Of a symbol: a comma is directly behind it, which is taken with it.
const WITH_COMMA: Symbol = 32;

/// What there is to know of a byte between strings.
#[derive(Clone, Copy, Debug)]
struct Token {
    symbol: Symbol,
    /// 1 if it opens a level, or closes one, or opens an object.
    opens: u8,
    closes: u8,
    brace: u8,
}

static TOKENS: [Token; 256] = {
    let mut tokens = [Token { symbol: OTHER, opens: 0, closes: 0, brace: 0 }; 256];
    let mut byte = 0_u8;
    while byte < 0x80 {
        let token = &mut tokens[byte as usize];
        token.symbol = match byte {
            b' ' | b'\t' | b'\r' | b'\n' => BLANK,
            b'"' => QUOTE,
            b':' => COLON,
            b',' => COMMA,
            b'{' => BRACE,
            b'}' => BRACE_END,
            b'[' => BRACKET,
            b']' => BRACKET_END,
            b'0' => ZERO,
            b'1'..=b'9' => DIGIT,
            b'-' => MINUS,
            b'+' => PLUS,
            b'.' => POINT,
            b'E' => CAPITAL_E,
            letter => match letter_of(letter) {
                Some(symbol) => symbol,
                None => OTHER,
            },
        };
        token.opens = matches!(token.symbol, BRACE | BRACKET) as u8;
        token.closes = matches!(token.symbol, BRACE_END | BRACKET_END) as u8;
        token.brace = (token.symbol == BRACE) as u8;
        byte += 1;
    }
    tokens
};

const fn letter_of(byte: u8) -> Option<Symbol> {
    let mut at = 0_u8;
    while (at as usize) < LETTERS.len() {
        if LETTERS[at as usize] == byte {
            return Some(LETTER + at);
        }
        at += 1;
    }
    None
}

/// What may come next, with the flag [`OBJECT`] within an object, where it is not said that it is of one or the other.
type State = u8;

/// Nothing may.
const ERROR: State = 0;
const VALUE: State = 1;
/// A value, or the array's end.
const ELEMENT_OR_END: State = 2;
/// A comma, or the end.
const NEXT: State = 3;
const KEY: State = OBJECT | 4;
const KEY_OR_END: State = OBJECT | 5;
const COLON_THEN_VALUE: State = OBJECT | 6;
const AFTER_MINUS: State = 7;
const AFTER_ZERO: State = 8;
const INTEGER: State = 9;
const AFTER_POINT: State = 10;
const FRACTION: State = 11;
const AFTER_E: State = 12;
const AFTER_E_SIGN: State = 13;
const EXPONENT: State = 14;
/// Behind so many bytes of [`LITERALS`], which stand behind one another.
const LITERAL: State = 15;
const LITERALS: &[u8] = b"truefalsenull";
/// The value has not begun, or is at its end; of none within.
const START: State = 30;
const DONE: State = 31;
const OBJECT: State = 0x20;
const STATES: State = 64;

/// A state's first place in [`STEPS`].
type Row = u16;

/// The next row, by a row and a symbol.
static STEPS: [Row; (STATES as Row * SYMBOLS) as usize] = {
    let mut steps = [ERROR_ROW; (STATES as Row * SYMBOLS) as usize];
    let mut state = 0;
    while state < STATES {
        let mut symbol = 0;
        while (symbol as Row) < SYMBOLS {
            let next = step(state, symbol & !WITH_COMMA);
            let at = row(state) | symbol as Row;
            steps[at as usize] = row(if symbol & WITH_COMMA == 0 { next } else { step(next, COMMA) });
            symbol += 1;
        }
        state += 1;
    }
    steps
};

const ERROR_ROW: Row = row(ERROR);

const fn row(state: State) -> Row {
    state as Row * SYMBOLS
}

const fn step(state: State, symbol: Symbol) -> State {
    let within = state & OBJECT;
    match (state & !OBJECT, symbol) {
        _ if state == ERROR || state == DONE => ERROR,
        (START, QUOTE) => DONE,
        (START, BRACE) => KEY_OR_END,
        (START, BRACKET) => ELEMENT_OR_END,
        (START, _) => ERROR,
        (VALUE | ELEMENT_OR_END | NEXT, BLANK) => state,
        (VALUE, _) => value(within, symbol),
        _ if state == ELEMENT_OR_END && symbol & !IN_OBJECT == BRACKET_END => behind_end(symbol),
        _ if state == ELEMENT_OR_END => value(within, symbol),
        (NEXT, _) => behind_value(within, symbol),
        _ if state == KEY || state == KEY_OR_END || state == COLON_THEN_VALUE => match (state, symbol) {
            (_, BLANK) => state,
            (KEY | KEY_OR_END, QUOTE) => COLON_THEN_VALUE,
            (KEY_OR_END, _) if symbol & !IN_OBJECT == BRACE_END => behind_end(symbol),
            (COLON_THEN_VALUE, COLON) => OBJECT | VALUE,
            _ => ERROR,
        },
        (AFTER_MINUS, ZERO) => within | AFTER_ZERO,
        (AFTER_MINUS, DIGIT) | (INTEGER, ZERO | DIGIT) => within | INTEGER,
        (AFTER_ZERO | INTEGER, POINT) => within | AFTER_POINT,
        (AFTER_POINT | FRACTION, ZERO | DIGIT) => within | FRACTION,
        (AFTER_ZERO | INTEGER | FRACTION, symbol) if is_e(symbol) => within | AFTER_E,
        (AFTER_E, PLUS | MINUS) => within | AFTER_E_SIGN,
        (AFTER_E | AFTER_E_SIGN | EXPONENT, ZERO | DIGIT) => within | EXPONENT,
        (AFTER_ZERO | INTEGER | FRACTION | EXPONENT, _) => behind_value(within, symbol),
        (LITERAL.., _) => literal(state, symbol),
        _ => ERROR,
    }
}

const fn is_e(symbol: Symbol) -> bool {
    symbol == CAPITAL_E || is_letter(symbol, b'e')
}

const fn is_letter(symbol: Symbol, letter: u8) -> bool {
    match letter_of(letter) {
        Some(of_letter) => symbol == of_letter,
        None => false,
    }
}

/// At the start of a value.
const fn value(within: State, symbol: Symbol) -> State {
    match symbol {
        QUOTE => within | NEXT,
        BRACE => KEY_OR_END,
        BRACKET => ELEMENT_OR_END,
        ZERO => within | AFTER_ZERO,
        DIGIT => within | INTEGER,
        MINUS => within | AFTER_MINUS,
        _ if is_letter(symbol, b't') => within | LITERAL,
        _ if is_letter(symbol, b'f') => within | (LITERAL + 4),
        _ if is_letter(symbol, b'n') => within | (LITERAL + 9),
        _ => ERROR,
    }
}

/// Behind a value.
const fn behind_value(within: State, symbol: Symbol) -> State {
    match symbol {
        BLANK => within | NEXT,
        COMMA if within == OBJECT => KEY,
        COMMA => VALUE,
        _ if symbol & !IN_OBJECT == BRACE_END && within == OBJECT => behind_end(symbol),
        _ if symbol & !IN_OBJECT == BRACKET_END && within != OBJECT => behind_end(symbol),
        _ => ERROR,
    }
}

/// Behind what closes a level.
const fn behind_end(symbol: Symbol) -> State {
    if symbol & IN_OBJECT == IN_OBJECT { OBJECT | NEXT } else { NEXT }
}

/// Behind a byte of a literal, which is not its last.
const fn literal(state: State, symbol: Symbol) -> State {
    let at = (state & !OBJECT) - LITERAL;
    let next = at as usize + 1;
    if next >= LITERALS.len() || !is_letter(symbol, LITERALS[next]) {
        return ERROR;
    }
    match next {
        3 | 8 | 12 => state & OBJECT | NEXT,
        _ => state + 1,
    }
}

/// Reads one value by the whole grammar. Control characters but newline are let pass within strings, as everywhere in
/// the scanner, and so is invalid UTF-8; a value that spans lines may have newlines wherever blanks may be.
#[derive(Clone, Debug)]
pub(super) struct Grammar {
    strings: Strings,
    row: Row,
    top: Top,
    lower: Lower,
}

impl Default for Grammar {
    fn default() -> Self {
        Self { strings: Strings::NONE, row: row(START), top: Top::NONE, lower: Lower::within(0) }
    }
}

impl Grammar {
    /// Goes on with another value.
    pub(super) const fn begin(&mut self) {
        (self.strings, self.row, self.top) = (Strings::NONE, row(START), Top::NONE);
        self.lower.begin();
    }

    pub(super) const fn in_string(&self) -> bool {
        self.strings.within
    }

    /// Looks at the value's next bytes.
    pub(super) fn look(&mut self, level: Level, bytes: &[u8]) -> Look {
        level.run(Read::<false> { grammar: self, bytes })
    }
}

/// Whether all of `text`, a string or nested, is one value that may be sent as it is.
pub(super) fn is_value(level: Level, text: &[u8]) -> bool {
    let (look, grammar) = judge(level, text);
    match look {
        Look::End(end) => end == text.len(),
        // A string's end is where its bytes end.
        Look::RanOut => grammar.row == row(DONE) && !grammar.in_string(),
        Look::Broken(_) => false,
    }
}

/// The length of the nested value that `text` begins with, if it may be sent as it is.
pub(super) fn sendable_end(level: Level, text: &[u8]) -> Option<usize> {
    match judge(level, text).0 {
        Look::End(end) => Some(end),
        Look::RanOut | Look::Broken(_) => None,
    }
}

fn judge(level: Level, text: &[u8]) -> (Look, Grammar) {
    let mut grammar = Grammar::default();
    let look = level.run(Read::<true> { grammar: &mut grammar, bytes: text });
    (look, grammar)
}

/// Reads on. `ESCAPES`: they must be sound, which matters only for text that is sent as it is, and is there as a whole.
struct Read<'g, 'w, const ESCAPES: bool> {
    grammar: &'g mut Grammar,
    bytes: &'w [u8],
}

impl<const ESCAPES: bool> Task for Read<'_, '_, ESCAPES> {
    type Output = Look;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Look {
        let Self { grammar, bytes } = self;
        // What changes with each token is kept in registers.
        let (mut strings, mut row, mut stack) =
            (grammar.strings, grammar.row, Stack::new(grammar.top, &mut grammar.lower));
        let mut at = 0;
        let look = 'all: loop {
            let Some((vector, len)) = bytes.get(at..).and_then(|rest| load_padded(simd, rest)) else {
                break Look::RanOut;
            };
            let block = strings.block(simd, vector, len);
            let newlines = simd.equal(vector, b'\n');
            let mut broken = simd.bits(newlines) & block.inside;
            if ESCAPES && block.escaped != 0 {
                let special = simd.or(simd.equal(vector, b'"'), simd.equal(vector, b'\\'));
                broken |= unsound(bytes, at, longer_escapes(simd, vector, special, block.escaped));
            }
            broken &= below(len);
            let white = simd.or(simd.equal(vector, b' '), simd.equal(vector, b'\t'));
            let blanks = simd.bits(simd.or(simd.or(newlines, simd.equal(vector, b'\r')), white));
            // Of blanks the first is enough, and of strings the first quote.
            let tokens = !(block.inside ^ block.quotes) & !(blanks & blanks << 1);
            let before = broken.wrapping_sub(1) & !broken;
            let mut tokens = tokens & below(len) & before;
            let commas = simd.bits(simd.equal(vector, b',')) & tokens;
            // A comma that is taken takes none itself.
            tokens &= !((tokens & !(block.quotes | commas) & commas >> 1) << 1);
            let with_comma = commas & !tokens;
            while tokens != 0 {
                let bit = tokens.trailing_zeros();
                let place = at + bit as usize;
                tokens &= tokens - 1;
                let Token { symbol, opens, closes, brace } =
                    TOKENS[usize::from(bytes.get(place).copied().unwrap_or(0))];
                let symbol = symbol | closes & stack.brace(1);
                let comma = (with_comma >> bit >> 1 & 1) as Symbol * WITH_COMMA;
                let from = row;
                // It is there: to ask is quicker than to make it certain.
                row = STEPS.get(usize::from(from | Row::from(symbol | comma))).copied().unwrap_or(ERROR_ROW);
                if row == ERROR_ROW {
                    let of_itself = STEPS.get(usize::from(from | Row::from(symbol))) != Some(&ERROR_ROW);
                    let by_comma = of_itself && stack.step(opens, closes, brace) != Depth::Most;
                    break 'all Look::Broken(place + usize::from(by_comma));
                }
                match stack.step(opens, closes, brace) {
                    Depth::Some => {}
                    Depth::None if closes == 1 => break 'all Look::End(place + 1),
                    // Behind a string by itself.
                    Depth::None => {}
                    Depth::Most => break 'all Look::Broken(place),
                }
            }
            if broken != 0 {
                break Look::Broken(at + broken.trailing_zeros() as usize);
            }
            at += len;
        };
        (grammar.top, grammar.strings, grammar.row) = (stack.top, strings, row);
        look
    }
}

/// Of escapes that are not two of two bytes, whose second bytes these are of those from `at` on, the first that is not sound.
#[inline(never)]
fn unsound(bytes: &[u8], at: usize, mut longer: u64) -> u64 {
    while longer != 0 {
        let place = at + longer.trailing_zeros() as usize;
        let escape = bytes.get(place..place + 5).unwrap_or_default();
        let sound = matches!(escape, [b'u', digits @ ..] if digits.iter().all(u8::is_ascii_hexdigit));
        if !sound {
            return longer & longer.wrapping_neg();
        }
        longer &= longer - 1;
    }
    0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    /// Levels that the other reader takes.
    const DEPTH_MAX: usize = 126;

    /// A nested value, step by step: it opens an array or an object, closes one, or says something.
    fn value(steps: &[u8]) -> String {
        let (mut text, mut open, mut first) = ("[".to_owned(), vec![']'], true);
        for &step in steps {
            if step % 4 == 0 && open.len() > 1 {
                text.extend(open.pop());
                first = false;
                continue;
            }
            if !std::mem::take(&mut first) {
                text.push_str(if step % 5 == 0 { " , " } else { "," });
            }
            if open.last() == Some(&'}') {
                text.push_str(if step % 3 == 0 { "\"\\\"k\":" } else { "\"k\" : " });
            }
            match step % 4 {
                2 if open.len() < DEPTH_MAX => {
                    text.push('[');
                    open.push(']');
                    first = true;
                }
                3 if open.len() < DEPTH_MAX => {
                    text.push('{');
                    open.push('}');
                    first = true;
                }
                _ => text.push_str(
                    ["0", "-1.5e+7", "true", "\"[\\\\\"", "null", "\"\\u00e9\"", "false", "10"]
                        [usize::from(step / 4 % 8)],
                ),
            }
        }
        text.extend(open.iter().rev());
        text
    }

    proptest! {
        /// As serde_json judges, also where a byte is another or is not there; and however a value is cut.
        #[test]
        fn values_are_those_of_json(
            steps in prop::collection::vec(any::<u8>(), 0..400), deeper in 0..120_usize,
            changed in prop::option::of((any::<prop::sample::Index>(), prop::sample::select(&b"[]{}\",:0 \\t-.e"[..]))),
            cut in any::<prop::sample::Index>(),
        ) {
            // Steps down for as long as it takes to come to the word below.
            let down = (0..deeper).map(|at| 2 + (at % 2) as u8);
            let mut text = value(&down.chain(steps).collect::<Vec<_>>()).into_bytes();
            if let Some((at, byte)) = changed {
                let at = at.index(text.len());
                if byte == b' ' { _ = text.remove(at) } else { text[at] = byte }
            }
            let sound = serde_json::from_slice::<IgnoredAny>(&text).is_ok();
            prop_assert!(sound || changed.is_some());
            let is_nested = matches!(text.first(), Some(b'[' | b'{'));
            for level in Level::all() {
                prop_assert_eq!(is_nested && is_value(level, &text), sound && is_nested, "{} {}", level.name(), String::from_utf8_lossy(&text));
                let (mut grammar, (start, rest)) = (Grammar::default(), text.split_at(cut.index(text.len())));
                let (once, twice) = (Grammar::default().look(level, &text), match grammar.look(level, start) {
                    Look::RanOut => grammar.look(level, rest).behind(start.len()),
                    look => look,
                });
                prop_assert_eq!(once, twice, "{}", level.name());
            }
        }
    }

    #[test]
    fn strings_are_sound_by_their_escapes() {
        for (text, sound) in
            [(r#""\u00e9\n""#, true), (r#""\u00g9""#, false), (r#""\x""#, false), (r#""a\"#, false), ("\"\"", true)]
        {
            assert_eq!(is_value(Level::best(), text.as_bytes()), sound, "{text}");
        }
    }
}
