//! A failed AWS call → what to do about it.
//!
//! The shell reduces an SDK error to a [`Failure`]: the service, and the error's code or the kind of its absence.
//! [`Failure::verdict`] is the one place that decides. Codes are those of the services' API references.

use std::fmt;
use std::time::Duration;

/// The service that was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Service {
    S3,
    Sqs,
    DynamoDb,
    Sts,
    Logs,
}

impl Service {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::S3, Self::Sqs, Self::DynamoDb, Self::Sts, Self::Logs];

    /// The name in logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Sqs => "sqs",
            Self::DynamoDb => "dynamodb",
            Self::Sts => "sts",
            Self::Logs => "logs",
        }
    }
}

/// How a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The service answered with an error.
    Answer {
        /// The error's code; empty when the answer had none.
        code: String,
        /// The HTTP status.
        status: u16,
    },
    /// No answer within the named timeout.
    Timeout,
    /// No connection, or it broke before the answer was whole.
    Connection,
    /// No credentials were to be had.
    Credentials,
    /// The request could not be made, or the answer not be read.
    Other,
}

/// A failed call. `text` is for people: the service's message, cut to a bound; never credentials or log text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Who was called.
    pub service: Service,
    /// The operation's name.
    pub operation: &'static str,
    /// How it failed.
    pub kind: FailureKind,
    /// What the service said.
    pub text: String,
    /// The service's id of the request.
    pub request_id: Option<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.service.name(), self.operation)?;
        match &self.kind {
            FailureKind::Answer { code, status } => write!(f, "{code} (HTTP {status})")?,
            FailureKind::Timeout => f.write_str("no answer in time")?,
            FailureKind::Connection => f.write_str("no connection, or it broke")?,
            FailureKind::Credentials => f.write_str("no credentials")?,
            FailureKind::Other => f.write_str("the call could not be made")?,
        }
        if !self.text.is_empty() {
            write!(f, ": {}", self.text)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try again in place, after a delay.
    Retry,
    /// As `Retry`; but it is no sign of a fault, only of too many calls.
    Throttled,
    /// The credentials have lapsed: get new ones, then try once more.
    RefreshCredentials,
    /// The group or stream does not exist: create it, then try again.
    Create,
    /// It exists already: success.
    Exists,
    /// The request is refused as it is: halve it, and at last drop the one guilty event.
    Bisect,
    /// The object is not there.
    Missing,
    /// There is no such bucket, or not in the region that was asked.
    NoBucket,
    /// The object has changed.
    Changed,
    /// The range begins at or behind the object's end.
    BeyondEnd,
    /// The signature's time is not the service's: this machine's clock is wrong, or the process stood still.
    Skewed,
    /// Not allowed: whose fault it is depends on whose role was used.
    Denied,
    /// Nothing can be done here: hand the work back.
    GiveUp,
}

impl Verdict {
    /// Whether to try again adds to the load of what may have too much.
    #[must_use]
    pub const fn is_load(self) -> bool {
        matches!(self, Self::Retry | Self::Throttled)
    }
}

/// The operation's name in a failure of the first hop: to the central role, before any tenant's is on the way.
pub const CENTRAL_HOP: &str = "AssumeRole of the central role";

impl Failure {
    /// A read whose task ended without a word: a fault of this program.
    #[must_use]
    pub const fn ended(operation: &'static str) -> Self {
        Self { service: Service::S3, operation, kind: FailureKind::Other, text: String::new(), request_id: None }
    }

