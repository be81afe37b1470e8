//! The batcher against the obviously right one: the same deeds, the same answers, the same bytes.

use proptest::prelude::*;
use serde_json::Value;

use super::super::{Batch, Batcher, EVENT_BYTES_MAX, RejectRanges, SegmentShare};
use super::{BatchLimits, Event, Fed, Oversize, SegmentId, SendWindow};
use crate::core::batch::reference;
use crate::core::object::Ordinal;
use crate::core::scan::{ScanLimits, Scanner, Step};
use crate::core::tally::Rejected;
use crate::core::time::UnixMillis;

const DAY: i64 = 24 * 60 * 60 * 1000;

fn texts(batch: &Batch) -> Vec<String> {
    let body: Value = serde_json::from_slice(batch.body()).unwrap();
    body["logEvents"].as_array().unwrap().iter().map(|it| it["message"].as_str().unwrap().to_owned()).collect()
}

/// One thing that a lane does.
#[derive(Clone, Debug)]
enum Deed {
    /// Feeds the record, of this segment and time.
    Feed(u64, i64, Vec<u8>),
    Seal,
    Abandon(u64),
}

/// Text as it may stand between a string's quotes, sound and unsound; some of it many times over.
fn inside(times: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        &b"x"[..],
        b"word ",
        "gr\u{f6}\u{df}e ".as_bytes(),
        "\u{1f600}".as_bytes(),
        br"\n",
        br"\u00e9",
        br"\ud83d\ude00",
        br"\ud83d",
        br"\udead",
        br#"\""#,
        b"\x01",
        b"\t",
        b"\xff",
        b"\xe2\x82",
        b"\xf0\x9f\x98",
        br"\/",
        br"\x",
        br"\u12",
    ]);
    let sound = piece.clone().prop_filter("sound", |piece| ![&br"\x"[..], br"\u12"].contains(piece));
    let pieces = prop_oneof![19 => prop::collection::vec(sound, 0..6), 1 => prop::collection::vec(piece, 1..6)];
    (pieces, times).prop_map(|(pieces, times)| pieces.concat().repeat(times))
}

