//! The body of a queue's message → the objects that it tells of.
//!
//! Five shapes are told apart by their fields, since all of them reach one queue: an SNS envelope around an S3 event (also
//! reduced to its `Message`, as it is piped into manual mode), the bare S3 event (raw SNS delivery, or S3 straight to SQS),
//! an EventBridge event, and the test message that S3 sends once when a notification is set up.

use std::fmt;

use percent_encoding::percent_decode_str;
use simd_json::ValueType;
use simd_json::prelude::{TypedScalarValue as _, TypedValue as _, ValueAsScalar as _, ValueIntoString as _};
use simd_json::tape::Value;

use super::object::{ETag, ObjectRef};
use super::scan;

/// Records of one message. Source: a message has at most 1 MiB (SQS API Reference, "SendMessage"), S3 sends one record;
/// the bound keeps a forged message from holding thousands of objects at once.
pub const RECORDS_MAX: usize = 1000;
/// Characters of the longest integer of 64 bits.
const INTEGER_BYTES_MAX: usize = 20;
/// Bytes of a body. Source: SQS API Reference, "SendMessage".
pub const BODY_BYTES_MAX: usize = 1_048_576;

/// What a message's body says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notification {
    /// Something happened to objects, in this order.
    Objects(Vec<Noticed>),
    /// S3's test message: nothing happened.
    Test,
}

/// One record of a notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noticed {
    /// An object was written or restored.
    Object(ObjectRef),
    /// Something else happened, such as a removal.
    Ignored,
    /// The record names no object. The other records of the message stand.
    Bad(RecordError),
}

/// Why a record names no object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the error texts are the documentation")]
pub enum RecordError {
    #[error("the record has no bucket name")]
    NoBucket,
    #[error("the record has no object key")]
    NoKey,
    #[error("the record's key is not UTF-8 when decoded")]
    KeyNotUtf8,
    #[error("the record's event version is not 2.x")]
    Version,
}

/// What kind of JSON a text is: all that may be said of a body that is no notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum JsonKind {
    Object,
    Array,
    String,
    Number,
    Literal,
    NotJson,
}

impl JsonKind {
    fn of(value: Value<'_, '_>) -> Self {
        match value.value_type() {
            ValueType::Object => Self::Object,
            ValueType::Array => Self::Array,
            ValueType::String => Self::String,
            ValueType::Null | ValueType::Bool | ValueType::Extended(_) | ValueType::Custom(_) => Self::Literal,
            ValueType::I64 | ValueType::I128 | ValueType::U64 | ValueType::U128 | ValueType::F64 => Self::Number,
        }
    }
}

impl fmt::Display for JsonKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Object => "a JSON object of another shape",
            Self::Array => "a JSON array",
            Self::String => "a JSON string",
            Self::Number => "a JSON number",
            Self::Literal => "a JSON literal",
            Self::NotJson => "no JSON, or nested too deeply",
        })
    }
}

/// A body that is no notification. It says what kind of text it was, never the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the error texts are the documentation")]
pub enum EnvelopeError {
    #[error("the body is {0}; an SNS envelope, an S3 event or an EventBridge event is wanted")]
    Body(JsonKind),
    #[error("the envelope's Message is {0}; the text of an S3 event is wanted")]
    Message(JsonKind),
    #[error("the body has {0} bytes; at most {BODY_BYTES_MAX} are allowed")]
    Long(usize),
    #[error("the event has {0} records; at most {RECORDS_MAX} are allowed")]
    ManyRecords(usize),
}

/// Reads a body. It is read as a tape of values, in which the last of equal keys wins and a field of another kind is as
/// good as absent, so that what one record gets wrong is that record's alone. Nothing here recurses, and
/// the parser refuses a body that is nested more than 1024 deep.
///
/// # Errors
/// [`EnvelopeError`] when the body as a whole is no notification. A record that names no object is no such error.
pub fn parse(body: &str) -> Result<Notification, EnvelopeError> {
    if body.len() > BODY_BYTES_MAX {
        return Err(EnvelopeError::Long(body.len()));
    }
    let mut bytes = bounded(body);
    let tape = simd_json::to_tape(&mut bytes).map_err(|_| EnvelopeError::Body(JsonKind::NotJson))?;
    let outer = tape.as_value();
    if let Some(event) = event(outer)? {
        return Ok(event);
    }
    let Some(message) = field(outer, "Message").filter(|message| !message.is_null()) else {
        return Err(EnvelopeError::Body(JsonKind::of(outer)));
    };
    let Some(message) = message.into_string() else { return Err(EnvelopeError::Message(JsonKind::of(message))) };
    let mut bytes = bounded(message);
    let tape = simd_json::to_tape(&mut bytes).map_err(|_| EnvelopeError::Message(JsonKind::NotJson))?;
    let inner = tape.as_value();
    event(inner)?.ok_or_else(|| EnvelopeError::Message(JsonKind::of(inner)))
}

