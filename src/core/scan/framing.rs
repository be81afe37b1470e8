//! The scanner's states: what the bytes at the position are part of. The rules are in [`super`]'s documentation.
//!
//! Two things keep the answer independent of the cuts. A verdict about a value depends only on the bytes up to where it
//! is certain, and is only asked of the first [`super::ScanLimits::record_bytes_max`] of them. And a value that the window
//! cuts is not read again from its start at every call, which would be quadratic: it is followed by a machine that takes
//! each byte once.

use super::exact;
use super::fields::{self, Verdict};
use super::nesting::Outline;
use super::syntax::{Look, is_scalar};
use super::{Message, Record, Scanner, Step};
use crate::core::object::{ObjectFault, Ordinal};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How values are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The first value has not shown it yet.
    Undecided,
    Line,
    Value,
}

/// What the position is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The object's first byte.
    Start,
    /// Between values.
    Between,
    /// The object's first `{`, before it is known whether its line holds all of it.
    First,
    /// A `{` in line mode.
    Line,
    /// A `{` in value mode.
    Value,
    /// Within an array, between elements.
    Gap(Want),
    /// An array's element.
    Element,
    /// Within something that is not kept.
    Skip(Skip),
    /// Behind all that can be read.
    End,
}

/// What an array allows next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    ElementOrEnd,
    Element,
    CommaOrEnd,
}

/// What is skipped, and so where reading goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Skip {
    /// The rest of the line.
    Line,
    /// An oversize element of an array.
    Element,
    /// An oversize value; whether the byte before the position was a newline.
    Value { line_start: bool },
    /// All up to a line that begins with `{` or `[`; whether the position is at a line's start.
    ToValue { line_start: bool },
}

