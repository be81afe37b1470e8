//! A bounded resource that tenants share, so that whoever holds much leaves something to whoever comes.
//!
//! A claim is granted while its tenant would hold no more than then is left free; so one tenant gets half at most, a
//! second one half of the rest, and however many of them are stuck with what they hold, a part stays free. A tenant that
//! holds nothing gets any claim that fits. Claims that must wait are served in their order: a tenant's own strictly, those
//! of others pass by; but those of a tenant that holds nothing only [`BYPASS_MAX`] times, so that a large claim is not starved
//! by small ones. Whoever holds something waits until it is given back, or until there is more than enough.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::core::tenant::TenantId;

/// Grants that may pass by the first claim of a tenant that holds nothing, before nothing else is granted until it is.
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
    /// Those that hold or wait.
    tenants: HashMap<TenantId, Tenant>,
    /// Whose the first claims of those that wait are, by number.
    heads: BTreeMap<u64, TenantId>,
    numbers: u64,
}

#[derive(Debug, Default)]
struct Tenant {
    held: u64,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    units: u64,
    since: Instant,
    passed_by: u32,
    grant: oneshot::Sender<Claim>,
}

impl Tenant {
    fn fits(&self, units: u64, free: u64) -> bool {
        units <= free && (self.held == 0 || self.held + units <= free - units)
    }

    /// Whether its first claim has been passed by often enough.
    fn is_starving(&self) -> bool {
        self.held == 0 && self.waiting.front().is_some_and(|it| it.passed_by >= BYPASS_MAX && !it.grant.is_closed())
    }
}

/// A part of a pool; dropping it gives it back.
#[derive(Debug)]
pub struct Claim {
    pool: Pool,
    tenant: TenantId,
    units: u64,
}

/// A claim that waits; dropping it gives it up.
#[derive(Debug)]
pub struct Queued {
    granted: oneshot::Receiver<Claim>,
    /// It lives until then.
    _pool: Pool,
}

impl Future for Queued {
    type Output = Claim;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Claim> {
        let Ok(claim) = ready!(Pin::new(&mut self.granted).poll(cx)) else {
            unreachable!("a waiting claim is granted before it is dropped")
        };
        Poll::Ready(claim)
    }
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
    /// Forgets the claims of a tenant that nobody waits for any more, and the tenant when nothing is left of it.
    fn tidy(&mut self, tenant: &TenantId) {
        let Some(of) = self.tenants.get_mut(tenant) else { return };
        let first = of.waiting.front().map(|it| it.number);
        of.waiting.retain(|it| !it.grant.is_closed());
        self.lead(tenant, first);
    }

    /// Looks after the heads when a tenant's first claim may be another one than `before`.
    fn lead(&mut self, tenant: &TenantId, before: Option<u64>) {
        let Some(of) = self.tenants.get(tenant) else { return };
        let first = of.waiting.front().map(|it| it.number);
        if of.held == 0 && first.is_none() {
            self.tenants.remove(tenant);
        }
        if first != before {
            before.and_then(|before| self.heads.remove(&before));
            self.heads.extend(first.map(|first| (first, tenant.clone())));
        }
    }

    fn take(&mut self, tenant: &TenantId, units: u64) {
        if units > 0 {
            self.free -= units;
            self.tenants.entry(tenant.clone()).or_default().held += units;
        }
    }

    fn give_back(&mut self, tenant: &TenantId, units: u64) {
        self.free += units;
        if let Some(of) = self.tenants.get_mut(tenant) {
            of.held -= units;
            let first = of.waiting.front().map(|it| it.number);
            self.lead(tenant, first);
        }
    }

    /// Takes out the next claim that can be granted.
    fn next(&mut self) -> Option<(TenantId, Waiting)> {
        let mut at = 0;
        while let Some((&number, tenant)) = self.heads.range(at..).next() {
            let tenant = tenant.clone();
            let of = self.tenants.get_mut(&tenant)?;
            let first = of.waiting.front()?;
            let is_gone = first.grant.is_closed();
            if is_gone || of.fits(first.units, self.free) {
                let first = of.waiting.pop_front()?;
                self.lead(&tenant, Some(number));
                if !is_gone {
                    return Some((tenant, first));
                }
            } else if of.is_starving() {
                return None;
            }
            at = number + 1;
        }
        None
    }

    /// Counts a grant past the claims that were first before this number.
    fn pass_by(&mut self, number: u64) {
        for tenant in self.heads.range(..number).map(|(_, tenant)| tenant) {
            if let Some(first) = self.tenants.get_mut(tenant).and_then(|of| of.waiting.front_mut()) {
                first.passed_by = first.passed_by.saturating_add(1);
            }
        }
    }
}

impl Pool {
    /// A pool of `total` units.
    #[must_use]
    pub fn new(total: u64) -> Self {
        let state = State { free: total, tenants: HashMap::new(), heads: BTreeMap::new(), numbers: 0 };
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
        self.inner.total - self.free()
    }

