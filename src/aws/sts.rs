//! A tenant's credentials: ambient → central role, tagged → the tenant's role.
//!
//! The tags of the first hop are transitive, so the tenant's trust policy sees whose logs are delivered; the second hop
//! passes none, because repeating an inherited transitive tag fails the call (STS API Reference, "AssumeRole"). A bucket
//! delivery ends with the first hop: the tenant's bucket policy sees the central role and its tags.

use std::sync::Arc;
use std::time::SystemTime;

use aws_config::Region;
use aws_credential_types::Credentials;
use aws_sdk_sts::Client;
use aws_sdk_sts::config::IdentityCache;
use aws_sdk_sts::types::Tag;

use super::{Aws, answer};
use crate::core::failure::{CENTRAL_HOP, Failure, FailureKind, Service};
use crate::core::tenant::{ClusterId, Delivery, Target};
use crate::core::time::UnixMillis;

/// Characters of a session's name. Source: STS API Reference, "AssumeRole".
const SESSION_NAME_MAX: usize = 64;

/// How a tenant's role is reached.
#[derive(Clone, Debug)]
pub enum Hops {
    /// By the central role.
    Two {
        /// The central role.
        central_role_arn: Arc<str>,
    },
    /// From the ambient identity.
    One,
}

/// Gets tenants' credentials.
#[derive(Clone, Debug)]
pub struct Roles {
    aws: Aws,
    ambient: Client,
    hops: Hops,
    external_id: Option<Arc<str>>,
}

/// Credentials for one delivery and cluster. They are used by [`super::logs::LogGroup`] and [`super::bucket::TargetBucket`]
/// only.
#[derive(Clone)]
pub struct Session {
    pub(super) credentials: Credentials,
    expires: UnixMillis,
}

/// Who writes into a tenant's bucket.
#[derive(Clone, Debug)]
pub enum Writer {
    /// The central role, in a session that bears the tenant's tags: the bucket's policy can ask for them.
    Central(Session),
    /// The ambient identity, which bears none. So it is where no central role is on the way.
    Ambient,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("expires", &self.expires).finish_non_exhaustive()
    }
}

impl Session {
    /// When they lapse.
    #[must_use]
    pub const fn expires(&self) -> UnixMillis {
        self.expires
    }
}

impl Roles {
    /// `external_id` is what tenants' roles ask for whose rows name none.
    #[must_use]
    pub fn new(aws: &Aws, hops: Hops, external_id: Option<Arc<str>>) -> Self {
        let mut config = aws_sdk_sts::config::Builder::from(&aws.base);
        config.set_endpoint_url(aws.endpoint(Service::Sts));
        Self { aws: aws.clone(), ambient: Client::from_conf(config.build()), hops, external_id }
    }

    /// Assumes the role of the delivery's tenant, for events of `cluster`.
    ///
    /// # Errors
    /// The failure of either hop; [`FailureKind::Other`] for a delivery that has no role.
    pub async fn assume(&self, delivery: &Delivery, cluster: &ClusterId) -> Result<Session, Failure> {
        let Target::CloudWatch(target) = delivery.target() else {
            return Err(odd("the delivery has no role of its own"));
        };
        let name = session_name(delivery.tenant().as_str());
        let external_id = target.external_id.as_deref().or(self.external_id.as_deref());
        let tags = tags_of(delivery, cluster);
        match &self.hops {
            Hops::One => self.hop(&self.ambient, &target.role_arn, &name, external_id, &tags).await,
            Hops::Two { central_role_arn } => {
                let central = self.central_hop(central_role_arn, &name, &tags).await?;
                let region = target.region.as_deref().unwrap_or_else(|| self.aws.region());
                let mut config = aws_sdk_sts::config::Builder::from(&self.aws.base)
                    .region(Region::new(region.to_owned()))
                    .identity_cache(IdentityCache::no_cache())
                    .credentials_provider(central.credentials);
                config.set_endpoint_url(self.aws.endpoint(Service::Sts));
                let client = Client::from_conf(config.build());
                self.hop(&client, &target.role_arn, &name, external_id, &[]).await
            }
        }
    }

    /// Gets who writes into the bucket of the delivery, objects of `cluster`: there is one hop only, for a bucket lets in
    /// whom it will by its own policy.
    ///
    /// # Errors
    /// The failure of the hop; [`FailureKind::Other`] for a delivery that has no bucket.
    pub async fn writer(&self, delivery: &Delivery, cluster: &ClusterId) -> Result<Writer, Failure> {
        let Target::S3(_) = delivery.target() else {
            return Err(odd("the delivery has no bucket"));
        };
        match &self.hops {
            Hops::One => Ok(Writer::Ambient),
            Hops::Two { central_role_arn } => {
                let name = session_name(delivery.tenant().as_str());
                let session = self.central_hop(central_role_arn, &name, &tags_of(delivery, cluster)).await?;
                Ok(Writer::Central(session))
            }
        }
    }

    /// The first hop, whose failure is no tenant's.
    async fn central_hop(&self, role_arn: &str, name: &str, tags: &[(&str, &str)]) -> Result<Session, Failure> {
        let session = self.hop(&self.ambient, role_arn, name, None, tags).await;
        session.map_err(|failure| Failure { operation: CENTRAL_HOP, ..failure })
    }

    async fn hop(
        &self,
        client: &Client,
        role_arn: &str,
        name: &str,
        external_id: Option<&str>,
        tags: &[(&str, &str)],
    ) -> Result<Session, Failure> {
        let mut call = client.assume_role().role_arn(role_arn).role_session_name(name);
        call = call.set_external_id(external_id.map(str::to_owned));
        for (key, value) in tags {
            let tag = Tag::builder().key(*key).value(*value).build().map_err(|error| odd(&error.to_string()))?;
            call = call.tags(tag).transitive_tag_keys(*key);
        }
        let output = answer(Service::Sts, "AssumeRole", call.send().await)?;
        let given = output.credentials.ok_or_else(|| odd("the answer has no credentials"))?;
        let expires = UnixMillis(given.expiration.to_millis().map_err(|error| odd(&error.to_string()))?);
        let until = SystemTime::try_from(given.expiration).ok();
        let credentials = Credentials::new(
            given.access_key_id,
            given.secret_access_key,
            Some(given.session_token),
            until,
            "AssumeRole",
        );
        Ok(Session { credentials, expires })
    }
}

/// Whose logs a session delivers.
fn tags_of<'d>(delivery: &'d Delivery, cluster: &'d ClusterId) -> [(&'static str, &'d str); 2] {
    [("tenant_id", delivery.tenant().as_str()), ("cluster_id", cluster.as_str())]
}

/// What the tenant's CloudTrail shows: the tenant's id as far as its alphabet and length allow.
fn session_name(tenant: &str) -> String {
    let clean = |c: char| if c.is_ascii_alphanumeric() || "+=,.@-_".contains(c) { c } else { '-' };
    "millrace-".chars().chain(tenant.chars().map(clean)).take(SESSION_NAME_MAX).collect()
}

fn odd(text: &str) -> Failure {
    Failure {
        service: Service::Sts,
        operation: "AssumeRole",
        kind: FailureKind::Other,
        text: text.to_owned(),
        request_id: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_names_keep_to_the_apis_alphabet_and_length() {
        assert_eq!(session_name("acme/größe 1"), "millrace-acme-gr--e-1");
        assert_eq!(session_name(&"x".repeat(300)).len(), SESSION_NAME_MAX);
    }
}
