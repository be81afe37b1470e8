//! What the batcher should do, character by character and event by event, with everything built anew each time it is
//! asked for. Tests and fuzzing compare with it; the product does not use it.
//!
//! It shares the *types* of the batcher and nothing of its work: no body that grows, no rolling back, no runs.

#[cfg(test)]
mod tests;

use super::{BATCH_BYTES_MAX, BadEscape, BatchLimits, Dropped, Event, Fed, Origin, Oversize, SegmentId, SendWindow};
use crate::core::scan::Message;

/// A day less a millisecond: see [`super::SPAN_MILLIS_MAX`].
const SPAN_MILLIS: i128 = 24 * 60 * 60 * 1000 - 1;
/// What is kept free for `[1/2] ` in a part of any number.
const PART_NUMBER_BYTES: usize = "[4294967295/4294967295] ".len();

/// One character of a text, and what stands for it in the request.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Unit {
    character: char,
    written: String,
}

/// An event that is packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// Where it came from.
    pub origin: Origin,
    /// Its text.
    pub text: String,
    /// The inside of the JSON string that stands for the text.
    written: String,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its body.
    pub body: String,
    /// Its events, in order.
    pub events: Vec<Packed>,
}

impl Request {
    /// Bytes as the API counts them.
    #[must_use]
    pub fn billed_bytes(&self) -> usize {
        billed(&self.events)
    }
}

/// What becomes of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// The requests, in order.
    pub requests: Vec<Request>,
    /// The events before the window.
    pub too_old: Vec<Packed>,
    /// The events behind the window.
    pub too_new: Vec<Packed>,
}

/// The obviously right batcher.
#[derive(Clone, Debug)]
pub struct Batcher {
    limits: BatchLimits,
    group: String,
    stream: String,
    events: Vec<Packed>,
}

impl Batcher {
    /// See [`super::Batcher::new`].
    #[must_use]
    pub fn new(limits: BatchLimits, group: &str, stream: &str) -> Self {
        Self { limits, group: group.to_owned(), stream: stream.to_owned(), events: Vec::new() }
    }

    /// The events that are open.
    #[must_use]
    pub fn events(&self) -> &[Packed] {
        &self.events
    }

    /// See [`super::Batcher::feed`].
    pub fn feed(&mut self, segment: SegmentId, event: &Event<'_>) -> Fed {
        if self.events.len() >= self.limits.events_max {
            return Fed::Full;
        }
        let units = match units(event.message) {
            Ok(units) => units,
            Err(bad) => return Fed::Bad(bad),
        };
        if units.is_empty() {
            return Fed::Dropped(Dropped::EmptyMessage);
        }
        let parts = self.parts(&units);
        let from = if parts.len() == 1 { 0 } else { event.from_part };
        let mut taken = 0;
        for (part, (text, written)) in (0_u32..).zip(parts).skip(usize::try_from(from).unwrap_or(usize::MAX)) {
            let (ordinal, timestamp) = (event.ordinal, event.timestamp);
            let packed = Packed { origin: Origin { segment, ordinal, part, timestamp }, text, written };
            if !self.has_room(&packed) {
                return if taken == 0 { Fed::Full } else { Fed::PartTaken { parts: taken, next: part } };
            }
            self.events.push(packed);
            taken += 1;
        }
        Fed::Taken { parts: taken }
    }

    /// The texts of the events that a text makes, and how they are written.
    fn parts(&self, units: &[Unit]) -> Vec<(String, String)> {
        let max = self.limits.event_bytes_max;
        let joined = |units: &[Unit]| {
            (
                units.iter().map(|unit| unit.character).collect(),
                units.iter().map(|unit| unit.written.as_str()).collect(),
            )
        };
        let (text, written): (String, String) = joined(units);
        if text.len() <= max {
            return vec![(text, written)];
        }
        let room = if self.limits.oversize == Oversize::Split { max - PART_NUMBER_BYTES } else { max };
        let mut parts: Vec<Vec<Unit>> = vec![Vec::new()];
        let mut used = 0;
        for unit in units {
            used += unit.character.len_utf8();
            if used > room {
                parts.push(Vec::new());
                used = unit.character.len_utf8();
            }
            parts.last_mut().into_iter().for_each(|part| part.push(unit.clone()));
        }
        if self.limits.oversize == Oversize::Truncate {
            parts.truncate(1);
            return parts.iter().map(|part| joined(part)).collect();
        }
        let count = parts.len();
        let numbered = parts.iter().zip(1..).map(|(part, number)| {
            let (text, written) = joined(part);
            (format!("[{number}/{count}] {text}"), format!("[{number}/{count}] {written}"))
        });
        numbered.collect()
    }

    fn has_room(&self, packed: &Packed) -> bool {
        let mut with = self.events.clone();
        with.push(packed.clone());
        with.len() <= self.limits.events_max
            && billed(&with) <= BATCH_BYTES_MAX
            && (with.len() == 1 || self.body(&with).len() <= self.limits.wire_bytes_max)
    }