impl Scanner {
    /// One change of state; the step it came to, if it came to one.
    pub(super) fn step<'w>(&mut self, window: &'w [u8], at: &mut usize, last: bool) -> Option<Step<'w>> {
        let rest = window.get(*at..).unwrap_or_default();
        self.before = (self.state, self.offset);
        match self.state {
            State::Start => {
                if rest.starts_with(BYTE_ORDER_MARK) {
                    self.advance(at, BYTE_ORDER_MARK.len());
                } else if !last && BYTE_ORDER_MARK.starts_with(rest) {
                    return Some(Step::NeedMore);
                }
                self.state = State::Between;
                None
            }
            State::Between => self.between(rest, at, last),
            State::First => self.first(rest, last),
            State::Line => self.line(rest, at, last),
            State::Value => self.value(rest, at, last),
            State::Gap(want) => self.gap(want, rest, at, last),
            State::Element => self.element(rest, at, last),
            State::Skip(skip) => self.skip(skip, rest, at, last),
            State::End => {
                self.advance(at, rest.len());
                Some(Step::End)
            }
        }
    }

    fn between<'w>(&mut self, rest: &'w [u8], at: &mut usize, last: bool) -> Option<Step<'w>> {
        let blanks = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
        self.advance(at, blanks.unwrap_or(rest.len()));
        let Some(&byte) = blanks.and_then(|blanks| rest.get(blanks)) else { return Some(self.dry(last)) };
        self.searched = 0;
        match (byte, self.mode) {
            (b'{', Mode::Line) => self.state = State::Line,
            (b'{', Mode::Undecided) => {
                self.grammar.begin();
                self.state = State::First;
            }
            (b'{', Mode::Value) => {
                self.grammar.begin();
                self.state = State::Value;
            }
            (b'[', _) => {
                self.array = (self.offset, false);
                self.crossed = false;
                self.advance(at, 1);
                self.state = State::Gap(Want::ElementOrEnd);
            }
            (_, mode) => {
                if mode == Mode::Undecided {
                    self.mode = Mode::Line;
                }
                self.state = State::Skip(Skip::Line);
                return Some(self.bad());
            }
        }
        None
    }

    /// Decides the mode by the line of the object's first `{`, or by less when the value ends before its line does.
    fn first<'w>(&mut self, rest: &'w [u8], last: bool) -> Option<Step<'w>> {
        let bounded = self.bounded(rest);
        let fresh = bounded.get(self.searched..).unwrap_or_default();
        let newline = memchr::memchr(b'\n', fresh);
        let line = fresh.get(..newline.unwrap_or(fresh.len())).unwrap_or_default();
        let look = self.grammar.look(self.level, line);
        if matches!(look, Look::End(_)) {
            self.judged = Some(self.offset);
        }
        self.searched += line.len();
        if look == Look::RanOut && newline.is_none() && !last && bounded.len() < self.limits.record_bytes_max {
            return Some(Step::NeedMore);
        }
        if look == Look::RanOut && newline.is_some() && !self.grammar.in_string() {
            self.mode = Mode::Value;
            self.state = State::Value;
        } else {
            self.mode = Mode::Line;
            self.state = State::Between;
        }
        None
    }

    fn line<'w>(&mut self, rest: &'w [u8], at: &mut usize, last: bool) -> Option<Step<'w>> {
        let bounded = self.bounded(rest);
        let full = bounded.len() == self.limits.record_bytes_max;
        if self.searched > 0 && !last && !full {
            // What the window cut is only read again once its end has come.
            let fresh = bounded.get(self.searched..).unwrap_or_default();
            if self.goes_on(fresh, bounded) {
                self.searched = bounded.len();
                return Some(Step::NeedMore);
            }
        }
        let judged = self.is_judged();
        match fields::read::<false>(self.level, bounded, judged, Some(&mut self.shape)) {
            Verdict::Whole(found) => {
                self.state = State::Between;
                Some(self.record(found, bounded, at))
            }
            Verdict::RanOut if !full && !last => {
                self.grammar.begin();
                self.outline = None;
                let goes_on = self.goes_on(bounded, bounded);
                debug_assert!(goes_on);
                self.searched = bounded.len();
                Some(Step::NeedMore)
            }
            verdict @ (Verdict::Unsound | Verdict::Newline | Verdict::RanOut) => {
                self.state = State::Skip(Skip::Line);
                Some(if verdict == Verdict::RanOut && full { self.oversize() } else { self.bad() })
            }
        }
    }

    /// Whether the record at the position, all of whose bytes but the fresh ones were looked at before, goes on behind them. It is
    /// followed by the grammar, so that it need not be judged again; and, where that breaks, by its outline.
    fn goes_on(&mut self, fresh: &[u8], all: &[u8]) -> bool {
        if let Some(outline) = &mut self.outline {
            return outline.goes_on(self.level, fresh);
        }
        let newline = memchr::memchr(b'\n', fresh);
        match self.grammar.look(self.level, fresh.get(..newline.unwrap_or(fresh.len())).unwrap_or_default()) {
            Look::RanOut => newline.is_none(),
            Look::End(_) => {
                self.judged = Some(self.offset);
                false
            }
            Look::Broken(_) => self.outline.insert(Outline::default()).goes_on(self.level, all),
        }
    }

    fn value<'w>(&mut self, rest: &'w [u8], at: &mut usize, last: bool) -> Option<Step<'w>> {
        let bounded = self.bounded(rest);
        let fresh = bounded.get(self.searched..).unwrap_or_default();
        let broken_at = match self.grammar.look(self.level, fresh) {
            Look::End(end) => {
                let text = bounded.get(..self.searched + end).unwrap_or_default();
                self.committed = true;
                self.state = State::Between;
                self.judged = Some(self.offset);
                return Some(self.judge(text, true, at));
            }
            Look::RanOut if bounded.len() == self.limits.record_bytes_max => {
                let line_start = bounded.last() == Some(&b'\n');
                let step = self.oversize();
                self.committed = true;
                self.advance(at, bounded.len());
                self.state = State::Skip(Skip::Value { line_start });
                return Some(step);
            }
            Look::RanOut if !last => {
                self.searched = bounded.len();
                return Some(Step::NeedMore);
            }
            Look::RanOut => bounded.len(),
            Look::Broken(place) => self.searched + place,
        };
        if !self.committed {
            self.mode = Mode::Line;
            self.state = State::Between;
            return None;
        }
        let line_start = broken_at.checked_sub(1).and_then(|before| bounded.get(before)) == Some(&b'\n');
        let step = self.bad();
        self.advance(at, broken_at);
        self.state = State::Skip(Skip::ToValue { line_start });
        Some(step)
    }

    fn gap<'w>(&mut self, want: Want, rest: &'w [u8], at: &mut usize, last: bool) -> Option<Step<'w>> {
        let mut blanks = 0;
        let byte = loop {
            match rest.get(blanks) {
                Some(b' ' | b'\t' | b'\r') => {}
                Some(b'\n') if self.mode != Mode::Line => self.crossed = true,
                byte => break byte,
            }
            blanks += 1;
        };
        self.advance(at, blanks);
        match (byte, want) {
            (None, _) if last => Some(self.broken_array()),
            (None, _) => Some(Step::NeedMore),
            (Some(b']'), Want::ElementOrEnd | Want::CommaOrEnd) => {
                if self.mode == Mode::Undecided {
                    self.mode = if self.crossed { Mode::Value } else { Mode::Line };
                }
                self.committed = true;
                self.advance(at, 1);
                self.state = State::Between;
                None
            }
            (Some(b','), Want::CommaOrEnd) => {
                self.advance(at, 1);
                self.state = State::Gap(Want::Element);
                None
            }
            (Some(b',' | b'\n' | b']'), _) | (_, Want::CommaOrEnd) => Some(self.broken_array()),
            (Some(_), Want::Element | Want::ElementOrEnd) => {
                self.searched = 0;
                self.state = State::Element;
                None
            }
        }
    }

    fn element<'w>(&mut self, rest: &'w [u8], at: &mut usize, last: bool) -> Option<Step<'w>> {
        let bounded = self.bounded(rest);
        if self.searched == 0 {
            if bounded.first() == Some(&b'{')
                && let Verdict::Whole(found) = fields::read::<false>(self.level, bounded, false, Some(&mut self.shape))
            {
                self.element_done(self.crossed);
                return Some(self.record(found, bounded, at));
            }
            self.grammar.begin();
            self.balances = false;
        }
        let fresh = bounded.get(self.searched..).unwrap_or_default();
        let is_all = last || bounded.len() == self.limits.record_bytes_max;
        match self.element_end(fresh, bounded, is_all) {
            Look::End(end) => {
                let text = bounded.get(..end).unwrap_or_default();
                if !matches!(text, [b'{' | b'[' | b'"', ..]) && !is_scalar(text) {
                    return Some(self.broken_array());
                }
                let (crossed, matched) = if self.balances {
                    (self.balance.crossed(), !self.balance.too_deep())
                } else {
                    // There is no newline in a string.
                    (memchr::memchr(b'\n', text).is_some(), true)
                };
                self.element_done(self.crossed || crossed);
                Some(self.judge(text, matched, at))
            }
            Look::Broken(_) => Some(self.broken_array()),
            Look::RanOut if bounded.len() == self.limits.record_bytes_max => {
                let step = self.oversize();
                self.advance(at, bounded.len());
                self.state = State::Skip(Skip::Element);
                self.array.1 = true;
                Some(step)
            }
            Look::RanOut if last => Some(self.broken_array()),
            Look::RanOut => {
                self.searched = bounded.len();
                Some(Step::NeedMore)
            }
        }
    }

    /// The end of the element at the position, all of whose bytes but the fresh ones were looked at before. As a record that the
    /// window cut it is followed by the grammar, if it is nested, and else by its balance; by that in the end, if no more of it is to
    /// come: what is left of it may have to be skipped.
    fn element_end(&mut self, fresh: &[u8], all: &[u8], is_all: bool) -> Look {
        let (seen, spans) = (all.len() - fresh.len(), self.mode != Mode::Line);
        if self.balances {
            return self.balance.look(self.level, fresh, spans).behind(seen);
        }
        let newline = if spans { None } else { memchr::memchr(b'\n', fresh) };
        let line = fresh.get(..newline.unwrap_or(fresh.len())).unwrap_or_default();
        let is_nested = matches!(all.first(), Some(b'{' | b'['));
        match if is_nested { self.grammar.look(self.level, line) } else { Look::Broken(0) } {
            Look::End(end) => {
                self.judged = Some(self.offset);
                Look::End(seen + end)
            }
            Look::RanOut if newline.is_none() && !is_all => Look::RanOut,
            Look::RanOut | Look::Broken(_) => {
                self.balances = true;
                self.balance.begin();
                self.balance.look(self.level, all, spans)
            }
        }
    }

    fn element_done(&mut self, crossed: bool) {
        if crossed && self.mode == Mode::Undecided {
            self.mode = Mode::Value;
        }
        self.committed = true;
        self.array.1 = true;
        self.state = State::Gap(Want::CommaOrEnd);
    }

    /// Ends the array at a syntax error, which is in the element or gap at the position.
    fn broken_array<'w>(&mut self) -> Step<'w> {
        let (start, had_elements) = self.array;
        let ordinal = self.slot();
        let fault = if had_elements || self.mode == Mode::Value {
            ObjectFault::ArrayTail { ordinal, offset: self.offset }
        } else {
            ObjectFault::BadRecord { ordinal, offset: start }
        };
        self.state = match self.mode {
            Mode::Value => State::End,
            // All between the array's own line and the position is blank, so lines go on here.
            Mode::Undecided if self.crossed => State::Between,
            Mode::Undecided | Mode::Line => State::Skip(Skip::Line),
        };
        if self.mode == Mode::Undecided {
            self.mode = Mode::Line;
        }
        Step::Bad(fault)
    }

    fn skip<'w>(&mut self, skip: Skip, rest: &'w [u8], at: &mut usize, last: bool) -> Option<Step<'w>> {
        match skip {
            Skip::Line => {
                let newline = memchr::memchr(b'\n', rest);
                self.advance(at, newline.map_or(rest.len(), |newline| newline + 1));
                if newline.is_none() {
                    return Some(self.dry(last));
                }
                self.state = State::Between;
            }
            Skip::ToValue { line_start } => {
                if line_start && matches!(rest.first(), Some(b'{' | b'[')) {
                    self.state = State::Between;
                    return None;
                }
                let newline = memchr::memchr(b'\n', rest);
                self.advance(at, newline.map_or(rest.len(), |newline| newline + 1));
                self.state =
                    State::Skip(Skip::ToValue { line_start: newline.is_some() || line_start && rest.is_empty() });
                if newline.is_none() {
                    return Some(self.dry(last));
                }
            }
            Skip::Element => match self.element_end(rest, rest, false) {
                Look::End(end) => {
                    self.advance(at, end);
                    self.element_done(self.crossed || self.balance.crossed());
                }
                Look::Broken(place) => {
                    self.advance(at, place);
                    self.crossed = false;
                    return Some(self.broken_array());
                }
                Look::RanOut => {
                    self.advance(at, rest.len());
                    return Some(if last { self.broken_array() } else { Step::NeedMore });
                }
            },
            Skip::Value { line_start } => {
                let look = self.grammar.look(self.level, rest);
                let used = match look {
                    Look::End(used) | Look::Broken(used) => used,
                    Look::RanOut => rest.len(),
                };
                let line_start = match used.checked_sub(1) {
                    Some(before) => rest.get(before) == Some(&b'\n'),
                    None => line_start,
                };
                self.advance(at, used);
                self.state = match look {
                    Look::End(_) => State::Between,
                    Look::Broken(_) => State::Skip(Skip::ToValue { line_start }),
                    Look::RanOut => State::Skip(Skip::Value { line_start }),
                };
                if look == Look::RanOut {
                    return Some(self.dry(last));
                }
            }
        }
        None
    }

    /// The slot at the position is a whole value; `text` is all of it, whose brackets match or are too many.
    fn judge<'w>(&mut self, text: &'w [u8], matched: bool, at: &mut usize) -> Step<'w> {
        if text.first() == Some(&b'{')
            && let Verdict::Whole(found) = fields::read::<true>(self.level, text, matched, None)
        {
            debug_assert_eq!(found.len, text.len());
            return self.record(found, text, at);
        }
        let step = self.bad();
        self.advance(at, text.len());
        step
    }

    /// The slot at the position has a sound skeleton: takes it.
    fn record<'w>(&mut self, found: fields::Fields<'w>, bytes: &'w [u8], at: &mut usize) -> Step<'w> {
        let text = bytes.get(..found.len).unwrap_or_default();
        let content = if let Some(bytes) = found.whole {
            Some((exact::whole(text, bytes, 0..0), found.timestamp))
        } else if found.exact {
            exact::read(text, self.is_judged(), found.nested)
        } else if found.message.is_empty() {
            Some((Message::Empty, found.timestamp))
        } else {
            let message = match found.seen {
                Some(seen) => Message::Seen(found.message, seen),
                None => Message::Escaped(found.message),
            };
            Some((message, found.timestamp))
        };
        let step = match content {
            Some((message, timestamp)) => {
                let (ordinal, offset) = (self.slot(), self.offset);
                Step::Record(Record { ordinal, offset, text, message, timestamp })
            }
            None => self.bad(),
        };
        self.advance(at, found.len);
        step
    }

    /// Whether the grammar has read the value at the position to its end.
    fn is_judged(&self) -> bool {
        self.judged == Some(self.offset)
    }

    fn bad<'w>(&mut self) -> Step<'w> {
        Step::Bad(ObjectFault::BadRecord { ordinal: self.slot(), offset: self.offset })
    }

    fn oversize<'w>(&mut self) -> Step<'w> {
        let limit = self.limits.record_bytes_max as u64;
        Step::Bad(ObjectFault::OversizeRecord { ordinal: self.slot(), offset: self.offset, limit })
    }

    pub(super) fn slot(&mut self) -> Ordinal {
        let slot = Ordinal(self.ordinal);
        self.ordinal += 1;
        slot
    }

    /// The bytes at the position that one record may have.
    fn bounded<'w>(&self, rest: &'w [u8]) -> &'w [u8] {
        rest.get(..self.limits.record_bytes_max).unwrap_or(rest)
    }

    pub(super) fn advance(&mut self, at: &mut usize, len: usize) {
        *at += len;
        self.offset += len as u64;
    }

    /// There are no more bytes, and no slot is open.
    fn dry<'w>(&mut self, last: bool) -> Step<'w> {
        if last {
            self.state = State::End;
            Step::End
        } else {
            Step::NeedMore
        }
    }
}
