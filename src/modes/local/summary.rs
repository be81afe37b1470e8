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
    pub(super) batches: u64,
    /// Mean of the batches' bytes, as the API counts them, of the most it takes; none without batches.
    pub(super) batch_fullness: Option<f64>,
    pub(super) megabytes_per_second: f64,
    /// Calls with the tenant's credentials.
    pub(super) calls: BTreeMap<String, u64>,
}

const HEAD: [&str; 12] = [
    "tenant",
    "",
    "objects",
    "read",
    "delivered",
    "dropped",
    "rejected",
    "arrived",
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
        if self.ok {
            return write!(
                f,
                "verdict: every event of every enabled tenant arrived once, in order, in its own account"
            );
        }
        write!(f, "verdict: NOT as promised: {}", self.problems.join("; "))
    }
}
