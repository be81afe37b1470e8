//! What is kept of events that CloudWatch Logs does not take: lines of NDJSON, and the names of the objects that hold them.

use sha2::{Digest, Sha256};

use super::object::{ObjectRef, Ordinal, Position};
use super::tenant::TenantId;

/// Most bytes of lines of an object of the store. A line that is longer alone has one to itself.
pub const FILE_BYTES_MAX: usize = 256 * 1024;

/// Characters of the hash of what an object of the store is of, in its name.
const ID_CHARS: usize = 32;
/// What stands behind the event in its line.
const LINE_END: &[u8] = b"}\n";

/// Lines of one object of the store: events of one attempt at one source object.
#[derive(Debug, Default)]
pub struct RejectFile {
    lines: Vec<u8>,
    first: Option<Position>,
    events: u64,
}

/// An event that was not taken.
#[derive(Clone, Copy, Debug)]
pub struct RejectedEvent<'e> {
    /// Why, by its name in receipts.
    pub reason: &'e str,
    /// Whose it is.
    pub tenant: &'e TenantId,
    /// The object that it is from; its tag is that of what was read.
    pub object: &'e ObjectRef,
    /// The record and part.
    pub at: Position,
    /// The event as it stands in a request: `{"timestamp":…,"message":"…"}`.
    pub event: &'e [u8],
}

impl RejectedEvent<'_> {
    /// What stands before the event in its line.
    fn head(&self) -> String {
        let Self { reason, tenant, object, at, .. } = self;
        let text = |text: Option<&str>| serde_json::to_string(&text).unwrap_or_else(|_| "null".to_owned());
        format!(
            "{{\"reason\":{},\"tenant\":{},\"bucket\":{},\"key\":{},\"version\":{},\"etag\":{},\"ordinal\":{},\"part\":{},\"event\":",
            text(Some(reason)),
            text(Some(tenant.as_str())),
            text(Some(&object.bucket)),
            text(Some(&object.key)),
            text(object.version.as_deref()),
            text(object.etag.as_ref().map(super::object::ETag::as_str)),
            at.ordinal,
            at.part
        )
    }
}

impl RejectFile {
    /// Adds an event. `false`: there is no room for it, and the file is to be written first.
    ///
    /// ```
    /// # use millrace::core::{object::*, rejects::*, tenant::TenantId};
    /// let tenant = TenantId::try_from("acme").unwrap();
    /// let object = ObjectRef {
    ///     bucket: "logs".into(), key: "acme/c1/api/p/1.gz".into(), version: None, etag: Some(ETag::new("9a")), size: None, sequencer: None,
    /// };
    /// let at = Position { ordinal: Ordinal(7), part: 0 };
    /// let mut file = RejectFile::default();
    /// assert!(file.add(&RejectedEvent { reason: "too_old", tenant: &tenant, object: &object, at, event: br#"{"timestamp":5,"message":"a"}"# }));
    /// assert_eq!(
    ///     std::str::from_utf8(file.lines()).unwrap(),
    ///     r#"{"reason":"too_old","tenant":"acme","bucket":"logs","key":"acme/c1/api/p/1.gz","version":null,"etag":"9a","ordinal":7,"part":0,"event":{"timestamp":5,"message":"a"}}
    /// "#
    /// );
    /// ```
    pub fn add(&mut self, event: &RejectedEvent<'_>) -> bool {
        let head = event.head();
        let RejectedEvent { at, event, .. } = event;
        let line_bytes = head.len() + event.len() + LINE_END.len();
        if self.first.is_some() && self.lines.len() + line_bytes > FILE_BYTES_MAX {
            return false;
        }
        // All at once: what grows by itself holds up to twice as much.
        self.lines.reserve_exact(if self.first.is_some() { 0 } else { FILE_BYTES_MAX.max(line_bytes) });
        self.lines.extend_from_slice(head.as_bytes());
        self.lines.extend_from_slice(event);
        self.lines.extend_from_slice(LINE_END);
        self.first.get_or_insert(*at);
        self.events += 1;
        true
    }

    /// Bytes that a file needs whose first event is this one.
    #[must_use]
    pub fn bytes_for(first: &RejectedEvent<'_>) -> usize {
        FILE_BYTES_MAX.max(first.head().len() + first.event.len() + LINE_END.len())
    }

