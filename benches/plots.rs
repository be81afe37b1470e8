//! Draws what the tables of docs/performance.md cannot show: throughput by record size, by cores, by object size, and memory
//! while a long object is delivered. Into target/bench/plots, or into the folder that is named: `-- docs/plots`.

#![expect(clippy::unwrap_used, reason = "a bench that cannot run has nothing to say")]
#![expect(clippy::print_stdout, reason = "it says what it measured")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]
#![expect(clippy::cast_precision_loss, reason = "for people")]
#![allow(dead_code, reason = "the benches share more than each of them uses")]

#[path = "support/clock.rs"]
mod clock;
#[path = "core/ours.rs"]
mod ours;
#[path = "core/sets.rs"]
mod sets;
#[path = "../tests/support/stage.rs"]
mod stage;

use std::hint::black_box;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use localcloud::Keep;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use sha2::{Digest as _, Sha256};

use self::clock::{median, rounds};
use self::ours::Ours;
use self::sets::{Kind, Set};
use self::stage::{BUCKET, Stage, until};

const ROUNDS: usize = 7;
const MB: f64 = 1e6;
const MIB: f64 = (1 << 20) as f64;
/// Decompressed bytes that are measured at a time.
const SET_BYTES: u64 = 16 << 20;
/// Bytes of messages, and of objects.
const MESSAGES: [usize; 8] = [50, 100, 200, 400, 800, 1_600, 6_400, 25_600];
const OBJECTS: [u64; 9] = [1_000, 4_000, 16_000, 64_000, 256_000, 1 << 20, 4 << 20, 16 << 20, 64 << 20];
/// The long object, and how often memory is looked at.
const LONG_BYTES: u64 = 4 << 30;
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What the process may take: the default budget, and 24 MiB.
const MEMORY_MAX_MIB: f64 = 64.0;

/// A line of a plot.
struct Line {
    name: &'static str,
    points: Vec<(f64, f64)>,
}

/// A plot's words: its title, and what its axes are.
type Words = [&'static str; 3];

fn main() {
    let folder: PathBuf =
        std::env::args().skip(1).find(|arg| arg != "--bench").unwrap_or_else(|| "target/bench/plots".to_owned()).into();
    // A bench is run where its package is.
    std::fs::create_dir_all(&folder).unwrap();
    let sizes = by_size(&MESSAGES, |bytes| Set::bare(4, (bytes, bytes)));
    let words = ["one core, by the length of records", "bytes of a record", "MB/s, decompressed"];
    draw(&folder.join("records.svg"), words, ends(&sizes).log_scale(), &sizes);

    let sizes = by_size(&OBJECTS, |bytes| Set::since(0, (SET_BYTES / bytes).clamp(1, 2_000), bytes));
    let by_object = |line: Line| Line {
        points: line.points.into_iter().zip(OBJECTS).map(|((_, y), x)| (x as f64, y)).collect(),
        ..line
    };
    let sizes: Vec<Line> = sizes.into_iter().map(by_object).collect();
    let words = ["one core, by the size of objects", "bytes of an object, decompressed", "MB/s, decompressed"];
    draw(&folder.join("objects.svg"), words, ends(&sizes).log_scale(), &sizes);

    let cores = [by_cores()];
    let words = ["threads beside each other", "threads", "MB/s, decompressed, by the clock"];
    draw(&folder.join("cores.svg"), words, 1.0..ends(&cores).end.max(2.0), &cores);

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let memory = runtime.block_on(memory());
    let words = ["memory while one object of 4 GiB is delivered", "seconds", "MiB, resident"];
    draw(&folder.join("memory.svg"), words, ends(&memory), &memory);
}

/// What one core does with sets of different sizes, beside the ceiling: by the mean length of their records.
fn by_size<S: Copy>(sizes: &[S], set: impl Fn(S) -> Set) -> Vec<Line> {
    let (mut ours, mut ceiling) = (Vec::new(), Vec::new());
    for size in sizes {
        let set = set(*size);
        let (mut core, mut bodies) = (Ours::new(), Vec::new());
        core.run(&set, |body| bodies.push(body.to_vec()));
        let (mut inflate, mut out) = (libdeflater::Decompressor::new(), vec![0; set.largest]);
        let mut least = || {
            for object in &set.stored {
                let made = inflate.gzip_decompress(object, &mut out).unwrap();
                black_box(&out[..made]);
            }
            bodies.iter().for_each(|body| _ = black_box(Sha256::digest(body)));
        };
        let times = rounds(ROUNDS, [&mut || _ = core.run(&set, |_| {}), &mut least]);
        let speed = |at: usize| set.bytes as f64 / MB / median(&times, |round| round[at]);
        let record = set.bytes as f64 / set.records as f64;
        println!("records of {record:.0} bytes: {:.0} MB/s, ceiling {:.0} MB/s", speed(0), speed(1));
        ours.push((record, speed(0)));
        ceiling.push((record, speed(1)));
    }
    vec![Line { name: "ours", points: ours }, Line { name: "libdeflate and SHA-256 alone", points: ceiling }]
}

/// What threads do beside each other, up to as many as there are cores.
fn by_cores() -> Line {
    let set = Set::of(Kind::Long, 4);
    let cores = std::thread::available_parallelism().unwrap().get();
    let speed = |threads: usize| {
        let mut speeds: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                let begun = Instant::now();
                std::thread::scope(|scope| {
                    for _ in 0..threads {
                        scope.spawn(|| {
                            let mut ours = Ours::new();
                            (0..8).for_each(|_| _ = ours.run(&set, |_| {}));
                        });
                    }
                });
                (8 * threads) as f64 * set.bytes as f64 / MB / begun.elapsed().as_secs_f64()
            })
            .collect();
        speeds.sort_by(f64::total_cmp);
        println!("{threads} threads: {:.0} MB/s", speeds[ROUNDS / 2]);
        speeds[ROUNDS / 2]
    };
    Line { name: "ours", points: (1..=cores).map(|threads| (threads as f64, speed(threads))).collect() }
}

