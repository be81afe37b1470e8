//! The daemon as a process: the processor's time, the memory, the calls and the time that it takes, in mode `sqs`.
//!
//! The released binary works for tenants of an embedded cloud, which runs in this process: it verifies and counts what arrives,
//! and keeps none of it. The processor's time is the daemon's alone. `-- NAME…` measures those parts alone: large, usual,
//! compress, small, sparse, latency, members, connections, memory, resume, start, size.

#![expect(clippy::unwrap_used, reason = "a bench that cannot run has nothing to say")]
#![expect(clippy::print_stdout, reason = "it says what it measured")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]
#![expect(clippy::cast_precision_loss, reason = "for people")]
#![allow(dead_code, reason = "the benches share more than each of them uses")]

#[path = "../support/clock.rs"]
mod clock;
mod cost;
#[path = "../support/figures.rs"]
mod figures;
#[path = "../core/ours.rs"]
mod ours;
#[path = "../core/sets.rs"]
mod sets;
#[path = "../../tests/support/stage.rs"]
mod stage;
mod tls;
mod usual;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};
use localcloud::{Faults, Keep};

use self::clock::{median_of, seconds_of};
use self::cost::{ARM64_USD, Measured, X86_USD, usd_per_tb};
use self::figures::{Figures, Gate, Target};
use self::ours::Ours;
use self::sets::{Set, plain};
use self::stage::{BUCKET, CENTRAL, Daemon, Stage, VISIBILITY, until};

const MB: f64 = 1e6;
const MIB: f64 = (1 << 20) as f64;
/// Time without an event after which it is over.
const PATIENCE: Duration = Duration::from_secs(60);
/// Rounds of what is compared.
const ROUNDS: usize = 5;

/// Large objects: so many different ones of so many bytes, each in every stream; tenants, streams of each.
const LARGE: (u64, u64) = (8, 4 << 20);
const LARGE_STREAMS: (usize, usize) = (8, 3);
/// Small ones, the same, and how many there are in all.
const SMALL: (u64, u64) = (256, 10_000);
const SMALL_STREAMS: (usize, usize) = (20, 10);
const SMALL_OBJECTS: usize = 20_000;
/// As many streams of one tenant.
const SMALL_STREAMS_OF_ONE: (usize, usize) = (1, 200);
/// Streams that get an object each, one every so often: what 10,000 pods write that are read every 300 s.
const SPARSE_STREAMS: (usize, usize) = (20, 30);
const SPARSE_EVERY: Duration = Duration::from_millis(30);
/// Objects that come one by one, one every so often.
const LIGHT_OBJECTS: usize = 300;
const LIGHT_EVERY: Duration = Duration::from_millis(40);
/// Members that are decoded early, as [`LARGE`], and the size of an object of them.
const EARLY: (u64, u64) = (64, 256 << 10);
const EARLY_BYTES: u64 = 1 << 30;
/// One object of this size, and bytes of a second that a connection gives of it.
const SLOW_BYTES: u64 = 1 << 30;
const SLOW_PER_SECOND: u64 = 16 << 20;
/// One object of this size, of one member.
const HUGE_BYTES: u64 = 10 << 30;
/// The one that is gone on with, and how often.
const RESUMED_BYTES: u64 = 4 << 30;
const RESUMES: usize = 3;
/// Settings of the stage's that are as users have them.
const AS_SHIPPED: [(&str, &str); 2] = [("LINGER", "1s"), ("SQS_WAIT", "20s")];
/// Starts of the daemon.
const STARTS: usize = 9;

/// A cloud with tenants and their streams.
struct Scene {
    stage: Stage,
    streams: Vec<String>,
}

impl Scene {
    async fn new((tenants, pods): (usize, usize), keep: Keep) -> Self {
        let mut stage = Stage::new().await;
        stage.cloud.keep(keep);
        for at in 0..tenants {
            let _tenant = stage.tenant(&format!("t{at:02}"), |_| {});
        }
        // Neighbours are of different tenants.
        let streams = (0..pods)
            .flat_map(|pod| (0..tenants).map(move |tenant| format!("t{tenant:02}/c1/api/pod-{pod}")))
            .collect();
        Self { stage, streams }
    }

