//! Ranged GETs → chunks of stored bytes, fetched again from the byte they reached when a part fails.
//!
//! A reader runs ahead of its lane by a bounded number of chunks (see `budget::CHUNKS_PER_OBJECT`); when they are not
//! taken, it stops reading from the connection, and the store's side waits.
//!
//! The next part is asked for while the last bytes of the one before are read, so that nobody waits for its first ones; no earlier
//! than that takes ([`Flow`]), for the store may close what is not taken. Where it is a connection that is slow, and not the lane, and
//! there is memory for whole parts, some are read beside each other, by readers of their own that run ahead of this one.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::budget::{CHUNK_BYTES, CHUNKS_PER_OBJECT, LaneBudget, Permit};
use super::retries::Retries;
use crate::aws::s3::{Part, Source};
use crate::core::failure::{Attempts, Failure, Service, Verdict};
use crate::core::object::{ETag, ObjectRef};
use crate::core::pacing::ahead::{Flow, Pace};
use crate::core::shelf::{Buffer, Shelf};
use crate::core::time::{Tick, UnixMillis};
use crate::world::World;

/// Bytes of a chunk from which on it has one of the buffers that are used again: below, one of that size costs little.
const KEPT_CHUNK_MIN: usize = 64 * 1024;
/// Chunks between a reader and its lane.
const CHUNKS_WAITING_MAX: usize = 1;
/// Parts that are asked for beside the one that is given to the lane.
const PARTS_AHEAD_MAX: usize = 3;
/// What is read beside another part is at least this part of a whole one: of shorter ones there would be many, one after the other.
const BESIDE_MIN: u64 = 4;
/// Bytes of a part that are given before it is known how fast they are taken; at most the part of it that [`BESIDE_MIN`] says.
const TAKEN_MIN: u64 = CHUNKS_PER_OBJECT * CHUNK_BYTES;
/// For so long a chunk waits for the lane before what was read beside it is let go of.
const KEPT_FOR: Duration = Duration::from_secs(1);

/// What a reader gives.
#[derive(Debug)]
pub enum Chunk {
    /// The next bytes.
    Bytes(Bytes),
    /// The last ones.
    Last(Bytes),
    /// There are none.
    End,
    /// The rest cannot be read.
    Failed(ReadFault),
}

/// Why an object cannot be read, or not on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadFault {
    /// It is not there.
    #[error("the object is not there")]
    Missing,
    /// It was overwritten while it was read.
    #[error("the object was overwritten while it was read")]
    Changed,
    /// The ambient identity may not read it.
    #[error("the source object may not be read: {0}")]
    Denied(Failure),
    /// It could not be read for now.
    #[error("the object could not be read: {0}")]
    Failed(Failure),
}

/// What readers share.
#[derive(Clone, Debug)]
pub struct Reads {
    /// The source.
    pub source: Source,
    /// Bytes of one GET.
    pub part_bytes: u64,
    /// Buffers for chunks, which are charged to the objects' reserves, or claimed.
    pub chunks: Arc<Shelf>,
    /// How often a part is tried without a byte of progress.
    pub retries: Retries,
    /// Times and chance.
    pub world: World,
    /// Where readers run.
    pub tracker: TaskTracker,
}

/// An object that is being read.
#[derive(Debug)]
pub struct Reading {
    /// When the object was written.
    pub modified: UnixMillis,
    /// The tag of what is read; it may be the successor of the object that the notification named.
    pub etag: Option<ETag>,
    /// Stored bytes of the whole object.
    pub stored_bytes: u64,
    /// What was read at once.
    ready: Option<Chunk>,
    /// What reads on.
    reader: Option<(mpsc::Receiver<Chunk>, AbortOnDropHandle<()>)>,
}

impl Reading {
    /// The next chunk, if it is there already.
    pub(super) fn try_next(&mut self) -> Option<Chunk> {
        self.ready.take().or_else(|| self.reader.as_mut()?.0.try_recv().ok())
    }

