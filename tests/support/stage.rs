//! The stage of the tests that run the binary: an embedded cloud with tenants in accounts of their own, and the daemon's binary.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use localcloud::{AccessKey, BucketGrant, Cloud, Notify, Permissions, TrustPolicy};
use serde_json::{Map, Value, json};

/// The account of bucket, queue, table and central role.
pub(crate) const CENTRAL: &str = "111111111111";
pub(crate) const BUCKET: &str = "central-logs";
/// Each tenant's log group.
pub(crate) const GROUP: &str = "/customer/logs";
const REGION: &str = "us-east-1";
const TABLE: &str = "tenant-configurations";
/// Longer than any test: nothing comes again because its time lapsed.
pub(crate) const VISIBILITY: Duration = Duration::from_secs(600);
/// Time within which everything here happens, or never will.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until something holds; `what` says what was waited for in vain.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waited).await.is_ok(), "waited in vain: {what}");
}

/// A tenant.
pub(crate) struct Tenant {
    pub(crate) account: String,
    name: String,
}

pub(crate) struct Stage {
    pub(crate) cloud: Cloud,
    pub(crate) key: AccessKey,
    pub(crate) queue: String,
    pub(crate) dead: String,
    central_role: String,
    tenants: u64,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::made(VISIBILITY, Some("type"), Notify::Wrapped).await
    }

    /// The same with another visibility timeout of the queue.
    pub(crate) async fn with_visibility(visibility: Duration) -> Self {
        Self::made(visibility, Some("type"), Notify::Wrapped).await
    }

    /// The same with one row per tenant, and notifications that SNS delivers raw.
    pub(crate) async fn plain() -> Self {
        Self::made(VISIBILITY, None, Notify::Raw).await
    }

    async fn made(visibility: Duration, second_key: Option<&str>, notify: fn(String) -> Notify) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let cloud = Cloud::start(address, REGION).await.unwrap();
        let key = cloud.add_user(CENTRAL, "millrace");
        cloud.create_bucket(CENTRAL, BUCKET);
        let dead = cloud.create_queue(CENTRAL, "dead", VISIBILITY, None);
        let queue = cloud.create_queue(CENTRAL, "notifications", visibility, Some((dead.clone(), 100)));
        cloud.notify(BUCKET, notify(queue.clone()));
        cloud.create_table(CENTRAL, TABLE, "tenant_id", second_key);
        let trust = TrustPolicy {
            principals: vec![CENTRAL.to_owned()],
            request_tags: vec!["tenant_id".to_owned(), "cluster_id".to_owned()],
            tag_session: true,
            ..TrustPolicy::default()
        };
        let may = ["sts:AssumeRole", "sts:TagSession", "s3:GetObject", "s3:PutObject"]
            .map(|action| (action.to_owned(), "*".to_owned()));
        let central_role = cloud.add_role(CENTRAL, "central", trust, may.to_vec());
        Self { cloud, key, queue, dead, central_role, tenants: 0 }
    }

    /// Adds a tenant whose row is as `change` leaves it, and whose role may write logs.
    pub(crate) fn tenant(&mut self, name: &str, change: impl FnOnce(&mut Map<String, Value>)) -> Tenant {
        self.tenant_that_may(name, vec![("logs:*".to_owned(), "*".to_owned())], change)
    }

    /// The same with other permissions of its role.
    pub(crate) fn tenant_that_may(
        &mut self,
        name: &str,
        permissions: Permissions,
        change: impl FnOnce(&mut Map<String, Value>),
    ) -> Tenant {
        self.tenants += 1;
        let tenant = Tenant { account: format!("{:012}", 200_000_000_000 + self.tenants), name: name.to_owned() };
        let role = self.allow(&tenant, permissions);
        let row = json!({
            "tenant_id": { "S": name },
            "type": { "S": "cloudwatch" },
            "log_distribution_role_arn": { "S": role },
            "log_group_name": { "S": GROUP },
            "target_region": { "S": REGION },
        });
        let Value::Object(mut row) = row else { unreachable!("a row is an object") };
        change(&mut row);
        self.cloud.put_item(CENTRAL, TABLE, row).unwrap();
        tenant
    }

    /// From now on the tenant's role may do this and nothing else.
    pub(crate) fn allow(&self, tenant: &Tenant, permissions: Permissions) -> String {
        let trust = TrustPolicy {
            principals: vec![self.central_role.clone()],
            external_id: Some(CENTRAL.to_owned()),
            principal_tags: [("tenant_id".to_owned(), tenant.name.clone())].into(),
            tag_session: true,
            ..TrustPolicy::default()
        };
        self.cloud.add_role(&tenant.account, "delivery", trust, permissions)
    }

    /// Adds a row that has the tenant's objects copied into a bucket of its own, which lets nobody in yet.
    pub(crate) fn bucket_row(&self, tenant: &Tenant, bucket: &str) {
        self.cloud.create_bucket(&tenant.account, bucket);
        let row = json!({
            "tenant_id": { "S": tenant.name },
            "type": { "S": "s3" },
            "bucket_name": { "S": bucket },
        });
        let Value::Object(row) = row else { unreachable!("a row is an object") };
        self.cloud.put_item(CENTRAL, TABLE, row).unwrap();
    }

    /// From now on the tenant's bucket takes copies that are the tenant's.
    pub(crate) fn open_bucket(&self, tenant: &Tenant, bucket: &str) {
        let grant = BucketGrant {
            principals: vec![self.central_role.clone()],
            actions: vec!["s3:PutObject".to_owned()],
            principal_tags: [("tenant_id".to_owned(), tenant.name.clone())].into(),
            acl: Some("bucket-owner-full-control".to_owned()),
            ..BucketGrant::default()
        };
        self.cloud.grant(bucket, grant);
    }

    /// Writes an object as a collector does; the queue is told of it.
    pub(crate) fn put(&self, key: &str, bytes: impl Into<Vec<u8>>) {
        self.cloud.put_object(BUCKET, key, bytes.into());
    }

    /// Writes a gzip object of records with these messages, a millisecond apart, the last one from now.
    pub(crate) fn put_messages<M: AsRef<str>>(&self, key: &str, messages: &[M]) {
        let first = self.cloud.now_ms() - i64::try_from(messages.len()).unwrap();
        let mut text = Vec::new();
        for (message, at) in messages.iter().zip(first..) {
            text.extend(json!({ "timestamp": at, "message": message.as_ref() }).to_string().into_bytes());
            text.push(b'\n');
        }
        self.put(key, gzip(&text));
    }

    /// A notification of objects, as the mode `manual` takes it.
    pub(crate) fn notification(keys: &[&str]) -> String {
        let record = |key: &&str| json!({ "s3": { "bucket": { "name": BUCKET }, "object": { "key": key } } });
        let records: Vec<Value> = keys.iter().map(record).collect();
        json!({ "Message": json!({ "Records": records }).to_string() }).to_string()
    }

    /// The binary, set to use the stage and nothing else of this machine.
    pub(crate) fn millrace(&self, mode: &str, settings: &[(&str, &str)]) -> Command {
        // Another build of it, to measure what is shipped.
        let binary = std::env::var_os("MILLRACE_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_millrace").into());
        let mut command = self.program(&binary);
        command.arg(mode).env("LINGER", "100ms").env("SQS_WAIT", "1s").envs(settings.iter().copied());
        command
    }

    /// A program in the stage's environment.
    pub(crate) fn program(&self, binary: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(binary);
        command
            .env_clear()
            .env("AWS_ACCESS_KEY_ID", &self.key.id)
            .env("AWS_SECRET_ACCESS_KEY", &self.key.secret)
            .env("AWS_ENDPOINT_URL", self.cloud.endpoint())
            .env("AWS_REGION", REGION)
            .env("AWS_S3_USE_PATH_STYLE", "true")
            .env("CENTRAL_LOG_DISTRIBUTION_ROLE_ARN", &self.central_role)
            .env("SQS_QUEUE_URL", self.cloud.queue_url(CENTRAL, "notifications"));
        command
    }

    /// Starts the mode `sqs`, with the keys of another user if `settings` say so.
    pub(crate) fn sqs(&self, settings: &[(&str, &str)]) -> Daemon {
        Daemon::start(&mut self.millrace("sqs", settings))
    }

    /// The setting of a dead-letter queue.
    pub(crate) fn dead_letters(&self) -> (&'static str, String) {
        ("DLQ_URL", self.cloud.queue_url(CENTRAL, "dead"))
    }

    /// Runs the mode `manual` with `input`: exit code, standard output, standard error.
    pub(crate) async fn manual(&self, input: &str, settings: &[(&str, &str)]) -> (i32, String, String) {
        let mut command = self.millrace("manual", settings);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let input = input.to_owned();
        let run = move || {
            let mut child = command.spawn().unwrap();
            let written = child.stdin.take().unwrap().write_all(input.as_bytes());
            // A start that is stopped reads nothing.
            assert!(written.is_ok() || written.is_err_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe));
            child.wait_with_output().unwrap()
        };
        let output = tokio::task::spawn_blocking(run).await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// Messages that are in the queue, and those of them that nobody works on.
    pub(crate) fn left(&self) -> (usize, usize) {
        let depth = self.cloud.queue_depth(&self.queue);
        (depth.visible + depth.in_flight, depth.visible)
    }

    /// Waits until the queue holds nothing but `kept` messages, and those hidden.
    pub(crate) async fn until_settled(&self, kept: usize) {
        until("the queue drains", || self.left() == (kept, 0)).await;
    }

    /// What arrived in a stream of a tenant's group.
    pub(crate) fn events(&self, tenant: &Tenant, stream: &str) -> Vec<(i64, String)> {
        let mut events = Vec::new();
        self.cloud.each_stream(|account, _, group, name, content| {
            if account == tenant.account && group == GROUP && name == stream {
                events = content.events().map(|(at, message)| (at, message.to_owned())).collect();
            }
        });
        events
    }

    /// The same without the times.
    pub(crate) fn messages(&self, tenant: &Tenant, stream: &str) -> Vec<String> {
        self.events(tenant, stream).into_iter().map(|(_, message)| message).collect()
    }

    /// Calls of one operation by an account.
    pub(crate) fn calls(&self, operation: &str, account: &str) -> u64 {
        let calls = self.cloud.calls();
        calls.iter().filter(|((_, of, by), _)| of == operation && by == account).map(|(_, count)| count).sum()
    }

    /// Keys and messages that are nobody's to see.
    pub(crate) fn secrets(&self) -> [&str; 1] {
        [&self.key.secret]
    }
}

