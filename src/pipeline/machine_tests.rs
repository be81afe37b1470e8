use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;
use crate::core::batch::BatchLimits;
use crate::core::decode::Decoder;
use crate::core::object::Ordinal;
use crate::core::scan::RECORD_BYTES_MAX;
use crate::core::tally::Tally;
use crate::core::tenant::TenantId;
use crate::pipeline::budget::Budget;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// What a machine made of an object.
#[derive(Debug)]
struct Made {
    bodies: Vec<Vec<u8>>,
    end: Result<(), DecodeFault>,
    tally: Tally,
    good: u64,
    bytes: u64,
    /// Where another attempt might go on.
    checkpoints: Vec<Arc<Checkpoint>>,
}

fn run(stored: &[u8], piece: usize) -> Made {
    run_from(stored, piece, Progress::default())
}

fn run_from(stored: &[u8], piece: usize, settled: Progress) -> Made {
    run_at(stored, piece, settled, (Spacing::default().made, None), usize::MAX)
}

/// What decodes to much has a light turn no longer than another, and what is left of it is not light.
#[test]
fn a_light_turn_is_short() {
    let line = format!("{{\"message\":\"{}\"}}\n", "a".repeat(1_000));
    let stored = Bytes::from(gzip(line.repeat(400).as_bytes()));
    let budget = Budget::new(256 << 20, RECORD_BYTES_MAX as u64).unwrap();
    let budget = budget.lane(&TenantId::try_from("acme").unwrap(), 0);
    let batcher = Batcher::new(BatchLimits::default(), "/acme", "pod");
    let (mut machine, mut worker) = (Machine::new(batcher, RECORD_BYTES_MAX), Worker::new());
    machine.begin(SegmentId(0), stored.len() as u64, UnixMillis(7), Progress::default());
    assert!(!machine.is_light(), "its bytes are not here");
    machine.push(stored);
    machine.end_of_input();
    assert!(machine.is_light());
    assert_eq!(worker.light_turn(&mut machine, &budget, SendWindow::ALL), Rest::Turn);
    assert_eq!(machine.take_count().bytes, 2 * WINDOW_BYTES as u64);
    assert!(!machine.is_light());
}

/// Lines that make more than one batch, and are longer than what makes one at all likely when they are stored as they are.
fn several_batches() -> Vec<u8> {
    (0..3_000).map(|at| format!("{{\"message\":\"{at} {}\"}}\n", "a".repeat(1_000))).collect::<String>().into_bytes()
}

/// What stands behind a batch's end in a window goes into the next one: only the beginning of a record is kept between turns.
/// A batch whose object is long has a body for all of it from the start.
#[test]
fn a_turn_goes_on_to_the_windows_end_when_a_batch_is_full() {
    let stored = Bytes::from(several_batches());
    let budget = Budget::new(256 << 20, RECORD_BYTES_MAX as u64).unwrap();
    let lane = budget.lane(&TenantId::try_from("acme").unwrap(), 0);
    let mut machine = Machine::new(Batcher::new(BatchLimits::default(), "/acme", "pod"), RECORD_BYTES_MAX);
    let mut worker = Worker::new();
    machine.begin(SegmentId(0), stored.len() as u64, UnixMillis(7), Progress::default());
    machine.push(stored);
    machine.end_of_input();
    assert_eq!(worker.turn(&mut machine, &lane, SendWindow::ALL), Rest::Sealed);
    assert!(machine.carry.len() < 2_000, "{} bytes are kept", machine.carry.len());
    assert!(machine.filled_bytes() > 0, "the next batch is begun");
    assert_eq!(machine.open_bytes(), BODY_BYTES);
    let first = machine.take_sealed().unwrap();
    assert_eq!(first.growth.bytes(), BODY_BYTES);
    let place = |group: &Group| group.sealed.batches[0].body().as_ptr();
    let used = place(&first);
    drop(first);
    assert_eq!(worker.turn(&mut machine, &lane, SendWindow::ALL), Rest::Sealed);
    let second = machine.take_sealed().unwrap();
    machine.seal(SendWindow::ALL);
    let third = machine.take_sealed().unwrap();
    assert!(place(&second) != used && place(&third) == used, "a body that was sent is used again");
}

