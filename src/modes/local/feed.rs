//! The collectors' part: objects are made on a thread and written to the bucket.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use loadgen::{GeneratedObject, ObjectSource, Recipe};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::tenancy::BUCKET;
use crate::aws::s3::Source;
use crate::core::failure::Failure;

/// Objects that wait to be written.
const OBJECTS_WAITING_MAX: usize = 4;
/// Objects that are written at a time.
const UPLOADS_MAX: usize = 4;

/// An object that is in the bucket.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) recipe: Recipe,
    pub(super) tenant: String,
    pub(super) application: String,
    pub(super) pod: String,
}

/// Writes all objects of `objects`, counting them in `uploaded`, and says what was written, in the objects' order.
///
/// # Errors
/// The first failure of a call; nothing more is written then.
pub(super) async fn upload(
    objects: &Arc<ObjectSource>,
    store: &Source,
    uploaded: &Arc<AtomicU64>,
) -> Result<Vec<Sent>, Failure> {
    let (made, waiting) = mpsc::channel(OBJECTS_WAITING_MAX);
    let source = Arc::clone(objects);
    // It ends by itself: when all are made, or when nobody takes them any more.
    let _detached: Option<JoinHandle<()>> =
        std::thread::Builder::new().name("objects".to_owned()).spawn(move || make(&source, &made)).ok();
    let waiting = Arc::new(Mutex::new(waiting));
    let mut uploads = JoinSet::new();
    for _ in 0..UPLOADS_MAX {
        uploads.spawn(put_all(store.clone(), Arc::clone(&waiting), Arc::clone(uploaded)));
    }
    let mut sent = Vec::new();
    while let Some(ended) = uploads.join_next().await {
        // A panic of an upload ends it early, and the missing objects are told of by the recount.
        sent.extend(ended.unwrap_or_else(|_| Ok(Vec::new()))?);
    }
    sent.sort_by_key(|object: &Sent| object.recipe.number);
    Ok(sent)
}

fn make(source: &ObjectSource, made: &mpsc::Sender<GeneratedObject>) {
    for object in source.objects(0..source.count()) {
        if made.blocking_send(object).is_err() {
            return;
        }
    }
}

async fn put_all(
    store: Source,
    waiting: Arc<Mutex<mpsc::Receiver<GeneratedObject>>>,
    uploaded: Arc<AtomicU64>,
) -> Result<Vec<Sent>, Failure> {
    let mut sent = Vec::new();
    loop {
        let next = waiting.lock().await.recv().await;
        let Some(GeneratedObject { key, body, recipe, tenant, application, pod, .. }) = next else { return Ok(sent) };
        store.put(BUCKET, &key, body).await?;
        uploaded.fetch_add(1, Ordering::Relaxed);
        sent.push(Sent { recipe, tenant, application, pod });
    }
}
