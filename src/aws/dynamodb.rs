//! The tenant table.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;

use super::{Aws, answer};
use crate::core::failure::{Failure, Service};
use crate::core::tenant::{Field, Row, TenantId};

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
        let mut config = aws_sdk_dynamodb::config::Builder::from(&aws.base);
        config.set_endpoint_url(aws.endpoint(Service::DynamoDb));
        Self { client: Client::from_conf(config.build()), table: table.to_owned() }
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
