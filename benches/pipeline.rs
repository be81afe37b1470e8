//! One core's way from stored bytes to request bodies, beside its parts and its ceiling.
//!
//! All figures are of one set of objects and count its decompressed bytes, so they compare. `path` is what a compute
//! thread does, driven by hand: the same [`Worker`] and [`Machine`], without a lane, a reader or a sender.

#![expect(clippy::unwrap_used, reason = "a bench that cannot make its objects has nothing to measure")]

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use loadgen::{Compression, MessageSpec, ObjectSize, ObjectSource, ObjectSpec};
use millrace::core::batch::{BatchLimits, Batcher, SegmentId, SendWindow};
use millrace::core::decode::{Decoder, Engine, Window};
use millrace::core::progress::Progress;
use millrace::core::scan::{RECORD_BYTES_MAX, ScanLimits, Scanner, Step};
use millrace::core::tenant::TenantId;
use millrace::core::time::UnixMillis;
use millrace::pipeline::budget::{Budget, CHUNK_BYTES, LaneBudget};
use millrace::pipeline::machine::{Machine, Rest, WINDOW_BYTES, Worker};

/// Decompressed bytes of a set.
const SET_BYTES: u64 = 32 << 20;
/// Decompressed bytes of one large object: many windows and several batches.
const LARGE_BYTES: u64 = 4 << 20;
/// Decompressed bytes of one small object: what a quiet pod writes in a few minutes.
const SMALL_BYTES: u64 = 40_000;
/// What Vector's gzip uses when its configuration names no level.
const VECTOR_GZIP_LEVEL: u32 = 6;
/// Message lengths with which a record has 1.2 KB.
const MESSAGE_BYTES: std::ops::RangeInclusive<usize> = 400..=900;
/// Growth for a batch of any kind: the bench does not measure a scarce budget.
const BUDGET_BYTES: u64 = 256 << 20;

/// Objects as stored, and their text.
struct Set {
    stored: Vec<Bytes>,
    plain: Vec<Vec<u8>>,
    bytes: u64,
    records: u64,
}

impl Set {
    fn of(object_bytes: u64) -> Self {
        let message = MessageSpec {
            min_bytes: *MESSAGE_BYTES.start(),
            max_bytes: *MESSAGE_BYTES.end(),
            ..MessageSpec::default()
        };
        let spec = ObjectSpec {
            objects: SET_BYTES.div_ceil(object_bytes),
            size: ObjectSize::Bytes(object_bytes),
            compression: Compression::Gzip(VECTOR_GZIP_LEVEL),
            message,
            ..ObjectSpec::default()
        };
        let source = ObjectSource::new(spec).unwrap();
        let mut set = Self { stored: Vec::new(), plain: Vec::new(), bytes: 0, records: 0 };
        for object in source.objects(0..source.count()) {
            let mut plain = vec![0; usize::try_from(object.decompressed_bytes).unwrap()];
            libdeflater::Decompressor::new().gzip_decompress(&object.body, &mut plain).unwrap();
            set.plain.push(plain);
            set.stored.push(object.body.into());
            set.bytes += object.decompressed_bytes;
            set.records += object.recipe.records;
        }
        set
    }
}

/// Our streaming decoder alone, into one window that stays in the cache.
fn decode(set: &Set, engine: Engine, window: &mut Window) {
    for object in &set.stored {
        let mut decoder = Decoder::new().with_engine(engine);
        let mut rest = &object[..];
        while !rest.is_empty() || decoder.pending() {
            let (buffer, at) = window.room(decoder.reaches(), WINDOW_BYTES);
            let progress = decoder.decode(rest, buffer, at).unwrap();
            rest = &rest[progress.consumed..];
            window.fill(progress.produced);
            black_box(window.filled());
            window.scanned_to(window.filled().len());
        }
        decoder.finish().unwrap();
    }
}

/// libdeflate on whole objects, into a buffer that is used again and again: the ceiling of any decoder here.
fn ceiling(set: &Set, out: &mut [u8]) {
    let mut inflate = libdeflater::Decompressor::new();
    for object in &set.stored {
        let made = inflate.gzip_decompress(object, out).unwrap();
        black_box(&out[..made]);
    }
}

/// The scanner alone, over windows of text.
fn scan(texts: &[Vec<u8>]) -> u64 {
    let mut records = 0;
    for plain in texts {
        let mut scanner = Scanner::new(ScanLimits::default());
        let (mut from, mut to) = (0, 0);
        loop {
            to = (to + WINDOW_BYTES).min(plain.len());
            let last = to == plain.len();
            let mut at = 0;
            let ended = loop {
                let (step, next) = scanner.next(&plain[from..to], at, last);
                at = next;
                match step {
                    Step::Record(record) => records += u64::from(!black_box(record).text.is_empty()),
                    Step::Bad(_) => {}
                    Step::NeedMore => break false,
                    Step::End => break true,
                }
            };
            if ended {
                break;
            }
            from += at;
        }
    }
    records
}

