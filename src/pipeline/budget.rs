//! One memory budget for the whole process, handed out as permits.
//!
//! The budget is cut into four classes, claimed strictly in this order: an object's **reserve**, a long record's
//! **carry**, the one **big record**, a batch's **growth**. A holder may wait for a later class and never for an earlier
//! one, and a batch waits for nothing but its send. So there is no cycle, whatever the load: admitted objects always have
//! what they need to fill a batch, and filled batches always get sent and give their bytes back.
//!
//! A tenant holds at most half of the reserves and half of the growth, so a tenant whose account accepts nothing leaves
//! the other half to the others. When a growth permit has to wait, the largest lingering batch is told to seal at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::core::tenant::TenantId;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Step in which batches charge the budget, bytes.
pub const GROWTH_STEP_BYTES: u64 = 64 * KIB;
/// Most bytes of one record's carry before it needs the process-wide permit for big records.
pub const CARRY_BYTES_MAX: u64 = MIB;
/// Carries of up to [`CARRY_BYTES_MAX`] that may exist at a time.
const CARRIES_MAX: u64 = 2;
/// Most growth that one event may need: 1 MiB of text in which each byte is a six-byte escape, and its frame.
pub const EVENT_GROWTH_MAX: u64 = 6 * MIB + 2 * GROWTH_STEP_BYTES;
/// Least growth class: half of it (a tenant's share) must hold the largest event.
const GROWTH_MIN: u64 = 2 * EVENT_GROWTH_MAX + 2 * GROWTH_STEP_BYTES;
/// Least reserve class: half of it (a tenant's share) must hold the reserve of one large object.
const RESERVE_MIN: u64 = 4 * MIB;
const _: () = assert!(OBJECT_RESERVE_MAX * 2 <= RESERVE_MIN);

/// What an object holds besides its undecoded chunks: decoder state, carry up to one window, bookkeeping.
pub const OBJECT_BASE_BYTES: u64 = 256 * KIB;
/// Undecoded bytes per chunk, and chunks per object: one being filled, one waiting, one being decoded.
pub const CHUNK_BYTES: u64 = 256 * KIB;
/// See [`CHUNK_BYTES`].
pub const CHUNKS_PER_OBJECT: u64 = 3;
/// The reserve of an object of any size.
pub const OBJECT_RESERVE_MAX: u64 = OBJECT_BASE_BYTES + CHUNKS_PER_OBJECT * CHUNK_BYTES;

/// The budget is too small for what the other settings ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("MEMORY_BUDGET is {given} bytes; with RECORD_BYTES_MAX at {record} it must be at least {least}")]
pub struct BudgetTooSmall {
    given: u64,
    record: u64,
    least: u64,
}

/// A claim on memory; dropping it gives the bytes back.
#[derive(Debug, Default)]
pub struct Permit {
    parts: Vec<OwnedSemaphorePermit>,
    bytes: u64,
}

impl Permit {
    /// Bytes held.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds another claim to this one.
    pub fn merge(&mut self, other: Self) {
        self.bytes += other.bytes;
        for part in other.parts {
            match self.parts.iter_mut().find(|mine| Arc::ptr_eq(mine.semaphore(), part.semaphore())) {
                Some(mine) => mine.merge(part),
                None => self.parts.push(part),
            }
        }
    }
}

/// A semaphore that counts KiB.
#[derive(Clone, Debug)]
struct Pool {
    permits: Arc<Semaphore>,
    kib: u32,
}

impl Pool {
    fn new(bytes: u64) -> Self {
        let kib = u32::try_from(bytes / KIB).unwrap_or(u32::MAX);
        Self { permits: Arc::new(Semaphore::new(usize::try_from(kib).unwrap_or(usize::MAX))), kib }
    }

    /// The claim in KiB, at most the pool itself, so that nobody waits for what can never come.
    fn kib(&self, bytes: u64) -> u32 {
        u32::try_from(bytes.div_ceil(KIB)).unwrap_or(u32::MAX).min(self.kib)
    }

    async fn acquire(&self, bytes: u64) -> Permit {
        let kib = self.kib(bytes);
        let Ok(permit) = Arc::clone(&self.permits).acquire_many_owned(kib).await else {
            unreachable!("the budget's semaphores are never closed")
        };
        Permit { parts: vec![permit], bytes: u64::from(kib) * KIB }
    }

