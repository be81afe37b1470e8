//! Copies, by one call and in parts, as a session makes them that a bucket lets in.

use std::sync::Arc;

use s3s::dto::{
    CompleteMultipartUploadInput, CompletedMultipartUpload, CompletedPart, CopyObjectInput, CopySource,
    CreateMultipartUploadInput, ETag, ETagCondition, MetadataDirective, ObjectCannedACL, UploadPartCopyInput,
};
use s3s::{S3, S3Request, S3Result};

use super::conditions::Overwrite;
use super::uploads::PART_BYTES_MIN;
use super::{LocalS3, timestamp};
use crate::api::Caller;
use crate::{BucketGrant, Cloud, Permissions};

const CENTRAL: &str = "111111111111";
const TENANT: &str = "222222222222";
const ACL: &str = "bucket-owner-full-control";
/// Two parts and a bit.
const LONG: u64 = 2 * PART_BYTES_MIN + 7;

struct World {
    cloud: Cloud,
    s3: LocalS3,
    writer: Caller,
}

/// The writer is a session of the central account, let into the tenant's bucket for `acme`.
async fn world() -> World {
    world_in(crate::Storage::default()).await
}

async fn world_in(storage: crate::Storage) -> World {
    let cloud = Cloud::start_with("127.0.0.1:0".parse().unwrap(), "us-east-1", storage).await.unwrap();
    let permissions: Permissions = vec![("s3:*".to_owned(), "*".to_owned())];
    let role = cloud.add_role(CENTRAL, "central", crate::TrustPolicy::default(), permissions);
    for (account, bucket) in [(CENTRAL, "source"), (TENANT, "target")] {
        cloud.create_bucket(account, bucket);
    }
    cloud.put_object("source", "long", "x".repeat(usize::try_from(LONG).unwrap()));
    cloud.put_object("source", "short", "x");
    cloud.grant(
        "target",
        BucketGrant {
            principals: vec![role.clone()],
            actions: vec!["s3:PutObject".to_owned()],
            prefix: "logs/".to_owned(),
            principal_tags: [("tenant_id".to_owned(), "acme".to_owned())].into(),
            acl: Some(ACL.to_owned()),
        },
    );
    let writer = Caller {
        account: CENTRAL.to_owned(),
        arn: format!("arn:aws:sts::{CENTRAL}:assumed-role/central/acme"),
        role: Some(role),
        tags: [("Tenant_ID".into(), "acme".to_owned())].into(),
        transitive: std::collections::BTreeSet::new(),
    };
    World { s3: LocalS3 { cloud: Arc::clone(&cloud.inner) }, cloud, writer }
}

fn source(key: &str) -> CopySource {
    CopySource::Bucket { bucket: "source".into(), key: key.into(), version_id: None }
}

/// The code that a copy is refused with; empty: it is made.
async fn copy(world: &World, caller: &Caller, key: &str, change: impl FnOnce(&mut CopyObjectInput)) -> String {
    let mut builder = CopyObjectInput::builder();
    builder.set_bucket("target".to_owned());
    builder.set_key(key.to_owned());
    builder.set_copy_source(source("short"));
    builder.set_acl(Some(ObjectCannedACL::from_static(ACL)));
    let mut input = builder.build().unwrap();
    change(&mut input);
    code(world.s3.copied(caller, input, Overwrite::Always).await)
}

fn code<T>(result: S3Result<T>) -> String {
    result.err().map(|error| error.code().as_str().to_owned()).unwrap_or_default()
}

fn begin(world: &World) -> String {
    let mut builder = CreateMultipartUploadInput::builder();
    builder.set_bucket("target".to_owned());
    builder.set_key("logs/f".to_owned());
    builder.set_acl(Some(ObjectCannedACL::from_static(ACL)));
    world.s3.upload_begun(&world.writer, builder.build().unwrap()).unwrap().upload_id.unwrap()
}

async fn part(world: &World, id: &str, key: &str, number: i32, range: &str) -> S3Result<ETag> {
    let mut builder = UploadPartCopyInput::builder();
    builder.set_bucket("target".to_owned());
    builder.set_key("logs/f".to_owned());
    builder.set_upload_id(id.to_owned());
    builder.set_part_number(number);
    builder.set_copy_source(source(key));
    builder.set_copy_source_range(Some(range.to_owned()));
    let output = world.s3.part_copied(&world.writer, &builder.build().unwrap()).await?;
    Ok(output.copy_part_result.unwrap().e_tag.unwrap())
}

