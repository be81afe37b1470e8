//! Windows of decompressed bytes → records, with their message and timestamp still as they are written.
//!
//! A record is contiguous in the window. The caller keeps the bytes from the position that [`Scanner::next`] returned,
//! moves them to the window's front, appends what was decoded since, and calls again with the kept bytes' new place: the
//! scanner remembers nothing of where the window lies. However the bytes are cut, the steps are the same; [`reference`]
//! says what they are, slowly and from the whole input, and the tests hold the two together.
//!
//! # Framing
//! An object is a sequence of JSON values. Between values blanks (space, tab, CR, LF) do not matter, nor does a byte order
//! mark at the object's start. Each value, and whatever stands where a value should, is one slot and has the next ordinal.
//!
//! - **Line mode**, unless the first value says otherwise. A value ends before its line does; what cannot be read is one
//!   bad slot to the line's end. Values may share a line (files joined without a last newline do). An array is exploded:
//!   each element is a slot.
//! - **Value mode**, when the first non-blank line ends with open brackets outside a string: pretty-printed objects and
//!   arrays over many lines. An object must then be valid JSON, since its end depends on it. A broken one is a bad slot,
//!   and reading goes on at the next line that begins with `{` or `[`. If the very first value turns out broken, nothing
//!   of it has been used, and the object is read in line mode from its start.
//! - **A broken array**: an element that is no record but whole (a number, a broken object whose brackets still balance)
//!   is one bad slot. At a syntax error the array ends. In line mode the next line goes on; the fault is
//!   [`ObjectFault::ArrayTail`], or [`ObjectFault::BadRecord`] if the array had no element yet, because then the line is
//!   no array at all. In value mode [`ObjectFault::ArrayTail`] is the object's last step. An object that begins with an
//!   array counts as value mode from the first whole element behind, or over, a line's end.
//! - **A record over [`ScanLimits::record_bytes_max`]** is one [`ObjectFault::OversizeRecord`], and is skipped without
//!   being kept. So the caller never keeps more than that many bytes.
//!
//! # What a record is
//! The law of validity, the same on every path:
//!
//! 1. The skeleton is sound: an object; its keys strings; its values terminated strings, valid literals or numbers, or
//!    nested values whose brackets match in kind and whose strings are terminated; nothing more is asked of nested text.
//! 2. No string holds a raw newline. Other control characters and invalid UTF-8 are let pass, to be escaped and replaced
//!    by the copier.
//! 3. Nested text that is itself sent (the message is no string, or the whole record is sent) is valid JSON, save for 2.
//! 4. Escapes are sound in keys and in what is sent. Those of a message string are judged by the copier, not here.
//! 5. It nests at most [`NESTING_MAX`] levels.
//!
//! Whatever serde_json takes as an object within that depth is a record, with the same message and timestamp.

mod again;
mod exact;
mod fields;
mod framing;
mod grammar;
mod nesting;
mod place;
pub mod reference;
mod shape;
mod strings;
mod syntax;
#[cfg(test)]
mod tests;

pub use self::exact::{METADATA, PIECE_BLOCK_BYTES, PiecePlace, Pieces};
pub use self::nesting::NESTING_MAX;
pub use self::place::RecordPlace;
pub use self::shape::Shape;
pub(super) use self::syntax::{in_scalar, is_scalar};

use self::again::Again;
use self::framing::{Mode, State};
use self::grammar::Grammar;
use self::nesting::{Balance, Outline};
use super::object::{ObjectFault, Ordinal};
use super::simd::Level;

/// The default of [`ScanLimits::record_bytes_max`].
pub const RECORD_BYTES_MAX: usize = 16 << 20;

/// One record: a sound JSON object, contiguous in the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'w> {
    /// Its number among the object's value slots.
    pub ordinal: Ordinal,
    /// The decompressed offset of its first byte.
    pub offset: u64,
    /// The record's JSON text, from `{` to `}`.
    pub text: &'w [u8],
    /// What is to be sent.
    pub message: Message<'w>,
    /// When it happened, as written.
    pub timestamp: Stamp<'w>,
}

/// What a record has to say, as bytes of the window: nothing is copied or unescaped here.
#[derive(Clone, Copy, Debug)]
pub enum Message<'w> {
    /// The inside of a JSON string, still escaped. Its escapes and its UTF-8 are not validated yet: the copier does that
    /// in the same pass. It is never empty and holds no newline and no unescaped quote.
    Escaped(&'w [u8]),
    /// The same, of which more is known: it was seen while its end was searched. It is the same message, whichever of the two
    /// it comes as.
    Seen(&'w [u8], Seen),
    /// A JSON text (object, array, number, true, false) that is the message itself, byte for byte; valid JSON save for
    /// control characters and invalid UTF-8 within its strings. It must be escaped when it is put into a JSON string.
    Json(&'w [u8]),
    /// The whole record less its metadata: texts to be joined without anything between; each must be escaped as in `Json`.
    Pieces(Pieces<'w>),
    /// The empty string.
    Empty,
}

/// What is known of the inside of a JSON string without control characters, whose escapes are all sound and of two bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// How many escapes there are.
    pub escapes: usize,
    /// Whether there is anything that is no ASCII; it may then be no UTF-8.
    pub high: bool,
}

impl<'w> Message<'w> {
    /// The inside of the JSON string that it is, if it is one.
    #[must_use]
    pub const fn inside(&self) -> Option<&'w [u8]> {
        match self {
            Self::Escaped(inside) | Self::Seen(inside, _) => Some(inside),
            Self::Empty => Some(&[]),
            Self::Json(_) | Self::Pieces(_) => None,
        }
    }
}

impl PartialEq for Message<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Json(json), Self::Json(other)) => json == other,
            (Self::Pieces(pieces), Self::Pieces(other)) => pieces == other,
            (Self::Json(_) | Self::Pieces(_), _) => false,
            (Self::Escaped(_) | Self::Seen(..) | Self::Empty, _) => self.inside() == other.inside(),
        }
    }
}

