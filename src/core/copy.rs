//! An object → what a copy of it into a tenant's bucket is called, carries, and how it is cut.
//!
//! S3 copies from bucket to bucket by itself: no byte passes through here. What it must be told is the destination's key,
//! the source as a header, the metadata (which replace the source's, so what is to be kept is told again), and for an
//! object too long for one call the ranges of the parts.

use std::ops::Range;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

use super::layout::Identity;
use super::object::ObjectRef;
use super::tenant::S3Target;
use super::time::UnixMillis;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Bytes of the longest object that one CopyObject copies. Source: S3 API Reference, "CopyObject".
pub const SINGLE_BYTES_MAX: u64 = 5 * GIB;
/// Bytes of a part of a multipart upload, but for the last, which may be shorter. Source: S3 User Guide, "Amazon S3
/// multipart upload limits".
pub const PART_BYTES_MIN: u64 = 5 * MIB;
/// As above.
pub const PART_BYTES_MAX: u64 = 5 * GIB;
/// Parts of a multipart upload. Source: as above.
pub const PARTS_MAX: u64 = 10_000;
/// Bytes of a part where nothing asks for more: a part that fails is copied again as a whole.
const PART_BYTES_WANTED: u64 = GIB;
/// Bytes of the longest key. Source: S3 User Guide, "Naming Amazon S3 objects".
pub const KEY_BYTES_MAX: usize = 1024;
/// Bytes of an object's own metadata, names and values. Source: S3 User Guide, "Working with object metadata".
const METADATA_BYTES_MAX: usize = 2048;
/// Bytes of one value; what is longer is cut. The key says it in full.
const VALUE_BYTES_MAX: usize = 512;
/// Characters of the longest time in seconds.
const SECONDS_CHARS_MAX: usize = 20;
/// The names of the metadata, in the order of [`metadata`].
const NAMES: [&str; 4] = ["tenant-id", "application", "pod-name", "delivery-timestamp"];

const _: () = assert!(PART_BYTES_MIN < PART_BYTES_WANTED && PART_BYTES_WANTED < PART_BYTES_MAX);
const _: () = assert!(
    3 * VALUE_BYTES_MAX + SECONDS_CHARS_MAX + NAMES[0].len() + NAMES[1].len() + NAMES[2].len() + NAMES[3].len()
        <= METADATA_BYTES_MAX
);

/// What stays as it is in a source: what RFC 3986 reserves nothing for, and the slash.
const SOURCE_SAFE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');
/// What a metadata value may not hold as it is: headers are visible ASCII, and spaces at their ends are lost on the way.
const VALUE_UNSAFE: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// Why an object cannot be copied into a tenant's bucket, whoever tries.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the error texts are the documentation")]
pub enum DestinationError {
    #[error("the copy's key would have {0} bytes, at most {KEY_BYTES_MAX} are allowed: bucket_prefix is too long")]
    Long(usize),
    #[error("bucket_name is the bucket that the objects come from; a copy there would be delivered again, without end")]
    SourceBucket,
}

/// The key of an object's copy: `{prefix}{tenant}/{application}/{pod}/{file}`. The cluster is left out on purpose, as
/// the service's own; the file is all that follows the layout, so that no two objects of a pod share a key.
///
/// # Errors
/// [`DestinationError`].
pub fn destination_key(object: &ObjectRef, identity: &Identity, target: &S3Target) -> Result<String, DestinationError> {
    if object.bucket == target.bucket {
        return Err(DestinationError::SourceBucket);
    }
    let Identity { tenant, application, pod, file, cluster: _ } = identity;
    let key = format!("{}{tenant}/{application}/{pod}/{file}", target.prefix);
    if key.len() > KEY_BYTES_MAX { Err(DestinationError::Long(key.len())) } else { Ok(key) }
}

/// The value of `x-amz-copy-source`: bucket, key and version, encoded. The SDK passes it as it is.
///
/// ```
/// use millrace::core::copy::copy_source;
///
/// assert_eq!(copy_source("logs", "a b+c/ö", None), "logs/a%20b%2Bc/%C3%B6");
/// ```
#[must_use]
pub fn copy_source(bucket: &str, key: &str, version: Option<&str>) -> String {
    let encode = |text| utf8_percent_encode(text, SOURCE_SAFE);
    let mut source = format!("{}/{}", encode(bucket), encode(key));
    if let Some(version) = version {
        source.push_str(&format!("?versionId={}", encode(version)));
    }
    source
}

/// The copy's own metadata. There is no name of the source among it: its key holds the cluster. What is not visible ASCII,
/// and the space and the percent sign, are percent-encoded.
#[must_use]
pub fn metadata(identity: &Identity, now: UnixMillis) -> [(&'static str, String); 4] {
    let seconds = now.seconds().to_string();
    let texts = [identity.tenant.as_str(), &identity.application, &identity.pod, &seconds];
    std::array::from_fn(|at| (NAMES[at], value(texts[at])))
}

fn value(text: &str) -> String {
    let mut value = String::new();
    // Whole characters only: half of one is no text.
    for c in text.chars() {
        let before = value.len();
        let mut bytes = [0; 4];
        value.extend(utf8_percent_encode(c.encode_utf8(&mut bytes), VALUE_UNSAFE));
        if value.len() > VALUE_BYTES_MAX {
            value.truncate(before);
            break;
        }
    }
    value
}

/// How an object is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyPlan {
    /// By one call.
    Whole,
    /// In parts.
    Parts(PartPlan),
}

