//! The binary against moto, an AWS emulator that is not ours, with boto3 on the other side; and its own embedded cloud, as the
//! AWS CLI and boto3 see it.
//!
//! The messages are the lines of the corpus beside the checkout. Where there is none, a few lines that are built in take
//! their place, and the test says so.

#![expect(clippy::print_stdout, reason = "what tests share is test code too")]

#[path = "../support/venv.rs"]
mod venv;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// How often it is looked whether an event has arrived; each look takes about a second.
const LOOKS_MAX: usize = 100;

#[test]
fn what_comes_back_from_moto_is_what_went_in() {
    let Some(python) = venv::python("moto", &["moto[server]==5.2.5", "boto3==1.44.8"], "moto.server, boto3, flask")
    else {
        return;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut world = Command::new(python);
    world.arg(root.join("tests/moto/world.py")).arg(env!("CARGO_BIN_EXE_millrace"));
    let output = venv::run(world.arg(root.join("../shared/corpus"))).unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
}

/// A process, ended with the test that forgets it.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
    }
}

/// What `--keep` prints is typed into a shell as it is: streams are listed, an object is written, and its event is read.
#[test]
fn the_lines_that_keep_prints_work_as_they_are() {
    let Some(python) = venv::python("cli", &["awscli==1.46.3", "boto3==1.44.8"], "awscli, boto3") else { return };
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", python.parent().unwrap().display());
    let mut local = Command::new(env!("CARGO_BIN_EXE_millrace"));
    local.args(["local", "--objects", "20", "--size", "4KiB", "--tenants", "1", "--keep"]);
    let mut local = Process(local.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let mut said = BufReader::new(local.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    said.find(|line| line.starts_with("serving on at http://127.0.0.1:")).unwrap();
    let lines: Vec<String> = said.by_ref().take(3).collect();
    let type_in = |line: &str| {
        // No setting of this machine's AWS is in the way.
        let mut shell = Command::new("sh");
        let output = venv::run(shell.args(["-c", line]).env_clear().env("PATH", &path).env("HOME", "/nonexistent"));
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let streams: serde_json::Value = serde_json::from_str(&type_in(&lines[0])).unwrap();
    assert_eq!(streams["logStreams"].as_array().unwrap().len(), 9, "three applications, three pods of each: {streams}");
    type_in(&lines[1]);
    let arrived = (0..LOOKS_MAX).any(|_| {
        let looks = Command::new("sh").args(["-c", &lines[2]]).env_clear().env("PATH", &path).output().unwrap();
        // Until the event is there, its stream is not.
        String::from_utf8_lossy(&looks.stdout).contains(r#""message": "hello""#)
    });
    assert!(arrived, "{}", type_in(&lines[2]));
    venv::run(Command::new("kill").args(["-INT", &local.0.id().to_string()])).unwrap();
    assert!(local.0.wait().unwrap().success());
}
