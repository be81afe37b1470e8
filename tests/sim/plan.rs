//! What happens in a run: all of it is drawn from the seed before it begins.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;

/// Bytes of a GET that are enough for any object.
const WHOLE_BYTES: u64 = 8 << 20;
/// Tenants of a run at most.
const TENANTS_MAX: usize = 3;
/// Rules of faults of a run at most.
const FAULTS_MAX: usize = 6;
/// Time within which things happen: objects are put first, then processes end, then the faults.
const PUTS_WITHIN_MS: u64 = 25_000;
const ENDS_WITHIN_MS: u64 = 60_000;
const FAULTS_WITHIN_MS: (u64, u64) = (10_000, 90_000);
/// Half of the ends come so soon after a put, when there is something in work.
const ENDS_SOON_MS: u64 = 3_000;

/// Faults, of which a run has some: `%` stands for a chance.
const FAULTS: [&str; 55] = [
    "logs throttle %",
    "logs 500 %",
    "logs 503 %",
    "logs.PutLogEvents reset-before %",
    "logs.PutLogEvents reset-after %",
    "logs.PutLogEvents cut %",
    "logs.PutLogEvents delay=40s % times=4",
    "logs.PutLogEvents delay=5s %",
    "logs.PutLogEvents reject-old %",
    "logs.PutLogEvents reject-new %",
    "logs.PutLogEvents reject-expired %",
    "logs expired % times=3",
    "logs@222222222222 denied times=2",
    "logs.PutLogEvents skewed % times=4",
    // A tenant that takes nothing.
    "logs@333333333333 throttle",
    "logs@222222222222 delay=60s",
    "s3.GetObject throttle %",
    "s3.GetObject 500 %",
    "s3.GetObject reset-before %",
    "s3.GetObject cut %",
    "s3.GetObject corrupt %",
    "s3.GetObject slow=2KiB %",
    "s3.GetObject 404 % times=2",
    "s3.GetObject 412 % times=3",
    "s3.GetObject skewed % times=4",
    // Copies into tenants' buckets.
    "s3.HeadObject 500 %",
    "s3.HeadObject 404 % times=2",
    "s3.CopyObject throttle %",
    "s3.CopyObject 500 %",
    "s3.CopyObject 412 % times=3",
    "s3.CopyObject reset-before %",
    "s3.CopyObject reset-after %",
    "s3.CopyObject cut %",
    "s3.CopyObject denied times=3",
    // The reject store.
    "s3.PutObject 503 %",
    "s3.PutObject reset-after %",
    "s3.PutObject denied % times=3",
    // What is the operator's to mend: polling stops.
    "s3.GetObject denied times=12",
    "dynamodb.Query denied times=8",
    "dynamodb.UpdateItem denied % times=4",
    "sts denied times=10",
    "dynamodb throttle %",
    "dynamodb 500 %",
    "dynamodb.UpdateItem reset-after %",
    "dynamodb.UpdateItem cut %",
    "sts throttle %",
    "sts 500 %",
    "sqs.ReceiveMessage 500 %",
    "sqs.ReceiveMessage duplicate %",
    "sqs.ReceiveMessage reorder %",
    "sqs.ReceiveMessage cut %",
    "sqs lost-hide %",
    "sqs lost-delete %",
    "sqs.DeleteMessageBatch reset-after %",
    "sqs.ChangeMessageVisibilityBatch 503 %",
];

/// What a tenant has its objects delivered into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    Logs,
    Bucket,
    Both,
}

impl Wants {
    pub(crate) const fn logs(self) -> bool {
        matches!(self, Self::Logs | Self::Both)
    }

    pub(crate) const fn bucket(self) -> bool {
        matches!(self, Self::Bucket | Self::Both)
    }
}

/// An object.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) tenant: usize,
    pub(crate) pod: usize,
    pub(crate) records: usize,
    /// Those that the API refuses, and the whole batch with them.
    pub(crate) refused: BTreeSet<usize>,
}

/// What is done at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Act {
    /// The objects of a message are put, and it is sent.
    Put(usize),
    /// It is sent a second time.
    Repeat(usize),
    /// The process of a replica is killed; another one begins so much later.
    Kill { replica: usize, pause_ms: u64 },
    /// It is told to stop, and another one begins.
    Drain { replica: usize, pause_ms: u64 },
    /// From now on all is well.
    EndFaults,
}

/// A run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) tenants: Vec<Wants>,
    pub(crate) replicas: usize,
    pub(crate) objects: Vec<Object>,
    /// The objects that each message tells of.
    pub(crate) messages: Vec<Range<usize>>,
    /// Whether messages come by SNS, or from S3 itself.
    pub(crate) by_sns: bool,
    /// Whether what the API does not take is kept.
    pub(crate) keeps_rejects: bool,
    /// Whether batches are compressed.
    pub(crate) packs: bool,
    /// Bytes of one GET, and records of a gzip member.
    pub(crate) part_bytes: u64,
    pub(crate) member: usize,
    /// Most events of a batch.
    pub(crate) batch: u64,
    /// Batches after which progress is written; none: there is no table.
    pub(crate) progress_every: Option<u64>,
    pub(crate) dedupe: bool,
    pub(crate) visibility: Duration,
    pub(crate) latency: Duration,
    pub(crate) linger: Duration,
    /// Messages that a process holds at most.
    pub(crate) messages_max: u32,
    pub(crate) faults: Option<String>,
    /// In the order of their times.
    pub(crate) acts: Vec<(u64, Act)>,
}

