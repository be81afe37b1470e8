//! The daemon's binary over real HTTP against the embedded cloud, which checks every signature, account and limit.

#![expect(clippy::unwrap_used, reason = "tests look at data of their own making, where a panic is a failed test")]

mod bad_input;
mod delivery;
mod encrypted;
mod flow;
mod hostile;
mod local;
mod manual;
mod memory;
mod progress;
mod read;
mod signals;
#[path = "../support/stage.rs"]
mod stage;
