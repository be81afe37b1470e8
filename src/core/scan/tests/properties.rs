//! The scanner against its reference and against serde_json, on generated inputs.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::core::scan::reference;

/// Text as it may stand within a JSON string, sound and unsound.
fn inside() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => "[ -~&&[^\"\\\\]]{0,30}".prop_map(String::into_bytes),
        2 => prop::sample::select(vec!["\\n", "\\\"", "\\\\", "\\u00e9", "\\ud83d\\ude00", "é", "😀", "\t", "\\/"])
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::sample::select(vec![
            &b"\\ud800"[..], b"\\udc00", b"\xff", b"\xe2\x82", b"\\x", b"\\u12", b"\0", b"\\ud83d\\u0041", b"{", b"]", b"[",
        ])
        .prop_map(<[u8]>::to_vec),
        // So many that they are looked at together.
        1 => (prop::sample::select(vec!["\\n", "\\\"", "\\\\", "\\\\\\n", "a\\t", "\\u0041", "\\"]), 10..90_usize)
            .prop_map(|(escape, times)| escape.repeat(times).into_bytes()),
    ];
    vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn string() -> impl Strategy<Value = Vec<u8>> {
    inside().prop_map(|inside| [b"\"", inside.as_slice(), b"\""].concat())
}

fn blank() -> impl Strategy<Value = &'static str> {
    prop_oneof![20 => Just(""), 2 => Just(" "), 1 => Just("\n  "), 1 => Just("\r\n"), 1 => Just("\t")]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let scalar = prop::sample::select(vec![
        "1",
        "-0.5e+7",
        "true",
        "false",
        "null",
        "1e999",
        "123456789012345678901",
        "01",
        "tru",
        "-",
        "nul",
        "1.",
        "2024-01-01",
        ",",
        "}",
    ]);
    let leaf = prop_oneof![4 => string(), 3 => scalar.prop_map(|text| text.as_bytes().to_vec())];
    leaf.prop_recursive(3, 12, 4, |element| {
        prop_oneof![
            vec((blank(), element.clone()), 0..4).prop_map(|elements| {
                let texts: Vec<_> = elements.iter().map(|(blank, text)| [blank.as_bytes(), text].concat()).collect();
                [b"[", texts.join(&b',').as_slice(), b"]"].concat()
            }),
            object(element),
        ]
    })
}

fn object(value: impl Strategy<Value = Vec<u8>> + Clone) -> impl Strategy<Value = Vec<u8>> {
    let key = prop_oneof![
        4 => Just(&b"\"message\""[..]),
        2 => Just(&b"\"timestamp\""[..]),
        4 => prop::sample::select(vec![
            &b"\"namespace\""[..], b"\"k\"", b"\"mess\\u0061ge\"", b"\"\\u0074imestamp\"", b"\"cluster_id\"", b"\"\\x\"", b"\"\"",
        ]),
    ];
    vec((blank(), key, blank(), value, blank()), 0..5).prop_map(|members| {
        let texts: Vec<_> = members
            .iter()
            .map(|(a, key, b, value, c)| {
                [a.as_bytes(), key, b.as_bytes(), b":", b.as_bytes(), value, c.as_bytes()].concat()
            })
            .collect();
        [b"{", texts.join(&b',').as_slice(), b"}"].concat()
    })
}

fn record() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => string().prop_map(|text| [&b"{\"timestamp\":\"2024-01-01T00:00:00Z\",\"message\":"[..], &text, b"}"].concat()),
        2 => object(value().boxed()),
        1 => value(),
    ]
}

