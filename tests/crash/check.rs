//! The verdict on a round, from what the cloud saw: who received which message, and what arrived in whose streams.
//!
//! An attempt at an object is begun by a receive of its message, and by nothing else. It sends records in their order, each
//! once, from behind what it knows to be settled. So, whoever is killed and however many attempts are on their way at a
//! time: what has arrived of an object is all of it up to some record; each attempt is one ascending run; and a receive too
//! many costs no more repeats than what was accepted and not yet known to be ([`Bounds::again_max`]).
//!
//! Between objects of a stream the order of arrival is promised within one replica, and to objects that are not handed
//! back: here to those whose messages were received once.

use std::collections::BTreeMap;

use crate::plan::Object;

/// Batches of a stream that are on their way at a time.
const IN_FLIGHT: u64 = 1;

/// What bounds repeats: design §7, "Duplicate bound".
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Events of a batch.
    pub(crate) batch: u64,
    /// Accepted batches after which progress is written.
    pub(crate) every: u64,
}

impl Bounds {
    /// Events of an object that may come again when its work is broken off once.
    pub(crate) fn again_max(self, events: u64) -> u64 {
        // Accepted, and its message not deleted: an object of one batch has no row in the table of progress.
        if events <= self.batch {
            return events;
        }
        // What is on its way, and what was accepted since progress was written.
        events.min((IN_FLIGHT + self.every) * self.batch)
    }

    /// The same of a crash: of all objects that were in work, by their events.
    pub(crate) fn crash_max(self, in_work: impl IntoIterator<Item = u64>) -> u64 {
        in_work.into_iter().map(|events| self.again_max(events)).sum()
    }
}

/// A receive of an object's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// The object's number.
    pub(crate) object: usize,
    /// The process that received it.
    pub(crate) by: String,
}

/// What is in one stream, in the order in which it was accepted.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    /// The tenant whose account and group it is in, if it is one's.
    pub(crate) tenant: Option<usize>,
    pub(crate) stream: String,
    pub(crate) messages: Vec<String>,
}

/// The message of a record.
pub(crate) fn message(object: usize, record: u64) -> String {
    format!("object {object} record {record}")
}

fn read(message: &str) -> Option<(usize, u64)> {
    let (object, record) = message.strip_prefix("object ")?.split_once(" record ")?;
    Some((object.parse().ok()?, record.parse().ok()?))
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Events, each once.
    pub(crate) events: u64,
    /// Receives that were not the first ones of their messages.
    pub(crate) taken_over: u64,
    /// Events that came again.
    pub(crate) again: u64,
    /// As many as may have.
    pub(crate) again_max: u64,
    /// Pairs of objects whose order was promised.
    pub(crate) ordered: u64,
}

impl Found {
    pub(crate) fn add(&mut self, other: Self) {
        self.events += other.events;
        self.taken_over += other.taken_over;
        self.again += other.again;
        self.again_max += other.again_max;
        self.ordered += other.ordered;
    }
}

fn count(of: usize) -> u64 {
    u64::try_from(of).unwrap()
}

/// Counts a round, and says what is not as promised.
pub(crate) fn judge(
    objects: &[Object],
    bounds: Bounds,
    received: &[Received],
    arrived: &[Arrived],
) -> (Found, Vec<String>) {
    let (mut found, mut wrong) = (Found::default(), Vec::new());
    // Of each object its records and their places, in the order of arrival.
    let mut records: Vec<Vec<(u64, usize)>> = vec![Vec::new(); objects.len()];
    for Arrived { tenant, stream, messages } in arrived {
        for (place, text) in messages.iter().enumerate() {
            let owned = read(text).filter(|(object, record)| {
                let object = objects.get(*object);
                object.is_some_and(|it| Some(it.tenant) == *tenant && it.stream == *stream && *record < it.events)
            });
            match owned {
                Some((object, record)) => records[object].push((record, place)),
                None => wrong.push(format!("{text:?} is in {stream} of tenant {tenant:?}")),
            }
        }
    }
    let mut holders: Vec<Vec<&str>> = vec![Vec::new(); objects.len()];
    for Received { object, by } in received {
        holders[*object].push(by);
    }
    for (number, object) in objects.iter().enumerate() {
        let order: Vec<u64> = records[number].iter().map(|(record, _)| *record).collect();
        let (of_it, faults) = judge_object(object.events, count(holders[number].len()), bounds, &order);
        wrong.extend(faults.iter().map(|fault| format!("object {number}: {fault}: {}", shown(&order))));
        found.add(of_it);
    }
    let lost = crashes(&holders);
    found.again_max = lost.values().map(|lost| bounds.crash_max(lost.iter().map(|at| objects[*at].events))).sum();
    if found.again > found.again_max {
        wrong.push(format!("{} events came again, and no more than {} may", found.again, found.again_max));
    }
    // Of each process and stream, the objects that it alone had, in the order in which it got them.
    let mut last: BTreeMap<(&str, usize, &str), usize> = BTreeMap::new();
    for Received { object, by } in received.iter().filter(|it| holders[it.object].len() == 1) {
        let Object { tenant, stream, .. } = &objects[*object];
        let Some(before) = last.insert((by, *tenant, stream), *object) else { continue };
        found.ordered += 1;
        let end = records[before].iter().map(|(_, place)| *place).max();
        let start = records[*object].iter().map(|(_, place)| *place).min();
        if start < end {
            wrong.push(format!("object {object} overtook object {before}, which {by} received before it"));
        }
    }
    (found, wrong)
}

