//! The tenant table, and the table of progress.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;

use super::{Aws, answer};
use crate::core::failure::{Failure, FailureKind, Service};
use crate::core::object::Position;
use crate::core::progress::Progress;
use crate::core::tenant::{Field, Row, TenantId};
use crate::core::time::UnixMillis;

/// Rows of one tenant that are read; more cannot be meant.
const ROWS_MAX: usize = 100;

/// The table of tenants, keyed by `tenant_id` alone or with `type`.
#[derive(Clone, Debug)]
pub struct TenantTable {
    client: Client,
    table: String,
}

impl TenantTable {
    /// The table called `table`, read with the ambient identity.
    #[must_use]
    pub fn new(aws: &Aws, table: &str) -> Self {
        Self { client: client(aws), table: table.to_owned() }
    }

    /// The tenant's rows, at most [`ROWS_MAX`]. A consistent read sees what was written just before.
    ///
    /// # Errors
    /// The call's failure.
    pub async fn rows(&self, tenant: &TenantId, consistent: bool) -> Result<Vec<Row>, Failure> {
        let mut rows = Vec::new();
        let mut start = None;
        loop {
            let result = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression("#tenant = :tenant")
                .expression_attribute_names("#tenant", "tenant_id")
                .expression_attribute_values(":tenant", AttributeValue::S(tenant.as_str().to_owned()))
                .consistent_read(consistent)
                .set_exclusive_start_key(start)
                .send()
                .await;
            let output = answer(Service::DynamoDb, "Query", result)?;
            rows.extend(output.items.unwrap_or_default().into_iter().map(row));
            start = output.last_evaluated_key.filter(|key| !key.is_empty());
            if start.is_none() || rows.len() >= ROWS_MAX {
                return Ok(rows);
            }
        }
    }
}

fn client(aws: &Aws) -> Client {
    let mut config = aws_sdk_dynamodb::config::Builder::from(&aws.base);
    config.set_endpoint_url(aws.endpoint(Service::DynamoDb));
    Client::from_conf(config.build())
}

/// Whose progress a row keeps.
#[derive(Clone, Debug)]
pub struct ProgressKey {
    /// A version of an object and one of its deliveries.
    pub id: String,
    /// The same for people.
    pub object: String,
}

/// What a claim found, and what it is known by from then on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The number of the claim. Only the last one's holder may write.
    pub epoch: u64,
    /// What is settled.
    pub progress: Progress,
    /// See [`Ended::strikes`](crate::core::settlement::Ended), this attempt included.
    pub strikes: u32,
}

/// The table in which replicas keep how far they came with an object. Its key is the text `id`; `expires` is the time to
/// live.
#[derive(Clone, Debug)]
pub struct ProgressTable {
    client: Client,
    table: String,
}

/// A row as DynamoDB gives it.
type Item = HashMap<String, AttributeValue>;

/// What is changed by a claim.
const CLAIM: &str = "ADD #epoch :one, #strikes :one SET #by = :by, #object = :object, #expires = :expires";
/// What its holder writes, and while it holds it: nobody has claimed the row since, and an earlier call that comes late
/// takes nothing back.
const KEEP: &str = "SET #pos = :pos, #runs = :runs, #strikes = :strikes, #expires = :expires";
const HELD: &str = "#epoch = :epoch AND (attribute_not_exists(#pos) OR #pos <= :pos)";

impl ProgressTable {
    /// The table called `table`, read and written with the ambient identity.
    #[must_use]
    pub fn new(aws: &Aws, table: &str) -> Self {
        Self { client: client(aws), table: table.to_owned() }
    }

    /// Claims a row, which is made if it is not there. Whoever held it before can write no more. `by` is no other claim's.
    ///
    /// # Errors
    /// The call's failure.
    pub async fn claim(&self, key: &ProgressKey, by: &str, expires: UnixMillis) -> Result<Claimed, Failure> {
        let mut call = self.client.update_item().table_name(&self.table).key("id", AttributeValue::S(key.id.clone()));
        for name in ["epoch", "strikes", "by", "object", "expires"] {
            call = call.expression_attribute_names(format!("#{name}"), name);
        }
        let result = call
            .update_expression(CLAIM)
            .expression_attribute_values(":one", number(1_u64))
            .expression_attribute_values(":by", AttributeValue::S(by.to_owned()))
            .expression_attribute_values(":object", AttributeValue::S(key.object.clone()))
            .expression_attribute_values(":expires", seconds(expires))
            .return_values(aws_sdk_dynamodb::types::ReturnValue::AllNew)
            .send()
            .await;
        let item = answer(Service::DynamoDb, "UpdateItem", result)?.attributes.unwrap_or_default();
        Ok(claimed(&item))
    }

    /// What a claim gave, if it was the last one.
    ///
    /// # Errors
    /// The call's failure.
    pub async fn claimed(&self, key: &ProgressKey, by: &str) -> Result<Option<Claimed>, Failure> {
        let item = self.item(&key.id).await?;
        Ok(item.filter(|item| text(item, "by") == Some(by)).as_ref().map(claimed))
    }

    async fn item(&self, id: &str) -> Result<Option<Item>, Failure> {
        let get = self.client.get_item().table_name(&self.table).key("id", AttributeValue::S(id.to_owned()));
        Ok(answer(Service::DynamoDb, "GetItem", get.consistent_read(true).send().await)?.item)
    }

