//! A timestamp's text: of a JSON string, still escaped, or of a JSON number. Laws: README.md.

#![no_main]

use chrono::DateTime;
use libfuzzer_sys::fuzz_target;
use millrace::core::event::Timeline;
use millrace::core::scan::Stamp;
use millrace::core::time::UnixMillis;
use millrace::core::timestamp::{parse_escaped, parse_number, parse_text};
use millrace_fuzz::Dice;

fuzz_target!(|data: &[u8]| {
    text(data);
    escaped(data, &mut Dice::new(data));
    number(data);
    timeline(data);
});

/// What chrono reads as RFC 3339 has the same time here, and what is read here chrono reads, once it is spelled its way.
fn text(data: &[u8]) {
    let ours = parse_text(data);
    let theirs = std::str::from_utf8(data).ok().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    if let (Some(theirs), Some(text)) = (theirs, std::str::from_utf8(data).ok()) {
        assert_eq!(ours, Some(UnixMillis(theirs.timestamp_millis())), "{text}");
    }
    let Some(ours) = ours else { return };
    let text = std::str::from_utf8(data).expect("a time is ASCII");
    let mut plain = text.to_ascii_uppercase().replace([' '], "T").replace(',', ".");
    // More digits than nanoseconds have, and a leap second within an hour, are not for chrono.
    let point = plain.find('.').unwrap_or(plain.len());
    let digits = plain[point..].chars().skip(1).take_while(char::is_ascii_digit).count();
    if digits > 9 {
        plain.replace_range(point + 10..point + 1 + digits, "");
    }
    let leap = plain.get(17..19) == Some("60");
    if leap {
        plain.replace_range(17..19, "59");
    }
    let theirs = DateTime::parse_from_rfc3339(&plain).unwrap_or_else(|error| panic!("{text} as {plain}: {error}"));
    assert_eq!(ours.0, theirs.timestamp_millis() + if leap { 1000 } else { 0 }, "{text}");
}

/// However its bytes are escaped, and by serde_json's own unescaping, a text has one time.
fn escaped(data: &[u8], dice: &mut Dice) {
    let quoted = [b"\"", data, b"\""].concat();
    if let Ok(text) = serde_json::from_slice::<String>(&quoted) {
        let long = data.contains(&b'\\') && text.len() > 128;
        assert!(parse_escaped(data) == parse_text(text.as_bytes()) || long && parse_escaped(data).is_none());
    }
    if data.len() <= 128 && data.is_ascii() && !data.contains(&b'\\') {
        let escape = |byte: &u8| match dice.between(0, 2) {
            0 => format!("\\u{byte:04x}"),
            1 => format!("\\u{byte:04X}"),
            _ => char::from(*byte).to_string(),
        };
        let escaped: String = data.iter().map(escape).collect();
        assert_eq!(parse_escaped(escaped.as_bytes()), parse_text(data), "{escaped}");
    }
}

/// A number is what it is when it is written out without its exponent; one that serde_json takes is near its `f64`.
fn number(data: &[u8]) {
    let ours = parse_number(data);
    let text = std::str::from_utf8(data).unwrap_or_default();
    match serde_json::from_slice::<f64>(data) {
        Ok(_) if data.trim_ascii() != data => assert_eq!(ours, None, "{text:?}: blanks are no part of a number"),
        Ok(value) if value.is_sign_negative() => assert_eq!(ours, None, "{text}"),
        // About the limit where seconds become milliseconds an f64 does not know, nor about the last digits of the range.
        Ok(value) if (value - 1e12).abs() > 1.0 && value < 9e17 => {
            let Some(UnixMillis(ours)) = ours else { panic!("{text} is not read") };
            let millis = if value > 1e12 { value } else { value * 1000.0 };
            assert!((ours as f64 - millis).abs() <= 1.0 + millis * 1e-15, "{text}: {ours} and not {millis}");
        }
        _ => {}
    }
    if let Some(expected) = written_out(text) {
        assert_eq!(ours, expected.map(UnixMillis), "{text}");
    }
}

/// The number by moving the point one place at a time; `None` when that would take long or the text is no number.
fn written_out(text: &str) -> Option<Option<i64>> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if digits.is_empty() || digits.len() > 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() || !whole.bytes().chain(part.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (mut whole, mut part) = (whole.to_owned(), part.to_owned());
    for _ in 0..digits.parse::<i32>().unwrap() {
        if exponent.starts_with('-') {
            part.insert(0, whole.pop().unwrap_or('0'));
        } else {
            whole.push(if part.is_empty() { '0' } else { part.remove(0) });
        }
    }
    let whole = whole.trim_start_matches('0');
    if whole.len() > 18 {
        return Some(None);
    }
    let seconds: i64 = if whole.is_empty() { 0 } else { whole.parse().unwrap() };
    if seconds > 1_000_000_000_000 || seconds == 1_000_000_000_000 && part.contains(|digit| digit != '0') {
        return Some(Some(seconds));
    }
    let millis: i64 = format!("{part}000")[..3].parse().unwrap();
    Some(Some(seconds * 1000 + millis))
}

/// A record without a readable time has the last one that was read.
fn timeline(data: &[u8]) {
    let modified = UnixMillis(-7);
    let mut timeline = Timeline::new(modified);
    let mut last = modified;
    for line in data.split(|byte| *byte == b'\n') {
        for (stamp, own) in [
            (Stamp::Text(line), parse_escaped(line)),
            (Stamp::Number(line), parse_number(line)),
            (Stamp::Missing, None),
        ] {
            last = own.unwrap_or(last);
            assert_eq!(timeline.peek(stamp), last);
            assert_eq!(timeline.resolve(stamp), last);
        }
    }
}