    /// Whether a chunk is there already.
    pub(super) fn has_next(&self) -> bool {
        self.ready.is_some() || self.reader.as_ref().is_some_and(|(chunks, _)| !chunks.is_empty())
    }

    /// The next chunk. After [`Chunk::Last`], [`Chunk::End`] or [`Chunk::Failed`] there is none.
    pub async fn next(&mut self) -> Chunk {
        let next = match (self.ready.take(), &mut self.reader) {
            (Some(ready), _) => Some(ready),
            (None, Some((chunks, _))) => chunks.recv().await,
            (None, None) => None,
        };
        // The last one says so; if a reader is gone without, the object must not pass for complete.
        next.unwrap_or_else(|| Chunk::Failed(ended()))
    }
}

/// A task ended without a word.
const fn ended() -> ReadFault {
    ReadFault::Failed(Failure::ended("GetObject"))
}

impl Reads {
    /// Begins to read an object from a byte on: the first ones are on their way when this returns. An empty object has no
    /// bytes. With `same` it must be the one with that tag; else, overwritten before its first byte, its successor is read. What is
    /// read beside that is claimed from the budget.
    ///
    /// # Errors
    /// [`ReadFault`].
    pub async fn open(
        &self,
        object: &ObjectRef,
        from: u64,
        same: Option<&ETag>,
        budget: &Arc<LaneBudget>,
    ) -> Result<Reading, ReadFault> {
        let mut pin = same.or(object.etag.as_ref()).cloned();
        let mut attempts = Attempts::default();
        let (part, asking) = loop {
            let asked = self.world.now();
            match self.source.get(object, from, self.part_bytes, pin.as_ref()).await {
                Ok(part) => break (part, self.world.now().since(asked)),
                Err(failure) if failure.verdict() == Verdict::BeyondEnd => {
                    let (modified, ready) = (UnixMillis(0), Some(Chunk::End));
                    return Ok(Reading { modified, etag: None, stored_bytes: 0, ready, reader: None });
                }
                Err(failure) if failure.verdict() == Verdict::Changed && pin.is_some() && same.is_none() => pin = None,
                Err(failure) => self.pause_or_fail(&mut attempts, failure.verdict(), failure).await?,
            }
        };
        self.retries.succeeded(Service::S3);
        let (modified, etag, stored_bytes) = (part.modified, part.etag.clone(), part.total);
        let (to_lane, chunks) = mpsc::channel(CHUNKS_WAITING_MAX);
        let of = (object.clone(), etag.clone());
        let mut reader = Reader::new(self.clone(), of, from..stored_bytes, to_lane, StorePace::asked(asking));
        reader.budget = Some(Arc::clone(budget));
        let (ready, rest) = reader.begin(part).await;
        let run = |rest| AbortOnDropHandle::new(self.tracker.spawn(reader.run(rest)));
        let reader = rest.map(|rest| (chunks, run(rest)));
        Ok(Reading { modified, etag, stored_bytes, ready, reader })
    }

    /// These bytes, or the first ones of them; and how long it took from the last question to the first one.
    async fn fetch(
        &self,
        object: &ObjectRef,
        bytes: Range<u64>,
        pin: Option<&ETag>,
        attempts: &mut Attempts,
    ) -> Result<(Part, Duration), ReadFault> {
        loop {
            let asked = self.world.now();
            match Box::pin(self.source.get(object, bytes.start, bytes.end - bytes.start, pin)).await {
                Ok(part) => {
                    self.retries.succeeded(Service::S3);
                    return Ok((part, self.world.now().since(asked)));
                }
                Err(failure) => self.pause_or_fail(attempts, failure.verdict(), failure).await?,
            }
        }
    }

