//! One memory budget for the whole process, handed out as permits.
//!
//! The budget is cut into classes, claimed strictly in this order: an object's **reserve**, a long record's **carry**, the
//! one **big record**, a batch's **growth**, and with a reject store the **file** of what a batch's events were not taken
//! for. A holder may wait for a later class and never for an earlier one; a batch waits for nothing but its send and its
//! files, one after the other, and a file for nothing but its call, which is tried a limited number of times. So there is
//! no cycle, whatever the load: admitted objects always have what they need to fill a batch, and filled batches always get
//! sent and give their bytes back.
//!
//! Each class is shared between tenants as [`super::share`] says: a tenant holds at most half, and those whose accounts
//! accept nothing leave a part to the others. While a growth permit waits, the largest lingering batch is told to seal.
//!
//! Bodies of full batches, their entries, chunks and what is kept of windows are used again ([`Shelf`]). What is kept of them
//! is part of what their class has free: less is kept when more is claimed, three at least, and none when there is no lane
//! left.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::share::{Claim, Pool};
use crate::core::batch::{Entry, FULL_BODY_BYTES, FULL_ENTRIES, GROW_BYTES};
use crate::core::decode::Window;
use crate::core::rejects::FILE_BYTES_MAX;
use crate::core::shelf::{Buffer, Shelf};
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

/// Decompressed bytes that are scanned at a time. With its neighbours it stays in a core's L2 cache.
pub const WINDOW_BYTES: usize = 128 * 1024;
/// What is kept of an object's window between turns, at most, but for the carry of a long record.
const KEPT_WINDOW_BYTES: usize = Window::kept_max(WINDOW_BYTES);
const _: () = assert!(KEPT_WINDOW_BYTES as u64 <= OBJECT_BASE_BYTES * 3 / 4);
/// What an object holds besides its undecoded chunks: decoder state, carry up to one window, bookkeeping.
pub const OBJECT_BASE_BYTES: u64 = 256 * KIB;
/// Undecoded bytes per chunk, and chunks per object: one being filled, one waiting, one being decoded.
pub const CHUNK_BYTES: u64 = 256 * KIB;
/// See [`CHUNK_BYTES`].
pub const CHUNKS_PER_OBJECT: u64 = 3;
/// How often the largest lingering batch is told to seal while a batch waits for growth.
const PRESS_EVERY: Duration = Duration::from_millis(50);
/// The reserve of an object of any size.
pub const OBJECT_RESERVE_MAX: u64 = OBJECT_BASE_BYTES + CHUNKS_PER_OBJECT * CHUNK_BYTES;

/// Files of rejected events, over all lanes. A line that is longer than a file claims all that there is: one such is written at
/// a time, and what it holds above that, some MiB at most, is not charged.
const REJECT_FILES_MAX: u64 = 4;
/// Bytes that are set aside for them when they are written at all.
pub const REJECTS_BYTES: u64 = REJECT_FILES_MAX * FILE_BYTES_MAX as u64;

/// Of what is free for batches, so much may be kept in short bodies: a fourth. The rest may be in full ones.
const SHORT_SHARE: u64 = 4;
/// Buffers of each kind that are kept whatever is claimed: what has just been given back is wanted by the next in line.
const KEPT_MIN: u64 = 3;
/// What the buffers of a full batch claim, which are used again: its body and its entries.
pub const BODY_BYTES: u64 = (FULL_BODY_BYTES + FULL_ENTRIES * size_of::<Entry>()).next_multiple_of(GROW_BYTES) as u64;
const _: () = assert!(BODY_BYTES.is_multiple_of(GROWTH_STEP_BYTES) && BODY_BYTES <= GROWTH_MIN / 2);
const _: () = assert!(GROW_BYTES as u64 == GROWTH_STEP_BYTES);

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
    claims: Vec<Claim>,
}

