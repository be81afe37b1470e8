//! SQS: awsJson 1.0. Limits and texts from the SQS API Reference.
//!
//! Here are the calls and who may make them. `request` reads what a call says and refuses what the API refuses of it;
//! `queue` is one queue's state, which knows neither wire nor clock,
//! and `disorder` what a receive gets when a fault has it get something else.

mod disorder;
mod queue;
mod request;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Map, json};

pub use self::queue::Receive;

use self::queue::{Queue, RedrivePolicy, check_visibility, md5_of};
use self::request::{Request, Shown, attributes_of, check_asked, check_batch, check_message, check_name};
use crate::api::{Answer, ApiError, Call, lock, unknown_operation};
use crate::clock::Clock;

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
        | "RequestThrottled"
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
        let mut queues = lock(&self.queues);
        queues.entry(arn.clone()).or_insert_with(|| Queue::new(account, &arn, name, visibility_ms, redrive));
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
        let queues = lock(&self.queues);
        let Some(queue) = queues.get(arn) else { return QueueDepth::default() };
        let visible = queue.visible(now_ms);
        QueueDepth { visible, in_flight: queue.messages.len() - visible }
    }

    pub(crate) fn bodies(&self, arn: &str) -> Vec<String> {
        lock(&self.queues)
            .get(arn)
            .map(|queue| queue.messages.iter().map(|it| it.body.clone()).collect())
            .unwrap_or_default()
    }

    /// From now on a queue's receives are kept.
    pub(crate) fn keep_receives(&self, arn: &str) {
        if let Some(queue) = lock(&self.queues).get_mut(arn) {
            queue.receives.get_or_insert_default();
        }
    }

    pub(crate) fn receives(&self, arn: &str) -> Vec<Receive> {
        lock(&self.queues).get(arn).and_then(|queue| queue.receives.clone()).unwrap_or_default()
    }

    pub(crate) fn disorder(&self, arn: &str) -> u64 {
        lock(&self.queues).get(arn).map_or(0, |queue| queue.disorder)
    }

    /// Moves messages, their bodies alone, under the one lock.
    pub(crate) fn redrive(&self, from: &str, to: &str, now_ms: i64) -> usize {
        let mut queues = lock(&self.queues);
        if !queues.contains_key(to) {
            return 0;
        }
        let moved = queues.get_mut(from).map(|queue| std::mem::take(&mut queue.messages)).unwrap_or_default();
        let count = moved.len();
        if let Some(queue) = queues.get_mut(to) {
            for message in moved {
                queue.put(self.id(), message.body, Map::new(), now_ms, now_ms);
            }
        }
        count
    }

    fn id(&self) -> String {
        let mut made = lock(&self.made);
        *made += 1;
        format!("00000000-0000-4000-8000-{:012x}", *made)
    }

    pub(crate) async fn call(&self, call: &Call<'_>, host: &str, clock: &Clock) -> Answer {
        let request: Request = call.input()?;
        if ["CreateQueue", "GetQueueUrl"].contains(&call.operation) {
            let arn = format!("{}{}", own(call), request.queue_name);
            allowed(call, &arn)?;
        }
        let url = |queue: &Queue| format!("http://{host}/{}/{}", queue.account, queue.name);
        match call.operation {
            "CreateQueue" => {
                let name = &request.queue_name;
                check_name(name)?;
                let wanted =
                    attributes_of(&request.attributes, &own(call), |arn| lock(&self.queues).contains_key(arn))?;
                let arn = format!("{}{name}", own(call));
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
                let arn = format!("{}{}", own(call), request.queue_name);
                let queues = lock(&self.queues);
                Ok(json!({ "QueueUrl": url(queues.get(&arn).ok_or_else(missing)?) }))
            }
            "ReceiveMessage" => self.receive(call, &request, clock).await,
            _ => self.change(call, &request),
        }
    }

    /// The ARN of a URL's queue, which must be the caller's own.
    fn arn(call: &Call<'_>, url: &str) -> Result<String, ApiError> {
        let mut parts = url.rsplit('/');
        let (name, account) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if account != call.caller.account {
            return Err(ApiError::new(403, "AccessDenied", format!("Access to the resource {url} is denied.")));
        }
        let arn = format!("{}{name}", own(call));
        allowed(call, &arn)?;
        Ok(arn)
    }

    fn with<T>(
        &self,
        call: &Call<'_>,
        url: &str,
        use_it: impl FnOnce(&mut Queue) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let arn = Self::arn(call, url)?;
        use_it(lock(&self.queues).get_mut(&arn).ok_or_else(missing)?)
    }

    /// Moves the messages that were received too often to the dead-letter queue. All of it is done under the one lock:
    /// whoever looks finds a message in one of the two. Where the other queue is gone they stay.
    fn bury(queues: &mut BTreeMap<String, Queue>, arn: &str, now_ms: i64) {
        let Some((target, most)) = queues.get(arn).and_then(|queue| queue.redrive.clone()) else { return };
        if !queues.contains_key(&target) {
            return;
        }
        let dead = queues.get_mut(arn).map(|queue| queue.exhausted(most, now_ms)).unwrap_or_default();
        if let Some(grave) = queues.get_mut(&target) {
            for message in dead {
                grave.bury(message, now_ms);
            }
        }
    }

    async fn receive(&self, call: &Call<'_>, request: &Request, clock: &Clock) -> Answer {
        let count = request.max_number_of_messages.unwrap_or(1);
        let wait = request.wait_time_seconds.unwrap_or(0);
        if !(1..=10).contains(&count) || wait > 20 {
            return Err(invalid("MaxNumberOfMessages must be 1 to 10 and WaitTimeSeconds 0 to 20"));
        }
        if let Some(seconds) = request.visibility_timeout {
            check_visibility(seconds)?;
        }
        let shown = Shown::of(request)?;
        let arn = Self::arn(call, &request.queue_url)?;
        let until = clock.now_ms() + i64::try_from(wait * 1000).unwrap_or(0);
        let arrived = lock(&self.queues).get(&arn).map(|queue| Arc::clone(&queue.arrived)).ok_or_else(missing)?;
        let mut moves = clock.moves();
        loop {
            // Whatever happens from here on ends the wait below.
            let notified = arrived.notified();
            moves.mark_unchanged();
            let now_ms = clock.now_ms();
            let (taken, next) = {
                let mut queues = lock(&self.queues);
                let queue = queues.get(&arn).ok_or_else(missing)?;
                queue.check_in_flight(now_ms)?;
                Self::bury(&mut queues, &arn, now_ms);
                let queue = queues.get_mut(&arn).ok_or_else(missing)?;
                let visibility = request.visibility_timeout.map_or(queue.visibility_ms, |seconds| seconds * 1000);
                (queue.take(count, &call.caller.arn, visibility, now_ms, &shown, call.fault), queue.next_visible_ms())
            };
            if !taken.is_empty() {
                return Ok(json!({ "Messages": taken }));
            }
            if now_ms >= until {
                return Ok(json!({}));
            }
            let pause = next.map_or(until, |next| next.min(until)).saturating_sub(now_ms).max(1);
            tokio::select! {
                biased;
                () = notified => {}
                // The clock lives as long as the cloud does.
                _moved = moves.changed() => {}
                () = tokio::time::sleep(Duration::from_millis(u64::try_from(pause).unwrap_or(1))) => {}
            }
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
                queue.delete(&request.receipt_handle, call.fault)?;
                Ok(json!({}))
            }),
            "ChangeMessageVisibility" => self.with(call, &request.queue_url, |queue| {
                queue.hide(&request.receipt_handle, request.visibility_timeout.unwrap_or(0), now_ms, call.fault)?;
                Ok(json!({}))
            }),
            "DeleteMessageBatch" | "ChangeMessageVisibilityBatch" => {
                check_batch(&request.entries)?;
                let delete = call.operation == "DeleteMessageBatch";
                self.with(call, &request.queue_url, |queue| {
                    let (mut successful, mut failed) = (Vec::new(), Vec::new());
                    for entry in &request.entries {
                        let done = if delete {
                            queue.delete(&entry.receipt_handle, call.fault)
                        } else {
                            queue.hide(&entry.receipt_handle, entry.visibility_timeout.unwrap_or(0), now_ms, call.fault)
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
                let mut attributes = queue.attributes(now_ms);
                check_asked(&request.attribute_names)?;
                let asked = |name: &str| request.attribute_names.iter().any(|it| it == "All" || it == name);
                attributes.retain(|name, _| asked(name));
                Ok(if attributes.is_empty() { json!({}) } else { json!({ "Attributes": attributes }) })
            }),
            "SetQueueAttributes" => {
                let wanted =
                    attributes_of(&request.attributes, &own(call), |arn| lock(&self.queues).contains_key(arn))?;
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

/// How the ARNs of the caller's queues begin.
fn own(call: &Call<'_>) -> String {
    format!("arn:aws:sqs:{}:{}:", call.region, call.caller.account)
}

fn allowed(call: &Call<'_>, arn: &str) -> Result<(), ApiError> {
    // A batch needs no right of its own.
    let operation = call.operation.strip_suffix("Batch").unwrap_or(call.operation);
    call.allowed(&format!("sqs:{operation}"), arn).map_err(|text| ApiError::new(403, "AccessDenied", text))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::accounts::Accounts;
    use crate::api::Caller;

    struct World {
        sqs: Sqs,
        caller: Caller,
        clock: Clock,
    }

    fn world() -> World {
        let caller = Caller {
            account: "111111111111".into(),
            arn: "arn".into(),
            role: None,
            tags: BTreeMap::new(),
            transitive: std::collections::BTreeSet::new(),
        };
        let sqs = Sqs::default();
        let dead = sqs.create("111111111111", "us-east-1", "dead", Duration::from_secs(30), None);
        sqs.create("111111111111", "us-east-1", "q", Duration::from_secs(30), Some((dead, 2)));
        World { sqs, caller, clock: Clock::over(|| 0) }
    }

    async fn call(world: &World, operation: &str, now_ms: i64, mut body: Value) -> Answer {
        if body.get("QueueUrl").is_none() {
            body["QueueUrl"] = json!("http://h/111111111111/q");
        }
        let (body, accounts) = (body.to_string(), Accounts::default());
        let (body, accounts) = (body.as_bytes(), &accounts);
        let call = Call { caller: &world.caller, region: "us-east-1", now_ms, operation, body, accounts, fault: None };
        world.clock.advance(now_ms - world.clock.now_ms());
        world.sqs.call(&call, "h", &world.clock).await
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
    async fn receives_are_kept_from_when_that_is_asked_for_and_outlive_their_messages() {
        let mut world = world();
        let arn = "arn:aws:sqs:us-east-1:111111111111:q";
        for body in ["early", "late"] {
            world.sqs.deliver(arn, body.into(), 0);
            let receipt = receive(&world, 1).await[0]["ReceiptHandle"].clone();
            assert_eq!(world.sqs.receives(arn).len(), usize::from(body == "late"));
            call(&world, "DeleteMessage", 2, json!({ "ReceiptHandle": receipt })).await.unwrap();
            world.sqs.keep_receives(arn);
            world.caller.arn = "other".into();
        }
        assert_eq!(world.sqs.receives(arn), [Receive { body: "late".into(), by: "other".into() }]);
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

    /// A poll of twenty seconds that a test's clock ends, whatever the machine's does.
    #[tokio::test]
    async fn a_poll_wakes_when_time_is_moved_on() {
        let world = world();
        world.sqs.deliver("arn:aws:sqs:us-east-1:111111111111:q", "hello".into(), 0);
        assert_eq!(receive(&world, 0).await.len(), 1);
        for (ms, expected) in [(30_000, 1), (20_000, 0)] {
            let poll = json!({ "WaitTimeSeconds": 20, "VisibilityTimeout": 43_200 });
            let poll = call(&world, "ReceiveMessage", world.clock.now_ms(), poll);
            let moved = async {
                tokio::task::yield_now().await;
                world.clock.advance(ms);
            };
            let both = async { tokio::join!(poll, moved).0.unwrap() };
            let answer = tokio::time::timeout(Duration::from_secs(10), both).await.expect("it waits on");
            assert_eq!(answer["Messages"].as_array().map_or(0, Vec::len), expected, "{answer}");
        }
    }

    /// Whenever somebody looks, a message is in the one queue or in the other.
    #[test]
    fn a_message_is_never_in_neither_queue() {
        const ROUNDS: usize = 3000;
        let world = world();
        let (from, to) = ("arn:aws:sqs:us-east-1:111111111111:q", "arn:aws:sqs:us-east-1:111111111111:dead");
        let sent = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let mut before = 0;
                while before < ROUNDS {
                    before = sent.load(std::sync::atomic::Ordering::SeqCst);
                    // First where it comes from: what is not there any more must have arrived.
                    let found = world.sqs.bodies(from).len() + world.sqs.bodies(to).len();
                    assert!(found >= before, "{found} of {before}");
                }
            });
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                for _ in 0..ROUNDS {
                    world.sqs.deliver(from, "hello".into(), 0);
                    sent.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    for _ in 0..3 {
                        call(&world, "ReceiveMessage", 1, json!({ "VisibilityTimeout": 0 })).await.unwrap();
                    }
                }
            });
        });
        assert_eq!((world.sqs.bodies(from).len(), world.sqs.bodies(to).len()), (0, ROUNDS));
    }

    #[tokio::test]
    async fn what_has_no_dead_letter_queue_to_go_to_stays() {
        let world = world();
        let gone = "arn:aws:sqs:us-east-1:111111111111:gone".to_owned();
        let arn = world.sqs.create("111111111111", "us-east-1", "r", Duration::ZERO, Some((gone, 1)));
        world.sqs.deliver(&arn, "hello".into(), 0);
        for round in 0..3 {
            let body = json!({ "QueueUrl": "http://h/111111111111/r" });
            let answer = call(&world, "ReceiveMessage", round, body).await.unwrap();
            assert_eq!(answer["Messages"].as_array().map(Vec::len), Some(1), "round {round}");
        }
    }
}
