//! Mode `manual`: the one notification on standard input.

use tokio::io::AsyncReadExt;

use super::{Daemon, ModeError, aws_settings};
use crate::config::Settings;
use crate::core::envelope::BODY_BYTES_MAX;

/// Delivers it.
///
/// # Errors
/// [`ModeError::NotDelivered`] says what was not delivered and why; nothing is delivered in part and called done.
pub async fn run(mut settings: Settings) -> Result<(), ModeError> {
    // Nothing more is to come: a batch has nothing to wait for.
    settings.linger = std::time::Duration::ZERO;
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
    let daemon = Daemon::start(&settings, aws_settings(&settings)).await?;
    let reports = daemon.pipeline.process("manual", &body).await;
    daemon.pipeline.close();
    daemon.tracker.close();
    daemon.tracker.wait().await;
    let mut failures = Vec::new();
    let mut delivered = 0;
    for report in &reports {
        delivered += report.delivered;
        if !report.finish.is_success() {
            let object = report.object.as_ref().map(ToString::to_string).unwrap_or_default();
            let cause = report.cause.as_deref().unwrap_or_default();
            failures.push(format!("{} {object}: {cause}", report.finish.name()));
        }
    }
    if !failures.is_empty() {
        return Err(ModeError::NotDelivered(failures.join("; ")));
    }
    say(reports.len(), delivered);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the result of the command")]
fn say(objects: usize, events: u64) {
    println!("delivered {events} events of {objects} object deliveries");
}
