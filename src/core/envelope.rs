//! The body of a queue's message → the objects that it tells of.
//!
//! Five shapes are told apart by their fields, since all of them reach one queue: an SNS envelope around an S3 event (also
//! reduced to its `Message`, as it is piped into manual mode), the bare S3 event (raw SNS delivery, or S3 straight to SQS),
//! an EventBridge event, and the test message that S3 sends once when a notification is set up.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::object::{ETag, ObjectRef};

/// Records of one message. Source: a message has at most 1 MiB (SQS API Reference, "SendMessage"), S3 sends one record;
/// the bound keeps a forged message from holding thousands of objects at once.
pub const RECORDS_MAX: usize = 1000;
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

impl fmt::Display for JsonKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Object => "a JSON object of another shape",
            Self::Array => "a JSON array",
            Self::String => "a JSON string",
            Self::Number => "a JSON number",
            Self::Literal => "a JSON literal",
            Self::NotJson => "no JSON",
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

#[derive(Deserialize)]
struct Body<'b> {
    #[serde(rename = "Message", borrow)]
    message: Option<Text<'b>>,
    #[serde(rename = "Records", borrow)]
    records: Option<Vec<Record<'b>>>,
    #[serde(rename = "Event", borrow)]
    event: Option<Text<'b>>,
    #[serde(rename = "detail-type", borrow)]
    detail_type: Option<Text<'b>>,
    #[serde(borrow)]
    detail: Option<Detail<'b>>,
}

/// A text where one is expected; another kind of value is no reason to fail the whole body.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text<'b> {
    Text(#[serde(borrow)] Cow<'b, str>),
    Object(serde::de::IgnoredAny),
}

