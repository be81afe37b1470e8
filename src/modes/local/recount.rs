//! The verdict, counted on the cloud's side: every event of every object, made again, must be found once, and in the order
//! of design §5: an object's events in their order, and objects of a stream in the order of their arrival.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use loadgen::ObjectSource;
use localcloud::{Cloud, digest};

use super::feed::Sent;
use super::tenancy::{GROUP, Tenancy};

/// What was found of the events of one stream, or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Events that are there and should be.
    pub(super) arrived: u64,
    /// Events that should be there and are not.
    pub(super) missing: u64,
    /// Events that should not be there, or are there again.
    pub(super) unexpected: u64,
    /// Events that stand before an earlier one of their object, or of an object that arrived before it.
    pub(super) out_of_order: u64,
}

impl Found {
    fn add(&mut self, other: Self) {
        self.arrived += other.arrived;
        self.missing += other.missing;
        self.unexpected += other.unexpected;
        self.out_of_order += other.out_of_order;
    }

    pub(super) const fn is_perfect(&self) -> bool {
        self.missing == 0 && self.unexpected == 0 && self.out_of_order == 0
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
    across: Across,
    /// Where the event stands that was found last.
    last: Option<usize>,
}

impl Ledger {
    fn new(events: impl Iterator<Item = Mark>, across: Across) -> Self {
        let mut marks: Vec<(Mark, usize)> = events.enumerate().map(|(place, mark)| (mark, place)).collect();
        marks.sort_unstable();
        Self { used: vec![false; marks.len()], marks, across, last: None }
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
                None => found.missing += 1,
            }
        }
        found
    }

    /// Events that no object has.
    fn left(&self) -> u64 {
        u64::try_from(self.used.iter().filter(|used| !**used).count()).unwrap_or(u64::MAX)
    }
}

/// The streams of all tenants: tenant and stream.
type StreamKey = (usize, String);

/// Counts again: what was found by tenant, and what lies where no tenant's events belong. `sent` stands in the order of
/// arrival; `attempts` says how many objects the daemon worked on for a tenant, those that came again included.
pub(super) fn recount(
    cloud: &Cloud,
    tenancy: &Tenancy,
    objects: &ObjectSource,
    sent: &[Sent],
    attempts: impl Fn(&str) -> u64,
) -> (Vec<Found>, Vec<String>) {
    let tenant_of = |test: &dyn Fn(usize) -> bool| (0..tenancy.tenants.len()).find(|at| test(*at));
    let mut streams: BTreeMap<StreamKey, (Vec<Mark>, Vec<&Sent>)> = BTreeMap::new();
    let mut strange = Vec::new();
    cloud.each_stream(|account, region, group, stream, content| {
        let owner = tenant_of(&|at| tenancy.tenants[at].account == account);
        match owner.filter(|_| group == GROUP && region == cloud.region()) {
            Some(tenant) => streams.entry((tenant, stream.to_owned())).or_default().0 = content.digests().collect(),
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
        .map(|(tenant, wanted)| if attempts(&tenant.name) > wanted { Across::Nothing } else { Across::Arrival })
        .collect();
    let streams: Vec<_> = streams.into_iter().collect();
    let found = Mutex::new(vec![Found::default(); tenancy.tenants.len()]);
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(((tenant, _), (marks, expected))) = streams.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut ledger = Ledger::new(marks.iter().copied(), across[*tenant]);
            let mut sum = Found::default();
            for object in expected {
                let mut events = objects.expected(object.recipe);
                sum.add(ledger.find(|| {
                    let event = events.next_event()?;
                    Some((event.timestamp_ms, digest(event.message)))
                }));
            }
            sum.unexpected += ledger.left();
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

    fn count(arrived: &[i64], objects: &[&[i64]], across: Across) -> Found {
        let mut ledger = Ledger::new(arrived.iter().map(|mark| (*mark, 0)), across);
        let mut sum = Found::default();
        for object in objects {
            let mut events = object.iter();
            sum.add(ledger.find(|| events.next().map(|mark| (*mark, 0))));
        }
        sum.unexpected += ledger.left();
        sum
    }

    #[test]
    fn each_way_to_be_wrong_is_seen() {
        let found = |arrived, missing, unexpected, out_of_order| Found { arrived, missing, unexpected, out_of_order };
        let cases: [(&str, &[i64], Found); 8] = [
            ("all there", &[1, 2, 3, 4, 5], found(5, 0, 0, 0)),
            ("objects in another order", &[4, 5, 1, 2, 3], found(5, 0, 0, 1)),
            ("an object among another's events", &[1, 4, 5, 2, 3], found(5, 0, 0, 1)),
            ("one missing", &[1, 3, 4, 5], found(4, 1, 0, 0)),
            ("one twice", &[1, 2, 2, 3, 4, 5], found(5, 0, 1, 0)),
            ("one of somebody else", &[1, 2, 3, 9, 4, 5], found(5, 0, 1, 0)),
            ("two exchanged", &[1, 3, 2, 4, 5], found(5, 0, 0, 1)),
            ("none", &[], found(0, 5, 0, 0)),
        ];
        for (name, arrived, expected) in cases {
            assert_eq!(count(arrived, &[&[1, 2, 3], &[4, 5]], Across::Arrival), expected, "{name}");
        }
        // Of objects that came again no order is promised, but of each one's events it is.
        let again = |arrived| count(arrived, &[&[1, 2, 3], &[4, 5]], Across::Nothing);
        assert_eq!(again(&[4, 5, 1, 2, 3]), found(5, 0, 0, 0));
        assert_eq!(again(&[5, 4, 1, 2, 3]), found(5, 0, 0, 1));
        // Equal events are as many as they are.
        assert_eq!(count(&[7, 7, 8], &[&[7, 7, 8]], Across::Arrival), found(3, 0, 0, 0));
        assert_eq!(count(&[7, 8], &[&[7, 7, 8]], Across::Arrival), found(2, 1, 0, 0));
    }
}
