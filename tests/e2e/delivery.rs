//! Mode `sqs`: everything arrives once, in order, in the right account, for few calls.

use std::time::Duration;

use serde_json::json;

use crate::stage::{CENTRAL, GROUP, Stage, gzip, lines, until};

const POLLERS_OWN: [&str; 3] = ["polling", "draining", "stopped"];

/// What is sent is gzip when it is wanted, and the events are the same; also those beside one that the service does not take,
/// for which the batch is sent as it is, and halved.
#[tokio::test(flavor = "multi_thread")]
async fn compressed_batches_bring_the_same_events() {
    let messages: Vec<String> = (0..3_000).map(|at| format!("line {at}: as most of the others are")).collect();
    let mut sent = Vec::new();
    for compress in ["auto", "on"] {
        let mut stage = Stage::new().await;
        let acme = stage.tenant("acme", |_| {});
        stage.put_messages("acme/c1/api/pod-0/1.json.gz", &messages);
        let daemon = stage.sqs(&[("COMPRESS", compress)]);
        stage.until_settled(0).await;
        sent.push(stage.cloud.received_bytes("PutLogEvents"));
        stage.cloud.refuse("line 1700:");
        stage.put_messages("acme/c1/api/pod-1/2.json.gz", &messages);
        stage.until_settled(0).await;
        let (status, log) = daemon.stop().await;

        assert!(status.success(), "{status}");
        assert_eq!(stage.messages(&acme, "pod-0"), messages);
        let but_one: Vec<String> = messages.iter().filter(|it| !it.starts_with("line 1700:")).cloned().collect();
        assert_eq!(stage.messages(&acme, "pod-1"), but_one);
        // An event was to blame, and not that the batch was compressed.
        assert!(!log.iter().any(|line| line["message"].as_str().is_some_and(|it| it.contains("COMPRESS"))));
    }
    // By HTTP auto compresses nothing.
    assert!(sent[0] > 200_000 && sent[1] < sent[0] / 4, "{sent:?}");
}

