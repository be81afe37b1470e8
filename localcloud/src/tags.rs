//! Keys of session tags, of which each has one meaning however it is written.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// The key of a session tag. STS takes `Tenant_ID` and `tenant_id` for one key, and so do the conditions
/// `aws:PrincipalTag/…` and `aws:RequestTag/…`; values are compared as they are. Source: IAM User Guide, "Pass session tags
/// in AWS STS" and "IAM JSON policy elements: Condition".
#[derive(Clone, Debug)]
pub struct TagKey {
    text: String,
    folded: String,
}

impl TagKey {
    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl From<&str> for TagKey {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), folded: text.to_lowercase() }
    }
}

impl fmt::Display for TagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for TagKey {
    fn eq(&self, other: &Self) -> bool {
        self.folded == other.folded
    }
}

impl Eq for TagKey {}

impl Hash for TagKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded.hash(state);
    }
}

impl Ord for TagKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded.cmp(&other.folded)
    }
}

impl PartialOrd for TagKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::*;

    #[test]
    fn a_key_is_the_same_however_it_is_written() {
        let keys = ["Tenant_ID", "tenant_id", "TENANT_ID", "tenant-id", "É", "é"].map(TagKey::from);
        assert_eq!(keys[0].as_str(), "Tenant_ID");
        assert_eq!(BTreeSet::from(keys.clone()).len(), 3);
        assert_eq!(HashSet::from(keys).len(), 3);
    }
}
