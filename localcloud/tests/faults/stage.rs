//! A cloud with something of every service, and a client of each.

use std::fmt::Debug;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use aws_sdk_cloudwatchlogs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_cloudwatchlogs::operation::put_log_events::{PutLogEventsError, PutLogEventsOutput};
use aws_sdk_cloudwatchlogs::types::InputLogEvent;
use aws_sdk_s3::config::http::HttpResponse;
use localcloud::{Cloud, Faults, Stream};

pub(crate) const ACCOUNT: &str = "111111111111";
pub(crate) const REGION: &str = "us-east-1";
pub(crate) const BUCKET: &str = "logs-of-tests";
pub(crate) const KEY: &str = "object";
pub(crate) const TABLE: &str = "table";
pub(crate) const GROUP: &str = "group";
pub(crate) const STREAM: &str = "stream";

/// A client of a service, without retries and at a cloud.
macro_rules! client {
    ($sdk:ident, $endpoint:expr, $key:expr, |$config:ident| $change:expr) => {{
        use $sdk::config::retry::RetryConfig;
        use $sdk::config::{BehaviorVersion, Config, Credentials, Region};
        let key: &localcloud::AccessKey = $key;
        let $config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new($crate::stage::REGION))
            .endpoint_url($endpoint)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .credentials_provider(Credentials::new(&key.id, &key.secret, None, None, "test"))
            .retry_config(RetryConfig::disabled());
        $sdk::Client::from_conf($change.build())
    }};
}
pub(crate) use client;

pub(crate) struct Stage {
    pub(crate) cloud: Cloud,
    /// The queue's ARN.
    pub(crate) queue: String,
    pub(crate) s3: aws_sdk_s3::Client,
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) dynamodb: aws_sdk_dynamodb::Client,
    pub(crate) sts: aws_sdk_sts::Client,
    pub(crate) logs: aws_sdk_cloudwatchlogs::Client,
}

impl Stage {
    /// All is there, and from now on these faults happen.
    pub(crate) async fn new(spec: &str) -> Self {
        Self::seeded(spec, 7).await
    }

    pub(crate) async fn seeded(spec: &str, seed: u64) -> Self {
        let cloud = Cloud::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), REGION).await.unwrap();
        let key = cloud.add_user(ACCOUNT, "tester");
        cloud.create_bucket(ACCOUNT, BUCKET);
        cloud.put_object(BUCKET, KEY, "hello");
        let queue = cloud.create_queue(ACCOUNT, "queue", Duration::from_secs(600), None);
        cloud.create_table(ACCOUNT, TABLE, "id", None);
        let endpoint = cloud.endpoint();
        let stage = Self {
            s3: client!(aws_sdk_s3, &endpoint, &key, |config| config
                .force_path_style(true)
                .stalled_stream_protection(aws_sdk_s3::config::StalledStreamProtectionConfig::disabled())),
            sqs: client!(aws_sdk_sqs, &endpoint, &key, |config| config),
            dynamodb: client!(aws_sdk_dynamodb, &endpoint, &key, |config| config),
            sts: client!(aws_sdk_sts, &endpoint, &key, |config| config),
            logs: client!(aws_sdk_cloudwatchlogs, &endpoint, &key, |config| config),
            cloud,
            queue,
        };
        stage.logs.create_log_group().log_group_name(GROUP).send().await.unwrap();
        stage.logs.create_log_stream().log_group_name(GROUP).log_stream_name(STREAM).send().await.unwrap();
        stage.faults(spec, seed);
        stage
    }

    pub(crate) fn faults(&self, spec: &str, seed: u64) {
        self.cloud.set_faults(Some(&Faults::parse(spec, seed).unwrap()));
    }

    /// How often a kind has happened.
    pub(crate) fn done(&self, kind: &str) -> u64 {
        self.cloud.faults_done().get(kind).copied().unwrap_or(0)
    }

    pub(crate) fn queue_url(&self) -> String {
        self.cloud.queue_url(ACCOUNT, "queue")
    }

    /// Puts events with these messages, a millisecond apart.
    pub(crate) async fn put(
        &self,
        messages: &[&str],
    ) -> Result<PutLogEventsOutput, SdkError<PutLogEventsError, HttpResponse>> {
        let now = self.cloud.now_ms();
        let events = messages
            .iter()
            .zip(now..)
            .map(|(message, at)| InputLogEvent::builder().timestamp(at).message(*message).build().unwrap());
        let put = self.logs.put_log_events().log_group_name(GROUP).log_stream_name(STREAM);
        put.set_log_events(Some(events.collect())).send().await
    }

    /// What the log stream has.
    pub(crate) fn stream(&self) -> Stream {
        let mut found = None;
        self.cloud.each_stream(|_, _, _, _, stream| found = Some(stream.clone()));
        found.unwrap()
    }

    /// The messages that arrived.
    pub(crate) fn messages(&self) -> Vec<String> {
        self.stream().events().map(|(_, message)| message.to_owned()).collect()
    }
}

/// A service's refusal: code and HTTP status.
pub(crate) fn refusal<T, E>(result: Result<T, SdkError<E, HttpResponse>>) -> (String, u16)
where
    T: Debug,
    E: ProvideErrorMetadata + Debug,
{
    match result {
        Err(SdkError::ServiceError(error)) => {
            (error.err().code().unwrap_or_default().to_owned(), error.raw().status().as_u16())
        }
        other => panic!("not refused: {other:?}"),
    }
}

/// The kind of the I/O error that a call failed with, without an answer.
pub(crate) fn broken<T, E>(result: Result<T, SdkError<E, HttpResponse>>) -> Option<std::io::ErrorKind>
where
    T: Debug,
    E: std::error::Error + 'static,
{
    let Err(error) = result else { panic!("answered: {result:?}") };
    assert!(!matches!(error, SdkError::ServiceError(_)), "refused: {error:?}");
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        cause = error.source();
    }
    None
}

/// Drives a call, which must not end, until something holds; then it goes on.
pub(crate) async fn pending_until<F: Future>(call: F, mut holds: impl FnMut() -> bool, then: impl FnOnce()) -> F::Output
where
    F::Output: Debug,
{
    let mut call = pin!(call);
    while !holds() {
        tokio::select! {
            biased;
            ended = &mut call => panic!("it ended early: {ended:?}"),
            () = tokio::task::yield_now() => {}
        }
    }
    then();
    call.await
}
