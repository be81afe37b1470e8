//! DynamoDB: what the daemon calls, and what a user needs to fill the tenant table.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::api::{Answer, ApiError, Call, lock, unknown_operation};
use crate::expressions::{Names, holds, updated};

/// Bytes of one page. Source: DynamoDB API Reference, "Query".
const PAGE_BYTES_MAX: usize = 1 << 20;
/// Bytes of one item. Source: DynamoDB Developer Guide, "Constraints in Amazon DynamoDB".
const ITEM_BYTES_MAX: usize = 400 * 1024;
/// Levels of lists and maps in each other. Source: as above.
const DEPTH_MAX: usize = 32;

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

/// What is not here is refused: a condition or a filter that is passed over would answer wrongly.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default, deny_unknown_fields)]
struct Request {
    table_name: String,
    key_schema: Vec<KeyPart>,
    attribute_definitions: Vec<Attribute>,
    item: Item,
    key: Item,
    key_condition_expression: String,
    condition_expression: String,
    update_expression: String,
    return_values: String,
    expression_attribute_names: BTreeMap<String, String>,
    expression_attribute_values: BTreeMap<String, Value>,
    exclusive_start_key: Option<Item>,
    limit: Option<usize>,
    // Without meaning here: every read is consistent, and nothing is billed.
    #[serde(rename = "ConsistentRead")]
    _consistent_read: Value,
    #[serde(rename = "BillingMode")]
    _billing_mode: Value,
    #[serde(rename = "ProvisionedThroughput")]
    _provisioned_throughput: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct KeyPart {
    attribute_name: String,
    key_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Attribute {
    attribute_name: String,
    attribute_type: String,
}

fn invalid(text: impl Into<String>) -> ApiError {
    ApiError::new(400, "ValidationException", text)
}

impl DynamoDb {
    pub(crate) fn create(
        &self,
        account: &str,
        region: &str,
        name: &str,
        hash: &str,
        range: Option<&str>,
    ) -> Result<(), ApiError> {
        let table = Table { hash: hash.to_owned(), range: range.map(str::to_owned), items: BTreeMap::new() };
        let mut tables = lock(&self.tables);
        let key = (account.to_owned(), region.to_owned(), name.to_owned());
        if tables.contains_key(&key) {
            return Err(ApiError::new(400, "ResourceInUseException", format!("Table already exists: {name}")));
        }
        tables.insert(key, table);
        Ok(())
    }

    pub(crate) fn put(&self, account: &str, region: &str, name: &str, item: Item) -> Result<(), ApiError> {
        let mut tables = lock(&self.tables);
        let table = tables.get_mut(&(account.to_owned(), region.to_owned(), name.to_owned())).ok_or_else(missing)?;
        let key = table.key(&item)?;
        if bytes(&item)? > ITEM_BYTES_MAX {
            return Err(invalid("Item size has exceeded the maximum allowed size"));
        }
        table.items.insert(key, item);
        Ok(())
    }

    pub(crate) fn call(&self, call: &Call<'_>) -> Answer {
        let request = serde_json::from_slice::<Request>(call.body)
            .map_err(|error| if error.is_data() { invalid(error.to_string()) } else { unread(&error) })?;
        let (account, name) = (&call.caller.account, &request.table_name);
        let arn = format!("arn:aws:dynamodb:{}:{account}:table/{name}", call.region);
        call.allowed(&format!("dynamodb:{}", call.operation), &arn)
            .map_err(|text| ApiError::new(400, "AccessDeniedException", text))?;
        if call.operation != "UpdateItem" {
            request.has_no_update()?;
        }
        if call.operation == "CreateTable" {
            let (hash, range) = request.keys()?;
            self.create(account, call.region, name, hash, range)?;
            return Ok(json!({ "TableDescription": { "TableName": name, "TableArn": arn, "TableStatus": "ACTIVE" } }));
        }
        if call.operation == "PutItem" {
            return self.put(account, call.region, name, request.item).map(|()| json!({}));
        }
        let mut tables = lock(&self.tables);
        let table = tables.get_mut(&(account.clone(), call.region.to_owned(), name.clone())).ok_or_else(missing)?;
        match call.operation {
            "DescribeTable" => {
                let part = |kind: &str, name| json!({ "AttributeName": name, "KeyType": kind });
                let mut keys = vec![part("HASH", &table.hash)];
                keys.extend(table.range.as_ref().map(|range| part("RANGE", range)));
                Ok(json!({ "Table": {
                    "TableName": name, "TableArn": arn, "TableStatus": "ACTIVE", "ItemCount": table.items.len(),
                    "KeySchema": keys,
                }}))
            }
            "DeleteItem" => {
                let key = table.only_key(&request.key)?;
                table.items.remove(&key);
                Ok(json!({}))
            }
            "GetItem" => {
                let key = table.only_key(&request.key)?;
                Ok(table.items.get(&key).map_or_else(|| json!({}), |item| json!({ "Item": item })))
            }
            "UpdateItem" => table.update(&request),
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

fn unread(error: &serde_json::Error) -> ApiError {
    ApiError::new(400, "SerializationException", error.to_string())
}

/// A key's value: all keys here are texts.
fn key_text(value: Option<&Value>) -> Result<String, ApiError> {
    let value = value.ok_or_else(|| {
        invalid("One or more parameter values were invalid: Missing the key in the item, or a key is not of its type")
    })?;
    match value.get("S").and_then(Value::as_str) {
        Some("") => Err(invalid(
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value.",
        )),
        Some(text) => Ok(text.to_owned()),
        None => Err(invalid("The provided key element does not match the schema")),
    }
}

/// The bytes of an item as DynamoDB counts them, names and values; a value that is none is refused.
/// Source: DynamoDB Developer Guide, "DynamoDB item sizes and formats".
fn bytes(item: &Item) -> Result<usize, ApiError> {
    item.iter().map(|(name, value)| Ok(name.len() + value_bytes(value, 0)?)).sum()
}

fn value_bytes(value: &Value, depth: usize) -> Result<usize, ApiError> {
    let wrong = || {
        invalid(
            "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes, or is not of its type",
        )
    };
    let Some((kind, of)) = value.as_object().filter(|it| it.len() == 1).and_then(|it| it.iter().next()) else {
        return Err(wrong());
    };
    if depth >= DEPTH_MAX {
        return Err(invalid("Nesting Levels have exceeded supported limits"));
    }
    let text = |of: &Value| of.as_str().map(str::len).ok_or_else(wrong);
    match kind.as_str() {
        "S" | "B" => text(of),
        "N" => {
            let digits =
                of.as_str().filter(|digits| digits.parse::<f64>().is_ok_and(f64::is_finite)).ok_or_else(wrong)?;
            Ok(digits.len() / 2 + 1)
        }
        "BOOL" => of.as_bool().map(|_| 1).ok_or_else(wrong),
        "NULL" => of.as_bool().filter(|null| *null).map(|_| 1).ok_or_else(wrong),
        "SS" | "NS" | "BS" => {
            let entries = of.as_array().filter(|entries| !entries.is_empty()).ok_or_else(wrong)?;
            let distinct: BTreeSet<_> = entries.iter().filter_map(Value::as_str).collect();
            if distinct.len() < entries.len() {
                return Err(invalid("One or more parameter values were invalid: Input collection contains duplicates"));
            }
            entries.iter().map(text).sum()
        }
        "L" => {
            let entries = of.as_array().ok_or_else(wrong)?;
            entries
                .iter()
                .map(|entry| Ok(1 + value_bytes(entry, depth + 1)?))
                .sum::<Result<usize, _>>()
                .map(|it| it + 3)
        }
        "M" => {
            let entries = of.as_object().ok_or_else(wrong)?;
            let each = entries.iter().map(|(name, entry)| Ok(1 + name.len() + value_bytes(entry, depth + 1)?));
            each.sum::<Result<usize, _>>().map(|it| it + 3)
        }
        _ => Err(wrong()),
    }
}

impl Table {
    fn key(&self, item: &Item) -> Result<Key, ApiError> {
        let range = self.range.as_ref().map(|name| key_text(item.get(name))).transpose()?;
        Ok((key_text(item.get(&self.hash))?, range.unwrap_or_default()))
    }

    /// The key of an item that has nothing else.
    fn only_key(&self, key: &Item) -> Result<Key, ApiError> {
        if key.len() > 1 + usize::from(self.range.is_some()) {
            return Err(invalid("The provided key element does not match the schema"));
        }
        self.key(key)
    }

    /// Changes an item, which is made if it is not there, if its condition holds.
    fn update(&mut self, request: &Request) -> Answer {
        let key = self.only_key(&request.key)?;
        let stands = self.items.get(&key);
        let names = Names::new(&request.expression_attribute_names, &request.expression_attribute_values);
        let condition = &request.condition_expression;
        let nothing = Item::new();
        let met = condition.is_empty() || holds(condition, &names, stands.unwrap_or(&nothing))?;
        let keys: Vec<&str> = std::iter::once(&self.hash).chain(&self.range).map(String::as_str).collect();
        let new = updated(&request.update_expression, &names, stands.unwrap_or(&request.key), &keys)?;
        names.all_used()?;
        if !met {
            return Err(ApiError::new(400, "ConditionalCheckFailedException", "The conditional request failed"));
        }
        if bytes(&new)? > ITEM_BYTES_MAX {
            return Err(invalid("Item size to update has exceeded the maximum allowed size"));
        }
        let answer = match request.return_values.as_str() {
            "" | "NONE" => json!({}),
            "ALL_NEW" => json!({ "Attributes": new }),
            other => return Err(invalid(format!("ReturnValues {other} is not served here"))),
        };
        self.items.insert(key, new);
        Ok(answer)
    }

    /// Items in key order, up to the limit or a page's bytes.
    fn page(&self, request: &Request, wanted: impl Fn(&Key) -> bool) -> Answer {
        let start = request.exclusive_start_key.as_ref().map(|key| self.only_key(key)).transpose()?;
        let limit = request.limit.unwrap_or(usize::MAX);
        if limit == 0 {
            return Err(invalid("Value '0' at 'limit' failed to satisfy constraint: Member must be 1 or more"));
        }
        let (mut items, mut read, mut full) = (Vec::new(), 0, false);
        for (key, item) in &self.items {
            if !wanted(key) || start.as_ref().is_some_and(|start| key <= start) {
                continue;
            }
            read += bytes(item)?;
            if read > PAGE_BYTES_MAX {
                full = true;
                break;
            }
            items.push(item);
            // The limit ends a page even if nothing is behind it.
            full = items.len() >= limit;
            if full {
                break;
            }
        }
        let mut answer = json!({ "Items": items, "Count": items.len(), "ScannedCount": items.len() });
        if let (true, Some(last)) = (full, items.last()) {
            let names = std::iter::once(&self.hash).chain(&self.range);
            let key: Item = names.filter_map(|name| Some((name.clone(), last.get(name)?.clone()))).collect();
            answer["LastEvaluatedKey"] = Value::Object(key);
        }
        Ok(answer)
    }
}

impl Request {
    /// An error if it has what only updates are served with: a condition that is passed over would answer wrongly.
    fn has_no_update(&self) -> Result<(), ApiError> {
        let given = [&self.condition_expression, &self.update_expression, &self.return_values];
        if given.iter().any(|text| !text.is_empty()) {
            return Err(invalid("ConditionExpression, UpdateExpression and ReturnValues are served for UpdateItem"));
        }
        Ok(())
    }

    /// The attributes of a new table's key, which must be texts.
    fn keys(&self) -> Result<(&str, Option<&str>), ApiError> {
        let part =
            |kind: &str| self.key_schema.iter().find(|it| it.key_type == kind).map(|it| it.attribute_name.as_str());
        let hash = part("HASH").ok_or_else(|| invalid("a HASH key is needed"))?;
        for name in std::iter::once(hash).chain(part("RANGE")) {
            let defined = self.attribute_definitions.iter().find(|it| it.attribute_name == name);
            if defined.is_none_or(|it| it.attribute_type != "S") {
                return Err(invalid(format!("{name} must be defined, and only keys of type S are served here")));
            }
        }
        Ok((hash, part("RANGE")))
    }

    /// `hash = :value`, optionally `AND range = :value`.
    fn condition(&self, table: &Table) -> Result<(String, Option<String>), ApiError> {
        let (mut hash, mut range) = (None, None);
        let mut used = BTreeSet::new();
        let text = self.key_condition_expression.replace(" and ", " AND ");
        for clause in text.split(" AND ") {
            let (name, value) = clause.split_once('=').ok_or_else(|| invalid("only equality is served here"))?;
            let (name, value) = (name.trim(), value.trim());
            used.extend([name, value]);
            let name = self.expression_attribute_names.get(name).map_or(name, String::as_str);
            let value = self.expression_attribute_values.get(value).ok_or_else(|| {
                invalid(format!(
                    "Invalid KeyConditionExpression: an attribute value used in it is not defined: {value}"
                ))
            })?;
            let value = key_text(Some(value))?;
            if name == table.hash {
                hash = Some(value);
            } else if Some(name) == table.range.as_deref() {
                range = Some(value);
            } else {
                return Err(invalid("Query condition missed key schema element"));
            }
        }
        let mut given = self.expression_attribute_names.keys().chain(self.expression_attribute_values.keys());
        if let Some(unused) = given.find(|name| !used.contains(name.as_str())) {
            return Err(invalid(format!("Value provided in ExpressionAttribute… unused in expressions: {unused}")));
        }
        Ok((hash.ok_or_else(|| invalid("Query condition missed key schema element"))?, range))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Accounts;
    use crate::api::Caller;

    fn run(db: &DynamoDb, account: &str, operation: &str, body: &Value) -> Answer {
        let caller = Caller {
            account: account.into(),
            arn: "a".into(),
            role: None,
            tags: BTreeMap::new(),
            transitive: BTreeSet::new(),
        };
        let body = body.to_string();
        let accounts = Accounts::default();
        let body = body.as_bytes();
        db.call(&Call { caller: &caller, region: "r", now_ms: 0, operation, body, accounts: &accounts, fault: None })
    }

    #[test]
    fn pages_follow_each_other_and_other_accounts_see_nothing() {
        let db = DynamoDb::default();
        db.create("1", "r", "t", "tenant_id", Some("type")).unwrap();
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

    #[test]
    fn updates_make_items_and_keep_their_conditions() {
        let db = DynamoDb::default();
        db.create("1", "r", "t", "id", None).unwrap();
        let update = |condition: &str, by: &str| {
            let mut body = json!({ "TableName": "t", "Key": { "id": { "S": "k" } }, "UpdateExpression": "ADD #n :by",
                "ReturnValues": "ALL_NEW", "ExpressionAttributeNames": { "#n": "n" },
                "ExpressionAttributeValues": { ":by": { "N": by } } });
            if !condition.is_empty() {
                body["ConditionExpression"] = json!(condition);
            }
            run(&db, "1", "UpdateItem", &body).map(|answer| answer["Attributes"].clone()).map_err(|error| error.code)
        };
        assert_eq!(update("", "2"), Ok(json!({ "id": { "S": "k" }, "n": { "N": "2" } })));
        assert_eq!(update("attribute_not_exists(#n)", "2").unwrap_err(), "ConditionalCheckFailedException");
        let put = json!({ "TableName": "t", "Item": { "id": { "S": "k" } }, "ConditionExpression": "attribute_not_exists(id)" });
        assert_eq!(run(&db, "1", "PutItem", &put).unwrap_err().code, "ValidationException", "it is not passed over");
        assert_eq!(update("#n <= :by", "3"), Ok(json!({ "id": { "S": "k" }, "n": { "N": "5" } })));
        let unused = json!({ "TableName": "t", "Key": { "id": { "S": "k" } }, "UpdateExpression": "REMOVE n",
            "ExpressionAttributeNames": { "#n": "n" } });
        assert_eq!(run(&db, "1", "UpdateItem", &unused).unwrap_err().code, "ValidationException");
    }
}