    /// What to do.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match &self.kind {
            FailureKind::Timeout | FailureKind::Connection => Verdict::Retry,
            FailureKind::Credentials => Verdict::RefreshCredentials,
            FailureKind::Other => Verdict::GiveUp,
            FailureKind::Answer { code, status } => self.answer(code, *status),
        }
    }

    /// Whether the service answered with this code.
    #[must_use]
    pub fn is_code(&self, wanted: &str) -> bool {
        matches!(&self.kind, FailureKind::Answer { code, .. } if code == wanted)
    }

    fn answer(&self, code: &str, status: u16) -> Verdict {
        match code {
            "ThrottlingException"
            | "Throttling"
            | "ThrottledException"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "TooManyRequestsException"
            | "RequestLimitExceeded"
            | "ProvisionedThroughputExceededException"
            | "SlowDown"
            | "KmsThrottled"
            | "BandwidthLimitExceeded"
            | "PriorRequestNotComplete" => Verdict::Throttled,
            "RequestTimeTooSkewed" | "RequestExpired" => Verdict::Skewed,
            "InvalidSignatureException" | "SignatureDoesNotMatch" if self.is_of_another_time() => Verdict::Skewed,
            "OperationAbortedException"
            | "TransactionConflictException"
            | "RequestTimeout"
            | "RequestTimeoutException"
            | "InternalError"
            | "InternalFailure"
            | "InternalServerError"
            | "ServiceUnavailable"
            | "ServiceUnavailableException" => Verdict::Retry,
            "ExpiredToken"
            | "ExpiredTokenException"
            | "InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "InvalidAccessKeyId"
            | "InvalidToken"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "TokenRefreshRequired" => Verdict::RefreshCredentials,
            "AccessDenied"
            | "AccessDeniedException"
            | "AllAccessDisabled"
            | "RegionDisabledException"
            | "OptInRequired"
            | "KMS.AccessDeniedException"
            | "KMS.DisabledException"
            | "KMS.KMSInvalidStateException"
            | "KMS.NotFoundException"
            | "KmsAccessDenied"
            | "KmsDisabled"
            | "KmsInvalidState"
            | "KmsNotFound" => Verdict::Denied,
            // No right is missing: the object is in an archive.
            "InvalidObjectState" => Verdict::GiveUp,
            // As many groups as the account may have.
            "LimitExceededException" if self.service == Service::Logs => Verdict::Denied,
            "ResourceAlreadyExistsException" | "DataAlreadyAcceptedException" => Verdict::Exists,
            "ResourceNotFoundException" if self.service == Service::Logs => Verdict::Create,
            "InvalidParameterException" | "RequestEntityTooLarge" | "SerializationException" if self.takes_events() => {
                Verdict::Bisect
            }
            // Whatever else the group's owner set, such as its key or its tags, is not taken.
            "InvalidParameterException" if self.service == Service::Logs => Verdict::Denied,
            "NoSuchKey" | "NoSuchVersion" if self.service == Service::S3 => Verdict::Missing,
            "NoSuchBucket"
            | "InvalidBucketName"
            | "PermanentRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException"
                if self.service == Service::S3 =>
            {
                Verdict::NoBucket
            }
            // Not the object: the upload was ended by somebody else, and a new one has to be begun.
            "NoSuchUpload" if self.service == Service::S3 => Verdict::GiveUp,
            "PreconditionFailed" if self.service == Service::S3 => Verdict::Changed,
            "InvalidRange" if self.service == Service::S3 => Verdict::BeyondEnd,
            _ => self.status(status),
        }
    }

    /// Whether the signature is refused for its time. Source: IAM User Guide, "Troubleshoot Signature Version 4".
    fn is_of_another_time(&self) -> bool {
        ["Signature expired", "Signature not yet current"].iter().any(|begin| self.text.starts_with(begin))
    }

    /// Whether the request was a batch of events, which can be halved.
    fn takes_events(&self) -> bool {
        self.service == Service::Logs && self.operation == "PutLogEvents"
    }

    /// By the status alone, for codes that say nothing more.
    fn status(&self, status: u16) -> Verdict {
        match status {
            413 | 415 if self.takes_events() => Verdict::Bisect,
            301 if self.service == Service::S3 => Verdict::NoBucket,
            404 if self.service == Service::S3 => Verdict::Missing,
            412 if self.service == Service::S3 => Verdict::Changed,
            416 if self.service == Service::S3 => Verdict::BeyondEnd,
            401 | 403 => Verdict::Denied,
            429 => Verdict::Throttled,
            408 | 500..=599 => Verdict::Retry,
            _ => Verdict::GiveUp,
        }
    }
}

/// How often a call is tried, and how long is waited in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts at most, the first included.
    pub attempts_max: u32,
    /// Attempts at most when all that is wrong is the rate.
    pub throttled_max: u32,
    /// The first delay's ceiling.
    pub base: Duration,
    /// Every delay's ceiling.
    pub cap: Duration,
}

/// The attempts at one call so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attempts {
    failed: u32,
    throttled: u32,
    refreshed: bool,
}