impl Plan {
    /// The run of a seed.
    pub(crate) fn drawn(seed: u64) -> Self {
        let mut plan = Self::quiet(seed);
        let mut rng = Rng::with_seed(seed ^ 0x5eed);
        let rules = if rng.u8(0..8) == 0 { 0 } else { rng.usize(1..=FAULTS_MAX) };
        let faults: Vec<String> = rng
            .choose_multiple(FAULTS, rules)
            .into_iter()
            .map(|rule| rule.replace('%', &format!("{}%", [2, 5, 10, 25][rng.usize(0..4)])))
            .collect();
        plan.faults = (rules > 0).then(|| faults.join("; "));
        if plan.faults.as_ref().is_some_and(|faults| faults.contains("corrupt")) {
            // What is damaged in an object of several parts may be sent before its checksum is there.
            plan.part_bytes = WHOLE_BYTES;
        }
        plan.acts.push((rng.u64(FAULTS_WITHIN_MS.0..FAULTS_WITHIN_MS.1), Act::EndFaults));
        for _ in 0..rng.usize(0..4) {
            let (replica, pause_ms) = (rng.usize(0..plan.replicas), rng.u64(0..20_000));
            let act = if rng.bool() { Act::Kill { replica, pause_ms } } else { Act::Drain { replica, pause_ms } };
            let (put, _) = plan.acts[rng.usize(0..plan.messages.len())];
            let at = if rng.bool() { put + rng.u64(0..ENDS_SOON_MS) } else { rng.u64(500..ENDS_WITHIN_MS) };
            plan.acts.push((at, act));
        }
        for message in 0..plan.messages.len() {
            if rng.u8(0..8) == 0 {
                plan.acts.push((PUTS_WITHIN_MS + rng.u64(0..ENDS_WITHIN_MS), Act::Repeat(message)));
            }
        }
        plan.acts.sort_unstable();
        plan
    }

    /// The same without faults and ends of processes.
    pub(crate) fn quiet(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let wants = [Wants::Logs, Wants::Logs, Wants::Both, Wants::Both, Wants::Bucket];
        let tenants: Vec<Wants> = (0..rng.usize(2..=TENANTS_MAX)).map(|_| wants[rng.usize(0..wants.len())]).collect();
        let refused_of_64 = [0, 0, 1, 4][rng.usize(0..4)];
        let objects: Vec<Object> = (0..rng.usize(3..=8))
            .map(|_| {
                let (tenant, pod, records) = (rng.usize(0..tenants.len()), rng.usize(0..2), rng.usize(1..=40));
                let refused = (0..records).filter(|_| rng.u8(0..64) < refused_of_64).collect();
                Object { tenant, pod, records, refused }
            })
            .collect();
        let together = [1, 1, 3][rng.usize(0..3)];
        let mut messages = Vec::new();
        while let Some(from) =
            Some(messages.last().map_or(0, |last: &Range<usize>| last.end)).filter(|at| *at < objects.len())
        {
            messages.push(from..(from + rng.usize(1..=together)).min(objects.len()));
        }
        // Some come all at once, some are spread.
        let within = [1, 2_000, PUTS_WITHIN_MS][rng.usize(0..3)];
        let mut times: Vec<u64> = messages.iter().map(|_| rng.u64(0..within)).collect();
        times.sort_unstable();
        let progress_every = rng.bool().then(|| rng.u64(1..=4));
        // Half of the runs have objects of one part. Drawn apart, lest all seeds be others than they were.
        let mut parts = Rng::with_seed(!seed);
        Self {
            part_bytes: [WHOLE_BYTES, WHOLE_BYTES, 500, 150][parts.usize(0..4)],
            member: [usize::MAX, 3][parts.usize(0..2)],
            tenants,
            replicas: rng.usize(1..=2),
            batch: rng.u64(4..=16),
            progress_every,
            dedupe: progress_every.is_some() && rng.u8(0..4) == 0,
            visibility: Duration::from_secs(rng.u64(15..=60)),
            latency: Duration::from_millis([0, 2, 20, 150][rng.usize(0..4)]),
            linger: Duration::from_millis([0, 100, 1_000][rng.usize(0..3)]),
            messages_max: [2, 6, 500][rng.usize(0..3)],
            faults: None,
            acts: times.into_iter().zip(0..).map(|(at, message)| (at, Act::Put(message))).collect(),
            objects,
            messages,
            by_sns: rng.bool(),
            keeps_rejects: rng.bool(),
            packs: rng.bool(),
        }
    }
}
