//! An operator and two tenants in an embedded cloud, as `millrace manual` meets them.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::primitives::ByteStream;
use flate2::Compression;
use flate2::write::GzEncoder;
use localcloud::{AccessKey, BucketGrant, Cloud, Notify, TrustPolicy};
use serde_json::{Map, Value, json};

/// The operator's account.
pub(super) const CENTRAL: &str = "111111111111";
/// The tenants' accounts.
pub(super) const ACME: &str = "222222222222";
pub(super) const OTHER: &str = "333333333333";
/// The operator's bucket.
pub(super) const BUCKET: &str = "central-logs";
/// The log group in each tenant's account.
pub(super) const GROUP: &str = "/millrace/logs";
const TABLE: &str = "tenant-configurations";

/// A file as its reader finds it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) bytes: Vec<u8>,
    pub(super) content_type: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// How a run of the binary ended.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

pub(super) struct World {
    pub(super) cloud: Cloud,
    /// The daemon's own user.
    pub(super) user: AccessKey,
    pub(super) central_role: String,
    queue: String,
    owners: BTreeMap<&'static str, AccessKey>,
    taken: std::cell::Cell<usize>,
}

impl World {
    /// The central role may do what it needs.
    pub(super) async fn start() -> Self {
        let actions = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"];
        Self::with_central_actions(&actions).await
    }

    /// The central role may do `actions` and assume others, with tags.
    pub(super) async fn with_central_actions(actions: &[&str]) -> Self {
        let cloud = Cloud::start("127.0.0.1:0".parse().unwrap(), "us-east-1").await.unwrap();
        let user = cloud.add_user(CENTRAL, "millrace");
        cloud.create_bucket(CENTRAL, BUCKET);
        let queue = cloud.create_queue(CENTRAL, "millrace", Duration::from_secs(60), None);
        cloud.notify(BUCKET, Notify::Raw(queue.clone()));
        cloud.create_table(CENTRAL, TABLE, "tenant_id", Some("type"));
        let trust = TrustPolicy {
            principals: vec![format!("arn:aws:iam::{CENTRAL}:user/millrace")],
            request_tags: vec!["tenant_id".to_owned(), "cluster_id".to_owned()],
            tag_session: true,
            ..TrustPolicy::default()
        };
        let permissions = ["sts:AssumeRole", "sts:TagSession"]
            .iter()
            .chain(actions)
            .map(|action| ((*action).to_owned(), "*".to_owned()))
            .collect();
        let central_role = cloud.add_role(CENTRAL, "millrace-central", trust, permissions);
        let owners = [(ACME, "acme"), (OTHER, "other"), (CENTRAL, "operator")]
            .map(|(account, name)| (account, cloud.add_user(account, name)));
        Self { cloud, user, central_role, queue, owners: owners.into(), taken: std::cell::Cell::new(0) }
    }

    /// A tenant's bucket, open to the central role when it writes for `tenant` and gives the bucket's owner control.
    pub(super) fn bucket(&self, account: &str, name: &str, tenant: &str) {
        self.cloud.create_bucket(account, name);
        self.cloud.grant(
            name,
            BucketGrant {
                principals: vec![self.central_role.clone()],
                actions: vec!["s3:PutObject".to_owned(), "s3:AbortMultipartUpload".to_owned()],
                prefix: String::new(),
                principal_tags: [("tenant_id".to_owned(), tenant.to_owned())].into(),
                acl: Some("bucket-owner-full-control".to_owned()),
            },
        );
        // Taking an upload back names no ACL.
        self.cloud.grant(
            name,
            BucketGrant {
                principals: vec![self.central_role.clone()],
                actions: vec!["s3:AbortMultipartUpload".to_owned()],
                ..BucketGrant::default()
            },
        );
    }

    /// A row that has a tenant's logs delivered into its account's log group.
    pub(super) fn cloudwatch_row(&self, tenant: &str, account: &str, wanted: &[&str]) {
        let trust = TrustPolicy {
            principals: vec![self.central_role.clone()],
            external_id: Some(CENTRAL.to_owned()),
            principal_tags: [("tenant_id".to_owned(), tenant.to_owned())].into(),
            tag_session: true,
            ..TrustPolicy::default()
        };
        let role =
            self.cloud.add_role(account, "millrace-delivery", trust, vec![("logs:*".to_owned(), "*".to_owned())]);
        let fields = [("type", "cloudwatch"), ("log_distribution_role_arn", role.as_str()), ("log_group_name", GROUP)];
        self.row(tenant, &fields, wanted);
    }

    /// A row that has them copied into a bucket.
    pub(super) fn s3_row(&self, tenant: &str, bucket: &str, prefix: Option<&str>, wanted: &[&str]) {
        let mut fields = vec![("type", "s3"), ("bucket_name", bucket)];
        fields.extend(prefix.map(|prefix| ("bucket_prefix", prefix)));
        self.row(tenant, &fields, wanted);
    }

    fn row(&self, tenant: &str, fields: &[(&str, &str)], wanted: &[&str]) {
        let mut row = Map::new();
        for (name, text) in fields.iter().chain(&[("tenant_id", tenant)]) {
            row.insert((*name).to_owned(), json!({ "S": text }));
        }
        let wanted: Vec<Value> = wanted.iter().map(|it| json!({ "S": it })).collect();
        row.insert("desired_logs".to_owned(), json!({ "L": wanted }));
        self.cloud.put_item(CENTRAL, TABLE, row).unwrap();
    }

