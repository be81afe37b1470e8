//! How far an object's events are settled with one delivery.
//!
//! Events are settled in the order of their records, save where a batch that was refused as a whole was halved, or a
//! group was cut by the API's span: then some may be accepted behind others that are not. Both are kept, so that no
//! accepted event is sent again by the attempt that goes on. Of what is not settled it is kept which may have been accepted
//! all the same, because an answer was lost.

use std::ops::Range;

use super::object::{Ordinal, Position};

/// Runs of settled records behind the first one that is not. Of more the last are forgotten, and their events sent again.
pub const RUNS_MAX: usize = 64;

/// The settled part of an object's events: accepted, rejected or dropped by a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The first event that is not settled.
    next: Position,
    /// Runs of records behind it all of whose events are, ascending, apart, not empty.
    beyond: Vec<Range<u64>>,
    /// Events before it that are not settled may have been accepted.
    doubtful: Position,
}

impl Progress {
    /// All before `next`, and the records of some runs behind it.
    #[must_use]
    pub fn new(next: Position, runs: impl IntoIterator<Item = Range<u64>>) -> Self {
        let mut progress = Self { next, beyond: runs.into_iter().collect(), ..Self::default() };
        progress.tidy();
        progress
    }

    /// All that there is.
    #[must_use]
    pub const fn all() -> Self {
        Self { next: Position::END, beyond: Vec::new(), doubtful: Position { ordinal: Ordinal(0), part: 0 } }
    }

    /// The first event that is not settled.
    #[must_use]
    pub const fn next(&self) -> Position {
        self.next
    }

    /// Runs of records behind it that are settled.
    #[must_use]
    pub fn beyond(&self) -> &[Range<u64>] {
        &self.beyond
    }

