//! Rows of the tenant table, as JSON: an object is a row, an array of them several. Laws: README.md.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace::core::tenant::{
    CloudWatchTarget, Field, NewGroup, Row, S3Target, Target, TenantConfig, TenantId, account_of, deliveries,
    is_external_id,
};
use millrace::core::time::UnixMillis;
use serde_json::Value;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const FIELDS: [&str; 16] = [
    "tenant_id",
    "type",
    "enabled",
    "desired_logs",
    "groups",
    "log_distribution_role_arn",
    "log_group_name",
    "target_region",
    "external_id",
    "bucket_name",
    "bucket_prefix",
    "ttl",
    "log_retention_days",
    "log_group_class",
    "log_group_tags",
    "kms_key_arn",
];
/// Fields that are texts, and for which a blank text is as good as none.
const TEXTS: [&str; 8] = [
    "log_distribution_role_arn",
    "log_group_name",
    "target_region",
    "external_id",
    "bucket_name",
    "bucket_prefix",
    "log_group_class",
    "kms_key_arn",
];

fuzz_target!(|data: &[u8]| {
    let rows: Vec<Row> = match serde_json::from_slice(data) {
        Ok(Value::Array(rows)) => rows.iter().filter_map(row).collect(),
        Ok(value) => row(&value).into_iter().collect(),
        Err(_) => return,
    };
    let named = rows.iter().find_map(|row| match row.get("tenant_id") {
        Some(Field::Text(id)) => TenantId::try_from(id.as_str()).ok(),
        _ => None,
    });
    let Some(tenant) = named.or(TenantId::try_from("acme").ok()) else { unreachable!("a sound id") };
    let config = deliveries(&tenant, &rows, NOW);
    sound(&tenant, &config);
    each_for_itself(&tenant, &rows, &config);
    keys_tell_targets_apart(&config);
    for row in rows {
        varied(&tenant, &row);
    }
});

/// A row of whatever kinds of fields; a set of texts is `{"SS": […]}`, as DynamoDB writes it.
fn row(value: &Value) -> Option<Row> {
    Some(value.as_object()?.iter().map(|(name, value)| (name.clone(), field(value))).collect())
}

fn field(value: &Value) -> Field {
    match value {
        Value::Null => Field::Null,
        Value::Bool(flag) => Field::Flag(*flag),
        Value::Number(number) => Field::Number(number.to_string()),
        Value::String(text) => Field::Text(text.clone()),
        Value::Array(values) => Field::List(values.iter().map(field).collect()),
        Value::Object(fields) => match fields.get("SS") {
            Some(Value::Array(texts)) => {
                Field::TextSet(texts.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect())
            }
            Some(_) => Field::Other,
            None => Field::Map(fields.iter().map(|(name, value)| (name.clone(), field(value))).collect()),
        },
    }
}

/// A delivery is the tenant's own and within what the services take; an error names tenant and field.
fn sound(tenant: &TenantId, config: &TenantConfig) {
    for delivery in &config.deliveries {
        assert_eq!(delivery.tenant(), tenant);
        match delivery.target() {
            Target::CloudWatch(target) => cloudwatch(target),
            Target::S3(S3Target { bucket, prefix, region }) => {
                assert!((3..=63).contains(&bucket.len()) && bucket.is_ascii());
                assert!(!bucket.contains(['/', ':', ' ', '?', '#']));
                assert!(prefix.ends_with('/'));
                assert!(region.as_deref().is_none_or(is_region));
            }
        }
    }
    for error in &config.invalid {
        assert_eq!(&error.tenant, tenant);
        assert!(FIELDS.contains(&error.field) && !error.problem.is_empty());
        assert!(error.kind.chars().count() <= 32);
        assert!(error.to_string().contains(error.field));
    }
}

