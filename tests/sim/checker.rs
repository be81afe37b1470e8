//! What a run must have held to, counted on the cloud's side. Pure: it is told what was put, what is there and who received
//! what, and says what is wrong.
//!
//! An event that the API refuses is nowhere, and was refused alone. What was refused or rejected is in the reject store, with
//! its reason, if there is one; nothing else is. Each object of a tenant that wants copies is in its bucket, byte by byte.
//!
//! An event is there once; once more for each accepted call with it whose answer a fault lost or kept back; and once more
//! for each time that its object went from one process to another, within the bound of docs/guarantees.md ("What may come
//! twice"): without a table of progress the whole object, with one [`Bounds::after_a_change`] events.

use std::collections::{BTreeMap, BTreeSet};

/// Time and digest of an event. All events of a run are different.
pub(crate) type Mark = (i64, u64);

/// An account's log stream.
pub(crate) type StreamKey = (String, String);

/// An object that was put, in the order of putting.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) stream: StreamKey,
    pub(crate) events: Vec<Mark>,
    /// Those among its records that the API refuses.
    pub(crate) refused: Vec<Mark>,
    /// Who received a message about it, in the order of the receives.
    pub(crate) received_by: Vec<(usize, String)>,
}

impl Wanted {
    /// How often it may have gone from one process to another. Two that have a message at a time claim it in either order,
    /// whichever received it first; so all orders of the receives count.
    fn changes(&self) -> u64 {
        let mut receives: BTreeMap<&String, usize> = BTreeMap::new();
        self.received_by.iter().for_each(|(_, by)| *receives.entry(by).or_default() += 1);
        let most = receives.values().max().copied().unwrap_or_default();
        let changes = self.received_by.len().saturating_sub(1).min(2 * (self.received_by.len() - most));
        u64::try_from(changes).unwrap_or(u64::MAX)
    }
}

/// What a stream has, in the order of acceptance.
#[derive(Clone, Debug, Default)]
pub(crate) struct There {
    pub(crate) events: Vec<Mark>,
    /// Rejected by faults.
    pub(crate) rejected: Vec<Mark>,
    /// Refused alone.
    pub(crate) refused: Vec<Mark>,
    /// What is kept of it in the reject store, and why; none: there is no store.
    pub(crate) store: Option<Vec<(Mark, String)>>,
    /// There, though the call was not answered.
    pub(crate) unanswered: Vec<Mark>,
    /// Of those in the reject store: whose file was put without an answer, so that the daemon does not know of it.
    pub(crate) store_unanswered: BTreeSet<Mark>,
}

impl There {
    /// The rejections that settled an event. One that could not be kept in the store settles none: it is sent again.
    fn settled(&self) -> Vec<Mark> {
        match &self.store {
            Some(store) => {
                let told: BTreeSet<Mark> = store.iter().map(|(mark, _)| *mark).collect();
                self.rejected
                    .iter()
                    .filter(|mark| told.contains(mark))
                    .copied()
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .collect()
            }
            None => self.rejected.clone(),
        }
    }
}

/// What bounds events that come twice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Events of a batch at most.
    pub(crate) batch: u64,
    /// Batches after which progress is written; none: it is not.
    pub(crate) progress_every: Option<u64>,
}

impl Bounds {
    /// Events of an object of so many that may come again after it went from one process to another: the batch in flight,
    /// those accepted since progress was written last, and the first, which is sent before the object is claimed.
    fn after_a_change(&self, events: u64) -> u64 {
        self.progress_every.map_or(events, |every| events.min((1 + every + 1) * self.batch))
    }
}

/// What the checker found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// What is wrong; nothing is as it should be.
    pub(crate) wrong: Vec<String>,
    /// Events that are there again after lost answers, and after changes.
    pub(crate) twice: u64,
    pub(crate) repeated: u64,
    pub(crate) rejected: u64,
}

