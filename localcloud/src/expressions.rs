//! DynamoDB's expressions, as far as they are served: conditions of comparisons, and updates that set, add and remove.
//! Source: DynamoDB Developer Guide, "Using expressions in DynamoDB". What is not here is refused.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::api::ApiError;

type Item = Map<String, Value>;

/// Expressions in each other that are followed.
const DEPTH_MAX: usize = 32;

fn invalid(text: impl Into<String>) -> ApiError {
    ApiError::new(400, "ValidationException", text)
}

/// What `#name` and `:value` stand for. All that is given must be used.
#[derive(Debug)]
pub(crate) struct Names<'r> {
    names: &'r BTreeMap<String, String>,
    values: &'r BTreeMap<String, Value>,
    used: RefCell<BTreeSet<String>>,
}

impl<'r> Names<'r> {
    pub(crate) fn new(names: &'r BTreeMap<String, String>, values: &'r BTreeMap<String, Value>) -> Self {
        Self { names, values, used: RefCell::default() }
    }

    fn name(&self, token: &str) -> Result<String, ApiError> {
        if !token.starts_with('#') {
            return Ok(token.to_owned());
        }
        self.used.borrow_mut().insert(token.to_owned());
        let name = self.names.get(token);
        name.cloned().ok_or_else(|| {
            invalid(format!("An expression attribute name used in the document path is not defined: {token}"))
        })
    }

    fn value(&self, token: &str) -> Result<&'r Value, ApiError> {
        self.used.borrow_mut().insert(token.to_owned());
        let value = self.values.get(token);
        value
            .ok_or_else(|| invalid(format!("An expression attribute value used in expression is not defined: {token}")))
    }

    /// An error if something is given that no expression used.
    pub(crate) fn all_used(&self) -> Result<(), ApiError> {
        let used = self.used.borrow();
        match self.names.keys().chain(self.values.keys()).find(|name| !used.contains(*name)) {
            Some(unused) => {
                Err(invalid(format!("Value provided in ExpressionAttribute… unused in expressions: {unused}")))
            }
            None => Ok(()),
        }
    }
}

/// Words, names, values and signs of an expression.
fn tokens(text: &str) -> Result<Vec<&str>, ApiError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    loop {
        let mut chars = rest.chars();
        let Some(first) = chars.next() else { return Ok(tokens) };
        let behind = chars.as_str();
        let part_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let len = match first {
            '(' | ')' | ',' | '=' => 1,
            '<' | '>' => 1 + usize::from(behind.starts_with(['=', '>'])),
            '#' | ':' => 1 + behind.find(|c| !part_of_word(c)).unwrap_or(behind.len()),
            c if part_of_word(c) => rest.find(|c| !part_of_word(c)).unwrap_or(rest.len()),
            other => return Err(invalid(format!("Syntax error; token: \"{other}\" is not served here"))),
        };
        let (token, behind) = rest.split_at(len);
        tokens.push(token);
        rest = behind.trim_start();
    }
}