impl Permit {
    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.claims.iter().map(Claim::units).sum()
    }

    /// Takes so many bytes out, or all.
    #[must_use]
    pub fn split(&mut self, bytes: u64) -> Self {
        let mut taken = Self::default();
        for claim in &mut self.claims {
            let part = claim.split(bytes - taken.bytes());
            taken.merge(part.into());
        }
        taken
    }

    /// Adds another claim to this one.
    pub fn merge(&mut self, other: Self) {
        for claim in other.claims {
            match self.claims.iter_mut().find(|mine| mine.is_like(&claim)) {
                Some(mine) => mine.merge(claim),
                None => self.claims.push(claim),
            }
        }
    }
}

impl From<Claim> for Permit {
    fn from(claim: Claim) -> Self {
        Self { claims: vec![claim] }
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
    rejects: Pool,
    bodies: Arc<Shelf>,
    entries: Arc<Shelf<Entry>>,
    short_bodies: Arc<Shelf>,
    chunks: Arc<Shelf>,
    windows: Arc<Shelf>,
    lanes: AtomicUsize,
    lingering: Mutex<HashMap<u64, Lingering>>,
}

/// An open batch that waits for more events.
#[derive(Debug)]
struct Lingering {
    /// Claimed, and of them filled.
    bytes: (u64, u64),
    seal: Arc<Notify>,
}

impl Budget {
    /// Cuts `bytes` into the classes; `record_bytes_max` is set aside for the one big record.
    ///
    /// # Errors
    /// [`BudgetTooSmall`] when a class would be too small for one object, record or event.
    pub fn new(bytes: u64, record_bytes_max: u64) -> Result<Self, BudgetTooSmall> {
        Self::cut(bytes, record_bytes_max, 0)
    }

    /// The same with [`REJECTS_BYTES`] for a reject store.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_rejects(bytes: u64, record_bytes_max: u64) -> Result<Self, BudgetTooSmall> {
        Self::cut(bytes, record_bytes_max, REJECTS_BYTES)
    }