    /// Its lines.
    #[must_use]
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// Its events.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// Its key under `prefix`, and its lines; none when it is empty. The same events of the same delivery of the same version
    /// of an object get the same key, so that another attempt writes them over. `delivery` names the delivery.
    #[must_use]
    pub fn finish(
        self,
        prefix: &str,
        tenant: &TenantId,
        object: &ObjectRef,
        delivery: &str,
    ) -> Option<(String, Vec<u8>)> {
        let Position { ordinal: Ordinal(ordinal), part } = self.first?;
        let version = object.version.as_deref().or_else(|| object.etag.as_ref().map(super::object::ETag::as_str));
        let mut digest = Sha256::new();
        for text in [&*object.bucket, &*object.key, version.unwrap_or_default(), delivery] {
            digest.update(text.len().to_le_bytes());
            digest.update(text);
        }
        let mut id = hex::encode(digest.finalize());
        id.truncate(ID_CHARS);
        Some((format!("{prefix}{}/{id}/{ordinal:012}-{part:04}.ndjson", tenant.as_str()), self.lines))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::core::object::ETag;

    proptest! {
        /// Each line is JSON that says all that is known, whatever the names hold; the file's key follows from its first.
        #[test]
        fn lines_say_what_was_not_taken_and_where_it_came_from(
            key in "\\PC{1,60}", etag in prop::option::of("[0-9a-f-]{1,40}"), ordinal: u32, message in "\\PC{0,80}", time: i64,
        ) {
            let tenant = TenantId::try_from("acme").unwrap();
            let object = ObjectRef {
                bucket: "logs".into(), key: key.as_str().into(), version: None, etag: etag.as_deref().map(ETag::new), size: None, sequencer: None,
            };
            let event = json!({ "timestamp": time, "message": message });
            let mut file = RejectFile::default();
            for part in 0..3 {
                let at = Position { ordinal: Ordinal(u64::from(ordinal)), part };
                let event = event.to_string();
                let event = RejectedEvent { reason: "refused", tenant: &tenant, object: &object, at, event: event.as_bytes() };
                let added = file.add(&event);
                prop_assert!(added);
            }
            prop_assert_eq!(file.events(), 3);
            let again = file.lines().to_vec();
            let (name, lines) = file.finish("rejects/", &tenant, &object, "d").unwrap();
            prop_assert_eq!(&lines, &again);
            let parts = name.split('/').collect::<Vec<_>>();
            prop_assert_eq!(parts[..2].to_vec(), ["rejects", "acme"]);
            prop_assert_eq!(parts[3], format!("{ordinal:012}-0000.ndjson"));
            prop_assert!(name.len() < 500);
            for (part, line) in String::from_utf8(lines).unwrap().lines().enumerate() {
                let line: Value = serde_json::from_str(line).unwrap();
                let expected = json!({
                    "reason": "refused", "tenant": "acme", "bucket": "logs", "key": key, "version": null,
                    "etag": object.etag.as_ref().map(ETag::as_str), "ordinal": ordinal, "part": part, "event": event,
                });
                prop_assert_eq!(line, expected);
            }
        }
    }

    #[test]
    fn nothing_makes_no_file_and_each_delivery_has_its_own() {
        let tenant = TenantId::try_from("acme").unwrap();
        let object = ObjectRef {
            bucket: "logs".into(),
            key: "k".into(),
            version: None,
            etag: None,
            size: None,
            sequencer: None,
        };
        assert_eq!(RejectFile::default().finish("", &tenant, &object, "a"), None);
        let name = |delivery| {
            let mut file = RejectFile::default();
            let at = Position { ordinal: Ordinal(1), part: 2 };
            let event = RejectedEvent { reason: "expired", tenant: &tenant, object: &object, at, event: b"{}" };
            assert!(file.add(&event));
            file.finish("", &tenant, &object, delivery).unwrap().0
        };
        assert_ne!(name("a"), name("b"));
        assert_eq!(name("a"), name("a"));
    }

    /// A file takes what it has room for, and holds no more memory than was said; a line that is longer has one to itself.
    #[test]
    fn a_file_has_room_for_so_much_and_holds_no_more() {
        let tenant = TenantId::try_from("acme").unwrap();
        let object =
            ObjectRef { bucket: "b".into(), key: "k".into(), version: None, etag: None, size: None, sequencer: None };
        let at = Position { ordinal: Ordinal(1), part: 0 };
        for event_bytes in [10, 1000, FILE_BYTES_MAX / 2, FILE_BYTES_MAX, 5 * FILE_BYTES_MAX] {
            let event = vec![b'x'; event_bytes];
            let event = RejectedEvent { reason: "expired", tenant: &tenant, object: &object, at, event: &event };
            let most = RejectFile::bytes_for(&event);
            let mut file = RejectFile::default();
            assert!(file.add(&event), "the first one always has room");
            while file.add(&event) {}
            assert!(file.lines.len() <= most && file.lines.capacity() <= most, "{event_bytes}");
        }
    }
}
