//! CloudWatch Logs, with every limit and reject rule of PutLogEvents. Limits from the CloudWatch Logs API Reference and
//! the quota page; they are stated here anew, so that a mistake of the daemon does not agree with itself.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::accounts::Accounts;
use crate::api::{Answer, ApiError, Call, lock, unknown_operation};

const BATCH_BYTES_MAX: usize = 1_048_576;
const BATCH_EVENTS_MAX: usize = 10_000;
const EVENT_OVERHEAD_BYTES: usize = 26;
const EVENT_BYTES_MAX: usize = 1_048_576;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const OLD_MS_MAX: i64 = 14 * DAY_MS;
const NEW_MS_MAX: i64 = 2 * 60 * 60 * 1000;
const RETENTION_DAYS: [i64; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// The events of one stream, in the order in which they were accepted.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// All messages, one behind the other.
    text: Vec<u8>,
    /// Timestamp, and end of the message in `text`.
    events: Vec<(i64, usize)>,
    /// What stands for each message when its text is not kept.
    digests: Vec<u64>,
    /// Accepted calls.
    batches: u64,
    created_ms: i64,
}

/// A number that stands for a message; the same text gives the same number within one process.
#[must_use]
pub fn digest(message: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(message);
    hasher.finish()
}

impl Stream {
    /// Timestamps and messages in order. Messages are empty when text is not kept.
    pub fn events(&self) -> impl ExactSizeIterator<Item = (i64, &str)> {
        let start = |at: usize| at.checked_sub(1).and_then(|at| self.events.get(at)).map_or(0, |(_, end)| *end);
        self.events.iter().enumerate().map(move |(at, (timestamp, end))| {
            let message = self.text.get(start(at)..*end).unwrap_or_default();
            (*timestamp, std::str::from_utf8(message).unwrap_or_default())
        })
    }

    /// Timestamps and [`digest`]s of the messages, in order.
    pub fn digests(&self) -> impl ExactSizeIterator<Item = (i64, u64)> {
        self.events.iter().zip(&self.digests).map(|((timestamp, _), digest)| (*timestamp, *digest))
    }

    /// Calls of PutLogEvents that were accepted.
    #[must_use]
    pub const fn batches(&self) -> u64 {
        self.batches
    }
}

#[derive(Debug, Default)]
struct Group {
    retention_days: Option<i64>,
    class: String,
    created_ms: i64,
    streams: BTreeMap<String, Stream>,
}

/// Account, region, group.
type GroupKey = (String, String, String);

/// All log groups.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    groups: Mutex<BTreeMap<GroupKey, Group>>,
    digests_only: AtomicBool,
    refused: Mutex<Option<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Put<'b> {
    #[serde(borrow)]
    log_group_name: Cow<'b, str>,
    #[serde(borrow)]
    log_stream_name: Cow<'b, str>,
    #[serde(borrow)]
    log_events: Vec<Event<'b>>,
}

#[derive(Deserialize)]
struct Event<'b> {
    timestamp: i64,
    #[serde(borrow)]
    message: Cow<'b, str>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Request {
    log_group_name: String,
    log_stream_name: String,
    log_group_class: Option<String>,
    retention_in_days: i64,
    log_group_name_prefix: String,
    log_stream_name_prefix: String,
    log_stream_names: Vec<String>,
    next_token: Option<String>,
    limit: Option<usize>,
    start_from_head: bool,
    start_time: Option<i64>,
    end_time: Option<i64>,
    filter_pattern: String,
}

fn invalid(text: impl Into<String>) -> ApiError {
    ApiError::new(400, "InvalidParameterException", text)
}

fn missing(what: &str) -> ApiError {
    ApiError::new(400, "ResourceNotFoundException", format!("The specified log {what} does not exist."))
}

fn exists(what: &str) -> ApiError {
    ApiError::new(400, "ResourceAlreadyExistsException", format!("The specified log {what} already exists"))
}

impl Logs {
    /// From now on the text of messages is not kept.
    pub(crate) fn keep_digests_only(&self) {
        self.digests_only.store(true, Ordering::Relaxed);
    }

