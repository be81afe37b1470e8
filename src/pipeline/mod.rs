//! The way of one object, a file per step. This file joins the steps.
//!
//! Every source of notifications (the queue, standard input) ends in [`Pipeline::process`]: body → objects → tenant →
//! deliveries → lanes and copies, and back with what became of each.

pub mod budget;
pub mod compute;
pub mod copy;
pub mod credentials;
pub mod intake;
pub mod lane;
pub mod read;
pub mod resolve;
pub mod send;
pub mod settle;
pub mod share;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::future::Cache;
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use self::copy::{Copies, CopyDone, Copying};
use self::lane::{Job, JobDone, Lanes};
use self::resolve::Resolver;
use self::send::Destination;
use crate::core::copy::SINGLE_BYTES_MAX;
use crate::core::envelope::{self, Noticed, Notification};
use crate::core::failure::Verdict;
use crate::core::layout::{Identity, Layout, stream_name};
use crate::core::object::{ETag, ObjectRef};
use crate::core::settlement::Finish;
use crate::core::tenant::{ClusterId, Delivery, DeliveryKey, Skip, Target};

/// Objects that wait for one lane. More wait with their messages.
const JOBS_WAITING_MAX: usize = 64;
/// Objects of unknown tenants, none resolved before, after which the layout or the table is taken to be wrong.
const UNKNOWN_MAX: usize = 10;
/// Finished deliveries of objects that are remembered, so that a message of several, or one that comes again, does not
/// repeat them; and for how long: a message is in flight for 12 hours at most.
const FINISHED_MAX: u64 = 10_000;
const FINISHED_LIFE: Duration = Duration::from_secs(12 * 60 * 60);

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
}

/// A delivery of an object that is in work.
#[derive(Debug)]
enum InWork {
    Lane(oneshot::Receiver<JobDone>),
    Copy(Copying),
}

/// A digest of a version of an object and of where it is delivered to.
type FinishedKey = [u8; 32];
type LaneKey = (DeliveryKey, ClusterId, Arc<str>);

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
    lanes: Lanes,
    copies: Copies,
    table: Arc<Mutex<LaneTable>>,
    resolved: AtomicBool,
    /// Objects of unknown tenants while none was known, up to [`UNKNOWN_MAX`].
    unknown: Mutex<HashSet<ObjectRef>>,
    finished: Cache<FinishedKey, ()>,
}

