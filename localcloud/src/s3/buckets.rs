//! Buckets with their objects, whom their policies let in, and whom they tell of a new object.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use md5::{Digest, Md5};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::Metadata;
use s3s::{S3Result, s3_error};
use serde_json::json;

use super::conditions::Overwrite;
use super::uploads::Uploads;
use crate::accounts::{matches, names};
use crate::api::{Caller, hex, lock};
use crate::clock::iso;
use crate::store::{Storage, Stored};

/// Bytes of metadata, names and values. Source: S3 User Guide, "Working with object metadata".
const METADATA_BYTES_MAX: usize = 2048;
/// What S3 leaves as it is in the keys that it encodes.
const KEY_SAFE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b'/');

/// How no bucket's name begins, and how none ends. Source: S3 User Guide, "General purpose bucket naming rules".
const RESERVED_STARTS: [&str; 3] = ["xn--", "sthree-", "amzn-s3-demo-"];
const RESERVED_ENDS: [&str; 5] = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];

/// Whether a bucket may have this name. Source: as above.
pub(crate) fn is_bucket_name(name: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (3..=63).contains(&name.len())
        && name.chars().all(|c| edge(c) || ".-".contains(c))
        && name.starts_with(edge)
        && name.ends_with(edge)
        && !name.contains("..")
        && name.parse::<std::net::Ipv4Addr>().is_err()
        && !RESERVED_STARTS.iter().any(|start| name.starts_with(start))
        && !RESERVED_ENDS.iter().any(|end| name.ends_with(end))
}

/// A key as S3 writes it in notifications, and in listings on request.
pub(super) fn form_encoded(key: &str) -> String {
    utf8_percent_encode(key, KEY_SAFE).to_string().replace("%20", "+")
}

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
    pub(super) fn allows(&self, caller: &Caller, deed: Deed<'_>) -> bool {
        self.principals.iter().any(|it| names(it, caller))
            && self.actions.iter().any(|it| matches(it, deed.action))
            && deed.key.unwrap_or_default().starts_with(&self.prefix)
            && caller.has_tags(&self.principal_tags)
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
pub(super) struct Bucket {
    pub(super) account: String,
    pub(super) region: String,
    notify: Vec<Notify>,
    pub(super) grants: Vec<BucketGrant>,
    pub(super) objects: BTreeMap<String, Object>,
    /// Keys of objects of which an answer to a put may be lost.
    unanswered: BTreeSet<String>,
    /// In a bucket with versions: every object by key and version.
    pub(super) versions: Option<HashMap<(String, String), Object>>,
}

/// All buckets.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    pub(super) buckets: Mutex<HashMap<String, Bucket>>,
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

    pub(crate) fn each(&self, mut see: impl FnMut(&str, &str, &Bytes)) {
        for (name, bucket) in &*lock(&self.buckets) {
            for (key, object) in &bucket.objects {
                if let Stored::Memory(bytes) = &object.body {
                    see(name, key, bytes);
                }
            }
        }
    }

    /// Notes that the answer to a put may be lost.
    pub(super) fn doubt(&self, name: &str, key: &str) {
        if let Some(bucket) = lock(&self.buckets).get_mut(name) {
            bucket.unanswered.insert(key.to_owned());
        }
    }

    pub(crate) fn unanswered(&self, name: &str) -> BTreeSet<String> {
        lock(&self.buckets).get(name).map(|bucket| bucket.unanswered.clone()).unwrap_or_default()
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
    ///
    /// # Errors
    /// They cannot be kept.
    pub(crate) fn put_bytes(
        &self,
        name: &str,
        key: &str,
        bytes: Bytes,
        now_ms: i64,
    ) -> std::io::Result<Vec<(String, String)>> {
        let object = Object {
            etag: hex(&Md5::digest(&bytes)),
            size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            body: self.storage.keep(name, key, bytes)?,
            version: None,
            modified_ms: now_ms,
            headers: Headers::default(),
        };
        let put = self.put((name, key), Event::Put, object, &Overwrite::Always, now_ms);
        Ok(put.map(|(_, messages)| messages).unwrap_or_default())
    }

    /// Keeps an object, if what is there is as it must be. Gives its version, and the messages that tell of it: queue and
    /// body.
    ///
    /// # Errors
    /// Nothing is kept: there is no such bucket, or what is there is not as `over` says.
    pub(super) fn put(
        &self,
        (name, key): (&str, &str),
        by: Event,
        mut object: Object,
        over: &Overwrite,
        now_ms: i64,
    ) -> S3Result<Put> {
        // Both are let go of behind the lock: with the last of a file's owners the file is removed.
        let body = object.body.clone();
        let replaced;
        let mut buckets = lock(&self.buckets);
        // Under the lock: of two objects of one key the later has the higher one.
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        let sequencer = format!("{sequence:016X}");
        let bucket = buckets.get_mut(name).ok_or_else(|| s3_error!(NoSuchBucket));
        let bucket = match bucket.and_then(|bucket| over.check(bucket.objects.get(key)).map(|()| bucket)) {
            Ok(bucket) => bucket,
            Err(refusal) => {
                body.forget();
                return Err(refusal);
            }
        };
        object.version = bucket.versions.is_some().then(|| format!("v{sequencer}"));
        let mut told = json!({
            "key": form_encoded(key),
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
        replaced = bucket.objects.insert(key.to_owned(), object);
        if let Some(replaced) = replaced.as_ref().filter(|it| it.version.is_none()) {
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
        Ok((version, messages))
    }
}

/// An object's version, and messages: queue and body.
pub(super) type Put = (Option<String>, Vec<(String, String)>);
