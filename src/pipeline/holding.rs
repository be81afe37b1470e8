//! Who may hold how many messages: a quiet tenant's must be seen behind a loud one's backlog, and fresh ones behind old.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::Either;
use tokio_util::sync::CancellationToken;

use super::share::{Claim, Pool, Queued};
use super::turns::{Turn, Turns};
use crate::core::tenant::TenantId;
use crate::core::time::UnixMillis;
use crate::world::World;

/// A message that has been in the queue for so long is old.
const OLD_AFTER: Duration = Duration::from_secs(5 * 60);
/// Messages that may be looked at and handed back at once, to find others behind them.
const SCAN_MAX: f64 = 10_000.0;
/// By how many a second that grows again.
const SCAN_PER_SECOND: f64 = 50.0;
/// How long polls wait for a tenant to have done with a message, when all that came are of such as hold their shares: while
/// others may be looked for behind them, and when no more may be.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));

/// The part of all shares that one message may take: it may tell of objects of more tenants than there are shares.
const MESSAGE_SHARES_PART: u64 = 4;

/// What a message holds while it is in work.
#[derive(Debug, Default)]
pub(super) struct Held {
    _shares: Vec<Claim>,
    _old: Option<Claim>,
    waits: Option<Claim>,
}

impl Held {
    /// Leaves its place among those that wait.
    pub(super) fn has_waited(&mut self) {
        self.waits = None;
    }
}

/// A message that waits.
#[derive(Debug)]
pub(super) struct Waits {
    room: Claim,
    old: Option<(Queued, Turn<TenantId>)>,
    tenant: TenantId,
    tenants: Pool,
    order: Arc<Mutex<()>>,
}

/// A place in the queue for a tenant's share, with what is held already.
#[derive(Debug)]
pub(super) struct Share {
    room: Claim,
    old: Option<Claim>,
    queued: Queued,
}

impl Waits {
    /// Has `begin` take the message's turns, at once, or when it may be one of the old ones in work. Called in
    /// [`Holding::order`].
    pub(super) fn begin<T, F>(
        self,
        stop: CancellationToken,
        begin: impl FnOnce(Share) -> F,
    ) -> impl Future<Output = Option<T>>
    where
        F: Future<Output = Option<T>>,
    {
        let Self { room, old, tenant, tenants, order } = self;
        match old {
            None => Either::Left(begin(Share { room, old: None, queued: tenants.queue(&tenant, 1) })),
            Some((old, mut turn)) => Either::Right(async move {
                let old = Some(stop.run_until_cancelled(old).await?);
                // Those that may be in work are begun in their order.
                turn.come().await;
                let begun = {
                    let _order = order.lock().unwrap_or_else(PoisonError::into_inner);
                    begin(Share { room, old, queued: tenants.queue(&tenant, 1) })
                };
                drop(turn);
                begun.await
            }),
        }
    }
}

impl Share {
    /// Waits for it.
    pub(super) async fn come(self) -> Held {
        Held { _shares: vec![self.queued.await], _old: self.old, waits: Some(self.room) }
    }
}

/// A tenant that holds all it may of some shares.
#[derive(Clone, Debug)]
pub(super) struct Crowd {
    pub(super) tenant: TenantId,
    shares: Pool,
}

/// The shares of the messages that are held.
#[derive(Debug)]
pub(super) struct Holding {
    /// As all that tenants share: one alone holds half, and leaves more to others the more they are.
    tenants: Pool,
    /// The same of old messages.
    old: Pool,
    /// The same of messages that wait for one of those.
    waiting: Pool,
    old_turns: Turns<TenantId>,
    order: Arc<Mutex<()>>,
    scan: f64,
    scanned: UnixMillis,
    world: World,
}

impl Holding {
    /// Shares of `messages`, of which old ones may hold what is not the `fresh` percentage. As many again may wait.
    pub(super) fn new(messages: u32, fresh: u8, world: World) -> Self {
        let messages = u64::from(messages);
        let old = messages * u64::from(100 - fresh.min(100)) / 100;
        let [tenants, old, waiting] = [messages, old.max(1), messages].map(Pool::new);
        let (old_turns, order) = (Turns::default(), Arc::default());
        Self { tenants, old, waiting, old_turns, order, scan: SCAN_MAX, scanned: world.wall(), world }
    }