    /// From now on batches with such a message are refused.
    pub(crate) fn refuse(&self, text: &str) {
        *lock(&self.refused) = Some(text.to_owned());
    }

    /// Every stream with its events: account, region, group and stream.
    pub(crate) fn each(&self, mut see: impl FnMut(&str, &str, &str, &str, &Stream)) {
        for ((account, region, group), content) in lock(&self.groups).iter() {
            for (name, stream) in &content.streams {
                see(account, region, group, name, stream);
            }
        }
    }

    pub(crate) fn call(&self, call: &Call<'_>, accounts: &Accounts) -> Answer {
        if call.operation == "PutLogEvents" {
            return self.put(call, accounts);
        }
        let request: Request = call.input()?;
        let name = &request.log_group_name;
        allowed(call, accounts, if name.is_empty() { &request.log_group_name_prefix } else { name })?;
        let key = (call.caller.account.clone(), call.region.to_owned(), name.clone());
        let mut groups = lock(&self.groups);
        match call.operation {
            "CreateLogGroup" => {
                check_group_name(name)?;
                let class = request.log_group_class.unwrap_or_else(|| "STANDARD".to_owned());
                if !["STANDARD", "INFREQUENT_ACCESS"].contains(&class.as_str()) {
                    return Err(invalid("logGroupClass must be STANDARD or INFREQUENT_ACCESS"));
                }
                if groups.contains_key(&key) {
                    return Err(exists("group"));
                }
                groups.insert(key, Group { class, created_ms: call.now_ms, ..Group::default() });
                Ok(json!({}))
            }
            "CreateLogStream" => {
                let stream = &request.log_stream_name;
                let sound = (1..=512).contains(&stream.chars().count()) && !stream.contains([':', '*']);
                if !sound {
                    return Err(invalid("logStreamName must have 1 to 512 characters without : and *"));
                }
                let group = groups.get_mut(&key).ok_or_else(|| missing("group"))?;
                if group.streams.contains_key(stream) {
                    return Err(exists("stream"));
                }
                group.streams.insert(stream.clone(), Stream { created_ms: call.now_ms, ..Stream::default() });
                Ok(json!({}))
            }
            "PutRetentionPolicy" => {
                if !RETENTION_DAYS.contains(&request.retention_in_days) {
                    return Err(invalid(format!("retentionInDays must be one of {RETENTION_DAYS:?}")));
                }
                let group = groups.get_mut(&key).ok_or_else(|| missing("group"))?;
                group.retention_days = Some(request.retention_in_days);
                Ok(json!({}))
            }
            "DescribeLogGroups" => {
                let mine = groups.iter().filter(|((account, region, name), _)| {
                    *account == key.0 && *region == key.1 && name.starts_with(&request.log_group_name_prefix)
                });
                let shown: Vec<Value> = mine.map(|((account, region, name), group)| json!({
                    "logGroupName": name, "creationTime": group.created_ms, "retentionInDays": group.retention_days,
                    "logGroupClass": group.class, "arn": format!("arn:aws:logs:{region}:{account}:log-group:{name}:*"),
                })).collect();
                page("logGroups", shown, &request)
            }
            "DescribeLogStreams" => {
                let group = groups.get(&key).ok_or_else(|| missing("group"))?;
                let mine = group.streams.iter().filter(|(name, _)| name.starts_with(&request.log_stream_name_prefix));
                let shown: Vec<Value> = mine
                    .map(|(name, stream)| {
                        json!({
                            "logStreamName": name, "creationTime": stream.created_ms,
                            "firstEventTimestamp": stream.events.iter().map(|(time, _)| *time).min(),
                            "lastEventTimestamp": stream.events.iter().map(|(time, _)| *time).max(),
                        })
                    })
                    .collect();
                page("logStreams", shown, &request)
            }
            "GetLogEvents" => {
                let group = groups.get(&key).ok_or_else(|| missing("group"))?;
                let stream = group.streams.get(&request.log_stream_name).ok_or_else(|| missing("stream"))?;
                Ok(get(stream, &request))
            }
            "FilterLogEvents" => {
                if !request.filter_pattern.is_empty() {
                    return Err(invalid("filter patterns are not served here"));
                }
                let group = groups.get(&key).ok_or_else(|| missing("group"))?;
                let mine = group.streams.iter().filter(|(name, _)| {
                    (request.log_stream_names.is_empty() || request.log_stream_names.contains(name))
                        && name.starts_with(&request.log_stream_name_prefix)
                });
                let mut shown = Vec::new();
                for (name, stream) in mine {
                    let within = stream.events().enumerate().filter(|(_, (time, _))| request.takes(*time));
                    shown.extend(within.map(|(at, (time, message))| {
                        json!({
                            "logStreamName": name, "timestamp": time, "message": message, "ingestionTime": time,
                            "eventId": format!("{name}-{at}"),
                        })
                    }));
                }
                shown.sort_by_key(|event| event.get("timestamp").and_then(Value::as_i64));
                page("events", shown, &request)
            }
            other => Err(unknown_operation(other)),
        }
    }

