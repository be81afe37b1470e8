//! Places between an object's records, at which another scanner goes on.

use serde::{Deserialize, Serialize};

use super::framing::{Mode, State, Want};
use super::{ScanLimits, Scanner};
use crate::core::object::Ordinal;

/// Such a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordPlace {
    ordinal: u64,
    offset: u64,
    /// Whether values go over lines; none: nothing has shown it yet.
    value_mode: Option<bool>,
    /// The offset of the array whose elements are read, behind one of them.
    array: Option<u64>,
    crossed: bool,
    committed: bool,
}

impl RecordPlace {
    /// The number of the next record.
    #[must_use]
    pub const fn ordinal(&self) -> Ordinal {
        Ordinal(self.ordinal)
    }

    /// Decompressed bytes before it.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }
}

impl Scanner {
    /// Where it is, if nothing is begun there: behind a record, as a rule.
    #[must_use]
    pub fn place(&self) -> Option<RecordPlace> {
        let array = match self.state {
            State::Between => None,
            State::Gap(Want::CommaOrEnd) => Some(self.array.0),
            State::Start
            | State::First
            | State::Line
            | State::Value
            | State::Gap(Want::Element | Want::ElementOrEnd)
            | State::Element
            | State::Skip(_)
            | State::End => return None,
        };
        let value_mode = match self.mode {
            Mode::Undecided => None,
            Mode::Line => Some(false),
            Mode::Value => Some(true),
        };
        let Self { ordinal, offset, crossed, committed, .. } = *self;
        Some(RecordPlace { ordinal, offset, value_mode, array, crossed, committed })
    }

    /// A scanner that goes on at such a place.
    #[must_use]
    pub fn at(limits: ScanLimits, place: &RecordPlace) -> Self {
        let state = if place.array.is_some() { State::Gap(Want::CommaOrEnd) } else { State::Between };
        Self {
            ordinal: place.ordinal,
            offset: place.offset,
            mode: match place.value_mode {
                None => Mode::Undecided,
                Some(false) => Mode::Line,
                Some(true) => Mode::Value,
            },
            state,
            before: (state, place.offset),
            committed: place.committed,
            array: (place.array.unwrap_or_default(), place.array.is_some()),
            crossed: place.crossed,
            ..Self::new(limits)
        }
    }
}
