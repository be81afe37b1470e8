//! One object → a copy of it in the tenant's bucket. S3 copies; no byte of the object comes here.
//!
//! What the object is now is asked with the ambient identity, as all reading of the source is, and the copy is pinned to
//! the answer's tag: type and encoding that are told again belong to the bytes that are copied. When the object changes in
//! between, it is begun anew with what it is then. A copy that is made again takes the place of the one before it, and
//! is the same but for its time of delivery; so an attempt needs no memory of earlier ones.
//!
//! A copy is a task of its own. When nobody waits for it any more, because its message is handed back at the end of a
//! drain, it ends at once, and a multipart upload that was begun is taken back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::credentials::Credentials;
use super::retries::Retries;
use super::share::Pool;
use super::totals::Totals;
use crate::aws::bucket::{CopySource, NewObject, TargetBucket, Upload};
use crate::aws::s3::{Head, Source};
use crate::core::copy::{CopyPlan, PartPlan, destination_key, metadata};
use crate::core::errand::Errand;
use crate::core::failure::{Attempts, Failure, Service, Verdict};
use crate::core::layout::Identity;
use crate::core::object::{ETag, ObjectRef};
use crate::core::settlement::Finish;
use crate::core::tenant::{Delivery, Target};
use crate::world::World;

/// Calls that copy in flight, over all tenants. S3 takes thousands a second per prefix; each holds a connection as long as
/// S3 needs for it.
const COPIES_MAX: u64 = 64;
/// How often a copy is begun anew because the object was overwritten meanwhile.
const CHANGES_MAX: u32 = 3;
/// Time that taking back a multipart upload may take: it delays a drain.
const ABORT_TIMEOUT: Duration = Duration::from_secs(10);

/// Copies objects. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Copies {
    source: Source,
    credentials: Credentials,
    retries: Retries,
    world: World,
    tracker: TaskTracker,
    totals: Arc<Totals>,
    places: Pool,
    single_max: u64,
}

/// A copy in work. When it is dropped, the copy ends.
#[derive(Debug)]
pub struct Copying {
    done: oneshot::Receiver<CopyDone>,
    _ended: DropGuard,
}

/// What became of a copy.
#[derive(Clone, Debug)]
pub struct CopyDone {
    /// What it means for the message.
    pub finish: Finish,
    /// Why, when it was not copied.
    pub cause: Option<String>,
    /// Bytes of the object, when it was copied.
    pub bytes: u64,
    /// The tag of what was copied; it may be the successor of the object that the notification named.
    pub etag: Option<ETag>,
}

/// Why an object was not copied.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
struct CopyFault {
    finish: Finish,
    cause: String,
}

/// One object on its way.
#[derive(Clone, Copy, Debug)]
struct Job<'j> {
    delivery: &'j Delivery,
    identity: &'j Identity,
    object: &'j ObjectRef,
    key: &'j str,
}

impl CopyDone {
    fn failed(fault: CopyFault) -> Self {
        Self { finish: fault.finish, cause: Some(fault.cause), bytes: 0, etag: None }
    }
}

impl CopyFault {
    fn of(errand: Errand, failure: &Failure) -> Self {
        Self { finish: errand.finish(failure), cause: failure.to_string() }
    }

    fn ended() -> Self {
        Self { finish: Finish::Retryable, cause: "the copy was ended".to_owned() }
    }
}

impl Copying {
    /// Waits for the end.
    pub async fn done(self) -> CopyDone {
        // A task that is gone without a word has not copied.
        let gone = |_| CopyDone::failed(CopyFault::ended());
        self.done.await.unwrap_or_else(gone)
    }
}

impl Copies {
    /// A copier. `single_max`: bytes of the longest object that is copied by one call.
    #[must_use]
    pub fn new(
        source: Source,
        credentials: Credentials,
        retries: Retries,
        world: World,
        tracker: TaskTracker,
        totals: Arc<Totals>,
        single_max: u64,
    ) -> Self {
        let places = Pool::new(COPIES_MAX);
        Self { source, credentials, retries, world, tracker, totals, places, single_max }
    }

