//! What a run stands on: accounts, rows, buckets, the daemon's settings, and what is in each object.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use clap::Parser;
use flate2::Compression;
use flate2::write::GzEncoder;
use localcloud::{BucketGrant, Cloud, TrustPolicy, digest};
use millrace::config::{Cli, Mode, SqsSettings};
use serde_json::json;

use crate::checker::Mark;
use crate::plan::{Object, Plan};

pub(crate) const CENTRAL: &str = "111111111111";
pub(crate) const BUCKET: &str = "central-logs";
pub(crate) const GROUP: &str = "/customer/logs";
pub(crate) const REJECTS: &str = "rejects";
/// What the keys of copies begin with.
pub(crate) const COPIES: &str = "copies/";
/// What is in a message that the API refuses.
pub(crate) const REFUSED: &str = "poison";
pub(crate) const TABLE: &str = "tenant-configurations";
pub(crate) const PROGRESS: &str = "progress";
pub(crate) const REGION: &str = "us-east-1";
/// 2026-01-15T00:00:00Z: when every run begins.
pub(crate) const START_MS: i64 = 1_768_435_200_000;

/// A tenant's account and rows.
pub(crate) fn set_up(cloud: &Cloud, plan: &Plan, tenant: usize, central_role: &str) {
    let (name, wants) = (name(tenant), plan.tenants[tenant]);
    let put = |fields: &[(&str, &str)]| {
        let own = [("tenant_id", name.as_str())];
        let row = fields.iter().chain(&own).map(|(field, text)| ((*field).to_owned(), json!({ "S": text })));
        cloud.put_item(CENTRAL, TABLE, row.collect()).unwrap();
    };
    let tags: BTreeMap<String, String> = [("tenant_id".to_owned(), name.clone())].into();
    if wants.logs() {
        let trust = TrustPolicy {
            principals: vec![central_role.to_owned()],
            external_id: Some(CENTRAL.to_owned()),
            principal_tags: tags.clone(),
            tag_session: true,
            ..TrustPolicy::default()
        };
        let may = vec![("logs:*".to_owned(), "*".to_owned())];
        let role = cloud.add_role(&account(tenant), "millrace-delivery", trust, may);
        put(&[("type", "cloudwatch"), ("log_distribution_role_arn", &role), ("log_group_name", GROUP)]);
    }
    if wants.bucket() {
        cloud.create_bucket(&account(tenant), &name);
        let grant = BucketGrant {
            principals: vec![central_role.to_owned()],
            actions: vec!["s3:PutObject".to_owned()],
            principal_tags: tags,
            acl: Some("bucket-owner-full-control".to_owned()),
            ..BucketGrant::default()
        };
        cloud.grant(&name, grant);
        put(&[("type", "s3"), ("bucket_name", &name), ("bucket_prefix", COPIES)]);
    }
}

/// The settings of all processes, read as from a command line.
pub(crate) fn settings(cloud: &Cloud, plan: &Plan, central_role: String) -> SqsSettings {
    let millis = |time: Duration| format!("{}ms", time.as_millis());
    let mut words: Vec<String> = [
        ("sqs-queue-url", cloud.queue_url(CENTRAL, "notifications")),
        ("dlq-url", cloud.queue_url(CENTRAL, "dead")),
        ("central-log-distribution-role-arn", central_role),
        ("tenant-config-table", TABLE.to_owned()),
        ("aws-region", REGION.to_owned()),
        ("max-batch-size", plan.batch.to_string()),
        ("linger", millis(plan.linger)),
        ("messages-max", plan.messages_max.to_string()),
        ("denied-wait", "5s".to_owned()),
        ("compress", (if plan.packs { "on" } else { "off" }).to_owned()),
    ]
    .into_iter()
    .flat_map(|(name, value)| [format!("--{name}"), value])
    .collect();
    if plan.keeps_rejects {
        words.extend(["--reject-store".to_owned(), format!("s3://{REJECTS}")]);
    }
    if let Some(every) = plan.progress_every {
        let dedupe = if plan.dedupe { "table" } else { "memory" };
        for (name, value) in [("progress-table", PROGRESS), ("progress-every", &every.to_string()), ("dedupe", dedupe)]
        {
            words.extend([format!("--{name}"), value.to_owned()]);
        }
    }
    let words = ["millrace", "sqs"].into_iter().map(str::to_owned).chain(words);
    match Cli::try_parse_from(words).unwrap().mode {
        Some(Mode::Sqs(mut settings)) => {
            // Less than a user may have.
            settings.shared.part_bytes = plan.part_bytes;
            *settings
        }
        other => panic!("{other:?}"),
    }
}

pub(crate) fn name(tenant: usize) -> String {
    format!("tenant-{tenant}")
}

pub(crate) fn account(tenant: usize) -> String {
    (tenant + 2).to_string().repeat(12)
}

pub(crate) fn pod(pod: usize) -> String {
    format!("pod-{pod}")
}

pub(crate) fn key(plan: &Plan, number: usize) -> String {
    let object = &plan.objects[number];
    format!("{}/c1/api/{}/object-{number}.json.gz", name(object.tenant), pod(object.pod))
}

/// An object's bytes.
pub(crate) fn content(plan: &Plan, number: usize) -> Vec<u8> {
    let object = &plan.objects[number];
    let mut stored = Vec::new();
    let records: Vec<usize> = (0..object.records).collect();
    for member in records.chunks(plan.member) {
        let mut encoder = GzEncoder::new(stored, Compression::fast());
        for &record in member {
            let (time, message) = event(object, number, record);
            writeln!(encoder, "{}", json!({ "timestamp": time, "message": message })).unwrap();
        }
        stored = encoder.finish().unwrap();
    }
    stored
}

/// A record of an object: no two of a run are alike, and later objects' are later.
pub(crate) fn event(object: &Object, number: usize, record: usize) -> (i64, String) {
    let millis = i64::try_from(number * 1_000 + record).unwrap_or(i64::MAX);
    let refused = if object.refused.contains(&record) { REFUSED } else { "" };
    // Long enough for a batch to be worth compressing.
    (START_MS - 3_600_000 + millis, format!("object {number} record {record} {refused}{:.<80}", ""))
}

pub(crate) fn mark((time, message): (i64, String)) -> Mark {
    (time, digest(message.as_bytes()))
}