impl Attempts {
    /// Counts a failed attempt. Gives the delay before the next one, or `None` when there is to be none.
    pub fn next(&mut self, verdict: Verdict, policy: &RetryPolicy, entropy: u64) -> Option<Duration> {
        use super::pacing::backoff::full_jitter;

        let delay = |count: u32| full_jitter(count, policy.base, policy.cap, entropy);
        match verdict {
            Verdict::Throttled => {
                self.throttled += 1;
                (self.throttled < policy.throttled_max).then(|| delay(self.throttled))
            }
            Verdict::Retry | Verdict::Skewed => {
                self.failed += 1;
                (self.failed < policy.attempts_max).then(|| delay(self.failed - 1))
            }
            Verdict::RefreshCredentials => (!std::mem::replace(&mut self.refreshed, true)).then_some(Duration::ZERO),
            Verdict::Create
            | Verdict::Exists
            | Verdict::Bisect
            | Verdict::Missing
            | Verdict::NoBucket
            | Verdict::Changed
            | Verdict::BeyondEnd
            | Verdict::Denied
            | Verdict::GiveUp => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(service: Service, code: &str, status: u16) -> Verdict {
        let kind = FailureKind::Answer { code: code.to_owned(), status };
        let operation = if service == Service::Logs { "PutLogEvents" } else { "Test" };
        Failure { service, operation, kind, text: String::new(), request_id: None }.verdict()
    }

    #[test]
    fn documented_codes_have_their_verdicts() {
        use Service::{DynamoDb, Logs, S3, Sqs, Sts};
        let cases = [
            (Logs, "ThrottlingException", 400, Verdict::Throttled),
            (Logs, "ServiceUnavailableException", 503, Verdict::Retry),
            (Logs, "ResourceNotFoundException", 400, Verdict::Create),
            (Logs, "InvalidParameterException", 400, Verdict::Bisect),
            (Logs, "UnrecognizedClientException", 400, Verdict::RefreshCredentials),
            (Logs, "ExpiredTokenException", 400, Verdict::RefreshCredentials),
            (Logs, "AccessDeniedException", 400, Verdict::Denied),
            (Logs, "ResourceAlreadyExistsException", 400, Verdict::Exists),
            (Logs, "OperationAbortedException", 400, Verdict::Retry),
            (Logs, "LimitExceededException", 400, Verdict::Denied),
            (Logs, "DataAlreadyAcceptedException", 400, Verdict::Exists),
            (Logs, "", 413, Verdict::Bisect),
            (S3, "NoSuchKey", 404, Verdict::Missing),
            (S3, "NoSuchVersion", 404, Verdict::Missing),
            (S3, "AccessDenied", 403, Verdict::Denied),
            (S3, "SignatureDoesNotMatch", 403, Verdict::RefreshCredentials),
            (S3, "InvalidToken", 400, Verdict::RefreshCredentials),
            (S3, "RequestTimeTooSkewed", 403, Verdict::Skewed),
            (Sts, "SignatureDoesNotMatch", 403, Verdict::RefreshCredentials),
            (S3, "NoSuchBucket", 404, Verdict::NoBucket),
            (S3, "PermanentRedirect", 301, Verdict::NoBucket),
            (S3, "AuthorizationHeaderMalformed", 400, Verdict::NoBucket),
            (S3, "NoSuchUpload", 404, Verdict::GiveUp),
            (S3, "KeyTooLongError", 400, Verdict::GiveUp),
            (S3, "PreconditionFailed", 412, Verdict::Changed),
            (S3, "InvalidRange", 416, Verdict::BeyondEnd),
            (S3, "SlowDown", 503, Verdict::Throttled),
            (S3, "InternalError", 500, Verdict::Retry),
            // An error inside an answer that began well: the code decides.
            (S3, "InternalError", 200, Verdict::Retry),
            (S3, "SlowDown", 200, Verdict::Throttled),
            (S3, "ServiceUnavailable", 503, Verdict::Retry),
            (S3, "RequestTimeout", 400, Verdict::Retry),
            (S3, "InvalidObjectState", 403, Verdict::GiveUp),
            (S3, "", 412, Verdict::Changed),
            (Sqs, "RequestThrottled", 403, Verdict::Throttled),
            (Sqs, "AccessDenied", 403, Verdict::Denied),
            (DynamoDb, "ProvisionedThroughputExceededException", 400, Verdict::Throttled),
            (DynamoDb, "ResourceNotFoundException", 400, Verdict::GiveUp),
            (DynamoDb, "ValidationException", 400, Verdict::GiveUp),
            (DynamoDb, "InternalServerError", 500, Verdict::Retry),
            (Sts, "AccessDenied", 403, Verdict::Denied),
            (Sts, "Throttling", 400, Verdict::Throttled),
            (Sts, "ExpiredToken", 403, Verdict::RefreshCredentials),
            (Sts, "RegionDisabledException", 403, Verdict::Denied),
            (Sts, "MalformedPolicyDocument", 400, Verdict::GiveUp),
        ];
        for (service, code, status, expected) in cases {
            assert_eq!(verdict(service, code, status), expected, "{} {code} {status}", service.name());
        }
    }

    /// predecessor.md §15, rows "s3 error" and "tenant" (the table's errors). What was "recoverable" there is tried again,
    /// in place or later; what was not is dead-lettered, or held until its owner has mended it.
    #[test]
    fn predecessor_15_s3_and_table_errors() {
        use Service::{DynamoDb, S3};
        let cases = [
            ("s3 error: NoSuchBucket", S3, "NoSuchBucket", 404, Verdict::NoBucket),
            ("s3 error: AccessDenied", S3, "AccessDenied", 403, Verdict::Denied),
            ("s3 error: NoSuchKey", S3, "NoSuchKey", 404, Verdict::Missing),
            ("s3 error: SlowDown", S3, "SlowDown", 503, Verdict::Throttled),
            ("s3 error: ServiceUnavailable", S3, "ServiceUnavailable", 503, Verdict::Retry),
            ("s3 error: RequestTimeout", S3, "RequestTimeout", 400, Verdict::Retry),
            // "Not found" there, which deleted the message. An empty tenant is off the layout here, and never asked for
            // (design §1.2); whatever else the table finds invalid is the daemon's fault and keeps its messages.
            ("tenant: DDB ValidationException", DynamoDb, "ValidationException", 400, Verdict::GiveUp),
            ("tenant: DDB table missing", DynamoDb, "ResourceNotFoundException", 400, Verdict::GiveUp),
            ("tenant: DDB other error", DynamoDb, "InternalServerError", 500, Verdict::Retry),
            ("tenant: DDB throttled", DynamoDb, "ThrottlingException", 400, Verdict::Throttled),
        ];
        for (case, service, code, status, expected) in cases {
            assert_eq!(verdict(service, code, status), expected, "15 {case}");
        }
    }

    #[test]
    fn what_refuses_a_new_group_is_the_groups_owners_to_mend_and_no_fault_of_the_events() {
        let kind = FailureKind::Answer { code: "InvalidParameterException".to_owned(), status: 400 };
        let failure = |operation| Failure {
            service: Service::Logs,
            operation,
            kind: kind.clone(),
            text: String::new(),
            request_id: None,
        };
        assert_eq!(failure("CreateLogGroup").verdict(), Verdict::Denied);
        assert_eq!(failure("CreateLogStream").verdict(), Verdict::Denied);
        assert_eq!(failure("PutLogEvents").verdict(), Verdict::Bisect);
    }

    /// predecessor.md §15, row "retry": calls that are made, and whether the last one succeeds. The calls themselves are
    /// counted in tests/copy/sender.rs.
    #[test]
    fn predecessor_15_retry() {
        use Verdict::{Denied, RefreshCredentials, Retry, Throttled};
        let policy = RetryPolicy {
            attempts_max: 3,
            throttled_max: 12,
            base: Duration::from_secs(1),
            cap: Duration::from_secs(30),
        };
        // The delays before each further call, at most, and whether one was left for the success.
        let run = |failures: &[Verdict]| {
            let mut attempts = Attempts::default();
            let mut delays = Vec::new();
            for verdict in failures {
                let Some(delay) = attempts.next(*verdict, &policy, u64::MAX) else { return (delays, false) };
                delays.push(delay.as_secs());
            }
            (delays, true)
        };
        let many = |verdict| vec![verdict; 100];
        let cases = [
            ("throttled twice then ok: 3 calls", vec![Throttled, Throttled], vec![2, 4], true),
            // Three calls there, then an error. Here being throttled is no attempt (design §5), within a bound of its own.
            ("throttled always", many(Throttled), vec![2, 4, 8, 16, 30, 30, 30, 30, 30, 30, 30], false),
            ("other error twice then ok: 3 calls", vec![Retry, Retry], vec![1, 2], true),
            ("other error always: 3 calls", many(Retry), vec![1, 2], false),
            ("throttled in between is no attempt", vec![Retry, Throttled, Retry, Throttled], vec![1, 2, 2, 4], true),
            // It tried again after every error, Go also after AccessDenied.
            ("denied: 1 call", many(Denied), vec![], false),
            ("credentials lapsed: once more, with new ones", many(RefreshCredentials), vec![0], false),
        ];
        for (case, failures, delays, succeeds) in cases {
            assert_eq!(run(&failures), (delays, succeeds), "15 retry: {case}");
        }
    }
}
