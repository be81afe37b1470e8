//! Text that is repeated until it is longer than a batch, under the API's own limits. Laws: README.md.
//!
//! Apart from `batch`, because one such input takes as long as a hundred of those.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace::core::batch::{
    BatchLimits, Batcher, EVENT_BYTES_MAX, EVENT_BYTES_MIN, Event, Fed, Oversize, SegmentId, SendWindow,
};
use millrace::core::object::Ordinal;
use millrace::core::scan::Message;
use millrace::core::time::UnixMillis;
use millrace_fuzz::Dice;
use millrace_fuzz::batch::within_limits;

fuzz_target!(|data: &[u8]| {
    if data.is_empty() {
        return;
    }
    let mut dice = Dice::new(data);
    let text = String::from_utf8_lossy(data).repeat(dice.between(1_100_000, 1_800_000) / data.len());
    let event_bytes_max =
        [EVENT_BYTES_MAX, 262_118, dice.between(EVENT_BYTES_MIN, EVENT_BYTES_MAX)][dice.between(0, 2)];
    for oversize in [Oversize::Split, Oversize::Truncate] {
        let limits = BatchLimits { event_bytes_max, oversize, ..BatchLimits::default() };
        let arrived = arrived(&text, &limits);
        let count = arrived.len();
        if oversize == Oversize::Truncate && text.len() > event_bytes_max {
            assert!(count == 1 && text.starts_with(&arrived[0]));
            assert!(text.is_char_boundary(arrived[0].len()) && arrived[0].len() + 4 > event_bytes_max);
            continue;
        }
        let part = |(part, number): (&String, usize)| {
            let prefix = if count == 1 { String::new() } else { format!("[{number}/{count}] ") };
            part.strip_prefix(&prefix).expect("a part has its number").to_owned()
        };
        let joined: String = arrived.iter().zip(1..).map(part).collect();
        assert!(joined == text, "the parts are the text");
    }
});

/// The texts of the events that a text makes.
fn arrived(text: &str, limits: &BatchLimits) -> Vec<String> {
    let mut batcher = Batcher::new(*limits, "group", "stream");
    batcher.begin_segment(SegmentId(0));
    let (message, timestamp) = (Message::Json(text.as_bytes()), UnixMillis(0));
    let mut event = Event { message, timestamp, ordinal: Ordinal(0), from_part: 0, wide: false };
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
        arrived.extend(batches.iter().flat_map(|batch| within_limits(batch, limits)));
    }
    arrived
}
