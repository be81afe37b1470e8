//! What benches say: figures with their targets, held against those that are kept in benches/baseline.json.
//!
//! Every figure goes into target/bench/summary.json, whatever bench it is of. A ratio may be a tenth worse than its baseline,
//! instructions may be three in a hundred more; what is worse than that, or is no number, fails the bench. How near to its
//! ceiling a processor comes differs from one to the next: a baseline has ratios of its own for those in "processors", by their
//! names, and for all others those of the worst. BASELINE=1 keeps the figures as the new baseline, ratios for this processor.

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
    lacks: Vec<&'static str>,
}

/// Of a summary or a baseline.
type Values = BTreeMap<String, Value>;

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
    /// Whether it is no worse than `before` by more than may be.
    fn holds(&self, before: f64) -> bool {
        match (self.gate, self.target) {
            (Gate::None, _) => true,
            (Gate::Instructions, _) => self.value <= 1.03 * before,
            (Gate::Ratio, Target::AtMost(_)) => self.value <= 1.1 * before,
            (Gate::Ratio, Target::AtLeast(_) | Target::None) => self.value >= 0.9 * before,
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

    /// Says why some are not there: it fails the bench, once all others are written.
    pub(crate) fn lack(&mut self, why: &'static str) {
        self.lacks.push(why);
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
        let (processor, keeps) = (processor(), std::env::var_os("BASELINE").is_some());
        let mut of_processors = Values::new();
        if let Some(Value::Object(all)) = baseline.remove(PROCESSORS) {
            of_processors.extend(all);
        }
        let mut own = match of_processors.get(&processor) {
            Some(Value::Object(own)) => own.clone(),
            _ => serde_json::Map::new(),
        };
        let mut fallen = false;
        for (name, figure) in self.figures.iter().filter(|(_, figure)| !matches!(figure.gate, Gate::None)) {
            if keeps {
                match figure.gate {
                    Gate::Ratio => _ = own.insert(name.clone(), json!(figure.value)),
                    Gate::Instructions | Gate::None => _ = baseline.insert(name.clone(), json!(figure.value)),
                }
            } else if let Some(before) = own.get(name).or_else(|| baseline.get(name)).and_then(Value::as_f64) {
                if !figure.holds(before) {
                    println!("{name} was {before:.3} and is {:.3}", figure.value);
                    fallen = true;
                }
            } else {
                println!("{name} has no baseline: BASELINE=1 keeps it");
                fallen = true;
            }
        }
        if keeps {
            of_processors.insert(processor, own.into());
            baseline.insert(PROCESSORS.to_owned(), json!(of_processors));
            write(&path, &baseline);
        }
        for lack in &self.lacks {
            println!("{lack}");
        }
        if fallen || !self.lacks.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// Where a baseline has the ratios of processors.
const PROCESSORS: &str = "processors";

/// The name of this one, and which of that name it is.
fn processor() -> String {
    let said = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let of = |what: &str| {
        let mut lines = said.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(name, _)| name.trim() == what).map_or("", |(_, value)| value.trim())
    };
    format!("{}, family {}, model {}", of("model name"), of("cpu family"), of("model"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &PathBuf) -> Values {
    std::fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

fn write(path: &Path, values: &Values) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, serde_json::to_string_pretty(values).unwrap() + "\n").unwrap();
}
