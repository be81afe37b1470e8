//! The promise about memory: at most the budget and 24 MiB, whatever the objects are.

use loadgen::{Compression, Fleet, MessageSpec, ObjectSize, ObjectSource, ObjectSpec};
use localcloud::Keep;

use crate::stage::{CENTRAL, Stage, gzip, until};

const MIB: u64 = 1024 * 1024;
/// MEMORY_BUDGET's default, and what the process may take besides. The program that is built for tests is larger than the
/// released one: idle, it takes ten MiB more, and is allowed eight.
pub(crate) const ALLOWED_BYTES: u64 = (40 + 24 + if cfg!(debug_assertions) { 8 } else { 0 }) * MIB;

fn objects(spec: ObjectSpec) -> ObjectSource {
    let message = MessageSpec { min_bytes: 400, max_bytes: 900, ..MessageSpec::default() };
    ObjectSource::new(ObjectSpec { message, compression: Compression::Gzip(1), ..spec }).unwrap()
}

/// Writes the objects, and says how many records and decompressed bytes they have.
fn put(stage: &Stage, objects: &ObjectSource) -> (u64, u64) {
    stage.cloud.keep(Keep::Digests);
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
    // So many that what each may hold of the memory is enough for its streams; half as many would have to send.
    const TENANTS: u64 = 8;
    const STREAMS: u64 = 200;
    let mut stage = Stage::new().await;
    let tenants: Vec<String> = (0..TENANTS).map(|at| format!("tenant-{at}")).collect();
    let accounts: Vec<String> = tenants.iter().map(|name| stage.tenant(name, |_| {}).account).collect();
    let fleet = Fleet { tenants, pods: STREAMS / TENANTS, ..Fleet::default() };
    let start_ms = stage.cloud.now_ms() - 3_600_000;
    let spec = ObjectSpec { start_ms, fleet, ..ObjectSpec::default() };
    // An object of a few lines for each stream, whose batch then waits for more for as long as this test is patient.
    let first = ObjectSpec { objects: STREAMS, size: ObjectSize::Records(3), ..spec.clone() };
    let (first_records, _) = put(&stage, &objects(first));
    let daemon = stage.sqs(&[("LINGER", "300s")]);
    let read = |objects: u64| stage.calls("GetObject", CENTRAL) >= objects;
    until("every stream's object is read", || read(STREAMS)).await;
    let sent = || accounts.iter().map(|account| stage.calls("PutLogEvents", account)).sum::<u64>();
    let messages = usize::try_from(STREAMS).unwrap();
    assert_eq!((sent(), stage.left()), (0, (messages, 0)), "all streams are open at once, and nothing is sent of any");

    // Ten times as much as memory takes of the same streams: now full batches are sent, and others for want of memory.
    let more = ObjectSpec { objects: 4 * STREAMS, size: ObjectSize::Bytes(MIB / 2), seed: spec.seed + 1, ..spec };
    let (more_records, _) = put(&stage, &objects(more));
    until("every message is received, and every object read", || stage.left().1 == 0 && read(5 * STREAMS)).await;
    let peak = daemon.peak_rss();
    let (status, _) = daemon.stop().await;
    assert!(status.success(), "{status}");
    assert_eq!(stage.left(), (0, 0));
    let mut streams = 0;
    stage.cloud.each_stream(|_, _, _, _, _| streams += 1);
    println!("{streams} streams: peak RSS {} KiB", peak / 1024);
    assert_eq!((streams, arrived(&stage)), (STREAMS, first_records + more_records));
    assert!(peak <= ALLOWED_BYTES, "{} KiB", peak / 1024);
}

/// Overload: 10,000 objects wait in the queue, as many messages are held as may be, and no lane gets an answer. Memory, open
/// files and messages held stay within their bounds; and when the accounts answer again, all of it arrives.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_objects_and_hundreds_of_lanes_that_get_no_answer() {
    const TENANTS: usize = 25;
    const STREAMS: usize = 20;
    const OBJECTS: usize = 10_000;
    /// Connections to CloudWatch Logs, as many to the source as the memory for objects allows, and what a process has open.
    const FILES_MAX: usize = 64 + 100 + 40;
    let mut stage = Stage::new().await;
    stage.cloud.keep(Keep::Digests);
    let tenants: Vec<_> = (0..TENANTS).map(|at| stage.tenant(&format!("t{at}"), |_| {})).collect();
    let lines: String = (0..20).map(|at| format!("{{\"message\":\"{at:0500}\"}}\n")).collect();
    let body = gzip(lines.as_bytes());
    for at in 0..OBJECTS {
        let (tenant, stream) = (at % TENANTS, at / TENANTS % STREAMS);
        stage.put(&format!("t{tenant}/c1/api/pod-{stream}/{at}.gz"), body.clone());
    }
    tenants.iter().for_each(|tenant| stage.cloud.hold("PutLogEvents", &tenant.account));
    let daemon = stage.sqs(&[]);
    until("all calls that there may be wait for an answer, and more messages were received than may be held", || {
        let calls = tenants.iter().map(|tenant| stage.calls("PutLogEvents", &tenant.account));
        calls.sum::<u64>() >= 60 && stage.calls("ReceiveMessage", CENTRAL) > 100
    })
    .await;
    let (files, peak) = (daemon.open_files(), daemon.peak_rss());
    println!("{files} files open, peak RSS {} KiB", peak / 1024);
    assert!(files <= FILES_MAX, "{files} files");
    tenants.iter().for_each(|tenant| stage.cloud.release("PutLogEvents", &tenant.account));
    let mut looks = 0;
    until("the queue drains", || {
        looks += 1;
        // What was handed back is shown again.
        if looks % 50 == 0 && stage.left().1 == 0 {
            stage.cloud.advance(std::time::Duration::from_secs(10));
        }
        stage.left() == (0, 0)
    })
    .await;
    let peak = daemon.peak_rss();
    let (status, _) = daemon.stop().await;
    assert!(status.success(), "{status}");
    println!("{OBJECTS} objects: peak RSS {} KiB", peak / 1024);
    assert_eq!(arrived(&stage), 20 * OBJECTS as u64, "each event once");
    assert!(peak <= ALLOWED_BYTES, "{} KiB", peak / 1024);
}