fn cloudwatch(target: &CloudWatchTarget) {
    let account = account_of(&target.role_arn).expect("a role has an account");
    assert!(account.bytes().all(|byte| byte.is_ascii_digit()));
    let parts: Vec<&str> = target.role_arn.splitn(6, ':').collect();
    assert!(parts[0] == "arn" && parts[1].starts_with("aws") && parts[2] == "iam" && parts[5].len() > "role/".len());
    assert!(target.role_arn.len() <= 2048 && !target.role_arn.contains(char::is_whitespace));
    assert!((1..=512).contains(&target.log_group.len()) && target.log_group.is_ascii());
    assert!(!target.log_group.contains([':', '*', ' ', '"', '\\']));
    assert!(target.external_id.as_deref().is_none_or(is_external_id));
    assert!(target.external_id.as_deref().is_none_or(|id| (2..=1224).contains(&id.len()) && id.is_ascii()));
    assert!(target.region.as_deref().is_none_or(is_region));
    assert!(target.group.retention_days.is_none_or(|days| (1..=3653).contains(&days)));
    assert!(target.group.tags.len() <= 50 && target.group.tags.is_sorted_by(|one, other| one.0 < other.0));
    assert!(target.group.kms_key_arn.as_deref().is_none_or(|arn| arn.starts_with("arn:")));
}

/// A region becomes a part of a host's name: nothing else may be in it.
fn is_region(region: &str) -> bool {
    region.len() <= 32 && region.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// Rows are read one by one: each is counted once, and none changes what another says.
fn each_for_itself(tenant: &TenantId, rows: &[Row], config: &TenantConfig) {
    let mut summed = TenantConfig::default();
    for row in rows {
        let one = deliveries(tenant, std::slice::from_ref(row), NOW);
        assert_eq!(one.deliveries.len() + one.invalid.len() + one.disabled + one.expired, 1);
        summed.deliveries.extend(one.deliveries);
        summed.invalid.extend(one.invalid);
        summed.warnings.extend(one.warnings);
        summed.disabled += one.disabled;
        summed.expired += one.expired;
    }
    assert_eq!(&summed, config);
}

/// Two deliveries have one key when they go to one place under one role, and not else.
fn keys_tell_targets_apart(config: &TenantConfig) {
    let place = |target: &Target| match target {
        Target::CloudWatch(to) => Target::CloudWatch(CloudWatchTarget { group: NewGroup::default(), ..to.clone() }),
        Target::S3(to) => Target::S3(to.clone()),
    };
    for one in config.deliveries.iter().take(8) {
        for other in config.deliveries.iter().take(8) {
            assert_eq!(one.key() == other.key(), place(one.target()) == place(other.target()));
        }
    }
}

/// What changes a row, and what does not.
fn varied(tenant: &TenantId, row: &Row) {
    let read = |row: Row| deliveries(tenant, &[row], NOW);
    let with = |field: &str, value: Field| {
        let mut row = row.clone();
        row.insert(field.to_owned(), value);
        row
    };
    let plain = read(row.clone());
    assert_eq!(read(with("a note", Field::Other)), plain, "an unknown field");
    let mut bare = row.clone();
    bare.retain(|name, value| match value {
        Field::Null => false,
        Field::Text(text) => !(TEXTS.contains(&name.as_str()) && text.trim().is_empty()),
        _ => true,
    });
    assert_eq!(read(bare), plain, "an empty field");
    let mut own = with("tenant_id", Field::Text(tenant.to_string()));
    own.insert("ttl".to_owned(), Field::Number((NOW.seconds() + 1).to_string()));
    own.insert("enabled".to_owned(), Field::Flag(false));
    assert_eq!(read(own.clone()).disabled, 1, "switched off, however it looks");
    own.insert("ttl".to_owned(), Field::Number(NOW.seconds().to_string()));
    assert_eq!(read(own.clone()).expired, 1, "expired, however it looks");
    own.insert("tenant_id".to_owned(), Field::Text(format!("{tenant}x")));
    let stranger = read(own);
    assert!(stranger.deliveries.is_empty() && stranger.invalid[0].field == "tenant_id", "another's row is no row");
}
