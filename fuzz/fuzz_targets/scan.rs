//! An object's decompressed bytes. Laws: README.md.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace::core::scan::reference::{self, Content, Item};
use millrace::core::scan::{METADATA, ScanLimits};
use millrace_fuzz::Dice;
use millrace_fuzz::scan::items;
use serde_json::Value;

/// Bytes up to which an input is split at each of its places.
const EACH_SPLIT_BYTES_MAX: usize = 64;
/// Splits of a longer one.
const SPLITS: usize = 12;
/// Bytes of an input: the reference takes quadratic time.
const BYTES_MAX: usize = 4096;

fuzz_target!(|data: &[u8]| {
    let data = &data[..data.len().min(BYTES_MAX)];
    let mut dice = Dice::new(data);
    let found = every_split(data, ScanLimits::default(), &mut dice);
    as_serde_json_reads_it(data, &found);
    // A limit that records break: about as long as they are, or as short as may be.
    let longest = dice.between(4, 4 + data.len());
    for record_bytes_max in [longest, dice.between(4, longest.min(64))] {
        let found = every_split(data, ScanLimits { record_bytes_max }, &mut dice);
        assert!(found.iter().zip(0..).all(|(item, at)| item.ordinal.0 == at));
    }
});

/// Whatever the windows, what is found is what the slow reference finds.
fn every_split(input: &[u8], limits: ScanLimits, dice: &mut Dice) -> Vec<Item> {
    let expected = reference::scan(input, limits);
    assert_eq!(items(input, limits, || usize::MAX), expected, "in one window");
    assert_eq!(items(input, limits, || 1), expected, "byte by byte");
    assert_eq!(items(input, limits, || dice.between(0, 60)), expected, "in pieces");
    let splits: Vec<usize> = if input.len() <= EACH_SPLIT_BYTES_MAX {
        (1..input.len()).collect()
    } else {
        (0..SPLITS).map(|_| dice.between(1, input.len() - 1)).collect()
    };
    for at in splits {
        let mut sizes = [at].into_iter();
        let found = items(input, limits, || sizes.next().unwrap_or(usize::MAX));
        assert!(found == expected, "split at {at}: {found:?} and not {expected:?}");
    }
    expected
}

/// Lines of objects that serde_json takes are these records and no others, with its messages and timestamps.
fn as_serde_json_reads_it(input: &[u8], found: &[Item]) {
    let mut expected = Vec::new();
    for line in input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input).split(|byte| *byte == b'\n') {
        for value in serde_json::Deserializer::from_slice(line).into_iter::<Value>() {
            match value {
                Ok(value @ Value::Object(_)) => expected.push(value),
                _ => return,
            }
        }
    }
    assert_eq!(found.len(), expected.len());
    for (item, value) in found.iter().zip(&expected) {
        let Ok(content) = &item.content else { panic!("{value} is no record") };
        same(content, value);
    }
}

fn same(content: &Content, value: &Value) {
    match &value["message"] {
        Value::String(text) => assert_eq!(&content.message, text),
        Value::Null => {
            let mut kept = value.clone();
            METADATA.iter().for_each(|name| drop(kept.as_object_mut().unwrap().remove(*name)));
            assert_eq!(serde_json::from_str::<Value>(&content.message).unwrap(), kept, "the record less its metadata");
        }
        other => assert_eq!(&serde_json::from_str::<Value>(&content.message).unwrap(), other),
    }
    let timestamp = content.timestamp.as_deref().map(|text| serde_json::from_slice::<Value>(text).unwrap());
    match &value["timestamp"] {
        stamp @ (Value::String(_) | Value::Number(_)) => assert_eq!(timestamp.as_ref(), Some(stamp)),
        _ => assert_eq!(timestamp, None),
    }
}