    /// Units that nobody holds.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.state().free
    }

    /// Units that a tenant holds.
    #[must_use]
    pub fn held(&self, tenant: &TenantId) -> u64 {
        self.state().tenants.get(tenant).map_or(0, |of| of.held)
    }

    /// Claims `units` (at most the total, for nobody waits for what can never come) if they are free for the tenant.
    #[must_use]
    pub fn try_claim(&self, tenant: &TenantId, units: u64) -> Option<Claim> {
        let units = units.min(self.inner.total);
        let mut state = self.state();
        state.tidy(tenant);
        let nobody = Tenant::default();
        let of = state.tenants.get(tenant).unwrap_or(&nobody);
        let may = of.waiting.is_empty() && of.fits(units, state.free);
        if !may || state.heads.values().any(|tenant| state.tenants.get(tenant).is_some_and(Tenant::is_starving)) {
            return None;
        }
        state.take(tenant, units);
        state.pass_by(u64::MAX);
        Some(Claim { pool: self.clone(), tenant: tenant.clone(), units })
    }

    /// Waits for `units` (at most the total).
    pub async fn claim(&self, tenant: &TenantId, units: u64) -> Claim {
        self.queue(tenant, units).await
    }

    /// The same, with its place among those that wait from now on, not from when it is first polled.
    pub fn queue(&self, tenant: &TenantId, units: u64) -> Queued {
        let (grant, granted) = oneshot::channel();
        match self.try_claim(tenant, units) {
            Some(claim) => drop(grant.send(claim)),
            None => {
                let (units, since) = (units.min(self.inner.total), Instant::now());
                let mut state = self.state();
                state.numbers += 1;
                let number = state.numbers;
                let of = state.tenants.entry(tenant.clone()).or_default();
                let first = of.waiting.front().map(|it| it.number);
                of.waiting.push_back(Waiting { number, units, since, passed_by: 0, grant });
                state.lead(tenant, first);
                drop(state);
                // What was given back between the look and the queueing is looked at now.
                self.serve();
            }
        }
        Queued { granted, _pool: self.clone() }
    }

    /// For how long the first of a tenant's claims that wait has waited; zero when none does.
    #[must_use]
    pub fn waited(&self, tenant: &TenantId) -> Duration {
        let state = self.state();
        let mut waiting = state.tenants.get(tenant).into_iter().flat_map(|of| &of.waiting);
        waiting.find(|it| !it.grant.is_closed()).map_or(Duration::ZERO, |it| it.since.elapsed())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, tenant: &TenantId, units: u64) {
        if units == 0 {
            return;
        }
        self.state().give_back(tenant, units);
        self.serve();
    }

    /// Grants what can be granted.
    fn serve(&self) {
        loop {
            let mut state = self.state();
            let Some((tenant, Waiting { number, units, grant, .. })) = state.next() else { return };
            state.take(&tenant, units);
            state.pass_by(number);
            drop(state);
            // Whoever gave up meanwhile drops the claim, which gives it back and serves the next.
            let _gave_up = grant.send(Claim { pool: self.clone(), tenant, units });
        }
    }
}

#[cfg(test)]
mod tests {
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

    /// However many claims of others pass those of a tenant by that is stuck with its share.
    #[tokio::test]
    async fn a_stuck_tenant_that_waits_gets_no_more_than_its_share() {
        let (pool, stuck) = (Pool::new(100), tenant(0));
        let held: Vec<Claim> = std::iter::from_fn(|| pool.try_claim(&stuck, 1)).collect();
        let mut waiting: Vec<_> = (0..100).map(|_| Box::pin(pool.queue(&stuck, 1))).collect();
        for other in 0..20 * BYPASS_MAX {
            let other = pool.try_claim(&tenant(1 + other as usize % 7), 1).expect("there is always room for others");
            drop(other);
        }
        assert!(waiting.iter_mut().all(|it| futures_poll(it).is_pending()));
        assert_eq!((held.len(), pool.used()), (50, 50));
        drop(held);
        assert_eq!(pool.used(), 50, "they follow in their turn");
        assert!(waiting.iter_mut().take(50).all(|it| futures_poll(it).is_ready()));
    }

    #[tokio::test(start_paused = true)]
    async fn claims_wait_from_when_they_are_queued() {
        let (pool, one) = (Pool::new(2), tenant(1));
        let held = pool.claim(&one, 2).await;
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(pool.queue(&one, 2))).collect();
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(pool.waited(&one), Duration::from_secs(3));
        assert_eq!(pool.waited(&tenant(2)), Duration::ZERO);
        // The first was queued first, whichever is polled first, and one that is given up makes way.
        drop(waiting.remove(0));
        drop(held);
        assert!(futures_poll(&mut waiting[1]).is_pending());
        assert!(futures_poll(&mut waiting[0]).is_ready());
        waiting.clear();
        assert_eq!((pool.used(), pool.waited(&one)), (0, Duration::ZERO));
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
        Pin::new(future).poll(&mut Context::from_waker(std::task::Waker::noop()))
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
