//! `loadgen objects`: objects to a folder or a bucket.

mod folder;
#[cfg(feature = "s3")]
mod upload;

use std::sync::Arc;

use loadgen::ObjectSource;

use crate::Failure;
use crate::cli::ObjectArgs;
use crate::clock::Clock;
use crate::progress::Progress;
use crate::stop::Stop;

/// Makes the objects and brings them to their place, until all are there or a signal comes.
pub(crate) fn run(args: ObjectArgs, progress: &Arc<Progress>) -> Result<(), Failure> {
    let now_ms = i64::try_from(Clock::wall_micros() / 1000).unwrap_or(0);
    let source = ObjectSource::new(args.spec(now_ms)?)?;
    let stop = Stop::on_signals(progress)?;
    let ended = match args.to {
        Some(folder) => folder::run(&source, &folder, progress, &stop),
        #[cfg(feature = "s3")]
        None => upload::run(&source, args.s3, progress, &stop),
        #[cfg(not(feature = "s3"))]
        None => Ok(()),
    };
    progress.end();
    ended
}