/// Counts an object of so many events, whose message was received so often, by its records in the order of their arrival.
fn judge_object(events: u64, receives: u64, bounds: Bounds, order: &[u64]) -> (Found, Vec<String>) {
    let mut wrong = Vec::new();
    let (mut next, mut early) = (0, 0);
    for record in order {
        early += u64::from(*record > next);
        next = next.max(record + 1);
    }
    if early > 0 {
        wrong.push(format!("{early} records arrived before an earlier one"));
    }
    let mut there = order.to_vec();
    there.sort_unstable();
    there.dedup();
    if count(there.len()) < events {
        wrong.push(format!("{} of {events} events are there", there.len()));
    }
    let attempts = count(ascending_runs(order));
    if attempts > receives {
        wrong.push(format!("{attempts} attempts for {receives} receives"));
    }
    let (taken_over, again) = (receives.saturating_sub(1), count(order.len() - there.len()));
    if again > taken_over * bounds.again_max(events) {
        wrong.push(format!("taken over {taken_over} times, {again} of {events} events came again"));
    }
    (Found { events: count(there.len()), taken_over, again, ..Found::default() }, wrong)
}

/// Records as ranges.
fn shown(order: &[u64]) -> String {
    let ranges = order.chunk_by(|before, record| before + 1 == *record);
    let ranges = ranges.filter_map(|run| Some(format!("{}..={}", run.first()?, run.last()?)));
    ranges.collect::<Vec<_>>().join(" ")
}

/// Of each process the objects that it lost to others, or to itself, as often as it did.
fn crashes<'h>(holders: &[Vec<&'h str>]) -> BTreeMap<&'h str, Vec<usize>> {
    let mut lost: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (object, holders) in holders.iter().enumerate() {
        for by in holders.split_last().map_or(&[][..], |(_, before)| before) {
            lost.entry(by).or_default().push(object);
        }
    }
    lost
}

