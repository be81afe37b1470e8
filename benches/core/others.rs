//! The same work as others write it: with the usual crates, and without a thought.
//!
//! Both make batches of the same events by the same limits, and send them by the SDK's builders to nobody: it serializes,
//! hashes and signs each request, and a connector takes it.

use std::borrow::Cow;
use std::io::{BufRead as _, BufReader, Read as _};
use std::sync::{Arc, Mutex};

use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_cloudwatchlogs::types::InputLogEvent;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::DateTime;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::date_time::Format;
use millrace::core::batch::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX, EVENT_OVERHEAD_BYTES};
use serde::Deserialize;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::sets::{Kind, Set};

/// Answers every call, and shows its body.
#[derive(Clone, Debug, Default)]
struct Nobody {
    bodies: Option<Arc<Mutex<Vec<Vec<u8>>>>>,
}

impl HttpConnector for Nobody {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = request.body().bytes().unwrap();
        if let Some(bodies) = &self.bodies {
            bodies.lock().unwrap().push(body.to_vec());
        }
        HttpConnectorFuture::ready(Ok(HttpResponse::new(200.try_into().unwrap(), SdkBody::from("{}"))))
    }
}

impl HttpClient for Nobody {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// Events on their way to a log group.
pub(crate) struct Sdk {
    runtime: Runtime,
    client: Client,
    events: Vec<InputLogEvent>,
    bytes: usize,
}

impl Sdk {
    /// A client, which keeps the bodies of its requests in `bodies`.
    pub(crate) fn new(bodies: Option<Arc<Mutex<Vec<Vec<u8>>>>>) -> Self {
        let config = aws_sdk_cloudwatchlogs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("AKIDEXAMPLE", "secret", None, None, "bench"))
            .http_client(Nobody { bodies })
            .build();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        Self { runtime, client: Client::from_conf(config), events: Vec::new(), bytes: 0 }
    }

    fn event(&mut self, millis: i64, message: String) {
        let bytes = message.len() + EVENT_OVERHEAD_BYTES;
        if self.bytes + bytes > BATCH_BYTES_MAX || self.events.len() == BATCH_EVENTS_MAX {
            self.send();
        }
        self.bytes += bytes;
        self.events.push(InputLogEvent::builder().timestamp(millis).message(message).build().unwrap());
    }

    fn send(&mut self) {
        self.bytes = 0;
        let call = self.client.put_log_events().log_group_name("/acme/logs").log_stream_name("pod-0");
        let call = call.set_log_events(Some(std::mem::take(&mut self.events)));
        self.runtime.block_on(call.send()).unwrap();
    }
}

#[derive(Deserialize)]
struct Record<'r> {
    #[serde(borrow)]
    message: Cow<'r, str>,
    #[serde(borrow)]
    timestamp: Cow<'r, str>,
}

fn millis(text: &str) -> i64 {
    DateTime::from_str(text, Format::DateTimeWithOffset).unwrap().to_millis().unwrap()
}

/// flate2 with zlib-rs, serde into a struct that borrows, line by line.
pub(crate) fn idiomatic(kind: Kind, set: &Set, sdk: &mut Sdk) -> u64 {
    let mut records = 0;
    for object in &set.stored {
        let mut reader = BufReader::new(flate2::bufread::MultiGzDecoder::new(&object[..]));
        let mut text = Vec::new();
        if kind == Kind::Array {
            reader.read_to_end(&mut text).unwrap();
            for record in serde_json::from_slice::<Vec<Record<'_>>>(&text).unwrap() {
                sdk.event(millis(&record.timestamp), record.message.into_owned());
                records += 1;
            }
            continue;
        }
        while reader.read_until(b'\n', &mut text).unwrap() > 0 {
            let record: Record<'_> = serde_json::from_slice(&text).unwrap();
            sdk.event(millis(&record.timestamp), record.message.into_owned());
            records += 1;
            text.clear();
        }
    }
    sdk.send();
    records
}

/// miniz_oxide, whole objects, `Value`s.
pub(crate) fn naive(kind: Kind, set: &Set, sdk: &mut Sdk) -> u64 {
    let mut records = 0;
    for object in &set.stored {
        // The sets' headers have no optional fields.
        let text = miniz_oxide::inflate::decompress_to_vec(&object[10..object.len() - 8]).unwrap();
        let text = String::from_utf8(text).unwrap();
        let values: Vec<Value> = if kind == Kind::Array {
            serde_json::from_str(&text).unwrap()
        } else {
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        for value in values {
            let (message, time) = (value["message"].as_str().unwrap(), value["timestamp"].as_str().unwrap());
            sdk.event(millis(time), message.to_owned());
            records += 1;
        }
    }
    sdk.send();
    records
}
