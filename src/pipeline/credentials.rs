//! Tenants' log groups with their credentials, cached.
//!
//! The key is the delivery and the cluster, and what is kept is a [`LogGroup`] bound to that delivery: a session can be
//! got through a delivery and used for nothing else. Misses for one key make one call. An entry goes before its
//! credentials lapse, earlier by a random part, so that many tenants' entries do not go together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;

use crate::aws::Aws;
use crate::aws::logs::LogGroup;
use crate::aws::sts::Roles;
use crate::core::failure::{Failure, FailureKind, Service};
use crate::core::tenant::{ClusterId, Delivery, DeliveryKey, Target};
use crate::world::World;

/// Sessions kept at most: each is a few KiB.
const SESSIONS_MAX: u64 = 1_000;
/// An entry goes so long before its credentials lapse, and up to as long again earlier.
const MARGIN: Duration = Duration::from_secs(300);
/// Credentials that lapse sooner are still used for so long.
const LIFE_MIN: Duration = Duration::from_secs(30);

type Key = (DeliveryKey, ClusterId);

#[derive(Clone, Debug)]
struct Entry {
    group: LogGroup,
    life: Duration,
}

struct Life;

impl Expiry<Key, Entry> for Life {
    fn expire_after_create(&self, _key: &Key, entry: &Entry, _created: Instant) -> Option<Duration> {
        Some(entry.life)
    }
}

/// The cache. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Credentials {
    aws: Aws,
    roles: Roles,
    world: World,
    cache: Cache<Key, Entry>,
}

impl Credentials {
    /// An empty cache over `roles`.
    #[must_use]
    pub fn new(aws: &Aws, roles: Roles, world: World) -> Self {
        let cache = Cache::builder().max_capacity(SESSIONS_MAX).expire_after(Life).build();
        Self { aws: aws.clone(), roles, world, cache }
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
            let millis = session.expires().0.saturating_sub(self.world.wall().0);
            let left = Duration::from_millis(u64::try_from(millis).unwrap_or(0));
            let share = u32::try_from(self.world.entropy() >> 33).unwrap_or(0);
            let early = MARGIN + MARGIN.mul_f64(f64::from(share) / f64::from(u32::MAX >> 1));
            let life = left.saturating_sub(early).max(LIFE_MIN);
            Ok(Entry { group: LogGroup::new(&self.aws, target, &session), life })
        };
        let key = (delivery.key(), cluster.clone());
        self.cache
            .try_get_with(key, load)
            .await
            .map(|entry| entry.group)
            .map_err(|failure: Arc<Failure>| (*failure).clone())
    }

    /// Forgets a session that was refused, so that the next call gets a new one.
    pub async fn forget(&self, delivery: &Delivery, cluster: &ClusterId) {
        self.cache.invalidate(&(delivery.key(), cluster.clone())).await;
    }
}
