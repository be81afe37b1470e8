//! Rows of the tenant table → deliveries, or an error that names the field.
//!
//! A table keyed by `tenant_id` alone and one keyed by `tenant_id` and `type` are read alike: what comes is a list of rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{CloudWatchTarget, Delivery, Filter, GroupClass, NewGroup, S3Target, Target, TenantConfig, TenantId};
use crate::core::time::UnixMillis;

/// Days that PutRetentionPolicy takes. Source: CloudWatch Logs API Reference, "PutRetentionPolicy".
const RETENTION_DAYS: [i32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];
/// Characters of a log group's name. Source: CloudWatch Logs API Reference, "CreateLogGroup".
const GROUP_CHARS_MAX: usize = 512;
/// Characters of an ExternalId. Source: "IAM and STS quotas".
const EXTERNAL_ID_CHARS_MAX: usize = 1224;
/// Tags of a log group. Source: CloudWatch Logs API Reference, "CreateLogGroup".
const GROUP_TAGS_MAX: usize = 50;
/// The prefix of an S3 delivery whose row names none, as the predecessor had it.
const PREFIX_DEFAULT: &str = "ROSA/cluster-logs/";

/// A value of a row, whatever database it came from.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Field {
    Text(String),
    /// A number as decimal text.
    Number(String),
    Flag(bool),
    List(Vec<Self>),
    TextSet(Vec<String>),
    Map(BTreeMap<String, Self>),
    Null,
    Other,
}

/// A row by field name.
pub type Row = BTreeMap<String, Field>;

/// A row that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tenant {tenant}, row of type {kind}: field {field} {problem}")]
pub struct RowError {
    /// Whose row.
    pub tenant: TenantId,
    /// The row's `type`, as far as it can be told.
    pub kind: String,
    /// The field.
    pub field: &'static str,
    /// What is wrong with it and what is allowed.
    pub problem: String,
}

/// Something in a row that was passed over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the error texts are the documentation")]
pub enum Warning {
    #[error("group {0:?} is unknown and was ignored; known are API, Authentication, Controller Manager and Scheduler")]
    UnknownGroup(String),
    #[error("an entry of {0} is no text and was ignored")]
    NoText(&'static str),
}

/// Reads a tenant's rows. `now` decides which of them have passed their `ttl`.
#[must_use]
pub fn deliveries(tenant: &TenantId, rows: &[Row], now: UnixMillis) -> TenantConfig {
    let mut config = TenantConfig::default();
    for row in rows {
        let reader = Reader { tenant, row };
        match reader.read(now, &mut config.warnings) {
            Ok(State::On(delivery)) => config.deliveries.push(Arc::new(delivery)),
            Ok(State::Off) => config.disabled += 1,
            Ok(State::Expired) => config.expired += 1,
            Err(error) => config.invalid.push(error),
        }
    }
    config
}

enum State {
    On(Delivery),
    Off,
    Expired,
}

struct Reader<'r> {
    tenant: &'r TenantId,
    row: &'r Row,
}

