//! What is known of deliveries of objects that were tried before: that they are finished, or how far they came.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use sha2::{Digest, Sha256};

use crate::core::checkpoint::Checkpoint;
use crate::core::object::{ETag, ObjectRef};
use crate::core::progress::Progress;
use crate::core::settlement::Finish;
use crate::core::tenant::DeliveryKey;

/// Deliveries of objects that are remembered, so that a message of several, or one that comes again, does not repeat them.
const ENTRIES_MAX: u64 = 10_000;
/// For how long: a message is in flight for 12 hours at most (SQS Developer Guide, "Visibility timeout").
const LIFE: Duration = Duration::from_secs(12 * 60 * 60);

/// Checkpoints that are kept, of up to 33 KB each.
const CHECKPOINTS_MAX: u64 = 64;

/// A digest of a version of an object and of where it is delivered to.
type Key = [u8; 32];

/// What is known of an object's delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// All its events are settled.
    Finished,
    /// It was tried.
    Tried {
        /// What is settled.
        progress: Arc<Progress>,
        /// See [`Ended::strikes`](crate::core::settlement::Ended).
        strikes: u32,
    },
}

/// Remembers deliveries of objects. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Book {
    entries: Cache<Key, Known>,
    checkpoints: Cache<Key, Arc<Checkpoint>>,
}

impl Default for Book {
    fn default() -> Self {
        // By frequency, as is the cache's default, a full one would refuse whatever is new.
        let entries = Cache::builder().max_capacity(ENTRIES_MAX).time_to_live(LIFE);
        let checkpoints = Cache::builder().max_capacity(CHECKPOINTS_MAX).time_to_live(LIFE);
        Self {
            entries: entries.eviction_policy(EvictionPolicy::lru()).build(),
            checkpoints: checkpoints.eviction_policy(EvictionPolicy::lru()).build(),
        }
    }
}

impl Book {
    /// What is known of the delivery of a version of an object. Without a version or a tag nothing ever is.
    pub async fn find(&self, object: &ObjectRef, to: &DeliveryKey) -> Option<Known> {
        self.entries.get(&identity(object, to)?).await
    }

    /// Remembers that an object is delivered: the version that was told of, and the one that was `read` in its place.
    pub async fn finish(&self, object: &ObjectRef, read: Option<ETag>, to: &DeliveryKey) {
        for key in
            [Some(object), read_instead(object, read).as_ref()].into_iter().flatten().filter_map(|it| identity(it, to))
        {
            self.entries.insert(key, Known::Finished).await;
        }
    }

    /// Where a version of an object may be gone on with, by whoever has settled all before.
    pub async fn checkpoint(&self, object: &ObjectRef, to: &DeliveryKey) -> Option<Arc<Checkpoint>> {
        self.checkpoints.get(&identity(object, to)?).await
    }

    /// Remembers such a place.
    pub async fn keep_checkpoint(
        &self,
        object: &ObjectRef,
        read: Option<ETag>,
        to: &DeliveryKey,
        checkpoint: Arc<Checkpoint>,
    ) {
        let read = read_instead(object, read);
        if let Some(key) = identity(read.as_ref().unwrap_or(object), to) {
            self.checkpoints.insert(key, checkpoint).await;
        }
    }

    /// Takes in what was known elsewhere.
    pub async fn learn(&self, object: &ObjectRef, to: &DeliveryKey, known: Known) {
        if let Some(key) = identity(object, to) {
            self.entries.insert(key, known).await;
        }
    }

    /// Remembers how far an attempt came that ended in `finish`. Gives the strikes now, if it can be known which object it
    /// was.
    pub async fn fail(
        &self,
        object: &ObjectRef,
        read: Option<ETag>,
        to: &DeliveryKey,
        progress: Progress,
        finish: Finish,
    ) -> Option<u32> {
        let read = read_instead(object, read);
        let key = identity(read.as_ref().unwrap_or(object), to)?;
        let noted = self.entries.entry(key).and_compute_with(|before| {
            let before = before.map(moka::Entry::into_value);
            std::future::ready(match note(before.as_ref(), progress, finish) {
                Some(known) => Op::Put(known),
                None => Op::Nop,
            })
        });
        match noted.await.into_entry().map(moka::Entry::into_value) {
            Some(Known::Tried { strikes, .. }) => Some(strikes),
            Some(Known::Finished) | None => None,
        }
    }
}

