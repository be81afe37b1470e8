//! `loadgen objects --bucket` against an endpoint that takes every PUT, or refuses it.

#![cfg(feature = "s3")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::mpsc::{SyncSender, sync_channel};

/// One request as it came.
struct Put {
    head: Vec<String>,
    body: Vec<u8>,
}

impl Put {
    fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.iter().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")))?;
        line.split_once(": ").map(|(_, value)| value)
    }
}

fn serve(stream: TcpStream, answer: &str, puts: &SyncSender<Put>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    loop {
        let head: Vec<String> =
            reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        if head.is_empty() {
            return;
        }
        let mut put = Put { head, body: Vec::new() };
        let length = put.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        reader.by_ref().take(length).read_to_end(&mut put.body).unwrap();
        puts.send(put).unwrap();
        writer.write_all(answer.as_bytes()).unwrap();
    }
}

/// Uploads five objects and gives back what came to the endpoint.
fn upload(answer: &'static str) -> (Output, Vec<Put>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (puts, came) = sync_channel(100);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let puts = puts.clone();
            std::thread::spawn(move || serve(stream.unwrap(), answer, &puts));
        }
    });
    let flags =
        ["objects", "--seed", "7", "--objects", "5", "--records", "40", "--bucket", "logs", "--endpoint", &endpoint];
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(flags)
        .env_clear()
        .envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_EC2_METADATA_DISABLED", "true")])
        .output()
        .unwrap();
    (output, came.try_iter().collect())
}

#[test]
fn each_object_is_put_under_its_key() {
    let (output, puts) = upload("HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 0\r\n\r\n");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("Total objects: 5") && stderr.contains("Total logs: 200"), "{stderr}");
    assert_eq!(puts.len(), 5);
    for put in &puts {
        let request = &put.head[0];
        assert!(
            request.starts_with("PUT /logs/test-customer/test-cluster/test-app/test-app-0/20250901-000"),
            "{request}"
        );
        assert_eq!(put.header("content-encoding"), Some("gzip"));
        assert!(put.header("authorization").unwrap().contains("/us-east-1/s3/aws4_request"));
        let mut plain = String::new();
        flate2::read::GzDecoder::new(&put.body[..]).read_to_string(&mut plain).unwrap();
        let records: Vec<serde_json::Value> = serde_json::from_str(&plain).unwrap();
        assert_eq!(records.len(), 40);
    }
}

#[test]
fn a_refused_upload_is_named() {
    let body = "HTTP/1.1 403 Forbidden\r\nContent-Length: 61\r\n\r\n<Error><Code>AccessDenied</Code><Message>no</Message></Error>";
    let (output, _) = upload(body);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("Error: s3://logs/test-customer/test-cluster/") && stderr.contains("AccessDenied"),
        "{stderr}"
    );
}