/// Compares what was put with what is there.
pub(crate) fn check(wanted: &[Wanted], there: &BTreeMap<StreamKey, There>, bounds: Bounds) -> Verdict {
    let mut verdict = Verdict::default();
    let mut owned: BTreeMap<&StreamKey, BTreeSet<Mark>> = BTreeMap::new();
    for object in wanted {
        owned.entry(&object.stream).or_default().extend(&object.events);
    }
    verdict.wrong.extend(there.iter().flat_map(|(key, stream)| mistaken(key, stream)));
    for (key, stream) in there {
        let own = owned.get(key);
        let foreign = stream.events.iter().filter(|mark| own.is_none_or(|own| !own.contains(mark))).count();
        if foreign > 0 {
            verdict.wrong.push(format!("{foreign} events in {key:?} that do not belong there"));
        }
    }
    let places: BTreeMap<&StreamKey, BTreeMap<Mark, usize>> = there
        .iter()
        .map(|(key, stream)| {
            let mut first = BTreeMap::new();
            for (place, mark) in stream.events.iter().enumerate() {
                first.entry(*mark).or_insert(place);
            }
            (key, first)
        })
        .collect();
    let counts: BTreeMap<&StreamKey, [BTreeMap<Mark, u64>; 4]> = there
        .iter()
        .map(|(key, stream)| {
            let counts = [&stream.events, &stream.rejected, &stream.settled(), &stream.unanswered];
            (key, counts.map(|of| counted(of)))
        })
        .collect();
    let (none, none_of_it) = (Default::default(), There::default());
    for (at, object) in wanted.iter().enumerate() {
        let [kept, rejected, settled, unanswered] = counts.get(&object.stream).unwrap_or(&none);
        let stream = there.get(&object.stream).unwrap_or(&none_of_it);
        let store_unanswered = &stream.store_unanswered;
        let of = |counts: &BTreeMap<Mark, u64>, mark: &Mark| counts.get(mark).copied().unwrap_or_default();
        let (mut lost, mut beyond, mut most) = (0_u64, 0, 0);
        for mark in &object.events {
            let is_rejected = of(kept, mark) == 0 && of(rejected, mark) > 0;
            verdict.rejected += u64::from(is_rejected);
            lost += u64::from(of(kept, mark) == 0 && !is_rejected);
            let again = (of(kept, mark) + of(settled, mark)).saturating_sub(1);
            let unheard = of(settled, mark).min(u64::from(store_unanswered.contains(mark)));
            let excused = again.min(of(unanswered, mark) + unheard);
            verdict.twice += excused;
            beyond += again - excused;
            most = most.max(again - excused);
        }
        if lost > 0 {
            verdict.wrong.push(format!("object {at}: {lost} of {} events are lost", object.events.len()));
        }
        verdict.wrong.extend(untold(at, object, stream));
        verdict.repeated += beyond;
        let (changes, events) = (object.changes(), u64::try_from(object.events.len()).unwrap_or(u64::MAX));
        let allowed = changes * bounds.after_a_change(events);
        if beyond > allowed || most > changes {
            verdict.wrong.push(format!(
                "object {at}: {beyond} events came again, one of them {most} times, without a lost answer; {changes} times \
                 it went to another process, and {allowed} were allowed"
            ));
        }
        if let Some(places) = places.get(&object.stream) {
            // One that was rejected in its turn, and kept when another process sent it again, stands where that was.
            let in_turn = object.events.iter().filter(|mark| of(rejected, mark) == 0);
            if !in_turn.filter_map(|mark| places.get(mark)).is_sorted() {
                verdict.wrong.push(format!("object {at}: its events are not in the order of its records"));
            }
        }
    }
    verdict.wrong.extend(out_of_turn(wanted, &places));
    verdict
}

/// Lines of the reject store that say what did not happen in a stream.
fn mistaken(key: &StreamKey, stream: &There) -> Option<String> {
    let (refused, rejected): (BTreeSet<&Mark>, BTreeSet<&Mark>) =
        (stream.refused.iter().collect(), stream.rejected.iter().collect());
    let is_true =
        |(mark, reason): &&(Mark, String)| if reason == "refused" { &refused } else { &rejected }.contains(mark);
    let lies = stream.store.iter().flatten().filter(|line| !is_true(line)).count();
    (lies > 0).then(|| format!("{lies} lines about {key:?} in the reject store tell what did not happen"))
}

