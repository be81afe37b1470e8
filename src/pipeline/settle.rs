//! Acknowledgements and changes of visibility, in batches.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::aws::sqs::{BATCH_ENTRIES_MAX, Queue, ReceiptHandle};
use crate::core::failure::{Attempts, Failure, RetryPolicy};
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

/// Takes requests; the last handle's end is the end of the task, after everything taken is done.
#[derive(Clone, Debug)]
pub struct Settler {
    requests: mpsc::Sender<Settle>,
}

impl Settler {
    /// Starts the task that makes the calls.
    #[must_use]
    pub fn start(queue: Queue, retries: RetryPolicy, world: World, tracker: &TaskTracker) -> Self {
        let (requests, waiting) = mpsc::channel(WAITING_MAX);
        tracker.spawn(run(queue, retries, world, waiting));
        Self { requests }
    }

    /// Asks for something to be done. It waits while too much is waiting already.
    pub async fn ask(&self, request: Settle) {
        // The task ends after the last handle, and this is one.
        let _task_is_gone = self.requests.send(request).await;
    }
}

async fn run(queue: Queue, retries: RetryPolicy, world: World, mut waiting: mpsc::Receiver<Settle>) {
    let mut requests = Vec::new();
    while waiting.recv_many(&mut requests, BATCH_ENTRIES_MAX).await > 0 {
        // Half a batch or less waits for more, within the time.
        let more = async {
            while let room @ 1.. = BATCH_ENTRIES_MAX - requests.len() {
                if waiting.recv_many(&mut requests, room).await == 0 {
                    break;
                }
            }
        };
        let _time_is_up = tokio::time::timeout(GATHER, more).await;
        let mut deletes = Vec::new();
        let mut hides = Vec::new();
        for request in requests.drain(..) {
            match request {
                Settle::Delete(receipt) => deletes.push(receipt),
                Settle::Hide(receipt, time) => hides.push((receipt, time)),
            }
        }
        if !deletes.is_empty() {
            let done = retried(&queue, Call::Delete(deletes), &retries, world).await;
            report(done, "messages not deleted; they will come again");
        }
        if !hides.is_empty() {
            let done = retried(&queue, Call::Hide(hides), &retries, world).await;
            report(done, "visibility not changed; the messages come again when it lapses");
        }
    }
}

/// One call for several requests of a kind.
enum Call {
    Delete(Vec<ReceiptHandle>),
    Hide(Vec<(ReceiptHandle, Duration)>),
}

async fn retried(queue: &Queue, call: Call, retries: &RetryPolicy, world: World) -> Result<Vec<usize>, Failure> {
    let mut attempts = Attempts::default();
    loop {
        let done = match &call {
            Call::Delete(receipts) => queue.delete(receipts).await,
            Call::Hide(changes) => queue.change_visibility(changes).await,
        };
        let Err(failure) = done else { return done };
        match attempts.next(failure.verdict(), retries, world.entropy()) {
            Some(delay) => tokio::time::sleep(delay).await,
            None => return Err(failure),
        }
    }
}

fn report(done: Result<Vec<usize>, Failure>, what: &'static str) {
    match done {
        Ok(failed) if failed.is_empty() => {}
        Ok(failed) => warn!(messages = failed.len(), "{what}"),
        Err(failure) => warn!(cause = %failure, "{what}"),
    }
}
