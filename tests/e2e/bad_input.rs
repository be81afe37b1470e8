//! Bad input: a clear error or a counted drop, the rest delivered, within the memory that is promised.

use serde_json::{Value, json};

use crate::stage::{Daemon, Stage, gzip, lines};

/// Stands in every bad input, and must never stand in a log.
const SECRET: &str = "customers-own-words";
const RSS_BYTES_MAX: u64 = (40 + 24) << 20;

/// An object, what must arrive of it, how its attempt ends, and what its tally says besides what was delivered.
struct Case {
    name: &'static str,
    object: Vec<u8>,
    arrives: Vec<String>,
    finish: &'static str,
    tally: &'static str,
}

fn case(
    name: &'static str,
    object: impl Into<Vec<u8>>,
    arrives: &[&str],
    finish: &'static str,
    tally: &'static str,
) -> Case {
    let arrives = arrives.iter().map(|message| (*message).to_owned()).collect();
    Case { name, object: object.into(), arrives, finish, tally }
}

fn record(message: &str) -> String {
    json!({ "message": message }).to_string() + "\n"
}

fn cases() -> Vec<Case> {
    let good = record("good") + &record("better");
    let both = ["good", "better"];
    let many: String = (0..5_000).map(|at| record(&format!("{at} {SECRET}"))).collect();
    let cut = gzip(many.as_bytes());
    let cut = &cut[..cut.len() / 2];
    let mut flipped = gzip(good.as_bytes());
    let crc = flipped.len() - 8;
    flipped[crc] ^= 1;
    let around = |middle: &str| record("good") + middle + "\n" + &record("better");
    let nested = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
    let text = |middle: &[u8]| [record("good").as_bytes(), middle, b"\n", record("better").as_bytes()].concat();
    vec![
        case("empty-object", "", &[], "delivered", "read 0"),
        case("empty-gzip", gzip(b""), &[], "delivered", "read 0"),
        case("blank-lines", gzip(b"\n\r\n  \n"), &[], "delivered", "read 0"),
        case(
            "bad-line",
            gzip(around(&format!("{{\"message\": {SECRET}")).as_bytes()),
            &both,
            "delivered",
            "bad_record 1",
        ),
        case("not-a-record", gzip(around("17").as_bytes()), &both, "delivered", "bad_record 1"),
        case("bad-escape", gzip(around(r#"{"message":"\q"}"#).as_bytes()), &both, "delivered", "bad_record 1"),
        case("no-log-at-all", gzip(SECRET.repeat(100).as_bytes()), &[], "corrupt_object", "bad_record 1"),
        case("wrong-checksum", flipped, &[], "corrupt_object", "read 0"),
        case("empty-message", gzip(around(r#"{"message":""}"#).as_bytes()), &both, "delivered", "empty_message 1"),
        case(
            "invalid-utf8",
            text(b"{\"message\":\"a\xff\xe2\x82z\"}"),
            &["good", "a\u{fffd}\u{fffd}z", "better"],
            "delivered",
            "",
        ),
        case("lone-surrogate", around(r#"{"message":"a\ud800z"}"#), &["good", "a\u{fffd}z", "better"], "delivered", ""),
        case("duplicate-keys", around(r#"{"message":"a","message":"b"}"#), &["good", "b", "better"], "delivered", ""),
        case("escaped-key", around(r#"{"m\u0065ssage":"e"}"#), &["good", "e", "better"], "delivered", ""),
        case("control-characters", text(b"{\"message\":\"a\tb\0c\"}"), &["good", "a\tb\0c", "better"], "delivered", ""),
        case("deep-message", around(&format!("{{\"message\":{nested}}}")), &both, "delivered", "bad_record 1"),
        case(
            "deep-elsewhere",
            around(&format!("{{\"x\":{nested},\"message\":\"d\"}}")),
            &both,
            "delivered",
            "bad_record 1",
        ),
        case("byte-order-mark", format!("\u{feff}{good}"), &both, "delivered", ""),
        case(
            "oversize-record",
            gzip(around(&format!("{{\"message\":\"{}\"}}", "x".repeat(64 << 20))).as_bytes()),
            &both,
            "delivered",
            "oversize_record 1",
        ),
        Case {
            name: "truncated",
            object: cut.to_vec(),
            // How far it goes is the decoder's to say; that it is a beginning is checked below.
            arrives: Vec::new(),
            finish: "corrupt_object",
            tally: "",
        },
    ]
}

async fn run(stage: &Stage, settings: &[(&str, &str)], kept: usize) -> (Vec<Value>, u64) {
    let daemon: Daemon = stage.sqs(settings);
    stage.until_settled(kept).await;
    let peak = daemon.peak_rss();
    let (status, log) = daemon.stop().await;
    assert!(status.success(), "{status}");
    let text = Value::from(log.clone()).to_string();
    assert!(!text.contains(SECRET), "no log text in the log");
    (log, peak)
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_objects_are_counted_and_the_rest_arrives() {
    let mut stage = Stage::new().await;
    let acme = stage.tenant("acme", |_| {});
    let cases = cases();
    for case in &cases {
        stage.put(&format!("acme/c1/api/{}/1", case.name), case.object.as_slice());
    }
    let (name, dead) = stage.dead_letters();
    let (log, peak) = run(&stage, &[(name, &dead)], 0).await;

    let receipts = lines(&log, "object settled");
    let letters = lines(&log, "message dead-lettered");
    let bodies = stage.cloud.queue_bodies(&stage.dead);
    for case in &cases {
        let of_case = |line: &&&Value| line["stream"] == case.name;
        let receipt = receipts.iter().rfind(of_case).unwrap_or_else(|| panic!("{}: no receipt", case.name));
        let tally = receipt["tally"].as_str().unwrap();
        assert_eq!(receipt["finish"], case.finish, "{}: {receipt}", case.name);
        assert!(tally.contains(case.tally), "{}: {tally}", case.name);
        assert!(tally.contains("delivered"), "{tally}");
        let got = stage.messages(&acme, case.name);
        if case.name == "truncated" {
            let begin: Vec<String> = (0..got.len()).map(|at| format!("{at} {SECRET}")).collect();
            assert!(got == begin && got.len() > 1_000, "{} arrived", got.len());
        } else {
            assert!(got == case.arrives, "{}: {} arrived", case.name, got.len());
        }
        let is_dead = bodies.iter().any(|body| body.contains(&format!("/{}/", case.name)));
        assert_eq!(is_dead, case.finish == "corrupt_object", "{}", case.name);
    }
    assert_eq!(letters.len(), 3);
    assert!(letters.iter().all(|line| line["reason"] == "corrupt_object"), "{letters:?}");
    assert!(peak <= RSS_BYTES_MAX, "{} KiB", peak / 1024);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_notifications_and_tenants_leave_the_others_alone() {
    let mut stage = Stage::new().await;
    let acme = stage.tenant("acme", |_| {});
    let broken = stage.tenant("broken", |row| {
        row.remove("log_group_name");
    });
    stage.put_messages("acme/c1/api/pod-0/1.json.gz", &["one"]);
    let (name, dead) = stage.dead_letters();
    // Until a tenant is found, one that is not may be the layout's fault; so the good one goes first.
    run(&stage, &[(name, &dead)], 0).await;

    for body in ["hello", "[]", r#"{"Message":"{}"}"#, r#"{"Message":{"Records":[]}}"#, SECRET] {
        stage.cloud.send(&stage.queue, body);
    }
    stage.put("two/segments", "");
    stage.put("acme//api/pod-0/1.json.gz", "");
    stage.put_messages("broken/c1/api/pod-0/1.json.gz", &["kept"]);
    stage.put_messages("acme/c1/api/pod-0/2.json.gz", &["two"]);
    let (log, _) = run(&stage, &[(name, &dead)], 1).await;

    assert_eq!(stage.messages(&acme, "pod-0"), ["one", "two"]);
    assert!(stage.messages(&broken, "pod-0").is_empty());
    let letters = lines(&log, "message dead-lettered");
    assert!(letters.iter().all(|line| line["reason"] == "invalid_notification"), "{letters:?}");
    let bodies = stage.cloud.queue_bodies(&stage.dead);
    assert_eq!(bodies.len(), letters.len());
    for body in ["hello", "[]", "two/segments", "acme//api", SECRET] {
        assert!(bodies.iter().any(|dead| dead.contains(body)), "{body} is kept: {bodies:?}");
    }
    let text = Value::from(log).to_string();
    assert!(text.contains("field log_group_name"), "the invalid row is named: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_tenants_are_deleted_or_kept_as_it_is_set() {
    let mut stage = Stage::new().await;
    stage.tenant("acme", |_| {});
    let (name, dead) = stage.dead_letters();
    for (kept, settings) in [(0, vec![(name, dead.as_str())]), (1, vec![(name, &dead), ("UNKNOWN_TENANT", "dlq")])] {
        stage.put_messages("acme/c1/api/pod-0/1.json.gz", &["known"]);
        let mut settings = settings;
        // One message at a time: the known tenant is found first.
        settings.push(("MESSAGES_MAX", "1"));
        stage.put_messages("nobody/c1/api/pod-0/1.json.gz", &["unknown"]);
        let (log, _) = run(&stage, &settings, 0).await;
        assert_eq!(stage.cloud.queue_bodies(&stage.dead).len(), kept);
        assert_eq!(lines(&log, "object skipped")[0]["reason"], "unknown");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_unknown_tenants_and_no_known_one_stop_the_daemon_and_delete_nothing() {
    let stage = Stage::new().await;
    for at in 0..12 {
        stage.put_messages(&format!("cluster/tenant-{at}/api/pod-0/1.json.gz"), &["one"]);
    }
    let (status, _) = stage.sqs(&[]).ended().await;
    assert_eq!(status.code(), Some(1));
    assert_eq!(stage.left().0, 12, "no message is deleted");
    assert!(stage.cloud.queue_bodies(&stage.dead).is_empty());
}
