//! The promise about memory: at most the budget and 24 MiB, whatever the objects are.

use loadgen::{Compression, Fleet, MessageSpec, ObjectSize, ObjectSource, ObjectSpec};

use crate::stage::{CENTRAL, Stage, until};

const MIB: u64 = 1024 * 1024;
/// MEMORY_BUDGET's default, and what the process may take besides.
const ALLOWED_BYTES: u64 = (40 + 24) * MIB;

fn objects(spec: ObjectSpec) -> ObjectSource {
    let message = MessageSpec { min_bytes: 400, max_bytes: 900, ..MessageSpec::default() };
    ObjectSource::new(ObjectSpec { message, compression: Compression::Gzip(1), ..spec }).unwrap()
}

/// Writes the objects, and says how many records and decompressed bytes they have.
fn put(stage: &Stage, objects: &ObjectSource) -> (u64, u64) {
    stage.cloud.keep_digests_only();
    let (mut records, mut bytes) = (0, 0);
    for object in objects.objects(0..objects.count()) {
        records += object.recipe.records;
        bytes += object.decompressed_bytes;
        stage.put(&object.key, object.body);
    }
    (records, bytes)
}

fn arrived(stage: &Stage) -> u64 {
    let mut events = 0;
    stage.cloud.each_stream(|_, _, _, _, content| events += content.digests().len() as u64);
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_daemon() {
    let stage = Stage::new().await;
    let daemon = stage.sqs(&[]);
    until("the queue is polled", || stage.calls("ReceiveMessage", CENTRAL) >= 2).await;
    let peak = daemon.peak_rss();
    daemon.stop().await;
    println!("idle, with an empty queue: peak RSS {} KiB", peak / 1024);
    assert!(peak <= ALLOWED_BYTES, "{} KiB", peak / 1024);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_large_object() {
    let mut stage = Stage::new().await;
    stage.tenant("acme", |_| {});
    let fleet = Fleet { tenants: vec!["acme".to_owned()], ..Fleet::default() };
    let start_ms = stage.cloud.now_ms() - 3_600_000;
    let spec = ObjectSpec { objects: 1, size: ObjectSize::Bytes(1024 * MIB), fleet, start_ms, ..ObjectSpec::default() };
    let (records, _) = put(&stage, &objects(spec));
    let daemon = stage.sqs(&[]);
    stage.until_settled(0).await;
    let peak = daemon.peak_rss();
    daemon.stop().await;
    println!("one object of 1 GiB: peak RSS {} KiB", peak / 1024);
    assert_eq!(arrived(&stage), records);
    assert!(peak <= ALLOWED_BYTES, "{} KiB", peak / 1024);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_open_streams() {
    let mut stage = Stage::new().await;
    let tenants: Vec<String> = (0..4).map(|at| format!("tenant-{at}")).collect();
    for name in &tenants {
        stage.tenant(name, |_| {});
    }
    let fleet = Fleet { tenants, pods: 50, ..Fleet::default() };
    let start_ms = stage.cloud.now_ms() - 3_600_000;
    let spec = ObjectSpec { objects: 800, size: ObjectSize::Bytes(MIB / 2), fleet, start_ms, ..ObjectSpec::default() };
    let (records, _) = put(&stage, &objects(spec));
    // So long a linger that every stream stays open until its batch is full or memory is short.
    let daemon = stage.sqs(&[("LINGER", "2s")]);
    stage.until_settled(0).await;
    let peak = daemon.peak_rss();
    daemon.stop().await;
    let mut streams = 0;
    stage.cloud.each_stream(|_, _, _, _, _| streams += 1);
    println!("{streams} streams: peak RSS {} KiB", peak / 1024);
    assert_eq!((streams, arrived(&stage)), (200, records));
    assert!(peak <= ALLOWED_BYTES, "{} KiB", peak / 1024);
}
