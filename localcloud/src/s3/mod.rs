//! S3 by `s3s`, which speaks the protocol and checks the signatures; here is what each operation does.

mod access;
mod buckets;
mod checks;
mod conditions;
pub(crate) mod gate;
mod served;
#[cfg(test)]
mod tests;
mod uploads;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use http_body_util::BodyExt;
use hyper::HeaderMap;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, BucketLocationConstraint, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput, CreateBucketInput, CreateBucketOutput,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, ETag, EncodingType, GetObjectInput, GetObjectOutput,
    HeadObjectInput, HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output, Object as Listed, ObjectCannedACL,
    PutObjectInput, PutObjectOutput, StreamingBlob, Timestamp, UploadPartCopyInput, UploadPartCopyOutput,
};
use s3s::{Body, S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

pub use self::buckets::{BucketGrant, Notify};
pub(crate) use self::buckets::{Buckets, is_bucket_name};

use self::buckets::{Deed, Event, Headers, Object, form_encoded};
use self::checks::Checks;
use self::conditions::{Conditions, Overwrite};
use crate::Inner;
use crate::api::{Caller, lock};
use crate::store::Piece;

/// Objects of one page of a listing. Source: S3 API Reference, "ListObjectsV2".
const LIST_MAX: usize = 1000;

/// The S3 side of the cloud.
#[derive(Clone, Debug)]
pub(crate) struct LocalS3 {
    pub(crate) cloud: Arc<Inner>,
}

impl LocalS3 {
    /// The caller of a request.
    fn caller<'r, T>(&self, request: &'r S3Request<T>) -> S3Result<&'r Caller> {
        request.extensions.get().ok_or_else(|| s3_error!(AccessDenied, "Access Denied"))
    }

    /// The caller's own policies must allow what it does, and the bucket must be of its account or let it in.
    pub(crate) fn allowed(&self, caller: &Caller, deed: Deed<'_>) -> S3Result<()> {
        let buckets = lock(&self.cloud.buckets.buckets);
        let bucket = buckets.get(deed.bucket).ok_or_else(|| s3_error!(NoSuchBucket))?;
        let resource = deed.key.map_or_else(|| deed.bucket.to_owned(), |key| format!("{}/{key}", deed.bucket));
        let own = self.cloud.accounts.allows(caller, deed.action, &format!("arn:aws:s3:::{resource}"));
        let let_in = || bucket.grants.iter().any(|grant| grant.allows(caller, deed));
        if own && (bucket.account == caller.account || let_in()) {
            Ok(())
        } else {
            Err(s3_error!(AccessDenied, "Access Denied"))
        }
    }

    /// As above, for a request that gives no ACL.
    fn owner<T>(&self, request: &S3Request<T>, bucket: &str, key: Option<&str>, action: &str) -> S3Result<()> {
        self.allowed(self.caller(request)?, Deed { bucket, key, action, acl: None })
    }

    /// What the caller reads, which must be allowed. Only who may list the bucket learns that something is missing. Source:
    /// S3 API Reference, "GetObject".
    fn read(&self, caller: &Caller, (bucket, key): (&str, &str), version: Option<&str>) -> S3Result<Object> {
        let action = if version.is_some() { "s3:GetObjectVersion" } else { "s3:GetObject" };
        self.allowed(caller, Deed { bucket, key: Some(key), action, acl: None })?;
        self.object(bucket, key, version).map_err(|error| {
            if !matches!(error.code(), S3ErrorCode::NoSuchKey | S3ErrorCode::NoSuchVersion) {
                return error;
            }
            let listing = Deed { bucket, key: None, action: "s3:ListBucket", acl: None };
            self.allowed(caller, listing).err().unwrap_or(error)
        })
    }

    /// Who replaces an object only if it is a certain one must be allowed to read it. Source: S3 User Guide, "How to
    /// prevent object overwrites with conditional writes".
    fn overwrite_allowed(&self, caller: &Caller, sent: &HeaderMap, (bucket, key): (&str, &str)) -> S3Result<()> {
        if sent.contains_key("if-match") {
            self.allowed(caller, Deed { bucket, key: Some(key), action: "s3:GetObject", acl: None })?;
        }
        Ok(())
    }

    pub(crate) fn object(&self, bucket: &str, key: &str, version: Option<&str>) -> S3Result<Object> {
        let buckets = lock(&self.cloud.buckets.buckets);
        let bucket = buckets.get(bucket).ok_or_else(|| s3_error!(NoSuchBucket))?;
        let missing = || s3_error!(NoSuchKey, "The specified key does not exist.");
        match (version, &bucket.versions) {
            (None, _) | (Some("null"), None) => bucket.objects.get(key).cloned().ok_or_else(missing),
            (Some(_), None) => Err(s3_error!(InvalidArgument, "Invalid version id specified")),
            (Some(version), Some(versions)) => {
                let object = versions.get(&(key.to_owned(), version.to_owned())).cloned();
                object.ok_or_else(|| s3_error!(NoSuchVersion, "The specified version does not exist."))
            }
        }
    }
}

