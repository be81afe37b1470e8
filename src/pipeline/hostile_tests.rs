//! docs/guarantees.md, "Hostile input": what a machine makes of objects that are damaged or mean harm, and what memory it
//! claims for them. It is driven as a lane drives it, with the default budget, by the same answers to each rest.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use tokio::runtime::Runtime;

use super::*;
use crate::core::batch::BatchLimits;
use crate::core::scan::{NESTING_MAX, RECORD_BYTES_MAX};
use crate::core::tally::Tally;
use crate::core::tenant::TenantId;
use crate::pipeline::budget::{Budget, CARRY_BYTES_MAX, OBJECT_BASE_BYTES};
use crate::pipeline::run::FAULTS_KEPT_MAX;

const MIB: usize = 1024 * 1024;
/// The default of MEMORY_BUDGET.
const BUDGET_BYTES: u64 = 40 << 20;
/// Bytes of a chunk as it is read.
const CHUNK: usize = 256 * 1024;
const MODIFIED: UnixMillis = UnixMillis(7);

/// What a machine made of an object.
#[derive(Debug)]
struct Made {
    messages: Vec<String>,
    times: Vec<i64>,
    end: Result<(), DecodeFault>,
    tally: Tally,
    faults: Vec<ObjectFault>,
    /// Groups that were sealed before the object's end was known.
    sealed_early: usize,
    /// The most that was kept of it between turns, decompressed.
    carry_peak: usize,
}

impl Made {
    fn is_whole(&self) -> bool {
        self.end.is_ok()
    }

    /// Checks that the object was whole, gave these messages, and had so many slots that were no records.
    fn check(&self, case: &str, messages: &[&str], bad: u64) {
        assert_eq!(self.end, Ok(()), "{case}");
        assert!(self.messages == messages, "{case}: {} messages", self.messages.len());
        self.check_counts(case, bad);
    }

    fn check_counts(&self, case: &str, bad: u64) {
        let events = self.messages.len() as u64;
        assert_eq!((self.tally.read(), self.tally.pending()), (events + bad, events), "{case}: {}", self.tally);
        assert_eq!(self.faults.len() as u64, bad.min(FAULTS_KEPT_MAX as u64), "{case}");
        assert!(self.tally.balances(), "{case}");
    }
}

/// A lane's side, and a compute thread's.
struct Rig {
    budget: Budget,
    worker: Worker,
    runtime: Runtime,
}

