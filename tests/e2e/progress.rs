//! An attempt goes on where the one before it ended.

use std::time::Duration;

use localcloud::Faults;

use crate::stage::{CENTRAL, Stage, VISIBILITY, lines, until};

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
    let daemon = stage.sqs(&[("DENIED_WAIT", "1s")]);
    until("some batches are accepted", || stage.calls("PutLogEvents", &acme.account) > 2).await;
    stage.cloud.hold("PutLogEvents", &acme.account);
    stage.allow(&acme, Vec::new());
    stage.cloud.release("PutLogEvents", &acme.account);
    until("it is handed back", || stage.calls("ChangeMessageVisibilityBatch", CENTRAL) > 0).await;
    let before = stage.messages(&acme, "pod-0").len();
    assert!(before > 0 && before < messages.len(), "{before}");

    stage.allow(&acme, vec![("logs:*".to_owned(), "*".to_owned())]);
    stage.until_settled(0).await;
    let (_, log) = daemon.stop().await;

    assert!(stage.messages(&acme, "pod-0") == messages, "each line is there once, and in order");
    let receipts = lines(&log, "object settled");
    let told: Vec<(&str, &str)> =
        receipts.iter().map(|line| (line["finish"].as_str().unwrap(), line["tally"].as_str().unwrap())).collect();
    let (all, rest) = (messages.len(), messages.len() - before);
    let last = format!("read {all} = delivered {rest} + resumed_skipped {before}");
    assert_eq!(told.first(), Some(&("tenant_denied", &*format!("read {before} = delivered {before}"))));
    assert_eq!(told.last(), Some(&("delivered", &*last)));
}

/// The attempt in which they are accepted is another one than that whose answer was lost.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_attempt_may_have_sent_is_counted() {
    let mut stage = Stage::new().await;
    let acme = stage.tenant("acme", |_| {});
    // The first call finds no stream.
    let lost = Faults::parse("logs.PutLogEvents reset-after after=1 times=1", 1).unwrap();
    stage.cloud.set_faults(Some(&lost));
    stage.put_messages("acme/c1/api/pod-0/1.json.gz", &["one", "two"]);
    let daemon = stage.sqs(&[("RETRY_ATTEMPTS", "1")]);
    until("it is handed back", || stage.calls("ChangeMessageVisibilityBatch", CENTRAL) > 0).await;
    stage.cloud.advance(VISIBILITY);
    stage.until_settled(0).await;
    let (_, log) = daemon.stop().await;
    let receipts = lines(&log, "object settled");
    let tallies: Vec<&str> = receipts.iter().map(|line| line["tally"].as_str().unwrap()).collect();
    assert_eq!(tallies, ["read 0 = delivered 0", "read 2 = delivered 2 (2 possibly_duplicated)"]);
    assert_eq!(stage.messages(&acme, "pod-0"), ["one", "two", "one", "two"]);
}

/// Settings of replicas that share a table of progress.
const SHARED: [(&str, &str); 2] = [("PROGRESS_TABLE", "progress"), ("PROGRESS_EVERY", "2")];
/// Batches that may come twice after a kill: those accepted since the last write, and the one on its way.
const TWICE_MAX: usize = 2 + 1;
/// Most events of one batch of these lines, each with its overhead.
const BATCH: usize = (1 << 20) / (900 + 26);

