//! The table of progress: which replica works on an object, and how far it came.
//!
//! An object is claimed when its message comes again, or else before the first send of its second batch, so that small
//! objects cost no call. A claim takes the object over at once from whoever held it, who finds out with its next write and
//! stops. What is settled is written every few batches, and when the object is handed back or finished.

use std::time::Duration;

use tracing::warn;

use super::book::{Known, identity};
use super::retries::Retries;
use crate::aws::dynamodb::{Claimed, ProgressKey, ProgressTable};
use crate::core::checkpoint::{Checkpoint, Spacing};
use crate::core::errand::Errand;
use crate::core::failure::{Attempts, Failure, Service, Verdict};
use crate::core::object::ObjectRef;
use crate::core::progress::Progress;
use crate::core::settlement::Finish;
use crate::core::tenant::DeliveryKey;
use crate::core::time::UnixMillis;
use crate::world::World;

/// How long a row is kept: as long as a message may lie in a queue (SQS Developer Guide, "message retention period").
const ROW_LIFE: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Keeps progress beyond this process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// None: it is kept in memory only.
    pub table: Option<ProgressTable>,
    /// Accepted batches after which it is written.
    pub every: u64,
    /// How far the places are apart at which objects are gone on with.
    pub spacing: Spacing,
    /// Whether objects of one batch are claimed too.
    pub small_too: bool,
    /// Attempts without progress after which an object is not begun any more.
    pub strikes_max: u32,
    /// How often a call is tried.
    pub retries: Retries,
    /// Times and chance.
    pub world: World,
}

/// A claim that is held, to be told to nobody but its holder.
#[derive(Clone, Debug)]
pub struct Claim {
    key: ProgressKey,
    epoch: u64,
}

/// What a claim gave.
#[derive(Debug)]
pub struct Taken {
    /// What it is held by.
    pub claim: Claim,
    /// What was known before it.
    pub known: Known,
}

/// Why progress could not be kept.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LedgerFault {
    /// Somebody else goes on with the object.
    #[error("another replica has taken the object over")]
    Lost,
    /// The table cannot be used.
    #[error("progress could not be kept: {0}")]
    Table(Failure),
}

impl LedgerFault {
    /// What it means for the message.
    #[must_use]
    pub fn finish(&self) -> Finish {
        match self {
            Self::Table(failure) => Errand::Own.finish(failure),
            // Its new holder delivers it.
            Self::Lost => Finish::Unavailable,
        }
    }
}

impl Ledger {
    /// One that keeps nothing.
    #[must_use]
    pub fn none(retries: Retries, world: World) -> Self {
        Self {
            table: None,
            every: u64::MAX,
            spacing: Spacing::default(),
            small_too: false,
            strikes_max: u32::MAX,
            retries,
            world,
        }
    }

    /// Claims the delivery of a version of an object. `None`: there is no table, or it is not known which version it is.
    ///
    /// # Errors
    /// The table cannot be used.
    pub async fn claim(&self, object: &ObjectRef, to: &DeliveryKey) -> Result<Option<Taken>, LedgerFault> {
        let (Some(table), Some(key)) = (&self.table, key(object, to)) else { return Ok(None) };
        let (row, by) = (&key, &*format!("{:016x}", self.world.entropy()));
        let claim = |doubt: bool| async move {
            // Made twice, it would count as two attempts.
            let made = if doubt { table.claimed(row, by).await? } else { None };
            match made {
                Some(claimed) => Ok(claimed),
                None => table.claim(row, by, self.expiry()).await,
            }
        };
        let claimed = self.patiently(claim).await?;
        let Claimed { epoch, progress, strikes } = claimed;
        let known = if progress == Progress::all() {
            Known::Finished
        } else {
            // This attempt counts when it ends so.
            Known::Tried { progress: progress.into(), strikes: strikes.saturating_sub(1) }
        };
        Ok(Some(Taken { claim: Claim { key, epoch }, known }))
    }

    /// Writes what is settled.
    ///
    /// # Errors
    /// [`LedgerFault`].
    pub async fn keep(&self, claim: &Claim, progress: &Progress, strikes: u32) -> Result<(), LedgerFault> {
        let Some(table) = &self.table else { return Ok(()) };
        let keep = |_| table.keep(&claim.key, claim.epoch, progress, strikes, self.expiry());
        if self.patiently(keep).await? { Ok(()) } else { Err(LedgerFault::Lost) }
    }

    /// Writes what is settled at the end of an attempt: nothing depends on it but how much the next one repeats.
    pub async fn leave(&self, claim: &Claim, progress: &Progress, strikes: u32) {
        if let Err(fault) = self.keep(claim, progress, strikes).await {
            warn!(object = claim.key.object, cause = %fault, "progress not kept at the end of an attempt");
        }
    }

    /// Where a version of an object may be gone on with, by whoever has settled all before. It is no claim; and none is
    /// found rather than anything else.
    pub async fn checkpoint(&self, object: &ObjectRef, to: &DeliveryKey) -> Option<Checkpoint> {
        let (table, key) = (self.table.as_ref()?, key(object, to)?);
        match self.patiently(|_| table.checkpoint(&key)).await {
            Ok(kept) => kept.and_then(|kept| Checkpoint::from_bytes(&kept)),
            Err(fault) => {
                warn!(object = key.object, cause = %fault, "checkpoint not read: the object is read from its beginning");
                None
            }
        }
    }

    /// Writes where an object may be gone on with: nothing depends on it but how much the next attempt reads.
    pub async fn keep_checkpoint(&self, claim: &Claim, checkpoint: &Checkpoint) {
        let Some(table) = &self.table else { return };
        let keep = |_| table.keep_checkpoint(&claim.key, checkpoint.to_bytes(), self.expiry());
        if let Err(fault) = self.patiently(keep).await {
            warn!(object = claim.key.object, cause = %fault, "checkpoint not kept");
        }
    }

    fn expiry(&self) -> UnixMillis {
        self.world.wall().plus(i64::try_from(ROW_LIFE.as_millis()).unwrap_or(i64::MAX))
    }

    /// Makes a call, again and again if need be. It is told whether it may have been done already, without an answer.
    async fn patiently<T, C>(&self, mut call: impl FnMut(bool) -> C) -> Result<T, LedgerFault>
    where
        C: Future<Output = Result<T, Failure>>,
    {
        let (mut attempts, mut doubt) = (Attempts::default(), false);
        loop {
            let failure = match Box::pin(call(doubt)).await {
                Ok(done) => {
                    self.retries.succeeded(Service::DynamoDb);
                    return Ok(done);
                }
                Err(failure) => failure,
            };
            let Some(delay) = self.retries.next(&mut attempts, Service::DynamoDb, failure.verdict()) else {
                return Err(LedgerFault::Table(failure));
            };
            doubt |= failure.verdict() != Verdict::Throttled;
            tokio::time::sleep(delay).await;
        }
    }
}

/// The row of a version of an object and one of its deliveries.
fn key(object: &ObjectRef, to: &DeliveryKey) -> Option<ProgressKey> {
    let id = hex::encode(identity(object, to)?);
    Some(ProgressKey { id, object: object.to_string() })
}
