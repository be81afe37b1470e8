//! Rounds: two replicas of mode `sqs` that share a table of progress, killed while they work and started again.
//!
//! A round's settings, objects, and the calls at which kills come are its seed's. What the replicas do between is their own:
//! it may take a few runs of a seed to see again what it has shown.

use std::time::Duration;

use localcloud::Faults;
use serde_json::{Value, json};

use crate::check::{Arrived, Bounds, Found, Received, judge, message};
use crate::plan::{Act, BATCH, Lapse, Moment, Object, Plan, TENANTS};
use crate::stage::{CENTRAL, Daemon, GROUP, Stage, Tenant, gzip, until};

/// The shortest that a message is hidden by the daemon, so that those of a killed one come again soon.
const VISIBILITY: Duration = Duration::from_secs(3);
/// Longer than a message is hidden that was handed back a few times.
const DELAY_MAX: Duration = Duration::from_secs(120);
/// Looks at a cloud in which nothing happens any more, until what is hidden is shown.
const QUIET_LOOKS: usize = 30;
/// Rounds of a usual run.
const ROUNDS: u64 = 20;

/// A number of the environment.
fn number(name: &str) -> Option<u64> {
    let value = std::env::var_os(name)?;
    let number = value.to_str().and_then(|text| text.parse().ok());
    assert!(number.is_some(), "{name} must be a number: {}", value.display());
    number
}

/// Says how a round is run again, if it fails in whatever way.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!(
                "this round again: MILLRACE_CRASH_SEED={} MILLRACE_CRASH_ROUNDS=1 cargo test --test crash",
                self.0
            );
        }
    }
}

/// docs/guarantees.md: nothing is lost, what may come twice, and order.
#[tokio::test(flavor = "multi_thread")]
async fn killed_replicas_lose_nothing_and_repeat_no_more_than_is_promised() {
    let rounds = number("MILLRACE_CRASH_ROUNDS").unwrap_or(ROUNDS);
    let first = number("MILLRACE_CRASH_SEED").unwrap_or_default();
    let mut sum = Found::default();
    for seed in (first..).take(usize::try_from(rounds).unwrap()) {
        let _replay = Replay(seed);
        let plan = Plan::new(seed);
        let (found, wrong) = Round::start(&plan, seed).await.run(&plan).await;
        assert!(wrong.is_empty(), "seed {seed}, {plan:?}\n{}", wrong.join("\n"));
        sum.add(found);
    }
    println!("{rounds} rounds from seed {first} on: {sum:?}");
    // Else kills came when there was nothing to break off.
    assert!(rounds < ROUNDS || (sum.taken_over > rounds && sum.again > rounds && sum.ordered > rounds), "{sum:?}");
}

/// A round, while it goes on.
struct Round {
    stage: Stage,
    tenants: Vec<Tenant>,
    /// Settings of every replica.
    settings: Vec<(&'static str, String)>,
    replicas: [Option<Daemon>; 2],
    /// Processes so far: each is a user of its own, so that the cloud can tell them apart.
    started: usize,
    /// Objects so far.
    put: usize,
}

impl Round {
    async fn start(plan: &Plan, seed: u64) -> Self {
        let mut stage = Stage::with_visibility(VISIBILITY).await;
        stage.cloud.create_table(CENTRAL, "progress", "id", None);
        stage.cloud.keep_receives(&stage.queue);
        let tenants = (0..TENANTS).map(|at| stage.tenant(&format!("tenant-{at}"), |_| {})).collect();
        stage.cloud.set_faults(Some(&Faults::parse(&plan.faults, seed).unwrap()));
        let settings = vec![
            ("PROGRESS_TABLE", "progress".to_owned()),
            ("PROGRESS_EVERY", plan.every.to_string()),
            ("DEDUPE", plan.dedupe.to_owned()),
            ("MAX_BATCH_SIZE", BATCH.to_string()),
            stage.dead_letters(),
        ];
        let mut round = Self { stage, tenants, settings, replicas: [None, None], started: 0, put: 0 };
        round.restart(&[0, 1]);
        round
    }

    /// Starts a replica.
    fn replica(&mut self) -> Daemon {
        let key = self.stage.cloud.add_user(CENTRAL, &format!("replica-{}", self.started));
        self.started += 1;
        let mut settings = vec![("AWS_ACCESS_KEY_ID", &*key.id), ("AWS_SECRET_ACCESS_KEY", &*key.secret)];
        settings.extend(self.settings.iter().map(|(name, value)| (*name, value.as_str())));
        self.stage.sqs(&settings)
    }

    /// Batches that were accepted so far.
    fn accepted(&self) -> u64 {
        let mut batches = 0;
        self.stage.cloud.each_stream(|_, _, _, _, content| batches += content.batches());
        batches
    }

    /// Calls of an operation so far.
    fn calls(&self, operation: &str) -> u64 {
        self.stage.cloud.calls().iter().filter(|((_, of, _), _)| of == operation).map(|(_, count)| count).sum()
    }

