//! Events that PutLogEvents rejects, and what the stream remembers of them.

use aws_sdk_cloudwatchlogs::operation::put_log_events::PutLogEventsOutput;
use aws_sdk_cloudwatchlogs::types::InputLogEvent;
use localcloud::digest;

use crate::stage::{GROUP, STREAM, Stage};

/// Which places are told: the end of those too old and of those expired, and the start of those too new.
type Told = (Option<i32>, Option<i32>, Option<i32>);

fn told(answer: &PutLogEventsOutput) -> Told {
    let told = answer.rejected_log_events_info().unwrap();
    (told.too_old_log_event_end_index(), told.expired_log_event_end_index(), told.too_new_log_event_start_index())
}

/// Puts five events under a rule, and gives what is told and what is kept; the others must be remembered.
async fn put(rule: &str) -> (Told, Vec<String>) {
    const MESSAGES: [&str; 5] = ["a", "b", "c", "d", "e"];
    let stage = Stage::new(&format!("logs {rule} times=1")).await;
    let answer = stage.put(&MESSAGES).await.unwrap();
    let (told, kept, stream) = (told(&answer), stage.messages(), stage.stream());
    let rejected = MESSAGES.iter().filter(|message| !kept.contains(&(**message).to_owned()));
    let rejected: Vec<u64> = rejected.map(|message| digest(message.as_bytes())).collect();
    assert_eq!(stream.rejected().iter().map(|(_, digest)| *digest).collect::<Vec<_>>(), rejected);
    assert_eq!(stream.events().len() + rejected.len(), MESSAGES.len());
    let kind = rule.split('=').next().unwrap();
    assert_eq!(stage.done(kind), 1);
    // The next call is none of its.
    assert!(stage.put(&MESSAGES).await.unwrap().rejected_log_events_info().is_none());
    (told, kept)
}

#[tokio::test]
async fn first_events_are_too_old() {
    let (told, kept) = put("reject-old=2").await;
    assert_eq!((told, kept.concat().as_str()), ((Some(2), None, None), "cde"));
}

#[tokio::test]
async fn first_events_are_expired() {
    let (told, kept) = put("reject-expired=4").await;
    assert_eq!((told, kept.concat().as_str()), ((None, Some(4), None), "e"));
}

#[tokio::test]
async fn last_events_are_too_new() {
    let (told, kept) = put("reject-new=2").await;
    assert_eq!((told, kept.concat().as_str()), ((None, None, Some(3)), "abc"));
    // There are no more than all.
    let (told, kept) = put("reject-new=9").await;
    assert_eq!((told, kept.concat().as_str()), ((None, None, Some(0)), ""));
}

#[tokio::test]
async fn the_seed_says_how_many_if_the_rule_does_not() {
    let (told, kept) = put("reject-old").await;
    let rejected = usize::try_from(told.0.unwrap()).unwrap();
    assert!((1..=5).contains(&rejected) && kept.len() == 5 - rejected, "{told:?}");
    assert_eq!(put("reject-old").await, (told, kept));
}

/// What a fault rejects is told beside what is too old and too new indeed, and is no part of that.
#[tokio::test]
async fn faults_reject_of_what_is_left() {
    const HOUR_MS: i64 = 60 * 60 * 1000;
    let stage = Stage::new("logs reject-expired=1 times=1; logs reject-new=1 times=1").await;
    let put = || {
        let times = [-15 * 24 * HOUR_MS, 0, 1, 2, 3 * HOUR_MS].map(|at| stage.cloud.now_ms() + at);
        let events = times.map(|at| InputLogEvent::builder().timestamp(at).message("x").build().unwrap());
        let put = stage.logs.put_log_events().log_group_name(GROUP).log_stream_name(STREAM);
        put.set_log_events(Some(events.to_vec())).send()
    };
    let answer = put().await.unwrap();
    assert_eq!(told(&answer), (Some(1), Some(2), Some(4)));
    assert_eq!((stage.stream().events().len(), stage.stream().rejected().len()), (2, 1));
    let answer = put().await.unwrap();
    assert_eq!(told(&answer), (Some(1), None, Some(3)));
    assert_eq!((stage.stream().events().len(), stage.stream().rejected().len()), (4, 2));
}
