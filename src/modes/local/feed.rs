//! The collectors' part: objects are made on a thread and written to the bucket, a pod's one after the other.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use loadgen::{GeneratedObject, ObjectSource, Recipe};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::tenancy::BUCKET;
use crate::aws::s3::Source;
use crate::core::failure::Failure;

/// Objects that are written at a time, each of another pod.
const UPLOADS_MAX: usize = 4;
/// Objects that wait for each of them.
const OBJECTS_WAITING_MAX: usize = 2;

/// An object that is in the bucket.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) recipe: Recipe,
    pub(super) tenant: String,
    pub(super) application: String,
    pub(super) pod: String,
}

/// Writes all objects of `objects`, or as many as it can until `ended`, counting them in `uploaded`, and says what was written, in
/// the objects' order, which is each pod's order of arrival.
///
/// # Errors
/// The first failure of a call; nothing more is written then.
pub(super) async fn upload(
    objects: &Arc<ObjectSource>,
    store: &Source,
    uploaded: &Arc<AtomicU64>,
    ended: &CancellationToken,
) -> Result<Vec<Sent>, Failure> {
    let mut uploads = JoinSet::new();
    let made = std::array::from_fn(|_| {
        let (made, waiting) = mpsc::channel(OBJECTS_WAITING_MAX);
        uploads.spawn(put_all(store.clone(), waiting, Arc::clone(uploaded), ended.clone()));
        made
    });
    let source = Arc::clone(objects);
    // It ends by itself: when all are made, or when nobody takes them any more.
    let _detached: Option<JoinHandle<()>> =
        std::thread::Builder::new().name("objects".to_owned()).spawn(move || make(&source, &made)).ok();
    let mut sent = Vec::new();
    while let Some(ended) = uploads.join_next().await {
        // A panic of an upload ends it early, and the missing objects are told of by the recount.
        sent.extend(ended.unwrap_or_else(|_| Ok(Vec::new()))?);
    }
    sent.sort_by_key(|object: &Sent| object.recipe.number);
    Ok(sent)
}

fn make(source: &ObjectSource, made: &[mpsc::Sender<GeneratedObject>; UPLOADS_MAX]) {
    for object in source.objects(0..source.count()) {
        // All of a pod go the same way, which keeps their order.
        let mut hasher = DefaultHasher::new();
        (&object.tenant, &object.pod).hash(&mut hasher);
        let way = usize::try_from(hasher.finish() % made.len() as u64).unwrap_or(0);
        if made[way].blocking_send(object).is_err() {
            return;
        }
    }
}

async fn put_all(
    store: Source,
    mut waiting: mpsc::Receiver<GeneratedObject>,
    uploaded: Arc<AtomicU64>,
    ended: CancellationToken,
) -> Result<Vec<Sent>, Failure> {
    let mut sent = Vec::new();
    loop {
        let next = waiting.recv().await;
        let Some(GeneratedObject { key, body, recipe, tenant, application, pod, .. }) = next else { return Ok(sent) };
        let put = Box::pin(store.put(BUCKET, &key, body, "application/x-ndjson", Some("gzip")));
        let Some(done) = ended.run_until_cancelled(put).await else { return Ok(sent) };
        done?;
        uploaded.fetch_add(1, Ordering::Relaxed);
        sent.push(Sent { recipe, tenant, application, pod });
    }
}
