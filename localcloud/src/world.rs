//! A cloud's contents as a file declares them: users, roles, buckets, queues, notifications, tables and their items.
//!
//! Fields that do not exist are refused, and so is what AWS would refuse: a name outside its alphabet, a notification to
//! a queue that is not there. An error names the field.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Cloud;
use crate::accounts::{AccessKey, TrustPolicy};
use crate::s3::{Notify, is_bucket_name};

/// Longest visibility timeout. Source: SQS API Reference, "SetQueueAttributes".
const VISIBILITY_SECONDS_MAX: u64 = 43_200;
/// Bounds of maxReceiveCount. Source: SQS Developer Guide, "Using dead-letter queues".
const RECEIVES: std::ops::RangeInclusive<u32> = 1..=1000;

/// Stands for the whole of a declaration where a field's name is wanted.
const TOP: &str = ".";

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct World {
    /// Users, who may do everything in their account.
    pub users: Vec<User>,
    /// Roles.
    pub roles: Vec<Role>,
    /// Buckets.
    pub buckets: Vec<Bucket>,
    /// Queues; a dead-letter queue may stand behind the queue that uses it.
    pub queues: Vec<Queue>,
    /// What tells queues of a bucket's new objects.
    pub notifications: Vec<Notification>,
    /// Tables.
    pub tables: Vec<Table>,
    /// Their items.
    pub items: Vec<Item>,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Twelve digits.
    pub account: String,
    /// The name in the ARN.
    pub name: String,
    /// The access key; one is made when it is absent.
    pub key: Option<Key>,
}

/// An access key that is known beforehand.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// The public half: 16 to 128 letters, digits and `_`.
    pub id: String,
    /// The secret half.
    pub secret: String,
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Twelve digits.
    pub account: String,
    /// The name in the ARN.
    pub name: String,
    /// Who may assume it.
    pub trust: TrustPolicy,
    /// What its sessions may do.
    #[serde(default)]
    pub permissions: Vec<Permission>,
}

/// What a role's sessions may do. `*` stands for any text.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permission {
    /// Such as `logs:PutLogEvents`.
    pub action: String,
    /// An ARN.
    pub resource: String,
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// Twelve digits.
    pub account: String,
    /// The name, which is the only one in all accounts.
    pub name: String,
    /// Whether each object is a version of its key.
    #[serde(default)]
    pub versioned: bool,
}

/// A queue.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// Twelve digits.
    pub account: String,
    /// The name in the URL.
    pub name: String,
    /// How long a received message is hidden.
    #[serde(default = "visibility_seconds")]
    pub visibility_seconds: u64,
    /// Where messages go that were received too often.
    pub redrive: Option<Redrive>,
}

/// SQS's default. Source: SQS API Reference, "SetQueueAttributes".
const fn visibility_seconds() -> u64 {
    30
}

/// A queue's redrive policy.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redrive {
    /// The dead-letter queue's name, in the same account.
    pub queue: String,
    /// Receives before it.
    pub receives_max: u32,
}

/// Has a bucket's new objects told to a queue.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notification {
    /// The bucket's name.
    pub bucket: String,
    /// The queue's name, in the bucket's account.
    pub queue: String,
    /// How it is told.
    pub form: Form,
}

/// How a queue is told of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// In SNS's envelope.
    Wrapped,
    /// As it is: from S3 itself, or by SNS with raw delivery.
    Raw,
}

/// A table; its keys are texts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Twelve digits.
    pub account: String,
    /// The name.
    pub name: String,
    /// The partition key's attribute.
    pub hash: String,
    /// The sort key's attribute.
    pub range: Option<String>,
}

/// An item of a table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Twelve digits.
    pub account: String,
    /// The table's name.
    pub table: String,
    /// The item in DynamoDB's JSON: `{"tenant_id": {"S": "acme"}}`.
    pub item: Map<String, Value>,
}

/// What a program must know of a cloud that was started, as one line of JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Started {
    /// Where all services are.
    pub endpoint: String,
    /// The users with their keys.
    pub users: Vec<StartedUser>,
    /// The queues.
    pub queues: Vec<StartedQueue>,
}

