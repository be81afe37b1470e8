//! Every setting once: flag, variable, default, limits and help stand together. docs/configuration.md is made from it.

pub mod render;
mod sources;
mod units;

use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

pub use self::sources::{UsageError, no_mode, parse};

use self::units::{bytes, count, duration, seconds};
use crate::core::batch::{BATCH_EVENTS_MAX, EVENT_BYTES_MAX, EVENT_BYTES_MIN};
use crate::core::layout::Layout;
use crate::core::simd::Level;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Moves logs from a central S3 bucket into each tenant's own CloudWatch Logs.
#[derive(Debug, Parser)]
#[command(name = "millrace", version, about, subcommand_required = false, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub mode: Option<Mode>,
}

/// The modes. EXECUTION_MODE names one when no subcommand does.
#[derive(Debug, Subcommand)]
pub enum Mode {
    /// Polls a queue of notifications until it is told to stop.
    Sqs(Box<SqsSettings>),
    /// Delivers the one notification on standard input; exit code 0 only if all of it was delivered.
    Manual(Box<ManualSettings>),
    /// Shows all of it at work against an embedded cloud, and checks from the cloud's side that nothing is missing.
    #[cfg(feature = "local")]
    #[command(mut_arg("log_level", |level| level.default_value("error")))]
    Local(Box<LocalSettings>),
    /// Prints the version.
    Version,
}

/// Names that EXECUTION_MODE may have.
pub const MODES: &[&str] =
    if cfg!(feature = "local") { &["sqs", "manual", "local", "version"] } else { &["sqs", "manual", "version"] };

/// Settings of mode `sqs`.
#[derive(Clone, Debug, Args)]
pub struct SqsSettings {
    /// Where messages come from.
    #[command(flatten)]
    pub queues: QueueSettings,
    /// Where progress is kept.
    #[command(flatten)]
    pub progress: ProgressSettings,

    /// How messages are taken and settled.
    #[command(flatten)]
    pub poll: PollSettings,

    /// How AWS and the tenants are reached.
    #[command(flatten)]
    pub reach: ReachSettings,

    /// What all modes share.
    #[command(flatten)]
    pub shared: Settings,
}

/// Settings of mode `manual`.
#[derive(Clone, Debug, Args)]
pub struct ManualSettings {
    /// How AWS and the tenants are reached.
    #[command(flatten)]
    pub reach: ReachSettings,

    /// What all modes share.
    #[command(flatten)]
    pub shared: Settings,
}

/// Where messages come from, and where they go that are a lost cause.
#[derive(Clone, Debug, Args)]
pub struct QueueSettings {
    /// The queue of notifications.
    #[arg(long, env = "SQS_QUEUE_URL", value_name = "URL", value_parser = url)]
    pub sqs_queue_url: String,

    /// Where messages go that are a lost cause, with the reason; none: the queue's own redrive takes them.
    #[arg(long, env = "DLQ_URL", value_name = "URL", value_parser = url)]
    pub dlq_url: Option<String>,
}

/// Where it is kept how far objects are delivered.
#[derive(Clone, Debug, Args)]
pub struct ProgressSettings {
    /// The table in which replicas keep how far they came with an object, keyed by the text id, with the time to live in
    /// expires; none: each keeps it in memory.
    #[arg(long, env = "PROGRESS_TABLE", value_name = "NAME", value_parser = table)]
    pub progress_table: Option<String>,

    /// Accepted batches of an object after which its progress is written to PROGRESS_TABLE.
    #[arg(long, env = "PROGRESS_EVERY", value_name = "COUNT", default_value_t = 4, value_parser = count::<u32>(1..=1_000))]
    pub progress_every: u32,

    /// Where it is remembered that an object of one batch is delivered; longer ones always are in PROGRESS_TABLE too.
    #[arg(long, env = "DEDUPE", value_name = "WHERE", default_value = "memory")]
    pub dedupe: Dedupe,
}

/// Where it is remembered that a small object is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Dedupe {
    /// In each replica's memory.
    Memory,
    /// In PROGRESS_TABLE, for two calls per object.
    Table,
}

/// How messages are taken from a queue and settled.
#[derive(Clone, Debug, Args)]
pub struct PollSettings {
    /// How long one poll waits for messages.
    #[arg(long, env = "SQS_WAIT", value_name = "TIME", default_value = "20s", value_parser = seconds(20))]
    pub sqs_wait: Duration,

