//! One queue: its messages, and what a receive, a receipt and time do to them. No wire, no lock, no clock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use md5::{Digest, Md5};
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use super::request::Shown;
use super::{disorder, invalid};
use crate::api::{ApiError, hex};
use crate::faults::{Fault, Kind};

/// Bytes of a message. Source: SQS API Reference, "SendMessage".
pub(super) const BODY_BYTES_MAX: usize = 1_048_576;
/// Longest time that a message is hidden, from its receive. Source: SQS API Reference, "ChangeMessageVisibility".
pub(super) const VISIBILITY_SECONDS_MAX: i64 = 43_200;
/// Messages of a queue that are received and neither deleted nor visible again.
const IN_FLIGHT_MAX: usize = 120_000;

#[derive(Debug)]
pub(super) struct Message {
    id: String,
    pub(super) body: String,
    attributes: Map<String, Value>,
    sent_ms: i64,
    visible_ms: i64,
    receives: u32,
    /// Of the last receive; an older receipt is no longer good.
    receipt: Option<String>,
    received_ms: i64,
    first_received_ms: i64,
}

/// A receive of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receive {
    /// Its text.
    pub body: String,
    /// The ARN of who received it.
    pub by: String,
}

/// The dead-letter queue's ARN, and receives before it.
pub(super) type RedrivePolicy = (String, u32);

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) account: String,
    pub(super) arn: String,
    pub(super) name: String,
    pub(super) visibility_ms: i64,
    pub(super) redrive: Option<RedrivePolicy>,
    pub(super) messages: VecDeque<Message>,
    /// Receives that came again, or before an older message had been received.
    pub(super) disorder: u64,
    /// All receives, in their order, where somebody wants to see them.
    pub(super) receives: Option<Vec<Receive>>,
    pub(super) arrived: Arc<Notify>,
}

pub(super) fn md5_of(text: &str) -> String {
    hex(&Md5::digest(text.as_bytes()))
}

/// How long a message may be hidden.
pub(super) fn check_visibility(seconds: i64) -> Result<(), ApiError> {
    if (0..=VISIBILITY_SECONDS_MAX).contains(&seconds) {
        return Ok(());
    }
    Err(invalid("VisibilityTimeout must be 0 to 43200"))
}

/// Whether a fault has a change not done that would be done now.
fn loses(fault: Option<&Fault>, kind: Kind) -> bool {
    let Some(fault) = fault.filter(|fault| fault.kind == kind) else { return false };
    fault.happens();
    true
}

impl Queue {
    pub(super) fn new(
        account: &str,
        arn: &str,
        name: &str,
        visibility_ms: i64,
        redrive: Option<RedrivePolicy>,
    ) -> Self {
        Self {
            account: account.to_owned(),
            arn: arn.to_owned(),
            name: name.to_owned(),
            visibility_ms,
            redrive,
            messages: VecDeque::new(),
            disorder: 0,
            receives: None,
            arrived: Arc::default(),
        }
    }

    pub(super) fn put(
        &mut self,
        id: String,
        body: String,
        attributes: Map<String, Value>,
        sent_ms: i64,
        visible_ms: i64,
    ) {
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

    /// Takes in a message that another queue gave up, with its id and the time it was sent.
    pub(super) fn bury(&mut self, dead: Message, now_ms: i64) {
        self.put(dead.id, dead.body, dead.attributes, dead.sent_ms, now_ms);
    }

    /// Messages that can be received.
    pub(super) fn visible(&self, now_ms: i64) -> usize {
        self.messages.iter().filter(|message| message.visible_ms <= now_ms).count()
    }

    /// Takes out the messages that were received as often as a redrive policy allows and are visible again.
    pub(super) fn exhausted(&mut self, most: u32, now_ms: i64) -> Vec<Message> {
        let mut dead = Vec::new();
        let mut at = 0;
        while let Some(message) = self.messages.get(at) {
            if message.visible_ms <= now_ms && message.receives >= most {
                dead.extend(self.messages.remove(at));
            } else {
                at += 1;
            }
        }
        dead
    }

    /// Whether one more may be received.
    pub(super) fn check_in_flight(&self, now_ms: i64) -> Result<(), ApiError> {
        // Hidden messages are among all: mostly there is nothing to count.
        if self.messages.len() >= IN_FLIGHT_MAX && self.in_flight(now_ms) >= IN_FLIGHT_MAX {
            return Err(ApiError::new(403, "OverLimit", "The maximum number of in flight messages is reached"));
        }
        Ok(())
    }

    /// Hidden messages that were received.
    fn in_flight(&self, now_ms: i64) -> usize {
        self.messages.iter().filter(|message| message.visible_ms > now_ms && message.receives > 0).count()
    }

    /// Places of the messages that a receive gets.
    fn due(&self, count: usize, now_ms: i64, fault: Option<&Fault>) -> Vec<usize> {
        let places = |wanted: fn(&Message, i64) -> bool| {
            let all = self.messages.iter().enumerate().filter(move |(_, message)| wanted(message, now_ms));
            all.map(|(at, _)| at)
        };
        let visible = places(|message, now_ms| message.visible_ms <= now_ms);
        let hidden = places(|message, now_ms| message.visible_ms > now_ms && message.receives > 0);
        match fault {
            Some(fault) if fault.kind == Kind::Duplicate => {
                disorder::again(visible, &hidden.collect::<Vec<_>>(), count, fault)
            }
            Some(fault) if fault.kind == Kind::Reorder => disorder::shuffled(visible.collect(), count, fault),
            Some(_) | None => visible.take(count).collect(),
        }
    }

    pub(super) fn take(
        &mut self,
        count: usize,
        by: &str,
        visibility_ms: i64,
        now_ms: i64,
        show: &Shown<'_>,
        fault: Option<&Fault>,
    ) -> Vec<Value> {
        let due = self.due(count, now_ms, fault);
        let Self { name, messages, disorder, receives, .. } = self;
        due.into_iter()
            .filter_map(|at| {
                let overtakes = messages.iter().take(at).any(|older| older.receives == 0);
                let message = messages.get_mut(at)?;
                *disorder += u64::from(overtakes || message.receives > 0);
                if let Some(receives) = receives {
                    receives.push(Receive { body: message.body.clone(), by: by.to_owned() });
                }
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
                Some(Value::Object(shown))
            })
            .collect()
    }

    pub(super) fn next_visible_ms(&self) -> Option<i64> {
        self.messages.iter().map(|message| message.visible_ms).min()
    }

    /// Deletes by the last receipt; an older one succeeds without effect.
    pub(super) fn delete(&mut self, receipt: &str, fault: Option<&Fault>) -> Result<(), ApiError> {
        self.check_receipt(receipt)?;
        // Those that were received are mostly the oldest.
        if let Some(at) = self.messages.iter().position(|message| message.receipt.as_deref() == Some(receipt))
            && !loses(fault, Kind::LostDelete)
        {
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

    pub(super) fn hide(
        &mut self,
        receipt: &str,
        seconds: i64,
        now_ms: i64,
        fault: Option<&Fault>,
    ) -> Result<(), ApiError> {
        check_visibility(seconds)?;
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
        if !loses(fault, Kind::LostHide) {
            message.visible_ms = visible_ms;
            self.arrived.notify_waiters();
        }
        Ok(())
    }

    pub(super) fn attributes(&self, now_ms: i64) -> BTreeMap<&'static str, String> {
        let visible = self.visible(now_ms);
        let hidden = self.in_flight(now_ms);
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
