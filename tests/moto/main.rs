//! The binary against moto, an AWS emulator that is not ours, with boto3 on the other side.
//!
//! The messages are the lines of the corpus beside the checkout. Where there is none, a few lines that are built in take
//! their place, and the test says so.

#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

#[path = "../support/venv.rs"]
mod venv;

use std::path::Path;
use std::process::Command;

#[test]
fn what_comes_back_from_moto_is_what_went_in() {
    let Some(python) = venv::python("moto", &["moto[server]", "boto3"], "moto.server, boto3, flask") else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut world = Command::new(python);
    world.arg(root.join("tests/moto/world.py")).arg(env!("CARGO_BIN_EXE_millrace"));
    let output = venv::run(world.arg(root.join("../shared/corpus"))).unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
}
