//! Each kind of fault, as a client sees it: Amazon's own SDK, over HTTP, without a second try.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what the tests share is test code too")]

mod answers;
mod events;
mod program;
mod queues;
mod refusals;
mod stage;