/// Where a bucket is to be, if the call says so: here. Source: S3 API Reference, "CreateBucket".
fn check_place(place: Option<&str>, region: &str) -> S3Result<()> {
    match place {
        None => Ok(()),
        // It is S3's own default, and cannot be asked for.
        Some("us-east-1") if region == "us-east-1" => {
            Err(s3_error!(InvalidLocationConstraint, "The specified location-constraint is not valid"))
        }
        Some(place) if place == region => Ok(()),
        Some(place) => Err(s3_error!(
            IllegalLocationConstraintException,
            "The {place} location constraint is incompatible for the region specific endpoint this request was sent to."
        )),
    }
}

/// A condition or choice that is passed over would answer wrongly.
fn unserved(given: bool) -> S3Result<()> {
    if given { Err(s3_error!(NotImplemented, "A header you provided is not served here")) } else { Ok(()) }
}

/// What went wrong on the disk.
pub(crate) fn unkept(error: std::io::Error) -> S3Error {
    S3Error::internal_error(error)
}

pub(crate) fn timestamp(ms: i64) -> Timestamp {
    // S3 gives whole seconds.
    Timestamp::from(UNIX_EPOCH + Duration::from_secs(u64::try_from(ms / 1000).unwrap_or(0)))
}

fn length(bytes: u64) -> Option<i64> {
    i64::try_from(bytes).ok()
}

