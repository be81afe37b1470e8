//! Who calls, by the credentials that `s3s` found the signature right for.

use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};

use super::LocalS3;
use crate::accounts::KeyError;

#[async_trait::async_trait]
impl S3Auth for LocalS3 {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        self.cloud.accounts.secret(access_key).map(SecretKey::from).ok_or_else(|| s3_error!(InvalidAccessKeyId))
    }
}

#[async_trait::async_trait]
impl S3Access for LocalS3 {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let token = context.headers().get("x-amz-security-token").and_then(|it| it.to_str().ok()).map(str::to_owned);
        let id = context
            .credentials()
            .map(|it| it.access_key.clone())
            .ok_or_else(|| s3_error!(AccessDenied, "Access Denied"))?;
        let operation = context.s3_op().name().to_owned();
        match self.cloud.accounts.caller(&id, token.as_deref(), self.cloud.clock.now_ms()) {
            Ok(caller) => {
                self.cloud.count("s3", &operation, &caller.account);
                context.extensions_mut().insert(caller);
                Ok(())
            }
            Err(KeyError::Expired) => Err(s3_error!(ExpiredToken, "The provided token has expired.")),
            Err(KeyError::Token) if token.is_some() => Err(s3_error!(InvalidToken)),
            // A session's key without its token is nobody's.
            Err(KeyError::Token | KeyError::Unknown) => Err(s3_error!(InvalidAccessKeyId)),
        }
    }
}
