//! A PutObject for each key.

use aws_config::BehaviorVersion;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::Region;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use loadgen::{GeneratedObject, ObjectSource, Objects};
use tokio::task::JoinSet;

use crate::Failure;
use crate::cli::S3Args;
use crate::progress::Progress;
use crate::stop::Stop;

/// Uploads under way at once. Each holds one compressed object.
const UPLOADS_MAX: usize = 8;

/// Makes objects on this thread while the runtime's threads upload those made before.
pub(super) fn run(source: &ObjectSource, args: S3Args, progress: &Progress, stop: &Stop) -> Result<(), Failure> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().map_err(Failure::Runtime)?;
    let bucket = args.bucket.clone().unwrap_or_default();
    let client = runtime.block_on(client(args));
    let uploads = Uploads { client, bucket, progress, open: JoinSet::new() };
    runtime.block_on(uploads.all(source.objects(0..source.count()), source.spec().compression, stop))
}

async fn client(args: S3Args) -> Client {
    let mut loader = aws_config::defaults(BehaviorVersion::latest());
    if let Some(endpoint) = args.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if let Some(region) = args.region {
        loader = loader.region(Region::new(region));
    }
    let shared = loader.load().await;
    let mut config = aws_sdk_s3::config::Builder::from(&shared);
    if shared.region().is_none() {
        config = config.region(Region::new("us-east-1"));
    }
    // An endpoint of one's own has no name for every bucket.
    let path_style = shared.endpoint_url().is_some();
    Client::from_conf(config.force_path_style(path_style).build())
}

struct Uploads<'a> {
    client: Client,
    bucket: String,
    progress: &'a Progress,
    open: JoinSet<Result<(u64, u64, u64), Failure>>,
}

impl Uploads<'_> {
    async fn all(
        mut self,
        objects: Objects<'_>,
        compression: loadgen::Compression,
        stop: &Stop,
    ) -> Result<(), Failure> {
        for object in objects {
            if stop.requested() {
                break;
            }
            while self.open.len() >= UPLOADS_MAX {
                self.one_done().await?;
            }
            let (client, bucket) = (self.client.clone(), self.bucket.clone());
            self.open.spawn(put(client, bucket, object, compression != loadgen::Compression::None));
        }
        while !self.open.is_empty() {
            self.one_done().await?;
        }
        Ok(())
    }

    async fn one_done(&mut self) -> Result<(), Failure> {
        match self.open.join_next().await {
            Some(Ok(sizes)) => {
                let (records, bytes, stored) = sizes?;
                self.progress.object(records, bytes, stored);
                Ok(())
            }
            Some(Err(cause)) => Err(Failure::Runtime(std::io::Error::other(cause))),
            None => Ok(()),
        }
    }
}

/// Uploads one object as Vector does: the encoding is named, the key ends `.json.gz`.
async fn put(client: Client, bucket: String, object: GeneratedObject, gzip: bool) -> Result<(u64, u64, u64), Failure> {
    let stored = u64::try_from(object.body.len()).unwrap_or(u64::MAX);
    let mut request = client.put_object().bucket(&bucket).key(&object.key).content_type("text/x-log");
    if gzip {
        request = request.content_encoding("gzip");
    }
    match request.body(ByteStream::from(object.body)).send().await {
        Ok(_) => Ok((object.recipe.records, object.decompressed_bytes, stored)),
        Err(cause) => Err(Failure::Upload { bucket, key: object.key, cause: said(&cause) }),
    }
}

/// The service's code and message, or without an answer the errors below each other.
fn said<E: ProvideErrorMetadata + std::error::Error + 'static>(error: &SdkError<E>) -> String {
    if let Some(code) = error.code() {
        return [code, error.message().unwrap_or_default()].join(": ");
    }
    let mut said = error.to_string();
    let mut below = std::error::Error::source(error);
    while let Some(error) = below {
        said.push_str(": ");
        said.push_str(&error.to_string());
        below = error.source();
    }
    said
}
