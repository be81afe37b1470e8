//! A bounded resource that tenants share, so that whoever holds much leaves something to whoever comes.
//!
//! A claim is granted while its tenant would hold no more than then is left free; so one tenant gets half at most, a
//! second one half of the rest, and however many of them are stuck with what they hold, a part stays free. A tenant that
//! holds nothing gets any claim that fits. Claims that must wait are served in their order: a tenant's own strictly, those
//! of others pass by, but only [`BYPASS_MAX`] times, so that a large claim is not starved by small ones.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::core::tenant::TenantId;

/// Grants that may pass a waiting claim by before nothing else is granted until it is.
const BYPASS_MAX: u32 = 64;

/// The resource, in units of its owner's choice. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    total: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: u64,
    held: HashMap<TenantId, u64>,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    tenant: TenantId,
    units: u64,
    passed_by: u32,
    grant: oneshot::Sender<Claim>,
}

/// A part of a pool; dropping it gives it back.
#[derive(Debug)]
pub struct Claim {
    pool: Pool,
    tenant: TenantId,
    units: u64,
}

impl Claim {
    /// Units held.
    #[must_use]
    pub const fn units(&self) -> u64 {
        self.units
    }

    /// Whether both are parts of one pool, held by one tenant.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.pool.inner, &other.pool.inner) && self.tenant == other.tenant
    }

    /// Takes so many units out, or all.
    #[must_use]
    pub fn split(&mut self, units: u64) -> Self {
        let units = units.min(self.units);
        self.units -= units;
        Self { pool: self.pool.clone(), tenant: self.tenant.clone(), units }
    }

    /// Adds a claim like this one to it.
    pub fn merge(&mut self, mut other: Self) {
        debug_assert!(self.is_like(&other));
        self.units += std::mem::take(&mut other.units);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.pool.give_back(&self.tenant, self.units);
    }
}

impl State {
    /// Whether a claim may be granted now, were it alone.
    fn fits(&self, tenant: &TenantId, units: u64) -> bool {
        let held = self.held.get(tenant).copied().unwrap_or(0);
        units <= self.free && (held == 0 || held + units <= self.free - units)
    }

    fn take(&mut self, tenant: &TenantId, units: u64) {
        if units == 0 {
            return;
        }
        self.free -= units;
        *self.held.entry(tenant.clone()).or_default() += units;
    }

    /// Whether the first in the queue has been passed by often enough.
    fn is_starving(&self) -> bool {
        self.waiting.front().is_some_and(|first| first.passed_by >= BYPASS_MAX)
    }

    /// The place of the next claim that can be granted.
    fn next(&self) -> Option<usize> {
        if let Some(first) = self.waiting.front().filter(|_| self.is_starving()) {
            return (first.units <= self.free).then_some(0);
        }
        let first_of_its_tenant =
            |at: usize, tenant: &TenantId| self.waiting.iter().take(at).all(|before| before.tenant != *tenant);
        self.waiting
            .iter()
            .enumerate()
            .find_map(|(at, it)| (self.fits(&it.tenant, it.units) && first_of_its_tenant(at, &it.tenant)).then_some(at))
    }

    fn pass_by(&mut self, places: usize) {
        self.waiting.iter_mut().take(places).for_each(|it| it.passed_by = it.passed_by.saturating_add(1));
    }
}

impl Pool {
    /// A pool of `total` units.
    #[must_use]
    pub fn new(total: u64) -> Self {
        let state = State { free: total, held: HashMap::new(), waiting: VecDeque::new() };
        Self { inner: Arc::new(Inner { total, state: Mutex::new(state) }) }
    }

