//! CloudWatch Logs, with every limit and reject rule of PutLogEvents. Limits from the CloudWatch Logs API Reference and
//! the quota page; they are stated here anew, so that a mistake of the daemon does not agree with itself.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;
use serde_json::{Value, json};

use crate::api::{Answer, ApiError, Call, lock, unknown_operation};
use crate::faults::{Fault, Kind};

const BATCH_BYTES_MAX: usize = 1_048_576;
const BATCH_EVENTS_MAX: usize = 10_000;
const EVENT_OVERHEAD_BYTES: usize = 26;
const EVENT_BYTES_MAX: usize = 1_048_576;
/// Events, and their bytes, of one page. Source: CloudWatch Logs API Reference, "GetLogEvents".
const PAGE_EVENTS_MAX: usize = 10_000;
const PAGE_BYTES_MAX: usize = 1 << 20;
/// Groups or streams of one page. Source: CloudWatch Logs API Reference, "DescribeLogGroups".
const PAGE_NAMES_MAX: usize = 50;
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
    /// Events so far and time of arrival, for each accepted call.
    arrivals: Vec<(usize, i64)>,
    /// Timestamps and digests of what faults rejected.
    rejected: Vec<(i64, u64)>,
    /// Events of accepted calls whose answers faults lost or kept back.
    unanswered: Vec<Range<usize>>,
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

    fn arrived_ms(&self, at: usize) -> i64 {
        let call = self.arrivals.partition_point(|(events, _)| *events <= at);
        self.arrivals.get(call).map_or(0, |(_, ms)| *ms)
    }

    /// The events that are wanted, with their places, in the order of time, as they are shown.
    fn by_time(&self, wanted: impl Fn(i64) -> bool) -> Vec<(i64, usize, &str)> {
        let all = self.events().enumerate().filter(|(_, (time, _))| wanted(*time));
        let mut found: Vec<_> = all.map(|(at, (time, message))| (time, at, message)).collect();
        found.sort_by_key(|(time, ..)| *time);
        found
    }

    /// Timestamps and [`digest`]s of the messages, in order.
    pub fn digests(&self) -> impl ExactSizeIterator<Item = (i64, u64)> {
        self.events.iter().zip(&self.digests).map(|((timestamp, _), digest)| (*timestamp, *digest))
    }

    /// Timestamps and [`digest`]s of the events that faults rejected, so that they are not here. A client that was told
    /// does not send them again; one whose answer was lost may have.
    #[must_use]
    pub fn rejected(&self) -> &[(i64, u64)] {
        &self.rejected
    }

    /// Timestamps and [`digest`]s of the events that are here though faults lost the answers, or kept them back: such a
    /// client may send them again, and does right.
    pub fn unanswered(&self) -> impl Iterator<Item = (i64, u64)> {
        let range = |range: &Range<usize>| self.events.get(range.clone()).zip(self.digests.get(range.clone()));
        let pairs = self.unanswered.iter().filter_map(range);
        pairs.flat_map(|(events, digests)| events.iter().zip(digests).map(|((time, _), digest)| (*time, *digest)))
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

/// What is not here is refused: a filter that is passed over would answer wrongly.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
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
    order_by: String,
    descending: bool,
    tags: BTreeMap<String, String>,
    /// Nothing is masked here; to ask for it takes a permission all the same.
    unmask: bool,
    /// It has no meaning any more. Source: CloudWatch Logs API Reference, "FilterLogEvents".
    #[serde(rename = "interleaved")]
    _interleaved: IgnoredAny,
}

