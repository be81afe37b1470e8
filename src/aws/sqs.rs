//! The queue of notifications, and the dead-letter queue.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
use aws_sdk_sqs::types::{MessageAttributeValue, QueueAttributeName};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::wire::{OwnWire, Request};
use super::{Aws, address, answer};
use crate::core::failure::{Failure, FailureKind, Service};
use crate::core::time::UnixMillis;

/// Entries of one batch call, and messages of one receive. Source: SQS API Reference, "DeleteMessageBatch".
pub const BATCH_ENTRIES_MAX: usize = 10;
/// Longest wait of one receive. Source: SQS API Reference, "ReceiveMessage".
pub const WAIT_MAX: Duration = Duration::from_secs(20);
/// Longest visibility timeout. Source: SQS API Reference, "ChangeMessageVisibility".
pub const VISIBILITY_MAX: Duration = Duration::from_secs(12 * 60 * 60);

/// Longest wait for an answer: settling is quick, and a heartbeat that hangs must not outlast what it extends.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The right to settle one receive of a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReceiptHandle(String);

#[cfg(test)]
impl ReceiptHandle {
    /// One of several, for tests of what only passes them on.
    pub(crate) fn test(number: u64) -> Self {
        Self(number.to_string())
    }
}

/// A received message.
#[derive(Clone, Debug)]
pub struct Message {
    /// SQS's id of it.
    pub id: String,
    /// The right to settle it.
    pub receipt: ReceiptHandle,
    /// Its text.
    pub body: String,
    /// How often it was received, this time included.
    pub receive_count: u32,
    /// When it was put into the queue.
    pub sent: Option<UnixMillis>,
}

impl<'e> Entry<'e> {
    fn new(at: usize, receipt: &'e ReceiptHandle, visibility: Option<Duration>) -> Self {
        let visibility_timeout = visibility.map(|time| time.min(VISIBILITY_MAX).as_secs());
        Self { id: at.to_string(), receipt_handle: &receipt.0, visibility_timeout }
    }
}

/// What the queue is set to.
#[derive(Clone, Copy, Debug)]
pub struct QueueAttributes {
    /// How long a message stays hidden after a receive.
    pub visibility: Duration,
    /// Receives after which SQS itself moves a message to the dead-letter queue.
    pub receives_max: Option<u32>,
}

/// Receives of a message that are kept for attempts: so near to the queue's maxReceiveCount it is not handed back untried.
const RECEIVES_SPARED: u32 = 10;

impl QueueAttributes {
    /// Whether the queue will move a message soon that was received so often.
    #[must_use]
    pub fn is_nearly_given_up(&self, receives: u32) -> bool {
        self.receives_max.is_some_and(|most| receives.saturating_add(RECEIVES_SPARED) >= most)
    }
}

/// A queue.
#[derive(Clone, Debug)]
pub struct Queue {
    client: Client,
    wire: OwnWire,
    /// Where to; or why that is not known.
    uri: Result<String, String>,
    url: String,
}

