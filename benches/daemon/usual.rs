//! The same work by a program as others write it: the SDK's clients and builders, flate2 with zlib-rs, serde.
//!
//! It delivers what is well formed, and knows no faults: with them it would cost more.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io::{BufRead as _, BufReader};
use std::process::Command;
use std::sync::Arc;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::Credentials;
use aws_sdk_cloudwatchlogs::Client as Logs;
use aws_sdk_cloudwatchlogs::types::InputLogEvent;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::types::Message;
use aws_sdk_sts::types::Tag;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use bytes::Bytes;
use millrace::core::batch::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX, EVENT_OVERHEAD_BYTES};
use serde::Deserialize;
use tokio::sync::{Mutex, Semaphore, mpsc};

use crate::stage::{CENTRAL, Daemon, Stage};

/// The argument with which this bench is that program.
pub(crate) const MODE: &str = "--as-others-do";
/// Objects in work.
const OBJECTS_MAX: usize = 16;
const TABLE: &str = "tenant-configurations";

/// Starts it on a stage.
pub(crate) fn start(stage: &Stage) -> Daemon {
    let mut command: Command = stage.program(std::env::current_exe().unwrap());
    Daemon::start(command.arg(MODE))
}

/// A tenant's client and log group.
type Target = (Logs, String);

struct Usual {
    base: SdkConfig,
    sqs: aws_sdk_sqs::Client,
    s3: aws_sdk_s3::Client,
    queue: String,
    targets: Mutex<HashMap<String, Target>>,
    /// Those that are known to be there.
    streams: Mutex<HashSet<String>>,
}

/// Works until it is killed.
pub(crate) async fn run() {
    let base = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let path_style = aws_sdk_s3::config::Builder::from(&base).force_path_style(true).build();
    let usual = Arc::new(Usual {
        sqs: aws_sdk_sqs::Client::new(&base),
        s3: aws_sdk_s3::Client::from_conf(path_style),
        queue: std::env::var("SQS_QUEUE_URL").unwrap(),
        targets: Mutex::default(),
        streams: Mutex::default(),
        base,
    });
    let places = Arc::new(Semaphore::new(OBJECTS_MAX));
    loop {
        let received = usual.sqs.receive_message().queue_url(&usual.queue).max_number_of_messages(10);
        let received = received.wait_time_seconds(1).send().await.unwrap();
        for message in received.messages.unwrap_or_default() {
            let (usual, place) = (Arc::clone(&usual), Arc::clone(&places).acquire_owned().await.unwrap());
            tokio::spawn(async move {
                usual.work(message).await;
                drop(place);
            });
        }
    }
}

#[derive(Deserialize)]
struct Wrapped {
    #[serde(rename = "Message")]
    message: String,
}

#[derive(Deserialize)]
struct Notification {
    #[serde(rename = "Records")]
    records: Vec<Told>,
}

#[derive(Deserialize)]
struct Told {
    s3: Where,
}

#[derive(Deserialize)]
struct Where {
    bucket: Name,
    object: Key,
}

#[derive(Deserialize)]
struct Name {
    name: String,
}

#[derive(Deserialize)]
struct Key {
    key: String,
}

#[derive(Deserialize)]
struct Record<'r> {
    #[serde(borrow)]
    message: Cow<'r, str>,
    #[serde(borrow)]
    timestamp: Cow<'r, str>,
}

/// What the keys of a stream's objects begin with.
fn key_of_stream(key: &str) -> &str {
    key.rsplit_once('/').unwrap().0
}

impl Usual {
    async fn work(&self, message: Message) {
        let wrapped: Wrapped = serde_json::from_str(message.body().unwrap()).unwrap();
        let notification: Notification = serde_json::from_str(&wrapped.message).unwrap();
        for told in notification.records {
            self.deliver(&told.s3.bucket.name, &told.s3.object.key).await;
        }
        let delete = self.sqs.delete_message().queue_url(&self.queue);
        delete.receipt_handle(message.receipt_handle().unwrap()).send().await.unwrap();
    }