/// The daemon's memory while it delivers one object.
async fn memory() -> Vec<Line> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let set = Set::since(i64::try_from(since.as_millis()).unwrap() - 3_600_000, 8, 4 << 20);
    let mut object = Vec::new();
    for _ in 0..LONG_BYTES / set.bytes {
        set.stored.iter().for_each(|member| object.extend_from_slice(member));
    }
    let mut stage = Stage::new().await;
    stage.cloud.keep(Keep::Counts);
    let _tenant = stage.tenant("t", |_| {});
    let daemon = stage.sqs(&[]);
    until("it polls", || stage.calls("ReceiveMessage", stage::CENTRAL) > 0).await;
    stage.cloud.put_object(BUCKET, "t/c1/api/pod-0/1.gz", Bytes::from(object));
    let (begun, mut points) = (Instant::now(), Vec::new());
    let mut after = 20;
    while after > 0 {
        let pages: f64 = daemon.proc("statm").split(' ').nth(1).unwrap().parse().unwrap();
        points.push((begun.elapsed().as_secs_f64(), pages * rustix::param::page_size() as f64 / MIB));
        tokio::time::sleep(LOOK_EVERY).await;
        after -= i32::from(stage.left() == (0, 0));
    }
    let last = points[points.len() - 1].0;
    vec![
        Line { name: "the daemon", points },
        Line { name: "MEMORY_BUDGET and 24 MiB", points: vec![(0.0, MEMORY_MAX_MIB), (last, MEMORY_MAX_MIB)] },
    ]
}

/// From the least to the most that stands below a plot.
fn ends(lines: &[Line]) -> Range<f64> {
    let all = lines.iter().flat_map(|line| &line.points).map(|point| point.0);
    all.clone().fold(f64::INFINITY, f64::min)..all.fold(0.0, f64::max)
}

fn draw<X>(path: &Path, [title, below, beside]: Words, across: X, lines: &[Line])
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
{
    let most = lines.iter().flat_map(|line| &line.points).map(|point| point.1).fold(0.0, f64::max);
    let area = SVGBackend::new(path, (720, 380)).into_drawing_area();
    area.fill(&WHITE).unwrap();
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(58)
        .build_cartesian_2d(across, 0.0..most * 1.15)
        .unwrap();
    let number = |value: &f64| format!("{value:.1}").trim_end_matches(".0").to_owned();
    let mut mesh = chart.configure_mesh();
    mesh.x_desc(below).y_desc(beside).light_line_style(WHITE);
    mesh.x_label_formatter(&number).y_label_formatter(&number).draw().unwrap();
    for (line, color) in lines.iter().zip([BLUE, RED]) {
        let points = line.points.iter().copied();
        let drawn = chart.draw_series(LineSeries::new(points, color.stroke_width(2))).unwrap();
        drawn.label(line.name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    let place = SeriesLabelPosition::LowerRight;
    chart.configure_series_labels().position(place).border_style(BLACK).background_style(WHITE).draw().unwrap();
    area.present().unwrap();
    println!("{}", path.display());
}