    fn put(&self, call: &Call<'_>, accounts: &Accounts) -> Answer {
        let put: Put<'_> = call.input()?;
        allowed(call, accounts, &put.log_group_name)?;
        if let Some(text) = &*lock(&self.refused)
            && put.log_events.iter().any(|event| event.message.contains(text.as_str()))
        {
            return Err(invalid("Invalid parameter"));
        }
        let digests: Vec<u64> = put.log_events.iter().map(|event| digest(event.message.as_bytes())).collect();
        let mut groups = lock(&self.groups);
        let key = (call.caller.account.clone(), call.region.to_owned(), put.log_group_name.to_string());
        let group = groups.get_mut(&key).ok_or_else(|| missing("group"))?;
        let retention_days = group.retention_days;
        let stream = group.streams.get_mut(&*put.log_stream_name).ok_or_else(|| missing("stream"))?;
        let kept = judge(&put.log_events, retention_days, call.now_ms)?;
        for event in put.log_events.get(kept.from..kept.to).unwrap_or_default() {
            if !self.digests_only.load(Ordering::Relaxed) {
                stream.text.extend_from_slice(event.message.as_bytes());
            }
            stream.events.push((event.timestamp, stream.text.len()));
        }
        stream.digests.extend_from_slice(digests.get(kept.from..kept.to).unwrap_or_default());
        stream.batches += 1;
        Ok(kept.answer)
    }
}

struct Kept {
    from: usize,
    to: usize,
    answer: Value,
}

