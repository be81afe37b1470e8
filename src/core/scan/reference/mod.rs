//! What the scanner should find, read slowly from the whole input, one byte after the other, with copies wherever they
//! make it plainer. Tests, benches and fuzzing compare with it; the product does not use it.
//!
//! It shares the *types* of the scanner and nothing of its reading: no windows, no state kept between calls, no vectors.

mod json;

use self::json::{End, balanced, ends_in_string, escapes_are_sound, opener, scalar_end, strict, string, unescape};
use super::{METADATA, Message, NESTING_MAX, ScanLimits, Stamp};
use crate::core::object::{ObjectFault, Ordinal};

/// One slot of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its number.
    pub ordinal: Ordinal,
    /// The decompressed offset of its first byte; of a broken array, where it broke.
    pub offset: u64,
    /// What it holds, or what is wrong with it.
    pub content: Result<Content, ObjectFault>,
}

/// A record's event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The text that is to arrive: unescaped, with U+FFFD for what is no Unicode.
    pub message: String,
    /// The JSON text of `timestamp`, if it is a string or a number.
    pub timestamp: Option<Vec<u8>>,
}

/// All slots of the object `input`.
#[must_use]
pub fn scan(input: &[u8], limits: ScanLimits) -> Vec<Item> {
    let mut reader = Reader { input, max: limits.record_bytes_max, items: Vec::new() };
    reader.object();
    reader.items
}

/// The text that `message` is, as it is to arrive; `None` if its escapes are unsound.
#[must_use]
pub fn text_of(message: Message<'_>) -> Option<String> {
    match message {
        Message::Escaped(inside) | Message::Seen(inside, _) => unescape(inside),
        Message::Json(json) => Some(String::from_utf8_lossy(json).into_owned()),
        Message::Pieces(pieces) => Some(pieces.map(String::from_utf8_lossy).collect()),
        Message::Empty => Some(String::new()),
    }
}

/// The JSON text of `stamp`, as in [`Content::timestamp`].
#[must_use]
pub fn stamp_of(stamp: Stamp<'_>) -> Option<Vec<u8>> {
    match stamp {
        Stamp::Text(inside) => Some([b"\"", inside, b"\""].concat()),
        Stamp::Number(digits) => Some(digits.to_vec()),
        Stamp::Missing => None,
    }
}

struct Member {
    key: Option<String>,
    /// From the key's quote to the value's last byte.
    text: Vec<u8>,
    value: Vec<u8>,
}

struct Reader<'i> {
    input: &'i [u8],
    max: usize,
    items: Vec<Item>,
}

