//! What a failed call means for the message, by what it was made for: the one table (design §7).
//!
//! [`Failure::verdict`] says what may be done about a failure in place. When that was done, and was no use, it depends on
//! whose fault it is whether the message comes again, the delivery's circuit opens, or polling stops.

use super::failure::{CENTRAL_HOP, Failure, FailureKind, Service, Verdict};
use super::settlement::Finish;

/// What a call is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// The operator's own tables and reject store.
    Own,
    /// The object, read with the ambient identity.
    Source,
    /// The tenant's log group, the roles on the way to it included.
    LogGroup,
    /// The tenant's bucket, the central role on the way to it included.
    Bucket,
}

impl Errand {
    /// What the failure means that ended it.
    #[must_use]
    pub fn finish(self, failure: &Failure) -> Finish {
        let verdict = failure.verdict();
        match (self, verdict) {
            // Nobody's refusal, and it was tried as often as is allowed.
            (_, Verdict::Retry | Verdict::Throttled) => Finish::Unavailable,
            // The clock of this machine, which is wrong for all.
            (_, Verdict::Skewed) => Finish::GlobalFault,
            // Whatever is wrong with what is the operator's is wrong for all.
            (Self::Own, _) => Finish::GlobalFault,
            (Self::Source, Verdict::Changed) => Finish::Superseded,
            (Self::Source | Self::Bucket, Verdict::Missing) => Finish::Missing,
            (Self::Source, Verdict::Denied | Verdict::RefreshCredentials) => Finish::GlobalFault,
            // A refusal on the way to the tenant is the tenant's, but for the first hop.
            (Self::LogGroup, Verdict::Denied) if failure.operation == CENTRAL_HOP => Finish::GlobalFault,
            (Self::Bucket, Verdict::Denied) if failure.service == Service::Sts => Finish::GlobalFault,
            (Self::LogGroup | Self::Bucket, Verdict::Denied) | (Self::Bucket, Verdict::NoBucket) => {
                Finish::TenantDenied
            }
            // New credentials were refused too. By the log group or the bucket itself: what is wrong with them is wrong there,
            // such as a region that is not enabled, which the tenant's row names. Before that: the daemon's own are.
            (Self::LogGroup, Verdict::RefreshCredentials) if failure.service == Service::Logs => Finish::TenantDenied,
            (Self::Bucket, Verdict::RefreshCredentials)
                if failure.service == Service::S3 && matches!(failure.kind, FailureKind::Answer { .. }) =>
            {
                Finish::TenantDenied
            }
            (Self::LogGroup | Self::Bucket, Verdict::RefreshCredentials) => Finish::GlobalFault,
            // What a role's name or external id is refused for is its row's; of the central role the operator's.
            (Self::LogGroup, Verdict::GiveUp) if failure.operation == CENTRAL_HOP => Finish::GlobalFault,
            (Self::LogGroup, Verdict::GiveUp) if failure.service == Service::Sts => Finish::TenantDenied,
            // A notification may name what was never there; but a bucket that is elsewhere is there for all messages.
            (Self::Source, Verdict::NoBucket) if !failure.is_code("NoSuchBucket") => Finish::GlobalFault,
            (
                Self::Source | Self::LogGroup | Self::Bucket,
                Verdict::Create
                | Verdict::Exists
                | Verdict::Bisect
                | Verdict::NoBucket
                | Verdict::BeyondEnd
                | Verdict::GiveUp,
            )
            | (Self::LogGroup, Verdict::Missing)
            | (Self::LogGroup | Self::Bucket, Verdict::Changed) => Finish::Retryable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(service: Service, operation: &'static str, code: &str, status: u16, text: &str) -> Failure {
        let kind = FailureKind::Answer { code: code.to_owned(), status };
        Failure { service, operation, kind, text: text.to_owned(), request_id: None }
    }

    /// Each documented error of each call that is made: what may be done in place, and what it means when that is no use.
    /// Sources: the API references' "Errors" of the operations and "Common Errors"; for S3 "Error responses".
    #[test]
    fn documented_errors_have_their_meaning() {
        use Errand::{Bucket, LogGroup, Own, Source};
        use Finish::{GlobalFault, Missing, Retryable, Superseded, TenantDenied, Unavailable};
        use Service::{DynamoDb, Logs, S3, Sts};
        use Verdict::{
            Bisect, Changed, Create, Denied, GiveUp, NoBucket, RefreshCredentials, Retry, Skewed, Throttled,
        };
        let expired = "Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z";
        let cases = [
            // The tenant table, the table of progress.
            (Own, DynamoDb, "Query", "ProvisionedThroughputExceededException", 400, "", Throttled, Unavailable),
            (Own, DynamoDb, "Query", "RequestLimitExceeded", 400, "", Throttled, Unavailable),
            (Own, DynamoDb, "Query", "ThrottlingException", 400, "", Throttled, Unavailable),
            (Own, DynamoDb, "Query", "InternalServerError", 500, "", Retry, Unavailable),
            (Own, DynamoDb, "Query", "ServiceUnavailable", 503, "", Retry, Unavailable),
            (Own, DynamoDb, "Query", "ResourceNotFoundException", 400, "", GiveUp, GlobalFault),
            (Own, DynamoDb, "Query", "AccessDeniedException", 400, "", Denied, GlobalFault),
            (Own, DynamoDb, "Query", "ValidationException", 400, "", GiveUp, GlobalFault),
            (Own, DynamoDb, "Query", "UnrecognizedClientException", 400, "", RefreshCredentials, GlobalFault),
            (Own, DynamoDb, "Query", "ExpiredTokenException", 400, "", RefreshCredentials, GlobalFault),
            (Own, DynamoDb, "Query", "InvalidSignatureException", 400, expired, Skewed, GlobalFault),
            (Own, DynamoDb, "UpdateItem", "TransactionConflictException", 400, "", Retry, Unavailable),
            // The reject store.
            (Own, S3, "PutObject", "SlowDown", 503, "", Throttled, Unavailable),
            (Own, S3, "PutObject", "NoSuchBucket", 404, "", NoBucket, GlobalFault),
            (Own, S3, "PutObject", "AccessDenied", 403, "", Denied, GlobalFault),
            (Own, S3, "PutObject", "KMS.DisabledException", 400, "", Denied, GlobalFault),
            // The source.
            (Source, S3, "GetObject", "SlowDown", 503, "", Throttled, Unavailable),
            (Source, S3, "GetObject", "InternalError", 500, "", Retry, Unavailable),
            (Source, S3, "GetObject", "NoSuchKey", 404, "", Verdict::Missing, Missing),
            (Source, S3, "GetObject", "NoSuchVersion", 404, "", Verdict::Missing, Missing),
            (Source, S3, "GetObject", "PreconditionFailed", 412, "", Changed, Superseded),
            (Source, S3, "GetObject", "AccessDenied", 403, "", Denied, GlobalFault),
            (Source, S3, "GetObject", "InvalidObjectState", 403, "", GiveUp, Retryable),
            (Source, S3, "GetObject", "KMS.DisabledException", 400, "", Denied, GlobalFault),
            (Source, S3, "GetObject", "KMS.KMSInvalidStateException", 400, "", Denied, GlobalFault),
            (Source, S3, "GetObject", "KMS.NotFoundException", 400, "", Denied, GlobalFault),
            (Source, S3, "GetObject", "InvalidAccessKeyId", 403, "", RefreshCredentials, GlobalFault),
            (Source, S3, "GetObject", "ExpiredToken", 400, "", RefreshCredentials, GlobalFault),
            (Source, S3, "GetObject", "RequestTimeTooSkewed", 403, "", Skewed, GlobalFault),
            (Source, S3, "GetObject", "NoSuchBucket", 404, "", NoBucket, Retryable),
            (Source, S3, "GetObject", "PermanentRedirect", 301, "", NoBucket, GlobalFault),
            // The way to the tenant.
            (LogGroup, Sts, CENTRAL_HOP, "AccessDenied", 403, "", Denied, GlobalFault),
            (LogGroup, Sts, CENTRAL_HOP, "ExpiredToken", 403, "", RefreshCredentials, GlobalFault),
            (LogGroup, Sts, CENTRAL_HOP, "SignatureDoesNotMatch", 403, expired, Skewed, GlobalFault),
            (LogGroup, Sts, "AssumeRole", "AccessDenied", 403, "", Denied, TenantDenied),
            (LogGroup, Sts, "AssumeRole", "RegionDisabledException", 403, "", Denied, TenantDenied),
            (LogGroup, Sts, "AssumeRole", "Throttling", 400, "", Throttled, Unavailable),
            (LogGroup, Sts, "AssumeRole", "ValidationError", 400, "", GiveUp, TenantDenied),
            (LogGroup, Sts, CENTRAL_HOP, "ValidationError", 400, "", GiveUp, GlobalFault),
            // The log group.
            (LogGroup, Logs, "PutLogEvents", "ThrottlingException", 400, "", Throttled, Unavailable),
            (LogGroup, Logs, "PutLogEvents", "ServiceUnavailableException", 500, "", Retry, Unavailable),
            (LogGroup, Logs, "PutLogEvents", "ResourceNotFoundException", 400, "", Create, Retryable),
            (LogGroup, Logs, "PutLogEvents", "InvalidParameterException", 400, "", Bisect, Retryable),
            (LogGroup, Logs, "PutLogEvents", "SerializationException", 400, "", Bisect, Retryable),
            (LogGroup, Logs, "PutLogEvents", "AccessDeniedException", 400, "", Denied, TenantDenied),
            (LogGroup, Logs, "PutLogEvents", "UnrecognizedClientException", 400, "", RefreshCredentials, TenantDenied),
            (LogGroup, Logs, "PutLogEvents", "ExpiredTokenException", 400, "", RefreshCredentials, TenantDenied),
            (LogGroup, Logs, "PutLogEvents", "InvalidSignatureException", 400, expired, Skewed, GlobalFault),
            (LogGroup, Logs, "CreateLogGroup", "LimitExceededException", 400, "", Denied, TenantDenied),
            (LogGroup, Logs, "CreateLogGroup", "InvalidParameterException", 400, "", Denied, TenantDenied),
            (LogGroup, Logs, "CreateLogGroup", "OperationAbortedException", 400, "", Retry, Unavailable),
            (LogGroup, Logs, "CreateLogStream", "AccessDeniedException", 400, "", Denied, TenantDenied),
            // The tenant's bucket.
            (Bucket, Sts, CENTRAL_HOP, "AccessDenied", 403, "", Denied, GlobalFault),
            (Bucket, Sts, CENTRAL_HOP, "ExpiredToken", 403, "", RefreshCredentials, GlobalFault),
            (Bucket, S3, "CopyObject", "AccessDenied", 403, "", Denied, TenantDenied),
            (Bucket, S3, "CopyObject", "InvalidToken", 400, "", RefreshCredentials, TenantDenied),
            (Bucket, S3, "CopyObject", "InvalidAccessKeyId", 403, "", RefreshCredentials, TenantDenied),
            (Bucket, S3, "CopyObject", "ExpiredToken", 400, "", RefreshCredentials, TenantDenied),
            (Bucket, S3, "CopyObject", "NoSuchBucket", 404, "", NoBucket, TenantDenied),
            (Bucket, S3, "CopyObject", "NoSuchKey", 404, "", Verdict::Missing, Missing),
            (Bucket, S3, "CopyObject", "SlowDown", 503, "", Throttled, Unavailable),
            (Bucket, S3, "CopyObject", "RequestTimeTooSkewed", 403, "", Skewed, GlobalFault),
            (Bucket, S3, "UploadPartCopy", "NoSuchUpload", 404, "", GiveUp, Retryable),
        ];
        for (errand, service, operation, code, status, text, verdict, finish) in cases {
            let failure = failure(service, operation, code, status, text);
            assert_eq!((failure.verdict(), errand.finish(&failure)), (verdict, finish), "{errand:?} {failure}");
        }
    }

    /// What is no answer means the same whatever it was for; but for credentials, of which each has its own.
    #[test]
    fn no_answer_is_nobodys_refusal() {
        for errand in [Errand::Own, Errand::Source, Errand::LogGroup, Errand::Bucket] {
            let of = |kind| {
                let failure = Failure { kind, ..failure(Service::S3, "GetObject", "", 0, "") };
                errand.finish(&failure)
            };
            assert_eq!(of(FailureKind::Timeout), Finish::Unavailable);
            assert_eq!(of(FailureKind::Connection), Finish::Unavailable);
            assert_eq!(of(FailureKind::Credentials), Finish::GlobalFault);
        }
    }
}
