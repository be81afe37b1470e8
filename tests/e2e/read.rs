//! Objects whose GETs break off, or that are overwritten while they are read. What does it stands between the daemon and the
//! store, and sees nothing but bytes.

#![expect(clippy::disallowed_methods, reason = "no drain has to join what stands in between")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use localcloud::Faults;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};

use crate::stage::{CENTRAL, Stage, gzip, lines, until};

const KEY: &str = "acme/c1/api/pod-0/1.json";
/// Bytes of one GET, as `PART_BYTES` is set here.
const PART: u64 = 256 * 1024;
/// Most bytes of an answer's head.
const HEAD: u64 = 1024;

/// What happens when the store has answered so many bytes in all: once.
#[derive(Clone)]
enum Then {
    /// The connection ends.
    Cut,
    /// Something else is done first.
    Do(Arc<dyn Fn() + Send + Sync>),
}

/// Passes bytes on between the daemon and the store.
struct Between {
    endpoint: String,
    answered: Arc<AtomicU64>,
    happened: Arc<AtomicBool>,
}

impl Between {
    async fn start(stage: &Stage, at: u64, then: Then) -> Self {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let store = stage.cloud.endpoint().trim_start_matches("http://").to_owned();
        let (answered, happened) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (sum, once) = (Arc::clone(&answered), Arc::clone(&happened));
        tokio::spawn(async move {
            loop {
                let (daemon, _) = listener.accept().await.unwrap();
                let store = TcpStream::connect(&store).await.unwrap();
                tokio::spawn(pass_on(daemon, store, (Arc::clone(&sum), Arc::clone(&once)), at, then.clone()));
            }
        });
        Self { endpoint, answered, happened }
    }
}