/// Refuses a call, or says which of its events are kept.
fn judge(events: &[Event<'_>], retention_days: Option<i64>, now_ms: i64) -> Result<Kept, ApiError> {
    if events.is_empty() || events.len() > BATCH_EVENTS_MAX {
        return Err(invalid(format!("logEvents must have 1 to {BATCH_EVENTS_MAX} entries")));
    }
    let mut bytes = 0;
    for event in events {
        if event.message.is_empty() {
            return Err(invalid("Member must have length greater than or equal to 1: message"));
        }
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
    let from = old.max(expired);
    let within = events.get(from..new.max(from)).unwrap_or_default();
    if let (Some(first), Some(last)) = (within.first(), within.last())
        && last.timestamp - first.timestamp > DAY_MS
    {
        return Err(invalid(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        ));
    }
    let mut rejected = serde_json::Map::new();
    if old > 0 {
        rejected.insert("tooOldLogEventEndIndex".to_owned(), json!(old));
    }
    if expired > old {
        rejected.insert("expiredLogEventEndIndex".to_owned(), json!(expired));
    }
    if new < events.len() {
        rejected.insert("tooNewLogEventStartIndex".to_owned(), json!(new));
    }
    let answer = if rejected.is_empty() { json!({}) } else { json!({ "rejectedLogEventsInfo": rejected }) };
    Ok(Kept { from, to: new.max(from), answer })
}

fn allowed(call: &Call<'_>, accounts: &Accounts, group: &str) -> Result<(), ApiError> {
    let arn = format!("arn:aws:logs:{}:{}:log-group:{group}", call.region, call.caller.account);
    if accounts.allows(call.caller, &format!("logs:{}", call.operation), &arn) {
        return Ok(());
    }
    let text =
        format!("User: {} is not authorized to perform: logs:{} on resource: {arn}", call.caller.arn, call.operation);
    Err(ApiError::new(400, "AccessDeniedException", text))
}

fn check_group_name(name: &str) -> Result<(), ApiError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_/#".contains(c);
    if (1..=512).contains(&name.len()) && name.chars().all(allowed) && !name.starts_with("aws/") {
        return Ok(());
    }
    Err(invalid("logGroupName must have 1 to 512 characters of [.\\-_/#A-Za-z0-9] and not begin with aws/"))
}

impl Request {
    fn takes(&self, time: i64) -> bool {
        self.start_time.is_none_or(|start| time >= start) && self.end_time.is_none_or(|end| time < end)
    }

    fn place(&self) -> Option<usize> {
        self.next_token.as_deref()?.rsplit('/').next()?.parse().ok()
    }
}

fn page(name: &str, shown: Vec<Value>, request: &Request) -> Answer {
    let from = request.place().unwrap_or(0).min(shown.len());
    let to = from.saturating_add(request.limit.unwrap_or(10_000)).min(shown.len());
    let more = to < shown.len();
    let mut answer = json!({});
    answer[name] = Value::Array(shown.into_iter().skip(from).take(to - from).collect());
    if more {
        answer["nextToken"] = json!(format!("f/{to}"));
    }
    Ok(answer)
}

/// A page of a stream, from the head or from the tail; the tokens are places in it.
fn get(stream: &Stream, request: &Request) -> Value {
    let within: Vec<(i64, &str)> = stream.events().filter(|(time, _)| request.takes(*time)).collect();
    let limit = request.limit.unwrap_or(10_000).max(1);
    let (from, to) = match (request.place(), request.next_token.as_deref()) {
        (Some(place), Some(token)) if token.starts_with("b/") => (place.saturating_sub(limit), place),
        (Some(place), _) => (place, place.saturating_add(limit)),
        (None, _) if request.start_from_head => (0, limit),
        (None, _) => (within.len().saturating_sub(limit), within.len()),
    };
    let (from, to) = (from.min(within.len()), to.min(within.len()));
    let events: Vec<Value> = within
        .get(from..to)
        .unwrap_or_default()
        .iter()
        .map(|(time, message)| json!({ "timestamp": time, "message": message, "ingestionTime": time }))
        .collect();
    json!({ "events": events, "nextForwardToken": format!("f/{to}"), "nextBackwardToken": format!("b/{from}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Caller;

    const NOW: i64 = 1_700_000_000_000;

    fn run(logs: &Logs, operation: &str, body: &Value) -> Answer {
        let caller =
            Caller { account: "2".into(), arn: "a".into(), role: None, tags: BTreeMap::new(), transitive: vec![] };
        let body = body.to_string();
        let call = Call { caller: &caller, region: "r", now_ms: NOW, operation, body: body.as_bytes() };
        logs.call(&call, &Accounts::default())
    }

    fn world() -> Logs {
        let logs = Logs::default();
        run(&logs, "CreateLogGroup", &json!({ "logGroupName": "g" })).unwrap();
        run(&logs, "CreateLogStream", &json!({ "logGroupName": "g", "logStreamName": "s" })).unwrap();
        logs
    }

    fn put(logs: &Logs, events: &[(i64, String)]) -> Answer {
        let events: Vec<Value> =
            events.iter().map(|(at, text)| json!({ "timestamp": NOW + at, "message": text })).collect();
        run(logs, "PutLogEvents", &json!({ "logGroupName": "g", "logStreamName": "s", "logEvents": events }))
    }

    fn refused(events: &[(i64, String)]) -> String {
        let error = put(&world(), events).unwrap_err();
        assert_eq!(error.code, "InvalidParameterException");
        error.message
    }

    fn some(count: usize, len: usize) -> Vec<(i64, String)> {
        (0..count).map(|_| (0, "x".repeat(len))).collect()
    }

    #[test]
    fn each_limit_refuses_one_more_and_takes_the_limit() {
        assert!(put(&world(), &some(10_000, 78)).is_ok());
        assert!(refused(&some(10_001, 1)).starts_with("logEvents must have"));
        assert!(refused(&[]).starts_with("logEvents must have"));
        assert!(refused(&some(10_000, 79)).starts_with("Upload too large"));
        assert!(put(&world(), &some(1, 1_048_550)).is_ok());
        assert!(refused(&some(1, 1_048_551)).starts_with("Log event too large: 1048577"));
        assert!(refused(&[(0, String::new())]).contains("length"));
        assert!(refused(&[(1, "a".into()), (0, "b".into())]).contains("chronological"));
        assert!(put(&world(), &[(-DAY_MS, "a".into()), (0, "b".into())]).is_ok());
        assert!(refused(&[(-DAY_MS - 1, "a".into()), (0, "b".into())]).contains("24 hours"));
    }

    #[test]
    fn events_outside_the_window_are_rejected_one_by_one() {
        let logs = world();
        let events: Vec<_> = [-OLD_MS_MAX - 1, -1, 0, NEW_MS_MAX, NEW_MS_MAX + 1].map(|at| (at, "e".to_owned())).into();
        let answer = put(&logs, &events).unwrap();
        assert_eq!(
            answer["rejectedLogEventsInfo"],
            json!({ "tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 4 })
        );
        run(&logs, "PutRetentionPolicy", &json!({ "logGroupName": "g", "retentionInDays": 1 })).unwrap();
        let answer = put(&logs, &[(-2 * DAY_MS, "e".into()), (-1, "e".into())]).unwrap();
        assert_eq!(answer["rejectedLogEventsInfo"], json!({ "expiredLogEventEndIndex": 1 }));
        let mut kept = 0;
        logs.each(|_, _, _, _, stream| kept += stream.events().len());
        assert_eq!(kept, 4);
    }

    #[test]
    fn names_and_what_is_missing_or_there_are_told() {
        let logs = world();
        let code = |operation, body| run(&logs, operation, &body).unwrap_err().code;
        assert_eq!(code("CreateLogGroup", json!({ "logGroupName": "g" })), "ResourceAlreadyExistsException");
        assert_eq!(code("CreateLogGroup", json!({ "logGroupName": "a b" })), "InvalidParameterException");
        assert_eq!(code("CreateLogGroup", json!({ "logGroupName": "aws/x" })), "InvalidParameterException");
        assert_eq!(
            code("CreateLogStream", json!({ "logGroupName": "g", "logStreamName": "a:b" })),
            "InvalidParameterException"
        );
        assert_eq!(
            code("CreateLogStream", json!({ "logGroupName": "h", "logStreamName": "a" })),
            "ResourceNotFoundException"
        );
        assert_eq!(
            code("PutRetentionPolicy", json!({ "logGroupName": "g", "retentionInDays": 2 })),
            "InvalidParameterException"
        );
        let body = json!({ "logGroupName": "g", "logStreamName": "t", "logEvents": [] });
        assert_eq!(run(&logs, "PutLogEvents", &body).unwrap_err().message, "The specified log stream does not exist.");
    }

    #[test]
    fn pages_of_a_stream_lead_from_one_to_the_next() {
        let logs = world();
        let events: Vec<_> = (0..5).map(|at| (at, format!("e{at}"))).collect();
        put(&logs, &events).unwrap();
        let mut token = Value::Null;
        let mut seen = Vec::new();
        loop {
            let body = json!({ "logGroupName": "g", "logStreamName": "s", "limit": 2, "startFromHead": true, "nextToken": token });
            let page = run(&logs, "GetLogEvents", &body).unwrap();
            seen.extend(page["events"].as_array().unwrap().iter().map(|it| it["message"].as_str().unwrap().to_owned()));
            if page["nextForwardToken"] == token {
                break;
            }
            token = page["nextForwardToken"].clone();
        }
        assert_eq!(seen, ["e0", "e1", "e2", "e3", "e4"]);
    }
}
