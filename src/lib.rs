//! Millrace moves logs from a central S3 bucket into each tenant's own CloudWatch Logs.
//!
//! Modules are declared lowest first: each uses those above it and never one below. [`core`] is pure and builds without
//! the feature `daemon`; ARCHITECTURE.md is the map of the rest.

#![cfg_attr(
    test,
    expect(
        clippy::cast_possible_truncation,
        clippy::let_underscore_must_use,
        clippy::string_slice,
        clippy::wildcard_enum_match_arm,
        reason = "tests look at data of their own making, where a panic is a failed test"
    )
)]

pub mod core;

#[cfg(feature = "daemon")]
pub mod allocator;
#[cfg(feature = "daemon")]
pub mod aws;
#[cfg(feature = "daemon")]
pub mod config;
#[cfg(feature = "daemon")]
pub mod console;
#[cfg(feature = "daemon")]
pub mod logging;
#[cfg(feature = "daemon")]
pub mod modes;
#[cfg(feature = "daemon")]
pub mod pipeline;
#[cfg(feature = "daemon")]
pub mod world;