/// A batch waits for memory for all of it while its tenant has others, and begins small when it has none.
#[test]
fn a_body_is_waited_for_only_while_others_of_the_tenant_are_there() {
    let stored = Bytes::from(several_batches());
    let budget = Budget::new(40 << 20, RECORD_BYTES_MAX as u64).unwrap();
    let tenant = |name: &str| budget.lane(&TenantId::try_from(name).unwrap(), 0);
    for (holder, expected) in [("acme", Rest::Growth(BODY_BYTES)), ("other", Rest::Sealed)] {
        let (lane, other) = (tenant("acme"), tenant(holder));
        // One holds all that one may, and a third leaves little of the rest.
        let mut held: Vec<Permit> = std::iter::from_fn(|| other.try_grow(GROWTH_STEP_BYTES)).collect();
        held.extend(tenant("third").try_grow(7 << 20));
        let mut machine = Machine::new(Batcher::new(BatchLimits::default(), "/acme", "pod"), RECORD_BYTES_MAX);
        let mut worker = Worker::new();
        machine.begin(SegmentId(0), stored.len() as u64, UnixMillis(7), Progress::default());
        machine.push(stored.clone());
        assert_eq!(worker.turn(&mut machine, &lane, SendWindow::ALL), expected, "{holder} holds much");
        drop(held);
    }
    assert_eq!(budget.used(), 0);
}

/// The same with checkpoints every so often, from one of them on, with a pause after so many pieces, three times.
fn run_at(
    stored: &[u8],
    piece: usize,
    settled: Progress,
    (every, checkpoint): (u64, Option<Arc<Checkpoint>>),
    pause_after: usize,
) -> Made {
    let budget = Budget::new(256 << 20, RECORD_BYTES_MAX as u64).unwrap();
    let budget = budget.lane(&TenantId::try_from("acme").unwrap(), 0);
    let batcher = Batcher::new(BatchLimits::default(), "/acme", "pod");
    let mut machine = Machine::new(batcher, RECORD_BYTES_MAX).with_checkpoints(every);
    let mut worker = Worker::new();
    machine.begin(SegmentId(0), stored.len() as u64, UnixMillis(7), settled);
    if let Some(checkpoint) = checkpoint {
        machine.resume(checkpoint);
    }
    let from = |machine: &Machine| stored[usize::try_from(machine.from()).unwrap()..].chunks(piece);
    let mut pieces = from(&machine);
    let (mut bodies, mut tally, mut good, mut bytes) = (Vec::new(), Tally::default(), 0, 0);
    let (mut checkpoints, mut given, mut pauses) = (Vec::new(), 0, 0);
    let mut take = |machine: &mut Machine| {
        let group = machine.take_sealed();
        bodies.extend(group.into_iter().flat_map(|group| group.sealed.batches).map(|batch| batch.body().to_vec()));
    };
    let end = loop {
        let rest = worker.turn(&mut machine, &budget, SendWindow::ALL);
        let count = machine.take_count();
        tally.merge(&count.tally);
        (good, bytes) = (good + count.good, bytes + count.bytes);
        checkpoints.extend(machine.take_checkpoint());
        match rest {
            Rest::Turn => {}
            Rest::Input if given == pause_after && pauses < 3 => {
                pauses += 1;
                assert!(machine.pause());
                (pieces, given) = (from(&machine), 0);
            }
            Rest::Input => match pieces.next() {
                Some(piece) => {
                    given += usize::from(pause_after != usize::MAX);
                    machine.push(Bytes::copy_from_slice(piece));
                }
                None => machine.end_of_input(),
            },
            Rest::Sealed => take(&mut machine),
            Rest::ObjectEnd(end) => break end,
            // Damage can make one record of many.
            Rest::Carry | Rest::BigRecord => {
                machine.seal(SendWindow::ALL);
                take(&mut machine);
                machine.lengthen(Permit::default(), RECORD_BYTES_MAX);
            }
            Rest::Growth(_) => unreachable!("the budget is ample"),
        }
    };
    machine.finish();
    machine.seal(SendWindow::ALL);
    take(&mut machine);
    Made { bodies, end, tally, good, bytes, checkpoints }
}

