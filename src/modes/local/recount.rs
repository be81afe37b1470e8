//! The verdict, counted on the cloud's side: every event of every object, made again, must be found once, and in the order
//! of design §5: an object's events in their order, and objects of a stream in the order of their arrival.
//!
//! Under faults an event may be missing if one rejected it. It may be there again once for each accepted call with it whose
//! answer a fault lost or kept back, and for no other reason: a message that comes again, because a queue delivers it twice
//! or loses its deletion, or because it was handed back, brings its object again, but one process remembers what of it was
//! accepted. Sent, that is kept or rejected, it may be once and once more for each lost answer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use loadgen::ObjectSource;
use localcloud::{Cloud, digest};

use super::feed::Sent;
use super::tenancy::{GROUP, Tenancy};
use crate::core::tally::{Rejected, Tally};

/// What was found of the events of one stream, or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Events that are there and should be.
    pub(super) arrived: u64,
    /// Events that should be there and are not.
    pub(super) missing: u64,
    /// Events that should be there and are not, because a fault rejected them.
    pub(super) rejected: u64,
    /// Events that should not be there.
    pub(super) unexpected: u64,
    /// Events that are there again, after an answer was lost.
    pub(super) twice: u64,
    /// Events that are there again, though no answer was lost.
    pub(super) repeated: u64,
    /// Events that were rejected when they were sent again, though no answer was lost.
    pub(super) rejected_again: u64,
    /// Events that stand before an earlier one of their object, or of an object that arrived before it.
    pub(super) out_of_order: u64,
    /// All events, wanted or not, of accepted calls whose answers were lost or late.
    pub(super) unanswered: u64,
    /// All events, wanted or not, that faults rejected.
    pub(super) turned_down: u64,
}

impl Found {
    fn add(&mut self, other: Self) {
        self.arrived += other.arrived;
        self.missing += other.missing;
        self.unexpected += other.unexpected;
        self.rejected += other.rejected;
        self.twice += other.twice;
        self.repeated += other.repeated;
        self.rejected_again += other.rejected_again;
        self.out_of_order += other.out_of_order;
        self.unanswered += other.unanswered;
        self.turned_down += other.turned_down;
    }

    /// Whether there is nothing but what is promised, when so many events were read of damaged bytes before that was known.
    pub(super) const fn is_perfect(&self, unverified: u64) -> bool {
        self.missing <= unverified && self.unexpected <= unverified && self.again() == 0 && self.out_of_order == 0
    }

    /// Events that were sent again though no answer was lost.
    pub(super) const fn again(&self) -> u64 {
        self.repeated + self.rejected_again
    }

    /// All events that are there.
    pub(super) const fn kept(&self) -> u64 {
        self.arrived + self.unexpected + self.twice + self.repeated
    }

    /// Whether the daemon's count is the same: it knows of no event whose answer it did not get.
    pub(super) fn agrees(&self, tally: &Tally) -> bool {
        let told = self.kept() - self.unanswered.min(self.kept())..=self.kept();
        let rejected = [Rejected::TooOld, Rejected::TooNew, Rejected::Expired].map(|reason| tally.rejected(reason));
        let rejected: u64 = rejected.iter().sum();
        let balances = tally.balances() && tally.pending() == 0;
        balances && told.contains(&tally.delivered()) && rejected == self.turned_down
    }
}

/// Time and digest of an event.
type Mark = (i64, u64);

/// What is promised of the order of a stream's objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Across {
    /// They stand in the order of their arrival.
    Arrival,
    /// Nothing: some were handed back and came again.
    Nothing,
}

/// The events of one stream, in the order in which they were accepted.
struct Ledger {
    /// Sorted by mark, then by place.
    marks: Vec<(Mark, usize)>,
    used: Vec<bool>,
    /// Events that faults rejected, and how often.
    rejected: BTreeMap<Mark, u64>,
    /// Events whose answers were lost, and how often.
    unanswered: BTreeMap<Mark, u64>,
    across: Across,
    /// Where the event stands that was found last.
    last: Option<usize>,
}

