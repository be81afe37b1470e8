//! SQS: awsJson 1.0. Limits and texts from the SQS API Reference.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use md5::{Digest, Md5};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use crate::api::{Answer, ApiError, Call, hex, lock, unknown_operation};

const BODY_BYTES_MAX: usize = 1_048_576;
const BATCH_ENTRIES_MAX: usize = 10;
const VISIBILITY_SECONDS_MAX: i64 = 43_200;
const DELAY_SECONDS_MAX: i64 = 900;
const RECEIVES: std::ops::RangeInclusive<u32> = 1..=1000;
/// Messages of a queue that are received and neither deleted nor visible again.
const IN_FLIGHT_MAX: usize = 120_000;
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

#[derive(Debug)]
struct Message {
    id: String,
    body: String,
    attributes: Map<String, Value>,
    sent_ms: i64,
    visible_ms: i64,
    receives: u32,
    /// Of the last receive; an older receipt is no longer good.
    receipt: Option<String>,
    received_ms: i64,
    first_received_ms: i64,
}

/// The dead-letter queue's ARN, and receives before it.
type RedrivePolicy = (String, u32);

#[derive(Debug)]
struct Queue {
    account: String,
    arn: String,
    name: String,
    visibility_ms: i64,
    redrive: Option<RedrivePolicy>,
    messages: VecDeque<Message>,
    arrived: Arc<Notify>,
}

/// All queues.
#[derive(Debug, Default)]
pub(crate) struct Sqs {
    /// By ARN.
    queues: Mutex<BTreeMap<String, Queue>>,
    made: Mutex<u64>,
}

/// How many messages a queue holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueDepth {
    /// Messages that can be received.
    pub visible: usize,
    /// Messages that were received and are hidden.
    pub in_flight: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    id: String,
    #[serde(default)]
    receipt_handle: String,
    visibility_timeout: Option<i64>,
}

/// What is not here is refused.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Request {
    #[serde(default)]
    queue_url: String,
    #[serde(default)]
    queue_name: String,
    #[serde(default)]
    attributes: HashMap<String, String>,
    max_number_of_messages: Option<usize>,
    wait_time_seconds: Option<u64>,
    visibility_timeout: Option<i64>,
    #[serde(default)]
    entries: Vec<Entry>,
    #[serde(default)]
    receipt_handle: String,
    #[serde(default)]
    message_body: String,
    #[serde(default)]
    message_attributes: Map<String, Value>,
    delay_seconds: Option<i64>,
    #[serde(default)]
    attribute_names: Vec<String>,
    #[serde(default)]
    message_system_attribute_names: Vec<String>,
    #[serde(default)]
    message_attribute_names: Vec<String>,
}

fn invalid(text: impl Into<String>) -> ApiError {
    ApiError::new(400, "InvalidParameterValue", text)
}

fn missing() -> ApiError {
    ApiError::new(400, "AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")
}

/// How the JSON protocol names an error; the code itself is that of the query protocol and goes into a header.
pub(crate) fn shape(code: &str) -> String {
    let known = match code {
        "AWS.SimpleQueueService.NonExistentQueue" => "QueueDoesNotExist",
        "QueueAlreadyExists" => "QueueNameExists",
        "OverLimit"
        | "ReceiptHandleIsInvalid"
        | "InvalidMessageContents"
        | "InvalidAttributeName"
        | "InvalidAttributeValue" => code,
        "InvalidClientTokenId" => return "UnrecognizedClientException".to_owned(),
        "SignatureDoesNotMatch" => return "InvalidSignatureException".to_owned(),
        "UnknownOperationException" | "SerializationException" => return code.to_owned(),
        _ => match code.strip_prefix("AWS.SimpleQueueService.") {
            Some(shape) => shape,
            None => return format!("com.amazon.coral.service#{code}Exception"),
        },
    };
    format!("com.amazonaws.sqs#{known}")
}

fn md5_of(text: &str) -> String {
    hex(&Md5::digest(text.as_bytes()))
}

