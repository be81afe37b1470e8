//! Mode `manual`: exit codes and texts.

use localcloud::Faults;
use serde_json::json;

use crate::stage::{BUCKET, CENTRAL, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_and_texts() {
    let mut stage = Stage::new().await;
    let acme = stage.tenant("acme", |_| {});
    stage.tenant("off", |row| {
        row.insert("enabled".to_owned(), json!({ "BOOL": false }));
    });
    stage.tenant_that_may("shut", Vec::new(), |_| {});
    stage.put_messages("acme/c1/api/pod-0/1.json.gz", &["one", "two"]);
    stage.put_messages("off/c1/api/pod-0/1.json.gz", &["unwanted"]);
    stage.put_messages("shut/c1/api/pod-0/1.json.gz", &["unheard"]);

    let notice = |key: &str| Stage::notification(&[key]);
    let cases: [(&str, String, i32, &str); 9] = [
        ("delivered", notice("acme/c1/api/pod-0/1.json.gz"), 0, "delivered 2 events of 1 object deliveries"),
        (
            "disabled",
            notice("off/c1/api/pod-0/1.json.gz"),
            0,
            "skipped s3://central-logs/off/c1/api/pod-0/1.json.gz: tenant off is disabled\ndelivered 0 events of 0",
        ),
        (
            "unknown tenant",
            notice("nobody/c1/api/p/1.json.gz"),
            1,
            "not delivered: unknown_so_far s3://central-logs/nobody/c1/api/p/1.json.gz: tenant nobody is unknown",
        ),
        (
            "denied",
            notice("shut/c1/api/pod-0/1.json.gz"),
            1,
            "not delivered: tenant_denied s3://central-logs/shut/c1/api/pod-0/1.json.gz: logs PutLogEvents: AccessDeniedException (HTTP 400)",
        ),
        (
            "missing object",
            notice("acme/c1/api/pod-0/9.json.gz"),
            1,
            "not delivered: object_missing s3://central-logs/acme/c1/api/pod-0/9.json.gz: the object is not there",
        ),
        ("key off the layout", notice("acme/1.json.gz"), 1, "not delivered: invalid_notification"),
        ("no JSON", "hello".to_owned(), 1, "not delivered: invalid_notification: the body is no JSON"),
        ("nothing", String::new(), 1, "standard input is empty; one notification is wanted"),
        (
            "a test message",
            r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"b"}"#.to_owned(),
            0,
            "delivered 0",
        ),
    ];
    for (name, input, code, text) in cases {
        let (got, out, err) = stage.manual(&input, &[]).await;
        assert_eq!(got, code, "{name}: {out}{err}");
        assert!(format!("{out}{err}").contains(text), "{name}: {out}{err}");
        assert!(!err.contains("unheard"), "{name}: no log text in the log: {err}");
    }
    assert_eq!(stage.messages(&acme, "pod-0"), ["one", "two"]);
}