/// The bytes as one gzip member.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A running daemon, killed with the test that forgets it.
pub(crate) struct Daemon {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Daemon {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let log = Arc::<Mutex<Vec<String>>>::default();
        let output = BufReader::new(child.stdout.take().unwrap());
        let lines = Arc::clone(&log);
        let read = move || output.lines().map_while(Result::ok).for_each(|line| lines.lock().unwrap().push(line));
        Self { child, log, reader: Some(std::thread::spawn(read)) }
    }

    /// What the system knows of the process: a file of /proc.
    pub(crate) fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap()
    }

    /// The most memory that the process has held so far, bytes.
    pub(crate) fn peak_rss(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Files and connections that the process has open.
    pub(crate) fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Whether there is a log line with a text so far.
    pub(crate) fn has_logged(&self, text: &str) -> bool {
        self.log.lock().unwrap().iter().any(|line| line.contains(text))
    }

    /// Sends SIGTERM, waits for the end, and gives the exit status and the log, a line each.
    pub(crate) async fn stop(self) -> (ExitStatus, Vec<Value>) {
        self.stop_by("-TERM").await
    }

    /// The same with another signal.
    pub(crate) async fn stop_by(mut self, signal: &str) -> (ExitStatus, Vec<Value>) {
        self.tell(signal);
        self.ended().await
    }

    /// Sends a signal.
    pub(crate) fn tell(&self, signal: &str) {
        let told = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(told.success());
    }

    /// Waits for the end.
    pub(crate) async fn ended(&mut self) -> (ExitStatus, Vec<Value>) {
        let mut status = None;
        until("the daemon ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        self.reader.take().unwrap().join().unwrap();
        let lines = self.log.lock().unwrap();
        (status.unwrap(), lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

/// The log lines with a text.
pub(crate) fn lines<'l>(log: &'l [Value], text: &str) -> Vec<&'l Value> {
    log.iter().filter(|line| line["message"] == text).collect()
}
