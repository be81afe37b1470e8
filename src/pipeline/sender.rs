//! A lane's second task: sealed groups → sent batches, one after the other, and what they mean for the lane's objects.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::compute::{Compute, Finishing};
use super::ledger::Ledger;
use super::machine::Group;
use super::open::OpenObjects;
use super::rejects::{Kept, Why};
use super::send::{Destination, SendFault, SendReport, Sends};
use crate::core::batch::{Batch, Origin, Sealed, SegmentId, SegmentShare};
use crate::core::errand::Errand;
use crate::core::object::ObjectRef;
use crate::core::progress::Progress;
use crate::core::rejects::{RejectFile, RejectedEvent};
use crate::core::settlement::Finish;
use crate::core::tenant::{DeliveryKey, TenantId};

/// A sealed group on its way to the sender, whose batches are being finished.
pub(super) struct Passed {
    group: Group,
    finishing: Finishing,
}

impl Passed {
    pub(super) fn new(mut group: Group, compute: &Compute, tenant: &TenantId) -> Self {
        let finishing = compute.finish(tenant, std::mem::take(&mut group.sealed.batches));
        Self { group, finishing }
    }
}

/// A lane's sender.
pub(super) struct Sender {
    pub(super) sends: Sends,
    pub(super) ledger: Ledger,
    pub(super) to: Destination,
    pub(super) delivery: DeliveryKey,
    pub(super) open: Arc<OpenObjects>,
}

impl Sender {
    /// Sends one batch after the other, until there are no more groups.
    pub(super) async fn run(self, mut groups: mpsc::Receiver<Passed>) {
        while let Some(Passed { group: Group { mut sealed, growth }, finishing }) = groups.recv().await {
            let batches = match finishing.done().await {
                Ok(batches) => batches,
                Err(ended) => {
                    let cause = ended.to_string();
                    let lost = sealed.shares.iter();
                    lost.for_each(|share| self.open.fail(share.segment, Finish::Retryable, &cause, share.sent));
                    Vec::new()
                }
            };
            // What comes behind a gap moves no object's progress.
            let whole = |share: &&SegmentShare| !self.open.has_failed(share.segment);
            let shares: Vec<SegmentShare> = sealed.shares.iter().filter(whole).copied().collect();
            for share in &shares {
                self.claim(share.segment).await;
            }
            let mut reports = Vec::new();
            if let Some(report) = self.keep_dropped(&mut sealed).await {
                reports.push((report, Duration::ZERO));
            }
            for batch in batches {
                let batch = self.sift(batch, &mut reports);
                let Some(batch) = batch else { continue };
                let begun = self.sends.world.now();
                let before = self.open.doubtful(batch.segments());
                let mut report = Box::pin(self.sends.send(&self.to, batch, &before)).await;
                self.keep_rejected(&mut report).await;
                reports.push((report, self.sends.world.now().since(begun)));
            }
            // Progress first: an object is reported with the last of its events.
            let unsent: Vec<Origin> = reports.iter().flat_map(|(report, _)| &report.unsent).copied().collect();
            for share in &shares {
                self.open.advance(share, &unsent);
            }
            reports.iter().for_each(|(report, _)| self.open.unanswered(report));
            sealed.shares.iter().for_each(|share| self.open.drop_by_time(share));
            for (report, took) in &reports {
                self.open.settle(report, *took);
            }
            drop(growth);
            for share in &shares {
                self.keep(share.segment).await;
            }
        }
    }

    /// Writes what was dropped at sealing to the reject store. Gives a report of what could not be written: it is not
    /// dropped then.
    async fn keep_dropped(&self, sealed: &mut Sealed) -> Option<SendReport> {
        let mut report = SendReport::default();
        for (rule, batch) in std::mem::take(&mut sealed.dropped) {
            let before = report.unsent.len();
            let events = (0..batch.events()).map(|at| (at, Why::Dropped(rule))).collect();
            report.kept.push(Kept { batch, events });
            self.keep_rejected(&mut report).await;
            for origin in report.unsent.iter().skip(before) {
                let share = sealed.shares.iter_mut().find(|share| share.segment == origin.segment);
                if let Some(share) = share {
                    share.keep(rule);
                }
            }
        }
        report.failed.is_some().then_some(report)
    }