/// What becomes of an object's pieces: bodies, its end, and its stored bytes that are decoded.
fn run_pieces(pieces: Vec<Piece>, stored_bytes: u64) -> (Vec<Vec<u8>>, Result<(), DecodeFault>, u64) {
    let budget = Budget::new(256 << 20, RECORD_BYTES_MAX as u64).unwrap();
    let budget = budget.lane(&TenantId::try_from("acme").unwrap(), 0);
    let mut machine = Machine::new(Batcher::new(BatchLimits::default(), "/acme", "pod"), RECORD_BYTES_MAX);
    let mut worker = Worker::new();
    machine.begin(SegmentId(0), stored_bytes, UnixMillis(7), Progress::default());
    pieces.into_iter().for_each(|piece| machine.push_piece(piece));
    machine.end_of_input();
    let mut bodies = Vec::new();
    let mut take = |machine: &mut Machine| {
        let group = machine.take_sealed();
        bodies.extend(group.into_iter().flat_map(|group| group.sealed.batches).map(|batch| batch.body().to_vec()));
    };
    let end = loop {
        match worker.turn(&mut machine, &budget, SendWindow::ALL) {
            Rest::Turn => {}
            Rest::Sealed => take(&mut machine),
            Rest::ObjectEnd(end) => break end,
            rest => unreachable!("{rest:?}"),
        }
    };
    let decoded = machine.run.as_ref().map_or(0, |run| run.decoded);
    machine.finish();
    machine.seal(SendWindow::ALL);
    take(&mut machine);
    (bodies, end, decoded)
}

/// Events by their time and text.
fn events(bodies: &[Vec<u8>]) -> Vec<(i64, String)> {
    let events = bodies.iter().flat_map(|body| {
        let body: serde_json::Value = serde_json::from_slice(body).unwrap();
        body["logEvents"].as_array().unwrap().clone()
    });
    events.map(|event| (event["timestamp"].as_i64().unwrap(), event["message"].as_str().unwrap().to_owned())).collect()
}

fn messages(bodies: &[Vec<u8>]) -> Vec<String> {
    events(bodies).into_iter().map(|(_, message)| message).collect()
}

/// predecessor.md §15, rows "offset" and "requeue" (the offset): what an attempt sends that resumes. The offset came
/// with the message there, one for all its objects and deliveries, and partial progress was never put into it. Here it
/// is a place in one object for one delivery (design §7). An object that was all sent before is read over and gives nothing.
#[test]
fn predecessor_15_offset() {
    let lines = |count: usize| (0..count).map(|at| format!("{{\"message\":\"{at}\"}}\n")).collect::<String>();
    let at = |ordinal, part| Position { ordinal: Ordinal(ordinal), part };
    let cases = [
        // There is no place before the first one: the type has none.
        ("-5: all", at(0, 0), 0..100),
        ("0: all", at(0, 0), 0..100),
        ("offset 50 of 100 on retry: events 50-99", at(50, 0), 50..100),
        ("the last one", at(99, 0), 99..100),
        ("= count: none", at(100, 0), 100..100),
        ("> count: none", at(u64::MAX, 0), 100..100),
    ];
    for (case, resume, expected) in cases {
        for stored in [lines(100).into_bytes(), gzip(lines(100).as_bytes())] {
            let made = run_from(&stored, 11, Progress::new(resume, []));
            assert_eq!(made.end, Ok(()), "15 offset: {case}");
            let expected: Vec<usize> = expected.clone().collect();
            assert_eq!(
                messages(&made.bodies),
                expected.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "15 offset: {case}"
            );
            let skipped = 100 - expected.len() as u64;
            assert_eq!((made.tally.read(), made.tally.resumed_skipped()), (100, skipped), "15 offset: {case}");
        }
    }
}

