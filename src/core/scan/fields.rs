//! The top level of one record in one pass: its end, its `message`, its `timestamp`.
//!
//! Nearly every record takes this way and no other. Strings are skipped by vectors, nested values by their brackets;
//! nothing is copied, and what is unusual (see [`Fields::exact`]) is only noticed here and left to [`super::exact`].
//! What a record has in common with one before it, which is most of it, is not read again but compared ([`super::shape`]).

use super::exact;
use super::nesting;
use super::shape::{Mark, Role, Shape};
use super::syntax::{Look, in_scalar, is_scalar, skip_string};
use super::{Seen, Stamp};
use crate::core::simd::{Level, Simd, Task, common, escaped, longer_escapes};

/// What the bytes from a record's `{` on are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict<'w> {
    /// A whole record of sound skeleton.
    Whole(Fields<'w>),
    /// No record, whatever follows.
    Unsound,
    /// A newline before the record's end, outside a string; only asked for when a record must not span lines.
    Newline,
    /// The bytes end first.
    RanOut,
}

/// A record's length and fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fields<'w> {
    /// Bytes from `{` to `}`.
    pub(super) len: usize,
    /// The inside of the message's string, and what was seen of it, if it is sound.
    pub(super) message: &'w [u8],
    pub(super) seen: Option<Seen>,
    pub(super) timestamp: Stamp<'w>,
    /// The fields above are not to be used: a key holds an escape, or a message is absent or no string.
    pub(super) exact: bool,
    /// It has no message, and no value that would have to be judged to be sent: what is sent of it are so many bytes.
    pub(super) whole: Option<usize>,
    /// Where the longest nested value that was read begins and ends, if there was one.
    pub(super) nested: (usize, usize),
}

/// Why a value has no end among the bytes.
enum Stop {
    Unsound,
    Newline,
    RanOut,
}

impl From<Look> for Stop {
    fn from(look: Look) -> Self {
        match look {
            Look::RanOut => Self::RanOut,
            Look::Broken(_) | Look::End(_) => Self::Unsound,
        }
    }
}

/// Reads the record at the start of `bytes`, which is its `{`. Whatever bytes follow, and whatever the shape, a verdict other
/// than [`Verdict::RanOut`] stays the same.
///
/// `matched`: the record is there as a whole, and the brackets in it are known to match, and not to be too many.
pub(super) fn read<'w, const SPANNING: bool>(
    level: Level,
    bytes: &'w [u8],
    matched: bool,
    shape: Option<&mut Shape>,
) -> Verdict<'w> {
    debug_assert!(!(SPANNING && shape.is_some()), "a shape is of one line");
    level.run(Read::<SPANNING> { bytes, matched, shape })
}

struct Read<'w, 's, const SPANNING: bool> {
    bytes: &'w [u8],
    matched: bool,
    shape: Option<&'s mut Shape>,
}

impl<'w, const SPANNING: bool> Task for Read<'w, '_, SPANNING> {
    type Output = Verdict<'w>;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Verdict<'w> {
        let Self { bytes, matched, shape } = self;
        let mut members = Members::<'w, S, SPANNING> { matched, ..Members::of(simd, bytes) };
        match members.all(shape.as_deref()) {
            Ok(len) => {
                let exact = members.exact || members.message.is_none();
                if !exact
                    && let Some(shape) = shape
                    && shape.is_to_be_learnt(len, members.read)
                {
                    learn::<S, SPANNING>(simd, bytes.get(..len).unwrap_or_default(), shape);
                }
                let whole = members.whole();
                let message = members.message.unwrap_or_default();
                let Members { seen, timestamp, longest: nested, .. } = members;
                Verdict::Whole(Fields { len, message, seen, timestamp, exact, whole, nested })
            }
            Err(Stop::Unsound) => Verdict::Unsound,
            Err(Stop::Newline) => Verdict::Newline,
            Err(Stop::RanOut) => Verdict::RanOut,
        }
    }
}

/// Takes a record for the shape of those that follow.
#[inline(always)]
fn learn<S: Simd, const SPANNING: bool>(simd: S, record: &[u8], shape: &mut Shape) {
    let mut members = Members::<'_, S, SPANNING>::of(simd, record);
    shape.begin(record);
    let mut next = members.first();
    while let Ok(Next::Member(at)) = next
        && let Ok(mark) = members.member(at)
        && shape.add(mark)
    {
        next = members.behind(mark.end);
    }
}

/// What stands behind a member, or behind the record's brace.
enum Next {
    /// A key's quote, or what should be one, here.
    Member(usize),
    /// The record ends before this place.
    End(usize),
}

