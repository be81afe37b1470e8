//! Tenants' log groups and buckets with their credentials, cached.
//!
//! The key is the delivery and the cluster, and what is kept is a [`LogGroup`] or a [`TargetBucket`] bound to that
//! delivery: a session can be got through a delivery and used for nothing else. Misses for one key make one call. An entry goes before its
//! credentials lapse, earlier by a random part, so that many tenants' entries do not go together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;

use crate::aws::Aws;
use crate::aws::bucket::TargetBucket;
use crate::aws::logs::LogGroup;
use crate::aws::sts::{Roles, Writer};
use crate::core::failure::{Failure, FailureKind, Service};
use crate::core::tenant::{ClusterId, Delivery, DeliveryKey, Target};
use crate::core::time::UnixMillis;
use crate::world::World;

/// Sessions of a kind kept at most: each is a few KiB.
const SESSIONS_MAX: u64 = 1_000;
/// An entry goes so long before its credentials lapse, and up to as long again earlier.
const MARGIN: Duration = Duration::from_secs(300);
/// Credentials that lapse sooner are still used for so long.
const LIFE_MIN: Duration = Duration::from_secs(30);
/// How long a bucket is kept that needs no credentials of its own.
const AMBIENT_LIFE: Duration = Duration::from_secs(3600);

type Key = (DeliveryKey, ClusterId);

#[derive(Clone, Debug)]
struct Entry<T> {
    bound: T,
    life: Duration,
}

struct Life;

impl<T> Expiry<Key, Entry<T>> for Life {
    fn expire_after_create(&self, _key: &Key, entry: &Entry<T>, _created: Instant) -> Option<Duration> {
        Some(entry.life)
    }
}

/// The cache. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Credentials {
    aws: Aws,
    roles: Roles,
    world: World,
    groups: Cache<Key, Entry<LogGroup>>,
    buckets: Cache<Key, Entry<TargetBucket>>,
}

impl Credentials {
    /// An empty cache over `roles`.
    #[must_use]
    pub fn new(aws: &Aws, roles: Roles, world: World) -> Self {
        let groups = Cache::builder().max_capacity(SESSIONS_MAX).expire_after(Life).build();
        let buckets = Cache::builder().max_capacity(SESSIONS_MAX).expire_after(Life).build();
        Self { aws: aws.clone(), roles, world, groups, buckets }
    }

    /// The delivery's log group, with credentials for events of `cluster`.
    ///
    /// # Errors
    /// The failure of a hop; shared by all that waited for it, kept by none.
    pub async fn log_group(&self, delivery: &Delivery, cluster: &ClusterId) -> Result<LogGroup, Failure> {
        let Target::CloudWatch(target) = delivery.target() else {
            return Err(Failure {
                service: Service::Logs,
                operation: "PutLogEvents",
                kind: FailureKind::Other,
                text: "the delivery does not go to CloudWatch Logs".to_owned(),
                request_id: None,
            });
        };
        let load = async {
            let session = Box::pin(self.roles.assume(delivery, cluster)).await?;
            Ok(Entry { bound: LogGroup::new(&self.aws, target, &session), life: self.life(session.expires()) })
        };
        bound(&self.groups, delivery, cluster, load).await
    }

    /// The delivery's bucket, with who writes objects of `cluster` into it.
    ///
    /// # Errors
    /// As [`Self::log_group`].
    pub async fn bucket(&self, delivery: &Delivery, cluster: &ClusterId) -> Result<TargetBucket, Failure> {
        let Target::S3(target) = delivery.target() else {
            return Err(Failure {
                service: Service::S3,
                operation: "CopyObject",
                kind: FailureKind::Other,
                text: "the delivery does not go to a bucket".to_owned(),
                request_id: None,
            });
        };
        let load = async {
            let writer = Box::pin(self.roles.writer(delivery, cluster)).await?;
            let life = match &writer {
                Writer::Central(session) => self.life(session.expires()),
                Writer::Ambient => AMBIENT_LIFE,
            };
            Ok(Entry { bound: TargetBucket::new(&self.aws, target, &writer), life })
        };
        bound(&self.buckets, delivery, cluster, load).await
    }

    /// How long a session is kept that lapses at `expires`.
    fn life(&self, expires: UnixMillis) -> Duration {
        let millis = expires.0.saturating_sub(self.world.wall().0);
        let left = Duration::from_millis(u64::try_from(millis).unwrap_or(0));
        let share = u32::try_from(self.world.entropy() >> 33).unwrap_or(0);
        let early = MARGIN + MARGIN.mul_f64(f64::from(share) / f64::from(u32::MAX >> 1));
        left.saturating_sub(early).max(LIFE_MIN)
    }

    /// Forgets a session that was refused, so that the next call gets a new one.
    pub async fn forget(&self, delivery: &Delivery, cluster: &ClusterId) {
        let key = (delivery.key().clone(), cluster.clone());
        self.groups.invalidate(&key).await;
        self.buckets.invalidate(&key).await;
    }
}

/// What is kept for a delivery, or else loaded: once for all that ask meanwhile.
async fn bound<T: Clone + Send + Sync + 'static>(
    cache: &Cache<Key, Entry<T>>,
    delivery: &Delivery,
    cluster: &ClusterId,
    load: impl Future<Output = Result<Entry<T>, Failure>>,
) -> Result<T, Failure> {
    let key = (delivery.key().clone(), cluster.clone());
    cache.try_get_with(key, load).await.map(|entry| entry.bound).map_err(|failure: Arc<Failure>| (*failure).clone())
}
