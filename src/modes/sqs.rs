//! Mode `sqs`: polls a queue until it is told to stop, then drains.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::signals::Told;
use super::{Daemon, Ground, Keep, ModeError, Reach};
use crate::aws::sqs::Queue;
use crate::config::{PollSettings, QueueSettings, SqsSettings, UnknownTenant};
use crate::core::settlement::SettlePolicy;
use crate::pipeline::gate::Gate;
use crate::pipeline::intake::Intake;
use crate::pipeline::settle::Settler;

/// MAX_BATCH_SIZE of the predecessors, which many environments still carry.
const PREDECESSOR_BATCH: u16 = 1_000;
/// Messages, and deletions, are gathered for calls of several for this part of LINGER, for this long at most.
const GATHER_PART: u32 = 4;
const GATHER_MAX: Duration = Duration::from_millis(250);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// [`ModeError`].
pub(super) async fn run(settings: SqsSettings, told: &Told) -> Result<(), ModeError> {
    if settings.shared.max_batch_size <= PREDECESSOR_BATCH {
        warn!(
            max_batch_size = settings.shared.max_batch_size,
            "small batches: up to ten times the calls to CloudWatch Logs for the same events; 10000 is the API's limit"
        );
    }
    let SqsSettings { queues, progress, poll, reach, shared } = settings;
    let keep = Keep::new(&progress, poll.poison_attempts)?;
    let reach = Reach::new(&reach, &shared.aws_region)?;
    let start = Box::pin(Daemon::start(&shared, reach, (&poll).into(), keep, told));
    let Some(daemon) = told.stop.run_until_cancelled(start).await else {
        info!("stopped");
        return Ok(());
    };
    let stopped = async {
        told.stop.cancelled().await;
        Ok(())
    };
    serve(&queues, &poll, shared.drain_timeout, daemon?, TaskTracker::new(), stopped).await
}

/// A daemon that stands on a ground of the caller's, to be [served](serve).
///
/// # Errors
/// [`ModeError`]: the settings do not fit together.
pub fn stand(settings: &SqsSettings, ground: Ground) -> Result<Daemon, ModeError> {
    let keep = Keep::new(&settings.progress, settings.poll.poison_attempts)?;
    let Reach { hops, external_id, .. } = Reach::new(&settings.reach, &settings.shared.aws_region)?;
    let hurry = CancellationToken::new();
    Daemon::on(ground, &settings.shared, (hops, external_id), (&settings.poll).into(), keep, hurry)
}

/// Polls the queue until `told`, then drains. `messages` tracks those in work.
///
/// # Errors
/// [`ModeError`].
pub async fn serve(
    queues: &QueueSettings,
    poll: &PollSettings,
    drain_timeout: Duration,
    daemon: Daemon,
    messages: TaskTracker,
    told: impl Future<Output = std::io::Result<()>>,
) -> Result<(), ModeError> {
    let keep_unknown = poll.unknown_tenant == UnknownTenant::Dlq;
    if keep_unknown && queues.dlq_url.is_none() {
        return Err(ModeError::NoDeadLetters);
    }
    let queue = Queue::new(&daemon.aws, &queues.sqs_queue_url);
    let gather = GATHER_MAX.min(poll.linger / GATHER_PART);
    let settler = Settler::start(&queue, daemon.retries.clone(), gather, &daemon.tracker);
    let stop = CancellationToken::new();
    let intake = Intake {
        queue,
        dead_letters: queues.dlq_url.as_deref().map(|url| Queue::new(&daemon.aws, url)),
        settler,
        policy: SettlePolicy {
            strikes_max: poll.poison_attempts,
            keep_unknown,
            dead_letters: queues.dlq_url.is_some(),
            denied_least: poll.denied_wait,
        },
        retries: daemon.retries.clone(),
        places: Arc::new(Semaphore::new(usize::try_from(poll.messages_max).unwrap_or(1))),
        messages_max: poll.messages_max,
        fresh_share: poll.fresh_share,
        gate: Gate::new(daemon.world),
        wait: poll.sqs_wait,
        gather,
        world: daemon.world,
        tracker: messages.clone(),
        abandon: CancellationToken::new(),
    };
    let abandon = intake.abandon.clone();
    info!(queue = queues.sqs_queue_url, "polling");
    let polling = intake.run(&daemon.pipeline, &stop);
    tokio::pin!(polling);
    let outcome = tokio::select! {
        biased;
        ended = &mut polling => ended.map_err(ModeError::from),
        told = told => {
            stop.cancel();
            told.map_err(|cause| ModeError::System { what: "signals cannot be received", cause })
                .and(polling.await.map_err(ModeError::from))
        }
    };
    // Open batches are sent at once, and what is in work is finished; what cannot be in time is handed back.
    daemon.drain.cancel();
    messages.close();
    info!(messages = messages.len(), "draining");
    let deadline = tokio::time::Instant::now() + drain_timeout;
    tokio::select! {
        biased;
        () = messages.wait() => {}
        () = daemon.time_is_up(deadline) => {
            warn!(messages = messages.len(), "time to drain is up; what is left is handed back");
            abandon.cancel();
            messages.wait().await;
        }
    }
    // Lanes whose messages were handed back stop before their next batch.
    daemon.end(deadline).await;
    info!("stopped");
    outcome
}
