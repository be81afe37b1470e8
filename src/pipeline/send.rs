//! One batch → accepted, event by event; or a failure that ends its objects' attempt.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tracing::{info, warn};

use super::compute::Packing;
use super::credentials::Credentials;
use super::rejects::{Kept, RejectStore, Why};
use super::retries::Retries;
use super::share::Pool;
use crate::aws::logs::{Accepted, LogGroup, RequestBody};
use crate::core::batch::{Batch, Origin, SegmentId};
use crate::core::errand::Errand;
use crate::core::failure::{Attempts, Failure, FailureKind, Verdict};
use crate::core::object::Position;
use crate::core::settlement::Finish;
use crate::core::tally::Rejected;
use crate::core::tenant::{ClusterId, Delivery};
use crate::world::World;

/// Calls in flight over all lanes, and so connections to CloudWatch Logs.
pub const SENDS_MAX: u64 = 64;
/// Events of one batch that are refused one by one, and none accepted, before it is taken to be no event's fault.
const REFUSED_ALONE_MAX: usize = 16;
/// How often a stream that was just created is tried again while the service does not see it yet.
const CREATIONS_MAX: u32 = 4;
/// Wait between these tries.
const CREATED_DELAY: Duration = Duration::from_millis(150);

/// What senders share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sends {
    /// Tenants' log groups.
    pub credentials: Credentials,
    /// How often a batch is tried.
    pub retries: Retries,
    /// Times and chance.
    pub world: World,
    /// Places for calls.
    pub places: Pool,
    /// Keeps what is not taken, if that is wanted.
    pub rejects: Option<RejectStore>,
    /// Whether batches come packed.
    pub packing: Packing,
}

/// Where a lane's batches go.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Whose logs they are and where they go.
    pub delivery: Arc<Delivery>,
    /// The cluster that they came from.
    pub cluster: ClusterId,
    /// The log stream.
    pub stream: Arc<str>,
}

/// What became of a segment's events in a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Accepted.
    pub delivered: u64,
    /// Not kept, by reason.
    pub rejected: [u64; Rejected::ALL.len()],
    /// Of the accepted, those that may have been accepted before.
    pub possibly_duplicated: u64,
    /// The accepted calls that they were in: one, or more of a batch that was halved. Each by its request id, if the answer
    /// had one.
    pub calls: Vec<Option<Arc<str>>>,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct SendReport {
    /// Per segment, what is settled.
    pub settled: BTreeMap<SegmentId, Outcome>,
    /// Why the rest is not, if it was tried.
    pub failed: Option<SendFault>,
    /// The rest.
    pub unsent: Vec<Origin>,
    /// Events that were not sent, because another attempt had settled them.
    pub settled_before: Vec<Origin>,
    /// Of the rest, the end of each segment's events that may have been accepted, because an answer was lost.
    pub doubtful: BTreeMap<SegmentId, Position>,
    /// Events to be kept that were not taken.
    pub(super) kept: Vec<Kept>,
    /// Events that were refused alone, while no other was accepted.
    refused: Vec<Origin>,
    /// Calls of PutLogEvents that were accepted, with their events and counted bytes.
    pub accepted: Vec<(u64, u64)>,
}

/// Why a batch could not be sent.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{failure}")]
pub struct SendFault {
    /// What it means for the message.
    pub finish: Finish,
    /// The last failure.
    pub failure: Failure,
}

