//! The table of progress by itself: who may write, and what is found.

use std::sync::Arc;
use std::time::Duration;

use localcloud::Faults;
use millrace::aws::dynamodb::ProgressTable;
use millrace::aws::{Aws, AwsSettings, Keys};
use millrace::core::failure::{RetryPolicy, Service};
use millrace::core::object::{ETag, ObjectRef, Ordinal, Position};
use millrace::core::progress::Progress;
use millrace::core::settlement::Finish;
use millrace::core::tenant::DeliveryKey;
use millrace::pipeline::book::Known;
use millrace::pipeline::ledger::{Ledger, LedgerFault};
use millrace::pipeline::retries::Retries;
use millrace::world::World as Clock;

use super::copier::delivery;
use super::stub::{Answer, Stub};
use super::world::{CENTRAL, World};

const RETRIES: RetryPolicy =
    RetryPolicy { attempts_max: 3, throttled_max: 5, base: Duration::from_millis(1), cap: Duration::from_millis(5) };

async fn ledger(endpoint: &str, id: &str, secret: &str) -> Ledger {
    let aws = Aws::connect(AwsSettings {
        region: "us-east-1".to_owned(),
        endpoints: [(Service::DynamoDb, endpoint.to_owned())].into(),
        keys: Some(Keys { id: id.to_owned(), secret: secret.to_owned() }),
        ..AwsSettings::default()
    })
    .await;
    let table = Some(ProgressTable::new(&aws, "progress"));
    Ledger { table, every: 4, strikes_max: 5, ..Ledger::none(Retries::new(RETRIES, Clock::new()), Clock::new()) }
}

fn object(etag: &str) -> ObjectRef {
    let etag = Some(ETag::new(etag));
    ObjectRef { bucket: "b".into(), key: "k".into(), version: None, etag, size: None, sequencer: None }
}

fn to() -> DeliveryKey {
    delivery("acme", "acme-logs").key().clone()
}

fn upto(record: u64, part: u32, runs: &[std::ops::Range<u64>]) -> Progress {
    Progress::new(Position { ordinal: Ordinal(record), part }, runs.to_vec())
}

fn tried(progress: Progress, strikes: u32) -> Known {
    Known::Tried { progress: Arc::new(progress), strikes }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_claim_alone_may_write() {
    let world = World::start().await;
    world.cloud.create_table(CENTRAL, "progress", "id", None);
    let ledger = ledger(&world.cloud.endpoint(), &world.user.id, &world.user.secret).await;

    let first = ledger.claim(&object("a"), &to()).await.unwrap().unwrap();
    assert_eq!(first.known, tried(Progress::default(), 0));
    let reached = upto(7, 2, &[9..12, 20..21]);
    ledger.keep(&first.claim, &reached, 0).await.unwrap();
    // The same once more, as when an answer was lost.
    ledger.keep(&first.claim, &reached, 0).await.unwrap();
    // What comes late takes nothing back, and neither is it taken for written.
    assert!(matches!(ledger.keep(&first.claim, &upto(5, 0, &[]), 0).await, Err(LedgerFault::Lost)));

    let second = ledger.claim(&object("a"), &to()).await.unwrap().unwrap();
    assert_eq!(second.known, tried(reached.clone(), 0));
    let lost = ledger.keep(&first.claim, &upto(30, 0, &[]), 0).await.unwrap_err();
    assert!(matches!(lost, LedgerFault::Lost), "{lost}");
    assert_eq!(lost.finish(), Finish::Unavailable, "it is handed back");
    ledger.leave(&second.claim, &reached, 3).await;

    // An attempt that ends without a word counts.
    let third = ledger.claim(&object("a"), &to()).await.unwrap().unwrap();
    assert_eq!(third.known, tried(reached.clone(), 3));
    let fourth = ledger.claim(&object("a"), &to()).await.unwrap().unwrap();
    assert_eq!(fourth.known, tried(reached, 4));
    ledger.keep(&fourth.claim, &Progress::all(), 0).await.unwrap();
    assert_eq!(ledger.claim(&object("a"), &to()).await.unwrap().unwrap().known, Known::Finished);

    // Other versions and other deliveries have rows of their own.
    assert_eq!(ledger.claim(&object("b"), &to()).await.unwrap().unwrap().known, tried(Progress::default(), 0));
    let other = delivery("acme", "other-logs").key().clone();
    assert_eq!(ledger.claim(&object("a"), &other).await.unwrap().unwrap().known, tried(Progress::default(), 0));
    assert!(
        Ledger::none(Retries::new(RETRIES, Clock::new()), Clock::new())
            .claim(&object("a"), &to())
            .await
            .unwrap()
            .is_none()
    );
}

/// A claim whose answers are lost is made once.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_counts_as_one_attempt_however_often_it_is_asked_for() {
    let world = World::start().await;
    world.cloud.create_table(CENTRAL, "progress", "id", None);
    let ledger = ledger(&world.cloud.endpoint(), &world.user.id, &world.user.secret).await;
    let lost = |faults| world.cloud.set_faults(Some(&Faults::parse(faults, 1).unwrap()));
    for attempt in 0..4 {
        lost("dynamodb.UpdateItem reset-after times=1");
        let claimed = ledger.claim(&object("a"), &to()).await.unwrap().unwrap();
        assert_eq!(claimed.known, tried(Progress::default(), attempt));
    }
    // Nobody hears of it at all.
    lost("dynamodb.UpdateItem reset-after; dynamodb.GetItem 500");
    assert!(matches!(ledger.claim(&object("a"), &to()).await, Err(LedgerFault::Table(_))));
    world.cloud.set_faults(None);
    assert_eq!(ledger.claim(&object("a"), &to()).await.unwrap().unwrap().known, tried(Progress::default(), 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_out_of_order_is_tried_again_and_a_missing_one_is_the_operators() {
    let throttled = Answer::Text(400, r#"{"__type":"ProvisionedThroughputExceededException"}"#);
    let cases = [
        (vec![throttled.clone(), throttled.clone(), Answer::Text(200, "{}")], None, 3),
        (vec![throttled; 9], Some(Finish::Unavailable), 5),
        (vec![Answer::Text(500, r#"{"__type":"InternalServerError"}"#); 9], Some(Finish::Unavailable), 3),
        (vec![Answer::Text(400, r#"{"__type":"ResourceNotFoundException"}"#)], Some(Finish::GlobalFault), 1),
        (vec![Answer::Text(400, r#"{"__type":"AccessDeniedException"}"#)], Some(Finish::GlobalFault), 1),
    ];
    for (answers, finish, calls) in cases {
        let mut stub = Stub::start(answers).await;
        let ledger = ledger(&stub.endpoint, "id", "secret").await;
        let claimed = ledger.claim(&object("a"), &to()).await;
        assert_eq!(claimed.as_ref().err().map(LedgerFault::finish), finish, "{claimed:?}");
        assert_eq!(stub.requests().len(), calls);
    }
}
