//! Who calls, by the credentials that `s3s` found the signature right for, and what any operation asks first.

use hyper::StatusCode;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::path::S3Path;
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use super::gate::Token;
use super::{LocalS3, served};
use crate::accounts::KeyError;
use crate::api::{ApiError, lock};
use crate::faults::{Asks, FaultSlot};

#[async_trait::async_trait]
impl S3Auth for LocalS3 {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        self.cloud.accounts.secret(access_key).map(SecretKey::from).ok_or_else(|| s3_error!(InvalidAccessKeyId))
    }
}

#[async_trait::async_trait]
impl S3Access for LocalS3 {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let token = context.extensions_mut().get::<Token>().and_then(|it| it.0.clone());
        let id = context
            .credentials()
            .map(|it| it.access_key.clone())
            .ok_or_else(|| s3_error!(AccessDenied, "Access Denied"))?;
        let operation = context.s3_op().name().to_owned();
        let caller = match self.cloud.accounts.caller(&id, token.as_deref(), self.cloud.clock.now_ms()) {
            Ok(caller) => caller,
            Err(KeyError::Expired) => return Err(s3_error!(ExpiredToken, "The provided token has expired.")),
            Err(KeyError::Token) if token.is_some() => return Err(s3_error!(InvalidToken)),
            // A session's key without its token is nobody's.
            Err(KeyError::Token | KeyError::Unknown) => return Err(s3_error!(InvalidAccessKeyId)),
        };
        self.cloud.arrive("s3", &operation, &caller.account, 0).await;
        if let Some(slot) = context.extensions_mut().get::<FaultSlot>().cloned()
            && let Some(fault) = self.cloud.faults.choose("s3", &operation, &caller, Asks::of(context.headers()))
        {
            let refusal = fault.refusal("s3");
            if let ("PutObject", true, S3Path::Object { bucket, key }) =
                (operation.as_str(), fault.leaves_unanswered(), context.s3_path())
            {
                self.cloud.buckets.doubt(bucket, key);
            }
            slot.put(fault);
            if let Some(ApiError { status, code, message }) = refusal {
                return Err(refused(status, code, message));
            }
        }
        served::check(&operation, context.headers(), context.uri().query())?;
        if let (Some(owner), S3Path::Bucket { bucket } | S3Path::Object { bucket, .. }) =
            (context.headers().get("x-amz-expected-bucket-owner"), context.s3_path())
        {
            self.check_owner(bucket, &String::from_utf8_lossy(owner.as_bytes()))?;
        }
        context.extensions_mut().insert(caller);
        Ok(())
    }
}

/// An error that a fault makes.
fn refused(status: u16, code: &str, message: String) -> S3Error {
    let code = S3ErrorCode::from_bytes(code.as_bytes()).unwrap_or(S3ErrorCode::InternalError);
    let mut error = S3Error::with_message(code, message);
    if let Ok(status) = StatusCode::from_u16(status) {
        error.set_status_code(status);
    }
    error
}

impl LocalS3 {
    /// The bucket must belong to the account that the caller expects; one that is missing is told of later.
    ///
    /// # Errors
    /// `AccessDenied`, or `InvalidBucketOwnerAWSAccountID` for what is no account.
    pub(super) fn check_owner(&self, bucket: &str, expected: &str) -> S3Result<()> {
        if expected.len() != 12 || !expected.bytes().all(|byte| byte.is_ascii_digit()) {
            let text = "The value of the expected bucket owner parameter must be an AWS account ID";
            return Err(s3_error!(InvalidBucketOwnerAWSAccountID, "{text}"));
        }
        let buckets = lock(&self.cloud.buckets.buckets);
        if buckets.get(bucket).is_some_and(|bucket| bucket.account != expected) {
            return Err(s3_error!(AccessDenied, "Access Denied"));
        }
        Ok(())
    }
}
