//! S3's copies: by one call, and in parts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use bytes::{Bytes, BytesMut};
use md5::{Digest, Md5};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput,
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult, CopySource, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, ETag, ETagCondition, MetadataDirective, UploadPartCopyInput, UploadPartCopyOutput,
};
use s3s::{S3Result, s3_error};

use crate::api::{Caller, hex, lock};
use crate::s3::{Deed, LocalS3, Object, check_tag, timestamp};

/// Bytes of the longest object that one CopyObject copies. Source: S3 API Reference, "CopyObject".
const SINGLE_BYTES_MAX: usize = 5 << 30;
/// Bytes of every part but the last. Source: S3 User Guide, "Amazon S3 multipart upload limits".
const PART_BYTES_MIN: usize = 5 << 20;
/// The last part's number. Source: as above.
const PARTS_MAX: i32 = 10_000;
/// Bytes of metadata, names and values. Source: S3 User Guide, "Working with object metadata".
const METADATA_BYTES_MAX: usize = 2048;

#[derive(Debug)]
struct Upload {
    bucket: String,
    key: String,
    acl: Option<String>,
    /// What the object will be, but for its bytes.
    object: Object,
    parts: BTreeMap<i32, (Bytes, String)>,
}

/// Multipart uploads that are open.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    open: Mutex<HashMap<String, Upload>>,
    made: Mutex<u64>,
}

impl Uploads {
    pub(crate) fn count(&self) -> usize {
        lock(&self.open).len()
    }
}

fn metadata(given: Option<s3s::dto::Metadata>) -> S3Result<BTreeMap<String, String>> {
    let metadata: BTreeMap<String, String> = given.unwrap_or_default().into_iter().collect();
    let bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > METADATA_BYTES_MAX {
        return Err(s3_error!(MetadataTooLarge, "Your metadata headers exceed the maximum allowed metadata size"));
    }
    Ok(metadata)
}

impl LocalS3 {
    /// The source of a copy, which the caller must be allowed to read.
    fn source(&self, caller: Option<&Caller>, source: &CopySource, tag: Option<&ETagCondition>) -> S3Result<Object> {
        let CopySource::Bucket { bucket, key, version_id } = source else {
            return Err(s3_error!(NotImplemented, "access points do not exist here"));
        };
        self.allowed(caller, Deed { bucket, key, action: "s3:GetObject", acl: None })?;
        if version_id.as_deref().is_some_and(|version| version != "null") {
            return Err(s3_error!(NoSuchVersion, "The specified version does not exist."));
        }
        let object = self.object(bucket, key)?;
        check_tag(tag, &object)?;
        Ok(object)
    }

    fn keep(&self, bucket: &str, key: &str, object: Object) {
        let now_ms = object.modified_ms;
        for (queue, body) in self.cloud.buckets.put(bucket, key, object, now_ms).unwrap_or_default() {
            self.cloud.sqs.deliver(&queue, body, now_ms);
        }
    }

    pub(crate) fn copied(&self, caller: Option<&Caller>, input: CopyObjectInput) -> S3Result<CopyObjectOutput> {
        let acl = input.acl.as_ref().map(s3s::dto::ObjectCannedACL::as_str);
        let to = Deed { bucket: &input.bucket, key: &input.key, action: "s3:PutObject", acl };
        self.allowed(caller, to)?;
        let mut object = self.source(caller, &input.copy_source, input.copy_source_if_match.as_ref())?;
        if object.bytes.len() > SINGLE_BYTES_MAX {
            let text =
                "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120";
            return Err(s3_error!(InvalidRequest, "{}", text));
        }
        if input.metadata_directive.as_ref().is_some_and(|it| it.as_str() == MetadataDirective::REPLACE) {
            object.content_type = input.content_type.map(|it| it.to_string());
            object.content_encoding = input.content_encoding.map(|it| it.to_string());
            object.metadata = metadata(input.metadata)?;
        }
        object.modified_ms = self.cloud.clock.now_ms();
        let result = CopyObjectResult {
            e_tag: Some(ETag::Strong(object.etag.clone())),
            last_modified: Some(timestamp(object.modified_ms)),
            ..CopyObjectResult::default()
        };
        self.keep(&input.bucket, &input.key, object);
        Ok(CopyObjectOutput { copy_object_result: Some(result), ..CopyObjectOutput::default() })
    }

