//! CloudWatch Logs, with every limit and reject rule of PutLogEvents. Limits from the CloudWatch Logs API Reference and
//! the quota page; they are stated here anew, so that a mistake of the daemon does not agree with itself.

mod pages;
mod put;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;
use serde_json::{Value, json};

use self::pages::{filter, get, page};
pub use self::stream::{Keep, Stream, digest};
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
    keep: Mutex<Keep>,
    refused: Mutex<Option<String>>,
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
    /// From now on this is kept of accepted events.
    pub(crate) fn keep(&self, keep: Keep) {
        *lock(&self.keep) = keep;
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
                            shown["lastIngestionTime"] = json!(stream.last_arrival_ms());
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
