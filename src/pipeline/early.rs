//! Members that are decoded before their turn: while one thread is at a chunk, others decode the members of the next one.
//!
//! A chunk that is there already when another one is given to the machine is looked through for what may be whole members,
//! and those go to the compute threads in pieces. Their text takes memory, of an object's class of the budget; what there is none
//! for stays as it is stored, and is decoded by the machine. So on few cores, or in little memory, it is that more often. What looks
//! like members and is none has been decoded in vain, once.

use bytes::Bytes;
use tokio::sync::oneshot;

use super::budget::{CHUNK_BYTES, LaneBudget, Permit};
use super::compute::Compute;
use super::machine::Piece;
use super::read::{Chunk, Reading};
use crate::core::decode::members::spans;

/// Decompressed bytes that are decoded before a chunk's turn, at most.
const EARLY_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// Those that one piece of work makes, but for a longer member.
const PIECE_BYTES: u64 = CHUNK_BYTES;

/// An object that is being read, and what is decoded of it early.
#[derive(Debug)]
pub(super) struct Stream {
    /// What is read.
    pub(super) reading: Reading,
    next: Option<Next>,
    /// The memory of the chunk that was given last, if it was one more than an object has.
    memory: Permit,
}

/// What comes behind the chunk that was given last.
#[derive(Debug)]
enum Next {
    /// Whether it is the last.
    Early(EarlyChunk, bool),
    Other(Chunk),
}

/// What an object's machine is given.
#[derive(Debug)]
pub(super) enum Given {
    /// Pieces of a chunk, and whether they are the last.
    Pieces(Vec<Piece>, bool),
    /// A chunk that nobody has looked at, or the end.
    Chunk(Chunk),
}

impl From<Reading> for Stream {
    fn from(reading: Reading) -> Self {
        Self { reading, next: None, memory: Permit::default() }
    }
}

impl Stream {
    /// Looks at the next chunk, if it is there: its members are decoded while the machine is at the one before.
    pub(super) fn look_ahead(&mut self, compute: &Compute, budget: &LaneBudget) {
        if self.next.is_some() || !compute.has_time() || !self.reading.has_next() {
            return;
        }
        // One chunk more than an object has.
        let Some(memory) = budget.try_early(CHUNK_BYTES) else { return };
        self.next = self.reading.try_next().map(|chunk| match &chunk {
            Chunk::Bytes(bytes) => Next::Early(EarlyChunk::begin(bytes, compute, budget, memory), false),
            Chunk::Last(bytes) => Next::Early(EarlyChunk::begin(bytes, compute, budget, memory), true),
            Chunk::End | Chunk::Failed(_) => Next::Other(chunk),
        });
    }

    /// What comes next; what is being decoded of it is waited for. The machine has done with what came before.
    pub(super) async fn next(&mut self) -> Given {
        self.memory = Permit::default();
        match self.next.take() {
            Some(Next::Early(early, last)) => {
                let (pieces, memory) = early.done().await;
                self.memory = memory;
                Given::Pieces(pieces, last)
            }
            Some(Next::Other(chunk)) => Given::Chunk(chunk),
            None => Given::Chunk(self.reading.next().await),
        }
    }
}

/// A chunk whose members are being decoded.
#[derive(Debug)]
struct EarlyChunk {
    pieces: Vec<Coming>,
    memory: Permit,
}

#[derive(Debug)]
enum Coming {
    Stored(Bytes),
    /// The same, if the thread that has them is gone.
    Members(Bytes, oneshot::Receiver<Piece>),
}

impl EarlyChunk {
    /// Has the members of a chunk decoded, for which there is memory, as far as there is some for their text.
    fn begin(chunk: &Bytes, compute: &Compute, budget: &LaneBudget, memory: Permit) -> Self {
        let (mut pieces, mut at, mut early) = (Vec::new(), 0, 0);
        // A byte less: a buffer has one more than the text.
        for span in spans(chunk, usize::try_from(PIECE_BYTES - 1).unwrap_or(usize::MAX)) {
            let text = u64::try_from(span.text).unwrap_or(u64::MAX).max(PIECE_BYTES);
            early = text.saturating_add(early);
            if early > EARLY_BYTES_MAX {
                break;
            }
            let Some(memory) = budget.try_early(text) else { break };
            if at < span.stored.start {
                pieces.push(Coming::Stored(chunk.slice(at..span.stored.start)));
            }
            at = span.stored.end;
            let stored = chunk.slice(span.stored);
            let decoded = compute.decode(budget, stored.clone(), (span.text, memory));
            pieces.push(Coming::Members(stored, decoded));
        }
        if at < chunk.len() {
            pieces.push(Coming::Stored(chunk.slice(at..)));
        }
        Self { pieces, memory }
    }

    /// What has become of it, when all is decoded; and the memory of its stored bytes.
    async fn done(self) -> (Vec<Piece>, Permit) {
        let mut pieces = Vec::with_capacity(self.pieces.len());
        for coming in self.pieces {
            pieces.push(match coming {
                Coming::Stored(stored) => Piece::Stored(stored),
                Coming::Members(stored, decoded) => decoded.await.unwrap_or(Piece::Stored(stored)),
            });
        }
        (pieces, self.memory)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::core::tenant::TenantId;
    use crate::pipeline::budget::Budget;

    fn member(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    /// Of each piece whether it was decoded, and for how many memory is held.
    async fn pieces(budget: &Budget) -> (Vec<bool>, u64) {
        let lane = budget.lane(&TenantId::try_from("acme").unwrap(), 0);
        let members = ["one", "two", "three", "four", "five"].map(member).concat();
        // The first one begins in the chunk before, the last one ends in the next.
        let chunk = Bytes::from(members).slice(5..);
        let early = EarlyChunk::begin(&chunk, &Compute::in_place(), &lane, Permit::default());
        let (pieces, _) = early.done().await;
        let claimed = budget.used() / PIECE_BYTES;
        (pieces.iter().map(|piece| matches!(piece, Piece::Early(_))).collect(), claimed)
    }

    /// What stands whole in a chunk is decoded early while there is memory for it, which is held as long as the text is.
    #[tokio::test]
    async fn whole_members_are_decoded_early_if_there_is_memory() {
        let budget = Budget::new(40 << 20, 16 << 20).unwrap();
        assert_eq!(pieces(&budget).await, (vec![false, true, false], 1));
        assert_eq!(budget.used(), 0);
        let other = budget.lane(&TenantId::try_from("other").unwrap(), 1);
        let all = other.try_early(u64::MAX).unwrap();
        assert_eq!(pieces(&budget).await.0, [false], "the chunk as it is stored");
        drop(all);
        assert_eq!(budget.used(), 0);
    }
}