impl Rig {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let budget = Budget::new(BUDGET_BYTES, RECORD_BYTES_MAX as u64).unwrap();
        Self { budget, worker: Worker::new(), runtime }
    }

    /// Gives an object in pieces of so many bytes. What an object leaves behind that is not whole is abandoned, as lanes do
    /// with what is damaged.
    fn run(&mut self, stored: &[u8], piece: usize) -> Made {
        self.run_kept(stored, piece, |fault| matches!(fault, DecodeFault::Truncated { .. }))
    }

    fn run_kept(&mut self, stored: &[u8], piece: usize, keeps: impl Fn(&DecodeFault) -> bool) -> Made {
        let lane = self.budget.lane(&TenantId::try_from("acme").unwrap(), 0);
        let mut machine = Machine::new(Batcher::new(BatchLimits::default(), "/acme", "pod"), RECORD_BYTES_MAX);
        let segment = SegmentId(0);
        machine.begin(segment, stored.len() as u64, MODIFIED, Progress::default());
        let mut pieces = stored.chunks(piece);
        let mut made = Made {
            messages: Vec::new(),
            times: Vec::new(),
            end: Ok(()),
            tally: Tally::default(),
            faults: Vec::new(),
            sealed_early: 0,
            carry_peak: 0,
        };
        // Every turn but the last has taken a byte, given one, or come to what it lacks.
        made.end = loop {
            let rest = self.worker.turn(&mut machine, &lane, SendWindow::ALL);
            let count = machine.take_count();
            made.tally.merge(&count.tally);
            made.faults.extend(count.faults.into_iter().take(FAULTS_KEPT_MAX - made.faults.len()));
            self.check_memory(&machine);
            made.carry_peak = made.carry_peak.max(machine.carry.len());
            if matches!(rest, Rest::Carry | Rest::BigRecord) && machine.open_bytes() > 0 {
                machine.seal(SendWindow::ALL);
                made.take(&mut machine);
                continue;
            }
            match rest {
                Rest::Turn => {}
                Rest::Input => match pieces.next() {
                    Some(piece) => machine.push(Bytes::copy_from_slice(piece)),
                    None => machine.end_of_input(),
                },
                Rest::Sealed => {
                    made.take(&mut machine);
                    made.sealed_early += 1;
                }
                Rest::Growth(bytes) => machine.grow(self.runtime.block_on(lane.grow(bytes))),
                Rest::Carry => {
                    machine.lengthen(self.runtime.block_on(lane.carry()), usize::try_from(CARRY_BYTES_MAX).unwrap());
                }
                Rest::BigRecord => machine.lengthen(self.runtime.block_on(lane.big_record()), RECORD_BYTES_MAX),
                Rest::ObjectEnd(Err(DecodeFault::Window { bytes, .. })) => {
                    machine.widen(bytes);
                    pieces = stored.chunks(piece);
                }
                Rest::ObjectEnd(end) => break end,
            }
        };
        machine.finish();
        if let Err(fault) = &made.end
            && !keeps(fault)
        {
            let abandoned = machine.abandon(segment);
            assert_eq!(abandoned + made.messages.len() as u64, made.tally.pending());
            made.tally.forget(abandoned);
            machine.seal(SendWindow::ALL);
            assert!(machine.take_sealed().is_none(), "nothing of it is sent behind its damage");
        }
        machine.seal(SendWindow::ALL);
        made.take(&mut machine);
        assert_eq!(self.budget.used(), 0, "all memory is given back");
        made
    }

    /// What a machine keeps between turns is what it has claimed, and the base of its object's reserve.
    fn check_memory(&self, machine: &Machine) {
        let (carry, growth) = (machine.long_record.bytes(), machine.growth.bytes());
        let sealed = machine.sealed.as_ref().map_or(0, |group| group.growth.bytes());
        assert_eq!(self.budget.used(), carry + growth + sealed);
        assert!(machine.carry.len() as u64 <= OBJECT_BASE_BYTES + carry, "{} by {carry}", machine.carry.len());
        assert!(machine.batcher.memory() as u64 <= growth, "{} by {growth}", machine.batcher.memory());
    }
}

impl Made {
    fn take(&mut self, machine: &mut Machine) {
        for batch in machine.take_sealed().into_iter().flat_map(|group| group.sealed.batches) {
            let body: serde_json::Value = serde_json::from_slice(batch.body()).unwrap();
            for event in body["logEvents"].as_array().unwrap() {
                self.messages.push(event["message"].as_str().unwrap().to_owned());
                self.times.push(event["timestamp"].as_i64().unwrap());
            }
        }
    }
}

fn gzip(text: &[u8]) -> Vec<u8> {
    gzip_at(text, 6)
}