/// The members of a request.
fn read<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        Category::Data => invalid(error.to_string()),
        Category::Io | Category::Syntax | Category::Eof => {
            ApiError::new(400, "SerializationException", error.to_string())
        }
    })
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

    pub(crate) fn call(&self, call: &Call<'_>) -> Answer {
        if call.operation == "PutLogEvents" {
            return self.put(call);
        }
        let request: Request = read(call.body)?;
        let name = &request.log_group_name;
        allowed(call, call.operation, name, &request.log_stream_name)?;
        if request.unmask {
            allowed(call, "Unmask", name, &request.log_stream_name)?;
        }
        let key = (call.caller.account.clone(), call.region.to_owned(), name.clone());
        let mut groups = lock(&self.groups);
        match call.operation {
            "CreateLogGroup" => {
                check_group_name(name)?;
                let class = request.log_group_class.unwrap_or_else(|| "STANDARD".to_owned());
                if !["STANDARD", "INFREQUENT_ACCESS"].contains(&class.as_str()) {
                    return Err(invalid("logGroupClass must be STANDARD or INFREQUENT_ACCESS"));
                }
                if !request.tags.is_empty() {
                    allowed(call, "TagResource", name, "")?;
                }
                if groups.contains_key(&key) {
                    return Err(exists("group"));
                }
                groups.insert(key, Group { class, created_ms: call.now_ms, ..Group::default() });
                Ok(json!({}))
            }
            "CreateLogStream" => {
                let stream = &request.log_stream_name;
                check_stream_name(stream)?;
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
                let mine = groups.iter().filter(|((account, region, name), group)| {
                    (account, region) == (&key.0, &key.1)
                        && name.starts_with(&request.log_group_name_prefix)
                        && request.log_group_class.as_ref().is_none_or(|class| *class == group.class)
                });
                let shown = mine.map(|((account, region, name), group)| {
                    let arn = format!("arn:aws:logs:{region}:{account}:log-group:{name}");
                    let mut shown = json!({
                        "logGroupName": name, "creationTime": group.created_ms, "logGroupClass": group.class,
                        "arn": format!("{arn}:*"), "logGroupArn": arn, "metricFilterCount": 0, "storedBytes": 0,
                    });
                    if let Some(days) = group.retention_days {
                        shown["retentionInDays"] = json!(days);
                    }
                    shown
                });
                page("logGroups", shown.collect(), &request)
            }
            "DescribeLogStreams" => {
                let group = groups.get(&key).ok_or_else(|| missing("group"))?;
                let by_time = match request.order_by.as_str() {
                    "" | "LogStreamName" => false,
                    "LastEventTime" => true,
                    _ => return Err(invalid("orderBy must be LogStreamName or LastEventTime")),
                };
                if by_time && !request.log_stream_name_prefix.is_empty() {
                    return Err(invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
                }
                let mine = group.streams.iter().filter(|(name, _)| name.starts_with(&request.log_stream_name_prefix));
                let mut shown: Vec<(Option<i64>, Value)> = mine
                    .map(|(stream_name, stream)| {
                        let last = stream.events.iter().map(|(time, _)| *time).max();
                        let mut shown = json!({
                            "logStreamName": stream_name, "creationTime": stream.created_ms, "storedBytes": 0,
                            "uploadSequenceToken": "0",
                            "arn": format!("arn:aws:logs:{}:{}:log-group:{name}:log-stream:{stream_name}", key.1, key.0),
                        });
                        if let Some(last) = last {
                            shown["firstEventTimestamp"] = json!(stream.events.iter().map(|(time, _)| *time).min());
                            shown["lastEventTimestamp"] = json!(last);
                            shown["lastIngestionTime"] = json!(stream.arrivals.last().map(|(_, ms)| *ms));
                        }
                        (last, shown)
                    })
                    .collect();
                if by_time {
                    shown.sort_by_key(|(last, _)| *last);
                }
                if request.descending {
                    shown.reverse();
                }
                page("logStreams", shown.into_iter().map(|(_, shown)| shown).collect(), &request)
            }
            "GetLogEvents" => {
                let group = groups.get(&key).ok_or_else(|| missing("group"))?;
                let stream = group.streams.get(&request.log_stream_name).ok_or_else(|| missing("stream"))?;
                get(stream, &request)
            }
            "FilterLogEvents" => {
                if !request.filter_pattern.is_empty() {
                    return Err(invalid("filter patterns are not served here"));
                }
                let group = groups.get(&key).ok_or_else(|| missing("group"))?;
                filter(group, &request)
            }
            other => Err(unknown_operation(other)),
        }
    }

    fn put(&self, call: &Call<'_>) -> Answer {
        let put: Put<'_> = read(call.body)?;
        allowed(call, "PutLogEvents", &put.log_group_name, &put.log_stream_name)?;
        check_group_name(&put.log_group_name)?;
        check_stream_name(&put.log_stream_name)?;
        check_members(&put.log_events)?;
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
        let mut kept = judge(&put.log_events, retention_days, call.now_ms)?;
        let rejected = call.fault.and_then(|fault| kept.reject(fault)).unwrap_or_default();
        let marks = put.log_events.iter().map(|event| event.timestamp).zip(digests.iter().copied());
        stream.rejected.extend(marks.skip(rejected.start).take(rejected.len()));
        let before = stream.events.len();
        for event in put.log_events.get(kept.range()).unwrap_or_default() {
            if !self.digests_only.load(Ordering::Relaxed) {
                stream.text.extend_from_slice(event.message.as_bytes());
            }
            stream.events.push((event.timestamp, stream.text.len()));
        }
        stream.digests.extend_from_slice(digests.get(kept.range()).unwrap_or_default());
        stream.batches += 1;
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

fn allowed(call: &Call<'_>, operation: &str, group: &str, stream: &str) -> Result<(), ApiError> {
    let arn = format!("arn:aws:logs:{}:{}:log-group:{group}:log-stream:{stream}", call.region, call.caller.account);
    call.allowed(&format!("logs:{operation}"), &arn).map_err(|text| ApiError::new(400, "AccessDeniedException", text))
}

fn check_stream_name(name: &str) -> Result<(), ApiError> {
    if (1..=512).contains(&name.chars().count()) && !name.contains([':', '*']) {
        return Ok(());
    }
    Err(invalid("logStreamName must have 1 to 512 characters without : and *"))
}

fn check_group_name(name: &str) -> Result<(), ApiError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_/#".contains(c);
    if (1..=512).contains(&name.len()) && name.chars().all(allowed) && !name.starts_with("aws/") {
        return Ok(());
    }
    Err(invalid("logGroupName must have 1 to 512 characters of [.\\-_/#A-Za-z0-9] and not begin with aws/"))
}

impl Request {
    /// Where a page begins, by the token of the one before it.
    fn place(&self, mark: &str) -> Result<Option<usize>, ApiError> {
        let Some(token) = &self.next_token else { return Ok(None) };
        let place = token.strip_prefix(mark).and_then(|place| place.parse().ok());
        place.map(Some).ok_or_else(|| invalid("The specified nextToken is invalid."))
    }

    fn limit(&self, most: usize) -> Result<usize, ApiError> {
        let limit = self.limit.unwrap_or(most);
        if (1..=most).contains(&limit) { Ok(limit) } else { Err(invalid(format!("limit must be 1 to {most}"))) }
    }
}

/// A page of groups or streams.
fn page(name: &str, shown: Vec<Value>, request: &Request) -> Answer {
    let from = request.place("n/")?.unwrap_or(0);
    let to = from.saturating_add(request.limit(PAGE_NAMES_MAX)?);
    let more = to < shown.len();
    let mut answer = json!({});
    answer[name] = shown.into_iter().skip(from).take(to - from).collect();
    if more {
        answer["nextToken"] = json!(format!("n/{to}"));
    }
    Ok(answer)
}

/// How many messages fit a page; one always does.
fn fitting<'m>(messages: impl Iterator<Item = &'m str>) -> usize {
    let mut bytes = 0;
    let fits = |message: &&str| {
        bytes += message.len() + EVENT_OVERHEAD_BYTES;
        bytes <= PAGE_BYTES_MAX
    };
    messages.take_while(fits).count().max(1)
}

