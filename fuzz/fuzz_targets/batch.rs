//! What a lane does with its batcher: a first line of limits, then a deed a line, most of them a record. Behind the line
//! `long` stands text that is repeated until it is longer than a batch. Laws: README.md.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace::core::batch::{
    BatchLimits, Batcher, EVENT_BYTES_MAX, EVENT_BYTES_MIN, Event, Fed, Oversize, RejectRanges, SegmentId, SendWindow,
};
use millrace::core::event::Timeline;
use millrace::core::object::Ordinal;
use millrace::core::scan::{Message, ScanLimits, Scanner, Step};
use millrace::core::tally::Rejected;
use millrace::core::time::UnixMillis;
use millrace_fuzz::Dice;
use millrace_fuzz::batch::{Pair, SEGMENTS, within_limits};

/// 2024-01-02T00:00:00Z, and how far the window reaches.
const NOON: UnixMillis = UnixMillis(1_704_153_600_000);
const DAYS_MILLIS: i64 = 2 * 24 * 60 * 60 * 1000;
/// Deeds of one input: the reference takes quadratic time.
const DEEDS_MAX: usize = 40;
/// Bytes of all texts that are fed to the reference.
const BYTES_MAX: usize = 8000;

fuzz_target!(|data: &[u8]| {
    let mut dice = Dice::new(data);
    rejects(&mut dice);
    if let Some(text) = data.strip_prefix(b"long\n") {
        return long(text, &mut dice);
    }
    let mut lines = data.split(|byte| *byte == b'\n');
    let limits = limits(lines.next().unwrap_or_default());
    let window = SendWindow { oldest: NOON.plus(-DAYS_MILLIS), newest: NOON.plus(DAYS_MILLIS) };
    let mut pair = Pair::new(limits, window);
    let mut timeline = Timeline::new(NOON);
    let (mut segment, mut times, mut bytes) = (SegmentId(0), 1, 0);
    for (line, ordinal) in lines.take(DEEDS_MAX).zip(0..) {
        match line {
            b"seal" => pair.seal(),
            [b'o', b'b', b'j', b'e', b'c', b't', b' ', digit] => segment = SegmentId(u64::from(*digit) % SEGMENTS),
            [b'a', b'b', b'a', b'n', b'd', b'o', b'n', b' ', digit] => {
                pair.abandon(SegmentId(u64::from(*digit) % SEGMENTS));
            }
            [b't', b'i', b'm', b'e', b's', b' ', rest @ ..] => times = number(rest, 1, 2000),
            record => {
                let (Step::Record(record), _) = Scanner::new(ScanLimits::default()).next(record, 0, true) else {
                    continue;
                };
                let text = match record.message {
                    Message::Escaped(inside) => inside.repeat(times.min(BYTES_MAX / inside.len())),
                    _ => Vec::new(),
                };
                times = 1;
                let message = if text.is_empty() { record.message } else { Message::Escaped(&text) };
                bytes += text.len().max(record.text.len());
                if bytes > BYTES_MAX {
                    break;
                }
                let timestamp = timeline.resolve(record.timestamp);
                pair.feed(segment, Event { message, timestamp, ordinal: Ordinal(ordinal), from_part: 0, wide: false });
            }
        }
    }
    pair.seal();
});

fn number(text: &[u8], least: usize, most: usize) -> usize {
    std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(least).clamp(least, most)
}

/// `EVENTS EVENT_BYTES WIRE_BYTES split|truncate`; what is missing or nonsense is the least.
fn limits(line: &[u8]) -> BatchLimits {
    let mut words = line.split(|byte| *byte == b' ');
    let mut next = |least, most| number(words.next().unwrap_or_default(), least, most);
    BatchLimits {
        events_max: next(1, 10_000),
        event_bytes_max: next(EVENT_BYTES_MIN, EVENT_BYTES_MAX),
        wire_bytes_max: next(300, 1 << 21),
        oversize: if line.ends_with(b"truncate") { Oversize::Truncate } else { Oversize::Split },
    }
}

/// Text of more than a batch's bytes, under the API's own limits: what arrives, joined again, is what was fed.
fn long(data: &[u8], dice: &mut Dice) {
    if data.is_empty() {
        return;
    }
    let text = String::from_utf8_lossy(data).repeat(dice.between(1_100_000, 2_500_000) / data.len());
    let event_bytes_max = [EVENT_BYTES_MAX, dice.between(EVENT_BYTES_MIN, EVENT_BYTES_MAX)][dice.between(0, 1)];
    let limits = BatchLimits { event_bytes_max, ..BatchLimits::default() };
    let mut batcher = Batcher::new(limits, "group", "stream");
    batcher.begin_segment(SegmentId(0));
    let message = Message::Json(text.as_bytes());
    let mut event = Event { message, timestamp: NOON, ordinal: Ordinal(0), from_part: 0, wide: false };
    let (mut arrived, mut done) = (Vec::new(), false);
    while !done {
        match batcher.feed(&event) {
            Fed::Taken { .. } => done = true,
            Fed::PartTaken { next, .. } => event.from_part = next,
            Fed::Wide => {
                event.wide = true;
                continue;
            }
            other => panic!("{other:?}"),
        }
        let batches = batcher.seal(SendWindow::ALL).batches;
        arrived.extend(batches.iter().flat_map(|batch| within_limits(batch, &limits)));
    }
    let count = arrived.len();
    let part = |(part, number): (&String, usize)| {
        let prefix = if count == 1 { String::new() } else { format!("[{number}/{count}] ") };
        part.strip_prefix(&prefix).expect("a part has its number").to_owned()
    };
    let joined: String = arrived.iter().zip(1..).map(part).collect();
    assert!(joined == text, "the parts are the text");
}

/// An event is rejected if any of the ranges has it, once, for the first of the reasons.
fn rejects(dice: &mut Dice) {
    let mut batcher = Batcher::new(BatchLimits::default(), "group", "stream");
    let count = dice.between(1, 12);
    for ordinal in (0..count as u64).map(Ordinal) {
        let event =
            Event { message: Message::Escaped(b"x"), timestamp: NOON, ordinal, from_part: 0, wide: ordinal.0 % 2 == 0 };
        assert_eq!(batcher.feed(&event), Fed::Taken { parts: 1 });
    }
    let batch = batcher.seal(SendWindow::ALL).batches.remove(0);
    let bounds = [-1, 0, 1, 2, 5, 11, 12, 13, i32::MIN, i32::MAX];
    let mut bound = || [None, Some(bounds[dice.between(0, bounds.len() - 1)])][dice.between(0, 1)];
    let ranges = RejectRanges { too_old_end: bound(), expired_end: bound(), too_new_start: bound() };
    for ((origin, reason), at) in batch.outcomes(ranges).zip(0_i32..) {
        assert_eq!(origin.ordinal.0, u64::try_from(at).unwrap());
        let expected = if ranges.too_old_end.is_some_and(|end| at < end) {
            Some(Rejected::TooOld)
        } else if ranges.expired_end.is_some_and(|end| at < end) {
            Some(Rejected::Expired)
        } else if ranges.too_new_start.is_some_and(|start| at >= start) {
            Some(Rejected::TooNew)
        } else {
            None
        };
        assert_eq!(reason, expected);
    }
    assert_eq!(batch.outcomes(ranges).count(), count);
}