    /// Messages in work at a time; no more are polled while there are so many. One tenant has at most half, and less when
    /// others have some. As many again may wait for their tenant's share, by the same rule; more of a tenant are handed back
    /// for as long as its others wait.
    #[arg(long, env = "MESSAGES_MAX", value_name = "COUNT", default_value_t = 500, value_parser = count::<u32>(1..=10_000))]
    pub messages_max: u32,

    /// Percent of MESSAGES_MAX that messages which have been in the queue for more than five minutes leave to fresh ones.
    #[arg(long, env = "FRESH_SHARE", value_name = "PERCENT", default_value_t = 50, value_parser = count::<u8>(0..=99))]
    pub fresh_share: u8,

    /// Attempts in a row without an event settled after which a message is a lost cause.
    #[arg(long, env = "POISON_ATTEMPTS", value_name = "COUNT", default_value_t = 5, value_parser = count::<u32>(1..=1_000))]
    pub poison_attempts: u32,

    /// The shortest time after which an object is tried again whose tenant's role, log group or bucket refused it, and any of
    /// that delivery is read again. It grows to twelve times as much.
    #[arg(long, env = "DENIED_WAIT", value_name = "TIME", default_value = "5m", value_parser = duration(Duration::from_secs(1), Duration::from_secs(3600)))]
    pub denied_wait: Duration,

    /// What happens to messages of tenants that the table does not have.
    #[arg(long, env = "UNKNOWN_TENANT", value_name = "WHAT", default_value = "delete")]
    pub unknown_tenant: UnknownTenant,

    /// How long a batch waits for more events when nothing is queued for its stream. Receives of messages are gathered for a quarter of it, 250 ms at most.
    #[arg(long, env = "LINGER", value_name = "TIME", default_value = "1s", value_parser = duration(Duration::ZERO, Duration::from_secs(300)))]
    pub linger: Duration,
}

/// Settings of mode `local`.
#[cfg(feature = "local")]
#[derive(Clone, Debug, Args)]
pub struct LocalSettings {
    /// Objects to write and deliver.
    #[arg(long, env = "LOCAL_OBJECTS", value_name = "COUNT", default_value_t = 2_000, value_parser = count::<u64>(1..=10_000_000))]
    pub objects: u64,

    /// Bytes of an object before it is compressed.
    #[arg(long, env = "LOCAL_SIZE", value_name = "BYTES", default_value = "1MiB", value_parser = bytes(1, 16 * GIB))]
    pub size: u64,

    /// Tenants, each in an account of its own. Of five or more, one is disabled, one filtered, one denied by its role.
    #[arg(long, env = "LOCAL_TENANTS", value_name = "COUNT", default_value_t = 5, value_parser = count::<u64>(1..=10_000))]
    pub tenants: u64,

    /// Files whose lines are the messages, instead of invented ones.
    #[arg(long, env = "LOCAL_FROM", value_name = "FILE", num_args = 1.., value_delimiter = ',')]
    pub from: Vec<std::path::PathBuf>,

    /// The same seed gives the same objects, but for the times in them: those end now.
    #[arg(long, env = "LOCAL_SEED", value_name = "NUMBER", default_value_t = 0, value_parser = count::<u64>(0..=u64::MAX))]
    pub seed: u64,

    /// What the embedded cloud does wrong on purpose: rules with ; between them, or light or heavy; see localcloud/README.md.
    #[arg(long, env = "LOCAL_FAULTS", value_name = "SPEC", value_parser = faults)]
    pub faults: Option<localcloud::Faults>,

    /// The same seed and the same calls meet the same faults.
    #[arg(long, env = "LOCAL_FAULT_SEED", value_name = "NUMBER", default_value_t = 0, value_parser = count::<u64>(0..=u64::MAX))]
    pub fault_seed: u64,

    /// A directory for the objects, which are else kept in memory.
    #[arg(long, env = "LOCAL_DATA", value_name = "DIR")]
    pub data: Option<std::path::PathBuf>,

    /// The summary as JSON.
    #[arg(long, env = "LOCAL_JSON", value_name = "true|false", default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", value_parser = flag)]
    pub json: bool,

