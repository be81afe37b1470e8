//! One run: a cloud, replicas of the daemon, and what the plan has happen to them, on simulated time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use localcloud::{AccessKey, Cloud, Faults, Notify, TrustPolicy};
use millrace::aws::{Aws, AwsSettings, Keys};
use millrace::config::SqsSettings;
use millrace::core::checkpoint::Spacing;
use millrace::core::failure::Service;
use millrace::core::time::UnixMillis;
use millrace::modes::{Ground, ModeError, sqs};
use millrace::pipeline::budget::Budget;
use millrace::pipeline::compute::Compute;
use millrace::pipeline::totals::Totals;
use millrace::world::World;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::checker::{Bounds, Verdict, Wanted, check};
use crate::client::client;
use crate::ground::{
    BUCKET, CENTRAL, PROGRESS, REFUSED, REGION, REJECTS, START_MS, TABLE, account, content, event, key, mark, pod,
    set_up, settings,
};
use crate::look::{balance, check_buckets, there};
use crate::net::{Host, Net};
use crate::plan::{Act, Plan};

/// Objects are small here: they are gone on with all the same.
const SPACING: Spacing = Spacing { made: 200, written: 200, least: 1 };
const ENDPOINT: &str = "http://cloud.sim";
/// How often it is looked what became of the replicas and of the queue.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A process that ended by itself is started again after so long.
const RESTART_AFTER_MS: u64 = 5_000;
/// Without faults the queue is empty after so long, or never: longest delays are an hour.
const PATIENCE: Duration = Duration::from_secs(8 * 60 * 60);
/// Time in which a process that was told to stop, or killed, has come to its end.
const END_WITHIN: Duration = Duration::from_secs(60);

/// What came out of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    /// The same for the same run.
    pub(crate) trace: u64,
    /// Faults that happened, by kind.
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// Simulated time.
    pub(crate) lasted: Duration,
    pub(crate) kills: u64,
    /// Calls to the cloud.
    pub(crate) calls: u64,
}

/// A process of the daemon.
struct Process {
    host: Host,
    stop: CancellationToken,
    /// When it was told to.
    stopped: Option<Instant>,
    task: JoinHandle<End>,
    messages: TaskTracker,
    totals: Arc<Totals>,
    budget: Budget,
    killed: bool,
}

/// How a process ended.
struct End {
    outcome: Result<(), ModeError>,
    at: Instant,
    /// Whether calls were still on their way, which end with it.
    calls_left: bool,
}

impl Process {
    fn stop(&mut self) {
        self.stop.cancel();
        self.stopped.get_or_insert_with(Instant::now);
    }
}

struct Stage {
    cloud: Arc<Cloud>,
    net: Arc<Net>,
    world: World,
    plan: Plan,
    queue: String,
    dead: String,
    /// Where it is told what was put, before it goes into messages.
    puts: String,
    settings: SqsSettings,
    /// What tokio's tasks of the stage itself are tracked by.
    tasks: TaskTracker,
    started: u64,
}

thread_local! {
    /// Panics of this thread's tasks, which tokio swallows: assertions of the daemon, such as that each object's tally balances.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    /// When the run of this thread began.
    static BEGUN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// How long the run of this thread lasts.
pub(crate) fn elapsed() -> Duration {
    BEGUN.get().map_or(Duration::ZERO, |begun| begun.elapsed())
}

/// From now on panics count for the run of their thread.
pub(crate) fn watch_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.with_borrow_mut(|panics| panics.push(panic.to_string()));
        before(panic);
    }));
}

