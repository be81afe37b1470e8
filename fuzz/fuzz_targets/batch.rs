//! What a lane does with its batcher: a first line of limits, then a deed a line, most of them a record. Laws: README.md.

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
use millrace_fuzz::batch::{Pair, SEGMENTS};

/// 2024-01-02T00:00:00Z, and how far the window reaches.
const NOON: UnixMillis = UnixMillis(1_704_153_600_000);
const DAYS_MILLIS: i64 = 2 * 24 * 60 * 60 * 1000;
/// Deeds of one input: the reference takes quadratic time.
const DEEDS_MAX: usize = 40;
/// Bytes of all texts that are fed to the reference.
const BYTES_MAX: usize = 8000;

fuzz_target!(|data: &[u8]| {
    rejects(&mut Dice::new(data));
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
                    Message::Escaped(inside) | Message::Seen(inside, _) => {
                        inside.repeat(times.min(BYTES_MAX / inside.len()))
                    }
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
        ..BatchLimits::default()
    }
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