/// A page of a stream, from the head or from the tail; the tokens are places in it. The end of the time is exclusive.
fn get(stream: &Stream, request: &Request) -> Answer {
    let takes =
        |time| request.start_time.is_none_or(|start| time >= start) && request.end_time.is_none_or(|end| time < end);
    let within = stream.by_time(takes);
    let limit = request.limit(PAGE_EVENTS_MAX)?;
    let backward = request.next_token.as_ref().map_or(!request.start_from_head, |token| token.starts_with("b/"));
    let place = request.place(if backward { "b/" } else { "f/" })?;
    let (from, to) = if backward {
        let to = place.unwrap_or(within.len()).min(within.len());
        let before = within.get(..to).unwrap_or_default();
        let count = fitting(before.iter().rev().map(|(_, _, message)| *message)).min(limit).min(to);
        (to - count, to)
    } else {
        let from = place.unwrap_or(0).min(within.len());
        let behind = within.get(from..).unwrap_or_default();
        let count = fitting(behind.iter().map(|(_, _, message)| *message)).min(limit).min(behind.len());
        (from, from + count)
    };
    let shown = within.get(from..to).unwrap_or_default().iter().map(
        |(time, at, message)| json!({ "timestamp": time, "message": message, "ingestionTime": stream.arrived_ms(*at) }),
    );
    let events: Vec<Value> = shown.collect();
    Ok(json!({ "events": events, "nextForwardToken": format!("f/{to}"), "nextBackwardToken": format!("b/{from}") }))
}