impl Sends {
    /// Sends a batch until each of its events is settled, halving it when it is refused. `before`: the end of each segment's
    /// events that may have been accepted in an earlier attempt.
    pub async fn send(&self, to: &Destination, batch: Batch, before: &BTreeMap<SegmentId, Position>) -> SendReport {
        let mut report = SendReport::default();
        // With each, whether the answer to a call with its events was lost.
        let mut waiting = vec![(batch, false)];
        let mut refused_packed = false;
        while let Some((mut batch, mut doubtful)) = waiting.pop() {
            let was_refused_packed = std::mem::take(&mut refused_packed);
            let (sha256, packed) = (batch.sha256(), batch.is_packed());
            let body = RequestBody { bytes: Bytes::from_owner(batch.take_body()), sha256, packed };
            match self.put(to, &body, &mut doubtful).await {
                Ok(accepted) => {
                    let may_be_twice = |origin: &Origin| {
                        doubtful || before.get(&origin.segment).is_some_and(|end| origin.position() < *end)
                    };
                    if was_refused_packed && self.packing.stop() {
                        warn!(
                            tenant = %to.delivery.tenant(),
                            "a batch was refused compressed and then taken as it is: none is compressed any more; set COMPRESS=off"
                        );
                    }
                    let rejected = report.accept(&batch, accepted, may_be_twice);
                    if self.rejects.is_some() && !rejected.is_empty() {
                        batch.restore_body(Vec::from(body.bytes));
                        report.kept.push(Kept { batch, events: rejected });
                    }
                }
                Err(failure) if failure.verdict() == Verdict::Bisect => {
                    batch.restore_body(Vec::from(body.bytes));
                    if packed {
                        // Perhaps it is only that which is not taken.
                        refused_packed = true;
                        waiting.push((batch, doubtful));
                        continue;
                    }
                    match batch.bisect() {
                        Some((left, right)) => waiting.extend([(right, doubtful), (left, doubtful)]),
                        None => {
                            report.refuse(&batch, to, &failure);
                            if self.rejects.is_some() {
                                let events = vec![(0, Why::Rejected(Rejected::Refused))];
                                report.kept.push(Kept { batch, events });
                            }
                        }
                    }
                    if report.refused.len() >= REFUSED_ALONE_MAX {
                        report.take_back();
                        report.fail(SendFault { finish: Finish::TenantDenied, failure }, &waiting);
                        break;
                    }
                }
                Err(failure) => {
                    waiting.push((batch, doubtful));
                    report.fail(SendFault { finish: Errand::LogGroup.finish(&failure), failure }, &waiting);
                    break;
                }
            }
        }
        report
    }

    /// Sends a body until it is accepted or there is no use in trying. `doubtful` is set when an answer was lost.
    async fn put(&self, to: &Destination, body: &RequestBody, doubtful: &mut bool) -> Result<Accepted, Failure> {
        let mut attempts = Attempts::default();
        let mut creations = 0;
        loop {
            let failure = match self.credentials.log_group(&to.delivery, &to.cluster).await {
                Ok(group) => match Box::pin(self.call(to, &group, body)).await {
                    Ok(accepted) => return Ok(accepted),
                    Err(failure) if failure.verdict() == Verdict::Exists => return Ok(Accepted::default()),
                    Err(failure) if failure.verdict() == Verdict::Create && creations < CREATIONS_MAX => {
                        if creations > 0 {
                            tokio::time::sleep(CREATED_DELAY * creations).await;
                        }
                        creations += 1;
                        match self.create(to, &group).await {
                            Ok(()) => continue,
                            Err(failure) => failure,
                        }
                    }
                    Err(failure) => failure,
                },
                Err(failure) => failure,
            };
            *doubtful |= failure.operation == "PutLogEvents"
                && matches!(failure.kind, FailureKind::Timeout | FailureKind::Connection);
            let verdict = failure.verdict();
            let delay = self.retries.next_of(&to.delivery, &mut attempts, verdict).await;
            let Some(delay) = delay else { return Err(failure) };
            if verdict == Verdict::RefreshCredentials {
                self.credentials.forget(&to.delivery, &to.cluster).await;
            }
            tokio::time::sleep(delay).await;
        }
    }

    async fn call(&self, to: &Destination, group: &LogGroup, body: &RequestBody) -> Result<Accepted, Failure> {
        self.retries.place(&to.delivery).await?;
        let done = {
            let _place = self.places.claim(to.delivery.tenant(), 1).await;
            group.put(body.clone()).await
        };
        self.retries.called(&to.delivery, done.as_ref().err().map(Failure::verdict)).await;
        done
    }

    async fn create(&self, to: &Destination, group: &LogGroup) -> Result<(), Failure> {
        let _place = self.places.claim(to.delivery.tenant(), 1).await;
        Box::pin(create(group, to)).await
    }
}