impl Sqs {
    /// Makes a queue, and gives its ARN.
    pub(crate) fn create(
        &self,
        account: &str,
        region: &str,
        name: &str,
        visibility: Duration,
        redrive: Option<RedrivePolicy>,
    ) -> String {
        let arn = format!("arn:aws:sqs:{region}:{account}:{name}");
        let visibility_ms = i64::try_from(visibility.as_millis()).unwrap_or(30_000);
        lock(&self.queues).entry(arn.clone()).or_insert_with(|| Queue {
            account: account.to_owned(),
            arn: arn.clone(),
            name: name.to_owned(),
            visibility_ms,
            redrive,
            messages: VecDeque::new(),
            arrived: Arc::default(),
        });
        arn
    }

    /// Puts a message into a queue, as SNS and S3 do.
    pub(crate) fn deliver(&self, arn: &str, body: String, now_ms: i64) {
        let id = self.id();
        if let Some(queue) = lock(&self.queues).get_mut(arn) {
            queue.put(id, body, Map::new(), now_ms, now_ms);
        }
    }

    pub(crate) fn depth(&self, arn: &str, now_ms: i64) -> QueueDepth {
        let mut queues = lock(&self.queues);
        let Some(queue) = queues.get_mut(arn) else { return QueueDepth::default() };
        let visible = queue.messages.iter().filter(|message| message.visible_ms <= now_ms).count();
        QueueDepth { visible, in_flight: queue.messages.len() - visible }
    }

    pub(crate) fn bodies(&self, arn: &str) -> Vec<String> {
        lock(&self.queues)
            .get(arn)
            .map(|queue| queue.messages.iter().map(|it| it.body.clone()).collect())
            .unwrap_or_default()
    }

    fn id(&self) -> String {
        let mut made = lock(&self.made);
        *made += 1;
        format!("00000000-0000-4000-8000-{:012x}", *made)
    }

    pub(crate) async fn call(&self, call: &Call<'_>, host: &str, now: impl Fn() -> i64) -> Answer {
        let request: Request = call.input()?;
        if ["CreateQueue", "GetQueueUrl"].contains(&call.operation) {
            let arn = format!("arn:aws:sqs:{}:{}:{}", call.region, call.caller.account, request.queue_name);
            allowed(call, &arn)?;
        }
        let url = |queue: &Queue| format!("http://{host}/{}/{}", queue.account, queue.name);
        match call.operation {
            "CreateQueue" => {
                let name = &request.queue_name;
                let allowed = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
                if !(1..=80).contains(&name.len()) || !name.chars().all(allowed) {
                    let text = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length";
                    return Err(invalid(text));
                }
                let wanted = self.attributes_of(&request.attributes)?;
                let arn = format!("arn:aws:sqs:{}:{}:{name}", call.region, call.caller.account);
                if let Some(queue) = lock(&self.queues).get(&arn) {
                    let differs = wanted.visibility_ms.is_some_and(|ms| ms != queue.visibility_ms)
                        || wanted.redrive.is_some_and(|redrive| redrive != queue.redrive);
                    if differs {
                        let text = "A queue already exists with the same name and a different value for an attribute";
                        return Err(ApiError::new(400, "QueueAlreadyExists", text));
                    }
                    return Ok(json!({ "QueueUrl": url(queue) }));
                }
                let visibility =
                    Duration::from_millis(u64::try_from(wanted.visibility_ms.unwrap_or(30_000)).unwrap_or(0));
                self.create(&call.caller.account, call.region, name, visibility, wanted.redrive.flatten());
                let queues = lock(&self.queues);
                Ok(json!({ "QueueUrl": queues.get(&arn).map(url) }))
            }
            "GetQueueUrl" => {
                let arn = format!("arn:aws:sqs:{}:{}:{}", call.region, call.caller.account, request.queue_name);
                let queues = lock(&self.queues);
                Ok(json!({ "QueueUrl": url(queues.get(&arn).ok_or_else(missing)?) }))
            }
            "ReceiveMessage" => self.receive(call, &request, now).await,
            _ => self.change(call, &request),
        }
    }

