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

/// Texts that are nothing but one thing. No line is as the one before, for those are compared and not read.
const TEXTS: [(&str, Text); 50] = [
    ("escapes in forty keys", || {
        let keys = [b"{", &br#""\u006d\u0065":1,"#.repeat(40)[..], b"\"n\":"].concat();
        fill(|at| [&keys, &number(at)[..], b",\"message\":\"m\"}\n"].concat())
    }),
    ("a message that is an object of sixty keys", || fill(|at| behind_message(&keys(at, 60)))),
    ("no message, sixty keys: sent whole", || fill(|at| line(&keys(at, 60)))),
    ("no message, sixty keys, a time: sent without", || {
        fill(|at| [b"{\"timestamp\":5,", &line(&keys(at, 60))[1..]].concat())
    }),
    ("no message, sixty keys, blanks: sent without", || {
        fill(|at| line(&keys(at, 60).split(|byte| *byte == b',').collect::<Vec<_>>().join(&b", "[..])))
    }),
    ("no message, one long key: sent whole", || {
        fill(|at| [&b"{\""[..], &[b'k'; 600], &number(at)[..], b"\":1}\n"].concat())
    }),
    ("every character escaped", || fill(|at| of_message(at, &br"\u0041".repeat(100)))),
    ("every character a quote", || fill(|at| of_message(at, &br#"\""#.repeat(300)))),
    ("control characters", || fill(|at| of_message(at, &[1; 600]))),
    ("no UTF-8", || fill(|at| of_message(at, &[0xff; 600]))),
    ("empty messages", || fill(|at| [b"{\"timestamp\":", &number(at)[..], b",\"message\":\"\"}\n"].concat())),
    ("messages of one character", || fill(|at| [b"{\"message\":\"", &number(at)[5..], b"\"}\n"].concat())),
    ("{}", || fill(|_| b"{}".to_vec())),
    ("bad lines of one character", || fill(|_| b"x\n".to_vec())),
    ("an array of 1", || [b"[", &fill(|_| b"1,".to_vec())[..]].concat()),
    ("an array of []", || [b"[", &fill(|_| b"[],".to_vec())[..]].concat()),
    ("empty lines", || fill(|_| b"\n".to_vec())),
    ("a message of 15 MiB", || of_message(0, &vec![b'x'; LONG_BYTES])),
    ("a message of 15 MiB, all escapes", || of_message(0, &br"\n".repeat(LONG_BYTES / 2))),
    ("a message of 15 MiB, no UTF-8", || of_message(0, &vec![0xff; LONG_BYTES])),
    ("a message of a million keys", || behind_message(&keys(0, 1_000_000))),
    ("no message, a million keys: sent whole", || keys(0, 1_000_000)),
    ("characters beside control characters", || fill(|at| of_message(at, &b"\xc3\xa9\x01".repeat(200)))),
    ("no UTF-8 beside control characters", || fill(|at| of_message(at, &b"\xff\x01".repeat(300)))),
    ("a record of 40 MiB: dropped", || of_message(0, &vec![b'x'; 40 << 20])),
    ("zeros", || vec![0; TEXT_BYTES]),
    ("beside a message, a backslash and strings", || {
        let list = [b"\\", &b"[\"\"],".repeat(100)[..]].concat();
        fill(|at| beside_message(at, &list))
    }),
    ("beside a message, backslashes and zeros", || fill(|at| beside_message(at, &b"\\0".repeat(300)))),
    ("beside a message, a thousand brackets", || {
        let nested = [&b"[".repeat(1000)[..], &b"]".repeat(1000), b","].concat();
        fill(|at| beside_message(at, &nested))
    }),
    ("beside a message, tokens by chance", || fill(|at| beside_message(at, &tokens(at as u64, 900)))),
    ("a message that is tokens by chance", || {
        fill(|at| behind_message(&[b"[", &tokens(at as u64, 900)[..], &number(at), b"]"].concat()))
    }),
    ("a message that is a list of []", || behind_message(&list(b"[],", LONG_BYTES))),
    ("no message, one list of 0: sent without", || behind_time(&list(b"0,", LONG_BYTES))),
    ("no message, one list of 0 and blanks: sent without", || behind_time(&list(b"0 ,", LONG_BYTES))),
    ("no message, one list of []: sent without", || behind_time(&list(b"[],", LONG_BYTES))),
    ("no message, one list of {}: sent without", || behind_time(&list(b"{},", LONG_BYTES))),
    ("no message, one list of [[[[]]]]: sent without", || behind_time(&list(b"[[[[[[[[]]]]]]]],", LONG_BYTES))),
    ("no message, one list of strings: sent without", || behind_time(&list(b"\"\",", LONG_BYTES))),
    ("no message, one list of escapes: sent without", || behind_time(&list(b"\"\\u0041\\n\",", LONG_BYTES))),
    ("no message, one list of one number: sent without", || behind_time(&list(b"1", LONG_BYTES))),
    ("no message, one list of blanks: sent without", || behind_time(&list(b" ", LONG_BYTES))),
    ("no message, one list of tokens by chance: sent without", || {
        behind_time(&[b"[", &tokens(0, LONG_BYTES)[..], b"0]"].concat())
    }),
    ("the same behind another record", || {
        [&line(b"{}")[..], &behind_time(&[b"[", &tokens(0, LONG_BYTES)[..], b"0]"].concat())].concat()
    }),
    ("the same in an array", || {
        [b"[{},", &behind_time(&[b"[", &tokens(0, LONG_BYTES)[..], b"0]"].concat())[..], b"]"].concat()
    }),
    ("the list of [[[[]]]] behind another record", || {
        [line(b"{}"), behind_time(&list(b"[[[[[[[[]]]]]]]],", LONG_BYTES))].concat()
    }),
    ("the same over many lines", || behind_time(&[b"[\n", &tokens(0, LONG_BYTES)[..], b"0]"].concat())),
    ("no message, lists of 0: sent without", || {
        fill(|at| line(&behind_time(&[&list(b"0,", 600)[..], b",\"n\":", &number(at)].concat())))
    }),
    ("no message, lists of []: sent without", || {
        fill(|at| line(&behind_time(&[&list(b"[],", 900)[..], b",\"n\":", &number(at)].concat())))
    }),
    ("no message, lists of [], blanks: sent without", || {
        let member = [b", \"a\": ", &list(b"[],", 60)[..]].concat();
        fill(|at| line(&behind_time(&[&number(at)[..], &member.repeat(20)].concat())))
    }),
    ("no message, lists of [] in metadata: sent without", || {
        let member = [b",\"kubernetes\":", &list(b"[],", 400)[..], b",\"a\":\"", &[b'x'; 400][..], b"\""].concat();
        behind_time(&[&b"1"[..], &member.repeat(LONG_BYTES / 820)].concat())
    }),
];

/// Lines, each made of its number.
fn fill(line: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    let mut text = Vec::with_capacity(2 * TEXT_BYTES);
    for at in 0.. {
        if text.len() >= TEXT_BYTES {
            break;
        }
        text.extend(line(at));
    }
    text
}

fn line(record: &[u8]) -> Vec<u8> {
    [record, b"\n"].concat()
}

/// Six digits of a line's number.
fn number(at: usize) -> Vec<u8> {
    format!("{:06}", 100_000 + at * 7919 % 900_000).into()
}

fn of_message(at: usize, message: &[u8]) -> Vec<u8> {
    [b"{\"timestamp\":1700000000000,\"message\":\"", &number(at)[..], message, b"\"}\n"].concat()
}

fn behind_message(value: &[u8]) -> Vec<u8> {
    [b"{\"message\":", value, b"}\n"].concat()
}

/// A list of which nothing is sent, and so of which all may stand in it.
fn beside_message(at: usize, list: &[u8]) -> Vec<u8> {
    [b"{\"a\":[", &number(at)[..], b",", list, b"0],\"message\":\"m\"}\n"].concat()
}

/// A record without a message, which is sent without its time.
fn behind_time(value: &[u8]) -> Vec<u8> {
    [b"{\"timestamp\":5,\"a\":", value, b"}"].concat()
}

/// A list of some bytes of the same.
fn list(element: &[u8], bytes: usize) -> Vec<u8> {
    let last: &[u8] = if element.ends_with(b",") { b"0]" } else { b"]" };
    [b"[", &element.repeat(bytes / element.len())[..], last].concat()
}

/// Elements that nobody can foresee, a comma behind each, of so many bytes or a few more.
fn tokens(seed: u64, bytes: usize) -> Vec<u8> {
    const TOKENS: [&[u8]; 8] = [b"[],", b"{},", b"0,", b"[0],", b"{\"\":[]},", b"[[],{}],", b"true,", b"\"\","];
    let (mut state, mut made) = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, Vec::with_capacity(bytes + 16));
    while made.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        made.extend_from_slice(TOKENS[(state >> 32) as usize % TOKENS.len()]);
    }
    made
}

/// An object of some keys, whose first value is a number.
fn keys(value: usize, count: usize) -> Vec<u8> {
    let keys: Vec<String> =
        (0..count).map(|at| format!("\"k{at}\":{}", if at == 0 { value % 10 } else { 0 })).collect();
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
            println!("  {name:<54} {by_byte:>6.2} times the time for a byte, {by_made:>5.2} for one that is made");
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
