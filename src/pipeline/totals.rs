//! Sums over all lanes and copies.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::core::tally::Tally;

/// Sums over all lanes and copies, by tenant.
#[derive(Debug, Default)]
pub struct Totals {
    tenants: Mutex<HashMap<String, TenantTotals>>,
}

/// One tenant's sums.
#[derive(Clone, Debug, Default)]
pub struct TenantTotals {
    /// Objects finished.
    pub objects: u64,
    /// Decompressed bytes read.
    pub bytes: u64,
    /// Decompressed bytes of the objects that were delivered.
    pub delivered_bytes: u64,
    /// Events.
    pub tally: Tally,
    /// Accepted calls of PutLogEvents.
    pub batches: u64,
    /// Bytes in them as the API counts them.
    pub billed_bytes: u64,
    /// Objects copied into the tenant's bucket.
    pub copies: u64,
    /// Bytes of them, as stored.
    pub copied_bytes: u64,
}

impl Totals {
    pub(super) fn add(&self, tenant: &str, add: impl FnOnce(&mut TenantTotals)) {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        add(tenants.entry(tenant.to_owned()).or_default());
    }

    /// The sums now.
    #[must_use]
    pub fn snapshot(&self) -> HashMap<String, TenantTotals> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
