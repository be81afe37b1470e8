//! One core's way from stored bytes to hashed request bodies: beside its ceiling, beside the same work as others write it, in one
//! run; and in instructions, which no other program on the machine can change.
//!
//! The ceiling is what is left when only the two things are done that nobody can leave out: libdeflate decodes whole objects
//! into a buffer that is used again, and the bodies are hashed. `-- --instructions` counts alone, which takes less than a
//! minute; `-- core_long` measures that set alone, and `-- stages` says what each stage takes of each set.
//! `-- hostile` measures what is made to be slow, `-- hostile keys` that alone which has this in its name.

#![expect(clippy::unwrap_used, reason = "a bench that cannot make its objects has nothing to measure")]
#![expect(clippy::print_stdout, reason = "it says what it measured")]
#![expect(clippy::cast_precision_loss, reason = "for people")]
#![allow(dead_code, reason = "the benches share more than each of them uses")]

#[path = "../support/clock.rs"]
mod clock;
#[path = "../support/figures.rs"]
mod figures;
mod hostile;
mod others;
mod ours;
mod sets;
mod stages;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex};

use loadgen::{LineSpec, Lines};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use self::clock::{median, median_of, rounds, seconds_of};
use self::figures::{Figures, Gate, Target};
use self::others::{Sdk, idiomatic, naive};
use self::ours::Ours;
use self::sets::{Kind, Set};

/// Objects of a set that is measured, and rounds.
const OBJECTS: u64 = 8;
const ROUNDS: usize = 15;
/// Rounds with the slow ones.
const SLOW_ROUNDS: usize = 5;
/// Lines that are generated in a round, and bytes after which the buffer is used again.
const GENERATED_LINES: u64 = 200_000;
const GENERATED_AT_ONCE: usize = 256 << 10;
/// Bytes in a MB, and in a KiB.
const MB: f64 = 1e6;
const KIB: f64 = 1024.0;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut figures = Figures::default();
    match args.as_slice() {
        [what @ ("--path" | "--hash"), set, times] => {
            counted(what, Path::new(set), times.parse().unwrap());
            return ExitCode::SUCCESS;
        }
        ["hostile", only] => hostile::say(&mut figures, only),
        ["--instructions"] => instructions(&mut figures),
        ["stages"] => {
            Kind::ALL.into_iter().for_each(|kind| stages::say(kind, OBJECTS));
            Kind::ALL.into_iter().for_each(|kind| stages::encoders(kind, OBJECTS));
        }
        names => {
            for kind in Kind::ALL
                .into_iter()
                .chain(Kind::SHORTER)
                .filter(|kind| names.is_empty() || names.contains(&kind.name()))
            {
                measure(kind, &mut figures);
            }
            if names.is_empty() || names.contains(&"two_threads") {
                two_threads(&mut figures);
            }
            if names.is_empty() || names.contains(&"hostile") {
                hostile::say(&mut figures, "");
            }
            if names.is_empty() || names.contains(&"loadgen") {
                generator(&mut figures);
            }
            if names.is_empty() {
                instructions(&mut figures);
            }
        }
    }
    figures.finish()
}

/// The set by time.
fn measure(kind: Kind, figures: &mut Figures) {
    let set = Set::of(kind, OBJECTS);
    let (mut ours, mut bodies) = (Ours::new(), Vec::new());
    let records = ours.run(&set, |body| bodies.push(body.to_vec()));
    assert_eq!(records, set.records);
    same_events(kind, &set, &bodies);

    let body_bytes = bodies.iter().map(Vec::len).sum::<usize>() as f64;
    let mut all = || assert_eq!(ours.run(&set, |_| {}), records);
    let (mut inflate, mut out) = (libdeflater::Decompressor::new(), vec![0; set.largest]);
    let mut decode = || {
        for object in &set.stored {
            let made = inflate.gzip_decompress(object, &mut out).unwrap();
            black_box(&out[..made]);
        }
    };
    let mut hash = || bodies.iter().for_each(|body| hashed_body(body));
    let times = rounds(ROUNDS, [&mut all, &mut decode, &mut hash]);
    let bytes = set.bytes as f64;
    let (record, f) = (set.bytes / set.records, body_bytes / bytes);
    let [decoded, hash_speed, speed] = [1, 2, 0].map(|at| {
        let of = if at == 2 { body_bytes } else { bytes };
        of / median(&times, |round| round[at]) / MB
    });
    println!(
        "{}: records of {record} bytes, {f:.2} of them in bodies; decode {decoded:.0} MB/s, hash {hash_speed:.0} MB/s, ours {speed:.0} MB/s",
        kind.name()
    );
    let ratio = median(&times, |[ours, decode, hash]| (decode + hash) / ours);
    let gate = if Kind::SHORTER.contains(&kind) { Gate::None } else { Gate::Ratio };
    figures.add(kind.name(), ratio, "of ceiling", Target::AtLeast(kind.target()), gate);

    if kind == Kind::Long {
        let (mut usual, mut simple) = (Sdk::new(None), Sdk::new(None));
        let mut usual = || assert_eq!(idiomatic(kind, &set, &mut usual), records);
        let mut simple = || assert_eq!(naive(kind, &set, &mut simple), records);
        let times = rounds(SLOW_ROUNDS, [&mut all, &mut usual, &mut simple]);
        let times_as = |at: usize| median(&times, |round| round[at] / round[0]);
        figures.add("vs_idiomatic", times_as(1), "times", Target::AtLeast(2.5), Gate::Ratio);
        figures.add("vs_naive", times_as(2), "times", Target::AtLeast(5.0), Gate::Ratio);
    }
}

