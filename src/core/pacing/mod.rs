//! When to try again.

pub mod backoff;