/// Objects of every shape that design knows, with damage: bytes removed, replaced or doubled.
fn ndjson_with_damage() -> impl Strategy<Value = Vec<u8>> {
    let separator = prop::sample::select(vec!["\n", "\r\n", "\n\n", " \n", "", " ", ",\n"]);
    let lines = vec((record(), separator), 0..8)
        .prop_map(|lines| lines.iter().flat_map(|(line, end)| [line, end.as_bytes()].concat()).collect::<Vec<u8>>());
    let arrays = vec((vec(record(), 0..5), prop::sample::select(vec![",", ",\n", "\n,", " , "]), blank()), 1..4)
        .prop_map(|arrays| {
            let texts = arrays.iter().map(|(records, comma, blank)| {
                let inside = records.join(comma.as_bytes());
                [b"[", blank.as_bytes(), &inside, blank.as_bytes(), b"]\n"].concat()
            });
            texts.flatten().collect::<Vec<u8>>()
        });
    let pretty = vec(record(), 1..5).prop_map(|records| {
        let texts = records.iter().map(|record| match serde_json::from_slice::<Value>(record) {
            Ok(value) => serde_json::to_vec_pretty(&value).unwrap(),
            Err(_) => record.clone(),
        });
        texts.collect::<Vec<_>>().join(&b'\n')
    });
    let mark = prop_oneof![9 => Just(&b""[..]), 1 => Just(&b"\xef\xbb\xbf"[..])];
    let damage =
        vec((any::<prop::sample::Index>(), 0..4_u8, prop::sample::select(b"{}[]\",:\\\n x\xff".to_vec())), 0..3);
    (mark, prop_oneof![3 => lines, 2 => arrays, 2 => pretty], damage).prop_map(|(mark, mut text, damage)| {
        for (index, kind, byte) in damage {
            if !text.is_empty() {
                let at = index.index(text.len());
                match kind {
                    0 => drop(text.remove(at)),
                    1 => text.insert(at, byte),
                    2 => text[at] = byte,
                    _ => text.truncate(at),
                }
            }
        }
        [mark, &text].concat()
    })
}

