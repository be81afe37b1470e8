//! What a call says, and what the API refuses of it before any queue is looked at.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::invalid;
use super::queue::{BODY_BYTES_MAX, RedrivePolicy, VISIBILITY_SECONDS_MAX};
use crate::api::ApiError;

const BATCH_ENTRIES_MAX: usize = 10;
const DELAY_SECONDS_MAX: i64 = 900;
const RECEIVES: std::ops::RangeInclusive<u32> = 1..=1000;

/// System attributes of messages that the API knows.
const SYSTEM_ATTRIBUTES: [&str; 10] = [
    "All",
    "ApproximateFirstReceiveTimestamp",
    "ApproximateReceiveCount",
    "AWSTraceHeader",
    "DeadLetterQueueSourceArn",
    "MessageDeduplicationId",
    "MessageGroupId",
    "SenderId",
    "SentTimestamp",
    "SequenceNumber",
];

/// An entry of a batch; what is not here is refused too.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) id: String,
    #[serde(default)]
    pub(super) receipt_handle: String,
    pub(super) visibility_timeout: Option<i64>,
}

/// What is not here is refused.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Request {
    #[serde(default)]
    pub(super) queue_url: String,
    #[serde(default)]
    pub(super) queue_name: String,
    #[serde(default)]
    pub(super) attributes: HashMap<String, String>,
    pub(super) max_number_of_messages: Option<usize>,
    pub(super) wait_time_seconds: Option<u64>,
    pub(super) visibility_timeout: Option<i64>,
    #[serde(default)]
    pub(super) entries: Vec<Entry>,
    #[serde(default)]
    pub(super) receipt_handle: String,
    #[serde(default)]
    pub(super) message_body: String,
    #[serde(default)]
    pub(super) message_attributes: Map<String, Value>,
    pub(super) delay_seconds: Option<i64>,
    #[serde(default)]
    pub(super) attribute_names: Vec<String>,
    #[serde(default)]
    pub(super) message_system_attribute_names: Vec<String>,
    #[serde(default)]
    pub(super) message_attribute_names: Vec<String>,
}

/// Attributes of queues that are shown here.
const ATTRIBUTES: [&str; 8] = [
    "All",
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
    "MaximumMessageSize",
    "QueueArn",
    "RedrivePolicy",
    "VisibilityTimeout",
];

fn unknown_attribute(name: &str) -> ApiError {
    ApiError::new(400, "InvalidAttributeName", format!("Unknown Attribute {name}, or one that is not served here."))
}

/// Which attributes of a queue are asked for.
pub(super) fn check_asked(names: &[String]) -> Result<(), ApiError> {
    match names.iter().find(|name| !ATTRIBUTES.contains(&name.as_str())) {
        Some(unknown) => Err(unknown_attribute(unknown)),
        None => Ok(()),
    }
}

/// The name of a queue that is to be made.
pub(super) fn check_name(name: &str) -> Result<(), ApiError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    if (1..=80).contains(&name.len()) && name.chars().all(allowed) {
        return Ok(());
    }
    Err(invalid("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"))
}

/// What is to be set.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) visibility_ms: Option<i64>,
    /// Within: none removes it.
    pub(super) redrive: Option<Option<RedrivePolicy>>,
}

/// What is to be set. `own` is how the ARNs of queues of the same account and region begin; `exists` says whether there is
/// a queue of such an ARN.
pub(super) fn attributes_of(
    attributes: &HashMap<String, String>,
    own: &str,
    exists: impl Fn(&str) -> bool,
) -> Result<Wanted, ApiError> {
    let mut wanted = Wanted::default();
    for (name, value) in attributes {
        match name.as_str() {
            "VisibilityTimeout" => {
                let seconds = value.parse().ok().filter(|it| (0..=VISIBILITY_SECONDS_MAX).contains(it));
                let wrong = || {
                    let text = "Invalid value for the parameter VisibilityTimeout.";
                    ApiError::new(400, "InvalidAttributeValue", text)
                };
                wanted.visibility_ms = Some(seconds.ok_or_else(wrong)? * 1000);
            }
            "RedrivePolicy" if value.is_empty() => wanted.redrive = Some(None),
            "RedrivePolicy" => {
                let wrong =
                    |reason| invalid(format!("Value {value} for parameter RedrivePolicy is invalid. Reason: {reason}"));
                let policy = redrive(value).ok_or_else(|| wrong("Redrive policy is not a valid JSON map."))?;
                if !RECEIVES.contains(&policy.1) {
                    return Err(wrong("Invalid value for maxReceiveCount: it must be 1 to 1000."));
                }
                // Source: SQS Developer Guide, "Using dead-letter queues in Amazon SQS".
                if !policy.0.starts_with(own) {
                    return Err(wrong("Dead letter target must be of the same account and region."));
                }
                if !exists(&policy.0) {
                    return Err(wrong("Dead letter target does not exist."));
                }
                wanted.redrive = Some(Some(policy));
            }
            other => return Err(unknown_attribute(other)),
        }
    }
    Ok(wanted)
}