fn completion(id: &str, parts: &[(i32, &ETag)]) -> CompleteMultipartUploadInput {
    let named = parts.iter().map(|(number, tag)| CompletedPart {
        part_number: Some(*number),
        e_tag: Some((*tag).clone()),
        ..CompletedPart::default()
    });
    let mut builder = CompleteMultipartUploadInput::builder();
    builder.set_bucket("target".to_owned());
    builder.set_key("logs/f".to_owned());
    builder.set_upload_id(id.to_owned());
    builder.set_multipart_upload(Some(CompletedMultipartUpload { parts: Some(named.collect()) }));
    builder.build().unwrap()
}

async fn complete(world: &World, id: &str, parts: &[(i32, &ETag)]) -> String {
    code(world.s3.upload_completed(&world.writer, completion(id, parts), Overwrite::Always).await)
}

#[tokio::test]
async fn each_condition_of_a_buckets_policy_counts() {
    let world = world().await;
    assert_eq!(copy(&world, &world.writer, "logs/f", |_| {}).await, "");
    assert_eq!(copy(&world, &world.writer, "else/f", |_| {}).await, "AccessDenied");
    assert_eq!(copy(&world, &world.writer, "logs/f", |it| it.acl = None).await, "AccessDenied");
    let other = Caller { tags: [("tenant_id".into(), "other".to_owned())].into(), ..world.writer.clone() };
    assert_eq!(copy(&world, &other, "logs/f", |_| {}).await, "AccessDenied");
    let stranger = Caller { role: None, account: "333333333333".to_owned(), ..world.writer.clone() };
    assert_eq!(copy(&world, &stranger, "logs/f", |_| {}).await, "AccessDenied");
    // The tenant may write into its bucket, and not read the source.
    let tenant = Caller { role: None, account: TENANT.to_owned(), ..world.writer.clone() };
    assert_eq!(copy(&world, &tenant, "logs/f", |_| {}).await, "AccessDenied");
}

#[tokio::test]
async fn a_copys_source_must_be_there_and_be_the_one() {
    let world = world().await;
    let tag = |tag: &str| Some(ETagCondition::ETag(ETag::Strong(tag.to_owned())));
    assert_eq!(copy(&world, &world.writer, "logs/f", |it| it.copy_source = source("none")).await, "NoSuchKey");
    assert_eq!(copy(&world, &world.writer, "logs/f", |it| it.bucket = "none".to_owned()).await, "NoSuchBucket");
    let changed = copy(&world, &world.writer, "logs/f", |it| it.copy_source_if_match = tag("0")).await;
    assert_eq!(changed, "PreconditionFailed");
    let long = [("name".to_owned(), "x".repeat(2048))];
    let refused = copy(&world, &world.writer, "logs/f", |it| {
        it.metadata_directive = Some(MetadataDirective::from_static(MetadataDirective::REPLACE));
        it.metadata = Some(long.into_iter().collect());
    })
    .await;
    assert_eq!(refused, "MetadataTooLarge");
}

#[tokio::test]
async fn who_may_not_list_learns_of_no_missing_source() {
    let world = world().await;
    let may = vec![("s3:GetObject".to_owned(), "*".to_owned()), ("s3:PutObject".to_owned(), "*".to_owned())];
    let role = world.cloud.add_role(CENTRAL, "narrow", crate::TrustPolicy::default(), may);
    let narrow = Caller { role: Some(role.clone()), ..world.writer.clone() };
    world.cloud.grant(
        "target",
        BucketGrant { principals: vec![role], actions: vec!["s3:PutObject".to_owned()], ..BucketGrant::default() },
    );
    assert_eq!(copy(&world, &narrow, "logs/f", |_| {}).await, "");
    assert_eq!(copy(&world, &narrow, "logs/f", |it| it.copy_source = source("none")).await, "AccessDenied");
}