#[async_trait::async_trait]
impl S3 for LocalS3 {
    async fn create_bucket(&self, request: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        let caller = self.caller(&request)?;
        let name = &request.input.bucket;
        if !is_bucket_name(name) {
            return Err(s3_error!(InvalidBucketName, "The specified bucket is not valid."));
        }
        let place = request.input.create_bucket_configuration.as_ref().and_then(|it| it.location_constraint.as_ref());
        check_place(place.map(BucketLocationConstraint::as_str), &self.cloud.region)?;
        if !self.cloud.accounts.allows(caller, "s3:CreateBucket", &format!("arn:aws:s3:::{name}")) {
            return Err(s3_error!(AccessDenied, "Access Denied"));
        }
        if self.cloud.buckets.create(&caller.account, &self.cloud.region, name) != caller.account {
            return Err(s3_error!(BucketAlreadyExists, "The requested bucket name is not available."));
        }
        Ok(S3Response::new(CreateBucketOutput::default()))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = &request.input;
        let acl = input.acl.as_ref().map(ObjectCannedACL::as_str);
        let deed = Deed { bucket: &input.bucket, key: Some(&input.key), action: "s3:PutObject", acl };
        self.allowed(self.caller(&request)?, deed)?;
        self.overwrite_allowed(self.caller(&request)?, &request.headers, (&input.bucket, &input.key))?;
        let S3Request { input, headers: sent, trailing_headers, .. } = request;
        let over = Overwrite::of(&sent)?;
        let content_type = input.content_type.map(|it| it.to_string());
        let headers = Headers::new(content_type, input.content_encoding.map(|it| it.to_string()), input.metadata)?;
        let announced = input.content_length.and_then(|it| usize::try_from(it).ok()).unwrap_or(0);
        let begun = self.cloud.buckets.storage.begin(&input.bucket, &input.key, announced).await;
        let (mut incoming, mut size) = (begun.map_err(unkept)?, 0);
        let mut checks = Checks::of(&sent);
        let mut body = input.body.map_or_else(Body::empty, Body::from);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| s3_error!(IncompleteBody))?;
            let Ok(bytes) = frame.into_data() else { continue };
            checks.update(&bytes);
            size += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            incoming.write(&bytes).await.map_err(unkept)?;
        }
        let trailer = trailing_headers.and_then(|it| it.take());
        let etag = checks.end(&sent, trailer.as_ref())?;
        let now_ms = self.cloud.clock.now_ms();
        let object = Object {
            body: incoming.end().await.map_err(unkept)?,
            size,
            etag: etag.clone(),
            version: None,
            modified_ms: now_ms,
            headers,
        };
        let to = (input.bucket.as_str(), input.key.as_str());
        let (version_id, messages) = self.cloud.buckets.put(to, Event::Put, object, &over, now_ms)?;
        for (queue, body) in messages {
            self.cloud.sqs.deliver(&queue, body, now_ms);
        }
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(ETag::Strong(etag)),
            version_id,
            ..PutObjectOutput::default()
        }))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = &request.input;
        let object = self.read(self.caller(&request)?, (&input.bucket, &input.key), input.version_id.as_deref())?;
        let conditions = Conditions {
            tag: input.if_match.as_ref(),
            other_tag: input.if_none_match.as_ref(),
            changed_since: input.if_modified_since.as_ref(),
            unchanged_since: input.if_unmodified_since.as_ref(),
        };
        conditions.check_read(&object)?;
        let total = object.size;
        let (range, content_range) = match &input.range {
            None => (0..total, None),
            Some(range) => {
                // Of an empty object there are no last bytes either.
                let range = range.check(total).ok().filter(|range| !range.is_empty());
                let range = range.ok_or_else(|| s3_error!(InvalidRange, "The requested range is not satisfiable"))?;
                let told = format!("bytes {}-{}/{total}", range.start, range.end.saturating_sub(1));
                (range, Some(told))
            }
        };
        let piece = Piece { body: object.body, range };
        let body = piece.read().await.map_err(unkept)?;
        self.cloud.given.fetch_add(piece.len(), Ordering::Relaxed);
        Ok(S3Response::new(GetObjectOutput {
            content_length: length(piece.len()),
            body: Some(StreamingBlob::from(body)),
            content_range,
            accept_ranges: Some("bytes".to_owned()),
            e_tag: Some(ETag::Strong(object.etag)),
            version_id: object.version,
            last_modified: Some(timestamp(object.modified_ms)),
            content_encoding: object.headers.content_encoding,
            content_type: object.headers.content_type.and_then(|it| it.parse().ok()),
            metadata: Some(object.headers.metadata.into_iter().collect()),
            ..GetObjectOutput::default()
        }))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = &request.input;
        let object = self.read(self.caller(&request)?, (&input.bucket, &input.key), input.version_id.as_deref())?;
        unserved(input.range.is_some())?;
        let conditions = Conditions {
            tag: input.if_match.as_ref(),
            other_tag: input.if_none_match.as_ref(),
            changed_since: input.if_modified_since.as_ref(),
            unchanged_since: input.if_unmodified_since.as_ref(),
        };
        conditions.check_read(&object)?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: length(object.size),
            accept_ranges: Some("bytes".to_owned()),
            e_tag: Some(ETag::Strong(object.etag)),
            version_id: object.version,
            last_modified: Some(timestamp(object.modified_ms)),
            content_encoding: object.headers.content_encoding,
            content_type: object.headers.content_type.and_then(|it| it.parse().ok()),
            metadata: Some(object.headers.metadata.into_iter().collect()),
            ..HeadObjectOutput::default()
        }))
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let caller = self.caller(&request)?.clone();
        let over = Overwrite::of(&request.headers)?;
        let to = (request.input.bucket.as_str(), request.input.key.as_str());
        self.overwrite_allowed(&caller, &request.headers, to)?;
        self.copied(&caller, request.input, over).await.map(S3Response::new)
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let caller = self.caller(&request)?.clone();
        self.upload_begun(&caller, request.input).map(S3Response::new)
    }

    async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let caller = self.caller(&request)?.clone();
        self.part_copied(&caller, &request.input).await.map(S3Response::new)
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let caller = self.caller(&request)?.clone();
        let over = Overwrite::of(&request.headers)?;
        let to = (request.input.bucket.as_str(), request.input.key.as_str());
        self.overwrite_allowed(&caller, &request.headers, to)?;
        // A task of its own: S3 goes on when the client has left.
        let (s3, input) = (self.clone(), request.input);
        let completing =
            self.cloud.tasks.spawn(async move { s3.upload_completed(&caller, input, over).await.map(S3Response::new) });
        completing.await.map_err(S3Error::internal_error)?
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let caller = self.caller(&request)?.clone();
        self.upload_aborted(&caller, &request.input).await.map(S3Response::new)
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.owner(&request, &request.input.bucket, None, "s3:ListBucket")?;
        let input = request.input;
        unserved(input.delimiter.is_some() || input.fetch_owner == Some(true))?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let after = input.continuation_token.clone().or_else(|| input.start_after.clone()).unwrap_or_default();
        let most = input.max_keys.map_or(Ok(LIST_MAX), usize::try_from);
        let most = most.map_err(|_| s3_error!(InvalidArgument, "Argument max-keys must be an integer of 0 or more"))?;
        let most = most.min(LIST_MAX);
        let url = input.encoding_type.as_ref().is_some_and(|it| it.as_str() == EncodingType::URL);
        let shown = |text: &str| if url { form_encoded(text) } else { text.to_owned() };
        let buckets = lock(&self.cloud.buckets.buckets);
        let Some(bucket) = buckets.get(&*input.bucket) else { return Err(s3_error!(NoSuchBucket)) };
        let mut found = bucket.objects.iter().filter(|(key, _)| key.starts_with(&prefix) && **key > after);
        let mut last = None;
        let contents: Vec<Listed> = found
            .by_ref()
            .take(most)
            .inspect(|(key, _)| last = Some((*key).clone()))
            .map(|(key, object)| Listed {
                key: Some(shown(key)),
                size: length(object.size),
                e_tag: Some(ETag::Strong(object.etag.clone())),
                last_modified: Some(timestamp(object.modified_ms)),
                ..Listed::default()
            })
            .collect();
        // Who asks for none gets all of it.
        let truncated = most > 0 && found.next().is_some();
        Ok(S3Response::new(ListObjectsV2Output {
            key_count: i32::try_from(contents.len()).ok(),
            contents: Some(contents),
            is_truncated: Some(truncated),
            next_continuation_token: last.filter(|_| truncated),
            prefix: Some(shown(&prefix)),
            start_after: input.start_after.as_deref().map(shown),
            continuation_token: input.continuation_token,
            max_keys: i32::try_from(most).ok(),
            encoding_type: input.encoding_type,
            name: Some(input.bucket),
            ..ListObjectsV2Output::default()
        }))
    }
}