/// predecessor.md §15, rows "envelope" (by manual stdin) and "tenant" (what is asked of the table). Each of these was a
/// warning and exit code 0 there (Python). Design §8 decides otherwise: 0 only if all was delivered, and one line on
/// standard error says what was not (docs/outcomes.md).
#[tokio::test(flavor = "multi_thread")]
async fn predecessor_15_manual() {
    let mut stage = Stage::new().await;
    stage.tenant("acme", |_| {});
    stage.put_messages("acme/c1/api/pod-0/1.json.gz", &["one"]);
    let lacking = json!({ "Records": [{ "s3": { "bucket": { "name": BUCKET }, "object": {} } }] });
    let lacking = json!({ "Message": lacking.to_string() }).to_string();
    let notice = Stage::notification;
    let known = "acme/c1/api/pod-0/1.json.gz";
    let off_layout = "not delivered: invalid_notification";
    let unknown = "not delivered: unknown_tenant s3://central-logs/nobody/c1/api/p/f.gz: tenant nobody is unknown";
    let no_table = "not delivered: global_fault s3://central-logs/acme/c1/api/pod-0/1.json.gz: dynamodb Query";
    // The input, a setting, what is said, and the queries that the table gets: one that finds nothing is confirmed.
    let cases = [
        ("record lacking key", lacking, ("LOG_LEVEL", "warn"), off_layout, 0),
        ("key of one segment", notice(&["file.json.gz"]), ("LOG_LEVEL", "warn"), off_layout, 0),
        (
            "unknown tenant via manual stdin",
            notice(&[known, "nobody/c1/api/p/f.gz"]),
            ("LOG_LEVEL", "warn"),
            unknown,
            3,
        ),
        ("empty id (no query made)", notice(&["/c1/api/p/f.gz"]), ("LOG_LEVEL", "warn"), off_layout, 0),
        ("DDB other error: raised", notice(&[known]), ("TENANT_CONFIG_TABLE", "nowhere"), no_table, 1),
    ];
    for (case, input, setting, text, queries) in cases {
        let before = stage.calls("Query", CENTRAL);
        let (code, out, err) = stage.manual(&input, &[setting]).await;
        assert_eq!(code, 1, "15 {case}: {out}{err}");
        assert!(err.contains(text), "15 {case}: {err}");
        assert_eq!(stage.calls("Query", CENTRAL) - before, queries, "15 {case}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_of_a_notification_is_tried_whatever_becomes_of_the_others() {
    let mut stage = Stage::new().await;
    let acme = stage.tenant("acme", |_| {});
    stage.put_messages("acme/c1/api/a/1.json.gz", &["first"]);
    stage.put_messages("acme/c1/api/b/1.json.gz", &["last"]);
    let keys = ["acme/c1/api/a/1.json.gz", "off-the-layout", "acme/c1/api/b/gone.gz", "acme/c1/api/b/1.json.gz"];
    let (code, _, err) = stage.manual(&Stage::notification(&keys), &[]).await;
    assert_eq!(code, 1);
    assert!(err.contains("invalid_notification") && err.contains("object_missing"), "{err}");
    assert_eq!((stage.messages(&acme, "a"), stage.messages(&acme, "b")), (vec!["first".into()], vec!["last".into()]));
}

/// The message is not shown again here: what passes by itself is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_table_that_is_busy_for_a_while_is_asked_again() {
    let mut stage = Stage::new().await;
    let acme = stage.tenant("acme", |_| {});
    let key = "acme/c1/api/pod-0/1.json.gz";
    stage.put_messages(key, &["one"]);
    stage.cloud.set_faults(Some(&Faults::parse("dynamodb.Query throttle times=2", 1).unwrap()));
    let (code, out, err) = stage.manual(&Stage::notification(&[key]), &[]).await;
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(stage.messages(&acme, "pod-0"), ["one"]);

    stage.cloud.set_faults(Some(&Faults::parse("dynamodb.Query 500", 1).unwrap()));
    let (code, _, err) = stage.manual(&Stage::notification(&[key]), &[]).await;
    assert!(code == 1 && err.contains("not delivered: unavailable "), "{code} {err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_central_role_that_refuses_is_no_tenants_fault() {
    let mut stage = Stage::new().await;
    stage.tenant("acme", |_| {});
    stage.put_messages("acme/c1/api/a/1.json.gz", &["a line"]);
    let elsewhere = [("CENTRAL_LOG_DISTRIBUTION_ROLE_ARN", "arn:aws:iam::111111111111:role/gone")];
    let (code, _, err) = stage.manual(&Stage::notification(&["acme/c1/api/a/1.json.gz"]), &elsewhere).await;
    let text = "not delivered: global_fault s3://central-logs/acme/c1/api/a/1.json.gz: sts AssumeRole of the central role: AccessDenied";
    assert!(code == 1 && err.contains(text), "{code} {err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_stop_the_start_with_one_line() {
    let stage = Stage::new().await;
    let cases: [(&[(&str, &str)], &str); 4] = [
        (&[("MAX_BATCH_SIZE", "many")], "MAX_BATCH_SIZE (--max-batch-size) is \"many\""),
        (&[("MEMORY_BUDGET", "17MiB")], "MEMORY_BUDGET is 17825792 bytes; with RECORD_BYTES_MAX at 16777216"),
        (&[("CENTRAL_LOG_DISTRIBUTION_ROLE_ARN", "central")], "CENTRAL_LOG_DISTRIBUTION_ROLE_ARN"),
        (&[("KEY_LAYOUT", "{tenant}")], "KEY_LAYOUT (--key-layout) is \"{tenant}\""),
    ];
    // What a manifest leaves empty is not set.
    let (code, _, err) = stage.manual("{}", &[("HOPS", ""), ("AWS_ENDPOINT_URL_S3", ""), ("EXTERNAL_ID", "")]).await;
    assert_eq!(code, 1, "it starts, and finds no notification: {err}");
    for (settings, text) in cases {
        let (code, _, err) = stage.manual("{}", settings).await;
        assert_eq!(code, 2, "{err}");
        assert!(err.contains(text) && err.trim_end().lines().count() == 1, "{err}");
    }
}
