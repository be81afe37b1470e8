//! When to try again.

pub mod backoff;
pub mod circuit;