/// A user with their key.
#[derive(Clone, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct StartedUser {
    pub account: String,
    pub name: String,
    pub id: String,
    pub secret: String,
}

impl std::fmt::Debug for StartedUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StartedUser").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A queue.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct StartedQueue {
    pub name: String,
    pub url: String,
    pub arn: String,
}

/// What is wrong with a declaration, and in which field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {text}")]
pub struct WorldError {
    /// Such as `roles[0].trust.external_id`.
    pub field: String,
    /// What is wrong with it.
    pub text: String,
}

/// Why a file is no world.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the error texts are the documentation")]
pub enum ReadError {
    #[error("{}: it cannot be read: {cause}", file.display())]
    File { file: PathBuf, cause: std::io::Error },
    #[error("{}: {cause}", file.display())]
    World { file: PathBuf, cause: WorldError },
}

impl World {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ReadError`], which names the file.
    pub fn read(file: &Path) -> Result<Self, ReadError> {
        let text = std::fs::read_to_string(file).map_err(|cause| ReadError::File { file: file.to_owned(), cause })?;
        Self::parse(&text).map_err(|cause| ReadError::World { file: file.to_owned(), cause })
    }

    /// Reads a declaration, and checks it.
    ///
    /// # Errors
    /// [`WorldError`].
    pub fn parse(json: &str) -> Result<Self, WorldError> {
        let mut from = serde_json::Deserializer::from_str(json);
        let world: Self = serde_path_to_error::deserialize(&mut from).map_err(|error| {
            let field = error.path().to_string();
            WorldError { field: if field == "?" { TOP.to_owned() } else { field }, text: error.inner().to_string() }
        })?;
        from.end().map_err(|error| WorldError { field: TOP.to_owned(), text: error.to_string() })?;
        world.check()?;
        Ok(world)
    }

    /// What AWS would refuse, and what refers to nothing.
    ///
    /// # Errors
    /// [`WorldError`].
    pub fn check(&self) -> Result<(), WorldError> {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let named = |c: char| word(c) || "+=,.@-".contains(c);
        let mut seen = BTreeSet::new();
        let mut once = |field: String, what: String| {
            if seen.insert(what) { Ok(()) } else { wrong(field, "it was declared before") }
        };
        for (at, user) in self.users.iter().enumerate() {
            account(&format!("users[{at}]"), &user.account)?;
            name(&format!("users[{at}].name"), &user.name, 1..=64, named, "[A-Za-z0-9_+=,.@-]")?;
            once(format!("users[{at}].name"), format!("user {} {}", user.account, user.name))?;
            if let Some(key) = &user.key {
                name(&format!("users[{at}].key.id"), &key.id, 16..=128, word, "[A-Za-z0-9_]")?;
                once(format!("users[{at}].key.id"), format!("key {}", key.id))?;
                if key.secret.is_empty() {
                    return wrong(format!("users[{at}].key.secret"), "it is empty");
                }
            }
        }
        for (at, role) in self.roles.iter().enumerate() {
            account(&format!("roles[{at}]"), &role.account)?;
            name(&format!("roles[{at}].name"), &role.name, 1..=64, named, "[A-Za-z0-9_+=,.@-]")?;
            once(format!("roles[{at}].name"), format!("role {} {}", role.account, role.name))?;
        }
        for (at, bucket) in self.buckets.iter().enumerate() {
            account(&format!("buckets[{at}]"), &bucket.account)?;
            if !is_bucket_name(&bucket.name) {
                let text = format!(
                    "{:?} is no bucket's name: 3 to 63 of [a-z0-9.-] are wanted, a letter or digit at both ends, no two dots \
                     together, no address, and nothing that S3 keeps for itself",
                    bucket.name
                );
                return wrong(format!("buckets[{at}].name"), text);
            }
            once(format!("buckets[{at}].name"), format!("bucket {}", bucket.name))?;
        }
        for (at, queue) in self.queues.iter().enumerate() {
            account(&format!("queues[{at}]"), &queue.account)?;
            name(&format!("queues[{at}].name"), &queue.name, 1..=80, |c| word(c) || c == '-', "[A-Za-z0-9_-]")?;
            once(format!("queues[{at}].name"), format!("queue {} {}", queue.account, queue.name))?;
            if queue.visibility_seconds > VISIBILITY_SECONDS_MAX {
                return wrong(format!("queues[{at}].visibility_seconds"), "it must be 0 to 43200");
            }
            if let Some(redrive) = &queue.redrive {
                self.has_queue(format!("queues[{at}].redrive.queue"), &queue.account, &redrive.queue)?;
                if !RECEIVES.contains(&redrive.receives_max) {
                    return wrong(format!("queues[{at}].redrive.receives_max"), "it must be 1 to 1000");
                }
            }
        }
        for (at, told) in self.notifications.iter().enumerate() {
            let Some(bucket) = self.buckets.iter().find(|bucket| bucket.name == told.bucket) else {
                return wrong(
                    format!("notifications[{at}].bucket"),
                    format!("no bucket {:?} is declared", told.bucket),
                );
            };
            self.has_queue(format!("notifications[{at}].queue"), &bucket.account, &told.queue)?;
        }
        for (at, table) in self.tables.iter().enumerate() {
            account(&format!("tables[{at}]"), &table.account)?;
            let of_table = |c: char| word(c) || ".-".contains(c);
            name(&format!("tables[{at}].name"), &table.name, 3..=255, of_table, "[A-Za-z0-9_.-]")?;
            once(format!("tables[{at}].name"), format!("table {} {}", table.account, table.name))?;
            for (key, field) in [(Some(&table.hash), "hash"), (table.range.as_ref(), "range")] {
                if key.is_some_and(String::is_empty) {
                    return wrong(format!("tables[{at}].{field}"), "it is empty");
                }
            }
        }
        for (at, item) in self.items.iter().enumerate() {
            account(&format!("items[{at}]"), &item.account)?;
            if !self.tables.iter().any(|table| table.account == item.account && table.name == item.table) {
                let text = format!("no table {:?} is declared in account {}", item.table, item.account);
                return wrong(format!("items[{at}].table"), text);
            }
        }
        Ok(())
    }

    fn has_queue(&self, field: String, account: &str, name: &str) -> Result<(), WorldError> {
        if self.queues.iter().any(|queue| queue.account == account && queue.name == name) {
            return Ok(());
        }
        wrong(field, format!("no queue {name:?} is declared in account {account}"))
    }

    /// Makes all of it in a cloud.
    ///
    /// # Errors
    /// What [`Self::check`] finds, or an item that its table does not take.
    pub fn make(&self, cloud: &Cloud) -> Result<Started, WorldError> {
        self.check()?;
        let users = self.users.iter().map(|user| {
            let key = match &user.key {
                None => cloud.add_user(&user.account, &user.name),
                Some(Key { id, secret }) => {
                    let key = AccessKey { id: id.clone(), secret: secret.clone(), token: None };
                    cloud.add_user_with_key(&user.account, &user.name, key.clone());
                    key
                }
            };
            StartedUser { account: user.account.clone(), name: user.name.clone(), id: key.id, secret: key.secret }
        });
        let users = users.collect();
        for role in &self.roles {
            let permissions = role.permissions.iter().map(|it| (it.action.clone(), it.resource.clone())).collect();
            let _arn = cloud.add_role(&role.account, &role.name, role.trust.clone(), permissions);
        }
        for bucket in &self.buckets {
            cloud.create_bucket(&bucket.account, &bucket.name);
            if bucket.versioned {
                cloud.version_bucket(&bucket.name);
            }
        }
        let arn = |account: &str, name: &str| format!("arn:aws:sqs:{}:{account}:{name}", cloud.region());
        let queues = self.queues.iter().map(|queue| StartedQueue {
            arn: cloud.create_queue(
                &queue.account,
                &queue.name,
                Duration::from_secs(queue.visibility_seconds),
                queue.redrive.as_ref().map(|it| (arn(&queue.account, &it.queue), it.receives_max)),
            ),
            url: cloud.queue_url(&queue.account, &queue.name),
            name: queue.name.clone(),
        });
        let queues = queues.collect();
        for told in &self.notifications {
            let account = self.buckets.iter().find(|bucket| bucket.name == told.bucket).map(|it| it.account.as_str());
            let arn = arn(account.unwrap_or_default(), &told.queue);
            let to = match told.form {
                Form::Wrapped => Notify::Wrapped(arn),
                Form::Raw => Notify::Raw(arn),
            };
            cloud.notify(&told.bucket, to);
        }
        for table in &self.tables {
            cloud.create_table(&table.account, &table.name, &table.hash, table.range.as_deref());
        }
        for (at, item) in self.items.iter().enumerate() {
            cloud
                .put_item(&item.account, &item.table, item.item.clone())
                .map_err(|error| WorldError { field: format!("items[{at}].item"), text: error.message })?;
        }
        Ok(Started { endpoint: cloud.endpoint(), users, queues })
    }
}

fn wrong(field: String, text: impl Into<String>) -> Result<(), WorldError> {
    Err(WorldError { field, text: text.into() })
}

fn account(of: &str, account: &str) -> Result<(), WorldError> {
    if account.len() == 12 && account.chars().all(|c| c.is_ascii_digit()) {
        return Ok(());
    }
    wrong(format!("{of}.account"), format!("{account:?} is no account: twelve digits are wanted"))
}

fn name(
    field: &str,
    name: &str,
    length: std::ops::RangeInclusive<usize>,
    allowed: impl Fn(char) -> bool,
    alphabet: &str,
) -> Result<(), WorldError> {
    if length.contains(&name.len()) && name.chars().all(allowed) {
        return Ok(());
    }
    let text = format!("{name:?} must have {} to {} characters of {alphabet}", length.start(), length.end());
    wrong(field.to_owned(), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_field() {
        let cases = [
            (r#"{"user": []}"#, "user: unknown field `user`"),
            (r#"{"users": [{"name": "x"}]}"#, "users[0]: missing field `account`"),
            (r#"{"users": [{"account": 1, "name": "x"}]}"#, "users[0].account: invalid type: integer `1`"),
            (r#"{"users": [{"account": "12", "name": "x"}]}"#, "users[0].account: \"12\" is no account"),
            (
                r#"{"queues": [{"account": "111111111111", "name": "a b"}]}"#,
                "queues[0].name: \"a b\" must have 1 to 80",
            ),
            (
                r#"{"roles": [{"account": "111111111111", "name": "r", "trust": {"externalId": "x"}}]}"#,
                "roles[0].trust.externalId: unknown field `externalId`",
            ),
            (
                r#"{"queues": [{"account": "111111111111", "name": "q", "redrive": {"queue": "d", "receives_max": 1}}]}"#,
                "queues[0].redrive.queue: no queue \"d\"",
            ),
            (
                r#"{"buckets": [{"account": "111111111111", "name": "logs-"}]}"#,
                "buckets[0].name: \"logs-\" is no bucket's name",
            ),
            (
                r#"{"buckets": [{"account": "111111111111", "name": "10.0.0.1"}]}"#,
                "buckets[0].name: \"10.0.0.1\" is no bucket's name",
            ),
            (
                r#"{"notifications": [{"bucket": "b", "queue": "q", "form": "raw"}]}"#,
                "notifications[0].bucket: no bucket \"b\"",
            ),
            (
                r#"{"notifications": [{"bucket": "b", "queue": "q", "form": "sns"}]}"#,
                "notifications[0].form: unknown variant `sns`",
            ),
            (r#"{"items": [{"account": "111111111111", "table": "t", "item": {}}]}"#, "items[0].table: no table \"t\""),
            (r#"{"users": []} x"#, ".: trailing characters"),
            ("{", ".: EOF while parsing"),
        ];
        for (json, expected) in cases {
            let error = World::parse(json).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{json}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
