//! Object keys → who and what wrote them; pod → log stream.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::tenant::{ClusterId, IdError, TenantId};

/// The default layout: the tenant first.
pub const LAYOUT_DEFAULT: &str = "{tenant}/{cluster}/{application}/{pod}";
/// Characters of a log stream's name. Source: CloudWatch Logs API Reference, "CreateLogStream".
pub const STREAM_CHARS_MAX: usize = 512;
/// Hexadecimal digits that tell shortened stream names apart.
const STREAM_HASH_CHARS: usize = 16;

/// What a key says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The customer.
    pub tenant: TenantId,
    /// The cluster that wrote the object.
    pub cluster: ClusterId,
    /// The application, which filters go by.
    pub application: Arc<str>,
    /// The pod, which names the log stream.
    pub pod: Arc<str>,
    /// The file: all that follows the layout's segments, slashes included.
    pub file: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Tenant,
    Cluster,
    Application,
    Pod,
}

const PARTS: [(Part, &str); 4] = [
    (Part::Tenant, "{tenant}"),
    (Part::Cluster, "{cluster}"),
    (Part::Application, "{application}"),
    (Part::Pod, "{pod}"),
];

/// A template that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the error texts are the documentation")]
pub enum LayoutError {
    #[error("segment {0:?} is neither fixed text nor one of {{tenant}}, {{cluster}}, {{application}}, {{pod}}")]
    Segment(String),
    #[error("{0} must stand in it exactly once")]
    Once(&'static str),
}

/// A key that does not follow the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the error texts are the documentation")]
pub enum KeyError {
    #[error("the key has {found} segments; the layout needs at least {least}")]
    Short { found: usize, least: usize },
    #[error("segment {0} of the key is empty or blank")]
    Blank(usize),
    #[error("segment {0} of the key is not the layout's fixed text")]
    Fixed(usize),
    #[error("segment {segment} of the key is no {what}: {cause}")]
    Id { segment: usize, what: &'static str, cause: IdError },
}

/// How keys are laid out: segments between slashes, then at least one more for the file.
///
/// ```
/// use millrace::core::layout::Layout;
///
/// let layout = Layout::parse("{cluster}/{tenant}/{application}/{pod}").unwrap();
/// let identity = layout.apply("c1/acme/api/pod-0/20260102-030405-ab.json.gz").unwrap();
/// assert_eq!((identity.tenant.as_str(), &*identity.pod), ("acme", "pod-0"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Fixed(String),
    Part(Part),
}

impl fmt::Display for Layout {
    /// The template.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, segment) in self.segments.iter().enumerate() {
            let text = match segment {
                Segment::Fixed(text) => text,
                Segment::Part(part) => PARTS.iter().find(|(it, _)| it == part).map_or("", |(_, name)| name),
            };
            write!(f, "{}{text}", if at == 0 { "" } else { "/" })?;
        }
        Ok(())
    }
}

impl Layout {
    /// Reads a template such as [`LAYOUT_DEFAULT`]: the four parts once each, in any order, between slashes; segments of
    /// fixed text may stand among them.
    ///
    /// # Errors
    /// [`LayoutError`] names the segment or the part.
    pub fn parse(template: &str) -> Result<Self, LayoutError> {
        let segments = template
            .trim_end_matches('/')
            .split('/')
            .map(|text| match PARTS.iter().find(|(_, name)| *name == text) {
                Some((part, _)) => Ok(Segment::Part(*part)),
                None if text.is_empty() || text.contains(['{', '}']) => Err(LayoutError::Segment(text.to_owned())),
                None => Ok(Segment::Fixed(text.to_owned())),
            })
            .collect::<Result<Vec<_>, _>>()?;
        for (part, name) in PARTS {
            if segments.iter().filter(|segment| **segment == Segment::Part(part)).count() != 1 {
                return Err(LayoutError::Once(name));
            }
        }
        Ok(Self { segments })
    }

    /// Reads a key. Segments after those of the layout belong to the file's name.
    ///
    /// # Errors
    /// [`KeyError`] names the segment, counted from 0, and never its text.
    pub fn apply(&self, key: &str) -> Result<Identity, KeyError> {
        let least = self.segments.len() + 1;
        let found = key.split('/').count();
        if found < least {
            return Err(KeyError::Short { found, least });
        }
        let (mut tenant, mut cluster, mut application, mut pod) = (None, None, None, None);
        for (at, (segment, text)) in self.segments.iter().zip(key.split('/')).enumerate() {
            if text.trim().is_empty() {
                return Err(KeyError::Blank(at));
            }
            let id = |what, cause| KeyError::Id { segment: at, what, cause };
            match segment {
                Segment::Fixed(fixed) if fixed == text => {}
                Segment::Fixed(_) => return Err(KeyError::Fixed(at)),
                Segment::Part(Part::Tenant) => {
                    tenant = Some(TenantId::try_from(text).map_err(|cause| id("tenant", cause))?);
                }
                Segment::Part(Part::Cluster) => {
                    cluster = Some(ClusterId::try_from(text).map_err(|cause| id("cluster", cause))?);
                }
                Segment::Part(Part::Application) => application = Some(Arc::from(text)),
                Segment::Part(Part::Pod) => pod = Some(Arc::from(text)),
            }
        }
        let (Some(tenant), Some(cluster), Some(application), Some(pod)) = (tenant, cluster, application, pod) else {
            unreachable!("parse took no template without all four parts")
        };
        let file = key.splitn(least, '/').last().unwrap_or_default().into();
        Ok(Identity { tenant, cluster, application, pod, file })
    }
}

