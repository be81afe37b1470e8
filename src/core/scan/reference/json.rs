//! The reference's reading of JSON: strings, brackets, the grammar, escapes.

use super::super::NESTING_MAX;

/// Where a value ends, or the place of the byte (or of the input's end) that it cannot have.
pub(super) type End = Result<usize, usize>;

pub(super) const fn opener(closer: u8) -> u8 {
    if closer == b'}' { b'{' } else { b'[' }
}

/// The end of the string whose opening quote is at this place.
pub(super) fn string(input: &[u8], start: usize) -> End {
    let mut at = start + 1;
    let mut escape = false;
    loop {
        match input.get(at) {
            None | Some(b'\n') => return Err(at),
            Some(_) if escape => escape = false,
            Some(b'\\') => escape = true,
            Some(b'"') => return Ok(at + 1),
            Some(_) => {}
        }
        at += 1;
    }
}

pub(super) fn ends_in_string(text: &[u8]) -> bool {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        if *byte != b'"' {
            at += 1;
            continue;
        }
        match string(text, at) {
            Ok(end) => at = end,
            Err(_) => return true,
        }
    }
    false
}

/// The end of what looks like a literal or number; `None` when the input ends first.
pub(super) fn scalar_end(input: &[u8], start: usize) -> Option<usize> {
    (start..input.len())
        .find(|&at| input.get(at).is_some_and(|byte| !byte.is_ascii_alphanumeric() && !b"+-.".contains(byte)))
}

/// The end of a value by its brackets and strings alone. Brackets beyond the limit of nesting count without their kind.
pub(super) fn balanced(input: &[u8], start: usize, spanning: bool) -> End {
    let mut open = Vec::new();
    let mut at = start;
    loop {
        match input.get(at) {
            None => return Err(at),
            Some(b'"') => {
                at = string(input, at)?;
                if open.is_empty() {
                    return Ok(at);
                }
                continue;
            }
            Some(&bracket @ (b'{' | b'[')) => open.push(bracket),
            Some(&bracket @ (b'}' | b']')) => {
                let beyond = open.len() > NESTING_MAX;
                match open.pop() {
                    Some(opened) if beyond || opened == opener(bracket) => {}
                    _ => return Err(at),
                }
                if open.is_empty() {
                    return Ok(at + 1);
                }
            }
            Some(b'\n') if !spanning => return Err(at),
            Some(_) if open.is_empty() => {
                let end = scalar_end(input, at).ok_or(input.len())?;
                return if end == at { Err(at) } else { Ok(end) };
            }
            Some(_) => {}
        }
        at += 1;
    }
}

/// The end of one value by the whole grammar but for the escapes within strings. A scalar may end with the input.
pub(super) fn strict(input: &[u8], start: usize) -> End {
    let mut open: Vec<u8> = Vec::new();
    let mut at = start;
    let blank = |at: usize| matches!(input.get(at), Some(b' ' | b'\t' | b'\r' | b'\n'));
    loop {
        // A value, or a key and a value, or the end of an empty one.
        let mut closed = false;
        loop {
            while blank(at) {
                at += 1;
            }
            match input.get(at) {
                Some(b']') if open.last() == Some(&b'[') && previous(input, at) == b'[' => {
                    closed = true;
                    break;
                }
                Some(b'}') if open.last() == Some(&b'{') && previous(input, at) == b'{' => {
                    closed = true;
                    break;
                }
                Some(b'"') if open.last() == Some(&b'{') && previous(input, at) != b':' => {
                    at = string(input, at)?;
                    while blank(at) {
                        at += 1;
                    }
                    if input.get(at) != Some(&b':') {
                        return Err(at);
                    }
                    at += 1;
                }
                _ if open.last() == Some(&b'{') && previous(input, at) != b':' => return Err(at),
                Some(&bracket @ (b'{' | b'[')) => {
                    if open.len() == NESTING_MAX {
                        return Err(at);
                    }
                    open.push(bracket);
                    at += 1;
                }
                Some(b'"') => {
                    at = string(input, at)?;
                    break;
                }
                _ => {
                    at = scalar(input, at)?;
                    break;
                }
            }
        }
        if closed {
            open.pop();
            at += 1;
        }
        // Behind a value.
        loop {
            if open.is_empty() {
                return Ok(at);
            }
            while blank(at) {
                at += 1;
            }
            match input.get(at) {
                Some(b',') => {
                    at += 1;
                    break;
                }
                Some(&bracket @ (b'}' | b']')) if open.last() == Some(&opener(bracket)) => {
                    open.pop();
                    at += 1;
                }
                _ => return Err(at),
            }
        }
    }
}