/// Source: SQS API Reference, "SendMessage".
pub(super) fn check_message(request: &Request) -> Result<(), ApiError> {
    let body = &request.message_body;
    if body.is_empty() {
        return Err(ApiError::new(400, "MissingParameter", "The request must contain the parameter MessageBody."));
    }
    let xml = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..);
    if !body.chars().all(xml) {
        let text = "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to \
            #xFFFD | #x10000 to #x10FFFF";
        return Err(ApiError::new(400, "InvalidMessageContents", text));
    }
    let mut bytes = body.len();
    for (name, attribute) in &request.message_attributes {
        let field = |field: &str| attribute.get(field).and_then(Value::as_str).unwrap_or_default();
        let value = field("StringValue").len() + field("BinaryValue").len();
        if field("DataType").is_empty() || value == 0 {
            let text = format!("The message attribute '{name}' must contain a type and a non-empty value");
            return Err(invalid(text));
        }
        bytes += name.len() + field("DataType").len() + value;
    }
    if bytes > BODY_BYTES_MAX {
        return Err(invalid(format!(
            "One or more parameters are invalid. Reason: Message must be shorter than {BODY_BYTES_MAX} bytes."
        )));
    }
    if request.delay_seconds.is_some_and(|seconds| !(0..=DELAY_SECONDS_MAX).contains(&seconds)) {
        return Err(invalid("DelaySeconds must be 0 to 900"));
    }
    Ok(())
}

/// Which attributes of a message are told: those that were asked for.
pub(super) struct Shown<'r> {
    system: Vec<&'r str>,
    custom: &'r [String],
}

impl<'r> Shown<'r> {
    pub(super) fn of(request: &'r Request) -> Result<Self, ApiError> {
        let names = request.attribute_names.iter().chain(&request.message_system_attribute_names);
        let system: Vec<&str> = names.map(String::as_str).collect();
        match system.iter().find(|name| !SYSTEM_ATTRIBUTES.contains(name)) {
            Some(unknown) => Err(unknown_attribute(unknown)),
            None => Ok(Self { system, custom: &request.message_attribute_names }),
        }
    }

    pub(super) fn system(&self, name: &str) -> bool {
        self.system.iter().any(|it| *it == "All" || *it == name)
    }

    pub(super) fn custom(&self, name: &str) -> bool {
        self.custom.iter().any(|it| {
            let start = it.strip_suffix(".*").or_else(|| it.strip_suffix('*'));
            it == "All" || it == name || start.is_some_and(|start| name.starts_with(start))
        })
    }
}

pub(super) fn check_batch(entries: &[Entry]) -> Result<(), ApiError> {
    if entries.is_empty() {
        return Err(ApiError::new(
            400,
            "AWS.SimpleQueueService.EmptyBatchRequest",
            "There should be at least one entry.",
        ));
    }
    if entries.len() > BATCH_ENTRIES_MAX {
        return Err(ApiError::new(
            400,
            "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
            "Maximum number of entries per request is 10.",
        ));
    }
    let sound =
        |id: &str| (1..=80).contains(&id.len()) && id.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    if !entries.iter().all(|entry| sound(&entry.id)) {
        return Err(ApiError::new(
            400,
            "AWS.SimpleQueueService.InvalidBatchEntryId",
            "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.",
        ));
    }
    let mut ids: Vec<&str> = entries.iter().map(|entry| entry.id.as_str()).collect();
    ids.sort_unstable();
    if ids.windows(2).any(|pair| pair.first() == pair.last()) {
        return Err(ApiError::new(
            400,
            "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
            "Two or more batch entries have the same Id.",
        ));
    }
    Ok(())
}

fn redrive(policy: &str) -> Option<(String, u32)> {
    let policy: Value = serde_json::from_str(policy).ok()?;
    let count = policy.get("maxReceiveCount")?;
    let count = count.as_u64().or_else(|| count.as_str()?.parse().ok())?;
    Some((policy.get("deadLetterTargetArn")?.as_str()?.to_owned(), u32::try_from(count).ok()?))
}