impl Reader<'_> {
    fn read(&self, now: UnixMillis, warnings: &mut Vec<Warning>) -> Result<State, RowError> {
        if self.text("tenant_id")? != Some(self.tenant.as_str()) {
            return Err(self.error("tenant_id", "is not the tenant that was asked for"));
        }
        if self.expired(now)? {
            return Ok(State::Expired);
        }
        // A row that is switched off is not checked any further: it may be half written.
        match self.row.get("enabled") {
            None | Some(Field::Null | Field::Flag(true)) => {}
            Some(Field::Flag(false)) => return Ok(State::Off),
            Some(_) => return Err(self.error("enabled", "must be true or false")),
        }
        let target = match self.text("type")? {
            None | Some("cloudwatch") => Target::CloudWatch(self.cloudwatch()?),
            Some("s3") => Target::S3(self.s3()?),
            Some(other) => return Err(self.error("type", &format!("is {other:?}; cloudwatch and s3 are allowed"))),
        };
        Ok(State::On(Delivery::new(self.tenant.clone(), target, self.filter(warnings)?)))
    }

    fn cloudwatch(&self) -> Result<CloudWatchTarget, RowError> {
        let role_arn = self.required("log_distribution_role_arn")?;
        if !is_role_arn(role_arn) {
            return Err(
                self.error("log_distribution_role_arn", "must look like arn:PARTITION:iam::12 DIGITS:role/NAME")
            );
        }
        let log_group = self.required("log_group_name")?;
        if !is_group_name(log_group) {
            let rule = "must have 1 to 512 characters of a-z A-Z 0-9 . - _ / # and not begin with aws/";
            return Err(self.error("log_group_name", rule));
        }
        let external_id = self.text("external_id")?;
        if external_id.is_some_and(|id| !is_external_id(id)) {
            return Err(self.error("external_id", "must have 2 to 1224 characters of a-z A-Z 0-9 _ + = , . @ : / -"));
        }
        Ok(CloudWatchTarget {
            role_arn: role_arn.into(),
            log_group: log_group.into(),
            region: self.region()?,
            external_id: external_id.map(Arc::from),
            group: self.new_group()?,
        })
    }

    fn new_group(&self) -> Result<NewGroup, RowError> {
        let retention_days = match self.number("log_retention_days")? {
            None => None,
            Some(days) => match RETENTION_DAYS.iter().find(|allowed| i128::from(**allowed) == days) {
                Some(days) => Some(*days),
                None => {
                    return Err(self.error("log_retention_days", &format!("is {days}; allowed are {RETENTION_DAYS:?}")));
                }
            },
        };
        let class = match self.text("log_group_class")? {
            None | Some("STANDARD") => GroupClass::Standard,
            Some("INFREQUENT_ACCESS") => GroupClass::InfrequentAccess,
            Some(_) => return Err(self.error("log_group_class", "must be STANDARD or INFREQUENT_ACCESS")),
        };
        let mut tags = Vec::new();
        match self.row.get("log_group_tags") {
            None | Some(Field::Null) => {}
            Some(Field::Map(map)) if map.len() <= GROUP_TAGS_MAX => {
                for (key, value) in map {
                    let Field::Text(value) = value else {
                        return Err(self.error("log_group_tags", "must have texts as values"));
                    };
                    tags.push((Arc::from(key.as_str()), Arc::from(value.as_str())));
                }
            }
            Some(_) => return Err(self.error("log_group_tags", "must be a map of at most 50 texts")),
        }
        let kms_key_arn = self.text("kms_key_arn")?;
        if kms_key_arn.is_some_and(|arn| !arn.starts_with("arn:")) {
            return Err(self.error("kms_key_arn", "must be the ARN of a key"));
        }
        Ok(NewGroup { retention_days, class, tags, kms_key_arn: kms_key_arn.map(Arc::from) })
    }

    fn s3(&self) -> Result<S3Target, RowError> {
        let bucket = self.required("bucket_name")?;
        let sound = (3..=63).contains(&bucket.len())
            && bucket.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
        if !sound {
            return Err(self.error("bucket_name", "must have 3 to 63 letters, digits, hyphens and dots"));
        }
        let prefix = self.text("bucket_prefix")?.unwrap_or(PREFIX_DEFAULT);
        let slash = if prefix.ends_with('/') { "" } else { "/" };
        Ok(S3Target { bucket: bucket.into(), prefix: format!("{prefix}{slash}").into(), region: self.region()? })
    }

    fn filter(&self, warnings: &mut Vec<Warning>) -> Result<Filter, RowError> {
        let mut names: Vec<&str> = self.texts("desired_logs", warnings)?;
        // A list with one empty name stands for an empty list in tables that cannot keep one.
        names.retain(|name| !name.is_empty());
        let groups = self.texts("groups", warnings)?;
        let mut known = 0;
        for group in &groups {
            match Filter::group(group) {
                Some(applications) => {
                    known += 1;
                    names.extend(applications);
                }
                None => warnings.push(Warning::UnknownGroup((*group).to_owned())),
            }
        }
        if !groups.is_empty() && known == 0 && names.is_empty() {
            return Err(
                self.error("groups", "names no known group, and desired_logs is empty: nothing would be wanted")
            );
        }
        Ok(Filter::new(names))
    }

    fn expired(&self, now: UnixMillis) -> Result<bool, RowError> {
        Ok(self.number("ttl")?.is_some_and(|seconds| seconds <= i128::from(now.seconds())))
    }

    fn region(&self) -> Result<Option<Arc<str>>, RowError> {
        let Some(region) = self.text("target_region")? else { return Ok(None) };
        let sound = region.len() <= 32
            && region.contains('-')
            && region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if sound {
            Ok(Some(region.into()))
        } else {
            Err(self.error("target_region", "must be a region such as eu-west-1"))
        }
    }

    /// A text that may be missing. Empty and blank texts count as missing, as forms leave them behind.
    fn text(&self, field: &'static str) -> Result<Option<&str>, RowError> {
        match self.row.get(field) {
            None | Some(Field::Null) => Ok(None),
            Some(Field::Text(text)) if text.trim().is_empty() => Ok(None),
            Some(Field::Text(text)) => Ok(Some(text)),
            Some(_) => Err(self.error(field, "must be a text")),
        }
    }

    fn required(&self, field: &'static str) -> Result<&str, RowError> {
        self.text(field)?.ok_or_else(|| self.error(field, "is missing"))
    }

    fn number(&self, field: &'static str) -> Result<Option<i128>, RowError> {
        match self.row.get(field) {
            None | Some(Field::Null) => Ok(None),
            Some(Field::Number(digits)) => {
                digits.parse().map(Some).map_err(|_| self.error(field, "must be a whole number"))
            }
            Some(_) => Err(self.error(field, "must be a number")),
        }
    }

    /// A list or set of texts. Anything else makes the row invalid: to take it for "all" would deliver what nobody wanted.
    fn texts(&self, field: &'static str, warnings: &mut Vec<Warning>) -> Result<Vec<&str>, RowError> {
        match self.row.get(field) {
            None | Some(Field::Null) => Ok(Vec::new()),
            Some(Field::TextSet(texts)) => Ok(texts.iter().map(String::as_str).collect()),
            Some(Field::List(entries)) => {
                let mut texts = Vec::with_capacity(entries.len());
                for entry in entries {
                    if let Field::Text(text) = entry {
                        texts.push(text.as_str());
                    } else {
                        warnings.push(Warning::NoText(field));
                    }
                }
                if texts.is_empty() && !entries.is_empty() {
                    return Err(self.error(field, "must hold texts"));
                }
                Ok(texts)
            }
            Some(_) => Err(self.error(field, "must be a list or a set of texts")),
        }
    }

    fn error(&self, field: &'static str, problem: &str) -> RowError {
        let kind = match self.row.get("type") {
            Some(Field::Text(kind)) => kind.chars().take(32).collect(),
            _ => String::from("cloudwatch"),
        };
        RowError { tenant: self.tenant.clone(), kind, field, problem: problem.to_owned() }
    }
}

fn is_role_arn(arn: &str) -> bool {
    let mut parts = arn.splitn(6, ':');
    let [scheme, partition, service, region, account, name] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    scheme == "arn"
        && partition.starts_with("aws")
        && service == "iam"
        && region.is_empty()
        && account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && name.strip_prefix("role/").is_some_and(|name| !name.is_empty())
        && arn.len() <= 2048
        && !arn.contains(char::is_whitespace)
}

fn is_group_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'/' | b'#');
    name.len() <= GROUP_CHARS_MAX && name.bytes().all(allowed) && !name.starts_with("aws/")
}

/// Whether STS takes an ExternalId. Source: STS API Reference, "AssumeRole".
#[must_use]
pub fn is_external_id(id: &str) -> bool {
    let allowed = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'=' | b',' | b'.' | b'@' | b':' | b'/' | b'-')
    };
    (2..=EXTERNAL_ID_CHARS_MAX).contains(&id.len()) && id.bytes().all(allowed)
}

#[cfg(test)]
#[path = "row_tests.rs"]
mod tests;
