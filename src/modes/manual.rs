//! Mode `manual`: the one notification on standard input.

use std::future::ready;

use tokio::io::AsyncReadExt;
use tracing::info;

use super::signals::Told;
use super::{Daemon, Keep, ModeError, Pace, Reach};
use crate::config::ManualSettings;
use crate::console;
use crate::core::envelope::BODY_BYTES_MAX;
use crate::core::settlement::Finish;
use crate::pipeline::ObjectReport;

/// Delivers it. SIGTERM and SIGINT end it when what is in work is delivered, or the time to drain is up; a second one at
/// once.
///
/// # Errors
/// [`ModeError::NotDelivered`] says what was not delivered and why; nothing is delivered in part and called done.
pub(super) async fn run(settings: ManualSettings, told: &Told) -> Result<(), ModeError> {
    let ManualSettings { reach, shared } = settings;
    // Before the input is waited for: a wrong setting is said at once. Nothing more is to come, so no batch lingers.
    let reach = Reach::new(&reach, &shared.aws_region)?;
    let started = told.stop.run_until_cancelled(async {
        let daemon = Box::pin(Daemon::start(&shared, reach, Pace::default(), Keep::default(), told)).await?;
        Ok::<_, ModeError>((daemon, input().await?))
    });
    let (daemon, body) = started.await.ok_or(ModeError::Stopped)??;
    let mut deadline = None;
    let reports = {
        let work = daemon.pipeline.process(daemon.pipeline.read("manual", &body, false), ready(Some(())));
        tokio::pin!(work);
        tokio::select! {
            reports = &mut work => Ok(reports),
            () = told.stop.cancelled() => {
                info!(drain_timeout = ?shared.drain_timeout, "what is in work is finished");
                let until = *deadline.insert(tokio::time::Instant::now() + shared.drain_timeout);
                tokio::select! {
                    biased;
                    reports = &mut work => Ok(reports),
                    () = daemon.time_is_up(until) => Err(ModeError::Stopped),
                }
            }
        }
    };
    daemon.end(deadline.unwrap_or_else(tokio::time::Instant::now)).await;
    let Some((reports, ())) = reports? else { return Err(ModeError::Stopped) };
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
