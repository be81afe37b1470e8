//! What a call is, and what an error looks like on the wire.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use serde_json::Value;

use crate::accounts::Accounts;
use crate::faults::Fault;
use crate::tags::TagKey;

/// Who calls, as the signature proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The account that the credentials belong to.
    pub account: String,
    /// The user's ARN, or the session's.
    pub arn: String,
    /// The role's ARN, when the credentials are a session's.
    pub role: Option<String>,
    /// The session's tags.
    pub tags: BTreeMap<TagKey, String>,
    /// Of these, the ones that go on to the next session.
    pub transitive: BTreeSet<TagKey>,
}

/// A call whose signature is valid.
#[derive(Debug)]
pub(crate) struct Call<'c> {
    pub(crate) caller: &'c Caller,
    pub(crate) region: &'c str,
    pub(crate) now_ms: i64,
    pub(crate) operation: &'c str,
    pub(crate) body: &'c [u8],
    pub(crate) accounts: &'c Accounts,
    /// What a service is to do wrongly, if it is of a kind that is the service's.
    pub(crate) fault: Option<&'c Fault>,
}

impl<'c> Call<'c> {
    /// The request, which must have its shape.
    pub(crate) fn input<T: Deserialize<'c>>(&self) -> Result<T, ApiError> {
        serde_json::from_slice(self.body)
            .map_err(|error| ApiError::new(400, "SerializationException", error.to_string()))
    }

    /// Whether the caller's role allows it; else the text of the refusal.
    pub(crate) fn allowed(&self, action: &str, resource: &str) -> Result<(), String> {
        if self.accounts.allows(self.caller, action, resource) {
            Ok(())
        } else {
            Err(self.caller.denial(action, resource))
        }
    }
}

impl Caller {
    /// Whether it has all these tags: `aws:PrincipalTag/…`.
    pub(crate) fn has_tags(&self, wanted: &BTreeMap<String, String>) -> bool {
        wanted.iter().all(|(key, value)| self.tags.get(&TagKey::from(key.as_str())) == Some(value))
    }

    /// The text of a refusal.
    pub(crate) fn denial(&self, action: &str, resource: &str) -> String {
        format!(
            "User: {} is not authorized to perform: {action} on resource: {resource} because no identity-based policy \
             allows the {action} action",
            self.arn
        )
    }
}

/// An error of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status.
    pub status: u16,
    /// The code, as the API reference names it.
    pub code: &'static str,
    /// The text.
    pub message: String,
}

impl ApiError {
    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// Who has to do something about it, in the words of the query protocol.
    pub(crate) const fn whose(&self) -> &'static str {
        if self.status < 500 { "Sender" } else { "Receiver" }
    }
}

/// How a service names what is wrong with credentials.
#[derive(Debug)]
pub(crate) struct Codes {
    pub(crate) status: u16,
    pub(crate) missing: &'static str,
    pub(crate) unknown: &'static str,
    pub(crate) mismatch: &'static str,
    pub(crate) expired: &'static str,
}

impl Codes {
    pub(crate) fn of(service: &str) -> Self {
        // SQS keeps the codes of its former protocol, which was STS's.
        if ["sts", "sqs"].contains(&service) {
            return Self {
                status: 403,
                missing: "MissingAuthenticationToken",
                unknown: "InvalidClientTokenId",
                mismatch: "SignatureDoesNotMatch",
                expired: "ExpiredToken",
            };
        }
        Self {
            status: 400,
            missing: "MissingAuthenticationTokenException",
            unknown: "UnrecognizedClientException",
            mismatch: "InvalidSignatureException",
            expired: "ExpiredTokenException",
        }
    }
}

/// The answer of an operation.
pub(crate) type Answer = Result<Value, ApiError>;

pub(crate) fn unknown_operation(operation: &str) -> ApiError {
    ApiError::new(400, "UnknownOperationException", format!("operation {operation} does not exist here"))
}

/// Locks a state that no panic can leave half changed for long: the process is for tests and demonstrations.
pub(crate) fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}
