//! The source bucket, read with the ambient identity.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::endpoint::{DefaultResolver, Params, ParamsBuilder, ResolveEndpoint};
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig};
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::wire::{EMPTY_SHA256, OwnWire, Request};
use super::{Aws, CALL_TIMEOUT, Failure, address, answer};
use crate::core::failure::{FailureKind, Service};
use crate::core::object::{ETag, ObjectRef};
use crate::core::time::UnixMillis;

/// Longest wait for the next bytes of an answer. Slower is as good as broken: the part is fetched again.
const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// Reads objects; and writes some, where the ambient identity may.
#[derive(Clone, Debug)]
pub struct Source {
    client: Client,
    gets: Arc<Gets>,
}

/// How objects are got.
#[derive(Debug)]
struct Gets {
    wire: OwnWire,
    /// By which buckets are found.
    endpoints: DefaultResolver,
    like: ParamsBuilder,
    /// The last bucket, and where it is.
    found: Mutex<Option<(Arc<str>, Arc<str>)>>,
}

/// What stands as it is in a URI. Source: Signature Version 4, "Create a canonical request".
const PLAIN: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same for keys.
const PLAIN_KEY: AsciiSet = PLAIN.remove(b'/');

/// A part of an object that is on its way.
#[derive(Debug)]
pub struct Part {
    body: ByteStream,
    /// Bytes of the part that have not come yet.
    left: u64,
    /// The object's entity tag.
    pub etag: Option<ETag>,
    /// Bytes of the whole object.
    pub total: u64,
    /// When the object was written.
    pub modified: UnixMillis,
}

/// What an object is, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The entity tag.
    pub etag: ETag,
    /// Bytes as stored.
    pub bytes: u64,
    /// What the bytes are.
    pub content_type: Option<String>,
    /// How they are packed.
    pub content_encoding: Option<String>,
}

impl Source {
    /// A reader of any bucket that the ambient identity may read.
    #[must_use]
    pub fn new(aws: &Aws) -> Self {
        let like = Params::builder()
            .region(aws.region())
            .set_use_fips(Some(aws.base.use_fips().unwrap_or(false)))
            .set_use_dual_stack(Some(aws.base.use_dual_stack().unwrap_or(false)))
            .set_endpoint(aws.endpoint_beside_clients(Service::S3))
            .force_path_style(aws.settings.s3_path_style);
        let gets = Gets {
            wire: OwnWire::new(aws, Service::S3),
            endpoints: DefaultResolver::new(),
            like,
            found: Mutex::default(),
        };
        Self { client: Client::from_conf(config(aws).build()), gets: Arc::new(gets) }
    }

    /// Begins to read bytes `from..from + len` of an object, fewer at its end. `pin` makes it fail when the object is no
    /// longer the one with that tag.
    ///
    /// # Errors
    /// The call's failure. A range at or behind the object's end is refused, for an empty object too.
    pub async fn get(&self, object: &ObjectRef, from: u64, len: u64, pin: Option<&ETag>) -> Result<Part, Failure> {
        let last = from.saturating_add(len).saturating_sub(1);
        let mut headers = vec![("range", Cow::Owned(format!("bytes={from}-{last}")))];
        headers.extend(pin.map(|pin| ("if-match", Cow::Owned(pin.quoted()))));
        let request = Request {
            operation: "GetObject",
            method: "GET",
            uri: self.gets.uri(object)?,
            headers,
            body: Bytes::new(),
            sha256: EMPTY_SHA256,
            within: CALL_TIMEOUT,
        };
        let output = self.gets.wire.call(request).await?;
        let header = |name| output.headers().get(name);
        let (left, total) = match header("content-range").map(|range| span(range, from)) {
            Some(Some(found)) => found,
            // Without a range in the answer it is the whole object; a store that ignores ranges must not be read twice.
            None if from == 0 => {
                let whole = header("content-length").and_then(|length| length.parse().ok());
                let whole = whole.ok_or_else(|| broken("the answer does not say how long the object is"))?;
                (whole, whole)
            }
            Some(None) | None => return Err(broken("the answer is not the range that was asked for")),
        };
        let modified = header("last-modified").and_then(|time| DateTime::from_str(time, Format::HttpDate).ok());
        let modified = modified.and_then(|time| time.to_millis().ok()).map_or(UnixMillis(0), UnixMillis);
        let etag = header("etag").map(ETag::new);
        Ok(Part { etag, total, modified, left, body: ByteStream::new(output.into_body()) })
    }