/// An object that fits one batch is sealed after its checksum (design §4), also when it comes behind others in a batch.
#[test]
fn of_an_object_that_fits_one_batch_nothing_is_sealed_before_its_checksum() {
    let budget = Budget::new(256 << 20, RECORD_BYTES_MAX as u64).unwrap();
    let lane = budget.lane(&TenantId::try_from("acme").unwrap(), 0);
    let mut machine = Machine::new(Batcher::new(BatchLimits::default(), "/acme", "pod"), RECORD_BYTES_MAX);
    let mut worker = Worker::new();
    let mut sealed = Vec::new();
    for object in 0..3_u64 {
        let line = |at: u64| format!("{{\"message\":\"{object} {at:0>1000}\"}}\n");
        let mut stored = gzip((0..600).map(line).collect::<String>().as_bytes());
        if object == 1 {
            let crc = stored.len() - 8;
            stored[crc] ^= 1;
        }
        machine.begin(SegmentId(object), stored.len() as u64, UnixMillis(7), Progress::default());
        machine.push(stored.into());
        machine.end_of_input();
        let end = loop {
            match worker.turn(&mut machine, &lane, SendWindow::ALL) {
                Rest::Sealed => sealed.push(machine.take_sealed().unwrap()),
                Rest::ObjectEnd(end) => break end,
                rest => assert_eq!(rest, Rest::Turn),
            }
        };
        machine.finish();
        assert_eq!(end.is_err(), object == 1);
        if object == 1 {
            assert!(machine.abandon(SegmentId(1)) > 420, "more than would have had room");
        }
    }
    machine.seal(SendWindow::ALL);
    sealed.extend(machine.take_sealed());
    let shares: Vec<_> = sealed
        .iter()
        .flat_map(|group| &group.sealed.shares)
        .map(|share| (share.segment.0, share.sent))
        .filter(|(_, sent)| *sent > 0)
        .collect();
    assert_eq!(shares, [(0, 600), (2, 600)]);
    for group in &sealed {
        let body = group.sealed.batches[0].body();
        assert_eq!(messages(&[body.to_vec()]).len(), 600);
        assert!(group.growth.bytes() >= body.len() as u64 && group.growth.bytes() < 2 << 20, "{:?}", group.growth);
    }
}

/// Records that an earlier attempt had accepted out of their order are left out too.
#[test]
fn what_was_settled_beyond_a_gap_is_not_sent_again() {
    let lines = (0..100).map(|at| format!("{{\"message\":\"{at}\"}}\n")).collect::<String>();
    let settled = Progress::new(Position { ordinal: Ordinal(10), part: 0 }, [20..30, 50..100]);
    let made = run_from(lines.as_bytes(), 11, settled);
    let expected: Vec<String> = (10..20).chain(30..50).map(|at: u32| at.to_string()).collect();
    assert_eq!(messages(&made.bodies), expected);
    assert_eq!((made.tally.read(), made.tally.resumed_skipped()), (100, 70));
}

