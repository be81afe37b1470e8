//! What a terabyte of decompressed logs costs as Lambda's compute: a model of wall-clock time, for that is what is paid.
//!
//! A function with one processor takes ten messages of an object each, in streams of their own. Their bytes go through its share of
//! the network and through TLS; while some wait, others are worked on, so that the longer of the two, the processor's time or
//! the network's, is what they take together. Before the first byte is there and after the last one is sent it waits for each
//! once. The start of a function is not in it: under load one in thousands is cold.

/// MiB of an object, and objects of an invocation: what a busy pod writes in a minute; the most that SQS gives.
const OBJECT_MIB: f64 = 4.0;
const OBJECTS: f64 = 10.0;
/// MB/s of one function's network, both ways together: what is measured of functions by many, and promised by nobody.
const NETWORK_MB_S: f64 = 75.0;
/// Milliseconds until a GET's first byte, until PutLogEvents is answered, and of the invocation itself.
const WAITS_MS: [f64; 3] = [30.0, 30.0, 5.0];
/// GB of memory with which a function has one processor. Source: Lambda Developer Guide, "Configure Lambda function memory".
const MEMORY_GB: f64 = 1.769 * 1000.0 / 1024.0;
/// USD for a GB and second, us-east-1. Source: AWS Lambda pricing.
pub(crate) const X86_USD: f64 = 0.000_016_666_7;
pub(crate) const ARM64_USD: f64 = 0.000_013_333_4;
/// MiB of a TB.
const MIB_PER_TB: f64 = 1e12 / 1_048_576.0;
const MB_PER_MIB: f64 = 1.048_576;

/// What is measured of the daemon.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Milliseconds of the processor for a decompressed MiB, without TLS.
    pub(crate) cpu_ms: f64,
    /// Those for a MiB through TLS.
    pub(crate) tls_ms: f64,
    /// Bytes got for each decompressed one.
    pub(crate) got: f64,
    /// Bytes sent for each.
    pub(crate) sent: f64,
}

/// USD for a TB of decompressed bytes, at a price for a GB and second.
pub(crate) fn usd_per_tb(measured: Measured, price: f64) -> f64 {
    let Measured { cpu_ms, tls_ms, got, sent } = measured;
    let processor = cpu_ms + (got + sent) * tls_ms;
    let network = (got + sent) * MB_PER_MIB / NETWORK_MB_S * 1e3;
    let waits = WAITS_MS.iter().sum::<f64>() / (OBJECT_MIB * OBJECTS);
    (processor.max(network) + waits) / 1e3 * MIB_PER_TB * MEMORY_GB * price
}