#[tokio::test(flavor = "multi_thread")]
async fn another_replica_goes_on_where_a_killed_one_was() {
    let mut stage = Stage::new().await;
    stage.cloud.create_table(CENTRAL, "progress", "id", None);
    let acme = stage.tenant("acme", |_| {});
    let messages = many_lines();
    stage.put_messages("acme/c1/api/pod-0/1.json.gz", &messages);
    let killed = stage.sqs(&SHARED);
    until("some batches are accepted", || stage.calls("PutLogEvents", &acme.account) > 10).await;
    stage.cloud.hold("PutLogEvents", &acme.account);
    drop(killed);
    until("nothing of it is on its way", || stage.cloud.connections() == 0).await;
    stage.cloud.release("PutLogEvents", &acme.account);
    let before = stage.messages(&acme, "pod-0").len();
    assert!(before < messages.len(), "{before}");

    stage.cloud.advance(VISIBILITY);
    let second = stage.sqs(&SHARED);
    stage.until_settled(0).await;
    let (_, log) = second.stop().await;

    let mut arrived = stage.messages(&acme, "pod-0");
    let twice = arrived.len() - messages.len();
    assert!(twice <= TWICE_MAX * BATCH, "{twice} events came twice");
    let resumed = lines(&log, "object settled")[0]["tally"].as_str().unwrap().to_owned();
    assert!(resumed.contains("resumed_skipped"), "{resumed}");
    // What came twice stands where the second one began.
    arrived.sort_unstable();
    arrived.dedup();
    assert!(arrived == messages, "each line is there");
}

