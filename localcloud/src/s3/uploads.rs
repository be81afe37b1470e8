//! S3's copies: by one call, and in parts.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use http_body_util::BodyExt;
use md5::{Digest, Md5};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput,
    CompletedPart, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult, CopySource,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, ETag, MetadataDirective, ObjectCannedACL,
    UploadPartCopyInput, UploadPartCopyOutput,
};
use s3s::{S3Result, s3_error};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use super::buckets::{Deed, Event, Headers, Object};
use super::conditions::{Conditions, Overwrite};
use super::{LocalS3, timestamp, unkept};
use crate::api::{Caller, hex, lock};
use crate::store::Piece;

/// Bytes of the longest object that one CopyObject copies. Source: S3 API Reference, "CopyObject".
const SINGLE_BYTES_MAX: u64 = 5 << 30;
/// Bytes of every part but the last. Source: S3 User Guide, "Amazon S3 multipart upload limits".
pub(super) const PART_BYTES_MIN: u64 = 5 << 20;
/// The last part's number. Source: as above.
const PARTS_MAX: i32 = 10_000;

#[derive(Debug)]
struct Upload {
    bucket: String,
    key: String,
    acl: Option<String>,
    headers: Headers,
    parts: BTreeMap<i32, Part>,
    /// Held by the call that ends it. What ends it else waits, and finds it gone or, if that call failed, still there.
    ending: Arc<Turn<()>>,
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
            ending: Arc::default(),
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

    /// Waits for the turn to end an upload, which may be gone by then.
    async fn turn(&self, id: &str) -> S3Result<OwnedMutexGuard<()>> {
        let ending = lock(&self.cloud.buckets.uploads.open).get(id).map(|upload| Arc::clone(&upload.ending));
        Ok(ending.ok_or_else(|| s3_error!(NoSuchUpload))?.lock_owned().await)
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
        let _turn = self.turn(&input.upload_id).await?;
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

    pub(super) async fn upload_aborted(
        &self,
        caller: &Caller,
        input: &AbortMultipartUploadInput,
    ) -> S3Result<AbortMultipartUploadOutput> {
        let (id, to) = (&input.upload_id, (input.bucket.as_str(), input.key.as_str()));
        self.upload_allowed(caller, id, to, "s3:AbortMultipartUpload")?;
        let _turn = self.turn(id).await?;
        lock(&self.cloud.buckets.uploads.open).remove(id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        Ok(AbortMultipartUploadOutput::default())
    }
}