/// The last byte before this place that is no blank.
fn previous(input: &[u8], at: usize) -> u8 {
    let before = input.get(..at).unwrap_or_default();
    before.iter().rev().find(|byte| !b" \t\r\n".contains(byte)).copied().unwrap_or(0)
}

/// The end of a literal or number, or the first byte that it cannot have.
fn scalar(input: &[u8], start: usize) -> End {
    let rest = input.get(start..).unwrap_or_default();
    let len =
        rest.iter().position(|byte| !byte.is_ascii_alphanumeric() && !b"+-.".contains(byte)).unwrap_or(rest.len());
    let text = rest.get(..len).unwrap_or_default();
    for literal in [&b"true"[..], b"false", b"null"] {
        let same = literal.iter().zip(text).take_while(|(a, b)| a == b).count();
        if same > 0 {
            return if text == literal { Ok(start + len) } else { Err(start + same) };
        }
    }
    let digit = |at: usize| text.get(at).is_some_and(u8::is_ascii_digit);
    let mut at = usize::from(text.first() == Some(&b'-'));
    if !digit(at) {
        return Err(start + at);
    }
    if text.get(at) == Some(&b'0') {
        at += 1;
    } else {
        while digit(at) {
            at += 1;
        }
    }
    if text.get(at) == Some(&b'.') {
        at += 1;
        if !digit(at) {
            return Err(start + at);
        }
        while digit(at) {
            at += 1;
        }
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        at += 1;
        if matches!(text.get(at), Some(b'+' | b'-')) {
            at += 1;
        }
        if !digit(at) {
            return Err(start + at);
        }
        while digit(at) {
            at += 1;
        }
    }
    if at == text.len() { Ok(start + at) } else { Err(start + at) }
}

/// Whether every string within this value unescapes.
pub(super) fn escapes_are_sound(value: &[u8]) -> bool {
    let mut at = 0;
    while let Some(byte) = value.get(at) {
        if *byte != b'"' {
            at += 1;
            continue;
        }
        let Ok(end) = string(value, at) else { return false };
        if value.get(at + 1..end - 1).and_then(unescape).is_none() {
            return false;
        }
        at = end;
    }
    true
}

/// The text of a string's inside; `None` if an escape is unsound. Surrogates without their half, and bytes that are no
/// UTF-8, become U+FFFD.
pub(super) fn unescape(inside: &[u8]) -> Option<String> {
    let mut text = Vec::new();
    let mut at = 0;
    while let Some(&byte) = inside.get(at) {
        if byte != b'\\' {
            text.push(byte);
            at += 1;
            continue;
        }
        let kind = *inside.get(at + 1)?;
        at += 2;
        let character = match kind {
            b'"' | b'\\' | b'/' => char::from(kind),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = hex(inside, at)?;
                at += 4;
                let low = (inside.get(at..at + 2) == Some(b"\\u")).then(|| hex(inside, at + 2)).flatten();
                match (unit, low) {
                    (0xd800..=0xdbff, Some(low @ 0xdc00..=0xdfff)) => {
                        at += 6;
                        char::from_u32(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00))
                    }
                    _ => char::from_u32(unit),
                }
                .unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return None,
        };
        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Some(String::from_utf8_lossy(&text).into_owned())
}

fn hex(inside: &[u8], at: usize) -> Option<u32> {
    inside.get(at..at + 4)?.iter().try_fold(0, |unit, &digit| Some(unit * 16 + char::from(digit).to_digit(16)?))
}