impl Text<'_> {
    fn get(text: Option<&Self>) -> Option<&str> {
        match text {
            Some(Self::Text(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Record<'b> {
    #[serde(rename = "eventVersion", borrow)]
    version: Option<Text<'b>>,
    #[serde(rename = "eventName", borrow)]
    name: Option<Text<'b>>,
    #[serde(borrow)]
    s3: Option<Detail<'b>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Detail<'b> {
    #[serde(borrow)]
    bucket: Option<Bucket<'b>>,
    #[serde(borrow)]
    object: Option<Object<'b>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Bucket<'b> {
    #[serde(borrow)]
    name: Option<Text<'b>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Object<'b> {
    #[serde(borrow)]
    key: Option<Text<'b>>,
    size: Option<u64>,
    #[serde(rename = "eTag", alias = "etag", borrow)]
    etag: Option<Text<'b>>,
    #[serde(rename = "versionId", alias = "version-id", borrow)]
    version: Option<Text<'b>>,
    #[serde(borrow)]
    sequencer: Option<Text<'b>>,
}

/// Reads a body.
///
/// # Errors
/// [`EnvelopeError`] when the body as a whole is no notification. A record that names no object is no such error.
pub fn parse(body: &str) -> Result<Notification, EnvelopeError> {
    if body.len() > BODY_BYTES_MAX {
        return Err(EnvelopeError::Long(body.len()));
    }
    let mut bytes = body.trim().as_bytes().to_vec();
    let wrong = |text: &str| EnvelopeError::Body(kind(text));
    let outer: Body<'_> = simd_json::serde::from_slice(&mut bytes).map_err(|_| wrong(body))?;
    if let Some(event) = event(&outer)? {
        return Ok(event);
    }
    match &outer.message {
        Some(Text::Text(message)) => {
            let mut bytes = message.trim().as_bytes().to_vec();
            let wrong = |text: &str| EnvelopeError::Message(kind(text));
            let inner: Body<'_> = simd_json::serde::from_slice(&mut bytes).map_err(|_| wrong(message))?;
            event(&inner)?.ok_or_else(|| wrong(message))
        }
        Some(Text::Object(_)) => Err(EnvelopeError::Message(JsonKind::Object)),
        None => Err(wrong(body)),
    }
}

/// The event that `body` is, if it is one and no envelope.
fn event(body: &Body<'_>) -> Result<Option<Notification>, EnvelopeError> {
    if let Some(records) = &body.records {
        if records.len() > RECORDS_MAX {
            return Err(EnvelopeError::ManyRecords(records.len()));
        }
        return Ok(Some(Notification::Objects(records.iter().map(s3_record).collect())));
    }
    if Text::get(body.event.as_ref()) == Some("s3:TestEvent") {
        return Ok(Some(Notification::Test));
    }
    let (Some(kind), Some(detail)) = (Text::get(body.detail_type.as_ref()), &body.detail) else { return Ok(None) };
    let wanted = matches!(kind, "Object Created" | "Object Restore Completed");
    let noticed = if wanted { object(detail, |key| Ok(key.to_owned())) } else { Noticed::Ignored };
    Ok(Some(Notification::Objects(vec![noticed])))
}

fn s3_record(record: &Record<'_>) -> Noticed {
    if Text::get(record.version.as_ref()).is_some_and(|version| !version.starts_with("2.")) {
        return Noticed::Bad(RecordError::Version);
    }
    let name = Text::get(record.name.as_ref()).map(|name| name.strip_prefix("s3:").unwrap_or(name));
    // A reduced record without a name is what a person pipes in: it is meant.
    let wanted = name.is_none_or(|name| name.starts_with("ObjectCreated:") || name == "ObjectRestore:Completed");
    match &record.s3 {
        _ if !wanted => Noticed::Ignored,
        Some(detail) => object(detail, form_decoded),
        None => Noticed::Bad(RecordError::NoBucket),
    }
}

fn object(detail: &Detail<'_>, decode: impl Fn(&str) -> Result<String, RecordError>) -> Noticed {
    let Some(bucket) = detail.bucket.as_ref().and_then(|bucket| Text::get(bucket.name.as_ref())) else {
        return Noticed::Bad(RecordError::NoBucket);
    };
    let Some((object, key)) = detail.object.as_ref().and_then(|it| Some((it, Text::get(it.key.as_ref())?))) else {
        return Noticed::Bad(RecordError::NoKey);
    };
    let key = match decode(key) {
        Ok(key) => key,
        Err(error) => return Noticed::Bad(error),
    };
    Noticed::Object(ObjectRef {
        bucket: bucket.into(),
        key: key.into(),
        version: Text::get(object.version.as_ref()).filter(|version| *version != "null").map(Into::into),
        etag: Text::get(object.etag.as_ref()).map(ETag::new),
        size: object.size,
        sequencer: Text::get(object.sequencer.as_ref()).map(Into::into),
    })
}

/// A key as S3 events spell it: `+` is a space, then percent-decoded. A `%` that begins no code stays as it is.
fn form_decoded(key: &str) -> Result<String, RecordError> {
    let spaced = key.replace('+', " ");
    match percent_decode_str(&spaced).decode_utf8() {
        Ok(key) => Ok(key.into_owned()),
        Err(_) => Err(RecordError::KeyNotUtf8),
    }
}

fn kind(text: &str) -> JsonKind {
    let mut bytes = text.as_bytes().to_vec();
    if simd_json::to_tape(&mut bytes).is_err() {
        return JsonKind::NotJson;
    }
    match text.trim_start().bytes().next() {
        Some(b'{') => JsonKind::Object,
        Some(b'[') => JsonKind::Array,
        Some(b'"') => JsonKind::String,
        Some(b'-' | b'0'..=b'9') => JsonKind::Number,
        Some(_) => JsonKind::Literal,
        None => JsonKind::NotJson,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

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

    #[test]
    fn bodies_of_the_predecessors_tests_that_are_no_notification() {
        let cases = [
            ("not json", EnvelopeError::Body(JsonKind::NotJson)),
            ("", EnvelopeError::Body(JsonKind::NotJson)),
            ("[1]", EnvelopeError::Body(JsonKind::Array)),
            ("17", EnvelopeError::Body(JsonKind::Number)),
            ("null", EnvelopeError::Body(JsonKind::Literal)),
            ("{}", EnvelopeError::Body(JsonKind::Object)),
            (r#"{"Message":"invalid"}"#, EnvelopeError::Message(JsonKind::NotJson)),
            (r#"{"Message":{"Records":[]}}"#, EnvelopeError::Message(JsonKind::Object)),
            (r#"{"Message":"{}"}"#, EnvelopeError::Message(JsonKind::Object)),
        ];
        for (body, error) in cases {
            assert_eq!(parse(body), Err(error), "{body}");
        }
        assert_eq!(parse(r#"{"Records":[]}"#), Ok(Notification::Objects(vec![])));
    }

    #[test]
    fn keys_are_decoded_as_forms() {
        assert_eq!(keys(&s3_event(&[("b", "a%2Fb%2Fmy%20file+1")])), ["a/b/my file 1"]);
        // A malformed code stays; the Go predecessor gave up the whole message.
        assert_eq!(keys(&s3_event(&[("b", "100%/x%zz")])), ["100%/x%zz"]);
        assert_eq!(keys(&s3_event(&[("b", "%ff")])), ["Bad(KeyNotUtf8)"]);
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
