//! Deterministic simulation: the daemon as it is, against the embedded cloud as it is, on simulated time and network.
//!
//! A seed decides all that happens ([`plan`]): objects, latencies, faults, kills and drains of replicas. A run is one
//! current-thread runtime with tokio's clock paused, so hours without work pass at once; the SDK's calls go through
//! connections in memory ([`net`], [`client`]) to localcloud. What it must have held to is in [`checker`].
//!
//! tokio's paused clock was chosen over turmoil, whose hosts step by a tick and make hours dear, and over madsim, which
//! replaces tokio and with it what is to be tested. Not simulated: the compute threads (machines run in place), the time to
//! live of what moka caches (real time, so nothing of it ever lapses in a run), and TLS.
//!
//! `cargo test --test sim` runs [`SEEDS`] seeds; `MILLRACE_SIM_SEEDS=100000` more, from `MILLRACE_SIM_FIRST` on;
//! `MILLRACE_SIM_SEED=4711` one of them, with its log.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests look at data of their own making, where a panic is a failed test"
)]

mod checker;
mod client;
mod ground;
mod look;
mod net;
mod plan;
mod run;

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use self::plan::Plan;
use self::run::{Outcome, run, watch_panics};

/// Seeds of an ordinary test run.
const SEEDS: u64 = 1_000;
/// Seeds after which a failing run says no more.
const FAILURES_MAX: usize = 10;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var_os(variable)?.into_string().unwrap();
    Some(text.parse().unwrap())
}

/// The time of a run, for its log.
struct SimulatedTime;

impl FormatTime for SimulatedTime {
    fn format_time(&self, to: &mut Writer<'_>) -> std::fmt::Result {
        write!(to, "{:9.3}", run::elapsed().as_secs_f64())
    }
}

/// Has what the daemon logs printed, with the run's time.
fn log() {
    let filter = EnvFilter::new("warn,s3s=off,millrace=info");
    let _is_there =
        tracing_subscriber::fmt().with_env_filter(filter).with_timer(SimulatedTime).with_test_writer().try_init();
}

fn simulate(seed: u64, plan: Plan) -> Outcome {
    static SET_UP: Once = Once::new();
    SET_UP.call_once(|| {
        watch_panics();
        if number("MILLRACE_SIM_SEED").is_some() {
            log();
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(Box::pin(run(seed, plan)))
}

/// Runs seeds on all cores, and gives what came out of each.
fn all(seeds: Range<u64>, each: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(seeds.start);
    std::thread::scope(|threads| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            threads.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    each(seed);
                }
            });
        }
    });
}

/// What happened in all runs.
#[derive(Debug, Default)]
struct Sums {
    runs: u64,
    simulated_hours: f64,
    calls: u64,
    kills: u64,
    twice: u64,
    repeated: u64,
    rejected: u64,
    faults: BTreeMap<&'static str, u64>,
}

impl Sums {
    fn add(&mut self, outcome: &Outcome) {
        self.runs += 1;
        self.simulated_hours += outcome.lasted.as_secs_f64() / 3600.0;
        self.calls += outcome.calls;
        self.kills += outcome.kills;
        self.twice += outcome.verdict.twice;
        self.repeated += outcome.verdict.repeated;
        self.rejected += outcome.verdict.rejected;
        for (kind, times) in &outcome.faults {
            *self.faults.entry(kind).or_default() += times;
        }
    }
}

#[test]
fn without_faults_each_event_arrives_once() {
    let seeds = number("MILLRACE_SIM_SEED").map_or(0..10, |seed| seed..seed + 1);
    for seed in seeds {
        let outcome = simulate(seed, Plan::quiet(seed));
        assert_eq!(outcome.verdict.wrong, [""; 0], "seed {seed}");
        assert_eq!((outcome.verdict.repeated, outcome.verdict.twice), (0, 0), "seed {seed}");
    }
}

#[test]
fn a_seed_is_a_run() {
    for seed in 0..16 {
        let [first, second] = [(); 2].map(|()| simulate(seed, Plan::drawn(seed)));
        assert_eq!((first.trace, first.lasted), (second.trace, second.lasted), "seed {seed}");
        assert_eq!(first.verdict, second.verdict, "seed {seed}");
    }
}

#[test]
fn whatever_happens_every_event_arrives() {
    let (failures, sums) = (Mutex::new(Vec::new()), Mutex::new(Sums::default()));
    let one = |seed: u64| {
        let plan = Plan::drawn(seed);
        let wrong = match catch_unwind(|| simulate(seed, plan.clone())) {
            Ok(outcome) => {
                sums.lock().unwrap().add(&outcome);
                outcome.verdict.wrong
            }
            Err(_) => vec!["the run broke off by a panic".to_owned()],
        };
        if !wrong.is_empty() {
            let failure = format!(
                "seed {seed}: {wrong:#?}\n{plan:?}\nreplay: MILLRACE_SIM_SEED={seed} cargo test --test sim whatever -- --nocapture"
            );
            // At once, for whoever waits for many.
            println!("{failure}");
            let mut failures = failures.lock().unwrap();
            if failures.len() < FAILURES_MAX {
                failures.push(failure);
            }
        }
    };
    let (first, seeds) = (number("MILLRACE_SIM_FIRST").unwrap_or(0), number("MILLRACE_SIM_SEEDS").unwrap_or(SEEDS));
    match number("MILLRACE_SIM_SEED") {
        Some(seed) => one(seed),
        None => all(first..first + seeds, one),
    }
    let (failures, sums) = (failures.into_inner().unwrap(), sums.into_inner().unwrap());
    println!("{sums:?}");
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    // Of so many runs, each thing that can happen has happened in some.
    if sums.runs >= SEEDS {
        assert!([sums.kills, sums.twice, sums.repeated, sums.rejected].iter().all(|sum| *sum > 0), "{sums:?}");
        assert!(sums.faults.len() > 15, "{sums:?}");
    }
}
