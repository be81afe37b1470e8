//! The sender of events by itself: which calls it makes, and what becomes of the batch.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use millrace::aws::sts::{Hops, Roles};
use millrace::aws::{Aws, AwsSettings, Keys};
use millrace::core::batch::{Batch, BatchLimits, Batcher, Event, Fed, PACK_BYTES_MIN, Packer, SegmentId, SendWindow};
use millrace::core::failure::{RetryPolicy, Service};
use millrace::core::object::{Ordinal, Position};
use millrace::core::scan::Message;
use millrace::core::settlement::Finish;
use millrace::core::tenant::{ClusterId, Field, TenantId, deliveries};
use millrace::core::time::UnixMillis;
use millrace::pipeline::compute::{Compute, Packing};
use millrace::pipeline::credentials::Credentials;
use millrace::pipeline::retries::Retries;
use millrace::pipeline::send::{Destination, SENDS_MAX, SendReport, Sends};
use millrace::pipeline::share::Pool;
use millrace::world::World;

use super::stub::{Answer, Stub};

const GROUP: &str = "/acme/logs";
const EVENTS: u64 = 3;
/// As the daemon has it, but for its patience.
const RETRIES: RetryPolicy =
    RetryPolicy { attempts_max: 3, throttled_max: 12, base: Duration::from_millis(1), cap: Duration::from_millis(5) };
const ASSUMED: &str = "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>id</AccessKeyId>\
    <SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken>\
    <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>";

