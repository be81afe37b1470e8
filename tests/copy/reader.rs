//! The reader of objects by itself, against a store that gives what it should not.

use std::sync::Arc;
use std::time::Duration;

use millrace::aws::s3::Source;
use millrace::aws::{Aws, AwsSettings, Keys};
use millrace::core::failure::{RetryPolicy, Service};
use millrace::core::object::ObjectRef;
use millrace::core::tenant::TenantId;
use millrace::pipeline::budget::Budget;
use millrace::pipeline::read::{Chunk, ReadFault, Reads};
use millrace::pipeline::retries::Retries;
use millrace::world::World;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use super::stub::{Answer, Stub};

const RETRIES: RetryPolicy =
    RetryPolicy { attempts_max: 3, throttled_max: 12, base: Duration::from_millis(1), cap: Duration::from_millis(5) };

/// Reads an object of twenty bytes in parts of ten, with memory for parts beside others or without. Gives its bytes, why it ended
/// early, and the ranges that were asked for.
async fn read(answers: impl IntoIterator<Item = Answer>, memory: bool) -> (String, Option<ReadFault>, Vec<String>) {
    read_from(Stub::start(answers).await, 10, memory).await
}

async fn read_from(mut stub: Stub, part_bytes: u64, memory: bool) -> (String, Option<ReadFault>, Vec<String>) {
    let aws = Aws::connect(AwsSettings {
        region: "us-east-1".to_owned(),
        endpoints: [(Service::S3, stub.endpoint.clone())].into(),
        s3_path_style: true,
        keys: Some(Keys { id: "id".to_owned(), secret: "secret".to_owned() }),
        ..AwsSettings::default()
    })
    .await;
    let (source, tracker) = (Source::new(&aws), TaskTracker::new());
    let (retries, budget) = (Retries::new(RETRIES, World::new()), Budget::new(64 << 20, 16 << 20).unwrap());
    let [lane, other] = ["acme", "other"].map(|tenant| Arc::new(budget.lane(&TenantId::try_from(tenant).unwrap(), 0)));
    let _taken = if memory { None } else { other.try_early(u64::MAX) };
    let reads = Reads { source, part_bytes, chunks: budget.chunks(), retries, world: World::new(), tracker };
    let object = ObjectRef {
        bucket: Arc::from("b"),
        key: Arc::from("k"),
        version: None,
        etag: None,
        size: None,
        sequencer: None,
    };
    let (mut text, mut fault) = (String::new(), None);
    match reads.open(&object, 0, None, &lane).await {
        Ok(mut reading) => loop {
            match reading.next().await {
                Chunk::Bytes(bytes) => text.push_str(std::str::from_utf8(&bytes).unwrap()),
                Chunk::Last(bytes) => {
                    text.push_str(std::str::from_utf8(&bytes).unwrap());
                    break;
                }
                Chunk::End => break,
                Chunk::Failed(why) => {
                    fault = Some(why);
                    break;
                }
            }
        },
        Err(why) => fault = Some(why),
    }
    assert_eq!(budget.used() > 0, !memory, "all that was claimed beside is given back");
    let ranges = stub.requests().iter().map(|request| request.headers["range"].clone()).collect();
    (text, fault, ranges)
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_taken_only_for_what_they_are() {
    let first = Answer::Part("bytes 0-9/20", "0123456789");
    let second = Answer::Part("bytes 10-19/20", "abcdefghij");
    for memory in [false, true] {
        let (text, fault, ranges) = read([first.clone(), second.clone()], memory).await;
        assert_eq!((text.as_str(), fault), ("0123456789abcdefghij", None));
        assert_eq!(ranges, ["bytes=0-9", "bytes=10-19"]);

        // No bytes, or others than were asked for, are attempts without progress, and those have an end.
        let empty = Answer::Part("bytes 10-19/20", "");
        let others = Answer::Part("bytes 0-9/20", "0123456789");
        for wrong in [empty.clone(), others] {
            let (text, fault, ranges) = read([first.clone(), wrong.clone(), wrong.clone(), wrong], memory).await;
            assert_eq!(text, "0123456789");
            assert!(matches!(fault, Some(ReadFault::Failed(_))), "{fault:?}");
            assert_eq!(ranges.len(), 4, "{ranges:?}");
        }
        let (text, fault, _) = read([first.clone(), empty, second.clone()], memory).await;
        assert_eq!((text.as_str(), fault), ("0123456789abcdefghij", None));

        // An error that breaks off is none that could be told from others; whole it is final.
        let error = "<Error><Code>InvalidRequest</Code></Error>";
        for (asked, refusal) in [(3, Answer::Cut(400, error)), (1, Answer::Text(400, error))] {
            let (text, fault, ranges) = read([refusal, first.clone(), second.clone()], memory).await;
            assert_eq!(
                (text.len(), fault.is_none(), ranges.len()),
                (if asked == 3 { 20 } else { 0 }, asked == 3, asked)
            );
        }

        // Less than was asked for: the rest is asked for. More: it is not read.
        let (some, rest) = (Answer::Part("bytes 10-13/20", "abcd"), Answer::Part("bytes 14-19/20", "efghij"));
        let (text, fault, ranges) = read([first.clone(), some, rest], memory).await;
        assert_eq!((text.as_str(), fault), ("0123456789abcdefghij", None));
        assert_eq!(ranges, ["bytes=0-9", "bytes=10-19", "bytes=14-19"]);
        let all = Answer::Part("bytes 0-19/20", "0123456789abcdefghij");
        let (text, fault, ranges) = read([all], memory).await;
        assert_eq!((text.as_str(), fault), ("0123456789abcdefghij", None));
        assert_eq!(ranges, ["bytes=0-9"]);
    }
}

/// The end of the first part comes only when the second one was asked for. If that cannot be had then, it is asked for again.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_part_is_asked_for_before_the_last_bytes_of_the_one_before() {
    const MIB: usize = 1 << 20;
    let ranges = ["bytes 0-1048575/2097152", "bytes 1048576-2097151/2097152"];
    for (refusals, memory) in [(0, false), (1, false), (0, true), (1, true)] {
        let (gate, open) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        open.notify_one();
        let mut asked = 0;
        let stub = Stub::answering(move |_| {
            asked += 1;
            match asked {
                1 => Answer::Gated(ranges[0], MIB, Arc::clone(&gate)),
                _ => {
                    gate.notify_one();
                    if asked == 2 + refusals {
                        Answer::Gated(ranges[1], MIB, Arc::clone(&open))
                    } else {
                        Answer::Text(503, "")
                    }
                }
            }
        })
        .await;
        let read = tokio::time::timeout(Duration::from_secs(60), read_from(stub, MIB as u64, memory));
        let (text, fault, asked) = read.await.unwrap();
        assert_eq!((text.len(), fault), (2 * MIB, None));
        let second = vec!["bytes=1048576-2097151"; 1 + refusals];
        assert_eq!(asked, [vec!["bytes=0-1048575"], second].concat());
    }
}