/// A record as a stream has many, each a little unlike the others: what it differs in, in which places. Places count from the
/// end as well as from the start, for there the shape's end is.
fn records_alike() -> impl Strategy<Value = Vec<u8>> {
    let key = prop::sample::select(vec!["a", "bb", "message", "timestamp", "kubernetes", "stream", "message"]);
    let value = prop_oneof![
        3 => "[ -!#-\\[\\]-~]{0,90}".prop_map(|text| format!("\"{text}\"")),
        1 => Just(r#"{"pod":{"a":["x","y"],"b":"}"},"n":[1,{}]}"#.to_owned()),
        1 => prop::sample::select(vec!["1", "12.5", "true", "null", "[]", "{}", "\"\"", "\"\\\\\"", "\"a\\\"b\""]).prop_map(str::to_owned),
    ];
    let comma = prop::sample::select(vec![",", ",", ",", ", "]);
    let base = vec((key, value.clone(), comma), 1..9);
    let change = prop_oneof![
        // A member's value, or all of it, is another, or is not there, or one more is.
        6 => (any::<prop::sample::Index>(), value).prop_map(|(at, value)| Change::Value(at, value)),
        1 => any::<prop::sample::Index>().prop_map(Change::Without),
        1 => any::<prop::sample::Index>().prop_map(Change::Twice),
        // A byte is another.
        2 => (any::<prop::sample::Index>(), prop::sample::select(b"\"\\,:{}[]\n0 n".to_vec())).prop_map(|(at, byte)| Change::Byte(at, byte)),
    ];
    (base, vec(vec(change, 0..3), 1..24)).prop_map(|(base, records)| {
        let mut text = Vec::new();
        for changes in records {
            let mut members: Vec<(&str, String, &str)> = base.clone();
            let mut bytes = Vec::new();
            for change in &changes {
                match change {
                    Change::Value(at, value) => {
                        let at = at.index(members.len());
                        members[at].1.clone_from(value);
                    }
                    Change::Without(at) if members.len() > 1 => drop(members.remove(at.index(members.len()))),
                    Change::Twice(at) => members.push(members[at.index(members.len())].clone()),
                    Change::Without(_) | Change::Byte(..) => {}
                }
            }
            let texts = members.iter().enumerate().map(|(at, (key, value, comma))| {
                format!("\"{key}\":{value}{}", if at + 1 < members.len() { comma } else { "" })
            });
            bytes.extend_from_slice(format!("{{{}}}\n", texts.collect::<String>()).as_bytes());
            for change in changes {
                if let Change::Byte(at, byte) = change {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                }
            }
            text.extend_from_slice(&bytes);
        }
        text
    })
}

#[derive(Clone, Debug)]
enum Change {
    Value(prop::sample::Index, String),
    Without(prop::sample::Index),
    Twice(prop::sample::Index),
    Byte(prop::sample::Index, u8),
}

proptest! {

    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    /// What a record has in common with an earlier one is not read; it is the same as if it were.
    #[test]
    fn records_that_are_alike_are_what_they_are(input in records_alike(), cuts in vec(1..400_usize, 0..4)) {
        let expected = reference::scan(&input, LIMITS);
        prop_assert_eq!(scan_cut(&input, &[], LIMITS).0, expected.clone());
        prop_assert_eq!(scan_cut(&input, &cuts, LIMITS).0, expected);
    }

    /// However the input is cut into windows, records and faults are those of the reference.
    #[test]
    fn cuts_change_nothing(input in ndjson_with_damage(), cuts in vec(1..200_usize, 0..64)) {
        let expected = reference::scan(&input, LIMITS);
        prop_assert_eq!(scan_cut(&input, &[], LIMITS).0, expected.clone());
        prop_assert_eq!(scan_cut(&input, &cuts, LIMITS).0, expected);
    }

    /// The same with a limit that many records break, and nothing above it is ever kept.
    #[test]
    fn limits_change_with_no_cut(
        input in ndjson_with_damage(),
        cuts in vec(1..60_usize, 1..8),
        record_bytes_max in 4..80_usize,
    ) {
        let limits = ScanLimits { record_bytes_max };
        let (items, kept) = scan_cut(&input, &cuts, limits);
        prop_assert_eq!(items, reference::scan(&input, limits));
        prop_assert!(kept <= record_bytes_max.max(cuts.iter().copied().max().unwrap_or(0)));
    }

    /// Noise of the bytes that matter.
    #[test]
    fn noise_changes_nothing(
        input in vec(prop::sample::select(b"{}[]\",:\\\n\n 1tn\"a".to_vec()), 0..80),
        cuts in vec(1..20_usize, 1..8),
        record_bytes_max in 4..200_usize,
    ) {
        let limits = ScanLimits { record_bytes_max };
        prop_assert_eq!(scan_cut(&input, &cuts, limits).0, reference::scan(&input, limits));
    }

    /// What serde_json takes as an object is a record with the same message and timestamp.
    #[test]
    fn serde_json_agrees(input in object(value().boxed())) {
        if let Ok(expected) = serde_json::from_slice::<Value>(&input) {
            let items = scan_cut(&input, &[], LIMITS).0;
            prop_assert_eq!(items.len(), 1);
            let content = items[0].content.clone().unwrap();
            match &expected["message"] {
                Value::String(text) => prop_assert_eq!(&content.message, text),
                Value::Null => {
                    let sent: Value = serde_json::from_str(&content.message).unwrap();
                    let mut kept = expected.clone();
                    METADATA.iter().for_each(|name| drop(kept.as_object_mut().unwrap().remove(*name)));
                    prop_assert_eq!(sent, kept);
                }
                other => prop_assert_eq!(&serde_json::from_str::<Value>(&content.message).unwrap(), other),
            }
            match &expected["timestamp"] {
                stamp @ (Value::String(_) | Value::Number(_)) => {
                    prop_assert_eq!(&serde_json::from_slice::<Value>(&content.timestamp.unwrap()).unwrap(), stamp);
                }
                _ => prop_assert_eq!(content.timestamp, None),
            }
        }
    }
}
