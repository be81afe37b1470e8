//! The daemon told to stop in the midst of a copy.

use std::process::Command;

use super::stub::{Answer, Stub};
use super::world::{ACME, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_takes_the_upload_back_and_hands_the_message_back_at_once() {
    let world = World::start().await;
    world.bucket(ACME, "acme-logs", "acme");
    world.s3_row("acme", "acme-logs", None, &[]);
    world.put("acme/c1/api/pod-0/f.gz", &["x"]).await;
    // An object of 6 GiB, whose first part takes longer than anybody waits.
    let upload = "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>";
    let mut stub = Stub::answering(move |request| match request.line.split(' ').next() {
        Some("HEAD") => Answer::Head("t", 6 << 30),
        Some("POST") => Answer::Text(200, upload),
        Some("DELETE") => Answer::Text(200, ""),
        _ => Answer::Never,
    })
    .await;
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
