//! A tenant's bucket: objects are copied into it, by S3 itself.

use std::ops::Range;
use std::time::Duration;

use aws_config::Region;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::IdentityCache;
use aws_sdk_s3::types::{
    CompletedMultipartUpload, CompletedPart, MetadataDirective, ObjectCannedAcl, TaggingDirective,
};

use super::sts::Writer;
use super::{Aws, answer, timeouts};
use crate::core::copy::copy_source;
use crate::core::failure::{Failure, FailureKind, Service, Verdict};
use crate::core::object::{ETag, ObjectRef};
use crate::core::tenant::S3Target;

/// Longest wait for a copy's answer: 5 GiB at 10 MiB a second. S3 answers when it is done, however long that takes.
const COPY_TIMEOUT: Duration = Duration::from_secs(600);

/// The bucket of one delivery, with whom that delivery is written by. Made from both together, it takes no tenant later.
#[derive(Clone, Debug)]
pub struct TargetBucket {
    aws: Aws,
    client: Client,
    target: S3Target,
}

/// What is copied: an object, pinned to the bytes that its tag names.
#[derive(Clone, Debug)]
pub struct CopySource {
    source: String,
    tag: String,
}

/// What a copy is called and carries besides its bytes.
#[derive(Clone, Debug)]
pub struct NewObject {
    /// The key.
    pub key: String,
    /// What the bytes are.
    pub content_type: Option<String>,
    /// How they are packed.
    pub content_encoding: Option<String>,
    /// Names and values, fit for headers.
    pub metadata: Vec<(&'static str, String)>,
}

/// A multipart upload that was begun.
#[derive(Clone, Debug)]
pub struct Upload {
    key: String,
    id: String,
}

/// A part that was copied.
#[derive(Clone, Debug)]
pub struct CopiedPart(CompletedPart);

impl CopySource {
    /// The object as long as its tag is `etag`.
    #[must_use]
    pub fn new(object: &ObjectRef, etag: &ETag) -> Self {
        Self { source: copy_source(&object.bucket, &object.key, object.version.as_deref()), tag: etag.quoted() }
    }
}

impl TargetBucket {
    /// Binds a delivery's target to its writer.
    #[must_use]
    pub fn new(aws: &Aws, target: &S3Target, writer: &Writer) -> Self {
        let region = target.region.as_deref().unwrap_or_else(|| aws.region());
        let mut config =
            super::s3::config(aws).region(Region::new(region.to_owned())).timeout_config(timeouts(COPY_TIMEOUT));
        if let Writer::Central(session) = writer {
            config = config.identity_cache(IdentityCache::no_cache()).credentials_provider(session.credentials.clone());
        }
        Self { aws: aws.clone(), client: Client::from_conf(config.build()), target: target.clone() }
    }

    /// Copies an object by one call. Its metadata and tags are not copied: what the copy has is `new`.
    ///
    /// # Errors
    /// The call's failure. [`Verdict::Missing`] and [`Verdict::Changed`] speak of the source.
    pub async fn copy(&self, source: &CopySource, new: &NewObject) -> Result<(), Failure> {
        let mut call = self
            .client
            .copy_object()
            .bucket(&*self.target.bucket)
            .key(&new.key)
            .copy_source(&source.source)
            .copy_source_if_match(&source.tag)
            .acl(ObjectCannedAcl::BucketOwnerFullControl)
            .metadata_directive(MetadataDirective::Replace)
            .tagging_directive(TaggingDirective::Replace)
            .set_content_type(new.content_type.clone())
            .set_content_encoding(new.content_encoding.clone());
        for (name, value) in &new.metadata {
            call = call.metadata(*name, value);
        }
        answer(Service::S3, "CopyObject", call.send().await).map(|_| ())
    }

