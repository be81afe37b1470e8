//! The way of one object, a file per step. This file joins the steps.
//!
//! Every source of notifications (the queue, standard input) ends in [`Pipeline::process`]: body → objects → tenant →
//! deliveries → lanes and copies, and back with what became of each.

pub mod book;
pub mod budget;
pub mod circuits;
pub mod compute;
pub mod copy;
pub mod credentials;
mod early;
pub mod gate;
mod holding;
pub mod intake;
pub mod lane;
pub mod ledger;
pub mod machine;
pub mod open;
pub mod read;
pub mod rejects;
pub mod resolve;
pub mod retries;
pub mod run;
pub mod send;
mod sender;
pub mod settle;
pub mod share;
mod source;
pub mod totals;
mod turns;

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures_util::future::join_all;
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

use self::book::Known;
use self::circuits::Circuits;
use self::copy::{Copies, CopyDone};
use self::lane::Lanes;
use self::open::{Job, JobDone};
use self::resolve::Resolver;
use self::send::Destination;
use self::turns::{Turn, Turns};
use crate::core::copy::SINGLE_BYTES_MAX;
use crate::core::envelope::{self, Noticed, Notification};
use crate::core::errand::Errand;
use crate::core::failure::Failure;
use crate::core::layout::{Identity, Layout, stream_name};
use crate::core::object::ObjectRef;
use crate::core::pacing::circuit::Passage;
use crate::core::progress::Progress;
use crate::core::settlement::Finish;
use crate::core::tenant::{ClusterId, Delivery, DeliveryKey, Skip, Target, TenantConfig, TenantId};

/// Objects that wait for one lane. More wait with their messages.
const JOBS_WAITING_MAX: usize = 64;
/// Objects of unknown tenants, none resolved before, after which the layout or the table is taken to be wrong.
const UNKNOWN_MAX: usize = 10;

/// What is said of a message that nobody waits for any more.
const GIVEN_UP: &str = "its message was given up";

/// What became of one object of a notification, for one delivery.
#[derive(Clone, Debug)]
pub struct ObjectReport {
    /// The object; none when the notification named none.
    pub object: Option<ObjectRef>,
    /// What became of it.
    pub finish: Finish,
    /// Why, when it was not delivered.
    pub cause: Option<String>,
    /// Events accepted; none are counted where the object is copied.
    pub delivered: u64,
    /// See [`Ended::strikes`](crate::core::settlement::Ended), where they can be known.
    pub strikes: Option<u32>,
}

/// An object that a message told of.
#[derive(Debug)]
struct Arrival {
    object: ObjectRef,
    identity: Identity,
    stream: Arc<str>,
}

/// What a message told of.
#[derive(Debug)]
pub struct Notice {
    message_id: String,
    again: bool,
    reports: Vec<ObjectReport>,
    arrivals: Vec<Arrival>,
}

impl Notice {
    /// Whose objects they are: each tenant once.
    pub fn tenants(&self) -> impl Iterator<Item = &TenantId> {
        let tenants = self.arrivals.iter().map(|arrival| &arrival.identity.tenant);
        tenants
            .clone()
            .enumerate()
            .filter(move |(at, it)| !tenants.clone().take(*at).any(|before| before == *it))
            .map(|(_, it)| it)
    }
}

/// What of a message its deliveries need to know.
#[derive(Clone, Copy, Debug)]
struct Message<'m> {
    id: &'m str,
    /// Whether it was received before, by whomever.
    again: bool,
    /// Nobody waits for what becomes of it.
    given_up: &'m CancellationToken,
}

/// What became of a message's objects, and what it had to have for it; none: it could not begin.
type Done<H> = Option<(Vec<ObjectReport>, H)>;

/// A message in work: a future of what became of its objects. When it is dropped before, the message is given up: what is in
/// work stops before its next batch, and is remembered.
#[derive(Debug)]
pub struct Work<H> {
    task: JoinHandle<Done<H>>,
    _given_up: DropGuard,
}

impl<H> Future for Work<H> {
    type Output = Done<H>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match ready!(Pin::new(&mut self.task).poll(cx)) {
            Ok(reports) => Poll::Ready(reports),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is gone; so nobody asks again.
                Err(_cancelled) => Poll::Pending,
            },
        }
    }
}

