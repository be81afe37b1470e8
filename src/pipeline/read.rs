//! Ranged GETs → chunks of stored bytes, fetched again from the byte they reached when a part fails.
//!
//! The next part is asked for while the last bytes of the one before are read, so that nobody waits for its first ones: as early as
//! that takes at the speed at which they are read, and no earlier, for the store may close what is not taken.
//!
//! A reader runs ahead of its lane by a bounded number of chunks (see `budget::CHUNKS_PER_OBJECT`); when they are not
//! taken, it stops reading from the connection, and the store's side waits.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::budget::CHUNK_BYTES;
use super::retries::Retries;
use crate::aws::s3::{Part, Source};
use crate::core::failure::{Attempts, Failure, Service, Verdict};
use crate::core::object::{ETag, ObjectRef};
use crate::core::shelf::{Buffer, Shelf};
use crate::core::time::{Tick, UnixMillis};
use crate::world::World;

/// Bytes of a chunk from which on it has one of the buffers that are used again: below, one of that size costs little.
const KEPT_CHUNK_MIN: usize = 64 * 1024;
/// Chunks between a reader and its lane.
const CHUNKS_WAITING_MAX: usize = 1;

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
    /// Buffers for chunks, which are charged to the objects' reserves.
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
    /// bytes. With `same` it must be the one with that tag; else, overwritten before its first byte, its successor is read.
    ///
    /// # Errors
    /// [`ReadFault`].
    pub async fn open(&self, object: &ObjectRef, from: u64, same: Option<&ETag>) -> Result<Reading, ReadFault> {
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
        let (reads, object, pin) = (self.clone(), object.clone(), etag.clone());
        let mut reader =
            Reader { reads, object, pin, total: stored_bytes, to_lane, reached: from, asking, ahead: None };
        let (ready, rest) = reader.begin(part).await;
        let run = |rest| AbortOnDropHandle::new(self.tracker.spawn(reader.run(rest)));
        let reader = rest.map(|rest| (chunks, run(rest)));
        Ok(Reading { modified, etag, stored_bytes, ready, reader })
    }

    /// The part that begins at a byte, and how long it took from the last question to its first bytes.
    async fn fetch(
        &self,
        object: &ObjectRef,
        from: u64,
        pin: Option<&ETag>,
        attempts: &mut Attempts,
    ) -> Result<(Part, Duration), ReadFault> {
        loop {
            let asked = self.world.now();
            match Box::pin(self.source.get(object, from, self.part_bytes, pin)).await {
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

struct Reader {
    reads: Reads,
    object: ObjectRef,
    /// The tag of what is read.
    pin: Option<ETag>,
    /// Bytes of the whole object.
    total: u64,
    to_lane: mpsc::Sender<Chunk>,
    /// Stored bytes given to the lane so far, or about to be.
    reached: u64,
    /// How long the last part took from the question to its first bytes.
    asking: Duration,
    /// The part that was asked for ahead.
    ahead: Option<Ahead>,
}

/// A part that was asked for while the one before was read.
struct Ahead {
    from: u64,
    part: AbortOnDropHandle<Result<(Part, Duration), ReadFault>>,
}

/// What a reader goes on with: a part, or the next one after what broke the last one off.
type Next = Result<Part, Option<Failure>>;

impl Reader {
    /// Reads at once what fits one chunk. Gives that, and what is to be read in a task which runs ahead of the lane.
    async fn begin(&mut self, mut part: Part) -> (Option<Chunk>, Option<Next>) {
        let left = self.left();
        if left == 0 {
            return (Some(Chunk::End), None);
        }
        if left > CHUNK_BYTES {
            return (None, Some(Ok(part)));
        }
        let (mut chunk, size) = self.empty();
        let filled = fill(&mut part, &mut Bytes::new(), (chunk.bytes(), size)).await;
        let ready = if chunk.is_empty() { None } else { Some(self.chunk(chunk)) };
        if self.left() > 0 {
            return (ready, Some(Err(filled.err())));
        }
        // The answer's end, so that its connection is used again.
        let _end = part.next().await;
        (ready, None)
    }

    async fn run(mut self, next: Next) {
        if let Err(fault) = self.read(next).await {
            // The lane may have been cut off; then nobody waits for the end.
            let _lane_is_gone = self.to_lane.send(Chunk::Failed(fault)).await;
        }
    }

    async fn read(&mut self, mut next: Next) -> Result<(), ReadFault> {
        let mut attempts = Attempts::default();
        loop {
            let before = self.reached;
            let broken = match next {
                Ok(part) => self.pass_on(part).await,
                Err(broken) => broken,
            };
            if self.reached > before {
                attempts = Attempts::default();
            }
            if let Some(failure) = broken {
                self.ahead = None;
                let verdict = failure.verdict();
                self.reads.pause_or_fail(&mut attempts, verdict, failure).await?;
            }
            if self.left() == 0 || self.to_lane.is_closed() {
                return Ok(());
            }
            let (part, asking) = match self.ahead.take().filter(|ahead| ahead.from == self.reached) {
                Some(ahead) => ahead.part.await.unwrap_or_else(|_| Err(ended()))?,
                None => {
                    let Self { reads, object, pin, .. } = &self;
                    reads.fetch(object, self.reached, pin.as_ref(), &mut attempts).await?
                }
            };
            self.asking = asking;
            next = Ok(part);
        }
    }

    /// Asks for the part that begins at a byte, if it is time: so many bytes of the one before are left, which has been read since
    /// `begun`, from a byte on.
    fn look_ahead(&mut self, left: u64, (begun, start): (Tick, u64)) {
        let next = self.reached + left;
        if self.ahead.is_some() || next >= self.total || left > self.is_enough(begun, start) {
            return;
        }
        let (reads, object, pin) = (self.reads.clone(), self.object.clone(), self.pin.clone());
        let fetch = async move { reads.fetch(&object, next, pin.as_ref(), &mut Attempts::default()).await };
        self.ahead = Some(Ahead { from: next, part: AbortOnDropHandle::new(self.reads.tracker.spawn(fetch)) });
    }

    /// Bytes that take as long as twice the last question took, at the speed of those that were read since `begun`.
    fn is_enough(&self, begun: Tick, start: u64) -> u64 {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let took = micros(self.reads.world.now().since(begun)).max(1);
        let read = self.reached - start;
        (read.saturating_mul(micros(self.asking).saturating_mul(2)) / took).max(CHUNK_BYTES)
    }

    /// Gives a part's bytes to the lane in chunks. `Some` when it broke off.
    async fn pass_on(&mut self, mut part: Part) -> Option<Failure> {
        let mut over = Bytes::new();
        let since = (self.reads.world.now(), self.reached);
        loop {
            let (mut chunk, size) = self.empty();
            let filled = fill(&mut part, &mut over, (chunk.bytes(), size)).await;
            if !chunk.is_empty() {
                let chunk = self.chunk(chunk);
                // The lane may have been cut off; the caller sees that.
                if self.to_lane.send(chunk).await.is_err() {
                    return None;
                }
                self.look_ahead(part.left() + u64::try_from(over.len()).unwrap_or(u64::MAX), since);
            }
            match filled {
                Ok(true) => {}
                Ok(false) => return None,
                Err(failure) => return Some(failure),
            }
        }
    }

    /// Stored bytes that are still to be read.
    const fn left(&self) -> u64 {
        self.total.saturating_sub(self.reached)
    }

    /// A buffer for the next chunk, and its bytes: one behind the last one, where the answer ends.
    fn empty(&self) -> (Buffer, usize) {
        let size = usize::try_from(self.left().clamp(1, CHUNK_BYTES)).unwrap_or(usize::MAX);
        let buffer = if size < KEPT_CHUNK_MIN { Vec::with_capacity(size).into() } else { self.reads.chunks.take() };
        (buffer, size)
    }

    fn chunk(&mut self, buffer: Buffer) -> Chunk {
        self.reached += u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        let bytes = Bytes::from_owner(buffer);
        if self.left() == 0 { Chunk::Last(bytes) } else { Chunk::Bytes(bytes) }
    }
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