async fn pass_on(
    daemon: TcpStream,
    store: TcpStream,
    (answered, happened): (Arc<AtomicU64>, Arc<AtomicBool>),
    at: u64,
    then: Then,
) {
    let (mut asks, mut to_daemon) = daemon.into_split();
    let (mut answers, mut to_store) = store.into_split();
    let asking = tokio::spawn(async move { copy(&mut asks, &mut to_store).await });
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = answers.read(&mut buffer).await {
        let sum = answered.load(Ordering::SeqCst) + read as u64;
        if sum >= at && !happened.swap(true, Ordering::SeqCst) {
            match &then {
                Then::Cut => break,
                Then::Do(something) => something(),
            }
        }
        answered.fetch_add(read as u64, Ordering::SeqCst);
        if to_daemon.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    asking.abort();
}

/// An object of more than seven parts, and its messages.
fn object(stage: &Stage, name: &str) -> (String, Vec<String>) {
    let messages: Vec<String> = (0..2000).map(|at| format!("{name} {at} {}", "x".repeat(900))).collect();
    let now = stage.cloud.now_ms();
    let text: String =
        messages.iter().map(|message| json!({ "timestamp": now, "message": message }).to_string() + "\n").collect();
    assert!(text.len() as u64 > 7 * PART);
    (text, messages)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_that_breaks_off_is_taken_up_at_the_byte_it_reached() {
    let mut stage = Stage::new().await;
    let acme = stage.tenant("acme", |_| {});
    let (text, messages) = object(&stage, "line");
    // In the middle of the third part.
    let between = Between::start(&stage, 2 * PART + PART / 2, Then::Cut).await;
    let parts = (text.len() as u64).div_ceil(PART);
    let bytes = text.len() as u64;
    stage.put(KEY, text);
    let daemon = stage.sqs(&[("AWS_ENDPOINT_URL_S3", &between.endpoint), ("PART_BYTES", "256KiB")]);
    stage.until_settled(0).await;
    let (_, log) = daemon.stop().await;
    assert_eq!(stage.messages(&acme, "pod-0"), messages);
    assert_eq!(lines(&log, "object settled").len(), 1, "it is one attempt");
    // The parts begin anew where the third one ended: no byte was sent twice.
    let calls = stage.calls("GetObject", CENTRAL);
    assert!((parts..=parts + 1).contains(&calls), "{calls} calls for {parts} parts");
    let answered = between.answered.load(Ordering::SeqCst);
    assert!(between.happened.load(Ordering::SeqCst) && answered < bytes + calls * HEAD, "{answered} bytes of {bytes}");
}

/// A gzip object of twenty batches or so, the same bytes each time, and its messages.
fn numbered() -> (Vec<String>, Vec<u8>) {
    let messages: Vec<String> = (0..20_000).map(|at| format!("{at:0900}")).collect();
    let text: String = messages.iter().map(|message| json!({ "message": message }).to_string() + "\n").collect();
    (messages, gzip(text.as_bytes()))
}

/// What was sent before its checksum failed is not sent again, nor lost, but counted; the second time it is all right.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_on_its_way_is_fetched_again_once() {
    let mut stage = Stage::new().await;
    let acme = stage.tenant("acme", |_| {});
    let (messages, stored) = numbered();
    stage.put(KEY, stored);
    stage.cloud.set_faults(Some(&Faults::parse("s3.GetObject corrupt times=1", 5).unwrap()));
    let daemon = stage.sqs(&[]);
    stage.until_settled(0).await;
    let (_, log) = daemon.stop().await;
    let settled = lines(&log, "object settled");
    let of = |field: &str| settled.iter().map(|line| line[field].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let (finishes, tallies) = (of("finish"), of("tally"));
    assert_eq!(finishes, ["retryable", "delivered"], "{tallies:?}");
    let got = stage.messages(&acme, "pod-0");
    let before: usize = tallies[0].split(' ').nth(4).unwrap().parse().unwrap();
    assert!(
        before > 0 && tallies[0].contains(&format!("delivered {before} ({before} delivered_unverified)")),
        "{tallies:?}"
    );
    assert!(!tallies[1].contains("unverified") && tallies[1].contains("resumed_skipped"), "{tallies:?}");
    assert!(got.get(before..).unwrap() == messages.get(messages.len() - (got.len() - before)..).unwrap());
}

/// What was accepted before damage was found stays known when the object cannot be fetched again at once.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_of_a_damaged_object_is_known_to_the_next_attempt() {
    let mut stage = Stage::new().await;
    let acme = stage.tenant("acme", |_| {});
    let (_, stored) = numbered();
    stage.put(KEY, stored);
    let faults = "s3.GetObject corrupt times=1; s3.GetObject 500 times=3";
    stage.cloud.set_faults(Some(&Faults::parse(faults, 5).unwrap()));
    let daemon = stage.sqs(&[]);
    until("it is handed back", || stage.calls("ChangeMessageVisibilityBatch", CENTRAL) > 0).await;
    stage.cloud.advance(std::time::Duration::from_secs(60));
    stage.until_settled(0).await;
    let (_, log) = daemon.stop().await;
    let settled = lines(&log, "object settled");
    let finishes: Vec<&str> = settled.iter().map(|line| line["finish"].as_str().unwrap()).collect();
    assert_eq!(finishes, ["retryable", "unavailable", "delivered"]);
    let mut got = stage.messages(&acme, "pod-0");
    let all = got.len();
    got.sort_unstable();
    got.dedup();
    assert!(all > 0 && got.len() == all, "{} of {all} events are different", got.len());
}

/// What is damaged each time is given up, and what was sent of it is sent once.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_damaged_is_read_twice_and_given_up() {
    let mut stage = Stage::new().await;
    let acme = stage.tenant("acme", |_| {});
    let (messages, mut stored) = numbered();
    let crc = stored.len() - 8;
    stored[crc] ^= 1;
    stage.put(KEY, stored);
    let (setting, dead) = stage.dead_letters();
    let daemon = stage.sqs(&[(setting, &dead)]);
    stage.until_settled(1).await;
    let (_, log) = daemon.stop().await;
    let settled = lines(&log, "object settled");
    let finishes: Vec<&str> = settled.iter().map(|line| line["finish"].as_str().unwrap()).collect();
    assert_eq!(finishes, ["retryable", "corrupt_object"]);
    assert_eq!(stage.calls("GetObject", CENTRAL), 2);
    let got = stage.messages(&acme, "pod-0");
    assert!(!got.is_empty() && messages.starts_with(&got), "{} events, each once", got.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_overwritten_while_it_is_read_gives_way_to_its_successor() {
    let mut stage = Stage::new().await;
    let acme = stage.tenant("acme", |_| {});
    let (old, olds) = object(&stage, "old");
    let (new, news) = object(&stage, "new");
    stage.put(KEY, old);
    let stage = Arc::new(stage);
    let overwrite = {
        let stage = Arc::clone(&stage);
        move || stage.put(KEY, new.clone())
    };
    let between = Between::start(&stage, PART + PART / 2, Then::Do(Arc::new(overwrite))).await;
    let daemon = stage.sqs(&[("AWS_ENDPOINT_URL_S3", &between.endpoint), ("PART_BYTES", "256KiB")]);
    stage.until_settled(0).await;
    let (_, log) = daemon.stop().await;

    let settled = lines(&log, "object settled");
    let finishes: Vec<&str> = settled.iter().map(|line| line["finish"].as_str().unwrap()).collect();
    assert_eq!(finishes, ["superseded", "delivered"]);
    assert_eq!(settled[0]["cause"], "the object was overwritten while it was read");
    // Bytes of two versions are never mixed: of the old one some first events may have been sent, of the new one all are.
    let got = stage.messages(&acme, "pod-0");
    let (before, after) = got.split_at(got.len() - news.len());
    assert_eq!(after, news);
    assert!(olds.starts_with(before), "{} events", before.len());
}