    fn try_acquire(&self, bytes: u64) -> Option<Permit> {
        let kib = self.kib(bytes);
        let permit = Arc::clone(&self.permits).try_acquire_many_owned(kib).ok()?;
        Some(Permit { parts: vec![permit], bytes: u64::from(kib) * KIB })
    }

    fn used(&self) -> u64 {
        let free = u64::try_from(self.permits.available_permits()).unwrap_or(u64::MAX);
        (u64::from(self.kib)).saturating_sub(free) * KIB
    }
}

/// The budget of the process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Budget {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    reserve: Pool,
    carry: Pool,
    big: Pool,
    growth: Pool,
    shares: Mutex<HashMap<TenantId, Share>>,
    lingering: Mutex<HashMap<u64, Lingering>>,
}

/// A tenant's halves. Kept while one of its lanes lives.
#[derive(Debug)]
struct Share {
    reserve: Pool,
    growth: Pool,
    lanes: usize,
}

/// An open batch that waits for more events.
#[derive(Debug)]
struct Lingering {
    bytes: u64,
    seal: Arc<Notify>,
}

impl Budget {
    /// Cuts `bytes` into the classes; `record_bytes_max` is set aside for the one big record.
    ///
    /// # Errors
    /// [`BudgetTooSmall`] when a class would be too small for one object, record or event.
    pub fn new(bytes: u64, record_bytes_max: u64) -> Result<Self, BudgetTooSmall> {
        let carry = CARRIES_MAX * CARRY_BYTES_MAX;
        let least = record_bytes_max + carry + RESERVE_MIN + GROWTH_MIN;
        if bytes < least {
            return Err(BudgetTooSmall { given: bytes, record: record_bytes_max, least });
        }
        let spare = bytes - least;
        let inner = Inner {
            reserve: Pool::new(RESERVE_MIN + spare / 2),
            carry: Pool::new(carry),
            big: Pool::new(record_bytes_max.max(KIB)),
            growth: Pool::new(GROWTH_MIN + (spare - spare / 2)),
            shares: Mutex::default(),
            lingering: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A lane's view of the budget, within its tenant's share.
    #[must_use]
    pub fn lane(&self, tenant: &TenantId, lane: u64) -> LaneBudget {
        let mut shares = self.inner.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let share = shares.entry(tenant.clone()).or_insert_with(|| Share {
            reserve: Pool::new(u64::from(self.inner.reserve.kib) * KIB / 2),
            growth: Pool::new(u64::from(self.inner.growth.kib) * KIB / 2),
            lanes: 0,
        });
        share.lanes += 1;
        let (reserve, growth) = (share.reserve.clone(), share.growth.clone());
        drop(shares);
        LaneBudget { budget: self.clone(), tenant: tenant.clone(), lane, reserve, growth, seal: Arc::default() }
    }

    /// Bytes claimed now, over all classes.
    #[must_use]
    pub fn used(&self) -> u64 {
        let inner = &self.inner;
        inner.reserve.used() + inner.carry.used() + inner.big.used() + inner.growth.used()
    }

    /// Tells the largest lingering batch to seal, because a permit waits.
    fn press(&self) {
        let lingering = self.inner.lingering.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(largest) = lingering.values().max_by_key(|batch| batch.bytes) {
            largest.seal.notify_one();
        }
    }
}

/// A lane's view of the budget: claims are held to the tenant's share as well.
#[derive(Debug)]
pub struct LaneBudget {
    budget: Budget,
    tenant: TenantId,
    lane: u64,
    reserve: Pool,
    growth: Pool,
    seal: Arc<Notify>,
}

impl LaneBudget {
    /// Waits for all that an object of `size` stored bytes (unknown: any) needs to run alone.
    pub async fn admit(&self, size: Option<u64>) -> Permit {
        let chunks = size.map_or(CHUNKS_PER_OBJECT * CHUNK_BYTES, |size| size.min(CHUNKS_PER_OBJECT * CHUNK_BYTES));
        let bytes = OBJECT_BASE_BYTES + chunks;
        let mut permit = self.reserve.acquire(bytes).await;
        let whole = self.budget.inner.reserve.acquire(bytes).await;
        permit.parts.extend(whole.parts);
        permit
    }

    /// Waits for the memory of a record longer than a window, at most [`CARRY_BYTES_MAX`].
    pub async fn carry(&self) -> Permit {
        self.budget.inner.carry.acquire(CARRY_BYTES_MAX).await
    }

    /// Waits for the process-wide permit for a record of any allowed length. Hold a [`Self::carry`] first.
    pub async fn big_record(&self) -> Permit {
        self.budget.inner.big.acquire(u64::MAX).await
    }

    /// Claims bytes for the open batch if they are free, and presses the largest lingering batch if they are not.
    #[must_use]
    pub fn try_grow(&self, bytes: u64) -> Option<Permit> {
        let grown = self.growth.try_acquire(bytes).and_then(|mut permit| {
            let whole = self.budget.inner.growth.try_acquire(bytes)?;
            permit.parts.extend(whole.parts);
            Some(permit)
        });
        if grown.is_none() {
            self.budget.press();
        }
        grown
    }

    /// Waits for bytes for a batch. The caller must hold no growth: its sealed batches are sent first.
    pub async fn grow(&self, bytes: u64) -> Permit {
        if let Some(permit) = self.try_grow(bytes) {
            return permit;
        }
        let mut permit = self.growth.acquire(bytes).await;
        self.budget.press();
        let whole = self.budget.inner.growth.acquire(bytes).await;
        permit.parts.extend(whole.parts);
        permit
    }

    /// Says that this lane's open batch waits for more events, and may be sealed when others need its `bytes`.
    pub fn linger(&self, bytes: u64) -> Arc<Notify> {
        let mut lingering = self.budget.inner.lingering.lock().unwrap_or_else(PoisonError::into_inner);
        lingering.insert(self.lane, Lingering { bytes, seal: Arc::clone(&self.seal) });
        Arc::clone(&self.seal)
    }

    /// Ends [`Self::linger`].
    pub fn busy(&self) {
        self.budget.inner.lingering.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.lane);
    }
}

impl Drop for LaneBudget {
    fn drop(&mut self) {
        self.busy();
        let mut shares = self.budget.inner.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get_mut(&self.tenant) {
            share.lanes -= 1;
            if share.lanes == 0 {
                shares.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: u64 = 40 * MIB;
    const RECORD: u64 = 16 * MIB;

    fn tenant(name: &str) -> TenantId {
        TenantId::try_from(name).unwrap()
    }

    #[test]
    fn the_classes_add_up_to_the_budget_and_the_default_fits() {
        let budget = Budget::new(BUDGET, RECORD).unwrap();
        let inner = &budget.inner;
        let sum: u64 = [&inner.reserve, &inner.carry, &inner.big, &inner.growth]
            .map(|pool| u64::from(pool.kib) * KIB)
            .iter()
            .sum();
        assert_eq!(sum, BUDGET);
        assert_eq!(Budget::new(20 * MIB, RECORD).unwrap_err().given, 20 * MIB);
    }

    #[test]
    fn a_tenant_gets_half_of_the_growth_and_another_the_other_half() {
        let budget = Budget::new(BUDGET, RECORD).unwrap();
        let loud = budget.lane(&tenant("loud"), 1);
        let quiet = budget.lane(&tenant("quiet"), 2);
        let mut held = Vec::new();
        while let Some(permit) = loud.try_grow(GROWTH_STEP_BYTES) {
            held.push(permit);
        }
        assert!(quiet.try_grow(EVENT_GROWTH_MAX).is_some());
        drop(held);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn a_waiting_permit_seals_the_largest_lingering_batch() {
        let budget = Budget::new(BUDGET, RECORD).unwrap();
        let small = budget.lane(&tenant("t"), 1);
        let large = budget.lane(&tenant("t"), 2);
        let asks = budget.lane(&tenant("t"), 3);
        let _small = small.linger(10);
        let seal = large.linger(20);
        let mut held = asks.try_grow(u64::MAX);
        assert!(asks.try_grow(1).is_none());
        seal.notified().await;
        held.take();
        assert!(asks.try_grow(1).is_some());
    }
}
