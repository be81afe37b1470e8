//! The way of one object, a file per step. This file joins the steps.
//!
//! Every source of notifications (the queue, standard input) ends in [`Pipeline::process`]: body → objects → tenant →
//! deliveries → lanes, and back with what became of each.

pub mod budget;
pub mod compute;
pub mod credentials;
pub mod intake;
pub mod lane;
pub mod read;
pub mod resolve;
pub mod send;
pub mod settle;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use self::lane::{Job, JobDone, Lanes};
use self::resolve::Resolver;
use self::send::Destination;
use crate::core::envelope::{self, Noticed, Notification};
use crate::core::failure::Verdict;
use crate::core::layout::{Identity, Layout, stream_name};
use crate::core::object::ObjectRef;
use crate::core::settlement::Finish;
use crate::core::tenant::{ClusterId, Delivery, DeliveryKey, Skip, Target};

/// Objects that wait for one lane. More wait with their messages.
const JOBS_WAITING_MAX: usize = 64;
/// Unknown tenants, none resolved before, after which the layout or the table is taken to be wrong.
const UNKNOWN_MAX: u64 = 10;

/// What became of one object of a notification, for one delivery.
#[derive(Clone, Debug)]
pub struct ObjectReport {
    /// The object; none when the notification named none.
    pub object: Option<ObjectRef>,
    /// What became of it.
    pub finish: Finish,
    /// Why, when it was not delivered.
    pub cause: Option<String>,
    /// Events accepted.
    pub delivered: u64,
}

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
    table: Arc<Mutex<LaneTable>>,
    resolved: AtomicBool,
    unknown: AtomicU64,
}

impl Pipeline {
    /// A pipeline over its services.
    #[must_use]
    pub fn new(layout: Layout, resolver: Resolver, lanes: Lanes) -> Self {
        let inner = Inner {
            layout,
            resolver,
            lanes,
            table: Arc::default(),
            resolved: AtomicBool::new(false),
            unknown: AtomicU64::new(0),
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
        !self.inner.resolved.load(Ordering::Relaxed) && self.inner.unknown.load(Ordering::Relaxed) >= UNKNOWN_MAX
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
                warn!(message_id, length = body.len(), cause = %error, "message is no notification");
                return vec![ObjectReport::none(None, Finish::Invalid, error.to_string())];
            }
        };
        let mut reports = Vec::new();
        let mut waiting = Vec::new();
        for record in records {
            match record {
                Noticed::Ignored => {}
                Noticed::Bad(error) => {
                    warn!(message_id, cause = %error, "record of a notification names no object");
                    reports.push(ObjectReport::none(None, Finish::Invalid, error.to_string()));
                }
                Noticed::Object(object) => self.begin(message_id, &object, &mut reports, &mut waiting).await,
            }
        }
        for (object, done) in waiting {
            reports.push(match done.await {
                Ok(JobDone { finish, count, cause }) => {
                    ObjectReport { object: Some(object), finish, cause, delivered: count.tally.delivered() }
                }
                // The lane was cut off: at the end of a drain, or because a compute thread ended.
                Err(_) => ObjectReport::none(Some(object), Finish::Retryable, "the lane was ended".to_owned()),
            });
        }
        reports
    }

    /// Puts an object into the lanes of its deliveries.
    async fn begin(
        &self,
        message_id: &str,
        object: &ObjectRef,
        reports: &mut Vec<ObjectReport>,
        waiting: &mut Vec<(ObjectRef, oneshot::Receiver<JobDone>)>,
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
        let config = match self.inner.resolver.resolve(tenant).await {
            Ok(Some(config)) => config,
            Ok(None) => {
                warn!(message_id, %tenant, %object, reason = Skip::Unknown.name(), "object skipped");
                return none(self.unknown(), format!("tenant {tenant} is unknown"));
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
            info!(message_id, %tenant, %object, "tenant is disabled");
            return none(Finish::Skipped, format!("tenant {tenant} is disabled"));
        }
        for delivery in &config.deliveries {
            if let Err(skip) = delivery.admits(&identity.application) {
                info!(message_id, %tenant, %object, reason = skip.name(), "object skipped");
                none(Finish::Skipped, format!("application {} is not wanted", identity.application));
                continue;
            }
            match delivery.target() {
                Target::CloudWatch(_) => {
                    waiting.push((object.clone(), self.submit(delivery, &identity, object).await));
                }
                Target::S3(_) => {
                    none(Finish::TenantDenied, "delivery to a bucket is not supported by this version".to_owned())
                }
            }
        }
    }

    /// Until a tenant has been found, an unknown one may as well be the layout's or the table's fault: it is kept.
    fn unknown(&self) -> Finish {
        if self.inner.resolved.load(Ordering::Relaxed) {
            return Finish::Unknown;
        }
        self.inner.unknown.fetch_add(1, Ordering::Relaxed);
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

impl ObjectReport {
    const fn none(object: Option<ObjectRef>, finish: Finish, cause: String) -> Self {
        Self { object, finish, cause: Some(cause), delivered: 0 }
    }
}