impl Ledger {
    fn new(stream: &StreamMarks, across: Across) -> Self {
        let mut marks: Vec<(Mark, usize)> =
            stream.events.iter().copied().enumerate().map(|(place, mark)| (mark, place)).collect();
        marks.sort_unstable();
        let counted = |events: &[Mark]| {
            let mut counts = BTreeMap::new();
            for mark in events {
                *counts.entry(*mark).or_default() += 1;
            }
            counts
        };
        let (rejected, unanswered) = (counted(&stream.rejected), counted(&stream.unanswered));
        Self { used: vec![false; marks.len()], marks, rejected, unanswered, across, last: None }
    }

    /// Takes the first event with a mark that is not taken yet, and gives its place.
    fn take(&mut self, mark: Mark) -> Option<usize> {
        let mut at = self.marks.partition_point(|(other, _)| *other < mark);
        while let Some((other, place)) = self.marks.get(at)
            && *other == mark
        {
            let used = self.used.get_mut(at)?;
            if !*used {
                *used = true;
                return Some(*place);
            }
            at += 1;
        }
        None
    }

    /// Looks for the events of the object that arrived next.
    fn find(&mut self, mut events: impl FnMut() -> Option<Mark>) -> Found {
        let mut found = Found::default();
        if self.across == Across::Nothing {
            self.last = None;
        }
        while let Some(mark) = events() {
            match self.take(mark) {
                Some(place) => {
                    found.arrived += 1;
                    found.out_of_order += u64::from(self.last.is_some_and(|last| place < last));
                    self.last = Some(place);
                }
                None if spend(&mut self.rejected, mark) => found.rejected += 1,
                None => found.missing += 1,
            }
        }
        found
    }

    /// Events that no object has any more, and what they are there for.
    fn rest(mut self) -> Found {
        let mut found = Found { unanswered: self.unanswered.values().sum(), ..Found::default() };
        // Of equal events those that were used come first.
        let mut wanted = None;
        for ((mark, _), used) in self.marks.iter().zip(&self.used) {
            if *used {
                wanted = Some(*mark);
            } else if wanted != Some(*mark) {
                found.unexpected += 1;
            } else if spend(&mut self.unanswered, *mark) {
                found.twice += 1;
            } else {
                found.repeated += 1;
            }
        }
        for (mark, times) in &self.rejected {
            for _ in 0..*times {
                found.rejected_again += u64::from(!spend(&mut self.unanswered, *mark));
            }
        }
        found
    }
}

fn count(of: usize) -> u64 {
    u64::try_from(of).unwrap_or(u64::MAX)
}

/// Takes one of a mark, if there is one left.
fn spend(counts: &mut BTreeMap<Mark, u64>, mark: Mark) -> bool {
    match counts.get_mut(&mark) {
        Some(left @ 1..) => {
            *left -= 1;
            true
        }
        Some(0) | None => false,
    }
}

/// What a stream has.
#[derive(Debug, Default)]
struct StreamMarks {
    events: Vec<Mark>,
    rejected: Vec<Mark>,
    unanswered: Vec<Mark>,
}

/// The streams of all tenants: tenant and stream.
type StreamKey = (usize, String);

