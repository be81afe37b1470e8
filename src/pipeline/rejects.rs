//! The reject store: events that CloudWatch Logs does not take are written to the operator's bucket before anything goes on.

use bytes::Bytes;

use super::retries::Retries;
use super::share::{Claim, Pool};
use crate::aws::s3::Source;
use crate::core::batch::Batch;
use crate::core::failure::{Attempts, Failure, Service};
use crate::core::object::ObjectRef;
use crate::core::rejects::{RejectFile, RejectedEvent};
use crate::core::tally::{Dropped, Rejected};
use crate::core::tenant::DeliveryKey;

/// What the lines of an object of the store are.
const CONTENT_TYPE: &str = "application/x-ndjson";

/// Writes what is not taken. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RejectStore {
    /// S3, with the daemon's own identity.
    pub bucket: Source,
    /// The bucket's name.
    pub name: String,
    /// What all keys begin with.
    pub prefix: String,
    /// How often a call is tried.
    pub retries: Retries,
    /// Memory for files. It is the last that is claimed, and held for no longer than a file is written.
    pub memory: Pool,
}

/// Why an event is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The API did not take it.
    Rejected(Rejected),
    /// It was not sent, for the API would not have taken it.
    Dropped(Dropped),
}

impl Why {
    /// The name in receipts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rejected(reason) => reason.name(),
            Self::Dropped(rule) => rule.name(),
        }
    }
}

/// Events of a batch that are to be kept.
#[derive(Debug)]
pub struct Kept {
    /// The batch, with its body.
    pub batch: Batch,
    /// Places in the batch.
    pub events: Vec<(usize, Why)>,
}

impl RejectStore {
    /// Waits for the memory of a file that begins with an event.
    pub(super) async fn room(&self, first: &RejectedEvent<'_>) -> Claim {
        let bytes = u64::try_from(RejectFile::bytes_for(first)).unwrap_or(u64::MAX);
        self.memory.claim(first.tenant, bytes).await
    }

    /// Writes a file of events of `object`, for a delivery.
    ///
    /// # Errors
    /// The last call's failure.
    pub(super) async fn write(&self, file: RejectFile, object: &ObjectRef, to: &DeliveryKey) -> Result<(), Failure> {
        let Some((key, lines)) = file.finish(&self.prefix, to.tenant(), object, to.target()) else {
            return Ok(());
        };
        let lines = Bytes::from(lines);
        let mut attempts = Attempts::default();
        loop {
            let failure = match Box::pin(self.bucket.put(&self.name, &key, lines.clone(), CONTENT_TYPE, None)).await {
                Ok(()) => {
                    self.retries.succeeded(Service::S3);
                    return Ok(());
                }
                Err(failure) => failure,
            };
            match self.retries.next(&mut attempts, Service::S3, failure.verdict()) {
                Some(delay) => tokio::time::sleep(delay).await,
                None => return Err(failure),
            }
        }
    }
}