/// Creates the stream; and the group, when that is what is missing.
async fn create(group: &LogGroup, to: &Destination) -> Result<(), Failure> {
    match exists(group.create_stream(&to.stream).await) {
        Err(failure) if failure.verdict() == Verdict::Create => {}
        settled => return settled,
    }
    match group.create_group().await {
        Ok(()) => {
            info!(tenant = %to.delivery.tenant(), "log group created");
            // A group without its retention still takes events; whoever may not set it is told once.
            if let Err(failure) = group.put_retention().await {
                warn!(tenant = %to.delivery.tenant(), cause = %failure, "retention of a new log group not set");
            }
        }
        Err(failure) => exists(Err(failure))?,
    }
    exists(group.create_stream(&to.stream).await)
}

fn exists(result: Result<(), Failure>) -> Result<(), Failure> {
    match result {
        Err(failure) if failure.verdict() == Verdict::Exists => Ok(()),
        other => other,
    }
}

impl SendReport {
    /// Events that were not tried, and those that another attempt had settled.
    #[must_use]
    pub fn left_out(unsent: Vec<Origin>, settled_before: Vec<Origin>) -> Self {
        Self { unsent, settled_before, ..Self::default() }
    }

    /// Takes the refusals back: when so many events are refused one by one and none is accepted, something else must be
    /// wrong, the group or the stream.
    fn take_back(&mut self) {
        self.settled.clear();
        self.kept.clear();
        self.unsent.append(&mut self.refused);
    }

    fn fail(&mut self, fault: SendFault, left: &[(Batch, bool)]) {
        self.failed = Some(fault);
        self.unsent.extend(left.iter().flat_map(|(batch, _)| batch.origins()));
        for origin in left.iter().filter(|(_, doubtful)| *doubtful).flat_map(|(batch, _)| batch.origins()) {
            let (end, at) = (self.doubtful.entry(origin.segment).or_default(), origin.position());
            *end = Position { part: at.part.saturating_add(1), ..at }.max(*end);
        }
    }

    /// Books an accepted batch. Gives the events that were not kept, by their places.
    fn accept(
        &mut self,
        batch: &Batch,
        accepted: Accepted,
        may_be_twice: impl Fn(&Origin) -> bool,
    ) -> Vec<(usize, Why)> {
        let mut not_kept = Vec::new();
        for (at, (origin, reason)) in batch.outcomes(accepted.rejected).enumerate() {
            let outcome = self.settled.entry(origin.segment).or_default();
            match reason {
                Some(reason) => {
                    outcome.rejected[reason as usize] += 1;
                    not_kept.push((at, Why::Rejected(reason)));
                }
                None => {
                    outcome.delivered += 1;
                    outcome.possibly_duplicated += u64::from(may_be_twice(&origin));
                }
            }
        }
        self.refused.clear();
        let request_id = accepted.request_id.map(Arc::<str>::from);
        // Neighbours mostly share their segment.
        let mut last = None;
        let segments =
            batch.origins().map(|origin| origin.segment).filter(|segment| last.replace(*segment) != Some(*segment));
        for segment in segments.collect::<BTreeSet<SegmentId>>() {
            self.settled.entry(segment).or_default().calls.push(request_id.clone());
        }
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        self.accepted.push((count(batch.events()), count(batch.billed_bytes())));
        not_kept
    }

    /// Books that events could not be kept that were not taken: they are tried again.
    pub(super) fn not_kept(&mut self, events: &[(Origin, Why)], fault: SendFault) {
        for (origin, why) in events {
            if let (Why::Rejected(reason), Some(outcome)) = (why, self.settled.get_mut(&origin.segment)) {
                outcome.rejected[*reason as usize] -= 1;
            }
            self.unsent.push(*origin);
        }
        self.failed.get_or_insert(fault);
    }

    fn refuse(&mut self, batch: &Batch, to: &Destination, failure: &Failure) {
        for origin in batch.origins() {
            warn!(
                tenant = %to.delivery.tenant(), stream = %to.stream, ordinal = %origin.ordinal, cause = %failure,
                "event refused by the API; it was dropped"
            );
            self.settled.entry(origin.segment).or_default().rejected[Rejected::Refused as usize] += 1;
            if self.accepted.is_empty() {
                self.refused.push(origin);
            }
        }
    }
}
