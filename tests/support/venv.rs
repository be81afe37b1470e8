//! Python's virtual environments under the target folder, for tests whose other side is not Rust.
//!
//! Packages come from PyPI on the first run. Where there is no Python or no PyPI a test says so and passes;
//! `MILLRACE_REQUIRE_MOTO=1` makes that a failure.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs a program to its end, which must be a good one.
pub(crate) fn run(command: &mut Command) -> Result<Output, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let text = [output.stdout, output.stderr].concat();
    Err(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&text)))
}

/// The Python of the environment `name`, which is made if it cannot import `modules`; none where it cannot be made and
/// is not required.
pub(crate) fn python(name: &str, packages: &[&str], modules: &str) -> Option<PathBuf> {
    match install(name, packages, modules) {
        Ok(python) => Some(python),
        Err(why) => {
            assert!(std::env::var_os("MILLRACE_REQUIRE_MOTO").is_none(), "{why}");
            println!("skipped: {why}");
            None
        }
    }
}

fn install(name: &str, packages: &[&str], modules: &str) -> Result<PathBuf, String> {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let python = venv.join("bin/python");
    let imports = format!("import {modules}");
    if !Command::new(&python).args(["-c", &imports]).output().is_ok_and(|it| it.status.success()) {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(packages))?;
    }
    Ok(python)
}
