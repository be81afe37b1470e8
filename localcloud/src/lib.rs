//! An embedded AWS for Millrace: S3, SQS, DynamoDB, STS and CloudWatch Logs on one loopback port, only the calls that the
//! daemon and its users make, each strict: signatures, documented limits, account boundaries, trust conditions.
//!
//! README.md lists the calls. Nothing of the daemon is used here, so that a mistake does not agree with itself.

mod accounts;
mod api;
mod clock;
mod dynamodb;
mod expressions;
mod faults;
mod logs;
mod s3;
mod server;
mod sigv4;
mod sqs;
mod store;
mod sts;
mod tags;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::accounts::{AccessKey, Permissions, TrustPolicy};
pub use self::api::{ApiError, Caller};
pub use self::faults::{Connection, FaultSpecError, Faults};
pub use self::logs::{Keep, Stream, digest};
pub use self::s3::{BucketGrant, Notify};
pub use self::sqs::{QueueDepth, Receive};
pub use self::store::Storage;
pub use self::tags::TagKey;
pub use self::world::{
    Bucket, Form, Item, Key, Notification, Permission, Queue, ReadError, Redrive, Role, Started, StartedQueue,
    StartedUser, Table, User, World, WorldError,
};

use self::accounts::Accounts;
use self::api::lock;
use self::clock::Clock;
use self::dynamodb::DynamoDb;
use self::faults::Injector;
use self::logs::Logs;
use self::s3::{Buckets, LocalS3};
use self::sqs::Sqs;

/// Service, operation, account of the caller.
pub type CallKey = (String, String, String);

#[derive(Debug)]
struct Inner {
    region: String,
    clock: Clock,
    accounts: Accounts,
    buckets: Buckets,
    sqs: Sqs,
    dynamodb: DynamoDb,
    logs: Logs,
    calls: Mutex<BTreeMap<CallKey, Calls>>,
    /// Operation and account of calls that get no answer for now.
    held: watch::Sender<BTreeSet<(String, String)>>,
    faults: Injector,
    /// What goes on without a client.
    tasks: TaskTracker,
    /// Has a token of each open connection.
    connections: TaskTracker,
    requests: AtomicU64,
    /// Bytes of objects that were asked for.
    given: AtomicU64,
}

/// The calls of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct Calls {
    calls: u64,
    /// Of their bodies.
    bytes: u64,
}

impl Calls {
    const fn add(&mut self, bytes: u64) {
        self.calls += 1;
        self.bytes += bytes;
    }
}

impl Inner {
    /// An id for the next answer.
    fn request_id(&self) -> String {
        format!("00000000-0000-4000-8000-{:012x}", self.requests.fetch_add(1, Ordering::Relaxed))
    }

    /// Counts a call, and waits while calls like this one are held up. What is answered, and by which time, is found
    /// out afterwards.
    /// A call has come, with so many bytes.
    async fn arrive(&self, service: &str, operation: &str, account: &str, bytes: usize) {
        let key = (service.to_owned(), operation.to_owned(), account.to_owned());
        lock(&self.calls).entry(key).or_default().add(bytes as u64);
        let mut held = self.held.subscribe();
        let free = |held: &BTreeSet<(String, String)>| {
            !held.iter().any(|(of, by)| of.as_str() == operation && by.as_str() == account)
        };
        // The sender lives as long as the cloud does.
        let _cloud_is_gone = held.wait_for(free).await;
    }
}