/// A text for the parser, which unescapes it in place. The parser refuses a text for one number beyond the range of 64-bit
/// floats; here the only numbers that matter are sizes, so any that is no short integer is made a small fraction.
fn bounded(text: &str) -> Vec<u8> {
    let mut bytes = text.trim().as_bytes().to_vec();
    let (mut at, mut in_string) = (0, false);
    while let Some(&byte) = bytes.get(at) {
        let mut len = 1;
        match byte {
            b'"' => in_string = !in_string,
            b'\\' => len = 2,
            b'-' | b'0'..=b'9' if !in_string => {
                let rest = bytes.get_mut(at..).unwrap_or_default();
                len = rest.iter().position(|byte| !scan::in_scalar(*byte)).unwrap_or(rest.len());
                let number = rest.get_mut(..len).unwrap_or_default();
                let is_short =
                    number.len() <= INTEGER_BYTES_MAX && !number.iter().any(|byte| matches!(byte, b'e' | b'E'));
                if !is_short && scan::is_scalar(number) {
                    number.fill(b' ');
                    number.iter_mut().zip(b"0.5").for_each(|(place, digit)| *place = *digit);
                }
            }
            _ => {}
        }
        at += len;
    }
    bytes
}

/// The event that `body` is, if it is one and no envelope.
fn event(body: Value<'_, '_>) -> Result<Option<Notification>, EnvelopeError> {
    if let Some(records) = field(body, "Records").and_then(|records| records.as_array()) {
        if records.len() > RECORDS_MAX {
            return Err(EnvelopeError::ManyRecords(records.len()));
        }
        return Ok(Some(Notification::Objects(records.iter().map(s3_record).collect())));
    }
    if text(body, "Event") == Some("s3:TestEvent") {
        return Ok(Some(Notification::Test));
    }
    let (Some(kind), Some(detail)) = (text(body, "detail-type"), field(body, "detail")) else { return Ok(None) };
    let wanted = matches!(kind, "Object Created" | "Object Restore Completed");
    let noticed = if wanted { object(detail, |key| Ok(key.to_owned())) } else { Noticed::Ignored };
    Ok(Some(Notification::Objects(vec![noticed])))
}

fn s3_record(record: Value<'_, '_>) -> Noticed {
    if text(record, "eventVersion").is_some_and(|version| !version.starts_with("2.")) {
        return Noticed::Bad(RecordError::Version);
    }
    let name = text(record, "eventName").map(|name| name.strip_prefix("s3:").unwrap_or(name));
    // A reduced record without a name is what a person pipes in: it is meant.
    let wanted = name.is_none_or(|name| name.starts_with("ObjectCreated:") || name == "ObjectRestore:Completed");
    match field(record, "s3") {
        _ if !wanted => Noticed::Ignored,
        Some(detail) => object(detail, form_decoded),
        None => Noticed::Bad(RecordError::NoBucket),
    }
}

fn object(detail: Value<'_, '_>, decode: impl Fn(&str) -> Result<String, RecordError>) -> Noticed {
    let Some(bucket) = field(detail, "bucket").and_then(|bucket| text(bucket, "name")) else {
        return Noticed::Bad(RecordError::NoBucket);
    };
    let Some((object, key)) = field(detail, "object").and_then(|object| Some((object, text(object, "key")?))) else {
        return Noticed::Bad(RecordError::NoKey);
    };
    let key = match decode(key) {
        Ok(key) => key,
        Err(error) => return Noticed::Bad(error),
    };
    // S3 events and EventBridge spell these two differently.
    let either = |s3, event_bridge| text(object, s3).or_else(|| text(object, event_bridge));
    Noticed::Object(ObjectRef {
        bucket: bucket.into(),
        key: key.into(),
        version: either("versionId", "version-id").filter(|version| *version != "null").map(Into::into),
        etag: either("eTag", "etag").map(ETag::new),
        size: field(object, "size").and_then(|size| size.as_u64()),
        sequencer: text(object, "sequencer").map(Into::into),
    })
}