/// Of a long object not even the bytes are read again that come before the last place that was written.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_before_a_checkpoint_is_not_read_again() {
    let mut stage = Stage::new().await;
    stage.cloud.create_table(CENTRAL, "progress", "id", None);
    let acme = stage.tenant("acme", |_| {});
    // What is hardly compressed: 49 MB, and 40 of them stored.
    let mut dice = fastrand::Rng::with_seed(7);
    let messages: Vec<String> = (0..24_000)
        .map(|at| format!("{at} ") + &(0..125).map(|_| format!("{:016x}", dice.u64(..))).collect::<String>())
        .collect();
    stage.put_messages("acme/c1/api/pod-0/1.json.gz", &messages);
    let settings = [SHARED[0], SHARED[1], ("PART_BYTES", "1MiB")];
    let killed = stage.sqs(&settings);
    until("most batches are accepted", || stage.calls("PutLogEvents", &acme.account) > 38).await;
    stage.cloud.hold("PutLogEvents", &acme.account);
    drop(killed);
    until("nothing of it is on its way", || stage.cloud.connections() == 0).await;
    stage.cloud.release("PutLogEvents", &acme.account);
    let (before, read) = (stage.messages(&acme, "pod-0").len(), stage.calls("GetObject", CENTRAL));
    assert!(before < messages.len() && read > 18, "{before} events, {read} parts");

    stage.cloud.advance(VISIBILITY);
    let second = stage.sqs(&settings);
    stage.until_settled(0).await;
    let (_, log) = second.stop().await;

    let read = stage.calls("GetObject", CENTRAL) - read;
    assert!(read <= 15, "{read} of some 40 parts are read again");
    let receipt = &lines(&log, "object settled")[0];
    let tally = receipt["tally"].as_str().unwrap();
    assert!(tally.starts_with(&format!("read {} = delivered ", messages.len())), "{tally}");
    assert!(receipt["bytes"].as_u64().unwrap() < 20_000_000, "{receipt}");
    let mut arrived = stage.messages(&acme, "pod-0");
    arrived.sort_unstable();
    arrived.dedup();
    let mut messages = messages;
    messages.sort_unstable();
    assert!(arrived == messages, "each line is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_object_is_known_to_other_replicas_if_that_is_wanted() {
    let mut stage = Stage::new().await;
    stage.cloud.create_table(CENTRAL, "progress", "id", None);
    let acme = stage.tenant("acme", |_| {});
    let key = "acme/c1/api/pod-0/1.json.gz";
    stage.put_messages(key, &["one", "two"]);
    let settings = [SHARED[0], ("DEDUPE", "table")];
    for _restart in 0..2 {
        let replica = stage.sqs(&settings);
        stage.until_settled(0).await;
        let (_, log) = replica.stop().await;
        assert_eq!(lines(&log, "object settled")[0]["finish"], "delivered");
        assert_eq!(stage.calls("PutLogEvents", &acme.account), 2, "the first of them finds no stream");
        // It is told of again, as by a second notification.
        stage.cloud.send(&stage.queue, Stage::notification(&[key]));
    }
    assert_eq!(stage.messages(&acme, "pod-0"), ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_whose_receipt_is_lost_stops_before_its_next_batch() {
    let mut stage = Stage::with_visibility(Duration::from_secs(3)).await;
    let acme = stage.tenant("acme", |_| {});
    let messages = many_lines();
    stage.put_messages("acme/c1/api/pod-0/1.json.gz", &messages);
    let daemon = stage.sqs(&[]);
    until("some batches are accepted", || stage.calls("PutLogEvents", &acme.account) > 2).await;
    stage.cloud.hold("PutLogEvents", &acme.account);
    for operation in ["ReceiveMessage", "ChangeMessageVisibilityBatch"] {
        stage.cloud.hold(operation, CENTRAL);
    }
    until("nobody says that the receipt is still good", || daemon.has_logged("receipt lost")).await;
    let sent = stage.calls("PutLogEvents", &acme.account);
    stage.cloud.release("PutLogEvents", &acme.account);
    let (status, _) = daemon.stop().await;
    assert!(status.success(), "{status}");
    assert_eq!(stage.calls("PutLogEvents", &acme.account), sent, "the batch on its way was the last one");
    assert!(stage.messages(&acme, "pod-0").len() < messages.len());

    for operation in ["ReceiveMessage", "ChangeMessageVisibilityBatch"] {
        stage.cloud.release(operation, CENTRAL);
    }
    let other = stage.sqs(&[]);
    stage.until_settled(0).await;
    other.stop().await;
    let mut arrived = stage.messages(&acme, "pod-0");
    arrived.sort_unstable();
    arrived.dedup();
    assert!(arrived == messages, "each line is there");
}

/// What is read to its end only after its receipt was lost is not sent, and so not delivered.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_given_up_before_it_is_read_is_not_taken_for_delivered() {
    let mut stage = Stage::with_visibility(Duration::from_secs(3)).await;
    let acme = stage.tenant("acme", |_| {});
    stage.cloud.hold("GetObject", CENTRAL);
    stage.put_messages("acme/c1/api/pod-0/1.json.gz", &["one", "two"]);
    let daemon = stage.sqs(&[]);
    until("it is asked for", || stage.calls("GetObject", CENTRAL) > 0).await;
    for operation in ["ReceiveMessage", "ChangeMessageVisibilityBatch"] {
        stage.cloud.hold(operation, CENTRAL);
    }
    until("nobody says that the receipt is still good", || daemon.has_logged("receipt lost")).await;
    stage.cloud.release("GetObject", CENTRAL);
    until("its lane is done with it", || daemon.has_logged("object settled")).await;
    for operation in ["ReceiveMessage", "ChangeMessageVisibilityBatch"] {
        stage.cloud.release(operation, CENTRAL);
    }
    stage.until_settled(0).await;
    daemon.stop().await;
    assert_eq!(stage.messages(&acme, "pod-0"), ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_refuses_costs_no_download_until_it_is_tried_again() {
    let mut stage = Stage::new().await;
    let shut = stage.tenant_that_may("shut", Vec::new(), |_| {});
    stage.put_messages("shut/c1/api/pod-0/0.json.gz", &["0"]);
    let daemon = stage.sqs(&[]);
    until("the first is refused", || daemon.has_logged("delivery refused")).await;
    for object in 1..20 {
        stage.put_messages(&format!("shut/c1/api/pod-{object}/{object}.json.gz"), &[object.to_string()]);
    }
    until("all are handed back", || stage.left() == (20, 0)).await;
    let (_, log) = daemon.stop().await;
    assert_eq!(stage.calls("GetObject", CENTRAL), 1, "the others were not read");
    assert_eq!(lines(&log, "object settled").len(), 1);

    // Let in again, they all arrive: the next one finds out, and those behind it follow.
    stage.allow(&shut, vec![("logs:*".to_owned(), "*".to_owned())]);
    stage.cloud.advance(Duration::from_secs(3600));
    let daemon = stage.sqs(&[("DENIED_WAIT", "1s")]);
    stage.until_settled(0).await;
    daemon.stop().await;
    let mut arrived = 0;
    stage.cloud.each_stream(|account, _, _, _, content| {
        arrived += if account == shut.account { content.events().len() } else { 0 };
    });
    assert_eq!(arrived, 20);
}