/// The members of the answer to ReceiveMessage. Source: SQS API Reference, "ReceiveMessage".
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Received {
    messages: Option<Vec<Told>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Told {
    message_id: Option<String>,
    receipt_handle: Option<String>,
    body: Option<String>,
    attributes: Option<Attributes>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Attributes {
    approximate_receive_count: Option<String>,
    sent_timestamp: Option<String>,
}

/// What the answers to batches have. Source: SQS API Reference, "BatchResultErrorEntry".
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Settled {
    failed: Option<Vec<NotSettled>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NotSettled {
    id: String,
    sender_fault: bool,
}

/// An entry of a batch, by its place.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'e> {
    id: String,
    receipt_handle: &'e str,
    #[serde(skip_serializing_if = "Option::is_none")]
    visibility_timeout: Option<u64>,
}

impl Queue {
    /// The queue at `url`, called with the ambient identity.
    #[must_use]
    pub fn new(aws: &Aws, url: &str) -> Self {
        let mut config = aws_sdk_sqs::config::Builder::from(&aws.base);
        config.set_endpoint_url(aws.endpoint(Service::Sqs));
        let wire = OwnWire::new(aws, Service::Sqs);
        Self { client: Client::from_conf(config.build()), wire, uri: uri(aws), url: url.to_owned() }
    }

    /// Waits up to `wait`, in whole seconds, for messages and takes at most `count` (and [`BATCH_ENTRIES_MAX`]) of them, which
    /// are then hidden for `visibility`.
    ///
    /// # Errors
    /// The call's failure.
    pub async fn receive(&self, count: usize, wait: Duration, visibility: Duration) -> Result<Vec<Message>, Failure> {
        let wait = wait.min(WAIT_MAX);
        let asked = json!({
            "MaxNumberOfMessages": count.clamp(1, BATCH_ENTRIES_MAX),
            "WaitTimeSeconds": wait.as_secs(),
            "VisibilityTimeout": visibility.as_secs(),
            "MessageSystemAttributeNames": ["ApproximateReceiveCount", "SentTimestamp"],
        });
        let call = ("ReceiveMessage", "AmazonSQS.ReceiveMessage");
        let received = self.exchange::<Received>(call, asked, wait + CALL_TIMEOUT).await?;
        Ok(received.messages.unwrap_or_default().into_iter().filter_map(message).collect())
    }

    /// What the queue is set to.
    ///
    /// # Errors
    /// The call's failure.
    pub async fn attributes(&self) -> Result<QueueAttributes, Failure> {
        let result = self
            .client
            .get_queue_attributes()
            .queue_url(&self.url)
            .attribute_names(QueueAttributeName::VisibilityTimeout)
            .attribute_names(QueueAttributeName::RedrivePolicy)
            .send()
            .await;
        let attributes = answer(Service::Sqs, "GetQueueAttributes", result)?.attributes.unwrap_or_default();
        let seconds = attributes.get(&QueueAttributeName::VisibilityTimeout).and_then(|text| text.parse().ok());
        let redrive = attributes.get(&QueueAttributeName::RedrivePolicy);
        let receives_max = redrive.and_then(|policy| {
            let policy: Value = serde_json::from_str(policy).ok()?;
            // Written as a number by some and as a text by others.
            let count = policy.get("maxReceiveCount")?;
            count.as_u64().or_else(|| count.as_str()?.parse().ok()).and_then(|count| u32::try_from(count).ok())
        });
        Ok(QueueAttributes { visibility: Duration::from_secs(seconds.unwrap_or(30)), receives_max })
    }

    /// Deletes at most [`BATCH_ENTRIES_MAX`] messages. Gives the places of those that were not deleted.
    ///
    /// # Errors
    /// The call's failure; then none was deleted, or all were and the answer was lost.
    pub async fn delete(&self, receipts: &[ReceiptHandle]) -> Result<Vec<usize>, Failure> {
        let entries = receipts.iter().enumerate().map(|(at, receipt)| Entry::new(at, receipt, None));
        let call = ("DeleteMessageBatch", "AmazonSQS.DeleteMessageBatch");
        let failed = self.settle(call, entries).await?;
        Ok(failed.into_iter().filter_map(|entry| entry.id.parse().ok()).collect())
    }

    /// Hides at most [`BATCH_ENTRIES_MAX`] messages for so long from now on; zero shows them at once. Gives the places of
    /// those for which it failed, and whether that is because their receipts are no longer good.
    ///
    /// # Errors
    /// The call's failure.
    pub async fn change_visibility(
        &self,
        changes: &[(&ReceiptHandle, Duration)],
    ) -> Result<Vec<(usize, bool)>, Failure> {
        let entries = changes.iter().enumerate().map(|(at, (receipt, time))| Entry::new(at, receipt, Some(*time)));
        let call = ("ChangeMessageVisibilityBatch", "AmazonSQS.ChangeMessageVisibilityBatch");
        let failed = self.settle(call, entries).await?;
        Ok(failed.into_iter().filter_map(|entry| Some((entry.id.parse().ok()?, entry.sender_fault))).collect())
    }

    /// Makes a batch call. Gives those that failed.
    async fn settle(
        &self,
        call: (&'static str, &'static str),
        entries: impl Iterator<Item = Entry<'_>>,
    ) -> Result<Vec<NotSettled>, Failure> {
        let asked = json!({ "Entries": entries.collect::<Vec<_>>() });
        Ok(self.exchange::<Settled>(call, asked, CALL_TIMEOUT).await?.failed.unwrap_or_default())
    }

    /// Makes a call of which there are many.
    async fn exchange<T: DeserializeOwned>(
        &self,
        (operation, target): (&'static str, &'static str),
        mut asked: Value,
        within: Duration,
    ) -> Result<T, Failure> {
        let uri = self.uri.as_ref().map_err(|text| self.wire.odd(operation, text))?;
        asked["QueueUrl"] = self.url.as_str().into();
        let body = asked.to_string();
        let sha256 = Sha256::digest(&body).into();
        let protocol = (target, "application/x-amz-json-1.0");
        let request = Request::json(operation, uri.clone(), protocol, body.into(), sha256);
        self.wire.exchange(Request { within, ..request }).await
    }

    /// Puts a message into the queue, with text attributes.
    ///
    /// # Errors
    /// The call's failure.
    pub async fn send(&self, body: &str, attributes: &[(&str, String)]) -> Result<(), Failure> {
        let mut call = self.client.send_message().queue_url(&self.url).message_body(body);
        for (name, value) in attributes.iter().filter(|(_, value)| !value.is_empty()) {
            let value = MessageAttributeValue::builder().data_type("String").string_value(value);
            call = call.message_attributes(*name, value.build().map_err(|error| unbuilt("SendMessage", &error))?);
        }
        answer(Service::Sqs, "SendMessage", call.send().await).map(|_| ())
    }
}

fn message(message: Told) -> Option<Message> {
    let attributes = message.attributes.unwrap_or_default();
    let receive_count = attributes.approximate_receive_count.and_then(|count| count.parse().ok()).unwrap_or(1);
    let sent = attributes.sent_timestamp.and_then(|time| time.parse().ok()).map(UnixMillis);
    Some(Message {
        id: message.message_id?,
        receipt: ReceiptHandle(message.receipt_handle?),
        body: message.body?,
        receive_count,
        sent,
    })
}

/// Where the service is.
fn uri(aws: &Aws) -> Result<String, String> {
    let params = Params::builder()
        .region(aws.region())
        .set_use_fips(Some(aws.base.use_fips().unwrap_or(false)))
        .set_use_dual_stack(Some(aws.base.use_dual_stack().unwrap_or(false)))
        .set_endpoint(aws.endpoint_beside_clients(Service::Sqs))
        .build()
        .map_err(|error| error.to_string())?;
    Ok(address(DefaultResolver::new().resolve_endpoint(&params))? + "/")
}

fn unbuilt(operation: &'static str, error: &impl ToString) -> Failure {
    Failure { service: Service::Sqs, operation, kind: FailureKind::Other, text: error.to_string(), request_id: None }
}
