//! Waits until all is settled, showing how far it is; under faults it does what [`Pace`] decides.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use localcloud::{Cloud, Faults};
use tokio_util::task::TaskTracker;

use super::megabytes;
use super::pace::{MOVE, Pace, Seen, Step};
use super::summary::Trouble;
use super::tenancy::{Kind, Tenancy};
use crate::console;
use crate::pipeline::totals::{TenantTotals, Totals};
use crate::world::World;

/// How often it looks whether all is done, and shows how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Looks between two lines where there is no terminal.
const LOOKS_PER_LINE: u32 = 10;

/// What was seen until the end.
#[derive(Debug)]
pub(super) struct Watched {
    /// What became of the faults, if there were any.
    pub(super) trouble: Option<Trouble>,
    /// What was left when nothing moved any more; none: all is settled.
    pub(super) stalled: Option<String>,
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch<'w> {
    pub(super) cloud: &'w Cloud,
    pub(super) tenancy: &'w Tenancy,
    pub(super) totals: &'w Totals,
    pub(super) uploaded: &'w AtomicU64,
    /// The daemon's messages in work.
    pub(super) held: &'w TaskTracker,
    pub(super) objects: u64,
    /// Time without any progress after which it gives up.
    pub(super) patience: Duration,
    /// What happens meanwhile.
    pub(super) faults: Option<&'w Faults>,
    pub(super) world: World,
}

impl Watch<'_> {
    /// Waits until the only messages left are those of denied tenants, or until nothing moves any more, showing progress. Says
    /// what became of the faults, if there were any; they are over then.
    pub(super) async fn until_settled(&self) -> Watched {
        let bar = std::io::stderr().is_terminal().then(|| bar(self.objects));
        let begun = self.world.now();
        let mut pace = Pace::new(self.objects, self.denied(), self.patience, self.faults.is_some(), begun);
        let (mut stopped, mut put_back) = (None, 0);
        let mut look = 0_u32;
        loop {
            look = look.wrapping_add(1);
            tokio::time::sleep(LOOK_EVERY).await;
            let seen = self.look();
            let now = self.world.now();
            self.show(bar.as_ref(), look, &seen, now.since(begun));
            let step = pace.next(seen, now);
            match step {
                Step::Wait => {}
                Step::MoveOn => self.cloud.advance(MOVE),
                Step::EndFaults(end) => {
                    self.cloud.set_faults(None);
                    stopped = Some(format!("after {:.0} s: {}", now.since(begun).as_secs_f64(), end.reason()));
                }
                Step::PutBack => put_back += self.cloud.redrive(&self.tenancy.dead_arn, &self.tenancy.queue_arn),
                Step::Done | Step::GiveUp => {
                    if let Some(bar) = bar {
                        bar.finish_and_clear();
                    }
                    self.cloud.set_faults(None);
                    let trouble = self.faults.map(|faults| Trouble {
                        seed: faults.seed(),
                        spec: faults.to_string(),
                        done: self.cloud.faults_done(),
                        stopped,
                        moved_seconds: pace.moved().as_secs(),
                        put_back,
                        dead_letters: seen.dead,
                        disorderly: put_back > 0 || self.cloud.disorder(&self.tenancy.queue_arn) > 0,
                    });
                    return Watched { trouble, stalled: (step == Step::GiveUp).then(|| self.stalled(&seen)) };
                }
            }
        }
    }

    /// What is still to do, when nothing moves any more.
    fn stalled(&self, seen: &Seen) -> String {
        format!(
            "nothing moved for {} s: {} of {} objects written, {} messages left in the queue, {} of them in work, {} in the dead-letter queue",
            self.patience.as_secs(),
            seen.uploaded,
            self.objects,
            seen.left.saturating_sub(self.denied()),
            seen.held,
            seen.dead
        )
    }

    fn look(&self) -> Seen {
        // In this order: what is written is in the queue, and what is in neither queue is settled.
        let uploaded = self.uploaded.load(Ordering::Relaxed);
        let dead = self.cloud.queue_depth(&self.tenancy.dead_arn);
        let queue = self.cloud.queue_depth(&self.tenancy.queue_arn);
        Seen {
            uploaded,
            left: queue.visible + queue.in_flight,
            visible: queue.visible,
            dead: dead.visible + dead.in_flight,
            held: self.held.len(),
            delivered: self.totals.snapshot().values().map(|it| it.tally.delivered()).sum(),
        }
    }

    fn show(&self, bar: Option<&ProgressBar>, look: u32, seen: &Seen, elapsed: Duration) {
        let Seen { uploaded, delivered, .. } = seen;
        let settled = uploaded.saturating_sub(u64::try_from(seen.left + seen.dead).unwrap_or(u64::MAX));
        let bytes = |sums: &TenantTotals| sums.delivered_bytes;
        let seconds = elapsed.as_secs_f64();
        let rate = megabytes(self.totals.snapshot().values().map(bytes).sum()) / seconds;
        match bar {
            Some(bar) => {
                bar.set_position(settled);
                bar.set_message(format!("{delivered} events, {rate:.0} MB/s"));
            }
            None if look.is_multiple_of(LOOKS_PER_LINE) => {
                console::remark(format_args!(
                    "{seconds:.0} s: {uploaded} of {} objects written, {settled} settled, {delivered} events delivered, {rate:.0} MB/s",
                    self.objects
                ));
            }
            None => {}
        }
    }

    /// Objects whose messages are kept, because their tenant's role denies. Objects go round the tenants.
    fn denied(&self) -> usize {
        let tenants = u64::try_from(self.tenancy.tenants.len()).unwrap_or(1).max(1);
        let objects = self.tenancy.tenants.iter().zip(0_u64..).filter(|(tenant, _)| tenant.kind == Kind::Denied);
        let objects = objects.map(|(_, at)| (self.objects + tenants - 1 - at) / tenants).sum::<u64>();
        usize::try_from(objects).unwrap_or(usize::MAX)
    }
}

fn bar(objects: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{elapsed:>4} [{bar:40}] {pos} of {len} objects settled, {msg}");
    ProgressBar::new(objects).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