/// Counts again: what was found by tenant, and what lies where no tenant's events belong. `sent` stands in the order of
/// arrival; `attempts` says how many objects the daemon worked on for a tenant, those that came again included. Where messages
/// came `disorderly`, again or in another order, none is asked for between objects.
pub(super) fn recount(
    cloud: &Cloud,
    tenancy: &Tenancy,
    objects: &ObjectSource,
    sent: &[Sent],
    attempts: impl Fn(&str) -> u64,
    disorderly: bool,
) -> (Vec<Found>, Vec<String>) {
    let tenant_of = |test: &dyn Fn(usize) -> bool| (0..tenancy.tenants.len()).find(|at| test(*at));
    let mut streams: BTreeMap<StreamKey, (StreamMarks, Vec<&Sent>)> = BTreeMap::new();
    let mut strange = Vec::new();
    cloud.each_stream(|account, region, group, stream, content| {
        let owner = tenant_of(&|at| tenancy.tenants[at].account == account);
        match owner.filter(|_| group == GROUP && region == cloud.region()) {
            Some(tenant) => {
                streams.entry((tenant, stream.to_owned())).or_default().0 = StreamMarks {
                    events: content.digests().collect(),
                    rejected: content.rejected().to_vec(),
                    unanswered: content.unanswered().collect(),
                };
            }
            None => strange.push(format!("{} events in {account} {region} {group}", content.digests().len())),
        }
    });
    let names: BTreeMap<&str, usize> =
        tenancy.tenants.iter().enumerate().map(|(at, tenant)| (tenant.name.as_str(), at)).collect();
    let mut wanted = vec![0_u64; tenancy.tenants.len()];
    for object in sent {
        let Some(tenant) = names.get(object.tenant.as_str()).copied() else { continue };
        if tenancy.tenants[tenant].kind.expects(&object.application) {
            wanted[tenant] += 1;
            streams.entry((tenant, object.pod.clone())).or_default().1.push(object);
        }
    }
    let across: Vec<Across> = tenancy
        .tenants
        .iter()
        .zip(wanted)
        .map(|(tenant, wanted)| disorderly || attempts(&tenant.name) > wanted)
        .map(|again| if again { Across::Nothing } else { Across::Arrival })
        .collect();
    let streams: Vec<_> = streams.into_iter().collect();
    let found = Mutex::new(vec![Found::default(); tenancy.tenants.len()]);
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(((tenant, _), (marks, expected))) = streams.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut ledger = Ledger::new(marks, across[*tenant]);
            let mut sum = Found { turned_down: count(marks.rejected.len()), ..Found::default() };
            for object in expected {
                let mut events = objects.expected(object.recipe);
                sum.add(ledger.find(|| {
                    let event = events.next_event()?;
                    Some((event.timestamp_ms, digest(event.message)))
                }));
            }
            sum.add(ledger.rest());
            if let Some(of_tenant) = found.lock().unwrap_or_else(PoisonError::into_inner).get_mut(*tenant) {
                of_tenant.add(sum);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    (found.into_inner().unwrap_or_else(PoisonError::into_inner), strange)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found where `arrived` is there, of `objects`, if faults rejected some and lost the answers of some.
    fn under(arrived: &[i64], [rejected, unanswered]: [&[i64]; 2], objects: &[&[i64]], across: Across) -> Found {
        let marks = |of: &[i64]| of.iter().map(|mark| (*mark, 0)).collect();
        let stream = StreamMarks { events: marks(arrived), rejected: marks(rejected), unanswered: marks(unanswered) };
        let mut ledger = Ledger::new(&stream, across);
        let mut sum = Found::default();
        for object in objects {
            let mut events = object.iter();
            sum.add(ledger.find(|| events.next().map(|mark| (*mark, 0))));
        }
        sum.add(ledger.rest());
        sum
    }

    fn of(arrived: &[i64], objects: &[&[i64]], across: Across) -> Found {
        under(arrived, [&[], &[]], objects, across)
    }

    const ALL: Found = Found {
        arrived: 5,
        missing: 0,
        rejected: 0,
        unexpected: 0,
        twice: 0,
        repeated: 0,
        rejected_again: 0,
        out_of_order: 0,
        unanswered: 0,
        turned_down: 0,
    };

    #[test]
    fn each_way_to_be_wrong_is_seen() {
        let cases: [(&str, &[i64], Found); 9] = [
            ("all there", &[1, 2, 3, 4, 5], ALL),
            ("objects in another order", &[4, 5, 1, 2, 3], Found { out_of_order: 1, ..ALL }),
            ("an object among another's events", &[1, 4, 5, 2, 3], Found { out_of_order: 1, ..ALL }),
            ("one missing", &[1, 3, 4, 5], Found { arrived: 4, missing: 1, ..ALL }),
            ("one twice", &[1, 2, 2, 3, 4, 5], Found { repeated: 1, ..ALL }),
            ("one of somebody else", &[1, 2, 3, 9, 4, 5], Found { unexpected: 1, ..ALL }),
            ("one of somebody else, twice", &[1, 2, 3, 9, 9, 4, 5], Found { unexpected: 2, ..ALL }),
            ("two exchanged", &[1, 3, 2, 4, 5], Found { out_of_order: 1, ..ALL }),
            ("none", &[], Found { arrived: 0, missing: 5, ..ALL }),
        ];
        for (name, arrived, expected) in cases {
            let found = of(arrived, &[&[1, 2, 3], &[4, 5]], Across::Arrival);
            assert_eq!((found, found.is_perfect(0)), (expected, expected == ALL), "{name}");
        }
        // Of objects that came again no order is promised, but of each one's events it is.
        let again = |arrived| of(arrived, &[&[1, 2, 3], &[4, 5]], Across::Nothing);
        assert_eq!(again(&[4, 5, 1, 2, 3]), ALL);
        assert_eq!(again(&[5, 4, 1, 2, 3]), Found { out_of_order: 1, ..ALL });
        // Equal events are as many as they are.
        assert_eq!(of(&[7, 7, 8], &[&[7, 7, 8]], Across::Arrival), Found { arrived: 3, ..ALL });
        assert_eq!(of(&[7, 8], &[&[7, 7, 8]], Across::Arrival), Found { arrived: 2, missing: 1, ..ALL });
    }

    #[test]
    fn faults_excuse_what_they_did_and_nothing_else() {
        /// What is there, what was rejected, what was not answered, what is found, and whether that is allowed.
        type Case = (&'static str, &'static [i64], [&'static [i64]; 2], Found, bool);
        let lost = |unanswered| Found { unanswered, ..ALL };
        let cases: [Case; 9] = [
            ("rejected", &[1, 3, 4, 5], [&[2], &[]], Found { arrived: 4, rejected: 1, ..ALL }, true),
            (
                "lost beside a rejected one",
                &[1, 4, 5],
                [&[2], &[]],
                Found { arrived: 3, rejected: 1, missing: 1, ..ALL },
                false,
            ),
            ("not answered, and not sent again", &[1, 2, 3, 4, 5], [&[], &[1, 2]], lost(2), true),
            ("not answered, and twice", &[1, 2, 1, 2, 3, 4, 5], [&[], &[1, 2]], Found { twice: 2, ..lost(2) }, true),
            (
                "not answered twice, and three times",
                &[1, 1, 1, 2, 3, 4, 5],
                [&[], &[1, 1]],
                Found { twice: 2, ..lost(2) },
                true,
            ),
            (
                "three times after one lost answer",
                &[1, 1, 1, 2, 3, 4, 5],
                [&[], &[1]],
                Found { twice: 1, repeated: 1, ..lost(1) },
                false,
            ),
            (
                "another one's answer was lost",
                &[1, 2, 2, 3, 4, 5],
                [&[], &[3]],
                Found { repeated: 1, ..lost(1) },
                false,
            ),
            ("not answered, sent again and rejected", &[1, 2, 3, 4, 5], [&[2], &[2]], lost(1), true),
            (
                "accepted, sent again and rejected",
                &[1, 2, 3, 4, 5],
                [&[2], &[]],
                Found { rejected_again: 1, ..ALL },
                false,
            ),
        ];
        for (name, arrived, done, expected, allowed) in cases {
            let found = under(arrived, done, &[&[1, 2, 3], &[4, 5]], Across::Arrival);
            assert_eq!((found, found.is_perfect(0)), (expected, allowed), "{name}");
        }
        // The order is that of the first ones.
        let late = under(&[1, 2, 3, 1, 4, 5], [&[], &[1]], &[&[1, 2, 3], &[4, 5]], Across::Arrival);
        assert_eq!(late, Found { twice: 1, ..lost(1) });
        let wrong = under(&[2, 1, 2, 3, 4, 5], [&[], &[2]], &[&[1, 2, 3], &[4, 5]], Across::Arrival);
        assert_eq!(wrong, Found { twice: 1, out_of_order: 1, ..lost(1) });
    }

    #[test]
    fn the_daemon_counts_what_it_was_told() {
        let found = Found { twice: 2, unanswered: 3, turned_down: 1, ..ALL };
        let tally = |delivered, rejected| {
            let mut tally = Tally::default();
            tally.pend(delivered + rejected);
            tally.deliver(delivered);
            tally.reject(Rejected::TooOld, rejected);
            tally
        };
        for delivered in 0..10 {
            assert_eq!(found.agrees(&tally(delivered, 1)), (4..=7).contains(&delivered), "{delivered}");
        }
        assert!(!found.agrees(&tally(5, 0)) && !found.agrees(&tally(5, 2)));
        let mut pending = tally(5, 1);
        pending.pend(1);
        assert!(!found.agrees(&pending));
        assert!(ALL.agrees(&tally(5, 0)) && !ALL.agrees(&tally(4, 0)) && !ALL.agrees(&tally(6, 0)));
    }
}
