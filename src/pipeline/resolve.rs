//! Tenants' deliveries, cached.
//!
//! Misses for one tenant make one query. That a tenant has no rows is confirmed by a consistent read and kept for a short
//! time only. When the table cannot be read, what was known last is used on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;
use tracing::warn;

use crate::aws::dynamodb::TenantTable;
use crate::core::failure::Failure;
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
    world: World,
    fresh: Cache<TenantId, Resolved>,
    stale: Cache<TenantId, Arc<TenantConfig>>,
}

impl Resolver {
    /// An empty cache over `table` that keeps answers for `life` and at most `tenants_max` of them.
    #[must_use]
    pub fn new(table: TenantTable, life: Duration, tenants_max: u64, world: World) -> Self {
        let fresh = Cache::builder().max_capacity(tenants_max).expire_after(Life { known: life }).build();
        let stale = Cache::builder().max_capacity(tenants_max).time_to_live(STALE_LIFE).build();
        Self { table, world, fresh, stale }
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
        match self.query(tenant).await {
            Ok(Some(config)) => {
                for error in &config.invalid {
                    warn!(%tenant, cause = %error, "tenant row is invalid");
                }
                for warning in &config.warnings {
                    warn!(%tenant, cause = %warning, "tenant row has an odd field");
                }
                self.stale.insert(tenant.clone(), Arc::clone(&config)).await;
                Ok(Some(config))
            }
            Ok(None) => {
                self.stale.invalidate(tenant).await;
                Ok(None)
            }
            Err(failure) => match self.stale.get(tenant).await {
                Some(config) => {
                    warn!(%tenant, cause = %failure, "tenant table cannot be read; the last answer is used");
                    Ok(Some(config))
                }
                None => Err(failure),
            },
        }
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
