//! Mode `local`: all of it at work in one process, over real HTTP. An embedded cloud is seeded with tenants, objects are
//! written as collectors do, the code of mode `sqs` delivers them, and at the end the cloud's side is counted again.

mod feed;
mod pace;
mod recount;
mod summary;
mod tenancy;
mod watch;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use loadgen::{Compression, Fleet, Framing, KeyLayout, MessageSpec, ObjectSize, ObjectSource, ObjectSpec, RealLines};
use localcloud::{AccessKey, Cloud, Storage};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::feed::Sent;
use self::recount::{Found, recount};
use self::summary::{Row, Summary, Trouble};
use self::tenancy::{APPLICATIONS, BUCKET, CENTRAL, GROUP, Tenancy};
use self::watch::{Watch, Watched};
use super::signals::Told;
use super::{Daemon, Keep, ModeError, Reach, sqs};
use crate::aws::s3::Source;
use crate::aws::sts::Hops;
use crate::aws::{Aws, AwsSettings, Keys};
use crate::config::{LocalSettings, QueueSettings};
use crate::console;
use crate::core::batch::BATCH_BYTES_MAX;
use crate::core::failure::{Failure, Service};
use crate::core::tally::{Dropped, Tally};
use crate::pipeline::totals::TenantTotals;
use crate::world::World;

/// Time without any progress after which it gives up, besides what batches linger.
const STALLED: Duration = Duration::from_secs(60);
/// Under faults, the longest time that a delivery which refused is left alone at first: it goes by the daemon's own clock, which
/// does not move on with the cloud's.
const DENIED_WAIT_MAX: Duration = Duration::from_secs(1);
/// Clusters that the pods are spread over, and pods of each application of a tenant.
const CLUSTERS: u64 = 2;
const PODS: u64 = 3;
/// Most time that all events span: well within the 14 days that the API takes.
const SPAN_MS_MAX: u64 = 7 * 24 * 60 * 60 * 1000;
/// Most time that one object's events span.
const ROUND_MS_MAX: u64 = 60_000;

/// Why mode `local` ended badly.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the error texts are the documentation")]
pub enum LocalError {
    #[error(transparent)]
    Objects(#[from] loadgen::SpecError),
    #[error("objects cannot be kept in {}: {cause}", path.display())]
    Data { path: PathBuf, cause: std::io::Error },
    #[error("the embedded cloud could not be started: {0}")]
    Cloud(std::io::Error),
    #[error("an object could not be written: {0}")]
    Upload(Failure),
    #[error("told to stop before all was delivered")]
    Stopped,
    #[error("the verdict is not as promised")]
    Verdict,
}

impl LocalError {
    /// 2 for what is set wrong, 1 for what went wrong.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Objects(_) | Self::Data { .. } => 2,
            Self::Cloud(_) | Self::Upload(_) | Self::Stopped | Self::Verdict => 1,
        }
    }
}

/// Runs it: exit code 0 only if the verdict holds.
///
/// # Errors
/// [`ModeError`].
pub(super) async fn run(settings: LocalSettings, told: &Told) -> Result<(), ModeError> {
    let json = settings.json;
    Box::pin(judge(settings, told, STALLED, &|summary| print(summary, json))).await
}