/// A running cloud. It ends with [`Self::stop`].
#[derive(Debug)]
pub struct Cloud {
    inner: Arc<Inner>,
    s3: S3Service,
    endpoint: String,
    opened: Arc<tokio::sync::Notify>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Cloud {
    /// Starts an empty cloud of one region at `address`, such as `127.0.0.1:0` for a free port, with all in memory.
    ///
    /// # Errors
    /// The address cannot be listened at.
    pub async fn start(address: SocketAddr, region: &str) -> std::io::Result<Self> {
        Self::start_with(address, region, Storage::default()).await
    }

    /// The same, with objects kept where `storage` says.
    ///
    /// # Errors
    /// The address cannot be listened at.
    pub async fn start_with(address: SocketAddr, region: &str, storage: Storage) -> std::io::Result<Self> {
        let cloud = Self::bind(address, region, storage).await?;
        cloud.open();
        Ok(cloud)
    }

    /// The same, but nobody is answered before [`Self::open`]: who comes earlier waits, and finds what was made meanwhile.
    ///
    /// # Errors
    /// The address cannot be listened at.
    pub async fn bind(address: SocketAddr, region: &str, storage: Storage) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let cloud = Self::made(endpoint, region, storage, Clock::default(), S3Config::default());
        let Self { inner, s3, opened, stop, tasks, .. } = &cloud;
        let serving = server::serve(Arc::clone(inner), s3.clone(), listener, stop.clone(), tasks.clone());
        let (stopped, open) = (stop.clone(), Arc::clone(opened));
        tasks.spawn(async move {
            tokio::select! {
                biased;
                () = stopped.cancelled() => {}
                () = open.notified() => serving.await,
            }
        });
        Ok(cloud)
    }

    /// A cloud that listens nowhere and is called `endpoint`: it is reached by connections that [`Self::take`] gets, and
    /// has all in memory. `wall_ms` is its time, and is to be the time of its clients.
    #[must_use]
    pub fn in_memory(endpoint: &str, region: &str, wall_ms: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        // S3's part compares signatures' times with the system's clock, which may be any other.
        let mut config = S3Config::default();
        config.presigned_url_max_skew_time_secs = u32::MAX;
        Self::made(endpoint.to_owned(), region, Storage::default(), Clock::over(wall_ms), config)
    }

    /// Answers the calls that come by a connection.
    pub fn take(&self, connection: impl Connection) {
        let served = server::connected(Arc::clone(&self.inner), self.s3.clone(), connection, self.stop.clone());
        self.tasks.spawn(served);
    }

    fn made(endpoint: String, region: &str, storage: Storage, clock: Clock, config: S3Config) -> Self {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let inner = Arc::new(Inner {
            region: region.to_owned(),
            clock,
            accounts: Accounts::default(),
            buckets: Buckets::new(storage),
            sqs: Sqs::default(),
            dynamodb: DynamoDb::default(),
            logs: Logs::default(),
            calls: Mutex::default(),
            held: watch::Sender::default(),
            faults: Injector::default(),
            tasks: tasks.clone(),
            connections: TaskTracker::new(),
            requests: AtomicU64::default(),
            given: AtomicU64::default(),
        });
        let local = LocalS3 { cloud: Arc::clone(&inner) };
        let mut s3 = S3ServiceBuilder::new(local.clone());
        s3.set_auth(local.clone());
        s3.set_access(local);
        s3.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        Self { inner, s3: s3.build(), endpoint, opened: Arc::default(), stop, tasks }
    }

    /// From now on calls are answered.
    pub fn open(&self) {
        self.opened.notify_one();
    }