impl Default for Layout {
    fn default() -> Self {
        let segments = PARTS.iter().map(|(part, _)| Segment::Part(*part)).collect();
        Self { segments }
    }
}

/// The log stream of a pod: what CloudWatch Logs does not take in a name (`:`, `*`, control characters) becomes `_`, and a
/// name over [`STREAM_CHARS_MAX`] characters is cut and ends in a hash of the whole.
#[must_use]
pub fn stream_name(pod: &str) -> String {
    let clean = |c: char| if c == ':' || c == '*' || c.is_control() { '_' } else { c };
    if pod.chars().count() <= STREAM_CHARS_MAX {
        return pod.chars().map(clean).collect();
    }
    let mut name: String = pod.chars().map(clean).take(STREAM_CHARS_MAX - STREAM_HASH_CHARS - 1).collect();
    name.push('-');
    let hash = hex::encode(Sha256::digest(pod.as_bytes()));
    name.extend(hash.chars().take(STREAM_HASH_CHARS));
    name
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Tenant, cluster, application, pod.
    fn read(template: &str, key: &str) -> Result<Vec<String>, KeyError> {
        let Identity { tenant, cluster, application, pod, .. } = Layout::parse(template).unwrap().apply(key)?;
        Ok([tenant.as_str(), cluster.as_str(), &application, &pod].map(String::from).into())
    }

    /// predecessor.md §15, rows "key", and the envelope row of keys that are off the layout. The environment that it told
    /// from the cluster's name was for information only, and is no part of design §1.2: the name stays what it is.
    #[test]
    fn predecessor_15_key() {
        const CLUSTER_FIRST: &str = "{cluster}/{tenant}/{application}/{pod}";
        const FIXED: &str = "logs/{tenant}/{cluster}/{application}/{pod}";
        let short = |found| Err(KeyError::Short { found, least: 5 });
        let tenant = |segment, cause| Err(KeyError::Id { segment, what: "tenant", cause });
        let cluster = |segment, cause| Err(KeyError::Id { segment, what: "cluster", cause });
        let of_cluster = |name| Ok(["t", name, "a", "p"].map(String::from).into());
        let good = || of_cluster("c");
        let cases = [
            ("five segments, tenant first", LAYOUT_DEFAULT, "t/c/a/p/file.json.gz", good()),
            ("five segments, the predecessor's layout", CLUSTER_FIRST, "c/t/a/p/file.json.gz", good()),
            ("6 segments: first four used", LAYOUT_DEFAULT, "t/c/a/p/2026/file.json.gz", good()),
            ("3 segments", CLUSTER_FIRST, "c/t/file", short(3)),
            ("4 segments", CLUSTER_FIRST, "c/t/a/p", short(4)),
            ("key of one segment", CLUSTER_FIRST, "file.json.gz", short(1)),
            ("empty key", CLUSTER_FIRST, "", short(1)),
            ("cluster//app/pod/f", CLUSTER_FIRST, "cluster//app/pod/f", Err(KeyError::Blank(1))),
            ("whitespace segment", CLUSTER_FIRST, "c/ \t/a/p/f", Err(KeyError::Blank(1))),
            ("whitespace of Unicode", CLUSTER_FIRST, "c/\u{2003}/a/p/f", Err(KeyError::Blank(1))),
            ("blank pod", CLUSTER_FIRST, "c/t/a/ /f", Err(KeyError::Blank(3))),
            ("key begins with a slash", CLUSTER_FIRST, "/c/t/a/p/f", Err(KeyError::Blank(0))),
            // No characters were checked; a session tag takes only these (design §1.2).
            ("tenant off the tag alphabet", CLUSTER_FIRST, "c/t*/a/p/f", tenant(1, IdError::Character(2))),
            ("cluster off the tag alphabet", CLUSTER_FIRST, "c%/t/a/p/f", cluster(0, IdError::Character(2))),
            ("prod- cluster (production)", CLUSTER_FIRST, "prod-1/t/a/p/f", of_cluster("prod-1")),
            ("stg- cluster (staging)", CLUSTER_FIRST, "stg-1/t/a/p/f", of_cluster("stg-1")),
            ("dev- cluster (development)", CLUSTER_FIRST, "dev-1/t/a/p/f", of_cluster("dev-1")),
            ("other- cluster (production)", CLUSTER_FIRST, "other-1/t/a/p/f", of_cluster("other-1")),
            ("fixed text", FIXED, "logs/t/c/a/p/f", good()),
            ("other fixed text", FIXED, "Logs/t/c/a/p/f", Err(KeyError::Fixed(0))),
        ];
        for (case, template, key, expected) in cases {
            assert_eq!(read(template, key), expected, "15 key: {case}");
        }
    }

    #[test]
    fn templates_that_are_none_say_why() {
        assert_eq!(Layout::parse(LAYOUT_DEFAULT), Ok(Layout::default()));
        assert_eq!(Layout::parse("{tenant}/{cluster}/{pod}"), Err(LayoutError::Once("{application}")));
        assert_eq!(
            Layout::parse("{tenant}/{tenant}/{cluster}/{application}/{pod}"),
            Err(LayoutError::Once("{tenant}"))
        );
        assert_eq!(Layout::parse("{tenant}/{cluster}/{app}/{pod}"), Err(LayoutError::Segment("{app}".to_owned())));
        assert_eq!(Layout::parse("{tenant}//{cluster}"), Err(LayoutError::Segment(String::new())));
    }

    #[test]
    fn streams_are_named_after_their_pod() {
        assert_eq!(stream_name("kube-apiserver-7f9c-x2lpd"), "kube-apiserver-7f9c-x2lpd");
        assert_eq!(stream_name("a:b*c\u{7}"), "a_b_c_");
        let (long, other) = ("ö".repeat(513), format!("{}x", "ö".repeat(512)));
        assert_eq!(stream_name(&long).chars().count(), STREAM_CHARS_MAX);
        assert_ne!(stream_name(&long), stream_name(&other));
    }

    proptest! {
        #[test]
        fn any_key_is_read_or_refused(key in "[a-z/ *ö]{0,40}") {
            if let Ok(identity) = Layout::default().apply(&key) {
                let Identity { tenant, cluster, application, pod, file } = identity;
                prop_assert_eq!(key, format!("{tenant}/{cluster}/{application}/{pod}/{file}"));
            }
        }

        /// Whatever the template and the order of its parts, a key gives each part what stands in its segment, or names the
        /// first segment that is wrong.
        #[test]
        fn parts_are_where_the_template_says(
            order in Just(vec!["{tenant}", "{cluster}", "{application}", "{pod}"]).prop_shuffle(),
            fixed in prop::collection::vec((0..5_usize, "[a-z]{1,3}"), 0..3),
            texts in prop::collection::vec("[a-zA-Z0-9 ö._:=+@-]{1,6}|[*%\u{85}]|  |", 4..9), tail in 0..3_usize,
        ) {
            let mut segments: Vec<String> = order.iter().map(|part| (*part).to_owned()).collect();
            for (at, text) in fixed {
                segments.insert(at, text);
            }
            let layout = Layout::parse(&segments.join("/")).unwrap();
            prop_assert_eq!(layout.to_string(), segments.join("/"));
            let mut texts = texts.into_iter().cycle();
            let mut key: Vec<String> = segments
                .iter()
                .map(|segment| if segment.starts_with('{') { texts.next().unwrap() } else { segment.clone() })
                .collect();
            key.extend(vec!["file".to_owned(); tail]);
            let at = |part: &str| key[segments.iter().position(|segment| segment == part).unwrap()].clone();
            let sound = |segment: &str, text: &str| match segment {
                "{tenant}" => TenantId::try_from(text).is_ok(),
                "{cluster}" => ClusterId::try_from(text).is_ok(),
                _ => !text.trim().is_empty(),
            };
            let wrong = segments.iter().zip(&key).position(|(segment, text)| !sound(segment, text));
            match layout.apply(&key.join("/")) {
                Ok(identity) => {
                    prop_assert!(tail > 0 && wrong.is_none());
                    prop_assert_eq!(identity.tenant.as_str(), at("{tenant}"));
                    prop_assert_eq!(identity.cluster.as_str(), at("{cluster}"));
                    prop_assert_eq!(&*identity.application, at("{application}"));
                    prop_assert_eq!(&*identity.pod, at("{pod}"));
                }
                Err(KeyError::Short { found, least }) => {
                    prop_assert_eq!((found, least, tail), (key.len(), segments.len() + 1, 0));
                }
                Err(KeyError::Blank(segment) | KeyError::Fixed(segment) | KeyError::Id { segment, .. }) => {
                    prop_assert_eq!(Some(segment), wrong);
                }
            }
        }

        #[test]
        fn any_template_is_read_or_refused(template in "[{}/a-z]{0,30}|(\\{tenant\\}|\\{cluster\\}|\\{application\\}|\\{pod\\}|/|x){0,9}") {
            if let Ok(layout) = Layout::parse(&template) {
                prop_assert_eq!(layout.to_string(), template.trim_end_matches('/'));
            }
        }

        #[test]
        fn any_stream_name_is_one_that_the_api_takes(pod in any::<String>()) {
            let name = stream_name(&pod);
            prop_assert!(name.chars().count() <= STREAM_CHARS_MAX);
            prop_assert!(!name.contains([':', '*']) && !name.contains(char::is_control));
        }
    }
}
