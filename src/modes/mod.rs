//! A file per subcommand.

#[cfg(feature = "local")]
pub mod local;
pub mod manual;
mod signals;
pub mod sqs;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

use self::signals::{Signals, Told};
use crate::aws::dynamodb::{ProgressTable, TenantTable};
use crate::aws::s3::Source;
use crate::aws::sts::{Hops, Roles};
use crate::aws::{Aws, AwsSettings};
use crate::config::{Compress, Dedupe, Mode, OversizeEvents, PollSettings, ProgressSettings, ReachSettings, Settings};
use crate::console;
use crate::core::batch::{BatchLimits, Oversize};
use crate::core::checkpoint::Spacing;
use crate::core::failure::{RetryPolicy, Service};
use crate::core::tenant::account_of;
use crate::logging::{self, Stream};
use crate::pipeline::Pipeline;
use crate::pipeline::book::Book;
use crate::pipeline::budget::{Budget, BudgetTooSmall};
use crate::pipeline::circuits::Circuits;
use crate::pipeline::compute::{Compute, Packing};
use crate::pipeline::credentials::Credentials;
use crate::pipeline::intake::IntakeError;
use crate::pipeline::lane::Lanes;
use crate::pipeline::ledger::Ledger;
use crate::pipeline::read::Reads;
use crate::pipeline::rejects::RejectStore;
use crate::pipeline::resolve::Resolver;
use crate::pipeline::retries::Retries;
use crate::pipeline::send::{SENDS_MAX, Sends};
use crate::pipeline::share::Pool;
use crate::pipeline::totals::Totals;
use crate::world::World;

/// First delay and longest delay between attempts at a call.
const CALL_DELAYS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// Attempts at a call that is only throttled.
const THROTTLED_MAX: u32 = 12;

/// Why a mode ended badly.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the error texts are the documentation")]
pub enum ModeError {
    #[error("CENTRAL_LOG_DISTRIBUTION_ROLE_ARN is not set; it is needed unless HOPS is 1")]
    NoCentralRole,
    #[error("UNKNOWN_TENANT is dlq, but DLQ_URL is not set")]
    NoDeadLetters,
    #[error("DEDUPE is table, but PROGRESS_TABLE is not set")]
    NoProgressTable,
    #[error(transparent)]
    Budget(#[from] BudgetTooSmall),
    #[error(transparent)]
    Intake(#[from] IntakeError),
    #[error("{what}: {cause}")]
    System { what: &'static str, cause: std::io::Error },
    #[error("standard input is empty; one notification is wanted")]
    NoInput,
    #[error("not delivered: {0}")]
    NotDelivered(String),
    #[error("told to stop before all was delivered")]
    Stopped,
    #[error("ended at once by a third signal, {name}; what was in work is left as it is")]
    Signal { name: &'static str, number: i32 },
    #[cfg(feature = "local")]
    #[error(transparent)]
    Local(#[from] local::LocalError),
}

impl ModeError {
    /// The process's exit code: 2 for what is set wrong, 1 for what went wrong, and a shell's for the end by a signal.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoCentralRole | Self::NoDeadLetters | Self::NoProgressTable | Self::Budget(_) => 2,
            #[cfg(feature = "local")]
            Self::Local(error) => error.exit_code(),
            Self::Signal { number, .. } => u8::try_from(128 + number).unwrap_or(1),
            Self::Intake(_) | Self::System { .. } | Self::NoInput | Self::NotDelivered(_) | Self::Stopped => 1,
        }
    }
}

/// Runs a mode to its end.
///
/// # Errors
/// [`ModeError`].
pub fn run(mode: Mode) -> Result<(), ModeError> {
    let (settings, stream) = match &mode {
        Mode::Sqs(settings) => (&settings.shared, Stream::Output),
        Mode::Manual(settings) => (&settings.shared, Stream::Error),
        #[cfg(feature = "local")]
        Mode::Local(settings) => (&settings.shared, Stream::Error),
        Mode::Version => {
            version();
            return Ok(());
        }
    };
    if let Some(level) = settings.simd {
        level.prefer();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|cause| ModeError::System { what: "the runtime could not be started", cause })?;
    // Before anything is done that would have to be ended in order.
    let (signals, told) = (Signals::catch(&runtime)?, Told::default());
    logging::start(settings.log_level, settings.log_format, stream);
    let mode_told = told.clone();
    // Among the tasks that it starts: each of them would else have to wake a thread of the runtime's.
    let ended = runtime.spawn(async move {
        match mode {
            Mode::Sqs(settings) => Box::pin(sqs::run(*settings, &mode_told)).await,
            Mode::Manual(settings) => Box::pin(manual::run(*settings, &mode_told)).await,
            #[cfg(feature = "local")]
            Mode::Local(settings) => Box::pin(local::run(*settings, &mode_told)).await,
            Mode::Version => Ok(()),
        }
    });
    let outcome = runtime.block_on(async {
        tokio::select! {
            biased;
            killed = signals.pass_on(&told) => Err(killed),
            ended = ended => ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())),
        }
    });
    // A read of standard input that nobody waits for any more would hold a proper shutdown for ever.
    runtime.shutdown_background();
    outcome
}

fn version() {
    console::say(format_args!("millrace {}", env!("CARGO_PKG_VERSION")));
}

/// What a daemon stands on: the real things, or simulated ones.
#[derive(Debug)]
pub struct Ground {
    /// AWS, or what stands for it.
    pub aws: Aws,
    /// Where machines run.
    pub compute: Compute,
    /// Times and chance.
    pub world: World,
    /// How far the places are apart at which objects are gone on with.
    pub spacing: Spacing,
}

/// What the modes build upon.
#[derive(Debug)]
pub struct Daemon {
    aws: Aws,
    pipeline: Pipeline,
    retries: Retries,
    tracker: TaskTracker,
    drain: CancellationToken,
    /// Set when the drain is to end before its time.
    hurry: CancellationToken,
    world: World,
}

/// How AWS and the tenants are reached.
#[derive(Debug)]
struct Reach {
    aws: AwsSettings,
    hops: Hops,
    /// For tenants whose rows name none.
    external_id: Option<Arc<str>>,
}

impl Reach {
    fn new(settings: &ReachSettings, region: &str) -> Result<Self, ModeError> {
        let hops = match (settings.hops, &settings.central_log_distribution_role_arn) {
            (1, _) => Hops::One,
            (_, Some(arn)) => Hops::Two { central_role_arn: arn.as_str().into() },
            (_, None) => return Err(ModeError::NoCentralRole),
        };
        let central_account = settings.central_log_distribution_role_arn.as_deref().and_then(account_of);
        let external_id = settings.external_id.as_deref().or(central_account).map(Arc::from);
        Ok(Self { aws: aws_settings(settings, region), hops, external_id })
    }
}

/// How long things wait.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    linger: Duration,
    denied_wait: Duration,
}

