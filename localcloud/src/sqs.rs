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

#[derive(Debug)]
struct Message {
    id: String,
    body: String,
    attributes: Value,
    sent_ms: i64,
    visible_ms: i64,
    receives: u32,
    /// Of the last receive; an older receipt is no longer good.
    receipt: Option<String>,
    received_ms: i64,
}

#[derive(Debug)]
struct Queue {
    account: String,
    name: String,
    visibility_ms: i64,
    redrive: Option<(String, u32)>,
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

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
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
    message_attributes: Value,
    delay_seconds: Option<i64>,
}

fn invalid(text: impl Into<String>) -> ApiError {
    ApiError::new(400, "InvalidParameterValue", text)
}

fn missing() -> ApiError {
    ApiError::new(400, "AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")
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
        redrive: Option<(String, u32)>,
    ) -> String {
        let arn = format!("arn:aws:sqs:{region}:{account}:{name}");
        let visibility_ms = i64::try_from(visibility.as_millis()).unwrap_or(30_000);
        lock(&self.queues).entry(arn.clone()).or_insert_with(|| Queue {
            account: account.to_owned(),
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
            queue.put(id, body, Value::Null, now_ms, now_ms);
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
        let url = |queue: &Queue| format!("http://{host}/{}/{}", queue.account, queue.name);
        match call.operation {
            "CreateQueue" => {
                let seconds = request.attributes.get("VisibilityTimeout").and_then(|it| it.parse().ok()).unwrap_or(30);
                let redrive = request.attributes.get("RedrivePolicy").and_then(|policy| redrive(policy));
                let arn = self.create(
                    &call.caller.account,
                    call.region,
                    &request.queue_name,
                    Duration::from_secs(seconds),
                    redrive,
                );
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
            return Err(ApiError::new(403, "AccessDenied", "Access to the resource is denied."));
        }
        let arn = format!("arn:aws:sqs:{}:{account}:{name}", call.region);
        use_it(lock(&self.queues).get_mut(&arn).ok_or_else(missing)?)
    }

    async fn receive(&self, call: &Call<'_>, request: &Request, now: impl Fn() -> i64) -> Answer {
        let count = request.max_number_of_messages.unwrap_or(1);
        let wait = request.wait_time_seconds.unwrap_or(0);
        if !(1..=10).contains(&count) || wait > 20 {
            return Err(invalid("MaxNumberOfMessages must be 1 to 10 and WaitTimeSeconds 0 to 20"));
        }
        let until = now() + i64::try_from(wait * 1000).unwrap_or(0);
        loop {
            let now_ms = now();
            let arrived = self.with(call, &request.queue_url, |queue| Ok(Arc::clone(&queue.arrived)))?;
            let notified = arrived.notified();
            let (taken, dead, next) = self.with(call, &request.queue_url, |queue| {
                let visibility = request.visibility_timeout.map_or(queue.visibility_ms, |seconds| seconds * 1000);
                let dead = queue.exhausted(now_ms);
                Ok((queue.take(count, visibility, now_ms), dead, queue.next_visible_ms()))
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
                if request.message_body.is_empty() || request.message_body.len() > BODY_BYTES_MAX {
                    return Err(invalid("MessageBody must have 1 to 1048576 bytes"));
                }
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
                queue.delete(&request.receipt_handle);
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
                            queue.delete(&entry.receipt_handle);
                            Ok(())
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
            "GetQueueAttributes" => {
                self.with(call, &request.queue_url, |queue| Ok(json!({ "Attributes": queue.attributes(call) })))
            }
            "SetQueueAttributes" => self.with(call, &request.queue_url, |queue| {
                if let Some(seconds) = request.attributes.get("VisibilityTimeout").and_then(|it| it.parse::<i64>().ok())
                {
                    queue.visibility_ms = seconds * 1000;
                }
                if let Some(policy) = request.attributes.get("RedrivePolicy") {
                    queue.redrive = redrive(policy);
                }
                Ok(json!({}))
            }),
            other => Err(unknown_operation(other)),
        }
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
    fn put(&mut self, id: String, body: String, attributes: Value, sent_ms: i64, visible_ms: i64) {
        let message = Message { id, body, attributes, sent_ms, visible_ms, receives: 0, receipt: None, received_ms: 0 };
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

    fn take(&mut self, count: usize, visibility_ms: i64, now_ms: i64) -> Vec<Value> {
        let name = &self.name;
        let visible = self.messages.iter_mut().filter(|message| message.visible_ms <= now_ms).take(count);
        visible
            .map(|message| {
                message.receives += 1;
                message.visible_ms = now_ms + visibility_ms;
                message.received_ms = now_ms;
                let receipt = format!("{name}/{}/{}", message.id, message.receives);
                message.receipt = Some(receipt.clone());
                let mut shown = Map::new();
                shown.insert("MessageId".to_owned(), json!(message.id));
                shown.insert("ReceiptHandle".to_owned(), json!(receipt));
                shown.insert("MD5OfBody".to_owned(), json!(md5_of(&message.body)));
                shown.insert("Body".to_owned(), json!(message.body));
                shown.insert(
                    "Attributes".to_owned(),
                    json!({
                        "ApproximateReceiveCount": message.receives.to_string(),
                        "SentTimestamp": message.sent_ms.to_string(),
                    }),
                );
                if message.attributes.is_object() {
                    shown.insert("MessageAttributes".to_owned(), message.attributes.clone());
                }
                Value::Object(shown)
            })
            .collect()
    }

    fn next_visible_ms(&self) -> Option<i64> {
        self.messages.iter().map(|message| message.visible_ms).min()
    }

    /// Deletes by the last receipt; an older one succeeds without effect.
    fn delete(&mut self, receipt: &str) {
        self.messages.retain(|message| message.receipt.as_deref() != Some(receipt));
    }

    fn hide(&mut self, receipt: &str, seconds: i64, now_ms: i64) -> Result<(), ApiError> {
        if !(0..=VISIBILITY_SECONDS_MAX).contains(&seconds) {
            return Err(invalid("VisibilityTimeout must be 0 to 43200"));
        }
        let found = self.messages.iter_mut().find(|message| message.receipt.as_deref() == Some(receipt));
        let message = found
            .ok_or_else(|| ApiError::new(400, "ReceiptHandleIsInvalid", "The input receipt handle is invalid."))?;
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

    fn attributes(&self, call: &Call<'_>) -> Value {
        let visible = self.messages.iter().filter(|message| message.visible_ms <= call.now_ms).count();
        let mut shown = Map::new();
        shown.insert(
            "QueueArn".to_owned(),
            json!(format!("arn:aws:sqs:{}:{}:{}", call.region, self.account, self.name)),
        );
        shown.insert("VisibilityTimeout".to_owned(), json!((self.visibility_ms / 1000).to_string()));
        shown.insert("ApproximateNumberOfMessages".to_owned(), json!(visible.to_string()));
        let hidden = self.messages.len() - visible;
        shown.insert("ApproximateNumberOfMessagesNotVisible".to_owned(), json!(hidden.to_string()));
        if let Some((target, most)) = &self.redrive {
            let policy = json!({ "deadLetterTargetArn": target, "maxReceiveCount": most }).to_string();
            shown.insert("RedrivePolicy".to_owned(), json!(policy));
        }
        Value::Object(shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let body = body.to_string();
        let call = Call { caller: &world.caller, region: "us-east-1", now_ms, operation, body: body.as_bytes() };
        world.sqs.call(&call, "h", || now_ms).await
    }

    async fn receive(world: &World, now_ms: i64) -> Vec<Value> {
        let answer = call(world, "ReceiveMessage", now_ms, json!({ "MaxNumberOfMessages": 10 })).await.unwrap();
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