struct Reader<'t> {
    tokens: &'t [&'t str],
    names: &'t Names<'t>,
    item: &'t Item,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<&'t str, ApiError> {
        let (first, rest) =
            self.tokens.split_first().ok_or_else(|| invalid("Syntax error; the expression ends too early"))?;
        self.tokens = rest;
        Ok(first)
    }

    fn takes(&mut self, word: &str) -> bool {
        let is_next = self.tokens.first().is_some_and(|token| token.eq_ignore_ascii_case(word));
        if is_next {
            self.tokens = &self.tokens[1..];
        }
        is_next
    }

    fn wants(&mut self, word: &str) -> Result<(), ApiError> {
        if self.takes(word) { Ok(()) } else { Err(invalid(format!("Syntax error; {word} is wanted"))) }
    }

    fn either(&mut self, depth: usize) -> Result<bool, ApiError> {
        let mut holds = self.all(depth)?;
        while self.takes("OR") {
            holds |= self.all(depth)?;
        }
        Ok(holds)
    }

    fn all(&mut self, depth: usize) -> Result<bool, ApiError> {
        let mut holds = self.one(depth)?;
        while self.takes("AND") {
            holds &= self.one(depth)?;
        }
        Ok(holds)
    }

    fn one(&mut self, depth: usize) -> Result<bool, ApiError> {
        if depth >= DEPTH_MAX {
            return Err(invalid("The expression is nested too deeply"));
        }
        if self.takes("NOT") {
            return Ok(!self.one(depth + 1)?);
        }
        if self.takes("(") {
            let holds = self.either(depth + 1)?;
            return self.wants(")").map(|()| holds);
        }
        for (function, wanted) in [("attribute_exists", true), ("attribute_not_exists", false)] {
            if self.takes(function) {
                self.wants("(")?;
                let name = self.next()?;
                let exists = self.item.contains_key(&self.names.name(name)?);
                return self.wants(")").map(|()| exists == wanted);
            }
        }
        let left = self.operand()?;
        let sign = self.next()?;
        let right = self.operand()?;
        let (Some(left), Some(right)) = (left, right) else { return Ok(sign == "<>") };
        let order = compare(&left, &right);
        match sign {
            "=" => Ok(left == right || order == Some(Ordering::Equal)),
            "<>" => Ok(left != right && order != Some(Ordering::Equal)),
            "<" => Ok(order == Some(Ordering::Less)),
            "<=" => Ok(matches!(order, Some(Ordering::Less | Ordering::Equal))),
            ">" => Ok(order == Some(Ordering::Greater)),
            ">=" => Ok(matches!(order, Some(Ordering::Greater | Ordering::Equal))),
            other => Err(invalid(format!("Syntax error; token: \"{other}\" is no comparison"))),
        }
    }

    fn operand(&mut self) -> Result<Option<Value>, ApiError> {
        let token = self.next()?;
        if token.starts_with(':') {
            return self.names.value(token).cloned().map(Some);
        }
        Ok(self.item.get(&self.names.name(token)?).cloned())
    }
}

/// Numbers and texts have an order; of different types none.
fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    let of = |value: &Value, kind: &str| value.get(kind).and_then(Value::as_str).map(str::to_owned);
    if let (Some(left), Some(right)) = (of(left, "N"), of(right, "N")) {
        return match (left.parse::<i128>(), right.parse::<i128>()) {
            (Ok(left), Ok(right)) => Some(left.cmp(&right)),
            _ => left.parse::<f64>().ok()?.partial_cmp(&right.parse().ok()?),
        };
    }
    Some(of(left, "S")?.cmp(&of(right, "S")?))
}

/// Whether a condition holds for an item.
pub(crate) fn holds(condition: &str, names: &Names<'_>, item: &Item) -> Result<bool, ApiError> {
    let tokens = tokens(condition)?;
    let mut reader = Reader { tokens: &tokens, names, item };
    let holds = reader.either(0)?;
    match reader.tokens.first() {
        None => Ok(holds),
        Some(more) => Err(invalid(format!("Syntax error; token: \"{more}\""))),
    }
}

