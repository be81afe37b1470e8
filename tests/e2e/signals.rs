//! SIGTERM and SIGINT end every mode in order.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Output, Stdio};

use crate::stage::{Stage, until};

fn tell(signal: &str, child: &Child) {
    let told = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(told.success());
}

/// Starts the mode `manual`; `input` is followed by the end of standard input, none leaves it open.
fn manual(stage: &Stage, settings: &[(&str, &str)], input: Option<&str>) -> Child {
    let mut command = stage.millrace("manual", settings);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    if let Some(input) = input {
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    }
    child
}

async fn ended(child: Child) -> Output {
    tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A stage whose tenant's first batch is on its way when the process is told to stop.
async fn held() -> (Stage, crate::stage::Tenant, String) {
    let mut stage = Stage::new().await;
    let acme = stage.tenant("acme", |_| {});
    stage.cloud.hold("PutLogEvents", &acme.account);
    stage.put_messages("acme/c1/api/pod-0/1.json.gz", &["one", "two"]);
    let notice = Stage::notification(&["acme/c1/api/pod-0/1.json.gz"]);
    (stage, acme, notice)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_by_hand_is_finished_before_the_end() {
    let (stage, acme, notice) = held().await;
    let mut child = manual(&stage, &[], Some(&notice));
    until("the batch is on its way", || stage.calls("PutLogEvents", &acme.account) > 0).await;
    tell("-INT", &child);
    let said = BufReader::new(child.stderr.take().unwrap()).lines();
    let heard = tokio::task::spawn_blocking(|| said.map_while(Result::ok).any(|line| line.contains("told to stop")));
    assert!(heard.await.unwrap());
    stage.cloud.release("PutLogEvents", &acme.account);
    let output = ended(child).await;
    assert!(output.status.success(), "{}", output.status);
    assert_eq!(text(&output.stdout), "delivered 2 events of 1 object deliveries\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_notification_by_hand_cannot_finish_in_time_is_said() {
    let (stage, acme, notice) = held().await;
    let child = manual(&stage, &[("DRAIN_TIMEOUT", "100ms")], Some(&notice));
    until("the batch is on its way", || stage.calls("PutLogEvents", &acme.account) > 0).await;
    tell("-TERM", &child);
    let output = ended(child).await;
    assert_eq!(output.status.code(), Some(1));
    let err = text(&output.stderr);
    assert!(err.ends_with("millrace: told to stop before all was delivered\n"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_for_standard_input_ends_too() {
    let stage = Stage::new().await;
    let mut child = manual(&stage, &[], None);
    let _open = child.stdin.take();
    until("signals are received", || catches_signals(&child)).await;
    tell("-TERM", &child);
    let output = ended(child).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).ends_with("millrace: told to stop before all was delivered\n"));
}

/// Whether a process has handlers of its own for SIGINT and SIGTERM (proc(5), "SigCgt").
fn catches_signals(child: &Child) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    let caught = u64::from_str_radix(caught.trim(), 16).unwrap();
    [2, 15].iter().all(|signal| caught >> (signal - 1) & 1 == 1)
}
