//! Mode `manual`: the one notification on standard input.

use tokio::io::AsyncReadExt;
use tracing::warn;

use super::{Daemon, Keep, ModeError, Pace, Reach, told_to_stop};
use crate::config::ManualSettings;
use crate::console;
use crate::core::envelope::BODY_BYTES_MAX;
use crate::core::settlement::Finish;
use crate::pipeline::ObjectReport;

/// Delivers it. SIGTERM and SIGINT end it when what is in work is delivered, or the time to drain is up.
///
/// # Errors
/// [`ModeError::NotDelivered`] says what was not delivered and why; nothing is delivered in part and called done.
pub async fn run(settings: ManualSettings) -> Result<(), ModeError> {
    let ManualSettings { reach, shared } = settings;
    // Before the input is waited for: a wrong setting is said at once. Nothing more is to come, so no batch lingers.
    let daemon =
        Daemon::start(&shared, Reach::new(&reach, &shared.aws_region)?, Pace::default(), Keep::default()).await?;
    let told = told_to_stop();
    tokio::pin!(told);
    let body = tokio::select! {
        body = input() => body?,
        told = &mut told => return Err(stopped(told)),
    };
    let mut deadline = None;
    let reports = {
        let work = daemon.pipeline.process(daemon.pipeline.read("manual", &body, false));
        tokio::pin!(work);
        tokio::select! {
            reports = &mut work => Ok(reports),
            told = &mut told => {
                warn!(drain_timeout = ?shared.drain_timeout, "told to stop; what is in work is finished");
                let until = *deadline.insert(tokio::time::Instant::now() + shared.drain_timeout);
                tokio::time::timeout_at(until, &mut work).await.map_err(|_| stopped(told))
            }
        }
    };
    daemon.end(deadline.unwrap_or_else(tokio::time::Instant::now)).await;
    let reports = reports?;
    let failures: Vec<String> = reports.iter().filter(|report| !report.finish.is_success()).map(line).collect();
    if !failures.is_empty() {
        return Err(ModeError::NotDelivered(failures.join("; ")));
    }
    say(&reports);
    Ok(())
}

/// The notification.
async fn input() -> Result<String, ModeError> {
    let mut body = String::new();
    let most = u64::try_from(BODY_BYTES_MAX).unwrap_or(u64::MAX);
    tokio::io::stdin()
        .take(most + 1)
        .read_to_string(&mut body)
        .await
        .map_err(|cause| ModeError::System { what: "standard input cannot be read", cause })?;
    if body.trim().is_empty() { Err(ModeError::NoInput) } else { Ok(body) }
}

fn stopped(told: std::io::Result<()>) -> ModeError {
    match told {
        Ok(()) => ModeError::Stopped,
        Err(cause) => ModeError::System { what: "signals cannot be received", cause },
    }
}

/// What became of a delivery.
fn line(report: &ObjectReport) -> String {
    let object = report.object.as_ref().map(|object| format!(" {object}")).unwrap_or_default();
    let cause = report.cause.as_deref().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{}{object}{cause}", report.finish.name())
}

fn say(reports: &[ObjectReport]) {
    let (done, others): (Vec<_>, Vec<_>) = reports.iter().partition(|report| report.finish == Finish::Delivered);
    for report in others {
        console::say(line(report));
    }
    let events: u64 = reports.iter().map(|report| report.delivered).sum();
    console::say(format_args!("delivered {events} events of {} object deliveries", done.len()));
}
