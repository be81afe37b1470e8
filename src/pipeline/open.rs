//! The objects of a lane that are not finished: each is settled when it is read to its end, and none of its events is
//! pending any more. Then it leaves its receipt, a line in the log.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::book::Known;
use super::ledger::{Claim, Taken};
use super::run::{FAULTS_KEPT_MAX, ObjectCount};
use super::send::{Destination, SendReport};
use super::totals::Totals;
use crate::core::batch::{Origin, SegmentId, SegmentShare};
use crate::core::checkpoint::Checkpoint;
use crate::core::object::{ETag, ObjectRef, Position};
use crate::core::progress::Progress;
use crate::core::settlement::Finish;
use crate::core::tally::{Dropped, Rejected};
use crate::core::time::Tick;
use crate::world::World;

/// Checkpoints of an object before which not all is settled: of more the later ones take the last one's place. They are as
/// many batches apart as a lane has at a time.
const CHECKPOINTS_MAX: usize = 3;
/// Request ids of accepted calls that an object's receipt names.
const REQUEST_IDS_KEPT_MAX: usize = 4;

/// An object to be delivered by a lane.
#[derive(Debug)]
pub struct Job {
    /// The object.
    pub object: ObjectRef,
    /// Whether its message was received before, by whomever.
    pub again: bool,
    /// Told when it is finished.
    pub done: oneshot::Sender<JobDone>,
    /// Its message is given up: it stops before its next batch.
    pub given_up: CancellationToken,
}

/// What became of an object in a lane.
#[derive(Debug)]
pub struct JobDone {
    /// What it means for the message.
    pub finish: Finish,
    /// Why, when it was not delivered.
    pub cause: Option<String>,
    /// The tag of what was read.
    pub etag: Option<ETag>,
    /// What is settled, by this attempt and by earlier ones.
    pub progress: Progress,
    /// What it is held by in the table of progress.
    pub claim: Option<Claim>,
    /// Events accepted for the message, by earlier attempts at it too.
    pub delivered: u64,
    /// Where it may be gone on with.
    pub checkpoint: Option<Arc<Checkpoint>>,
}

/// What an object's lane does for it, for the times in its receipt. Its sends go on beside that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// It waits for memory, or for a place with the sender.
    #[default]
    Wait,
    /// It waits for bytes.
    Read,
    /// It is on a compute thread, or waits for one.
    Compute,
}

/// How long an object's lane was in each stage.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stopwatch {
    spent: [Duration; 3],
    stage: Stage,
    since: Tick,
}

impl Stopwatch {
    /// It waits since `now`.
    pub(super) fn start(now: Tick) -> Self {
        Self { since: now, ..Self::default() }
    }

    /// Goes over to a stage.
    pub(super) fn enter(&mut self, stage: Stage, now: Tick) {
        self.spent[self.stage as usize] += now.since(self.since);
        (self.stage, self.since) = (stage, now);
    }

    fn millis(&self, stage: Stage) -> u64 {
        millis(self.spent[stage as usize])
    }
}

/// An object that is not finished.
#[derive(Debug)]
struct Open {
    object: ObjectRef,
    begun: Tick,
    stages: Stopwatch,
    /// Time of the sends that had events of it, with their retries.
    sends: Duration,
    /// Accepted calls that had events of it, and the request ids of the first ones.
    batches: u64,
    request_ids: Vec<Arc<str>>,
    count: ObjectCount,
    /// How it was read; none while it is being read.
    read: Option<Finish>,
    /// Why it cannot be finished.
    failed: Option<(Finish, String)>,
    /// What else is to be said of it.
    cause: Option<String>,
    /// Whether its bytes are wrong, or end before their checksum.
    unverified: bool,
    /// Events that were accepted when it was read just before.
    delivered_before: u64,
    /// The tag of what is read.
    etag: Option<ETag>,
    /// What is settled, by this attempt and by earlier ones.
    progress: Progress,
    claim: Option<Claim>,
    /// The last place at which it may be gone on with, and later ones before which not all is settled.
    checkpoint: Option<Arc<Checkpoint>>,
    checkpoints: Vec<Arc<Checkpoint>>,
    /// Decompressed bytes before the place that was last written.
    written: u64,
    /// Accepted calls when its progress was last written.
    kept: u64,
    /// Whether others have settled events of it that are in batches here.
    overtaken: bool,
    done: Option<oneshot::Sender<JobDone>>,
    given_up: CancellationToken,
}

/// What is to be written of an object.
pub(super) struct Due {
    pub(super) claim: Claim,
    pub(super) progress: Progress,
    pub(super) checkpoint: Option<Arc<Checkpoint>>,
}

