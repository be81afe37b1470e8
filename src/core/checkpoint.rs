//! Places in an object at which an attempt goes on without what came before: no byte before them is fetched or decoded again.
//!
//! One is a [`Mark`] of the decoder, the place of the first record that begins behind it, and what the records before it have
//! to say to those that follow. It is good for whoever has settled all before [`Checkpoint::next`].

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::bufread::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde::{Deserialize, Serialize};

use super::decode::{Mark, inflate};
use super::object::Ordinal;
use super::scan::RecordPlace;
use super::time::UnixMillis;

/// The first byte of one that is kept. What has another one was written by another version and is not read.
const VERSION: u8 = 1;
/// Version, CRC-32 of what follows, and its head's length.
const PREFIX_BYTES: usize = 1 + 4 + 2;

/// How far such places are apart.
#[derive(Clone, Copy, Debug)]
pub struct Spacing {
    /// Decompressed bytes from one to the next: little enough to be read again, and a copy of 32 KiB costs nothing beside
    /// them.
    pub made: u64,
    /// Decompressed bytes from one that is written to the next: each is some ten units of DynamoDB's.
    pub written: u64,
    /// Stored bytes before the first that is remembered: to find it takes a call, as reading again does.
    pub least: u64,
}

impl Default for Spacing {
    fn default() -> Self {
        Self { made: 4 << 20, written: 32 << 20, least: 4 << 20 }
    }
}

/// Such a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Where the decoder goes on.
    pub mark: Mark,
    /// Decompressed bytes before it.
    pub decompressed: u64,
    /// Where the scanner goes on, behind it.
    pub place: RecordPlace,
    /// The time that a record has without one of its own.
    pub time: UnixMillis,
}

impl Checkpoint {
    /// The first record that is not before it.
    #[must_use]
    pub const fn next(&self) -> Ordinal {
        self.place.ordinal()
    }

    /// Decompressed bytes that are passed over from the mark on: the end of a record that began before it.
    #[must_use]
    pub const fn skip(&self) -> u64 {
        self.place.offset().saturating_sub(self.decompressed)
    }

    /// As it is kept: about 10 KB.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Neither can fail: it is written to memory, and is all numbers.
        let head = serde_json::to_vec(self).unwrap_or_default();
        let mut packed = DeflateEncoder::new(Vec::new(), Compression::fast());
        let _to_memory = packed.write_all(self.mark.before());
        let packed = packed.finish().unwrap_or_default();
        let length = u16::try_from(head.len()).unwrap_or_default().to_le_bytes();
        let mut crc = crc32fast::Hasher::new();
        [&length[..], &head, &packed].into_iter().for_each(|part| crc.update(part));
        let crc = crc.finalize().to_le_bytes();
        [&[VERSION][..], &crc, &length, &head, &packed].concat()
    }

    /// One that was kept. `None`: it is not whole, or of another version.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let ([version, crc @ .., low, high], rest) = bytes.split_first_chunk::<PREFIX_BYTES>()?;
        let crc = u32::from_le_bytes(*<&[u8; 4]>::try_from(&crc[..]).ok()?);
        if *version != VERSION || crc32fast::hash(bytes.get(5..)?) != crc {
            return None;
        }
        let (head, packed) = rest.split_at_checked(usize::from(u16::from_le_bytes([*low, *high])))?;
        let checkpoint: Self = serde_json::from_slice(head).ok()?;
        let mut before = Vec::new();
        let most = inflate::WINDOW_BYTES as u64;
        DeflateDecoder::new(packed).take(most).read_to_end(&mut before).ok()?;
        let sound = checkpoint.place.offset() >= checkpoint.decompressed;
        sound.then(|| Self { mark: checkpoint.mark.with_before(before), ..checkpoint })
    }
}
