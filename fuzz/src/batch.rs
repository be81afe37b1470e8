//! The batcher beside the obviously right one: the same deeds, the same answers, the same bytes.

use millrace::core::batch::reference::{self, Packed, Request};
use millrace::core::batch::{
    BATCH_BYTES_MAX, Batch, BatchLimits, Batcher, EVENT_OVERHEAD_BYTES, Event, Fed, PACK_BYTES_MIN, Packer,
    SPAN_MILLIS_MAX, SegmentId, SegmentShare, SendWindow,
};
use serde_json::Value;

/// Segments that a target uses.
pub const SEGMENTS: u64 = 3;

/// Asserts what holds for every batch: the API's limits and the settings', a body that is JSON and says what is counted,
/// and the order of time. Gives the texts.
pub fn within_limits(batch: &Batch, limits: &BatchLimits) -> Vec<String> {
    assert!((1..=limits.events_max).contains(&batch.events()));
    assert!(batch.billed_bytes() <= BATCH_BYTES_MAX);
    assert!(batch.body().len() <= limits.wire_bytes_max || batch.events() == 1);
    let (first, last) = batch.span().expect("a batch has events");
    assert!(i128::from(last.0) - i128::from(first.0) <= i128::from(SPAN_MILLIS_MAX));
    let body: Value = serde_json::from_slice(batch.body()).expect("what is sent is JSON");
    let events = body["logEvents"].as_array().expect("events");
    assert_eq!(events.len(), batch.events());
    let times: Vec<i64> = events.iter().map(|event| event["timestamp"].as_i64().expect("a time")).collect();
    assert!(times.is_sorted() && times.iter().copied().eq(batch.origins().map(|origin| origin.timestamp.0)));
    let texts: Vec<String> = events.iter().map(|event| event["message"].as_str().expect("a text").to_owned()).collect();
    assert!(texts.iter().all(|text| (1..=limits.event_bytes_max).contains(&text.len())));
    assert_eq!(texts.iter().map(|text| text.len() + EVENT_OVERHEAD_BYTES).sum::<usize>(), batch.billed_bytes());
    texts
}

/// Both batchers, and the count of events that went in and came out.
#[derive(Debug)]
pub struct Pair {
    limits: BatchLimits,
    window: SendWindow,
    batcher: Batcher,
    naive: reference::Batcher,
    taken: u64,
    left: u64,
}

impl Pair {
    /// Two empty batchers.
    #[must_use]
    pub fn new(limits: BatchLimits, window: SendWindow) -> Self {
        let batcher = Batcher::new(limits, "group", "stream");
        let naive = reference::Batcher::new(limits, "group", "stream");
        Self { limits, window, batcher, naive, taken: 0, left: 0 }
    }

    /// Feeds an event whole, sealing as often as it needs.
    pub fn feed(&mut self, segment: SegmentId, mut event: Event<'_>) {
        self.batcher.begin_segment(segment);
        loop {
            let memory = self.batcher.memory_with(&event.message, event.wide);
            let fed = self.batcher.feed(&event);
            if fed == Fed::Wide {
                assert!(!event.wide, "wide is wide enough");
                assert!(memory <= self.batcher.memory_with(&event.message, true));
                event.wide = true;
                continue;
            }
            assert_eq!(fed, self.naive.feed(segment, &event));
            assert_eq!(self.batcher.events(), self.naive.events().len());
            assert_eq!(self.batcher.is_empty(), self.naive.events().is_empty());
            match fed {
                Fed::Taken { parts } => {
                    self.taken += u64::from(parts);
                    return;
                }
                Fed::PartTaken { parts, next } => {
                    assert_eq!(next, event.from_part + parts);
                    self.taken += u64::from(parts);
                    event.from_part = next;
                    self.seal();
                }
                Fed::Full => {
                    assert!(!self.batcher.is_empty(), "an empty group takes any event");
                    self.seal();
                }
                Fed::Wide | Fed::Dropped(_) | Fed::Bad(_) => return,
            }
        }
    }

    /// Takes a segment's events out of the open group.
    pub fn abandon(&mut self, segment: SegmentId) {
        let gone = self.batcher.abandon_unsealed(segment);
        assert_eq!(gone, self.naive.abandon(segment));
        assert_eq!(self.batcher.events(), self.naive.events().len());
        self.left += gone;
    }

    /// Seals both: bodies, origins, shares, halves and rests agree, and every event that went in is accounted for.
    pub fn seal(&mut self) {
        let sealed = self.batcher.seal(self.window);
        let expected = self.naive.seal(self.window);
        assert_eq!(sealed.batches.len(), expected.requests.len());
        for (batch, request) in sealed.batches.into_iter().zip(&expected.requests) {
            self.left += batch.events() as u64;
            self.batch(batch, request);
        }
        self.left += (expected.too_old.len() + expected.too_new.len()) as u64;
        for segment in (0..SEGMENTS).map(SegmentId) {
            let of = |events: &[Packed]| events.iter().filter(|it| it.origin.segment == segment).count() as u64;
            let sum = |share: fn(&SegmentShare) -> u64| {
                sealed.shares.iter().filter(|it| it.segment == segment).map(share).sum::<u64>()
            };
            assert_eq!(sum(|share| share.too_old), of(&expected.too_old));
            assert_eq!(sum(|share| share.too_new), of(&expected.too_new));
            assert_eq!(sum(|share| share.sent), expected.requests.iter().map(|it| of(&it.events)).sum::<u64>());
        }
        assert!(self.batcher.is_empty());
        assert_eq!(self.taken, self.left, "taken = in batches + out of the window + abandoned");
    }

    fn batch(&self, mut batch: Batch, request: &Request) {
        self.agree(&batch, request);
        // The body's way through the HTTP client and back, packed if it is worth it.
        batch.finish(Some(&mut Packer::default()));
        assert_eq!(batch.is_packed(), request.body.len() >= PACK_BYTES_MIN);
        let body = batch.take_body();
        batch.restore_body(body);
        let halves = batch.bisect();
        assert_eq!(halves.is_some(), request.events.len() > 1);
        if let Some((left, right)) = halves {
            let (earlier, later) = request.events.split_at(request.events.len() / 2);
            self.agree(&left, &self.naive.request(earlier));
            self.agree(&right, &self.naive.request(later));
        }
        let rest: Vec<Packed> = request.events.iter().filter(|it| it.origin.segment.0 != 1).cloned().collect();
        batch.finish(Some(&mut Packer::default()));
        let (left, taken) = batch.sift(|origin| origin.segment.0 == 1);
        assert_eq!(taken.len() + rest.len(), request.events.len());
        match left {
            // What nothing was taken from is as it was.
            Some(batch) if batch.is_packed() => assert!(taken.is_empty()),
            Some(batch) => self.agree(&batch, &self.naive.request(&rest)),
            None => assert!(rest.is_empty()),
        }
    }

    fn agree(&self, batch: &Batch, request: &Request) {
        assert_eq!(std::str::from_utf8(batch.body()).expect("UTF-8"), request.body);
        assert!(batch.origins().eq(request.events.iter().map(|it| it.origin)));
        assert_eq!(batch.billed_bytes(), request.billed_bytes());
        assert!(within_limits(batch, &self.limits).iter().eq(request.events.iter().map(|it| &it.text)));
    }
}
