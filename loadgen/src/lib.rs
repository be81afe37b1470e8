//! Makes realistic log lines, and Vector-shaped objects of them, from a seed.
//!
//! Two ways in: [`Lines`] writes log lines in the formats that log collectors must understand, [`ObjectSource`] makes
//! gzip objects as Vector writes them to S3, and regenerates what is expected to come out of them. Both draw from
//! one vocabulary of texts that are escaped once at the start, so a line is a row of copies: no allocation, no formatting.
//! The library asks no clock, no network and no thread; the binary beside it does.
//!
//! ```
//! use loadgen::{ObjectSize, ObjectSource, ObjectSpec};
//!
//! let source = ObjectSource::new(ObjectSpec { objects: 3, size: ObjectSize::Records(10), ..ObjectSpec::default() })?;
//! for object in source.objects(0..source.count()) {
//!     let mut expected = source.expected(object.recipe);
//!     while let Some(event) = expected.next_event() {
//!         assert!(event.timestamp_ms >= source.spec().start_ms && !event.message.is_empty());
//!     }
//! }
//! # Ok::<(), loadgen::SpecError>(())
//! ```

mod fleet;
mod formats;
mod lines;
mod objects;
pub mod rate;
mod record;
mod stamp;
mod text;
mod vocabulary;

use std::path::PathBuf;

pub use fleet::{Fleet, KeyLayout};
pub use formats::Format;
pub use lines::{LineSpec, Lines, MessageSpec};
pub use objects::{
    Compression, ExpectedEvent, ExpectedEvents, Framing, GeneratedObject, ObjectSize, ObjectSource, ObjectSpec,
    Objects, Recipe,
};
pub use stamp::{DEFAULT_START_MS, micros_since_epoch, parse_start};
pub use text::RealLines;

/// What is wrong with what was asked for.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the error texts are the documentation")]
pub enum SpecError {
    #[error("the start \"{given}\" is neither a time such as 2025-09-01T00:00:00Z nor Unix seconds, from 1970 to 9999")]
    Start { given: String },
    #[error("the rate \"{given}\" is neither lines (5000/s) nor bytes a second (20MB/s)")]
    Rate { given: String },
    #[error("{file}: cannot be read: {cause}", file = file.display())]
    From { file: PathBuf, cause: std::io::Error },
    #[error("the files of real lines are more than {limit} bytes together")]
    FromTooLong { limit: u64 },
    #[error("the files of real lines hold no line")]
    FromEmpty,
    #[error("messages of {min} to {max} bytes: the least is more than the most, or the most is over {limit}")]
    MessageBytes { min: usize, max: usize, limit: usize },
    #[error("{what} \"{name}\" is no name: it must be one part of a key, without \"/\" and control characters")]
    Name { what: &'static str, name: String },
    #[error("{what}: {given} of them; allowed are 1 to {limit}")]
    Count { what: &'static str, given: u64, limit: u64 },
    #[error("the key layout \"{given}\" is wrong: {why}")]
    Layout { given: String, why: &'static str },
    #[error("gzip level {given}; allowed are 1 to 9")]
    Level { given: u32 },
    #[error("the objects' times end after the year 9999 or begin before 1970")]
    Times,
}
