//! Whose logs are generated: tenants, clusters, applications, pods; and the keys of their objects.

use crate::SpecError;
use crate::text::Phrase;

/// Most names of one kind. Each is rendered ahead.
const NAMES_MAX: u64 = 100_000;

/// The sources of log lines. Every tenant runs every application in every pod number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// Tenants, as they stand in keys and records.
    pub tenants: Vec<String>,
    /// Clusters; a pod runs in one of them.
    pub clusters: Vec<String>,
    /// Applications.
    pub applications: Vec<String>,
    /// Pods of each application.
    pub pods: u64,
    /// What pods are called: this name, numbered when there are several. None: `{application}-{number}`, so that pods of
    /// two applications never share a log stream.
    pub pod_name: Option<String>,
}

impl Default for Fleet {
    fn default() -> Self {
        let one = |name: &str| vec![name.to_owned()];
        Self {
            tenants: one("test-customer"),
            clusters: one("test-cluster"),
            applications: one("test-app"),
            pods: 1,
            pod_name: None,
        }
    }
}

impl Fleet {
    /// `name` alone for one, `name-0`, `name-1` … for several.
    #[must_use]
    pub fn numbered(name: &str, count: u64) -> Vec<String> {
        if count == 1 { vec![name.to_owned()] } else { (0..count).map(|number| format!("{name}-{number}")).collect() }
    }

    fn check(&self) -> Result<(), SpecError> {
        let kinds = [("tenant", &self.tenants), ("cluster", &self.clusters), ("application", &self.applications)];
        for (what, names) in kinds {
            check_count(what, u64::try_from(names.len()).unwrap_or(u64::MAX))?;
            names.iter().try_for_each(|name| check_name(what, name))?;
        }
        check_count("pod", self.pods)?;
        self.pod_name.iter().try_for_each(|name| check_name("pod", name))
    }
}

fn check_count(what: &'static str, given: u64) -> Result<(), SpecError> {
    if (1..=NAMES_MAX).contains(&given) { Ok(()) } else { Err(SpecError::Count { what, given, limit: NAMES_MAX }) }
}

fn check_name(what: &'static str, name: &str) -> Result<(), SpecError> {
    let bad = matches!(name, "" | "." | "..") || name.contains(|c: char| c == '/' || c.is_control());
    if bad { Err(SpecError::Name { what, name: name.to_owned() }) } else { Ok(()) }
}

/// One source of lines, by its numbers in the [`Roster`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) tenant: usize,
    pub(crate) application: usize,
    pub(crate) pod: usize,
}

/// The names of one source, ready to be copied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names<'a> {
    pub(crate) tenant: &'a Phrase,
    pub(crate) cluster: &'a Phrase,
    pub(crate) application: &'a Phrase,
    pub(crate) pod: &'a Phrase,
}

/// A checked [`Fleet`], rendered.
#[derive(Debug)]
pub(crate) struct Roster {
    tenants: Vec<Phrase>,
    clusters: Vec<Phrase>,
    applications: Vec<Phrase>,
    /// Of each application in turn where pods are called after it, else of one for all.
    pods: Vec<Phrase>,
    pods_each: usize,
}

impl Roster {
    pub(crate) fn new(fleet: &Fleet) -> Result<Self, SpecError> {
        fleet.check()?;
        let phrases = |names: &[String]| names.iter().map(|name| Phrase::new(name)).collect::<Vec<_>>();
        let pods = match &fleet.pod_name {
            Some(name) => Fleet::numbered(name, fleet.pods),
            None => {
                let all = fleet.pods.saturating_mul(u64::try_from(fleet.applications.len()).unwrap_or(u64::MAX));
                check_count("pod of all applications", all)?;
                let of =
                    |name: &String| (0..fleet.pods).map(move |number| format!("{name}-{number}")).collect::<Vec<_>>();
                fleet.applications.iter().flat_map(of).collect()
            }
        };
        Ok(Self {
            tenants: phrases(&fleet.tenants),
            clusters: phrases(&fleet.clusters),
            applications: phrases(&fleet.applications),
            pods: phrases(&pods),
            pods_each: usize::try_from(fleet.pods).unwrap_or(1),
        })
    }

    /// How many sources there are.
    pub(crate) fn places(&self) -> usize {
        self.tenants.len().saturating_mul(self.applications.len()).saturating_mul(self.pods_each)
    }

    /// The source of a number, tenants changing fastest: neighbours belong to different tenants.
    pub(crate) fn place(&self, number: usize) -> Place {
        let (rest, tenant) = (number / self.tenants.len(), number % self.tenants.len());
        let (rest, application) = (rest / self.applications.len(), rest % self.applications.len());
        Place { tenant, application, pod: rest % self.pods_each }
    }