    async fn deliver(&self, bucket: &str, key: &str) {
        let names: Vec<&str> = key.split('/').collect();
        let (logs, group) = self.target(names[0], names[1]).await;
        let object = self.s3.get_object().bucket(bucket).key(key).send().await.unwrap();
        let stored = object.body.collect().await.unwrap().into_bytes();
        let (batches, mut sealed) = mpsc::channel(1);
        let read = tokio::task::spawn_blocking(move || read(&stored, &batches));
        while let Some(batch) = sealed.recv().await {
            let known = self.streams.lock().await.contains(key_of_stream(key));
            send(&logs, &group, names[3], known, batch).await;
            if !known {
                self.streams.lock().await.insert(key_of_stream(key).to_owned());
            }
        }
        read.await.unwrap();
    }

    async fn target(&self, tenant: &str, cluster: &str) -> Target {
        let mut targets = self.targets.lock().await;
        if let Some(target) = targets.get(tenant) {
            return target.clone();
        }
        let query = aws_sdk_dynamodb::Client::new(&self.base).query().table_name(TABLE);
        let query = query.key_condition_expression("tenant_id = :tenant");
        let rows =
            query.expression_attribute_values(":tenant", AttributeValue::S(tenant.to_owned())).send().await.unwrap();
        let text = |field: &str| rows.items()[0][field].as_s().unwrap().clone();
        let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build().unwrap();
        let hop = aws_sdk_sts::Client::new(&self.base).assume_role().role_session_name("usual");
        let hop = hop.role_arn(std::env::var("CENTRAL_LOG_DISTRIBUTION_ROLE_ARN").unwrap());
        let hop = hop.tags(tag("tenant_id", tenant)).tags(tag("cluster_id", cluster));
        let hop = hop.transitive_tag_keys("tenant_id").transitive_tag_keys("cluster_id").send().await.unwrap();
        let central = self.as_whom(hop.credentials().unwrap());
        let hop = aws_sdk_sts::Client::new(&central).assume_role().role_session_name("usual").external_id(CENTRAL);
        let hop = hop.role_arn(text("log_distribution_role_arn")).send().await.unwrap();
        let target = (Logs::new(&self.as_whom(hop.credentials().unwrap())), text("log_group_name"));
        targets.insert(tenant.to_owned(), target.clone());
        target
    }

    fn as_whom(&self, credentials: &aws_sdk_sts::types::Credentials) -> SdkConfig {
        let (id, secret) = (credentials.access_key_id(), credentials.secret_access_key());
        let token = Some(credentials.session_token().to_owned());
        let credentials = Credentials::new(id, secret, token, None, "usual");
        let provider = aws_credential_types::provider::SharedCredentialsProvider::new(credentials);
        self.base.clone().into_builder().credentials_provider(provider).build()
    }
}

/// An object's events, in batches.
fn read(stored: &Bytes, batches: &mpsc::Sender<Vec<InputLogEvent>>) {
    let mut reader = BufReader::new(flate2::bufread::MultiGzDecoder::new(&stored[..]));
    let (mut line, mut events, mut bytes) = (Vec::new(), Vec::new(), 0);
    while reader.read_until(b'\n', &mut line).unwrap() > 0 {
        let record: Record<'_> = serde_json::from_slice(&line).unwrap();
        let time = DateTime::from_str(&record.timestamp, Format::DateTimeWithOffset).unwrap().to_millis().unwrap();
        let size = record.message.len() + EVENT_OVERHEAD_BYTES;
        if bytes + size > BATCH_BYTES_MAX || events.len() == BATCH_EVENTS_MAX {
            batches.blocking_send(std::mem::take(&mut events)).unwrap();
            bytes = 0;
        }
        bytes += size;
        events.push(InputLogEvent::builder().timestamp(time).message(record.message).build().unwrap());
        line.clear();
    }
    if !events.is_empty() {
        batches.blocking_send(events).unwrap();
    }
}

/// Sends a batch into a stream, of which it may be known that it is there.
async fn send(logs: &Logs, group: &str, stream: &str, known: bool, mut batch: Vec<InputLogEvent>) {
    batch.sort_by_key(InputLogEvent::timestamp);
    loop {
        let call = logs.put_log_events().log_group_name(group).log_stream_name(stream);
        if known {
            call.set_log_events(Some(batch)).send().await.unwrap();
            return;
        }
        let Err(error) = call.set_log_events(Some(batch.clone())).send().await else { return };
        assert!(error.into_service_error().is_resource_not_found_exception(), "a batch is refused");
        // Others may have made them meanwhile.
        let _group_is_there = logs.create_log_group().log_group_name(group).send().await;
        let _stream_is_there = logs.create_log_stream().log_group_name(group).log_stream_name(stream).send().await;
    }
}