/// Refused events of an object that were not told of, and those in the store's charge that are not in it.
fn untold(at: usize, object: &Wanted, there: &There) -> Vec<String> {
    let (refused, kept): (BTreeSet<&Mark>, BTreeSet<&Mark>) =
        (there.refused.iter().collect(), there.events.iter().collect());
    let mut wrong = Vec::new();
    let lost = object.refused.iter().filter(|mark| !refused.contains(mark)).count();
    if lost > 0 {
        wrong.push(format!("object {at}: {lost} events that are refused never came alone"));
    }
    if let Some(store) = &there.store {
        let store: BTreeSet<&Mark> = store.iter().map(|(mark, _)| mark).collect();
        let not_there = object.events.iter().filter(|mark| !kept.contains(mark)).chain(&object.refused);
        let lost = not_there.filter(|mark| !store.contains(mark)).count();
        if lost > 0 {
            wrong.push(format!("object {at}: {lost} events are neither in the stream nor in the reject store"));
        }
    }
    wrong
}

/// Compares the objects of a bucket with those that are to be in it.
pub(crate) fn check_copies<B: PartialEq>(
    bucket: &str,
    wanted: &BTreeMap<String, B>,
    there: &BTreeMap<String, B>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for key in wanted.keys().chain(there.keys()).collect::<BTreeSet<_>>() {
        let what = match (wanted.get(key), there.get(key)) {
            (Some(_), None) => "is missing",
            (None, Some(_)) => "does not belong there",
            (wanted, there) if wanted != there => "is another one",
            _ => continue,
        };
        wrong.push(format!("{bucket}: {key} {what}"));
    }
    wrong
}

/// Objects of a stream that one process received once each, one behind the other, and whose events do not stand so.
fn out_of_turn(wanted: &[Wanted], places: &BTreeMap<&StreamKey, BTreeMap<Mark, usize>>) -> Vec<String> {
    let mut streams: BTreeMap<&StreamKey, Vec<(usize, &Wanted, usize, &String)>> = BTreeMap::new();
    for (at, object) in wanted.iter().enumerate() {
        // Handed back by nobody, and to nobody.
        if let [(turn, by)] = object.received_by.as_slice() {
            streams.entry(&object.stream).or_default().push((at, object, *turn, by));
        }
    }
    let mut wrong = Vec::new();
    for (key, objects) in streams {
        let Some(places) = places.get(key) else { continue };
        for pair in objects.windows(2) {
            let [(first, one, turn, by), (second, other, next, same)] = pair else { continue };
            let last = one.events.iter().filter_map(|mark| places.get(mark)).max();
            let begin = other.events.iter().filter_map(|mark| places.get(mark)).min();
            // Within a batch time counts, and what was put later is later; so objects that arrived otherwise tell nothing.
            if by == same && turn < next && last.zip(begin).is_some_and(|(last, begin)| last > begin) {
                wrong.push(format!("object {second} overtook object {first} of its stream"));
            }
        }
    }
    wrong
}