    pub(crate) fn names(&self, place: Place) -> Names<'_> {
        let own_pods = self.pods.len() > self.pods_each;
        let pod = if own_pods { place.application * self.pods_each + place.pod } else { place.pod };
        Names {
            tenant: &self.tenants[place.tenant],
            cluster: &self.clusters[(place.tenant + place.pod) % self.clusters.len()],
            application: &self.applications[place.application],
            pod: &self.pods[pod],
        }
    }
}

/// The folders of an object's key, with `{tenant}`, `{cluster}`, `{application}` and `{pod}` filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLayout {
    template: String,
}

impl Default for KeyLayout {
    fn default() -> Self {
        Self { template: Self::DEFAULT.to_owned() }
    }
}

impl KeyLayout {
    /// Tenant first.
    pub const DEFAULT: &'static str = "{tenant}/{cluster}/{application}/{pod}";

    /// Reads a template such as [`Self::DEFAULT`]; the file's name is always added behind it.
    ///
    /// # Errors
    /// [`SpecError::Layout`] says what is wrong.
    pub fn parse(template: &str) -> Result<Self, SpecError> {
        let layout = Self { template: template.trim_end_matches('/').to_owned() };
        let filled = layout.folders(["t", "c", "a", "p"]);
        let why = if filled.contains(['{', '}']) {
            "only {tenant}, {cluster}, {application} and {pod} may stand in braces"
        } else if !["{tenant}", "{cluster}", "{application}", "{pod}"].iter().all(|name| template.contains(name)) {
            "each of {tenant}, {cluster}, {application} and {pod} must stand in it"
        } else if filled.split('/').any(|part| matches!(part, "" | "." | "..")) || filled.contains(char::is_control) {
            "its parts between \"/\" may not be empty, \".\" or \"..\""
        } else {
            return Ok(layout);
        };
        Err(SpecError::Layout { given: template.to_owned(), why })
    }

    /// The folders for tenant, cluster, application and pod. A name that looks like a placeholder stays as it is.
    pub(crate) fn folders(&self, [tenant, cluster, application, pod]: [&str; 4]) -> String {
        let mut out = String::with_capacity(self.template.len() + 64);
        let mut rest = self.template.as_str();
        while let Some((before, behind)) = rest.split_once('{') {
            out.push_str(before);
            let (value, behind) = match behind.split_once('}') {
                Some(("tenant", behind)) => (tenant, behind),
                Some(("cluster", behind)) => (cluster, behind),
                Some(("application", behind)) => (application, behind),
                Some(("pod", behind)) => (pod, behind),
                _ => ("{", behind),
            };
            out.push_str(value);
            rest = behind;
        }
        out.push_str(rest);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Depth;

    #[test]
    fn layouts_are_filled_or_refused() {
        let names = ["acme", "c1", "{pod}", "p0"];
        assert_eq!(KeyLayout::default().folders(names), "acme/c1/{pod}/p0");
        let other = KeyLayout::parse("raw/{cluster}/{tenant}/{application}/x-{pod}/").unwrap();
        assert_eq!(other.folders(names), "raw/c1/acme/{pod}/x-p0");
        assert_eq!(KeyLayout::parse(KeyLayout::DEFAULT).unwrap(), KeyLayout::default());
        for bad in [
            "",
            "{tenant}",
            "{tenant}/{cluster}/{application}/{pod}/{node}",
            "/{tenant}/{cluster}/{application}/{pod}",
            "{tenant}//{cluster}/{application}/{pod}",
            "../{tenant}/{cluster}/{application}/{pod}",
            "{tenant}/{cluster}/{application}/{pod",
        ] {
            assert!(KeyLayout::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_source_is_visited_once_a_round() {
        let fleet = Fleet {
            tenants: Fleet::numbered("t", 3),
            applications: Fleet::numbered("a", 2),
            clusters: Fleet::numbered("c", 2),
            pods: 4,
            pod_name: None,
        };
        let roster = Roster::new(&fleet).unwrap();
        assert_eq!(roster.places(), 24);
        let name = |number| {
            let names = roster.names(roster.place(number));
            [names.tenant, names.cluster, names.application, names.pod]
                .map(|phrase| String::from_utf8(phrase.at(Depth::Raw).to_vec()).unwrap())
        };
        let round: std::collections::BTreeSet<_> = (0..24).map(name).collect();
        assert_eq!(round.len(), 24);
        assert_eq!(name(0), name(24));
        assert!(round.iter().all(|[_, _, application, pod]| pod.starts_with(application.as_str())));
    }

    #[test]
    fn names_must_be_parts_of_a_key() {
        for bad in ["", "a/b", "..", "a\nb"] {
            let fleet = Fleet { tenants: vec![bad.to_owned()], ..Fleet::default() };
            assert!(matches!(Roster::new(&fleet), Err(SpecError::Name { what: "tenant", .. })), "{bad:?}");
        }
        assert!(matches!(Roster::new(&Fleet { pods: 0, ..Fleet::default() }), Err(SpecError::Count { .. })));
        assert!(matches!(Roster::new(&Fleet { clusters: vec![], ..Fleet::default() }), Err(SpecError::Count { .. })));
    }
}
