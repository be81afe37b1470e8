//! S3 by `s3s`, which speaks the protocol and checks the signatures; here are the objects and their notifications.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::HeaderMap;
use md5::{Digest, Md5};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
use s3s::dto::{
    CreateBucketInput, CreateBucketOutput, ETag, ETagCondition, GetObjectInput, GetObjectOutput, HeadObjectInput,
    HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output, Object as Listed, PutObjectInput, PutObjectOutput,
    StreamingBlob, Timestamp,
};
use s3s::{Body, S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use serde_json::json;

use crate::Inner;
use crate::accounts::KeyError;
use crate::api::{Caller, hex, lock};
use crate::clock::iso;
use crate::store::{Storage, Stored};

/// Objects of one page of a listing. Source: S3 API Reference, "ListObjectsV2".
const LIST_MAX: usize = 1000;
/// What S3 leaves as it is in the keys of its notifications.
const KEY_SAFE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b'/');

#[derive(Clone, Debug)]
struct Object {
    body: Stored,
    size: u64,
    etag: String,
    version: Option<String>,
    modified_ms: i64,
    content_type: Option<String>,
    content_encoding: Option<String>,
}

/// Where a bucket's notifications go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notify {
    /// To a queue, in SNS's envelope.
    Wrapped(String),
    /// To a queue as they are: from S3 itself, or by SNS with raw delivery.
    Raw(String),
}

#[derive(Debug, Default)]
struct Bucket {
    account: String,
    region: String,
    notify: Vec<Notify>,
    objects: BTreeMap<String, Object>,
    /// In a bucket with versions: every object by key and version.
    versions: Option<HashMap<(String, String), Object>>,
}

/// All buckets.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    buckets: Mutex<HashMap<String, Bucket>>,
    sequence: Mutex<u64>,
    storage: Storage,
}

impl Buckets {
    pub(crate) fn new(storage: Storage) -> Self {
        Self { storage, ..Self::default() }
    }

    /// Makes a bucket; one that exists stays as it is. Gives its owner.
    pub(crate) fn create(&self, account: &str, region: &str, name: &str) -> String {
        let mut buckets = lock(&self.buckets);
        let bucket = buckets.entry(name.to_owned()).or_insert_with(|| Bucket {
            account: account.to_owned(),
            region: region.to_owned(),
            ..Bucket::default()
        });
        bucket.account.clone()
    }

    /// From now on each object of a bucket is a version of its key.
    pub(crate) fn version(&self, name: &str) {
        if let Some(bucket) = lock(&self.buckets).get_mut(name) {
            bucket.versions.get_or_insert_default();
        }
    }

    pub(crate) fn notify(&self, name: &str, to: Notify) {
        if let Some(bucket) = lock(&self.buckets).get_mut(name) {
            bucket.notify.push(to);
        }
    }

    /// Keeps bytes as an object. Gives the messages that tell of it: queue and body.
    pub(crate) fn put_bytes(&self, name: &str, key: &str, bytes: Bytes, now_ms: i64) -> Vec<(String, String)> {
        let object = Object {
            etag: hex(&Md5::digest(&bytes)),
            size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            body: self.storage.keep(name, key, bytes),
            version: None,
            modified_ms: now_ms,
            content_type: None,
            content_encoding: None,
        };
        self.put(name, key, object, now_ms).map(|(_, messages)| messages).unwrap_or_default()
    }

