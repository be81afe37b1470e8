//! Calls that are made for every object or batch: signed, sent and answered without the SDK's machinery, which costs a small
//! call more than four times as much as all the rest of it.
//!
//! What is the SDK's stays the SDK's: its connections, its signature, its rules for endpoints, its sources of credentials.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::identity::Identity;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use aws_smithy_types::retry::ErrorKind;
use aws_types::sdk_config::SharedTimeSource;
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::{Aws, CALL_TIMEOUT, innermost, one_line};
use crate::core::failure::{Failure, FailureKind, Service, Verdict};

/// Bytes that are read of an answer that is no object. The longest are ten messages, 1 MiB at most in all, each byte of which
/// may be escaped. Source: SQS Developer Guide, "Message quotas".
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// What a client is called.
const USER_AGENT: &str = concat!("millrace/", env!("CARGO_PKG_VERSION"));
/// Credentials are got anew when they have so much time left. IAM hands out new ones earlier than that.
const REFRESH_BEFORE: Duration = Duration::from_secs(60);

/// SHA-256 of nothing.
pub(super) const EMPTY_SHA256: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41,
    0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// A request that is not signed yet.
pub(super) struct Request<'r> {
    pub(super) operation: &'static str,
    pub(super) method: &'static str,
    /// The whole URI, encoded.
    pub(super) uri: String,
    /// Those that are signed; the host and those of the signature come to them.
    pub(super) headers: Vec<(&'static str, Cow<'r, str>)>,
    pub(super) body: Bytes,
    /// Of the body.
    pub(super) sha256: [u8; 32],
    /// How long the answer may take.
    pub(super) within: Duration,
}

impl<'r> Request<'r> {
    /// A call of a service whose requests and answers are JSON: its `target`, and the version of the protocol.
    pub(super) fn json(
        operation: &'static str,
        uri: String,
        (target, version): (&'static str, &'static str),
        body: Bytes,
        sha256: [u8; 32],
    ) -> Self {
        let headers = vec![("content-type", version.into()), ("x-amz-target", target.into())];
        Self { operation, method: "POST", uri, headers, body, sha256, within: CALL_TIMEOUT }
    }
}

/// The way to one service in one region. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    http: SharedHttpConnector,
    time: SharedTimeSource,
    service: Service,
    region: String,
}

impl Wire {
    pub(super) fn new(aws: &Aws, service: Service, region: &str) -> Self {
        Self { http: aws.http.clone(), time: aws.time.clone(), service, region: region.to_owned() }
    }

    /// Makes a call. What it gives is a success; its body may still be on its way.
    ///
    /// # Errors
    /// The call's failure.
    pub(super) async fn call(&self, request: Request<'_>, identity: &Identity) -> Result<HttpResponse, Failure> {
        let (operation, within) = (request.operation, request.within);
        let request = self.signed(request, identity)?;
        let answer = async {
            let answer = self.http.call(request).await.map_err(|error| {
                let transient = error.is_io() || error.as_other() == Some(ErrorKind::TransientError);
                let kind = match error.is_timeout() {
                    true => FailureKind::Timeout,
                    false if transient => FailureKind::Connection,
                    false => FailureKind::Other,
                };
                self.failure(operation, kind, &innermost(&error))
            })?;
            if answer.status().is_success() { Ok(answer) } else { Err(self.refusal(operation, answer).await) }
        };
        self.within(operation, within, answer).await
    }

    /// Makes a call, and reads all of its answer. Gives AWS's name for the call as well.
    ///
    /// # Errors
    /// The call's failure; or what is answered is not what was to be.
    pub(super) async fn exchange<T: DeserializeOwned>(
        &self,
        request: Request<'_>,
        identity: &Identity,
    ) -> Result<(T, Option<String>), Failure> {
        let operation = request.operation;
        let answer = self.call(request, identity).await?;
        let request_id = request_id(&answer);
        let body = self.body(operation, answer).await?;
        // It was taken, but how is not known.
        let unread = |_| self.failure(operation, FailureKind::Connection, "the answer could not be read");
        Ok((serde_json::from_slice(&body).map_err(unread)?, request_id))
    }

    async fn within<T>(
        &self,
        operation: &'static str,
        time: Duration,
        answer: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(time, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(self.failure(operation, FailureKind::Timeout, "")),
        }
    }