    /// Writes an object into a stream.
    fn put(&self, stream: usize, name: usize, object: &Bytes) {
        self.stage.cloud.put_object(BUCKET, &format!("{}/{name}.gz", self.streams[stream]), object.clone());
    }

    fn arrived(&self) -> u64 {
        let mut events = 0;
        self.stage.cloud.each_stream(|_, _, _, _, stream| events += stream.accepted().0);
        events
    }

    /// When the last of them did, milliseconds since 1970.
    fn last_arrival(&self) -> i64 {
        let mut last = 0;
        self.stage.cloud.each_stream(|_, _, _, _, stream| last = last.max(stream.last_arrival_ms().unwrap_or(0)));
        last
    }

    /// Waits for so many events, and until the queue is empty.
    async fn until(&self, wanted: u64) {
        self.until_arrived(wanted).await;
        until("the queue is empty", || self.stage.left() == (0, 0)).await;
        assert_eq!(self.arrived(), wanted);
    }

    async fn until_arrived(&self, wanted: u64) {
        let (mut seen, mut at) = (0, Instant::now());
        loop {
            let now = self.arrived();
            if now >= wanted {
                break;
            }
            if now > seen {
                (seen, at) = (now, Instant::now());
            }
            assert!(at.elapsed() < PATIENCE, "waited in vain: {now} events of {wanted} are there");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Calls so far, of all services.
    fn calls(&self) -> u64 {
        self.stage.cloud.calls().values().sum()
    }

    /// Says which calls were made for an object.
    fn say_calls(&self, objects: usize) {
        let mut calls = BTreeMap::<_, u64>::new();
        for ((_, operation, _), count) in self.stage.cloud.calls() {
            *calls.entry(operation).or_default() += count;
        }
        let each = calls.iter().map(|(operation, count)| format!("{operation} {:.3}", *count as f64 / objects as f64));
        println!("calls per object: {}", each.collect::<Vec<_>>().join(", "));
    }

    /// The daemon, once it polls.
    async fn daemon(&self, settings: &[(&str, &str)]) -> Daemon {
        let daemon = self.stage.sqs(settings);
        self.polled().await;
        daemon
    }

    async fn polled(&self) {
        until("it polls", || self.stage.calls("ReceiveMessage", CENTRAL) > 0).await;
    }
}

/// The processor's time that the daemon has taken so far, to 10 ms.
fn seconds(daemon: &Daemon) -> f64 {
    let stat = daemon.proc("stat");
    // The name, in parentheses, may have any characters; user and system time are the 12th and 13th field behind it.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields[11..13].iter().map(|field| field.parse::<f64>().unwrap()).sum();
    ticks / rustix::param::clock_ticks_per_second() as f64
}

/// Whose work is measured.
#[derive(Clone, Copy)]
enum Whose<'s> {
    /// Ours, with these settings.
    Ours(&'s [(&'s str, &'s str)]),
    /// That of a program as others write it.
    Usual,
}

/// Bytes of a set in each stream, delivered by a daemon, for each second of the processor; and bytes sent for each of them.
async fn large_speed(set: &Set, whose: Whose<'_>) -> (f64, f64) {
    let scene = Scene::new(LARGE_STREAMS, Keep::Counts).await;
    let daemon = match whose {
        Whose::Ours(settings) => scene.stage.sqs(settings),
        Whose::Usual => usual::start(&scene.stage),
    };
    scene.polled().await;
    let before = seconds(&daemon);
    for (at, object) in set.stored.iter().enumerate() {
        (0..scene.streams.len()).for_each(|stream| scene.put(stream, at, object));
    }
    let streams = scene.streams.len() as u64;
    scene.until(streams * set.records).await;
    let bytes = (streams * set.bytes) as f64;
    (bytes / MB / (seconds(&daemon) - before), scene.stage.cloud.received_bytes("PutLogEvents") as f64 / bytes)
}

/// Beside the core alone, on one thread of this process.
async fn large(figures: &mut Figures) {
    let set = large_set();
    let mut ours = Ours::new();
    let mut core = || {
        let seconds = seconds_of(|| {
            for _ in 0..4 {
                assert_eq!(ours.run(&set, |_| {}), set.records);
            }
        });
        4.0 * set.bytes as f64 / MB / seconds
    };
    core();
    let mut ratios = Vec::new();
    let mut speeds = Vec::new();
    for _ in 0..ROUNDS {
        let (alone, (daemon, _)) = (core(), large_speed(&set, Whose::Ours(&[])).await);
        ratios.push(daemon / alone);
        speeds.push(daemon);
    }
    let target = Target::AtLeast(0.60);
    figures.add("daemon_vs_core", median_of(ratios), "of core", target, Gate::Ratio);
    figures.add("daemon_mb_per_cpu_s", median_of(speeds), "MB/CPU-s", Target::None, Gate::None);
}

fn large_set() -> Set {
    let (objects, bytes) = LARGE;
    Set::since(started(), objects, bytes)
}

/// A while ago: what is sent is neither too old nor too new.
fn started() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap() - 3_600_000
}

/// Beside the same work by a program as others write it.
async fn usual(figures: &mut Figures) {
    let set = large_set();
    let mut ratios = Vec::new();
    for _ in 0..3 {
        let (ours, theirs) = (large_speed(&set, Whose::Ours(&[])).await, large_speed(&set, Whose::Usual).await);
        ratios.push(ours.0 / theirs.0);
    }
    figures.add("vs_idiomatic_daemon", median_of(ratios), "times", Target::AtLeast(2.0), Gate::Ratio);
}

/// What compressed bodies cost, and what they save; and what that comes to in Lambda.
async fn compress(figures: &mut Figures) {
    let set = large_set();
    let mut times = [Vec::new(), Vec::new()];
    let mut sent = [0.0; 2];
    for _ in 0..ROUNDS {
        for (which, setting) in ["off", "on"].into_iter().enumerate() {
            let (speed, bytes) = large_speed(&set, Whose::Ours(&[("COMPRESS", setting)])).await;
            times[which].push(MIB / MB / speed * 1e3);
            sent[which] = bytes;
        }
    }
    let [off, on] = times.map(median_of);
    figures.add("cpu_ms_per_mib", off, "ms", Target::None, Gate::None);
    figures.add("cpu_ms_per_mib_compressed", on, "ms", Target::None, Gate::None);
    let tls_ms = tls::ms_per_mib();
    figures.add("tls_ms_per_mib", tls_ms, "ms", Target::None, Gate::None);
    figures.add("sent_bytes", sent[0], "of bytes", Target::None, Gate::None);
    figures.add("sent_bytes_compressed", sent[1], "of bytes", Target::None, Gate::None);
    let got = set.stored.iter().map(Bytes::len).sum::<usize>() as f64 / set.bytes as f64;
    for (name, cpu_ms, sent, target) in
        [("usd_per_tb", on, sent[1], Target::AtMost(0.25)), ("usd_per_tb_uncompressed", off, sent[0], Target::None)]
    {
        let measured = Measured { cpu_ms, tls_ms, got, sent };
        let [x86, arm64] = [X86_USD, ARM64_USD].map(|price| usd_per_tb(measured, price));
        for (name, usd) in [(name, x86.max(arm64)), (&format!("{name}_x86"), x86), (&format!("{name}_arm64"), arm64)] {
            figures.add(name, usd, "USD", target, Gate::None);
        }
    }
}

async fn small(figures: &mut Figures) {
    let (objects, bytes) = SMALL;
    let set = Set::since(started(), objects, bytes);
    let (mut speeds, mut calls, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    let mut took = [Vec::new(), Vec::new()];
    for (round, which) in (0..ROUNDS).flat_map(|round| [(round, 0), (round, 1)]) {
        let scene = Scene::new([SMALL_STREAMS, SMALL_STREAMS_OF_ONE][which], Keep::Counts).await;
        let streams = scene.streams.len();
        for at in 0..SMALL_OBJECTS {
            scene.put(at % streams, at, &set.stored[at % set.stored.len()]);
        }
        let daemon = scene.daemon(&AS_SHIPPED).await;
        let (before, begun) = (seconds(&daemon), Instant::now());
        // Each different object is there as often, up to one.
        let rounds = SMALL_OBJECTS / set.stored.len();
        let rest = &set.counts[..SMALL_OBJECTS % set.stored.len()];
        scene.until(rounds as u64 * set.records + rest.iter().sum::<u64>()).await;
        took[which].push(begun.elapsed().as_secs_f64());
        if which == 1 {
            continue;
        }
        speeds.push(SMALL_OBJECTS as f64 / (seconds(&daemon) - before));
        calls.push(scene.calls() as f64 / SMALL_OBJECTS as f64);
        peaks.push(daemon.peak_rss() as f64 / MIB);
        if round == 0 {
            scene.say_calls(SMALL_OBJECTS);
        }
    }
    let [many, one] = took.map(median_of);
    println!("in all {many:.1} s, and {one:.1} s when they are one tenant's");
    figures.add("small_of_one_tenant", many / one, "of the speed of many's", Target::AtLeast(0.8), Gate::Ratio);
    figures.add("small_objects_per_cpu_s", median_of(speeds), "objects", Target::AtLeast(3000.0), Gate::None);
    figures.add("calls_per_object", median_of(calls), "calls", Target::AtMost(1.5), Gate::Ratio);
    figures.add("rss_small_mib", median_of(peaks), "MiB", Target::AtMost(64.0), Gate::Ratio);
}

async fn sparse(figures: &mut Figures) {
    let (objects, bytes) = SMALL;
    let set = Set::since(started(), objects, bytes);
    let scene = Scene::new(SPARSE_STREAMS, Keep::Counts).await;
    let daemon = scene.daemon(&AS_SHIPPED).await;
    let (mut wanted, mut calls) = (0, 0);
    // The first time streams are made.
    for turn in 0..2 {
        calls = scene.calls();
        for stream in 0..scene.streams.len() {
            let which = stream % set.stored.len();
            scene.put(stream, turn, &set.stored[which]);
            wanted += set.counts[which];
            tokio::time::sleep(if turn == 0 { Duration::ZERO } else { SPARSE_EVERY }).await;
        }
        scene.until(wanted).await;
    }
    let each = (scene.calls() - calls) as f64 / scene.streams.len() as f64;
    drop(daemon);
    figures.add("calls_per_object_sparse", each, "calls", Target::AtMost(2.5), Gate::Ratio);
}

/// From an object's notification to its events' arrival, when there is little else to do.
async fn latency(figures: &mut Figures) {
    let (objects, bytes) = SMALL;
    let set = Set::since(started(), objects, bytes);
    let scene = Scene::new((4, 5), Keep::Digests).await;
    let daemon = scene.daemon(&[("LINGER", "0ms"), ("SQS_WAIT", "20s")]).await;
    let streams = scene.streams.len();
    let mut wanted = 0;
    let put = |at: usize| {
        let which = at % set.stored.len();
        scene.put(at % streams, at, &set.stored[which]);
        set.counts[which]
    };
    // Streams are made, credentials got.
    for at in 0..streams {
        wanted += put(at);
    }
    scene.until(wanted).await;
    let mut took = Vec::new();
    for at in streams..streams + LIGHT_OBJECTS {
        let told = scene.stage.cloud.now_ms();
        wanted += put(at);
        scene.until_arrived(wanted).await;
        took.push((scene.last_arrival() - told) as f64);
        tokio::time::sleep(LIGHT_EVERY).await;
    }
    drop(daemon);
    took.sort_by(f64::total_cmp);
    figures.add("latency_p50_ms", took[took.len() / 2], "ms", Target::AtMost(20.0), Gate::None);
    figures.add("latency_p99_ms", took[took.len() * 99 / 100], "ms", Target::AtMost(100.0), Gate::None);
}

async fn memory(figures: &mut Figures) {
    let (object, records) = stream(&large_set(), HUGE_BYTES);
    let scene = Scene::new((1, 1), Keep::Counts).await;
    let daemon = scene.daemon(&[]).await;
    figures.add("rss_idle_mib", daemon.peak_rss() as f64 / MIB, "MiB", Target::AtMost(20.0), Gate::Ratio);
    scene.put(0, 0, &object);
    let begun = Instant::now();
    scene.until(records).await;
    println!("one object of {} GiB: {:.0} s", HUGE_BYTES >> 30, begun.elapsed().as_secs_f64());
    figures.add("rss_large_mib", daemon.peak_rss() as f64 / MIB, "MiB", Target::AtMost(64.0), Gate::Ratio);
}

/// One object, whole; and from where it is gone on with when the process is killed after nine tenths of it.
async fn resume(figures: &mut Figures) {
    let set = large_set();
    let (object, records) = stream(&set, RESUMED_BYTES);
    let settings = [("PROGRESS_TABLE", "progress")];
    let scene = async |records: u64| {
        let scene = Scene::new((1, 1), Keep::Counts).await;
        scene.stage.cloud.create_table(CENTRAL, "progress", "id", None);
        let daemon = scene.daemon(&settings).await;
        let begun = Instant::now();
        scene.put(0, 0, &object);
        scene.until_arrived(records).await;
        (scene, daemon, begun.elapsed())
    };
    let mut ratios = Vec::new();
    for _ in 0..RESUMES {
        let (_, _, whole) = scene(records).await;
        let (scene, killed, _) = scene(records / 10 * 9).await;
        drop(killed);
        until("nothing of it is on its way", || scene.stage.cloud.connections() == 0).await;
        let (before, given) = (scene.arrived(), scene.stage.cloud.given_bytes());
        scene.stage.cloud.advance(VISIBILITY);
        let daemon = scene.stage.sqs(&settings);
        let begun = Instant::now();
        until("the queue is empty", || scene.stage.left() == (0, 0)).await;
        let took = begun.elapsed();
        drop(daemon);
        let twice = scene.arrived() - records;
        println!("killed at {before} of {records} events; {twice} came twice; all took {:.2} s", whole.as_secs_f64());
        let bytes = (scene.stage.cloud.given_bytes() - given) as f64 / object.len() as f64;
        ratios.push((bytes, took.as_secs_f64() / whole.as_secs_f64()));
    }
    let (bytes, times) = ratios.into_iter().unzip();
    figures.add("resume_bytes", median_of(bytes), "of all", Target::AtMost(0.12), Gate::Ratio);
    figures.add("resume_time", median_of(times), "of all", Target::AtMost(0.15), Gate::Ratio);
}

/// One object in one stream, of members that other threads decode before their turn, to the same with members that do not look as
/// if they were: each has a flag that says nothing.
async fn early(figures: &mut Figures) {
    const FLAGS: usize = 3;
    const IS_TEXT: u8 = 1;
    let mut set = Set::since(started(), EARLY.0, EARLY.1);
    let plain = members(&set, EARLY_BYTES);
    for member in &mut set.stored {
        let mut bytes = member.to_vec();
        bytes[FLAGS] |= IS_TEXT;
        *member = bytes.into();
    }
    let objects = [plain, members(&set, EARLY_BYTES)];
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let mut speeds = Vec::new();
        for (object, records) in &objects {
            let scene = Scene::new((1, 1), Keep::Counts).await;
            let _daemon = scene.daemon(&[("COMPUTE_THREADS", "2")]).await;
            let begun = Instant::now();
            scene.put(0, 0, object);
            scene.until(*records).await;
            speeds.push(*records as f64 / begun.elapsed().as_secs_f64());
        }
        ratios.push(speeds[0] / speeds[1]);
    }
    figures.add("members_decoded_early", median_of(ratios), "of the speed without", Target::None, Gate::None);
}

/// One object of a store whose connections are slow, to what one of them gives: with the default's memory, and with much.
async fn connections(figures: &mut Figures) {
    let (object, records) = stream(&large_set(), SLOW_BYTES);
    let whole = object.len() as f64 / SLOW_PER_SECOND as f64;
    for (name, budget) in [("connections_used", "40MiB"), ("connections_used_of_much_memory", "256MiB")] {
        let mut ratios = Vec::new();
        for _ in 0..RESUMES {
            let scene = Scene::new((1, 1), Keep::Counts).await;
            let _daemon = scene.daemon(&[("MEMORY_BUDGET", budget)]).await;
            let slow = format!("s3.GetObject slow={SLOW_PER_SECOND}");
            scene.stage.cloud.set_faults(Some(&Faults::parse(&slow, 1).unwrap()));
            let begun = Instant::now();
            scene.put(0, 0, &object);
            scene.until_arrived(records).await;
            ratios.push(whole / begun.elapsed().as_secs_f64());
        }
        figures.add(name, median_of(ratios), "times as fast as one", Target::None, Gate::None);
    }
}

/// One object of so many bytes, of a set's as its members, and its records.
fn members(set: &Set, wanted: u64) -> (Bytes, u64) {
    let (mut object, mut bytes, mut records) = (Vec::new(), 0, 0);
    while bytes < wanted {
        set.stored.iter().for_each(|member| object.extend_from_slice(member));
        bytes += set.bytes;
        records += set.records;
    }
    (object.into(), records)
}

/// The same of one member: as a collector writes it that does not flush.
fn stream(set: &Set, wanted: u64) -> (Bytes, u64) {
    // What begins and ends at a byte, and reaches back to nothing before it, may follow itself.
    let pieces = plain(set).stored.into_iter().map(|text| {
        let mut deflate = Compress::new(Compression::new(6), false);
        let mut piece = Vec::with_capacity(text.len());
        deflate.compress_vec(&text, &mut piece, FlushCompress::Full).unwrap();
        assert!(deflate.total_in() == text.len() as u64 && piece.len() < piece.capacity(), "all of it is written");
        let mut sum = crc32fast::Hasher::new();
        sum.update(&text);
        (piece, sum)
    });
    let pieces: Vec<_> = pieces.collect();
    let (mut object, mut sum) = (vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255], crc32fast::Hasher::new());
    let (mut bytes, mut records) = (0, 0);
    while bytes < wanted {
        for (piece, of_piece) in &pieces {
            object.extend_from_slice(piece);
            sum.combine(of_piece);
        }
        bytes += set.bytes;
        records += set.records;
    }
    // A last block of fixed codes without any.
    object.extend([3, 0]);
    object.extend(sum.finalize().to_le_bytes());
    object.extend(bytes.to_le_bytes()[..4].iter());
    (object.into(), records)
}

