//! An attempt goes on where the one before it ended.

use std::time::Duration;

use crate::stage::{CENTRAL, Stage, lines, until};

/// Lines of an object of sixty batches or so: a hundred bytes of number each, so that none is like another.
fn many_lines() -> Vec<String> {
    (0..60_000).map(|at| format!("{at:0900}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_is_not_sent_again() {
    let mut stage = Stage::new().await;
    let acme = stage.tenant("acme", |_| {});
    let messages = many_lines();
    stage.put_messages("acme/c1/api/pod-0/1.json.gz", &messages);
    let daemon = stage.sqs(&[]);
    until("some batches are accepted", || stage.calls("PutLogEvents", &acme.account) > 2).await;
    stage.cloud.hold("PutLogEvents", &acme.account);
    stage.allow(&acme, Vec::new());
    stage.cloud.release("PutLogEvents", &acme.account);
    until("it is handed back", || stage.calls("ChangeMessageVisibilityBatch", CENTRAL) > 0).await;
    let before = stage.messages(&acme, "pod-0").len();
    assert!(before > 0 && before < messages.len(), "{before}");

    stage.allow(&acme, vec![("logs:*".to_owned(), "*".to_owned())]);
    stage.cloud.advance(Duration::from_secs(600));
    stage.until_settled(0).await;
    let (_, log) = daemon.stop().await;

    assert!(stage.messages(&acme, "pod-0") == messages, "each line is there once, and in order");
    let receipts = lines(&log, "object settled");
    let told: Vec<(&str, &str)> =
        receipts.iter().map(|line| (line["finish"].as_str().unwrap(), line["tally"].as_str().unwrap())).collect();
    let (all, rest) = (messages.len(), messages.len() - before);
    let second = format!("read {all} = delivered {rest} + resumed_skipped {before}");
    assert_eq!(told, [("tenant_denied", &*format!("read {before} = delivered {before}")), ("delivered", &*second)]);
}
