//! What a lane reads an object from, and how that ended.

use super::budget::Permit;
use super::early::Stream;
use super::ledger::{Claim, LedgerFault};
use super::open::Stopwatch;
use super::read::ReadFault;
use crate::core::decode::DecodeFault;
use crate::core::errand::Errand;
use crate::core::object::ETag;
use crate::core::progress::Progress;
use crate::core::settlement::Finish;

/// Where an object's bytes come from, and the memory for them.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// Stored bytes, as far as they are known.
    pub(super) size: Option<u64>,
    /// Bytes of the window that its decoder needs beyond what each object has.
    pub(super) window: u64,
    pub(super) reserve: Option<Permit>,
    pub(super) reading: Option<Stream>,
    /// The tag of what was read, once it was begun: nothing else may take its place.
    pub(super) etag: Option<ETag>,
    /// The stored byte from which on it is read.
    pub(super) from: u64,
    pub(super) watch: Stopwatch,
}

/// How often an object is read whose successors are overwritten while they are read. They have notifications of their own.
const SUCCESSORS_MAX: u32 = 3;

/// What is known of an object that this lane has just read, and reads again.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// What is to be read now; none at first.
    pub(super) then: Option<Then>,
    /// The tag of what was read.
    pub(super) etag: Option<ETag>,
    /// What is settled of it, and its claim.
    pub(super) known: (Progress, Option<Claim>),
    /// Events that were delivered for the message.
    pub(super) delivered: u64,
    /// How often it was read.
    pub(super) attempts: u32,
}

/// What is read at once after an attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The same object: it may have been damaged on its way here.
    Again,
    /// The object that has taken its place.
    Successor,
}

/// How far an object was read.
#[derive(Debug)]
pub(super) enum ReadEnd {
    /// To its end.
    Whole,
    /// Not at all: it was delivered before.
    Before,
    /// Not at all: it could not be found out what was settled before.
    Ledger(LedgerFault),
    /// Not at all: so many attempts came to nothing, or ended their process.
    Poison(u32),
    /// To its end, and there was no record in it.
    Hollow,
    /// Its bytes end early, or a wrong one makes it look so.
    Cut(DecodeFault),
    /// Its bytes are wrong.
    Damaged(DecodeFault),
    /// The store gives no more of it.
    Fault(ReadFault),
    /// Its events are not accepted, so there was no use in reading on.
    SendFailed,
}

impl ReadEnd {
    /// What is to be read now, and what has become of the attempt that ended so.
    pub(super) fn then(&self, before: &Before) -> Option<(Then, Finish)> {
        match self {
            // The same failure again is no accident of the way.
            Self::Cut(_) | Self::Damaged(_) if before.then != Some(Then::Again) => {
                Some((Then::Again, Finish::Retryable))
            }
            Self::Fault(ReadFault::Changed) if before.attempts < SUCCESSORS_MAX => {
                Some((Then::Successor, Finish::Superseded))
            }
            Self::Whole
            | Self::Before
            | Self::Ledger(_)
            | Self::Poison(_)
            | Self::Hollow
            | Self::Cut(_)
            | Self::Damaged(_)
            | Self::Fault(_)
            | Self::SendFailed => None,
        }
    }

    /// Whether what was sent of it never came before a good checksum.
    pub(super) const fn is_unverified(&self) -> bool {
        matches!(self, Self::Cut(_) | Self::Damaged(_))
    }

    /// What it means for the message, and why.
    pub(super) fn finish(&self) -> (Finish, Option<String>) {
        match self {
            Self::Whole => (Finish::Delivered, None),
            Self::Before => (Finish::Delivered, Some("it was delivered before".to_owned())),
            Self::Ledger(fault) => (fault.finish(), Some(fault.to_string())),
            Self::Poison(strikes) => {
                (Finish::Retryable, Some(format!("{strikes} attempts came to nothing, or ended their process")))
            }
            Self::Hollow => (Finish::Corrupt, Some("the object holds no record that could be read".to_owned())),
            Self::Cut(fault) | Self::Damaged(fault) => (Finish::Corrupt, Some(fault.to_string())),
            Self::Fault(fault) => (finish_of(fault), Some(fault.to_string())),
            Self::SendFailed => (Finish::Retryable, None),
        }
    }
}

fn finish_of(fault: &ReadFault) -> Finish {
    match fault {
        ReadFault::Missing => Finish::Missing,
        ReadFault::Changed => Finish::Superseded,
        ReadFault::Denied(failure) | ReadFault::Failed(failure) => Errand::Source.finish(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_damaged_on_its_way_is_read_once_more() {
        let ends = [
            ReadEnd::Cut(DecodeFault::Truncated { at: 5 }),
            ReadEnd::Damaged(DecodeFault::Damaged { at: 5, what: "gzip size does not match" }),
        ];
        for end in ends {
            let again = Some((Then::Again, Finish::Retryable));
            assert_eq!(end.then(&Before::default()), again);
            let before = |then| Before { then: Some(then), attempts: 1, ..Before::default() };
            assert_eq!(end.then(&before(Then::Successor)), again);
            assert_eq!(end.then(&before(Then::Again)), None, "the same again");
            assert_eq!(end.finish().0, Finish::Corrupt);
        }
    }
}