    /// The request body of these events.
    fn body(&self, events: &[Packed]) -> String {
        let events: Vec<String> = events
            .iter()
            .map(|it| format!(r#"{{"timestamp":{},"message":"{}"}}"#, it.origin.timestamp.0, it.written))
            .collect();
        let (group, stream, events) = (&self.group, &self.stream, events.join(","));
        format!(r#"{{"logGroupName":"{group}","logStreamName":"{stream}","logEvents":[{events}]}}"#)
    }

    /// The request that these events make.
    #[must_use]
    pub fn request(&self, events: &[Packed]) -> Request {
        Request { body: self.body(events), events: events.to_vec() }
    }

    /// See [`super::Batcher::abandon_unsealed`].
    pub fn abandon(&mut self, segment: SegmentId) -> u64 {
        let before = self.events.len();
        self.events.retain(|event| event.origin.segment != segment);
        u64::try_from(before - self.events.len()).unwrap_or(u64::MAX)
    }

    /// See [`super::Batcher::seal`].
    pub fn seal(&mut self, window: SendWindow) -> Sealed {
        let mut sealed = Sealed::default();
        let mut sorted: Vec<Packed> = Vec::new();
        for event in std::mem::take(&mut self.events) {
            let time = event.origin.timestamp;
            if time < window.oldest {
                sealed.too_old.push(event);
            } else if time > window.newest {
                sealed.too_new.push(event);
            } else {
                // Behind all that are not later: arrival decides between equal times.
                let place = sorted.iter().filter(|other| other.origin.timestamp <= time).count();
                sorted.insert(place, event);
            }
        }
        let mut runs: Vec<Vec<Packed>> = Vec::new();
        for event in sorted {
            let millis = |event: &Packed| i128::from(event.origin.timestamp.0);
            match runs.last_mut() {
                Some(run) if run.first().is_some_and(|first| millis(&event) - millis(first) <= SPAN_MILLIS) => {
                    run.push(event);
                }
                _ => runs.push(vec![event]),
            }
        }
        sealed.requests = runs.iter().map(|run| self.request(run)).collect();
        sealed
    }
}

fn billed(events: &[Packed]) -> usize {
    events.iter().map(|event| event.text.len() + 26).sum()
}

/// The characters of a message.
fn units(message: Message<'_>) -> Result<Vec<Unit>, BadEscape> {
    match message {
        Message::Empty => Ok(Vec::new()),
        Message::Json(text) => Ok(raw_units(text)),
        Message::Pieces(pieces) => Ok(pieces.flat_map(raw_units).collect()),
        Message::Escaped(inside) | Message::Seen(inside, _) => escaped_units(inside),
    }
}

/// Text that stands for itself.
fn raw_units(text: &[u8]) -> Vec<Unit> {
    let written = |character| match character {
        '"' => r#"\""#.to_owned(),
        '\\' => r"\\".to_owned(),
        '\n' => r"\n".to_owned(),
        '\r' => r"\r".to_owned(),
        '\t' => r"\t".to_owned(),
        control @ '\0'..='\x1f' => format!("\\u{:04x}", u32::from(control)),
        other => other.to_string(),
    };
    String::from_utf8_lossy(text).chars().map(|character| Unit { character, written: written(character) }).collect()
}

/// The inside of a JSON string. Its escapes are written as they are.
fn escaped_units(inside: &[u8]) -> Result<Vec<Unit>, BadEscape> {
    let mut units = Vec::new();
    let mut at = 0;
    while at < inside.len() {
        let rest = inside.get(at..).unwrap_or_default();
        let bad = BadEscape { at };
        let plain = rest.iter().take_while(|byte| !matches!(byte, b'\\' | b'"')).count();
        if plain > 0 {
            units.extend(raw_units(rest.get(..plain).unwrap_or_default()));
            at += plain;
            continue;
        }
        let (character, len) = match *rest {
            [b'\\', b'u', ..] => {
                let high = code_unit(rest).ok_or(bad)?;
                let low = rest.get(6..).and_then(code_unit).unwrap_or(0);
                match char::decode_utf16([high, low]).next() {
                    Some(Ok(character)) if character.len_utf16() == 2 => (character, 12),
                    Some(Ok(character)) => (character, 6),
                    _ => {
                        units.push(Unit { character: '\u{fffd}', written: r"\ufffd".to_owned() });
                        at += 6;
                        continue;
                    }
                }
            }
            [b'\\', b'n', ..] => ('\n', 2),
            [b'\\', b't', ..] => ('\t', 2),
            [b'\\', b'r', ..] => ('\r', 2),
            [b'\\', b'b', ..] => ('\u{8}', 2),
            [b'\\', b'f', ..] => ('\u{c}', 2),
            [b'\\', same @ (b'"' | b'\\' | b'/'), ..] => (char::from(same), 2),
            _ => return Err(bad),
        };
        let written = String::from_utf8_lossy(rest.get(..len).unwrap_or_default()).into_owned();
        units.push(Unit { character, written });
        at += len;
    }
    Ok(units)
}

/// The code unit of the `\uXXXX` that this text begins with.
fn code_unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(br"\u")?.get(..4)?;
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|it| it.is_ascii_hexdigit()))?;
    u16::from_str_radix(digits, 16).ok()
}
