//! Acknowledgements and changes of visibility, in batches.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::aws::sqs::{BATCH_ENTRIES_MAX, Queue, ReceiptHandle};
use crate::core::failure::{Attempts, RetryPolicy, Verdict};
use crate::world::World;

/// Requests that wait to be batched.
const WAITING_MAX: usize = 1_000;
/// How long a request waits for others to share its call.
const GATHER: Duration = Duration::from_millis(50);

/// What is to be done with a receipt.
#[derive(Clone, Debug)]
pub enum Settle {
    /// The message is deleted.
    Delete(ReceiptHandle),
    /// The message is hidden for so long from now on; zero shows it at once.
    Hide(ReceiptHandle, Duration),
}

/// Takes requests; the last handle's end is the end of its two tasks, after everything taken is done. Deletions and
/// heartbeats do not wait for each other.
#[derive(Clone, Debug)]
pub struct Settler {
    deletes: mpsc::Sender<ReceiptHandle>,
    hides: mpsc::Sender<(ReceiptHandle, Duration)>,
}

impl Settler {
    /// Starts the tasks that make the calls.
    #[must_use]
    pub fn start(queue: &Queue, retries: RetryPolicy, world: World, tracker: &TaskTracker) -> Self {
        let (deletes, to_delete) = mpsc::channel(WAITING_MAX);
        let (hides, to_hide) = mpsc::channel(WAITING_MAX);
        tracker.spawn(delete_all(queue.clone(), retries, world, to_delete));
        tracker.spawn(hide_all(queue.clone(), retries, world, to_hide));
        Self { deletes, hides }
    }

    /// Asks for something to be done. It waits while too much is waiting already.
    pub async fn ask(&self, request: Settle) {
        // The tasks end after the last handle, and this is one.
        match request {
            Settle::Delete(receipt) => {
                let _task_is_gone = self.deletes.send(receipt).await;
            }
            Settle::Hide(receipt, time) => {
                let _task_is_gone = self.hides.send((receipt, time)).await;
            }
        }
    }
}

/// The next requests for one call; less than a whole batch waits for more, within [`GATHER`]. Empty: there are no more.
async fn gather<T>(waiting: &mut mpsc::Receiver<T>) -> Vec<T> {
    let mut requests = Vec::with_capacity(BATCH_ENTRIES_MAX);
    if waiting.recv_many(&mut requests, BATCH_ENTRIES_MAX).await > 0 {
        let more = async {
            while let room @ 1.. = BATCH_ENTRIES_MAX - requests.len() {
                if waiting.recv_many(&mut requests, room).await == 0 {
                    break;
                }
            }
        };
        let _time_is_up = tokio::time::timeout(GATHER, more).await;
    }
    requests
}

async fn delete_all(queue: Queue, retries: RetryPolicy, world: World, mut waiting: mpsc::Receiver<ReceiptHandle>) {
    loop {
        let mut receipts = gather(&mut waiting).await;
        if receipts.is_empty() {
            return;
        }
        let mut attempts = Attempts::default();
        loop {
            let (verdict, cause) = match queue.delete(&receipts).await {
                Ok(failed) if failed.is_empty() => break,
                Ok(failed) => {
                    receipts = failed.iter().filter_map(|at| receipts.get(*at).cloned()).collect();
                    (Verdict::Retry, None)
                }
                Err(failure) => (failure.verdict(), Some(failure)),
            };
            let Some(delay) = attempts.next(verdict, &retries, world.entropy()) else {
                let cause = cause.map(tracing::field::display);
                warn!(messages = receipts.len(), cause, "messages not deleted; they will come again");
                break;
            };
            tokio::time::sleep(delay).await;
        }
    }
}

async fn hide_all(
    queue: Queue,
    retries: RetryPolicy,
    world: World,
    mut waiting: mpsc::Receiver<(ReceiptHandle, Duration)>,
) {
    loop {
        let requests = gather(&mut waiting).await;
        if requests.is_empty() {
            return;
        }
        // Of a receipt's requests the last one counts; within one call their order would be the queue's to choose.
        let is_last = |at: usize, receipt: &ReceiptHandle| requests.iter().skip(at + 1).all(|(it, _)| it != receipt);
        let changes: Vec<_> = requests
            .iter()
            .enumerate()
            .filter(|(at, (receipt, _))| is_last(*at, receipt))
            .map(|(_, it)| it.clone())
            .collect();
        let mut attempts = Attempts::default();
        loop {
            let failure = match queue.change_visibility(&changes).await {
                Ok(failed) if failed.is_empty() => break,
                // Their receipts are no longer good: trying again would change nothing.
                Ok(failed) => {
                    warn!(messages = failed.len(), "visibility not changed: the messages were deleted, or came again");
                    break;
                }
                Err(failure) => failure,
            };
            let Some(delay) = attempts.next(failure.verdict(), &retries, world.entropy()) else {
                warn!(messages = changes.len(), cause = %failure, "visibility not changed; the messages come again when it lapses");
                break;
            };
            tokio::time::sleep(delay).await;
        }
    }
}