impl Open {
    /// Takes in the places that the progress has reached.
    fn advance(&mut self) {
        let next = self.progress.next().ordinal;
        while self.checkpoints.first().is_some_and(|first| first.next() <= next) {
            self.checkpoint = Some(self.checkpoints.remove(0));
        }
    }

    /// The object, with the tag of what is read.
    fn as_read(&self) -> ObjectRef {
        ObjectRef { etag: self.etag.clone().or_else(|| self.object.etag.clone()), ..self.object.clone() }
    }
}

/// The objects of a lane that are not finished, shared by its two tasks.
#[derive(Debug)]
pub(super) struct OpenObjects {
    objects: Mutex<HashMap<SegmentId, Open>>,
    to: Destination,
    totals: Arc<Totals>,
    world: World,
}

impl OpenObjects {
    pub(super) fn new(to: Destination, totals: Arc<Totals>, world: World) -> Self {
        Self { objects: Mutex::default(), to, totals, world }
    }

    /// Takes in an object that was begun at `begun`, of which so many events were delivered just before.
    pub(super) fn begin(&self, segment: SegmentId, job: Job, begun: Tick, delivered_before: u64) {
        let open = Open {
            object: job.object,
            begun,
            stages: Stopwatch::default(),
            sends: Duration::ZERO,
            batches: 0,
            request_ids: Vec::new(),
            count: ObjectCount::default(),
            read: None,
            failed: None,
            cause: None,
            unverified: false,
            delivered_before,
            etag: None,
            progress: Progress::default(),
            claim: None,
            checkpoint: None,
            checkpoints: Vec::new(),
            written: 0,
            kept: 0,
            overtaken: false,
            done: Some(job.done),
            given_up: job.given_up,
        };
        self.with(|objects| objects.insert(segment, open));
    }

    /// Has the end of this attempt told here, and gives who is to be told of the object's.
    pub(super) fn tell_here(
        &self,
        segment: SegmentId,
    ) -> Option<(oneshot::Sender<JobDone>, oneshot::Receiver<JobDone>)> {
        let (done, ended) = oneshot::channel();
        let told = self.with(|objects| objects.get_mut(&segment)?.done.replace(done));
        told.map(|told| (told, ended))
    }

    /// Books that what is delivered of an object by this attempt is not verified.
    pub(super) fn doubt(&self, segment: SegmentId) {
        self.update(segment, |open| open.unverified = true);
    }

    /// Whether records were read and none of them was good.
    pub(super) fn is_hollow(&self, segment: SegmentId) -> bool {
        self.with(|objects| {
            objects.get(&segment).is_some_and(|open| {
                let tally = &open.count.tally;
                open.count.good == 0 && tally.read() > tally.resumed_skipped()
            })
        })
    }

    /// Books which version is read, what earlier attempts have settled of it, and its claim, if it has one already.
    pub(super) fn found(&self, segment: SegmentId, etag: Option<&ETag>, progress: Progress, claim: Option<Claim>) {
        self.update(segment, |open| (open.etag, open.progress, open.claim) = (etag.cloned(), progress, claim));
    }

    /// The object that a segment is of, as it was read.
    pub(super) fn object(&self, segment: SegmentId) -> Option<ObjectRef> {
        self.with(|objects| objects.get(&segment).map(Open::as_read))
    }

    /// The object, if it must be claimed before more of it is sent: some of it was sent, and it has no claim.
    pub(super) fn unclaimed(&self, segment: SegmentId) -> Option<ObjectRef> {
        self.with(|objects| {
            let was_sent = |open: &&Open| open.batches > 0 || open.delivered_before > 0;
            let open = objects.get(&segment).filter(|open| open.claim.is_none()).filter(was_sent)?;
            Some(open.as_read())
        })
    }

    /// Books a claim, and what others have settled before it.
    pub(super) fn claimed(&self, segment: SegmentId, taken: Taken) {
        self.update(segment, |open| {
            let before = open.progress.clone();
            match &taken.known {
                Known::Finished => open.progress = Progress::all(),
                Known::Tried { progress, .. } => open.progress.merge(progress),
            }
            open.overtaken |= open.progress != before;
            open.claim = Some(taken.claim);
        });
    }

    /// What is settled of an object, if others have settled some of what is in batches here.
    pub(super) fn overtaken(&self, segment: SegmentId) -> Option<Progress> {
        self.with(|objects| objects.get(&segment).filter(|open| open.overtaken).map(|open| open.progress.clone()))
    }

