//! The flags. Those of the first generator keep their names and defaults.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use loadgen::rate::parse_bytes;
use loadgen::{
    Compression, DEFAULT_START_MS, Fleet, Format, Framing, KeyLayout, LineSpec, MessageSpec, ObjectSize, ObjectSpec,
    RealLines, SpecError, parse_start,
};

use crate::progress::say;

/// Seconds between batches without `--rate`.
const SLEEPS: (f64, f64) = (0.1, 5.0);
/// The longest pause that `--min-sleep` and `--max-sleep` may ask for, in seconds.
const SLEEP_MAX: f64 = 86_400.0;

/// Writes realistic log lines to stdout, or objects of them.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) lines: LineArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Writes gzip objects of Vector-shaped records to a folder or to S3
    Objects(Box<ObjectArgs>),
}

/// What is in the lines, for both ways of using them.
#[derive(Debug, Args)]
pub(crate) struct ContentArgs {
    /// Same seed, same bytes; times then begin at --start
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// First time in the lines, as 2025-09-01T00:00:00Z or Unix seconds [default: that very time with --seed, else now]
    #[arg(long)]
    start: Option<String>,
    /// Least bytes of a message [default: 100]
    #[arg(long)]
    min_message_bytes: Option<usize>,
    /// Most bytes of a message [default: 1024]
    #[arg(long)]
    max_message_bytes: Option<usize>,
    /// Customer (tenant); numbered when there are several
    #[arg(long, default_value = "test-customer")]
    customer_id: String,
    /// Cluster; numbered when there are several
    #[arg(long, default_value = "test-cluster")]
    cluster_id: String,
    /// Application; numbered when there are several
    #[arg(long, default_value = "test-app")]
    application: String,
    /// Pod; numbered when there are several [default: test-pod; in objects: application and number]
    #[arg(long)]
    pod_name: Option<String>,
    /// How many tenants
    #[arg(long, value_name = "N", default_value_t = 1)]
    tenants: u64,
    /// How many clusters
    #[arg(long, value_name = "N", default_value_t = 1)]
    clusters: u64,
    /// How many applications of each tenant
    #[arg(long, value_name = "N", default_value_t = 1)]
    applications: u64,
    /// How many pods of each application
    #[arg(long, value_name = "N", default_value_t = 1)]
    pods: u64,
    /// Format of the lines, see --list-formats [default: mixed; plain with --from]
    #[arg(long, value_name = "FORMAT", value_parser = formats())]
    timestamp_format: Option<Format>,
    /// Stack traces of several lines behind errors
    #[arg(long)]
    multiline: bool,
    /// Lines of these files as messages, in their order, again and again
    #[arg(long, value_name = "FILE", num_args = 1..)]
    from: Vec<PathBuf>,
}

fn formats() -> impl TypedValueParser<Value = Format> {
    let names = PossibleValuesParser::new(Format::ALL.map(Format::name));
    names.try_map(|name| Format::named(&name).ok_or("no such format"))
}

/// A range of which either end may have been given: the default of the other gives way.
fn range<T: PartialOrd + Copy>(given: (Option<T>, Option<T>), defaults: (T, T)) -> (T, T) {
    match given {
        (Some(min), Some(max)) => (min, max),
        (Some(min), None) => (min, if defaults.1 < min { min } else { defaults.1 }),
        (None, Some(max)) => (if max < defaults.0 { max } else { defaults.0 }, max),
        (None, None) => defaults,
    }
}

impl ContentArgs {
    /// Where derived times begin; none when lines carry the wall clock's.
    pub(crate) fn start_ms(&self) -> Result<Option<i64>, SpecError> {
        match &self.start {
            Some(start) => parse_start(start).map(Some),
            None => Ok(self.seed.map(|_| DEFAULT_START_MS)),
        }
    }

    fn format(&self) -> Format {
        self.timestamp_format.unwrap_or(if self.from.is_empty() { Format::Mixed } else { Format::Plain })
    }

    fn message_bytes(&self) -> (usize, usize) {
        range((self.min_message_bytes, self.max_message_bytes), (100, 1024))
    }

    fn message(&self) -> Result<MessageSpec, SpecError> {
        let from = if self.from.is_empty() { None } else { Some(Arc::new(RealLines::read(&self.from)?)) };
        let (min_bytes, max_bytes) = self.message_bytes();
        Ok(MessageSpec { format: self.format(), min_bytes, max_bytes, multiline: self.multiline, from })
    }

