//! Long polls of the queue → messages, each settled by what became of its deliveries.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use super::budget::Budget;
use super::gate::Gate;
use super::holding::{Held, Holding};
use super::retries::Retries;
use super::settle::{Settle, Settler};
use super::{Done, Notice, ObjectReport, Pipeline};
use crate::aws::sqs::{BATCH_ENTRIES_MAX, Message, Queue, QueueAttributes, ReceiptHandle};
use crate::core::failure::{Attempts, Failure, Service};
use crate::core::pacing::backoff::equal_jitter;
use crate::core::pacing::circuit::Passage;
use crate::core::settlement::{Ended, Finish, SettlePolicy, Settlement, crowded, settle};
use crate::core::time::UnixMillis;
use crate::world::World;

/// First and longest wait after a failed poll.
const POLL_DELAYS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Least time that a message in work is hidden for, whatever the queue's own is: a queue may have none.
const VISIBILITY_MIN: Duration = Duration::from_secs(3);
/// While less than this part of the places is free, polls wait a little for some to come back: else tenants would hold their
/// shares, and their messages come to wait. Batches that linger hold places, so they are sent meanwhile, the fullest first.
const SPARE_PART: u32 = 8;
/// How long a wait is, the first time, and how many there are when there are places at all.
const SCARCE_WAIT: Duration = Duration::from_millis(2);
const SCARCE_WAITS_MAX: u32 = 5;
/// The longest time between two waits for places, when there are none.
const SCARCE_WAIT_MAX: Duration = Duration::from_millis(256);
/// Time after which a heartbeat is asked for again that was given up.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// maxReceiveCount below which the queue gives up messages that are only handed back.
const RECEIVES_MIN: u32 = 20;

/// The queue's side of the daemon. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Intake {
    /// Where notifications come from.
    pub queue: Queue,
    /// Where messages go that are a lost cause.
    pub dead_letters: Option<Queue>,
    /// Does what was asked for.
    pub settler: Settler,
    /// How messages are settled.
    pub policy: SettlePolicy,
    /// How often a dead letter is tried.
    pub retries: Retries,
    /// Places for messages in work.
    pub places: Arc<Semaphore>,
    /// How many they are.
    pub messages_max: u32,
    /// Percent of them that old messages leave to fresh ones.
    pub fresh_share: u8,
    /// Whether the queue is polled.
    pub gate: Gate,
    /// How long one poll waits.
    pub wait: Duration,
    /// How long a queue in which there was little gathers messages before it is polled again.
    pub gather: Duration,
    /// Times and chance.
    pub world: World,
    /// Where messages are worked on.
    pub tracker: TaskTracker,
    /// Set when the time to drain is up: messages in work are handed back as they are.
    pub abandon: CancellationToken,
}

/// What a message holds until it is settled: a place, but for one that had to wait and found none free, and shares.
type Holds = (Option<OwnedSemaphorePermit>, Held);

/// Why the intake ended by itself.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IntakeError {
    /// The queue is not there or may not be read.
    #[error("the queue cannot be used: {0}")]
    Queue(Failure),
    /// No tenant could be resolved.
    #[error(
        "the tenants of ten objects are unknown and none was found: is KEY_LAYOUT right, and is it the right TENANT_CONFIG_TABLE? No message was deleted"
    )]
    LayoutOrTable,
}

