//! Objects that are made to be slow: all of each goes the exact way that the fast one leaves what it cannot do to.

use std::io::Write as _;

use bytes::Bytes;
use flate2::write::GzEncoder;
use flate2::{Compress, Compression, FlushCompress};

use crate::clock::{median, rounds};
use crate::figures::{Figures, Gate, Target};
use crate::ours::Ours;
use crate::sets::{Kind, Set};
use crate::stages::plain;

/// Objects of a set, and rounds.
const OBJECTS: u64 = 2;
const ROUNDS: usize = 5;
/// Decompressed bytes of blocks, each with codes of its own.
const BLOCK_BYTES: [usize; 3] = [64, 512, 4_096];

/// What is done to a record's text.
type Way = fn(&str) -> Vec<u8>;

/// The ways to be slow.
const WAYS: [(&str, Way); 7] = [
    ("an escape in a key", |line| line.replacen("\"message\":", "\"m\\u0065ssage\":", 1).into()),
    ("a key twice", |line| line.replacen("{\"", "{\"message\":\"\",\"", 1).into()),
    ("a control character every eight bytes", |line| in_message(line, b"\x01", 8)),
    ("no UTF-8 every eight bytes", |line| in_message(line, b"\xff", 8)),
    ("a long escape every eight bytes", |line| in_message(line, b"\\u00e9", 8)),
    ("a record without its end every other line", |line| {
        let half = line.len() / 2;
        [line.as_bytes(), b"\n", line.as_bytes().get(..half).unwrap_or_default()].concat()
    }),
    ("another member in front, of every name", |line| {
        let odd = line.len() * 31 % 10_007;
        line.replacen('{', &format!("{{\"k{odd}\":[{{\"a\":[[{odd}]]}},\"\\\\\"],"), 1).into()
    }),
];

/// Puts something into a message again and again.
fn in_message(line: &str, what: &[u8], every: usize) -> Vec<u8> {
    let (head, rest) = line.split_once("\"message\":\"").unwrap();
    let (message, tail) = rest.split_once("\",\"").unwrap();
    let mut made = format!("{head}\"message\":\"").into_bytes();
    // Not within an escape.
    for piece in message.as_bytes().chunks(every) {
        if !piece.contains(&b'\\') && made.last() != Some(&b'\\') {
            made.extend_from_slice(what);
        }
        made.extend_from_slice(piece);
    }
    made.extend_from_slice(b"\",\"");
    made.extend_from_slice(tail.as_bytes());
    made
}

/// Says how many times as long a byte takes as one of a usual object.
pub(crate) fn say(figures: &mut Figures) {
    let usual = Set::of(Kind::Long, OBJECTS);
    let texts = plain(&usual);
    let mut worst: f64 = 0.0;
    for (name, way) in WAYS {
        let set = changed(&texts, way);
        let times = compared(&usual, &set, |set| set.bytes as f64);
        println!("  {name:<44} {times:>5.2} times the time for a byte");
        worst = worst.max(times);
    }
    figures.add("hostile_records", worst, "times", Target::AtMost(5.0), Gate::Ratio);
    // To send such bytes costs as much as to send any.
    let stored = |set: &Set| set.stored.iter().map(Bytes::len).sum::<usize>() as f64;
    let mut worst: f64 = 0.0;
    for bytes in BLOCK_BYTES {
        let set = in_blocks(&texts, bytes);
        let by_stored = compared(&usual, &set, stored);
        let by_decompressed = by_stored * stored(&set) / stored(&usual) * usual.bytes as f64 / set.bytes as f64;
        println!(
            "  codes of their own for {bytes} bytes: {by_stored:.2} times for a stored byte, {by_decompressed:.2} for one decompressed"
        );
        worst = worst.max(by_stored);
    }
    figures.add("hostile_blocks", worst, "times", Target::AtMost(5.0), Gate::Ratio);
}

fn compared(usual: &Set, set: &Set, bytes: impl Fn(&Set) -> f64) -> f64 {
    let (mut ours, mut theirs) = (Ours::new(), Ours::new());
    let times = rounds(ROUNDS, [&mut || _ = ours.run(usual, |_| {}), &mut || _ = theirs.run(set, |_| {})]);
    median(&times, |[ours, theirs]| (theirs / bytes(set)) / (ours / bytes(usual)))
}

/// The same records, each changed.
fn changed(texts: &Set, way: Way) -> Set {
    let mut set = Set::default();
    for text in &texts.stored {
        let mut made = Vec::new();
        for line in std::str::from_utf8(text).unwrap().lines() {
            made.extend(way(line));
            made.push(b'\n');
        }
        let mut gzip = GzEncoder::new(Vec::new(), Compression::new(6));
        gzip.write_all(&made).unwrap();
        set.add(gzip.finish().unwrap().into(), made.len() as u64, 0);
    }
    set
}

/// The same text in blocks that each have codes of their own.
fn in_blocks(texts: &Set, block_bytes: usize) -> Set {
    let mut set = Set::default();
    for text in &texts.stored {
        let mut object = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
        let mut deflate = Compress::new(Compression::new(6), false);
        object.reserve(4 * text.len());
        for piece in text.chunks(block_bytes) {
            deflate.compress_vec(piece, &mut object, FlushCompress::Full).unwrap();
        }
        deflate.compress_vec(&[], &mut object, FlushCompress::Finish).unwrap();
        let mut crc = flate2::Crc::new();
        crc.update(text);
        object.extend(crc.sum().to_le_bytes());
        object.extend(crc.amount().to_le_bytes());
        set.add(object.into(), text.len() as u64, 0);
    }
    set
}
