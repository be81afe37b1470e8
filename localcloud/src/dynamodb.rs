//! DynamoDB: what the daemon calls, and what a user needs to fill the tenant table.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::api::{Answer, ApiError, Call, lock, unknown_operation};

/// Bytes of one page. Source: DynamoDB API Reference, "Query".
const PAGE_BYTES_MAX: usize = 1 << 20;

type Item = Map<String, Value>;
type Key = (String, String);

#[derive(Debug)]
struct Table {
    hash: String,
    range: Option<String>,
    items: BTreeMap<Key, Item>,
}

/// All tables, by account, region and name.
#[derive(Debug, Default)]
pub(crate) struct DynamoDb {
    tables: Mutex<BTreeMap<(String, String, String), Table>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Request {
    table_name: String,
    key_schema: Vec<KeyPart>,
    item: Item,
    key: Item,
    key_condition_expression: String,
    expression_attribute_names: BTreeMap<String, String>,
    expression_attribute_values: BTreeMap<String, Value>,
    exclusive_start_key: Option<Item>,
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeyPart {
    attribute_name: String,
    key_type: String,
}

fn invalid(text: &str) -> ApiError {
    ApiError::new(400, "ValidationException", text)
}

impl DynamoDb {
    pub(crate) fn create(&self, account: &str, region: &str, name: &str, hash: &str, range: Option<&str>) {
        let table = Table { hash: hash.to_owned(), range: range.map(str::to_owned), items: BTreeMap::new() };
        lock(&self.tables).insert((account.to_owned(), region.to_owned(), name.to_owned()), table);
    }

    pub(crate) fn put(&self, account: &str, region: &str, name: &str, item: Item) -> Result<(), ApiError> {
        let mut tables = lock(&self.tables);
        let table = tables.get_mut(&(account.to_owned(), region.to_owned(), name.to_owned())).ok_or_else(missing)?;
        let key = table.key(&item)?;
        table.items.insert(key, item);
        Ok(())
    }

    pub(crate) fn call(&self, call: &Call<'_>) -> Answer {
        let request: Request = call.input()?;
        let (account, name) = (&call.caller.account, &request.table_name);
        if call.operation == "CreateTable" {
            let part = |kind: &str| {
                request.key_schema.iter().find(|it| it.key_type == kind).map(|it| it.attribute_name.as_str())
            };
            let hash = part("HASH").ok_or_else(|| invalid("a HASH key is needed"))?;
            self.create(account, call.region, name, hash, part("RANGE"));
            return Ok(json!({ "TableDescription": { "TableName": name, "TableStatus": "ACTIVE" } }));
        }
        if call.operation == "PutItem" {
            return self.put(account, call.region, name, request.item).map(|()| json!({}));
        }
        let mut tables = lock(&self.tables);
        let table = tables.get_mut(&(account.clone(), call.region.to_owned(), name.clone())).ok_or_else(missing)?;
        match call.operation {
            "DescribeTable" => {
                Ok(json!({ "Table": { "TableName": name, "TableStatus": "ACTIVE", "ItemCount": table.items.len() } }))
            }
            "DeleteItem" => {
                let key = table.key(&request.key)?;
                table.items.remove(&key);
                Ok(json!({}))
            }
            "GetItem" => {
                let key = table.key(&request.key)?;
                Ok(table.items.get(&key).map_or_else(|| json!({}), |item| json!({ "Item": item })))
            }
            "Query" => {
                let wanted = request.condition(table)?;
                table
                    .page(&request, |(hash, range)| *hash == wanted.0 && wanted.1.as_ref().is_none_or(|it| it == range))
            }
            "Scan" => table.page(&request, |_| true),
            other => Err(unknown_operation(other)),
        }
    }
}

fn missing() -> ApiError {
    ApiError::new(400, "ResourceNotFoundException", "Requested resource not found")
}

/// A key's value as text: strings and numbers do.
fn key_text(value: Option<&Value>) -> Result<String, ApiError> {
    let value = value.ok_or_else(|| invalid("One of the required keys was not given a value"))?;
    let text = value.get("S").or_else(|| value.get("N")).and_then(Value::as_str);
    match text {
        Some("") => Err(invalid(
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value.",
        )),
        Some(text) => Ok(text.to_owned()),
        None => Err(invalid("The provided key element does not match the schema")),
    }
}

impl Table {
    fn key(&self, item: &Item) -> Result<Key, ApiError> {
        let range = self.range.as_ref().map(|name| key_text(item.get(name))).transpose()?;
        Ok((key_text(item.get(&self.hash))?, range.unwrap_or_default()))
    }

    /// Items in key order, up to the limit or a page's bytes.
    fn page(&self, request: &Request, wanted: impl Fn(&Key) -> bool) -> Answer {
        let start = request.exclusive_start_key.as_ref().map(|key| self.key(key)).transpose()?;
        let limit = request.limit.unwrap_or(usize::MAX);
        let (mut items, mut bytes, mut last) = (Vec::new(), 0, None);
        for (key, item) in &self.items {
            if !wanted(key) || start.as_ref().is_some_and(|start| key <= start) {
                continue;
            }
            if items.len() >= limit || bytes >= PAGE_BYTES_MAX {
                break;
            }
            bytes += Value::Object(item.clone()).to_string().len();
            items.push(item);
            last = Some(item);
        }
        let full = items.len() >= limit || bytes >= PAGE_BYTES_MAX;
        let mut answer = json!({ "Items": items, "Count": items.len(), "ScannedCount": items.len() });
        if let (true, Some(last)) = (full, last) {
            let names = std::iter::once(&self.hash).chain(&self.range);
            let key: Item = names.filter_map(|name| Some((name.clone(), last.get(name)?.clone()))).collect();
            answer["LastEvaluatedKey"] = Value::Object(key);
        }
        Ok(answer)
    }
}

impl Request {
    /// `hash = :value`, optionally `AND range = :value`.
    fn condition(&self, table: &Table) -> Result<(String, Option<String>), ApiError> {
        let (mut hash, mut range) = (None, None);
        let text = self.key_condition_expression.replace(" and ", " AND ");
        for clause in text.split(" AND ") {
            let (name, value) = clause.split_once('=').ok_or_else(|| invalid("only equality is served here"))?;
            let name = name.trim();
            let name = self.expression_attribute_names.get(name).map_or(name, String::as_str);
            let value = key_text(self.expression_attribute_values.get(value.trim()))?;
            if name == table.hash {
                hash = Some(value);
            } else if Some(name) == table.range.as_deref() {
                range = Some(value);
            } else {
                return Err(invalid("Query condition missed key schema element"));
            }
        }
        Ok((hash.ok_or_else(|| invalid("Query condition missed key schema element"))?, range))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Caller;

    fn run(db: &DynamoDb, account: &str, operation: &str, body: &Value) -> Answer {
        let caller =
            Caller { account: account.into(), arn: "a".into(), role: None, tags: BTreeMap::new(), transitive: vec![] };
        let body = body.to_string();
        db.call(&Call { caller: &caller, region: "r", now_ms: 0, operation, body: body.as_bytes() })
    }

    #[test]
    fn pages_follow_each_other_and_other_accounts_see_nothing() {
        let db = DynamoDb::default();
        db.create("1", "r", "t", "tenant_id", Some("type"));
        for kind in ["a", "b", "c"] {
            let item = json!({ "TableName": "t", "Item": { "tenant_id": { "S": "x" }, "type": { "S": kind } } });
            run(&db, "1", "PutItem", &item).unwrap();
        }
        let mut start = Value::Null;
        let mut seen = Vec::new();
        loop {
            let query = json!({ "TableName": "t", "KeyConditionExpression": "#t = :t", "Limit": 2,
                "ExpressionAttributeNames": { "#t": "tenant_id" }, "ExpressionAttributeValues": { ":t": { "S": "x" } },
                "ExclusiveStartKey": start });
            let page = run(&db, "1", "Query", &query).unwrap();
            seen.extend(page["Items"].as_array().unwrap().iter().map(|item| item["type"]["S"].clone()));
            start = page["LastEvaluatedKey"].clone();
            if start.is_null() {
                break;
            }
        }
        assert_eq!(seen, ["a", "b", "c"]);
        assert_eq!(run(&db, "2", "Scan", &json!({ "TableName": "t" })).unwrap_err().code, "ResourceNotFoundException");
        let empty = json!({ "TableName": "t", "Key": { "tenant_id": { "S": "" }, "type": { "S": "a" } } });
        assert_eq!(run(&db, "1", "GetItem", &empty).unwrap_err().code, "ValidationException");
    }
}