    async fn pause_or_fail(
        &self,
        attempts: &mut Attempts,
        verdict: Verdict,
        failure: Failure,
    ) -> Result<(), ReadFault> {
        if let Some(delay) = self.retries.next(attempts, Service::S3, verdict) {
            tokio::time::sleep(delay).await;
            return Ok(());
        }
        Err(match verdict {
            Verdict::Missing => ReadFault::Missing,
            Verdict::Changed => ReadFault::Changed,
            Verdict::Denied => ReadFault::Denied(failure),
            Verdict::Retry
            | Verdict::Throttled
            | Verdict::Skewed
            | Verdict::RefreshCredentials
            | Verdict::Create
            | Verdict::Exists
            | Verdict::Bisect
            | Verdict::NoBucket
            | Verdict::BeyondEnd
            | Verdict::GiveUp => ReadFault::Failed(failure),
        })
    }
}

/// How fast the store is, as the readers of one object see it.
#[derive(Debug, Default)]
struct StorePace {
    /// Microseconds from a question to the first bytes of its answer.
    asking: AtomicU64,
    /// Bytes of a second that one connection gives while it is read.
    given: AtomicU64,
}

impl StorePace {
    fn asked(asking: Duration) -> Arc<Self> {
        let pace = Self::default();
        pace.set_asking(asking);
        pace.into()
    }