impl Eq for Message<'_> {}

/// A record's `timestamp`, as bytes of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp<'w> {
    /// The inside of a JSON string, still escaped, not validated.
    Text(&'w [u8]),
    /// A JSON number.
    Number(&'w [u8]),
    /// Absent, or neither a string nor a number.
    Missing,
}

/// What [`Scanner::next`] came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<'w> {
    /// A record.
    Record(Record<'w>),
    /// A slot that is no record, or the end of what can be framed; its ordinal is consumed.
    Bad(ObjectFault),
    /// Keep the window's bytes from the returned position on, append more, call again. Never returned for the last bytes.
    NeedMore,
    /// The object has no more records. Further bytes, if any come, are passed over.
    End,
}

/// Bounds of a scan.
#[derive(Clone, Copy, Debug)]
pub struct ScanLimits {
    /// Bytes of one record, and so of what is kept between windows. At least 4.
    pub record_bytes_max: usize,
}

impl Default for ScanLimits {
    fn default() -> Self {
        Self { record_bytes_max: RECORD_BYTES_MAX }
    }
}

/// Finds one object's records.
///
/// ```
/// use millrace::core::scan::{Message, ScanLimits, Scanner, Step};
///
/// let mut scanner = Scanner::new(ScanLimits::default());
/// let window = b"{\"message\":\"one\"}\n{\"message\":\"t";
/// let (step, at) = scanner.next(window, 0, false);
/// assert!(matches!(step, Step::Record(record) if record.message == Message::Escaped(b"one")));
/// let (step, at) = scanner.next(window, at, false);
/// assert_eq!((step, &window[at..]), (Step::NeedMore, &b"{\"message\":\"t"[..]));
/// ```
#[derive(Clone, Debug)]
pub struct Scanner {
    limits: ScanLimits,
    level: Level,
    /// What records look like.
    shape: Shape,
    /// What the step came from, and where it began.
    before: (State, u64),
    /// A record that was taken back.
    again: Option<Again>,
    /// The number of the next slot.
    ordinal: u64,
    /// The decompressed offset of the position returned last.
    offset: u64,
    mode: Mode,
    state: State,
    /// Bytes from the position on that were searched before the window ended, and need not be again.
    searched: usize,
    /// A value of the object has been used: there is no way back to line mode.
    committed: bool,
    /// The open array's own offset, and whether it has had an element.
    array: (u64, bool),
    /// A newline was passed within the open array, of whose elements none lies behind it or over it.
    crossed: bool,
    /// Finds the end of the record at the position that the window cut, if it is not by the grammar.
    outline: Option<Outline>,
    /// The same of an array's element; whether it does.
    balance: Balance,
    balances: bool,
    /// Reads the value at the position, in value mode, and the record that the window cut.
    grammar: Grammar,
    /// The offset of the value that it read to its end.
    judged: Option<u64>,
}

impl Scanner {
    /// A scanner at the start of an object.
    #[must_use]
    pub fn new(limits: ScanLimits) -> Self {
        debug_assert!(limits.record_bytes_max >= 4);
        Self {
            limits,
            level: Level::best(),
            shape: Shape::default(),
            before: (State::Start, 0),
            again: None,
            ordinal: 0,
            offset: 0,
            mode: Mode::Undecided,
            state: State::Start,
            searched: 0,
            committed: false,
            array: (0, false),
            crossed: false,
            outline: None,
            balance: Balance::default(),
            balances: false,
            grammar: Grammar::default(),
            judged: None,
        }
    }

    /// The same with other instructions.
    #[must_use]
    pub const fn with_level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// The same, which takes records to look as those of another scanner did.
    #[must_use]
    pub fn with_shape(mut self, shape: Shape) -> Self {
        self.shape = shape;
        self
    }

    /// What its records look like, for [`Self::with_shape`]. It makes a difference to speed alone.
    #[must_use]
    pub fn take_shape(&mut self) -> Shape {
        std::mem::take(&mut self.shape)
    }

    /// Takes back the record that was the last step: it will be the next one again, at the place in the window where it
    /// begins, and without being read again: a long one is taken back once for each batch that has parts of it.
    pub fn take_back(&mut self, record: &Record<'_>) {
        self.again = Some(Again::of(record, self.state));
        (self.state, self.offset) = self.before;
        self.ordinal -= 1;
        self.searched = 0;
        self.grammar.begin();
    }

    /// The next step, looking at the window from `at` on, and the new position in the window. `last` says that nothing
    /// follows the window's bytes. The position must be given back as it was returned, or, after the kept bytes were
    /// moved, as their new place; nothing else is remembered about the window.
    pub fn next<'w>(&mut self, window: &'w [u8], at: usize, last: bool) -> (Step<'w>, usize) {
        let mut at = at.min(window.len());
        if let Some(step) = self.again.take().and_then(|again| self.give_again(&again, window, &mut at)) {
            return (step, at);
        }
        loop {
            if let Some(step) = self.step(window, &mut at, last) {
                return (step, at);
            }
        }
    }

    /// The decompressed offset of the position returned last.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// The number that the next slot will have: after the end, the count of all slots.
    #[must_use]
    pub const fn ordinal(&self) -> Ordinal {
        Ordinal(self.ordinal)
    }
}