#[tokio::test]
async fn each_condition_on_a_copys_source_counts() {
    let world = world().await;
    let tag = world.s3.object("source", "short", None).unwrap().etag;
    let tag = |other: &str| Some(ETagCondition::ETag(ETag::Strong(format!("{tag}{other}"))));
    let (before, after) = (Some(timestamp(1000)), Some(timestamp(world.cloud.now_ms() + 60_000)));
    type Change<'c> = Box<dyn FnOnce(&mut CopyObjectInput) + 'c>;
    let cases: [(Change<'_>, &str); 9] = [
        (Box::new(|it| it.copy_source_if_none_match = tag("")), "PreconditionFailed"),
        (Box::new(|it| it.copy_source_if_none_match = tag("x")), ""),
        (Box::new(|it| it.copy_source_if_modified_since = after.clone()), "PreconditionFailed"),
        (Box::new(|it| it.copy_source_if_unmodified_since = before), "PreconditionFailed"),
        (Box::new(|it| it.copy_source_if_unmodified_since = after.clone()), ""),
        (Box::new(|it| it.expected_source_bucket_owner = Some(TENANT.to_owned())), "AccessDenied"),
        (Box::new(|it| it.expected_source_bucket_owner = Some(CENTRAL.to_owned())), ""),
        (Box::new(|it| it.expected_source_bucket_owner = Some("x".to_owned())), "InvalidBucketOwnerAWSAccountID"),
        (Box::new(|it| it.metadata_directive = Some(MetadataDirective::from_static("MOVE"))), "InvalidArgument"),
    ];
    for (at, (change, expected)) in cases.into_iter().enumerate() {
        assert_eq!(copy(&world, &world.writer, "logs/f", change).await, expected, "case {at}");
    }
    // An object is not copied onto itself for nothing.
    let onto = |it: &mut CopyObjectInput| (it.bucket, it.key) = ("source".to_owned(), "short".to_owned());
    assert_eq!(copy(&world, &world.writer, "logs/f", onto).await, "InvalidRequest");
    let replaced = |it: &mut CopyObjectInput| {
        onto(it);
        it.metadata_directive = Some(MetadataDirective::from_static(MetadataDirective::REPLACE));
    };
    assert_eq!(copy(&world, &world.writer, "logs/f", replaced).await, "");
}

#[tokio::test]
async fn what_is_there_decides_over_a_write() {
    let world = world().await;
    let over = async |key: &str, over| {
        let mut builder = CopyObjectInput::builder();
        builder.set_bucket("target".to_owned());
        builder.set_key(key.to_owned());
        builder.set_copy_source(source("short"));
        builder.set_acl(Some(ObjectCannedACL::from_static(ACL)));
        code(world.s3.copied(&world.writer, builder.build().unwrap(), over).await)
    };
    let tag = |tag: &str| Overwrite::Tag(ETagCondition::ETag(ETag::Strong(tag.to_owned())));
    assert_eq!(over("logs/f", tag("0")).await, "NoSuchKey");
    assert_eq!(over("logs/f", Overwrite::Absent).await, "");
    assert_eq!(over("logs/f", Overwrite::Absent).await, "PreconditionFailed");
    assert_eq!(over("logs/f", tag("0")).await, "PreconditionFailed");
    let there = world.s3.object("target", "logs/f", None).unwrap().etag;
    assert_eq!(over("logs/f", tag(&there)).await, "");
    // An upload that is refused so stays open.
    let id = begin(&world);
    let only = part(&world, &id, "long", 1, "bytes=0-9").await.unwrap();
    let input = || completion(&id, &[(1, &only)]);
    let sized = CompleteMultipartUploadInput { mpu_object_size: Some(11), ..input() };
    for (input, over, expected) in [
        (input(), Overwrite::Absent, "PreconditionFailed"),
        (sized, Overwrite::Always, "InvalidRequest"),
        (input(), tag(&there), ""),
    ] {
        assert_eq!(world.cloud.open_uploads(), 1);
        assert_eq!(code(world.s3.upload_completed(&world.writer, input, over).await), expected);
    }
    assert_eq!(world.cloud.open_uploads(), 0);
}

#[tokio::test]
async fn parts_have_their_order_and_sizes() {
    let world = world().await;
    let id = begin(&world);
    let refused = async |key, number, range| code(part(&world, &id, key, number, range).await);
    assert_eq!(refused("short", 1, "bytes=0-0").await, "InvalidRequest");
    assert_eq!(refused("long", 0, "bytes=0-9").await, "InvalidArgument");
    assert_eq!(refused("long", 10_001, "bytes=0-9").await, "InvalidArgument");
    assert_eq!(refused("long", 1, &format!("bytes=0-{LONG}")).await, "InvalidArgument");
    let first = part(&world, &id, "long", 1, &format!("bytes=0-{}", PART_BYTES_MIN - 1)).await.unwrap();
    let last = part(&world, &id, "long", 7, &format!("bytes={PART_BYTES_MIN}-{}", LONG - 1)).await.unwrap();
    let small = part(&world, &id, "long", 3, "bytes=0-9").await.unwrap();
    assert_eq!(complete(&world, &id, &[]).await, "MalformedXML");
    assert_eq!(complete(&world, &id, &[(7, &last), (1, &first)]).await, "InvalidPartOrder");
    assert_eq!(complete(&world, &id, &[(1, &last), (7, &last)]).await, "InvalidPart");
    assert_eq!(complete(&world, &id, &[(1, &first), (2, &last)]).await, "InvalidPart");
    assert_eq!(complete(&world, &id, &[(1, &first), (3, &small), (7, &last)]).await, "EntityTooSmall");
    assert_eq!(complete(&world, &id, &[(1, &first), (7, &last)]).await, "");
    assert_eq!(complete(&world, &id, &[(1, &first), (7, &last)]).await, "NoSuchUpload");
    let object = world.s3.object("target", "logs/f", None).unwrap();
    assert_eq!(object.size, LONG);
    assert!(object.etag.ends_with("-2"), "{}", object.etag);
}

/// Its client goes away before the parts are joined; as at AWS it is completed all the same, and once.
#[tokio::test]
async fn a_completion_goes_on_without_its_client() {
    let root = tempfile::tempdir().unwrap();
    let world = world_in(crate::Storage::directory(root.path()).unwrap()).await;
    let queue = world.cloud.create_queue(TENANT, "told", std::time::Duration::from_secs(30), None);
    world.cloud.notify("target", crate::Notify::Raw(queue.clone()));
    let id = begin(&world);
    let first = part(&world, &id, "long", 1, &format!("bytes=0-{}", PART_BYTES_MIN - 1)).await.unwrap();
    let last = part(&world, &id, "long", 2, &format!("bytes={PART_BYTES_MIN}-{}", LONG - 1)).await.unwrap();
    let request = || request(&world, completion(&id, &[(1, &first), (2, &last)]));
    tokio::select! {
        biased;
        // Not ready when it is first asked, so that the completion is begun, and before it the next time.
        () = tokio::task::yield_now() => {}
        _ = world.s3.complete_multipart_upload(request()) => panic!("nothing was joined"),
    }
    // Who asks again waits for it, and finds that it is over.
    assert_eq!(code(world.s3.complete_multipart_upload(request()).await), "NoSuchUpload");
    assert_eq!(world.s3.object("target", "logs/f", None).unwrap().size, LONG);
    assert_eq!((world.cloud.open_uploads(), world.cloud.queue_bodies(&queue).len()), (0, 1));
    world.cloud.stop().await;
}

fn request<T>(world: &World, input: T) -> S3Request<T> {
    let mut extensions = hyper::http::Extensions::new();
    extensions.insert(world.writer.clone());
    S3Request {
        input,
        method: hyper::Method::POST,
        uri: hyper::Uri::default(),
        headers: hyper::HeaderMap::new(),
        extensions,
        credentials: None,
        region: None,
        service: None,
        trailing_headers: None,
    }
}

#[tokio::test]
async fn objects_are_told_as_what_they_came_by() {
    let world = world().await;
    let queue = world.cloud.create_queue(TENANT, "told", std::time::Duration::from_secs(30), None);
    world.cloud.notify("target", crate::Notify::Wrapped(queue.clone()));
    assert_eq!(copy(&world, &world.writer, "logs/f", |_| {}).await, "");
    let id = begin(&world);
    let only = part(&world, &id, "long", 1, "bytes=0-9").await.unwrap();
    assert_eq!(complete(&world, &id, &[(1, &only)]).await, "");
    world.cloud.put_object("target", "logs/g", "x");
    let told: Vec<serde_json::Value> =
        world.cloud.queue_bodies(&queue).iter().map(|body| serde_json::from_str(body).unwrap()).collect();
    let names = ["Copy", "CompleteMultipartUpload", "Put"].map(|name| format!("\"ObjectCreated:{name}\""));
    for (told, name) in told.iter().zip(&names) {
        assert!(told["Message"].as_str().unwrap().contains(name), "{told}");
    }
    let ids: std::collections::BTreeSet<_> = told.iter().map(|told| told["MessageId"].as_str().unwrap()).collect();
    assert_eq!((told.len(), ids.len()), (3, 3));
}
