//! What a linter cannot see: layers, generated documents, the README's commands, the predecessor's cases.

#![expect(clippy::unwrap_used, reason = "a test that cannot read the sources has failed")]

mod fuzz;
mod guarantees;
mod predecessor;

use std::fs;
use std::path::{Path, PathBuf};

use millrace::core::settlement::Finish;
use millrace::core::tally::{Dropped, Rejected};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            files.push(path);
        }
    }
    files
}

/// Lowest first: a layer uses those before it and itself.
const LAYERS: [&str; 9] = ["core", "allocator", "console", "config", "world", "logging", "aws", "pipeline", "modes"];

fn layer(path: &Path) -> Option<usize> {
    let place = path.strip_prefix(root().join("src")).unwrap();
    let first = place.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    LAYERS.iter().position(|name| *name == first.trim_end_matches(".rs"))
}

#[test]
fn dependencies_point_downward() {
    let mut seen = 0;
    for path in sources(&root().join("src")) {
        let Some(own) = layer(&path) else { continue };
        let text = fs::read_to_string(&path).unwrap();
        for used in text.split("crate::").skip(1) {
            let name: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if let Some(other) = LAYERS.iter().position(|it| *it == name) {
                seen += 1;
                assert!(other <= own, "{} uses crate::{name}, which lies above it", path.display());
            }
        }
    }
    assert!(seen > 50, "the test must find the edges: {seen}");
}

#[test]
fn steps_of_the_pipeline_name_no_later_step() {
    // The order of src/pipeline/mod.rs: services first, then the steps of an object's way.
    const ORDER: [&str; 26] = [
        "share",
        "book",
        "circuits",
        "retries",
        "ledger",
        "totals",
        "turns",
        "holding",
        "budget",
        "credentials",
        "resolve",
        "read",
        "run",
        "machine",
        "compute",
        "early",
        "rejects",
        "send",
        "open",
        "source",
        "sender",
        "lane",
        "copy",
        "settle",
        "gate",
        "intake",
    ];
    for (own, name) in ORDER.iter().enumerate() {
        let text = fs::read_to_string(root().join(format!("src/pipeline/{name}.rs"))).unwrap();
        for used in text.split("super::").skip(1) {
            let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if let Some(other) = ORDER.iter().position(|it| *it == used) {
                assert!(other < own, "{name} uses {used}, which comes after it");
            }
        }
    }
}

#[test]
fn the_configuration_page_is_the_settings_own() {
    let path = root().join("docs/configuration.md");
    let page = millrace::config::render::page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/configuration.md is old: run `UPDATE_DOCS=1 cargo test --test tidy`");
}

#[test]
fn every_outcome_is_documented() {
    let page = fs::read_to_string(root().join("docs/outcomes.md")).unwrap();
    let (objects, events) = page.split_once("## Events").unwrap();
    for finish in Finish::ALL {
        assert!(objects.contains(&format!("\n| `{}` | ", finish.name())), "{} is missing", finish.name());
        // Exit code 0 for what is a success, and for nothing else.
        let line = objects.lines().find(|line| line.starts_with(&format!("| `{}` |", finish.name()))).unwrap();
        assert_eq!(line.ends_with("0 |"), finish.is_success(), "{line}");
    }
    let (dropped, rejected) = events.split_once("| rejected by").unwrap();
    for rule in Dropped::ALL {
        assert!(dropped.contains(&format!("`{}`", rule.name())), "{} is missing", rule.name());
    }
    for reason in Rejected::ALL {
        assert!(rejected.contains(&format!("`{}`", reason.name())), "{} is missing", reason.name());
    }
}

#[test]
fn the_readmes_test_command_is_what_ci_runs() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let ci = fs::read_to_string(root().join(".ci/run")).unwrap();
    assert!(readme.contains("\ncargo test --workspace\n"));
    assert!(ci.lines().any(|line| line.contains("cargo test") && line.contains("--workspace")));
}
