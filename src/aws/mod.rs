//! AWS: the only place that names the SDK.
//!
//! An adapter makes one call and reports how it went: it does not retry, cache or decide. All clients share one HTTP client
//! and its connections; every call has a timeout; the SDK's own retries are off, because ours know what may be repeated.
//! The ambient identity serves the queue, the table, the source bucket and the first hop. A tenant's credentials come from
//! [`sts::Roles`], which takes a delivery and nothing else, and go into a [`logs::LogGroup`] or a
//! [`bucket::TargetBucket`] bound to it.

pub mod bucket;
pub mod connector;
pub mod dynamodb;
pub mod logs;
pub mod s3;
pub mod sqs;
pub mod sts;
mod wire;

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::RequestId;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{SharedHttpClient, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::http::Response;
use aws_smithy_types::endpoint::Endpoint;
use aws_smithy_types::retry::{ErrorKind, RetryConfig};
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::sdk_config::{SharedTimeSource, TimeSource};
use aws_types::service_config::ServiceConfigKey;
use futures_util::FutureExt as _;

use self::connector::Connector;
use self::wire::Ambient;
use crate::core::failure::{Failure, FailureKind, Service};
use crate::world::World;

/// Longest wait for the whole answer of a call, but for those that wait or stream on purpose.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Characters kept of what a service says in an error.
const ERROR_TEXT_MAX: usize = 300;

/// Where the services are and who calls them. None of it is needed on AWS itself.
#[derive(Clone, Debug, Default)]
pub struct AwsSettings {
    /// The daemon's region.
    pub region: String,
    /// The profile of the shared configuration files.
    pub profile: Option<String>,
    /// Other endpoints than the region's own.
    pub endpoints: BTreeMap<Service, String>,
    /// Bucket names in the path instead of the host name.
    pub s3_path_style: bool,
    /// The ambient identity's keys, when they do not come by the usual chain.
    pub keys: Option<Keys>,
}

/// Keys of a user: access key and secret.
#[derive(Clone)]
pub struct Keys {
    /// The public half.
    pub id: String,
    /// The secret half.
    pub secret: String,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Keys {
    fn credentials(&self) -> Credentials {
        Credentials::new(&self.id, &self.secret, None, None, "settings")
    }
}

/// The wall clock of a world, for the SDK.
#[derive(Debug)]
struct WorldTime(World);

impl TimeSource for WorldTime {
    fn now(&self) -> SystemTime {
        let millis = u64::try_from(self.0.wall().0).unwrap_or_default();
        UNIX_EPOCH + Duration::from_millis(millis)
    }
}

/// A call's whole answer is to come within so long.
fn timeouts(call: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().operation_attempt_timeout(call).build()
}

/// The connection to AWS with the ambient identity. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Aws {
    base: SdkConfig,
    settings: Arc<AwsSettings>,
    /// What all clients send by, and those calls that are made without one.
    http: SharedHttpConnector,
    time: SharedTimeSource,
    ambient: Arc<Ambient>,
}

impl Aws {
    /// Finds the ambient identity by the SDK's usual chain (environment, profile with SSO, web identity, container,
    /// instance). It is used at the first call, not here.
    pub async fn connect(settings: AwsSettings) -> Self {
        let http = SharedHttpConnector::new(Connector::new());
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(client(&http))
            .region(Region::new(settings.region.clone()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts(CALL_TIMEOUT));
        if let Some(profile) = &settings.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(keys) = &settings.keys {
            loader = loader.credentials_provider(keys.credentials());
        }
        let base = loader.load().await;
        let time = base.time_source().unwrap_or_default();
        Self::of(base, settings, http, time)
    }

    /// The same through another connector and at the times of another world, with nothing of the environment: who calls
    /// is what the settings say, or nobody.
    #[must_use]
    pub fn over(settings: AwsSettings, http: SharedHttpConnector, world: World) -> Self {
        let mut base = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(client(&http))
            .time_source(WorldTime(world))
            .region(Region::new(settings.region.clone()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts(CALL_TIMEOUT));
        base.set_credentials_provider(
            settings.keys.as_ref().map(Keys::credentials).map(SharedCredentialsProvider::new),
        );
        let time = SharedTimeSource::new(WorldTime(world));
        Self::of(base.build(), settings, http, time)
    }

    fn of(base: SdkConfig, settings: AwsSettings, http: SharedHttpConnector, time: SharedTimeSource) -> Self {
        let ambient = Arc::new(Ambient::new(base.credentials_provider()));
        Self { base, settings: Arc::new(settings), http, time, ambient }
    }

    /// The daemon's region.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.settings.region
    }

    /// Whether a service is called by HTTPS: by plain HTTP only what stands for it is, on the same machine.
    #[must_use]
    pub fn is_encrypted(&self, service: Service) -> bool {
        self.endpoint_beside_clients(service).is_none_or(|endpoint| endpoint.starts_with("https:"))
    }

    fn endpoint(&self, service: Service) -> Option<String> {
        self.settings.endpoints.get(&service).cloned()
    }

    /// The same, or what the configuration files say, for calls that are made without a client.
    fn endpoint_beside_clients(&self, service: Service) -> Option<String> {
        let id = match service {
            Service::S3 => "S3",
            Service::Sqs => "SQS",
            Service::DynamoDb => "DynamoDB",
            Service::Sts => "STS",
            Service::Logs => "CloudWatch Logs",
        };
        let key = ServiceConfigKey::builder().service_id(id).env("AWS_ENDPOINT_URL").profile("endpoint_url").build();
        let of_service = || self.base.service_config()?.load_config(key.ok()?);
        self.endpoint(service).or_else(of_service).or_else(|| self.base.endpoint_url().map(str::to_owned))
    }
}

/// The address that a service's rules give. They wait for nothing.
///
/// # Errors
/// Why there is none.
fn address(rules: impl Future<Output = Result<Endpoint, BoxError>>) -> Result<String, String> {
    let endpoint = rules.now_or_never().ok_or("the endpoint is not known")?.map_err(|error| error.to_string())?;
    Ok(endpoint.url().trim_end_matches('/').to_owned())
}

/// A client that sends all by one connector, so that all share its connections.
fn client(http: &SharedHttpConnector) -> SharedHttpClient {
    let http = http.clone();
    http_client_fn(move |_, _| http.clone())
}

/// The answer to a call, with its error as a failure.
fn answer<T, E>(
    service: Service,
    operation: &'static str,
    result: Result<T, SdkError<E, Response>>,
) -> Result<T, Failure>
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    result.map_err(|error| failure(service, operation, &error))
}

/// What an SDK error comes down to.
fn failure<E>(service: Service, operation: &'static str, error: &SdkError<E, Response>) -> Failure
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    let request_id = error.request_id().map(str::to_owned);
    let (kind, text) = match error {
        SdkError::ServiceError(answer) => {
            let code = answer.err().code().unwrap_or_default().to_owned();
            let text = answer.err().message().unwrap_or_default().to_owned();
            (FailureKind::Answer { code, status: answer.raw().status().as_u16() }, text)
        }
        SdkError::ResponseError(answer) => {
            let status = answer.raw().status().as_u16();
            if status < 400 {
                (FailureKind::Connection, "the answer could not be read".to_owned())
            } else {
                (FailureKind::Answer { code: String::new(), status }, String::new())
            }
        }
        SdkError::TimeoutError(_) => (FailureKind::Timeout, String::new()),
        SdkError::DispatchFailure(cause) if cause.is_timeout() => (FailureKind::Timeout, String::new()),
        // A connection that the server closes before its answer is a transient fault of another kind to the connector.
        SdkError::DispatchFailure(cause) if cause.is_io() || cause.as_other() == Some(ErrorKind::TransientError) => {
            (FailureKind::Connection, innermost(error))
        }
        SdkError::ConstructionFailure(_) | SdkError::DispatchFailure(_) | _ => {
            let kind = if lacks_credentials(error) { FailureKind::Credentials } else { FailureKind::Other };
            (kind, innermost(error))
        }
    };
    Failure { service, operation, kind, text: one_line(&text), request_id }
}

/// A text in one line; of a long one, its beginning and its end, where the cause of a list of attempts stands.
fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let line = lines.join("; ");
    let chars = line.chars().count();
    if chars <= ERROR_TEXT_MAX {
        return line;
    }
    let half = ERROR_TEXT_MAX / 2;
    let (head, tail): (String, String) = (line.chars().take(half).collect(), line.chars().skip(chars - half).collect());
    format!("{head} … {tail}")
}

fn causes<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error: &&'e (dyn StdError + 'static)| error.source())
}

fn lacks_credentials(error: &(dyn StdError + 'static)) -> bool {
    causes(error).any(|cause| cause.is::<CredentialsError>())
}

fn innermost(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_errors_are_one_line_with_their_beginning_and_their_end() {
        assert_eq!(
            one_line("no credentials:\n  Environment: not set\n\n  Profile: none\n"),
            "no credentials:; Environment: not set; Profile: none"
        );
        let long = one_line(&format!("begin {} end", "é".repeat(1000)));
        assert!(long.starts_with("begin é") && long.ends_with("é end") && long.contains(" … "));
        assert_eq!(long.chars().count(), ERROR_TEXT_MAX + 3);
    }
}