    /// Begins to copy an object into the delivery's bucket.
    #[must_use]
    pub fn start(&self, delivery: &Arc<Delivery>, identity: &Identity, object: &ObjectRef) -> Copying {
        let ended = CancellationToken::new();
        let (told, done) = oneshot::channel();
        let copy = {
            let (copies, ended) = (self.clone(), ended.clone());
            let (delivery, identity, object) = (Arc::clone(delivery), identity.clone(), object.clone());
            async move {
                let copied = Box::pin(copies.run(&delivery, &identity, &object, &ended)).await;
                // Whoever waited may have given up at the end of a drain.
                let _nobody_waits = told.send(copied);
            }
        };
        self.tracker.spawn(copy);
        Copying { done, _ended: ended.drop_guard() }
    }

    /// Copies an object and leaves its receipt: one line.
    async fn run(
        &self,
        delivery: &Delivery,
        identity: &Identity,
        object: &ObjectRef,
        ended: &CancellationToken,
    ) -> CopyDone {
        let Target::S3(target) = delivery.target() else { unreachable!("only deliveries to a bucket are copied") };
        debug_assert_eq!(&identity.tenant, delivery.tenant(), "an object goes to its own tenant");
        let begun = self.world.now();
        let key = destination_key(object, identity, target);
        let copied = match &key {
            Ok(key) => self.copy_unless(Job { delivery, identity, object, key }, ended).await,
            Err(error) => Err(CopyFault { finish: Finish::TenantDenied, cause: error.to_string() }),
        };
        let done = match copied {
            Ok(Head { bytes, etag, .. }) => {
                CopyDone { finish: Finish::Delivered, cause: None, bytes, etag: Some(etag) }
            }
            Err(fault) => CopyDone::failed(fault),
        };
        info!(
            tenant = %delivery.tenant(), %object, bucket = %target.bucket, key = key.ok(), finish = done.finish.name(),
            bytes = done.bytes, ms = self.world.millis_since(begun), cause = done.cause.as_deref(),
            "object settled"
        );
        if done.finish == Finish::Delivered {
            self.totals.add(delivery.tenant().as_str(), |totals| {
                totals.copies += 1;
                totals.copied_bytes += done.bytes;
            });
        }
        done
    }

    /// Copies until it is done or `ended`; then what was begun is taken back.
    async fn copy_unless(&self, job: Job<'_>, ended: &CancellationToken) -> Result<Head, CopyFault> {
        let mut open = None;
        let copied = tokio::select! {
            biased;
            copied = self.copy(job, &mut open) => copied,
            () = ended.cancelled() => Err(CopyFault::ended()),
        };
        if let Some(upload) = open {
            let abort = self.call(job, |bucket| {
                let upload = &upload;
                async move { bucket.abort(upload).await }
            });
            match tokio::time::timeout(ABORT_TIMEOUT, abort).await {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => {
                    warn!(tenant = %job.delivery.tenant(), cause = %failure, "multipart upload not taken back");
                }
                Err(_) => warn!(tenant = %job.delivery.tenant(), "multipart upload not taken back in time"),
            }
        }
        copied
    }

    /// Copies. `open` has the upload that was begun and not ended.
    async fn copy(&self, job: Job<'_>, open: &mut Option<Upload>) -> Result<Head, CopyFault> {
        // Overwritten since the notification: the current version is what is wanted now.
        let mut pin = job.object.etag.clone();
        for _ in 0..=CHANGES_MAX {
            let head = match self.head(job, pin.as_ref()).await {
                Ok(head) => head,
                Err(failure) if failure.verdict() == Verdict::Changed => {
                    pin = None;
                    continue;
                }
                Err(failure) => return Err(CopyFault::of(Errand::Source, &failure)),
            };
            let source = CopySource::new(job.object, &head.etag);
            let new = NewObject {
                key: job.key.to_owned(),
                content_type: head.content_type.clone(),
                content_encoding: head.content_encoding.clone(),
                metadata: metadata(job.identity, self.world.wall()).to_vec(),
            };
            let copied = match CopyPlan::new(head.bytes, self.single_max) {
                CopyPlan::Whole => {
                    self.call(job, |bucket| {
                        let (source, new) = (&source, &new);
                        async move { bucket.copy(source, new).await }
                    })
                    .await
                }
                CopyPlan::Parts(plan) => self.copy_parts(job, plan, &source, &new, open).await,
            };
            match copied {
                Ok(()) => return Ok(head),
                // In the midst of its parts it is left to the next attempt, once the upload is taken back.
                Err(failure) if failure.verdict() == Verdict::Changed && open.is_none() => pin = None,
                Err(failure) => return Err(self.target_fault(job, &failure).await),
            }
        }
        Err(CopyFault { finish: Finish::Retryable, cause: "the object is overwritten again and again".to_owned() })
    }