fn record(times: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    (inside(times), 0..4_u8).prop_map(|(inside, kind)| match kind {
        0 => [br#"{"timestamp":1,"a":""#, &inside[..], br#"","cluster_id":2,"b":[1, 2]}"#].concat(),
        1 => [br#"{"message":{"a":""#, &inside[..], br#""}}"#].concat(),
        _ => [br#"{"message":""#, &inside[..], br#""}"#].concat(),
    })
}

fn deeds(times: std::ops::Range<usize>, count: usize) -> impl Strategy<Value = Vec<Deed>> {
    let time = prop_oneof![
        4 => 0..5_i64,
        4 => -3 * DAY..3 * DAY,
        2 => prop::sample::select(vec![0, DAY - 1, DAY, DAY + 1, 2 * DAY, 2 * DAY + 1, -2 * DAY, -2 * DAY - 1]),
        1 => prop::sample::select(vec![i64::MIN, i64::MAX]),
    ];
    let deed = prop_oneof![
        20 => (0..3_u64, time, record(times)).prop_map(|(segment, time, record)| Deed::Feed(segment, time, record)),
        1 => Just(Deed::Seal),
        1 => (0..3_u64).prop_map(Deed::Abandon),
    ];
    prop::collection::vec(deed, 0..count)
}

/// Seals both and asserts that they agree: bodies, origins, shares, halves, rests, outcomes of refusals.
fn seal_both(batcher: &mut Batcher, naive: &mut reference::Batcher, window: SendWindow) {
    let sealed = batcher.seal(window);
    let expected = naive.seal(window);
    let agree = |batch: &Batch, request: &reference::Request| {
        assert_eq!(std::str::from_utf8(batch.body()).unwrap(), request.body);
        assert_eq!(batch.origins().collect::<Vec<_>>(), request.events.iter().map(|it| it.origin).collect::<Vec<_>>());
        assert_eq!(batch.billed_bytes(), request.billed_bytes());
        assert!(texts(batch).iter().eq(request.events.iter().map(|it| &it.text)), "the body says what was meant");
    };
    assert_eq!(sealed.batches.len(), expected.requests.len());
    for (batch, request) in sealed.batches.iter().zip(&expected.requests) {
        agree(batch, request);
        let halves = batch.bisect();
        assert_eq!(halves.is_some(), request.events.len() > 1);
        if let Some((left, right)) = halves {
            let (earlier, later) = request.events.split_at(request.events.len() / 2);
            agree(&left, &naive.request(earlier));
            agree(&right, &naive.request(later));
        }
        let rest: Vec<_> = request.events.iter().filter(|it| it.origin.segment != SegmentId(1)).cloned().collect();
        let (left, taken) = batch.clone().sift(|origin| origin.segment == SegmentId(1));
        assert_eq!(taken.len() + rest.len(), request.events.len());
        match left {
            Some(batch) => agree(&batch, &naive.request(&rest)),
            None => assert!(rest.is_empty()),
        }
    }
    for segment in (0..3).map(SegmentId) {
        let of = |events: &[reference::Packed]| events.iter().filter(|it| it.origin.segment == segment).count() as u64;
        let sum = |share: fn(&SegmentShare) -> u64| {
            sealed.shares.iter().filter(|it| it.segment == segment).map(share).sum::<u64>()
        };
        assert_eq!(sum(|share| share.too_old), of(&expected.too_old));
        assert_eq!(sum(|share| share.too_new), of(&expected.too_new));
        assert_eq!(sum(|share| share.sent), expected.requests.iter().map(|request| of(&request.events)).sum::<u64>());
    }
}

/// Does the same with the batcher and the naive one.
fn agree(limits: BatchLimits, deeds: &[Deed]) {
    let window = SendWindow { oldest: UnixMillis(-2 * DAY), newest: UnixMillis(2 * DAY) };
    let mut batcher = Batcher::new(limits, "group", "stream");
    let mut naive = reference::Batcher::new(limits, "group", "stream");
    for (number, deed) in deeds.iter().enumerate() {
        match deed {
            Deed::Seal => seal_both(&mut batcher, &mut naive, window),
            Deed::Abandon(segment) => {
                assert_eq!(batcher.abandon_unsealed(SegmentId(*segment)), naive.abandon(SegmentId(*segment)));
            }
            Deed::Feed(segment, time, record) => {
                let (step, _) = Scanner::new(ScanLimits::default()).next(record, 0, true);
                let Step::Record(record) = step else { continue };
                let segment = SegmentId(*segment);
                batcher.begin_segment(segment);
                let mut event = Event {
                    message: record.message,
                    timestamp: UnixMillis(*time),
                    ordinal: Ordinal(number as u64),
                    from_part: 0,
                    wide: false,
                };
                loop {
                    let fed = match batcher.feed(&event) {
                        Fed::Wide => {
                            assert!(!event.wide);
                            event.wide = true;
                            continue;
                        }
                        fed => fed,
                    };
                    assert_eq!(fed, naive.feed(segment, &event));
                    assert_eq!(batcher.events(), naive.events().len());
                    match fed {
                        Fed::Full => seal_both(&mut batcher, &mut naive, window),
                        Fed::PartTaken { next, .. } => {
                            event.from_part = next;
                            seal_both(&mut batcher, &mut naive, window);
                        }
                        Fed::Taken { .. } | Fed::Dropped(_) | Fed::Bad(_) | Fed::Wide => break,
                    }
                }
            }
        }
    }
    seal_both(&mut batcher, &mut naive, window);
}

fn oversize() -> impl Strategy<Value = Oversize> {
    prop::sample::select(vec![Oversize::Split, Oversize::Truncate])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever a lane does, the batcher answers and packs as the naive one, byte for byte.
    #[test]
    fn the_naive_batcher_agrees(
        deeds in deeds(1..60, 40), events_max in 1_usize..20, event_bytes_max in 256_usize..600, wire_bytes_max in 300_usize..6_000,
        oversize in oversize(),
    ) {
        agree(BatchLimits { events_max, event_bytes_max, wire_bytes_max, oversize, ..BatchLimits::default() }, &deeds);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The same with messages that reach the limits in bytes.
    #[test]
    fn the_naive_batcher_agrees_on_long_messages(
        deeds in deeds(1..30_000, 8), event_bytes_max in prop::sample::select(vec![EVENT_BYTES_MAX, 262_118, 100_000]),
        oversize in oversize(),
    ) {
        agree(BatchLimits { event_bytes_max, oversize, ..BatchLimits::default() }, &deeds);
    }
}

proptest! {
    /// An event is rejected if it is in any of the ranges, once, and the first of the reasons is told.
    #[test]
    fn rejects_are_the_union_of_the_ranges(
        count in 1_usize..20, too_old in prop::option::of(-3..25_i32), expired in prop::option::of(-3..25_i32),
        too_new in prop::option::of(-3..25_i32),
    ) {
        let mut batcher = Batcher::new(BatchLimits::default(), "group", "stream");
        for number in 0..count {
            let message = crate::core::scan::Message::Escaped(b"x");
            let (ordinal, timestamp) = (Ordinal(number as u64), UnixMillis(0));
            let event = Event { message, timestamp, ordinal, from_part: 0, wide: false };
            assert_eq!(batcher.feed(&event), Fed::Taken { parts: 1 });
        }
        let batch = batcher.seal(SendWindow::ALL).batches.remove(0);
        let mut reasons = vec![None; count];
        let mut mark = |range: &mut dyn Iterator<Item = i32>, reason| {
            for index in range {
                if let Some(place @ None) = usize::try_from(index).ok().and_then(|index| reasons.get_mut(index)) {
                    *place = Some(reason);
                }
            }
        };
        mark(&mut (0..too_old.unwrap_or(0)), Rejected::TooOld);
        mark(&mut (0..expired.unwrap_or(0)), Rejected::Expired);
        mark(&mut (too_new.unwrap_or(100)..100), Rejected::TooNew);
        let ranges = RejectRanges { too_old_end: too_old, expired_end: expired, too_new_start: too_new };
        prop_assert_eq!(batch.outcomes(ranges).map(|(_, reason)| reason).collect::<Vec<_>>(), reasons);
        prop_assert!(batch.outcomes(ranges).map(|(origin, _)| origin.ordinal.0).eq(0..count as u64));
    }
}
