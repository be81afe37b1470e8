//! S3 by `s3s`, which speaks the protocol and checks the signatures; here are the objects and their notifications.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
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
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput,
    CopyObjectInput, CopyObjectOutput, CreateBucketInput, CreateBucketOutput, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, ETag, ETagCondition, GetObjectInput, GetObjectOutput, HeadObjectInput,
    HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output, Metadata, Object as Listed, ObjectCannedACL,
    PutObjectInput, PutObjectOutput, StreamingBlob, Timestamp, UploadPartCopyInput, UploadPartCopyOutput,
};
use s3s::{Body, S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use serde_json::json;

use crate::Inner;
use crate::accounts::{KeyError, matches, names};
use crate::api::{Caller, hex, lock};
use crate::clock::iso;
use crate::store::{Piece, Storage, Stored};
use crate::uploads::Uploads;

/// Objects of one page of a listing. Source: S3 API Reference, "ListObjectsV2".
const LIST_MAX: usize = 1000;
/// Bytes of metadata, names and values. Source: S3 User Guide, "Working with object metadata".
const METADATA_BYTES_MAX: usize = 2048;
/// What S3 leaves as it is in the keys of its notifications.
const KEY_SAFE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b'/');

#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) body: Stored,
    pub(crate) size: u64,
    pub(crate) etag: String,
    pub(crate) version: Option<String>,
    pub(crate) modified_ms: i64,
    pub(crate) headers: Headers,
}

/// What a reader is told of an object, as its writer said it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Headers {
    pub(crate) content_type: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) metadata: BTreeMap<String, String>,
}

impl Headers {
    /// # Errors
    /// `MetadataTooLarge`.
    pub(crate) fn new(
        content_type: Option<String>,
        content_encoding: Option<String>,
        metadata: Option<Metadata>,
    ) -> S3Result<Self> {
        let metadata: BTreeMap<String, String> = metadata.unwrap_or_default().into_iter().collect();
        let bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > METADATA_BYTES_MAX {
            return Err(s3_error!(MetadataTooLarge, "Your metadata headers exceed the maximum allowed metadata size"));
        }
        Ok(Self { content_type, content_encoding, metadata })
    }
}

/// Whom a bucket's policy lets in besides the owner's account: all conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BucketGrant {
    /// ARNs of roles and users, or account ids.
    pub principals: Vec<String>,
    /// Actions, such as `s3:PutObject`; each may end in `*`.
    pub actions: Vec<String>,
    /// What the keys begin with.
    pub prefix: String,
    /// `aws:PrincipalTag/…`: tags that the calling session must have, with these values.
    pub principal_tags: BTreeMap<String, String>,
    /// `s3:x-amz-acl`: the ACL that the call must give.
    pub acl: Option<String>,
}

/// What a call is about to do in a bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deed<'d> {
    pub(crate) bucket: &'d str,
    /// None: it is done to the bucket itself.
    pub(crate) key: Option<&'d str>,
    pub(crate) action: &'d str,
    pub(crate) acl: Option<&'d str>,
}

impl BucketGrant {
    fn allows(&self, caller: &Caller, deed: Deed<'_>) -> bool {
        self.principals.iter().any(|it| names(it, caller))
            && self.actions.iter().any(|it| matches(it, deed.action))
            && deed.key.unwrap_or_default().starts_with(&self.prefix)
            && self.principal_tags.iter().all(|(key, value)| caller.tags.get(key) == Some(value))
            && self.acl.as_deref().is_none_or(|acl| deed.acl == Some(acl))
    }
}

/// How an object came to be. Source: S3 User Guide, "Event notification types".
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Put,
    Copy,
    CompleteMultipartUpload,
}

impl Event {
    const fn name(self) -> &'static str {
        match self {
            Self::Put => "ObjectCreated:Put",
            Self::Copy => "ObjectCreated:Copy",
            Self::CompleteMultipartUpload => "ObjectCreated:CompleteMultipartUpload",
        }
    }
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
    grants: Vec<BucketGrant>,
    objects: BTreeMap<String, Object>,
    /// In a bucket with versions: every object by key and version.
    versions: Option<HashMap<(String, String), Object>>,
}

/// All buckets.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    buckets: Mutex<HashMap<String, Bucket>>,
    sequence: AtomicU64,
    pub(crate) storage: Storage,
    pub(crate) uploads: Uploads,
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

    pub(crate) fn grant(&self, name: &str, grant: BucketGrant) {
        if let Some(bucket) = lock(&self.buckets).get_mut(name) {
            bucket.grants.push(grant);
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
            headers: Headers::default(),
        };
        self.put(name, key, Event::Put, object, now_ms).map(|(_, messages)| messages).unwrap_or_default()
    }

    /// Keeps an object. Gives its version, and the messages that tell of it: queue and body.
    pub(crate) fn put(&self, name: &str, key: &str, by: Event, mut object: Object, now_ms: i64) -> Option<Put> {
        let mut buckets = lock(&self.buckets);
        // Under the lock: of two objects of one key the later has the higher one.
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        let sequencer = format!("{sequence:016X}");
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
            "eventName": by.name(), "userIdentity": { "principalId": "AWS:LOCAL" },
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
                    "Type": "Notification", "MessageId": format!("00000000-0000-4000-8000-{sequence:012x}"),
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

/// `If-Match` and `x-amz-copy-source-if-match`.
pub(crate) fn check_tag(wanted: Option<&ETagCondition>, object: &Object) -> S3Result<()> {
    match wanted {
        Some(ETagCondition::ETag(wanted)) if wanted.value() != object.etag => {
            Err(s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold"))
        }
        _ => Ok(()),
    }
}

/// The action of reading an object, or a version of it.
pub(crate) const fn reading(version: Option<&str>) -> &'static str {
    if version.is_some() { "s3:GetObjectVersion" } else { "s3:GetObject" }
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
        let input = &request.input;
        let acl = input.acl.as_ref().map(ObjectCannedACL::as_str);
        let deed = Deed { bucket: &input.bucket, key: Some(&input.key), action: "s3:PutObject", acl };
        self.allowed(self.caller(&request)?, deed)?;
        let S3Request { input, headers: sent, trailing_headers, .. } = request;
        unserved(input.if_match.is_some() || input.if_none_match.is_some())?;
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
        let put = self.cloud.buckets.put(&input.bucket, &input.key, Event::Put, object, now_ms);
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
        self.owner(&request, &input.bucket, Some(&input.key), reading(input.version_id.as_deref()))?;
        let input = request.input;
        unserved(
            input.part_number.is_some()
                || input.if_none_match.is_some()
                || input.if_modified_since.is_some()
                || input.if_unmodified_since.is_some(),
        )?;
        let object = self.object(&input.bucket, &input.key, input.version_id.as_deref())?;
        check_tag(input.if_match.as_ref(), &object)?;
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
        let piece = Piece { body: object.body, range };
        let body = piece.read().await.map_err(unkept)?;
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
        self.owner(&request, &input.bucket, Some(&input.key), reading(input.version_id.as_deref()))?;
        unserved(input.range.is_some() || input.if_none_match.is_some())?;
        let object = self.object(&input.bucket, &input.key, input.version_id.as_deref())?;
        check_tag(input.if_match.as_ref(), &object)?;
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
        self.copied(&caller, request.input).await.map(S3Response::new)
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
        self.upload_completed(&caller, request.input).await.map(S3Response::new)
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let caller = self.caller(&request)?.clone();
        self.upload_aborted(&caller, &request.input).map(S3Response::new)
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