    pub(crate) fn upload_begun(
        &self,
        caller: Option<&Caller>,
        input: CreateMultipartUploadInput,
    ) -> S3Result<CreateMultipartUploadOutput> {
        let acl = input.acl.as_ref().map(s3s::dto::ObjectCannedACL::as_str);
        self.allowed(caller, Deed { bucket: &input.bucket, key: &input.key, action: "s3:PutObject", acl })?;
        let object = Object {
            content_type: input.content_type.map(|it| it.to_string()),
            content_encoding: input.content_encoding.map(|it| it.to_string()),
            metadata: metadata(input.metadata)?,
            ..Object::default()
        };
        let uploads = &self.cloud.buckets.uploads;
        let id = {
            let mut made = lock(&uploads.made);
            *made += 1;
            format!("upload-{:08}", *made)
        };
        let upload = Upload {
            bucket: input.bucket.clone(),
            key: input.key.clone(),
            acl: acl.map(str::to_owned),
            object,
            parts: BTreeMap::new(),
        };
        lock(&uploads.open).insert(id.clone(), upload);
        Ok(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            ..CreateMultipartUploadOutput::default()
        })
    }

    /// An open upload's ACL, which its parts are judged by: they name none.
    fn upload_acl(&self, id: &str, bucket: &str, key: &str) -> S3Result<Option<String>> {
        let open = lock(&self.cloud.buckets.uploads.open);
        let upload = open.get(id).filter(|upload| upload.bucket == bucket && upload.key == key);
        upload.map(|upload| upload.acl.clone()).ok_or_else(|| s3_error!(NoSuchUpload))
    }

    pub(crate) fn part_copied(
        &self,
        caller: Option<&Caller>,
        input: &UploadPartCopyInput,
    ) -> S3Result<UploadPartCopyOutput> {
        let acl = self.upload_acl(&input.upload_id, &input.bucket, &input.key)?;
        let (bucket, key) = (input.bucket.as_str(), input.key.as_str());
        self.allowed(caller, Deed { bucket, key, action: "s3:PutObject", acl: acl.as_deref() })?;
        if !(1..=PARTS_MAX).contains(&input.part_number) {
            return Err(s3_error!(InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive"));
        }
        let source = self.source(caller, &input.copy_source, input.copy_source_if_match.as_ref())?;
        let bytes = match &input.copy_source_range {
            None => source.bytes,
            Some(_) if source.bytes.len() <= PART_BYTES_MIN => {
                return Err(s3_error!(InvalidRequest, "a range needs a source of more than 5 MiB"));
            }
            Some(range) => {
                let ends = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
                let ends = ends.and_then(|(first, last)| {
                    Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()?.checked_add(1)?))
                });
                let Some((first, end)) = ends.filter(|(first, end)| first < end && *end <= source.bytes.len()) else {
                    return Err(s3_error!(InvalidArgument, "The range specified is not valid for the source"));
                };
                source.bytes.slice(first..end)
            }
        };
        if bytes.len() > SINGLE_BYTES_MAX {
            return Err(s3_error!(EntityTooLarge));
        }
        let etag = hex(&Md5::digest(&bytes));
        let mut open = lock(&self.cloud.buckets.uploads.open);
        let upload = open.get_mut(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        upload.parts.insert(input.part_number, (bytes, etag.clone()));
        let result = CopyPartResult {
            e_tag: Some(ETag::Strong(etag)),
            last_modified: Some(timestamp(self.cloud.clock.now_ms())),
            ..CopyPartResult::default()
        };
        Ok(UploadPartCopyOutput { copy_part_result: Some(result), ..UploadPartCopyOutput::default() })
    }

    pub(crate) fn upload_completed(
        &self,
        caller: Option<&Caller>,
        input: CompleteMultipartUploadInput,
    ) -> S3Result<CompleteMultipartUploadOutput> {
        let acl = self.upload_acl(&input.upload_id, &input.bucket, &input.key)?;
        let (bucket, key) = (input.bucket.as_str(), input.key.as_str());
        self.allowed(caller, Deed { bucket, key, action: "s3:PutObject", acl: acl.as_deref() })?;
        let named = input.multipart_upload.and_then(|it| it.parts).unwrap_or_default();
        if named.is_empty() {
            return Err(s3_error!(MalformedXML));
        }
        let mut open = lock(&self.cloud.buckets.uploads.open);
        let upload = open.get(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        let (mut bytes, mut tags, mut before) = (BytesMut::new(), Vec::new(), 0);
        for (at, part) in named.iter().enumerate() {
            let number = part.part_number.unwrap_or_default();
            if number <= before {
                return Err(s3_error!(InvalidPartOrder));
            }
            before = number;
            let found = upload.parts.get(&number);
            let tag = part.e_tag.as_ref().map(ETag::value);
            let Some((part, own)) = found.filter(|(_, own)| tag == Some(own.as_str())) else {
                return Err(s3_error!(InvalidPart));
            };
            if part.len() < PART_BYTES_MIN && at + 1 < named.len() {
                return Err(s3_error!(EntityTooSmall));
            }
            bytes.extend_from_slice(part);
            tags.extend_from_slice(&Md5::digest(part));
            debug_assert_eq!(hex(&Md5::digest(part)), *own);
        }
        let Some(upload) = open.remove(&input.upload_id) else { return Err(s3_error!(NoSuchUpload)) };
        drop(open);
        let etag = format!("{}-{}", hex(&Md5::digest(&tags)), named.len());
        let object = Object {
            bytes: bytes.freeze(),
            etag: etag.clone(),
            modified_ms: self.cloud.clock.now_ms(),
            ..upload.object
        };
        self.keep(&input.bucket, &input.key, object);
        Ok(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(etag)),
            ..CompleteMultipartUploadOutput::default()
        })
    }

    pub(crate) fn upload_aborted(
        &self,
        caller: Option<&Caller>,
        input: &AbortMultipartUploadInput,
    ) -> S3Result<AbortMultipartUploadOutput> {
        let acl = self.upload_acl(&input.upload_id, &input.bucket, &input.key)?;
        let (bucket, key) = (input.bucket.as_str(), input.key.as_str());
        self.allowed(caller, Deed { bucket, key, action: "s3:AbortMultipartUpload", acl: acl.as_deref() })?;
        lock(&self.cloud.buckets.uploads.open).remove(&input.upload_id);
        Ok(AbortMultipartUploadOutput::default())
    }
}