/// The item after an update. `keys` may not be changed.
pub(crate) fn updated(update: &str, names: &Names<'_>, item: &Item, keys: &[&str]) -> Result<Item, ApiError> {
    let tokens = tokens(update)?;
    let mut reader = Reader { tokens: &tokens, names, item };
    let mut new = item.clone();
    let mut changed = BTreeSet::new();
    let mut sections = BTreeSet::new();
    while let Ok(section) = reader.next().map(str::to_ascii_uppercase) {
        if !sections.insert(section.clone()) {
            return Err(invalid(format!("The \"{section}\" section can only be used once in an update expression")));
        }
        loop {
            let name = names.name(reader.next()?)?;
            if keys.contains(&name.as_str()) {
                return Err(invalid(format!("Cannot update attribute {name}. This attribute is part of the key")));
            }
            if !changed.insert(name.clone()) {
                return Err(invalid(format!("Two document paths overlap with each other: {name}")));
            }
            match section.as_str() {
                "SET" => {
                    reader.wants("=")?;
                    let value = reader.operand()?;
                    let none =
                        || invalid("The provided expression refers to an attribute that does not exist in the item");
                    new.insert(name, value.ok_or_else(none)?);
                }
                "ADD" => {
                    let number =
                        |value: &Value| value.get("N").and_then(Value::as_str).and_then(|it| it.parse::<i128>().ok());
                    let wrong = || {
                        invalid(
                            "An operand in the update expression has an incorrect data type; whole numbers are served here",
                        )
                    };
                    let more = number(names.value(reader.next()?)?).ok_or_else(wrong)?;
                    let sum = match item.get(&name) {
                        Some(value) => number(value).and_then(|value| value.checked_add(more)).ok_or_else(wrong)?,
                        None => more,
                    };
                    new.insert(name, json!({ "N": sum.to_string() }));
                }
                "REMOVE" => {
                    new.remove(&name);
                }
                other => {
                    return Err(invalid(format!("Syntax error; token: \"{other}\" is no section that is served here")));
                }
            }
            if !reader.takes(",") {
                break;
            }
        }
    }
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(value: &Value) -> Item {
        value.as_object().unwrap().clone()
    }

    fn given() -> (BTreeMap<String, String>, BTreeMap<String, Value>) {
        let names = [("#p", "pos"), ("#e", "epoch"), ("#t", "ttl")];
        let values = [(":five", json!({ "N": "5" })), (":one", json!({ "N": "1" })), (":x", json!({ "S": "x" }))];
        let names = names.map(|(name, of)| (name.to_owned(), of.to_owned())).into();
        (names, values.map(|(name, of)| (name.to_owned(), of)).into())
    }

    #[test]
    fn conditions() {
        let (names, values) = given();
        let names = Names::new(&names, &values);
        let at = item(&json!({ "pos": { "N": "12" }, "name": { "S": "x" } }));
        let cases = [
            ("#p = :five", false),
            ("#p > :five", true),
            (":five<#p", true),
            ("attribute_not_exists(#e)", true),
            ("attribute_not_exists(#p) OR #p <= :five", false),
            ("name = :x AND (attribute_not_exists(#e) OR #e < :one)", true),
            ("NOT name = :x OR #p >= :five AND name = :x", true),
            ("#e < :one", false),
            ("#e <> :one", true),
            // Of different types.
            ("name < :five", false),
            ("name = :five", false),
        ];
        for (text, expected) in cases {
            assert_eq!(holds(text, &names, &at).unwrap(), expected, "{text}");
        }
        for wrong in [
            "",
            "#p =",
            "#p = :no",
            "#no = :one",
            "#p ~ :one",
            "(#p = :one",
            "#p = :one)",
            "#p = :one #p",
            "size(#p) > :one",
        ] {
            assert_eq!(holds(wrong, &names, &at).unwrap_err().code, "ValidationException", "{wrong}");
        }
        assert!(holds(&"(".repeat(10_000), &names, &at).is_err());
        assert!(names.all_used().is_err(), "#t is not used");
    }

    #[test]
    fn updates() {
        let (names, values) = given();
        let names = Names::new(&names, &values);
        let before = item(&json!({ "id": { "S": "k" }, "pos": { "N": "12" }, "old": { "S": "x" } }));
        let after =
            updated("ADD #e :one, #p :five SET #t = :five, name = :x REMOVE old", &names, &before, &["id"]).unwrap();
        let expected = json!({ "id": { "S": "k" }, "pos": { "N": "17" }, "epoch": { "N": "1" }, "ttl": { "N": "5" }, "name": { "S": "x" } });
        assert_eq!(Value::Object(after), expected);
        for wrong in [
            "SET id = :x",
            "SET #p = :five, #p = :one",
            "SET a = :x SET b = :x",
            "ADD old :one",
            "PUT a :x",
            "SET a",
            "SET a = b",
            "DELETE a :x",
        ] {
            assert_eq!(updated(wrong, &names, &before, &["id"]).unwrap_err().code, "ValidationException", "{wrong}");
        }
    }
}