proptest! {
    /// Members that were decoded early are what they are, whatever stands between; and what is none, though it was taken for one,
    /// is decoded as it is stored.
    #[test]
    fn it_makes_no_difference_what_is_decoded_early(
        members in prop::collection::vec((prop::collection::vec("[a-z]{0,200}", 0..40), 0..5_usize), 1..30),
        lost in prop::bool::weighted(0.2),
    ) {
        let shelf = Shelf::new(256 << 10);
        let (mut all, mut pieces) = (Vec::new(), Vec::new());
        for (lines, how) in &members {
            let text: String = lines.iter().map(|line| format!("{{\"message\":\"a {line}\"}}\n")).collect();
            let stored = Bytes::from(gzip(text.as_bytes()));
            all.extend_from_slice(&stored);
            match how {
                0 | 1 => {
                    let early = Worker::decode(stored, text.len(), &shelf, Permit::default());
                    prop_assert!(matches!(early, Piece::Early(_)));
                    pieces.push(early);
                }
                // What stands within a member is taken for one.
                2 => {
                    let other: Buffer = b"{\"message\":\"wrong\"}\n".to_vec().into();
                    pieces.push(Piece::Stored(stored.slice(..stored.len() / 2)));
                    pieces.push(Piece::Early(Early::new(stored.slice(stored.len() / 2..), other, Permit::default())));
                }
                _ => pieces.push(Piece::Stored(stored)),
            }
        }
        if lost {
            // A member's end is missing.
            all.pop();
            match pieces.pop() {
                Some(Piece::Stored(last)) => pieces.push(Piece::Stored(last.slice(..last.len() - 1))),
                Some(Piece::Early(last)) => {
                    let stored = last.stored.slice(..last.stored.len() - 1);
                    pieces.push(Worker::decode(stored, last.text.len(), &shelf, Permit::default()));
                }
                None => {}
            }
        }
        let all = Bytes::from(all);
        let stored_bytes = all.len() as u64;
        let plain = run_pieces(vec![Piece::Stored(all)], stored_bytes);
        prop_assert_eq!(plain.1.is_err(), lost);
        prop_assert_eq!(run_pieces(pieces, stored_bytes), plain);
    }

    /// An object that is there as a whole, which may be decoded in one go, gives what it gives in pieces: of one member or
    /// of several, with something behind them, cut off or damaged.
    #[test]
    fn whole_objects_give_what_they_give_in_pieces(
        texts in prop::collection::vec(prop::collection::vec("[a-z\"]{0,300}", 0..40), 1..3),
        long: bool, behind in "\\PC{0,3}", cut in 0..40_usize, damage in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut stored = Vec::new();
        for messages in &texts {
            let lines = messages.iter().map(|message| format!("{{\"message\":{}}}\n", serde_json::json!(message)));
            let text: String = lines.collect();
            // A long one does not fit a window.
            stored.extend(gzip(text.repeat(if long { 40 } else { 1 }).as_bytes()));
        }
        stored.extend(behind.bytes());
        stored.truncate(stored.len() - cut.saturating_sub(20).min(stored.len()));
        let intact = stored.clone();
        if let Some(damage) = damage.filter(|_| !stored.is_empty()) {
            let at = damage.index(stored.len());
            stored[at] ^= 1;
        }
        let (whole, pieces) = (run(&stored, stored.len().max(1)), run(&stored, 7));
        // Whether the line that was cut off counts as bad depends on where the pieces end.
        let seen = |made: Made| (made.bodies, made.end, made.good, made.bytes);
        match (&whole.end, &pieces.end) {
            // Where it is noticed depends on the pieces, and so does what was decoded before.
            (Err(DecodeFault::Damaged { .. }), end) => {
                prop_assert!(matches!(end, Err(DecodeFault::Damaged { .. })), "{:?}", end);
            }
            // In one go, damage of a code that nothing uses is passed over: what comes out has the right checksum.
            (Ok(()), Err(DecodeFault::Damaged { .. })) => prop_assert_eq!(seen(whole), seen(run(&intact, 7))),
            _ => prop_assert_eq!(seen(whole), seen(pieces)),
        }
    }
}

/// How records stand in an object.
#[derive(Clone, Copy, Debug)]
enum Form {
    Lines,
    Array,
    ArrayOverLines,
    Pretty,
}

/// An object of these records in members of a few records, and in each of these in blocks of fewer; or else in plain text.
fn object(records: &[serde_json::Value], form: Form, (members, blocks): (usize, usize), plain: bool) -> Vec<u8> {
    let mut texts: Vec<String> = records
        .iter()
        .map(|record| match form {
            Form::Lines => format!("{record}\n"),
            Form::Array => format!("{record},"),
            Form::ArrayOverLines => format!("{record:#},\n"),
            Form::Pretty => format!("{record:#}\n"),
        })
        .collect();
    if let Form::Array | Form::ArrayOverLines = form {
        texts.first_mut().unwrap().insert(0, '[');
        let end = texts.last_mut().unwrap();
        end.truncate(end.rfind(',').unwrap());
        end.push(']');
    }
    if plain {
        return texts.concat().into_bytes();
    }
    let mut stored = Vec::new();
    for member in texts.chunks(members) {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        for block in member.concat().as_bytes().chunks(blocks) {
            encoder.write_all(block).unwrap();
            encoder.flush().unwrap();
        }
        stored.extend(encoder.finish().unwrap());
    }
    stored
}