    fn fleet(&self, pod_name: Option<String>) -> Fleet {
        // One more than the library allows is enough for it to say no, and does not fill the memory.
        let names = |name: &str, count: u64| Fleet::numbered(name, count.min(100_001));
        Fleet {
            tenants: names(&self.customer_id, self.tenants),
            clusters: names(&self.cluster_id, self.clusters),
            applications: names(&self.application, self.applications),
            pods: self.pods,
            pod_name,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct LineArgs {
    /// Least lines of a batch [default: 1]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    min_batch_size: Option<u64>,
    /// Most lines of a batch [default: 50]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    max_batch_size: Option<u64>,
    /// Least seconds between batches [default: 0.1; 0 with --rate]
    #[arg(long, value_parser = seconds)]
    min_sleep: Option<f64>,
    /// Most seconds between batches [default: 5.0; 0 with --rate]
    #[arg(long, value_parser = seconds)]
    max_sleep: Option<f64>,
    /// Batches to write; 0 is no end
    #[arg(long, default_value_t = 0)]
    pub(crate) total_batches: u64,
    /// Statistics every so many batches, at most once a second; 0 is never
    #[arg(long, default_value_t = 100)]
    pub(crate) stats_interval: u64,
    /// Most lines (5000/s) or bytes (20MB/s) a second
    #[arg(long)]
    pub(crate) rate: Option<String>,
    /// Lists the formats and ends
    #[arg(long)]
    pub(crate) list_formats: bool,
    #[command(flatten)]
    pub(crate) content: ContentArgs,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=SLEEP_MAX).contains(seconds));
    seconds.ok_or_else(|| format!("seconds from 0 to {SLEEP_MAX} are allowed"))
}

impl LineArgs {
    pub(crate) fn spec(&self, seed: u64) -> Result<LineSpec, SpecError> {
        let pod = self.content.pod_name.clone().unwrap_or_else(|| "test-pod".to_owned());
        Ok(LineSpec { seed, message: self.content.message()?, fleet: self.content.fleet(Some(pod)) })
    }

    /// Both ends as given; the wrong way round they are swapped, as the first generator's pauses were.
    pub(crate) fn batch_sizes(&self) -> RangeInclusive<u64> {
        let (min, max) = range((self.min_batch_size, self.max_batch_size), (1, 50));
        min.min(max)..=max.max(min)
    }

    /// See [`Self::batch_sizes`].
    pub(crate) fn sleeps(&self) -> RangeInclusive<f64> {
        let defaults = if self.rate.is_some() { (0.0, 0.0) } else { SLEEPS };
        let (min, max) = range((self.min_sleep, self.max_sleep), defaults);
        min.min(max)..=max.max(min)
    }

    /// Says on stderr what is about to be written.
    pub(crate) fn announce(&self) {
        let (content, format) = (&self.content, self.content.format());
        let (batches, sleeps, bytes) = (self.batch_sizes(), self.sleeps(), content.message_bytes());
        say(format_args!("Starting fake log generator..."));
        say(format_args!("Timestamp format: {} ({})", format.name(), format.about()));
        say(format_args!("Batch size: {}-{}", batches.start(), batches.end()));
        say(format_args!("Sleep interval: {}-{}s", sleeps.start(), sleeps.end()));
        say(format_args!("Message size: {}-{} bytes", bytes.0, bytes.1));
        let pod = content.pod_name.as_deref().unwrap_or("test-pod");
        let (customer, cluster, application) = (&content.customer_id, &content.cluster_id, &content.application);
        say(format_args!("Metadata: {customer}/{cluster}/{application}/{pod}\n"));
    }
}

#[derive(Debug, Args)]
pub(crate) struct ObjectArgs {
    /// How many objects
    #[arg(long, value_name = "N", default_value_t = 10)]
    objects: u64,
    /// Decompressed size of each, such as 64MiB
    #[arg(long, value_name = "BYTES", default_value = "1MB", value_parser = bytes, conflicts_with = "records")]
    size: u64,
    /// Records of each, instead of a size
    #[arg(long, value_name = "N")]
    records: Option<u64>,
    /// One array on one line, as Vector's default is, or a record a line
    #[arg(long, default_value = "array", value_parser = ["array", "ndjson"])]
    framing: String,
    /// gzip level
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=9))]
    level: u32,
    /// No compression
    #[arg(long, conflicts_with = "level")]
    plain: bool,
    /// Folders of the keys; the file's name {YYYYmmdd-HHMMSS}-{uuid}.json.gz is added
    #[arg(long, default_value = KeyLayout::DEFAULT)]
    layout: String,
    /// No customer_id in the records
    #[arg(long)]
    no_customer_id: bool,
    /// Where each key becomes a file
    #[arg(long, value_name = "FOLDER", required_unless_present = "bucket", conflicts_with = "bucket")]
    pub(crate) to: Option<PathBuf>,
    #[cfg(feature = "s3")]
    #[command(flatten)]
    pub(crate) s3: S3Args,
    #[cfg(not(feature = "s3"))]
    /// Needs a build with the feature s3
    #[arg(long, hide = true, value_parser = no_bucket)]
    bucket: Option<String>,
    #[command(flatten)]
    pub(crate) content: ContentArgs,
}

