//! The reject store: what CloudWatch Logs does not take is kept before its message is settled.

use std::collections::BTreeMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use localcloud::Faults;
use serde_json::{Value, json};

use super::world::{ACME, CENTRAL, World};

const STORE: (&str, &str) = ("REJECT_STORE", "s3://rejects/kept");
const KEY: &str = "acme/c1/api/pod-0/1.json.gz";

/// An object with events of all fates, in the order of their times: message and reason.
async fn put(world: &World) -> Vec<(String, Option<&'static str>)> {
    let now = world.cloud.now_ms();
    let hour = 3_600_000;
    let mut events = Vec::new();
    events.extend((0..20).map(|at| (now - 20 * 24 * hour, format!("ancient \"{at}\""), Some("too_old"))));
    // The first of them are past the group's retention.
    events.extend((0..30).map(|at| (now - 60_000, format!("line {at} é"), (at < 5).then_some("expired"))));
    events.insert(40, (now - 60_000, "poison \\".to_owned(), Some("refused")));
    events.extend((0..10).map(|at| (now + 5 * hour, format!("future {at}"), Some("too_new"))));
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    for (time, message, _) in &events {
        writeln!(gzip, "{}", json!({ "timestamp": time, "message": message })).unwrap();
    }
    world.put_bytes(KEY, gzip.finish().unwrap()).await;
    events.into_iter().map(|(_, message, why)| (message, why)).collect()
}

/// The reasons by message, and the ordinals, of all lines that are kept.
async fn kept(world: &World) -> BTreeMap<String, (String, u64)> {
    let mut lines = BTreeMap::new();
    for key in world.keys(CENTRAL, "rejects").await {
        assert!(key.starts_with("kept/acme/") && key.ends_with(".ndjson"), "{key}");
        let found = world.get(CENTRAL, "rejects", &key).await;
        assert_eq!(found.content_type.as_deref(), Some("application/x-ndjson"));
        for line in String::from_utf8(found.bytes).unwrap().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!((&line["key"], &line["tenant"]), (&KEY.into(), &"acme".into()));
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let at = line["ordinal"].as_u64().unwrap();
            let before = lines.insert(text(&line["event"]["message"]), (text(&line["reason"]), at));
            assert_eq!(before, None, "{line}");
        }
    }
    lines
}

fn check(world: &World, events: &[(String, Option<&str>)], kept: &BTreeMap<String, (String, u64)>) {
    for (ordinal, (message, why)) in events.iter().enumerate() {
        let expected = why.map(|why| (why.to_owned(), ordinal as u64));
        assert_eq!(kept.get(message), expected.as_ref(), "{message}");
    }
    let delivered: Vec<&String> = events.iter().filter(|(_, why)| why.is_none()).map(|(message, _)| message).collect();
    assert_eq!(world.messages(ACME)["pod-0"].iter().collect::<Vec<_>>(), delivered, "each once");
}

async fn world() -> World {
    let world = World::start().await;
    world.cloudwatch_row("acme", ACME, &[]);
    world.cloud.refuse("poison");
    world
}

/// What the daemon drops by time, what the API rejects and what it refuses: each with its reason and its place, though
/// the store and the API fail now and then.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_taken_is_kept_with_its_reason_and_its_place() {
    let world = world().await;
    world.cloud.create_bucket(CENTRAL, "rejects");
    let events = put(&world).await;
    // Both halves of the batch with the refused event are accepted in turn; the first one has five expired events.
    let faults = "s3.PutObject 503 times=2; logs.PutLogEvents reject-expired=5 times=1";
    world.cloud.set_faults(Some(&Faults::parse(faults, 1).unwrap()));
    let run = world.deliver(&[STORE]).await;
    assert_eq!(run.code, 0, "{}", run.err);
    check(&world, &events, &kept(&world).await);
}

/// Without its store no message is settled; when it is there again all is kept, and nothing that was accepted is sent twice.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_settled_that_could_not_be_kept() {
    let world = world().await;
    let mut events = put(&world).await;
    for (_, why) in events.iter_mut().filter(|(_, why)| *why == Some("expired")) {
        *why = None;
    }
    let mut daemon = world.poll(&[STORE, ("SQS_WAIT", "1s"), ("LINGER", "0")]);
    let until = async |what: &str, holds: &dyn Fn() -> bool| {
        let mut looks = 0;
        while !holds() {
            looks += 1;
            assert!(looks < 3_000, "{what}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    until("it is handed back", &|| world.calls("ChangeMessageVisibilityBatch") > 0).await;
    assert_eq!(world.queued(), (0, 1), "it is not settled");
    world.cloud.create_bucket(CENTRAL, "rejects");
    world.cloud.advance(std::time::Duration::from_secs(3600));
    until("it is settled", &|| world.queued() == (0, 0)).await;
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    check(&world, &events, &kept(&world).await);
}