    /// Where it is, for all services: `http://127.0.0.1:PORT`, or what it was called.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    /// Its region.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.inner.region
    }

    /// Adds a user, who may do everything in the account.
    #[must_use]
    pub fn add_user(&self, account: &str, name: &str) -> AccessKey {
        self.inner.accounts.add_user(account, name, None)
    }

    /// Adds a user with a key that is known beforehand; its token is not used.
    pub fn add_user_with_key(&self, account: &str, name: &str, key: AccessKey) {
        let _same = self.inner.accounts.add_user(account, name, Some(key));
    }

    /// Adds a role, and gives its ARN.
    #[must_use]
    pub fn add_role(&self, account: &str, name: &str, trust: TrustPolicy, permissions: Permissions) -> String {
        self.inner.accounts.add_role(account, name, trust, permissions)
    }

    /// Makes a bucket of an account.
    pub fn create_bucket(&self, account: &str, name: &str) {
        let _owner = self.inner.buckets.create(account, &self.inner.region, name);
    }

    /// From now on each object of a bucket is a version of its key.
    pub fn version_bucket(&self, name: &str) {
        self.inner.buckets.version(name);
    }

    /// Puts an object into a bucket, which tells its queues. Nothing happens when there is no such bucket.
    ///
    /// # Panics
    /// The cloud keeps objects in a directory and cannot write this one: what goes on without it would prove nothing.
    #[expect(clippy::panic, reason = "only tests call it, and they must not go on")]
    pub fn put_object(&self, bucket: &str, key: &str, bytes: impl Into<bytes::Bytes>) {
        let now_ms = self.now_ms();
        let put = self.inner.buckets.put_bytes(bucket, key, bytes.into(), now_ms);
        for (queue, body) in put.unwrap_or_else(|cause| panic!("s3://{bucket}/{key} cannot be kept: {cause}")) {
            self.inner.sqs.deliver(&queue, body, now_ms);
        }
    }

    /// Shows every object as it is now, whose bytes are in memory: bucket, key, bytes. Those in a directory are seen there.
    pub fn each_object(&self, see: impl FnMut(&str, &str, &bytes::Bytes)) {
        self.inner.buckets.each(see);
    }

    /// Keys of a bucket's objects that were put at least once without an answer that got through for certain.
    #[must_use]
    pub fn unanswered_puts(&self, bucket: &str) -> BTreeSet<String> {
        self.inner.buckets.unanswered(bucket)
    }

    /// Lets somebody into a bucket besides its owner's account.
    pub fn grant(&self, bucket: &str, grant: BucketGrant) {
        self.inner.buckets.grant(bucket, grant);
    }

    /// Multipart uploads that were begun and neither completed nor given up.
    #[must_use]
    pub fn open_uploads(&self) -> usize {
        self.inner.buckets.uploads.count()
    }

    /// Has a bucket's new objects told to a queue.
    pub fn notify(&self, bucket: &str, to: Notify) {
        self.inner.buckets.notify(bucket, to);
    }

    /// Makes a queue, and gives its ARN. `redrive`: the dead-letter queue's ARN and the receives before it.
    #[must_use]
    pub fn create_queue(
        &self,
        account: &str,
        name: &str,
        visibility: Duration,
        redrive: Option<(String, u32)>,
    ) -> String {
        self.inner.sqs.create(account, &self.inner.region, name, visibility, redrive)
    }

    /// The URL of an account's queue.
    #[must_use]
    pub fn queue_url(&self, account: &str, name: &str) -> String {
        format!("{}/{account}/{name}", self.endpoint())
    }

    /// How many messages a queue holds.
    #[must_use]
    pub fn queue_depth(&self, arn: &str) -> QueueDepth {
        self.inner.sqs.depth(arn, self.inner.clock.now_ms())
    }

    /// How many receives of a queue's messages came again, or before an older message had been received.
    #[must_use]
    pub fn disorder(&self, arn: &str) -> u64 {
        self.inner.sqs.disorder(arn)
    }

    /// From now on it is kept who receives what of a queue, for [`Self::receives`]. A long run has many receives.
    pub fn keep_receives(&self, arn: &str) {
        self.inner.sqs.keep_receives(arn);
    }

    /// Receives of a queue's messages in their order, since [`Self::keep_receives`].
    #[must_use]
    pub fn receives(&self, arn: &str) -> Vec<Receive> {
        self.inner.sqs.receives(arn)
    }

    /// Puts all messages of a dead-letter queue into another queue, as new ones, and says how many: what an operator does
    /// when the cause is gone.
    #[must_use]
    pub fn redrive(&self, from: &str, to: &str) -> usize {
        self.inner.sqs.redrive(from, to, self.now_ms())
    }

    /// Puts a message into a queue.
    pub fn send(&self, arn: &str, body: impl Into<String>) {
        self.inner.sqs.deliver(arn, body.into(), self.now_ms());
    }

    /// From now on batches with a message that holds `text` are refused as invalid, for no documented reason.
    pub fn refuse(&self, text: &str) {
        self.inner.logs.refuse(text);
    }

    /// From now on calls of `operation`, of any service, with an account's credentials are taken and get no answer, until
    /// [`Self::release`]. They are counted when they arrive; whether their credentials are good is found out then too,
    /// and all else, the time included, when they are released.
    pub fn hold(&self, operation: &str, account: &str) {
        self.inner.held.send_modify(|held| {
            held.insert((operation.to_owned(), account.to_owned()));
        });
    }

    /// Answers the calls that [`Self::hold`] held up.
    pub fn release(&self, operation: &str, account: &str) {
        self.inner.held.send_modify(|held| {
            held.remove(&(operation.to_owned(), account.to_owned()));
        });
    }

    /// From now on these faults happen to calls, and no others; with none, all is well again. Calls that have begun keep
    /// what happens to them. A cloud that is to begin with faults is bound, given them, and opened.
    pub fn set_faults(&self, faults: Option<&Faults>) {
        self.inner.faults.set(faults);
    }

    /// From now on no fault happens to calls of this user, and no rule counts them: somebody who is not what is tested.
    pub fn spare(&self, account: &str, user: &str) {
        self.inner.faults.spare(&format!("arn:aws:iam::{account}:user/{user}"));
    }

    /// How many faults happened so far, by the kind's name; those that could do nothing are not among them.
    #[must_use]
    pub fn faults_done(&self) -> BTreeMap<&'static str, u64> {
        self.inner.faults.done()
    }

    /// The bodies of a queue's messages.
    #[must_use]
    pub fn queue_bodies(&self, arn: &str) -> Vec<String> {
        self.inner.sqs.bodies(arn)
    }

    /// Makes a table keyed by `hash`, and by `range` if there is one; both are texts. A table that exists stays as it is.
    pub fn create_table(&self, account: &str, name: &str, hash: &str, range: Option<&str>) {
        let _exists = self.inner.dynamodb.create(account, &self.inner.region, name, hash, range);
    }

    /// Puts an item, in DynamoDB's JSON, into a table.
    ///
    /// # Errors
    /// The table is missing or the item lacks its key.
    pub fn put_item(&self, account: &str, table: &str, item: Map<String, Value>) -> Result<(), ApiError> {
        self.inner.dynamodb.put(account, &self.inner.region, table, item)
    }

    /// Shows every log stream: account, region, group, stream, events. This is what arrived, counted on this side.
    pub fn each_stream(&self, see: impl FnMut(&str, &str, &str, &str, &Stream)) {
        self.inner.logs.each(see);
    }

    /// From now on this is kept of accepted log events, so that a long run need not fill the memory.
    pub fn keep(&self, keep: Keep) {
        self.inner.logs.keep(keep);
    }

    /// Calls so far, by service, operation and the caller's account.
    #[must_use]
    pub fn calls(&self) -> BTreeMap<CallKey, u64> {
        lock(&self.inner.calls).iter().map(|(key, of_its_kind)| (key.clone(), of_its_kind.calls)).collect()
    }

    /// Bytes of all bodies of an operation's requests so far, as they came. Those of S3's are not counted.
    #[must_use]
    pub fn received_bytes(&self, operation: &str) -> u64 {
        let calls = lock(&self.inner.calls);
        calls.iter().filter(|((_, of, _), _)| of == operation).map(|(_, of_its_kind)| of_its_kind.bytes).sum()
    }

    /// Bytes of objects in all answers to GetObject so far, also of those that were broken off.
    #[must_use]
    pub fn given_bytes(&self) -> u64 {
        self.inner.given.load(Ordering::Relaxed)
    }

    /// Connections that are open. Until a killed client's are closed, calls of it may still be answered: a poll that waits, say,
    /// takes messages that come.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.inner.connections.len()
    }

    /// The cloud's time, milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.inner.clock.now_ms()
    }

    /// Moves the cloud's time on. Long polls look at their queues again.
    pub fn advance(&self, by: Duration) {
        self.inner.clock.advance(i64::try_from(by.as_millis()).unwrap_or(i64::MAX));
    }

    /// Ends it: closes all connections.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn nobody_is_answered_before_it_is_open() {
        let cloud = Cloud::bind("127.0.0.1:0".parse().unwrap(), "us-east-1", Storage::default()).await.unwrap();
        let mut client = TcpStream::connect(cloud.endpoint().trim_start_matches("http://")).await.unwrap();
        client.write_all(b"GET /b/k HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        let early = tokio::time::timeout(Duration::from_millis(200), client.read(&mut answer)).await;
        assert!(early.is_err(), "{early:?}");
        cloud.open();
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 403");
        cloud.stop().await;
        let unopened = Cloud::bind("127.0.0.1:0".parse().unwrap(), "us-east-1", Storage::default()).await.unwrap();
        unopened.stop().await;
    }
}