/// Runs a plan. Must be called within a current-thread runtime whose clock is paused.
pub(crate) async fn run(seed: u64, plan: Plan) -> Outcome {
    fastrand::seed(seed);
    let mut stage = Stage::new(seed, plan);
    let begun = Instant::now();
    BEGUN.set(Some(begun));
    let mut replicas: Vec<Option<Process>> = Vec::new();
    let mut starts: Vec<(Instant, usize)> = Vec::new();
    for _ in 0..stage.plan.replicas {
        replicas.push(Some(stage.start()));
    }
    let (mut ended, mut kills, mut bodies) = (Vec::new(), 0, BTreeMap::new());
    let mut acts = stage.plan.acts.clone().into_iter().peekable();
    let (mut put_back, mut well_since, mut wrong) = (false, None, Vec::new());
    loop {
        let now = Instant::now();
        while let Some((_, act)) = acts.next_if(|(at, _)| begun + Duration::from_millis(*at) <= now) {
            match act {
                Act::Put(number) => {
                    bodies.insert(number, stage.put(number));
                }
                Act::Repeat(number) => {
                    if let Some(body) = bodies.get(&number) {
                        stage.cloud.send(&stage.queue, body.clone());
                    }
                }
                Act::Kill { replica, pause_ms } | Act::Drain { replica, pause_ms } => {
                    let Some(mut process) = replicas[replica].take() else { continue };
                    if let Act::Kill { .. } = act {
                        process.host.die();
                        process.killed = true;
                        kills += 1;
                    }
                    process.stop();
                    ended.push(process);
                    starts.push((now + Duration::from_millis(pause_ms), replica));
                }
                Act::EndFaults => {
                    stage.cloud.set_faults(None);
                }
            }
        }
        for (replica, place) in replicas.iter_mut().enumerate() {
            // The operator's supervisor starts it again.
            if let Some(process) = place.take_if(|process| process.task.is_finished()) {
                ended.push(process);
                starts.push((now + Duration::from_millis(RESTART_AFTER_MS), replica));
            }
        }
        starts.retain(|(at, replica)| {
            let due = *at <= now;
            if due {
                replicas[*replica] = Some(stage.start());
            }
            !due
        });
        if acts.peek().is_none() {
            let since = *well_since.get_or_insert(now);
            let depth = |arn: &str| {
                let depth = stage.cloud.queue_depth(arn);
                depth.visible + depth.in_flight
            };
            let (left, dead) = (depth(&stage.queue), depth(&stage.dead));
            let held: usize = replicas.iter().flatten().map(|process| process.messages.len()).sum();
            if left == 0 && held == 0 {
                if dead == 0 {
                    break;
                }
                // As an operator does when the cause is gone.
                if std::mem::replace(&mut put_back, true) {
                    wrong.push(format!("{dead} messages are dead letters though nothing is wrong any more"));
                    break;
                }
                let _moved = stage.cloud.redrive(&stage.dead, &stage.queue);
            } else if since.elapsed() > PATIENCE {
                wrong.push(format!("{left} messages are in the queue and {dead} are dead letters, for ever"));
                break;
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let lasted = begun.elapsed();
    for mut process in replicas.into_iter().flatten() {
        process.stop();
        ended.push(process);
    }
    stage.finish(ended, kills, lasted, wrong).await
}

impl Stage {
    fn new(seed: u64, plan: Plan) -> Self {
        let world = World::simulated(UnixMillis(START_MS));
        let net = Net::new(seed, plan.latency);
        let cloud = Arc::new(Cloud::in_memory(ENDPOINT, REGION, move || world.wall().0));
        cloud.create_bucket(CENTRAL, BUCKET);
        let dead = cloud.create_queue(CENTRAL, "dead", Duration::from_secs(30), None);
        let queue = cloud.create_queue(CENTRAL, "notifications", plan.visibility, Some((dead.clone(), 1_000)));
        cloud.keep_receives(&queue);
        let puts = cloud.create_queue(CENTRAL, "puts", plan.visibility, None);
        cloud.notify(BUCKET, Notify::Raw(puts.clone()));
        cloud.create_bucket(CENTRAL, REJECTS);
        cloud.refuse(REFUSED);
        cloud.create_table(CENTRAL, TABLE, "tenant_id", Some("type"));
        cloud.create_table(CENTRAL, PROGRESS, "id", None);
        let trust = TrustPolicy {
            principals: vec![CENTRAL.to_owned()],
            request_tags: vec!["tenant_id".to_owned(), "cluster_id".to_owned()],
            tag_session: true,
            ..TrustPolicy::default()
        };
        let actions = ["sts:AssumeRole", "sts:TagSession", "s3:GetObject", "s3:PutObject"];
        let actions = actions.map(|action| (action.to_owned(), "*".to_owned()));
        let central_role = cloud.add_role(CENTRAL, "millrace-central", trust, actions.to_vec());
        for tenant in 0..plan.tenants.len() {
            set_up(&cloud, &plan, tenant, &central_role);
        }
        let faults = plan.faults.as_ref().map(|spec| Faults::parse(spec, seed).unwrap());
        cloud.set_faults(faults.as_ref());
        let settings = settings(&cloud, &plan, central_role);
        Self { cloud, net, world, plan, queue, dead, puts, settings, tasks: TaskTracker::new(), started: 0 }
    }

    /// Puts the objects of a message, sends it, and gives its body.
    fn put(&self, message: usize) -> String {
        let mut records = Vec::new();
        for number in self.plan.messages[message].clone() {
            self.cloud.put_object(BUCKET, &key(&self.plan, number), content(&self.plan, number));
            let told: Value = serde_json::from_str(&self.cloud.queue_bodies(&self.puts).pop().unwrap()).unwrap();
            records.extend(told["Records"].as_array().unwrap().iter().cloned());
        }
        let event = json!({ "Records": records }).to_string();
        let body = if self.plan.by_sns {
            json!({ "Type": "Notification", "MessageId": "m", "TopicArn": "t", "Message": event }).to_string()
        } else {
            event
        };
        self.cloud.send(&self.queue, body.clone());
        body
    }

    /// Starts a process: with a user of its own, so that it is seen who received what.
    fn start(&mut self) -> Process {
        self.started += 1;
        let key = self.cloud.add_user(CENTRAL, &format!("process-{}", self.started));
        let host = Host::new(&self.net, self.started);
        let services = [Service::S3, Service::Sqs, Service::DynamoDb, Service::Sts, Service::Logs];
        let aws = AwsSettings {
            region: REGION.to_owned(),
            profile: None,
            endpoints: services.into_iter().map(|service| (service, ENDPOINT.to_owned())).collect(),
            s3_path_style: true,
            keys: Some(keys(&key)),
        };
        let aws = Aws::over(aws, client(&host, Arc::downgrade(&self.cloud)), self.world);
        let settings = self.settings.clone();
        let daemon =
            sqs::stand(&settings, Ground { aws, compute: Compute::in_place(), world: self.world, spacing: SPACING })
                .unwrap();
        let (totals, budget) = (Arc::clone(&daemon.lanes().totals), daemon.lanes().budget.clone());
        let (messages, stop) = (TaskTracker::new(), CancellationToken::new());
        let (in_work, told) = (messages.clone(), stop.clone());
        let (calls, of) = (daemon.lanes().reads.tracker.clone(), host.clone());
        let task = self.tasks.spawn(async move {
            let told = async move {
                told.cancelled().await;
                Ok(())
            };
            let SqsSettings { queues, poll, shared, .. } = &settings;
            let outcome = Box::pin(sqs::serve(queues, poll, shared.drain_timeout, daemon, in_work, told)).await;
            // Here a process ends, with all that it still has.
            of.die();
            End { outcome, at: Instant::now(), calls_left: !calls.is_empty() }
        });
        Process { host, stop, stopped: None, task, messages, totals, budget, killed: false }
    }

    /// Waits for the end of all, and looks at what is there.
    async fn finish(self, ended: Vec<Process>, kills: u64, lasted: Duration, mut wrong: Vec<String>) -> Outcome {
        let (mut sums, mut cut_off) = (Vec::new(), kills);
        for (number, process) in ended.into_iter().enumerate() {
            let Process { stopped, task, messages, totals, budget, killed, .. } = process;
            match tokio::time::timeout(END_WITHIN, task).await {
                Ok(Ok(End { outcome, at, calls_left })) => {
                    // What a process has to say that lost its queue is its operator's.
                    if let Err(error @ (ModeError::System { .. } | ModeError::Stopped)) = outcome {
                        wrong.push(format!("process {number} ended badly: {error}"));
                    }
                    if stopped.is_some_and(|stopped| at.duration_since(stopped) > END_WITHIN) {
                        wrong.push(format!("process {number} did not end in time"));
                    }
                    cut_off += u64::from(calls_left && !killed);
                }
                Ok(Err(error)) => wrong.push(format!("process {number} broke off: {error}")),
                Err(_) => wrong.push(format!("process {number} does not end")),
            }
            sums.push((messages, totals, budget));
        }
        let there = there(&self.cloud, &self.plan, &mut wrong);
        let receives = self.cloud.receives(&self.queue);
        let wanted: Vec<Wanted> = (0..self.plan.objects.len())
            .map(|number| {
                let object = &self.plan.objects[number];
                let key = format!("/object-{number}.json.gz");
                let received_by = receives.iter().enumerate().filter(|(_, receive)| receive.body.contains(&key));
                let logged = if self.plan.tenants[object.tenant].logs() { object.records } else { 0 };
                let (refused, events): (Vec<usize>, Vec<usize>) =
                    (0..logged).partition(|record| object.refused.contains(record));
                let marks = |of: Vec<usize>| of.into_iter().map(|record| mark(event(object, number, record))).collect();
                Wanted {
                    stream: (account(object.tenant), pod(object.pod)),
                    events: marks(events),
                    refused: marks(refused),
                    received_by: received_by.map(|(turn, receive)| (turn, receive.by.clone())).collect(),
                }
            })
            .collect();
        let bounds = Bounds { batch: self.plan.batch, progress_every: self.plan.progress_every };
        let mut verdict = check(&wanted, &there, bounds);
        wrong.append(&mut verdict.wrong);
        wrong.extend(check_buckets(&self.cloud, &self.plan));
        let streams = u64::try_from(there.len()).unwrap_or(u64::MAX);
        let in_flight = cut_off * streams * self.plan.batch;
        let (faults, trace) = (self.cloud.faults_done(), self.net.trace());
        let calls = self.cloud.calls().values().sum();
        self.end(&mut wrong).await;
        balance(&sums, &there, in_flight, &mut wrong);
        wrong.extend(PANICS.take().into_iter().map(|what| format!("panicked: {what}")));
        verdict.wrong = wrong;
        Outcome { verdict, trace, faults, lasted, kills, calls }
    }

    /// Ends the cloud; then no task is left.
    async fn end(self, wrong: &mut Vec<String>) {
        let Self { cloud, .. } = self;
        match Arc::try_unwrap(cloud) {
            Ok(cloud) => cloud.stop().await,
            Err(_) => wrong.push("somebody still has the cloud".to_owned()),
        }
        let tasks = tokio::runtime::Handle::current().metrics();
        let until = Instant::now() + END_WITHIN;
        while tasks.num_alive_tasks() > 0 && Instant::now() < until {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        if tasks.num_alive_tasks() > 0 {
            wrong.push(format!("{} tasks are left", tasks.num_alive_tasks()));
        }
    }
}

fn keys(key: &AccessKey) -> Keys {
    Keys { id: key.id.clone(), secret: key.secret.clone() }
}
