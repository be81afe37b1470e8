//! The page of promises names tests that exist.

use std::fs;

use super::root;

#[test]
fn each_promise_names_a_test() {
    let page = fs::read_to_string(root().join("docs/guarantees.md")).unwrap();
    let mut named = 0;
    for line in page.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        let tests = cells.last().copied().unwrap_or_default();
        for name in tests.split('`').skip(1).step_by(2) {
            named += 1;
            let parts: Vec<&str> = name.split("::").collect();
            let holds = match parts.as_slice() {
                ["core" | "pipeline", ..] => ["", "/mod"].iter().any(|file| {
                    let path = root().join(format!("src/{}{file}.rs", parts.join("/")));
                    fs::read_to_string(path).is_ok_and(|text| text.contains("#[cfg(test)]"))
                }),
                [folder, file, test] => fs::read_to_string(root().join(format!("tests/{folder}/{file}.rs")))
                    .is_ok_and(|text| text.contains(&format!("fn {test}("))),
                _ => false,
            };
            assert!(holds, "docs/guarantees.md names {name}, which is no test");
        }
    }
    assert!(named > 10, "{named}");
}
