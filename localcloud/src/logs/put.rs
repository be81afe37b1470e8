//! PutLogEvents, with every limit and reject rule of it.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::stream::{Keep, digest};
use super::{
    BATCH_BYTES_MAX, BATCH_EVENTS_MAX, DAY_MS, EVENT_BYTES_MAX, EVENT_OVERHEAD_BYTES, Logs, NEW_MS_MAX, OLD_MS_MAX,
    allowed, check_group_name, check_stream_name, invalid, missing, read,
};
use crate::api::{Answer, ApiError, Call, lock};
use crate::faults::{Fault, Kind};

/// AWS passes over members that its model does not know. Here every member that is not served is refused, as in all
/// services of JSON: it may be one that AWS does serve, or a typing error.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Put<'b> {
    #[serde(borrow)]
    log_group_name: Cow<'b, str>,
    #[serde(borrow)]
    log_stream_name: Cow<'b, str>,
    #[serde(borrow)]
    log_events: Vec<Event<'b>>,
    /// It has no meaning any more, whatever it says. Source: CloudWatch Logs API Reference, "PutLogEvents".
    #[serde(rename = "sequenceToken")]
    _sequence_token: IgnoredAny,
}

/// An absent timestamp is as invalid as one before 1970.
const fn absent() -> i64 {
    -1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Event<'b> {
    #[serde(default = "absent")]
    timestamp: i64,
    #[serde(borrow, default)]
    message: Cow<'b, str>,
}

impl Logs {
    pub(super) fn put(&self, call: &Call<'_>) -> Answer {
        let put: Put<'_> = read(call.body)?;
        allowed(call, "PutLogEvents", &put.log_group_name, &put.log_stream_name)?;
        check_group_name(&put.log_group_name)?;
        check_stream_name(&put.log_stream_name)?;
        check_members(&put.log_events)?;
        let keep = *lock(&self.keep);
        let digests: Vec<u64> = match keep {
            Keep::Counts => Vec::new(),
            Keep::Texts | Keep::Digests => {
                put.log_events.iter().map(|event| digest(event.message.as_bytes())).collect()
            }
        };
        let mut groups = lock(&self.groups);
        let key = (call.caller.account.clone(), call.region.to_owned(), put.log_group_name.to_string());
        let group = groups.get_mut(&key).ok_or_else(|| missing("group"))?;
        let retention_days = group.retention_days;
        let stream = group.streams.get_mut(&*put.log_stream_name).ok_or_else(|| missing("stream"))?;
        let refused =
            |event: &Event<'_>| lock(&self.refused).as_ref().is_some_and(|text| event.message.contains(text.as_str()));
        if put.log_events.iter().any(refused) {
            if let ([event], [digest]) = (&*put.log_events, &*digests) {
                stream.refused.push((event.timestamp, *digest));
            }
            return Err(invalid("Invalid parameter"));
        }
        let mut kept = judge(&put.log_events, retention_days, call.now_ms)?;
        let rejected = call.fault.and_then(|fault| kept.reject(fault)).unwrap_or_default();
        let marks = put.log_events.iter().map(|event| event.timestamp).zip(digests.iter().copied());
        stream.rejected.extend(marks.skip(rejected.start).take(rejected.len()));
        let before = stream.events.len();
        stream.batches += 1;
        let accepted = put.log_events.get(kept.range()).unwrap_or_default();
        for event in accepted {
            stream.accepted += 1;
            stream.accepted_bytes += event.message.len() as u64;
            match keep {
                Keep::Texts => stream.text.extend_from_slice(event.message.as_bytes()),
                Keep::Digests => {}
                Keep::Counts => continue,
            }
            stream.events.push((event.timestamp, stream.text.len()));
        }
        if keep == Keep::Counts {
            return Ok(kept.answer());
        }
        stream.digests.extend_from_slice(digests.get(kept.range()).unwrap_or_default());
        stream.arrivals.push((stream.events.len(), call.now_ms));
        if call.fault.is_some_and(Fault::leaves_unanswered) {
            stream.unanswered.push(before..stream.events.len());
        }
        Ok(kept.answer())
    }
}