    /// The queue of a URL, which must be the caller's own.
    fn with<T>(
        &self,
        call: &Call<'_>,
        url: &str,
        use_it: impl FnOnce(&mut Queue) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let mut parts = url.rsplit('/');
        let (name, account) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if account != call.caller.account {
            return Err(ApiError::new(403, "AccessDenied", format!("Access to the resource {url} is denied.")));
        }
        let arn = format!("arn:aws:sqs:{}:{account}:{name}", call.region);
        allowed(call, &arn)?;
        use_it(lock(&self.queues).get_mut(&arn).ok_or_else(missing)?)
    }

    async fn receive(&self, call: &Call<'_>, request: &Request, now: impl Fn() -> i64) -> Answer {
        let count = request.max_number_of_messages.unwrap_or(1);
        let wait = request.wait_time_seconds.unwrap_or(0);
        if !(1..=10).contains(&count) || wait > 20 {
            return Err(invalid("MaxNumberOfMessages must be 1 to 10 and WaitTimeSeconds 0 to 20"));
        }
        if request.visibility_timeout.is_some_and(|seconds| !(0..=VISIBILITY_SECONDS_MAX).contains(&seconds)) {
            return Err(invalid("VisibilityTimeout must be 0 to 43200"));
        }
        let shown = Shown::of(request)?;
        let until = now() + i64::try_from(wait * 1000).unwrap_or(0);
        loop {
            let now_ms = now();
            let arrived = self.with(call, &request.queue_url, |queue| Ok(Arc::clone(&queue.arrived)))?;
            let notified = arrived.notified();
            let (taken, dead, next) = self.with(call, &request.queue_url, |queue| {
                let visibility = request.visibility_timeout.map_or(queue.visibility_ms, |seconds| seconds * 1000);
                // Hidden messages are among all: mostly there is nothing to count.
                if queue.messages.len() >= IN_FLIGHT_MAX && queue.in_flight(now_ms) >= IN_FLIGHT_MAX {
                    return Err(ApiError::new(403, "OverLimit", "The maximum number of in flight messages is reached"));
                }
                let dead = queue.exhausted(now_ms);
                let taken = queue.take(count, visibility, now_ms, &shown);
                let next = if taken.is_empty() { queue.next_visible_ms() } else { None };
                Ok((taken, dead, next))
            })?;
            for (target, message) in dead {
                if let Some(queue) = lock(&self.queues).get_mut(&target) {
                    queue.put(message.id, message.body, message.attributes, message.sent_ms, now_ms);
                }
            }
            if !taken.is_empty() {
                return Ok(json!({ "Messages": taken }));
            }
            if now_ms >= until {
                return Ok(json!({}));
            }
            let pause = next.map_or(until, |next| next.min(until)).saturating_sub(now_ms).max(1);
            let pause = Duration::from_millis(u64::try_from(pause).unwrap_or(1));
            // Whichever comes first, the loop looks again.
            let _either = tokio::time::timeout(pause, notified).await;
        }
    }