    /// Keeps an object. Gives its version, and the messages that tell of it: queue and body.
    fn put(&self, name: &str, key: &str, mut object: Object, now_ms: i64) -> Option<Put> {
        let sequencer = {
            let mut sequence = lock(&self.sequence);
            *sequence += 1;
            format!("{:016X}", *sequence)
        };
        let mut buckets = lock(&self.buckets);
        let Some(bucket) = buckets.get_mut(name) else {
            object.body.forget();
            return None;
        };
        object.version = bucket.versions.is_some().then(|| format!("v{sequencer}"));
        let mut told = json!({
            "key": utf8_percent_encode(key, KEY_SAFE).to_string().replace("%20", "+"),
            "size": object.size, "eTag": object.etag, "sequencer": sequencer,
        });
        if let Some(version) = &object.version {
            told["versionId"] = json!(version);
        }
        let event = json!({ "Records": [{
            "eventVersion": "2.5", "eventSource": "aws:s3", "awsRegion": bucket.region, "eventTime": iso(now_ms),
            "eventName": "ObjectCreated:Put", "userIdentity": { "principalId": "AWS:LOCAL" },
            "requestParameters": { "sourceIPAddress": "127.0.0.1" },
            "responseElements": { "x-amz-request-id": "LOCAL", "x-amz-id-2": "LOCAL" },
            "s3": {
                "s3SchemaVersion": "1.0", "configurationId": "objects",
                "bucket": { "name": name, "ownerIdentity": { "principalId": "LOCAL" }, "arn": format!("arn:aws:s3:::{name}") },
                "object": told,
            },
        }]});
        let version = object.version.clone();
        if let (Some(versions), Some(version)) = (&mut bucket.versions, &version) {
            versions.insert((key.to_owned(), version.clone()), object.clone());
        }
        let replaced = bucket.objects.insert(key.to_owned(), object);
        if let Some(replaced) = replaced.filter(|it| it.version.is_none()) {
            replaced.body.forget();
        }
        let message = |to: &Notify| match to {
            Notify::Raw(queue) => (queue.clone(), event.to_string()),
            Notify::Wrapped(queue) => {
                let topic = format!("arn:aws:sns:{}:{}:objects", bucket.region, bucket.account);
                let wrapped = json!({
                    "Type": "Notification", "MessageId": format!("00000000-0000-4000-8000-{sequencer:.12}"),
                    "TopicArn": topic, "Subject": "Amazon S3 Notification", "Message": event.to_string(),
                    "Timestamp": iso(now_ms), "SignatureVersion": "1", "Signature": "LOCAL",
                    "SigningCertURL": "http://127.0.0.1/cert.pem", "UnsubscribeURL": "http://127.0.0.1/unsubscribe",
                });
                (queue.clone(), wrapped.to_string())
            }
        };
        let messages = bucket.notify.iter().map(message).collect();
        Some((version, messages))
    }
}

/// An object's version, and messages: queue and body.
type Put = (Option<String>, Vec<(String, String)>);

/// The S3 side of the cloud.
#[derive(Clone, Debug)]
pub(crate) struct LocalS3 {
    pub(crate) cloud: Arc<Inner>,
}

impl LocalS3 {
    /// The caller of a request, whose credentials must be for the cloud's region.
    fn caller<'r, T>(&self, request: &'r S3Request<T>) -> S3Result<&'r Caller> {
        let region = request.region.as_ref().map(AsRef::as_ref);
        if region.is_some_and(|region: &str| region != self.cloud.region) {
            let text = format!(
                "The authorization header is malformed; the region is wrong; expecting '{}'",
                self.cloud.region
            );
            return Err(S3Error::with_message(S3ErrorCode::AuthorizationHeaderMalformed, text));
        }
        request.extensions.get().ok_or_else(|| s3_error!(AccessDenied, "Access Denied"))
    }

    /// The caller must own the bucket and be allowed the action on it, or on an object of it.
    fn owner<T>(&self, request: &S3Request<T>, bucket: &str, key: Option<&str>, action: &str) -> S3Result<()> {
        let caller = self.caller(request)?;
        let buckets = lock(&self.cloud.buckets.buckets);
        let owner = buckets.get(bucket).map(|bucket| bucket.account.as_str()).ok_or_else(|| s3_error!(NoSuchBucket))?;
        let resource = key.map_or_else(|| bucket.to_owned(), |key| format!("{bucket}/{key}"));
        let allowed = self.cloud.accounts.allows(caller, action, &format!("arn:aws:s3:::{resource}"));
        if owner == caller.account && allowed { Ok(()) } else { Err(s3_error!(AccessDenied, "Access Denied")) }
    }

    fn object(&self, bucket: &str, key: &str, version: Option<&str>) -> S3Result<Object> {
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

/// A condition or choice that is passed over would answer wrongly.
fn unserved(given: bool) -> S3Result<()> {
    if given { Err(s3_error!(NotImplemented, "A header you provided is not served here")) } else { Ok(()) }
}

/// What a body must hash to, by the headers that came before or behind it.
struct Checks {
    hasher: ChecksumHasher,
    md5: Md5,
}

impl Checks {
    /// The hashes that the headers ask for; those of a trailer are announced.
    fn of(headers: &HeaderMap) -> Self {
        let trailer = headers.get("x-amz-trailer").and_then(|it| it.to_str().ok()).unwrap_or_default();
        let asked = |name: &str| headers.contains_key(name) || trailer.split(',').any(|it| it.trim() == name);
        let hasher = ChecksumHasher {
            crc32: asked("x-amz-checksum-crc32").then(Crc32::new),
            crc32c: asked("x-amz-checksum-crc32c").then(Crc32c::new),
            sha1: asked("x-amz-checksum-sha1").then(Sha1::new),
            sha256: asked("x-amz-checksum-sha256").then(Sha256::new),
            crc64nvme: asked("x-amz-checksum-crc64nvme").then(Crc64Nvme::new),
        };
        Self { hasher, md5: Md5::default() }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.md5.update(bytes);
    }

    /// The entity tag, if all is as the headers say.
    fn end(self, headers: &HeaderMap, trailer: Option<&HeaderMap>) -> S3Result<String> {
        let md5 = self.md5.finalize();
        let sums = self.hasher.finalize();
        let found = [
            ("content-md5", Some(base64_simd::STANDARD.encode_to_string(md5))),
            ("x-amz-checksum-crc32", sums.checksum_crc32),
            ("x-amz-checksum-crc32c", sums.checksum_crc32c),
            ("x-amz-checksum-sha1", sums.checksum_sha1),
            ("x-amz-checksum-sha256", sums.checksum_sha256),
            ("x-amz-checksum-crc64nvme", sums.checksum_crc64nvme),
        ];
        for (name, sum) in found {
            let wanted = headers.get(name).or_else(|| trailer.and_then(|trailer| trailer.get(name)));
            if wanted.is_some_and(|wanted| Some(wanted.as_bytes()) != sum.as_ref().map(String::as_bytes)) {
                let text = format!("The {name} you specified did not match the calculated checksum.");
                return Err(S3Error::with_message(S3ErrorCode::BadDigest, text));
            }
        }
        Ok(hex(&md5))
    }
}

/// What went wrong on the disk.
fn unkept(error: std::io::Error) -> S3Error {
    S3Error::internal_error(error)
}

fn timestamp(ms: i64) -> Timestamp {
    // S3 gives whole seconds.
    Timestamp::from(UNIX_EPOCH + Duration::from_secs(u64::try_from(ms / 1000).unwrap_or(0)))
}

fn length(bytes: u64) -> Option<i64> {
    i64::try_from(bytes).ok()
}

#[async_trait::async_trait]
impl S3Auth for LocalS3 {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        self.cloud.accounts.secret(access_key).map(SecretKey::from).ok_or_else(|| s3_error!(InvalidAccessKeyId))
    }
}