/// A log stream of a tenant, whatever its deliveries are.
type StreamKey = (TenantId, ClusterId, Arc<str>);
type LaneKey = (DeliveryKey, ClusterId, Arc<str>);
/// A delivery of an object, whatever its version: bucket and key.
type WorkKey = (DeliveryKey, Arc<str>, Arc<str>);

/// The turns of one delivery of an object. One that comes again while it is in work waits for its end, and keeps its place in
/// its lane meanwhile: what was accepted is known then, and is not sent again.
#[derive(Debug)]
struct DeliveryTurns {
    lane: Turn<LaneKey>,
    object: Turn<WorkKey>,
}

#[derive(Debug, Default)]
struct LaneTable {
    lanes: HashMap<LaneKey, (u64, mpsc::Sender<Job>)>,
    numbers: u64,
}

/// The pipeline. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pipeline {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    layout: Layout,
    resolver: Resolver,
    turns: Turns<StreamKey>,
    lane_turns: Turns<LaneKey>,
    object_turns: Turns<WorkKey>,
    lanes: Lanes,
    copies: Copies,
    table: Arc<Mutex<LaneTable>>,
    circuits: Circuits,
    resolved: AtomicBool,
    /// Objects of unknown tenants while none was known, up to [`UNKNOWN_MAX`].
    unknown: Mutex<HashSet<ObjectRef>>,
}

