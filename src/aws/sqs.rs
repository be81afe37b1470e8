//! The queue of notifications, and the dead-letter queue.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, MessageAttributeValue,
    MessageSystemAttributeName, QueueAttributeName,
};
use aws_smithy_types::timeout::TimeoutConfig;

use super::{Aws, CONNECT_TIMEOUT, answer};
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
    url: String,
}

impl Queue {
    /// The queue at `url`, called with the ambient identity.
    #[must_use]
    pub fn new(aws: &Aws, url: &str) -> Self {
        let mut config = aws_sdk_sqs::config::Builder::from(&aws.base).timeout_config(timeouts(CALL_TIMEOUT));
        config.set_endpoint_url(aws.endpoint(Service::Sqs));
        Self { client: Client::from_conf(config.build()), url: url.to_owned() }
    }

    /// Waits up to `wait`, in whole seconds, for messages and takes at most `count` (and [`BATCH_ENTRIES_MAX`]) of them, which
    /// are then hidden for `visibility`.
    ///
    /// # Errors
    /// The call's failure.
    pub async fn receive(&self, count: usize, wait: Duration, visibility: Duration) -> Result<Vec<Message>, Failure> {
        let count = i32::try_from(count.clamp(1, BATCH_ENTRIES_MAX)).unwrap_or(1);
        let wait = i32::try_from(wait.min(WAIT_MAX).as_secs()).unwrap_or(0);
        let visibility = i32::try_from(visibility.as_secs()).ok();
        let result = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(count)
            .wait_time_seconds(wait)
            .set_visibility_timeout(visibility)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .customize()
            .config_override(aws_sdk_sqs::config::Config::builder().timeout_config(timeouts(WAIT_MAX + CALL_TIMEOUT)))
            .send()
            .await;
        let output = answer(Service::Sqs, "ReceiveMessage", result)?;
        Ok(output.messages.unwrap_or_default().into_iter().filter_map(message).collect())
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
            let policy: serde_json::Value = serde_json::from_str(policy).ok()?;
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
        let mut call = self.client.delete_message_batch().queue_url(&self.url);
        for (at, receipt) in receipts.iter().enumerate() {
            let entry = DeleteMessageBatchRequestEntry::builder().id(at.to_string()).receipt_handle(&receipt.0);
            call = call.entries(entry.build().map_err(|error| unbuilt("DeleteMessageBatch", &error))?);
        }
        let output = answer(Service::Sqs, "DeleteMessageBatch", call.send().await)?;
        Ok(output.failed.iter().filter_map(|entry| entry.id.parse().ok()).collect())
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
        let mut call = self.client.change_message_visibility_batch().queue_url(&self.url);
        for (at, (receipt, visibility)) in changes.iter().enumerate() {
            let seconds = i32::try_from((*visibility).min(VISIBILITY_MAX).as_secs()).unwrap_or(0);
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(at.to_string())
                .receipt_handle(&receipt.0)
                .visibility_timeout(seconds);
            call = call.entries(entry.build().map_err(|error| unbuilt("ChangeMessageVisibilityBatch", &error))?);
        }
        let output = answer(Service::Sqs, "ChangeMessageVisibilityBatch", call.send().await)?;
        Ok(output.failed.iter().filter_map(|entry| Some((entry.id.parse().ok()?, entry.sender_fault))).collect())
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

fn timeouts(call: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(call).build()
}

fn message(message: aws_sdk_sqs::types::Message) -> Option<Message> {
    let attribute = |name| message.attributes.as_ref()?.get(&name);
    let received = attribute(MessageSystemAttributeName::ApproximateReceiveCount);
    let receive_count = received.and_then(|count| count.parse().ok()).unwrap_or(1);
    let sent = attribute(MessageSystemAttributeName::SentTimestamp).and_then(|time| time.parse().ok()).map(UnixMillis);
    Some(Message {
        id: message.message_id?,
        receipt: ReceiptHandle(message.receipt_handle?),
        body: message.body?,
        receive_count,
        sent,
    })
}

fn unbuilt(operation: &'static str, error: &impl ToString) -> Failure {
    Failure { service: Service::Sqs, operation, kind: FailureKind::Other, text: error.to_string(), request_id: None }
}
