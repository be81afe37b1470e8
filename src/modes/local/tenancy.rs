//! Tenants in accounts of the embedded cloud, with roles and table rows as an operator would make them.

use std::collections::BTreeMap;
use std::time::Duration;

use localcloud::{AccessKey, Cloud, Notify, TrustPolicy};
use serde_json::{Map, Value, json};

/// The account that bucket, queue, table and central role are in.
pub(super) const CENTRAL: &str = "111111111111";
/// The user of the central account that stands for the collectors.
const COLLECTORS: &str = "collectors";
/// The bucket of all tenants' objects.
pub(super) const BUCKET: &str = "millrace-central-logs";
/// The log group in each tenant's account.
pub(super) const GROUP: &str = "/millrace/logs";
/// The applications that write logs; the filtered tenant wants the first alone.
pub(super) const APPLICATIONS: [&str; 3] = ["api", "scheduler", "worker"];

/// Time that the queue hides a message that is in work.
const VISIBILITY: Duration = Duration::from_secs(60);
/// Receives after which the queue itself gives a message up; the daemon does it sooner.
const RECEIVES_MAX: u32 = 100;
/// Tenants that it takes before some of them are special.
const SPECIAL_FROM: usize = 5;

/// What a tenant is there to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// All its logs are delivered.
    Plain,
    /// It wants the logs of one application.
    Filtered,
    /// It wants none for now.
    Disabled,
    /// Its role allows nothing.
    Denied,
}

impl Kind {
    /// The name in the summary.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Filtered => "filtered",
            Self::Disabled => "disabled",
            Self::Denied => "denied",
        }
    }

    /// Whether the logs of an application must arrive.
    pub(super) fn expects(self, application: &str) -> bool {
        match self {
            Self::Plain => true,
            Self::Filtered => application == APPLICATIONS[0],
            Self::Disabled | Self::Denied => false,
        }
    }
}

/// A tenant.
#[derive(Clone, Debug)]
pub(super) struct Tenant {
    pub(super) name: String,
    pub(super) account: String,
    pub(super) kind: Kind,
}

/// What was made.
#[derive(Debug)]
pub(super) struct Tenancy {
    pub(super) tenants: Vec<Tenant>,
    pub(super) queue_arn: String,
    pub(super) queue_url: String,
    pub(super) dead_arn: String,
    pub(super) dead_url: String,
    pub(super) central_role_arn: String,
    /// The daemon's own user.
    pub(super) key: AccessKey,
    /// The user that writes the objects. No fault happens to it.
    pub(super) collectors_key: AccessKey,
}

impl Tenancy {
    /// Makes all of it.
    pub(super) fn build(cloud: &Cloud, names: &[String], table: &str) -> Self {
        let key = cloud.add_user(CENTRAL, "millrace");
        let collectors_key = cloud.add_user(CENTRAL, COLLECTORS);
        cloud.spare(CENTRAL, COLLECTORS);
        cloud.create_bucket(CENTRAL, BUCKET);
        let dead_arn = cloud.create_queue(CENTRAL, "millrace-dead", VISIBILITY, None);
        let queue_arn = cloud.create_queue(CENTRAL, "millrace", VISIBILITY, Some((dead_arn.clone(), RECEIVES_MAX)));
        cloud.notify(BUCKET, Notify::Wrapped(queue_arn.clone()));
        cloud.create_table(CENTRAL, table, "tenant_id", Some("type"));
        let central_role_arn = cloud.add_role(
            CENTRAL,
            "millrace-central",
            TrustPolicy {
                principals: vec![format!("arn:aws:iam::{CENTRAL}:user/millrace")],
                request_tags: vec!["tenant_id".to_owned(), "cluster_id".to_owned()],
                tag_session: true,
                ..TrustPolicy::default()
            },
            ["sts:AssumeRole", "sts:TagSession"].map(|action| (action.to_owned(), "*".to_owned())).to_vec(),
        );
        let tenants: Vec<Tenant> = names
            .iter()
            .enumerate()
            .map(|(number, name)| Tenant {
                name: name.clone(),
                account: account(number),
                kind: kind(number, names.len()),
            })
            .collect();
        for tenant in &tenants {
            let role = add_role(cloud, tenant, &central_role_arn);
            // The table was made above, and the row has its key.
            let _put = cloud.put_item(CENTRAL, table, row(tenant, &role, cloud.region()));
        }
        Self {
            queue_url: cloud.queue_url(CENTRAL, "millrace"),
            dead_url: cloud.queue_url(CENTRAL, "millrace-dead"),
            tenants,
            queue_arn,
            dead_arn,
            central_role_arn,
            key,
            collectors_key,
        }
    }
}

/// 222222222222, 333333333333 and so on; behind 999999999999 they are counted.
fn account(number: usize) -> String {
    match number {
        0..8 => (number + 2).to_string().repeat(12),
        _ => format!("{:012}", 200_000_000_000_u64 + u64::try_from(number).unwrap_or(0)),
    }
}

fn kind(number: usize, tenants: usize) -> Kind {
    match tenants - number {
        _ if tenants < SPECIAL_FROM => Kind::Plain,
        1 => Kind::Denied,
        2 => Kind::Disabled,
        3 => Kind::Filtered,
        _ => Kind::Plain,
    }
}

fn add_role(cloud: &Cloud, tenant: &Tenant, central_role_arn: &str) -> String {
    let trust = TrustPolicy {
        principals: vec![central_role_arn.to_owned()],
        external_id: Some(CENTRAL.to_owned()),
        principal_tags: BTreeMap::from([("tenant_id".to_owned(), tenant.name.clone())]),
        tag_session: true,
        ..TrustPolicy::default()
    };
    let allowed = |action: &str| {
        (action.to_owned(), format!("arn:aws:logs:{}:{}:log-group:{GROUP}*", cloud.region(), tenant.account))
    };
    let permissions = match tenant.kind {
        Kind::Denied => Vec::new(),
        Kind::Plain | Kind::Filtered | Kind::Disabled => {
            ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", "logs:PutRetentionPolicy"]
                .map(allowed)
                .to_vec()
        }
    };
    cloud.add_role(&tenant.account, "millrace-delivery", trust, permissions)
}

fn row(tenant: &Tenant, role_arn: &str, region: &str) -> Map<String, Value> {
    let mut row = Map::new();
    let texts = [
        ("tenant_id", tenant.name.as_str()),
        ("type", "cloudwatch"),
        ("log_distribution_role_arn", role_arn),
        ("log_group_name", GROUP),
        ("target_region", region),
    ];
    for (name, text) in texts {
        row.insert(name.to_owned(), json!({ "S": text }));
    }
    row.insert("enabled".to_owned(), json!({ "BOOL": tenant.kind != Kind::Disabled }));
    if tenant.kind == Kind::Filtered {
        row.insert("desired_logs".to_owned(), json!({ "L": [{ "S": APPLICATIONS[0] }] }));
    }
    row
}
