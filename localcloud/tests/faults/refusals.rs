//! Calls that are refused, in each service's own words.

use aws_sdk_s3::operation::get_object::builders::GetObjectFluentBuilder;

use crate::stage::{ACCOUNT, BUCKET, KEY, Stage, TABLE, client, refusal};

/// One call of every service is refused once with this code and status; the same again is answered.
async fn all_refused(kind: &str, expected: [(&str, u16); 5]) {
    let stage = Stage::new(&format!(
        "s3 {kind} times=1; sqs {kind} times=1; dynamodb {kind} times=1; sts {kind} times=1; logs {kind} times=1"
    ))
    .await;
    let get = || stage.s3.get_object().bucket(BUCKET).key(KEY).send();
    let receive = || stage.sqs.receive_message().queue_url(stage.queue_url()).send();
    let scan = || stage.dynamodb.scan().table_name(TABLE).send();
    let who = || stage.sts.get_caller_identity().send();
    let refused = [
        refusal(get().await),
        refusal(receive().await),
        refusal(scan().await),
        refusal(who().await),
        refusal(stage.put(&["x"]).await),
    ];
    assert_eq!(refused.each_ref().map(|(code, status)| (code.as_str(), *status)), expected);
    assert_eq!((stage.done(kind), stage.messages().len()), (5, 0));
    get().await.unwrap();
    receive().await.unwrap();
    scan().await.unwrap();
    who().await.unwrap();
    stage.put(&["x"]).await.unwrap();
    assert_eq!(stage.cloud.faults_done(), [(kind, 5)].into());
    stage.cloud.stop().await;
}

#[tokio::test]
async fn calls_are_throttled() {
    let expected = [
        ("SlowDown", 503),
        ("RequestThrottled", 400),
        ("ProvisionedThroughputExceededException", 400),
        ("Throttling", 400),
        ("ThrottlingException", 400),
    ];
    all_refused("throttle", expected).await;
}

#[tokio::test]
async fn services_fail() {
    let expected = [
        ("InternalError", 500),
        ("InternalFailure", 500),
        ("InternalServerError", 500),
        ("InternalFailure", 500),
        ("InternalFailure", 500),
    ];
    all_refused("500", expected).await;
}

#[tokio::test]
async fn services_are_unavailable() {
    let other = ("ServiceUnavailable", 503);
    all_refused("503", [other, other, other, other, ("ServiceUnavailableException", 503)]).await;
}

#[tokio::test]
async fn credentials_expire() {
    let expected = [
        ("ExpiredToken", 400),
        ("ExpiredToken", 403),
        ("ExpiredTokenException", 400),
        ("ExpiredToken", 403),
        ("ExpiredTokenException", 400),
    ];
    all_refused("expired", expected).await;
}

#[tokio::test]
async fn clocks_differ() {
    let expected = [
        ("RequestTimeTooSkewed", 403),
        ("SignatureDoesNotMatch", 403),
        ("InvalidSignatureException", 400),
        ("SignatureDoesNotMatch", 403),
        ("InvalidSignatureException", 400),
    ];
    all_refused("skewed", expected).await;
}

#[tokio::test]
async fn access_is_denied() {
    let expected = [
        ("AccessDenied", 403),
        ("AccessDenied", 403),
        ("AccessDeniedException", 400),
        ("AccessDenied", 403),
        ("AccessDeniedException", 400),
    ];
    all_refused("denied", expected).await;
}

/// The object is there, its tag is the one, and it has such a range: a read is refused once, and then answered.
async fn refused_read(kind: &str, code: &str, change: impl Fn(GetObjectFluentBuilder) -> GetObjectFluentBuilder) {
    let stage = Stage::new(&format!("s3 {kind} times=1")).await;
    let get = || change(stage.s3.get_object().bucket(BUCKET).key(KEY));
    let expected = (code.to_owned(), kind.parse().unwrap());
    if kind != "404" {
        // What asks neither for a range nor for a condition is not refused so.
        stage.s3.get_object().bucket(BUCKET).key(KEY).send().await.unwrap();
    }
    assert_eq!(refusal(get().send().await), expected);
    assert_eq!(stage.done(kind), 1);
    get().send().await.unwrap();
}

/// The tag of `hello`.
const TAG: &str = "\"5d41402abc4b2a76b9719d911017c592\"";

#[tokio::test]
async fn an_object_seems_to_be_gone() {
    refused_read("404", "NoSuchKey", |get| get).await;
}

#[tokio::test]
async fn an_object_seems_to_be_another() {
    refused_read("412", "PreconditionFailed", |get| get.if_match(TAG)).await;
}

#[tokio::test]
async fn a_range_seems_to_be_past_the_end() {
    refused_read("416", "InvalidRange", |get| get.range("bytes=0-1")).await;
}

/// A HEAD has no body to tell a code in.
#[tokio::test]
async fn heads_are_refused_by_their_status() {
    let stage = Stage::new("s3.HeadObject throttle times=1; s3.HeadObject 404 times=1").await;
    for expected in [503, 404] {
        let head = stage.s3.head_object().bucket(BUCKET).key(KEY).send().await;
        assert_eq!(refusal(head).1, expected);
    }
    stage.s3.head_object().bucket(BUCKET).key(KEY).send().await.unwrap();
}

#[tokio::test]
async fn only_the_account_that_is_named_has_them() {
    let stage = Stage::new(&format!("sts@{ACCOUNT} throttle")).await;
    let other = stage.cloud.add_user("222222222222", "other");
    let other = client!(aws_sdk_sts, &stage.cloud.endpoint(), &other, |config| config);
    other.get_caller_identity().send().await.unwrap();
    assert_eq!(refusal(stage.sts.get_caller_identity().send().await).0, "Throttling");
}