/// As collectors write them that compress each flush by itself: of all chunks but the first, other threads decode the members
/// before their turn.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_many_members_arrives_in_order() {
    let mut stage = Stage::new().await;
    let acme = stage.tenant("acme", |_| {});
    let (mut seed, mut object, mut messages) = (7_u64, Vec::new(), Vec::new());
    let at = stage.cloud.now_ms() - 60_000;
    for member in 0..1_500 {
        let mut text = Vec::new();
        for line in 0..member % 20 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            messages.push(format!("member {member} line {line} {seed:x} {:x}", seed.rotate_left(31) ^ 0x5555));
            let record =
                json!({ "timestamp": at + member, "message": messages.last(), "padding": seed.to_string().repeat(3) });
            text.extend(record.to_string().into_bytes());
            text.push(b'\n');
        }
        object.extend(gzip(&text));
    }
    assert!(object.len() > 3 * 256 * 1024, "{} bytes", object.len());
    stage.put("acme/c1/api/pod-0/1.json.gz", object);
    let daemon = stage.sqs(&[("COMPUTE_THREADS", "2")]);
    stage.until_settled(0).await;
    let (status, _) = daemon.stop().await;
    assert!(status.success(), "{status}");
    assert_eq!(stage.messages(&acme, "pod-0"), messages);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tenants_objects_arrive_in_its_own_account_in_order() {
    let mut stage = Stage::new().await;
    let acme = stage.tenant("acme", |_| {});
    let bolt = stage.tenant("bolt", |row| {
        row.insert("desired_logs".to_owned(), json!({ "SS": ["API"] }));
        row.insert("log_retention_days".to_owned(), json!({ "N": "30" }));
    });
    let off = stage.tenant("off", |row| {
        row.insert("enabled".to_owned(), json!({ "BOOL": false }));
    });
    let mut wanted = Vec::new();
    for object in 0..50 {
        let messages: Vec<String> = (0..20).map(|at| format!("object {object} line {at}")).collect();
        for tenant in ["acme", "bolt", "off"] {
            stage.put_messages(&format!("{tenant}/c1/api/pod-0/{object}.json.gz"), &messages);
        }
        stage.put_messages(&format!("bolt/c1/etcd/pod-1/{object}.json.gz"), &messages);
        wanted.extend(messages);
    }
    let daemon = stage.sqs(&[]);
    stage.until_settled(0).await;
    let (status, log) = daemon.stop().await;

    assert!(status.success(), "{status}");
    for tenant in [&acme, &bolt] {
        let mut got = stage.messages(tenant, "pod-0");
        let by_object = |object: u32| -> Vec<&String> {
            let start = format!("object {object} ");
            got.iter().filter(|message| message.starts_with(&start)).collect()
        };
        for object in 0..50 {
            let lines: Vec<String> = (0..20).map(|at| format!("object {object} line {at}")).collect();
            assert_eq!(by_object(object), lines.iter().collect::<Vec<_>>(), "an object's events keep their order");
        }
        got.sort();
        wanted.sort();
        assert_eq!(got, wanted);
    }
    assert!(stage.messages(&bolt, "pod-1").is_empty(), "an application that is not wanted is not delivered");
    stage.cloud.each_stream(|account, _, group, _, _| {
        assert!(account != off.account && account != CENTRAL && group == GROUP, "{account} {group}");
    });

    // One line per object, whose numbers add up; nothing else at this level but the start and the end.
    let receipts = lines(&log, "object settled");
    assert_eq!(receipts.len(), 100);
    assert!(receipts.iter().all(|line| line["finish"] == "delivered"), "{receipts:?}");
    // What it took: the batches that its events were in, by AWS's names for the first ones, and the time of each stage.
    for line in &receipts {
        let number = |name: &str| line[name].as_u64().unwrap();
        let ids = line["request_ids"].as_str().unwrap().split(' ').filter(|id| !id.is_empty()).count() as u64;
        assert!(number("batches") >= 1 && ids == number("batches").min(4), "{line}");
        let lane = number("wait_ms") + number("read_ms") + number("compute_ms");
        assert!(lane <= number("ms") && number("send_ms") <= number("ms") + 1, "{line}");
    }
    let skipped = lines(&log, "object skipped");
    assert!(skipped.len() == 50 && skipped.iter().all(|line| line["reason"] == "not_wanted"));
    // The words that operators look for.
    let disabled = lines(&log, "tenant is disabled");
    assert!(
        disabled.len() == 50 && disabled.iter().all(|line| line["reason"] == "disabled" && line["tenant"] == "off")
    );
    assert!(POLLERS_OWN.iter().all(|text| lines(&log, text).len() == 1), "{log:?}");
    let text = serde_json::Value::from(log).to_string();
    assert!(!text.contains("line 7"), "no log text in the log");
    assert!(stage.secrets().iter().all(|secret| !text.contains(secret)), "no credentials in the log");
}