#[cfg(test)]
mod tests {
    use s3s::dto::{CompletedMultipartUpload, CompletedPart, ObjectCannedACL};

    use super::*;
    use crate::{BucketGrant, Cloud, Permissions};

    const CENTRAL: &str = "111111111111";
    const TENANT: &str = "222222222222";
    const ACL: &str = "bucket-owner-full-control";
    /// Two parts and a bit.
    const LONG: usize = 2 * PART_BYTES_MIN + 7;

    struct World {
        _cloud: Cloud,
        s3: LocalS3,
        writer: Caller,
    }

    /// The writer is a session of the central account, let into the tenant's bucket for `acme`.
    async fn world() -> World {
        let cloud = Cloud::start("127.0.0.1:0".parse().unwrap(), "us-east-1").await.unwrap();
        let permissions: Permissions = vec![("s3:*".to_owned(), "*".to_owned())];
        let role = cloud.add_role(CENTRAL, "central", crate::TrustPolicy::default(), permissions);
        for (account, bucket) in [(CENTRAL, "source"), (TENANT, "target")] {
            cloud.create_bucket(account, bucket);
        }
        cloud.put_object("source", "long", vec![b'x'; LONG]);
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
            tags: [("tenant_id".to_owned(), "acme".to_owned())].into(),
            transitive: Vec::new(),
        };
        World { s3: LocalS3 { cloud: std::sync::Arc::clone(&cloud.inner) }, _cloud: cloud, writer }
    }

    fn source(key: &str) -> CopySource {
        CopySource::Bucket { bucket: "source".into(), key: key.into(), version_id: None }
    }

    /// The code that a copy is refused with; empty: it is made.
    fn copy(world: &World, caller: &Caller, key: &str, change: impl FnOnce(&mut CopyObjectInput)) -> String {
        let mut builder = CopyObjectInput::builder();
        builder.set_bucket("target".to_owned());
        builder.set_key(key.to_owned());
        builder.set_copy_source(source("short"));
        builder.set_acl(Some(ObjectCannedACL::from_static(ACL)));
        let mut input = builder.build().unwrap();
        change(&mut input);
        code(world.s3.copied(Some(caller), input))
    }

    fn code<T>(result: S3Result<T>) -> String {
        result.err().map(|error| error.code().as_str().to_owned()).unwrap_or_default()
    }

    fn begin(world: &World) -> String {
        let mut builder = CreateMultipartUploadInput::builder();
        builder.set_bucket("target".to_owned());
        builder.set_key("logs/f".to_owned());
        builder.set_acl(Some(ObjectCannedACL::from_static(ACL)));
        world.s3.upload_begun(Some(&world.writer), builder.build().unwrap()).unwrap().upload_id.unwrap()
    }

    fn part(world: &World, id: &str, key: &str, number: i32, range: &str) -> S3Result<ETag> {
        let mut builder = UploadPartCopyInput::builder();
        builder.set_bucket("target".to_owned());
        builder.set_key("logs/f".to_owned());
        builder.set_upload_id(id.to_owned());
        builder.set_part_number(number);
        builder.set_copy_source(source(key));
        builder.set_copy_source_range(Some(range.to_owned()));
        let output = world.s3.part_copied(Some(&world.writer), &builder.build().unwrap())?;
        Ok(output.copy_part_result.unwrap().e_tag.unwrap())
    }

    fn complete(world: &World, id: &str, parts: &[(i32, &ETag)]) -> String {
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
        code(world.s3.upload_completed(Some(&world.writer), builder.build().unwrap()))
    }

    #[tokio::test]
    async fn each_condition_of_a_buckets_policy_counts() {
        let world = world().await;
        assert_eq!(copy(&world, &world.writer, "logs/f", |_| {}), "");
        assert_eq!(copy(&world, &world.writer, "else/f", |_| {}), "AccessDenied");
        assert_eq!(copy(&world, &world.writer, "logs/f", |it| it.acl = None), "AccessDenied");
        let other = Caller { tags: [("tenant_id".to_owned(), "other".to_owned())].into(), ..world.writer.clone() };
        assert_eq!(copy(&world, &other, "logs/f", |_| {}), "AccessDenied");
        let stranger = Caller { role: None, account: "333333333333".to_owned(), ..world.writer.clone() };
        assert_eq!(copy(&world, &stranger, "logs/f", |_| {}), "AccessDenied");
        // The tenant may write into its bucket, and not read the source.
        let tenant = Caller { role: None, account: TENANT.to_owned(), ..world.writer.clone() };
        assert_eq!(copy(&world, &tenant, "logs/f", |_| {}), "AccessDenied");
    }

    #[tokio::test]
    async fn a_copys_source_must_be_there_and_be_the_one() {
        let world = world().await;
        let tag = |tag: &str| Some(ETagCondition::ETag(ETag::Strong(tag.to_owned())));
        assert_eq!(copy(&world, &world.writer, "logs/f", |it| it.copy_source = source("none")), "NoSuchKey");
        assert_eq!(copy(&world, &world.writer, "logs/f", |it| it.bucket = "none".to_owned()), "NoSuchBucket");
        let changed = copy(&world, &world.writer, "logs/f", |it| it.copy_source_if_match = tag("0"));
        assert_eq!(changed, "PreconditionFailed");
        let long = [("name".to_owned(), "x".repeat(METADATA_BYTES_MAX))];
        let refused = copy(&world, &world.writer, "logs/f", |it| {
            it.metadata_directive = Some(MetadataDirective::from_static(MetadataDirective::REPLACE));
            it.metadata = Some(long.into_iter().collect());
        });
        assert_eq!(refused, "MetadataTooLarge");
    }

    #[tokio::test]
    async fn parts_have_their_order_and_sizes() {
        let world = world().await;
        let id = begin(&world);
        let refused = |key, number, range| code(part(&world, &id, key, number, range));
        assert_eq!(refused("short", 1, "bytes=0-0"), "InvalidRequest");
        assert_eq!(refused("long", 0, "bytes=0-9"), "InvalidArgument");
        assert_eq!(refused("long", 10_001, "bytes=0-9"), "InvalidArgument");
        assert_eq!(refused("long", 1, &format!("bytes=0-{LONG}")), "InvalidArgument");
        let first = part(&world, &id, "long", 1, &format!("bytes=0-{}", PART_BYTES_MIN - 1)).unwrap();
        let last = part(&world, &id, "long", 7, &format!("bytes={PART_BYTES_MIN}-{}", LONG - 1)).unwrap();
        let small = part(&world, &id, "long", 3, "bytes=0-9").unwrap();
        assert_eq!(complete(&world, &id, &[]), "MalformedXML");
        assert_eq!(complete(&world, &id, &[(7, &last), (1, &first)]), "InvalidPartOrder");
        assert_eq!(complete(&world, &id, &[(1, &last), (7, &last)]), "InvalidPart");
        assert_eq!(complete(&world, &id, &[(1, &first), (2, &last)]), "InvalidPart");
        assert_eq!(complete(&world, &id, &[(1, &first), (3, &small), (7, &last)]), "EntityTooSmall");
        assert_eq!(complete(&world, &id, &[(1, &first), (7, &last)]), "");
        assert_eq!(complete(&world, &id, &[(1, &first), (7, &last)]), "NoSuchUpload");
        let object = world.s3.object("target", "logs/f").unwrap();
        assert_eq!(object.bytes.len(), LONG);
        assert!(object.etag.ends_with("-2"), "{}", object.etag);
    }
}