/// The same, with the time after which it gives up, and with the summary told to whom it may concern.
async fn judge(
    settings: LocalSettings,
    told: &Told,
    stalled: Duration,
    tell: &(dyn Fn(&Summary) + Sync),
) -> Result<(), ModeError> {
    let world = World::new();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let storage = storage(settings.data.as_deref())?;
    let started = Cloud::start_with(address, &settings.shared.aws_region, storage).await;
    let cloud = started.map_err(LocalError::Cloud)?;
    if !settings.keep {
        cloud.keep(localcloud::Keep::Digests);
    }
    let objects = Arc::new(objects(&settings, world).map_err(LocalError::Objects)?);
    let tenancy = Tenancy::build(&cloud, &objects.spec().fleet.tenants, &settings.shared.tenant_config_table);
    if let Some(place) = &settings.shared.reject_store {
        cloud.create_bucket(CENTRAL, &place.bucket);
    }
    let queues = QueueSettings { sqs_queue_url: tenancy.queue_url.clone(), dlq_url: Some(tenancy.dead_url.clone()) };
    let (shared, mut poll) = (&settings.shared, settings.poll.clone());
    if settings.faults.is_some() {
        poll.denied_wait = poll.denied_wait.min(DENIED_WAIT_MAX);
    }
    let poll = &poll;
    let faults = settings.faults.clone().map(|faults| faults.with_seed(settings.fault_seed));
    cloud.set_faults(faults.as_ref());
    let daemon = Daemon::start(shared, reach(&cloud, &tenancy), poll.into(), Keep::default(), told).await?;
    let store = Source::new(&Aws::connect(aws(&cloud, &tenancy.collectors_key)).await);
    let totals = Arc::clone(&daemon.pipeline.lanes().totals);
    let outcome = {
        let stop = CancellationToken::new();
        let stopped = async {
            stop.cancelled().await;
            Ok(())
        };
        let held = TaskTracker::new();
        let serving = sqs::serve(&queues, poll, shared.drain_timeout, daemon, held.clone(), stopped);
        let watched = async {
            let uploaded = Arc::new(AtomicU64::new(0));
            let watch = Watch {
                cloud: &cloud,
                tenancy: &tenancy,
                totals: &totals,
                uploaded: &uploaded,
                held: &held,
                objects: objects.count(),
                patience: poll.linger + stalled,
                faults: faults.as_ref(),
                world,
            };
            let outcome = conduct(&settings, &watch, &objects, (&store, &uploaded), (told, tell)).await;
            stop.cancel();
            outcome
        };
        // The daemon goes on until the watch is over, unless it fails by itself; then there is nothing to watch.
        tokio::pin!(serving, watched);
        tokio::select! {
            served = &mut serving => served.and_then(|()| Err(LocalError::Stopped.into())),
            outcome = &mut watched => match (outcome, serving.await) {
                (Ok(()), served) => served,
                (Err(error), _) => Err(error.into()),
            },
        }
    };
    cloud.stop().await;
    outcome
}

/// Feeds, waits until all is settled, counts again, and serves on if it is asked to.
async fn conduct(
    settings: &LocalSettings,
    watch: &Watch<'_>,
    objects: &Arc<ObjectSource>,
    (store, uploaded): (&Source, &Arc<AtomicU64>),
    (told, tell): (&Told, &(dyn Fn(&Summary) + Sync)),
) -> Result<(), LocalError> {
    let Watch { cloud, tenancy, totals, world, .. } = *watch;
    let begun = world.now();
    let ended = CancellationToken::new();
    let upload = feed::upload(objects, store, uploaded, &ended);
    let watched = async {
        let watched = watch.until_settled().await;
        ended.cancel();
        watched
    };
    let done = async {
        tokio::try_join!(async { upload.await.map_err(LocalError::Upload) }, async {
            Ok::<_, LocalError>(watched.await)
        })
    };
    let (sent, Watched { trouble, stalled }) = tokio::select! {
        done = done => done?,
        () = told.stop.cancelled() => return Err(LocalError::Stopped),
    };
    let elapsed = world.now().since(begun);
    let sums = totals.snapshot();
    let attempts = |tenant: &str| sums.get(tenant).map_or(0, |sums| sums.objects);
    let disorderly = trouble.as_ref().is_some_and(|trouble| trouble.disorderly);
    let counted = tokio::task::block_in_place(|| recount(cloud, tenancy, objects, &sent, attempts, disorderly));
    let summary = summarize(cloud, tenancy, &sums, &sent, &counted, (trouble, stalled), elapsed);
    tell(&summary);
    if settings.keep {
        say_how(cloud, tenancy);
        told.stop.cancelled().await;
    }
    if summary.ok { Ok(()) } else { Err(LocalError::Verdict) }
}

/// Where objects are kept.
fn storage(data: Option<&Path>) -> Result<Storage, LocalError> {
    let Some(path) = data else { return Ok(Storage::default()) };
    Storage::directory(path).map_err(|cause| LocalError::Data { path: path.to_owned(), cause })
}

/// What objects are made.
fn objects(settings: &LocalSettings, world: World) -> Result<ObjectSource, loadgen::SpecError> {
    let from = match settings.from.as_slice() {
        [] => None,
        files => Some(Arc::new(RealLines::read(files)?)),
    };
    let mut spec = ObjectSpec {
        seed: settings.seed,
        objects: settings.objects,
        size: ObjectSize::Bytes(settings.size),
        framing: Framing::Lines,
        compression: Compression::Gzip(1),
        fleet: Fleet {
            tenants: Fleet::numbered("tenant", settings.tenants),
            clusters: Fleet::numbered("cluster", CLUSTERS),
            applications: APPLICATIONS.map(str::to_owned).to_vec(),
            pods: PODS,
            pod_name: None,
        },
        layout: KeyLayout::parse(&settings.shared.key_layout.to_string())?,
        message: MessageSpec { from, ..MessageSpec::default() },
        ..ObjectSpec::default()
    };
    // The last events are from now, the first as long ago as it takes; no two objects of a pod share a time.
    let rounds = ObjectSource::new(spec.clone())?.rounds();
    spec.round_ms = (SPAN_MS_MAX / rounds.max(1)).clamp(1, ROUND_MS_MAX);
    let span = i64::try_from(rounds.saturating_mul(spec.round_ms)).unwrap_or(i64::MAX);
    spec.start_ms = world.wall().0.saturating_sub(span);
    ObjectSource::new(spec)
}

