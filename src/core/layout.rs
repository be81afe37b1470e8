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
    for byte in Sha256::digest(pod.as_bytes()).iter().take(STREAM_HASH_CHARS / 2) {
        name.push_str(&format!("{byte:02x}"));
    }
    name
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(template: &str, key: &str) -> Result<(String, String, String, String), KeyError> {
        let identity = Layout::parse(template).unwrap().apply(key)?;
        let Identity { tenant, cluster, application, pod, .. } = identity;
        Ok((tenant.to_string(), cluster.to_string(), application.to_string(), pod.to_string()))
    }

    #[test]
    fn keys_of_the_predecessors_tests() {
        let expected = Ok(("t".to_owned(), "c".to_owned(), "a".to_owned(), "p".to_owned()));
        assert_eq!(read(LAYOUT_DEFAULT, "t/c/a/p/file.json.gz"), expected);
        assert_eq!(read("{cluster}/{tenant}/{application}/{pod}", "c/t/a/p/file.json.gz"), expected);
        // Six segments: the first four and the last count.
        assert_eq!(read(LAYOUT_DEFAULT, "t/c/a/p/2026/file.json.gz"), expected);
        assert_eq!(read(LAYOUT_DEFAULT, "t/c/file"), Err(KeyError::Short { found: 3, least: 5 }));
        assert_eq!(read(LAYOUT_DEFAULT, "t/c/a/p"), Err(KeyError::Short { found: 4, least: 5 }));
        assert_eq!(read(LAYOUT_DEFAULT, "t//a/p/f"), Err(KeyError::Blank(1)));
        assert_eq!(read(LAYOUT_DEFAULT, "t/ \t/a/p/f"), Err(KeyError::Blank(1)));
        assert_eq!(
            read(LAYOUT_DEFAULT, "t*/c/a/p/f"),
            Err(KeyError::Id { segment: 0, what: "tenant", cause: IdError::Character(2) })
        );
        assert_eq!(read("logs/{tenant}/{cluster}/{application}/{pod}", "logs/t/c/a/p/f"), expected);
        assert_eq!(read("logs/{tenant}/{cluster}/{application}/{pod}", "x/t/c/a/p/f"), Err(KeyError::Fixed(0)));
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

        #[test]
        fn any_stream_name_is_one_that_the_api_takes(pod in any::<String>()) {
            let name = stream_name(&pod);
            prop_assert!(name.chars().count() <= STREAM_CHARS_MAX);
            prop_assert!(!name.contains([':', '*']) && !name.contains(char::is_control));
        }
    }
}