    fn change(&self, call: &Call<'_>, request: &Request) -> Answer {
        let now_ms = call.now_ms;
        match call.operation {
            "SendMessage" => {
                check_message(request)?;
                let (id, md5) = (self.id(), md5_of(&request.message_body));
                let visible_ms = now_ms + request.delay_seconds.unwrap_or(0) * 1000;
                self.with(call, &request.queue_url, |queue| {
                    queue.put(
                        id.clone(),
                        request.message_body.clone(),
                        request.message_attributes.clone(),
                        now_ms,
                        visible_ms,
                    );
                    Ok(json!({ "MessageId": id, "MD5OfMessageBody": md5 }))
                })
            }
            "DeleteMessage" => self.with(call, &request.queue_url, |queue| {
                queue.delete(&request.receipt_handle)?;
                Ok(json!({}))
            }),
            "ChangeMessageVisibility" => self.with(call, &request.queue_url, |queue| {
                queue.hide(&request.receipt_handle, request.visibility_timeout.unwrap_or(0), now_ms)?;
                Ok(json!({}))
            }),
            "DeleteMessageBatch" | "ChangeMessageVisibilityBatch" => {
                check_batch(&request.entries)?;
                let delete = call.operation == "DeleteMessageBatch";
                self.with(call, &request.queue_url, |queue| {
                    let (mut successful, mut failed) = (Vec::new(), Vec::new());
                    for entry in &request.entries {
                        let done = if delete {
                            queue.delete(&entry.receipt_handle)
                        } else {
                            queue.hide(&entry.receipt_handle, entry.visibility_timeout.unwrap_or(0), now_ms)
                        };
                        match done {
                            Ok(()) => successful.push(json!({ "Id": entry.id })),
                            Err(error) => failed.push(json!({
                                "Id": entry.id, "Code": error.code, "SenderFault": true, "Message": error.message,
                            })),
                        }
                    }
                    Ok(json!({ "Successful": successful, "Failed": failed }))
                })
            }
            "GetQueueAttributes" => self.with(call, &request.queue_url, |queue| {
                let mut attributes = queue.attributes(call);
                if let Some(unknown) = request.attribute_names.iter().find(|name| !ATTRIBUTES.contains(&name.as_str()))
                {
                    return Err(unknown_attribute(unknown));
                }
                let asked = |name: &str| request.attribute_names.iter().any(|it| it == "All" || it == name);
                attributes.retain(|name, _| asked(name));
                Ok(if attributes.is_empty() { json!({}) } else { json!({ "Attributes": attributes }) })
            }),
            "SetQueueAttributes" => {
                let wanted = self.attributes_of(&request.attributes)?;
                self.with(call, &request.queue_url, |queue| {
                    queue.visibility_ms = wanted.visibility_ms.unwrap_or(queue.visibility_ms);
                    if let Some(redrive) = wanted.redrive {
                        queue.redrive = redrive;
                    }
                    Ok(json!({}))
                })
            }
            other => Err(unknown_operation(other)),
        }
    }
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

fn allowed(call: &Call<'_>, arn: &str) -> Result<(), ApiError> {
    // A batch needs no right of its own.
    let operation = call.operation.strip_suffix("Batch").unwrap_or(call.operation);
    call.allowed(&format!("sqs:{operation}"), arn).map_err(|text| ApiError::new(403, "AccessDenied", text))
}

/// What is to be set.
#[derive(Default)]
struct Wanted {
    visibility_ms: Option<i64>,
    /// Within: none removes it.
    redrive: Option<Option<RedrivePolicy>>,
}

impl Sqs {
    fn attributes_of(&self, attributes: &HashMap<String, String>) -> Result<Wanted, ApiError> {
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
                    let wrong = |reason| {
                        invalid(format!("Value {value} for parameter RedrivePolicy is invalid. Reason: {reason}"))
                    };
                    let policy = redrive(value).ok_or_else(|| wrong("Redrive policy is not a valid JSON map."))?;
                    if !RECEIVES.contains(&policy.1) {
                        return Err(wrong("Invalid value for maxReceiveCount: it must be 1 to 1000."));
                    }
                    if !lock(&self.queues).contains_key(&policy.0) {
                        return Err(wrong("Dead letter target does not exist."));
                    }
                    wanted.redrive = Some(Some(policy));
                }
                other => return Err(unknown_attribute(other)),
            }
        }
        Ok(wanted)
    }
}

/// Source: SQS API Reference, "SendMessage".
fn check_message(request: &Request) -> Result<(), ApiError> {
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
struct Shown<'r> {
    system: Vec<&'r str>,
    custom: &'r [String],
}

