//! S3 by `s3s`, which speaks the protocol and checks the signatures; here are the objects and their notifications.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::BodyExt;
use md5::{Digest, Md5};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput,
    CopyObjectInput, CopyObjectOutput, CreateBucketInput, CreateBucketOutput, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, ETag, ETagCondition, GetObjectInput, GetObjectOutput, HeadObjectInput,
    HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output, Object as Listed, PutObjectInput, PutObjectOutput,
    StreamingBlob, Timestamp, UploadPartCopyInput, UploadPartCopyOutput,
};
use s3s::{Body, S3, S3Request, S3Response, S3Result, s3_error};
use serde_json::json;

use crate::Inner;
use crate::accounts::{KeyError, matches};
use crate::api::{Caller, hex, lock};
use crate::clock::iso;
use crate::uploads::Uploads;

/// Objects of one page of a listing. Source: S3 API Reference, "ListObjectsV2".
const LIST_MAX: usize = 1000;
/// What S3 leaves as it is in the keys of its notifications.
const KEY_SAFE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b'/');

#[derive(Clone, Debug, Default)]
pub(crate) struct Object {
    pub(crate) bytes: Bytes,
    pub(crate) etag: String,
    pub(crate) modified_ms: i64,
    pub(crate) content_type: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) metadata: BTreeMap<String, String>,
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
    pub(crate) key: &'d str,
    pub(crate) action: &'d str,
    pub(crate) acl: Option<&'d str>,
}

impl BucketGrant {
    fn allows(&self, caller: &Caller, deed: Deed<'_>) -> bool {
        let known = |it: &String| Some(it) == caller.role.as_ref() || *it == caller.arn || *it == caller.account;
        self.principals.iter().any(known)
            && self.actions.iter().any(|it| matches(it, deed.action))
            && deed.key.starts_with(&self.prefix)
            && self.principal_tags.iter().all(|(key, value)| caller.tags.get(key) == Some(value))
            && self.acl.as_deref().is_none_or(|acl| deed.acl == Some(acl))
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
}

/// All buckets.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    buckets: Mutex<HashMap<String, Bucket>>,
    sequence: Mutex<u64>,
    pub(crate) uploads: Uploads,
}

impl Buckets {
    pub(crate) fn create(&self, account: &str, region: &str, name: &str) {
        let bucket = Bucket { account: account.to_owned(), region: region.to_owned(), ..Bucket::default() };
        lock(&self.buckets).entry(name.to_owned()).or_insert(bucket);
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
        let etag = hex(&Md5::digest(&bytes));
        let object = Object { bytes, etag, modified_ms: now_ms, ..Object::default() };
        self.put(name, key, object, now_ms).unwrap_or_default()
    }

    /// Keeps an object. Gives the messages that tell of it: queue and body.
    pub(crate) fn put(&self, name: &str, key: &str, object: Object, now_ms: i64) -> Option<Vec<(String, String)>> {
        let sequencer = {
            let mut sequence = lock(&self.sequence);
            *sequence += 1;
            format!("{:016X}", *sequence)
        };
        let mut buckets = lock(&self.buckets);
        let bucket = buckets.get_mut(name)?;
        let event = json!({ "Records": [{
            "eventVersion": "2.5", "eventSource": "aws:s3", "awsRegion": bucket.region, "eventTime": iso(now_ms),
            "eventName": "ObjectCreated:Put", "userIdentity": { "principalId": "AWS:LOCAL" },
            "requestParameters": { "sourceIPAddress": "127.0.0.1" },
            "responseElements": { "x-amz-request-id": "LOCAL", "x-amz-id-2": "LOCAL" },
            "s3": {
                "s3SchemaVersion": "1.0", "configurationId": "objects",
                "bucket": { "name": name, "ownerIdentity": { "principalId": "LOCAL" }, "arn": format!("arn:aws:s3:::{name}") },
                "object": {
                    "key": utf8_percent_encode(key, KEY_SAFE).to_string().replace("%20", "+"),
                    "size": object.bytes.len(), "eTag": object.etag, "sequencer": sequencer,
                },
            },
        }]});
        bucket.objects.insert(key.to_owned(), object);
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
        Some(bucket.notify.iter().map(message).collect())
    }
}

/// The S3 side of the cloud.
#[derive(Clone, Debug)]
pub(crate) struct LocalS3 {
    pub(crate) cloud: Arc<Inner>,
}

impl LocalS3 {
    /// The caller's own policies must allow what it does, and the bucket must be of its account or let it in.
    fn owner(&self, caller: Option<&Caller>, bucket: &str, action: &str) -> S3Result<()> {
        self.allowed(caller, Deed { bucket, key: "", action, acl: None })
    }

    /// As above, for a key.
    pub(crate) fn allowed(&self, caller: Option<&Caller>, deed: Deed<'_>) -> S3Result<()> {
        let denied = || s3_error!(AccessDenied, "Access Denied");
        let caller = caller.ok_or_else(denied)?;
        let resource = format!("arn:aws:s3:::{}/{}", deed.bucket, deed.key);
        let buckets = lock(&self.cloud.buckets.buckets);
        let bucket =
            buckets.get(deed.bucket).ok_or_else(|| s3_error!(NoSuchBucket, "The specified bucket does not exist"))?;
        let own = self.cloud.accounts.allows(caller, deed.action, &resource);
        let let_in = || bucket.grants.iter().any(|grant| grant.allows(caller, deed));
        if own && (bucket.account == caller.account || let_in()) { Ok(()) } else { Err(denied()) }
    }