#[async_trait::async_trait]
impl S3Access for LocalS3 {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let token = context.headers().get("x-amz-security-token").and_then(|it| it.to_str().ok()).map(str::to_owned);
        let id = context
            .credentials()
            .map(|it| it.access_key.clone())
            .ok_or_else(|| s3_error!(AccessDenied, "Access Denied"))?;
        let operation = context.s3_op().name().to_owned();
        match self.cloud.accounts.caller(&id, token.as_deref(), self.cloud.clock.now_ms()) {
            Ok(caller) => {
                self.cloud.count("s3", &operation, &caller.account);
                context.extensions_mut().insert(caller);
                Ok(())
            }
            Err(KeyError::Expired) => Err(s3_error!(ExpiredToken, "The provided token has expired.")),
            Err(KeyError::Token) if token.is_some() => Err(s3_error!(InvalidToken)),
            // A session's key without its token is nobody's.
            Err(KeyError::Token | KeyError::Unknown) => Err(s3_error!(InvalidAccessKeyId)),
        }
    }
}

#[async_trait::async_trait]
impl S3 for LocalS3 {
    async fn create_bucket(&self, request: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        let caller = self.caller(&request)?;
        let name = &request.input.bucket;
        if !self.cloud.accounts.allows(caller, "s3:CreateBucket", &format!("arn:aws:s3:::{name}")) {
            return Err(s3_error!(AccessDenied, "Access Denied"));
        }
        if self.cloud.buckets.create(&caller.account, &self.cloud.region, name) != caller.account {
            return Err(s3_error!(BucketAlreadyExists, "The requested bucket name is not available."));
        }
        Ok(S3Response::new(CreateBucketOutput::default()))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        self.owner(&request, &request.input.bucket, Some(&request.input.key), "s3:PutObject")?;
        let S3Request { input, headers, trailing_headers, .. } = request;
        unserved(input.if_match.is_some() || input.if_none_match.is_some())?;
        let announced = input.content_length.and_then(|it| usize::try_from(it).ok()).unwrap_or(0);
        let begun = self.cloud.buckets.storage.begin(&input.bucket, &input.key, announced).await;
        let (mut incoming, mut size) = (begun.map_err(unkept)?, 0);
        let mut checks = Checks::of(&headers);
        let mut body = input.body.map_or_else(Body::empty, Body::from);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| s3_error!(IncompleteBody))?;
            let Ok(bytes) = frame.into_data() else { continue };
            checks.update(&bytes);
            size += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            incoming.write(&bytes).await.map_err(unkept)?;
        }
        let trailer = trailing_headers.and_then(|it| it.take());
        let etag = checks.end(&headers, trailer.as_ref())?;
        let now_ms = self.cloud.clock.now_ms();
        let object = Object {
            body: incoming.end().await.map_err(unkept)?,
            size,
            etag: etag.clone(),
            version: None,
            modified_ms: now_ms,
            content_type: input.content_type.map(|it| it.to_string()),
            content_encoding: input.content_encoding.map(|it| it.to_string()),
        };
        let put = self.cloud.buckets.put(&input.bucket, &input.key, object, now_ms);
        let (version_id, messages) = put.ok_or_else(|| s3_error!(NoSuchBucket))?;
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
        let action = if input.version_id.is_some() { "s3:GetObjectVersion" } else { "s3:GetObject" };
        self.owner(&request, &input.bucket, Some(&input.key), action)?;
        let input = request.input;
        unserved(
            input.part_number.is_some()
                || input.if_none_match.is_some()
                || input.if_modified_since.is_some()
                || input.if_unmodified_since.is_some(),
        )?;
        let object = self.object(&input.bucket, &input.key, input.version_id.as_deref())?;
        if let Some(ETagCondition::ETag(wanted)) = &input.if_match
            && wanted.value() != object.etag
        {
            return Err(s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold"));
        }
        let total = object.size;
        let (range, content_range) = match &input.range {
            None => (0..total, None),
            Some(range) => {
                let range = range
                    .check(total)
                    .map_err(|_| s3_error!(InvalidRange, "The requested range is not satisfiable"))?;
                let told = format!("bytes {}-{}/{total}", range.start, range.end.saturating_sub(1));
                (range, Some(told))
            }
        };
        let body = object.body.read(range.start, range.end).await.map_err(unkept)?;
        Ok(S3Response::new(GetObjectOutput {
            content_length: length(range.end - range.start),
            body: Some(StreamingBlob::from(body)),
            content_range,
            accept_ranges: Some("bytes".to_owned()),
            e_tag: Some(ETag::Strong(object.etag)),
            version_id: object.version,
            last_modified: Some(timestamp(object.modified_ms)),
            content_encoding: object.content_encoding,
            content_type: object.content_type.and_then(|it| it.parse().ok()),
            ..GetObjectOutput::default()
        }))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = &request.input;
        self.owner(&request, &input.bucket, Some(&input.key), "s3:GetObject")?;
        unserved(input.range.is_some() || input.if_match.is_some() || input.if_none_match.is_some())?;
        let object = self.object(&input.bucket, &input.key, input.version_id.as_deref())?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: length(object.size),
            accept_ranges: Some("bytes".to_owned()),
            e_tag: Some(ETag::Strong(object.etag)),
            version_id: object.version,
            last_modified: Some(timestamp(object.modified_ms)),
            content_encoding: object.content_encoding,
            content_type: object.content_type.and_then(|it| it.parse().ok()),
            ..HeadObjectOutput::default()
        }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.owner(&request, &request.input.bucket, None, "s3:ListBucket")?;
        let input = request.input;
        unserved(input.delimiter.is_some())?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let after = input.continuation_token.clone().or_else(|| input.start_after.clone()).unwrap_or_default();
        let most = usize::try_from(input.max_keys.unwrap_or(1000)).unwrap_or(LIST_MAX).min(LIST_MAX);
        let buckets = lock(&self.cloud.buckets.buckets);
        let Some(bucket) = buckets.get(&*input.bucket) else { return Err(s3_error!(NoSuchBucket)) };
        let mut found = bucket.objects.iter().filter(|(key, _)| key.starts_with(&prefix) && **key > after);
        let contents: Vec<Listed> = found
            .by_ref()
            .take(most)
            .map(|(key, object)| Listed {
                key: Some(key.clone()),
                size: length(object.size),
                e_tag: Some(ETag::Strong(object.etag.clone())),
                last_modified: Some(timestamp(object.modified_ms)),
                ..Listed::default()
            })
            .collect();
        let truncated = found.next().is_some();
        let last = contents.last().and_then(|object| object.key.clone());
        Ok(S3Response::new(ListObjectsV2Output {
            key_count: i32::try_from(contents.len()).ok(),
            contents: Some(contents),
            is_truncated: Some(truncated),
            next_continuation_token: last.filter(|_| truncated),
            prefix: Some(prefix),
            name: Some(input.bucket),
            ..ListObjectsV2Output::default()
        }))
    }
}