impl Intake {
    /// Polls until `stop`.
    ///
    /// # Errors
    /// [`IntakeError`].
    pub async fn run(self, pipeline: &Pipeline, stop: &CancellationToken) -> Result<(), IntakeError> {
        let Some(attributes) = stop.run_until_cancelled(self.attributes()).await else { return Ok(()) };
        let attributes = attributes.map_err(IntakeError::Queue)?;
        self.check(attributes);
        let visibility = attributes.visibility.max(VISIBILITY_MIN);
        let mut holding = Holding::new(self.messages_max, self.fresh_share, self.world);
        let mut failures = 0;
        loop {
            if pipeline.is_misconfigured() {
                return Err(IntakeError::LayoutOrTable);
            }
            let Some(passage) = self.gate.pass(stop).await else { return Ok(()) };
            let messages_max = if passage == Passage::Probe { 1 } else { BATCH_ENTRIES_MAX };
            let Some(places) = self.places_for_poll(messages_max, &pipeline.lanes().budget, stop).await else {
                return Ok(());
            };
            let poll = self.queue.receive(places.len(), self.wait, visibility);
            let received = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                received = poll => received,
            };
            match received {
                Ok(messages) => {
                    failures = 0;
                    if messages.is_empty() {
                        self.gate.settle(passage, &[]);
                    }
                    let few = !messages.is_empty() && messages.len() < places.len();
                    let (mut crowd, mut handed_back, mut others) = (None, 0, false);
                    for (message, place) in messages.into_iter().zip(places) {
                        // Its turn is taken here, where the order of arrival is known; worked on beside the others.
                        let notice = pipeline.read(&message.id, &message.body, message.receive_count > 1);
                        let _order = holding.order();
                        let held = match holding.admit(notice.tenants(), message.sent) {
                            // The queue would soon give it up untried.
                            Err(_) if attributes.is_nearly_given_up(message.receive_count) => Ok(Held::default()),
                            held => held,
                        };
                        match held {
                            Ok(held) => {
                                others = true;
                                let delivery = pipeline.process(notice, ready(Some((Some(place), held))));
                                self.tracker.spawn(self.clone().work(delivery, message, visibility, passage));
                            }
                            Err(by) => {
                                self.gate.settle(passage, &[]);
                                match self.later(pipeline, notice, &holding, message.sent, stop) {
                                    Ok(delivery) => {
                                        let work = self.clone().work(delivery, message, visibility, Passage::Free);
                                        self.tracker.spawn(work);
                                    }
                                    Err(waited) => {
                                        handed_back += 1;
                                        self.tracker.spawn(self.clone().hand_back(message, waited, place));
                                    }
                                }
                                crowd = Some(by);
                            }
                        }
                    }
                    if let Some(crowd) = crowd {
                        pipeline.lanes().budget.press();
                        holding.rest(handed_back, &crowd, others).await;
                    }
                    if few {
                        // The next poll brings more.
                        let _told = stop.run_until_cancelled(tokio::time::sleep(self.gather)).await;
                    }
                }
                Err(failure) => {
                    self.gate.settle(passage, &[]);
                    warn!(cause = %failure, "queue not polled");
                    let delay = equal_jitter(failures, POLL_DELAYS.0, POLL_DELAYS.1, self.world.entropy());
                    failures += 1;
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => return Ok(()),
                        () = tokio::time::sleep(delay) => {}
                    }
                }
            }
        }
    }

    async fn attributes(&self) -> Result<QueueAttributes, Failure> {
        let mut attempts = Attempts::default();
        loop {
            let failure = match self.queue.attributes().await {
                Ok(attributes) => return Ok(attributes),
                Err(failure) => failure,
            };
            match self.retries.next(&mut attempts, Service::Sqs, failure.verdict()) {
                Some(delay) => tokio::time::sleep(delay).await,
                None => return Err(failure),
            }
        }
    }

    fn check(&self, attributes: QueueAttributes) {
        if let Some(receives) = attributes.receives_max.filter(|receives| *receives < RECEIVES_MIN) {
            warn!(
                receives,
                "the queue's maxReceiveCount is low: messages that are only handed back end in its dead-letter queue; 100 is advised"
            );
        }
        if self.dead_letters.is_none() {
            info!("DLQ_URL is not set: lost causes are left to the queue's own redrive");
        }
    }

    /// Waits for places for at least one message, and takes as many as one poll of `most` can bring. When few are free, it waits
    /// a little for more, and batches that linger are sent for it.
    async fn places_for_poll(
        &self,
        most: usize,
        budget: &Budget,
        stop: &CancellationToken,
    ) -> Option<Vec<OwnedSemaphorePermit>> {
        let spare = usize::try_from(self.messages_max / SPARE_PART).unwrap_or(0);
        let free = || Arc::clone(&self.places).try_acquire_owned().ok();
        let mut places: Vec<OwnedSemaphorePermit> = std::iter::from_fn(free).take(most).collect();
        let (mut wait, mut waits) = (SCARCE_WAIT, 0);
        while (places.len() < most || self.places.available_permits() < spare)
            && (places.is_empty() || waits < SCARCE_WAITS_MAX)
        {
            budget.press();
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                place = Arc::clone(&self.places).acquire_owned(), if places.len() < most => {
                    places.push(place.ok()?);
                    places.extend(std::iter::from_fn(free).take(most - places.len()));
                }
                () = tokio::time::sleep(wait) => {
                    waits += 1;
                    if places.is_empty() {
                        wait = (wait * 2).min(SCARCE_WAIT_MAX);
                    }
                }
            }
        }
        Some(places)
    }

    /// Lets a message wait for a place in the share of its tenant, and works on it then. When it is time to drain before, it
    /// is given up.
    ///
    /// # Errors
    /// For how long others wait, when it cannot.
    fn later(
        &self,
        pipeline: &Pipeline,
        notice: Notice,
        holding: &Holding,
        sent: Option<UnixMillis>,
        stop: &CancellationToken,
    ) -> Result<impl Future<Output = Done<Holds>> + use<>, Duration> {
        let mut tenants = notice.tenants();
        let waits = match (tenants.next(), tenants.next()) {
            (Some(tenant), None) => holding.wait(tenant, sent)?,
            // Whoever holds a share and waits for another's may wait for ever.
            (Some(tenant), Some(_)) => return Err(holding.waited(tenant)),
            (None, _) => return Err(Duration::ZERO),
        };
        drop(tenants);
        let (pipeline, places, told) = (pipeline.clone(), Arc::clone(&self.places), stop.clone());
        Ok(waits.begin(stop.clone(), move |share| {
            let has = async move {
                let mut held = told.run_until_cancelled(share.come()).await?;
                let place = places.try_acquire_owned().ok();
                if place.is_some() {
                    held.has_waited();
                }
                Some((place, held))
            };
            pipeline.process(notice, has)
        }))
    }

    /// Hands a message back untried: of its tenant's so many are in work, and so many wait, for so long.
    async fn hand_back(self, message: Message, waited: Duration, _place: OwnedSemaphorePermit) {
        let delay = crowded(waited, self.world.entropy());
        debug!(message_id = message.id, ?delay, "message handed back: many of its tenant wait already");
        self.settler.ask(Settle::Hide(message.receipt, delay)).await;
    }

    /// Works on one message until it is settled, keeping it hidden from others.
    async fn work(
        self,
        delivery: impl Future<Output = Done<Holds>>,
        message: Message,
        visibility: Duration,
        passage: Passage,
    ) {
        let done = tokio::select! {
            biased;
            () = self.abandon.cancelled() => None,
            done = delivery => done,
            () = self.hold(&message.receipt, visibility) => {
                // Whoever has the message now goes on; here its objects stop before their next batch.
                warn!(message_id = message.id, "receipt lost; the work on its objects is given up");
                self.gate.settle(passage, &[]);
                return;
            }
        };
        let Some((reports, _holds)) = done else {
            // The drain has begun before it was, or is over, and the delivery given up: another replica takes over at once.
            return self.settler.ask(Settle::Hide(message.receipt, Duration::ZERO)).await;
        };
        self.gate.settle(passage, &reports);
        // Of an object of which no version is known, all receives count.
        let ended = |report: &ObjectReport| Ended {
            finish: report.finish,
            strikes: report.strikes.unwrap_or(message.receive_count),
        };
        let ended: Vec<Ended> = reports.iter().map(ended).collect();
        let settlement = settle(&ended, message.receive_count, &self.policy, self.world.entropy());
        let request = match settlement {
            Settlement::Acknowledge => Settle::Delete(message.receipt),
            Settlement::HandBack(delay) => Settle::Hide(message.receipt, delay),
            Settlement::DeadLetter(finish) => match self.bury(&message, finish, &reports).await {
                Ok(()) => Settle::Delete(message.receipt),
                Err(failure) => {
                    error!(message_id = message.id, cause = %failure, "dead letter not sent; the message is handed back");
                    Settle::Hide(message.receipt, POLL_DELAYS.1)
                }
            },
        };
        self.settler.ask(request).await;
    }

    /// Keeps a message hidden. Ends when its receipt is lost: because it is no longer good, or because for two thirds of
    /// its time nobody answered.
    async fn hold(&self, receipt: &ReceiptHandle, visibility: Duration) {
        let mut lost_at = Instant::now() + visibility * 2 / 3;
        loop {
            tokio::time::sleep(visibility / 3).await;
            let asked = Instant::now();
            let answered = async {
                loop {
                    let (told, answer) = oneshot::channel();
                    self.settler.ask(Settle::Extend(receipt.clone(), visibility, told)).await;
                    if let Ok(good) = answer.await {
                        return good;
                    }
                    tokio::time::sleep(ASK_AGAIN).await;
                }
            };
            match tokio::time::timeout_at(lost_at, answered).await {
                Ok(true) => lost_at = asked + visibility * 2 / 3,
                Ok(false) | Err(_) => return,
            }
        }
    }

    async fn bury(&self, message: &Message, finish: Finish, reports: &[ObjectReport]) -> Result<(), Failure> {
        let Some(queue) = &self.dead_letters else { unreachable!("no dead letter without a queue for it") };
        let object = reports.iter().find(|report| report.finish == finish).and_then(|report| report.object.as_ref());
        let attributes = [
            ("reason", finish.name().to_owned()),
            ("attempts", message.receive_count.to_string()),
            ("object", object.map(ToString::to_string).unwrap_or_default()),
        ];
        warn!(
            message_id = message.id,
            reason = finish.name(),
            attempts = message.receive_count,
            "message dead-lettered"
        );
        let mut attempts = Attempts::default();
        loop {
            let Err(failure) = Box::pin(queue.send(&message.body, &attributes)).await else { return Ok(()) };
            match self.retries.next(&mut attempts, Service::Sqs, failure.verdict()) {
                Some(delay) => tokio::time::sleep(delay).await,
                None => return Err(failure),
            }
        }
    }
}
