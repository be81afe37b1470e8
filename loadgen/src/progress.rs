//! What was written so far, and what is said about it on stderr.

use std::fmt::Arguments;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Clock;

/// Statistics come at most this often, however fast batches are.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// Writes a line to stderr. If nobody can read it, nothing is lost but the line.
pub(crate) fn say(line: Arguments<'_>) {
    writeln!(std::io::stderr().lock(), "{line}").ok();
}

/// Counts of what was written. Only the main thread adds.
#[derive(Debug)]
pub(crate) struct Progress {
    clock: Clock,
    batches: AtomicU64,
    logs: AtomicU64,
    bytes: AtomicU64,
    /// Compressed bytes; zero for lines.
    stored: AtomicU64,
    said_at_ms: AtomicU64,
    ended: AtomicBool,
}

impl Progress {
    pub(crate) fn start(clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            clock,
            batches: AtomicU64::new(0),
            logs: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            stored: AtomicU64::new(0),
            said_at_ms: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        })
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// Lines reached the output.
    pub(crate) fn wrote(&self, logs: u64, bytes: u64) {
        self.logs.fetch_add(logs, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A batch was made; its number from 1 on.
    pub(crate) fn batch(&self) -> u64 {
        self.batches.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// An object reached its place.
    pub(crate) fn object(&self, records: u64, bytes: u64, stored: u64) {
        self.batch();
        self.wrote(records, bytes);
        self.stored.fetch_add(stored, Ordering::Relaxed);
    }

    /// Says how far it is, unless that was said less than a second ago.
    pub(crate) fn report(&self) {
        let now = u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX);
        let pause = u64::try_from(SAY_EVERY.as_millis()).unwrap_or(0);
        if now < self.said_at_ms.load(Ordering::Relaxed).saturating_add(pause) {
            return;
        }
        self.said_at_ms.store(now, Ordering::Relaxed);
        let (batches, logs) = (self.batches.load(Ordering::Relaxed), self.logs.load(Ordering::Relaxed));
        say(format_args!("Generated {batches} batches, {logs} logs, {:.1} logs/sec", self.per_second(logs)));
    }

    fn per_second(&self, count: u64) -> f64 {
        let seconds = self.clock.elapsed().as_secs_f64();
        if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
    }

    /// Says the final statistics, once.
    pub(crate) fn end(&self) {
        if self.ended.swap(true, Ordering::AcqRel) {
            return;
        }
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (batches, logs, bytes, stored) =
            (load(&self.batches), load(&self.logs), load(&self.bytes), load(&self.stored));
        say(format_args!("\nFinal stats:"));
        if stored > 0 {
            say(format_args!("Total objects: {batches}"));
        } else {
            say(format_args!("Total batches: {batches}"));
        }
        say(format_args!("Total logs: {logs}"));
        say(format_args!("Total bytes: {bytes}"));
        if stored > 0 {
            say(format_args!("Stored bytes: {stored}"));
        }
        say(format_args!("Runtime: {:.1}s", self.clock.elapsed().as_secs_f64()));
        let megabytes = self.per_second(bytes) / 1e6;
        say(format_args!("Average rate: {:.1} logs/sec, {megabytes:.1} MB/s", self.per_second(logs)));
    }
}
