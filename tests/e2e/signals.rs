//! SIGTERM and SIGINT end every mode in order; a second one at once, a third one whatever is left.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Output, Stdio};

use crate::stage::{CENTRAL, Stage, lines, until};

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

/// A file that is read while the daemon starts, before its first call, and that has no end until somebody else ends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_in_the_first_moments_ends_the_daemon_in_order() {
    let stage = Stage::new().await;
    let folder = tempfile::tempdir().unwrap();
    let (pipe, empty) = (folder.path().join("config"), folder.path().join("empty"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::write(&empty, "").unwrap();
    let mut daemon = stage.sqs(&[("AWS_CONFIG_FILE", pipe.to_str().unwrap())]);
    let writer = pipe.clone();
    let writer = tokio::task::spawn_blocking(move || std::fs::OpenOptions::new().write(true).open(writer).unwrap());
    let writer = writer.await.unwrap();
    daemon.tell("-TERM");
    std::fs::rename(empty, pipe).unwrap();
    drop(writer);
    let (status, log) = daemon.ended().await;
    assert_eq!(status.code(), Some(0), "{status}");
    assert_eq!(lines(&log, "told to stop")[0]["signal"], "SIGTERM");
    assert_eq!(lines(&log, "stopped").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_does_not_answer_holds_up_no_end() {
    let stage = Stage::new().await;
    stage.cloud.hold("GetQueueAttributes", CENTRAL);
    let daemon = stage.sqs(&[]);
    until("the queue is asked", || stage.calls("GetQueueAttributes", CENTRAL) > 0).await;
    let (status, log) = daemon.stop().await;
    assert_eq!((status.code(), lines(&log, "stopped").len()), (Some(0), 1), "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_drain_and_hands_back_what_is_held() {
    let (stage, acme, _) = held().await;
    let mut daemon = stage.sqs(&[("DRAIN_TIMEOUT", "1h")]);
    until("the batch is on its way", || stage.calls("PutLogEvents", &acme.account) > 0).await;
    daemon.tell("-TERM");
    until("it drains", || daemon.has_logged("draining")).await;
    daemon.tell("-INT");
    let (status, log) = daemon.ended().await;
    assert_eq!(status.code(), Some(0), "{status}");
    assert_eq!(lines(&log, "told to stop again; what is in work is given up")[0]["signal"], "SIGINT");
    assert_eq!(stage.left(), (1, 1), "another replica takes over at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_signal_ends_the_process() {
    let (stage, acme, _) = held().await;
    let mut daemon = stage.sqs(&[("DRAIN_TIMEOUT", "1h")]);
    until("the batch is on its way", || stage.calls("PutLogEvents", &acme.account) > 0).await;
    daemon.tell("-TERM");
    until("it drains", || daemon.has_logged("draining")).await;
    daemon.tell("-TERM");
    until("it is told again", || daemon.has_logged("told to stop again")).await;
    // Calls on their way get a few seconds more.
    daemon.tell("-INT");
    let (status, log) = daemon.ended().await;
    assert_eq!((status.code(), lines(&log, "stopped").len()), (Some(130), 0), "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_gives_a_notification_by_hand_up() {
    let (stage, acme, notice) = held().await;
    let mut child = manual(&stage, &[("DRAIN_TIMEOUT", "1h")], Some(&notice));
    until("the batch is on its way", || stage.calls("PutLogEvents", &acme.account) > 0).await;
    tell("-TERM", &child);
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let heard = tokio::task::spawn_blocking(move || {
        assert!(said.any(|line| line.contains("told to stop")));
        said
    });
    let said = heard.await.unwrap();
    tell("-TERM", &child);
    assert_eq!(ended(child).await.status.code(), Some(1));
    assert_eq!(said.last().unwrap(), "millrace: told to stop before all was delivered");
}

/// Whether a process has handlers of its own for SIGINT and SIGTERM (proc(5), "SigCgt").
fn catches_signals(child: &Child) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    let caught = u64::from_str_radix(caught.trim(), 16).unwrap();
    [2, 15].iter().all(|signal| caught >> (signal - 1) & 1 == 1)
}
