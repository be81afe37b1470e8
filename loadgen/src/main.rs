//! The log generator's command line. It alone asks the clock, listens for signals and writes.

mod cli;
mod clock;
mod deliver;
mod progress;
mod pump;
mod stop;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::clock::Clock;
use crate::progress::{Progress, say};

/// Why the generator ends with exit code 1.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Spec(#[from] loadgen::SpecError),
    #[error("the output cannot be written: {0}")]
    Output(std::io::Error),
    #[error("signals cannot be listened for: {0}")]
    Signals(std::io::Error),
    #[error("{file}: cannot be written: {cause}")]
    Folder { file: String, cause: std::io::Error },
    #[cfg(feature = "s3")]
    #[error("s3://{bucket}/{key}: cannot be uploaded: {cause}")]
    Upload { bucket: String, key: String, cause: String },
    #[cfg(feature = "s3")]
    #[error("the upload cannot be started: {0}")]
    Runtime(std::io::Error),
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(format_args!("Error: {failure}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let progress = Progress::start(Clock::start());
    match cli.command {
        Some(Command::Objects(objects)) => deliver::run(*objects, &progress),
        None if cli.lines.list_formats => pump::list_formats(),
        None => pump::run(&cli.lines, &progress),
    }
}
