//! The pure core: bytes in, sealed batches and decisions out. No I/O, no clock, no threads, no randomness.
pub mod batch;
pub mod copy;
pub mod decode;
pub mod envelope;
pub mod event;
pub mod failure;
pub mod layout;
pub mod object;
pub mod pacing;
pub mod progress;
pub mod rejects;
pub mod scan;
pub mod settlement;
pub mod tally;
pub mod tenant;
pub mod time;
pub mod timestamp;