    /// What an object is; see [`Self::get`] for `pin`.
    ///
    /// # Errors
    /// The call's failure. S3 sends no code with it, only the status.
    pub async fn head(&self, object: &ObjectRef, pin: Option<&ETag>) -> Result<Head, Failure> {
        let result = self
            .client
            .head_object()
            .bucket(&*object.bucket)
            .key(&*object.key)
            .set_version_id(object.version.as_deref().map(str::to_owned))
            .set_if_match(pin.map(ETag::quoted))
            .send()
            .await;
        let output = answer(Service::S3, "HeadObject", result)?;
        let bytes = output.content_length().and_then(|length| u64::try_from(length).ok());
        let (Some(etag), Some(bytes)) = (output.e_tag().map(ETag::new), bytes) else {
            return Err(Failure {
                operation: "HeadObject",
                ..broken("the answer does not say how long the object is and which")
            });
        };
        Ok(Head { etag, bytes, content_type: output.content_type, content_encoding: output.content_encoding })
    }

    /// Writes an object.
    ///
    /// # Errors
    /// The call's failure.
    pub async fn put(
        &self,
        bucket: &str,
        key: &str,
        body: impl Into<Bytes>,
        content_type: &str,
        content_encoding: Option<&str>,
    ) -> Result<(), Failure> {
        let put = self.client.put_object().bucket(bucket).key(key).content_type(content_type);
        let put = put.set_content_encoding(content_encoding.map(str::to_owned)).body(ByteStream::from(body.into()));
        answer(Service::S3, "PutObject", put.send().await).map(|_| ())
    }
}

impl Gets {
    /// The URI of an object's version.
    fn uri(&self, object: &ObjectRef) -> Result<String, Failure> {
        let mut uri = format!("{}/", self.bucket(&object.bucket)?);
        uri.extend(utf8_percent_encode(&object.key, &PLAIN_KEY));
        if let Some(version) = &object.version {
            uri.push_str("?versionId=");
            uri.extend(utf8_percent_encode(version, &PLAIN));
        }
        Ok(uri)
    }

    /// Where a bucket is. Nearly always it is the one that was asked for last.
    fn bucket(&self, name: &Arc<str>) -> Result<Arc<str>, Failure> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((bucket, at)) = &*found
            && bucket == name
        {
            return Ok(Arc::clone(at));
        }
        let params = self.like.clone().bucket(&**name).build();
        let odd = |text: String| self.wire.odd("GetObject", &text);
        let params = params.map_err(|error| odd(error.to_string()))?;
        let at: Arc<str> = address(self.endpoints.resolve_endpoint(&params)).map_err(odd)?.into();
        *found = Some((Arc::clone(name), Arc::clone(&at)));
        Ok(at)
    }
}

impl Part {
    /// Bytes of it that have not come yet.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.left
    }

    /// The next bytes; `None` after the last ones.
    ///
    /// # Errors
    /// The connection broke, or nothing came in time.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        match tokio::time::timeout(READ_TIMEOUT, self.body.next()).await {
            Ok(Some(Ok(bytes))) => {
                self.left = self.left.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                Ok(Some(bytes))
            }
            Ok(Some(Err(error))) => Err(broken(&error.to_string())),
            Ok(None) if self.left > 0 => Err(broken("the answer ended early")),
            Ok(None) => Ok(None),
            Err(_) => Err(Failure { kind: FailureKind::Timeout, ..broken("no bytes came in time") }),
        }
    }
}

/// What all clients of S3 have in common.
pub(super) fn config(aws: &Aws) -> aws_sdk_s3::config::Builder {
    let mut config = aws_sdk_s3::config::Builder::from(&aws.base)
        .force_path_style(aws.settings.s3_path_style)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    config.set_endpoint_url(aws.endpoint(Service::S3));
    config
}

/// How many bytes an answer has, and how many the object, if it begins at `from`: of `bytes 0-9/20`, 10 and 20 (RFC 9110,
/// "Content-Range").
fn span(range: &str, from: u64) -> Option<(u64, u64)> {
    let (ends, total) = range.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = ends.split_once('-')?;
    let (first, last, total): (u64, u64, u64) = (first.parse().ok()?, last.parse().ok()?, total.parse().ok()?);
    (first == from && first <= last && last < total).then(|| (last - first + 1, total))
}

fn broken(text: &str) -> Failure {
    Failure {
        service: Service::S3,
        operation: "GetObject",
        kind: FailureKind::Connection,
        text: text.to_owned(),
        request_id: None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::span;

    proptest! {
        /// An answer is taken for what was asked for only if it says that it is.
        #[test]
        fn ranges_are_read_as_they_are_written(first: u64, last: u64, total: u64, other: u64) {
            let (first, last) = (first.min(last), first.max(last));
            let written = format!("bytes {first}-{last}/{total}");
            let sound = last < total;
            prop_assert_eq!(span(&written, first), sound.then(|| (last - first + 1, total)));
            prop_assert!(other == first || span(&written, other).is_none());
        }
    }

    #[test]
    fn what_is_no_range_is_taken_for_none() {
        let wrong =
            ["", "0-9/20", "bytes 0-9", "bytes 0-9/*", "bytes */20", "bytes 9-0/20", "bytes 0-20/20", "bytes -1-9/20"];
        assert!(wrong.iter().all(|text| span(text, 0).is_none()));
    }
}
