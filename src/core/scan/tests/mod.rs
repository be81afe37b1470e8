//! The scanner in named cases; `properties` has it against its reference and against serde_json.

mod properties;

use super::reference::{Content, Item, stamp_of, text_of};
use super::*;

const LIMITS: ScanLimits = ScanLimits { record_bytes_max: RECORD_BYTES_MAX };

/// Scans `input` as the pipeline does: a window of kept bytes, more appended at each cut. Also the most bytes kept. All levels
/// find the same.
fn scan_cut(input: &[u8], cuts: &[usize], limits: ScanLimits) -> (Vec<Item>, usize) {
    let mut levels = Level::all().map(|level| (level, scan_by(level, input, cuts, limits)));
    let (_, portable) = levels.next().unwrap();
    levels.for_each(|(level, found)| assert_eq!(found, portable, "{}", level.name()));
    portable
}

fn scan_by(level: Level, input: &[u8], cuts: &[usize], limits: ScanLimits) -> (Vec<Item>, usize) {
    let mut scanner = Scanner::new(limits).with_level(level);
    // Some records are taken back once, as when there is no room for them yet.
    let mut taken_back = None;
    let mut items = Vec::new();
    let mut window = Vec::new();
    let mut kept_max = 0;
    let mut sizes = cuts.iter().copied().cycle();
    let mut rest = input;
    loop {
        let (fresh, after) = rest.split_at(sizes.next().unwrap_or(usize::MAX).min(rest.len()));
        rest = after;
        window.extend_from_slice(fresh);
        let last = rest.is_empty();
        let mut at = 0;
        loop {
            let (step, next) = scanner.next(&window, at, last);
            assert!(next >= at && next <= window.len());
            at = next;
            match step {
                Step::Record(record) => {
                    assert_eq!(record.text, &input[record.offset as usize..][..record.text.len()]);
                    if record.ordinal.0 % 3 == 1 && taken_back != Some(record.ordinal) {
                        taken_back = Some(record.ordinal);
                        at -= record.text.len();
                        scanner.take_back(&record);
                        continue;
                    }
                    items.push(item(&record));
                }
                Step::Bad(fault) => {
                    items.push(Item { ordinal: fault.ordinal(), offset: fault.offset(), content: Err(fault) });
                }
                Step::NeedMore => {
                    assert!(!last, "asked for more at the end");
                    break;
                }
                Step::End => {
                    if last {
                        assert_eq!(scanner.ordinal().0, items.len() as u64);
                        return (items, kept_max);
                    }
                    break;
                }
            }
        }
        let kept = window.len() - at;
        assert_eq!(window[at..][..kept.min(64)], input[scanner.offset() as usize..][..kept.min(64)]);
        window.drain(..at);
        kept_max = kept_max.max(window.len());
    }
}

/// The record as the copier would take it: one whose message has an unsound escape is a bad record.
fn item(record: &Record<'_>) -> Item {
    let (ordinal, offset) = (record.ordinal, record.offset);
    let content = match text_of(record.message) {
        Some(message) => Ok(Content { message, timestamp: stamp_of(record.timestamp) }),
        None => Err(ObjectFault::BadRecord { ordinal, offset }),
    };
    Item { ordinal, offset, content }
}

/// What a scan finds, for tables: a message, or the fault's first letter and its offset. The reference must agree, in
/// one piece and byte by byte.
fn found(input: &[u8]) -> Vec<String> {
    let expected = reference::scan(input, LIMITS);
    assert_eq!(scan_cut(input, &[], LIMITS).0, expected, "whole");
    assert_eq!(scan_cut(input, &[1], LIMITS).0, expected, "byte by byte");
    expected
        .into_iter()
        .enumerate()
        .map(|(at, item)| {
            assert_eq!(item.ordinal.0, at as u64);
            match item.content {
                Ok(content) => content.message,
                Err(ObjectFault::BadRecord { offset, .. }) => format!("bad@{offset}"),
                Err(ObjectFault::OversizeRecord { offset, .. }) => format!("oversize@{offset}"),
                Err(ObjectFault::ArrayTail { offset, .. }) => format!("tail@{offset}"),
            }
        })
        .collect()
}

