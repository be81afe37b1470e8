//! What benches say: figures with their targets, held against those that are kept in benches/baseline.json.
//!
//! Every figure goes into target/bench/summary.json, whatever bench it is of. A ratio may be a tenth worse than its baseline,
//! instructions may be three in a hundred more; what is worse than that fails the bench. BASELINE=1 keeps the figures as the
//! new baseline.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// It is only recorded.
    None,
}

/// How much worse than its baseline a figure may be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Gate {
    /// Measured in one run with what it is compared with, still it varies.
    Ratio,
    /// Counted.
    Instructions,
    /// It depends on the machine: it is not held against a baseline.
    None,
}

#[derive(Clone, Debug)]
struct Figure {
    value: f64,
    unit: &'static str,
    target: Target,
    gate: Gate,
}

/// The figures of one bench.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    figures: BTreeMap<String, Figure>,
}

impl Target {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
            Self::None => true,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(least) => format!("≥ {least}"),
            Self::AtMost(most) => format!("≤ {most}"),
            Self::None => String::new(),
        }
    }

    const fn json(self) -> Option<f64> {
        match self {
            Self::AtLeast(bound) | Self::AtMost(bound) => Some(bound),
            Self::None => None,
        }
    }
}

impl Figure {
    /// Whether it is worse than `before` by more than may be.
    fn has_fallen(&self, before: f64) -> bool {
        match (self.gate, self.target) {
            (Gate::None, _) => false,
            (Gate::Instructions, _) => self.value > 1.03 * before,
            (Gate::Ratio, Target::AtMost(_)) => self.value > 1.1 * before,
            (Gate::Ratio, Target::AtLeast(_) | Target::None) => self.value < 0.9 * before,
        }
    }
}

impl Figures {
    /// Adds a figure, and says it.
    pub(crate) fn add(&mut self, name: &str, value: f64, unit: &'static str, target: Target, gate: Gate) {
        let figure = Figure { value, unit, target, gate };
        let met = if target.is_met(value) { "" } else { "  short of it" };
        println!("{name:<28} {value:>12.3} {unit:<10} {:<10}{met}", target.text());
        self.figures.insert(name.to_owned(), figure);
    }

    /// Writes them to the summary, and compares them with the baseline.
    pub(crate) fn finish(self) -> ExitCode {
        let summary = root().join("target/bench/summary.json");
        let mut all = read(&summary);
        for (name, figure) in &self.figures {
            let Figure { value, unit, target, .. } = *figure;
            all.insert(
                name.clone(),
                json!({"value": value, "target": target.json(), "ok": target.is_met(value), "unit": unit}),
            );
        }
        write(&summary, &all);
        let path = root().join("benches/baseline.json");
        let mut baseline = read(&path);
        let mut fallen = false;
        for (name, figure) in self.figures.iter().filter(|(_, figure)| !matches!(figure.gate, Gate::None)) {
            if std::env::var_os("BASELINE").is_some() {
                baseline.insert(name.clone(), json!(figure.value));
            } else if let Some(before) = baseline.get(name).and_then(Value::as_f64) {
                if figure.has_fallen(before) {
                    println!("{name} was {before:.3} and is {:.3}", figure.value);
                    fallen = true;
                }
            } else {
                println!("{name} has no baseline: BASELINE=1 keeps it");
                fallen = true;
            }
        }
        if std::env::var_os("BASELINE").is_some() {
            write(&path, &baseline);
        }
        if fallen { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &PathBuf) -> BTreeMap<String, Value> {
    std::fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

fn write(path: &Path, values: &BTreeMap<String, Value>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, serde_json::to_string_pretty(values).unwrap() + "\n").unwrap();
}