fn gzip_at(text: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// A frame with a checksum.
fn zstd(text: &[u8]) -> Vec<u8> {
    let mut encoder = ::zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// A text in each container, and in several members or frames that are cut anywhere.
fn containers(text: &[u8]) -> [(&'static str, Vec<u8>); 5] {
    let (one, two) = text.split_at(text.len() / 2);
    [
        ("plain", text.to_vec()),
        ("gzip", gzip(text)),
        ("gzip members", [gzip(one), gzip(b""), gzip(two)].concat()),
        ("zstd", zstd(text)),
        ("zstd frames", [zstd(one), zstd(two)].concat()),
    ]
}

/// All that can be decoded of a stored object by the libraries' own readers.
fn decoded(stored: &[u8]) -> Vec<u8> {
    let mut reader: Box<dyn Read> = match stored {
        [0x1f, ..] => Box::new(MultiGzDecoder::new(stored)),
        [0x28, ..] => Box::new(::zstd::stream::read::Decoder::new(stored).unwrap()),
        _ => Box::new(stored),
    };
    let (mut all, mut buffer) = (Vec::new(), [0; 64]);
    while let Ok(read @ 1..) = reader.read(&mut buffer) {
        all.extend(&buffer[..read]);
    }
    all
}

fn record(message: &str) -> String {
    serde_json::json!({ "message": message }).to_string()
}

/// Texts of the same records: a line each, one array, pretty-printed.
fn shapes(messages: &[String]) -> [(&'static str, String); 4] {
    let records: Vec<String> = messages.iter().map(|message| record(message)).collect();
    let pretty: Vec<String> = messages.iter().map(|message| format!("{{\n  \"message\": \"{message}\"\n}}")).collect();
    [
        ("lines", records.join("\n") + "\n"),
        ("no last line end", records.join("\n")),
        ("array", format!("[{}]\n", records.join(", "))),
        ("pretty", pretty.join("\n")),
    ]
}

/// docs/guarantees.md: however early an object's bytes end, the records that are complete are delivered, and it is known
/// that it was cut off, unless it looks whole (at a member's border, or plain text).
#[test]
fn at_every_truncation_point_the_complete_records_are_delivered() {
    let messages: Vec<String> = (0..12).map(|at| format!("message {at} {}", at * at * 7_919)).collect();
    let mut rig = Rig::new();
    let one = shapes(&messages[..1]).into_iter().map(|shape| (shape, 1));
    for ((shape, text), count) in shapes(&messages).into_iter().map(|shape| (shape, messages.len())).chain(one) {
        // Where each record ends.
        let ends: Vec<usize> = text.match_indices('}').map(|(at, _)| at + 1).collect();
        assert_eq!(ends.len(), count);
        for (container, stored) in containers(text.as_bytes()) {
            let middle = decoded(&stored[..stored.len() - 1]).len();
            assert!(container == "plain" || middle > 0, "{container}: the last byte is the container's");
            for cut in 0..=stored.len() {
                let text_there = decoded(&stored[..cut]).len();
                let complete = ends.iter().filter(|end| **end <= text_there).count();
                for piece in [1, stored.len()] {
                    let case = format!("{shape} in {container}, {cut} of {} bytes by {piece}", stored.len());
                    let made = rig.run(&stored[..cut], piece);
                    assert_eq!(made.messages, messages[..complete], "{case}");
                    match made.end {
                        Ok(()) => {
                            let border =
                                container == "plain" || text_there == text.len() || text_there == text.len() / 2;
                            assert!(cut == 0 || border, "{case}");
                            // Of what is pretty-printed and was not begun, each line is one that cannot be read.
                            let lines_bad = if shape == "pretty" { 3 } else { 1 };
                            assert!(made.tally.read() <= complete as u64 + lines_bad, "{case}");
                        }
                        Err(fault) => {
                            assert_eq!(fault, DecodeFault::Truncated { at: cut as u64 }, "{case}");
                            assert_eq!(made.tally.read(), complete as u64, "{case}");
                        }
                    }
                    assert!(made.tally.balances(), "{case}");
                }
            }
        }
    }
}

/// A member with all that a header may have, its checksum included.
fn gzip_with_all_fields(text: &[u8]) -> Vec<u8> {
    let plain = gzip(text);
    let mut header = plain[..10].to_vec();
    header[3] = 0b11110;
    header.extend(b"\x05\0extra");
    header.extend(b"name\0a comment\0");
    let crc = crc32fast::hash(&header).to_le_bytes();
    header.extend(&crc[..2]);
    header.extend(&plain[10..]);
    header
}

/// docs/guarantees.md: a flipped bit is found out, or changes nothing.
#[test]
fn no_flipped_bit_passes_off_other_records_as_whole() {
    let messages: Vec<String> = (0..6).map(|at| format!("message {at} {}", at * at * 7_919)).collect();
    let text: String = messages.iter().map(|message| record(message) + "\n").collect();
    let bytes = text.as_bytes();
    let (one, two) = bytes.split_at(bytes.len() / 2);
    let objects = [
        ("gzip", gzip(bytes)),
        ("gzip with all fields", gzip_with_all_fields(bytes)),
        ("gzip members and padding", [gzip(one), vec![0; 3], gzip(two), vec![0; 3]].concat()),
        ("gzip, stored", gzip_at(bytes, 0)),
        ("zstd", zstd(bytes)),
        ("zstd frames", [zstd(one), zstd(two)].concat()),
    ];
    let mut rig = Rig::new();
    for (object, intact) in objects {
        let (mut exact, mut found, mut garbage) = (0, 0, 0);
        for bit in 0..intact.len() * 8 {
            let mut stored = intact.clone();
            stored[bit / 8] ^= 1 << (bit % 8);
            for piece in [stored.len(), 1] {
                let case = format!("{object}, bit {} of byte {} by {piece}", bit % 8, bit / 8);
                let made = rig.run(&stored, piece);
                assert!(made.tally.balances(), "{case}");
                // It fits one batch, so nothing may have gone before the damage was found.
                assert_eq!(made.sealed_early, 0, "{case}");
                if !made.is_whole() {
                    found += 1;
                    // What runs on behind its end looks like one that is cut off: then what came out is delivered,
                    // and counted as not verified.
                    if matches!(made.end, Err(DecodeFault::Damaged { .. })) {
                        assert!(made.messages.is_empty(), "{case}");
                    }
                } else if made.messages == messages {
                    exact += 1;
                    made.check_counts(&case, 0);
                } else {
                    // Without its magic it is plain text, and says so by its bad lines; where pieces of the text are stored as
                    // they are, as zstd stores them, some may still be read.
                    garbage += 1;
                    assert!(bit < 32, "{case}: {:?}", made.messages);
                    let as_they_were = made.messages.iter().all(|message| messages.contains(message));
                    assert!(as_they_were || object.starts_with("zstd"), "{case}");
                    assert!(!made.faults.is_empty(), "{case}");
                }
            }
        }
        println!("{object}, {} bytes: {exact} exact, {found} found, {garbage} no longer of its kind", intact.len());
        assert!(found > 10 * garbage, "{object}");
    }
    let mut rig = Rig::new();
    let intact = gzip(bytes);
    for (byte, bits) in [(3, 1), (4, 8), (5, 8), (6, 8), (7, 8), (8, 8), (9, 8)] {
        for bit in 0..bits {
            let mut stored = intact.clone();
            stored[byte] ^= 1 << bit;
            let expected: Vec<&str> = messages.iter().map(String::as_str).collect();
            rig.run(&stored, stored.len()).check("header", &expected, 0);
        }
    }
}

/// Of an object of many batches, what was sealed before the damage was found is all that is ever sent.
#[test]
fn behind_a_damage_nothing_is_sent() {
    let messages: Vec<String> =
        (0..4_000_u32).map(|at| format!("{at} {:x}", at.wrapping_mul(0x9e37_79b9)).repeat(90)).collect();
    let text: String = messages.iter().map(|message| record(message) + "\n").collect();
    let intact = gzip_at(text.as_bytes(), 0);
    assert!(intact.len() > 3 * MIB, "{}", intact.len());
    let mut rig = Rig::new();
    let crc = intact.len() - 8;
    for (at, bit) in [(crc, 0), (crc + 7, 7), (crc - 1, 0), (intact.len() / 2, 3)] {
        let mut stored = intact.clone();
        stored[at] ^= 1 << bit;
        let made = rig.run(&stored, CHUNK);
        assert!(matches!(made.end, Err(DecodeFault::Damaged { .. })), "{:?}", made.end);
        assert!(made.sealed_early > 0 && made.messages.len() < messages.len(), "{} sent", made.messages.len());
        assert_eq!(made.tally.pending(), made.messages.len() as u64);
        assert!(made.tally.balances());
    }
}

/// A record of `count` keys, with a message behind them if there is one.
fn keys(count: usize, message: Option<&str>) -> String {
    let keys: Vec<String> = (0..count).map(|at| format!("\"k{at}\":0")).collect();
    let message = message.map_or_else(String::new, |message| format!(",\"message\":\"{message}\""));
    format!("{{{}{message}}}", keys.join(","))
}

#[test]
fn a_million_keys() {
    let around = |middle: &str| format!("{}\n{middle}\n{}\n", record("before"), record("behind"));
    let many = keys(1_000_000, Some("m"));
    let same = format!("{{{}\"message\":\"last\"}}", "\"message\":\"m\",".repeat(1_000_000));
    let mut rig = Rig::new();
    for (container, stored) in containers(around(&many).as_bytes()) {
        let made = rig.run(&stored, CHUNK);
        made.check(container, &["before", "m", "behind"], 0);
        assert!(made.carry_peak <= RECORD_BYTES_MAX + WINDOW_BYTES, "{container}: {}", made.carry_peak);
    }
    rig.run(&gzip(around(&same).as_bytes()), CHUNK).check("equal keys", &["before", "last", "behind"], 0);
    // Without a message all of it is sent, in parts.
    let made = rig.run(&gzip(around(&keys(1_000_000, None)).as_bytes()), CHUNK);
    assert_eq!(made.end, Ok(()));
    let parts = &made.messages[1..made.messages.len() - 1];
    let whole: String = parts.iter().map(|part| part.split_once("] ").unwrap().1).collect();
    assert!(whole == keys(1_000_000, None), "{} parts", parts.len());
    made.check_counts("without a message", 0);
}

#[test]
fn nesting_to_a_million() {
    const DEEP: usize = 1_000_000;
    let (open, close) = ("[".repeat(DEEP), "]".repeat(DEEP));
    let objects = "{\"a\":".repeat(DEEP);
    let mut rig = Rig::new();
    let cases = [
        ("message", format!("{{\"message\":{open}{close}}}")),
        ("elsewhere", format!("{{\"x\":{open}{close},\"message\":\"m\"}}")),
        ("objects", format!("{objects}0{}", "}".repeat(DEEP))),
        ("never closed", format!("{{\"message\":{open}")),
        ("objects, never closed", objects),
        ("closed too often", format!("{{\"message\":[]{close}}}")),
        (
            "as deep as may be, and one more",
            format!("{{\"message\":{}{}}}", &open[..NESTING_MAX], &close[..NESTING_MAX]),
        ),
    ];
    for (case, middle) in cases {
        let text = format!("{}\n{middle}\n{}\n", record("before"), record("behind"));
        for (container, stored) in containers(text.as_bytes()) {
            rig.run(&stored, CHUNK).check(&format!("{case} in {container}"), &["before", "behind"], 1);
        }
        // The same as an array's element, and as the first of pretty-printed values.
        let made = rig.run(format!("[\n{},\n{middle},\n{}\n]", record("before"), record("behind")).as_bytes(), CHUNK);
        assert!(made.is_whole() && made.messages.first().is_some_and(|first| first == "before"), "{case}");
        assert!(!made.faults.is_empty() && made.tally.balances(), "{case}");
        let made =
            rig.run(format!("{{\n\"message\":\"pretty\"\n}}\n{middle}\n{}\n", record("behind")).as_bytes(), CHUNK);
        assert_eq!((made.end, made.messages.first().map(String::as_str)), (Ok(()), Some("pretty")), "{case}");
        assert!(!made.faults.is_empty() && made.tally.balances(), "{case}");
    }
    let arrays = format!("{}\n{open}\n{}\n", record("before"), record("behind"));
    let made = rig.run(arrays.as_bytes(), CHUNK);
    made.check("arrays of arrays", &["before", "behind"], 1);
    let deep = &open[..NESTING_MAX - 1];
    let message = format!("{deep}{}", &close[..deep.len()]);
    let text = format!("{}\n{{\"message\":{message}}}\n", record("before"));
    rig.run(text.as_bytes(), CHUNK).check("as deep as may be", &["before", &message], 0);
}

#[test]
fn huge_numbers() {
    const TIME: i64 = 1_700_000_000_123;
    let digits = "7".repeat(1_000_000);
    let zeros = "0".repeat(1_000_000);
    let now = format!("{{\"timestamp\":{TIME},\"message\":\"before\"}}\n");
    let mut rig = Rig::new();
    // As a message a number is its text, as a time what it says or, if that is no time, that of the record before.
    let numbers = [
        (digits.clone(), TIME),
        (format!("-{digits}"), TIME),
        (format!("0.{zeros}1"), 0),
        (format!("1{zeros}e-999991"), 1_000_000_000_000),
        (format!("1e{digits}"), TIME),
        (format!("1e-{digits}"), 0),
        ("1e400".to_owned(), TIME),
        ("-1E+400".to_owned(), TIME),
        ("18446744073709551616".to_owned(), TIME),
        ("-0".to_owned(), TIME),
    ];
    for (number, time) in &numbers {
        let case = number.get(..9).unwrap_or(number);
        let text =
            format!("{now}{{\"message\":{number}}}\n{{\"x\":{number},\"timestamp\":{number},\"message\":\"m\"}}\n");
        for (container, stored) in containers(text.as_bytes()) {
            let made = rig.run(&stored, CHUNK);
            made.check(&format!("{case} in {container}"), &["before", number, "m"], 0);
            // A batch is sorted by its times.
            let mut expected = vec![TIME, TIME, *time];
            expected.sort_unstable();
            let mut times = made.times.clone();
            times.sort_unstable();
            assert_eq!(times, expected, "{case} in {container}");
        }
    }
    for number in
        [format!("0{digits}"), format!("{digits}."), format!("{digits}e"), format!("--{digits}"), format!("+{digits}")]
    {
        let text = format!("{now}{{\"message\":{number}}}\n{{\"timestamp\":{number},\"message\":\"m\"}}\n");
        rig.run(&gzip(text.as_bytes()), CHUNK).check("no number", &["before"], 2);
    }
}

#[test]
fn zero_bytes_marks_and_line_ends() {
    let (a, b) = (record("a"), record("b"));
    let cases: Vec<(&str, Vec<u8>, Vec<&str>, u64)> = vec![
        ("NUL within a message", b"{\"message\":\"a\0b\"}\n".to_vec(), vec!["a\0b"], 0),
        ("NUL within a key", format!("{{\"\0\":1,\"message\":\"a\"}}\n{b}").into(), vec!["a", "b"], 0),
        ("NUL as a line", format!("{a}\n\0\n{b}\n").into(), vec!["a", "b"], 1),
        ("NUL between tokens", format!("{a}\n{{\"message\"\0:\"x\"}}\n{b}\n").into(), vec!["a", "b"], 1),
        ("NUL behind the last line", format!("{a}\n{b}\n\0\0\0").into(), vec!["a", "b"], 1),
        ("NULs alone", vec![0; 3 * MIB], vec![], 1),
        ("a line of NULs", [a.as_bytes(), b"\n", &vec![0; 3 * MIB], b"\n", b.as_bytes()].concat(), vec!["a", "b"], 1),
        ("mark", format!("\u{feff}{a}\n{b}\n").into(), vec!["a", "b"], 0),
        ("mark and nothing", "\u{feff}".into(), vec![], 0),
        ("mark before an array", format!("\u{feff}[{a},{b}]").into(), vec!["a", "b"], 0),
        ("two marks", format!("\u{feff}\u{feff}{a}\n{b}\n").into(), vec!["b"], 1),
        ("mark in the middle", format!("{a}\n\u{feff}{a}\n{b}\n").into(), vec!["a", "b"], 1),
        (
            "UTF-16",
            [&b"\xff\xfe"[..], &a.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>()].concat(),
            vec![],
            1,
        ),
        ("CRLF", format!("{a}\r\n\r\n{b}\r\n").into(), vec!["a", "b"], 0),
        ("CR", format!("{a}\r\r{b}\r").into(), vec!["a", "b"], 0),
        ("CRLF, pretty", a.replace('{', "{\r\n").replace('}', "\r\n}\r\n").repeat(2).into(), vec!["a", "a"], 0),
        ("CRLF, array", format!("[\r\n{a},\r\n{b}\r\n]\r\n").into(), vec!["a", "b"], 0),
        ("CR within a message", b"{\"message\":\"a\rb\"}\r\n".to_vec(), vec!["a\rb"], 0),
        ("line feed within a message", format!("{{\"message\":\"a\nb\"}}\n{b}\n").into(), vec!["b"], 2),
        ("mark and CRLF", format!("\u{feff}{a}\r\n{b}\r\n").into(), vec!["a", "b"], 0),
    ];
    let mut rig = Rig::new();
    for (case, text, messages, bad) in &cases {
        for (container, stored) in containers(text) {
            for piece in [1, CHUNK] {
                if piece > 1 || stored.len() < MIB {
                    rig.run(&stored, piece).check(&format!("{case} in {container} by {piece}"), messages, *bad);
                }
            }
        }
    }
}

#[test]
fn ten_million_empty_lines() {
    const LINES: usize = 10_000_000;
    let mut rig = Rig::new();
    for line_end in ["\n", "\r\n"] {
        let text = format!("{}{}{}", record("before"), line_end.repeat(LINES), record("behind"));
        for (container, stored) in containers(text.as_bytes()) {
            if line_end == "\n" || container == "gzip" {
                let made = rig.run(&stored, CHUNK);
                made.check(container, &["before", "behind"], 0);
                assert!(made.carry_peak <= 2 * WINDOW_BYTES, "{container}: {} bytes kept", made.carry_peak);
            }
        }
    }
}

/// A record that is longer than may be is left out without being kept, wherever it stands.
#[test]
fn an_endless_record_is_kept_no_longer_than_may_be() {
    let long = "x".repeat(40 * MIB);
    let mut rig = Rig::new();
    let (a, b) = (record("a"), record("b"));
    let cases = [
        ("line", format!("{a}\n{}\n{b}\n", record(&long))),
        ("line without an end", format!("{a}\n{b}\n{{\"message\":\"{long}")),
        ("line of no record", format!("{a}\n{long}\n{b}\n")),
        ("element", format!("[{a},{},{b}]", record(&long))),
        ("pretty", format!("{{\n\"message\":\"a\"\n}}\n{{\n\"message\":\"{long}\"\n}}\n{b}\n")),
        ("key", format!("{a}\n{{\"{long}\":1}}\n{b}\n")),
        ("blanks within", format!("{a}\n{{{}}}\n{b}\n", " ".repeat(40 * MIB))),
    ];
    for (case, text) in cases {
        let made = rig.run(&gzip_at(text.as_bytes(), 1), CHUNK);
        made.check(case, &["a", "b"], 1);
        assert!(made.carry_peak <= RECORD_BYTES_MAX + WINDOW_BYTES, "{case}: {}", made.carry_peak);
    }
}

/// Containers that take bytes and give none.
#[test]
fn bombs_of_headers_members_and_frames() {
    let (a, b) = (gzip(record("a").as_bytes()), gzip(record("b").as_bytes()));
    let empty = gzip(b"");
    let mut named = gzip(b"");
    named[3] |= 1 << 3;
    named.splice(10..10, [vec![b'n'; 8 * MIB], vec![0]].concat());
    let skippable = [b"\x50\x2a\x4d\x18\x00\x00\x00\x01".to_vec(), vec![0xff; 16 * MIB]].concat();
    let cases = [
        ("empty members", [a.clone(), empty.repeat(200_000), b.clone()].concat()),
        ("a long name", [a.clone(), named, b.clone()].concat()),
        ("padding", [a, vec![0; 8 * MIB], b].concat()),
        (
            "empty frames",
            [zstd(record("a").as_bytes()), zstd(b"").repeat(200_000), zstd(record("b").as_bytes())].concat(),
        ),
        ("a skippable frame", [zstd(record("a").as_bytes()), skippable, zstd(record("b").as_bytes())].concat()),
    ];
    let mut rig = Rig::new();
    for (case, stored) in cases {
        let made = rig.run(&stored, CHUNK);
        made.check(case, &["a", "b"], 0);
        assert!(made.carry_peak <= 2 * WINDOW_BYTES, "{case}: {} bytes kept", made.carry_peak);
    }
}