impl Pipeline {
    /// A pipeline over its services.
    #[must_use]
    pub fn new(layout: Layout, resolver: Resolver, lanes: Lanes, circuits: Circuits) -> Self {
        let (reads, sends) = (&lanes.reads, &lanes.sends);
        let copies = Copies::new(
            reads.source.clone(),
            sends.credentials.clone(),
            sends.retries.clone(),
            sends.world,
            reads.tracker.clone(),
            Arc::clone(&lanes.totals),
            SINGLE_BYTES_MAX,
        );
        let inner = Inner {
            layout,
            resolver,
            turns: Turns::default(),
            lane_turns: Turns::default(),
            object_turns: Turns::default(),
            lanes,
            copies,
            table: Arc::default(),
            circuits,
            resolved: AtomicBool::new(false),
            unknown: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// What lanes share.
    #[must_use]
    pub fn lanes(&self) -> &Lanes {
        &self.inner.lanes
    }

    /// Whether so many tenants were unknown, and none known, that the layout or the table must be wrong.
    #[must_use]
    pub fn is_misconfigured(&self) -> bool {
        let unknown = self.inner.unknown.lock().unwrap_or_else(PoisonError::into_inner).len();
        !self.inner.resolved.load(Ordering::Relaxed) && unknown >= UNKNOWN_MAX
    }

    /// Takes what a message told of into its place among others, at once, and delivers it when it has what it must have, if it
    /// gets it. What became of it is told in the end; empty: there was nothing to do. Of one log stream, what was taken first
    /// goes first.
    #[must_use = "when it is dropped, the message is given up"]
    pub fn process<H: Send + 'static>(
        &self,
        notice: Notice,
        must_have: impl Future<Output = Option<H>> + Send + 'static,
    ) -> Work<H> {
        let (pipeline, Notice { message_id, again, mut reports, arrivals }) = (self.clone(), notice);
        let turn = |of: &Arrival| {
            self.inner.turns.take((of.identity.tenant.clone(), of.identity.cluster.clone(), Arc::clone(&of.stream)))
        };
        let turns: Vec<Turn<StreamKey>> = arrivals.iter().map(turn).collect();
        let given_up = CancellationToken::new();
        let work_is_given_up = given_up.clone().drop_guard();
        // A task of its own, which goes on when the message is given up: until what is on its way has arrived, nobody else
        // here may begin with its objects.
        let task = self.inner.lanes.reads.tracker.spawn(async move {
            let has = given_up.run_until_cancelled(must_have).await??;
            // All at a time: one that must wait holds back no other.
            let arrivals = arrivals.into_iter().zip(turns);
            let message = Message { id: &message_id, again, given_up: &given_up };
            let work = arrivals.map(|(arrival, turn)| pipeline.deliver(message, arrival, turn));
            reports.extend(join_all(work).await.into_iter().flatten());
            // Now it is known whether there is any tenant that the table has.
            reports.iter_mut().filter(|report| report.finish == Finish::Unknown).for_each(|it| pipeline.doubt(it));
            Some((reports, has))
        });
        Work { task, _given_up: work_is_given_up }
    }

    /// What a message's body tells of. `again`: the message was received before.
    #[must_use]
    pub fn read(&self, message_id: &str, body: &str, again: bool) -> Notice {
        let (reports, arrivals) = self.arrivals(message_id, body);
        Notice { message_id: message_id.to_owned(), again, reports, arrivals }
    }

    /// What a body tells of: objects, and reports of what is none.
    fn arrivals(&self, message_id: &str, body: &str) -> (Vec<ObjectReport>, Vec<Arrival>) {
        let records = match envelope::parse(body) {
            Ok(Notification::Objects(records)) => records,
            Ok(Notification::Test) => {
                info!(message_id, "test message of a bucket's notification");
                return (Vec::new(), Vec::new());
            }
            Err(error) => {
                let sha256 = hex::encode(Sha256::digest(body));
                warn!(message_id, length = body.len(), sha256, cause = %error, "message is no notification");
                return (vec![ObjectReport::none(None, Finish::Invalid, error.to_string())], Vec::new());
            }
        };
        let (mut reports, mut arrivals) = (Vec::new(), Vec::new());
        for (at, record) in records.iter().enumerate() {
            match record {
                Noticed::Object(_) if records.iter().take(at).any(|before| before == record) => {}
                Noticed::Ignored => {}
                Noticed::Bad(error) => {
                    warn!(message_id, cause = %error, "record of a notification names no object");
                    reports.push(ObjectReport::none(None, Finish::Invalid, error.to_string()));
                }
                Noticed::Object(object) => match self.inner.layout.apply(&object.key) {
                    Ok(identity) => {
                        let stream: Arc<str> = stream_name(&identity.pod).into();
                        arrivals.push(Arrival { object: object.clone(), identity, stream });
                    }
                    Err(error) => {
                        warn!(message_id, cause = %error, "key is off the layout");
                        reports.push(ObjectReport::none(Some(object.clone()), Finish::Invalid, error.to_string()));
                    }
                },
            }
        }
        (reports, arrivals)
    }

    /// Delivers an object, and says what became of each delivery.
    async fn deliver(&self, message: Message<'_>, arrival: Arrival, mut turn: Turn<StreamKey>) -> Vec<ObjectReport> {
        let message_id = message.id;
        let Arrival { object, identity, stream } = arrival;
        let resolved = Box::pin(self.inner.resolver.resolve(&identity.tenant)).await;
        turn.come().await;
        let (config, mut reports) = match self.configured(message_id, &object, &identity.tenant, resolved) {
            Ok(found) => found,
            Err(report) => return vec![*report],
        };
        let mut wanted = Vec::new();
        // Each delivery gets its turn at its lane here, in the order of this stream's objects. So this turn ends before any
        // of them waits, and a full lane holds back itself alone.
        for delivery in &config.deliveries {
            let key = delivery.key();
            let (finish, cause) = match delivery.admits(&identity.application) {
                Err(skip) => {
                    info!(message_id, tenant = %identity.tenant, %object, reason = skip.name(), "object skipped");
                    (Finish::Skipped, format!("application {} is not wanted", identity.application))
                }
                Ok(()) => match self.inner.circuits.ask(key).await {
                    Passage::Shut => match self.inner.lanes.book.find(&object, key) {
                        Some(Known::Finished) => (Finish::Delivered, "it was delivered before".to_owned()),
                        Some(Known::Tried { .. }) | None => {
                            (Finish::TenantDenied, "the delivery refused an earlier object".to_owned())
                        }
                    },
                    passage @ (Passage::Free | Passage::Probe) => {
                        let lane = (key.clone(), identity.cluster.clone(), Arc::clone(&stream));
                        let work = (key.clone(), Arc::clone(&object.bucket), Arc::clone(&object.key));
                        let turns = DeliveryTurns {
                            lane: self.inner.lane_turns.take(lane),
                            object: self.inner.object_turns.take(work),
                        };
                        wanted.push(self.deliver_to(
                            message,
                            delivery,
                            (key.clone(), passage),
                            &identity,
                            turns,
                            &object,
                        ));
                        continue;
                    }
                },
            };
            reports.push(ObjectReport::none(Some(object.clone()), finish, cause));
        }
        drop(turn);
        reports.extend(join_all(wanted).await);
        reports
    }

    /// A tenant's configuration, with reports of its invalid rows; or the report of why there is none.
    fn configured(
        &self,
        message_id: &str,
        object: &ObjectRef,
        tenant: &TenantId,
        resolved: Result<Option<Arc<TenantConfig>>, Failure>,
    ) -> Result<(Arc<TenantConfig>, Vec<ObjectReport>), Box<ObjectReport>> {
        let report = |finish, cause: String| ObjectReport::none(Some(object.clone()), finish, cause);
        let config = match resolved {
            Ok(Some(config)) => config,
            Ok(None) => {
                warn!(message_id, %tenant, %object, reason = Skip::Unknown.name(), "object skipped");
                return Err(Box::new(report(Finish::Unknown, format!("tenant {tenant} is unknown"))));
            }
            Err(failure) => {
                warn!(message_id, %tenant, %object, cause = %failure, "tenant not resolved");
                let finish = Errand::Own.finish(&failure);
                return Err(Box::new(report(finish, failure.to_string())));
            }
        };
        self.inner.resolved.store(true, Ordering::Relaxed);
        if config.deliveries.is_empty() && config.invalid.is_empty() {
            info!(message_id, %tenant, %object, reason = Skip::Disabled.name(), "tenant is disabled");
            return Err(Box::new(report(Finish::Skipped, format!("tenant {tenant} is disabled"))));
        }
        let invalid = config.invalid.iter().map(|error| report(Finish::ConfigInvalid, error.to_string())).collect();
        Ok((config, invalid))
    }

    /// Sees one delivery of an object to its end.
    async fn deliver_to(
        &self,
        message: Message<'_>,
        delivery: &Arc<Delivery>,
        (key, passage): (DeliveryKey, Passage),
        identity: &Identity,
        turns: DeliveryTurns,
        object: &ObjectRef,
    ) -> ObjectReport {
        let DeliveryTurns { lane, object: mut in_work } = turns;
        let Lanes { book, ledger, .. } = &self.inner.lanes;
        let given_up = || ObjectReport::none(Some(object.clone()), Finish::Unavailable, GIVEN_UP.to_owned());
        if message.given_up.run_until_cancelled(in_work.come()).await.is_none() {
            self.inner.circuits.settle(&key, passage, Finish::Unavailable).await;
            return given_up();
        }
        if book.find(object, &key) == Some(Known::Finished) {
            info!(message_id = message.id, tenant = %identity.tenant, %object, "object was delivered before");
            self.inner.circuits.settle(&key, passage, Finish::Skipped).await;
            let cause = "it was delivered before".to_owned();
            return ObjectReport::none(Some(object.clone()), Finish::Delivered, cause);
        }
        let (mut held, mut place) = (None, None);
        let (mut report, read, progress) = match delivery.target() {
            Target::CloudWatch(_) => {
                match self.submit(lane, delivery, message, object).await.await {
                    Ok(JobDone { finish, cause, etag, progress, claim, delivered, checkpoint }) => {
                        (held, place) = (claim, checkpoint);
                        let object = Some(object.clone());
                        (ObjectReport { object, finish, cause, delivered, strikes: None }, etag, progress)
                    }
                    // The lane was cut off: at the end of a drain, or because a compute thread ended.
                    Err(_) => {
                        let (finish, cause) = (Finish::Retryable, "the lane was ended".to_owned());
                        (ObjectReport::none(Some(object.clone()), finish, cause), None, Progress::default())
                    }
                }
            }
            Target::S3(_) => {
                let copying = self.inner.copies.start(delivery, identity, object);
                match message.given_up.run_until_cancelled(copying.done()).await {
                    Some(CopyDone { finish, cause, etag, .. }) => {
                        let object = Some(object.clone());
                        (ObjectReport { object, finish, cause, delivered: 0, strikes: None }, etag, Progress::default())
                    }
                    None => (given_up(), None, Progress::default()),
                }
            }
        };
        if message.given_up.is_cancelled() && report.finish.is_strike() {
            // That it came to nothing is no fault of the object's.
            report.finish = Finish::Unavailable;
        }
        self.inner.circuits.settle(&key, passage, report.finish).await;
        // All of it is known before the object's next turn comes.
        let (settled, strikes) = if report.finish == Finish::Delivered {
            book.finish(object, read.clone(), &key);
            (Progress::all(), None)
        } else {
            let strikes = book.fail(object, read.clone(), &key, progress.clone(), report.finish);
            (progress, strikes)
        };
        let place = place.filter(|_| report.finish != Finish::Delivered);
        if let Some(claim) = held {
            ledger.leave(&claim, &settled, strikes.unwrap_or_default()).await;
            if let Some(place) = &place {
                ledger.keep_checkpoint(&claim, place).await;
            }
        }
        if let Some(place) = place {
            book.keep_checkpoint(object, read, &key, place);
        }
        ObjectReport { strikes, ..report }
    }

    /// Until a tenant has been found, an unknown one may as well be the layout's or the table's fault: its message is kept.
    fn doubt(&self, report: &mut ObjectReport) {
        if self.inner.resolved.load(Ordering::Relaxed) {
            return;
        }
        let hint = ", as all were so far: are KEY_LAYOUT and TENANT_CONFIG_TABLE right?";
        (report.finish, report.cause) = (Finish::UnknownSoFar, report.cause.take().map(|cause| cause + hint));
        let mut unknown = self.inner.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        if unknown.len() < UNKNOWN_MAX
            && let Some(object) = &report.object
        {
            unknown.insert(object.clone());
        }
    }

    /// Gives an object to its lane in its turn, starting the lane if it is not there. Waits while too many wait there already.
    async fn submit(
        &self,
        mut turn: Turn<LaneKey>,
        delivery: &Arc<Delivery>,
        message: Message<'_>,
        object: &ObjectRef,
    ) -> oneshot::Receiver<JobDone> {
        let (done, result) = oneshot::channel();
        let mut job = Job { object: object.clone(), again: message.again, done, given_up: message.given_up.clone() };
        turn.come().await;
        loop {
            let lane = self.lane(turn.of(), delivery);
            match lane.send(job).await {
                Ok(()) => return result,
                // The lane ended between the look and the sending: a new one takes its place.
                Err(mpsc::error::SendError(back)) => job = back,
            }
        }
    }

    fn lane(&self, key: &LaneKey, delivery: &Arc<Delivery>) -> mpsc::Sender<Job> {
        let mut table = self.inner.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, jobs)) = table.lanes.get(key).filter(|(_, jobs)| !jobs.is_closed()) {
            return jobs.clone();
        }
        table.numbers += 1;
        let number = table.numbers;
        let (jobs, waiting) = mpsc::channel(JOBS_WAITING_MAX);
        table.lanes.insert(key.clone(), (number, jobs.clone()));
        let to = Destination { delivery: Arc::clone(delivery), cluster: key.1.clone(), stream: Arc::clone(&key.2) };
        let idle = {
            let (key, table) = (key.clone(), Arc::clone(&self.inner.table));
            move || {
                let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
                // Only one's own entry, and only if nobody holds a sender that may still be used.
                let mine = table.lanes.get(&key).is_some_and(|(at, jobs)| *at == number && jobs.strong_count() == 1);
                if mine {
                    table.lanes.remove(&key);
                }
                mine
            }
        };
        lane::start(self.inner.lanes.clone(), to, number, waiting, idle);
        jobs
    }

    /// Closes all lanes: they end when their work is done.
    pub fn close(&self) {
        self.inner.table.lock().unwrap_or_else(PoisonError::into_inner).lanes.clear();
    }
}

impl ObjectReport {
    const fn none(object: Option<ObjectRef>, finish: Finish, cause: String) -> Self {
        Self { object, finish, cause: Some(cause), delivered: 0, strikes: None }
    }
}