/// A record's top level, as far as it was read.
struct Members<'w, S, const SPANNING: bool> {
    simd: S,
    bytes: &'w [u8],
    /// See [`read`].
    matched: bool,
    message: Option<&'w [u8]>,
    /// What was seen of the message, if it was read and is sound.
    seen: Option<Seen>,
    timestamp: Stamp<'w>,
    exact: bool,
    /// Bytes of members that were read and not compared, but for messages.
    read: usize,
    /// So far each member was read, and may be sent without another look.
    plain: bool,
    /// Bytes of those that were read and are no metadata, and of a comma for each.
    kept: usize,
    /// See [`Fields::nested`].
    longest: (usize, usize),
}

impl<'w, S: Simd, const SPANNING: bool> Members<'w, S, SPANNING> {
    #[inline(always)]
    const fn of(simd: S, bytes: &'w [u8]) -> Self {
        Self {
            simd,
            bytes,
            matched: false,
            message: None,
            seen: None,
            timestamp: Stamp::Missing,
            exact: false,
            read: 0,
            plain: true,
            kept: 0,
            longest: (0, 0),
        }
    }

    /// Reads all of them. The record's length.
    #[inline(always)]
    fn all(&mut self, shape: Option<&Shape>) -> Result<usize, Stop> {
        let mut next = self.first()?;
        let mut like = 0;
        loop {
            let at = match next {
                Next::Member(at) => at,
                Next::End(end) => return Ok(end),
            };
            let member = match self.compare(shape, &mut like, at) {
                Compared::Whole(end) => return Ok(end),
                Compared::Value(mark) => {
                    self.plain = false;
                    like += 1;
                    Mark { end: self.value(mark.value, mark.role)?, ..mark }
                }
                Compared::Nothing(place) => {
                    let member = self.member(place)?;
                    let key = self.bytes.get(member.start + 1..member.key_end).unwrap_or_default();
                    self.plain &= place == at;
                    if member.role == Role::Other && !exact::is_metadata(key) {
                        self.kept += member.end - member.start + 1;
                    }
                    // One that is not as it was says nothing of those behind it, unless it has the same key.
                    let same_key = shape
                        .is_some_and(|shape| shape.mark(like).is_some_and(|mark| shape.key(mark) == self.key(member)));
                    like = if same_key { like + 1 } else { usize::MAX };
                    member
                }
            };
            if member.role != Role::Message {
                self.read += member.end - member.start;
            }
            self.take(member);
            next = self.behind(member.end)?;
        }
    }

    /// See [`Fields::whole`].
    fn whole(&self) -> Option<usize> {
        // Two braces, and no comma behind the last.
        (self.plain && !self.exact && self.message.is_none()).then(|| (self.kept + 1).max(2))
    }

    /// Passes over the members that are as they were, from the one whose key is here and which is `like` one of the shape.
    #[inline(always)]
    fn compare(&mut self, shape: Option<&Shape>, like: &mut usize, at: usize) -> Compared {
        let Some((shape, mut mark)) = shape.and_then(|shape| Some((shape, shape.mark(*like)?))) else {
            return Compared::Nothing(at);
        };
        let rest = self.bytes.get(at..).unwrap_or_default();
        let same = mark.start + common(self.simd, shape.from(mark.start), rest);
        // From a place of the shape to that of the bytes.
        let start = mark.start;
        let here = move |place: usize| place - start + at;
        while let Some(further) = shape.mark(*like + 1).filter(|further| further.start < same) {
            if mark.role != Role::Other {
                self.pass(mark.moved(here));
            }
            *like += 1;
            mark = further;
        }
        if shape.len() <= same {
            if mark.role != Role::Other {
                self.pass(mark.moved(here));
            }
            return Compared::Whole(here(shape.len()));
        }
        // With the same key, and a value that begins as it did.
        if mark.value < same { Compared::Value(mark.moved(here)) } else { Compared::Nothing(here(mark.start)) }
    }

    /// Where the first member is.
    #[inline(always)]
    fn first(&self) -> Result<Next, Stop> {
        debug_assert_eq!(self.bytes.first(), Some(&b'{'));
        match self.token(1)? {
            (b'}', at) => Ok(Next::End(at + 1)),
            (_, at) => Ok(Next::Member(at)),
        }
    }

    /// What comes behind the value that ends here.
    #[inline(always)]
    fn behind(&self, end: usize) -> Result<Next, Stop> {
        match self.token(end)? {
            (b'}', at) => Ok(Next::End(at + 1)),
            (b',', at) => Ok(Next::Member(self.token(at + 1)?.1)),
            _ => Err(Stop::Unsound),
        }
    }

