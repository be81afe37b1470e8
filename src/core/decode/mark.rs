//! Places in a stored stream from which a decoder goes on without what came before.
//!
//! In gzip such a place is a block's beginning, or any within a block of fixed codes: what matters of all before it is where it
//! is, to the bit, the checksum and the length so far, and the last 32 KiB of what came out. In plain text it is any byte.

use serde::{Deserialize, Serialize};

use super::inflate::Stop;

/// Such a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The first stored byte of which no bit is used.
    pub(super) stored: u64,
    /// What the decoder holds there; none: plain text.
    pub(super) member: Option<Member>,
    /// What it gave before, as far back as what follows may reach.
    #[serde(skip)]
    pub(super) before: Vec<u8>,
}

/// Within a member of gzip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Member {
    pub(super) stop: Stop,
    /// CRC-32 and length of what the member gave, the latter modulo 2^32.
    pub(super) crc: u32,
    pub(super) bytes: u32,
}

impl Mark {
    /// Stored bytes before those that a decoder needs that goes on there.
    #[must_use]
    pub const fn stored(&self) -> u64 {
        self.stored
    }

    /// What a decoder gave before: it must stand in front of what it gives when it goes on there. At most 32 KiB.
    #[must_use]
    pub fn before(&self) -> &[u8] {
        &self.before
    }

    /// The same with other bytes before it, which are not kept with the rest.
    #[must_use]
    pub fn with_before(self, before: Vec<u8>) -> Self {
        Self { before, ..self }
    }
}
