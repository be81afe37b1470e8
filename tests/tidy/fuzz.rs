//! The fuzz targets, which no build of the workspace sees.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::{root, sources};

/// The versions of each package of a lock.
fn locked(path: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in fs::read_to_string(root().join(path)).unwrap().split("[[package]]").skip(1) {
        let value = |key: &str| package.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim_matches('"');
        versions.entry(value("name = ").to_owned()).or_default().insert(value("version = ").to_owned());
    }
    versions
}

#[test]
fn what_is_fuzzed_is_what_is_shipped() {
    let shipped = locked("Cargo.lock");
    let mut shared = 0;
    for (name, versions) in locked("fuzz/Cargo.lock") {
        let Some(ours) = shipped.get(&name) else { continue };
        shared += 1;
        assert!(versions.is_subset(ours), "fuzz/Cargo.lock has {name} {versions:?}, Cargo.lock {ours:?}");
    }
    assert!(shared > 20, "the test must find the packages: {shared}");
}

#[test]
fn each_fuzz_target_is_built_described_and_has_seeds() {
    let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    let readme = fs::read_to_string(root().join("fuzz/README.md")).unwrap();
    let targets = sources(&root().join("fuzz/fuzz_targets"));
    assert!(!targets.is_empty());
    for path in targets {
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is not built");
        assert!(readme.contains(&format!("\n| `{name}` | ")), "{name} is not in fuzz/README.md");
        let seeds = fs::read_dir(root().join("fuzz/corpus").join(name)).unwrap().count();
        assert!((1..=60).contains(&seeds), "{name} has {seeds} seeds");
    }
}

/// Files of the core with `unsafe`, each with a target that reaches it.
const UNSAFE: [(&str, &str); 3] =
    [("decode/inflate/fast.rs", "decode"), ("simd/neon.rs", "scan"), ("simd/x86.rs", "scan")];

#[test]
fn unsafe_code_of_the_core_is_fuzzed() {
    let readme = fs::read_to_string(root().join("fuzz/README.md")).unwrap();
    for path in sources(&root().join("src/core")) {
        let text = fs::read_to_string(&path).unwrap();
        if !text.contains("unsafe") {
            continue;
        }
        let known = UNSAFE.iter().find(|(file, _)| path.ends_with(file));
        assert!(known.is_some(), "{}: name its fuzz target in fuzz/README.md, and here", path.display());
        assert!(known.is_some_and(|(file, target)| {
            readme.contains(&format!("`{file}`")) && root().join(format!("fuzz/fuzz_targets/{target}.rs")).exists()
        }));
    }
}