    /// Serves on after the summary, and prints how to reach the embedded cloud; keeps the text of all events.
    #[arg(long, env = "LOCAL_KEEP", value_name = "true|false", default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", value_parser = flag)]
    pub keep: bool,

    /// How messages are taken and settled.
    #[command(flatten)]
    pub poll: PollSettings,

    /// What all modes share.
    #[command(flatten)]
    pub shared: Settings,
}

/// How AWS and the tenants are reached. Mode `local` has an AWS of its own.
#[derive(Clone, Debug, Args)]
pub struct ReachSettings {
    /// The role that is assumed on the way to every tenant's role. Needed unless HOPS is 1.
    #[arg(long, env = "CENTRAL_LOG_DISTRIBUTION_ROLE_ARN", value_name = "ARN", value_parser = role_arn)]
    pub central_log_distribution_role_arn: Option<String>,

    /// Roles assumed on the way to a tenant: the central one and the tenant's, or the tenant's alone. With 1 it is the
    /// ambient identity, without the tenant's tags, that copies into tenants' buckets.
    #[arg(long, env = "HOPS", value_name = "1|2", default_value_t = 2, value_parser = count::<u8>(1..=2))]
    pub hops: u8,

    /// The ExternalId for tenants whose rows name none; none: the account of the central role.
    #[arg(long, env = "EXTERNAL_ID", value_name = "ID", value_parser = external_id)]
    pub external_id: Option<String>,

    /// The profile of the shared AWS configuration files.
    #[arg(long, env = "AWS_PROFILE", value_name = "NAME")]
    pub aws_profile: Option<String>,

    /// Another endpoint for all services. By HTTPS those are trusted whom the system trusts, or whom the file does that SSL_CERT_FILE names.
    #[arg(long, env = "AWS_ENDPOINT_URL", value_name = "URL", value_parser = url)]
    pub aws_endpoint_url: Option<String>,

    /// Another endpoint for S3.
    #[arg(long, env = "AWS_ENDPOINT_URL_S3", value_name = "URL", value_parser = url)]
    pub aws_endpoint_url_s3: Option<String>,

    /// Another endpoint for SQS.
    #[arg(long, env = "AWS_ENDPOINT_URL_SQS", value_name = "URL", value_parser = url)]
    pub aws_endpoint_url_sqs: Option<String>,

    /// Another endpoint for DynamoDB.
    #[arg(long, env = "AWS_ENDPOINT_URL_DYNAMODB", value_name = "URL", value_parser = url)]
    pub aws_endpoint_url_dynamodb: Option<String>,

    /// Another endpoint for STS.
    #[arg(long, env = "AWS_ENDPOINT_URL_STS", value_name = "URL", value_parser = url)]
    pub aws_endpoint_url_sts: Option<String>,

    /// Another endpoint for CloudWatch Logs.
    #[arg(long, env = "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", value_name = "URL", value_parser = url)]
    pub aws_endpoint_url_cloudwatch_logs: Option<String>,

    /// Bucket names in the path instead of the host name, for stores that are not AWS's.
    #[arg(long, env = "AWS_S3_USE_PATH_STYLE", value_name = "true|false", default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", value_parser = flag)]
    pub aws_s3_use_path_style: bool,
}

/// A bucket and what keys in it begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Place {
    /// The bucket's name.
    pub bucket: String,
    /// Empty, or with a slash at its end.
    pub prefix: String,
}