    /// Writes what was not taken to the reject store. What cannot be written is tried again with its object.
    async fn keep_rejected(&self, report: &mut SendReport) {
        let Some(store) = &self.sends.rejects else { return };
        for Kept { batch, events } in std::mem::take(&mut report.kept) {
            let mut events = events.into_iter().peekable();
            while let Some((at, why)) = events.peek().copied()
                && let Some((first, event)) = batch.event(at)
            {
                let is_of_it = |at: usize| batch.event(at).filter(|(origin, _)| origin.segment == first.segment);
                let Some(object) = self.open.object(first.segment) else {
                    // Nobody waits any more for an object that is not here.
                    while events.next_if(|(at, _)| is_of_it(*at).is_some()).is_some() {}
                    continue;
                };
                let _memory = store.room(&self.rejected(&object, (first, why), event)).await;
                let (mut file, mut written) = (RejectFile::default(), Vec::new());
                while let Some((at, why)) = events.peek().copied()
                    && let Some((origin, event)) = is_of_it(at)
                    && file.add(&self.rejected(&object, (origin, why), event))
                {
                    written.push((origin, why));
                    events.next();
                }
                if let Err(failure) = store.write(file, &object, &self.delivery).await {
                    report.not_kept(&written, SendFault { finish: Errand::Own.finish(&failure), failure });
                }
            }
        }
    }

    fn rejected<'e>(
        &'e self,
        object: &'e ObjectRef,
        (origin, why): (Origin, Why),
        event: &'e [u8],
    ) -> RejectedEvent<'e> {
        RejectedEvent { reason: why.name(), tenant: self.delivery.tenant(), object, at: origin.position(), event }
    }

    /// Claims an object before its second batch.
    async fn claim(&self, segment: SegmentId) {
        let Some(object) = self.open.unclaimed(segment) else { return };
        match Box::pin(self.ledger.claim(&object, &self.delivery)).await {
            Ok(Some(taken)) => self.open.claimed(segment, taken),
            Ok(None) => {}
            Err(fault) => self.open.fail(segment, fault.finish(), &fault.to_string(), 0),
        }
    }

    /// Writes an object's progress when it is due.
    async fn keep(&self, segment: SegmentId) {
        let Some(due) = self.open.due(segment, self.ledger.every, self.ledger.spacing.written) else { return };
        if let Err(fault) = Box::pin(self.ledger.keep(&due.claim, &due.progress, 0)).await {
            self.open.fail(segment, fault.finish(), &fault.to_string(), 0);
        } else if let Some(checkpoint) = &due.checkpoint {
            Box::pin(self.ledger.keep_checkpoint(&due.claim, checkpoint)).await;
        }
    }

    /// A batch without the events that are not to be sent: of an object that has failed since, for its next attempt sends
    /// them in their order, and those that another replica has settled.
    fn sift(&self, batch: Batch, reports: &mut Vec<(SendReport, Duration)>) -> Option<Batch> {
        let lost: HashSet<SegmentId> =
            reports.iter().flat_map(|(report, _)| &report.unsent).map(|origin| origin.segment).collect();
        let has_failed = |segment| lost.contains(&segment) || self.open.has_failed(segment);
        let failed: HashSet<SegmentId> = batch.segments().iter().copied().filter(|it| has_failed(*it)).collect();
        let overtaken: HashMap<SegmentId, Progress> =
            batch.segments().iter().filter_map(|it| Some((*it, self.open.overtaken(*it)?))).collect();
        if failed.is_empty() && overtaken.is_empty() {
            return Some(batch);
        }
        let settled =
            |origin: &Origin| overtaken.get(&origin.segment).is_some_and(|progress| progress.covers(origin.position()));
        let (rest, left) = batch.sift(|origin| settled(origin) || failed.contains(&origin.segment));
        let (settled_before, unsent) = left.into_iter().partition(settled);
        reports.push((SendReport::left_out(unsent, settled_before), Duration::ZERO));
        rest
    }
}