impl From<&PollSettings> for Pace {
    fn from(poll: &PollSettings) -> Self {
        Self { linger: poll.linger, denied_wait: poll.denied_wait }
    }
}

/// Where progress is kept: without settings in memory.
#[derive(Clone, Copy, Debug, Default)]
struct Keep<'s> {
    table: Option<(&'s str, &'s ProgressSettings)>,
    strikes_max: u32,
}

impl<'s> Keep<'s> {
    fn new(settings: &'s ProgressSettings, strikes_max: u32) -> Result<Self, ModeError> {
        let table = settings.progress_table.as_deref().map(|table| (table, settings));
        if table.is_none() && settings.dedupe == Dedupe::Table {
            return Err(ModeError::NoProgressTable);
        }
        Ok(Self { table, strikes_max })
    }

    fn ledger(&self, aws: &Aws, retries: Retries, world: World) -> Ledger {
        let Some((table, settings)) = self.table else { return Ledger::none(retries, world) };
        Ledger {
            table: Some(ProgressTable::new(aws, table)),
            every: u64::from(settings.progress_every),
            spacing: Spacing::default(),
            small_too: settings.dedupe == Dedupe::Table,
            strikes_max: self.strikes_max,
            retries,
            world,
        }
    }
}

/// Time that calls in flight get when the time to drain is up.
const LAST_CALLS: Duration = Duration::from_secs(3);

impl Daemon {
    /// What its lanes share: sums, memory.
    #[must_use]
    pub fn lanes(&self) -> &Lanes {
        self.pipeline.lanes()
    }

    /// Ends all lanes and copies, which nobody waits for any more; what is on its way gets a little time after `deadline`.
    async fn end(&self, deadline: tokio::time::Instant) {
        self.pipeline.close();
        self.tracker.close();
        let time_is_up = async {
            tokio::select! {
                () = tokio::time::sleep_until(deadline + LAST_CALLS) => {}
                () = async { self.hurry.cancelled().await; tokio::time::sleep(LAST_CALLS).await } => {}
            }
        };
        tokio::select! {
            biased;
            () = self.tracker.wait() => {}
            () = time_is_up => error!("some calls did not end in time; what they send may arrive again"),
        }
    }

    /// Waits until there is no more time to drain: until `deadline`, or until a second signal.
    async fn time_is_up(&self, deadline: tokio::time::Instant) {
        tokio::select! {
            () = tokio::time::sleep_until(deadline) => {}
            () = self.hurry.cancelled() => {}
        }
    }

