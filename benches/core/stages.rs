//! What each stage takes by itself, beside the whole, all in MB/s of decompressed bytes. By itself a stage finds its text and bodies
//! in memory, and in the whole in the cache: so the whole is faster than the stages' times come to.

use std::hint::black_box;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use libdeflater::{CompressionLvl, Compressor};
use millrace::core::decode::{Decoder, Engine, Window};
use millrace::core::scan::{ScanLimits, Scanner, Step};
use millrace::pipeline::budget::WINDOW_BYTES;
use sha2::{Digest as _, Sha256};

use crate::clock::{median, rounds};
use crate::ours::Ours;
use crate::sets::{Kind, Set, plain};

/// Rounds.
const ROUNDS: usize = 7;
const MB: f64 = 1e6;

/// A stage's name, and what it takes of each set.
const STAGES: [&str; 9] = [
    "all",
    "all, compressed",
    "decode",
    "  by zlib-rs",
    "  by libdeflate, whole",
    "scan",
    "scan and batch",
    "hash",
    "compress",
];

/// Says what the stages of a set take.
pub(crate) fn say(kind: Kind, objects: u64) {
    let set = Set::of(kind, objects);
    let plain = plain(&set);
    let (mut ours, mut packing, mut of_text) = (Ours::new(), Ours::new().packing(), Ours::new().unfinished());
    let (mut bodies, mut packed) = (Vec::new(), 0);
    ours.run(&set, |body| bodies.push(body.to_vec()));
    packing.run(&set, |body| packed += body.len());
    let mut windows = [Window::new(WINDOW_BYTES), Window::new(WINDOW_BYTES)];
    let [own, other] = &mut windows;
    let (mut inflate, mut out) = (libdeflater::Decompressor::new(), vec![0; set.largest]);
    let mut deflate = Compressor::new(CompressionLvl::new(1).unwrap());
    let longest = bodies.iter().map(Vec::len).max().unwrap_or(0);
    let mut room = vec![0; deflate.gzip_compress_bound(longest)];
    let mut hash = || bodies.iter().for_each(|body| _ = black_box(Sha256::digest(body)));
    let mut compress = || bodies.iter().for_each(|body| _ = black_box(deflate.gzip_compress(body, &mut room).unwrap()));
    let times = rounds(
        ROUNDS,
        [
            &mut || _ = ours.run(&set, |_| {}),
            &mut || _ = packing.run(&set, |_| {}),
            &mut || decode(&set, Engine::Own, own),
            &mut || decode(&set, Engine::Zlib, other),
            &mut || {
                for object in &set.stored {
                    let made = inflate.gzip_decompress(object, &mut out).unwrap();
                    black_box(&out[..made]);
                }
            },
            &mut || scan(&plain),
            &mut || _ = of_text.run(&plain, |_| {}),
            &mut hash,
            &mut compress,
        ],
    );
    let body_bytes: usize = bodies.iter().map(Vec::len).sum();
    println!(
        "{}: {:.2} of the bytes in bodies; compressed these are {:.3}",
        kind.name(),
        body_bytes as f64 / set.bytes as f64,
        packed as f64 / body_bytes as f64
    );
    for (at, name) in STAGES.iter().enumerate() {
        println!("  {name:<24} {:>7.0} MB/s", set.bytes as f64 / MB / median(&times, |round| round[at]));
    }
}

/// Encoders of request bodies: the time for a MiB, and what it becomes.
pub(crate) fn encoders(kind: Kind, objects: u64) {
    let set = Set::of(kind, objects);
    let mut bodies = Vec::new();
    Ours::new().run(&set, |body| bodies.push(body.to_vec()));
    let bytes: usize = bodies.iter().map(Vec::len).sum();
    let level = |level| CompressionLvl::new(level).unwrap();
    let mut made = [0; 4];
    let [first, second, third, fourth] = &mut made;
    let by_libdeflate = |lvl: CompressionLvl, made: &mut usize| {
        let mut deflate = Compressor::new(lvl);
        *made = 0;
        for body in &bodies {
            let mut room = vec![0; deflate.gzip_compress_bound(body.len())];
            *made += deflate.gzip_compress(body, &mut room).unwrap();
        }
    };
    let by_zlib_rs = |lvl: u32, made: &mut usize| {
        *made = 0;
        for body in &bodies {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::new(lvl));
            gzip.write_all(body).unwrap();
            *made += gzip.finish().unwrap().len();
        }
    };
    let times = rounds(
        ROUNDS,
        [
            &mut || by_libdeflate(level(1), first),
            &mut || by_libdeflate(level(3), second),
            &mut || by_zlib_rs(1, third),
            &mut || by_zlib_rs(3, fourth),
        ],
    );
    println!("{}: encoders of bodies", kind.name());
    let names = ["libdeflate 1", "libdeflate 3", "zlib-rs 1", "zlib-rs 3"];
    for (at, name) in names.iter().enumerate() {
        let seconds = median(&times, |round| round[at]);
        println!(
            "  {name:<14} {:>6.2} ms a MiB, to {:.3}",
            seconds * 1e3 / (bytes as f64 / f64::from(1 << 20)),
            made[at] as f64 / bytes as f64
        );
    }
}

/// A streaming decoder alone, into a window that stays in the cache.
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

/// The scanner alone, over windows of text.
fn scan(plain: &Set) {
    for text in &plain.stored {
        let mut scanner = Scanner::new(ScanLimits::default());
        let (mut from, mut to) = (0, 0);
        loop {
            to = (to + WINDOW_BYTES).min(text.len());
            let last = to == text.len();
            let mut at = 0;
            let ended = loop {
                let (step, next) = scanner.next(&text[from..to], at, last);
                at = next;
                match step {
                    Step::Record(record) => _ = black_box(record),
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
}
