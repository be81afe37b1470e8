//! The embedded AWS as a program: it makes what a file declares, says where it is, and serves until it is told to stop.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use localcloud::{Cloud, FaultSpecError, Faults, Keep, ReadError, Storage, World};
use tokio::signal::unix::{SignalKind, signal};

/// An embedded AWS over loopback HTTP: S3, SNS to SQS, SQS, DynamoDB, STS and CloudWatch Logs, strict.
///
/// Prints one line of JSON when it serves: endpoint, users with their keys, queues. SIGINT and SIGTERM end it.
#[derive(Debug, Parser)]
#[command(name = "localcloud")]
struct Args {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4566")]
    listen: SocketAddr,

    /// Its region.
    #[arg(long, value_name = "NAME", default_value = "us-east-1")]
    region: String,

    /// What is there at the start, as README.md describes it; without it the cloud is empty.
    #[arg(long, value_name = "FILE")]
    world: Option<PathBuf>,

    /// A directory for the objects, which are else kept in memory.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// What is kept of log events that are accepted: their texts, digests to compare them by, or how many there are.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = Kept::Texts)]
    keep: Kept,

    /// What goes wrong on purpose, as README.md describes it, such as `light` or `logs throttle 5%; s3 cut 1%`.
    #[arg(long, value_name = "SPEC")]
    faults: Option<String>,

    /// Decides which calls the faults happen to.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    fault_seed: u64,
}

/// [`Keep`] as the flag has it.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kept {
    Texts,
    Digests,
    Counts,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    World(#[from] ReadError),
    #[error("--faults: {0}")]
    Faults(#[from] FaultSpecError),
    #[error("{address} cannot be listened at: {cause}")]
    Listen { address: SocketAddr, cause: std::io::Error },
    #[error("objects cannot be kept in {}: {cause}", path.display())]
    Data { path: PathBuf, cause: std::io::Error },
    #[error("{0}")]
    System(#[from] std::io::Error),
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure);
            ExitCode::from(match failure {
                Failure::World(_) | Failure::Faults(_) => 2,
                Failure::Listen { .. } | Failure::Data { .. } | Failure::System(_) => 1,
            })
        }
    }
}

async fn run(args: Args) -> Result<(), Failure> {
    let world = args.world.as_deref().map(World::read).transpose()?.unwrap_or_default();
    let faults = args.faults.map(|spec| Faults::parse(&spec, args.fault_seed)).transpose()?;
    let storage = match args.data {
        None => Storage::default(),
        Some(path) => Storage::directory(&path).map_err(|cause| Failure::Data { path, cause })?,
    };
    // Before it says that it serves: who reads that may send a signal at once.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let cloud = Cloud::bind(args.listen, &args.region, storage).await;
    let cloud = cloud.map_err(|cause| Failure::Listen { address: args.listen, cause })?;
    let started =
        world.make(&cloud).map_err(|cause| ReadError::World { file: args.world.unwrap_or_default(), cause })?;
    cloud.set_faults(faults.as_ref());
    cloud.keep(match args.keep {
        Kept::Texts => Keep::Texts,
        Kept::Digests => Keep::Digests,
        Kept::Counts => Keep::Counts,
    });
    cloud.open();
    let line = serde_json::to_string(&started).map_err(std::io::Error::from)?;
    writeln!(std::io::stdout(), "{line}")?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    cloud.stop().await;
    Ok(())
}

#[expect(clippy::print_stderr, reason = "the one line that says why it ends")]
fn complain(failure: &Failure) {
    eprintln!("localcloud: {failure}");
}
