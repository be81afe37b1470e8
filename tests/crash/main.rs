//! Real processes, killed at random moments and started again, over real HTTP against the embedded cloud.
//!
//! `MILLRACE_CRASH_ROUNDS` rounds are run, of the seeds from `MILLRACE_CRASH_SEED` on.

#![expect(clippy::print_stdout, reason = "a round that fails says how it is run again")]
#![expect(clippy::unwrap_used, reason = "tests look at data of their own making, where a panic is a failed test")]

mod check;
mod plan;
mod rounds;
#[path = "../support/stage.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod stage;