/// What is known after an attempt that ended in `finish` with `progress`. `None`: nothing new.
fn note(before: Option<&Known>, progress: Progress, finish: Finish) -> Option<Known> {
    let (known, strikes) = match before {
        // Another message of the same object was faster.
        Some(Known::Finished) => return None,
        Some(Known::Tried { progress, strikes }) => (Some(progress), *strikes),
        None => (None, 0),
    };
    let mut merged = progress;
    if let Some(known) = known {
        merged.merge(known);
    }
    let moved = known.map_or_else(|| !merged.is_none(), |known| !known.settles_as(&merged));
    let strikes = match (moved, finish.is_strike()) {
        (true, _) => 0,
        (false, true) => strikes.saturating_add(1),
        (false, false) => strikes,
    };
    Some(Known::Tried { progress: Arc::new(merged), strikes })
}

/// The object with the tag that was read in place of the one that was told of.
fn read_instead(object: &ObjectRef, read: Option<ETag>) -> Option<ObjectRef> {
    read.map(|read| ObjectRef { etag: Some(read), ..object.clone() })
}

/// A version of an object and one of its deliveries. None when it is not known which version it is.
pub(super) fn identity(object: &ObjectRef, to: &DeliveryKey) -> Option<Key> {
    let version = object.version.as_deref().or_else(|| object.etag.as_ref().map(ETag::as_str))?;
    let mut digest = Sha256::new();
    for part in [&*object.bucket, &*object.key, version, &format!("{to:?}")] {
        digest.update(part.len().to_le_bytes());
        digest.update(part);
    }
    Some(digest.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::object::{Ordinal, Position};
    use crate::core::tenant::{Field, TenantId, deliveries};
    use crate::core::time::UnixMillis;

    fn delivery() -> DeliveryKey {
        let tenant = TenantId::try_from("acme").unwrap();
        let row = [
            ("tenant_id", "acme"),
            ("log_distribution_role_arn", "arn:aws:iam::222222222222:role/delivery"),
            ("log_group_name", "/logs"),
        ];
        let row = row.map(|(name, text)| (name.to_owned(), Field::Text(text.to_owned()))).into();
        deliveries(&tenant, &[row], UnixMillis(0)).deliveries[0].key()
    }

    /// The latest are remembered, however often earlier ones were asked for: they are the ones whose messages may come again.
    #[tokio::test]
    async fn the_latest_are_remembered() {
        let book = Book::default();
        let object = |at: u64| ObjectRef {
            bucket: "b".into(),
            key: format!("{at}").into(),
            version: None,
            etag: Some(ETag::new("tag")),
            size: None,
            sequencer: None,
        };
        let to = delivery();
        for at in 0..2 * ENTRIES_MAX {
            assert_eq!(book.find(&object(at), &to).await, None);
            book.finish(&object(at), None, &to).await;
        }
        book.entries.run_pending_tasks().await;
        for at in [ENTRIES_MAX + ENTRIES_MAX / 10, 2 * ENTRIES_MAX - 1] {
            assert_eq!(book.find(&object(at), &to).await, Some(Known::Finished), "{at}");
        }
    }

    fn upto(record: u64) -> Progress {
        Progress::new(Position { ordinal: Ordinal(record), part: 0 }, [])
    }

    #[test]
    fn strikes_are_attempts_in_a_row_that_settle_nothing_by_the_objects_own_fault() {
        let steps = [
            (upto(0), Finish::Retryable, 1),
            (upto(0), Finish::Missing, 2),
            // Nobody's fault, and refusals: they do not count, and forgive nothing.
            (upto(0), Finish::Unavailable, 2),
            (upto(0), Finish::TenantDenied, 2),
            // Progress does, whatever ended the attempt.
            (upto(5), Finish::Retryable, 0),
            (upto(5), Finish::Retryable, 1),
            // What another attempt has settled stays so.
            (upto(3), Finish::Retryable, 2),
        ];
        let mut known = None;
        for (progress, finish, expected) in steps {
            known = note(known.as_ref(), progress, finish);
            let Some(Known::Tried { strikes, .. }) = &known else { panic!("{known:?}") };
            assert_eq!(*strikes, expected, "{finish:?}");
        }
        assert_eq!(known, Some(Known::Tried { progress: Arc::new(upto(5)), strikes: 2 }));
        assert_eq!(note(Some(&Known::Finished), upto(7), Finish::Retryable), None);
    }
}