impl Reader<'_> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.input.get(at).copied()
    }

    fn text(&self, from: usize, to: usize) -> &[u8] {
        self.input.get(from..to).unwrap_or_default()
    }

    // Framing

    fn object(&mut self) {
        let mut at = if self.input.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        at = self.blanks(at, true);
        match self.byte(at) {
            Some(b'{') if self.opens_value_mode(at) => self.values(at),
            Some(b'[') => {
                let crossed = self.array(at, Mode::Undecided);
                match crossed {
                    Next::Line(at) => self.lines(at),
                    Next::Value(at) => self.values(at),
                    Next::Nothing => {}
                }
            }
            _ => self.lines(at),
        }
    }

    /// Whether the line of the `{` at this place ends with open brackets outside a string, and the value that it begins
    /// can be used: it is valid JSON, or too long to be judged.
    fn opens_value_mode(&self, at: usize) -> bool {
        let line_end = self.line_end(at);
        if self.byte(line_end).is_none() || line_end - at >= self.max {
            return false;
        }
        let open = match strict(self.text(0, line_end), at) {
            Ok(_) => false,
            Err(place) => place == line_end && !ends_in_string(self.text(at, line_end)),
        };
        open && match strict(self.input, at) {
            Ok(_) => true,
            Err(place) => place - at >= self.max,
        }
    }

    fn lines(&mut self, from: usize) {
        let mut at = from;
        loop {
            at = self.blanks(at, true);
            match self.byte(at) {
                None => return,
                Some(b'{') => match self.members(at, false) {
                    Ok((_, end)) if end - at > self.max => {
                        self.oversize(at);
                        at = self.line_end(at);
                    }
                    Ok((members, end)) => {
                        self.record(at, &members);
                        at = end;
                    }
                    Err(place) => {
                        if place - at >= self.max {
                            self.oversize(at);
                        } else {
                            self.bad(at);
                        }
                        at = self.line_end(at);
                    }
                },
                Some(b'[') => match self.array(at, Mode::Line) {
                    Next::Line(next) | Next::Value(next) => at = next,
                    Next::Nothing => return,
                },
                Some(_) => {
                    self.bad(at);
                    at = self.line_end(at);
                }
            }
        }
    }

    fn values(&mut self, from: usize) {
        let mut at = from;
        loop {
            at = self.blanks(at, true);
            match self.byte(at) {
                None => return,
                Some(b'{') => {
                    let end = strict(self.input, at);
                    let (Ok(place) | Err(place)) = end;
                    let oversize = place - at > self.max || end.is_err() && place - at >= self.max;
                    match (end, self.members(at, true)) {
                        _ if oversize => self.oversize(at),
                        (Ok(_), Ok((members, _))) => self.record(at, &members),
                        _ => self.bad(at),
                    }
                    at = if end.is_ok() { place } else { self.line_of_a_value(place) };
                }
                Some(b'[') => match self.array(at, Mode::Value) {
                    Next::Line(next) | Next::Value(next) => at = next,
                    Next::Nothing => return,
                },
                Some(_) => {
                    self.bad(at);
                    at = self.line_end(at);
                }
            }
        }
    }

    /// The first place from here on where a line begins with a bracket.
    fn line_of_a_value(&self, from: usize) -> usize {
        let starts = |at: &usize| {
            matches!(self.byte(*at), Some(b'{' | b'[')) && at.checked_sub(1).and_then(|at| self.byte(at)) == Some(b'\n')
        };
        (from..self.input.len()).find(starts).unwrap_or(self.input.len())
    }

    /// The elements of the array at this place, and how and where reading goes on.
    fn array(&mut self, start: usize, mut mode: Mode) -> Next {
        let mut at = start + 1;
        let mut elements = 0;
        let mut crossed = false;
        loop {
            // Before an element, or the end of an empty array.
            let mut after_comma = false;
            if elements > 0 {
                let gap = at;
                at = self.blanks(at, mode != Mode::Line);
                crossed |= self.text(gap, at).contains(&b'\n');
                match self.byte(at) {
                    Some(b',') => at += 1,
                    Some(b']') => return mode.after_array(crossed, at + 1),
                    _ => return self.broken_array(start, at, elements, crossed, mode),
                }
                after_comma = true;
            }
            let gap = at;
            at = self.blanks(at, mode != Mode::Line);
            crossed |= self.text(gap, at).contains(&b'\n');
            match self.byte(at) {
                Some(b']') if !after_comma => return mode.after_array(crossed, at + 1),
                None | Some(b',' | b']' | b'\n') => return self.broken_array(start, at, elements, crossed, mode),
                Some(_) => {}
            }
            let end = balanced(self.input, at, mode != Mode::Line);
            let is_scalar = !matches!(self.byte(at), Some(b'{' | b'[' | b'"'));
            // A scalar is only known to end by the byte behind it.
            let (seen, oversize) = match end {
                Ok(end) => (end, end - at > self.max || is_scalar && end - at == self.max),
                Err(place) => (place, place - at >= self.max),
            };
            let sound = end.is_ok() && (!is_scalar || strict(self.text(0, seen), at) == Ok(seen));
            if oversize {
                self.oversize(at);
                if end.is_err() {
                    return self.broken_array(start, seen, elements + 1, false, mode);
                }
            } else if !sound {
                return self.broken_array(start, at, elements, crossed, mode);
            } else {
                match self.members(at, true) {
                    Ok((members, _)) if self.byte(at) == Some(b'{') => self.record(at, &members),
                    _ => self.bad(at),
                }
            }
            crossed |= self.text(at, seen).contains(&b'\n');
            if crossed && mode == Mode::Undecided {
                mode = Mode::Value;
            }
            crossed = false;
            elements += 1;
            at = seen;
        }
    }

    fn broken_array(&mut self, start: usize, at: usize, elements: usize, crossed: bool, mode: Mode) -> Next {
        let ordinal = Ordinal(self.items.len() as u64);
        let fault = if mode == Mode::Value || elements > 0 {
            ObjectFault::ArrayTail { ordinal, offset: at as u64 }
        } else {
            ObjectFault::BadRecord { ordinal, offset: start as u64 }
        };
        self.items.push(Item { ordinal, offset: fault.offset(), content: Err(fault) });
        match mode {
            Mode::Value => Next::Nothing,
            Mode::Undecided if crossed => Next::Line(at),
            Mode::Undecided | Mode::Line => Next::Line(self.line_end(at)),
        }
    }

    fn blanks(&self, from: usize, newlines: bool) -> usize {
        let mut at = from;
        while matches!(self.byte(at), Some(b' ' | b'\t' | b'\r')) || newlines && self.byte(at) == Some(b'\n') {
            at += 1;
        }
        at
    }

    fn line_end(&self, from: usize) -> usize {
        (from..self.input.len()).find(|&at| self.byte(at) == Some(b'\n')).unwrap_or(self.input.len())
    }

    // Slots

    fn bad(&mut self, at: usize) {
        let (ordinal, offset) = (Ordinal(self.items.len() as u64), at as u64);
        self.items.push(Item { ordinal, offset, content: Err(ObjectFault::BadRecord { ordinal, offset }) });
    }

    fn oversize(&mut self, at: usize) {
        let (ordinal, offset, limit) = (Ordinal(self.items.len() as u64), at as u64, self.max as u64);
        let fault = ObjectFault::OversizeRecord { ordinal, offset, limit };
        self.items.push(Item { ordinal, offset, content: Err(fault) });
    }

    fn record(&mut self, at: usize, members: &[Member]) {
        match content(members) {
            Some(content) => {
                let (ordinal, offset) = (Ordinal(self.items.len() as u64), at as u64);
                self.items.push(Item { ordinal, offset, content: Ok(content) });
            }
            None => self.bad(at),
        }
    }

    /// The members of the object at this place, by the law of the skeleton.
    fn members(&self, start: usize, spanning: bool) -> Result<(Vec<Member>, usize), usize> {
        let mut members = Vec::new();
        if self.byte(start) != Some(b'{') {
            return Err(start);
        }
        let mut at = self.blanks(start + 1, spanning);
        if self.byte(at) == Some(b'}') {
            return Ok((members, at + 1));
        }
        loop {
            let key_at = at;
            if self.byte(at) != Some(b'"') {
                return Err(at);
            }
            let key_end = string(self.input, at)?;
            at = self.blanks(key_end, spanning);
            if self.byte(at) != Some(b':') {
                return Err(at);
            }
            at = self.blanks(at + 1, spanning);
            let value_at = at;
            at = match self.byte(at) {
                None => return Err(at),
                Some(b'"') => string(self.input, at)?,
                Some(b'{' | b'[') => self.nested(at, spanning)?,
                Some(_) => {
                    let end = scalar_end(self.input, at).ok_or(self.input.len())?;
                    if strict(self.text(0, end), at) != Ok(end) {
                        return Err(end);
                    }
                    end
                }
            };
            members.push(Member {
                key: unescape(self.text(key_at + 1, key_end - 1)),
                text: self.text(key_at, at).to_vec(),
                value: self.text(value_at, at).to_vec(),
            });
            at = self.blanks(at, spanning);
            match self.byte(at) {
                Some(b'}') => return Ok((members, at + 1)),
                Some(b',') => at = self.blanks(at + 1, spanning),
                _ => return Err(at),
            }
        }
    }

    fn nested(&self, start: usize, spanning: bool) -> End {
        let mut open = vec![b'{'];
        let mut at = start;
        loop {
            match self.byte(at) {
                None => return Err(at),
                Some(b'"') => {
                    at = string(self.input, at)?;
                    continue;
                }
                Some(bracket @ (b'{' | b'[')) => {
                    open.push(bracket);
                    if open.len() > NESTING_MAX {
                        return Err(at);
                    }
                }
                Some(bracket @ (b'}' | b']')) => {
                    if open.pop() != Some(opener(bracket)) {
                        return Err(at);
                    }
                    if open.len() == 1 {
                        return Ok(at + 1);
                    }
                }
                Some(b'\n') if !spanning => return Err(at),
                Some(_) => {}
            }
            at += 1;
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Undecided,
    Line,
    Value,
}

/// How reading goes on behind an array, and where.
enum Next {
    Line(usize),
    Value(usize),
    Nothing,
}

impl Mode {
    fn after_array(self, crossed: bool, at: usize) -> Next {
        match self {
            Self::Undecided if !crossed => Next::Line(at),
            Self::Line => Next::Line(at),
            Self::Undecided | Self::Value => Next::Value(at),
        }
    }
}

/// The event of a record with these members, or `None` if it is a bad one.
fn content(members: &[Member]) -> Option<Content> {
    for member in members {
        member.key.as_ref()?;
    }
    let last = |name: &str| members.iter().rfind(|member| member.key.as_deref() == Some(name));
    let timestamp = last("timestamp").map(|member| member.value.clone());
    let timestamp = timestamp.filter(|value| matches!(value.first(), Some(b'"' | b'-' | b'0'..=b'9')));
    let valid = |value: &[u8]| strict(value, 0) == Ok(value.len()) && escapes_are_sound(value);
    let message = match last("message").map(|member| member.value.as_slice()) {
        Some([b'"', inside @ .., b'"']) => unescape(inside)?,
        Some(value) if value != b"null" => {
            if !valid(value) {
                return None;
            }
            String::from_utf8_lossy(value).into_owned()
        }
        _ => {
            let metadata = |member: &Member| METADATA.iter().any(|name| member.key.as_deref() == Some(name));
            let kept: Vec<&Member> = members.iter().filter(|member| !metadata(member)).collect();
            if !kept.iter().all(|member| valid(&member.value)) {
                return None;
            }
            let texts: Vec<_> = kept.iter().map(|member| String::from_utf8_lossy(&member.text)).collect();
            format!("{{{}}}", texts.join(","))
        }
    };
    Some(Content { message, timestamp })
}