/// The embedded cloud instead of AWS, as its user with `key`.
fn aws(cloud: &Cloud, key: &AccessKey) -> AwsSettings {
    let services = [Service::S3, Service::Sqs, Service::DynamoDb, Service::Sts, Service::Logs];
    AwsSettings {
        region: cloud.region().to_owned(),
        profile: None,
        endpoints: services.into_iter().map(|service| (service, cloud.endpoint())).collect(),
        s3_path_style: true,
        keys: Some(Keys { id: key.id.clone(), secret: key.secret.clone() }),
    }
}

/// How the daemon reaches it.
fn reach(cloud: &Cloud, tenancy: &Tenancy) -> Reach {
    let aws = aws(cloud, &tenancy.key);
    let central_role_arn = tenancy.central_role_arn.as_str().into();
    Reach { aws, hops: Hops::Two { central_role_arn }, external_id: Some(CENTRAL.into()) }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// What was counted on the cloud's side: per tenant, and where nothing belongs.
type Counted = (Vec<Found>, Vec<String>);

fn summarize(
    cloud: &Cloud,
    tenancy: &Tenancy,
    totals: &std::collections::HashMap<String, TenantTotals>,
    sent: &[Sent],
    (found, strange): &Counted,
    (trouble, stalled): (Option<Trouble>, Option<String>),
    elapsed: Duration,
) -> Summary {
    let seconds = elapsed.as_secs_f64();
    let strange = strange.iter().map(|what| format!("{what}, where none belong"));
    let mut problems: Vec<String> = stalled.into_iter().chain(strange).collect();
    let mut calls: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for ((service, operation, account), count) in cloud.calls() {
        calls.entry(account).or_default().insert(format!("{service}:{operation}"), count);
    }
    let mut tenants = Vec::new();
    for (tenant, found) in tenancy.tenants.iter().zip(found) {
        let own = totals.get(&tenant.name).cloned().unwrap_or_default();
        let tally = own.tally;
        if !found.is_perfect(unverified(&tally)) {
            problems.push(format!(
                "{}: {} events missing, {} not expected, {} twice without a lost answer, {} out of order",
                tenant.name,
                found.missing,
                found.unexpected,
                found.again(),
                found.out_of_order
            ));
        }
        if !found.agrees(&tally) {
            problems.push(format!(
                "{}: {} events are there, {} of them in calls whose answers were lost, and {} were rejected by faults, but the daemon counts {tally}",
                tenant.name, found.kept(), found.unanswered, found.turned_down
            ));
        }
        let objects = sent.iter().filter(|object| object.tenant == tenant.name).count();
        tenants.push(Row {
            tenant: tenant.name.clone(),
            account: tenant.account.clone(),
            kind: tenant.kind.name(),
            objects: u64::try_from(objects).unwrap_or(u64::MAX),
            read: tally.read(),
            delivered: tally.delivered(),
            dropped: tally.drops().collect(),
            rejected: tally.rejections().collect(),
            arrived: found.arrived,
            twice: found.twice,
            batches: own.batches,
            batch_fullness: fullness(&own),
            megabytes_per_second: megabytes(own.delivered_bytes) / seconds,
            calls: calls.remove(&tenant.account).unwrap_or_default(),
        });
    }
    if let Some(trouble) = trouble.as_ref().filter(|trouble| trouble.dead_letters > 0) {
        problems.push(format!("{} messages are in the dead-letter queue again", trouble.dead_letters));
    }
    Summary {
        ok: problems.is_empty(),
        problems,
        seconds,
        objects: u64::try_from(sent.len()).unwrap_or(u64::MAX),
        megabytes_per_second: tenants.iter().map(|row| row.megabytes_per_second).sum(),
        megabytes_read_per_second: megabytes(totals.values().map(|own| own.bytes).sum()) / seconds,
        tenants,
        central_calls: calls.remove(CENTRAL).unwrap_or_default(),
        rejected: found.iter().map(|found| found.rejected).sum(),
        twice: found.iter().map(|found| found.twice).sum(),
        garbled: found.iter().map(|found| found.missing).sum(),
        faults: trouble,
    }
}

/// Events that were read before it was known that their bytes were damaged: sent, or no good records any more.
const fn unverified(tally: &Tally) -> u64 {
    match tally.delivered_unverified() {
        0 => 0,
        sent => sent + tally.dropped(Dropped::BadRecord),
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn fullness(totals: &TenantTotals) -> Option<f64> {
    (totals.batches > 0).then(|| totals.billed_bytes as f64 / totals.batches as f64 / BATCH_BYTES_MAX as f64)
}

fn print(summary: &Summary, json: bool) {
    if json {
        console::say(serde_json::to_string_pretty(summary).unwrap_or_default());
    } else {
        console::say(summary);
    }
}

/// Three lines that work against the embedded cloud; on standard error, for standard output may be JSON.
fn say_how(cloud: &Cloud, tenancy: &Tenancy) {
    let Some(tenant) = tenancy.tenants.first() else { return };
    let reader = cloud.add_user(&tenant.account, "reader");
    let with = |id: &str, secret: &str| {
        let (endpoint, region) = (cloud.endpoint(), cloud.region());
        format!(
            "AWS_ENDPOINT_URL={endpoint} AWS_DEFAULT_REGION={region} AWS_ACCESS_KEY_ID={id} AWS_SECRET_ACCESS_KEY={secret}"
        )
    };
    let (central, reader) = (with(&tenancy.key.id, &tenancy.key.secret), with(&reader.id, &reader.secret));
    let key = format!("{}/cluster-0/api/by-hand/1.json", tenant.name);
    console::remark(format_args!("serving on at {} until SIGINT; try:", cloud.endpoint()));
    console::remark(format_args!("{reader} aws logs describe-log-streams --log-group-name {GROUP}"));
    console::remark(format_args!(
        "{central} python3 -c 'import boto3; boto3.client(\"s3\").put_object(Bucket=\"{BUCKET}\", Key=\"{key}\", Body=b\"{{\\\"message\\\":\\\"hello\\\"}}\")'"
    ));
    console::remark(format_args!(
        "{reader} aws logs get-log-events --log-group-name {GROUP} --log-stream-name by-hand"
    ));
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::sync::Mutex;

    use clap::Parser;

    use super::*;
    use crate::config::{Cli, Mode};

    fn settings(data: &Path) -> LocalSettings {
        parse(["--size", "64KiB", "--data"].iter().map(Into::into).chain([data.as_os_str().to_owned()]))
    }

    fn parse(more: impl IntoIterator<Item = std::ffi::OsString>) -> LocalSettings {
        let arguments = ["millrace", "local", "--objects", "6", "--tenants", "2"].iter().map(Into::into);
        match Cli::try_parse_from(arguments.chain(more)).unwrap().mode {
            Some(Mode::Local(settings)) => *settings,
            other => panic!("{other:?}"),
        }
    }

    /// The verdict holds with the objects in files, and there they are.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn objects_go_through_the_directory() {
        let data = tempfile::tempdir().unwrap();
        Box::pin(run(settings(data.path()), &Told::default())).await.unwrap();
        let files = fs::read_dir(data.path().join(BUCKET)).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap());
        let files: Vec<_> = files.collect();
        assert_eq!(files.len(), 6);
        assert!(files.iter().all(|file| file.starts_with(&[0x1f, 0x8b])));
    }

    /// Objects with no good record are dead letters, which nobody puts back where no faults are.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn deliveries_that_stall_have_a_summary_and_a_bad_verdict() {
        let mut lines = tempfile::NamedTempFile::new().unwrap();
        writeln!(lines, "{}", "x".repeat(1100 * 1024)).unwrap();
        let more = ["--size", "2MiB", "--record-bytes-max", "1MiB", "--from"].iter().map(Into::into);
        let settings = parse(more.chain([lines.path().into()]));
        let told = Mutex::new(Vec::new());
        let tell = |summary: &Summary| told.lock().unwrap().push(summary.clone());
        let error = Box::pin(judge(settings, &Told::default(), Duration::from_secs(2), &tell)).await.unwrap_err();
        assert_eq!((error.exit_code(), error.to_string().as_str()), (1, "the verdict is not as promised"));
        let [summary] = &told.into_inner().unwrap()[..] else { panic!("one summary is told") };
        assert!(!summary.ok, "{summary}");
        let first = &summary.problems[0];
        assert!(first.starts_with("nothing moved for ") && first.contains(" of 6 objects written, "), "{first}");
        assert!(summary.to_string().contains(&format!("\nverdict: NOT as promised: {first}")), "{summary}");
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_had_is_named() {
        let error = Box::pin(run(settings(Path::new("/dev/null/x")), &Told::default())).await.unwrap_err();
        assert!(error.to_string().starts_with("objects cannot be kept in /dev/null/x: "), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
}