    /// S3 as the owner of an account sees it.
    pub(super) fn s3(&self, account: &str) -> Client {
        let key = &self.owners[account];
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(self.cloud.endpoint())
            .force_path_style(true)
            .credentials_provider(Credentials::new(&key.id, &key.secret, None, None, "test"))
            .build();
        Client::from_conf(config)
    }

    /// Writes an object of log lines as a collector does, and gives its bytes.
    pub(super) async fn put(&self, key: &str, lines: &[&str]) -> Vec<u8> {
        let now = self.cloud.now_ms();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        for line in lines {
            writeln!(gzip, "{}", json!({ "timestamp": now, "message": line })).unwrap();
        }
        let bytes = gzip.finish().unwrap();
        self.put_bytes(key, bytes.clone()).await;
        bytes
    }

    pub(super) async fn put_bytes(&self, key: &str, bytes: Vec<u8>) {
        let put = self.s3(CENTRAL).put_object().bucket(BUCKET).key(key).body(ByteStream::from(bytes));
        let put = put.content_encoding("gzip").content_type("application/x-ndjson").metadata("node", "secret-node");
        put.send().await.unwrap();
    }

    /// Gives what the bucket has notified since the last time to `millrace manual`, as one notification.
    pub(super) async fn deliver(&self, env: &[(&str, &str)]) -> Run {
        let bodies = self.cloud.queue_bodies(&self.queue);
        let records: Vec<Value> = bodies
            .iter()
            .skip(self.taken.replace(bodies.len()))
            .flat_map(|body| serde_json::from_str::<Value>(body).unwrap()["Records"].as_array().unwrap().clone())
            .collect();
        self.manual(json!({ "Records": records }).to_string(), env).await
    }

    /// Gives a notification of one key.
    pub(super) async fn deliver_key(&self, key: &str) -> Run {
        self.manual(notice(key), &[]).await
    }

    /// The binary in a mode, with the settings of this world.
    fn millrace(&self, mode: &str, env: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
        command
            .arg(mode)
            .env_clear()
            .env("AWS_ENDPOINT_URL", self.cloud.endpoint())
            .env("AWS_S3_USE_PATH_STYLE", "true")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", &self.user.id)
            .env("AWS_SECRET_ACCESS_KEY", &self.user.secret)
            .env("CENTRAL_LOG_DISTRIBUTION_ROLE_ARN", &self.central_role)
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts mode `sqs` on this world's queue.
    pub(super) fn poll(&self, env: &[(&str, &str)]) -> Child {
        let mut command = self.millrace("sqs", env);
        command.env("SQS_QUEUE_URL", self.cloud.queue_url(CENTRAL, "millrace"));
        command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap()
    }

    /// Starts mode `manual` with a notification of one key.
    pub(super) fn deliver_on(&self, key: &str, env: &[(&str, &str)]) -> Child {
        let mut child = self.millrace("manual", env).spawn().unwrap();
        child.stdin.take().unwrap().write_all(notice(key).as_bytes()).unwrap();
        child
    }

    /// Messages in the queue that can be received, and those that are hidden.
    pub(super) fn queued(&self) -> (usize, usize) {
        let depth = self.cloud.queue_depth(&self.queue);
        (depth.visible, depth.in_flight)
    }

    async fn manual(&self, body: String, env: &[(&str, &str)]) -> Run {
        let mut command = self.millrace("manual", env);
        let run = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().unwrap();
            child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
            child.wait_with_output().unwrap()
        });
        let output = run.await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Run { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The keys of an account's bucket.
    pub(super) async fn keys(&self, account: &str, bucket: &str) -> Vec<String> {
        let listed = self.s3(account).list_objects_v2().bucket(bucket).send().await.unwrap();
        listed.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
    }

    /// An object as the account's owner reads it.
    pub(super) async fn get(&self, account: &str, bucket: &str, key: &str) -> Found {
        let got = self.s3(account).get_object().bucket(bucket).key(key).send().await.unwrap();
        Found {
            content_type: got.content_type.clone(),
            content_encoding: got.content_encoding.clone(),
            metadata: got.metadata.clone().unwrap_or_default().into_iter().collect(),
            bytes: got.body.collect().await.unwrap().to_vec(),
        }
    }

    /// The messages in an account's log group, by stream.
    pub(super) fn messages(&self, account: &str) -> BTreeMap<String, Vec<String>> {
        let mut streams = BTreeMap::new();
        self.cloud.each_stream(|owner, _, group, stream, content| {
            if owner == account && group == GROUP {
                streams.insert(stream.to_owned(), content.events().map(|(_, text)| text.to_owned()).collect());
            }
        });
        streams
    }

    /// Calls of an operation, whoever made them.
    pub(super) fn calls(&self, operation: &str) -> u64 {
        self.cloud.calls().iter().filter(|((_, name, _), _)| name == operation).map(|(_, calls)| *calls).sum()
    }
}

/// A notification of one key.
fn notice(key: &str) -> String {
    let record = json!({ "s3": { "bucket": { "name": BUCKET }, "object": { "key": key } } });
    json!({ "Records": [record] }).to_string()
}
