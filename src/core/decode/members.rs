//! gzip members that are decoded before their turn: where one may begin within an object's bytes, and what it holds.
//!
//! Nothing in a gzip stream says how long a member is. But most begin with the same four bytes, which elsewhere are there once
//! in four billion places; so what stands between two such places is tried as members, and counts if their checksums are good
//! and they end where the next one begins. Whoever comes to it in turn sees whether a member begins there at all.

use std::ops::Range;

use super::Decoder;

/// What members begin with that have no name, comment or other extra.
const BEGINNING: [u8; 4] = [0x1f, 0x8b, 8, 0];
/// ISIZE, with which a member ends.
const SIZE_BYTES: usize = 4;

/// Bytes that may be whole members, and how many they say that they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where they stand.
    pub stored: Range<usize>,
    /// Decompressed bytes, by the members' own account.
    pub text: usize,
}

/// What may be whole members of some stored bytes, in spans of at most so many decompressed bytes, but for a member that is
/// longer than that itself. What stands before the first and behind the last is none of them.
pub fn spans(stored: &[u8], text_max: usize) -> impl Iterator<Item = Span> {
    let mut places = memchr::memmem::find_iter(stored, &BEGINNING);
    let mut begin = places.next();
    let mut open: Option<Span> = None;
    std::iter::from_fn(move || {
        loop {
            let next = places.next();
            let (Some(from), Some(to)) = (std::mem::replace(&mut begin, next), next) else { return open.take() };
            let size = stored.get(from..to)?.last_chunk::<SIZE_BYTES>()?;
            let text = usize::try_from(u32::from_le_bytes(*size)).unwrap_or(usize::MAX);
            match &mut open {
                Some(open) if open.text.saturating_add(text) <= text_max => {
                    (open.stored.end, open.text) = (to, open.text + text);
                }
                _ => {
                    if let Some(full) = open.replace(Span { stored: from..to, text }) {
                        return Some(full);
                    }
                }
            }
        }
    })
}

/// Decodes what may be whole members, which say that they hold so many bytes, into an empty buffer. Whether they are and do,
/// with good checksums.
pub fn decode(stored: &[u8], bytes: usize, text: &mut Vec<u8>) -> bool {
    // A byte more than there should be: what ends a member is only looked at where there is room.
    text.resize(bytes + 1, 0);
    let whole = decodes_to(stored, bytes, text);
    text.truncate(bytes);
    whole
}

fn decodes_to(stored: &[u8], bytes: usize, text: &mut [u8]) -> bool {
    let mut decoder = Decoder::new();
    let (mut taken, mut made) = (0, 0);
    loop {
        let Ok(progress) = decoder.decode(stored.get(taken..).unwrap_or_default(), text, made) else { return false };
        (taken, made) = (taken + progress.consumed, made + progress.produced);
        if progress.consumed == 0 && progress.produced == 0 {
            return taken == stored.len() && made == bytes && decoder.finish().is_ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn member(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    proptest! {
        /// Whole members between others are found, as many to a span as may be, and are what they were made of.
        #[test]
        fn members_between_the_first_and_the_last_are_found(
            texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3_000), 3..12),
            cut in 1..20_usize,
            text_max in 1..10_000_usize,
        ) {
            let members: Vec<Vec<u8>> = texts.iter().map(|text| member(text)).collect();
            let all = members.concat();
            let stored = &all[cut.min(members[0].len())..];
            let spans: Vec<Span> = spans(stored, text_max).collect();
            let mut at = members[0].len() - cut.min(members[0].len());
            let mut text = Vec::new();
            for span in &spans {
                prop_assert_eq!(span.stored.start, at, "without a gap");
                at = span.stored.end;
                let mut made = Vec::new();
                prop_assert!(decode(&stored[span.stored.clone()], span.text, &mut made));
                prop_assert!(made.len() <= text_max || texts.contains(&made), "a long one is alone");
                text.extend(made);
            }
            let within = 1..texts.len() - 1;
            prop_assert_eq!(text, texts[within].concat());
        }

        /// What is no member, or a damaged one, or one that is longer than it says, is not taken for one.
        #[test]
        fn nothing_else_is_taken_for_members(text in prop::collection::vec(any::<u8>(), 1..2_000), at: prop::sample::Index, flip in 1..=255_u8) {
            let good = member(&text);
            let whole = |stored: &[u8], bytes: usize| decode(stored, bytes, &mut Vec::new());
            prop_assert!(whole(&good, text.len()));
            let mut bad = good.clone();
            let at = at.index(bad.len());
            bad[at] ^= flip;
            // Of a header's time, hints and system nobody asks, nor of the bits that fill a block's last byte.
            let mut made = Vec::new();
            let is_taken = decode(&bad, text.len(), &mut made);
            prop_assert!(is_taken || !(4..10).contains(&at));
            prop_assert!(!is_taken || made == text);
            prop_assert!(!whole(&good[..good.len() - 1], text.len()));
            prop_assert!(!whole(&[&good[..], &[0x1f]].concat(), text.len()));
            prop_assert!(!whole(&good, text.len() - 1) && !whole(&good, text.len() + 1));
        }
    }
}