    fn cut(bytes: u64, record_bytes_max: u64, rejects: u64) -> Result<Self, BudgetTooSmall> {
        let carry = CARRIES_MAX * CARRY_BYTES_MAX;
        let least = record_bytes_max + carry + RESERVE_MIN + GROWTH_MIN + rejects;
        if bytes < least {
            return Err(BudgetTooSmall { given: bytes, record: record_bytes_max, least });
        }
        let spare = bytes - least;
        let inner = Inner {
            reserve: Pool::new(RESERVE_MIN + spare / 2),
            carry: Pool::new(carry),
            big: Pool::new(record_bytes_max.max(KIB)),
            growth: Pool::new(GROWTH_MIN + (spare - spare / 2)),
            rejects: Pool::new(rejects),
            bodies: Shelf::new(FULL_BODY_BYTES),
            entries: Shelf::new(FULL_ENTRIES),
            short_bodies: Shelf::new(GROW_BYTES),
            chunks: Shelf::new(usize::try_from(CHUNK_BYTES).unwrap_or(usize::MAX)),
            windows: Shelf::new(KEPT_WINDOW_BYTES),
            lanes: AtomicUsize::new(0),
            lingering: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A lane's view of the budget, within its tenant's share.
    #[must_use]
    pub fn lane(&self, tenant: &TenantId, lane: u64) -> LaneBudget {
        self.inner.lanes.fetch_add(1, Ordering::Relaxed);
        LaneBudget { budget: self.clone(), tenant: tenant.clone(), lane, seal: Arc::default() }
    }

    /// Bytes claimed now, over all classes.
    #[must_use]
    pub fn used(&self) -> u64 {
        let inner = &self.inner;
        inner.reserve.used() + inner.carry.used() + inner.big.used() + inner.growth.used() + inner.rejects.used()
    }

    /// Chunks of [`CHUNK_BYTES`]. Whoever takes one holds an object's reserve, or has claimed it.
    #[must_use]
    pub fn chunks(&self) -> Arc<Shelf> {
        Arc::clone(&self.inner.chunks)
    }

    /// Keeps no more buffers than there is room for beside what is claimed.
    fn tidy(&self) {
        let free = self.inner.growth.free();
        let full = (free - free / SHORT_SHARE) / BODY_BYTES + KEPT_MIN;
        self.inner.bodies.cut(full);
        self.inner.entries.cut(full);
        self.inner.short_bodies.cut(free / SHORT_SHARE / GROWTH_STEP_BYTES + KEPT_MIN);
        let objects = self.inner.reserve.free() / OBJECT_RESERVE_MAX;
        self.inner.chunks.cut(objects * CHUNKS_PER_OBJECT + KEPT_MIN);
        self.inner.windows.cut(objects + KEPT_MIN);
    }

    /// Where files of rejected events claim their bytes.
    #[must_use]
    pub fn rejects(&self) -> Pool {
        self.inner.rejects.clone()
    }

    /// Tells the largest lingering batch to seal, because something waits that it holds some of. Told again, the next one.
    pub fn press(&self) {
        let mut lingering = self.inner.lingering.lock().unwrap_or_else(PoisonError::into_inner);
        let largest = lingering.iter().max_by_key(|(lane, batch)| (batch.bytes, **lane)).map(|(lane, _)| *lane);
        if let Some(largest) = largest.and_then(|lane| lingering.remove(&lane)) {
            largest.seal.notify_one();
        }
    }
}

/// A lane's view of the budget: all its claims are its tenant's.
#[derive(Debug)]
pub struct LaneBudget {
    budget: Budget,
    tenant: TenantId,
    lane: u64,
    seal: Arc<Notify>,
}

/// All that an object of `size` stored bytes (unknown: any) needs to run alone, with a decoder's `window`.
const fn reserve_of(size: Option<u64>, window: u64) -> u64 {
    let most = CHUNKS_PER_OBJECT * CHUNK_BYTES;
    OBJECT_BASE_BYTES
        + window
        + match size {
            Some(size) if size < most => size,
            Some(_) | None => most,
        }
}

impl LaneBudget {
    /// Whose lane it is.
    #[must_use]
    pub const fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Waits for all that an object of `size` stored bytes (unknown: any) needs to run alone, with a decoder's `window`. A
    /// window that is wider than that counts as half of the class: two of such are at work at a time, not one, lest a
    /// tenant that accepts nothing keep all others from theirs.
    pub async fn admit(&self, size: Option<u64>, window: u64) -> Permit {
        let claim = self.budget.inner.reserve.claim(&self.tenant, self.reserve(size, window)).await;
        self.budget.tidy();
        claim.into()
    }

    /// The same, if it is free.
    #[must_use]
    pub fn try_admit(&self, size: Option<u64>, window: u64) -> Option<Permit> {
        self.try_early(self.reserve(size, window))
    }

    /// Claims memory for what is read or decoded before its turn, if it is free.
    #[must_use]
    pub fn try_early(&self, bytes: u64) -> Option<Permit> {
        let claim = self.budget.inner.reserve.try_claim(&self.tenant, bytes)?;
        self.budget.tidy();
        Some(claim.into())
    }

    /// Buffers for what is decoded before its turn.
    #[must_use]
    pub fn chunks(&self) -> &Arc<Shelf> {
        &self.budget.inner.chunks
    }

    /// Buffers for what is kept of an object's window between turns.
    pub(super) fn windows(&self) -> &Arc<Shelf> {
        &self.budget.inner.windows
    }

    fn reserve(&self, size: Option<u64>, window: u64) -> u64 {
        reserve_of(size, window).min(self.budget.inner.reserve.total() / 2)
    }

    /// Whether a reserve is enough for an object of `size` stored bytes.
    #[must_use]
    pub fn is_enough(reserve: &Permit, size: u64) -> bool {
        reserve.bytes() >= reserve_of(Some(size), 0)
    }

    /// Waits for the memory of a record longer than a window, at most [`CARRY_BYTES_MAX`].
    pub async fn carry(&self) -> Permit {
        self.budget.inner.carry.claim(&self.tenant, CARRY_BYTES_MAX).await.into()
    }

    /// Waits for the process-wide permit for a record of any allowed length. Hold a [`Self::carry`] first.
    pub async fn big_record(&self) -> Permit {
        self.budget.inner.big.claim(&self.tenant, u64::MAX).await.into()
    }

    /// Claims bytes for the open batch if they are free, and presses the largest lingering batch if they are not.
    #[must_use]
    pub fn try_grow(&self, bytes: u64) -> Option<Permit> {
        let grown = self.budget.inner.growth.try_claim(&self.tenant, bytes);
        match &grown {
            Some(_) => self.budget.tidy(),
            None => self.budget.press(),
        }
        grown.map(Permit::from)
    }

    /// Whether this lane's tenant has claimed memory for batches, of any lane.
    #[must_use]
    pub fn has_grown(&self) -> bool {
        self.budget.inner.growth.held(&self.tenant) > 0
    }

    /// The body of a full batch. The caller has claimed [`BODY_BYTES`] for it and for its entries.
    #[must_use]
    pub fn body(&self) -> Buffer {
        self.budget.inner.bodies.take()
    }

    /// For the entries of a full batch, [`FULL_ENTRIES`] at most, beside [`Self::body`].
    #[must_use]
    pub fn entries(&self) -> Buffer<Entry> {
        self.budget.inner.entries.take()
    }

    /// The body of a short batch. The caller has claimed [`GROWTH_STEP_BYTES`] for it, at least.
    #[must_use]
    pub fn short_body(&self) -> Buffer {
        self.budget.inner.short_bodies.take()
    }

    /// Waits for bytes for a batch. The caller must hold no growth: its sealed batches are sent first.
    pub async fn grow(&self, bytes: u64) -> Permit {
        let claim = self.budget.inner.growth.claim(&self.tenant, bytes);
        tokio::pin!(claim);
        loop {
            tokio::select! {
                biased;
                claim = &mut claim => {
                    self.budget.tidy();
                    return claim.into();
                }
                () = tokio::time::sleep(PRESS_EVERY) => self.budget.press(),
            }
        }
    }

    /// Says that this lane's open batch waits for more events, and may be sealed when others need what it holds: bytes that are
    /// claimed for it, and those of them that are filled.
    pub fn linger(&self, bytes: (u64, u64)) -> Arc<Notify> {
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
        if self.budget.inner.lanes.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.budget.inner.bodies.cut(0);
            self.budget.inner.entries.cut(0);
            self.budget.inner.short_bodies.cut(0);
            self.budget.inner.chunks.cut(0);
            self.budget.inner.windows.cut(0);
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
        for budget in [Budget::new(BUDGET, RECORD).unwrap(), Budget::with_rejects(BUDGET, RECORD).unwrap()] {
            let inner = &budget.inner;
            let pools = [&inner.reserve, &inner.carry, &inner.big, &inner.growth, &inner.rejects];
            assert_eq!(pools.iter().map(|pool| pool.total()).sum::<u64>(), BUDGET);
        }
        let large = Budget::new(1024 * MIB, RECORD).unwrap();
        let classes = [&large.inner.reserve, &large.inner.carry, &large.inner.big, &large.inner.growth];
        assert_eq!(classes.iter().map(|pool| pool.total()).sum::<u64>(), 1024 * MIB);
        assert_eq!(Budget::new(20 * MIB, RECORD).unwrap_err().given, 20 * MIB);
    }

    /// What is kept is part of what is free, but for the few that are wanted next.
    #[test]
    fn fewer_buffers_are_kept_when_more_is_claimed_and_none_without_lanes() {
        let budget = Budget::new(BUDGET, RECORD).unwrap();
        let kept = || {
            assert_eq!(budget.inner.bodies.buffers(), budget.inner.entries.buffers());
            budget.inner.bodies.buffers() as u64
        };
        let short = || budget.inner.short_bodies.buffers() as u64;
        // How many of both there may be.
        let most = || {
            let free = budget.inner.growth.free();
            let full = (free - free / SHORT_SHARE) / BODY_BYTES;
            (full + KEPT_MIN, free / SHORT_SHARE / GROWTH_STEP_BYTES + KEPT_MIN)
        };
        let (one, other) = (budget.lane(&tenant("one"), 1), budget.lane(&tenant("other"), 2));
        let grow = |lane: &LaneBudget| lane.try_grow(BODY_BYTES).map(|permit| (permit, lane.body(), lane.entries()));
        let mut grown: Vec<_> = std::iter::from_fn(|| grow(&one)).collect();
        grown.extend(std::iter::from_fn(|| grow(&other)));
        let bodies = grown.len() as u64;
        assert!(bodies > 2 * KEPT_MIN);
        drop(grown);
        assert_eq!(kept(), bodies);
        let grow = |lane: &LaneBudget| lane.try_grow(GROWTH_STEP_BYTES).map(|permit| (permit, lane.short_body()));
        let mut grown: Vec<_> = std::iter::from_fn(|| grow(&one)).collect();
        grown.extend(std::iter::from_fn(|| grow(&other)));
        assert_eq!(kept(), most().0, "full ones make room for short ones");
        let shorts = grown.len() as u64;
        let left = kept();
        drop(grown);
        assert_eq!(short(), shorts);
        let held = one.try_grow(budget.inner.growth.total() / 2).unwrap();
        assert_eq!((kept(), short()), (left.min(most().0), most().1));
        assert!(short() < shorts);
        let all: Vec<_> = std::iter::from_fn(|| other.try_grow(GROWTH_STEP_BYTES)).collect();
        assert_eq!((kept(), short()), (left.min(most().0), most().1));
        drop((held, all, one));
        assert!(kept() > 0 && short() > 0);
        drop(other);
        assert_eq!((kept(), short()), (0, 0));
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

    /// Files wait for each other, and a batch that waits for one leaves the rest to other tenants'.
    #[tokio::test]
    async fn files_of_rejected_events_are_charged_and_shared() {
        let budget = Budget::with_rejects(BUDGET, RECORD).unwrap();
        let rejects = budget.rejects();
        let file = u64::try_from(FILE_BYTES_MAX).unwrap();
        let held = [rejects.claim(&tenant("loud"), file).await, rejects.claim(&tenant("loud"), file).await];
        assert_eq!(budget.used(), 2 * file);
        assert!(rejects.try_claim(&tenant("loud"), file).is_none());
        let quiet = rejects.claim(&tenant("quiet"), file).await;
        drop((held, quiet));
        // A line that is longer than all that there is.
        let long = rejects.claim(&tenant("loud"), EVENT_GROWTH_MAX).await;
        assert_eq!(long.units(), REJECTS_BYTES);
        drop(long);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn a_waiting_permit_seals_the_largest_lingering_batch() {
        let budget = Budget::new(BUDGET, RECORD).unwrap();
        let small = budget.lane(&tenant("t"), 1);
        let large = budget.lane(&tenant("t"), 2);
        let asks = budget.lane(&tenant("t"), 3);
        // Claims come in steps: of those that are alike the fullest is the largest.
        let _small = small.linger((20, 10));
        let seal = large.linger((20, 11));
        let mut held = asks.try_grow(u64::MAX);
        assert!(asks.try_grow(1).is_none());
        seal.notified().await;
        held.take();
        assert!(asks.try_grow(1).is_some());
    }
}
