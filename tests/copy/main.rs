//! Deliveries into tenants' buckets: the binary and the copier against an embedded cloud over HTTP, with tenants' accounts,
//! bucket policies and session tags; and the copier, the reader
//! and the sender of events, against services that fail on command.

#![expect(clippy::unwrap_used, reason = "a step of a test that fails has failed the test")]

mod copier;
mod drain;
mod ledger;
mod reader;
mod rejects;
mod sender;
mod stub;
mod world;

use std::collections::BTreeMap;

use self::world::{ACME, BUCKET, CENTRAL, OTHER, World};

fn metadata(application: &str, pod: &str) -> BTreeMap<String, String> {
    [("tenant-id", "acme"), ("application", application), ("pod-name", pod)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_with_both_rows_gets_both() {
    let world = World::start().await;
    world.bucket(ACME, "acme-logs", "acme");
    world.cloudwatch_row("acme", ACME, &[]);
    world.s3_row("acme", "acme-logs", Some("custom/path"), &[]);
    let files = [
        ("api", "pod-0", "pod-0", "20260102-030405-ab.json.gz"),
        ("api", "pod-0", "pod-0", "a file + its%20name.json.gz"),
        ("größe", "pod ö", "pod%20%C3%B6", "2026/日本 & =?.json.gz"),
    ];
    let mut put = Vec::new();
    for (application, pod, _, file) in files {
        put.push(world.put(&format!("acme/secret-cluster/{application}/{pod}/{file}"), &[file]).await);
    }

    let run = world.deliver(&[]).await;

    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.out.contains("delivered 3 events of 6 object deliveries"), "{}", run.out);
    assert_eq!(world.keys(ACME, "acme-logs").await.len(), files.len());
    for ((application, pod, pod_name, file), bytes) in files.into_iter().zip(put) {
        let mut found = world.get(ACME, "acme-logs", &format!("custom/path/acme/{application}/{pod}/{file}")).await;
        assert_eq!(found.bytes, bytes, "{file}");
        assert_eq!(found.content_encoding.as_deref(), Some("gzip"));
        assert_eq!(found.content_type.as_deref(), Some("application/x-ndjson"));
        let time = found.metadata.remove("delivery-timestamp").unwrap();
        assert!((0..600).contains(&(world.cloud.now_ms() / 1000 - time.parse::<i64>().unwrap())), "{time}");
        let application = if application == "api" { "api" } else { "gr%C3%B6%C3%9Fe" };
        assert_eq!(found.metadata, metadata(application, pod_name));
    }
    let messages = world.messages(ACME);
    assert_eq!(messages["pod-0"], [files[0].3, files[1].3]);
    assert_eq!(messages["pod ö"], [files[2].3]);
    assert_eq!((world.calls("HeadObject"), world.calls("CopyObject")), (3, 3));
    // One session for the bucket and a double hop for the group, whatever the number of objects.
    assert_eq!(world.calls("AssumeRole"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_delivery_takes_the_first_ones_place() {
    let world = World::start().await;
    world.bucket(ACME, "acme-logs", "acme");
    world.s3_row("acme", "acme-logs", None, &[]);
    world.put("acme/c1/api/pod-0/f.gz", &["old"]).await;
    assert_eq!(world.deliver(&[]).await.code, 0);
    let new = world.put("acme/c1/api/pod-0/f.gz", &["new"]).await;
    assert_eq!(world.deliver(&[]).await.code, 0);
    assert_eq!(world.keys(ACME, "acme-logs").await, ["ROSA/cluster-logs/acme/api/pod-0/f.gz"]);
    assert_eq!(world.get(ACME, "acme-logs", "ROSA/cluster-logs/acme/api/pod-0/f.gz").await.bytes, new);
}

/// predecessor.md §15, rows "multi", as they are delivered.
#[tokio::test(flavor = "multi_thread")]
async fn each_row_filters_for_itself() {
    let world = World::start().await;
    world.bucket(ACME, "acme-logs", "acme");
    world.cloudwatch_row("acme", ACME, &["a", "both"]);
    world.s3_row("acme", "acme-logs", Some("x"), &["B", "both"]);
    for application in ["a", "b", "both", "none"] {
        world.put(&format!("acme/c1/{application}/of-{application}/f.gz"), &[application]).await;
    }

    let run = world.deliver(&[]).await;

    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(world.messages(ACME).into_keys().collect::<Vec<_>>(), ["of-a", "of-both"]);
    assert_eq!(world.keys(ACME, "acme-logs").await, ["x/acme/b/of-b/f.gz", "x/acme/both/of-both/f.gz"]);
    // What nobody wants is not even looked at.
    assert_eq!((world.calls("HeadObject"), world.calls("GetObject")), (2, 2));
}

/// A row that names somebody else's bucket: the bucket's policy sees the tag of whose logs these are.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_on_the_tenants_tag_keeps_others_out() {
    let world = World::start().await;
    world.bucket(OTHER, "other-logs", "other");
    world.cloudwatch_row("acme", ACME, &[]);
    world.s3_row("acme", "other-logs", None, &[]);
    world.s3_row("other", "other-logs", None, &[]);
    world.put("acme/c1/api/pod-0/f.gz", &["mine"]).await;

    let run = world.deliver(&[]).await;

    assert_eq!(run.code, 1);
    let expected = "tenant_denied s3://central-logs/acme/c1/api/pod-0/f.gz: s3 CopyObject: AccessDenied (HTTP 403)";
    assert!(run.err.contains(expected), "{}", run.err);
    assert_eq!(run.err.matches("tenant_denied s3://").count(), 1, "{}", run.err);
    assert_eq!(world.messages(ACME)["pod-0"], ["mine"]);
    assert_eq!(world.keys(OTHER, "other-logs").await, [""; 0]);

    // The bucket's own tenant is let in all the same.
    world.put("other/c1/api/pod-0/f.gz", &["theirs"]).await;
    assert_eq!(world.deliver(&[]).await.code, 0);
    assert_eq!(world.keys(OTHER, "other-logs").await, ["ROSA/cluster-logs/other/api/pod-0/f.gz"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_bucket_is_its_tenants_fault() {
    let world = World::start().await;
    world.cloudwatch_row("acme", ACME, &[]);
    world.s3_row("acme", "nowhere", None, &[]);
    world.put("acme/c1/api/pod-0/f.gz", &["x"]).await;

    let run = world.deliver(&[]).await;

    assert_eq!(run.code, 1);
    let expected = "tenant_denied s3://central-logs/acme/c1/api/pod-0/f.gz: s3 CopyObject: NoSuchBucket (HTTP 404)";
    assert!(run.err.contains(expected), "{}", run.err);
    assert_eq!(world.messages(ACME)["pod-0"], ["x"]);
    assert_eq!(world.calls("CopyObject"), 1, "it is not tried again at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_object_is_missing_for_both() {
    let world = World::start().await;
    world.bucket(ACME, "acme-logs", "acme");
    world.cloudwatch_row("acme", ACME, &[]);
    world.s3_row("acme", "acme-logs", None, &[]);

    let run = world.deliver_key("acme/c1/api/pod-0/gone.gz").await;

    assert_eq!(run.code, 1);
    assert_eq!(run.err.matches("object_missing s3://").count(), 2, "{}", run.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_the_central_role_may_not_read_is_the_operators_fault() {
    let world = World::with_central_actions(&["s3:PutObject"]).await;
    world.bucket(ACME, "acme-logs", "acme");
    world.s3_row("acme", "acme-logs", None, &[]);
    world.put("acme/c1/api/pod-0/f.gz", &["x"]).await;

    let run = world.deliver(&[]).await;

    assert_eq!(run.code, 1);
    assert!(run.err.contains("global_fault s3://"), "{}", run.err);
    assert!(run.err.contains("the source object may not be read by who writes the copy"), "{}", run.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_central_role_that_may_not_be_assumed_is_the_operators_fault() {
    let world = World::start().await;
    world.bucket(ACME, "acme-logs", "acme");
    world.s3_row("acme", "acme-logs", None, &[]);
    world.put("acme/c1/api/pod-0/f.gz", &["x"]).await;

    let role = format!("arn:aws:iam::{CENTRAL}:role/nobody");
    let run = world.deliver(&[("CENTRAL_LOG_DISTRIBUTION_ROLE_ARN", role.as_str())]).await;

    assert_eq!(run.code, 1);
    assert!(run.err.contains("global_fault s3://"), "{}", run.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_names_the_source_bucket_is_refused() {
    let world = World::start().await;
    world.s3_row("acme", BUCKET, Some("acme/c1"), &[]);
    world.put("acme/c1/api/pod-0/f.gz", &["x"]).await;

    let run = world.deliver(&[]).await;

    assert_eq!(run.code, 1);
    assert!(run.err.contains("tenant_denied s3://"), "{}", run.err);
    assert_eq!(world.keys(CENTRAL, BUCKET).await, ["acme/c1/api/pod-0/f.gz"]);
}

/// Without a central role it is the ambient identity that copies, and no tag tells whose logs these are.
#[tokio::test(flavor = "multi_thread")]
async fn with_one_hop_the_ambient_identity_copies() {
    let world = World::start().await;
    world.cloud.create_bucket(ACME, "acme-logs");
    world.s3_row("acme", "acme-logs", None, &[]);
    world.put("acme/c1/api/pod-0/f.gz", &["x"]).await;
    let run = world.deliver(&[("HOPS", "1")]).await;
    assert!(run.err.contains("tenant_denied s3://"), "{}", run.err);

    world.cloud.grant(
        "acme-logs",
        localcloud::BucketGrant {
            principals: vec![format!("arn:aws:iam::{CENTRAL}:user/millrace")],
            actions: vec!["s3:PutObject".to_owned()],
            ..localcloud::BucketGrant::default()
        },
    );
    world.put("acme/c1/api/pod-0/g.gz", &["x"]).await;
    let run = world.deliver(&[("HOPS", "1")]).await;

    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(world.keys(ACME, "acme-logs").await, ["ROSA/cluster-logs/acme/api/pod-0/g.gz"]);
    assert_eq!(world.calls("AssumeRole"), 0);
}