    /// All of an answer's body.
    async fn body(&self, operation: &'static str, answer: HttpResponse) -> Result<Vec<u8>, Failure> {
        let broken = |text: &str| self.failure(operation, FailureKind::Connection, text);
        let (mut body, mut bytes) = (ByteStream::new(answer.into_body()), Vec::new());
        let read = async {
            while let Some(more) = body.next().await {
                bytes.extend_from_slice(&more.map_err(|error| broken(&error.to_string()))?);
                if bytes.len() > ANSWER_BYTES_MAX {
                    return Err(broken("the answer is too long"));
                }
            }
            Ok(bytes)
        };
        self.within(operation, CALL_TIMEOUT, read).await
    }

    fn signed(&self, request: Request<'_>, identity: &Identity) -> Result<HttpRequest, Failure> {
        let operation = request.operation;
        let odd = |text: &str| self.odd(operation, text);
        let mut settings = SigningSettings::default();
        let name = match self.service {
            Service::S3 => {
                settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
                settings.percent_encoding_mode = PercentEncodingMode::Single;
                settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
                "s3"
            }
            Service::Logs => "logs",
            Service::Sqs => "sqs",
            Service::DynamoDb => "dynamodb",
            Service::Sts => "sts",
        };
        let params = v4::SigningParams::builder()
            .identity(identity)
            .region(&self.region)
            .name(name)
            .time(self.time.now())
            .settings(settings)
            .build()
            .map_err(|error| odd(&error.to_string()))?
            .into();
        let headers = request.headers.iter().map(|(name, value)| (*name, value.as_ref()));
        let body = SignableBody::Precomputed(hex::encode(request.sha256));
        let signable = SignableRequest::new(request.method, request.uri.as_str(), headers, body);
        let signed = signable.and_then(|signable| sign(signable, &params)).map_err(|error| odd(&innermost(&error)))?;
        let mut sent = HttpRequest::new(if request.body.is_empty() { SdkBody::empty() } else { request.body.into() });
        sent.set_method(request.method).map_err(|error| odd(&error.to_string()))?;
        sent.set_uri(request.uri).map_err(|error| odd(&error.to_string()))?;
        let headers = sent.headers_mut();
        headers.insert("user-agent", USER_AGENT);
        for (name, value) in request.headers {
            headers.try_insert(name, value.into_owned()).map_err(|error| odd(&error.to_string()))?;
        }
        let (instructions, _) = signed.into_parts();
        for (name, value) in instructions.headers() {
            headers.try_insert(name.to_owned(), value.to_owned()).map_err(|error| odd(&error.to_string()))?;
        }
        Ok(sent)
    }

    /// What an answer that is no success says.
    async fn refusal(&self, operation: &'static str, answer: HttpResponse) -> Failure {
        let status = answer.status().as_u16();
        let request_id = request_id(&answer);
        // SQS's former protocol, whose codes it keeps beside those of the present one.
        let former = answer.headers().get("x-amzn-query-error").and_then(|error| error.split_once(';'));
        let header = former.map(|(code, _)| code).or_else(|| answer.headers().get("x-amzn-errortype"));
        let header = header.map(str::to_owned);
        let body = match self.body(operation, answer).await {
            Ok(body) => body,
            Err(_) if header.is_some() => Vec::new(),
            // Errors of one status are told apart by their text: which it was is not known.
            Err(broken) => return Failure { request_id, ..broken },
        };
        let (code, text) = if self.service == Service::S3 { told_in_xml(&body) } else { told_in_json(&body) };
        let code = header.map_or(code, |header| code_of(&header).to_owned());
        let kind = FailureKind::Answer { code, status };
        Failure { request_id, ..self.failure(operation, kind, &text) }
    }

    /// The failure of a call that cannot be made.
    pub(super) fn odd(&self, operation: &'static str, text: &str) -> Failure {
        self.failure(operation, FailureKind::Other, text)
    }

    fn failure(&self, operation: &'static str, kind: FailureKind, text: &str) -> Failure {
        Failure { service: self.service, operation, kind, text: one_line(text), request_id: None }
    }
}

/// AWS's name for a call.
fn request_id(answer: &HttpResponse) -> Option<String> {
    let headers = answer.headers();
    ["x-amzn-requestid", "x-amz-request-id"].iter().find_map(|name| headers.get(name)).map(str::to_owned)
}

/// The code of an error without its namespace and its address.
fn code_of(code: &str) -> &str {
    let code = code.split_once(':').map_or(code, |(code, _)| code);
    code.rsplit_once('#').map_or(code, |(_, code)| code)
}

fn told_in_json(body: &[u8]) -> (String, String) {
    let told: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |names: [&str; 2]| names.iter().find_map(|name| told.get(name)?.as_str()).unwrap_or_default();
    (code_of(text(["__type", "code"])).to_owned(), text(["message", "Message"]).to_owned())
}