    async fn start(
        settings: &Settings,
        reach: Reach,
        pace: Pace,
        keep: Keep<'_>,
        told: &Told,
    ) -> Result<Self, ModeError> {
        let Reach { aws, hops, external_id } = reach;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if settings.compute_threads == 0 { cores } else { usize::from(settings.compute_threads) };
        let world = World::new();
        let compute = Compute::start(threads, world)
            .map_err(|cause| ModeError::System { what: "the compute threads could not be started", cause })?;
        let ground = Ground { aws: Aws::connect(aws).await, compute, world, spacing: Spacing::default() };
        Self::on(ground, settings, (hops, external_id), pace, keep, told.hurry.clone())
    }

    fn on(
        Ground { aws, compute, world, spacing }: Ground,
        settings: &Settings,
        (hops, external_id): (Hops, Option<Arc<str>>),
        Pace { linger, denied_wait }: Pace,
        keep: Keep<'_>,
        hurry: CancellationToken,
    ) -> Result<Self, ModeError> {
        let cut = if settings.reject_store.is_some() { Budget::with_rejects } else { Budget::new };
        let budget = cut(settings.memory_budget, settings.record_bytes_max)?;
        let policy = RetryPolicy {
            attempts_max: settings.retry_attempts,
            throttled_max: THROTTLED_MAX.max(settings.retry_attempts),
            base: CALL_DELAYS.0,
            cap: CALL_DELAYS.1,
        };
        let (tracker, drain) = (TaskTracker::new(), CancellationToken::new());
        let retries = Retries::new(policy, world);
        let credentials = Credentials::new(&aws, Roles::new(&aws, hops, external_id), world);
        let rejects = settings.reject_store.clone().map(|place| RejectStore {
            bucket: Source::new(&aws),
            name: place.bucket,
            prefix: place.prefix,
            retries: retries.clone(),
            memory: budget.rejects(),
        });
        let packing = Packing::new(match settings.compress {
            Compress::On => true,
            Compress::Off => false,
            Compress::Auto => aws.is_encrypted(Service::Logs),
        });
        let table = TenantTable::new(&aws, &settings.tenant_config_table);
        let resolver =
            Resolver::new(table, settings.tenant_cache_ttl, settings.tenant_cache_max, retries.clone(), world);
        let lanes = Lanes {
            reads: Reads {
                source: Source::new(&aws),
                part_bytes: settings.part_bytes,
                chunks: budget.chunks(),
                retries: retries.clone(),
                world,
                tracker: tracker.clone(),
            },
            compute: compute.with_packing(packing.clone()),
            sends: Sends {
                credentials,
                retries: retries.clone(),
                world,
                places: Pool::new(SENDS_MAX),
                rejects,
                packing,
            },
            budget,
            limits: limits(settings),
            record_bytes_max: usize::try_from(settings.record_bytes_max).unwrap_or(usize::MAX),
            linger,
            drain: drain.clone(),
            book: Book::new(world),
            ledger: Ledger { spacing, ..keep.ledger(&aws, retries.clone(), world) },
            totals: Arc::new(Totals::default()),
        };
        let pipeline = Pipeline::new(settings.key_layout.clone(), resolver, lanes, Circuits::new(denied_wait, world));
        Ok(Self { aws, pipeline, retries, tracker, drain, hurry, world })
    }
}

fn limits(settings: &Settings) -> BatchLimits {
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    BatchLimits {
        events_max: usize::from(settings.max_batch_size),
        event_bytes_max: size(settings.event_bytes_max),
        wire_bytes_max: size(settings.wire_bytes_max),
        oversize: match settings.oversize_events {
            OversizeEvents::Split => Oversize::Split,
            OversizeEvents::Truncate => Oversize::Truncate,
        },
        keeps_dropped: settings.reject_store.is_some(),
    }
}

fn aws_settings(settings: &ReachSettings, region: &str) -> AwsSettings {
    let own = [
        (Service::S3, &settings.aws_endpoint_url_s3),
        (Service::Sqs, &settings.aws_endpoint_url_sqs),
        (Service::DynamoDb, &settings.aws_endpoint_url_dynamodb),
        (Service::Sts, &settings.aws_endpoint_url_sts),
        (Service::Logs, &settings.aws_endpoint_url_cloudwatch_logs),
    ];
    let endpoints: BTreeMap<Service, String> = own
        .into_iter()
        .filter_map(|(service, own)| Some((service, own.as_ref().or(settings.aws_endpoint_url.as_ref())?.clone())))
        .collect();
    AwsSettings {
        region: region.to_owned(),
        profile: settings.aws_profile.clone().filter(|name| !name.is_empty()),
        endpoints,
        s3_path_style: settings.aws_s3_use_path_style,
        keys: None,
    }
}
