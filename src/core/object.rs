//! An object of the source bucket, a place within it, and what can be wrong with it.

use std::fmt;
use std::sync::Arc;

/// An object as a notification named it. Everything but bucket and key may be unknown until it is read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectRef {
    /// The bucket's name.
    pub bucket: Arc<str>,
    /// The key, decoded: what S3 calls the object, not how the notification spelled it.
    pub key: Arc<str>,
    /// The version, when the bucket keeps versions.
    pub version: Option<Arc<str>>,
    /// The entity tag at the time of the notification.
    pub etag: Option<ETag>,
    /// Bytes as stored (compressed), when the notification said so.
    pub size: Option<u64>,
    /// Orders notifications of the same key: hexadecimal digits, compared after padding the shorter with zeros.
    pub sequencer: Option<Arc<str>>,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

/// An entity tag without its quotes, as S3 notifications carry it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ETag(Arc<str>);

impl ETag {
    /// Takes a tag with or without its quotes.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.trim_matches('"').into())
    }

    /// The tag as `If-Match` wants it: in quotes.
    #[must_use]
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }

    /// The tag without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The number of a record within its object, from 0: each non-blank value slot counts, good or bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ordinal(pub u64);

impl fmt::Display for Ordinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place in an object's events: a record, and the part of it when its event is split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The record.
    pub ordinal: Ordinal,
    /// The part of the record's event, from 0.
    pub part: u32,
}

/// More than the parts of any event: what a record's number is multiplied with.
const PARTS_END: u128 = 1 << 32;

impl Position {
    /// Behind all others.
    pub const END: Self = Self { ordinal: Ordinal(u64::MAX), part: 0 };

    /// The position as one whole number, for a store that compares numbers: 29 digits at most.
    #[must_use]
    pub const fn to_number(self) -> u128 {
        self.ordinal.0 as u128 * PARTS_END + self.part as u128
    }

    /// The position of a number; none if it is too large.
    #[must_use]
    pub fn from_number(number: u128) -> Option<Self> {
        let ordinal = u64::try_from(number / PARTS_END).ok()?;
        Some(Self { ordinal: Ordinal(ordinal), part: u32::try_from(number % PARTS_END).ok()? })
    }
}

/// What is wrong with an object or with one of its records. Whose it is stands beside it where it is logged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the error texts are the documentation")]
pub enum ObjectFault {
    #[error("record {ordinal} at byte {offset} is not a JSON object with sound text; it was skipped")]
    BadRecord { ordinal: Ordinal, offset: u64 },
    #[error("record {ordinal} at byte {offset} is longer than {limit} bytes; it was dropped")]
    OversizeRecord { ordinal: Ordinal, offset: u64, limit: u64 },
    #[error(
        "the array that record {ordinal} at byte {offset} belongs to is broken there; the rest of that array was not read"
    )]
    ArrayTail { ordinal: Ordinal, offset: u64 },
}

impl ObjectFault {
    /// The record that the fault is about.
    #[must_use]
    pub const fn ordinal(&self) -> Ordinal {
        match self {
            Self::BadRecord { ordinal, .. }
            | Self::OversizeRecord { ordinal, .. }
            | Self::ArrayTail { ordinal, .. } => *ordinal,
        }
    }

    /// The decompressed offset at which it was found.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        match self {
            Self::BadRecord { offset, .. } | Self::OversizeRecord { offset, .. } | Self::ArrayTail { offset, .. } => {
                *offset
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_is_the_same_with_and_without_quotes() {
        assert_eq!(ETag::new("\"abc\""), ETag::new("abc"));
        assert_eq!(ETag::new("abc").quoted(), "\"abc\"");
    }

    #[test]
    fn positions_order_by_record_then_part() {
        let at = |ordinal, part| Position { ordinal: Ordinal(ordinal), part };
        assert!(at(1, 9) < at(2, 0));
        assert!(at(2, 0) < at(2, 1));
    }

    #[test]
    fn positions_are_numbers_in_their_order() {
        let at = |ordinal, part| Position { ordinal: Ordinal(ordinal), part };
        let rising = [at(0, 0), at(0, 1), at(0, u32::MAX), at(1, 0), at(7, 3), Position::END, at(u64::MAX, u32::MAX)];
        assert!(rising.is_sorted_by_key(|it| it.to_number()) && rising.is_sorted());
        for position in rising {
            assert_eq!(Position::from_number(position.to_number()), Some(position));
        }
        assert_eq!(Position::from_number(at(u64::MAX, u32::MAX).to_number() + 1), None);
        // DynamoDB keeps 38 digits.
        assert_eq!(at(u64::MAX, u32::MAX).to_number().to_string().len(), 29);
    }
}