/// A field of an object; the last one, when there are more of that name.
fn field<'t, 'b>(value: Value<'t, 'b>, name: &str) -> Option<Value<'t, 'b>> {
    value.as_object()?.iter().filter(|(key, _)| *key == name).last().map(|(_, value)| value)
}

/// The text of a field, if it is one and not empty.
fn text<'b>(value: Value<'_, 'b>, name: &str) -> Option<&'b str> {
    field(value, name)?.into_string().filter(|text| !text.is_empty())
}

/// A key as S3 events spell it: `+` is a space, then percent-decoded. A `%` that begins no code stays as it is.
fn form_decoded(key: &str) -> Result<String, RecordError> {
    let spaced = key.replace('+', " ");
    match percent_decode_str(&spaced).decode_utf8() {
        Ok(key) => Ok(key.into_owned()),
        Err(_) => Err(RecordError::KeyNotUtf8),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{BODY_BYTES_MAX, ETag, EnvelopeError, JsonKind, Noticed, Notification, ObjectRef, RECORDS_MAX, parse};

    const S3_EVENT: &str = r#"{"Records":[{"eventVersion":"2.5","eventSource":"aws:s3","awsRegion":"us-east-1",
        "eventTime":"2026-01-02T03:04:05.678Z","eventName":"ObjectCreated:Put","userIdentity":{"principalId":"AWS:X"},
        "s3":{"s3SchemaVersion":"1.0","configurationId":"c","bucket":{"name":"logs","arn":"arn:aws:s3:::logs"},
        "object":{"key":"acme/c1/api/my+pod%2B%C3%B6/f.json.gz","size":1024,"eTag":"0123","versionId":"v7","sequencer":"0A1B"}}}]}"#;

    fn expected() -> Notification {
        Notification::Objects(vec![Noticed::Object(ObjectRef {
            bucket: "logs".into(),
            key: "acme/c1/api/my pod+ö/f.json.gz".into(),
            version: Some("v7".into()),
            etag: Some(ETag::new("0123")),
            size: Some(1024),
            sequencer: Some("0A1B".into()),
        })])
    }

    fn keys(body: &str) -> Vec<String> {
        let Ok(Notification::Objects(records)) = parse(body) else { panic!("{:?}", parse(body)) };
        records
            .into_iter()
            .map(|record| match record {
                Noticed::Object(object) => object.key.to_string(),
                other => format!("{other:?}"),
            })
            .collect()
    }

    fn s3_event(records: &[(&str, &str)]) -> String {
        let record = |(bucket, key): &(&str, &str)| json!({"s3": {"bucket": {"name": bucket}, "object": {"key": key}}});
        json!({"Records": records.iter().map(record).collect::<Vec<_>>()}).to_string()
    }

    #[test]
    fn every_shape_names_the_same_object() {
        let wrapped = json!({"Type": "Notification", "MessageId": "m", "TopicArn": "t", "Subject": "Amazon S3 Notification",
            "Message": S3_EVENT, "Timestamp": "x", "SignatureVersion": "1"});
        let event_bridge = json!({"version": "0", "detail-type": "Object Created", "source": "aws.s3", "detail": {
            "bucket": {"name": "logs"}, "reason": "PutObject",
            "object": {"key": "acme/c1/api/my pod+ö/f.json.gz", "size": 1024, "etag": "0123", "version-id": "v7", "sequencer": "0A1B"}}});
        assert_eq!(parse(S3_EVENT), Ok(expected()), "raw, or straight from S3");
        assert_eq!(parse(&wrapped.to_string()), Ok(expected()), "SNS");
        assert_eq!(parse(&json!({ "Message": S3_EVENT }).to_string()), Ok(expected()), "reduced, as on stdin");
        assert_eq!(parse(&event_bridge.to_string()), Ok(expected()), "EventBridge");
    }

    #[test]
    fn the_test_message_is_no_error() {
        // The Python predecessor retried it into the dead-letter queue.
        let test = r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2014-10-13T15:57:02.089Z","Bucket":"b"}"#;
        assert_eq!(parse(test), Ok(Notification::Test));
        assert_eq!(parse(&json!({ "Message": test }).to_string()), Ok(Notification::Test));
    }

    /// predecessor.md §2 and §15, rows "envelope": bodies. What was retried into the dead-letter queue there (Python), or
    /// dropped unprocessed, is read or refused here.
    #[test]
    fn predecessor_15_envelope_bodies() {
        use JsonKind::{Array, Literal, NotJson, Number, Object, String as Text};
        let (body, message) = (|kind| Err(EnvelopeError::Body(kind)), |kind| Err(EnvelopeError::Message(kind)));
        let none = || Ok(Notification::Objects(vec![]));
        let cases = [
            ("body is not JSON", "not json", body(NotJson)),
            ("body is empty", "", body(NotJson)),
            ("body is a JSON array", "[1]", body(Array)),
            ("body is a JSON number", "17", body(Number)),
            ("body is a JSON string", "\"x\"", body(Text)),
            ("body is null", "null", body(Literal)),
            ("body has no Message", "{}", body(Object)),
            ("Records is no list", r#"{"Records":{}}"#, body(Object)),
            ("Message is not JSON", r#"{"Message":"invalid"}"#, message(NotJson)),
            ("Message is the empty text", r#"{"Message":""}"#, message(NotJson)),
            ("Message is an object, not a text", r#"{"Message":{"Records":[]}}"#, message(Object)),
            ("Message is a number", r#"{"Message":7}"#, message(Number)),
            ("Message is null", r#"{"Message":null}"#, body(Object)),
            ("Message is an object of another shape", r#"{"Message":"{}"}"#, message(Object)),
            ("Message is an array", r#"{"Message":"[]"}"#, message(Array)),
            ("an event with no records", r#"{"Records":[]}"#, none()),
            ("the same within an envelope", r#"{"Message":"{\"Records\":[]}"}"#, none()),
            ("of equal keys the last wins", r#"{"Message":"x","Message":"{\"Records\":[]}"}"#, none()),
            ("a field of another kind does not matter", r#"{"detail":"x","Event":7,"Records":[]}"#, none()),
        ];
        for (case, text, expected) in cases {
            assert_eq!(parse(text), expected, "15 envelope: {case}");
        }
    }

    /// predecessor.md §15, rows "envelope": keys and records.
    #[test]
    fn predecessor_15_envelope_records() {
        let cases = [
            ("a%2Fb%2F… is decoded to slashes", vec![("b", "a%2Fb%2Fc")], vec!["b a/b/c"]),
            ("my%20file is decoded to a space", vec![("b", "my%20file")], vec!["b my file"]),
            ("+ is a space, %2B a plus", vec![("b", "a+b%2Bc")], vec!["b a b+c"]),
            // The Go predecessor gave up the whole message.
            ("a malformed % stays", vec![("b", "100%/x%zz"), ("b", "k")], vec!["b 100%/x%zz", "b k"]),
            ("a key that is no UTF-8", vec![("b", "%ff"), ("b", "k")], vec!["KeyNotUtf8", "b k"]),
            ("two records, different buckets: both", vec![("one", "k"), ("two", "k")], vec!["one k", "two k"]),
            // Python warned and exited 0; here the record is named as bad, and dead-lettered by its finish.
            ("record lacks its key", vec![("b", ""), ("b", "k")], vec!["NoKey", "b k"]),
            ("record lacks its bucket", vec![("", "k"), ("b", "k")], vec!["NoBucket", "b k"]),
        ];
        for (case, records, expected) in cases {
            let Ok(Notification::Objects(noticed)) = parse(&s3_event(&records)) else { panic!("15 envelope: {case}") };
            let found: Vec<String> = noticed
                .into_iter()
                .map(|noticed| match noticed {
                    Noticed::Object(object) => format!("{} {}", object.bucket, object.key),
                    Noticed::Bad(error) => format!("{error:?}"),
                    Noticed::Ignored => "ignored".to_owned(),
                })
                .collect();
            assert_eq!(found, expected, "15 envelope: {case}");
        }
    }

    #[test]
    fn a_record_of_another_shape_is_bad_alone() {
        let good = r#"{"s3":{"bucket":{"name":"b"},"object":{"key":"k"}}}"#;
        for (record, expected) in [
            ("7", "Bad(NoBucket)"),
            ("null", "Bad(NoBucket)"),
            (r#"{"s3":7}"#, "Bad(NoBucket)"),
            (r#"{"s3":{"bucket":"b","object":{"key":"k"}}}"#, "Bad(NoBucket)"),
            (r#"{"s3":{"bucket":{"name":"b"},"object":"k"}}"#, "Bad(NoKey)"),
            (r#"{"s3":{"bucket":{"name":"b"},"object":{"key":["k"]}}}"#, "Bad(NoKey)"),
            (r#"{"s3":{"bucket":{"name":"b"},"object":{"key":"one","key":"two"}}}"#, "two"),
            (r#"{"s3":{"bucket":{"name":"b"},"object":{"key":"one","size":"12","eTag":7}}}"#, "one"),
            (r#"{"s3":{"bucket":{"name":"b"},"object":{"key":"one","size":-1}}}"#, "one"),
            (r#"{"s3":{"bucket":{"name":"b"},"object":{"key":"one","size":18446744073709551616}}}"#, "one"),
            (r#"{"s3":{"bucket":{"name":"b"},"object":{"key":"one","size":1e400}}}"#, "one"),
            (
                r#"{"s3":{"bucket":{"name":"b"},"object":{"key":"-1e400","size":-1E+400}},"x":[1e-400,0.1e999999999]}"#,
                "-1e400",
            ),
            (r#"{"eventVersion":2.1,"s3":{"bucket":{"name":"b"},"object":{"key":"one"}}}"#, "one"),
        ] {
            let body = format!(r#"{{"Records":[{good},{record},{good}]}}"#);
            assert_eq!(keys(&body), ["k", expected, "k"], "{record}");
            assert_eq!(keys(&json!({ "Message": body }).to_string()), ["k", expected, "k"], "{record}");
        }
    }

    #[test]
    fn numbers_of_any_length_are_numbers() {
        let good = r#"{"s3":{"bucket":{"name":"b"},"object":{"key":"k"}}}"#;
        let long = "7".repeat(400_000);
        for number in [long.clone(), format!("-{long}"), format!("0.{long}"), format!("1e{long}"), format!("1e-{long}")]
        {
            let body = format!(r#"{{"x":{number},"Records":[{good},{{"s3":{number}}},{good}]}}"#);
            assert_eq!(keys(&body), ["k", "Bad(NoBucket)", "k"]);
            assert_eq!(keys(&json!({ "Message": body }).to_string()), ["k", "Bad(NoBucket)", "k"]);
            assert_eq!(parse(&number), Err(EnvelopeError::Body(JsonKind::Number)));
            assert_eq!(parse(&format!("{number}.")), Err(EnvelopeError::Body(JsonKind::NotJson)));
        }
    }

    #[test]
    fn deep_nesting_is_not_followed() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        for levels in [129, 1000] {
            let deep = deep(levels);
            assert_eq!(keys(&format!(r#"{{"Records":{deep}}}"#)), ["Bad(NoBucket)"], "{levels}");
            assert_eq!(parse(&format!(r#"{{"x":{deep}}}"#)), Err(EnvelopeError::Body(JsonKind::Object)), "{levels}");
            let message = format!(r#"{{"Message":{deep}}}"#);
            assert_eq!(parse(&message), Err(EnvelopeError::Message(JsonKind::Array)), "{levels}");
            assert_eq!(parse(&deep), Err(EnvelopeError::Body(JsonKind::Array)), "{levels}");
        }
        let deep = deep(400_000);
        assert_eq!(parse(&format!(r#"{{"Records":{deep}}}"#)), Err(EnvelopeError::Body(JsonKind::NotJson)));
        let message = json!({ "Message": deep }).to_string();
        assert_eq!(parse(&message), Err(EnvelopeError::Message(JsonKind::NotJson)));
    }

    #[test]
    fn one_bad_record_hides_no_other() {
        let body = json!({"Records": [
            {"s3": {"bucket": {"name": "b"}, "object": {"key": "one"}}},
            {"s3": {"bucket": {"name": "b"}, "object": {}}},
            {"s3": {"bucket": {"name": 7}, "object": {"key": "k"}}},
            {"eventVersion": "3.0", "s3": {"bucket": {"name": "b"}, "object": {"key": "k"}}},
            {"eventName": "ObjectRemoved:Delete", "s3": {"bucket": {"name": "b"}, "object": {"key": "k"}}},
            {"eventName": "s3:ObjectCreated:Copy", "s3": {"bucket": {"name": "c"}, "object": {"key": "two"}}},
            {},
        ]});
        let expected = ["one", "Bad(NoKey)", "Bad(NoBucket)", "Bad(Version)", "Ignored", "two", "Bad(NoBucket)"];
        assert_eq!(keys(&body.to_string()), expected);
    }

    #[test]
    fn bounds_hold() {
        let many = s3_event(&vec![("b", "k"); RECORDS_MAX + 1]);
        assert_eq!(parse(&many), Err(EnvelopeError::ManyRecords(RECORDS_MAX + 1)));
        assert_eq!(parse(&" ".repeat(BODY_BYTES_MAX + 1)), Err(EnvelopeError::Long(BODY_BYTES_MAX + 1)));
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,9}".prop_map(Value::from),
        ];
        leaf.prop_recursive(2, 8, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("s3|bucket|object|name|key|size", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_text_panics(body in any::<String>()) {
            let _ = parse(&body);
        }

        #[test]
        fn a_damaged_event_is_read_or_refused(at in 0..S3_EVENT.len(), byte in 0x20_u8..0x7f) {
            let mut body = S3_EVENT.as_bytes().to_vec();
            body[at] = byte;
            let body = String::from_utf8(body).unwrap_or_default();
            let _ = (parse(&body), parse(&json!({ "Message": body }).to_string()));
        }

        /// Whatever stands in one record, the records beside it are read.
        #[test]
        fn damage_stays_in_its_record(
            at in prop::sample::select(vec!["", "/s3", "/s3/bucket", "/s3/bucket/name", "/s3/object", "/s3/object/key",
                "/s3/object/size", "/s3/object/eTag", "/s3/object/versionId", "/eventName", "/eventVersion"]),
            value in json_value(),
        ) {
            let mut event: Value = serde_json::from_str(S3_EVENT).unwrap();
            let good = event["Records"][0].clone();
            event["Records"] = json!([good, good, good]);
            *event.pointer_mut(&format!("/Records/1{at}")).unwrap() = value;
            let Notification::Objects(one) = expected() else { unreachable!() };
            for body in [event.to_string(), json!({ "Message": event.to_string() }).to_string()] {
                let Ok(Notification::Objects(found)) = parse(&body) else { panic!("{body}") };
                prop_assert_eq!(found.len(), 3);
                prop_assert_eq!((&found[0], &found[2]), (&one[0], &one[0]));
            }
        }

        /// One object, told in each shape, is the same object.
        #[test]
        fn shapes_agree(
            bucket in "[a-z]{3,9}", key in "\\PC{1,40}", etag in "[0-9a-f]{0,8}", version in "[a-z]{0,4}", size in any::<Option<u64>>(),
        ) {
            let encoded = percent_encoding::utf8_percent_encode(&key, percent_encoding::NON_ALPHANUMERIC).to_string();
            let s3 = json!({"Records": [{"s3": {"bucket": {"name": bucket},
                "object": {"key": encoded, "size": size, "eTag": etag, "versionId": version}}}]}).to_string();
            let event_bridge = json!({"detail-type": "Object Created", "detail": {"bucket": {"name": bucket},
                "object": {"key": key, "size": size, "etag": etag, "version-id": version}}}).to_string();
            let object = Noticed::Object(ObjectRef {
                bucket: bucket.as_str().into(),
                key: key.as_str().into(),
                version: (!version.is_empty() && version != "null").then(|| version.as_str().into()),
                etag: (!etag.is_empty()).then(|| ETag::new(&etag)),
                size,
                sequencer: None,
            });
            let expected = Ok(Notification::Objects(vec![object]));
            for body in [s3, event_bridge] {
                prop_assert_eq!(parse(&json!({ "Message": &body }).to_string()), expected.clone());
                prop_assert_eq!(parse(&body), expected.clone());
            }
        }

        /// What S3 would write for a key is read back as the key.
        #[test]
        fn encoded_keys_come_back(key in "\\PC{1,40}") {
            let encoded: String = percent_encoding::utf8_percent_encode(&key, percent_encoding::NON_ALPHANUMERIC)
                .map(|piece| if piece == "%20" { "+" } else { piece })
                .collect();
            prop_assert_eq!(keys(&s3_event(&[("b", &encoded)])), [key]);
        }
    }
}
