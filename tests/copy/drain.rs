//! The daemon told to stop in the midst of a copy.

use std::process::Command;

use super::stub::{Answer, Stub};
use super::world::{ACME, World};

/// A tenant's object of 6 GiB, and a store on which its first part takes longer than anybody waits.
async fn endless_copy() -> (World, Stub) {
    let world = World::start().await;
    world.bucket(ACME, "acme-logs", "acme");
    world.s3_row("acme", "acme-logs", None, &[]);
    world.put("acme/c1/api/pod-0/f.gz", &["x"]).await;
    let upload = "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>";
    let stub = Stub::answering(move |request| match request.line.split(' ').next() {
        Some("HEAD") => Answer::Head("t", 6 << 30),
        Some("POST") => Answer::Text(200, upload),
        Some("DELETE") => Answer::Text(200, ""),
        _ => Answer::Never,
    })
    .await;
    (world, stub)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_takes_the_upload_back_and_hands_the_message_back_at_once() {
    let (world, mut stub) = endless_copy().await;
    let env = [("AWS_ENDPOINT_URL_S3", stub.endpoint.clone()), ("DRAIN_TIMEOUT", "1s".to_owned())];
    let mut daemon = world.poll(&env.each_ref().map(|(name, value)| (*name, value.as_str())));
    while !stub.request().await.line.starts_with("PUT ") {}
    assert_eq!(world.queued(), (0, 1));

    assert!(Command::new("kill").arg(daemon.id().to_string()).status().unwrap().success());
    let ended = tokio::task::spawn_blocking(move || daemon.wait().unwrap()).await.unwrap();

    assert_eq!(ended.code(), Some(0));
    assert!(stub.request().await.line.starts_with("DELETE /acme-logs/"));
    assert_eq!(world.queued(), (1, 0), "another replica takes over at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_by_hand_takes_its_upload_back_too() {
    let (world, mut stub) = endless_copy().await;
    let env = [("AWS_ENDPOINT_URL_S3", stub.endpoint.clone()), ("DRAIN_TIMEOUT", "1s".to_owned())];
    let env = env.each_ref().map(|(name, value)| (*name, value.as_str()));
    let mut manual = world.deliver_on("acme/c1/api/pod-0/f.gz", &env);
    while !stub.request().await.line.starts_with("PUT ") {}

    assert!(Command::new("kill").arg(manual.id().to_string()).status().unwrap().success());
    let ended = tokio::task::spawn_blocking(move || manual.wait().unwrap()).await.unwrap();

    assert_eq!(ended.code(), Some(1), "it was not delivered");
    assert!(stub.request().await.line.starts_with("DELETE /acme-logs/"));
}