    /// Reads the member that begins here.
    #[inline(always)]
    fn member(&mut self, start: usize) -> Result<Mark, Stop> {
        if self.bytes.get(start) != Some(&b'"') {
            return Err(Stop::Unsound);
        }
        let mut escaped = false;
        let key_end = self.string(start + 1, &mut escaped)?;
        self.exact |= escaped;
        let (colon, colon_at) = self.token(key_end + 1)?;
        if colon != b':' {
            return Err(Stop::Unsound);
        }
        let (_, value) = self.token(colon_at + 1)?;
        let role = Role::of(self.bytes.get(start + 1..key_end).unwrap_or_default());
        let end = self.value(value, role)?;
        Ok(Mark { start, key_end, value, end, role })
    }

    /// The end of the value that begins here.
    #[inline(always)]
    fn value(&mut self, start: usize, role: Role) -> Result<usize, Stop> {
        match self.bytes.get(start) {
            Some(b'"') if role == Role::Message => {
                let (look, seen) = message_end(self.simd, self.bytes, start + 1);
                self.seen = seen;
                if let Look::End(end) = look { Ok(end + 1) } else { Err(look.into()) }
            }
            Some(b'"') => {
                let mut escaped = false;
                let end = self.string(start + 1, &mut escaped)?;
                self.plain &= !escaped;
                Ok(end + 1)
            }
            Some(b'{' | b'[') => {
                self.plain = false;
                let end = self.nested(start)?;
                if end - start > self.longest.1 - self.longest.0 {
                    self.longest = (start, end);
                }
                Ok(end)
            }
            _ => scalar(self.bytes, start),
        }
    }

    /// Takes a member that was not read.
    #[inline(always)]
    fn pass(&mut self, mark: Mark) {
        if mark.role == Role::Message {
            self.seen = None;
        }
        self.take(mark);
    }

    /// Takes a member for what it is. Of equal keys the last wins.
    #[inline(always)]
    fn take(&mut self, mark: Mark) {
        match mark.role {
            Role::Other => {}
            Role::Message => {
                self.exact |= self.bytes.get(mark.value) != Some(&b'"');
                self.message = self.bytes.get(mark.value + 1..mark.end - 1);
            }
            Role::Timestamp => self.timestamp = Stamp::of(self.bytes.get(mark.value..mark.end).unwrap_or_default()),
        }
    }

    #[inline(always)]
    fn key(&self, mark: Mark) -> &'w [u8] {
        self.bytes.get(mark.start..mark.key_end).unwrap_or_default()
    }

    /// The next byte that is no blank, and its place.
    #[inline(always)]
    fn token(&self, from: usize) -> Result<(u8, usize), Stop> {
        let mut at = from;
        loop {
            match self.bytes.get(at) {
                None => return Err(Stop::RanOut),
                Some(b' ' | b'\t' | b'\r') => at += 1,
                Some(b'\n') if SPANNING => at += 1,
                Some(b'\n') => return Err(Stop::Newline),
                Some(&byte) => return Ok((byte, at)),
            }
        }
    }

    /// The place of the quote that ends the string whose inside begins here. An escape in it is noted.
    #[inline(always)]
    fn string(&self, from: usize, escape: &mut bool) -> Result<usize, Stop> {
        match end_of_string(self.simd, self.bytes, from, escape) {
            Look::End(end) => Ok(end),
            look @ (Look::Broken(_) | Look::RanOut) => Err(look.into()),
        }
    }

    /// The end of a nested value: brackets of matching kinds and terminated strings, nothing else is asked.
    #[inline(always)]
    fn nested(&self, from: usize) -> Result<usize, Stop> {
        let (look, in_string) = if self.matched {
            (nesting::sound_end(self.simd, self.bytes, from), false)
        } else {
            nesting::end(self.simd, self.bytes, from, SPANNING)
        };
        match (look, in_string) {
            (Look::End(end), _) => Ok(end),
            (Look::Broken(at), false) if self.bytes.get(at) == Some(&b'\n') => Err(Stop::Newline),
            (look @ (Look::Broken(_) | Look::RanOut), _) => Err(look.into()),
        }
    }
}

/// What was found of a member by comparing it with the shape's.
enum Compared {
    /// All from there on is as it was; the record ends before this place.
    Whole(usize),
    /// Its key is as it was, and the first byte of its value; where it ends is not known.
    Value(Mark),
    /// Nothing of the member that begins here.
    Nothing(usize),
}

/// [`skip_string`] by vectors.
pub(super) fn string_end(level: Level, bytes: &[u8], from: usize, escape: &mut bool) -> Look {
    struct End<'w, 'e>(&'w [u8], usize, &'e mut bool);

    impl Task for End<'_, '_> {
        type Output = Look;

        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> Look {
            end_of_string(simd, self.0, self.1, self.2)
        }
    }

    level.run(End(bytes, from, escape))
}

