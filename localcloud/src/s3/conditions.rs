//! Conditions on an object that is there: those of its readers, and those of who would replace it.

use hyper::HeaderMap;
use s3s::dto::{ETagCondition, Timestamp};
use s3s::{S3Error, S3Result, s3_error};

use super::buckets::Object;
use super::timestamp;

/// What a reader, or a copy of its source, asks of an object. Source: S3 API Reference, "GetObject" and "CopyObject".
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Conditions<'c> {
    pub(super) tag: Option<&'c ETagCondition>,
    pub(super) other_tag: Option<&'c ETagCondition>,
    pub(super) changed_since: Option<&'c Timestamp>,
    pub(super) unchanged_since: Option<&'c Timestamp>,
}

/// How an object meets conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Met {
    All,
    /// It is another object, or a later one.
    Failed,
    /// It is the one that the caller has already.
    Known,
}

impl Conditions<'_> {
    /// A tag counts more than a time: who gives both has the time for a server that knows no tags. Source: as above, and
    /// RFC 9110, 13.2.2.
    fn met(&self, object: &Object) -> Met {
        let modified = timestamp(object.modified_ms);
        let wanted = self.tag.map(|tag| is(tag, object));
        if !wanted.or_else(|| self.unchanged_since.map(|since| modified <= *since)).unwrap_or(true) {
            return Met::Failed;
        }
        let news = self.other_tag.map(|tag| !is(tag, object));
        if news.or_else(|| self.changed_since.map(|since| modified > *since)).unwrap_or(true) {
            Met::All
        } else {
            Met::Known
        }
    }

    /// For a GET or HEAD.
    ///
    /// # Errors
    /// `PreconditionFailed`, or `NotModified` with what stays true.
    pub(super) fn check_read(&self, object: &Object) -> S3Result<()> {
        match self.met(object) {
            Met::All => Ok(()),
            Met::Failed => Err(failed()),
            Met::Known => {
                let mut refusal = s3_error!(NotModified, "Not Modified");
                if let Ok(tag) = format!("\"{}\"", object.etag).parse() {
                    refusal.set_headers([(hyper::header::ETAG, tag)].into_iter().collect());
                }
                Err(refusal)
            }
        }
    }

    /// For the source of a copy.
    ///
    /// # Errors
    /// `PreconditionFailed`.
    pub(super) fn check_copy(&self, object: &Object) -> S3Result<()> {
        if self.met(object) == Met::All { Ok(()) } else { Err(failed()) }
    }
}

fn is(tag: &ETagCondition, object: &Object) -> bool {
    tag.as_etag().is_none_or(|tag| tag.value() == object.etag)
}

fn failed() -> S3Error {
    s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
}

/// What must be there for an object to be put. Source: S3 User Guide, "Add preconditions to S3 operations with conditional
/// requests".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Overwrite {
    /// Whatever is there is replaced.
    #[default]
    Always,
    /// `If-None-Match: *`: nothing is there.
    Absent,
    /// `If-Match`: this is there.
    Tag(ETagCondition),
}

impl Overwrite {
    /// Reads the headers of a write.
    ///
    /// # Errors
    /// `NotImplemented` for what S3 does not serve either, or `InvalidArgument`.
    pub(super) fn of(headers: &HeaderMap) -> S3Result<Self> {
        match (headers.get("if-match"), headers.get("if-none-match")) {
            (None, None) => Ok(Self::Always),
            (None, Some(absent)) if absent == "*" => Ok(Self::Absent),
            (Some(tag), None) => match ETagCondition::parse_http_header(tag.as_bytes()) {
                Ok(tag) => Ok(Self::Tag(tag)),
                Err(_) => Err(s3_error!(InvalidArgument, "If-Match is no entity tag")),
            },
            (_, Some(_)) => Err(s3_error!(
                NotImplemented,
                "A header you provided implies functionality that is not implemented: if-none-match"
            )),
        }
    }

    /// Judges what is there.
    ///
    /// # Errors
    /// `PreconditionFailed`, or `NoSuchKey` where there is nothing to match.
    pub(super) fn check(&self, there: Option<&Object>) -> S3Result<()> {
        match (self, there) {
            (Self::Always, _) | (Self::Absent, None) => Ok(()),
            (Self::Absent, Some(_)) => Err(failed()),
            (Self::Tag(_), None) => Err(s3_error!(NoSuchKey, "The specified key does not exist.")),
            (Self::Tag(tag), Some(there)) => {
                if is(tag, there) {
                    Ok(())
                } else {
                    Err(failed())
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use s3s::dto::ETag;

    use super::super::buckets::Headers;
    use super::*;
    use crate::store::Stored;

    #[test]
    fn a_tag_counts_more_than_a_time() {
        let object = Object {
            body: Stored::Memory(bytes::Bytes::new()),
            size: 0,
            etag: "a".to_owned(),
            version: None,
            modified_ms: 10_500,
            headers: Headers::default(),
        };
        let tag = |tag: &str| ETagCondition::ETag(ETag::Strong(tag.to_owned()));
        let (same, other, any) = (tag("a"), tag("b"), ETagCondition::Any);
        // Whole seconds: it was modified in second 10.
        let (before, at, after) = (timestamp(9000), timestamp(10_000), timestamp(11_000));
        let none = Conditions::default();
        for (conditions, expected) in [
            (none, Met::All),
            (Conditions { tag: Some(&same), ..none }, Met::All),
            (Conditions { tag: Some(&any), ..none }, Met::All),
            (Conditions { tag: Some(&other), ..none }, Met::Failed),
            (Conditions { unchanged_since: Some(&at), ..none }, Met::All),
            (Conditions { unchanged_since: Some(&before), ..none }, Met::Failed),
            (Conditions { tag: Some(&same), unchanged_since: Some(&before), ..none }, Met::All),
            (Conditions { tag: Some(&other), unchanged_since: Some(&after), ..none }, Met::Failed),
            (Conditions { other_tag: Some(&other), ..none }, Met::All),
            (Conditions { other_tag: Some(&same), ..none }, Met::Known),
            (Conditions { other_tag: Some(&any), ..none }, Met::Known),
            (Conditions { changed_since: Some(&before), ..none }, Met::All),
            (Conditions { changed_since: Some(&at), ..none }, Met::Known),
            (Conditions { other_tag: Some(&other), changed_since: Some(&after), ..none }, Met::All),
            (Conditions { other_tag: Some(&same), changed_since: Some(&before), ..none }, Met::Known),
            (Conditions { tag: Some(&other), other_tag: Some(&same), ..none }, Met::Failed),
        ] {
            assert_eq!(conditions.met(&object), expected, "{conditions:?}");
        }
    }
}
