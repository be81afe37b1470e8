//! Which applications' logs a delivery wants.

use std::sync::Arc;

/// The groups of applications that a row may name, and what they stand for.
pub const GROUPS: [(&str, &[&str]); 4] = [
    ("API", &["kube-apiserver", "openshift-apiserver"]),
    ("Authentication", &["oauth-openshift", "openshift-oauth-apiserver"]),
    (
        "Controller Manager",
        &["kube-controller-manager", "openshift-controller-manager", "openshift-route-controller-manager"],
    ),
    ("Scheduler", &["kube-scheduler"]),
];

/// Why an object is not delivered, though nothing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Skip {
    /// The tenant's rows are all switched off.
    Disabled,
    /// The application is not among those wanted.
    NotWanted,
    /// The table has no row of that tenant.
    Unknown,
}

impl Skip {
    /// The reason's name in metrics and receipts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::NotWanted => "not_wanted",
            Self::Unknown => "unknown",
        }
    }
}

/// A delivery's wish: named applications, or all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// In ASCII lower case; empty: all.
    wanted: Vec<Arc<str>>,
}

impl Filter {
    /// A filter for the named applications; none: all.
    pub(super) fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let mut wanted: Vec<Arc<str>> = names.into_iter().map(|name| name.to_ascii_lowercase().into()).collect();
        wanted.sort_unstable();
        wanted.dedup();
        Self { wanted }
    }

    /// The applications of the group `name`, in any ASCII case.
    pub(super) fn group(name: &str) -> Option<&'static [&'static str]> {
        GROUPS.iter().find(|(group, _)| group.eq_ignore_ascii_case(name)).map(|(_, applications)| *applications)
    }

    /// Whether `application` is wanted, whatever its ASCII case.
    ///
    /// # Errors
    /// [`Skip::NotWanted`].
    pub fn admits(&self, application: &str) -> Result<(), Skip> {
        let wanted = self.wanted.is_empty() || self.wanted.iter().any(|name| name.eq_ignore_ascii_case(application));
        if wanted { Ok(()) } else { Err(Skip::NotWanted) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applications_match_in_any_ascii_case_and_no_list_means_all() {
        let filter = Filter::new(["Kube-APIserver", "etcd", "etcd"]);
        assert_eq!(filter.wanted.len(), 2);
        assert_eq!(filter.admits("kube-apiserver"), Ok(()));
        assert_eq!(filter.admits("ETCD"), Ok(()));
        assert_eq!(filter.admits("etcd2"), Err(Skip::NotWanted));
        assert_eq!(Filter::default().admits("anything"), Ok(()));
        // Folding is ASCII only: the Kelvin sign is no k.
        assert_eq!(filter.admits("\u{212a}ube-apiserver"), Err(Skip::NotWanted));
    }

    #[test]
    fn groups_are_known_in_any_case() {
        assert_eq!(Filter::group("controller manager").unwrap().len(), 3);
        assert_eq!(Filter::group("Kubelet"), None);
    }
}
