//! What is read page by page: groups, streams, events.

use serde_json::{Value, json};

use super::stream::Stream;
use super::{EVENT_OVERHEAD_BYTES, Group, Request, invalid};
use crate::api::{Answer, ApiError};

/// Events, and their bytes, of one page. Source: CloudWatch Logs API Reference, "GetLogEvents".
const PAGE_EVENTS_MAX: usize = 10_000;
const PAGE_BYTES_MAX: usize = 1 << 20;
/// Groups or streams of one page. Source: CloudWatch Logs API Reference, "DescribeLogGroups".
const PAGE_NAMES_MAX: usize = 50;

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
pub(super) fn page(name: &str, shown: Vec<Value>, request: &Request) -> Answer {
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
pub(super) fn get(stream: &Stream, request: &Request) -> Answer {
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
pub(super) fn filter(group: &Group, request: &Request) -> Answer {
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