/// Design §5: across objects by arrival. All events have the same time, so that nothing but their arrival orders them. And
/// each is a batch: while the first one is held, so many objects wait that the lane is full and the others wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_streams_objects_keep_the_order_of_their_notifications() {
    let mut stage = Stage::new().await;
    let tenants = ["acme", "bolt"].map(|name| stage.tenant(name, |_| {}));
    let now = stage.cloud.now_ms();
    for tenant in &tenants {
        stage.cloud.hold("PutLogEvents", &tenant.account);
    }
    for object in 0..150 {
        let line = json!({ "timestamp": now, "message": format!("object {object}") }).to_string();
        for tenant in ["acme", "bolt"] {
            stage.put(&format!("{tenant}/c1/api/pod-0/{object}.json"), line.clone());
        }
    }
    let daemon = stage.sqs(&[("MAX_BATCH_SIZE", "1")]);
    until("all messages are in work", || stage.left() == (300, 0)).await;
    for tenant in &tenants {
        stage.cloud.release("PutLogEvents", &tenant.account);
    }
    stage.until_settled(0).await;
    daemon.stop().await;
    let wanted: Vec<String> = (0..150).map(|object| format!("object {object}")).collect();
    for tenant in &tenants {
        assert_eq!(stage.messages(tenant, "pod-0"), wanted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_objects_cost_few_calls() {
    let mut stage = Stage::new().await;
    let tenants = ["acme", "bolt"].map(|name| stage.tenant(name, |_| {}));
    for object in 0..300 {
        for tenant in ["acme", "bolt"] {
            let key = format!("{tenant}/c{}/api/pod-{}/{object}.json.gz", object % 2, object % 5);
            stage.put_messages(&key, &["a line", "another line"]);
        }
    }
    let daemon = stage.sqs(&[]);
    stage.until_settled(0).await;
    daemon.stop().await;
    // One look at each tenant's rows, one pair of hops per tenant and cluster, one GET per object.
    assert_eq!(stage.calls("Query", CENTRAL), 2);
    assert_eq!(stage.calls("AssumeRole", CENTRAL), 2 * 2 * 2);
    assert_eq!(stage.calls("GetObject", CENTRAL), 600);
    for tenant in &tenants {
        // Objects of a stream share batches: a stream needs a handful, not one for each of its 30 objects.
        assert!(stage.calls("PutLogEvents", &tenant.account) < 100, "{:?}", stage.cloud.calls());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_objects_of_a_stream_make_a_handful_of_batches() {
    const OBJECTS: usize = 1_000;
    // 10 KB of each, of which an event's 26 bytes are billed, too.
    let lines: Vec<String> = (0..100).map(|at| format!("{at:>99}")).collect();
    let billed = OBJECTS * lines.len() * (99 + 26);
    let mut stage = Stage::new().await;
    let acme = stage.tenant("acme", |_| {});
    for object in 0..OBJECTS {
        stage.put_messages(&format!("acme/c1/api/pod-0/{object:04}.json.gz"), &lines);
    }
    let daemon = stage.sqs(&[]);
    stage.until_settled(0).await;
    daemon.stop().await;
    assert_eq!(stage.messages(&acme, "pod-0").len(), OBJECTS * lines.len());
    // As many as are full, and some that were sent because the messages of all that is open take every place.
    let full = u64::try_from(billed.div_ceil(1 << 20)).unwrap();
    let calls = stage.calls("PutLogEvents", &acme.account);
    assert!((full..=3 * full).contains(&calls), "{calls} calls for {full} full batches");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_guilty_event_is_dropped_and_its_neighbours_arrive() {
    let mut stage = Stage::new().await;
    let acme = stage.tenant("acme", |_| {});
    stage.cloud.refuse("poison");
    let mut messages: Vec<String> = (0..1000).map(|at| format!("line {at}")).collect();
    messages[617] = "poison".to_owned();
    stage.put_messages("acme/c1/api/pod-0/1.json.gz", &messages);
    let daemon = stage.sqs(&[]);
    stage.until_settled(0).await;
    let (_, log) = daemon.stop().await;
    messages.remove(617);
    assert_eq!(stage.messages(&acme, "pod-0"), messages);
    let dropped = lines(&log, "event refused by the API; it was dropped");
    assert_eq!(dropped.len(), 1);
    assert_eq!(dropped[0]["ordinal"], "617");
    let tally = lines(&log, "object settled")[0]["tally"].as_str().unwrap().to_owned();
    assert!(tally.contains("999") && tally.contains("refused 1"), "{tally}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_outside_the_apis_window_are_dropped_by_rule_and_days_apart_are_batched() {
    let mut stage = Stage::new().await;
    let acme = stage.tenant("acme", |_| {});
    let now = stage.cloud.now_ms();
    let (minute, day) = (60_000, 86_400_000);
    let times = [
        (now - 15 * day, "too old"),
        (now - 13 * day, "13 days"),
        (now + 60 * minute, "in an hour"),
        (now - 6 * day, "6 days"),
        (now + 180 * minute, "too new"),
        (now, "now"),
    ];
    let text: String =
        times.iter().map(|(at, message)| json!({ "timestamp": at, "message": message }).to_string() + "\n").collect();
    stage.put("acme/c1/api/pod-0/1.json", text);
    let daemon = stage.sqs(&[]);
    stage.until_settled(0).await;
    let (_, log) = daemon.stop().await;
    assert_eq!(stage.messages(&acme, "pod-0"), ["13 days", "6 days", "now", "in an hour"]);
    let tally = lines(&log, "object settled")[0]["tally"].as_str().unwrap().to_owned();
    assert!(tally.contains("too_old 1") && tally.contains("too_new 1"), "{tally}");
}

/// predecessor.md §15, row "requeue": "CW fails, S3 ok", and the other way round. A copy of the message was sent there for
/// each log group that failed, which brought everything again, and a copy that failed was lost. Here (design §7) the one
/// message is handed back until both deliveries are done, and what was done is not repeated.
#[tokio::test(flavor = "multi_thread")]
async fn predecessor_15_requeue_of_one_delivery() {
    const BUCKET: &str = "acme-logs";
    let logs = || vec![("logs:*".to_owned(), "*".to_owned())];
    // What each delivery's receipts say, those of one kind in a row as one: the refused one may be tried several times.
    let cases = [
        ("CW fails, S3 ok", true, ["tenant_denied", "delivered"].as_slice(), ["delivered"].as_slice()),
        ("CW ok, S3 fails", false, &["delivered"], &["tenant_denied", "delivered"]),
    ];
    for (case, logs_fail, of_logs, of_copies) in cases {
        let mut stage = Stage::new().await;
        let acme = stage.tenant_that_may("acme", if logs_fail { Vec::new() } else { logs() }, |_| {});
        stage.bucket_row(&acme, BUCKET);
        if logs_fail {
            stage.open_bucket(&acme, BUCKET);
        }
        stage.put_messages("acme/c1/api/pod-0/1.json.gz", &["one", "two"]);
        let (name, dead) = stage.dead_letters();
        let daemon = stage.sqs(&[(name, &dead), ("DENIED_WAIT", "1s")]);
        until("it is handed back", || stage.calls("ChangeMessageVisibilityBatch", CENTRAL) > 0).await;
        assert_eq!(stage.left().0, 1, "15 requeue: {case}: it is kept");
        assert_eq!(stage.messages(&acme, "pod-0").is_empty(), logs_fail, "15 requeue: {case}");

        // What was wrong is mended.
        stage.allow(&acme, logs());
        stage.open_bucket(&acme, BUCKET);
        stage.until_settled(0).await;
        let (_, log) = daemon.stop().await;

        assert_eq!(stage.messages(&acme, "pod-0"), ["one", "two"], "15 requeue: {case}");
        let receipts = lines(&log, "object settled");
        let finishes = |of_copy: bool| -> Vec<&str> {
            let own = receipts.iter().filter(|line| line.get("bucket").is_some() == of_copy);
            let mut finishes: Vec<&str> = own.map(|line| line["finish"].as_str().unwrap()).collect();
            finishes.dedup();
            finishes
        };
        assert_eq!((finishes(false), finishes(true)), (of_logs.to_vec(), of_copies.to_vec()), "15 requeue: {case}");
        assert!(!lines(&log, "object was delivered before").is_empty(), "15 requeue: {case}");
        assert!(stage.cloud.queue_bodies(&stage.dead).is_empty(), "15 requeue: {case}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_finished_in_time_is_handed_back_at_once() {
    let mut stage = Stage::new().await;
    let acme = stage.tenant("acme", |_| {});
    stage.cloud.hold("PutLogEvents", &acme.account);
    stage.put_messages("acme/c1/api/pod-0/1.json.gz", &["one", "two"]);
    let daemon = stage.sqs(&[("DRAIN_TIMEOUT", "100ms")]);
    until("the batch is on its way", || stage.calls("PutLogEvents", &acme.account) > 0).await;
    let (status, _) = daemon.stop().await;
    assert!(status.success(), "{status}");
    assert_eq!(stage.left(), (1, 1), "the message is there for another replica, and not hidden any more");

    stage.cloud.release("PutLogEvents", &acme.account);
    let daemon = stage.sqs(&[]);
    stage.until_settled(0).await;
    daemon.stop().await;
    let got = stage.messages(&acme, "pod-0");
    assert_eq!(got[got.len() - 2..], ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_batch_is_sent_at_the_drain() {
    let mut stage = Stage::new().await;
    let acme = stage.tenant("acme", |_| {});
    stage.put_messages("acme/c1/api/pod-0/1.json.gz", &["one"]);
    let daemon = stage.sqs(&[("LINGER", "300s")]);
    until("the object is read", || stage.calls("GetObject", CENTRAL) == 1).await;
    let (status, _) = daemon.stop_by("-INT").await;
    assert!(status.success(), "{status}");
    assert_eq!(stage.messages(&acme, "pod-0"), ["one"]);
    assert_eq!(stage.left(), (0, 0));
}

/// A queue may deliver a message twice, and while the first delivery is in work nothing is finished yet.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_comes_again_while_it_is_in_work_is_sent_once() {
    let mut stage = Stage::new().await;
    let acme = stage.tenant("acme", |_| {});
    stage.cloud.hold("PutLogEvents", &acme.account);
    stage.put_messages("acme/c1/api/pod-0/1.json.gz", &["one", "two"]);
    let again = stage.cloud.queue_bodies(&stage.queue).remove(0);
    stage.cloud.send(&stage.queue, again);
    stage.put_messages("acme/c1/api/pod-0/2.json.gz", &["three"]);
    let daemon = stage.sqs(&[]);
    until("all are in work", || stage.left() == (3, 0) && stage.calls("PutLogEvents", &acme.account) > 0).await;
    stage.cloud.release("PutLogEvents", &acme.account);
    stage.until_settled(0).await;
    let (_, log) = daemon.stop().await;
    assert_eq!(stage.messages(&acme, "pod-0"), ["one", "two", "three"]);
    assert_eq!((lines(&log, "object settled").len(), lines(&log, "object was delivered before").len()), (2, 1));
}

/// A queue that hides nothing by itself: the daemon asks for it, at each receive and while it works.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_in_work_is_hidden_whatever_the_queue_is_set_to() {
    let mut stage = Stage::with_visibility(Duration::ZERO).await;
    let acme = stage.tenant("acme", |_| {});
    stage.cloud.hold("PutLogEvents", &acme.account);
    stage.put_messages("acme/c1/api/pod-0/1.json.gz", &["one"]);
    let daemon = stage.sqs(&[("SQS_WAIT", "0")]);
    until("the batch is on its way", || stage.calls("PutLogEvents", &acme.account) > 0).await;
    let polls = stage.calls("ReceiveMessage", CENTRAL);
    until("the queue was polled again, and the message hidden anew", || {
        stage.calls("ReceiveMessage", CENTRAL) > polls && stage.calls("ChangeMessageVisibilityBatch", CENTRAL) > 0
    })
    .await;
    assert_eq!(stage.left(), (1, 0));
    stage.cloud.release("PutLogEvents", &acme.account);
    stage.until_settled(0).await;
    daemon.stop().await;
    assert_eq!((stage.messages(&acme, "pod-0"), stage.calls("GetObject", CENTRAL)), (vec!["one".to_owned()], 1));
}

/// The other shapes in the field: a table that is keyed by the tenant alone, whose rows have no type, and raw delivery by SNS.
#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_type_and_raw_notifications_serve_as_well() {
    let mut stage = Stage::plain().await;
    let acme = stage.tenant("acme", |row| assert!(row.remove("type").is_some()));
    let messages: Vec<String> = (0..10).map(|at| format!("line {at}")).collect();
    stage.put_messages("acme/c1/api/pod 0/a+b é.json.gz", &messages);
    let body = &stage.cloud.queue_bodies(&stage.queue)[0];
    assert!(body.starts_with("{\"Records\":"), "{body}");
    let daemon = stage.sqs(&[]);
    stage.until_settled(0).await;
    daemon.stop().await;
    assert_eq!(stage.messages(&acme, "pod 0"), messages);
}
