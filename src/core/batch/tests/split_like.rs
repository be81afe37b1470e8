//! Long messages against the naive batcher: however they are written, however long parts and blocks of a walk are.

use proptest::prelude::*;

use super::*;
use crate::core::scan::{ScanLimits, Scanner, Step};

/// What is written by the table: what takes more bytes than it has, and characters of several bytes.
const DENSE: &[&[u8]] = &[b"\x01", b"\x80", b"\xe2\x82", b"\xf0\x9f\x98", "\u{e9}".as_bytes(), "\u{1f600}".as_bytes()];

/// The inside of a JSON string, of all that may stand in one.
fn insides(tokens: Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        4 => (1_usize..300).prop_map(|len| b"plain text ".iter().copied().cycle().take(len).collect()),
        1 => (1_usize..6000).prop_map(|len| vec![b'x'; len]),
        2 => (1_usize..100).prop_map(|times| br#"\"\\\n"#.repeat(times)),
        1 => (1_usize..30).prop_map(|times| br"\u0041\u00e9\ud83d\ude00\ud83d".repeat(times)),
        2 => (1_usize..200).prop_map(|times| "\u{e9}\u{1f600}".repeat(times).into_bytes()),
        1 => prop::collection::vec(0x80..0xff_u8, 1..200),
        2 => prop::collection::vec(prop::sample::select(DENSE), 1..300).prop_map(|tokens| tokens.concat()),
        1 => prop::collection::vec(1..0x20_u8, 1..300).prop_map(|mut controls| {
            controls.retain(|control| *control != b'\n');
            controls
        }),
    ];
    prop::collection::vec(token, tokens).prop_map(|tokens: Vec<Vec<u8>>| tokens.concat())
}

/// Feeds an event whole to both batchers, sealing as often as it needs.
fn feed_both(batcher: &mut Batcher, naive: &mut reference::Batcher, mut event: Event<'_>) {
    batcher.begin_segment(SegmentId(0));
    let seal = |batcher: &mut Batcher, naive: &mut reference::Batcher| {
        let (sealed, expected) = (batcher.seal(SendWindow::ALL), naive.seal(SendWindow::ALL));
        let bodies: Vec<&str> = sealed.batches.iter().map(|batch| std::str::from_utf8(batch.body()).unwrap()).collect();
        assert_eq!(bodies, expected.requests.iter().map(|request| request.body.as_str()).collect::<Vec<_>>());
    };
    loop {
        let fed = batcher.feed(&event);
        if fed == Fed::Wide {
            event.wide = true;
            continue;
        }
        assert_eq!(fed, naive.feed(SegmentId(0), &event));
        match fed {
            Fed::PartTaken { next, .. } => event.from_part = next,
            Fed::Full => {}
            Fed::Taken { .. } | Fed::Wide | Fed::Dropped(_) | Fed::Bad(_) => return seal(batcher, naive),
        }
        seal(batcher, naive);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Parts that are as long as blocks of a walk and shorter, of messages that are, wherever the batches end.
    #[test]
    fn long_messages_are_split_like_the_naive_batcher(
        inside in insides(1..40), others in prop::collection::vec(insides(1..4), 0..4), blank in any::<bool>(),
        event_bytes_max in prop_oneof![256_usize..2_000, 2_000_usize..60_000],
        events_max in 1_usize..4, wire_bytes_max in 2_000_usize..100_000, truncate in any::<bool>(),
    ) {
        let oversize = if truncate { Oversize::Truncate } else { Oversize::Split };
        let limits = BatchLimits { events_max, event_bytes_max, wire_bytes_max, oversize, ..BatchLimits::default() };
        // A whole record: members that are kept and others, with blanks between or none.
        let mut record = b"{\"timestamp\":5".to_vec();
        for (at, other) in std::iter::once(&inside).chain(&others).enumerate() {
            let between = if blank { " , " } else { "," };
            record.extend(format!("{between}\"k{at}\":[\"").bytes());
            record.extend(other);
            record.extend(b"\",1],\"namespace\":\"n\"");
        }
        record.push(b'}');
        let mut scanner = Scanner::new(ScanLimits::default());
        let (Step::Record(whole), _) = scanner.next(&record, 0, true) else { panic!("no record") };
        prop_assert!(matches!(whole.message, Message::Pieces(_)));
        let (mut batcher, mut naive) = (batcher(limits), reference::Batcher::new(limits, "group", "stream"));
        for (message, ordinal) in [Message::Escaped(&inside), Message::Json(&record), whole.message].into_iter().zip(0..) {
            let event = Event { message, timestamp: UnixMillis(1), ordinal: Ordinal(ordinal), from_part: 0, wide: false };
            feed_both(&mut batcher, &mut naive, event);
        }
    }
}

/// Wherever a block of a walk ends within a character, or within an escape.
#[test]
fn blocks_of_a_walk_end_between_characters() {
    for shift in 0..8 {
        for piece in ["\u{e9}\u{1f600}", "\u{e9}\\n\u{1f600}", "a\\u00e9", "\u{20ac}\\\"\\\\"] {
            let inside = "x".repeat(shift) + &piece.repeat(9000);
            let limits = BatchLimits { event_bytes_max: 20_000, ..BatchLimits::default() };
            let (mut batcher, mut naive) = (batcher(limits), reference::Batcher::new(limits, "group", "stream"));
            for message in [Message::Escaped(inside.as_bytes()), Message::Json(inside.as_bytes())] {
                let event = Event { message, timestamp: UnixMillis(1), ordinal: Ordinal(0), from_part: 0, wide: false };
                feed_both(&mut batcher, &mut naive, event);
            }
        }
    }
}

/// What is written by the table fills a part to its end, also where its text grows most.
#[test]
fn dense_text_fills_each_part() {
    let inside = [&[1; 64][..], &[0x80; 63], "\u{1f600}".as_bytes(), &[b'y'; 400]].concat();
    for (event_bytes_max, oversize) in
        (64..600).flat_map(|most| [Oversize::Truncate, Oversize::Split].map(|oversize| (most, oversize)))
    {
        let limits = BatchLimits { event_bytes_max, oversize, ..BatchLimits::default() };
        let (mut batcher, mut naive) = (batcher(limits), reference::Batcher::new(limits, "group", "stream"));
        let message = Message::Escaped(&inside);
        let event = Event { message, timestamp: UnixMillis(1), ordinal: Ordinal(0), from_part: 0, wide: false };
        feed_both(&mut batcher, &mut naive, event);
    }
}
