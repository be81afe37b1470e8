//! Whether a failed call is tried again, and how fast a tenant's account is called.
//!
//! Each service has a budget of retries, and so has each tenant for its own log groups ([`Patience`]): what fails for all
//! is not made worse by trying, and a tenant whose calls fail costs the others nothing but its first ones. Calls of
//! PutLogEvents to an account and region go at the rate that it takes ([`Governor`]).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::future::Cache;

use crate::core::failure::{Attempts, Failure, FailureKind, RetryPolicy, Service, Verdict};
use crate::core::pacing::governor::Governor;
use crate::core::pacing::patience::Patience;
use crate::core::tenant::{Delivery, Target, TenantId, account_of};
use crate::world::World;

/// Tenants whose calls failed, and accounts that refused some, that are remembered; the least used are forgotten.
const REMEMBERED_MAX: u64 = 10_000;
/// Time after which one that is not called is forgotten.
const IDLE: Duration = Duration::from_secs(10 * 60);
/// Longest wait for a place among an account's calls. Whoever would wait longer hands its work back.
const PLACE_WAIT_MAX: Duration = Duration::from_secs(15);

/// An account and region, as calls to them are limited together.
type Place = (Arc<str>, Option<Arc<str>>);

/// What all that makes calls shares. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Retries {
    policy: RetryPolicy,
    services: Arc<[Mutex<Patience>; Service::ALL.len()]>,
    /// Of tenants whose calls have failed.
    tenants: Cache<TenantId, Arc<Mutex<Patience>>>,
    governors: Cache<Place, Arc<Mutex<Governor>>>,
    world: World,
}

impl Retries {
    /// All budgets are full, and nothing is held back.
    #[must_use]
    pub fn new(policy: RetryPolicy, world: World) -> Self {
        let tenants = Cache::builder().max_capacity(REMEMBERED_MAX).time_to_idle(IDLE).build();
        let governors = Cache::builder().max_capacity(REMEMBERED_MAX).time_to_idle(IDLE).build();
        Self { policy, services: Arc::default(), tenants, governors, world }
    }

    /// The delay before a call to `service` is tried again. `None`: it is not.
    pub fn next(&self, attempts: &mut Attempts, service: Service, verdict: Verdict) -> Option<Duration> {
        let delay = attempts.next(verdict, &self.policy, self.world.entropy())?;
        let budget = self.services.get(service as usize)?;
        (!verdict.is_load() || lock(budget).retry()).then_some(delay)
    }

    /// A call to `service` succeeded.
    pub fn succeeded(&self, service: Service) {
        if let Some(budget) = self.services.get(service as usize) {
            lock(budget).succeeded();
        }
    }

    /// The same as [`Self::next`], for a call with a tenant's credentials.
    pub(super) async fn next_of(
        &self,
        delivery: &Delivery,
        attempts: &mut Attempts,
        verdict: Verdict,
    ) -> Option<Duration> {
        let delay = attempts.next(verdict, &self.policy, self.world.entropy())?;
        if !verdict.is_load() {
            return Some(delay);
        }
        let budget = self.tenants.get_with_by_ref(delivery.tenant(), async { Arc::default() }).await;
        let may = lock(&budget).retry();
        may.then_some(delay)
    }

    /// Waits until the delivery's account and region may be called.
    ///
    /// # Errors
    /// So many calls wait already that it would take too long.
    pub(super) async fn place(&self, delivery: &Delivery) -> Result<(), Failure> {
        let Some(governor) = self.governor(delivery).await else { return Ok(()) };
        let wait = lock(&governor).ask(self.world.now(), PLACE_WAIT_MAX);
        match wait {
            Some(Duration::ZERO) => {}
            Some(wait) => tokio::time::sleep(wait).await,
            None => return Err(held_back()),
        }
        Ok(())
    }

    /// Takes in how a call of PutLogEvents ended.
    pub(super) async fn called(&self, delivery: &Delivery, failed: Option<Verdict>) {
        if let Some(governor) = self.governor(delivery).await {
            match failed {
                Some(Verdict::Throttled) => lock(&governor).throttled(self.world.now()),
                Some(_) => {}
                None => lock(&governor).accepted(),
            }
        }
        if failed.is_none()
            && let Some(budget) = self.tenants.get(delivery.tenant()).await
        {
            lock(&budget).succeeded();
        }
    }

    async fn governor(&self, delivery: &Delivery) -> Option<Arc<Mutex<Governor>>> {
        Some(self.governors.get_with(place_of(delivery)?, async { Arc::default() }).await)
    }
}

fn lock<T>(it: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where the delivery's calls of PutLogEvents go.
fn place_of(delivery: &Delivery) -> Option<Place> {
    let Target::CloudWatch(target) = delivery.target() else { return None };
    Some((account_of(&target.role_arn)?.into(), target.region.clone()))
}

/// What a call ends with that was not made.
fn held_back() -> Failure {
    Failure {
        service: Service::Logs,
        operation: "PutLogEvents",
        kind: FailureKind::Answer { code: "ThrottlingException".to_owned(), status: 400 },
        text: "not called: too many calls wait for this account already".to_owned(),
        request_id: None,
    }
}
