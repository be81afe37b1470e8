//! What one tenant's trouble costs the others, in turns within one run.
//!
//! The released binary in mode `sqs` serves twenty tenants of an embedded cloud, which runs in this process and shares the
//! machine. In each turn nineteen of them get the same objects, and the twentieth is well, throttled to nothing, denied, or
//! answered ten seconds late. Then a quiet tenant's small objects are told of behind a loud one's backlog of 5 GiB.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot run has nothing to say, and says what it has"
)]
#![expect(clippy::disallowed_methods, reason = "it measures time")]
#![expect(clippy::cast_precision_loss, reason = "for people")]
#![allow(dead_code, reason = "the benches share more than each of them uses")]

#[path = "support/clock.rs"]
mod clock;
#[path = "../tests/support/stage.rs"]
mod stage;

use std::io::Write;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use localcloud::{Faults, Keep};
use serde_json::json;

use self::clock::median_of;
use self::stage::{BUCKET, CENTRAL, Stage, Tenant, until};

/// Tenants, and objects of each, of so many bytes before they are compressed.
const TENANTS: usize = 20;
const OBJECTS: usize = 32;
const OBJECT_BYTES: usize = 1 << 20;
/// Turns of each kind.
const TURNS: usize = 5;
/// The loud tenant's backlog: objects, streams, bytes of each object.
const BACKLOG: (usize, usize, usize) = (640, 8, 8 << 20);
/// Quiet objects that are measured behind it.
const QUIET: usize = 10;

/// A gzip object of about so many bytes, and its events.
fn object(bytes: usize, now_ms: i64) -> (Bytes, usize) {
    let mut dice = fastrand::Rng::with_seed(7);
    let words: Vec<String> = (0..500).map(|_| (0..dice.usize(3..12)).map(|_| dice.lowercase()).collect()).collect();
    let (mut text, mut events) = (Vec::new(), 0);
    while text.len() < bytes {
        let mut message = format!("{:016x}", dice.u64(..));
        while message.len() < 500 {
            message.push(' ');
            message.push_str(&words[dice.usize(..words.len())]);
        }
        writeln!(text, "{}", json!({ "timestamp": now_ms, "message": message })).unwrap();
        events += 1;
    }
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&text).unwrap();
    (gzip.finish().unwrap().into(), events)
}

/// Events in the accounts of these tenants.
fn arrived(stage: &Stage, tenants: &[Tenant]) -> usize {
    let mut events = 0;
    stage.cloud.each_stream(|account, _, _, _, stream| {
        if tenants.iter().any(|tenant| tenant.account == account) {
            events += stream.digests().len();
        }
    });
    events
}

/// Seconds in which nineteen tenants get their logs beside one that is as `trouble` has it.
async fn turn(trouble: Option<&str>) -> f64 {
    let mut stage = Stage::new().await;
    stage.cloud.keep(Keep::Digests);
    let tenants: Vec<Tenant> = (0..TENANTS).map(|at| stage.tenant(&format!("t{at:02}"), |_| {})).collect();
    let (noisy, others) = tenants.split_first().unwrap();
    if let Some(trouble) = trouble {
        let rule = format!("logs@{} {trouble}", noisy.account);
        stage.cloud.set_faults(Some(&Faults::parse(&rule, 1).unwrap()));
    }
    let (bytes, events) = object(OBJECT_BYTES, stage.cloud.now_ms());
    let daemon = stage.sqs(&[]);
    until("it polls", || stage.calls("ReceiveMessage", CENTRAL) > 0).await;
    let begun = Instant::now();
    for at in 0..OBJECTS {
        for tenant in 0..TENANTS {
            stage.cloud.put_object(BUCKET, &format!("t{tenant:02}/c1/api/pod-{}/{at}.gz", at % 4), bytes.clone());
        }
    }
    let wanted = others.len() * OBJECTS * events;
    until("the others have their logs", || arrived(&stage, others) >= wanted).await;
    let took = begun.elapsed().as_secs_f64();
    assert_eq!(arrived(&stage, others), wanted);
    drop(daemon);
    took
}

/// Seconds until each of some small objects has arrived that are told of behind a loud tenant's backlog.
async fn behind_a_backlog() -> Vec<f64> {
    let mut stage = Stage::new().await;
    stage.cloud.keep(Keep::Digests);
    let loud = [stage.tenant("loud", |_| {})];
    let quiet = [stage.tenant("quiet", |_| {})];
    let (objects, streams, size) = BACKLOG;
    let (bytes, _) = object(size, stage.cloud.now_ms());
    for at in 0..objects {
        stage.cloud.put_object(BUCKET, &format!("loud/c1/api/pod-{}/{at}.gz", at % streams), bytes.clone());
    }
    let (small, events) = object(10_000, stage.cloud.now_ms());
    let daemon = stage.sqs(&[]);
    until("the backlog is in work", || arrived(&stage, &loud) > 0).await;
    let mut took = Vec::new();
    for at in 0..QUIET {
        let begun = Instant::now();
        stage.cloud.put_object(BUCKET, &format!("quiet/c1/api/pod-{at}/1.gz"), small.clone());
        until("the quiet tenant has its logs", || arrived(&stage, &quiet) >= (at + 1) * events).await;
        took.push(begun.elapsed().as_secs_f64());
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let left = stage.left();
    assert!(left.0 + left.1 > 0, "the backlog was gone before the last of them");
    drop(daemon);
    took
}

#[tokio::main]
async fn main() {
    let cases = [
        ("well", None),
        ("throttled to nothing", Some("throttle")),
        ("denied", Some("denied")),
        ("10 s late", Some("delay=10s")),
    ];
    let mut took = vec![Vec::new(); cases.len()];
    for _ in 0..TURNS {
        for ((_, trouble), took) in cases.iter().zip(&mut took) {
            took.push(turn(*trouble).await);
        }
    }
    let megabytes = ((TENANTS - 1) * OBJECTS * OBJECT_BYTES) as f64 / 1e6;
    let medians: Vec<f64> = took.into_iter().map(median_of).collect();
    println!("the twentieth tenant is | the others: s | MB/s | of their throughput beside a tenant that is well");
    for ((name, _), seconds) in cases.iter().zip(&medians) {
        println!("{name} | {seconds:.2} | {:.0} | {:.2}", megabytes / seconds, medians[0] / seconds);
    }
    let took = behind_a_backlog().await;
    let most = took.iter().copied().fold(0.0, f64::max);
    println!(
        "a small object behind a backlog of 5 GiB: median {:.2} s, longest {most:.2} s of {QUIET}",
        median_of(took)
    );
}