    /// Takes a message's place in the shares of `tenants`, or of the first of them when they are very many.
    ///
    /// # Errors
    /// A tenant that holds too many.
    pub(super) fn admit<'t>(
        &self,
        tenants: impl Iterator<Item = &'t TenantId>,
        sent: Option<UnixMillis>,
    ) -> Result<Held, Crowd> {
        let share = |of: &Pool, tenant: &TenantId| {
            of.try_claim(tenant, 1).ok_or_else(|| Crowd { tenant: tenant.clone(), shares: of.clone() })
        };
        let most = usize::try_from(self.tenants.total() / MESSAGE_SHARES_PART).unwrap_or(usize::MAX).max(1);
        let mut tenants = tenants.take(most).peekable();
        let old = tenants.peek().filter(|_| self.is_old(sent)).map(|first| share(&self.old, first)).transpose()?;
        Ok(Held {
            _shares: tenants.map(|it| share(&self.tenants, it)).collect::<Result<_, _>>()?,
            _old: old,
            waits: None,
        })
    }

    /// To be held while a message is admitted, or let wait, and takes its turns: who has its turn first must get its share
    /// first, or both would wait for each other.
    pub(super) fn order(&self) -> MutexGuard<'_, ()> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a message wait for its place in the shares of its tenant, behind those that wait already.
    ///
    /// # Errors
    /// How long the first of those has waited, when there are too many of them.
    pub(super) fn wait(&self, tenant: &TenantId, sent: Option<UnixMillis>) -> Result<Waits, Duration> {
        let Some(room) = self.waiting.try_claim(tenant, 1) else { return Err(self.waited(tenant)) };
        let old = self.is_old(sent).then(|| (self.old.queue(tenant, 1), self.old_turns.take(tenant.clone())));
        let (tenant, tenants, order) = (tenant.clone(), self.tenants.clone(), Arc::clone(&self.order));
        Ok(Waits { room, old, tenant, tenants, order })
    }

    /// For how long the first of a tenant's messages that wait has waited.
    pub(super) fn waited(&self, tenant: &TenantId) -> Duration {
        self.tenants.waited(tenant).max(self.old.waited(tenant))
    }

    fn is_old(&self, sent: Option<UnixMillis>) -> bool {
        let age = sent.map_or(0, |sent| self.world.wall().0.saturating_sub(sent.0));
        u128::try_from(age).unwrap_or(0) >= OLD_AFTER.as_millis()
    }

    /// Counts messages that were handed back, and waits a little for a tenant's share when nothing else came, or when they are
    /// many: a single tenant's backlog is not to be received again and again.
    pub(super) async fn rest(&mut self, handed_back: usize, crowd: &Crowd, others: bool) {
        let now = self.world.wall();
        let passed = Duration::from_millis(u64::try_from(now.0.saturating_sub(self.scanned.0)).unwrap_or(0));
        self.scanned = now;
        self.scan = (self.scan + passed.as_secs_f64() * SCAN_PER_SECOND).min(SCAN_MAX);
        // What was taken too much is made up for within seconds.
        self.scan = (self.scan - f64::from(u32::try_from(handed_back).unwrap_or(u32::MAX))).max(-SCAN_PER_SECOND);
        let pause = match (self.scan < 0.0, others) {
            (true, _) => PAUSES.1,
            (false, false) => PAUSES.0,
            (false, true) => return,
        };
        let _no_room = tokio::time::timeout(pause, crowd.shares.claim(&crowd.tenant, 1)).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::try_from(name).unwrap()
    }

    fn crowd(held: Result<Held, Crowd>) -> TenantId {
        held.unwrap_err().tenant
    }

    #[test]
    fn a_loud_tenant_leaves_room_for_others_and_an_old_backlog_for_fresh_messages() {
        let world = World::new();
        let holding = Holding::new(100, 60, world);
        let (loud, quiet) = (tenant("loud"), tenant("quiet"));
        let mut held: Vec<Held> = std::iter::from_fn(|| holding.admit([&loud].into_iter(), None).ok()).collect();
        assert_eq!(held.len(), 50);
        held.extend(holding.admit([&quiet].into_iter(), None));
        assert_eq!(crowd(holding.admit([&quiet, &loud].into_iter(), None)), loud, "it holds too many");
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
        assert_eq!(crowd(holding.admit([&tenants[99]].into_iter(), age(6))), tenants[99], "too many old ones");
        assert_eq!(admit(4).len(), 60);
        drop(old);
        let loud: Vec<Held> = std::iter::from_fn(|| holding.admit([&loud].into_iter(), age(6)).ok()).collect();
        assert_eq!(loud.len(), 20, "half of what old ones may hold");
        assert!(holding.admit([&quiet].into_iter(), age(6)).is_ok());
    }

    #[test]
    fn a_message_of_more_tenants_than_there_are_shares_is_taken() {
        let holding = Holding::new(2, 50, World::new());
        let tenants = ["a", "b", "c"].map(tenant);
        let held = holding.admit(tenants.iter(), None).unwrap();
        assert_eq!(crowd(holding.admit(tenants.iter(), None)), tenant("a"));
        drop(held);
        assert!(holding.admit(tenants.iter(), None).is_ok());
    }

    /// In the order of their arrival, fresh and old ones, and not too many of a tenant.
    #[tokio::test(start_paused = true)]
    async fn messages_wait_for_their_tenants_share() {
        let world = World::simulated(UnixMillis(10_000_000));
        let holding = Holding::new(8, 50, world);
        let (loud, quiet) = (tenant("loud"), tenant("quiet"));
        let held: Vec<Held> = std::iter::from_fn(|| holding.admit([&loud].into_iter(), None).ok()).collect();
        assert_eq!(held.len(), 4);
        let old = Some(UnixMillis(0));
        let stop = CancellationToken::new();
        let begun = Mutex::new(Vec::new());
        let wait = |of: &TenantId, sent, number| {
            let waits = holding.wait(of, sent)?;
            let begun = &begun;
            let begin = move |share: Share| {
                begun.lock().unwrap().push(number);
                share.come().map(Some)
            };
            Ok::<_, Duration>(Box::pin(waits.begin(stop.clone(), begin)))
        };
        let mut waiting = vec![wait(&loud, old, 0).unwrap()];
        waiting.extend((1..).map_while(|number| wait(&loud, None, number).ok()));
        assert_eq!((waiting.len(), begun.lock().unwrap().len()), (4, 3));
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(wait(&loud, None, 9).err(), Some(Duration::from_secs(7)), "so long the first has waited");
        assert!(wait(&quiet, None, 8).unwrap().now_or_never().is_some());
        assert!(waiting.iter_mut().all(|it| it.now_or_never().is_none()));
        drop(held);
        assert_eq!(waiting.iter_mut().filter_map(|it| it.now_or_never()).count(), 4);
        assert_eq!(*begun.lock().unwrap(), [1, 2, 3, 8, 0]);
        assert_eq!((holding.waiting.used(), holding.tenants.used(), holding.old.used()), (0, 0, 0));
        // What is told to stop gives up what it waits for.
        let loud = std::iter::from_fn(|| holding.admit([&loud].into_iter(), old).ok()).collect::<Vec<_>>();
        let waits = wait(&tenant("loud"), old, 10).unwrap();
        stop.cancel();
        assert!(waits.await.is_none());
        drop(loud);
        assert_eq!((holding.waiting.used(), holding.tenants.used(), holding.old.used()), (0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_backlog_is_scanned_for_others_but_not_for_ever() {
        let mut holding = Holding::new(2, 50, World::new());
        let loud = tenant("loud");
        let held = holding.admit([&loud].into_iter(), None).unwrap();
        let crowd = holding.admit([&loud].into_iter(), None).unwrap_err();
        let begun = tokio::time::Instant::now();
        for _ in 0..990 {
            holding.rest(10, &crowd, true).await;
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        holding.rest(0, &crowd, false).await;
        assert!(begun.elapsed() < 2 * PAUSES.0, "{:?}", begun.elapsed());
        for _ in 0..100 {
            holding.rest(10, &crowd, true).await;
        }
        assert!(begun.elapsed() > 80 * PAUSES.1, "{:?}", begun.elapsed());
        drop(held);
        let begun = tokio::time::Instant::now();
        holding.rest(10, &crowd, false).await;
        assert_eq!(begun.elapsed(), Duration::ZERO, "there is room now");
    }
}
