//! Sums over all lanes and copies.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::core::tally::Tally;

/// Tenants that have sums of their own. Those of all that come later are added up in one row, [`OTHERS`].
const TENANTS_MAX: usize = 10_000;
/// The name of that row, which no tenant can have: a session tag takes no parentheses (STS API Reference, "Tag").
pub const OTHERS: &str = "(others)";

/// Sums over all lanes and copies, by tenant. The sum of all rows is that of all tenants, however many there are.
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
        let own_row = tenants.len() < TENANTS_MAX || tenants.contains_key(tenant);
        let name = if own_row { tenant } else { OTHERS };
        add(tenants.entry(name.to_owned()).or_default());
    }

    /// The sums now.
    #[must_use]
    pub fn snapshot(&self) -> HashMap<String, TenantTotals> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::tenant::TenantId;

    #[test]
    fn tenants_beyond_the_limit_share_a_row_and_the_sums_add_up() {
        assert!(TenantId::try_from(OTHERS).is_err(), "no tenant is mistaken for it");
        let totals = Totals::default();
        let count = 2 * TENANTS_MAX;
        for round in 1..=2 {
            for tenant in 0..count {
                totals.add(&format!("tenant-{tenant}"), |sums| sums.objects += 1);
            }
            let sums = totals.snapshot();
            assert_eq!(sums.len(), TENANTS_MAX + 1);
            assert_eq!(sums.values().map(|sums| sums.objects).sum::<u64>(), round * count as u64);
            assert_eq!(sums["tenant-0"].objects, round, "who has a row keeps it");
            assert_eq!(sums[OTHERS].objects, round * TENANTS_MAX as u64);
        }
    }
}
