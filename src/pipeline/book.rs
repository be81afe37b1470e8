//! What is known of deliveries of objects that were tried before: that they are finished, or how far they came.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lru::LruCache;
use sha2::{Digest, Sha256};

use crate::core::checkpoint::Checkpoint;
use crate::core::object::{ETag, ObjectRef};
use crate::core::progress::Progress;
use crate::core::settlement::Finish;
use crate::core::tenant::DeliveryKey;
use crate::core::time::Tick;
use crate::world::World;

/// Deliveries of objects that are remembered, so that a message of several, or one that comes again, does not repeat them.
const ENTRIES_MAX: usize = 10_000;
/// For how long: a message is in flight for 12 hours at most (SQS Developer Guide, "Visibility timeout").
const LIFE: Duration = Duration::from_secs(12 * 60 * 60);

/// Checkpoints that are kept, of up to 33 KB each.
const CHECKPOINTS_MAX: usize = 64;

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
    entries: Arc<Latest<Known>>,
    checkpoints: Arc<Latest<Arc<Checkpoint>>>,
}

impl Book {
    /// An empty one.
    #[must_use]
    pub fn new(world: World) -> Self {
        Self {
            entries: Arc::new(Latest::new(ENTRIES_MAX, world)),
            checkpoints: Arc::new(Latest::new(CHECKPOINTS_MAX, world)),
        }
    }

    /// What is known of the delivery of a version of an object. Without a version or a tag nothing ever is.
    #[must_use]
    pub fn find(&self, object: &ObjectRef, to: &DeliveryKey) -> Option<Known> {
        self.entries.get(&identity(object, to)?)
    }

    /// Remembers that an object is delivered: the version that was told of, and the one that was `read` in its place.
    pub fn finish(&self, object: &ObjectRef, read: Option<ETag>, to: &DeliveryKey) {
        let told = identity(object, to);
        let instead = read.filter(|read| object.etag.as_ref() != Some(read));
        let read = read_instead(object, instead).and_then(|read| identity(&read, to));
        for key in [told, read].into_iter().flatten() {
            self.entries.put(key, Known::Finished);
        }
    }

    /// Where a version of an object may be gone on with, by whoever has settled all before.
    #[must_use]
    pub fn checkpoint(&self, object: &ObjectRef, to: &DeliveryKey) -> Option<Arc<Checkpoint>> {
        self.checkpoints.get(&identity(object, to)?)
    }

    /// Remembers such a place.
    pub fn keep_checkpoint(
        &self,
        object: &ObjectRef,
        read: Option<ETag>,
        to: &DeliveryKey,
        checkpoint: Arc<Checkpoint>,
    ) {
        let read = read_instead(object, read);
        if let Some(key) = identity(read.as_ref().unwrap_or(object), to) {
            self.checkpoints.put(key, checkpoint);
        }
    }

    /// Takes in what was known elsewhere.
    pub fn learn(&self, object: &ObjectRef, to: &DeliveryKey, known: Known) {
        if let Some(key) = identity(object, to) {
            self.entries.put(key, known);
        }
    }

    /// Remembers how far an attempt came that ended in `finish`. Gives the strikes now, if it can be known which object it
    /// was.
    pub fn fail(
        &self,
        object: &ObjectRef,
        read: Option<ETag>,
        to: &DeliveryKey,
        progress: Progress,
        finish: Finish,
    ) -> Option<u32> {
        let read = read_instead(object, read);
        let key = identity(read.as_ref().unwrap_or(object), to)?;
        match self.entries.change(key, |before| note(before, progress, finish)) {
            Some(Known::Tried { strikes, .. }) => Some(strikes),
            Some(Known::Finished) | None => None,
        }
    }
}

/// What was put in last: so much of it, and for [`LIFE`]. It is asked for once or twice for each object.
#[derive(Debug)]
struct Latest<V> {
    kept: Mutex<LruCache<Key, (Tick, V)>>,
    most: usize,
    world: World,
}

impl<V: Clone> Latest<V> {
    /// Room for `most`, which is taken as it fills.
    fn new(most: usize, world: World) -> Self {
        Self { kept: Mutex::new(LruCache::unbounded()), most, world }
    }

    /// What is known. To ask does not make it last longer.
    fn get(&self, key: &Key) -> Option<V> {
        self.change(*key, |_| None)
    }

    fn put(&self, key: Key, value: V) {
        self.change(key, |_| Some(value));
    }

    /// Has what is known made into something else, or left as it is. Gives what is known then.
    fn change(&self, key: Key, to: impl FnOnce(Option<&V>) -> Option<V>) -> Option<V> {
        let now = self.world.now();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let before = kept.peek(&key).filter(|(since, _)| now.since(*since) < LIFE).map(|(_, value)| value);
        let Some(value) = to(before) else { return before.cloned() };
        kept.put(key, (now, value.clone()));
        if kept.len() > self.most {
            kept.pop_lru();
        }
        Some(value)
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
    for part in [&*object.bucket, &*object.key, version, to.tenant().as_str(), to.target()] {
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
        deliveries(&tenant, &[row], UnixMillis(0)).deliveries[0].key().clone()
    }

    /// The latest are remembered, however often earlier ones were asked for: they are the ones whose messages may come again.
    #[tokio::test(start_paused = true)]
    async fn the_latest_are_remembered_for_a_while() {
        let book = Book::new(World::simulated(UnixMillis(0)));
        let object = |at: usize| ObjectRef {
            bucket: "b".into(),
            key: format!("{at}").into(),
            version: None,
            etag: Some(ETag::new("tag")),
            size: None,
            sequencer: None,
        };
        let to = delivery();
        for at in 0..2 * ENTRIES_MAX {
            assert_eq!(book.find(&object(at), &to), None);
            book.finish(&object(at), None, &to);
            let first = (at < ENTRIES_MAX).then_some(Known::Finished);
            assert_eq!(book.find(&object(0), &to), first, "{at}");
        }
        let known = |at: usize| book.find(&object(at), &to).is_some();
        assert_eq!([ENTRIES_MAX - 1, ENTRIES_MAX, 2 * ENTRIES_MAX - 1].map(known), [false, true, true]);
        tokio::time::advance(LIFE / 2).await;
        book.finish(&object(ENTRIES_MAX), Some(ETag::new("other")), &to);
        tokio::time::advance(LIFE / 2).await;
        assert_eq!([ENTRIES_MAX, 2 * ENTRIES_MAX - 1].map(known), [true, false]);
        let other = ObjectRef { etag: Some(ETag::new("other")), ..object(ENTRIES_MAX) };
        assert_eq!(book.find(&other, &to), Some(Known::Finished), "the version that was read in its place");
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