const OK: Answer = Answer::Text(200, "{}");
const MISSING: Answer = Answer::Text(400, r#"{"__type":"ResourceNotFoundException"}"#);
const EXISTS: Answer = Answer::Text(400, r#"{"__type":"ResourceAlreadyExistsException"}"#);
const THROTTLED: Answer = Answer::Text(400, r#"{"__type":"ThrottlingException"}"#);
const UNAVAILABLE: Answer = Answer::Text(503, r#"{"__type":"ServiceUnavailableException"}"#);
const INVALID: Answer = Answer::Text(400, r#"{"__type":"InvalidParameterException"}"#);
const DENIED: Answer = Answer::Text(400, r#"{"__type":"AccessDeniedException"}"#);
/// The connection is closed, and nothing was said.
const LOST: Answer = Answer::Closed;
const EXPIRED: Answer = Answer::Text(400, r#"{"__type":"ExpiredTokenException"}"#);

/// The operations that must be asked for, in their order, and what is answered.
type Script = Vec<(&'static str, Answer)>;

/// A sender whose services are at `endpoint`.
async fn sends(endpoint: &str) -> Sends {
    let aws = Aws::connect(AwsSettings {
        region: "us-east-1".to_owned(),
        endpoints: [Service::Logs, Service::Sts].map(|service| (service, endpoint.to_owned())).into(),
        keys: Some(Keys { id: "id".to_owned(), secret: "secret".to_owned() }),
        ..AwsSettings::default()
    })
    .await;
    let world = World::new();
    let credentials = Credentials::new(&aws, Roles::new(&aws, Hops::One, None), world);
    let (retries, places) = (Retries::new(RETRIES, world), Pool::new(SENDS_MAX));
    Sends { credentials, retries, world, places, rejects: None, packing: Packing::new(true) }
}

fn destination() -> Destination {
    let fields = [
        ("tenant_id", "acme"),
        ("log_distribution_role_arn", "arn:aws:iam::222222222222:role/delivery"),
        ("log_group_name", GROUP),
    ];
    let row: BTreeMap<_, _> = fields.map(|(name, text)| (name.to_owned(), Field::Text(text.to_owned()))).into();
    let config = deliveries(&TenantId::try_from("acme").unwrap(), &[row], UnixMillis(0));
    let cluster = ClusterId::try_from("c1").unwrap();
    Destination { delivery: Arc::clone(&config.deliveries[0]), cluster, stream: "pod-0".into() }
}

/// Sends one batch to services that give these answers, and others to nothing. Gives the operations that were asked for,
/// the events that were accepted, and what it means for the message when not all were.
async fn send(answers: impl IntoIterator<Item = Answer>) -> (Vec<String>, u64, Option<Finish>) {
    let (calls, report) = report(answers).await;
    let delivered = report.settled.values().map(|outcome| outcome.delivered).sum();
    (calls, delivered, report.failed.map(|fault| fault.finish))
}

async fn report(answers: impl IntoIterator<Item = Answer>) -> (Vec<String>, SendReport) {
    report_after(answers, &BTreeMap::new()).await
}

/// The same after an attempt that left events of which nobody knows.
async fn report_after(
    answers: impl IntoIterator<Item = Answer>,
    before: &BTreeMap<SegmentId, Position>,
) -> (Vec<String>, SendReport) {
    let mut answers: VecDeque<Answer> = answers.into_iter().collect();
    let mut stub = Stub::answering(move |request| match request.operation() {
        Some(_) => answers.pop_front().unwrap_or(Answer::Never),
        None => Answer::Text(200, ASSUMED),
    })
    .await;
    let to = destination();
    let report = sends(&stub.endpoint).await.send(&to, batch(&to), before).await;

    let calls = stub.requests().iter().filter_map(|it| it.operation().map(str::to_owned)).collect();
    (calls, report)
}

fn batch(to: &Destination) -> Batch {
    batch_of(to, EVENTS)
}

fn batch_of(to: &Destination, events: u64) -> Batch {
    let mut batcher = Batcher::new(BatchLimits::default(), GROUP, &to.stream);
    batcher.begin_segment(SegmentId(1));
    for at in 0..events {
        let event = Event {
            message: Message::Escaped(b"a line"),
            timestamp: UnixMillis(1),
            ordinal: Ordinal(at),
            from_part: 0,
            wide: false,
        };
        assert_eq!(batcher.feed(&event), Fed::Taken { parts: 1 });
    }
    batcher.seal(SendWindow::ALL).batches.remove(0)
}

/// What is created for a batch is one of the calls in flight, whose number has a limit.
#[tokio::test(flavor = "multi_thread")]
async fn a_creation_takes_a_place_among_the_calls_in_flight() {
    let mut stub = Stub::answering(|request| match request.operation() {
        Some("PutLogEvents") => MISSING,
        Some(_) => Answer::Never,
        None => Answer::Text(200, ASSUMED),
    })
    .await;
    let (sends, to, before) = (sends(&stub.endpoint).await, destination(), BTreeMap::new());
    let creating = async { while stub.request().await.operation() != Some("CreateLogStream") {} };
    let sending = sends.send(&to, batch(&to), &before);
    tokio::pin!(sending);
    tokio::select! {
        report = &mut sending => panic!("{report:?}"),
        () = creating => {}
    }
    assert_eq!(sends.places.used(), 1);
}

/// predecessor.md §15, rows "create". Groups and streams were looked for by Describe calls there, before each file. There
/// are none here (design §5): PutLogEvents itself tells what is missing. So the row "describe error" has no call that
/// could fail; the nearest to it is a creation that is refused.
#[tokio::test(flavor = "multi_thread")]
async fn predecessor_15_create() {
    const PUT: &str = "PutLogEvents";
    const STREAM: &str = "CreateLogStream";
    const NEW_GROUP: &str = "CreateLogGroup";
    let cases: [(&str, Script, Option<Finish>); 9] = [
        ("neither", vec![(PUT, MISSING), (STREAM, MISSING), (NEW_GROUP, OK), (STREAM, OK), (PUT, OK)], None),
        ("group only", vec![(PUT, MISSING), (STREAM, OK), (PUT, OK)], None),
        ("both exist: none", vec![(PUT, OK)], None),
        (
            "AlreadyExists race for both",
            vec![(PUT, MISSING), (STREAM, MISSING), (NEW_GROUP, EXISTS), (STREAM, EXISTS), (PUT, OK)],
            None,
        ),
        ("AlreadyExists race for the stream", vec![(PUT, MISSING), (STREAM, EXISTS), (PUT, OK)], None),
        (
            "created, but not seen at once",
            vec![(PUT, MISSING), (STREAM, OK), (PUT, MISSING), (STREAM, EXISTS), (PUT, OK)],
            None,
        ),
        (
            "describe error: the stream's creation is denied",
            vec![(PUT, MISSING), (STREAM, DENIED)],
            Some(Finish::TenantDenied),
        ),
        (
            "describe error: the group's creation is denied",
            vec![(PUT, MISSING), (STREAM, MISSING), (NEW_GROUP, DENIED)],
            Some(Finish::TenantDenied),
        ),
        (
            "describe error: the creation fails for a while",
            vec![(PUT, MISSING), (STREAM, UNAVAILABLE), (PUT, MISSING), (STREAM, OK), (PUT, OK)],
            None,
        ),
    ];
    for (case, script, finish) in cases {
        let (operations, answers): (Vec<&str>, Vec<Answer>) = script.into_iter().unzip();
        let (calls, delivered, failed) = send(answers).await;
        assert_eq!(calls, operations, "15 create: {case}");
        assert_eq!((delivered, failed), (if finish.is_none() { EVENTS } else { 0 }, finish), "15 create: {case}");
    }
}

/// predecessor.md §15, row "retry": the calls, and what becomes of the message. What is given up here is handed back, and
/// the batch is sent again by the next attempt.
#[tokio::test(flavor = "multi_thread")]
async fn predecessor_15_retry_calls() {
    let forever = |answer: Answer| vec![answer; 100];
    let cases = [
        ("throttled twice then ok", vec![THROTTLED, THROTTLED, OK], 3, None),
        // An error after 3 attempts there. Being throttled is no attempt here (design §5), but it has a bound.
        ("throttled always", forever(THROTTLED), RETRIES.throttled_max, Some(Finish::Unavailable)),
        ("unavailable twice then ok", vec![UNAVAILABLE, UNAVAILABLE, OK], 3, None),
        ("unavailable always", forever(UNAVAILABLE), 3, Some(Finish::Unavailable)),
        ("throttled beside unavailable", vec![UNAVAILABLE, THROTTLED, UNAVAILABLE, THROTTLED, OK], 5, None),
        // It was tried again after every error, three times in all.
        ("denied", vec![DENIED], 1, Some(Finish::TenantDenied)),
        ("credentials expired", vec![EXPIRED, OK], 2, None),
    ];
    for (case, answers, wanted, finish) in cases {
        let (calls, delivered, failed) = send(answers).await;
        assert_eq!(calls, vec!["PutLogEvents"; wanted as usize], "15 retry: {case}");
        assert_eq!((delivered, failed), (if finish.is_none() { EVENTS } else { 0 }, finish), "15 retry: {case}");
    }
}

/// Of a batch that was halved, what was accepted is not among what is left, whichever half it was.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_a_halved_batch_is_named() {
    let cases = [
        ("the first half is accepted", vec![INVALID, OK, DENIED], 1, vec![1, 2]),
        (
            "the first half is refused alone, of the second the first",
            vec![INVALID, INVALID, INVALID, OK, DENIED],
            1,
            vec![2],
        ),
        ("all are refused alone, but for one", vec![INVALID, INVALID, INVALID, INVALID, DENIED], 0, vec![2]),
        ("nothing is accepted", vec![INVALID, DENIED], 0, vec![0, 1, 2]),
    ];
    for (case, answers, delivered, left) in cases {
        let (_, report) = report(answers).await;
        assert_eq!(report.settled.values().map(|outcome| outcome.delivered).sum::<u64>(), delivered, "{case}");
        let mut unsent: Vec<u64> = report.unsent.iter().map(|origin| origin.ordinal.0).collect();
        unsent.sort_unstable();
        assert_eq!(unsent, left, "{case}");
        assert_eq!(report.failed.map(|fault| fault.finish), Some(Finish::TenantDenied), "{case}");
    }
}

/// A packed batch that is refused is sent as it is before one of its events is blamed; and if that is taken, no other is
/// packed any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_refused_packed_is_sent_as_it_is() {
    let events = PACK_BYTES_MIN as u64;
    let cases = [
        ("packed bodies are taken", vec![OK], vec![true], true),
        ("only others are", vec![INVALID, OK], vec![true, false], false),
        ("by a service that says it by the status", vec![Answer::Text(415, ""), OK], vec![true, false], false),
        ("it is an event that is not", vec![INVALID, INVALID, OK, OK], vec![true, false, false, false], true),
    ];
    for (case, mut answers, packed, goes_on) in cases {
        let all = answers.len();
        let mut stub = Stub::answering(move |request| match request.operation() {
            Some(_) => answers.remove(0),
            None => Answer::Text(200, ASSUMED),
        })
        .await;
        let (to, sends) = (destination(), sends(&stub.endpoint).await);
        let mut batch = batch_of(&to, events);
        batch.finish(Some(&mut Packer::default()));
        let report = sends.send(&to, batch, &BTreeMap::new()).await;

        assert!(report.failed.is_none(), "{case}");
        assert_eq!(report.settled.values().map(|outcome| outcome.delivered).sum::<u64>(), events, "{case}");
        let requests = stub.requests();
        let puts = requests.iter().filter(|request| request.operation().is_some());
        let were: Vec<bool> =
            puts.map(|it| it.headers.get("content-encoding").is_some_and(|it| it == "gzip")).collect();
        assert_eq!((were.len(), were), (all, packed), "{case}");
        let compute = Compute::start(1, sends.world).unwrap().with_packing(sends.packing);
        let after = compute.finish(to.delivery.tenant(), vec![batch_of(&to, events)]).done().await.unwrap();
        assert_eq!(after[0].is_packed(), goes_on, "{case}");
    }
}

/// What may have been accepted by a call whose answer was lost is counted, in whichever attempt it is accepted for certain.
#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_been_accepted_is_counted_when_it_is() {
    let upto = |ordinal| BTreeMap::from([(SegmentId(1), Position { ordinal: Ordinal(ordinal), part: 0 })]);
    let last = BTreeMap::from([(SegmentId(1), Position { ordinal: Ordinal(2), part: 1 })]);
    let cases = [
        ("an answer is lost, the next one comes", vec![LOST, OK], upto(0), 3, BTreeMap::new()),
        ("no answer comes", vec![LOST, LOST, LOST], upto(0), 0, last.clone()),
        ("a denial comes after a lost answer", vec![LOST, DENIED], upto(0), 0, last.clone()),
        ("the batch is halved after a lost answer", vec![LOST, INVALID, OK, OK], upto(0), 3, BTreeMap::new()),
        ("the answer of the first half is lost", vec![INVALID, LOST, OK, OK], upto(0), 1, BTreeMap::new()),
        ("the answers of the second half are lost", vec![INVALID, OK, LOST, LOST, LOST], upto(0), 0, last),
        ("an earlier attempt knew nothing of two", vec![OK], upto(2), 2, BTreeMap::new()),
        ("nothing was lost", vec![UNAVAILABLE, OK], upto(0), 0, BTreeMap::new()),
    ];
    for (case, answers, before, twice, left) in cases {
        let (_, report) = report_after(answers, &before).await;
        assert_eq!(report.settled.values().map(|it| it.possibly_duplicated).sum::<u64>(), twice, "{case}");
        assert_eq!(report.doubtful, left, "{case}");
    }
}