    /// What is to be written of an object of which `every` batches or more were accepted since it was last written; of its
    /// places only one with as many decompressed bytes behind the one before.
    pub(super) fn due(&self, segment: SegmentId, every: u64, checkpoint_bytes: u64) -> Option<Due> {
        self.with(|objects| {
            let open = objects.get_mut(&segment).filter(|open| open.failed.is_none())?;
            let claim = open.claim.clone().filter(|_| open.batches - open.kept >= every)?;
            open.kept = open.batches;
            let far = |place: &&Arc<Checkpoint>| place.decompressed >= open.written + checkpoint_bytes;
            let checkpoint = open.checkpoint.as_ref().filter(far).cloned();
            open.written = checkpoint.as_ref().map_or(open.written, |place| place.decompressed);
            Some(Due { claim, progress: open.progress.clone(), checkpoint })
        })
    }

    /// Books that all of an object's events in a group are settled, save those that are `unsent`.
    pub(super) fn advance(&self, share: &SegmentShare, unsent: &[Origin]) {
        let of_it = unsent.iter().filter(|origin| origin.segment == share.segment);
        let unsettled = of_it.map(Origin::position);
        self.update(share.segment, |open| {
            open.progress.settle(share.end, unsettled);
            open.advance();
        });
    }

    /// Books a place at which the object may be gone on with once all before it is settled.
    pub(super) fn pass(&self, segment: SegmentId, checkpoint: Arc<Checkpoint>) {
        self.update(segment, |open| {
            open.checkpoints.truncate(CHECKPOINTS_MAX - 1);
            open.checkpoints.push(checkpoint);
            open.advance();
        });
    }

    /// Books the place at which an object is gone on with.
    pub(super) fn resumed(&self, segment: SegmentId, checkpoint: Arc<Checkpoint>) {
        self.update(segment, |open| {
            open.written = checkpoint.decompressed;
            open.checkpoint = Some(checkpoint);
        });
    }

    /// Books which events may have been accepted although they are not settled.
    pub(super) fn unanswered(&self, report: &SendReport) {
        for (segment, end) in &report.doubtful {
            self.update(*segment, |open| open.progress.doubt(*end));
        }
    }

    /// The end of the events of each segment that may have been accepted by an earlier attempt.
    pub(super) fn doubtful(&self, segments: &[SegmentId]) -> BTreeMap<SegmentId, Position> {
        self.with(|objects| {
            let of = |segment: &SegmentId| Some((*segment, objects.get(segment)?.progress.doubtful()));
            segments.iter().filter_map(of).collect()
        })
    }

    /// Books a turn.
    pub(super) fn book(&self, segment: SegmentId, turn: ObjectCount) {
        self.update(segment, |open| book(&mut open.count, turn));
    }

    /// Books what was dropped at sealing.
    pub(super) fn drop_by_time(&self, share: &SegmentShare) {
        self.update(share.segment, |open| {
            open.count.tally.drop_pending(Dropped::TooOld, share.too_old);
            open.count.tally.drop_pending(Dropped::TooNew, share.too_new);
        });
    }

    /// Books what is to be said of an object that is not lost for it.
    pub(super) fn remark(&self, segment: SegmentId, cause: String) {
        self.update(segment, |open| open.cause = Some(cause));
    }

    /// Books how an object was read, and how long that took.
    pub(super) fn read(&self, segment: SegmentId, finish: Finish, stages: Stopwatch) {
        self.update(segment, |open| (open.stages, open.read) = (stages, Some(finish)));
    }