    /// Writes what is settled. `false`: somebody else has claimed the row since `epoch`.
    ///
    /// # Errors
    /// The call's failure.
    pub async fn keep(
        &self,
        key: &ProgressKey,
        epoch: u64,
        progress: &Progress,
        strikes: u32,
        expires: UnixMillis,
    ) -> Result<bool, Failure> {
        let mut call = self.client.update_item().table_name(&self.table).key("id", AttributeValue::S(key.id.clone()));
        for name in ["epoch", "pos", "runs", "strikes", "expires"] {
            call = call.expression_attribute_names(format!("#{name}"), name);
        }
        let runs = progress.beyond().iter().flat_map(|run| [run.start, run.end]).map(number);
        let result = call
            .update_expression(KEEP)
            .condition_expression(HELD)
            .expression_attribute_values(":epoch", number(epoch))
            .expression_attribute_values(":pos", number(progress.next().to_number()))
            .expression_attribute_values(":runs", AttributeValue::L(runs.collect()))
            .expression_attribute_values(":strikes", number(strikes))
            .expression_attribute_values(":expires", seconds(expires))
            .send()
            .await;
        match answer(Service::DynamoDb, "UpdateItem", result) {
            Ok(_) => Ok(true),
            Err(Failure { kind: FailureKind::Answer { code, .. }, .. })
                if code == "ConditionalCheckFailedException" =>
            {
                Ok(false)
            }
            Err(failure) => Err(failure),
        }
    }
}

/// What a row's object is gone on with by, in a row of its own beside it: it is larger, and written less often.
impl ProgressTable {
    /// Writes a checkpoint. An older one that comes late is as good, only farther back.
    ///
    /// # Errors
    /// The call's failure.
    pub async fn keep_checkpoint(&self, key: &ProgressKey, bytes: Vec<u8>, expires: UnixMillis) -> Result<(), Failure> {
        let put = self.client.put_item().table_name(&self.table).item("id", AttributeValue::S(checkpoint_id(&key.id)));
        let put = put.item("object", AttributeValue::S(key.object.clone())).item("expires", seconds(expires));
        let put = put.item("checkpoint", AttributeValue::B(bytes.into()));
        answer(Service::DynamoDb, "PutItem", put.send().await).map(|_| ())
    }

    /// The last checkpoint that was written.
    ///
    /// # Errors
    /// The call's failure.
    pub async fn checkpoint(&self, key: &ProgressKey) -> Result<Option<Vec<u8>>, Failure> {
        let kept = self.item(&checkpoint_id(&key.id)).await?.and_then(|mut item| item.remove("checkpoint"));
        Ok(match kept {
            Some(AttributeValue::B(bytes)) => Some(bytes.into_inner()),
            Some(_) | None => None,
        })
    }
}

/// What a row says of its claim.
fn claimed(item: &Item) -> Claimed {
    let of = |name: &str| whole(item.get(name)?);
    let next = of("pos").and_then(Position::from_number).unwrap_or_default();
    let runs: Vec<u64> = match item.get("runs") {
        Some(AttributeValue::L(ends)) => ends.iter().filter_map(|end| u64::try_from(whole(end)?).ok()).collect(),
        _ => Vec::new(),
    };
    let (pairs, _) = runs.as_chunks::<2>();
    Claimed {
        epoch: of("epoch").and_then(|it| u64::try_from(it).ok()).unwrap_or_default(),
        progress: Progress::new(next, pairs.iter().map(|[start, end]| *start..*end)),
        strikes: of("strikes").and_then(|it| u32::try_from(it).ok()).unwrap_or_default(),
    }
}

fn text<'i>(item: &'i Item, name: &str) -> Option<&'i str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

fn checkpoint_id(id: &str) -> String {
    format!("{id}.checkpoint")
}

fn number(number: impl Into<u128>) -> AttributeValue {
    AttributeValue::N(number.into().to_string())
}

/// DynamoDB's time to live is in seconds.
fn seconds(time: UnixMillis) -> AttributeValue {
    AttributeValue::N((time.0 / 1000).to_string())
}

fn whole(value: &AttributeValue) -> Option<u128> {
    value.as_n().ok()?.parse().ok()
}

fn row(item: HashMap<String, AttributeValue>) -> Row {
    item.into_iter().map(|(name, value)| (name, field(value))).collect()
}

/// Nesting is bounded by DynamoDB itself: 32 levels (Developer Guide, "Constraints in Amazon DynamoDB").
fn field(value: AttributeValue) -> Field {
    match value {
        AttributeValue::S(text) => Field::Text(text),
        AttributeValue::N(digits) => Field::Number(digits),
        AttributeValue::Bool(flag) => Field::Flag(flag),
        AttributeValue::L(entries) => Field::List(entries.into_iter().map(field).collect()),
        AttributeValue::Ss(texts) => Field::TextSet(texts),
        AttributeValue::M(map) => Field::Map(map.into_iter().map(|(name, value)| (name, field(value))).collect()),
        AttributeValue::Null(_) => Field::Null,
        AttributeValue::B(_) | AttributeValue::Bs(_) | AttributeValue::Ns(_) | _ => Field::Other,
    }
}