/// Settings that all modes share.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// The tenant table, keyed by tenant_id alone or with type.
    #[arg(long, env = "TENANT_CONFIG_TABLE", value_name = "NAME", default_value = "tenant-configurations", value_parser = table)]
    pub tenant_config_table: String,

    /// How long a tenant's rows are used before they are read again.
    #[arg(long, env = "TENANT_CACHE_TTL", value_name = "TIME", default_value = "5m", value_parser = duration(Duration::from_secs(1), Duration::from_secs(86_400)))]
    pub tenant_cache_ttl: Duration,

    /// Tenants whose rows are kept.
    #[arg(long, env = "TENANT_CACHE_MAX", value_name = "COUNT", default_value_t = 10_000, value_parser = count::<u64>(1..=1_000_000))]
    pub tenant_cache_max: u64,

    /// Where events are kept that CloudWatch Logs does not take: NDJSON under this bucket and prefix, written before the
    /// message is acknowledged; none: they are counted only. 1 MiB of the memory budget is set aside for it.
    #[arg(long, env = "REJECT_STORE", value_name = "s3://BUCKET/PREFIX", value_parser = s3_place)]
    pub reject_store: Option<S3Place>,

    /// How object keys are laid out; {tenant}, {cluster}, {application} and {pod} once each, in any order, then the file.
    #[arg(long, env = "KEY_LAYOUT", value_name = "TEMPLATE", default_value = crate::core::layout::LAYOUT_DEFAULT, value_parser = layout)]
    pub key_layout: Layout,

    /// The daemon's region: queue, table, bucket, and tenants whose rows name none.
    #[arg(long, env = "AWS_REGION", value_name = "REGION", default_value = "us-east-1", value_parser = region)]
    pub aws_region: String,

    /// Memory for objects, records and batches. The process takes at most 24 MiB more.
    #[arg(long, env = "MEMORY_BUDGET", value_name = "BYTES", default_value = "40MiB", value_parser = bytes(16 * MIB, 64 * GIB))]
    pub memory_budget: u64,

    /// Compute threads; 0: one per core.
    #[arg(long, env = "COMPUTE_THREADS", value_name = "COUNT", default_value_t = 0, value_parser = count::<u16>(0..=1_024))]
    pub compute_threads: u16,

    /// Bytes of one ranged GET. More: fewer calls. Less: less to fetch again when one fails, and more of them beside each other in
    /// little memory.
    #[arg(long, env = "PART_BYTES", value_name = "BYTES", default_value = "8MiB", value_parser = bytes(256 * KIB, 64 * MIB))]
    pub part_bytes: u64,

    /// Bytes of the longest record; longer ones are dropped. This much of the memory budget is set aside for one.
    #[arg(long, env = "RECORD_BYTES_MAX", value_name = "BYTES", default_value = "16MiB", value_parser = bytes(MIB, GIB))]
    pub record_bytes_max: u64,

    /// Events per batch. CloudWatch Logs takes 10000; fewer cost more calls.
    #[arg(long, env = "MAX_BATCH_SIZE", value_name = "COUNT", default_value_t = BATCH_EVENTS, value_parser = count::<u16>(1..=u64::from(BATCH_EVENTS)))]
    pub max_batch_size: u16,

    /// Bytes of a request body at which a batch is sealed; escaped text may be much longer than it counts.
    #[arg(long, env = "WIRE_BYTES_MAX", value_name = "BYTES", default_value = "2MiB", value_parser = bytes(64 * KIB, 8 * MIB))]
    pub wire_bytes_max: u64,

    /// Bytes of the longest message that is sent in one event.
    #[arg(long, env = "EVENT_BYTES_MAX", value_name = "BYTES", default_value = EVENT_BYTES_DEFAULT, value_parser = bytes(EVENT_BYTES_MIN as u64, EVENT_BYTES_MAX as u64))]
    pub event_bytes_max: u64,

    /// What happens to longer messages.
    #[arg(long, env = "OVERSIZE_EVENTS", value_name = "WHAT", default_value = "split")]
    pub oversize_events: OversizeEvents,

    /// Whether request bodies of 1 KiB and more are compressed by gzip: the bytes sent become a fifth, and the processor's time
    /// grows by four fifths. auto: where CloudWatch Logs is called by HTTPS. If the service takes a batch only as it is, none is
    /// compressed any more.
    #[arg(long, env = "COMPRESS", value_name = "WHEN", default_value = "auto")]
    pub compress: Compress,

    /// Attempts per call; being throttled is not counted among them.
    #[arg(long, env = "RETRY_ATTEMPTS", value_name = "COUNT", default_value_t = 3, value_parser = count::<u32>(1..=100))]
    pub retry_attempts: u32,

    /// Time to finish or hand back what is in work when the process is told to stop; a second signal ends it.
    #[arg(long, env = "DRAIN_TIMEOUT", value_name = "TIME", default_value = "25s", value_parser = duration(Duration::ZERO, Duration::from_secs(3_600)))]
    pub drain_timeout: Duration,

    /// What is logged.
    #[arg(long, env = "LOG_LEVEL", value_name = "LEVEL", default_value = "info", ignore_case = true)]
    pub log_level: LogLevel,

    /// How it is logged.
    #[arg(long, env = "LOG_FORMAT", value_name = "FORMAT", default_value = "auto")]
    pub log_format: LogFormat,

    /// The instructions that text is looked at with, in place of the best that the processor has: for those who look for their
    /// mistakes.
    #[arg(long, env = Level::SETTING, value_name = "LEVEL", hide = true, value_parser = simd)]
    pub simd: Option<Level>,
}

