//! The copier by itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace::aws::s3::Source;
use millrace::aws::sts::{Hops, Roles};
use millrace::aws::{Aws, AwsSettings, Keys};
use millrace::core::copy::SINGLE_BYTES_MAX;
use millrace::core::failure::{RetryPolicy, Service};
use millrace::core::layout::Layout;
use millrace::core::object::{ETag, ObjectRef};
use millrace::core::settlement::Finish;
use millrace::core::tenant::{Delivery, Field, TenantId, deliveries};
use millrace::core::time::UnixMillis;
use millrace::pipeline::copy::{Copies, CopyDone, Copying};
use millrace::pipeline::credentials::Credentials;
use millrace::pipeline::retries::Retries;
use millrace::pipeline::totals::Totals;
use millrace::world::World as Clock;
use tokio_util::task::TaskTracker;

use super::stub::{Answer, Stub};
use super::world::{ACME, BUCKET, World};

const KEY: &str = "acme/c1/api/pod-0/f.gz";
const COPY: &str = "ROSA/cluster-logs/acme/api/pod-0/f.gz";
const MIB: u64 = 1 << 20;
const RETRIES: RetryPolicy =
    RetryPolicy { attempts_max: 3, throttled_max: 5, base: Duration::from_millis(1), cap: Duration::from_millis(5) };
const COPIED: &str = "<CopyObjectResult><ETag>\"x\"</ETag></CopyObjectResult>";

struct Copier {
    copies: Copies,
    totals: Arc<Totals>,
    tracker: TaskTracker,
}

impl Copier {
    async fn new(endpoint: &str, id: &str, secret: &str, hops: Hops, single_max: u64) -> Self {
        let aws = Aws::connect(AwsSettings {
            region: "us-east-1".to_owned(),
            endpoints: [Service::S3, Service::Sts].map(|service| (service, endpoint.to_owned())).into(),
            s3_path_style: true,
            keys: Some(Keys { id: id.to_owned(), secret: secret.to_owned() }),
            ..AwsSettings::default()
        })
        .await;
        let (clock, tracker, totals) = (Clock::new(), TaskTracker::new(), Arc::new(Totals::default()));
        let credentials = Credentials::new(&aws, Roles::new(&aws, hops, None), clock);
        let source = Source::new(&aws);
        let copies = Copies::new(
            source,
            credentials,
            Retries::new(RETRIES, clock),
            clock,
            tracker.clone(),
            Arc::clone(&totals),
            single_max,
        );
        Self { copies, totals, tracker }
    }

    async fn at_stub(stub: &Stub, single_max: u64) -> Self {
        Self::new(&stub.endpoint, "id", "secret", Hops::One, single_max).await
    }

    async fn at_cloud(world: &World, single_max: u64) -> Self {
        let hops = Hops::Two { central_role_arn: world.central_role.as_str().into() };
        Self::new(&world.cloud.endpoint(), &world.user.id, &world.user.secret, hops, single_max).await
    }

    fn start(&self, etag: Option<&str>) -> Copying {
        self.start_as("acme", "acme-logs", etag)
    }

    fn start_as(&self, tenant: &str, bucket: &str, etag: Option<&str>) -> Copying {
        let key = KEY.replace("acme", tenant);
        let object = ObjectRef {
            bucket: BUCKET.into(),
            key: key.as_str().into(),
            version: None,
            etag: etag.map(ETag::new),
            size: None,
            sequencer: None,
        };
        self.copies.start(&delivery(tenant, bucket), &Layout::default().apply(&key).unwrap(), &object)
    }

    async fn copy(&self, etag: Option<&str>) -> CopyDone {
        self.start(etag).done().await
    }
}

