//! Log lines: JSON for programs, text for people.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{LogFormat, LogLevel};

/// Where log lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, as a container's log.
    Output,
    /// Standard error, where standard output is for results.
    Error,
}

/// Installs the subscriber. The SDK and HTTP are kept at warnings: their traces may hold credentials and log text.
pub fn start(level: LogLevel, format: LogFormat, stream: Stream) {
    let level = match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    let filter = EnvFilter::new(format!("warn,s3s=off,millrace={level}"));
    let terminal = match stream {
        Stream::Output => std::io::stdout().is_terminal(),
        Stream::Error => std::io::stderr().is_terminal(),
    };
    let text = match format {
        LogFormat::Auto => terminal,
        LogFormat::Json => false,
        LogFormat::Text => true,
    };
    match stream {
        Stream::Output => install(filter, text, terminal, std::io::stdout),
        Stream::Error => install(filter, text, terminal, std::io::stderr),
    }
}

fn install<W>(filter: EnvFilter, text: bool, colours: bool, writer: W)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_target(false)
        .log_internal_errors(false);
    // A second start, as in tests, keeps the first subscriber.
    let _already_installed = if text {
        lines.with_ansi(colours).try_init()
    } else {
        lines.json().flatten_event(true).with_current_span(false).try_init()
    };
}
