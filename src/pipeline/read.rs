//! Ranged GETs → chunks of stored bytes, fetched again from the byte they reached when a part fails.
//!
//! A reader runs ahead of its lane by a bounded number of chunks (see `budget::CHUNKS_PER_OBJECT`); when they are not
//! taken, it stops reading from the connection, and the store's side waits.

use bytes::Bytes;
use tokio::sync::mpsc::{self, error::SendError};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::budget::CHUNK_BYTES;
use super::retries::Retries;
use crate::aws::s3::{Part, Source};
use crate::core::failure::{Attempts, Failure, Service, Verdict};
use crate::core::object::{ETag, ObjectRef};
use crate::core::time::UnixMillis;
use crate::world::World;

/// Chunks between a reader and its lane.
const CHUNKS_WAITING_MAX: usize = 1;

/// What a reader gives.
#[derive(Debug)]
pub enum Chunk {
    /// The next bytes.
    Bytes(Bytes),
    /// There are no more.
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
    chunks: mpsc::Receiver<Chunk>,
    _task: AbortOnDropHandle<()>,
}

impl Reading {
    /// The next chunk. After [`Chunk::End`] or [`Chunk::Failed`] there is none.
    pub async fn next(&mut self) -> Chunk {
        // A reader ends with End or Failed; if it is gone without, the object must not pass for complete.
        self.chunks.recv().await.unwrap_or_else(|| Chunk::Failed(ReadFault::Failed(Failure::ended("GetObject"))))
    }
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
        let opened = loop {
            match self.source.get(object, from, self.part_bytes, pin.as_ref()).await {
                Ok(part) => {
                    self.retries.succeeded(Service::S3);
                    break Some(part);
                }
                Err(failure) if failure.verdict() == Verdict::BeyondEnd => break None,
                Err(failure) if failure.verdict() == Verdict::Changed && pin.is_some() && same.is_none() => pin = None,
                Err(failure) => self.pause_or_fail(&mut attempts, failure.verdict(), failure).await?,
            }
        };
        let (to_lane, chunks) = mpsc::channel(CHUNKS_WAITING_MAX);
        let (modified, etag, stored_bytes) =
            opened.as_ref().map_or((UnixMillis(0), None, 0), |part| (part.modified, part.etag.clone(), part.total));
        let reader = Reader { reads: self.clone(), object: object.clone(), to_lane, reached: from };
        let task = AbortOnDropHandle::new(self.tracker.spawn(reader.run(opened)));
        Ok(Reading { modified, etag, stored_bytes, chunks, _task: task })
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
    to_lane: mpsc::Sender<Chunk>,
    /// Stored bytes given to the lane so far, or about to be.
    reached: u64,
}

impl Reader {
    async fn run(mut self, opened: Option<Part>) {
        let last = match opened {
            Some(part) => match self.read(part).await {
                Ok(()) => Chunk::End,
                Err(fault) => Chunk::Failed(fault),
            },
            None => Chunk::End,
        };
        // The lane may have been cut off; then nobody waits for the end.
        let _lane_is_gone = self.to_lane.send(last).await;
    }

    async fn read(&mut self, first: Part) -> Result<(), ReadFault> {
        let (total, pin) = (first.total, first.etag.clone());
        let mut attempts = Attempts::default();
        let mut part = first;
        loop {
            let before = self.reached;
            let broken = self.pass_on(part).await;
            if self.reached > before {
                attempts = Attempts::default();
            }
            if let Some(failure) = broken {
                let verdict = failure.verdict();
                self.reads.pause_or_fail(&mut attempts, verdict, failure).await?;
            }
            if self.reached >= total || self.to_lane.is_closed() {
                return Ok(());
            }
            part = self.fetch(pin.as_ref(), &mut attempts).await?;
        }
    }

    async fn fetch(&self, pin: Option<&ETag>, attempts: &mut Attempts) -> Result<Part, ReadFault> {
        loop {
            match Box::pin(self.reads.source.get(&self.object, self.reached, self.reads.part_bytes, pin)).await {
                Ok(part) => {
                    self.reads.retries.succeeded(Service::S3);
                    return Ok(part);
                }
                Err(failure) => self.reads.pause_or_fail(attempts, failure.verdict(), failure).await?,
            }
        }
    }

    /// Gives a part's bytes to the lane in chunks. `Some` when it broke off.
    ///
    /// Bytes are copied: what comes from a connection is a slice of its buffer, which may be much larger and would be
    /// kept with it, outside the budget.
    async fn pass_on(&mut self, mut part: Part) -> Option<Failure> {
        let left = part.total.saturating_sub(self.reached);
        let size = usize::try_from(left.clamp(1, CHUNK_BYTES)).unwrap_or(usize::MAX);
        let mut chunk = Vec::with_capacity(size);
        let broken = loop {
            let mut bytes = match part.next().await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => break None,
                Err(failure) => break Some(failure),
            };
            while !bytes.is_empty() {
                let now = bytes.split_to(bytes.len().min(size - chunk.len()));
                chunk.extend_from_slice(&now);
                if chunk.len() == size
                    && self.give(std::mem::replace(&mut chunk, Vec::with_capacity(size))).await.is_err()
                {
                    return None;
                }
            }
        };
        if !chunk.is_empty() {
            // The lane may have been cut off; the caller sees that.
            let _lane_is_gone = self.give(chunk).await;
        }
        broken
    }

    async fn give(&mut self, chunk: Vec<u8>) -> Result<(), SendError<Chunk>> {
        self.reached += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        self.to_lane.send(Chunk::Bytes(chunk.into())).await
    }
}