fn counted(marks: &[Mark]) -> BTreeMap<Mark, u64> {
    let mut counts = BTreeMap::new();
    for mark in marks {
        *counts.entry(*mark).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Bounds = Bounds { batch: 2, progress_every: Some(1) };
    const MEMORY: Bounds = Bounds { batch: 2, progress_every: None };

    fn key(account: &str) -> StreamKey {
        (account.to_owned(), "pod".to_owned())
    }

    fn marks(of: &[i64]) -> Vec<Mark> {
        of.iter().map(|mark| (*mark, 0)).collect()
    }

    fn object(events: &[i64], received_by: &[(usize, &str)]) -> Wanted {
        let received_by = received_by.iter().map(|(turn, by)| (*turn, (*by).to_owned())).collect();
        Wanted { stream: key("1"), events: marks(events), refused: Vec::new(), received_by }
    }

    /// Two objects and what of them is there; with what was rejected and what was not answered.
    fn found(second: &[(usize, &str)], [events, rejected, unanswered]: [&[i64]; 3], bounds: Bounds) -> Verdict {
        let wanted =
            [object(&[1, 2, 3, 4, 5, 6, 7, 8], &[(0, "a")]), object(&[11, 12, 13, 14, 15, 16, 17, 18], second)];
        let (events, rejected, unanswered) = (marks(events), marks(rejected), marks(unanswered));
        let there = There { events, rejected, unanswered, ..There::default() };
        check(&wanted, &[(key("1"), there)].into(), bounds)
    }

    const ALL: [i64; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16, 17, 18];

    fn with(more: &[i64]) -> Vec<i64> {
        ALL.iter().chain(more).copied().collect()
    }

    #[test]
    fn once_each_and_in_order_is_right() {
        assert_eq!(found(&[(1, "a")], [&ALL, &[], &[]], TABLE), Verdict::default());
    }

    #[test]
    fn what_is_lost_foreign_or_out_of_order_is_wrong() {
        let cases: [(&str, &[i64]); 4] = [
            ("of 8 events are lost", &[1, 2, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16, 17, 18]),
            ("do not belong", &with(&[99])),
            ("not in the order of its records", &[1, 3, 2, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16, 17, 18]),
            ("object 1 overtook object 0", &[11, 12, 13, 14, 15, 16, 17, 18, 1, 2, 3, 4, 5, 6, 7, 8]),
        ];
        for (expected, events) in cases {
            let verdict = found(&[(1, "a")], [events, &[], &[]], TABLE);
            assert!(verdict.wrong.len() == 1 && verdict.wrong[0].contains(expected), "{expected}: {verdict:?}");
        }
        // What another process had before, or the queue gave in another order, may stand anywhere.
        let turned: Vec<i64> = ALL[8..].iter().chain(&ALL[..8]).copied().collect();
        let orders: [&[(usize, &str)]; 2] = [&[(1, "b")], &[(1, "a"), (2, "a")]];
        for second in orders {
            assert_eq!(found(second, [&turned, &[], &[]], TABLE), Verdict::default());
        }
        let account = check(
            &[object(&[1], &[(0, "a")])],
            &[(key("2"), There { events: marks(&[1]), ..There::default() })].into(),
            TABLE,
        );
        assert_eq!(account.wrong.len(), 2, "foreign there and lost here: {account:?}");
    }

    #[test]
    fn what_comes_again_needs_a_lost_answer_or_another_process() {
        let alone: &[(usize, &str)] = &[(1, "a"), (2, "a")];
        assert_eq!(found(alone, [&with(&[11, 12]), &[], &[]], TABLE).wrong.len(), 1);
        let excused = found(alone, [&with(&[11, 12]), &[], &[11, 12]], TABLE);
        assert_eq!((excused.wrong.len(), excused.twice), (0, 2), "{excused:?}");
        let other: &[(usize, &str)] = &[(1, "a"), (2, "b")];
        // The bound of one change: three batches of two.
        let six = [11, 12, 13, 14, 15, 16];
        let bounded = found(other, [&with(&six), &[], &[]], TABLE);
        assert_eq!((bounded.wrong.len(), bounded.repeated), (0, 6), "{bounded:?}");
        assert_eq!(found(other, [&with(&[&six[..], &[17]].concat()), &[], &[]], TABLE).wrong.len(), 1);
        assert_eq!(found(other, [&with(&ALL[8..]), &[], &[]], MEMORY).wrong.len(), 0);
        // The first one claimed it last, was killed, and the second one goes on a second time.
        let twice: &[(usize, &str)] = &[(1, "a"), (2, "b"), (3, "b")];
        assert_eq!(found(twice, [&with(&[&six[..], &six].concat()), &[], &[]], TABLE).wrong.len(), 0);
        // One change is one more of an event, and no two.
        assert_eq!(found(other, [&with(&[11, 11]), &[], &[]], MEMORY).wrong.len(), 1);
    }

    #[test]
    fn a_rejected_event_was_sent() {
        let late: Vec<i64> = ALL.into_iter().filter(|mark| *mark != 11).chain([11]).collect();
        let later = found(&[(1, "a"), (2, "b")], [&late, &[11], &[]], TABLE);
        assert_eq!(later.wrong.len(), 0, "kept the second time: {later:?}");
        let rejected = found(&[(1, "a")], [&ALL[..15], &[18], &[]], TABLE);
        assert_eq!((rejected.wrong.len(), rejected.rejected), (0, 1), "{rejected:?}");
        assert_eq!(found(&[(1, "a"), (2, "a")], [&ALL, &[18], &[]], TABLE).wrong.len(), 1, "sent twice");
    }

    #[test]
    fn what_is_refused_is_told_and_kept() {
        let store = |lines: &[(i64, &str)]| Some(lines.iter().map(|(at, why)| ((*at, 0), (*why).to_owned())).collect());
        let wanted = Wanted { refused: marks(&[3]), ..object(&[1, 2, 4], &[(0, "a")]) };
        let found = |there: There| check(std::slice::from_ref(&wanted), &[(key("1"), there)].into(), TABLE).wrong;
        let there = There { events: marks(&[1, 2]), rejected: marks(&[4]), refused: marks(&[3]), ..There::default() };
        let right = There { store: store(&[(3, "refused"), (4, "too_old")]), ..there.clone() };
        assert_eq!([found(there.clone()), found(right.clone())], [[""; 0]; 2]);
        let cases = [
            ("never came alone", There { refused: Vec::new(), ..there.clone() }),
            ("do not belong", There { events: marks(&[1, 2, 3]), ..there.clone() }),
            ("nor in the reject store", There { store: store(&[(4, "too_old")]), ..there.clone() }),
            ("nor in the reject store", There { store: store(&[(3, "refused")]), ..there }),
            ("did not happen", There { store: store(&[(3, "refused"), (4, "refused")]), ..right.clone() }),
            ("did not happen", There { store: store(&[(3, "refused"), (4, "expired"), (1, "expired")]), ..right }),
        ];
        for (expected, there) in cases {
            let wrong = found(there);
            assert!(wrong.len() == 1 && wrong[0].contains(expected), "{expected}: {wrong:?}");
        }
    }

    #[test]
    fn a_rejection_that_was_not_kept_settles_nothing() {
        let wanted = [object(&[1, 2], &[(0, "a"), (1, "a")])];
        let found = |events: &[i64], store, unanswered: &[i64]| {
            let store_unanswered = marks(unanswered).into_iter().collect();
            let (events, rejected) = (marks(events), marks(&[2]));
            let there = There { events, rejected, store, store_unanswered, ..There::default() };
            check(&wanted, &[(key("1"), there)].into(), TABLE)
        };
        let store = Some(vec![((2, 0), "too_old".to_owned())]);
        assert_eq!(found(&[1, 2], Some(Vec::new()), &[]), Verdict::default());
        assert_eq!(found(&[1, 2], store.clone(), &[]).wrong.len(), 1, "it was settled");
        assert_eq!(found(&[1, 2], None, &[]).wrong.len(), 1, "it was settled");
        let excused = found(&[1, 2], store.clone(), &[2]);
        assert_eq!((excused.wrong.len(), excused.twice), (0, 1), "nobody was told that it was settled: {excused:?}");
        assert_eq!(found(&[1, 2, 2], store, &[2]).wrong.len(), 1, "it was accepted twice");
        assert_eq!(found(&[1, 1, 2], None, &[1]).wrong.len(), 1, "it was never in the store");
    }

    #[test]
    fn copies_are_all_there_and_the_same() {
        let bucket = |objects: &[(&str, u8)]| objects.iter().map(|(key, bytes)| ((*key).to_owned(), *bytes)).collect();
        let wanted = bucket(&[("a", 1), ("b", 2)]);
        assert_eq!(check_copies("mine", &wanted, &wanted), [""; 0]);
        let there = bucket(&[("b", 3), ("c", 1)]);
        let wrong = ["mine: a is missing", "mine: b is another one", "mine: c does not belong there"];
        assert_eq!(check_copies("mine", &wanted, &there), wrong);
    }
}
