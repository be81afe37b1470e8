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
use crate::core::failure::{Attempts, Failure, Service};
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
            Self::Table(failure) if Finish::of_passing(failure.verdict()) == Finish::Retryable => Finish::GlobalFault,
            // Its new holder delivers it; or the table is out of order.
            Self::Lost | Self::Table(_) => Finish::Unavailable,
        }
    }
}

impl Ledger {
    /// One that keeps nothing.
    #[must_use]
    pub const fn none(retries: Retries, world: World) -> Self {
        Self { table: None, every: u64::MAX, small_too: false, strikes_max: u32::MAX, retries, world }
    }

    /// Claims the delivery of a version of an object. `None`: there is no table, or it is not known which version it is.
    ///
    /// # Errors
    /// The table cannot be used.
    pub async fn claim(&self, object: &ObjectRef, to: &DeliveryKey) -> Result<Option<Taken>, LedgerFault> {
        let (Some(table), Some(identity)) = (&self.table, identity(object, to)) else { return Ok(None) };
        let id = identity.iter().map(|byte| format!("{byte:02x}")).collect();
        let key = ProgressKey { id, object: object.to_string() };
        let claimed = self.patiently(|| table.claim(&key, self.expiry())).await?;
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
        let keep = || table.keep(&claim.key, claim.epoch, progress, strikes, self.expiry());
        if self.patiently(keep).await? { Ok(()) } else { Err(LedgerFault::Lost) }
    }

    /// Writes what is settled at the end of an attempt: nothing depends on it but how much the next one repeats.
    pub async fn leave(&self, claim: &Claim, progress: &Progress, strikes: u32) {
        if let Err(fault) = self.keep(claim, progress, strikes).await {
            warn!(object = claim.key.object, cause = %fault, "progress not kept at the end of an attempt");
        }
    }

    fn expiry(&self) -> UnixMillis {
        self.world.wall().plus(i64::try_from(ROW_LIFE.as_millis()).unwrap_or(i64::MAX))
    }

    async fn patiently<T, C>(&self, mut call: impl FnMut() -> C) -> Result<T, LedgerFault>
    where
        C: Future<Output = Result<T, Failure>>,
    {
        let mut attempts = Attempts::default();
        loop {
            let failure = match Box::pin(call()).await {
                Ok(done) => {
                    self.retries.succeeded(Service::DynamoDb);
                    return Ok(done);
                }
                Err(failure) => failure,
            };
            let Some(delay) = self.retries.next(&mut attempts, Service::DynamoDb, failure.verdict()) else {
                return Err(LedgerFault::Table(failure));
            };
            tokio::time::sleep(delay).await;
        }
    }
}
