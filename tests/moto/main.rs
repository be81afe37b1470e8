//! The binary against moto, an AWS emulator that is not ours, with boto3 on the other side.
//!
//! moto comes from PyPI into a virtual environment under the target folder. Where there is no Python or no PyPI, or no
//! corpus of log lines beside the checkout, the test says so and passes; `MILLRACE_REQUIRE_MOTO=1` makes that a failure.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const PACKAGES: [&str; 2] = ["moto[server]", "boto3"];

fn run(command: &mut Command) -> Result<Output, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let text = [output.stdout, output.stderr].concat();
    Err(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&text)))
}

/// The environment's Python, installed on the first run.
fn python() -> Result<PathBuf, String> {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("moto");
    let python = venv.join("bin/python");
    let ready = || {
        Command::new(&python)
            .args(["-c", "import moto.server, boto3, flask"])
            .output()
            .is_ok_and(|it| it.status.success())
    };
    if !ready() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES))?;
    }
    Ok(python)
}

#[test]
fn what_comes_back_from_moto_is_what_went_in() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let required = std::env::var_os("MILLRACE_REQUIRE_MOTO").is_some();
    if !corpus.is_dir() {
        assert!(!required, "no corpus of log lines");
        println!("skipped: no corpus of log lines beside the checkout");
        return;
    }
    let python = match python() {
        Ok(python) => python,
        Err(why) => {
            assert!(!required, "{why}");
            println!("skipped: {why}");
            return;
        }
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/moto/world.py");
    let output = run(Command::new(python).arg(script).arg(env!("CARGO_BIN_EXE_millrace")).arg(corpus)).unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
}
