//! Answers that are lost, late, slow, cut short or damaged, and what was done all the same.

use std::io::ErrorKind;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use localcloud::digest;

use crate::stage::{BUCKET, KEY, Stage, broken, pending_until};

/// Longer than what sockets and buffers hold between the two sides.
const LONG: usize = 16 << 20;

#[tokio::test]
async fn a_reset_before_does_nothing() {
    let stage = Stage::new("* reset-before times=2").await;
    assert_eq!(broken(stage.put(&["one"]).await), Some(ErrorKind::ConnectionReset));
    let body = ByteStream::from_static(b"new");
    let put = stage.s3.put_object().bucket(BUCKET).key("new").body(body).send().await;
    assert_eq!(broken(put), Some(ErrorKind::ConnectionReset));
    assert_eq!((stage.done("reset-before"), stage.messages().len()), (2, 0));
    assert!(stage.s3.head_object().bucket(BUCKET).key("new").send().await.is_err());
    stage.put(&["one"]).await.unwrap();
    assert_eq!(stage.messages(), ["one"]);
}

#[tokio::test]
async fn a_reset_after_loses_the_answer_and_keeps_the_events() {
    let stage = Stage::new("logs.PutLogEvents reset-after after=1 times=1; s3.PutObject reset-after times=1").await;
    stage.put(&["zero"]).await.unwrap();
    assert_eq!(broken(stage.put(&["one", "two"]).await), Some(ErrorKind::ConnectionReset));
    assert_eq!(stage.messages(), ["zero", "one", "two"]);
    let body = ByteStream::from_static(b"new");
    let put = stage.s3.put_object().bucket(BUCKET).key("new").body(body).send().await;
    assert_eq!(broken(put), Some(ErrorKind::ConnectionReset));
    let new = stage.s3.get_object().bucket(BUCKET).key("new").send().await.unwrap();
    assert_eq!(&*new.body.collect().await.unwrap().into_bytes(), b"new");
    assert_eq!(stage.done("reset-after"), 2);
    // A client tries again, and the cloud knows which events are there twice for a reason.
    stage.put(&["one", "two"]).await.unwrap();
    assert_eq!(stage.messages().len(), 5);
    let unanswered: Vec<u64> = stage.stream().unanswered().map(|(_, digest)| digest).collect();
    assert_eq!(unanswered, [digest(b"one"), digest(b"two")]);
}

#[tokio::test]
async fn an_answer_breaks_off_and_the_events_are_kept() {
    let stage = Stage::new("logs cut times=1; s3.HeadObject cut times=1").await;
    let _some_error = broken(stage.put(&["one"]).await);
    assert_eq!((stage.messages().len(), stage.stream().unanswered().count()), (1, 1));
    let _some_error = broken(stage.s3.head_object().bucket(BUCKET).key(KEY).send().await);
    assert_eq!(stage.done("cut"), 2);
}

/// Bytes of a body before its end or the end of its connection, and whether that was its end.
async fn read(stage: &Stage) -> (Vec<u8>, bool) {
    let answer = stage.s3.get_object().bucket(BUCKET).key("long").send().await.unwrap();
    assert_eq!(answer.content_length(), Some(i64::try_from(LONG).unwrap()));
    let (mut body, mut bytes) = (answer.body, Vec::new());
    while let Some(piece) = body.next().await {
        match piece {
            Ok(piece) => bytes.extend_from_slice(&piece),
            Err(_) => return (bytes, false),
        }
    }
    (bytes, true)
}

async fn long(spec: &str, seed: u64) -> (Stage, Vec<u8>) {
    let stage = Stage::seeded(spec, seed).await;
    let content: Vec<u8> = (0..u8::MAX).cycle().take(LONG).collect();
    stage.cloud.put_object(BUCKET, "long", content.clone());
    (stage, content)
}

#[tokio::test]
async fn a_body_is_cut_at_a_place_of_the_seeds() {
    let mut lengths = Vec::new();
    for seed in [1, 1, 2] {
        let (stage, content) = long("s3.GetObject cut times=1", seed).await;
        let (bytes, whole) = read(&stage).await;
        assert!(!whole && bytes.len() < LONG && content.starts_with(&bytes), "{}", bytes.len());
        lengths.push(bytes.len());
        assert_eq!(read(&stage).await, (content, true));
        assert_eq!(stage.done("cut"), 1);
    }
    assert!(lengths[0] == lengths[1] && lengths[0] != lengths[2], "{lengths:?}");
}

#[tokio::test]
async fn a_body_has_one_wrong_bit_at_a_place_of_the_seeds() {
    let mut places = Vec::new();
    for seed in [1, 1, 2] {
        let (stage, content) = long("s3.GetObject corrupt times=1", seed).await;
        let (bytes, whole) = read(&stage).await;
        assert!(whole && bytes.len() == LONG);
        let wrong: Vec<usize> = (0..LONG).filter(|at| bytes[*at] != content[*at]).collect();
        assert_eq!(wrong.len(), 1);
        assert_eq!((bytes[wrong[0]] ^ content[wrong[0]]).count_ones(), 1);
        places.push(wrong[0]);
        assert_eq!(read(&stage).await, (content, true));
        assert_eq!(stage.done("corrupt"), 1);
    }
    assert!(places[0] == places[1] && places[0] != places[2], "{places:?}");
}

/// A refusal has a body too, which is not the object's.
#[tokio::test]
async fn what_is_no_body_of_an_object_is_not_damaged() {
    let stage = Stage::new("s3 corrupt times=1; s3 slow=1 times=1").await;
    assert!(stage.s3.get_object().bucket(BUCKET).key("none").send().await.is_err());
    stage.cloud.put_object(BUCKET, "empty", "");
    stage.s3.get_object().bucket(BUCKET).key("empty").send().await.unwrap();
    assert!(stage.cloud.faults_done().is_empty());
    let answer = stage.s3.get_object().bucket(BUCKET).key(KEY).send().await.unwrap();
    assert_ne!(&*answer.body.collect().await.unwrap().into_bytes(), b"hello");
}

/// An hour's delay, which is over when the cloud's clock says so.
#[tokio::test]
async fn an_answer_comes_late_for_what_was_done_at_once() {
    let stage = Stage::new("logs delay=1h times=1").await;
    let done = || stage.done("delay") == 1;
    let advance = || {
        assert_eq!(stage.messages(), ["one"]);
        stage.cloud.advance(Duration::from_secs(3600));
    };
    pending_until(stage.put(&["one"]), done, advance).await.unwrap();
    assert_eq!(stage.stream().unanswered().count(), 1);
}

/// A thousand bytes, one a second: the client has some, and all when the cloud's clock is moved on.
#[tokio::test]
async fn a_body_comes_slowly() {
    let stage = Stage::new("s3.GetObject slow=1 times=1").await;
    let content = "0123456789".repeat(100);
    stage.cloud.put_object(BUCKET, "slow", content.clone());
    let mut answer = stage.s3.get_object().bucket(BUCKET).key("slow").send().await.unwrap();
    let first = answer.body.next().await.unwrap().unwrap();
    assert!(first.len() < 100, "{}", first.len());
    let mut looks = 0;
    let many_looks = || {
        looks += 1;
        looks > 1000
    };
    let rest = pending_until(answer.body.collect(), many_looks, || stage.cloud.advance(Duration::from_secs(1000)));
    let rest = rest.await.unwrap().into_bytes();
    assert_eq!([&first[..], &rest[..]].concat(), content.as_bytes());
    assert_eq!(stage.done("slow"), 1);
}
