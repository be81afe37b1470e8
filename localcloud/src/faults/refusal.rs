//! What a service answers to a call that it does not do, in its own words. Sources: the API References, "Common Errors" and
//! the operations' own; S3 API Reference, "Error Responses".

use super::kind::Kind;
use super::plan::Fault;
use crate::api::{ApiError, Codes};

impl Fault {
    /// What is answered instead of doing it. Of a connection that is reset before, nobody gets to read it.
    pub(crate) fn refusal(&self, service: &str) -> Option<ApiError> {
        let refusal = refusal(self.kind, service)?;
        self.happens();
        Some(refusal)
    }
}

fn refusal(kind: Kind, service: &str) -> Option<ApiError> {
    let (status, code, text) = match kind {
        Kind::Throttle => throttling(service),
        Kind::Error500 | Kind::ResetBefore => internal(service),
        Kind::Error503 => unavailable(service),
        Kind::Expired if service == "s3" => (400, "ExpiredToken", "The provided token has expired."),
        Kind::Expired => {
            let codes = Codes::of(service);
            (codes.status, codes.expired, "The security token included in the request is expired")
        }
        Kind::Skewed if service == "s3" => {
            (403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
        }
        Kind::Skewed => {
            let codes = Codes::of(service);
            (
                codes.status,
                codes.mismatch,
                "Signature expired: the request's time is not within 5 minutes of the server's",
            )
        }
        Kind::Denied => denied(service),
        Kind::Error404 => (404, "NoSuchKey", "The specified key does not exist."),
        Kind::Error412 => (412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold"),
        Kind::Error416 => (416, "InvalidRange", "The requested range is not satisfiable"),
        Kind::ResetAfter
        | Kind::Cut
        | Kind::Delay
        | Kind::Slow
        | Kind::Corrupt
        | Kind::RejectOld
        | Kind::RejectNew
        | Kind::RejectExpired
        | Kind::Duplicate
        | Kind::Reorder
        | Kind::LostHide
        | Kind::LostDelete => return None,
    };
    Some(ApiError::new(status, code, text))
}

/// Status, code and text.
type Words = (u16, &'static str, &'static str);

fn throttling(service: &str) -> Words {
    match service {
        "s3" => (503, "SlowDown", "Please reduce your request rate."),
        "sqs" => (400, "RequestThrottled", "The request was denied due to request throttling."),
        "dynamodb" => (
            400,
            "ProvisionedThroughputExceededException",
            "The level of configured provisioned throughput for the table was exceeded.",
        ),
        "sts" => (400, "Throttling", "Rate exceeded"),
        _ => (400, "ThrottlingException", "Rate exceeded"),
    }
}

fn internal(service: &str) -> Words {
    match service {
        "s3" => (500, "InternalError", "We encountered an internal error. Please try again."),
        "dynamodb" => (500, "InternalServerError", "The request processing has failed because of an unknown error."),
        _ => (500, "InternalFailure", "The request processing has failed because of an unknown error."),
    }
}

fn unavailable(service: &str) -> Words {
    match service {
        "s3" => (503, "ServiceUnavailable", "Service is unable to handle request."),
        "logs" => (503, "ServiceUnavailableException", "The service cannot complete the request."),
        _ => (503, "ServiceUnavailable", "The request has failed due to a temporary failure of the server."),
    }
}

fn denied(service: &str) -> Words {
    match service {
        "s3" => (403, "AccessDenied", "Access Denied"),
        "sqs" | "sts" => (403, "AccessDenied", "Access to the resource is denied."),
        _ => (400, "AccessDeniedException", "You are not authorized to perform this operation."),
    }
}
