//! The daemon's own way on one thread: what a compute thread does, driven by hand, without a lane, a reader or a sender.

use futures_util::FutureExt as _;
use millrace::core::batch::{BatchLimits, Batcher, EVENT_OVERHEAD_BYTES, SegmentId, SendWindow};
use millrace::core::progress::Progress;
use millrace::core::scan::RECORD_BYTES_MAX;
use millrace::core::tenant::TenantId;
use millrace::core::time::UnixMillis;
use millrace::pipeline::budget::{Budget, CARRY_BYTES_MAX, CHUNK_BYTES, LaneBudget};
use millrace::pipeline::machine::{Machine, Rest, Worker};

use crate::sets::Set;

/// Memory for a batch of any kind: a scarce budget is not what is measured.
const BUDGET_BYTES: u64 = 256 << 20;

/// A compute thread and a lane's machine.
#[derive(Debug)]
pub(crate) struct Ours {
    worker: Worker,
    machine: Machine,
    budget: LaneBudget,
    how: How,
    /// Bytes of the last run's bodies; what was dropped counts as CloudWatch Logs counts an event without text.
    pub(crate) made: usize,
}

/// What is done with sealed batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Nothing,
    Hashed,
    Packed,
}

impl Ours {
    pub(crate) fn new() -> Self {
        let budget = Budget::new(BUDGET_BYTES, RECORD_BYTES_MAX as u64).unwrap();
        let batcher = Batcher::new(BatchLimits::default(), "/acme/logs", "pod-0");
        Self {
            worker: Worker::new(),
            machine: Machine::new(batcher, RECORD_BYTES_MAX),
            budget: budget.lane(&TenantId::try_from("acme").unwrap(), 0),
            how: How::Hashed,
            made: 0,
        }
    }

    /// The same with packed bodies.
    pub(crate) fn packing(self) -> Self {
        Self { how: How::Packed, ..self }
    }

    /// The same without the end: batches are sealed and not hashed.
    pub(crate) fn unfinished(self) -> Self {
        Self { how: How::Nothing, ..self }
    }

    /// Each object's bytes → request bodies, which are shown to `seen`. The records.
    pub(crate) fn run(&mut self, set: &Set, mut seen: impl FnMut(&[u8])) -> u64 {
        let chunk_bytes = usize::try_from(CHUNK_BYTES).unwrap();
        let (mut records, mut dropped) = (0, 0);
        let (mut made, how) = (0, self.how);
        let mut sealed = |machine: &mut Machine, worker: &mut Worker| {
            if let Some(mut group) = machine.take_sealed() {
                if how != How::Nothing {
                    worker.finish(&mut group.sealed.batches, how == How::Packed);
                }
                for batch in &group.sealed.batches {
                    made += batch.body().len();
                    seen(batch.body());
                }
            }
        };
        for (number, object) in set.stored.iter().enumerate() {
            self.machine.begin(SegmentId(number as u64), object.len() as u64, UnixMillis(0), Progress::default());
            let mut rest = object.clone();
            loop {
                match self.worker.turn(&mut self.machine, &self.budget, SendWindow::ALL) {
                    Rest::Turn => {}
                    Rest::Input if rest.is_empty() => self.machine.end_of_input(),
                    Rest::Input => self.machine.push(rest.split_to(rest.len().min(chunk_bytes))),
                    Rest::Sealed => sealed(&mut self.machine, &mut self.worker),
                    Rest::ObjectEnd(end) => break end.unwrap(),
                    // The budget is ample.
                    Rest::Growth(bytes) => self.machine.grow(self.budget.grow(bytes).now_or_never().unwrap()),
                    Rest::Carry => {
                        let carry = usize::try_from(CARRY_BYTES_MAX).unwrap();
                        self.machine.lengthen(self.budget.carry().now_or_never().unwrap(), carry);
                    }
                    Rest::BigRecord => {
                        let record = self.budget.big_record().now_or_never().unwrap();
                        self.machine.lengthen(record, RECORD_BYTES_MAX);
                    }
                }
            }
            let count = self.machine.take_count();
            records += count.good;
            dropped += count.tally.drops().map(|(_, events)| events).sum::<u64>();
            self.machine.finish();
        }
        self.machine.seal(SendWindow::ALL);
        sealed(&mut self.machine, &mut self.worker);
        self.made = made + usize::try_from(dropped).unwrap() * EVENT_OVERHEAD_BYTES;
        records
    }
}
