//! S3's copies: by one call, and in parts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use http_body_util::BodyExt;
use md5::{Digest, Md5};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput,
    CompletedPart, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult, CopySource,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, ETag, MetadataDirective, ObjectCannedACL,
    UploadPartCopyInput, UploadPartCopyOutput,
};
use s3s::{S3Result, s3_error};

use super::buckets::{Deed, Event, Headers, Object};
use super::conditions::{Conditions, Overwrite};
use super::{LocalS3, timestamp, unkept};
use crate::api::{Caller, hex, lock};
use crate::store::Piece;

/// Bytes of the longest object that one CopyObject copies. Source: S3 API Reference, "CopyObject".
const SINGLE_BYTES_MAX: u64 = 5 << 30;
/// Bytes of every part but the last. Source: S3 User Guide, "Amazon S3 multipart upload limits".
const PART_BYTES_MIN: u64 = 5 << 20;
/// The last part's number. Source: as above.
const PARTS_MAX: i32 = 10_000;

#[derive(Debug)]
struct Upload {
    bucket: String,
    key: String,
    acl: Option<String>,
    headers: Headers,
    parts: BTreeMap<i32, Part>,
}

/// A part, which stays where it was copied from until the upload is complete.
#[derive(Clone, Debug)]
struct Part {
    piece: Piece,
    md5: [u8; 16],
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

impl LocalS3 {
    /// The source of a copy, which the caller must be allowed to read.
    fn source(
        &self,
        caller: &Caller,
        source: &CopySource,
        owner: Option<&str>,
        conditions: Conditions<'_>,
    ) -> S3Result<Object> {
        let CopySource::Bucket { bucket, key, version_id } = source else {
            return Err(s3_error!(NotImplemented, "access points do not exist here"));
        };
        if let Some(owner) = owner {
            self.check_owner(bucket, owner)?;
        }
        let object = self.read(caller, (bucket, key), version_id.as_deref())?;
        conditions.check_copy(&object)?;
        Ok(object)
    }

    /// Makes an object of the pieces, and tells of it. Gives when it was made, and its version.
    async fn keep(
        &self,
        (bucket, key): (&str, &str),
        by: Event,
        pieces: &[Piece],
        (etag, headers): (String, Headers),
        over: &Overwrite,
    ) -> S3Result<(i64, Option<String>)> {
        let buckets = &self.cloud.buckets;
        let body = buckets.storage.join(bucket, key, pieces).await.map_err(unkept)?;
        let size = pieces.iter().map(Piece::len).sum();
        let now_ms = self.cloud.clock.now_ms();
        let object = Object { body, size, etag, version: None, modified_ms: now_ms, headers };
        let (version, messages) = buckets.put((bucket, key), by, object, over, now_ms)?;
        for (queue, body) in messages {
            self.cloud.sqs.deliver(&queue, body, now_ms);
        }
        Ok((now_ms, version))
    }

    pub(super) async fn copied(
        &self,
        caller: &Caller,
        input: CopyObjectInput,
        over: Overwrite,
    ) -> S3Result<CopyObjectOutput> {
        let acl = input.acl.as_ref().map(ObjectCannedACL::as_str);
        let to = Deed { bucket: &input.bucket, key: Some(&input.key), action: "s3:PutObject", acl };
        self.allowed(caller, to)?;
        let conditions = Conditions {
            tag: input.copy_source_if_match.as_ref(),
            other_tag: input.copy_source_if_none_match.as_ref(),
            changed_since: input.copy_source_if_modified_since.as_ref(),
            unchanged_since: input.copy_source_if_unmodified_since.as_ref(),
        };
        let owner = input.expected_source_bucket_owner.as_deref();
        let source = self.source(caller, &input.copy_source, owner, conditions)?;
        if source.size > SINGLE_BYTES_MAX {
            let text =
                "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120";
            return Err(s3_error!(InvalidRequest, "{}", text));
        }
        let replaced = match input.metadata_directive.as_ref().map(MetadataDirective::as_str) {
            None | Some(MetadataDirective::COPY) => false,
            Some(MetadataDirective::REPLACE) => true,
            Some(_) => return Err(s3_error!(InvalidArgument, "Unknown metadata directive.")),
        };
        let itself = matches!(&input.copy_source, CopySource::Bucket { bucket, key, version_id: None }
            if **bucket == *input.bucket && **key == *input.key);
        if itself && !replaced {
            let text = "This copy request is illegal because it is trying to copy an object to itself without changing the \
                object's metadata, storage class, website redirect location or encryption attributes.";
            return Err(s3_error!(InvalidRequest, "{text}"));
        }
        let headers = if replaced {
            let content_type = input.content_type.map(|it| it.to_string());
            Headers::new(content_type, input.content_encoding.map(|it| it.to_string()), input.metadata)?
        } else {
            source.headers
        };
        let piece = Piece { body: source.body, range: 0..source.size };
        let (made_ms, version_id) = self
            .keep((&input.bucket, &input.key), Event::Copy, &[piece], (source.etag.clone(), headers), &over)
            .await?;
        let result = CopyObjectResult {
            e_tag: Some(ETag::Strong(source.etag)),
            last_modified: Some(timestamp(made_ms)),
            ..CopyObjectResult::default()
        };
        Ok(CopyObjectOutput {
            copy_object_result: Some(result),
            copy_source_version_id: source.version,
            version_id,
            ..CopyObjectOutput::default()
        })
    }