/// A page of several streams, in the order of time. The end of the time is inclusive, as the API has it.
fn filter(group: &Group, request: &Request) -> Answer {
    if !request.log_stream_names.is_empty() && !request.log_stream_name_prefix.is_empty() {
        return Err(invalid("logStreamNames and logStreamNamePrefix exclude each other"));
    }
    let takes =
        |time| request.start_time.is_none_or(|start| time >= start) && request.end_time.is_none_or(|end| time <= end);
    let mine = group.streams.iter().filter(|(name, _)| {
        (request.log_stream_names.is_empty() || request.log_stream_names.contains(name))
            && name.starts_with(&request.log_stream_name_prefix)
    });
    let mut found = Vec::new();
    for (name, stream) in mine {
        found.extend(stream.by_time(takes).into_iter().map(|(time, at, message)| (time, name, stream, at, message)));
    }
    found.sort_by_key(|(time, ..)| *time);
    let limit = request.limit(PAGE_EVENTS_MAX)?;
    let from = request.place("n/")?.unwrap_or(0).min(found.len());
    let behind = found.get(from..).unwrap_or_default();
    let count = fitting(behind.iter().map(|(.., message)| *message)).min(limit).min(behind.len());
    let shown = behind.iter().take(count).map(|(time, name, stream, at, message)| {
        json!({
            "logStreamName": name, "timestamp": time, "message": message, "ingestionTime": stream.arrived_ms(*at),
            "eventId": format!("{name}-{at}"),
        })
    });
    let mut answer = json!({ "events": shown.collect::<Vec<_>>(), "searchedLogStreams": [] });
    if count < behind.len() {
        answer["nextToken"] = json!(format!("n/{}", from + count));
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Accounts;
    use crate::api::Caller;

    const NOW: i64 = 1_700_000_000_000;

    fn run(logs: &Logs, operation: &str, body: &Value) -> Answer {
        let caller = Caller {
            account: "2".into(),
            arn: "a".into(),
            role: None,
            tags: BTreeMap::new(),
            transitive: std::collections::BTreeSet::new(),
        };
        let body = body.to_string();
        let (body, accounts) = (body.as_bytes(), Accounts::default());
        logs.call(&Call {
            caller: &caller,
            region: "r",
            now_ms: NOW,
            operation,
            body,
            accounts: &accounts,
            fault: None,
        })
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
        let events = [json!({ "timestamp": NOW, "message": "e" })];
        let body = json!({ "logGroupName": "g", "logStreamName": "t", "logEvents": events });
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
