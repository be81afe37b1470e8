//! Mode `manual`: the one notification on standard input.

use tokio::io::AsyncReadExt;

use super::{Daemon, ModeError, aws_settings};
use crate::config::Settings;
use crate::core::envelope::BODY_BYTES_MAX;
use crate::core::settlement::Finish;
use crate::pipeline::ObjectReport;

/// Delivers it.
///
/// # Errors
/// [`ModeError::NotDelivered`] says what was not delivered and why; nothing is delivered in part and called done.
pub async fn run(mut settings: Settings) -> Result<(), ModeError> {
    // Nothing more is to come: a batch has nothing to wait for.
    settings.linger = std::time::Duration::ZERO;
    // Before the input is waited for: a wrong setting is said at once.
    let daemon = Daemon::start(&settings, aws_settings(&settings)).await?;
    let mut body = String::new();
    let most = u64::try_from(BODY_BYTES_MAX).unwrap_or(u64::MAX);
    tokio::io::stdin()
        .take(most + 1)
        .read_to_string(&mut body)
        .await
        .map_err(|cause| ModeError::System { what: "standard input cannot be read", cause })?;
    if body.trim().is_empty() {
        return Err(ModeError::NoInput);
    }
    let reports = daemon.pipeline.process("manual", &body).await;
    daemon.pipeline.close();
    daemon.tracker.close();
    daemon.tracker.wait().await;
    let failures: Vec<String> = reports.iter().filter(|report| !report.finish.is_success()).map(line).collect();
    if !failures.is_empty() {
        return Err(ModeError::NotDelivered(failures.join("; ")));
    }
    say(&reports);
    Ok(())
}

/// What became of a delivery.
fn line(report: &ObjectReport) -> String {
    let object = report.object.as_ref().map(|object| format!(" {object}")).unwrap_or_default();
    let cause = report.cause.as_deref().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{}{object}{cause}", report.finish.name())
}

#[expect(clippy::print_stdout, reason = "the result of the command")]
fn say(reports: &[ObjectReport]) {
    let (done, others): (Vec<_>, Vec<_>) = reports.iter().partition(|report| report.finish == Finish::Delivered);
    for report in others {
        println!("{}", line(report));
    }
    let events: u64 = reports.iter().map(|report| report.delivered).sum();
    println!("delivered {events} events of {} object deliveries", done.len());
}
