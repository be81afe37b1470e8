//! What happens in a round, all of it from the round's seed: settings, objects, and kills between the cloud's calls.

use fastrand::Rng;

/// Events of a batch: few, so that objects have many batches.
pub(crate) const BATCH: u64 = 10;
pub(crate) const TENANTS: usize = 3;
const STREAMS: usize = 2;
const OBJECTS: usize = 30;
/// Batches of the longest object.
const BATCHES_MAX: u64 = 12;
/// As many as PROGRESS_EVERY is by default, and fewer.
const EVERY_MAX: u64 = 4;
/// Fewer than POISON_ATTEMPTS, so that no object is taken for the cause of them.
const KILLS_MAX: usize = 4;
/// What a kill waits for: each is another part of an object's way, from its notification to its end.
const OPERATIONS: [&str; 6] =
    ["PutLogEvents", "PutLogEvents", "UpdateItem", "DeleteMessageBatch", "GetObject", "ReceiveMessage"];

/// An object of a stream of a tenant; its records are numbered.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) tenant: usize,
    pub(crate) stream: String,
    pub(crate) events: u64,
}

/// What is done at a moment of a round.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// The next object is written.
    Put,
    /// These replicas are killed at a call of an operation, by whomever, and started again.
    Kill { replicas: &'static [usize], of: &'static str, at: Moment, lapse: Lapse },
}

/// At which call a kill comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Once so many more have come; they are done, at their usual pace.
    After(u64),
    /// The next one, before it is done.
    Before,
}

/// When others get the messages that a killed replica held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lapse {
    /// When their time is over.
    Later,
    /// At once, and those too that the other replica is working on.
    AtOnce,
}

/// A round.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// PROGRESS_EVERY.
    pub(crate) every: u64,
    /// DEDUPE.
    pub(crate) dedupe: &'static str,
    /// What the cloud does slowly, so that kills find calls that are done and not answered.
    pub(crate) faults: String,
    pub(crate) objects: Vec<Object>,
    /// Acts, each with the accepted batches before it, ascending.
    pub(crate) acts: Vec<(u64, Act)>,
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let every = rng.u64(1..=EVERY_MAX);
        let dedupe = if rng.bool() { "memory" } else { "table" };
        let slow = ["logs.PutLogEvents", "dynamodb.UpdateItem", "sqs.DeleteMessageBatch"]
            .map(|call| format!("{call} delay={}ms {}%", rng.u8(1..=20), rng.u8(10..=90)));
        let objects: Vec<Object> = (0..OBJECTS)
            .map(|_| Object {
                tenant: rng.usize(0..TENANTS),
                stream: format!("pod-{}", rng.usize(0..STREAMS)),
                events: if rng.bool() { rng.u64(1..=BATCH) } else { rng.u64(BATCH + 1..=BATCHES_MAX * BATCH) },
            })
            .collect();
        let batches = objects.iter().map(|object| object.events.div_ceil(BATCH)).sum::<u64>();
        let mut acts: Vec<(u64, Act)> =
            (0..OBJECTS).map(|at| (if at < OBJECTS / 3 { 0 } else { rng.u64(0..batches / 2) }, Act::Put)).collect();
        for _ in 0..rng.usize(2..=KILLS_MAX) {
            let kill = Act::Kill {
                replicas: [&[0][..], &[1], &[0, 1]][rng.usize(0..3)],
                of: OPERATIONS[rng.usize(0..OPERATIONS.len())],
                at: if rng.bool() { Moment::After(rng.u64(1..=4)) } else { Moment::Before },
                lapse: if rng.bool() { Lapse::AtOnce } else { Lapse::Later },
            };
            acts.push((rng.u64(0..batches), kill));
        }
        acts.sort_by_key(|(batches, _)| *batches);
        Self { every, dedupe, faults: slow.join(";"), objects, acts }
    }
}