/// The parts of an object: equal ones, and a last one that may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartPlan {
    total: u64,
    part_bytes: u64,
}

impl CopyPlan {
    /// The plan for an object of `total` bytes when one call copies up to `single_max`, which is [`SINGLE_BYTES_MAX`] but
    /// for tests. Parts are no longer than that either, where [`PART_BYTES_MIN`] and [`PARTS_MAX`] allow it.
    #[must_use]
    pub fn new(total: u64, single_max: u64) -> Self {
        if total <= single_max {
            return Self::Whole;
        }
        let wanted = PART_BYTES_WANTED.min(single_max).max(total.div_ceil(PARTS_MAX));
        // Above 5 GiB times 10,000 the parts are too many: the store keeps no such object.
        Self::Parts(PartPlan { total, part_bytes: wanted.clamp(PART_BYTES_MIN, PART_BYTES_MAX) })
    }
}

impl PartPlan {
    /// The parts: their numbers, from 1, and the bytes of each.
    pub fn parts(self) -> impl Iterator<Item = (u32, Range<u64>)> {
        let begins = (0..self.total.div_ceil(self.part_bytes)).map(move |at| at * self.part_bytes);
        (1..).zip(begins.map(move |begin| begin..self.total.min(begin + self.part_bytes)))
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::*;
    use crate::core::layout::Layout;

    fn object(key: &str) -> ObjectRef {
        ObjectRef { bucket: "central".into(), key: key.into(), version: None, etag: None, size: None, sequencer: None }
    }

    fn target(prefix: &str) -> S3Target {
        S3Target { bucket: "acme-logs".into(), prefix: prefix.into(), region: None }
    }

    fn copied(key: &str, prefix: &str) -> Result<String, DestinationError> {
        destination_key(&object(key), &Layout::default().apply(key).unwrap(), &target(prefix))
    }

    /// predecessor.md §15, row "s3 copy": "key has no cluster id". That a prefix ends in one slash and has its default is
    /// the matter of the row's parser (`core/tenant/row_tests.rs`), the rest that of the call (`tests/copy/copier.rs`).
    #[test]
    fn predecessor_15_s3_copy_key() {
        const TENANT_FIRST: &str = "{tenant}/{cluster}/{application}/{pod}";
        const CLUSTER_FIRST: &str = "{cluster}/{tenant}/{application}/{pod}";
        let cases = [
            (
                "key has no cluster id",
                TENANT_FIRST,
                "acme/secret-cluster/api/pod-0/20260102-ab.json.gz",
                "ROSA/cluster-logs/",
                "ROSA/cluster-logs/acme/api/pod-0/20260102-ab.json.gz",
            ),
            (
                "key has no cluster id in the predecessor's layout",
                CLUSTER_FIRST,
                "secret-cluster/acme/api/pod-0/f",
                "custom/path/",
                "custom/path/acme/api/pod-0/f",
            ),
            ("no prefix at all", TENANT_FIRST, "acme/c1/api/pod-0/f", "", "acme/api/pod-0/f"),
        ];
        for (case, layout, key, prefix, expected) in cases {
            let identity = Layout::parse(layout).unwrap().apply(key).unwrap();
            let copied = destination_key(&object(key), &identity, &target(prefix));
            assert_eq!(copied.as_deref(), Ok(expected), "15 s3 copy: {case}");
        }
    }

    /// The predecessor took the last segment alone, so that the second of two such objects took the first one's place.
    #[test]
    fn folders_below_the_pod_are_kept() {
        assert_eq!(copied("t/c/a/p/2026/01/f.gz", "x/").unwrap(), "x/t/a/p/2026/01/f.gz");
        assert_ne!(copied("t/c/a/p/2026/01/f.gz", "x/"), copied("t/c/a/p/2026/02/f.gz", "x/"));
    }

    #[test]
    fn a_copy_into_the_source_bucket_or_under_too_long_a_key_is_refused() {
        let key = "t/c/a/p/f";
        let identity = Layout::default().apply(key).unwrap();
        let central = S3Target { bucket: "central".into(), ..target("") };
        assert_eq!(destination_key(&object(key), &identity, &central), Err(DestinationError::SourceBucket));
        assert!(copied(key, &"x".repeat(KEY_BYTES_MAX - 7)).is_ok());
        assert_eq!(copied(key, &"x".repeat(KEY_BYTES_MAX - 6)), Err(DestinationError::Long(KEY_BYTES_MAX + 1)));
    }

    #[test]
    fn sources_are_encoded() {
        assert_eq!(copy_source("b", "t/c/my file+1.gz", None), "b/t/c/my%20file%2B1.gz");
        assert_eq!(copy_source("b", "t/größe/50%?versionId=x", None), "b/t/gr%C3%B6%C3%9Fe/50%25%3FversionId%3Dx");
        assert_eq!(copy_source("b", "k_-.~", Some("v.1/+")), "b/k_-.~?versionId=v.1/%2B");
    }

    /// The predecessor's six keys were these and the source's bucket and key. The key told the tenant the cluster's id,
    /// which the copy's own key is careful to leave out.
    #[test]
    fn metadata_say_whose_it_is_and_not_where_it_was() {
        let identity = Layout::default().apply("acme/secret-cluster/api/größe 1%/f").unwrap();
        let metadata = metadata(&identity, UnixMillis(1_767_323_045_999));
        let expected = [
            ("tenant-id", "acme"),
            ("application", "api"),
            ("pod-name", "gr%C3%B6%C3%9Fe%201%25"),
            ("delivery-timestamp", "1767323045"),
        ];
        assert_eq!(metadata.each_ref().map(|(name, value)| (*name, value.as_str())), expected);
        assert!(!metadata.iter().any(|(_, value)| value.contains("secret-cluster")));
    }

    #[test]
    fn an_object_up_to_the_limit_is_copied_by_one_call() {
        assert_eq!(CopyPlan::new(0, SINGLE_BYTES_MAX), CopyPlan::Whole);
        assert_eq!(CopyPlan::new(SINGLE_BYTES_MAX, SINGLE_BYTES_MAX), CopyPlan::Whole);
        let CopyPlan::Parts(plan) = CopyPlan::new(SINGLE_BYTES_MAX + 1, SINGLE_BYTES_MAX) else { panic!("too long") };
        let parts: Vec<_> = plan.parts().collect();
        assert_eq!((parts.len(), parts[0].clone()), (6, (1, 0..GIB)));
        assert_eq!(parts[5], (6, 5 * GIB..5 * GIB + 1));
    }

    proptest! {
        /// The parts are the object, in order, and each within the limits, up to the store's longest object.
        #[test]
        fn parts_cover_the_object(total in 0..50_u64 * 1000 * GIB, single_max in prop_oneof![Just(SINGLE_BYTES_MAX), 1..64 * MIB]) {
            let CopyPlan::Parts(plan) = CopyPlan::new(total, single_max) else {
                prop_assert!(total <= single_max);
                return Ok(());
            };
            prop_assert!(total > single_max);
            let (mut reached, mut count) = (0, 0);
            for (number, bytes) in plan.parts() {
                count += 1;
                prop_assert_eq!((u64::from(number), bytes.start), (count, reached));
                let long = bytes.end - bytes.start;
                prop_assert!((1..=PART_BYTES_MAX).contains(&long));
                prop_assert!(long >= PART_BYTES_MIN || bytes.end == total);
                reached = bytes.end;
            }
            prop_assert_eq!(reached, total);
            prop_assert!(count <= PARTS_MAX);
        }

        /// A source is a header's text, has one unencoded slash per slash and reads back as what it names.
        #[test]
        fn a_source_reads_back(key in any::<String>(), version in prop::option::of("[A-Za-z0-9._-]{1,32}")) {
            let source = copy_source("central-logs", &key, version.as_deref());
            prop_assert!(source.bytes().all(|byte| byte.is_ascii_graphic()));
            let (path, got) = source.split_once("?versionId=").map_or((source.as_str(), None), |(path, it)| (path, Some(it)));
            prop_assert_eq!(got, version.as_deref());
            prop_assert!(!path.contains(['?', '+', '&']));
            let decoded = percent_decode_str(path).decode_utf8().unwrap();
            prop_assert_eq!(decoded, format!("central-logs/{key}"));
        }

        /// Metadata are headers, within their bound, and read back as far as they go.
        #[test]
        fn metadata_fit_their_headers(application in "[^/]{0,300}", pod in "[^/]{0,300}") {
            let mut identity = Layout::default().apply("acme/c1/a/p/f").unwrap();
            identity.application = application.as_str().into();
            identity.pod = pod.as_str().into();
            let metadata = metadata(&identity, UnixMillis(i64::MAX));
            let bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
            prop_assert!(bytes <= METADATA_BYTES_MAX);
            for ((_, value), text) in metadata.iter().skip(1).zip([&application, &pod]) {
                prop_assert!(value.bytes().all(|byte| byte.is_ascii_graphic()));
                let decoded = percent_decode_str(value).decode_utf8().unwrap();
                prop_assert!(text.starts_with(&*decoded));
                prop_assert!(value.len() > VALUE_BYTES_MAX - 12 || *decoded == **text);
            }
        }

        /// A key is its parts and nothing of the cluster's.
        #[test]
        fn a_key_is_made_of_its_parts(file in "[a-zA-Z0-9 +ö/._-]{0,40}", prefix in "[a-z/]{0,10}") {
            let key = copied(&format!("acme/cluster-of-mine/api/pod/{file}"), &prefix).unwrap();
            prop_assert_eq!(key, format!("{prefix}acme/api/pod/{file}"));
        }
    }
}