#[cfg(not(feature = "s3"))]
fn no_bucket(_: &str) -> Result<String, String> {
    Err("this build cannot upload: it was made without the feature s3".to_owned())
}

#[cfg(feature = "s3")]
#[derive(Debug, Args)]
pub(crate) struct S3Args {
    /// Bucket to upload to, with the credentials of the AWS SDK's usual chain
    #[arg(long)]
    pub(crate) bucket: Option<String>,
    /// S3 endpoint, such as http://127.0.0.1:4566 [default: AWS_ENDPOINT_URL, then AWS]
    #[arg(long, value_name = "URL", requires = "bucket")]
    pub(crate) endpoint: Option<String>,
    /// Region [default: AWS_REGION, then the profile's, then us-east-1]
    #[arg(long, requires = "bucket")]
    pub(crate) region: Option<String>,
}

fn bytes(text: &str) -> Result<u64, String> {
    parse_bytes(text).ok_or_else(|| "bytes such as 1000000, 1MB or 64MiB are allowed".to_owned())
}

impl ObjectArgs {
    /// What to make; `now_ms` is where times begin when neither seed nor start was given.
    pub(crate) fn spec(&self, now_ms: i64) -> Result<ObjectSpec, SpecError> {
        Ok(ObjectSpec {
            seed: self.content.seed.unwrap_or_else(|| fastrand::u64(..)),
            objects: self.objects,
            size: self.records.map_or(ObjectSize::Bytes(self.size), ObjectSize::Records),
            framing: if self.framing == "array" { Framing::Array } else { Framing::Lines },
            compression: if self.plain { Compression::None } else { Compression::Gzip(self.level) },
            fleet: self.content.fleet(self.content.pod_name.clone()),
            layout: KeyLayout::parse(&self.layout)?,
            message: self.content.message()?,
            customer_id: !self.no_customer_id,
            start_ms: self.content.start_ms()?.unwrap_or(now_ms),
            ..ObjectSpec::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults_are_those_of_the_first_generator() {
        let args = Cli::parse_from(["loadgen"]).lines;
        assert_eq!((args.batch_sizes(), args.sleeps()), (1..=50, 0.1..=5.0));
        assert_eq!((args.total_batches, args.stats_interval), (0, 100));
        assert_eq!((args.content.message_bytes(), args.content.format()), ((100, 1024), Format::Mixed));
        let fleet = args.spec(0).unwrap().fleet;
        assert_eq!(fleet, Fleet { pod_name: Some("test-pod".to_owned()), ..Fleet::default() });
    }

    #[test]
    fn one_given_end_moves_the_other() {
        let args = |flags: &[&str]| Cli::parse_from([&["loadgen"], flags].concat()).lines;
        assert_eq!(args(&["--max-sleep", "0"]).sleeps(), 0.0..=0.0);
        assert_eq!(args(&["--rate", "5/s"]).sleeps(), 0.0..=0.0);
        assert_eq!(args(&["--rate", "5/s", "--max-sleep", "2"]).sleeps(), 0.0..=2.0);
        assert_eq!(args(&["--min-batch-size", "100"]).batch_sizes(), 100..=100);
        assert_eq!(args(&["--min-message-bytes", "2000"]).content.message_bytes(), (2000, 2000));
    }

    #[test]
    fn wrong_values_are_refused() {
        for flags in [
            &["--min-sleep", "-1"][..],
            &["--max-sleep", "nan"],
            &["--min-batch-size", "0"],
            &["--timestamp-format", "xml"],
            &["objects"],
            &["objects", "--to", "x", "--level", "0"],
            &["objects", "--to", "x", "--size", "big"],
            &["--seed", "7", "objects", "--to", "x"],
        ] {
            assert!(Cli::try_parse_from([&["loadgen"], flags].concat()).is_err(), "{flags:?}");
        }
    }
}