    fn set_asking(&self, asking: Duration) {
        self.asking.store(u64::try_from(asking.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn set_given(&self, given: Pace) {
        self.given.store(given.a_second(), Ordering::Relaxed);
    }

    fn flow(&self, taken: Pace) -> Flow {
        let given = Pace::by_second(self.given.load(Ordering::Relaxed));
        Flow { asking: Duration::from_micros(self.asking.load(Ordering::Relaxed)), given, taken }
    }
}

/// Reads bytes of an object from one to another.
struct Reader {
    reads: Reads,
    object: ObjectRef,
    /// The tag of what is read.
    pin: Option<ETag>,
    /// The next byte that is given, and the one before which it ends.
    reached: u64,
    end: u64,
    /// For chunks, beside what an object has: those of a part that is read beside another.
    memory: Permit,
    to: mpsc::Sender<Chunk>,
    /// By which parts are read beside others.
    budget: Option<Arc<LaneBudget>>,
    pace: Arc<StorePace>,
    /// The parts that were asked for ahead, in order and without gaps.
    ahead: VecDeque<Ahead>,
    /// The one whose turn it is, if it is read beside others.
    beside: Option<Beside>,
}

/// Chunks of a part, and what reads it.
type Beside = (mpsc::Receiver<Chunk>, AbortOnDropHandle<()>);

/// A part that was asked for before its turn.
struct Ahead {
    bytes: Range<u64>,
    coming: Coming,
}

enum Coming {
    /// It is read in its turn.
    Part(AbortOnDropHandle<Result<(Part, Duration), ReadFault>>),
    /// It is read beside those before it.
    Beside(Beside),
}

/// What a reader goes on with.
enum Next {
    Part(Part),
    /// A part that is read beside others, and the byte before which it ends.
    Beside(u64),
    /// The next part, after what broke the last one off.
    Ask(Option<Failure>),
}

/// A chunk's buffer, and what was claimed for it.
struct Held {
    buffer: Buffer,
    _memory: Permit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_ref()
    }
}

impl Reader {
    /// A reader of these bytes of an object with a tag, which claims nothing.
    fn new(
        reads: Reads,
        (object, pin): (ObjectRef, Option<ETag>),
        bytes: Range<u64>,
        to: mpsc::Sender<Chunk>,
        pace: Arc<StorePace>,
    ) -> Self {
        Self {
            reads,
            object,
            pin,
            reached: bytes.start,
            end: bytes.end,
            memory: Permit::default(),
            to,
            budget: None,
            pace,
            ahead: VecDeque::new(),
            beside: None,
        }
    }

    /// Reads at once what fits one chunk. Gives that, and what is to be read in a task which runs ahead of the lane.
    async fn begin(&mut self, mut part: Part) -> (Option<Chunk>, Option<Next>) {
        let left = self.left();
        if left == 0 {
            return (Some(Chunk::End), None);
        }
        if left > CHUNK_BYTES {
            return (None, Some(Next::Part(part)));
        }
        let (mut buffer, size) = self.empty();
        let filled = fill(&mut part, &mut Bytes::new(), (buffer.bytes(), size)).await;
        let bytes = self.bytes(buffer);
        let ready = if bytes.is_empty() { None } else { Some(self.chunk(bytes)) };
        if self.left() > 0 {
            return (ready, Some(Next::Ask(filled.err())));
        }
        end(part).await;
        (ready, None)
    }

    async fn run(mut self, next: Next) {
        if let Err(fault) = self.read(next).await {
            self.ahead.clear();
            // Whoever takes it may have been cut off; then nobody waits for the end.
            let _nobody_waits = self.to.send(Chunk::Failed(fault)).await;
        }
    }

    async fn read(&mut self, mut next: Next) -> Result<(), ReadFault> {
        let mut attempts = Attempts::default();
        loop {
            let before = self.reached;
            let broken = match next {
                Next::Part(part) => self.pass_on(part).await,
                Next::Beside(end) => self.hand_on(end).await.map(|()| None)?,
                Next::Ask(broken) => broken,
            };
            if self.reached > before {
                attempts = Attempts::default();
            }
            if let Some(failure) = broken {
                let verdict = failure.verdict();
                self.reads.pause_or_fail(&mut attempts, verdict, failure).await?;
            }
            if self.left() == 0 || self.to.is_closed() {
                return Ok(());
            }
            next = self.next(&mut attempts).await?;
        }
    }

    /// What there is from the next byte on: a part that was asked for ahead, or else the bytes before that.
    async fn next(&mut self, attempts: &mut Attempts) -> Result<Next, ReadFault> {
        self.ahead.retain(|ahead| ahead.bytes.start >= self.reached);
        let (part, asking) = match self.ahead.pop_front_if(|first| first.bytes.start == self.reached) {
            Some(Ahead { coming: Coming::Part(part), .. }) => part.await.unwrap_or_else(|_| Err(ended()))?,
            Some(Ahead { coming: Coming::Beside(beside), bytes }) => {
                self.beside = Some(beside);
                return Ok(Next::Beside(bytes.end));
            }
            None => {
                let end = self.ahead.front().map_or(self.end, |first| first.bytes.start);
                let bytes = self.reached..end.min(self.reached.saturating_add(self.reads.part_bytes));
                self.reads.fetch(&self.object, bytes, self.pin.as_ref(), attempts).await?
            }
        };
        self.pace.set_asking(asking);
        Ok(Next::Part(part))
    }

    /// Asks for the next part, if it is time: so many bytes are left of the one that is given, which has been so since
    /// `begun`, from a byte on.
    fn look_ahead(&mut self, left: u64, (begun, start): (Tick, u64)) {
        let from = self.ahead.back().map_or(self.reached + left, |last| last.bytes.end);
        if from >= self.end || self.ahead.len() == PARTS_AHEAD_MAX {
            return;
        }
        // More was given than was asked for: that comes again.
        let Some(left) = from.checked_sub(self.reached) else { return };
        let taken = Pace { bytes: self.reached - start, time: self.reads.world.now().since(begun) };
        let flow = self.pace.flow(taken);
        let whole = self.reads.part_bytes;
        let most = from..self.end.min(from.saturating_add(whole));
        let is_time = taken.bytes >= TAKEN_MIN.min(whole / BESIDE_MIN) && left <= flow.beside(whole);
        match if is_time { self.claim(&most, flow.least()) } else { None } {
            Some((bytes, memory)) => self.read_beside(bytes, memory),
            None if self.ahead.is_empty() && left <= flow.behind().max(CHUNK_BYTES) => self.ask(most),
            None => {}
        }
    }

    /// Asks for a part that is read in its turn.
    fn ask(&mut self, bytes: Range<u64>) {
        let (reads, object, pin, asked) = (self.reads.clone(), self.object.clone(), self.pin.clone(), bytes.clone());
        let fetch = async move { reads.fetch(&object, asked, pin.as_ref(), &mut Attempts::default()).await };
        let part = AbortOnDropHandle::new(self.reads.tracker.spawn(fetch));
        self.ahead.push_back(Ahead { bytes, coming: Coming::Part(part) });
    }

    /// Has a part read that there is memory for.
    fn read_beside(&mut self, bytes: Range<u64>, memory: Permit) {
        let chunks_max = memory.bytes().div_ceil(CHUNK_BYTES);
        let (to, chunks) = mpsc::channel(usize::try_from(chunks_max).unwrap_or(usize::MAX));
        let of = (self.object.clone(), self.pin.clone());
        let mut reader = Self::new(self.reads.clone(), of, bytes.clone(), to, Arc::clone(&self.pace));
        reader.memory = memory;
        let run = AbortOnDropHandle::new(self.reads.tracker.spawn(reader.run(Next::Ask(None))));
        self.ahead.push_back(Ahead { bytes, coming: Coming::Beside((chunks, run)) });
    }

    /// As many of these bytes as there is memory for, unless those are less than `least`.
    fn claim(&self, bytes: &Range<u64>, least: u64) -> Option<(Range<u64>, Permit)> {
        let most = bytes.end - bytes.start;
        let least = least.max(self.reads.part_bytes / BESIDE_MIN).min(most);
        let budget = self.budget.as_ref()?;
        let halves = std::iter::successors(Some(most), |length| Some(length / 2));
        halves.take_while(|length| *length >= least).find_map(|length| {
            let memory = budget.try_early(length.next_multiple_of(CHUNK_BYTES))?;
            Some((bytes.start..bytes.start + length, memory))
        })
    }

    /// Gives a part's bytes in chunks. `Some` when it broke off.
    async fn pass_on(&mut self, mut part: Part) -> Option<Failure> {
        let (mut over, mut filling) = (Bytes::new(), Duration::ZERO);
        let since = (self.reads.world.now(), self.reached);
        while self.left() > 0 {
            let (mut buffer, size) = self.empty();
            let asked = self.reads.world.now();
            let filled = fill(&mut part, &mut over, (buffer.bytes(), size)).await;
            let bytes = self.bytes(buffer);
            if !bytes.is_empty() {
                filling += self.reads.world.now().since(asked);
                let given = self.reached - since.1 + u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                self.pace.set_given(Pace { bytes: given, time: filling });
                if !self.give(bytes).await {
                    return None;
                }
                self.look_ahead(part.left() + u64::try_from(over.len()).unwrap_or(u64::MAX), since);
            }
            match filled {
                Ok(true) => {}
                Ok(false) if self.reached == since.1 => return Some(Failure::ended("GetObject")),
                Ok(false) => return None,
                Err(failure) => return Some(failure),
            }
        }
        end(part).await;
        None
    }

    /// Gives the chunks of the part whose turn it is, which ends before a byte, unless it is let go of.
    async fn hand_on(&mut self, end: u64) -> Result<(), ReadFault> {
        let since = (self.reads.world.now(), self.reached);
        while let Some((chunks, _)) = self.beside.as_mut().filter(|_| self.reached < end) {
            match chunks.recv().await {
                Some(Chunk::Bytes(bytes) | Chunk::Last(bytes)) => {
                    if !self.give(bytes).await {
                        break;
                    }
                    self.look_ahead(end - self.reached, since);
                }
                Some(Chunk::Failed(fault)) => return Err(fault),
                Some(Chunk::End) | None => return Err(ended()),
            }
        }
        self.beside = None;
        Ok(())
    }

    /// Gives the next bytes. If they must wait for long, what was read beside others is let go of, to be asked for again. False
    /// when nobody takes them any more, which the caller sees.
    async fn give(&mut self, bytes: Bytes) -> bool {
        let chunk = self.chunk(bytes);
        let place = match tokio::time::timeout(KEPT_FOR, self.to.reserve()).await {
            Ok(place) => place,
            Err(_) => {
                (self.beside, self.ahead) = Default::default();
                self.to.reserve().await
            }
        };
        place.map(|place| place.send(chunk)).is_ok()
    }

    /// Bytes that are still to be read.
    const fn left(&self) -> u64 {
        self.end.saturating_sub(self.reached)
    }

    /// A buffer for the next chunk, and its bytes.
    fn empty(&self) -> (Buffer, usize) {
        let size = usize::try_from(self.left().min(CHUNK_BYTES)).unwrap_or(usize::MAX);
        let buffer = if size < KEPT_CHUNK_MIN { Vec::with_capacity(size).into() } else { self.reads.chunks.take() };
        (buffer, size)
    }

    /// A chunk's bytes, with what was claimed for them.
    fn bytes(&mut self, mut buffer: Buffer) -> Bytes {
        if self.budget.is_none() && buffer.len() < buffer.capacity() {
            // No more than was claimed, into however many pieces a part breaks.
            buffer = buffer.to_vec().into();
        }
        let memory = self.memory.split(u64::try_from(buffer.len()).unwrap_or(u64::MAX));
        Bytes::from_owner(Held { buffer, _memory: memory })
    }

    fn chunk(&mut self, bytes: Bytes) -> Chunk {
        self.reached += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if self.left() == 0 { Chunk::Last(bytes) } else { Chunk::Bytes(bytes) }
    }
}

/// Reads an answer's end, so that its connection is used again.
async fn end(mut part: Part) {
    let _end = part.next().await;
}

/// Fills a chunk of so many bytes from a part and from what was `over` of its last bytes. False: the part has ended.
///
/// Bytes are copied: what comes from a connection is a slice of its buffer, which may be much larger and would be kept with
/// it, outside the budget.
async fn fill(part: &mut Part, over: &mut Bytes, (chunk, size): (&mut Vec<u8>, usize)) -> Result<bool, Failure> {
    while chunk.len() < size {
        if over.is_empty() {
            match part.next().await? {
                Some(bytes) => *over = bytes,
                None => return Ok(false),
            }
        }
        let now = over.split_to(over.len().min(size - chunk.len()));
        chunk.extend_from_slice(&now);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::{Aws, AwsSettings};
    use crate::core::failure::RetryPolicy;
    use crate::core::tenant::TenantId;
    use crate::pipeline::budget::Budget;

    const MIB: u64 = 1024 * 1024;
    const PART: u64 = 8 * MIB;
    const POLICY: RetryPolicy =
        RetryPolicy { attempts_max: 1, throttled_max: 1, base: Duration::ZERO, cap: Duration::ZERO };

    /// A reader of an object of five parts and a bit, which is at a byte of the first one.
    async fn reader(reached: u64, memory: u64) -> Reader {
        let world = World::new();
        let budget = Budget::new(memory, 16 * MIB).unwrap();
        let reads = Reads {
            source: Source::new(&Aws::connect(AwsSettings::default()).await),
            part_bytes: PART,
            chunks: budget.chunks(),
            retries: Retries::new(POLICY, world),
            world,
            tracker: TaskTracker::new(),
        };
        let (bucket, key) = (Arc::from("bucket"), Arc::from("key"));
        let object = ObjectRef { bucket, key, version: None, etag: None, size: None, sequencer: None };
        let pace = StorePace::asked(Duration::from_millis(30));
        let mut reader = Reader::new(reads, (object, None), reached..5 * PART + 10, mpsc::channel(1).0, pace);
        reader.budget = Some(Arc::new(budget.lane(&TenantId::try_from("acme").unwrap(), 0)));
        reader
    }

    fn lane(reader: &Reader) -> &LaneBudget {
        reader.budget.as_ref().unwrap()
    }

    /// What is asked for ahead after some looks, and whether it is read beside the first part. All was read just now.
    fn asked(reader: &mut Reader) -> Vec<(Range<u64>, bool)> {
        for _ in 0..5 {
            let now = reader.reads.world.now();
            reader.look_ahead(PART - reader.reached, (now, 0));
        }
        let beside = |coming: &Coming| matches!(coming, Coming::Beside(_));
        reader.ahead.iter().map(|ahead| (ahead.bytes.clone(), beside(&ahead.coming))).collect()
    }

    #[tokio::test]
    async fn parts_are_read_beside_each_other_as_far_as_there_is_memory() {
        let mut rich = reader(2 * MIB, 512 * MIB).await;
        assert_eq!(asked(&mut rich), [1, 2, 3].map(|part| (part * PART..(part + 1) * PART, true)));
        // The last one is the rest of the object.
        rich.ahead = rich.ahead.drain(2..).map(|last| Ahead { bytes: 4 * PART..5 * PART, ..last }).collect();
        assert_eq!(asked(&mut rich), [(4 * PART..5 * PART, true), (5 * PART..5 * PART + 10, true)]);
        // Its tenant may have 5 MiB more, and then 1, which is too short.
        let mut poor = reader(2 * MIB, 54 * MIB).await;
        let _reserve = lane(&poor).try_admit(None, 0).unwrap();
        assert_eq!(asked(&mut poor), [(PART..PART + 4 * MIB, true)]);
        poor.ahead.clear();
        poor.reads.tracker.close();
        poor.reads.tracker.wait().await;
        assert!(lane(&poor).try_early(4 * MIB).is_some(), "memory is given back with what it is for");
    }

    #[tokio::test]
    async fn without_memory_the_next_part_is_asked_for_at_the_end_of_the_one_before() {
        let none = |reader: &Reader| lane(reader).try_early(u64::MAX).unwrap();
        let mut early = reader(2 * MIB, 512 * MIB).await;
        let taken = none(&early);
        early.pace.set_asking(Duration::ZERO);
        assert_eq!(asked(&mut early), []);
        drop(taken);
        let mut late = reader(PART - CHUNK_BYTES, 512 * MIB).await;
        let _taken = none(&late);
        late.pace.set_asking(Duration::ZERO);
        assert_eq!(asked(&mut late), [(PART..2 * PART, false)]);
    }

    #[tokio::test]
    async fn a_part_that_breaks_into_many_pieces_holds_no_more_than_was_claimed() {
        let mut reader = reader(0, 512 * MIB).await;
        let lane = reader.budget.take().unwrap();
        reader.memory = lane.try_early(CHUNK_BYTES).unwrap();
        let mut chunk = reader.reads.chunks.take();
        chunk.bytes().extend_from_slice(b"some");
        let some = reader.bytes(chunk);
        assert_eq!((&some[..], reader.memory.bytes()), (&b"some"[..], CHUNK_BYTES - 4));
        assert_eq!(reader.reads.chunks.buffers(), 1, "its buffer is given back");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_read_ahead_of_a_lane_that_is_stuck_is_let_go_of() {
        let mut reader = reader(2 * MIB, 512 * MIB).await;
        let (to, mut chunks) = mpsc::channel(1);
        reader.to = to;
        assert_eq!(asked(&mut reader).len(), PARTS_AHEAD_MAX);
        let Some(Ahead { coming: Coming::Beside(first), .. }) = reader.ahead.pop_front() else {
            panic!("it is beside")
        };
        reader.beside = Some(first);
        assert!(reader.give(Bytes::from_static(b"first")).await);
        assert!(reader.beside.is_some() && reader.ahead.len() == PARTS_AHEAD_MAX - 1);
        let take = async {
            tokio::time::sleep(KEPT_FOR * 2).await;
            chunks.recv().await
        };
        let (given, _) = tokio::join!(reader.give(Bytes::from_static(b"second")), take);
        assert!(given && reader.beside.is_none() && reader.ahead.is_empty());
        drop(chunks);
        assert!(!reader.give(Bytes::from_static(b"third")).await);
    }

    /// Of a store that takes long to answer, parts that are shorter than what comes meanwhile are not worth it.
    #[tokio::test]
    async fn short_parts_are_not_read_beside_others_where_asking_takes_longer() {
        let mut poor = reader(2 * MIB, 54 * MIB).await;
        let _reserve = lane(&poor).try_admit(None, 0).unwrap();
        poor.pace.set_given(Pace::by_second(75 * MIB));
        poor.pace.set_asking(Duration::from_millis(60));
        assert_eq!(asked(&mut poor), [(PART..2 * PART, false)]);
    }
}