    /// Whether there is nothing to do.
    fn is_idle(&self) -> bool {
        self.stage.left().0 == 0
    }

    /// Writes the next object. In a stream, each is of a time of its own, so that it is the order of arrival that counts.
    fn put(&mut self, objects: &[Object]) {
        let number = self.put;
        self.put += 1;
        let Object { tenant, stream, events } = &objects[number];
        let before: u64 = objects[..number].iter().map(|object| object.events).sum();
        let first = self.stage.cloud.now_ms() - 3_600_000;
        let mut text = String::new();
        for record in 0..*events {
            let at = first + i64::try_from(before + record).unwrap();
            text += &json!({ "timestamp": at, "message": message(number, record) }).to_string();
            text.push('\n');
        }
        self.stage.put(&format!("tenant-{tenant}/c1/api/{stream}/{number}.json.gz"), gzip(text.as_bytes()));
    }

    async fn run(mut self, plan: &Plan) -> (Found, Vec<String>) {
        for (batches, act) in &plan.acts {
            self.until("batches are accepted", || self.accepted() >= *batches).await;
            match act {
                Act::Put => self.put(&plan.objects),
                Act::Kill { replicas, of, at, lapse } => {
                    self.wait_for_call(of, *at).await;
                    self.restart(replicas);
                    self.release(of);
                    if *lapse == Lapse::AtOnce {
                        self.stage.cloud.advance(VISIBILITY);
                    }
                }
            }
        }
        self.stage.cloud.set_faults(None);
        self.until("the queue drains", || false).await;
        self.replicas = [None, None];
        let verdict = self.verdict(plan);
        self.stage.cloud.stop().await;
        verdict
    }

    /// Waits for the moment of a kill; calls that come before it is over may be held until [`Self::release`].
    async fn wait_for_call(&self, of: &str, at: Moment) {
        let more = match at {
            Moment::After(calls) => calls,
            Moment::Before => {
                self.accounts().for_each(|account| self.stage.cloud.hold(of, account));
                1
            }
        };
        let enough = self.calls(of) + more;
        self.until("calls are made", || self.calls(of) >= enough).await;
    }

    fn release(&self, of: &str) {
        self.accounts().for_each(|account| self.stage.cloud.release(of, account));
    }

    /// All accounts that call.
    fn accounts(&self) -> impl Iterator<Item = &str> {
        self.tenants.iter().map(|tenant| tenant.account.as_str()).chain([CENTRAL])
    }

    /// Kills replicas, and starts others in their place.
    fn restart(&mut self, replicas: &[usize]) {
        replicas.iter().for_each(|at| self.replicas[*at] = None);
        replicas.iter().for_each(|at| self.replicas[*at] = Some(self.replica()));
    }

    /// Waits until something holds, or there is nothing to do. When nothing happens any more, what is hidden is shown: what a
    /// killed process held, or one has handed back with a delay.
    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let (mut before, mut quiet) = (0, 0);
        until(what, || {
            let calls = self.stage.cloud.calls();
            let work = calls.iter().filter(|((_, of, _), _)| of != "ReceiveMessage");
            let calls = work.map(|(_, count)| count).sum::<u64>();
            quiet = if calls == before { quiet + 1 } else { 0 };
            before = calls;
            if quiet == QUIET_LOOKS {
                self.stage.cloud.advance(DELAY_MAX);
                quiet = 0;
            }
            holds() || self.is_idle()
        })
        .await;
    }

    fn verdict(&self, plan: &Plan) -> (Found, Vec<String>) {
        let received = self.stage.cloud.receives(&self.stage.queue);
        let received: Vec<Received> =
            received.iter().map(|it| Received { object: object_of(&it.body), by: it.by.clone() }).collect();
        let mut arrived = Vec::new();
        self.stage.cloud.each_stream(|account, _, group, stream, content| {
            let tenant = self.tenants.iter().position(|tenant| tenant.account == account && group == GROUP);
            let messages = content.events().map(|(_, message)| message.to_owned()).collect();
            arrived.push(Arrived { tenant, stream: stream.to_owned(), messages });
        });
        let bounds = Bounds { batch: BATCH, every: plan.every };
        let (found, mut wrong) = judge(&plan.objects, bounds, &received, &arrived);
        let dead = self.stage.cloud.queue_bodies(&self.stage.dead);
        wrong.extend(dead.iter().map(|body| format!("object {} is dead-lettered", object_of(body))));
        (found, wrong)
    }
}

/// The number of the object that a message tells of.
fn object_of(body: &str) -> usize {
    let wrapped: Value = serde_json::from_str(body).unwrap();
    let event: Value = serde_json::from_str(wrapped["Message"].as_str().unwrap()).unwrap();
    let key = event["Records"][0]["s3"]["object"]["key"].as_str().unwrap();
    let file = key.rsplit('/').next().unwrap();
    file.strip_suffix(".json.gz").unwrap().parse().unwrap()
}