    /// Whether nothing is settled.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.settles_as(&Self::default())
    }

    /// Whether the same is settled.
    #[must_use]
    pub fn settles_as(&self, other: &Self) -> bool {
        (self.next, &self.beyond) == (other.next, &other.beyond)
    }

    /// Events before `end` were sent, and no answer came: those of them that are not settled may have been accepted.
    pub fn doubt(&mut self, end: Position) {
        self.doubtful = self.doubtful.max(end);
    }

    /// The end of the events that may have been accepted, if they are not settled.
    #[must_use]
    pub const fn doubtful(&self) -> Position {
        self.doubtful
    }

    /// Whether the event at `at` is settled.
    #[must_use]
    pub fn covers(&self, at: Position) -> bool {
        at < self.next || self.has_record(at.ordinal)
    }

    /// Whether all events of a record are settled.
    #[must_use]
    pub fn has_record(&self, record: Ordinal) -> bool {
        record < self.next.ordinal || {
            let runs_before = self.beyond.partition_point(|run| run.end <= record.0);
            self.beyond.get(runs_before).is_some_and(|run| run.contains(&record.0))
        }
    }

    /// All events before `end` are settled, save those at `unsettled`, in any order.
    pub fn settle(&mut self, end: Position, unsettled: impl IntoIterator<Item = Position>) {
        let mut open: Vec<Position> = unsettled.into_iter().filter(|at| *at < end && !self.covers(*at)).collect();
        open.sort_unstable();
        let Some(first) = open.first().copied() else {
            self.next = self.next.max(end);
            self.tidy();
            return;
        };
        self.next = self.next.max(first);
        let mut start = first.ordinal.0 + 1;
        // A record that is cut at `end` is not settled as a whole.
        for stop in open.iter().map(|at| at.ordinal.0).chain([end.ordinal.0]) {
            if start < stop {
                self.beyond.push(start..stop);
            }
            start = start.max(stop + 1);
        }
        self.tidy();
    }

    /// What is settled by either.
    pub fn merge(&mut self, other: &Self) {
        self.next = self.next.max(other.next);
        self.beyond.extend_from_slice(&other.beyond);
        self.doubtful = self.doubtful.max(other.doubtful);
        self.tidy();
    }

    /// Joins runs that touch, and takes in those that `next` has reached.
    fn tidy(&mut self) {
        self.beyond.retain(|run| !run.is_empty());
        self.beyond.sort_unstable_by_key(|run| run.start);
        let runs = std::mem::take(&mut self.beyond);
        for run in runs {
            if run.end <= self.next.ordinal.0 {
                continue;
            }
            if run.start <= self.next.ordinal.0 {
                self.next = Position { ordinal: Ordinal(run.end), part: 0 };
                continue;
            }
            match self.beyond.last_mut().filter(|last| last.end >= run.start) {
                Some(last) => last.end = last.end.max(run.end),
                None => self.beyond.push(run),
            }
        }
        self.beyond.truncate(RUNS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const fn at(ordinal: u64, part: u32) -> Position {
        Position { ordinal: Ordinal(ordinal), part }
    }

    fn seen(progress: &Progress) -> (Position, Vec<(u64, u64)>) {
        (progress.next(), progress.beyond().iter().map(|run| (run.start, run.end)).collect())
    }

    #[test]
    fn groups_move_it_forward_and_gaps_are_kept() {
        let mut progress = Progress::default();
        progress.settle(at(10, 0), []);
        assert_eq!(seen(&progress), (at(10, 0), vec![]));
        // The second half of the group was accepted, and of the first half the records 12 and 13.
        progress.settle(at(20, 0), [at(14, 0), at(10, 0), at(11, 0)]);
        assert_eq!(seen(&progress), (at(10, 0), vec![(12, 14), (15, 20)]));
        assert!(progress.covers(at(13, 0)) && !progress.covers(at(14, 0)) && progress.covers(at(19, 7)));
        progress.settle(at(13, 0), []);
        assert_eq!(seen(&progress), (at(14, 0), vec![(15, 20)]));
        progress.settle(at(15, 0), []);
        assert_eq!(seen(&progress), (at(20, 0), vec![]));
        // It goes forward only.
        progress.settle(at(3, 0), []);
        assert_eq!(progress.next(), at(20, 0));
    }

    #[test]
    fn a_record_in_parts_is_settled_part_by_part() {
        let mut progress = Progress::default();
        progress.settle(at(0, 3), []);
        assert!(progress.covers(at(0, 2)) && !progress.covers(at(0, 3)));
        // Parts 3 and 4 are sent, 3 is accepted.
        progress.settle(at(0, 5), [at(0, 4)]);
        assert_eq!(progress.next(), at(0, 4));
        // Of a later record that is cut at the group's end, nothing is remembered beyond a gap.
        progress.settle(at(2, 1), [at(0, 4)]);
        assert_eq!(seen(&progress), (at(0, 4), vec![(1, 2)]));
        progress.settle(at(1, 0), []);
        assert_eq!(progress.next(), at(2, 0));
    }

    #[test]
    fn doubt_settles_nothing_and_is_kept() {
        let mut progress = Progress::default();
        progress.settle(at(3, 0), []);
        let before = progress.clone();
        progress.doubt(at(7, 2));
        progress.doubt(at(5, 0));
        assert!(progress.settles_as(&before) && !progress.covers(at(4, 0)));
        let mut merged = before;
        merged.merge(&progress);
        assert_eq!(merged.doubtful(), at(7, 2));
        let mut only = Progress::default();
        only.doubt(at(1, 0));
        assert!(only.is_none());
    }

    #[test]
    fn of_too_many_runs_the_last_are_forgotten() {
        let mut progress = Progress::default();
        progress.settle(at(1000, 0), (0..500).map(|gap| at(2 * gap, 0)));
        assert_eq!(progress.beyond().len(), RUNS_MAX);
        assert!(progress.covers(at(1, 0)) && !progress.covers(at(999, 0)));
    }

    proptest! {
        /// Beside a set of settled records: what it says is settled is, and while runs are few all that is it says.
        #[test]
        fn it_says_what_a_set_would(groups in prop::collection::vec((1_u64..12, prop::collection::vec(0_u64..12, 0..5)), 1..12)) {
            let (mut progress, mut settled) = (Progress::default(), BTreeSet::new());
            for (records, gaps) in groups {
                let start = progress.next().ordinal.0;
                let end = start + records;
                let gaps: BTreeSet<u64> = gaps.into_iter().map(|gap| start + gap).filter(|gap| *gap < end && !settled.contains(gap)).collect();
                settled.extend((start..end).filter(|record| !gaps.contains(record)));
                let before = progress.clone();
                progress.settle(at(end, 0), gaps.iter().map(|gap| at(*gap, 0)));
                prop_assert!(progress.next() >= before.next());
                for record in 0..end + 20 {
                    prop_assert_eq!(progress.covers(at(record, 0)), settled.contains(&record), "{} of {:?}", record, progress);
                }
                let mut merged = before;
                merged.merge(&progress);
                prop_assert_eq!(&merged, &progress);
                prop_assert_eq!(Progress::new(progress.next(), progress.beyond().to_vec()), progress.clone());
            }
        }
    }
}