    pub(crate) fn object(&self, bucket: &str, key: &str) -> S3Result<Object> {
        let buckets = lock(&self.cloud.buckets.buckets);
        let object = buckets.get(bucket).and_then(|bucket| bucket.objects.get(key)).cloned();
        object.ok_or_else(|| s3_error!(NoSuchKey, "The specified key does not exist."))
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
            Err(KeyError::Token) => Err(s3_error!(InvalidToken)),
            Err(KeyError::Unknown) => Err(s3_error!(InvalidAccessKeyId)),
        }
    }
}

#[async_trait::async_trait]
impl S3 for LocalS3 {
    async fn create_bucket(&self, request: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        let caller = request.extensions.get::<Caller>().ok_or_else(|| s3_error!(AccessDenied, "Access Denied"))?;
        self.cloud.buckets.create(&caller.account, &self.cloud.region, &request.input.bucket);
        Ok(S3Response::new(CreateBucketOutput::default()))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        let acl = input.acl.as_ref().map(s3s::dto::ObjectCannedACL::as_str);
        let deed = Deed { bucket: &input.bucket, key: &input.key, action: "s3:PutObject", acl };
        self.allowed(request.extensions.get(), deed)?;
        let bytes = match input.body {
            Some(body) => {
                let body = Body::from(body).collect().await;
                body.map_err(|_| s3_error!(IncompleteBody))?.to_bytes()
            }
            None => Bytes::new(),
        };
        let now_ms = self.cloud.clock.now_ms();
        let etag = hex(&Md5::digest(&bytes));
        let object = Object {
            bytes,
            etag: etag.clone(),
            modified_ms: now_ms,
            content_type: input.content_type.map(|it| it.to_string()),
            content_encoding: input.content_encoding.map(|it| it.to_string()),
            metadata: input.metadata.unwrap_or_default().into_iter().collect(),
        };
        let messages = self.cloud.buckets.put(&input.bucket, &input.key, object, now_ms);
        for (queue, body) in messages.unwrap_or_default() {
            self.cloud.sqs.deliver(&queue, body, now_ms);
        }
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(ETag::Strong(etag)), ..PutObjectOutput::default() }))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let deed = Deed { bucket: &input.bucket, key: &input.key, action: "s3:GetObject", acl: None };
        self.allowed(request.extensions.get(), deed)?;
        let object = self.object(&input.bucket, &input.key)?;
        check_tag(input.if_match.as_ref(), &object)?;
        let total = u64::try_from(object.bytes.len()).unwrap_or(u64::MAX);
        let (bytes, content_range) = match &input.range {
            None => (object.bytes.clone(), None),
            Some(range) => {
                let range = range
                    .check(total)
                    .map_err(|_| s3_error!(InvalidRange, "The requested range is not satisfiable"))?;
                let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
                let bytes = object.bytes.slice(place(range.start)..place(range.end));
                (bytes, Some(format!("bytes {}-{}/{total}", range.start, range.end.saturating_sub(1))))
            }
        };
        Ok(S3Response::new(GetObjectOutput {
            content_length: length(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            body: Some(StreamingBlob::from(Body::from(bytes))),
            content_range,
            accept_ranges: Some("bytes".to_owned()),
            e_tag: Some(ETag::Strong(object.etag)),
            last_modified: Some(timestamp(object.modified_ms)),
            content_encoding: object.content_encoding,
            content_type: object.content_type.and_then(|it| it.parse().ok()),
            metadata: Some(object.metadata.into_iter().collect()),
            ..GetObjectOutput::default()
        }))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = request.input;
        let deed = Deed { bucket: &input.bucket, key: &input.key, action: "s3:GetObject", acl: None };
        self.allowed(request.extensions.get(), deed)?;
        let object = self.object(&input.bucket, &input.key)?;
        check_tag(input.if_match.as_ref(), &object)?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: length(u64::try_from(object.bytes.len()).unwrap_or(u64::MAX)),
            e_tag: Some(ETag::Strong(object.etag)),
            last_modified: Some(timestamp(object.modified_ms)),
            content_encoding: object.content_encoding,
            content_type: object.content_type.and_then(|it| it.parse().ok()),
            metadata: Some(object.metadata.into_iter().collect()),
            ..HeadObjectOutput::default()
        }))
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        self.copied(request.extensions.get(), request.input).map(S3Response::new)
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.upload_begun(request.extensions.get(), request.input).map(S3Response::new)
    }

    async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        self.part_copied(request.extensions.get(), &request.input).map(S3Response::new)
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        self.upload_completed(request.extensions.get(), request.input).map(S3Response::new)
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.upload_aborted(request.extensions.get(), &request.input).map(S3Response::new)
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        self.owner(request.extensions.get(), &input.bucket, "s3:ListBucket")?;
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
                size: length(u64::try_from(object.bytes.len()).unwrap_or(u64::MAX)),
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