/// S3's errors are flat: each element is there once, and its text is plain or has entities that nobody looks for.
fn told_in_xml(body: &[u8]) -> (String, String) {
    let body = String::from_utf8_lossy(body);
    let text = |open: &str, close: &str| {
        let (_, rest) = body.split_once(open)?;
        rest.split_once(close).map(|(text, _)| text.to_owned())
    };
    (text("<Code>", "</Code>").unwrap_or_default(), text("<Message>", "</Message>").unwrap_or_default())
}

/// The same way, for the daemon's own calls: with the ambient identity. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct OwnWire {
    wire: Wire,
    ambient: Arc<Ambient>,
}

impl OwnWire {
    pub(super) fn new(aws: &Aws, service: Service) -> Self {
        Self { wire: Wire::new(aws, service, aws.region()), ambient: Arc::clone(&aws.ambient) }
    }

    /// See [`Wire::call`].
    ///
    /// # Errors
    /// As there; or there is no ambient identity.
    pub(super) async fn call(&self, request: Request<'_>) -> Result<HttpResponse, Failure> {
        let identity = self.identity(request.operation).await?;
        self.wire.call(request, &identity).await.inspect_err(|failure| self.ambient.learn(failure))
    }

    /// See [`Wire::exchange`].
    ///
    /// # Errors
    /// As there; or there is no ambient identity.
    pub(super) async fn exchange<T: DeserializeOwned>(&self, request: Request<'_>) -> Result<T, Failure> {
        let identity = self.identity(request.operation).await?;
        let answer = self.wire.exchange(request, &identity).await.inspect_err(|failure| self.ambient.learn(failure))?;
        Ok(answer.0)
    }

    /// The failure of a call that cannot be made.
    pub(super) fn odd(&self, operation: &'static str, text: &str) -> Failure {
        self.wire.odd(operation, text)
    }

    async fn identity(&self, operation: &'static str) -> Result<Identity, Failure> {
        let identity = self.ambient.identity(self.wire.time.now()).await;
        identity.map_err(|text| self.wire.failure(operation, FailureKind::Credentials, &text))
    }
}

/// The ambient identity, got when it is needed and kept while it is good.
#[derive(Debug)]
pub(super) struct Ambient {
    provider: Option<SharedCredentialsProvider>,
    kept: Mutex<Option<Identity>>,
    /// Held by the one that gets new ones.
    asking: tokio::sync::Mutex<()>,
}

impl Ambient {
    pub(super) fn new(provider: Option<SharedCredentialsProvider>) -> Self {
        Self { provider, kept: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }

    /// The identity at a time.
    ///
    /// # Errors
    /// There is none.
    async fn identity(&self, now: SystemTime) -> Result<Identity, String> {
        if let Some(identity) = self.good(now) {
            return Ok(identity);
        }
        let _alone = self.asking.lock().await;
        if let Some(identity) = self.good(now) {
            return Ok(identity);
        }
        let provider = self.provider.as_ref().ok_or("there is no source of credentials")?;
        let credentials = provider.provide_credentials().await.map_err(|error| innermost(&error))?;
        let identity = Identity::from(credentials);
        *self.kept() = Some(identity.clone());
        Ok(identity)
    }

    /// Forgets the identity, if that is what a call came to nothing for.
    fn learn(&self, failure: &Failure) {
        if failure.verdict() == Verdict::RefreshCredentials {
            *self.kept() = None;
        }
    }

    fn good(&self, now: SystemTime) -> Option<Identity> {
        let kept = self.kept().clone();
        kept.filter(|kept| kept.expiration().is_none_or(|expires| now + REFRESH_BEFORE < expires))
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<Identity>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_read_as_each_service_tells_them() {
        let json = br#"{"__type":"com.amazonaws.logs#ThrottlingException","message":"Rate exceeded"}"#;
        assert_eq!(told_in_json(json), ("ThrottlingException".to_owned(), "Rate exceeded".to_owned()));
        assert_eq!(code_of("AccessDeniedException:http://internal.amazon.com/"), "AccessDeniedException");
        assert_eq!(told_in_json(b"<html>"), (String::new(), String::new()));
        let xml = b"<?xml version=\"1.0\"?>\n<Error><Code>NoSuchKey</Code><Message>The key</Message></Error>";
        assert_eq!(told_in_xml(xml), ("NoSuchKey".to_owned(), "The key".to_owned()));
        assert_eq!(told_in_xml(b""), (String::new(), String::new()));
    }
}
