//! Tenants' deliveries, cached.
//!
//! Misses for one tenant make one query. That a tenant has no rows is confirmed by a consistent read and kept for a short
//! time only. When the table cannot be read, what was known last is used on; if nothing was, the call is tried again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;
use tracing::warn;

use super::retries::Retries;
use crate::aws::dynamodb::TenantTable;
use crate::core::failure::{Attempts, Failure, Service};
use crate::core::tenant::{TenantConfig, TenantId, deliveries};
use crate::world::World;

/// How long it is kept that a tenant is unknown.
const UNKNOWN_LIFE: Duration = Duration::from_secs(15);
/// How long an answer may be used when the table cannot be read.
const STALE_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// What the table says of a tenant; none: it has no rows.
pub type Resolved = Option<Arc<TenantConfig>>;

struct Life {
    known: Duration,
}

impl Expiry<TenantId, Resolved> for Life {
    fn expire_after_create(&self, _tenant: &TenantId, resolved: &Resolved, _created: Instant) -> Option<Duration> {
        Some(if resolved.is_some() { self.known } else { self.known.min(UNKNOWN_LIFE) })
    }
}

/// The cache. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Resolver {
    table: TenantTable,
    retries: Retries,
    world: World,
    fresh: Cache<TenantId, Resolved>,
    stale: Cache<TenantId, Arc<TenantConfig>>,
}

impl Resolver {
    /// An empty cache over `table` that keeps answers for `life` and at most `tenants_max` of them.
    #[must_use]
    pub fn new(table: TenantTable, life: Duration, tenants_max: u64, retries: Retries, world: World) -> Self {
        let fresh = Cache::builder().max_capacity(tenants_max).expire_after(Life { known: life }).build();
        let stale = Cache::builder().max_capacity(tenants_max).time_to_live(STALE_LIFE).build();
        Self { table, retries, world, fresh, stale }
    }

    /// What the table says of `tenant`.
    ///
    /// # Errors
    /// The table could not be read, and nothing is known of the tenant.
    pub async fn resolve(&self, tenant: &TenantId) -> Result<Resolved, Failure> {
        self.fresh
            .try_get_with_by_ref(tenant, self.load(tenant))
            .await
            .map_err(|failure: Arc<Failure>| (*failure).clone())
    }

    async fn load(&self, tenant: &TenantId) -> Result<Resolved, Failure> {
        let mut attempts = Attempts::default();
        loop {
            let failure = match self.query(tenant).await {
                Ok(resolved) => {
                    self.retries.succeeded(Service::DynamoDb);
                    return Ok(self.take_in(tenant, resolved).await);
                }
                Err(failure) => failure,
            };
            if let Some(config) = self.stale.get(tenant).await {
                warn!(%tenant, cause = %failure, "tenant table cannot be read; the last answer is used");
                return Ok(Some(config));
            }
            match self.retries.next(&mut attempts, Service::DynamoDb, failure.verdict()) {
                Some(delay) => tokio::time::sleep(delay).await,
                None => return Err(failure),
            }
        }
    }

    /// Takes in what the table says.
    async fn take_in(&self, tenant: &TenantId, resolved: Resolved) -> Resolved {
        match &resolved {
            Some(config) => {
                for error in &config.invalid {
                    warn!(%tenant, cause = %error, "tenant row is invalid");
                }
                for warning in &config.warnings {
                    warn!(%tenant, cause = %warning, "tenant row has an odd field");
                }
                self.stale.insert(tenant.clone(), Arc::clone(config)).await;
            }
            None => self.stale.invalidate(tenant).await,
        }
        resolved
    }

    async fn query(&self, tenant: &TenantId) -> Result<Resolved, Failure> {
        for consistent in [false, true] {
            let rows = self.table.rows(tenant, consistent).await?;
            let config = deliveries(tenant, &rows, self.world.wall());
            // Rows whose time is up count as gone, although the table still shows them.
            if rows.len() > config.expired {
                return Ok(Some(Arc::new(config)));
            }
        }
        Ok(None)
    }
}
