use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;
use crate::core::batch::BatchLimits;
use crate::core::scan::RECORD_BYTES_MAX;
use crate::core::tenant::TenantId;
use crate::pipeline::budget::Budget;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// The bodies that an object gives, how it ended, and how many records and bytes were counted.
fn run(stored: &[u8], piece: usize) -> (Vec<Vec<u8>>, Result<(), DecodeFault>, u64, u64) {
    let budget = Budget::new(256 << 20, RECORD_BYTES_MAX as u64).unwrap();
    let budget = budget.lane(&TenantId::try_from("acme").unwrap(), 0);
    let mut machine = Machine::new(Batcher::new(BatchLimits::default(), "/acme", "pod"), RECORD_BYTES_MAX);
    let mut worker = Worker::new();
    machine.begin(SegmentId(0), stored.len() as u64, UnixMillis(7), Position::default());
    let mut pieces = stored.chunks(piece);
    let (mut bodies, mut records, mut bytes) = (Vec::new(), 0, 0);
    let mut take = |machine: &mut Machine| {
        let group = machine.take_sealed();
        bodies.extend(group.into_iter().flat_map(|group| group.sealed.batches).map(|batch| batch.body().to_vec()));
    };
    let end = loop {
        let rest = worker.turn(&mut machine, &budget, SendWindow::ALL);
        let count = machine.take_count();
        (records, bytes) = (records + count.good, bytes + count.bytes);
        match rest {
            Rest::Turn => {}
            Rest::Input => match pieces.next() {
                Some(piece) => machine.push(Bytes::copy_from_slice(piece)),
                None => machine.end_of_input(),
            },
            Rest::Sealed => take(&mut machine),
            Rest::ObjectEnd(end) => break end,
            Rest::Growth(_) | Rest::Carry | Rest::BigRecord => unreachable!("the budget is ample"),
        }
    };
    machine.finish();
    machine.seal(SendWindow::ALL);
    take(&mut machine);
    (bodies, end, records, bytes)
}

proptest! {
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
        if let Some(damage) = damage.filter(|_| !stored.is_empty()) {
            let at = damage.index(stored.len());
            stored[at] ^= 1;
        }
        let (whole, pieces) = (run(&stored, stored.len().max(1)), run(&stored, 7));
        if let Err(DecodeFault::Damaged { .. }) = whole.1 {
            // Where it is noticed depends on the pieces, and so does what was decoded before.
            prop_assert!(matches!(pieces.1, Err(DecodeFault::Damaged { .. })), "{:?}", pieces.1);
        } else {
            prop_assert_eq!(whole, pieces);
        }
    }
}

#[test]
fn a_small_object_is_decoded_in_one_go() {
    let stored = gzip(&b"{\"message\":\"x\"}\n".repeat(1000));
    let budget = Budget::new(256 << 20, RECORD_BYTES_MAX as u64).unwrap();
    let budget = budget.lane(&TenantId::try_from("acme").unwrap(), 0);
    for (stored_bytes, in_one_go) in [(stored.len(), true), (stored.len() + 1, false)] {
        let mut machine = Machine::new(Batcher::new(BatchLimits::default(), "/acme", "pod"), RECORD_BYTES_MAX);
        machine.begin(SegmentId(0), stored_bytes as u64, UnixMillis(7), Position::default());
        machine.push(stored.clone().into());
        assert_eq!(Worker::new().turn(&mut machine, &budget, SendWindow::ALL), Rest::Input);
        let run = machine.run.as_ref().unwrap();
        // Who decodes in one go leaves the streaming decoder as it was.
        let untouched = format!("{:?}", run.decoder) == format!("{:?}", Decoder::new());
        assert_eq!((run.decoded, run.count.good, untouched), (stored.len() as u64, 1000, in_one_go));
    }
}