    /// One part after the other: objects of this size are rare, and S3 has other copies to make meanwhile.
    async fn copy_parts(
        &self,
        job: Job<'_>,
        plan: PartPlan,
        source: &CopySource,
        new: &NewObject,
        open: &mut Option<Upload>,
    ) -> Result<(), Failure> {
        let upload = self.call(job, |bucket| async move { bucket.begin(new).await }).await?;
        let upload = &*open.insert(upload);
        let mut parts = Vec::new();
        for (number, bytes) in plan.parts() {
            let bytes = &bytes;
            let part =
                self.call(job, |bucket| async move { bucket.copy_part(upload, source, number, bytes).await }).await?;
            parts.push(part);
        }
        let parts = &parts;
        self.call(job, |bucket| async move { bucket.complete(upload, parts).await }).await?;
        *open = None;
        Ok(())
    }

    async fn head(&self, job: Job<'_>, pin: Option<&ETag>) -> Result<Head, Failure> {
        let mut attempts = Attempts::default();
        loop {
            let failure = match self.source.head(job.object, pin).await {
                Ok(head) => {
                    self.retries.succeeded(Service::S3);
                    return Ok(head);
                }
                Err(failure) => failure,
            };
            let delay = self.retries.next(&mut attempts, Service::S3, failure.verdict());
            let Some(delay) = delay else { return Err(failure) };
            tokio::time::sleep(delay).await;
        }
    }

    /// Makes a call to the delivery's bucket until it succeeds or there is no use in trying. The place is held during
    /// the call only: a bucket that is slow to recover keeps no other from its copies.
    async fn call<T, F>(&self, job: Job<'_>, call: impl Fn(TargetBucket) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let (delivery, cluster) = (job.delivery, &job.identity.cluster);
        let mut attempts = Attempts::default();
        loop {
            let failure = match self.credentials.bucket(delivery, cluster).await {
                Ok(bucket) => {
                    let _place = self.places.claim(delivery.tenant(), 1).await;
                    match call(bucket).await {
                        Ok(done) => {
                            self.retries.called(delivery, None).await;
                            return Ok(done);
                        }
                        Err(failure) => failure,
                    }
                }
                Err(failure) => failure,
            };
            let verdict = failure.verdict();
            let delay = self.retries.next_of(delivery, &mut attempts, verdict).await;
            let Some(delay) = delay else { return Err(failure) };
            if verdict == Verdict::RefreshCredentials {
                self.credentials.forget(delivery, cluster).await;
            }
            tokio::time::sleep(delay).await;
        }
    }

    /// What a refused copy means. S3 says "denied" for either side; so it is asked whether the writer may read the source,
    /// which is the operator's to see to.
    async fn target_fault(&self, job: Job<'_>, failure: &Failure) -> CopyFault {
        if failure.verdict() == Verdict::Denied && failure.service != Service::Sts {
            let may = self.call(job, |bucket| async move { bucket.may_read(job.object).await }).await;
            if matches!(may, Ok(false)) {
                let cause = format!("the source object may not be read by who writes the copy: {failure}");
                return CopyFault { finish: Finish::GlobalFault, cause };
            }
        }
        CopyFault::of(Errand::Bucket, failure)
    }
}