fn simd(name: &str) -> Result<Level, String> {
    Level::named(name).ok_or_else(|| {
        let names: Vec<&str> = Level::all().map(Level::name).collect();
        format!("allowed here: {}", names.join(", "))
    })
}

#[expect(clippy::cast_possible_truncation, reason = "10,000 fits")]
const BATCH_EVENTS: u16 = BATCH_EVENTS_MAX as u16;
const EVENT_BYTES_DEFAULT: &str = "1048550";

/// See [`SqsSettings::unknown_tenant`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UnknownTenant {
    /// They are deleted.
    Delete,
    /// They are kept in the dead-letter queue.
    Dlq,
}

/// See [`Settings::oversize_events`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OversizeEvents {
    /// They are sent in numbered parts.
    Split,
    /// They are cut.
    Truncate,
}

/// See [`Settings::compress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Compress {
    /// Never.
    Off,
    /// Always.
    On,
    /// Where it pays.
    Auto,
}

/// See [`Settings::log_level`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    #[value(alias = "critical")]
    Error,
    #[value(alias = "warning")]
    Warn,
    Info,
    Debug,
    Trace,
}

/// See [`Settings::log_format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// JSON lines.
    Json,
    /// Text lines.
    Text,
}

fn url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    match rest {
        Some(rest) if !rest.is_empty() && !text.contains(char::is_whitespace) => Ok(text.to_owned()),
        _ => Err("a URL that begins with http:// or https:// is wanted".to_owned()),
    }
}

fn role_arn(text: &str) -> Result<String, String> {
    let sound = text.starts_with("arn:") && text.contains(":role/") && crate::core::tenant::account_of(text).is_some();
    if sound {
        Ok(text.to_owned())
    } else {
        Err("a role such as arn:aws:iam::123456789012:role/NAME is wanted".to_owned())
    }
}

fn external_id(text: &str) -> Result<String, String> {
    if crate::core::tenant::is_external_id(text) {
        Ok(text.to_owned())
    } else {
        Err("2 to 1224 characters of a-z A-Z 0-9 _ + = , . @ : / - are wanted".to_owned())
    }
}

fn region(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=32).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err("a region such as eu-west-1 is wanted".to_owned())
    }
}

/// DynamoDB API Reference, "Query": a table's name has 3 to 255 characters; its ARN may stand for it.
fn table(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let name = if text.starts_with("arn:") { text.rsplit_once(":table/").map(|(_, name)| name) } else { Some(text) };
    match name {
        Some(name) if (3..=255).contains(&name.len()) && name.bytes().all(allowed) => Ok(text.to_owned()),
        _ => Err("3 to 255 characters of a-z A-Z 0-9 _ - . are wanted, or a table's ARN".to_owned()),
    }
}

fn s3_place(text: &str) -> Result<S3Place, String> {
    let wanted = || "s3://BUCKET or s3://BUCKET/PREFIX is wanted".to_owned();
    let place = text.strip_prefix("s3://").ok_or_else(wanted)?;
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(allowed) {
        return Err(wanted());
    }
    let prefix = if prefix.is_empty() || prefix.ends_with('/') { prefix.to_owned() } else { format!("{prefix}/") };
    Ok(S3Place { bucket: bucket.to_owned(), prefix })
}

fn layout(text: &str) -> Result<Layout, String> {
    Layout::parse(text).map_err(|error| error.to_string())
}

/// Without its seed, which is a setting of its own.
#[cfg(feature = "local")]
fn faults(text: &str) -> Result<localcloud::Faults, String> {
    localcloud::Faults::parse(text, 0).map_err(|error| error.to_string())
}

fn flag(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" | "" => Ok(false),
        _ => Err("true or false is wanted".to_owned()),
    }
}
