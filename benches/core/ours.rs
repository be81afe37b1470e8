//! The daemon's own way on one thread: what a compute thread does, driven by hand, without a lane, a reader or a sender.

use millrace::core::batch::{BatchLimits, Batcher, SegmentId, SendWindow};
use millrace::core::progress::Progress;
use millrace::core::scan::RECORD_BYTES_MAX;
use millrace::core::tenant::TenantId;
use millrace::core::time::UnixMillis;
use millrace::pipeline::budget::{Budget, CHUNK_BYTES, LaneBudget};
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
        let mut records = 0;
        let how = self.how;
        let mut sealed = |machine: &mut Machine, worker: &mut Worker| {
            if let Some(mut group) = machine.take_sealed() {
                if how != How::Nothing {
                    worker.finish(&mut group.sealed.batches, how == How::Packed);
                }
                group.sealed.batches.iter().for_each(|batch| seen(batch.body()));
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
                    Rest::Growth(_) | Rest::Carry | Rest::BigRecord => {
                        unreachable!("the budget is ample, records are short")
                    }
                }
            }
            records += self.machine.take_count().good;
            self.machine.finish();
        }
        self.machine.seal(SendWindow::ALL);
        sealed(&mut self.machine, &mut self.worker);
        records
    }
}
