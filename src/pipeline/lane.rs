//! A lane: the one way of all events for one (delivery, cluster, log stream), so that they keep their order.
//!
//! A lane is two tasks. The **filler** takes one object after the other, has the compute threads turn its bytes into sealed
//! groups, and waits while the sender has enough. The **sender** sends one batch at a time. What they share is the table of
//! open objects: an object is finished when it is read to its end and none of its events is pending any more.
//!
//! What a filler may wait for, and what it holds meanwhile: memory for an object (its lingering batch is sealed first when
//! that takes longer), bytes of the object, a turn on a compute thread, memory for a batch (only with no batch open), a
//! place with the sender. The sender waits for calls alone. So a lane whose tenant accepts nothing stops by itself, holding
//! no more than its share of memory and no thread.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::book::{Book, Known};
use super::budget::{Budget, CARRY_BYTES_MAX, LaneBudget, Permit};
use super::compute::Compute;
use super::early::Given;
use super::ledger::{Claim, Ledger};
use super::machine::{Machine, Rest};
use super::open::{Job, JobDone, OpenObjects, Stage, Stopwatch};
use super::read::{Chunk, ReadFault, Reads};
use super::send::{Destination, Sends};
use super::sender::{Passed, Sender};
use super::source::{Before, ReadEnd, Source, Then};
use super::totals::Totals;
use crate::core::batch::{BatchLimits, Batcher, SegmentId, SendWindow};
use crate::core::checkpoint::Checkpoint;
use crate::core::decode::DecodeFault;
use crate::core::object::ObjectRef;
use crate::core::progress::Progress;
use crate::core::settlement::Finish;
use crate::core::tenant::{DeliveryKey, Target};
use crate::core::time::UnixMillis;

/// Sealed groups that wait for the sender; one more is being sent, and one is being filled.
const GROUPS_WAITING_MAX: usize = 1;
/// Time that a lane waits before it lets go of the object that it reads.
const PAUSE_AFTER: Duration = Duration::from_secs(1);
/// A lane without work ends after this time.
const IDLE: Duration = Duration::from_secs(10);

/// What lanes share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lanes {
    /// Reads objects.
    pub reads: Reads,
    /// Runs machines.
    pub compute: Compute,
    /// Sends batches.
    pub sends: Sends,
    /// Memory.
    pub budget: Budget,
    /// Bounds of batches.
    pub limits: BatchLimits,
    /// Bytes of the longest record.
    pub record_bytes_max: usize,
    /// How long a batch waits for more events once its lane is dry.
    pub linger: Duration,
    /// Set when the process is to end: nothing lingers any more.
    pub drain: CancellationToken,
    /// What earlier attempts have settled.
    pub book: Book,
    /// The same beyond this process.
    pub ledger: Ledger,
    /// Sums over all lanes.
    pub totals: Arc<Totals>,
}

/// Starts a lane's two tasks. It ends when its `jobs` are closed and done; `idle` is called to close them.
pub fn start(
    lanes: Lanes,
    to: Destination,
    number: u64,
    jobs: mpsc::Receiver<Job>,
    idle: impl Fn() -> bool + Send + Sync + 'static,
) {
    let Target::CloudWatch(target) = to.delivery.target() else {
        // Nothing but log groups is served by lanes; the caller asked for one by mistake, and its jobs are dropped.
        debug_assert!(false, "a lane needs a log group");
        return;
    };
    let batcher = Batcher::new(lanes.limits, &target.log_group, &to.stream);
    let budget = Arc::new(lanes.budget.lane(to.delivery.tenant(), number));
    let (to_sender, groups) = mpsc::channel(GROUPS_WAITING_MAX);
    let open = Arc::new(OpenObjects::new(to.clone(), Arc::clone(&lanes.totals), lanes.reads.world));
    let tracker = lanes.reads.tracker.clone();
    let delivery = to.delivery.key().clone();
    let sender = Sender {
        sends: lanes.sends.clone(),
        ledger: lanes.ledger.clone(),
        to,
        delivery: delivery.clone(),
        open: Arc::clone(&open),
    };
    tracker.spawn(sender.run(groups));
    let filler = Filler {
        machine: Some(Box::new(
            Machine::new(batcher, lanes.record_bytes_max).with_checkpoints(lanes.ledger.spacing.made),
        )),
        lanes,
        budget,
        to_sender,
        open,
        delivery,
        segments: 0,
    };
    tracker.spawn(filler.run(jobs, idle));
}

