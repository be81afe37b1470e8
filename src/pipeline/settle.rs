//! Acknowledgements and changes of visibility, in batches.

use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::retries::Retries;
use crate::aws::sqs::{BATCH_ENTRIES_MAX, Queue, ReceiptHandle};
use crate::core::failure::{Attempts, Service, Verdict};

/// Requests that wait to be batched.
const WAITING_MAX: usize = 1_000;
/// How long a request waits at least for others to share its call; a heartbeat waits for no longer.
const GATHER: Duration = Duration::from_millis(50);

/// What is to be done with a receipt.
#[derive(Debug)]
pub enum Settle {
    /// The message is deleted.
    Delete(ReceiptHandle),
    /// The message is hidden for so long from now on; zero shows it at once.
    Hide(ReceiptHandle, Duration),
    /// The same for a message in work. Told whether the receipt is still good; without a word, if the call failed.
    Extend(ReceiptHandle, Duration, oneshot::Sender<bool>),
}

#[derive(Debug)]
struct Hide {
    receipt: ReceiptHandle,
    time: Duration,
    told: Option<oneshot::Sender<bool>>,
}

/// Takes requests; the last handle's end is the end of its two tasks, after everything taken is done. Deletions and
/// heartbeats do not wait for each other.
#[derive(Clone, Debug)]
pub struct Settler {
    deletes: mpsc::Sender<ReceiptHandle>,
    hides: mpsc::Sender<Hide>,
}

impl Settler {
    /// Starts the tasks that make the calls. Deletions wait for `gather` for others to share theirs.
    #[must_use]
    pub fn start(queue: &Queue, retries: Retries, gather: Duration, tracker: &TaskTracker) -> Self {
        let (deletes, to_delete) = mpsc::channel(WAITING_MAX);
        let (hides, to_hide) = mpsc::channel(WAITING_MAX);
        tracker.spawn(delete_all(queue.clone(), retries.clone(), gather.max(GATHER), to_delete));
        tracker.spawn(hide_all(queue.clone(), retries, to_hide));
        Self { deletes, hides }
    }

    /// Asks for something to be done. It waits while too much is waiting already.
    pub async fn ask(&self, request: Settle) {
        // The tasks end after the last handle, and this is one.
        let hide = match request {
            Settle::Delete(receipt) => {
                let _task_is_gone = self.deletes.send(receipt).await;
                return;
            }
            Settle::Hide(receipt, time) => Hide { receipt, time, told: None },
            Settle::Extend(receipt, time, told) => Hide { receipt, time, told: Some(told) },
        };
        let _task_is_gone = self.hides.send(hide).await;
    }
}

/// The next requests for one call; less than a whole batch waits for more, for so long. Empty: there are no more.
async fn gather<T>(waiting: &mut mpsc::Receiver<T>, time: Duration) -> Vec<T> {
    let mut requests = Vec::with_capacity(BATCH_ENTRIES_MAX);
    if waiting.recv_many(&mut requests, BATCH_ENTRIES_MAX).await > 0 {
        let more = async {
            while let room @ 1.. = BATCH_ENTRIES_MAX - requests.len() {
                if waiting.recv_many(&mut requests, room).await == 0 {
                    break;
                }
            }
        };
        let _time_is_up = tokio::time::timeout(time, more).await;
    }
    requests
}

async fn delete_all(queue: Queue, retries: Retries, time: Duration, mut waiting: mpsc::Receiver<ReceiptHandle>) {
    loop {
        let mut receipts = gather(&mut waiting, time).await;
        if receipts.is_empty() {
            return;
        }
        let mut attempts = Attempts::default();
        loop {
            let (verdict, cause) = match queue.delete(&receipts).await {
                Ok(failed) if failed.is_empty() => {
                    retries.succeeded(Service::Sqs);
                    break;
                }
                Ok(failed) => {
                    receipts = failed.iter().filter_map(|at| receipts.get(*at).cloned()).collect();
                    (Verdict::Retry, None)
                }
                Err(failure) => (failure.verdict(), Some(failure)),
            };
            let Some(delay) = retries.next(&mut attempts, Service::Sqs, verdict) else {
                let cause = cause.map(tracing::field::display);
                warn!(messages = receipts.len(), cause, "messages not deleted; they will come again");
                break;
            };
            tokio::time::sleep(delay).await;
        }
    }
}

async fn hide_all(queue: Queue, retries: Retries, mut waiting: mpsc::Receiver<Hide>) {
    loop {
        let mut requests = gather(&mut waiting, GATHER).await;
        if requests.is_empty() {
            return;
        }
        // Of a receipt's requests the last one counts; within one call their order would be the queue's to choose.
        let mut seen = HashSet::new();
        requests.reverse();
        requests.retain(|request| seen.insert(request.receipt.clone()));
        let mut attempts = Attempts::default();
        while !requests.is_empty() {
            let changes: Vec<_> = requests.iter().map(|request| (&request.receipt, request.time)).collect();
            let (verdict, cause) = match queue.change_visibility(&changes).await {
                Ok(failed) => {
                    requests = tell(requests, &failed);
                    (Verdict::Retry, None)
                }
                Err(failure) => (failure.verdict(), Some(failure)),
            };
            if requests.is_empty() {
                retries.succeeded(Service::Sqs);
                break;
            }
            let Some(delay) = retries.next(&mut attempts, Service::Sqs, verdict) else {
                let cause = cause.map(tracing::field::display);
                warn!(
                    messages = requests.len(),
                    cause, "visibility not changed; the messages come again when it lapses"
                );
                break;
            };
            tokio::time::sleep(delay).await;
        }
    }
}

/// Tells those whose requests are answered, and gives the requests that failed for a while.
fn tell(requests: Vec<Hide>, failed: &[(usize, bool)]) -> Vec<Hide> {
    let (mut again, mut lost) = (Vec::new(), 0);
    for (at, mut request) in requests.into_iter().enumerate() {
        let good = match failed.iter().find(|(place, _)| *place == at) {
            Some((_, false)) => {
                again.push(request);
                continue;
            }
            // Trying again would change nothing.
            Some((_, true)) => false,
            None => true,
        };
        lost += usize::from(!good);
        if let Some(told) = request.told.take() {
            // Its work may have ended meanwhile.
            let _nobody_waits = told.send(good);
        }
    }
    if lost > 0 {
        warn!(messages = lost, "visibility not changed: the messages were deleted, or came again");
    }
    again
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_that_asked_is_told_and_what_failed_for_a_while_is_tried_again() {
        let mut answers = Vec::new();
        let mut requests = Vec::new();
        for number in 0..4 {
            let (told, answer) = oneshot::channel();
            let told = (number != 3).then_some(told);
            requests.push(Hide { receipt: ReceiptHandle::test(number), time: Duration::from_secs(number), told });
            answers.push(answer);
        }
        let again = tell(requests, &[(1, true), (2, false)]);
        assert_eq!(again.iter().map(|it| it.time.as_secs()).collect::<Vec<_>>(), [2]);
        let told: Vec<_> = answers.iter_mut().map(|answer| answer.try_recv().ok()).collect();
        assert_eq!(told, [Some(true), Some(false), None, None]);
        assert_eq!(tell(again, &[]).len(), 0);
        assert_eq!(answers[2].try_recv(), Ok(true));
    }
}