/// The set's texts with an escape in one key of each record, so that none takes the scanner's short way.
fn unusual(set: &Set) -> Vec<Vec<u8>> {
    let escaped = |text: &Vec<u8>| {
        let text = String::from_utf8_lossy(text).replace("\"message\":", "\"m\\u0065ssage\":");
        text.into_bytes()
    };
    set.plain.iter().map(escaped).collect()
}

/// Each record's text.
fn records(texts: &[Vec<u8>]) -> Vec<&[u8]> {
    let mut records = Vec::new();
    for text in texts {
        let (mut scanner, mut at) = (Scanner::new(ScanLimits::default()), 0);
        loop {
            let (step, next) = scanner.next(text, at, true);
            at = next;
            match step {
                Step::Record(record) => records.push(record.text),
                Step::Bad(_) | Step::NeedMore => {}
                Step::End => break,
            }
        }
    }
    records
}

/// What simd-json would cost there: each record copied, since it changes what it reads, and read to a tape.
fn tapes(records: &[&[u8]], copy: &mut Vec<u8>, buffers: &mut simd_json::Buffers) {
    for record in records {
        copy.clear();
        copy.extend_from_slice(record);
        black_box(simd_json::to_tape_with_buffers(copy, buffers).unwrap());
    }
}

/// Decode, scan and batch, as a lane has it done for one object after the other. Whose size is not `known` is streamed.
fn path(set: &Set, worker: &mut Worker, machine: &mut Machine, budget: &LaneBudget, known: bool) -> u64 {
    let chunk_bytes = usize::try_from(CHUNK_BYTES).unwrap();
    let mut good = 0;
    for (number, object) in set.stored.iter().enumerate() {
        let stored_bytes = if known { object.len() as u64 } else { 0 };
        machine.begin(SegmentId(number as u64), stored_bytes, UnixMillis(0), Progress::default());
        let mut rest = object.clone();
        loop {
            match worker.turn(machine, budget, SendWindow::ALL) {
                Rest::Turn => {}
                Rest::Input if rest.is_empty() => machine.end_of_input(),
                Rest::Input => machine.push(rest.split_to(rest.len().min(chunk_bytes))),
                Rest::Sealed => drop(black_box(machine.take_sealed())),
                Rest::ObjectEnd(end) => break end.unwrap(),
                Rest::Growth(_) | Rest::Carry | Rest::BigRecord => {
                    unreachable!("the budget is ample, records are short")
                }
            }
        }
        good += machine.take_count().good;
        machine.finish();
    }
    machine.seal(SendWindow::ALL);
    drop(black_box(machine.take_sealed()));
    good
}

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, set: &Set) {
    group.throughput(Throughput::Bytes(set.bytes));
    let mut window = Window::new(WINDOW_BYTES);
    for (name, engine) in [("decode", Engine::Own), ("decode-zlib-rs", Engine::Zlib)] {
        group.bench_function(name, |bencher| bencher.iter(|| decode(set, engine, &mut window)));
    }
    let mut out = vec![0; set.plain.iter().map(Vec::len).max().unwrap()];
    group.bench_function("ceiling", |bencher| bencher.iter(|| ceiling(set, &mut out)));
    assert_eq!(scan(&set.plain), set.records);
    group.bench_function("scan", |bencher| bencher.iter(|| scan(&set.plain)));
    let unusual = unusual(set);
    assert_eq!(scan(&unusual), set.records);
    group.bench_function("scan-exact", |bencher| bencher.iter(|| scan(&unusual)));
    let (records, mut copy, mut buffers) = (records(&unusual), Vec::new(), simd_json::Buffers::default());
    assert_eq!(records.len() as u64, set.records);
    group.bench_function("simd-json", |bencher| bencher.iter(|| tapes(&records, &mut copy, &mut buffers)));

    let budget = Budget::new(BUDGET_BYTES, RECORD_BYTES_MAX as u64).unwrap();
    let budget = budget.lane(&TenantId::try_from("acme").unwrap(), 0);
    let mut machine = Machine::new(Batcher::new(BatchLimits::default(), "/acme/logs", "pod-0"), RECORD_BYTES_MAX);
    let mut worker = Worker::new();
    for (name, known) in [("path", true), ("path-streamed", false)] {
        assert_eq!(path(set, &mut worker, &mut machine, &budget, known), set.records);
        group.bench_function(name, |bencher| bencher.iter(|| path(set, &mut worker, &mut machine, &budget, known)));
    }
}

fn pipeline(criterion: &mut Criterion) {
    for (name, object_bytes) in [("large", LARGE_BYTES), ("small", SMALL_BYTES)] {
        let set = Set::of(object_bytes);
        let mut group = criterion.benchmark_group(name);
        group.sample_size(20).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4));
        measure(&mut group, &set);
        group.finish();
    }
}

criterion_group!(benches, pipeline);
criterion_main!(benches);