    /// Begins a copy in parts.
    ///
    /// # Errors
    /// The call's failure.
    pub async fn begin(&self, new: &NewObject) -> Result<Upload, Failure> {
        let mut call = self
            .client
            .create_multipart_upload()
            .bucket(&*self.target.bucket)
            .key(&new.key)
            .acl(ObjectCannedAcl::BucketOwnerFullControl)
            .set_content_type(new.content_type.clone())
            .set_content_encoding(new.content_encoding.clone());
        for (name, value) in &new.metadata {
            call = call.metadata(*name, value);
        }
        let output = answer(Service::S3, "CreateMultipartUpload", call.send().await)?;
        let id = output.upload_id.ok_or_else(|| odd("CreateMultipartUpload", "the answer names no upload"))?;
        Ok(Upload { key: new.key.clone(), id })
    }

    /// Copies a part.
    ///
    /// # Errors
    /// As [`Self::copy`].
    pub async fn copy_part(
        &self,
        upload: &Upload,
        source: &CopySource,
        number: u32,
        bytes: &Range<u64>,
    ) -> Result<CopiedPart, Failure> {
        let number = i32::try_from(number).map_err(|_| odd("UploadPartCopy", "there are too many parts"))?;
        let result = self
            .client
            .upload_part_copy()
            .bucket(&*self.target.bucket)
            .key(&upload.key)
            .upload_id(&upload.id)
            .part_number(number)
            .copy_source(&source.source)
            .copy_source_if_match(&source.tag)
            .copy_source_range(format!("bytes={}-{}", bytes.start, bytes.end.saturating_sub(1)))
            .send()
            .await;
        let output = answer(Service::S3, "UploadPartCopy", result)?;
        let tag = output.copy_part_result.and_then(|result| result.e_tag);
        let tag = tag.ok_or_else(|| odd("UploadPartCopy", "the answer has no tag"))?;
        Ok(CopiedPart(CompletedPart::builder().part_number(number).e_tag(tag).build()))
    }

    /// Ends a copy in parts: now it is an object.
    ///
    /// # Errors
    /// The call's failure. After a timeout or a broken connection it may have succeeded.
    pub async fn complete(&self, upload: &Upload, parts: &[CopiedPart]) -> Result<(), Failure> {
        let parts = parts.iter().map(|part| part.0.clone()).collect();
        let result = self
            .client
            .complete_multipart_upload()
            .bucket(&*self.target.bucket)
            .key(&upload.key)
            .upload_id(&upload.id)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .send()
            .await;
        answer(Service::S3, "CompleteMultipartUpload", result).map(|_| ())
    }

    /// Gives up a copy in parts, so that its parts cost nobody anything.
    ///
    /// # Errors
    /// The call's failure.
    pub async fn abort(&self, upload: &Upload) -> Result<(), Failure> {
        let call =
            self.client.abort_multipart_upload().bucket(&*self.target.bucket).key(&upload.key).upload_id(&upload.id);
        answer(Service::S3, "AbortMultipartUpload", call.send().await).map(|_| ())
    }

    /// Whether the writer may read an object: one byte of it is asked for. A refused copy does not say which side refused.
    ///
    /// # Errors
    /// The call's failure.
    pub async fn may_read(&self, object: &ObjectRef) -> Result<bool, Failure> {
        let here = aws_sdk_s3::config::Builder::new().region(Region::new(self.aws.region().to_owned()));
        let result = self
            .client
            .get_object()
            .bucket(&*object.bucket)
            .key(&*object.key)
            .set_version_id(object.version.as_deref().map(str::to_owned))
            .range("bytes=0-0")
            .customize()
            .config_override(here)
            .send()
            .await;
        match answer(Service::S3, "GetObject", result) {
            Ok(_) => Ok(true),
            Err(failure) if failure.verdict() == Verdict::Denied => Ok(false),
            // There is no first byte, which whoever may not read would not be told.
            Err(failure) if failure.verdict() == Verdict::BeyondEnd => Ok(true),
            Err(failure) => Err(failure),
        }
    }
}

fn odd(operation: &'static str, text: &str) -> Failure {
    Failure { service: Service::S3, operation, kind: FailureKind::Other, text: text.to_owned(), request_id: None }
}
