//! Objects that are made to be slow: all of each goes the exact way that the fast one leaves what it cannot do to.

use std::io::Write as _;

use bytes::Bytes;
use flate2::write::GzEncoder;
use flate2::{Compress, Compression, FlushCompress};

use crate::clock::{median, rounds};
use crate::figures::{Figures, Gate, Target};
use crate::ours::Ours;
use crate::sets::{Kind, Set, plain};

/// Objects of a set, and rounds.
const OBJECTS: u64 = 2;
const ROUNDS: usize = 5;
/// Decompressed bytes of blocks, each with codes of its own.
const BLOCK_BYTES: [usize; 3] = [64, 512, 4_096];

/// Members, or frames, of nothing.
const EMPTY: usize = 200_000;
/// Decompressed bytes of a text of nothing else.
const TEXT_BYTES: usize = 16 << 20;
/// Bytes of a long message.
const LONG_BYTES: usize = 15 << 20;

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

/// Makes a text.
type Text = fn() -> Vec<u8>;

/// Texts that are nothing but one thing.
const TEXTS: [(&str, Text); 29] = [
    ("escapes in forty keys", || {
        fill(&[b"{", &br#""\u006d\u0065":1,"#.repeat(40)[..], b"\"message\":\"m\"}\n"].concat())
    }),
    ("a message that is an object of sixty keys", || fill(&behind_message(&keys(60)))),
    ("no message, sixty keys: sent whole", || fill(&[&keys(60)[..], b"\n"].concat())),
    ("no message, sixty keys, a time: sent without", || fill(&[b"{\"timestamp\":5,", &keys(60)[1..], b"\n"].concat())),
    ("no message, sixty keys, blanks: sent without", || {
        fill(&[&keys(60).split(|byte| *byte == b',').collect::<Vec<_>>().join(&b", "[..]), &b"\n"[..]].concat())
    }),
    ("no message, one long key: sent whole", || fill(&[b"{\"", &[b'k'; 600][..], b"\":1}\n"].concat())),
    ("every character escaped", || fill(&of_message(&br"\u0041".repeat(100)))),
    ("every character a quote", || fill(&of_message(&br#"\""#.repeat(300)))),
    ("control characters", || fill(&of_message(&[1; 600]))),
    ("no UTF-8", || fill(&of_message(&[0xff; 600]))),
    ("empty messages", || fill(&of_message(b""))),
    ("messages of one character", || fill(b"{\"message\":\"m\"}\n")),
    ("{}", || fill(b"{}")),
    ("bad lines of one character", || fill(b"x\n")),
    ("an array of 1", || [b"[", &fill(b"1,")[..]].concat()),
    ("empty lines", || fill(b"\n")),
    ("a message of 15 MiB", || of_message(&vec![b'x'; LONG_BYTES])),
    ("a message of 15 MiB, all escapes", || of_message(&br"\n".repeat(LONG_BYTES / 2))),
    ("a message of 15 MiB, no UTF-8", || of_message(&vec![0xff; LONG_BYTES])),
    ("a message of a million keys", || behind_message(&keys(1_000_000))),
    ("no message, a million keys: sent whole", || keys(1_000_000)),
    ("no message, a time, one list: sent without", || {
        [b"{\"timestamp\":5,\"a\":[", &b"0,".repeat(LONG_BYTES / 2)[..], b"0]}"].concat()
    }),
    ("no message, a time, one list each: sent without", || {
        fill(&[b"{\"timestamp\":5,\"a\":[", &b"0,".repeat(300)[..], b"0]}\n"].concat())
    }),
    ("characters beside control characters", || fill(&of_message(&b"\xc3\xa9\x01".repeat(200)))),
    ("no UTF-8 beside control characters", || fill(&of_message(&b"\xff\x01".repeat(300)))),
    ("a backslash beside strings", || {
        fill(&[b"{\"a\":[\\", &b"[\"\"],".repeat(100)[..], b"0],\"message\":\"m\"}\n"].concat())
    }),
    ("a record of 40 MiB: dropped", || of_message(&vec![b'x'; 40 << 20])),
    ("a thousand brackets", || {
        let nested = [&b"[".repeat(1000)[..], &b"]".repeat(1000)].concat();
        fill(&[&b"{\"a\":"[..], &nested, b",\"message\":\"m\"}\n"].concat())
    }),
    ("zeros", || vec![0; TEXT_BYTES]),
];

fn fill(line: &[u8]) -> Vec<u8> {
    line.repeat(TEXT_BYTES / line.len())
}

fn of_message(message: &[u8]) -> Vec<u8> {
    [b"{\"timestamp\":1700000000000,\"message\":\"", message, b"\"}\n"].concat()
}

fn behind_message(value: &[u8]) -> Vec<u8> {
    [b"{\"message\":", value, b"}\n"].concat()
}

fn keys(count: usize) -> Vec<u8> {
    let keys: Vec<String> = (0..count).map(|at| format!("\"k{at}\":0")).collect();
    format!("{{{}}}", keys.join(",")).into()
}

/// Says how many times as long a byte takes as one of a usual object, of the objects with such a name: one that is decompressed,
/// and, where there are more of those, one that is made of it. What is no event, but stands where one should, counts as 26 bytes, as
/// an event without text does for CloudWatch Logs: of such as have two bytes, a byte takes longer.
pub(crate) fn say(figures: &mut Figures, only: &str) {
    let usual = Set::of(Kind::Long, OBJECTS);
    let lines = plain(&usual);
    let is_meant = |name: &str| name.contains(only);
    let mut ways = WAYS.into_iter().filter(|(name, _)| is_meant(name)).map(|(name, way)| (name, changed(&lines, way)));
    let mut texts = TEXTS.into_iter().filter(|(name, _)| is_meant(name)).map(|(name, text)| (name, packed(&[text()])));
    let of = |sets: &mut dyn Iterator<Item = (&str, Set)>| {
        let mut worst: f64 = 0.0;
        for (name, set) in sets {
            let [by_byte, by_made] = compared(&usual, &set, |set, made| [set.bytes as f64, made.max(set.bytes as f64)]);
            println!("  {name:<44} {by_byte:>6.2} times the time for a byte, {by_made:>5.2} for one that is made");
            worst = worst.max(by_made);
        }
        worst
    };
    let (records, texts) = (of(&mut ways), of(&mut texts));
    if !only.is_empty() {
        return;
    }
    figures.add("hostile_records", records, "times", Target::AtMost(5.0), Gate::Ratio);
    figures.add("hostile_texts", texts, "times", Target::AtMost(5.0), Gate::Ratio);
    // To send such bytes costs as much as to send any.
    let stored = |set: &Set| set.stored.iter().map(Bytes::len).sum::<usize>() as f64;
    let mut worst: f64 = 0.0;
    for bytes in BLOCK_BYTES {
        let set = in_blocks(&lines, bytes);
        let [by_stored, by_decompressed] = compared(&usual, &set, |set, _| [stored(set), set.bytes as f64]);
        println!(
            "  codes of their own for {bytes} bytes: {by_stored:.2} times for a stored byte, {by_decompressed:.2} for one decompressed"
        );
        worst = worst.max(by_stored);
    }
    for (name, member) in [("members", gzip(b"")), ("frames", zstd::encode_all(&b""[..], 0).unwrap())] {
        let mut set = Set::default();
        set.add(member.repeat(EMPTY).into(), 0, 0);
        let [by_stored] = compared(&usual, &set, |set, _| [stored(set)]);
        println!("  empty {name}: {by_stored:.2} times for a stored byte");
        worst = worst.max(by_stored);
    }
    figures.add("hostile_blocks", worst, "times", Target::AtMost(5.0), Gate::Ratio);
}

/// How many times as long the one takes as the other for each of what a set, and the bytes made of it, are weighed by.
fn compared<const N: usize>(usual: &Set, set: &Set, weights: impl Fn(&Set, f64) -> [f64; N]) -> [f64; N] {
    let (mut ours, mut theirs) = (Ours::new(), Ours::new());
    let times = rounds(ROUNDS, [&mut || _ = ours.run(usual, |_| {}), &mut || _ = theirs.run(set, |_| {})]);
    let times = median(&times, |[ours, theirs]| theirs / ours);
    let (of_usual, of_set) = (weights(usual, ours.made as f64), weights(set, theirs.made as f64));
    std::array::from_fn(|at| times * of_usual[at] / of_set[at])
}

/// The same records, each changed.
fn changed(texts: &Set, way: Way) -> Set {
    let changed = |text: &Bytes| {
        let mut made = Vec::new();
        for line in std::str::from_utf8(text).unwrap().lines() {
            made.extend(way(line));
            made.push(b'\n');
        }
        made
    };
    packed(&texts.stored.iter().map(changed).collect::<Vec<_>>())
}

/// Objects of these texts.
fn packed(texts: &[Vec<u8>]) -> Set {
    let mut set = Set::default();
    for text in texts {
        set.add(gzip(text).into(), text.len() as u64, 0);
    }
    set
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::new(6));
    gzip.write_all(text).unwrap();
    gzip.finish().unwrap()
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