proptest! {
    /// Whoever goes on at a checkpoint, as it was kept, gives what whoever settled as much gives that reads all of it; damage
    /// is found all the same. Pauses change nothing.
    #[test]
    fn an_object_is_gone_on_with_at_any_checkpoint(
        texts in prop::collection::vec(("[a-z\"é]{0,200}", prop::option::of(1_u32..1000)), 1..60),
        form in prop::sample::select(&[Form::Lines, Form::Array, Form::ArrayOverLines, Form::Pretty][..]),
        cuts in (1_usize..80, 20_usize..2000), plain: bool, every in 100_u64..3000, piece in 1_usize..500,
        damaged: bool, pause_after in 1_usize..20,
    ) {
        let record = |(at, (text, time)): (usize, &(String, Option<u32>))| {
            // Not all records have a time, and some are none.
            let mut record = serde_json::json!({ "message": format!("{at} {text}") });
            if let Some(time) = time {
                record["timestamp"] = serde_json::json!(time);
            }
            if at % 17 == 16 { serde_json::json!([at]) } else { record }
        };
        let records: Vec<_> = texts.iter().enumerate().map(record).collect();
        let mut stored = object(&records, form, cuts, plain);
        if damaged && !plain {
            let crc = stored.len() - 8;
            stored[crc] ^= 1;
        }
        let whole = run_at(&stored, piece, Progress::default(), (every, None), usize::MAX);
        prop_assert_eq!(whole.end.is_err(), damaged && !plain);
        for checkpoint in &whole.checkpoints {
            let kept = Checkpoint::from_bytes(&checkpoint.to_bytes());
            prop_assert_eq!(kept.as_ref(), Some(&**checkpoint));
            let settled = Progress::new(Position { ordinal: checkpoint.next(), part: 0 }, []);
            let read = run_at(&stored, piece, settled.clone(), (every, None), usize::MAX);
            let resumed = run_at(&stored, piece, settled, (every, kept.map(Arc::new)), usize::MAX);
            prop_assert_eq!(resumed.end.is_err(), read.end.is_err());
            if read.end.is_ok() {
                // How much is given before damage is noticed depends on the pieces.
                prop_assert_eq!(events(&resumed.bodies), events(&read.bodies));
                prop_assert_eq!(&resumed.tally, &read.tally);
            }
            prop_assert!(resumed.bytes < read.bytes || checkpoint.decompressed == 0);
        }
        let paused = run_at(&stored, piece.max(300), Progress::default(), (every, None), pause_after.max(12));
        prop_assert_eq!(paused.end.is_err(), whole.end.is_err());
        if whole.end.is_ok() {
            prop_assert_eq!(events(&paused.bodies), events(&whole.bodies));
            prop_assert_eq!((&paused.tally, paused.bytes), (&whole.tally, whole.bytes));
        }
    }
}

#[test]
fn a_checkpoint_that_is_not_whole_is_none() {
    let records: Vec<_> = (0..1000).map(|at| serde_json::json!({ "message": at })).collect();
    let stored = object(&records, Form::Lines, (1000, 100), false);
    let made = run_at(&stored, 1000, Progress::default(), (2000, None), usize::MAX);
    let kept = made.checkpoints.last().unwrap().to_bytes();
    assert!(made.checkpoints.len() > 3 && kept.len() < 10_000, "{} {}", made.checkpoints.len(), kept.len());
    for at in 0..kept.len() {
        assert_eq!(Checkpoint::from_bytes(&kept[..at]), None);
        let mut damaged = kept.clone();
        damaged[at] ^= 1;
        assert_eq!(Checkpoint::from_bytes(&damaged), None);
    }
}

#[test]
fn a_small_object_is_decoded_in_one_go() {
    let stored = gzip(&b"{\"message\":\"x\"}\n".repeat(1000));
    let budget = Budget::new(256 << 20, RECORD_BYTES_MAX as u64).unwrap();
    let budget = budget.lane(&TenantId::try_from("acme").unwrap(), 0);
    for (stored_bytes, in_one_go) in [(stored.len(), true), (stored.len() + 1, false)] {
        let mut machine = Machine::new(Batcher::new(BatchLimits::default(), "/acme", "pod"), RECORD_BYTES_MAX);
        machine.begin(SegmentId(0), stored_bytes as u64, UnixMillis(7), Progress::default());
        machine.push(stored.clone().into());
        assert_eq!(Worker::new().turn(&mut machine, &budget, SendWindow::ALL), Rest::Input);
        let run = machine.run.as_ref().unwrap();
        // Who decodes in one go leaves the streaming decoder as it was.
        let untouched = format!("{:?}", run.decoder) == format!("{:?}", Decoder::with_window(WINDOW_FREE_BYTES));
        assert_eq!((run.decoded, run.count.good, untouched), (stored.len() as u64, 1000, in_one_go));
    }
}
