//! The command line: parses it, runs the mode, gives the exit code.

use std::process::ExitCode;

use millrace::config::{self, Cli};
use millrace::{allocator, modes};

#[expect(clippy::print_stderr, reason = "the log may not be started yet, and the user must see it")]
fn main() -> ExitCode {
    allocator::set_up();
    let cli: Cli = match config::parse() {
        Ok(cli) => cli,
        Err(error) => return error.report(),
    };
    let Some(mode) = cli.mode else { return config::no_mode() };
    match modes::run(mode) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("millrace: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