pub(super) fn delivery(tenant: &str, bucket: &str) -> Arc<Delivery> {
    let row: BTreeMap<String, Field> = [("tenant_id", tenant), ("type", "s3"), ("bucket_name", bucket)]
        .map(|(name, text)| (name.to_owned(), Field::Text(text.to_owned())))
        .into();
    let config = deliveries(&TenantId::try_from(tenant).unwrap(), &[row], UnixMillis(0));
    Arc::clone(&config.deliveries[0])
}

fn error(code: &'static str) -> &'static str {
    match code {
        "InternalError" => "<Error><Code>InternalError</Code><Message>try again</Message></Error>",
        "SlowDown" => "<Error><Code>SlowDown</Code><Message>try again</Message></Error>",
        "RequestTimeout" => "<Error><Code>RequestTimeout</Code><Message>try again</Message></Error>",
        "PreconditionFailed" => "<Error><Code>PreconditionFailed</Code><Message>changed</Message></Error>",
        "NoSuchKey" => "<Error><Code>NoSuchKey</Code><Message>gone</Message></Error>",
        "NoSuchBucket" => "<Error><Code>NoSuchBucket</Code><Message>gone</Message></Error>",
        "AccessDenied" => "<Error><Code>AccessDenied</Code><Message>no</Message></Error>",
        "ServiceUnavailable" => "<Error><Code>ServiceUnavailable</Code><Message>try again</Message></Error>",
        _ => unreachable!("no such error in these tests"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_object_is_copied_in_parts() {
    let world = World::start().await;
    world.bucket(ACME, "acme-logs", "acme");
    let bytes: Vec<u8> = (0..12 * MIB + 345).map(|at| u8::try_from(at * 7919 % 251).unwrap()).collect();
    world.put_bytes(KEY, bytes.clone()).await;
    let copier = Copier::at_cloud(&world, 5 * MIB).await;

    let done = copier.copy(None).await;

    assert_eq!((done.finish, done.bytes, done.cause), (Finish::Delivered, 12 * MIB + 345, None));
    let found = world.get(ACME, "acme-logs", COPY).await;
    assert!(found.bytes == bytes, "the parts are not the object");
    assert_eq!(found.content_encoding.as_deref(), Some("gzip"));
    assert_eq!(found.content_type.as_deref(), Some("application/x-ndjson"));
    assert_eq!(
        found.metadata.keys().collect::<Vec<_>>(),
        ["application", "delivery-timestamp", "pod-name", "tenant-id"]
    );
    assert_eq!((world.calls("UploadPartCopy"), world.calls("CopyObject"), world.cloud.open_uploads()), (3, 0, 0));
    let totals = &copier.totals.snapshot()["acme"];
    assert_eq!((totals.copies, totals.copied_bytes), (1, 12 * MIB + 345));
}

/// predecessor.md §15, rows "s3 copy": what the call asks for. Two of the six keys of metadata there named the source, and
/// with it the cluster; there are four here. And the type and encoding of the object, which REPLACE takes away, are told
/// again.
#[tokio::test(flavor = "multi_thread")]
async fn predecessor_15_s3_copy_call() {
    let mut stub = Stub::start([Answer::Head("t1", 100), Answer::Text(200, COPIED)]).await;

    let done = Copier::at_stub(&stub, SINGLE_BYTES_MAX).await.copy(None).await;

    assert_eq!((done.finish, done.cause), (Finish::Delivered, None));
    let requests = stub.requests();
    let copy = requests.iter().find(|it| it.line == format!("PUT /acme-logs/{COPY}")).unwrap();
    let header = |name: &str| copy.headers.get(name).map(String::as_str);
    let metadata: Vec<&str> = copy.headers.keys().filter_map(|name| name.strip_prefix("x-amz-meta-")).collect();
    assert_eq!(
        metadata,
        ["application", "delivery-timestamp", "pod-name", "tenant-id"],
        "15 s3 copy: metadata six keys"
    );
    let cases = [
        ("ACL", "x-amz-acl", Some("bucket-owner-full-control")),
        ("REPLACE", "x-amz-metadata-directive", Some("REPLACE")),
        ("REPLACE keeps no tags", "x-amz-tagging-directive", Some("REPLACE")),
        ("REPLACE, but the encoding stays", "content-encoding", Some("gzip")),
        ("metadata: whose", "x-amz-meta-tenant-id", Some("acme")),
        ("metadata: application", "x-amz-meta-application", Some("api")),
        ("metadata: pod", "x-amz-meta-pod-name", Some("pod-0")),
        ("metadata: no source bucket", "x-amz-meta-source-bucket", None),
        ("metadata: no source key", "x-amz-meta-source-key", None),
        // The source's key was not encoded there.
        ("source", "x-amz-copy-source", Some("central-logs/acme/c1/api/pod-0/f.gz")),
    ];
    for (case, name, expected) in cases {
        assert_eq!(header(name), expected, "15 s3 copy: {case}");
    }
}

/// predecessor.md §15, rows "s3 error": how often a copy is tried, and what its message's fate is. What was not recoverable
/// there lost the copy without a word, and so did the rest once its attempts were used up.
#[tokio::test(flavor = "multi_thread")]
async fn predecessor_15_s3_error() {
    let cases = [
        ("NoSuchBucket", 404, Finish::TenantDenied, 1),
        ("NoSuchKey", 404, Finish::Missing, 1),
        // Twice, for the second call asks whether it is the source that may not be read.
        ("AccessDenied", 403, Finish::GlobalFault, 2),
        ("SlowDown", 503, Finish::Unavailable, 5),
        ("ServiceUnavailable", 503, Finish::Unavailable, 3),
        ("RequestTimeout", 400, Finish::Unavailable, 3),
    ];
    for (code, status, finish, calls) in cases {
        let mut stub = Stub::answering(move |request| match request.line.split(' ').next() {
            Some("HEAD") => Answer::Head("t", 100),
            _ => Answer::Text(status, error(code)),
        })
        .await;
        let done = Copier::at_stub(&stub, SINGLE_BYTES_MAX).await.copy(None).await;
        assert_eq!(done.finish, finish, "15 s3 error: {code}");
        let made = stub.requests().iter().filter(|it| !it.line.starts_with("HEAD ")).count();
        assert_eq!(made, calls, "15 s3 error: {code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_parts_fail_is_taken_back() {
    // The upload may be begun; its parts may not be read.
    let world = World::with_central_actions(&["s3:PutObject", "s3:AbortMultipartUpload"]).await;
    world.bucket(ACME, "acme-logs", "acme");
    world.put_bytes(KEY, vec![b'x'; 6 << 20]).await;

    let done = Copier::at_cloud(&world, 5 * MIB).await.copy(None).await;

    assert_eq!(done.finish, Finish::GlobalFault, "{:?}", done.cause);
    assert_eq!((world.calls("CreateMultipartUpload"), world.calls("AbortMultipartUpload")), (1, 1));
    assert_eq!(world.cloud.open_uploads(), 0);
    assert_eq!(world.keys(ACME, "acme-logs").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn transient_errors_are_tried_again_also_inside_an_answer_that_began_well() {
    let mut stub = Stub::start([
        Answer::Text(503, ""),
        Answer::Head("t1", 100),
        Answer::Text(200, error("InternalError")),
        Answer::Text(503, error("SlowDown")),
        Answer::Text(200, error("SlowDown")),
        Answer::Text(503, error("SlowDown")),
        Answer::Text(400, error("RequestTimeout")),
        Answer::Text(200, COPIED),
    ])
    .await;

    let done = Copier::at_stub(&stub, SINGLE_BYTES_MAX).await.copy(None).await;

    assert_eq!((done.finish, done.bytes, done.cause), (Finish::Delivered, 100, None));
    let requests = stub.requests();
    assert_eq!(requests.iter().filter(|it| it.line == format!("HEAD /{BUCKET}/{KEY}")).count(), 2);
    assert_eq!(requests.iter().filter(|it| it.line == format!("PUT /acme-logs/{COPY}")).count(), 6);
    assert!(requests.iter().skip(2).all(|it| it.if_match.as_deref() == Some("\"t1\"")));
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_bounded() {
    let failing = std::iter::repeat_n(Answer::Text(500, error("InternalError")), 20);
    let mut stub = Stub::start(std::iter::once(Answer::Head("t1", 100)).chain(failing)).await;

    let done = Copier::at_stub(&stub, SINGLE_BYTES_MAX).await.copy(None).await;

    assert_eq!(done.finish, Finish::Unavailable);
    assert_eq!(stub.requests().len(), 1 + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_changes_is_copied_as_it_is_then() {
    let mut stub = Stub::start([
        Answer::Text(412, ""),
        Answer::Head("t2", 100),
        Answer::Text(412, error("PreconditionFailed")),
        Answer::Head("t3", 300),
        Answer::Text(200, COPIED),
    ])
    .await;

    let done = Copier::at_stub(&stub, SINGLE_BYTES_MAX).await.copy(Some("t1")).await;

    assert_eq!((done.finish, done.bytes), (Finish::Delivered, 300));
    let tags: Vec<_> = stub.requests().into_iter().map(|it| it.if_match).collect();
    let tag = |tag: &str| Some(format!("\"{tag}\""));
    assert_eq!(tags, [tag("t1"), None, tag("t2"), None, tag("t3")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_changes_without_end_is_left_to_a_later_attempt() {
    let changing = [Answer::Head("t", 100), Answer::Text(412, error("PreconditionFailed"))];
    let stub = Stub::start(changing.into_iter().cycle().take(100)).await;
    let done = Copier::at_stub(&stub, SINGLE_BYTES_MAX).await.copy(None).await;
    assert_eq!(done.finish, Finish::Retryable);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_goes_between_head_and_copy_is_missing() {
    let stub = Stub::start([Answer::Head("t", 100), Answer::Text(404, error("NoSuchKey"))]).await;
    let done = Copier::at_stub(&stub, SINGLE_BYTES_MAX).await.copy(None).await;
    assert_eq!(done.finish, Finish::Missing);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_nobody_waits_for_ends_and_takes_its_upload_back() {
    let upload = "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>";
    let mut stub =
        Stub::start([Answer::Head("t", 100), Answer::Text(200, upload), Answer::Never, Answer::Text(200, "")]).await;
    let copier = Copier::at_stub(&stub, 10).await;

    let copying = copier.start(None);
    for line in [format!("HEAD /{BUCKET}/{KEY}"), format!("POST /acme-logs/{COPY}?uploads")] {
        assert_eq!(stub.request().await.line, line);
    }
    assert!(stub.request().await.line.starts_with("PUT "));
    drop(copying);

    // As at the end of a drain: the task ends by itself.
    copier.tracker.close();
    copier.tracker.wait().await;
    assert_eq!(stub.request().await.line, format!("DELETE /acme-logs/{COPY}?uploadId=u1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_never_answers_leaves_room_for_others() {
    let mut stub = Stub::answering(|request| match request.line.as_str() {
        line if line.starts_with("HEAD ") => Answer::Head("t", 100),
        line if line.starts_with("PUT /stuck-logs/") => Answer::Never,
        _ => Answer::Text(200, COPIED),
    })
    .await;
    let copier = Copier::at_stub(&stub, SINGLE_BYTES_MAX).await;

    // More than there are places for all.
    let stuck: Vec<Copying> = (0..100).map(|_| copier.start_as("stuck", "stuck-logs", None)).collect();
    let mut heads = 0;
    while heads < stuck.len() {
        heads += usize::from(stub.request().await.line.starts_with("HEAD "));
    }

    let copied = tokio::time::timeout(Duration::from_secs(60), copier.copy(None)).await;
    assert_eq!(copied.unwrap().finish, Finish::Delivered);
}