/// As [`string_end`].
#[inline(always)]
fn end_of_string<S: Simd>(simd: S, bytes: &[u8], from: usize, escape: &mut bool) -> Look {
    let (mut at, mut carry) = (from, false);
    while let Some(vector) = bytes.get(at..).and_then(|rest| simd.load(rest)) {
        let (quotes, newlines) = (simd.equal(vector, b'"'), simd.equal(vector, b'\n'));
        let backslashes = simd.equal(vector, b'\\');
        let stops = simd.bits(simd.or(simd.or(quotes, newlines), backslashes));
        if stops == 0 && !carry {
            at += S::WIDTH;
            continue;
        }
        let backslashes = simd.bits(backslashes);
        let escaped = escaped(S::WIDTH, backslashes, &mut carry);
        let ends = simd.bits(quotes) & !escaped | simd.bits(newlines);
        let before_end = ends.wrapping_sub(1) & !ends;
        *escape |= backslashes & before_end != 0;
        if ends != 0 {
            let end = at + ends.trailing_zeros() as usize;
            return if bytes.get(end) == Some(&b'"') { Look::End(end) } else { Look::Broken(end) };
        }
        at += S::WIDTH;
    }
    rest_of_string(bytes, at, carry, escape)
}

/// As [`string_end`], from within the string. `carry`: the first byte is escaped.
#[inline(never)]
fn rest_of_string(bytes: &[u8], at: usize, carry: bool, escape: &mut bool) -> Look {
    match bytes.get(at) {
        Some(b'\n') if carry => Look::Broken(at),
        Some(_) if carry => skip_string(bytes, at + 1, escape),
        _ => skip_string(bytes, at, escape),
    }
}

/// As [`string_end`], and what there is in the string, if it is as a [`Seen`] says.
#[inline(always)]
fn message_end<S: Simd>(simd: S, bytes: &[u8], from: usize) -> (Look, Option<Seen>) {
    let (mut at, mut carry, mut seen, mut odd) = (from, false, Seen::default(), 0);
    while let Some(vector) = bytes.get(at..).and_then(|rest| simd.load(rest)) {
        let (quotes, backslashes) = (simd.equal(vector, b'"'), simd.equal(vector, b'\\'));
        let (special, unusual) = (simd.or(quotes, backslashes), simd.unusual(vector));
        if simd.bits(simd.or(special, unusual)) == 0 && !carry {
            at += S::WIDTH;
            continue;
        }
        let high = simd.high(vector);
        let backslashes = simd.bits(backslashes);
        let escaped = escaped(S::WIDTH, backslashes, &mut carry);
        let ends = simd.bits(quotes) & !escaped | simd.bits(simd.equal(vector, b'\n'));
        let before_end = ends.wrapping_sub(1) & !ends;
        seen.escapes += (backslashes & !escaped & before_end).count_ones() as usize;
        seen.high |= high & before_end != 0;
        let controls = simd.bits(unusual) & !high;
        odd |= (controls | longer_escapes(simd, vector, special, escaped)) & before_end;
        if ends != 0 {
            let end = at + ends.trailing_zeros() as usize;
            let look = if bytes.get(end) == Some(&b'"') { Look::End(end) } else { Look::Broken(end) };
            return (look, (odd == 0).then_some(seen));
        }
        at += S::WIDTH;
    }
    (rest_of_string(bytes, at, carry, &mut false), None)
}

#[inline(always)]
fn scalar(bytes: &[u8], from: usize) -> Result<usize, Stop> {
    match bytes.get(from..from + 2) {
        Some([b'0'..=b'9', behind]) if !in_scalar(*behind) => Ok(from + 1),
        _ => long_scalar(bytes, from),
    }
}

#[inline(never)]
fn long_scalar(bytes: &[u8], from: usize) -> Result<usize, Stop> {
    let rest = bytes.get(from..).unwrap_or_default();
    let Some(len) = rest.iter().position(|&byte| !in_scalar(byte)) else { return Err(Stop::RanOut) };
    if rest.get(..len).is_some_and(is_scalar) { Ok(from + len) } else { Err(Stop::Unsound) }
}

impl<'w> Stamp<'w> {
    /// The stamp that a `timestamp` of this JSON text is.
    pub(super) fn of(value: &'w [u8]) -> Self {
        match value {
            [b'"', inside @ .., b'"'] => Self::Text(inside),
            [b'-' | b'0'..=b'9', ..] => Self::Number(value),
            _ => Self::Missing,
        }
    }
}