#[track_caller]
fn assert_found(input: impl AsRef<[u8]>, expected: &[&str]) {
    assert_eq!(found(input.as_ref()), expected, "{}", String::from_utf8_lossy(input.as_ref()));
}

/// predecessor.md §15, rows "parse".
#[test]
fn predecessor_15_parse() {
    let no_message =
        r#"{"cluster_id":"c","level":"info","namespace":"n","count":42,"kubernetes":{"a":[1]},"file":"f"}"#;
    let metadata = r#"{"cluster_id":"c","customer_id":"c","namespace":"n","application":"a","pod_name":"p","ingest_timestamp":"t","timestamp":"t","kubernetes":{"pod_name":"p"}}"#;
    let cases: Vec<(&str, &str, &[&str])> = vec![
        ("3 NDJSON lines", "{\"message\":\"a\"}\n{\"message\":\"b\"}\n{\"message\":\"c\"}\n", &["a", "b", "c"]),
        ("blank lines", "{\"message\":\"a\"}\n\n  \t\r\n{\"message\":\"b\"}\n\n", &["a", "b"]),
        ("1 bad of 3: 2 events", "{\"message\":\"a\"}\nnot json\n{\"message\":\"b\"}\n", &["a", "bad@16", "b"]),
        ("array on one line", r#"[{"message":"a"},{"message":"b"}]"#, &["a", "b"]),
        ("array over many lines", "[\n  {\n    \"message\": \"a\"\n  }\n]\n", &["a"]),
        ("single object", r#"{"message":"a"}"#, &["a"]),
        ("single object over many lines", "{\n  \"message\": \"a\"\n}", &["a"]),
        ("empty input: 0 events, no error", "", &[]),
        // Each line is a counted fault; the caller makes an object without any good record an error, as Go did.
        ("pure garbage", "pure garbage\nmore of it", &["bad@0", "bad@13"]),
        ("no message: record minus metadata, number kept", no_message, &[r#"{"level":"info","count":42,"file":"f"}"#]),
        ("no message: all eight metadata fields", metadata, &["{}"]),
        // Python sent the whole record for a null, Go the text "null"; design §4 sends the record less its metadata.
        ("message is null", r#"{"message":null,"namespace":"n"}"#, &[r#"{"message":null}"#]),
        // Go sorted the keys, escaped <>& and read numbers as f64; the text is kept byte for byte here.
        ("message is object", r#"{"message":{"b":"<&>","a":[1.50,null]}}"#, &[r#"{"b":"<&>","a":[1.50,null]}"#]),
        ("message is a big integer", r#"{"message":12345678901234567890123}"#, &["12345678901234567890123"]),
        // Dropped by the batcher's rule empty_message.
        ("message is the empty text", r#"{"message":""}"#, &[""]),
        ("record is a string: dropped", "\"a string\"\n{\"message\":\"b\"}", &["bad@0", "b"]),
        ("record in an array is a string: dropped", r#"["a string",{"message":"b"}]"#, &["bad@1", "b"]),
    ];
    for (case, input, expected) in cases {
        assert_eq!(found(input.as_bytes()), expected, "15 parse: {case}");
    }
}

#[test]
fn odd_numbers_and_literals_stay_as_they_are_written() {
    for text in ["1e400", "-0", "-0.0E-0", "1E+2", "0.1e1", "123456789012345678901234567890", "true", "false"] {
        assert_found(format!("{{\"message\":{text}}}"), &[text]);
        assert_found(format!("{{\"a\":{text}}}"), &[&format!("{{\"a\":{text}}}")]);
        assert_found(format!("[{{\"message\":{text}}},{text}]"), &[text, &format!("bad@{}", 14 + text.len())]);
    }
    for text in ["+1", ".5", "5.", "1e", "1e+", "0x1", "00", "-01", "NaN", "Infinity", "True", "nul", "1_0", "--1"] {
        assert_found(format!("{{\"message\":{text}}}"), &["bad@0"]);
        assert_found(format!("{{\"a\":{text},\"message\":\"m\"}}"), &["bad@0"]);
        // Nothing but brackets and strings is asked of nested text that is not sent.
        assert_found(format!("{{\"a\":[{text}],\"message\":\"m\"}}"), &["m"]);
        assert_found(format!("{{\"a\":[{text}]}}"), &["bad@0"]);
    }
}

#[test]
fn invalid_utf8_becomes_replacement_characters_however_it_is_cut() {
    for (bytes, text) in [
        (&b"\xc0\xaf"[..], "\u{fffd}\u{fffd}"),                    // overlong slash
        (b"\xe0\x80\x80", "\u{fffd}\u{fffd}\u{fffd}"),             // overlong NUL
        (b"\xed\xa0\x80", "\u{fffd}\u{fffd}\u{fffd}"),             // surrogate
        (b"\xf4\x90\x80\x80", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}"), // beyond Unicode
        (b"\xe2\x82", "\u{fffd}"),                                 // cut short
        (b"\xf0\x9f\x98x", "\u{fffd}x"),
        (b"\x80\xbf\xfe\xff", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
        (b"\xe2\x82\\n\xac", "\u{fffd}\n\u{fffd}"), // an escape within
        (b"a\0b\x1fc\x7f", "a\0b\u{1f}c\u{7f}"),
        (b"\r\t", "\r\t"),
    ] {
        // `found` cuts at every byte and asks the reference.
        assert_found([b"{\"message\":\"", bytes, b"\"}\r\n"].concat(), &[text]);
        assert_found([b"[{\"message\":\"", bytes, b"\"}]"].concat(), &[text]);
        assert_found([b"{\n\"message\":\"", bytes, b"\"\n}"].concat(), &[text]);
    }
    assert_found(
        b"\0\0\0\n{\"message\":\"a\"}\n\0{\"message\":\"b\"}\n{\"message\":\"c\"}",
        &["bad@0", "a", "bad@20", "c"],
    );
    assert_found(b"{\"message\":\"a\"}\0\n{\0\"message\":\"b\"}\n", &["a", "bad@15", "bad@17"]);
    assert_found(b"{\"message\":\"a\nb\"}\n{\"message\":\"c\"}", &["bad@0", "bad@14", "c"]);
}

#[test]
fn a_million_keys_are_one_record() {
    let members: Vec<String> = (0..1_000_000).map(|at| format!("\"k{at}\":{at}")).collect();
    let text = format!("{{{}}}", members.join(","));
    for input in [text.clone(), format!("{{\"timestamp\":1,{}", &text[1..])] {
        let (items, _) = scan_cut(input.as_bytes(), &[65_536], ScanLimits { record_bytes_max: 64 << 20 });
        assert_eq!(items.len(), 1);
        assert!(items[0].content.as_ref().is_ok_and(|content| content.message == text));
    }
}

#[test]
fn a_record_of_64_mib_is_dropped_by_its_rule_and_never_kept() {
    // Fed in windows as it is made: the input as a whole is in no memory, and what is kept never exceeds the limit.
    let heads: [(&str, &str, &str); 3] = [
        ("{\"message\":\"a\"}\n{\"message\":\"", "\"}\n", "{\"message\":\"b\"}\n"),
        ("[{\"message\":\"a\"},{\"message\":\"", "\"},", "{\"message\":\"b\"}]"),
        ("{\n\"message\":\"a\"\n}\n{\n\"message\":\"", "\"\n}\n", "{\n\"message\":\"b\"\n}\n"),
    ];
    for (head, end, tail) in heads {
        let mut scanner = Scanner::new(LIMITS);
        let (mut window, mut steps, mut kept) = (head.as_bytes().to_vec(), Vec::new(), 0);
        for part in 0..=1025 {
            match part {
                1024 => window.extend_from_slice(end.as_bytes()),
                1025 => window.extend_from_slice(tail.as_bytes()),
                _ => window.resize(window.len() + (64 << 10), b'x'),
            }
            let mut at = 0;
            loop {
                let (step, next) = scanner.next(&window, at, part == 1025);
                at = next;
                match step {
                    Step::NeedMore | Step::End => break,
                    Step::Record(record) => steps.push(text_of(record.message).unwrap()),
                    Step::Bad(fault) => steps.push(fault.to_string()),
                }
            }
            window.drain(..at);
            kept = kept.max(window.len());
        }
        assert_eq!((steps[0].as_str(), steps[2].as_str(), steps.len()), ("a", "b", 3));
        assert!(steps[1].contains("longer than 16777216 bytes; it was dropped"), "{}", steps[1]);
        assert!(kept <= RECORD_BYTES_MAX, "{kept}");
    }
}

#[test]
fn line_ends_blanks_and_the_byte_order_mark_do_not_matter() {
    assert_found("\u{feff}{\"message\":\"a\"}\r\n{\"message\":\"b\"}\r\n", &["a", "b"]);
    assert_found("\u{feff}", &[]);
    assert_found(b"\xef\xbb", &["bad@0"]);
    assert_found(" \n\t\r\n", &[]);
    assert_found("  { \"message\" :\t\"a\" }  \n{\"message\":\"b\"}", &["a", "b"]);
    assert_found("\u{feff}\u{feff}{\"message\":\"a\"}\n{\"message\":\"b\"}", &["bad@3", "b"]);
}

#[test]
fn values_may_share_a_line() {
    assert_found(r#"{"message":"a"}{"message":"b"} {"message":"c"}"#, &["a", "b", "c"]);
    assert_found("{\"message\":\"a\"} tail\n{\"message\":\"b\"}", &["a", "bad@16", "b"]);
    assert_found("{\"message\":\"a\"}\n[{\"message\":\"b\"}]{\"message\":\"c\"}", &["a", "b", "c"]);
}

#[test]
fn a_bad_line_costs_itself_only() {
    for bad in [
        "{",
        "}",
        "]",
        "[",
        "{]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\":01}",
        "{\"a\":tru}",
        "{\"a\":nullx}",
        "{\"a\":-}",
        "{\"a\":1.}",
        "{\"a\":1e}",
        "{\"message\":\"unterminated}",
        "{\"message\":\"cut\\",
        "{\"a\":[1,{\"b\":2]}",
        "{\"a\" 1}",
        "[{\"message\":\"x\"",
        "{\"message\":\"\\x\"}",
        "{\"message\":\"\\u12\"}",
        "123",
        "null",
        "\"text\"",
        "[2024-01-01] INFO",
        "{\"\\q\":1,\"message\":\"a\"}",
        "{\"message\":[tru]}",
        "{\"a\":[1 2]}",
        "{\"message\":{\"a\":\"\\x\"}}",
        "{\"a\":1 \"b\":2}",
    ] {
        let input = format!("{{\"message\":\"a\"}}\n{bad}\n{{\"message\":\"b\"}}\n");
        assert_found(&input, &["a", "bad@16", "b"]);
    }
}

#[test]
fn arrays_may_lie_on_one_line_on_several_or_one_per_line() {
    assert_found("[{\"message\":\"a\"}, {\"message\":\"b\"}]\n[{\"message\":\"c\"}]\n[]\n", &["a", "b", "c"]);
    assert_found("[\n{\"message\":\"a\"},\n{\"message\":\"b\"}\n]\n[\n{\"message\":\"c\"}\n]", &["a", "b", "c"]);
    assert_found("[{\"message\":\"a\"},\n{\"message\":\"b\"}]", &["a", "b"]);
    assert_found("[{\n \"message\": \"a\"\n},{\n\"message\":\n\"b\"}\n]\n", &["a", "b"]);
    assert_found(
        "[1, {\"message\":\"a\"}, [2], \"x\", {\"a\":}, null]",
        &["bad@1", "a", "bad@21", "bad@26", "bad@31", "bad@39"],
    );
    assert_found("[[[]]]\n", &["bad@1"]);
}

#[test]
fn a_syntax_error_ends_an_array_and_says_where() {
    assert_found("[{\"message\":\"a\"} {\"message\":\"b\"}]\n[{\"message\":\"c\"}]", &["a", "tail@17", "c"]);
    assert_found("[{\"message\":\"a\"},{\"message\":\"b]\n[{\"message\":\"c\"}]", &["a", "tail@17", "c"]);
    assert_found("[{\"message\":\"a\"},]", &["a", "tail@17"]);
    assert_found("[{\"message\":\"a\"}", &["a", "tail@16"]);
    assert_found("{}\n[1\n{\"message\":\"a\"}", &["{}", "bad@4", "tail@5", "a"]);
    assert_found("[\n{\"message\":\"a\"},\n{\"message\":\"b\"}\n{\"message\":\"c\"}]", &["a", "b", "tail@35"]);
    assert_found("[\n{\"message\":\"a\"},\n{\"message\":]\n{\"message\":\"c\"}]", &["a", "tail@19"]);
}

#[test]
fn an_array_broken_before_its_first_element_was_a_line() {
    assert_found("[2024-01-01 10:00:00] started\n{\"message\":\"a\"}\n", &["bad@0", "a"]);
    assert_found("[\n{\"message\":\n{\"message\":\"a\"}\n", &["bad@0", "bad@2", "a"]);
    assert_found("[", &["bad@0"]);
    assert_found("[\n[\n[\n", &["bad@0", "bad@2", "bad@4"]);
}

#[test]
fn pretty_printed_values_span_lines() {
    let pretty =
        "{\n  \"message\": \"a\",\n  \"n\": {\n    \"m\": [\n      1\n    ]\n  }\n}\n{\n  \"message\": \"b\"\n}\n";
    assert_found(pretty, &["a", "b"]);
    assert_found("{\"message\":\n\"a\"}{\"message\":\"b\"}\n7\n{\n}", &["a", "b", "bad@32", "{}"]);
    // A broken value costs itself: reading goes on at a line that begins with a bracket.
    assert_found("{\n\"message\":\"a\"\n}\n{\n\"message\": oops\n}\n{\n\"message\":\"b\"\n}", &["a", "bad@18", "b"]);
    assert_found("{\n\"message\":\"a\"\n}\n{\n\"message\":\"lost\"\n{\n\"message\":\"b\"\n}", &["a", "bad@18", "b"]);
    assert_found("{\n\"message\":\"a\"\n}\n{\n\"message\":\"cut", &["a", "bad@18"]);
    assert_found("{\n\"message\":\"a\"\n}\n[{\"message\":\"b\"},\n{\"message\":\"c\"}]\n", &["a", "b", "c"]);
}

#[test]
fn a_first_value_that_does_not_hold_falls_back_to_lines() {
    // The first record was cut where brackets are open; the lines behind it are whole.
    assert_found("{\"message\":\"a\",\"k\":{\"x\":1\n{\"message\":\"b\"}\n{\"message\":\"c\"}\n", &["bad@0", "b", "c"]);
    assert_found("{\"message\":\"cut in a string\n{\"message\":\"b\"}\n", &["bad@0", "b"]);
    assert_found("{\n{\n{\"message\":\"b\"}\n", &["bad@0", "bad@2", "b"]);
    assert_found("{\"a\":{\n", &["bad@0"]);
    // A backslash does not carry a string over its line's end.
    assert_found("{\"k\":\"a\\\n\",\"message\":\"x\"}\n", &["bad@0", "bad@9"]);
}

#[test]
fn the_message_is_text_json_or_the_whole_record() {
    for (record, message) in [
        (r#"{"message":"plain"}"#, "plain"),
        (r#"{"message":"q\"b\\s\/ \n\t\r\b\f \u00e9 \ud83d\ude00"}"#, "q\"b\\s/ \n\t\r\u{8}\u{c} é 😀"),
        (r#"{"message":""}"#, ""),
        (r#"{"message":12.50e+1}"#, "12.50e+1"),
        (r#"{"message":true}"#, "true"),
        (r#"{"message":[ 1, "x" ]}"#, r#"[ 1, "x" ]"#),
        (r#"{"message":null,"a":1}"#, r#"{"message":null,"a":1}"#),
        (r#"{ "a" : 1 , "timestamp":5, "b": "x" }"#, r#"{"a" : 1,"b": "x"}"#),
        (r#"{"timestamp":5}"#, "{}"),
        (r#"{"\u006eamespace":"n","a":1}"#, r#"{"a":1}"#),
        ("{}", "{}"),
        // The last of equal keys wins, however it is spelled.
        (r#"{"message":"a","message":"b"}"#, "b"),
        (r#"{"message":"a","m\u0065ssage":"b"}"#, "b"),
        (r#"{"mess\u0061ge":"b","message":"c"}"#, "c"),
        (r#"{"message":"a","message":null}"#, r#"{"message":"a","message":null}"#),
        (r#"{"Message":"a","message ":"b"}"#, r#"{"Message":"a","message ":"b"}"#),
        // Surrogates without their half.
        (r#"{"message":"\ud83d"}"#, "\u{fffd}"),
        (r#"{"message":"\ud83d\ud83d\ude00 \ude00"}"#, "\u{fffd}😀 \u{fffd}"),
        ("{\"message\":\"tab\there\"}", "tab\there"),
        // Nested text is only looked into when it is sent.
        (r#"{"k":{nonsense: [}{]},"message":"a"}"#, ""),
        (r#"{"k":{nonsense: [1 2]},"message":"a"}"#, "a"),
    ] {
        if message.is_empty() && !record.contains("\"\"") {
            assert_found(record, &["bad@0"]);
        } else {
            assert_found(record, &[message]);
        }
    }
    assert_found(b"{\"message\":\"\xff\xe2\x82 \xc3\xa9\"}", &["\u{fffd}\u{fffd} é"]);
    assert_found(b"{\"\xff\":\"\xfe\"}", &["{\"\u{fffd}\":\"\u{fffd}\"}"]);
}

#[test]
fn the_timestamp_is_left_as_written() {
    let stamp = |record: &str| {
        found(record.as_bytes());
        let item = reference::scan(record.as_bytes(), LIMITS).remove(0);
        item.content.unwrap().timestamp.map(|text| String::from_utf8(text).unwrap())
    };
    assert_eq!(stamp(r#"{"timestamp":"2024","message":"a"}"#).as_deref(), Some("\"2024\""));
    assert_eq!(stamp(r#"{"message":"a","timestamp":-1.5e3}"#).as_deref(), Some("-1.5e3"));
    assert_eq!(stamp(r#"{"message":"a","timestamp":null}"#), None);
    assert_eq!(stamp(r#"{"message":"a","timestamp":{"a":1}}"#), None);
    assert_eq!(stamp(r#"{"message":"a","ingest_timestamp":7}"#), None);
    assert_eq!(stamp(r#"{"timestamp":1,"message":"a","timestamp":"2"}"#).as_deref(), Some("\"2\""));
    assert_eq!(stamp(r#"{"timestamp":1,"message":"a","timestamp":null}"#), None);
}

#[test]
fn nesting_is_bounded_and_constant() {
    let nested = |levels: usize, message: &str| {
        format!("{{\"a\":{}1{},{message}}}", "[".repeat(levels - 1), "]".repeat(levels - 1))
    };
    let deep = |levels: usize| nested(levels, "\"message\":\"a\"");
    assert_found(deep(NESTING_MAX), &["a"]);
    assert_found(deep(NESTING_MAX + 1), &["bad@0"]);
    assert_found(format!("[{},{}]", deep(NESTING_MAX + 1), deep(3)), &["bad@1", "a"]);
    let sent = nested(NESTING_MAX, "\"b\":1");
    assert_found(&sent, &[&sent]);
    let million = 1_000_000;
    let input = format!("{}\n{{\"message\":\"a\"}}\n", nested(million, "\"message\":1"));
    assert_eq!(found(input.as_bytes()), ["bad@0", "a"]);
    let open = format!("{}\n{{\"message\":\"a\"}}\n", "{\"a\":".repeat(million));
    assert_eq!(found(open.as_bytes()), ["bad@0", "a"]);
    let array = format!("[{}{},{{\"message\":\"a\"}}]", "[".repeat(million), "]".repeat(million));
    assert_eq!(found(array.as_bytes()), ["bad@1", "a"]);
    assert!(size_of::<Scanner>() < 1024);
}

#[test]
fn an_oversize_record_is_dropped_once_and_never_kept() {
    let limits = ScanLimits { record_bytes_max: 1000 };
    let long = "x".repeat(50_000);
    let small = "{\"message\":\"a\"}";
    for input in [
        format!("{small}\n{{\"message\":\"{long}\"}}\n{small}\n"),
        format!("{{\"message\":\"{long}\"}}\n{small}\n"),
        format!("[{small},{{\"message\":\"{long}\"}},{small}]"),
        format!("[\n{small},\n{{\"message\":\n\"{long}\"}},\n{small}]"),
        format!("[{{\"message\":\"{long}\"}},{small}]"),
        format!("[{small},{}1{},{small}]", "[".repeat(3000), "]".repeat(3000)),
        format!("[{small},{},{small}]", "1".repeat(2000)),
        format!("{{\n\"message\":\"a\"\n}}\n{{\n\"message\":\"{long}\"\n}}\n{small}"),
        format!("{{\n\"message\":\"{long}\"\n}}\n{small}"),
        format!("{{\n\"message\":\"a\"\n}}\n{{\n\"message\":\"{long}\n{small}"),
        format!("{small}\n{long}\n{small}"),
        format!("{small}\n{{\"message\":\"{long}\n{small}"),
        format!("[{small},{{\"message\":\"{long}\n[{small}]"),
        format!("[{}{small}]", " \n".repeat(9000)),
        format!("{small}{}{small}", " \n".repeat(9000)),
    ] {
        let expected = reference::scan(input.as_bytes(), limits);
        for cuts in [&[][..], &[1], &[997], &[1000], &[64, 5]] {
            let (items, kept) = scan_cut(input.as_bytes(), cuts, limits);
            assert_eq!(items, expected, "{}", &input[..40]);
            assert!(kept <= 1000);
        }
        let oversize = expected.iter().filter(|item| matches!(item.content, Err(ObjectFault::OversizeRecord { .. })));
        assert!(oversize.count() <= 1);
        assert!(expected.last().unwrap().content.is_ok(), "{expected:?}");
    }
}

#[test]
fn a_value_that_breaks_just_behind_the_limit_is_left_at_the_next_one() {
    let head = "{\n\"message\":\"a\"\n}\n";
    let cut = "{\n\"k\":\"0123456789\"\n";
    let limits = ScanLimits { record_bytes_max: cut.len() };
    for input in [format!("{head}{cut}{{\n\"message\":\"b\"}}"), format!("[{{}},:{}]", "1".repeat(100))] {
        let expected = reference::scan(input.as_bytes(), limits);
        for cuts in [&[][..], &[1], &[20], &[23]] {
            assert_eq!(scan_cut(input.as_bytes(), cuts, limits).0, expected);
        }
        assert!(expected.iter().any(|item| item.content.is_ok()));
    }
}

#[test]
fn records_without_newlines_are_not_kept_until_one_comes() {
    let record = "{\"message\":\"a\",\"k\":[{\"x\":\"}\"}]}";
    for first in ["", "{\"message\":\"b\"}\n", "7\n", "[]", "{]\n"] {
        let input = format!("{first}{}", record.repeat(1000));
        let expected = reference::scan(input.as_bytes(), LIMITS);
        for cut in [1, 50, 300] {
            let (items, kept) = scan_cut(input.as_bytes(), &[cut], LIMITS);
            assert_eq!(items, expected);
            assert!(kept < record.len() + cut, "{kept} bytes kept behind {first:?}");
        }
    }
}

#[test]
fn a_long_record_in_small_windows_takes_linear_time() {
    // Quadratic, each of these would be 10^11 steps and more.
    let text = "y".repeat(4 << 20);
    let input = format!("[{{\"message\":\"{text}\"}},\n{{\"message\":\n\"{text}\"}}]");
    assert_eq!(scan_cut(input.as_bytes(), &[4096], LIMITS).0.len(), 2);
    let input = format!("{{\"message\":\"{text}\"}}\n{{\"message\":\"{text}\"}}");
    assert_eq!(scan_cut(input.as_bytes(), &[4096], LIMITS).0.len(), 2);
    let input = format!("{{\n\"message\":\"{text}\"}}\n{{\n\"message\":\"{text}\"}}");
    assert_eq!(scan_cut(input.as_bytes(), &[4096], LIMITS).0.len(), 2);
    let input = "{}".repeat(100_000);
    assert_eq!(scan_cut(input.as_bytes(), &[4096], LIMITS).0.len(), 100_000);
}
