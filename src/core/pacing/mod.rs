//! When something is tried, and when it is tried again.

pub mod ahead;
pub mod backoff;
pub mod circuit;
pub mod drr;
pub mod governor;
pub mod patience;
