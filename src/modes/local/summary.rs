//! What mode `local` says at its end: a table for people, the same as JSON for programs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Summary {
    /// Whether everything is as promised.
    pub(super) ok: bool,
    /// What is not.
    pub(super) problems: Vec<String>,
    /// From the first object's writing to the last one's acknowledgement.
    pub(super) seconds: f64,
    /// Objects written.
    pub(super) objects: u64,
    /// Decompressed bytes of the objects that were delivered, in 10^6 per second.
    pub(super) megabytes_per_second: f64,
    /// The same of all that were read, those of a tenant that refuses its events too.
    pub(super) megabytes_read_per_second: f64,
    /// Tenants.
    pub(super) tenants: Vec<Row>,
    /// Calls with the central account's credentials.
    pub(super) central_calls: BTreeMap<String, u64>,
    /// Events that faults rejected, and that are not there.
    pub(super) rejected: u64,
    /// Events that are there once more than they should be, because an answer was lost.
    pub(super) twice: u64,
    /// Events that came otherwise, of objects whose bytes were found to be damaged later.
    pub(super) garbled: u64,
    /// What the embedded cloud did wrong on purpose.
    pub(super) faults: Option<Trouble>,
}

/// Faults, and what was done about them.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Trouble {
    pub(super) spec: String,
    pub(super) seed: u64,
    /// How many there were, by kind.
    pub(super) done: BTreeMap<&'static str, u64>,
    /// When and why they were stopped before all was settled; none: they went on to the end.
    pub(super) stopped: Option<String>,
    /// By how many seconds the cloud's time was moved on, when there was nothing to do but to wait.
    pub(super) moved_seconds: u64,
    /// Dead letters that were put back into the queue when the faults were over.
    pub(super) put_back: usize,
    /// Messages that are in the dead-letter queue at the end.
    pub(super) dead_letters: usize,
    /// Whether messages came again or in another order, so that none is promised between objects.
    pub(super) disorderly: bool,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done: Vec<String> = self.done.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        let done = if done.is_empty() { "none".to_owned() } else { done.join(", ") };
        writeln!(f, "faults of seed {}: {done}", self.seed)?;
        match &self.stopped {
            Some(why) => write!(f, "faults stopped {why}")?,
            None => write!(f, "faults went on to the end")?,
        }
        if self.moved_seconds > 0 {
            write!(f, "; the cloud's time was moved on by {} min", self.moved_seconds / 60)?;
        }
        if self.put_back > 0 {
            write!(f, "; {} dead letters were put back", self.put_back)?;
        }
        writeln!(f)
    }
}

/// A tenant.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) tenant: String,
    pub(super) account: String,
    /// What is special about it.
    pub(super) kind: &'static str,
    /// Objects written.
    pub(super) objects: u64,
    /// Events, as the daemon counts them.
    pub(super) read: u64,
    pub(super) delivered: u64,
    /// Dropped events, by rule.
    pub(super) dropped: BTreeMap<&'static str, u64>,
    /// Events that the API rejected, by reason.
    pub(super) rejected: BTreeMap<&'static str, u64>,
    /// Events found on the cloud's side.
    pub(super) arrived: u64,
    /// Those that are there once more, because an answer was lost.
    pub(super) twice: u64,
    pub(super) batches: u64,
    /// Mean of the batches' bytes, as the API counts them, of the most it takes; none without batches.
    pub(super) batch_fullness: Option<f64>,
    pub(super) megabytes_per_second: f64,
    /// Calls with the tenant's credentials.
    pub(super) calls: BTreeMap<String, u64>,
}

const HEAD: [&str; 13] = [
    "tenant",
    "",
    "objects",
    "read",
    "delivered",
    "dropped",
    "rejected",
    "arrived",
    "twice",
    "batches",
    "full",
    "MB/s",
    "calls",
];

impl Row {
    fn cells(&self) -> [String; HEAD.len()] {
        let by_name = |counts: &BTreeMap<&str, u64>| {
            let counts: Vec<String> = counts.iter().map(|(name, events)| format!("{name} {events}")).collect();
            if counts.is_empty() { "0".to_owned() } else { counts.join(", ") }
        };
        let calls: u64 = self.calls.values().sum();
        [
            self.tenant.clone(),
            self.kind.to_owned(),
            self.objects.to_string(),
            self.read.to_string(),
            self.delivered.to_string(),
            by_name(&self.dropped),
            by_name(&self.rejected),
            self.arrived.to_string(),
            self.twice.to_string(),
            self.batches.to_string(),
            self.batch_fullness.map_or_else(String::new, |full| format!("{:.1} %", 100.0 * full)),
            format!("{:.1}", self.megabytes_per_second),
            calls.to_string(),
        ]
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<_> =
            std::iter::once(HEAD.map(str::to_owned)).chain(self.tenants.iter().map(Row::cells)).collect();
        let mut widths = [0; HEAD.len()];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in &rows {
            let mut line = String::new();
            for (at, (width, cell)) in widths.iter().zip(row).enumerate() {
                // Names to the left, numbers to the right.
                let cell = if at < 2 { format!("{cell:<width$}") } else { format!("{cell:>width$}") };
                line.push_str(&cell);
                line.push_str("  ");
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        let calls: Vec<String> = self.central_calls.iter().map(|(name, calls)| format!("{name} {calls}")).collect();
        writeln!(f, "\ncentral calls: {}", calls.join(", "))?;
        writeln!(
            f,
            "{} objects in {:.1} s; of decompressed logs {:.0} MB/s delivered, {:.0} MB/s read, with the embedded cloud and the generator in the same process",
            self.objects, self.seconds, self.megabytes_per_second, self.megabytes_read_per_second
        )?;
        if let Some(trouble) = &self.faults {
            trouble.fmt(f)?;
        }
        match &self.faults {
            Some(trouble) if self.ok => {
                let objects = if trouble.disorderly { "each object's in order" } else { "in order" };
                return write!(
                    f,
                    "verdict: every event of every enabled tenant arrived, {objects}, in its own account, but {} that faults rejected; \
                     {} arrived twice, as their answers were lost{}",
                    self.rejected,
                    self.twice,
                    if self.garbled > 0 {
                        format!("; {} came otherwise, as their objects' bytes were damaged", self.garbled)
                    } else {
                        String::new()
                    }
                );
            }
            None if self.ok => {
                return write!(
                    f,
                    "verdict: every event of every enabled tenant arrived once, in order, in its own account"
                );
            }
            Some(_) | None => {}
        }
        write!(f, "verdict: NOT as promised: {}", self.problems.join("; "))
    }
}
