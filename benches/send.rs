//! What the SDK costs on the way of one batch: our sender's PutLogEvents beside bare hyper with a signature.
//!
//! Both send the same body of about 1 MiB over loopback to a server that reads it and answers with nothing in it. Most of
//! either is the SHA-256 that the signature takes of the body; `hash` is that alone.

#![expect(clippy::unwrap_used, reason = "a bench that cannot send has nothing to measure")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use millrace::aws::logs::{LogGroup, RequestBody};
use millrace::aws::sts::{Hops, Roles};
use millrace::aws::{Aws, AwsSettings, Keys};
use millrace::core::failure::Service;
use millrace::core::tenant::{ClusterId, Field, Target, TenantId, deliveries};
use millrace::core::time::UnixMillis;
use sha2::{Digest, Sha256};

/// Events of the batch, and the characters of each: a usual one's.
const EVENTS: usize = 1000;
const MESSAGE_BYTES: usize = 1020;
const REGION: &str = "us-east-1";
const TARGET: &str = "Logs_20140328.PutLogEvents";
/// The credentials that the server hands out, in AssumeRole's answer.
const ASSUMED: &str = "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
    <Credentials><AccessKeyId>ASIABENCH</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken>\
    <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>";

/// Answers each request once its body is read, until the connection ends.
fn serve(connection: TcpStream) -> Option<()> {
    let mut writer = connection.try_clone().ok()?;
    let mut reader = BufReader::with_capacity(256 * 1024, connection);
    let mut body = Vec::new();
    loop {
        let (mut length, mut logs) = (0, false);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().ok()?;
            }
            logs |= line.starts_with("x-amz-target: ");
        }
        body.resize(length, 0);
        reader.read_exact(&mut body).ok()?;
        let answer = if logs { "{}" } else { ASSUMED };
        // In one piece: the rest of one in pieces would wait for the client's delayed acknowledgement.
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
        writer.write_all(answer.as_bytes()).ok()?;
    }
}

/// The server's address. It ends with the process.
fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            std::thread::spawn(move || serve(connection));
        }
    });
    endpoint
}

/// The group of a tenant, with the session that the server gives.
async fn log_group(endpoint: &str) -> LogGroup {
    let settings = AwsSettings {
        region: REGION.to_owned(),
        endpoints: [Service::Logs, Service::Sts].map(|service| (service, endpoint.to_owned())).into(),
        keys: Some(Keys { id: "AKIABENCH".to_owned(), secret: "secret".to_owned() }),
        ..AwsSettings::default()
    };
    let aws = Aws::connect(settings).await;
    let fields = [
        ("tenant_id", "acme"),
        ("type", "cloudwatch"),
        ("log_distribution_role_arn", "arn:aws:iam::222222222222:role/delivery"),
        ("log_group_name", "/acme/logs"),
    ];
    let row: BTreeMap<_, _> =
        fields.into_iter().map(|(name, value)| (name.to_owned(), Field::Text(value.to_owned()))).collect();
    let config = deliveries(&TenantId::try_from("acme").unwrap(), &[row], UnixMillis(0));
    let delivery = config.deliveries.first().unwrap();
    let Target::CloudWatch(target) = delivery.target() else { unreachable!("the row says so") };
    let roles = Roles::new(&aws, Hops::One, None);
    let session = roles.assume(delivery, &ClusterId::try_from("c1").unwrap()).await.unwrap();
    LogGroup::new(&aws, target, &session)
}

/// A request as small as the service takes it, signed over the same body.
#[expect(clippy::disallowed_methods, reason = "a signature is of its time")]
fn signed(endpoint: &str, body: &Bytes) -> Request<Full<Bytes>> {
    let identity = Credentials::new("ASIABENCH", "secret", Some("token".to_owned()), None, "bench").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name("logs")
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .unwrap()
        .into();
    let host = endpoint.trim_start_matches("http://");
    let headers = [("host", host), ("content-type", "application/x-amz-json-1.1"), ("x-amz-target", TARGET)];
    let signable = SignableRequest::new("POST", endpoint, headers.into_iter(), SignableBody::Bytes(body)).unwrap();
    let (instructions, _) = sign(signable, &params).unwrap().into_parts();
    let mut request = Request::post(format!("{endpoint}/"));
    for (name, value) in headers.into_iter().chain(instructions.headers()) {
        request = request.header(name, value);
    }
    request.body(Full::new(body.clone())).unwrap()
}

fn send(criterion: &mut Criterion) {
    let endpoint = server();
    let message = "x".repeat(MESSAGE_BYTES);
    let events: Vec<_> = (0..EVENTS)
        .map(|at| serde_json::json!({ "timestamp": 1_700_000_000_000_usize + at, "message": message }))
        .collect();
    let batch = serde_json::json!({ "logGroupName": "/acme/logs", "logStreamName": "pod-0", "logEvents": events });
    let body = Bytes::from(batch.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let group_of_ours = runtime.block_on(log_group(&endpoint));
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();

    let mut group = criterion.benchmark_group("send");
    group.throughput(Throughput::Bytes(body.len() as u64)).measurement_time(Duration::from_secs(5));
    group.bench_function("sdk", |bencher| {
        // Hashed each time, as each batch is once; the daemon does it where the batch was sealed.
        let hashed = || RequestBody { bytes: body.clone(), sha256: Sha256::digest(&body).into(), packed: false };
        bencher.iter(|| runtime.block_on(group_of_ours.put(hashed())).unwrap());
    });
    group.bench_function("hyper", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                let answer = client.request(signed(&endpoint, &body)).await.unwrap();
                assert!(answer.status().is_success());
                black_box(answer.into_body().collect().await.unwrap().to_bytes())
            })
        });
    });
    group.bench_function("hash", |bencher| bencher.iter(|| black_box(Sha256::digest(&body))));
    group.finish();
}

criterion_group!(benches, send);
criterion_main!(benches);