/// Which of a call's events are kept: what is rejected are a head and a tail, since they stand in the order of time.
#[derive(Debug)]
struct Kept {
    /// Where those end that are too old.
    old: usize,
    /// Where those end that are past the retention; they are told of where there are more of them.
    expired: usize,
    /// Where those begin that are too new.
    new: usize,
    events: usize,
}

impl Kept {
    fn range(&self) -> Range<usize> {
        let from = self.old.max(self.expired);
        from..self.new.max(from)
    }

    /// Rejects some of them because of a fault, and gives which.
    fn reject(&mut self, fault: &Fault) -> Option<Range<usize>> {
        let Range { start, end } = self.range();
        let events = fault.rejects(end - start)?;
        let rejected = if fault.kind == Kind::RejectNew { end - events..end } else { start..start + events };
        if fault.kind == Kind::RejectNew {
            self.new = rejected.start;
        } else if fault.kind == Kind::RejectOld {
            self.old = rejected.end;
        } else {
            self.expired = rejected.end;
        }
        Some(rejected)
    }

    fn answer(&self) -> Value {
        let mut rejected = serde_json::Map::new();
        if self.old > 0 {
            rejected.insert("tooOldLogEventEndIndex".to_owned(), json!(self.old));
        }
        if self.expired > self.old {
            rejected.insert("expiredLogEventEndIndex".to_owned(), json!(self.expired));
        }
        if self.new < self.events {
            rejected.insert("tooNewLogEventStartIndex".to_owned(), json!(self.new));
        }
        if rejected.is_empty() { json!({}) } else { json!({ "rejectedLogEventsInfo": rejected }) }
    }
}

/// What the API's model asks of each member, which is looked at before anything else.
fn check_members(events: &[Event<'_>]) -> Result<(), ApiError> {
    if events.is_empty() || events.len() > BATCH_EVENTS_MAX {
        return Err(invalid(format!("logEvents must have 1 to {BATCH_EVENTS_MAX} entries")));
    }
    for event in events {
        if event.message.is_empty() {
            return Err(invalid("Member must have length greater than or equal to 1: message"));
        }
        if event.timestamp < 0 {
            return Err(invalid("Member must have value greater than or equal to 0: timestamp"));
        }
    }
    Ok(())
}

/// Refuses a call, or says which of its events are kept.
fn judge(events: &[Event<'_>], retention_days: Option<i64>, now_ms: i64) -> Result<Kept, ApiError> {
    let mut bytes = 0;
    for event in events {
        let size = event.message.len() + EVENT_OVERHEAD_BYTES;
        if size > EVENT_BYTES_MAX {
            return Err(invalid(format!("Log event too large: {size} bytes exceeds limit of {EVENT_BYTES_MAX}")));
        }
        bytes += size;
    }
    if bytes > BATCH_BYTES_MAX {
        return Err(invalid(format!("Upload too large: {bytes} bytes exceeds limit of {BATCH_BYTES_MAX}")));
    }
    if !events.is_sorted_by_key(|event| event.timestamp) {
        return Err(invalid("Log events in a single PutLogEvents request must be in chronological order."));
    }
    let before = |limit: i64| events.partition_point(|event| event.timestamp < limit);
    let old = before(now_ms - OLD_MS_MAX);
    let expired = retention_days.map_or(0, |days| before(now_ms - days * DAY_MS));
    let new = events.partition_point(|event| event.timestamp <= now_ms + NEW_MS_MAX);
    let kept = Kept { old, expired, new, events: events.len() };
    let within = events.get(kept.range()).unwrap_or_default();
    if let (Some(first), Some(last)) = (within.first(), within.last())
        && last.timestamp - first.timestamp > DAY_MS
    {
        return Err(invalid(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        ));
    }
    Ok(kept)
}
