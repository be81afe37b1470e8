//! Tenants and their deliveries, as the tenant table describes them.
//!
//! A [`Delivery`] says where a tenant's logs go and under whose role. It can be made only here, from a row of the table
//! that names the tenant: whoever holds one cannot point it at somebody else, and credentials are got through it alone.

mod filter;
mod row;

use std::fmt;
use std::sync::Arc;

pub use self::filter::{Filter, GROUPS, Skip};
pub use self::row::{Field, Row, RowError, Warning, deliveries, is_external_id};

/// Characters of a tenant or cluster id. Source: STS API Reference, "Tag": a session tag's value.
pub const ID_CHARS_MAX: usize = 256;

/// An id that cannot be a session tag, and so no tenant or cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the error texts are the documentation")]
pub enum IdError {
    #[error("it is empty or blank; 1 to {ID_CHARS_MAX} letters, numbers, spaces and _.:/=+-@ are allowed")]
    Blank,
    #[error("it has {0} characters; at most {ID_CHARS_MAX} are allowed")]
    Long(usize),
    #[error("its character number {0} is not allowed; letters, numbers, spaces and _.:/=+-@ are")]
    Character(usize),
}

/// Whether STS takes `c` in a tag: `[\p{L}\p{Z}\p{N}_.:/=+\-@]`.
///
/// `char::is_alphabetic` is wider than `\p{L}` by marks and a few symbols that count as letters; those few are let pass
/// here and would be refused by STS, as a denial of that tenant alone.
fn is_tag_char(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(c, '_' | '.' | ':' | '/' | '=' | '+' | '-' | '@' | ' ')
        || !c.is_ascii() && (c.is_alphanumeric() || is_separator(c))
}

/// `\p{Z}` beyond ASCII. `char::is_whitespace` has these and a control character, NEL, that is no separator.
fn is_separator(c: char) -> bool {
    c.is_whitespace() && !c.is_control()
}

fn check_id(text: &str) -> Result<(), IdError> {
    if text.trim().is_empty() {
        return Err(IdError::Blank);
    }
    let mut count = 0;
    for c in text.chars() {
        count += 1;
        if !is_tag_char(c) {
            return Err(IdError::Character(count));
        }
    }
    if count > ID_CHARS_MAX { Err(IdError::Long(count)) } else { Ok(()) }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id, byte for byte as in the object's key.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<&str> for $name {
            type Error = IdError;

            fn try_from(text: &str) -> Result<Self, IdError> {
                check_id(text)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// A customer, as named in object keys and in the tenant table; 1 to 256 characters, because it travels as a session
    /// tag (STS API Reference, "Tag"). Made by `TryFrom<&str>` at the border only: inside, no `String` is a tenant.
    TenantId
}

id! {
    /// The cluster that an object came from; it travels as a session tag like the tenant.
    ClusterId
}

/// The account that a role's ARN names.
#[must_use]
pub fn account_of(role_arn: &str) -> Option<&str> {
    role_arn.split(':').nth(4).filter(|account| account.len() == 12)
}

/// One place that a tenant's logs go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    key: DeliveryKey,
    target: Target,
    filter: Filter,
}

impl Delivery {
    fn new(tenant: TenantId, target: Target, filter: Filter) -> Self {
        let name: Arc<str> = match &target {
            Target::CloudWatch(to) => format!(
                "cloudwatch {} {} {} {}",
                to.role_arn,
                to.external_id.as_deref().unwrap_or_default(),
                to.region.as_deref().unwrap_or_default(),
                to.log_group
            ),
            Target::S3(to) => {
                format!("s3 {} {} {}", to.bucket, to.prefix, to.region.as_deref().unwrap_or_default())
            }
        }
        .into();
        Self { key: DeliveryKey { tenant, target: name }, target, filter }
    }

    /// Whose it is.
    #[must_use]
    pub const fn tenant(&self) -> &TenantId {
        self.key.tenant()
    }

    /// Where it goes.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Whether an application's logs are wanted.
    ///
    /// # Errors
    /// Why they are not.
    pub fn admits(&self, application: &str) -> Result<(), Skip> {
        self.filter.admits(application)
    }