/// The fewest ascending runs that, merged, give these records: no attempt sends a record twice, or an earlier one later.
fn ascending_runs(records: &[u64]) -> usize {
    let mut ends: Vec<u64> = Vec::new();
    for record in records {
        // The run that it fits best is the one with the highest end below it.
        match ends.iter_mut().filter(|end| **end < *record).max() {
            Some(end) => *end = *record,
            None => ends.push(*record),
        }
    }
    ends.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { batch: 10, every: 2 };

    #[test]
    fn a_crash_repeats_what_was_on_its_way_and_what_was_not_written_down() {
        for (events, again) in [(0, 0), (1, 1), (10, 10), (11, 11), (30, 30), (31, 30), (1000, 30)] {
            assert_eq!(BOUNDS.again_max(events), again, "{events}");
        }
        assert_eq!(Bounds { batch: 10, every: 4 }.again_max(1000), 50);
        assert_eq!(BOUNDS.crash_max([]), 0);
        assert_eq!(BOUNDS.crash_max([7, 12, 1000]), 7 + 12 + 30);
    }

    #[test]
    fn runs_are_as_few_as_can_be() {
        let cases: [(&[u64], usize); 7] = [
            (&[], 0),
            (&[0, 1, 5], 1),
            (&[0, 1, 1, 2], 2),
            (&[0, 1, 0, 1, 2], 2),
            // Two attempts at a time.
            (&[0, 0, 1, 2, 1, 2, 3, 3], 2),
            (&[2, 1, 0], 3),
            (&[0, 1, 2, 0, 1, 0], 3),
        ];
        for (records, runs) in cases {
            assert_eq!(ascending_runs(records), runs, "{records:?}");
        }
    }

    /// Two objects of a stream: 3 events, and 40.
    fn objects() -> Vec<Object> {
        [3, 40].map(|events| Object { tenant: 0, stream: "s".to_owned(), events }).to_vec()
    }

    fn got(object: usize, by: &str) -> Received {
        Received { object, by: by.to_owned() }
    }

    fn stream(tenant: Option<usize>, name: &str, records: impl IntoIterator<Item = (usize, u64)>) -> Arrived {
        let messages = records.into_iter().map(|(object, record)| message(object, record)).collect();
        Arrived { tenant, stream: name.to_owned(), messages }
    }

    fn of(object: usize, records: std::ops::Range<u64>) -> Vec<(usize, u64)> {
        records.map(|record| (object, record)).collect()
    }

    /// What is wrong with what arrived in the stream of both objects, after these receives.
    fn wrong(received: &[Received], records: Vec<(usize, u64)>) -> Vec<String> {
        judge(&objects(), BOUNDS, received, &[stream(Some(0), "s", records)]).1
    }

    #[test]
    fn what_is_promised_passes() {
        let once = [got(0, "a"), got(1, "a")];
        assert_eq!(wrong(&once, [of(0, 0..3), of(1, 0..40)].concat()), [""; 0]);
        // Received by two, their order is nobody's.
        let two = [got(0, "a"), got(1, "b")];
        assert_eq!(wrong(&two, [of(1, 0..20), of(0, 0..3), of(1, 20..40)].concat()), [""; 0]);
        // Killed with 30 accepted and 10 written down; and one that was accepted whole, and not deleted.
        let killed = [got(0, "a"), got(1, "a"), got(0, "b"), got(1, "b")];
        let arrived = [of(0, 0..3), of(1, 0..30), of(0, 0..3), of(1, 10..40)].concat();
        let (found, wrong) = judge(&objects(), BOUNDS, &killed, &[stream(Some(0), "s", arrived)]);
        assert_eq!(
            (wrong.len(), found),
            (0, Found { events: 43, taken_over: 2, again: 23, again_max: 33, ordered: 0 })
        );
    }

    #[test]
    fn each_way_to_be_wrong_is_seen() {
        let once = [got(0, "a"), got(1, "a")];
        let twice = [&once[..], &[got(1, "b")]].concat();
        let good = [of(0, 0..3), of(1, 0..40)].concat();
        let cases = [
            ("of 40 events are there", wrong(&once, [of(0, 0..3), of(1, 0..39)].concat())),
            (
                "arrived before an earlier one",
                wrong(&once, [of(0, 0..3), of(1, 10..20), of(1, 0..10), of(1, 20..40)].concat()),
            ),
            ("attempts for 1 receives", wrong(&once, [&good[..], &of(1, 39..40)].concat())),
            ("taken over 1 times, 31 of 40 events", wrong(&twice, [&good[..], &of(1, 9..40)].concat())),
            ("and no more than 30 may", wrong(&twice, [&good[..], &of(1, 9..40)].concat())),
            ("overtook", wrong(&once, [of(0, 0..2), of(1, 0..40), of(0, 2..3)].concat())),
            ("is in s of tenant Some(0)", wrong(&once, [&good[..], &of(2, 0..1)].concat())),
            ("is in s of tenant Some(0)", wrong(&once, [&good[..], &of(0, 3..4)].concat())),
        ];
        for (text, wrong) in cases {
            assert!(wrong.iter().any(|line| line.contains(text)), "{text}: {wrong:?}");
        }
        for place in [(None, "s"), (Some(1), "s"), (Some(0), "t")] {
            let (_, wrong) = judge(&objects(), BOUNDS, &once, &[stream(place.0, place.1, good.clone())]);
            assert!(wrong.len() >= good.len(), "{place:?}");
        }
    }
}