struct Filler {
    lanes: Lanes,
    machine: Option<Box<Machine>>,
    budget: Arc<LaneBudget>,
    to_sender: mpsc::Sender<Passed>,
    open: Arc<OpenObjects>,
    delivery: DeliveryKey,
    segments: u64,
}

/// The compute threads have ended: the lane cannot go on.
struct Broken;

impl Filler {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>, idle: impl Fn() -> bool) {
        loop {
            let job = match jobs.try_recv() {
                Ok(job) => Some(job),
                Err(mpsc::error::TryRecvError::Empty) => self.wait_for_job(&mut jobs, &idle).await,
                Err(mpsc::error::TryRecvError::Disconnected) => None,
            };
            let Some(job) = job else { break };
            if self.serve(job).await.is_err() {
                // The objects' reports are dropped with the lane, which hands their messages back.
                return;
            }
        }
        self.seal().await;
    }

    /// Waits for a job while the open batch lingers. `None` when there will be no more.
    async fn wait_for_job(&mut self, jobs: &mut mpsc::Receiver<Job>, idle: &impl Fn() -> bool) -> Option<Job> {
        if let Some(pressed) = self.linger() {
            let job = tokio::select! {
                biased;
                job = jobs.recv() => Some(job),
                () = tokio::time::sleep(self.lanes.linger) => None,
                () = pressed.notified() => None,
                () = self.lanes.drain.cancelled() => None,
            };
            self.budget.busy();
            match job {
                Some(job) => return job,
                None => self.seal().await,
            }
        }
        loop {
            tokio::select! {
                biased;
                job = jobs.recv() => return job,
                () = tokio::time::sleep(IDLE) => {}
            }
            // While something of it is on its way, a second lane for the stream would overtake it.
            if self.open.is_empty() && idle() {
                // Nobody can send any more: what was sent just before is still served.
                jobs.close();
                return jobs.recv().await;
            }
        }
    }

    /// Says that the open batch, if there is one, may be sealed when others need what it holds. Gives what tells of that.
    fn linger(&self) -> Option<Arc<Notify>> {
        let machine = self.machine.as_ref().filter(|machine| machine.open_bytes() > 0)?;
        Some(self.budget.linger((machine.open_bytes(), machine.filled_bytes())))
    }

    fn send_window(&self) -> SendWindow {
        SendWindow::at(self.lanes.reads.world.wall())
    }

    /// Seals the open batch and gives it to the sender.
    async fn seal(&mut self) {
        let window = self.send_window();
        let Some(machine) = &mut self.machine else { return };
        machine.seal(window);
        self.pass_on(&mut Source::default()).await;
    }

    /// Gives the sealed group to the sender, waiting for a place.
    async fn pass_on(&mut self, source: &mut Source) {
        let Some(group) = self.machine.as_mut().and_then(|machine| machine.take_sealed()) else { return };
        if group.sealed.batches.is_empty() && group.sealed.dropped.is_empty() {
            group.sealed.shares.iter().for_each(|share| self.open.drop_by_time(share));
            return;
        }
        let to_sender = self.to_sender.clone();
        // It is finished while the machine goes on and the sender is busy with the one before.
        let passed = Passed::new(group, &self.lanes.compute, self.budget.tenant());
        // The sender lives as long as this task.
        let _sender_is_gone = self.patiently(source, async move { to_sender.send(passed).await }).await;
    }

    /// Waits for something that may take long. When it does, the object that is being read is let go of, if it is read
    /// again easily: a lane that is stuck holds nothing that others could use.
    async fn patiently<T>(&mut self, source: &mut Source, waits: impl Future<Output = T>) -> T {
        tokio::pin!(waits);
        tokio::select! {
            biased;
            done = &mut waits => return done,
            () = tokio::time::sleep(PAUSE_AFTER) => {}
        }
        if source.reading.is_some() && self.machine.as_mut().is_some_and(|machine| machine.pause()) {
            (source.reading, source.reserve) = (None, None);
            source.from = self.machine.as_ref().map_or(0, |machine| machine.from());
        }
        waits.await
    }

    /// Waits for the memory of an object; the open batch does not linger longer than it may meanwhile, and not at all when
    /// others need what it holds.
    async fn admit(&mut self, size: Option<u64>, decoder_window: u64) -> Permit {
        let budget = Arc::clone(&self.budget);
        if let Some(permit) = budget.try_admit(size, decoder_window) {
            return permit;
        }
        let admit = budget.admit(size, decoder_window);
        let Some(pressed) = self.linger() else { return admit.await };
        tokio::pin!(admit);
        let permit = tokio::select! {
            biased;
            permit = &mut admit => Some(permit),
            () = tokio::time::sleep(self.lanes.linger.min(PAUSE_AFTER)) => None,
            () = pressed.notified() => None,
        };
        self.budget.busy();
        if let Some(permit) = permit {
            return permit;
        }
        self.seal().await;
        admit.await
    }

    /// Delivers one object: reads it to its end, or to where it fails. What may have been damaged on its way is read once
    /// more, and of what was overwritten meanwhile the successor.
    async fn serve(&mut self, job: Job) -> Result<(), Broken> {
        let mut next = Some((job, Before::default()));
        while let Some((job, before)) = next.take() {
            next = self.attempt(job, before).await?;
        }
        Ok(())
    }

    /// Reads an object once. Gives its job back with what is settled, if it is to be read again.
    async fn attempt(&mut self, job: Job, before: Before) -> Result<Option<(Job, Before)>, Broken> {
        if job.given_up.is_cancelled() {
            let Before { etag, known: (progress, claim), delivered, .. } = before;
            let (finish, cause) = (Finish::Retryable, None);
            let done = JobDone { finish, cause, etag, progress, claim, delivered, checkpoint: None };
            let _is_waited_for = job.done.send(done);
            return Ok(None);
        }
        self.segments += 1;
        let segment = SegmentId(self.segments);
        let begun = self.lanes.reads.world.now();
        let mut source = Source { size: job.object.size, watch: Stopwatch::start(begun), ..Source::default() };
        source.reserve = Some(self.admit(source.size, source.window).await);
        // Only what was read is read again; a successor is whatever there is now.
        source.etag = before.etag.clone().filter(|_| before.then == Some(Then::Again));
        let (object, again, given_up) = (job.object.clone(), job.again, job.given_up.clone());
        self.open.begin(segment, job, begun, before.delivered);
        if before.then.is_some() {
            // It stays known, also when nothing can be read now.
            let (progress, claim) = before.known.clone();
            self.open.found(segment, before.etag.as_ref(), progress, claim);
        }
        let end = self.read(segment, &object, (again, &before), &mut source).await?;
        self.enter(&mut source, Stage::Wait);
        let stages = source.watch;
        drop(source);
        let failed = self.open.has_failed(segment);
        let then = end.then(&before).filter(|_| !failed);
        let told = then.and_then(|then| Some((then, self.open.tell_here(segment)?)));
        let (finish, cause) = match &told {
            Some(((_, finish), _)) => (*finish, end.finish().1),
            None => end.finish(),
        };
        if end.is_unverified() {
            self.open.doubt(segment);
        }
        // What stands before a cut is whole; but nothing is sent any more of bytes that are known to be wrong, or may be.
        let keeps = told.is_none() && matches!(end, ReadEnd::Whole | ReadEnd::Before | ReadEnd::Cut(_)) && !failed;
        let abandoned = if keeps { 0 } else { self.machine.as_mut().map_or(0, |machine| machine.abandon(segment)) };
        match cause {
            Some(cause) if keeps => self.open.remark(segment, cause),
            Some(cause) => self.open.fail(segment, finish, &cause, abandoned),
            // Read to its end, but not sent: it has failed, or its message was given up.
            None if abandoned > 0 => self.open.fail(segment, Finish::Retryable, "", abandoned),
            None => {}
        }
        self.open.read(segment, finish, stages);
        let Some(((then, _), (done, ended))) = told else { return Ok(None) };
        // The sender lives as long as this task, and ends each batch.
        let Ok(JobDone { etag, progress, claim, delivered, .. }) = ended.await else { return Ok(None) };
        let attempts = before.attempts + 1;
        let before = Before { then: Some(then), etag, known: (progress, claim), delivered, attempts };
        Ok(Some((Job { object, again, done, given_up }, before)))
    }

    fn enter(&self, source: &mut Source, stage: Stage) {
        source.watch.enter(stage, self.lanes.reads.world.now());
    }

    /// Gives the machine memory that it waited for. If the object was let go of meanwhile, its reserve comes first: when
    /// that is not free either, the machine asks anew in its turn.
    fn hand(&mut self, source: &mut Source, give: impl FnOnce(&mut Machine)) {
        if source.reading.is_none() {
            source.reserve = self.budget.try_admit(source.size, source.window);
        }
        if let Some(machine) = self.machine.as_mut().filter(|_| source.reserve.is_some()) {
            give(machine);
        }
    }

    /// Gives the machine the next bytes.
    async fn feed(&mut self, source: &mut Source) -> Result<(), ReadFault> {
        let (Some(reading), Some(machine)) = (&mut source.reading, &mut self.machine) else { return Ok(()) };
        match reading.next().await {
            Given::Pieces(pieces, last) => {
                pieces.into_iter().for_each(|piece| machine.push_piece(piece));
                if last {
                    machine.end_of_input();
                }
            }
            Given::Chunk(Chunk::Bytes(bytes)) => machine.push(bytes),
            Given::Chunk(Chunk::Last(bytes)) => {
                machine.push(bytes);
                machine.end_of_input();
            }
            Given::Chunk(Chunk::End) => machine.end_of_input(),
            Given::Chunk(Chunk::Failed(fault)) => return Err(fault),
        }
        Ok(())
    }

    /// Begins to read an object, with memory for all that it needs.
    async fn reopen(&mut self, object: &ObjectRef, source: &mut Source) -> Result<(), ReadFault> {
        loop {
            if source.reserve.is_none() {
                self.enter(source, Stage::Wait);
                source.reserve = Some(self.admit(source.size, source.window).await);
            }
            self.enter(source, Stage::Read);
            // In a box, as all calls of the SDK are whose callers are many: a lane or a message then costs little while it
            // makes none.
            let reading =
                Box::pin(self.lanes.reads.open(object, source.from, source.etag.as_ref(), &self.budget)).await?;
            // What a notification says of an object's size is not always true of what is there now.
            if source.reserve.as_ref().is_some_and(|reserve| LaneBudget::is_enough(reserve, reading.stored_bytes)) {
                source.etag.clone_from(&reading.etag);
                source.reading = Some(reading.into());
                return Ok(());
            }
            source.size = Some(reading.stored_bytes);
            drop(reading);
            source.reserve = None;
        }
    }

    /// What earlier attempts have settled of what is read; with its claim, if it may be that others have tried it too.
    async fn settled(&self, read: &ObjectRef, again: bool) -> Result<(Progress, Option<Claim>), ReadEnd> {
        let mut known = self.lanes.book.find(read, &self.delivery);
        let mut claim = None;
        if (again || self.lanes.ledger.small_too)
            && known != Some(Known::Finished)
            && let Some(taken) =
                Box::pin(self.lanes.ledger.claim(read, &self.delivery)).await.map_err(ReadEnd::Ledger)?
        {
            let theirs = match (taken.known, known) {
                (Known::Tried { progress: theirs, strikes }, Some(Known::Tried { progress: mine, .. })) => {
                    let mut progress = Progress::clone(&theirs);
                    progress.merge(&mine);
                    Known::Tried { progress: progress.into(), strikes }
                }
                (theirs, _) => theirs,
            };
            self.lanes.book.learn(read, &self.delivery, theirs.clone());
            (known, claim) = (Some(theirs), Some(taken.claim));
        }
        match known {
            // The successor of the one that was told of, whose own notification was faster; or another replica was.
            Some(Known::Finished) => Err(ReadEnd::Before),
            Some(Known::Tried { strikes, .. }) if claim.is_some() && strikes >= self.lanes.ledger.strikes_max => {
                Err(ReadEnd::Poison(strikes))
            }
            Some(Known::Tried { progress, .. }) => Ok((Progress::clone(&progress), claim)),
            None => Ok((Progress::default(), claim)),
        }
    }

    /// Where an object that was tried before may be gone on with. It is not known yet what is settled.
    async fn checkpoint(&self, object: &ObjectRef, again: bool) -> Option<Arc<Checkpoint>> {
        let ledger = &self.lanes.ledger;
        // A small one has been read again sooner than a place in it is found.
        if !again || object.size.is_some_and(|size| size < ledger.spacing.least) {
            return None;
        }
        match self.lanes.book.checkpoint(object, &self.delivery) {
            Some(checkpoint) => Some(checkpoint),
            None => Box::pin(ledger.checkpoint(object, &self.delivery)).await.map(Arc::new),
        }
    }

    /// Has an object's bytes turned into groups.
    async fn read(
        &mut self,
        segment: SegmentId,
        object: &ObjectRef,
        (again, before): (bool, &Before),
        source: &mut Source,
    ) -> Result<ReadEnd, Broken> {
        // What may have been damaged on its way is read anew.
        let checkpoint = self.checkpoint(object, again && before.then.is_none()).await;
        source.from = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.mark.stored());
        if let Err(fault) = self.reopen(object, source).await {
            return Ok(ReadEnd::Fault(fault));
        }
        let read = ObjectRef { etag: source.etag.clone(), ..object.clone() };
        let is_same = before.then.is_some() && before.etag == source.etag;
        let (settled, claim) = if is_same {
            before.known.clone()
        } else {
            match self.settled(&read, again).await {
                Ok(found) => found,
                Err(end) => return Ok(end),
            }
        };
        self.open.found(segment, source.etag.as_ref(), settled.clone(), claim);
        // It is of another version, or others know of less.
        let is_of_it = object.version.is_some() || object.etag == source.etag;
        let checkpoint = checkpoint.filter(|it| is_of_it && it.next() <= settled.next().ordinal);
        if checkpoint.is_none() && source.from > 0 {
            (source.from, source.reading) = (0, None);
            if let Err(fault) = self.reopen(object, source).await {
                return Ok(ReadEnd::Fault(fault));
            }
        }
        let (modified, stored_bytes) = source
            .reading
            .as_ref()
            .map_or((UnixMillis(0), 0), |stream| (stream.reading.modified, stream.reading.stored_bytes));
        let Some(machine) = &mut self.machine else { return Err(Broken) };
        machine.begin(segment, stored_bytes, modified, settled);
        if let Some(checkpoint) = checkpoint {
            machine.resume(Arc::clone(&checkpoint));
            self.open.resumed(segment, checkpoint);
        }
        let mut window = self.send_window();
        // Bytes are there already: a small object is done in one turn.
        let (mut rest, mut empty) = (Rest::Input, true);
        let outcome = loop {
            let budget = Arc::clone(&self.budget);
            self.enter(source, if rest == Rest::Input { Stage::Read } else { Stage::Wait });
            match rest {
                Rest::Turn => {}
                Rest::Input => {
                    if let Err(fault) = self.feed(source).await {
                        break ReadEnd::Fault(fault);
                    }
                }
                Rest::Sealed => {
                    self.pass_on(source).await;
                    window = self.send_window();
                    if self.open.has_failed(segment) {
                        break ReadEnd::SendFailed;
                    }
                }
                Rest::Carry | Rest::BigRecord if !empty => self.pass_on(source).await,
                Rest::Growth(bytes) => {
                    let permit = self.patiently(source, async move { budget.grow(bytes).await }).await;
                    self.hand(source, |machine| machine.grow(permit));
                }
                Rest::Carry => {
                    let carry = usize::try_from(CARRY_BYTES_MAX).unwrap_or(usize::MAX);
                    let permit = self.patiently(source, async move { budget.carry().await }).await;
                    self.hand(source, |machine| machine.lengthen(permit, carry));
                }
                Rest::BigRecord => {
                    let most = self.lanes.record_bytes_max;
                    let permit = self.patiently(source, async move { budget.big_record().await }).await;
                    self.hand(source, |machine| machine.lengthen(permit, most));
                }
                Rest::ObjectEnd(Err(DecodeFault::Window { bytes, .. })) => {
                    if let Some(machine) = &mut self.machine {
                        machine.widen(bytes);
                        // Memory for an object is of an earlier class than that of a batch.
                        machine.seal(window);
                    }
                    (source.reading, source.reserve, source.window, source.from) = (None, None, bytes, 0);
                    self.pass_on(source).await;
                    window = self.send_window();
                    if self.open.has_failed(segment) {
                        break ReadEnd::SendFailed;
                    }
                }
                Rest::ObjectEnd(Ok(())) => break ReadEnd::Whole,
                Rest::ObjectEnd(Err(fault @ DecodeFault::Truncated { .. })) => break ReadEnd::Cut(fault),
                Rest::ObjectEnd(Err(fault @ DecodeFault::Damaged { .. })) => break ReadEnd::Damaged(fault),
            }
            // Whatever a pause let go of is taken up again first. A batch that is open is sealed if that takes long.
            if source.reading.is_none()
                && let Err(fault) = self.reopen(object, source).await
            {
                break ReadEnd::Fault(fault);
            }
            self.enter(source, Stage::Compute);
            let Some(machine) = self.machine.take() else { return Err(Broken) };
            let (compute, reading) = (&self.lanes.compute, &mut source.reading);
            let ahead = async {
                if let Some(reading) = reading {
                    reading.look_ahead(compute, &self.budget);
                }
            };
            let (turned, ()) = tokio::join!(biased; compute.run(machine, &self.budget, window), ahead);
            let Ok((mut machine, rests)) = turned else { return Err(Broken) };
            self.open.book(segment, machine.take_count());
            if let Some(checkpoint) = machine.take_checkpoint()
                && checkpoint.mark.stored() >= self.lanes.ledger.spacing.least
            {
                self.open.pass(segment, checkpoint);
            }
            empty = machine.open_bytes() == 0;
            if matches!(rests, Rest::Carry | Rest::BigRecord) && !empty {
                // A wait for a carry may be long: nothing of a later class is held meanwhile.
                machine.seal(window);
            }
            rest = rests;
            self.machine = Some(machine);
        };
        if let Some(machine) = &mut self.machine {
            machine.finish();
        }
        // A file with no good record, but with bad ones, is an error: most likely it is something else altogether.
        let hollow = self.open.is_hollow(segment);
        Ok(if matches!(outcome, ReadEnd::Whole) && hollow { ReadEnd::Hollow } else { outcome })
    }
}
