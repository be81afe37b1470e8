//! The command as people run it: how it ends, and what it leaves.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Flat out: no pauses.
const FAST: [&str; 4] = ["--min-sleep", "0", "--max-sleep", "0"];

fn loadgen(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(flags).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(flags: &[&str]) -> Output {
    loadgen(flags).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn stat(stderr: &str, name: &str) -> u64 {
    let line = stderr.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name} in {stderr}"));
    line.trim_start_matches(':').trim().parse().unwrap()
}

#[test]
fn a_seed_gives_identical_bytes_whatever_the_pace() {
    let seeded = [&["--seed", "7", "--total-batches", "10"][..], &FAST].concat();
    let one = run(&seeded);
    assert!(one.status.success());
    assert!(!one.stdout.is_empty());
    assert_eq!(one.stdout, run(&seeded).stdout);
    let paced = ["--seed", "7", "--total-batches", "10", "--min-sleep", "0.001", "--max-sleep", "0.002"];
    assert_eq!(one.stdout, run(&paced).stdout);
    assert_eq!(one.stdout, run(&["--seed", "7", "--total-batches", "10", "--rate", "1000MB/s"]).stdout);
    let stderr = text(&one.stderr);
    assert_eq!(stat(&stderr, "Total batches"), 10);
    assert_eq!(stat(&stderr, "Total logs"), text(&one.stdout).lines().count() as u64);
    assert_eq!(stat(&stderr, "Total bytes"), one.stdout.len() as u64);
}

#[test]
fn unseeded_lines_carry_the_present() {
    let out = run(&[&["--total-batches", "3", "--timestamp-format", "seed"][..], &FAST].concat());
    for line in text(&out.stdout).lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        assert!(record["timestamp"].as_str().unwrap() > "2025-11-01");
    }
}

/// `loadgen | head -1`
#[test]
fn a_broken_pipe_ends_it_cleanly() {
    let mut child = loadgen(&FAST).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap(); // and closes the pipe
    let out = child.wait_with_output().unwrap();
    assert!(line.ends_with('\n'));
    assert_eq!(out.status.code(), Some(0));
    let stderr = text(&out.stderr);
    assert!(stderr.contains("Pipe broken") && stderr.contains("Final stats:"), "{stderr}");
}

fn ends_on(signal: &str, flags: &[&str], read_all: bool) {
    let mut child = loadgen(flags).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut first = [0];
    stdout.read_exact(&mut first).unwrap(); // it runs, and listens
    let kill = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    if read_all {
        let mut rest = Vec::new();
        stdout.read_to_end(&mut rest).unwrap();
        assert!(rest.ends_with(b"\n"), "the last line is whole");
    }
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(0), "{signal}");
    assert!(text(&out.stderr).contains("Final stats:"));
}

#[test]
fn signals_end_it_cleanly_in_a_pause_in_full_run_and_before_a_stuck_reader() {
    let pausing = ["--min-sleep", "3600", "--max-sleep", "3600"];
    for signal in ["-INT", "-TERM"] {
        ends_on(signal, &pausing, true);
        ends_on(signal, &FAST, true);
        ends_on(signal, &FAST, false);
    }
}

#[test]
fn a_wrong_file_or_flag_is_named() {
    let out = run(&["--from", "/nowhere/at/all.log"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).contains("Error: /nowhere/at/all.log: cannot be read"));
    let out = run(&["--rate", "quickly"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).contains("the rate \"quickly\" is neither"));
    assert_eq!(run(&["--timestamp-format", "xml"]).status.code(), Some(2));
}

#[test]
fn formats_are_listed() {
    let out = run(&["--list-formats"]);
    assert!(out.status.success());
    for name in ["json_ts", "json_time", "iso_direct", "time_equals", "kubernetes", "go_standard", "mixed", "seed"] {
        assert!(text(&out.stdout).contains(&format!("  {name}: ")));
    }
}

#[test]
fn real_lines_pass_through() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("real.log");
    std::fs::write(&file, "one \"1\"\ttab\nC:\\two größe\n").unwrap();
    let file = file.to_str().unwrap();
    let batch = ["--min-batch-size", "4", "--max-batch-size", "4", "--total-batches", "1"];
    let out = run(&[&["--from", file][..], &batch, &FAST].concat());
    assert_eq!(text(&out.stdout), "one \"1\"\ttab\nC:\\two größe\n".repeat(2));
}

#[test]
fn objects_fill_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().to_str().unwrap();
    let flags = [
        "objects",
        "--seed",
        "7",
        "--objects",
        "6",
        "--records",
        "25",
        "--tenants",
        "2",
        "--framing",
        "ndjson",
        "--layout",
        "{cluster}/{tenant}/{application}/{pod}",
        "--to",
        to,
    ];
    let out = run(&flags);
    let stderr = text(&out.stderr);
    assert!(out.status.success(), "{stderr}");
    assert_eq!((stat(&stderr, "Total objects"), stat(&stderr, "Total logs")), (6, 150));
    for tenant in ["test-customer-0", "test-customer-1"] {
        let pod = folder.path().join("test-cluster").join(tenant).join("test-app/test-app-0");
        let files: Vec<_> = std::fs::read_dir(pod).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 3);
        for file in files {
            let mut plain = String::new();
            flate2::read::GzDecoder::new(std::fs::File::open(file).unwrap()).read_to_string(&mut plain).unwrap();
            assert_eq!(plain.lines().count(), 25);
            assert!(plain.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
        }
    }
}