    /// Names the delivery and its target: equal keys may share a lane, credentials and progress.
    #[must_use]
    pub const fn key(&self) -> &DeliveryKey {
        &self.key
    }
}

/// See [`Delivery::key`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryKey {
    tenant: TenantId,
    target: Arc<str>,
}

impl DeliveryKey {
    /// Whose it is.
    #[must_use]
    pub const fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The target's name.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }
}

/// Where a delivery goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The tenant's CloudWatch Logs.
    CloudWatch(CloudWatchTarget),
    /// The tenant's bucket.
    S3(S3Target),
}

/// A log group in the tenant's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudWatchTarget {
    /// The role in the tenant's account.
    pub role_arn: Arc<str>,
    /// The log group's name.
    pub log_group: Arc<str>,
    /// The group's region; none: the daemon's own.
    pub region: Option<Arc<str>>,
    /// The ExternalId that the role asks for; none: the daemon's default.
    pub external_id: Option<Arc<str>>,
    /// What a group gets that has to be created.
    pub group: NewGroup,
}

/// What a log group gets when it has to be created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewGroup {
    /// Days that events are kept; none: for ever.
    pub retention_days: Option<i32>,
    /// The class.
    pub class: GroupClass,
    /// Tags, in the order of their keys.
    pub tags: Vec<(Arc<str>, Arc<str>)>,
    /// The key that encrypts it.
    pub kms_key_arn: Option<Arc<str>>,
}

/// A log group's class, fixed at its creation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupClass {
    /// All features.
    #[default]
    Standard,
    /// Half the ingestion price, fewer features.
    InfrequentAccess,
}

/// A bucket of the tenant's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Target {
    /// The bucket's name.
    pub bucket: Arc<str>,
    /// What each key begins with; empty or ending in `/`.
    pub prefix: Arc<str>,
    /// The bucket's region; none: the daemon's own.
    pub region: Option<Arc<str>>,
}

/// What the table says of one tenant that it has rows for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TenantConfig {
    /// The deliveries that are switched on.
    pub deliveries: Vec<Arc<Delivery>>,
    /// Rows that cannot be used; their messages are kept like a denied tenant's.
    pub invalid: Vec<RowError>,
    /// Rows that are switched off (`enabled` false).
    pub disabled: usize,
    /// Rows whose `ttl` has passed; they count as gone.
    pub expired: usize,
    /// What an operator should look at.
    pub warnings: Vec<Warning>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_are_byte_exact_and_within_the_tag_alphabet() {
        assert_eq!(TenantId::try_from(" Acme ").unwrap().as_str(), " Acme ");
        assert_ne!(TenantId::try_from("acme").unwrap(), TenantId::try_from("Acme").unwrap());
        assert!(TenantId::try_from("größe-1_.:/=+@").is_ok());
        assert_eq!(TenantId::try_from(""), Err(IdError::Blank));
        assert_eq!(TenantId::try_from(" \u{2003}"), Err(IdError::Blank));
        assert_eq!(TenantId::try_from("a*"), Err(IdError::Character(2)));
        assert_eq!(TenantId::try_from("a\n"), Err(IdError::Character(2)));
        assert_eq!(TenantId::try_from("a\u{85}b"), Err(IdError::Character(2)));
        assert!(TenantId::try_from("ö".repeat(256).as_str()).is_ok());
        assert_eq!(TenantId::try_from("ö".repeat(257).as_str()), Err(IdError::Long(257)));
    }

    #[test]
    fn a_roles_account_is_in_its_arn() {
        assert_eq!(account_of("arn:aws:iam::111111111111:role/central"), Some("111111111111"));
        assert_eq!(account_of("central"), None);
    }

    proptest! {
        #[test]
        fn an_id_is_what_was_given(text in any::<String>()) {
            if let Ok(id) = TenantId::try_from(text.as_str()) {
                prop_assert_eq!(id.as_str(), text);
            }
        }
    }
}