/// What two threads do beside each other, as often as one does by itself in the same time of the processor.
fn two_threads(figures: &mut Figures) {
    let set = Set::of(Kind::Long, OBJECTS);
    let mut each = [Ours::new(), Ours::new()];
    each.iter_mut().for_each(|ours| assert_eq!(ours.run(&set, |_| {}), set.records));
    let run = |ours: &mut Ours| seconds_of(|| (0..SLOW_ROUNDS).for_each(|_| _ = ours.run(&set, |_| {})));
    let ratios = (0..SLOW_ROUNDS).map(|_| {
        let alone = run(&mut each[0]);
        let both: f64 = std::thread::scope(|scope| {
            let threads: Vec<_> = each.iter_mut().map(|ours| scope.spawn(|| run(ours))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        2.0 * alone / (both / 2.0)
    });
    figures.add("two_threads", median_of(ratios.collect()), "of one", Target::AtLeast(1.7), Gate::Ratio);
}

/// Lines of the log generator by one thread.
fn generator(figures: &mut Figures) {
    let (mut lines, mut out) = (Lines::new(&LineSpec::default()).unwrap(), Vec::new());
    let speeds = (0..SLOW_ROUNDS).map(|_| {
        let mut bytes = 0;
        let seconds = seconds_of(|| {
            for at in 0..GENERATED_LINES {
                lines.append(1_756_684_800_000_000 + at, &mut out);
                if out.len() > GENERATED_AT_ONCE {
                    bytes += black_box(&out).len();
                    out.clear();
                }
            }
        });
        bytes as f64 / MB / seconds
    });
    let speed = median_of(speeds.collect());
    figures.add("loadgen_mbps", speed, "MB/CPU-s", Target::AtLeast(500.0), Gate::None);
}

fn hashed_body(body: &[u8]) {
    black_box(Sha256::digest(body));
}

/// All three ways give the same events, in whatever batches.
fn same_events(kind: Kind, set: &Set, bodies: &[Vec<u8>]) {
    let expected = events(bodies);
    for (name, way) in [("idiomatic", idiomatic as fn(Kind, &Set, &mut Sdk) -> u64), ("naive", naive)] {
        let theirs = Arc::new(Mutex::new(Vec::new()));
        way(kind, set, &mut Sdk::new(Some(Arc::clone(&theirs))));
        assert!(events(&theirs.lock().unwrap()) == expected, "{name} has other events");
    }
}

/// How often each event is there.
fn events(bodies: &[Vec<u8>]) -> BTreeMap<(i64, String), usize> {
    let mut events = BTreeMap::new();
    for body in bodies {
        let body: Value = serde_json::from_slice(body).unwrap();
        for event in body["logEvents"].as_array().unwrap() {
            let event = (event["timestamp"].as_i64().unwrap(), event["message"].as_str().unwrap().to_owned());
            *events.entry(event).or_default() += 1;
        }
    }
    events
}

/// Each set in instructions for a KiB. What the hash takes is taken off: the machine that counts knows no instructions for it.
fn instructions(figures: &mut Figures) {
    if Command::new("valgrind").arg("--version").output().is_err() {
        figures.lack("instructions are not counted: valgrind is not here");
        return;
    }
    for kind in Kind::ALL {
        let set = Set::of(kind, 1);
        let path = std::env::temp_dir().join(format!("millrace-{}-{}", std::process::id(), kind.name()));
        std::fs::write(&path, &set.stored[0]).unwrap();
        let count = |what: &str, times: &str| {
            let mut valgrind = Command::new("valgrind");
            valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(std::env::current_exe().unwrap());
            let output = valgrind.arg(what).arg(&path).arg(times).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "valgrind: {said}");
            said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse::<f64>().ok()).unwrap()
        };
        // The first time does what the others need not; what the third takes is its own.
        let third = |what: &str| count(what, "3") - count(what, "2");
        let once = third("--path") - third("--hash");
        std::fs::remove_file(&path).unwrap();
        let name = format!("{}_instructions", kind.name());
        figures.add(&name, once / (set.bytes as f64 / KIB), "per KiB", Target::None, Gate::Instructions);
    }
}

/// What is counted: one object, or the hash of its bodies, so many times.
fn counted(what: &str, path: &Path, times: usize) {
    let set = Set { stored: vec![std::fs::read(path).unwrap().into()], ..Set::default() };
    let (mut ours, mut bodies) = (Ours::new(), Vec::new());
    if what == "--path" {
        (0..times).for_each(|_| _ = black_box(ours.run(&set, |_| {})));
    } else {
        ours.run(&set, |body| bodies.push(body.to_vec()));
        (0..times).for_each(|_| bodies.iter().for_each(|body| hashed_body(body)));
    }
}
