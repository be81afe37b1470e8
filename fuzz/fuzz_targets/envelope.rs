//! The body of a queue's message. Laws: README.md.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace::core::envelope::{EnvelopeError, JsonKind, Noticed, Notification, RECORDS_MAX, RecordError, parse};
use millrace::core::object::{ETag, ObjectRef};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};

fuzz_target!(|data: &[u8]| {
    let Ok(body) = std::str::from_utf8(data) else { return };
    let found = parse(body);
    if let Some(expected) = naive(body) {
        assert_eq!(sizes_told(body, found.clone()), sizes_told(body, expected));
    }
    // In an envelope it says the same; an envelope within one is not opened.
    let wrapped = parse(&json!({ "Type": "Notification", "Message": body }).to_string());
    match (found, wrapped) {
        (Err(EnvelopeError::Body(kind)), wrapped) => assert_eq!(wrapped, Err(EnvelopeError::Message(kind))),
        (found, Err(EnvelopeError::Message(JsonKind::Object))) => {
            let is_envelope = match serde_json::from_str::<Value>(body.trim()) {
                Ok(body) => !body["Message"].is_null(),
                Err(error) => !refused(&error),
            };
            assert!(is_envelope, "{found:?}");
        }
        (found, wrapped) => assert_eq!(found, wrapped),
    }
    if !body.is_empty() {
        told_in_each_shape(body);
    }
});

/// `-0` is a whole number to simd-json and a float to serde_json: a size of zero does not count where there is one.
fn sizes_told(body: &str, mut found: Result<Notification, EnvelopeError>) -> Result<Notification, EnvelopeError> {
    if let Ok(Notification::Objects(noticed)) = &mut found {
        for noticed in noticed.iter_mut().filter(|_| body.contains("-0")) {
            if let Noticed::Object(object) = noticed {
                object.size = object.size.filter(|size| *size > 0);
            }
        }
    }
    found
}

/// What the body says, by values of serde_json; `None` where that one refuses to read: it goes less deep, and takes no
/// number beyond an `f64`.
fn naive(body: &str) -> Option<Result<Notification, EnvelopeError>> {
    let outer = match serde_json::from_str::<Value>(body.trim()) {
        Ok(outer) => outer,
        Err(error) => return refused(&error).then_some(Err(EnvelopeError::Body(JsonKind::NotJson))),
    };
    if let Some(event) = event(&outer) {
        return Some(event);
    }
    let message = match &outer["Message"] {
        Value::Null => return Some(Err(EnvelopeError::Body(kind(&outer)))),
        Value::String(message) => message,
        other => return Some(Err(EnvelopeError::Message(kind(other)))),
    };
    match serde_json::from_str::<Value>(message.trim()) {
        Ok(inner) => Some(event(&inner).unwrap_or_else(|| Err(EnvelopeError::Message(kind(&inner))))),
        Err(error) => refused(&error).then_some(Err(EnvelopeError::Message(JsonKind::NotJson))),
    }
}

fn refused(error: &serde_json::Error) -> bool {
    let text = error.to_string();
    !text.contains("recursion limit") && !text.contains("number out of range")
}

fn kind(value: &Value) -> JsonKind {
    match value {
        Value::Object(_) => JsonKind::Object,
        Value::Array(_) => JsonKind::Array,
        Value::String(_) => JsonKind::String,
        Value::Number(_) => JsonKind::Number,
        Value::Null | Value::Bool(_) => JsonKind::Literal,
    }
}

fn event(body: &Value) -> Option<Result<Notification, EnvelopeError>> {
    if let Value::Array(records) = &body["Records"] {
        if records.len() > RECORDS_MAX {
            return Some(Err(EnvelopeError::ManyRecords(records.len())));
        }
        return Some(Ok(Notification::Objects(records.iter().map(record).collect())));
    }
    if body["Event"] == "s3:TestEvent" {
        return Some(Ok(Notification::Test));
    }
    let kind = text(&body["detail-type"])?;
    let detail = body.get("detail")?;
    let wanted = ["Object Created", "Object Restore Completed"].contains(&kind);
    let noticed = if wanted { object(detail, Some) } else { Noticed::Ignored };
    Some(Ok(Notification::Objects(vec![noticed])))
}

fn record(record: &Value) -> Noticed {
    if text(&record["eventVersion"]).is_some_and(|version| !version.starts_with("2.")) {
        return Noticed::Bad(RecordError::Version);
    }
    if let Some(name) = text(&record["eventName"]) {
        let name = name.strip_prefix("s3:").unwrap_or(name);
        if !name.starts_with("ObjectCreated:") && name != "ObjectRestore:Completed" {
            return Noticed::Ignored;
        }
    }
    object(&record["s3"], |key| {
        let spaced = key.replace('+', " ");
        String::from_utf8(percent_decode_str(&spaced).collect()).ok()
    })
}

fn object(detail: &Value, decoded: impl Fn(String) -> Option<String>) -> Noticed {
    let Some(bucket) = text(&detail["bucket"]["name"]) else { return Noticed::Bad(RecordError::NoBucket) };
    let object = &detail["object"];
    let Some(key) = text(&object["key"]) else { return Noticed::Bad(RecordError::NoKey) };
    let Some(key) = decoded(key.to_owned()) else { return Noticed::Bad(RecordError::KeyNotUtf8) };
    Noticed::Object(ObjectRef {
        bucket: bucket.into(),
        key: key.into(),
        version: text(&object["versionId"]).or(text(&object["version-id"])).filter(|it| *it != "null").map(Into::into),
        etag: text(&object["eTag"]).or(text(&object["etag"])).map(ETag::new),
        size: object["size"].as_u64(),
        sequencer: text(&object["sequencer"]).map(Into::into),
    })
}

fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

/// An object of this key, told by S3 and by EventBridge, is the object.
fn told_in_each_shape(key: &str) {
    let encoded: String =
        utf8_percent_encode(key, NON_ALPHANUMERIC).map(|piece| if piece == "%20" { "+" } else { piece }).collect();
    let s3 = json!({"Records": [{"eventVersion": "2.1", "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "logs"}, "object": {"key": encoded, "size": 7}}}]});
    let event_bridge = json!({"detail-type": "Object Created",
        "detail": {"bucket": {"name": "logs"}, "object": {"key": key, "size": 7}}});
    for body in [s3, event_bridge] {
        let Ok(Notification::Objects(noticed)) = parse(&body.to_string()) else { panic!("{body}") };
        let [Noticed::Object(object)] = noticed.as_slice() else { panic!("{noticed:?}") };
        assert_eq!((&*object.bucket, &*object.key, object.size), ("logs", key, Some(7)));
    }
}