impl Pipeline {
    /// A pipeline over its services.
    #[must_use]
    pub fn new(layout: Layout, resolver: Resolver, lanes: Lanes) -> Self {
        let (reads, sends) = (&lanes.reads, &lanes.sends);
        let copies = Copies::new(
            reads.source.clone(),
            sends.credentials.clone(),
            sends.retries,
            sends.world,
            reads.tracker.clone(),
            Arc::clone(&lanes.totals),
            SINGLE_BYTES_MAX,
        );
        let inner = Inner {
            layout,
            resolver,
            lanes,
            copies,
            table: Arc::default(),
            resolved: AtomicBool::new(false),
            unknown: Mutex::default(),
            finished: Cache::builder().max_capacity(FINISHED_MAX).time_to_live(FINISHED_LIFE).build(),
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

    /// Delivers what a message's body tells of, and says what became of it. Empty: there was nothing to do.
    pub async fn process(&self, message_id: &str, body: &str) -> Vec<ObjectReport> {
        let records = match envelope::parse(body) {
            Ok(Notification::Objects(records)) => records,
            Ok(Notification::Test) => {
                info!(message_id, "test message of a bucket's notification");
                return Vec::new();
            }
            Err(error) => {
                let sha256 = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
                warn!(message_id, length = body.len(), sha256, cause = %error, "message is no notification");
                return vec![ObjectReport::none(None, Finish::Invalid, error.to_string())];
            }
        };
        let mut reports = Vec::new();
        let mut waiting = Vec::new();
        for (at, record) in records.iter().enumerate() {
            match record {
                Noticed::Object(_) if records.iter().take(at).any(|before| before == record) => {}
                Noticed::Ignored => {}
                Noticed::Bad(error) => {
                    warn!(message_id, cause = %error, "record of a notification names no object");
                    reports.push(ObjectReport::none(None, Finish::Invalid, error.to_string()));
                }
                Noticed::Object(object) => self.begin(message_id, object, &mut reports, &mut waiting).await,
            }
        }
        for (object, to, in_work) in waiting {
            let (report, read) = in_work.end(object).await;
            if report.finish == Finish::Delivered {
                self.remember(object, &to, read).await;
            }
            reports.push(report);
        }
        reports
    }

    /// Puts an object into the lanes of its deliveries.
    async fn begin<'o>(
        &self,
        message_id: &str,
        object: &'o ObjectRef,
        reports: &mut Vec<ObjectReport>,
        waiting: &mut Vec<(&'o ObjectRef, DeliveryKey, InWork)>,
    ) {
        let mut none = |finish, cause: String| reports.push(ObjectReport::none(Some(object.clone()), finish, cause));
        let identity = match self.inner.layout.apply(&object.key) {
            Ok(identity) => identity,
            Err(error) => {
                warn!(message_id, cause = %error, "key is off the layout");
                return none(Finish::Invalid, error.to_string());
            }
        };
        let tenant = &identity.tenant;
        let config = match Box::pin(self.inner.resolver.resolve(tenant)).await {
            Ok(Some(config)) => config,
            Ok(None) => {
                warn!(message_id, %tenant, %object, reason = Skip::Unknown.name(), "object skipped");
                let finish = self.unknown(object);
                let known_were_some = finish == Finish::Unknown;
                let hint = if known_were_some {
                    ""
                } else {
                    ", as all were so far: are KEY_LAYOUT and TENANT_CONFIG_TABLE right?"
                };
                return none(finish, format!("tenant {tenant} is unknown{hint}"));
            }
            Err(failure) => {
                warn!(message_id, %tenant, %object, cause = %failure, "tenant not resolved");
                let global =
                    matches!(failure.verdict(), Verdict::Denied | Verdict::GiveUp | Verdict::RefreshCredentials);
                return none(if global { Finish::GlobalFault } else { Finish::Retryable }, failure.to_string());
            }
        };
        self.inner.resolved.store(true, Ordering::Relaxed);
        for error in &config.invalid {
            none(Finish::TenantDenied, error.to_string());
        }
        if config.deliveries.is_empty() && config.invalid.is_empty() {
            info!(message_id, %tenant, %object, reason = Skip::Disabled.name(), "object skipped");
            return none(Finish::Skipped, format!("tenant {tenant} is disabled"));
        }
        // A copy is begun without a wait; a lane may be full, and must not hold back its tenant's copies.
        let mut deliveries: Vec<&Arc<Delivery>> = config.deliveries.iter().collect();
        deliveries.sort_by_key(|delivery| matches!(delivery.target(), Target::CloudWatch(_)));
        for delivery in deliveries {
            if let Err(skip) = delivery.admits(&identity.application) {
                info!(message_id, %tenant, %object, reason = skip.name(), "object skipped");
                none(Finish::Skipped, format!("application {} is not wanted", identity.application));
                continue;
            }
            if let Some(key) = finished_key(object, &delivery.key())
                && self.inner.finished.contains_key(&key)
            {
                info!(message_id, %tenant, %object, "object was delivered before");
                none(Finish::Delivered, "it was delivered before".to_owned());
                continue;
            }
            match delivery.target() {
                Target::CloudWatch(_) => {
                    let lane = InWork::Lane(self.submit(delivery, &identity, object).await);
                    waiting.push((object, delivery.key(), lane));
                }
                Target::S3(_) => {
                    let copying = self.inner.copies.start(delivery, &identity, object);
                    waiting.push((object, delivery.key(), InWork::Copy(copying)));
                }
            }
        }
    }

    /// Remembers that an object is delivered: the version that was told of, and the one that was read in its place.
    async fn remember(&self, object: &ObjectRef, to: &DeliveryKey, read: Option<ETag>) {
        let read = ObjectRef { etag: read, ..object.clone() };
        for key in [object, &read].into_iter().filter_map(|object| finished_key(object, to)) {
            self.inner.finished.insert(key, ()).await;
        }
    }

    /// Until a tenant has been found, an unknown one may as well be the layout's or the table's fault: it is kept.
    fn unknown(&self, object: &ObjectRef) -> Finish {
        if self.inner.resolved.load(Ordering::Relaxed) {
            return Finish::Unknown;
        }
        let mut unknown = self.inner.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        if unknown.len() < UNKNOWN_MAX {
            unknown.insert(object.clone());
        }
        Finish::GlobalFault
    }

    /// Gives an object to its lane, which is started if it is not there. Waits while too many wait there already.
    async fn submit(
        &self,
        delivery: &Arc<Delivery>,
        identity: &Identity,
        object: &ObjectRef,
    ) -> oneshot::Receiver<JobDone> {
        let stream: Arc<str> = stream_name(&identity.pod).into();
        let key = (delivery.key(), identity.cluster.clone(), Arc::clone(&stream));
        let (done, result) = oneshot::channel();
        let mut job = Job { object: object.clone(), done };
        loop {
            let lane = self.lane(&key, delivery, &stream);
            match lane.send(job).await {
                Ok(()) => return result,
                // The lane ended between the look and the sending: a new one takes its place.
                Err(mpsc::error::SendError(back)) => job = back,
            }
        }
    }

    fn lane(&self, key: &LaneKey, delivery: &Arc<Delivery>, stream: &Arc<str>) -> mpsc::Sender<Job> {
        let mut table = self.inner.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, jobs)) = table.lanes.get(key).filter(|(_, jobs)| !jobs.is_closed()) {
            return jobs.clone();
        }
        table.numbers += 1;
        let number = table.numbers;
        let (jobs, waiting) = mpsc::channel(JOBS_WAITING_MAX);
        table.lanes.insert(key.clone(), (number, jobs.clone()));
        let to = Destination { delivery: Arc::clone(delivery), cluster: key.1.clone(), stream: Arc::clone(stream) };
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

/// None when it is not known which version it is.
fn finished_key(object: &ObjectRef, to: &DeliveryKey) -> Option<FinishedKey> {
    let version = object.version.as_deref().or_else(|| object.etag.as_ref().map(ETag::as_str))?;
    let mut digest = Sha256::new();
    for part in [&*object.bucket, &*object.key, version, &format!("{to:?}")] {
        digest.update(part.len().to_le_bytes());
        digest.update(part);
    }
    Some(digest.finalize().into())
}

impl InWork {
    /// Waits for the end. Gives the tag of what was read, too.
    async fn end(self, object: &ObjectRef) -> (ObjectReport, Option<ETag>) {
        let object = Some(object.clone());
        match self {
            Self::Lane(done) => match done.await {
                Ok(JobDone { finish, count, cause, etag }) => {
                    (ObjectReport { object, finish, cause, delivered: count.tally.delivered() }, etag)
                }
                // The lane was cut off: at the end of a drain, or because a compute thread ended.
                Err(_) => (ObjectReport::none(object, Finish::Retryable, "the lane was ended".to_owned()), None),
            },
            Self::Copy(copying) => {
                let CopyDone { finish, cause, etag, .. } = copying.done().await;
                (ObjectReport { object, finish, cause, delivered: 0 }, etag)
            }
        }
    }
}

impl ObjectReport {
    const fn none(object: Option<ObjectRef>, finish: Finish, cause: String) -> Self {
        Self { object, finish, cause: Some(cause), delivered: 0 }
    }
}