    pub(super) fn upload_begun(
        &self,
        caller: &Caller,
        input: CreateMultipartUploadInput,
    ) -> S3Result<CreateMultipartUploadOutput> {
        let acl = input.acl.as_ref().map(ObjectCannedACL::as_str);
        let deed = Deed { bucket: &input.bucket, key: Some(&input.key), action: "s3:PutObject", acl };
        self.allowed(caller, deed)?;
        let content_type = input.content_type.map(|it| it.to_string());
        let headers = Headers::new(content_type, input.content_encoding.map(|it| it.to_string()), input.metadata)?;
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
            headers,
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

    /// The caller must be allowed the action on an open upload. Its calls are judged by the ACL that it was begun with:
    /// they name none.
    fn upload_allowed(&self, caller: &Caller, id: &str, (bucket, key): (&str, &str), action: &str) -> S3Result<()> {
        let acl = {
            let open = lock(&self.cloud.buckets.uploads.open);
            let upload = open.get(id).filter(|upload| upload.bucket == bucket && upload.key == key);
            upload.map(|upload| upload.acl.clone()).ok_or_else(|| s3_error!(NoSuchUpload))?
        };
        self.allowed(caller, Deed { bucket, key: Some(key), action, acl: acl.as_deref() })
    }

    pub(super) async fn part_copied(
        &self,
        caller: &Caller,
        input: &UploadPartCopyInput,
    ) -> S3Result<UploadPartCopyOutput> {
        self.upload_allowed(caller, &input.upload_id, (&input.bucket, &input.key), "s3:PutObject")?;
        if !(1..=PARTS_MAX).contains(&input.part_number) {
            return Err(s3_error!(InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive"));
        }
        let conditions = Conditions {
            tag: input.copy_source_if_match.as_ref(),
            other_tag: input.copy_source_if_none_match.as_ref(),
            changed_since: input.copy_source_if_modified_since.as_ref(),
            unchanged_since: input.copy_source_if_unmodified_since.as_ref(),
        };
        let owner = input.expected_source_bucket_owner.as_deref();
        let source = self.source(caller, &input.copy_source, owner, conditions)?;
        let range = match &input.copy_source_range {
            None => 0..source.size,
            Some(_) if source.size <= PART_BYTES_MIN => {
                return Err(s3_error!(InvalidRequest, "a range needs a source of more than 5 MiB"));
            }
            Some(range) => {
                let ends = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
                let range = ends.and_then(|(first, last)| {
                    Some(first.parse::<u64>().ok()?..last.parse::<u64>().ok()?.checked_add(1)?)
                });
                range
                    .filter(|range| !range.is_empty() && range.end <= source.size)
                    .ok_or_else(|| s3_error!(InvalidArgument, "The range specified is not valid for the source"))?
            }
        };
        let piece = Piece { body: source.body, range };
        if piece.len() > SINGLE_BYTES_MAX {
            return Err(s3_error!(EntityTooLarge));
        }
        let mut body = piece.read().await.map_err(unkept)?;
        let mut md5 = Md5::new();
        while let Some(frame) = body.frame().await {
            if let Ok(bytes) = frame.map_err(|_| s3_error!(InternalError))?.into_data() {
                md5.update(&bytes);
            }
        }
        let md5: [u8; 16] = md5.finalize().into();
        let mut open = lock(&self.cloud.buckets.uploads.open);
        let upload = open.get_mut(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        upload.parts.insert(input.part_number, Part { piece, md5 });
        let result = CopyPartResult {
            e_tag: Some(ETag::Strong(hex(&md5))),
            last_modified: Some(timestamp(self.cloud.clock.now_ms())),
            ..CopyPartResult::default()
        };
        Ok(UploadPartCopyOutput { copy_part_result: Some(result), ..UploadPartCopyOutput::default() })
    }

    pub(super) async fn upload_completed(
        &self,
        caller: &Caller,
        input: CompleteMultipartUploadInput,
        over: Overwrite,
    ) -> S3Result<CompleteMultipartUploadOutput> {
        self.upload_allowed(caller, &input.upload_id, (&input.bucket, &input.key), "s3:PutObject")?;
        let named = input.multipart_upload.and_then(|it| it.parts).unwrap_or_default();
        if named.is_empty() {
            return Err(s3_error!(MalformedXML));
        }
        let sums = |part: &CompletedPart| {
            part.checksum_crc32.is_some()
                || part.checksum_crc32c.is_some()
                || part.checksum_crc64nvme.is_some()
                || part.checksum_sha1.is_some()
                || part.checksum_sha256.is_some()
        };
        if named.iter().any(sums) {
            return Err(s3_error!(NotImplemented, "parts have no checksums here"));
        }
        let (mut pieces, mut tags, mut before) = (Vec::new(), Vec::new(), 0);
        let headers = {
            let open = lock(&self.cloud.buckets.uploads.open);
            let upload = open.get(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
            for (at, asked) in named.iter().enumerate() {
                let number = asked.part_number.unwrap_or_default();
                if number <= before {
                    return Err(s3_error!(InvalidPartOrder));
                }
                before = number;
                let tag = asked.e_tag.as_ref().map(ETag::value);
                let part = upload.parts.get(&number).filter(|part| tag == Some(hex(&part.md5).as_str()));
                let part = part.ok_or_else(|| s3_error!(InvalidPart))?;
                if part.piece.len() < PART_BYTES_MIN && at + 1 < named.len() {
                    return Err(s3_error!(EntityTooSmall));
                }
                pieces.push(part.piece.clone());
                tags.extend_from_slice(&part.md5);
            }
            upload.headers.clone()
        };
        let size: u64 = pieces.iter().map(Piece::len).sum();
        if let Some(wanted) = input.mpu_object_size.filter(|wanted| u64::try_from(*wanted) != Ok(size)) {
            return Err(s3_error!(
                InvalidRequest,
                "The provided 'x-amz-mp-object-size' header value {wanted} does not match what was computed: {size}"
            ));
        }
        let etag = format!("{}-{}", hex(&Md5::digest(&tags)), named.len());
        let to = (input.bucket.as_str(), input.key.as_str());
        let kept = self.keep(to, Event::CompleteMultipartUpload, &pieces, (etag.clone(), headers), &over);
        let (_, version_id) = kept.await?;
        // Only now: what fails leaves the upload open, to be completed again.
        lock(&self.cloud.buckets.uploads.open).remove(&input.upload_id);
        Ok(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(etag)),
            version_id,
            ..CompleteMultipartUploadOutput::default()
        })
    }

    pub(super) fn upload_aborted(
        &self,
        caller: &Caller,
        input: &AbortMultipartUploadInput,
    ) -> S3Result<AbortMultipartUploadOutput> {
        let (id, to) = (&input.upload_id, (input.bucket.as_str(), input.key.as_str()));
        self.upload_allowed(caller, id, to, "s3:AbortMultipartUpload")?;
        lock(&self.cloud.buckets.uploads.open).remove(id);
        Ok(AbortMultipartUploadOutput::default())
    }
}

#[cfg(test)]
mod tests {
    use s3s::dto::{CompletedMultipartUpload, ETagCondition, ObjectCannedACL};

    use super::*;
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
        let cloud = Cloud::start("127.0.0.1:0".parse().unwrap(), "us-east-1").await.unwrap();
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
        World { s3: LocalS3 { cloud: std::sync::Arc::clone(&cloud.inner) }, cloud, writer }
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

    async fn complete(world: &World, id: &str, parts: &[(i32, &ETag)]) -> String {
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
        code(world.s3.upload_completed(&world.writer, builder.build().unwrap(), Overwrite::Always).await)
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
        let completion = || {
            let named = CompletedPart { part_number: Some(1), e_tag: Some(only.clone()), ..CompletedPart::default() };
            let mut builder = CompleteMultipartUploadInput::builder();
            builder.set_bucket("target".to_owned());
            builder.set_key("logs/f".to_owned());
            builder.set_upload_id(id.clone());
            builder.set_multipart_upload(Some(CompletedMultipartUpload { parts: Some(vec![named]) }));
            builder
        };
        let mut sized = completion();
        sized.set_mpu_object_size(Some(11));
        for (input, over, expected) in [
            (completion(), Overwrite::Absent, "PreconditionFailed"),
            (sized, Overwrite::Always, "InvalidRequest"),
            (completion(), tag(&there), ""),
        ] {
            assert_eq!(world.cloud.open_uploads(), 1);
            assert_eq!(code(world.s3.upload_completed(&world.writer, input.build().unwrap(), over).await), expected);
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
}