impl<'r> Shown<'r> {
    fn of(request: &'r Request) -> Result<Self, ApiError> {
        let names = request.attribute_names.iter().chain(&request.message_system_attribute_names);
        let system: Vec<&str> = names.map(String::as_str).collect();
        match system.iter().find(|name| !SYSTEM_ATTRIBUTES.contains(name)) {
            Some(unknown) => Err(unknown_attribute(unknown)),
            None => Ok(Self { system, custom: &request.message_attribute_names }),
        }
    }

    fn system(&self, name: &str) -> bool {
        self.system.iter().any(|it| *it == "All" || *it == name)
    }

    fn custom(&self, name: &str) -> bool {
        self.custom.iter().any(|it| {
            let start = it.strip_suffix(".*").or_else(|| it.strip_suffix('*'));
            it == "All" || it == name || start.is_some_and(|start| name.starts_with(start))
        })
    }
}

fn check_batch(entries: &[Entry]) -> Result<(), ApiError> {
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

impl Queue {
    fn put(&mut self, id: String, body: String, attributes: Map<String, Value>, sent_ms: i64, visible_ms: i64) {
        let message = Message {
            id,
            body,
            attributes,
            sent_ms,
            visible_ms,
            receives: 0,
            receipt: None,
            received_ms: 0,
            first_received_ms: 0,
        };
        self.messages.push_back(message);
        self.arrived.notify_waiters();
    }

    /// Takes out the messages that were received as often as the redrive policy allows and are visible again.
    fn exhausted(&mut self, now_ms: i64) -> Vec<(String, Message)> {
        let Some((target, most)) = self.redrive.clone() else { return Vec::new() };
        let mut dead = Vec::new();
        let mut at = 0;
        while let Some(message) = self.messages.get(at) {
            if message.visible_ms <= now_ms && message.receives >= most {
                dead.extend(self.messages.remove(at).map(|message| (target.clone(), message)));
            } else {
                at += 1;
            }
        }
        dead
    }

    /// Hidden messages that were received.
    fn in_flight(&self, now_ms: i64) -> usize {
        self.messages.iter().filter(|message| message.visible_ms > now_ms && message.receives > 0).count()
    }

    fn take(&mut self, count: usize, visibility_ms: i64, now_ms: i64, show: &Shown<'_>) -> Vec<Value> {
        let name = &self.name;
        let visible = self.messages.iter_mut().filter(|message| message.visible_ms <= now_ms).take(count);
        visible
            .map(|message| {
                message.receives += 1;
                message.visible_ms = now_ms + visibility_ms;
                message.received_ms = now_ms;
                if message.receives == 1 {
                    message.first_received_ms = now_ms;
                }
                let receipt = format!("{name}/{}/{}", message.id, message.receives);
                message.receipt = Some(receipt.clone());
                let mut shown = Map::new();
                shown.insert("MessageId".to_owned(), json!(message.id));
                shown.insert("ReceiptHandle".to_owned(), json!(receipt));
                shown.insert("MD5OfBody".to_owned(), json!(md5_of(&message.body)));
                shown.insert("Body".to_owned(), json!(message.body));
                let system = [
                    ("ApproximateReceiveCount", i64::from(message.receives)),
                    ("ApproximateFirstReceiveTimestamp", message.first_received_ms),
                    ("SentTimestamp", message.sent_ms),
                ];
                let system = system.iter().filter(|(name, _)| show.system(name));
                let system: Map<_, _> =
                    system.map(|(name, value)| ((*name).to_owned(), json!(value.to_string()))).collect();
                let custom = message.attributes.iter().filter(|(name, _)| show.custom(name));
                let custom: Map<_, _> = custom.map(|(name, value)| (name.clone(), value.clone())).collect();
                for (name, attributes) in [("Attributes", system), ("MessageAttributes", custom)] {
                    if !attributes.is_empty() {
                        shown.insert(name.to_owned(), Value::Object(attributes));
                    }
                }
                Value::Object(shown)
            })
            .collect()
    }

    fn next_visible_ms(&self) -> Option<i64> {
        self.messages.iter().map(|message| message.visible_ms).min()
    }

    /// Deletes by the last receipt; an older one succeeds without effect.
    fn delete(&mut self, receipt: &str) -> Result<(), ApiError> {
        self.check_receipt(receipt)?;
        // Those that were received are mostly the oldest.
        if let Some(at) = self.messages.iter().position(|message| message.receipt.as_deref() == Some(receipt)) {
            self.messages.remove(at);
        }
        Ok(())
    }

    /// Whether this queue ever gave such a receipt: `queue/id/receive`.
    fn check_receipt(&self, receipt: &str) -> Result<(), ApiError> {
        let mine = receipt.strip_prefix(self.name.as_str()).and_then(|rest| rest.strip_prefix('/'));
        let sound = mine
            .and_then(|rest| rest.split_once('/'))
            .is_some_and(|(id, receive)| id.starts_with("00000000-0000-4000-8000-") && receive.parse::<u32>().is_ok());
        if sound {
            return Ok(());
        }
        let text = format!("The input receipt handle \"{receipt}\" is not a valid receipt handle.");
        Err(ApiError::new(400, "ReceiptHandleIsInvalid", text))
    }

    fn hide(&mut self, receipt: &str, seconds: i64, now_ms: i64) -> Result<(), ApiError> {
        if !(0..=VISIBILITY_SECONDS_MAX).contains(&seconds) {
            return Err(invalid("VisibilityTimeout must be 0 to 43200"));
        }
        self.check_receipt(receipt)?;
        let found = self.messages.iter_mut().find(|message| message.receipt.as_deref() == Some(receipt));
        let message = found.ok_or_else(|| {
            invalid(format!(
                "Value {receipt} for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not \
                 available for visibility timeout change."
            ))
        })?;
        if message.visible_ms <= now_ms {
            return Err(ApiError::new(
                400,
                "AWS.SimpleQueueService.MessageNotInflight",
                "The message is not in flight.",
            ));
        }
        let visible_ms = now_ms + seconds * 1000;
        if visible_ms > message.received_ms + VISIBILITY_SECONDS_MAX * 1000 {
            return Err(invalid("Total VisibilityTimeout for the message is beyond the limit [43200 seconds]"));
        }
        message.visible_ms = visible_ms;
        self.arrived.notify_waiters();
        Ok(())
    }

    fn attributes(&self, call: &Call<'_>) -> BTreeMap<&'static str, String> {
        let visible = self.messages.iter().filter(|message| message.visible_ms <= call.now_ms).count();
        let hidden = self.in_flight(call.now_ms);
        let mut shown = BTreeMap::from([
            ("QueueArn", self.arn.clone()),
            ("VisibilityTimeout", (self.visibility_ms / 1000).to_string()),
            ("MaximumMessageSize", BODY_BYTES_MAX.to_string()),
            ("ApproximateNumberOfMessages", visible.to_string()),
            ("ApproximateNumberOfMessagesNotVisible", hidden.to_string()),
            ("ApproximateNumberOfMessagesDelayed", (self.messages.len() - visible - hidden).to_string()),
        ]);
        if let Some((target, most)) = &self.redrive {
            shown
                .insert("RedrivePolicy", json!({ "deadLetterTargetArn": target, "maxReceiveCount": most }).to_string());
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Accounts;
    use crate::api::Caller;

    struct World {
        sqs: Sqs,
        caller: Caller,
    }

    fn world() -> World {
        let caller = Caller {
            account: "111111111111".into(),
            arn: "arn".into(),
            role: None,
            tags: BTreeMap::new(),
            transitive: vec![],
        };
        let sqs = Sqs::default();
        let dead = sqs.create("111111111111", "us-east-1", "dead", Duration::from_secs(30), None);
        sqs.create("111111111111", "us-east-1", "q", Duration::from_secs(30), Some((dead, 2)));
        World { sqs, caller }
    }

    async fn call(world: &World, operation: &str, now_ms: i64, mut body: Value) -> Answer {
        body["QueueUrl"] = json!("http://h/111111111111/q");
        let (body, accounts) = (body.to_string(), Accounts::default());
        let (body, accounts) = (body.as_bytes(), &accounts);
        let call = Call { caller: &world.caller, region: "us-east-1", now_ms, operation, body, accounts };
        world.sqs.call(&call, "h", || now_ms).await
    }

    async fn receive(world: &World, now_ms: i64) -> Vec<Value> {
        let answer =
            call(world, "ReceiveMessage", now_ms, json!({ "MaxNumberOfMessages": 10, "AttributeNames": ["All"] }))
                .await
                .unwrap();
        answer["Messages"].as_array().cloned().unwrap_or_default()
    }

    #[tokio::test]
    async fn a_message_is_hidden_comes_again_and_ends_in_the_dead_letter_queue() {
        let world = world();
        world.sqs.deliver("arn:aws:sqs:us-east-1:111111111111:q", "hello".into(), 0);
        assert_eq!(receive(&world, 1).await.len(), 1);
        assert_eq!(receive(&world, 29_000).await.len(), 0);
        let again = receive(&world, 30_001).await;
        assert_eq!(again[0]["Attributes"]["ApproximateReceiveCount"], "2");
        assert_eq!(receive(&world, 60_002).await.len(), 0);
        assert_eq!(world.sqs.bodies("arn:aws:sqs:us-east-1:111111111111:dead"), ["hello"]);
    }

    #[tokio::test]
    async fn an_old_receipt_deletes_nothing_and_the_new_one_does() {
        let world = world();
        world.sqs.deliver("arn:aws:sqs:us-east-1:111111111111:q", "hello".into(), 0);
        let old = receive(&world, 1).await[0]["ReceiptHandle"].clone();
        let new = receive(&world, 30_001).await[0]["ReceiptHandle"].clone();
        call(&world, "DeleteMessage", 30_002, json!({ "ReceiptHandle": old })).await.unwrap();
        let arn = "arn:aws:sqs:us-east-1:111111111111:q";
        assert_eq!(world.sqs.depth(arn, 30_003), QueueDepth { visible: 0, in_flight: 1 });
        call(&world, "DeleteMessageBatch", 30_004, json!({ "Entries": [{ "Id": "0", "ReceiptHandle": new }] }))
            .await
            .unwrap();
        assert_eq!(world.sqs.depth(arn, 30_005), QueueDepth::default());
    }

    #[tokio::test]
    async fn visibility_is_changed_up_to_twelve_hours_from_the_receive() {
        let world = world();
        world.sqs.deliver("arn:aws:sqs:us-east-1:111111111111:q", "hello".into(), 0);
        let receipt = receive(&world, 1).await[0]["ReceiptHandle"].clone();
        let hide = async |now, seconds: i64| {
            let body = json!({ "ReceiptHandle": receipt, "VisibilityTimeout": seconds });
            call(&world, "ChangeMessageVisibility", now, body).await.map_err(|error| error.code)
        };
        assert!(hide(10, 43_200).await.is_err());
        assert!(hide(10, 40_000).await.is_ok());
        assert!(hide(20, 0).await.is_ok());
        assert_eq!(hide(21, 5).await, Err("AWS.SimpleQueueService.MessageNotInflight"));
        assert_eq!(receive(&world, 22).await.len(), 1);
    }

    #[tokio::test]
    async fn batches_and_foreign_callers_are_checked() {
        let mut world = world();
        let entries: Vec<_> = (0..11).map(|at| json!({ "Id": at.to_string(), "ReceiptHandle": "x" })).collect();
        let many = call(&world, "DeleteMessageBatch", 0, json!({ "Entries": entries })).await.unwrap_err();
        assert_eq!(many.code, "AWS.SimpleQueueService.TooManyEntriesInBatchRequest");
        world.caller.account = "222222222222".into();
        assert_eq!(call(&world, "ReceiveMessage", 0, json!({})).await.unwrap_err().code, "AccessDenied");
    }
}
