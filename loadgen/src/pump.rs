//! Lines to stdout: batches, pauses, rate.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use loadgen::rate::{Bucket, Rate};
use loadgen::{Format, Lines};

use crate::Failure;
use crate::cli::LineArgs;
use crate::clock::Clock;
use crate::progress::{Progress, say};
use crate::stop::Stop;

/// Lines are collected up to here before they are written, unless a pause comes first. Larger buffers leave the cache,
/// smaller ones cost more calls.
const BUFFER_BYTES: usize = 256 << 10;

/// With `--rate`, what is written at once is this part of a second's worth, so that the flow is even.
const PORTIONS_PER_SECOND: u64 = 50;

/// A wall-clock reading serves so many lines.
const LINES_PER_READING: u64 = 64;

/// Seeded lines are 0 to this many microseconds apart, whatever the pauses: pacing does not change the bytes.
const STEP_MAX_US: u64 = 2000;

/// Where the time in the lines comes from.
enum Time {
    Wall { micros: u64, lines: u64 },
    Derived { micros: u64, rng: Rng },
}

impl Time {
    fn next(&mut self) -> u64 {
        match self {
            Self::Wall { micros, lines } => {
                if *lines % LINES_PER_READING == 0 {
                    *micros = Clock::wall_micros();
                }
                *lines += 1;
                *micros
            }
            Self::Derived { micros, rng } => {
                *micros = micros.saturating_add(rng.u64(0..=STEP_MAX_US));
                *micros
            }
        }
    }

    /// A pause follows: the next line asks the clock again.
    fn pause(&mut self) {
        if let Self::Wall { lines, .. } = self {
            *lines = 0;
        }
    }
}

/// Whether to go on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    End,
}

/// The output: one buffer, the bucket before it, and the count behind it.
struct Outlet<'a> {
    out: File,
    buffer: Vec<u8>,
    logs: u64,
    portion: u64,
    rate: Option<(Rate, Bucket)>,
    progress: &'a Progress,
    stop: &'a Stop,
}

impl Outlet<'_> {
    fn due(&self) -> bool {
        let bytes = self.buffer.len();
        match self.rate {
            None => bytes >= BUFFER_BYTES,
            Some((Rate::Lines(_), _)) => self.logs >= self.portion || bytes >= BUFFER_BYTES,
            Some((Rate::Bytes(_), _)) => u64::try_from(bytes).unwrap_or(u64::MAX) >= self.portion,
        }
    }

    /// Writes all that was collected, and counts what the reader took of it, also when that is not all.
    fn write(&mut self) -> std::io::Result<()> {
        let mut from = 0;
        while let Some(left) = self.buffer.get(from..).filter(|left| !left.is_empty()) {
            let taken = match self.out.write(left) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(taken) => taken,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            // Of a part, its whole lines; a stack trace then counts as several.
            let lines = || left.iter().take(taken).filter(|byte| **byte == b'\n').count();
            let logs = if taken == left.len() { self.logs } else { u64::try_from(lines()).unwrap_or(0).min(self.logs) };
            self.progress.wrote(logs, u64::try_from(taken).unwrap_or(u64::MAX));
            self.logs -= logs;
            from += taken;
        }
        self.buffer.clear();
        Ok(())
    }

    /// Writes what was collected, when the rate allows it.
    fn flush(&mut self) -> Result<Flow, Failure> {
        let bytes = u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
        if bytes == 0 {
            return Ok(Flow::On);
        }
        if let Some((rate, bucket)) = &mut self.rate {
            let amount = match rate {
                Rate::Lines(_) => self.logs,
                Rate::Bytes(_) => bytes,
            };
            let clock = self.progress.clock();
            let now = clock.elapsed();
            let until = now.saturating_add(bucket.take(amount, now));
            clock.pause_until(until, || self.stop.requested());
        }
        if self.stop.requested() {
            return Ok(Flow::End);
        }
        match self.write() {
            Ok(()) => Ok(Flow::On),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                say(format_args!("Pipe broken, shutting down gracefully..."));
                Ok(Flow::End)
            }
            Err(error) => Err(Failure::Output(error)),
        }
    }
}

/// `--list-formats`.
pub(crate) fn list_formats() -> Result<(), Failure> {
    let mut text = String::from("Available timestamp formats:\n");
    for format in Format::ALL {
        text.extend(["  ", format.name(), ": ", format.about(), "\n"]);
    }
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::Output(error)),
        _ => Ok(()),
    }
}

/// Writes lines until the batches are done, the reader has gone, or a signal comes.
pub(crate) fn run(args: &LineArgs, progress: &Arc<Progress>) -> Result<(), Failure> {
    let seed = args.content.seed.unwrap_or_else(|| fastrand::u64(..));
    let mut lines = Lines::new(&args.spec(seed)?)?;
    let rate = args.rate.as_deref().map(Rate::parse).transpose()?;
    let start = args.content.start_ms()?.map(|ms| u64::try_from(ms).unwrap_or(0).saturating_mul(1000));
    let mut time = match start {
        Some(micros) => Time::Derived { micros, rng: Rng::with_seed(seed ^ 1) },
        None => Time::Wall { micros: 0, lines: 0 },
    };
    let stop = Stop::on_signals(progress)?;
    args.announce();

    let portion = rate.map_or(u64::MAX, |rate| (rate.per_second() / PORTIONS_PER_SECOND).max(1));
    let mut outlet = Outlet {
        // Not std's stdout: that would look for line ends in every buffer and copy the rest.
        out: File::from(std::io::stdout().as_fd().try_clone_to_owned().map_err(Failure::Output)?),
        buffer: Vec::with_capacity(2 * BUFFER_BYTES),
        logs: 0,
        portion,
        rate: rate.map(|rate| (rate, Bucket::new(rate.per_second(), portion, progress.clock().elapsed()))),
        progress,
        stop: &stop,
    };
    let ended = batches(args, seed, &mut lines, &mut time, &mut outlet);
    progress.end();
    ended
}

fn batches(
    args: &LineArgs,
    seed: u64,
    lines: &mut Lines,
    time: &mut Time,
    outlet: &mut Outlet<'_>,
) -> Result<(), Failure> {
    // Sizes and pauses have generators of their own: neither changes what the lines say.
    let (mut sizes, mut pauses) = (Rng::with_seed(seed ^ 2), Rng::with_seed(seed ^ 3));
    let (batch_sizes, sleeps) = (args.batch_sizes(), args.sleeps());
    let (progress, stop) = (outlet.progress, outlet.stop);
    while !stop.requested() {
        for _ in 0..sizes.u64(batch_sizes.clone()) {
            lines.append(time.next(), &mut outlet.buffer);
            outlet.logs += 1;
            if outlet.due() && outlet.flush()? == Flow::End {
                return Ok(());
            }
        }
        let batch = progress.batch();
        let pause = Duration::from_secs_f64(sleeps.start() + pauses.f64() * (sleeps.end() - sleeps.start()));
        let last = batch == args.total_batches;
        if (last || !pause.is_zero()) && outlet.flush()? == Flow::End {
            return Ok(());
        }
        if args.stats_interval > 0 && batch.is_multiple_of(args.stats_interval) {
            progress.report();
        }
        if last {
            return Ok(());
        }
        if !pause.is_zero() {
            let clock = progress.clock();
            clock.pause_until(clock.elapsed().saturating_add(pause), || stop.requested());
            time.pause();
        }
    }
    Ok(())
}