    /// All units.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.inner.total
    }

    /// Units held now.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.inner.total - self.state().free
    }

    /// Claims `units` (at most the total, for nobody waits for what can never come) if they are free for the tenant.
    #[must_use]
    pub fn try_claim(&self, tenant: &TenantId, units: u64) -> Option<Claim> {
        let units = units.min(self.inner.total);
        let mut state = self.state();
        state.waiting.retain(|it| !it.grant.is_closed());
        let waits = state.waiting.iter().any(|it| it.tenant == *tenant);
        if waits || state.is_starving() || !state.fits(tenant, units) {
            return None;
        }
        state.take(tenant, units);
        let queue = state.waiting.len();
        state.pass_by(queue);
        Some(Claim { pool: self.clone(), tenant: tenant.clone(), units })
    }

    /// Waits for `units` (at most the total).
    pub async fn claim(&self, tenant: &TenantId, units: u64) -> Claim {
        if let Some(claim) = self.try_claim(tenant, units) {
            return claim;
        }
        let (grant, granted) = oneshot::channel();
        let waiting = Waiting { tenant: tenant.clone(), units: units.min(self.inner.total), passed_by: 0, grant };
        self.state().waiting.push_back(waiting);
        // What was given back between the look and the queueing is looked at now.
        self.serve();
        let Ok(claim) = granted.await else { unreachable!("a waiting claim is granted before it is dropped") };
        claim
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, tenant: &TenantId, units: u64) {
        if units == 0 {
            return;
        }
        let mut state = self.state();
        state.free += units;
        let left = state.held.get_mut(tenant).map(|held| {
            *held -= units;
            *held
        });
        if left == Some(0) {
            state.held.remove(tenant);
        }
        drop(state);
        self.serve();
    }

    /// Grants what can be granted.
    fn serve(&self) {
        loop {
            let mut state = self.state();
            state.waiting.retain(|it| !it.grant.is_closed());
            let Some(at) = state.next() else { return };
            let Some(Waiting { tenant, units, grant, .. }) = state.waiting.remove(at) else { return };
            state.take(&tenant, units);
            state.pass_by(at);
            drop(state);
            // Whoever gave up meanwhile drops the claim, which gives it back and serves the next.
            let _gave_up = grant.send(Claim { pool: self.clone(), tenant, units });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use proptest::prelude::*;

    use super::*;

    fn tenant(number: usize) -> TenantId {
        TenantId::try_from(format!("tenant-{number}").as_str()).unwrap()
    }

    #[test]
    fn each_greedy_tenant_gets_half_of_what_is_left() {
        let pool = Pool::new(1024);
        let mut all = Vec::new();
        let took = [0, 1, 2, 3].map(|number| {
            let claims: Vec<Claim> = std::iter::from_fn(|| pool.try_claim(&tenant(number), 1)).collect();
            let units = claims.len();
            all.extend(claims);
            units
        });
        assert_eq!(took, [512, 256, 128, 64]);
        assert_eq!(pool.used(), 960);
        drop(all);
        assert_eq!(pool.used(), 0);
        assert!(pool.try_claim(&tenant(9), u64::MAX).is_some(), "one that holds nothing may have all");
    }

    #[tokio::test]
    async fn a_tenants_claims_are_served_in_their_order_and_others_pass_them_by() {
        let (pool, one) = (Pool::new(100), tenant(1));
        let held = pool.claim(&tenant(0), 50).await;
        let (mut large, mut small) = (Box::pin(pool.claim(&one, 60)), Box::pin(pool.claim(&one, 1)));
        assert!(futures_poll(&mut large).is_pending() && futures_poll(&mut small).is_pending());
        assert!(pool.try_claim(&tenant(1), 1).is_none(), "its own may not pass by");
        for _ in 0..BYPASS_MAX {
            assert!(pool.try_claim(&tenant(2), 1).is_some(), "another's may");
        }
        assert!(pool.try_claim(&tenant(2), 1).is_none(), "but not for ever");
        drop(held);
        let Poll::Ready(claim) = futures_poll(&mut large) else { panic!("it fits now") };
        assert_eq!(claim.units(), 60);
        drop(claim);
        assert!(futures_poll(&mut small).is_ready());
    }

    #[tokio::test]
    async fn a_claim_that_nobody_waits_for_any_more_is_given_to_the_next() {
        let (pool, one, two) = (Pool::new(10), tenant(1), tenant(2));
        let held = pool.claim(&tenant(0), 10).await;
        let mut gone = Box::pin(pool.claim(&one, 10));
        let mut next = Box::pin(pool.claim(&two, 10));
        assert!(futures_poll(&mut gone).is_pending() && futures_poll(&mut next).is_pending());
        drop(gone);
        drop(held);
        assert!(futures_poll(&mut next).is_ready());
        drop(next);
        assert_eq!(pool.used(), 0);
    }

    fn futures_poll<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Poll<T> {
        std::pin::Pin::new(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }

    proptest! {
        /// Whatever is claimed, kept, merged and dropped: what is held and what is free add up, and at the end all is free.
        #[test]
        fn units_are_kept(steps in prop::collection::vec((0..4_usize, 0..40_u64, any::<bool>()), 0..200)) {
            let pool = Pool::new(100);
            let mut held: Vec<Claim> = Vec::new();
            let mut waiting = Vec::new();
            for (number, units, wait) in steps {
                if wait {
                    let mut claim = Box::pin({
                        let (pool, tenant) = (pool.clone(), tenant(number));
                        async move { pool.claim(&tenant, units).await }
                    });
                    match futures_poll(&mut claim) {
                        Poll::Ready(claim) => held.push(claim),
                        Poll::Pending => waiting.push(claim),
                    }
                } else if let Some(claim) = pool.try_claim(&tenant(number), units) {
                    held.push(claim);
                } else if !held.is_empty() {
                    let first = held.remove(0);
                    match held.iter_mut().find(|it| it.is_like(&first)) {
                        Some(like) => like.merge(first),
                        None => drop(first),
                    }
                }
                waiting.retain_mut(|claim| match futures_poll(claim) {
                    Poll::Ready(claim) => {
                        held.push(claim);
                        false
                    }
                    Poll::Pending => true,
                });
                prop_assert_eq!(pool.used(), held.iter().map(Claim::units).sum::<u64>());
            }
            // Nothing is stuck: whoever waits is served when the others are done.
            held.clear();
            while !waiting.is_empty() {
                let before = waiting.len();
                waiting.retain_mut(|claim| futures_poll(claim).is_pending());
                prop_assert!(waiting.len() < before);
            }
            prop_assert_eq!(pool.used(), 0);
        }
    }
}