    fn with<T>(&self, use_them: impl FnOnce(&mut HashMap<SegmentId, Open>) -> T) -> T {
        use_them(&mut self.objects.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn update(&self, segment: SegmentId, change: impl FnOnce(&mut Open)) {
        let finished = self.with(|objects| {
            let open = objects.get_mut(&segment)?;
            change(open);
            (open.read.is_some() && open.count.tally.pending() == 0).then(|| objects.remove(&segment)).flatten()
        });
        if let Some(open) = finished {
            self.finish(open);
        }
    }

    /// Whether there is no use in going on with an object: it has failed, or its message was given up.
    pub(super) fn has_failed(&self, segment: SegmentId) -> bool {
        self.with(|objects| {
            objects.get(&segment).is_none_or(|open| open.failed.is_some() || open.given_up.is_cancelled())
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.with(|objects| objects.is_empty())
    }

    /// Reports an object, and leaves its receipt: one line.
    fn finish(&self, mut open: Open) {
        let read = open.read.unwrap_or(Finish::Retryable);
        let (finish, cause) = match open.failed.take() {
            Some((finish, cause)) => (finish, Some(cause)),
            None => (read, open.cause.take()),
        };
        if open.unverified {
            open.count.tally.doubt();
        }
        let (count, stages) = (&open.count, &open.stages);
        debug_assert!(count.tally.balances(), "{}", count.tally);
        let delivery = &self.to.delivery;
        info!(
            tenant = %delivery.tenant(), object = %open.object, stream = %self.to.stream, finish = finish.name(),
            tally = %count.tally, bytes = count.bytes, batches = open.batches, first = count.first.map(|time| time.0),
            last = count.last.map(|time| time.0), ms = self.world.millis_since(open.begun),
            wait_ms = stages.millis(Stage::Wait), read_ms = stages.millis(Stage::Read),
            compute_ms = stages.millis(Stage::Compute), send_ms = millis(open.sends), request_ids = open.request_ids.join(" "), cause = cause.as_deref(),
            "object settled"
        );
        for fault in &count.faults {
            warn!(tenant = %delivery.tenant(), object = %open.object, cause = %fault, "bad record skipped");
        }
        self.totals.add(delivery.tenant().as_str(), |totals| {
            totals.objects += 1;
            totals.bytes += count.bytes;
            totals.delivered_bytes += if finish == Finish::Delivered { count.bytes } else { 0 };
            totals.tally.merge(&count.tally);
        });
        if let Some(done) = open.done.take() {
            let delivered = open.delivered_before + count.tally.delivered();
            let _is_waited_for = done.send(JobDone {
                finish,
                delivered,
                cause,
                etag: open.etag,
                progress: open.progress,
                claim: open.claim,
                // Of damage it is not known where it is.
                checkpoint: open.checkpoint.filter(|_| !open.unverified),
            });
        }
    }

    /// Books what became of a batch.
    pub(super) fn settle(&self, report: &SendReport, took: Duration) {
        for (events, billed) in &report.accepted {
            debug_assert!(*events > 0);
            self.totals.add(self.to.delivery.tenant().as_str(), |totals| {
                totals.batches += 1;
                totals.billed_bytes += billed;
            });
        }
        for (segment, outcome) in &report.settled {
            self.update(*segment, |open| {
                let tally = &mut open.count.tally;
                tally.deliver(outcome.delivered);
                tally.duplicate(outcome.possibly_duplicated);
                for reason in Rejected::ALL {
                    tally.reject(reason, outcome.rejected[reason as usize]);
                }
                open.sends += took;
                open.batches += u64::try_from(outcome.calls.len()).unwrap_or(u64::MAX);
                let room = REQUEST_IDS_KEPT_MAX - open.request_ids.len();
                open.request_ids.extend(outcome.calls.iter().flatten().take(room).cloned());
            });
        }
        let (finish, cause) = match &report.failed {
            Some(fault) => (fault.finish, fault.to_string()),
            None => (Finish::Retryable, String::new()),
        };
        for (segment, events) in by_segment(&report.settled_before) {
            self.update(segment, |open| open.count.tally.skip_pending(events));
        }
        for (segment, events) in by_segment(&report.unsent) {
            if !report.settled.contains_key(&segment) {
                self.update(segment, |open| open.sends += took);
            }
            self.fail(segment, finish, &cause, events);
        }
    }

    /// Books events that this attempt does not deliver, and says why.
    pub(super) fn fail(&self, segment: SegmentId, finish: Finish, cause: &str, events: u64) {
        self.update(segment, |open| {
            let first = open.failed.as_ref().map_or(finish, |(first, _)| *first);
            if first == Finish::Superseded {
                open.count.tally.supersede(events);
            } else {
                open.count.tally.forget(events);
            }
            open.failed.get_or_insert_with(|| (finish, cause.to_owned()));
        });
    }
}

/// Events of each segment.
fn by_segment(origins: &[Origin]) -> BTreeMap<SegmentId, u64> {
    let mut events = BTreeMap::new();
    for origin in origins {
        *events.entry(origin.segment).or_default() += 1;
    }
    events
}

/// Adds a turn's counts.
fn book(count: &mut ObjectCount, turn: ObjectCount) {
    count.tally.merge(&turn.tally);
    count.good += turn.good;
    count.bytes += turn.bytes;
    let room = FAULTS_KEPT_MAX.saturating_sub(count.faults.len());
    count.faults.extend(turn.faults.into_iter().take(room));
    count.first = [count.first, turn.first].into_iter().flatten().min();
    count.last = [count.last, turn.last].into_iter().flatten().max();
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_moment_belongs_to_one_stage() {
        let at = |millis: u64| Tick(millis * 1_000_000);
        let mut watch = Stopwatch::start(at(100));
        for (stage, now) in
            [(Stage::Read, 103), (Stage::Compute, 110), (Stage::Compute, 115), (Stage::Read, 120), (Stage::Wait, 140)]
        {
            watch.enter(stage, at(now));
        }
        let spent = [Stage::Wait, Stage::Read, Stage::Compute].map(|stage| watch.millis(stage));
        assert_eq!(spent, [3, 7 + 20, 10]);
    }
}
