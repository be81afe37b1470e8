//! Who may hold how many messages: a quiet tenant's must be seen behind a loud one's backlog, and fresh ones behind old.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::share::{Claim, Pool};
use crate::core::tenant::TenantId;
use crate::core::time::UnixMillis;
use crate::world::World;

/// A message that has been in the queue for so long is old.
const OLD_AFTER: Duration = Duration::from_secs(5 * 60);
/// Messages that may be looked at and handed back at once, to find others behind them.
const SCAN_MAX: f64 = 10_000.0;
/// By how many a second that grows again.
const SCAN_PER_SECOND: f64 = 50.0;
/// How long polls wait, when no more may be looked at, for whoever holds too many to have done with one.
const PAUSE: Duration = Duration::from_millis(200);

/// The part of all shares that one message may take: it may tell of objects of more tenants than there are shares.
const MESSAGE_SHARES_PART: u64 = 4;

/// What a message holds while it is in work.
#[derive(Debug, Default)]
pub(super) struct Held {
    _shares: Vec<Claim>,
    _old: Option<OwnedSemaphorePermit>,
}

/// The shares of the messages that are held.
#[derive(Debug)]
pub(super) struct Holding {
    /// As all that tenants share: one alone holds half, and leaves more to others the more they are.
    tenants: Pool,
    old: Arc<Semaphore>,
    scan: f64,
    scanned: UnixMillis,
    world: World,
}

impl Holding {
    /// Shares of `messages`, of which old ones may hold what is not the `fresh` percentage.
    pub(super) fn new(messages: u32, fresh: u8, world: World) -> Self {
        let old = u64::from(messages) * u64::from(100 - fresh.min(100)) / 100;
        let old = Arc::new(Semaphore::new(usize::try_from(old.max(1)).unwrap_or(1)));
        let tenants = Pool::new(u64::from(messages));
        Self { tenants, old, scan: SCAN_MAX, scanned: world.wall(), world }
    }

    /// Takes a message's place in the shares of `tenants`, or of the first of them when they are very many.
    ///
    /// # Errors
    /// The tenant that holds too many, or none, when there are too many as old.
    pub(super) fn admit<'t>(
        &self,
        tenants: impl Iterator<Item = &'t TenantId>,
        sent: Option<UnixMillis>,
    ) -> Result<Held, Option<TenantId>> {
        let age = sent.map_or(0, |sent| self.world.wall().0.saturating_sub(sent.0));
        let is_old = u128::try_from(age).unwrap_or(0) >= OLD_AFTER.as_millis();
        let old = if is_old { Some(Arc::clone(&self.old).try_acquire_owned().map_err(|_| None)?) } else { None };
        let share = |tenant: &TenantId| self.tenants.try_claim(tenant, 1).ok_or_else(|| Some(tenant.clone()));
        let most = usize::try_from(self.tenants.total() / MESSAGE_SHARES_PART).unwrap_or(usize::MAX).max(1);
        Ok(Held { _shares: tenants.take(most).map(share).collect::<Result<_, _>>()?, _old: old })
    }

    /// Counts messages that were handed back, and waits when they are many: a single tenant's backlog is not to be received
    /// again and again.
    pub(super) async fn rest(&mut self, handed_back: usize, tenant: Option<&TenantId>) {
        let now = self.world.wall();
        let passed = Duration::from_millis(u64::try_from(now.0.saturating_sub(self.scanned.0)).unwrap_or(0));
        self.scanned = now;
        self.scan = (self.scan + passed.as_secs_f64() * SCAN_PER_SECOND).min(SCAN_MAX);
        // What was taken too much is made up for within seconds.
        self.scan = (self.scan - f64::from(u32::try_from(handed_back).unwrap_or(u32::MAX))).max(-SCAN_PER_SECOND);
        if self.scan < 0.0 {
            let free = async {
                match tenant {
                    Some(tenant) => drop(self.tenants.claim(tenant, 1).await),
                    None => std::future::pending().await,
                }
            };
            let _no_room = tokio::time::timeout(PAUSE, free).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::try_from(name).unwrap()
    }

    #[test]
    fn a_loud_tenant_leaves_room_for_others_and_an_old_backlog_for_fresh_messages() {
        let world = World::new();
        let holding = Holding::new(100, 60, world);
        let (loud, quiet) = (tenant("loud"), tenant("quiet"));
        let mut held: Vec<Held> = std::iter::from_fn(|| holding.admit([&loud].into_iter(), None).ok()).collect();
        assert_eq!(held.len(), 50);
        held.extend(holding.admit([&quiet].into_iter(), None));
        assert_eq!(holding.admit([&quiet, &loud].into_iter(), None).unwrap_err(), Some(loud), "it holds too many");
        assert_eq!(held.len(), 51);
        drop(held);
        let age = |minutes: i64| Some(world.wall().plus(-minutes * 60_000));
        let tenants: Vec<TenantId> = (0..100).map(|at| tenant(&format!("t{at}"))).collect();
        let admit = |minutes| {
            let held = tenants.iter().filter_map(|it| holding.admit([it].into_iter(), age(minutes)).ok());
            held.collect::<Vec<_>>()
        };
        let old = admit(6);
        assert_eq!(old.len(), 40);
        assert_eq!(holding.admit([&tenants[99]].into_iter(), age(6)).unwrap_err(), None, "too many old ones");
        assert_eq!(admit(4).len(), 60);
    }

    #[test]
    fn a_message_of_more_tenants_than_there_are_shares_is_taken() {
        let holding = Holding::new(2, 50, World::new());
        let tenants = ["a", "b", "c"].map(tenant);
        let held = holding.admit(tenants.iter(), None).unwrap();
        assert_eq!(holding.admit(tenants.iter(), None).unwrap_err(), Some(tenant("a")));
        drop(held);
        assert!(holding.admit(tenants.iter(), None).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_backlog_is_scanned_for_others_but_not_for_ever() {
        let mut holding = Holding::new(2, 50, World::new());
        let loud = tenant("loud");
        let held = holding.admit([&loud].into_iter(), None).unwrap();
        let begun = tokio::time::Instant::now();
        for _ in 0..990 {
            holding.rest(10, Some(&loud)).await;
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        for _ in 0..100 {
            holding.rest(10, Some(&loud)).await;
        }
        assert!(begun.elapsed() > 80 * PAUSE, "{:?}", begun.elapsed());
        drop(held);
        let begun = tokio::time::Instant::now();
        holding.rest(10, Some(&loud)).await;
        assert_eq!(begun.elapsed(), Duration::ZERO, "there is room now");
    }
}
