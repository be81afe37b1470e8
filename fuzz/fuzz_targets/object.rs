//! A stored object on its whole way: decoder, scanner, times, batcher. Laws: README.md.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use millrace::core::batch::{BatchLimits, Batcher, EVENT_BYTES_MIN, Event, Fed, Oversize, SegmentId, SendWindow};
use millrace::core::decode::{Decoder, Window};
use millrace::core::event::Timeline;
use millrace::core::object::Ordinal;
use millrace::core::scan::{ScanLimits, Scanner, Step, reference};
use millrace::core::time::UnixMillis;
use millrace::core::timestamp::{parse_escaped, parse_number};
use millrace_fuzz::Dice;
use millrace_fuzz::batch::within_limits;
use millrace_fuzz::decode::whole;

const MODIFIED: UnixMillis = UnixMillis(1_704_153_600_000);
/// Decompressed bytes of an object: the reference takes quadratic time.
const BYTES_MAX: usize = 20_000;

/// What arrived of a record: its parts joined, and its time.
type Arrived = BTreeMap<u64, (String, i64)>;

fuzz_target!(|data: &[u8]| {
    let Some((text, end)) = whole(data) else { return };
    if text.len() > BYTES_MAX || end.is_err() {
        return;
    }
    let mut dice = Dice::new(data);
    let scan_limits = ScanLimits { record_bytes_max: [16 << 20, dice.between(4, 400)][dice.between(0, 1)] };
    let batch_limits = BatchLimits {
        events_max: dice.between(1, 30),
        event_bytes_max: dice.between(EVENT_BYTES_MIN, 5000),
        wire_bytes_max: dice.between(300, 9000),
        oversize: Oversize::Split,
        ..BatchLimits::default()
    };
    let expected = meant(&text, scan_limits);
    let mut arrived = Arrival { limits: batch_limits, meant: &expected, arrived: Arrived::new() };
    arrived.sent(data, scan_limits, &mut dice);
    assert_eq!(arrived.arrived, expected);
});

/// What should arrive, by the slow reference.
fn meant(text: &[u8], limits: ScanLimits) -> Arrived {
    let mut last = MODIFIED;
    let mut meant = Arrived::new();
    for item in reference::scan(text, limits) {
        let Ok(content) = item.content else { continue };
        let own = match content.timestamp.as_deref() {
            Some([b'"', inside @ .., b'"']) => parse_escaped(inside),
            Some(digits) => parse_number(digits),
            None => None,
        };
        last = own.unwrap_or(last);
        if content.message.is_empty() {
            continue;
        }
        meant.insert(item.ordinal.0, (content.message, last.0));
    }
    meant
}

/// What arrives.
struct Arrival<'m> {
    limits: BatchLimits,
    meant: &'m Arrived,
    arrived: Arrived,
}

impl Arrival<'_> {
    /// Through windows of any size.
    fn sent(&mut self, data: &[u8], scan_limits: ScanLimits, dice: &mut Dice) {
        let mut decoder = Decoder::new();
        let mut scanner = Scanner::new(scan_limits);
        let mut timeline = Timeline::new(MODIFIED);
        let mut batcher = Batcher::new(self.limits, "group", "stream");
        batcher.begin_segment(SegmentId(0));
        let mut window = Window::new(500);
        let mut rest = data;
        loop {
            let part = &rest[..dice.between(rest.len().min(1), rest.len())];
            let (buffer, at) = window.room(decoder.reaches(), usize::MAX);
            let end = at + dice.between(1, buffer.len() - at);
            let progress = decoder.decode(part, &mut buffer[..end], at).expect("the object is sound");
            window.fill(progress.produced);
            rest = &rest[progress.consumed..];
            let last = rest.is_empty() && !decoder.pending();
            let mut at = window.at();
            loop {
                let (step, next) = scanner.next(window.filled(), at, last);
                at = next;
                match step {
                    Step::Record(record) => {
                        let (message, timestamp) = (record.message, timeline.peek(record.timestamp));
                        let event = Event { message, timestamp, ordinal: record.ordinal, from_part: 0, wide: false };
                        if self.packed(&mut batcher, event) {
                            timeline.resolve(record.timestamp);
                        }
                    }
                    Step::Bad(_) => {}
                    Step::NeedMore => break,
                    Step::End if last => {
                        decoder.finish().expect("the object is whole");
                        return self.take(&mut batcher);
                    }
                    Step::End => break,
                }
            }
            window.scanned_to(at);
        }
    }

    /// Packs an event, sealing as often as it needs; whether it is a good record.
    fn packed(&mut self, batcher: &mut Batcher, mut event: Event<'_>) -> bool {
        loop {
            match batcher.feed(&event) {
                Fed::Taken { .. } | Fed::Dropped(_) => return true,
                Fed::Full => self.take(batcher),
                Fed::PartTaken { next, .. } => {
                    event.from_part = next;
                    self.take(batcher);
                }
                Fed::Wide => event.wide = true,
                Fed::Bad(_) => return false,
            }
        }
    }

    /// Seals, and takes apart what would be sent.
    fn take(&mut self, batcher: &mut Batcher) {
        for batch in batcher.seal(SendWindow::ALL).batches {
            for (text, origin) in within_limits(&batch, &self.limits).iter().zip(batch.origins()) {
                let Ordinal(ordinal) = origin.ordinal;
                let split = self.meant.get(&ordinal).is_some_and(|it| it.0.len() > self.limits.event_bytes_max);
                let part = if split { text.split_once("] ").expect("a part has its number").1 } else { text };
                let (joined, time) = self.arrived.entry(ordinal).or_insert_with(|| (String::new(), origin.timestamp.0));
                assert_eq!(*time, origin.timestamp.0);
                joined.push_str(part);
            }
        }
    }
}