async fn start(figures: &mut Figures) {
    let mut took = Vec::new();
    for _ in 0..STARTS {
        let stage = Stage::new().await;
        let begun = Instant::now();
        let daemon = stage.sqs(&[]);
        while stage.calls("ReceiveMessage", CENTRAL) == 0 {
            assert!(begun.elapsed() < VISIBILITY, "it does not poll");
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        took.push(begun.elapsed().as_secs_f64() * 1e3);
        drop(daemon);
    }
    figures.add("start_ms", median_of(took), "ms", Target::AtMost(50.0), Gate::None);
}

/// The container's binary, where `.ci/nightly size` has built it.
fn size(figures: &mut Figures) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/daemon/dist/millrace");
    match std::fs::metadata(path) {
        Ok(binary) => {
            let mib = binary.len() as f64 / MIB;
            figures.add("binary_mib", mib, "MiB", Target::AtMost(20.0), Gate::Ratio);
        }
        Err(_) => println!("binary_mib is not measured: .ci/nightly size builds that binary"),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if args == [usual::MODE] {
        usual::run().await;
        return ExitCode::SUCCESS;
    }
    let mut figures = Figures::default();
    let wants = |name: &str| args.is_empty() || args.iter().any(|arg| arg == name);
    if wants("large") {
        large(&mut figures).await;
    }
    if wants("usual") {
        usual(&mut figures).await;
    }
    if wants("compress") {
        compress(&mut figures).await;
    }
    if wants("small") {
        small(&mut figures).await;
    }
    if wants("sparse") {
        sparse(&mut figures).await;
    }
    if wants("latency") {
        latency(&mut figures).await;
    }
    if wants("members") {
        early(&mut figures).await;
    }
    if wants("connections") {
        connections(&mut figures).await;
    }
    if wants("memory") {
        memory(&mut figures).await;
    }
    if wants("resume") {
        resume(&mut figures).await;
    }
    if wants("start") {
        start(&mut figures).await;
    }
    if wants("size") {
        size(&mut figures);
    }
    figures.finish()
}
