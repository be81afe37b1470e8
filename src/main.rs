//! The command line: parses it, runs the mode, gives the exit code.

use std::process::ExitCode;

use millrace::config::{self, Cli};
use millrace::{allocator, console, modes};

#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator;

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
            console::remark(format_args!("millrace: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}
