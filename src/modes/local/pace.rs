//! What to do while objects are delivered under faults: wait, move the cloud's time on, end the faults, or stop. It looks and
//! decides; nothing is called, and no clock is asked.

use std::time::Duration;

use crate::core::time::Tick;

/// Time without any progress, and without the cloud's time being moved on, after which the faults end.
pub(super) const FAULTS_STALLED: Duration = Duration::from_secs(30);
/// Time after the last object's writing after which the faults end.
pub(super) const FAULTS_MAX: Duration = Duration::from_secs(300);
/// How often in a row the time is moved on without any progress before the faults end.
pub(super) const MOVES_IN_VAIN_MAX: u32 = 20;
/// By how much the time is moved on: the longest delay of work that is handed back, but for a tenant that denies.
pub(super) const MOVE: Duration = Duration::from_secs(900);
/// By how much in all. Events are 7 days old at most, and CloudWatch Logs takes those of 14.
const MOVES_MAX: Duration = Duration::from_secs(6 * 24 * 60 * 60);
/// Time without any progress before the time is moved on, when nothing is in work: what is on its way arrives. Messages of
/// denied tenants, which come again and again, are no progress.
const QUIET: Duration = Duration::from_secs(1);

/// What is seen at a look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Objects written.
    pub(super) uploaded: u64,
    /// Messages in the queue, hidden ones too.
    pub(super) left: usize,
    /// Those of them that can be received.
    pub(super) visible: usize,
    /// Messages in the dead-letter queue.
    pub(super) dead: usize,
    /// Messages that the daemon holds.
    pub(super) held: usize,
    /// Events delivered, as the daemon counts them.
    pub(super) delivered: u64,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Look again later.
    Wait,
    /// Move the cloud's time on by [`MOVE`].
    MoveOn,
    /// No more faults, for this reason.
    EndFaults(End),
    /// Put the dead letters back into the queue, as an operator does when the cause is gone.
    PutBack,
    /// All is settled.
    Done,
    /// Nothing moves any more.
    GiveUp,
}

/// Why faults ended before all was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// [`FAULTS_STALLED`].
    Stalled,
    /// [`MOVES_IN_VAIN_MAX`].
    InVain,
    /// [`FAULTS_MAX`].
    Long,
    /// There were no messages left but dead letters.
    DeadLetters,
}

impl End {
    /// In words.
    pub(super) fn reason(self) -> String {
        match self {
            Self::Stalled => format!("nothing moved for {} s", FAULTS_STALLED.as_secs()),
            Self::InVain => {
                format!("{MOVES_IN_VAIN_MAX} times {} min later nothing had moved", MOVE.as_secs() / 60)
            }
            Self::Long => format!("the last object was written {} min before", FAULTS_MAX.as_secs() / 60),
            Self::DeadLetters => "all that was left was in the dead-letter queue".to_owned(),
        }
    }
}

/// Decides.
#[derive(Debug)]
pub(super) struct Pace {
    /// Objects to be written.
    objects: u64,
    /// Messages that stay, because their tenant's role denies.
    denied: usize,
    /// Time without any progress after which it gives up.
    patience: Duration,
    /// Whether there are faults, or were.
    faulty: bool,
    faults_on: bool,
    put_back: bool,
    /// When something moved last, and what was seen then.
    since: Tick,
    /// When the cloud's time was moved on last, or dead letters put back.
    moved_at: Tick,
    last: Option<(u64, usize, u64)>,
    /// When the last object was written.
    written: Option<Tick>,
    moves: u32,
    moves_in_vain: u32,
}

impl Pace {
    pub(super) fn new(objects: u64, denied: usize, patience: Duration, faulty: bool, now: Tick) -> Self {
        Self {
            objects,
            denied,
            patience,
            faulty,
            faults_on: faulty,
            put_back: false,
            since: now,
            moved_at: now,
            last: None,
            written: None,
            moves: 0,
            moves_in_vain: 0,
        }
    }

    /// By how much the time was moved on so far.
    pub(super) fn moved(&self) -> Duration {
        MOVE * self.moves
    }

    /// What to do after a look.
    pub(super) fn next(&mut self, seen: Seen, now: Tick) -> Step {
        let progress = Some((seen.uploaded, seen.left + seen.dead, seen.delivered));
        if progress != self.last {
            (self.last, self.since, self.moves_in_vain) = (progress, now, 0);
        }
        let written = seen.uploaded == self.objects;
        if written {
            self.written.get_or_insert(now);
        }
        let idle = written && seen.held == 0;
        let drained = idle && seen.left <= self.denied;
        if drained && seen.dead == 0 {
            return Step::Done;
        }
        if let Some(end) = self.faults_on.then(|| self.end(drained, now)).flatten() {
            (self.faults_on, self.since, self.moves_in_vain) = (false, now, 0);
            return Step::EndFaults(end);
        }
        if !self.faults_on && now.since(self.since) > self.patience {
            return Step::GiveUp;
        }
        let still = now.since(self.since.max(self.moved_at));
        if !self.faulty || !idle || seen.visible > 0 || still < QUIET {
            return Step::Wait;
        }
        if drained {
            // Those that were put back before are a lost cause, which the verdict has to name.
            self.moved_at = now;
            return if std::mem::replace(&mut self.put_back, true) { Step::Done } else { Step::PutBack };
        }
        if self.moved() + MOVE > MOVES_MAX {
            return Step::Wait;
        }
        (self.moves, self.moves_in_vain, self.moved_at) = (self.moves + 1, self.moves_in_vain + 1, now);
        Step::MoveOn
    }

    /// Why the faults should end now.
    fn end(&self, drained: bool, now: Tick) -> Option<End> {
        if drained {
            Some(End::DeadLetters)
        } else if self.moves_in_vain >= MOVES_IN_VAIN_MAX {
            Some(End::InVain)
        } else if now.since(self.since.max(self.moved_at)) > FAULTS_STALLED {
            Some(End::Stalled)
        } else if self.written.is_some_and(|written| now.since(written) > FAULTS_MAX) {
            Some(End::Long)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(61);

    fn at(seconds: u64) -> Tick {
        Tick(0).after(Duration::from_secs(seconds))
    }

    /// Four objects, of which one is a denied tenant's.
    fn pace(faulty: bool) -> Pace {
        Pace::new(4, 1, PATIENCE, faulty, at(0))
    }

    fn hidden(left: usize) -> Seen {
        Seen { uploaded: 4, left, ..Seen::default() }
    }

    /// The first step that is no wait, at a time or when it has been quiet since.
    fn step(pace: &mut Pace, seen: Seen, now: Tick) -> Step {
        match pace.next(seen, now) {
            Step::Wait => pace.next(seen, now.after(QUIET)),
            step => step,
        }
    }

    #[test]
    fn it_is_done_when_all_is_written_nothing_is_held_and_only_denied_messages_are_left() {
        for faulty in [false, true] {
            let all = hidden(1);
            assert_eq!(pace(faulty).next(all, at(1)), Step::Done);
            for open in [Seen { uploaded: 3, ..all }, Seen { held: 1, ..all }, Seen { left: 2, ..all }] {
                assert_eq!(pace(faulty).next(open, at(1)), Step::Wait, "{open:?}");
            }
        }
        let dead = Seen { dead: 1, ..hidden(1) };
        assert_eq!(pace(false).next(dead, at(1)), Step::Wait);
    }

    #[test]
    fn time_moves_on_only_under_faults_and_when_nothing_is_in_work() {
        assert_eq!(step(&mut pace(true), hidden(3), at(1)), Step::MoveOn);
        assert_eq!(step(&mut pace(false), hidden(3), at(1)), Step::Wait);
        let early = at(1).after(QUIET - Duration::from_millis(1));
        let (mut soon, mut noisy) = (pace(true), pace(true));
        assert_eq!((soon.next(hidden(3), at(1)), soon.next(hidden(3), early)), (Step::Wait, Step::Wait));
        // A denied tenant's come again meanwhile, and are handed back.
        let denied = Seen { held: 1, ..hidden(3) };
        assert_eq!((noisy.next(hidden(3), at(1)), noisy.next(denied, early)), (Step::Wait, Step::Wait));
        assert_eq!(noisy.next(hidden(3), at(2)), Step::MoveOn);
        for busy in [Seen { held: 1, ..hidden(3) }, Seen { visible: 1, ..hidden(3) }, Seen { uploaded: 3, ..hidden(3) }]
        {
            assert_eq!(step(&mut pace(true), busy, at(1)), Step::Wait, "{busy:?}");
        }
    }

    #[test]
    fn faults_end_when_nothing_moves_or_after_a_while() {
        let mut vain = pace(true);
        for times in 0..MOVES_IN_VAIN_MAX {
            assert_eq!(step(&mut vain, hidden(3), at(1 + u64::from(times))), Step::MoveOn);
        }
        assert_eq!(vain.moved(), MOVE * MOVES_IN_VAIN_MAX);
        assert_eq!(vain.next(hidden(3), at(30)), Step::EndFaults(End::InVain));
        // From now on it goes on without them, and in the end gives up as ever.
        assert_eq!(step(&mut vain, hidden(3), at(31)), Step::MoveOn);
        assert_eq!(vain.next(hidden(3), at(92)), Step::GiveUp);

        let mut moving = pace(true);
        for times in 1..15 {
            assert_eq!(step(&mut moving, hidden(3), at(20 * times)), Step::MoveOn);
        }
        let busy = |delivered| Seen { held: 1, delivered, ..hidden(3) };
        let mut stalled = pace(true);
        assert_eq!(stalled.next(busy(5), at(1)), Step::Wait);
        assert_eq!(stalled.next(busy(5), at(32)), Step::EndFaults(End::Stalled));
        let mut slow = pace(true);
        let steps: Vec<Step> = (0..14).map(|look| slow.next(busy(look), at(look * 25 + 1))).collect();
        assert_eq!((steps[12], steps[13]), (Step::Wait, Step::EndFaults(End::Long)), "{steps:?}");
    }

    #[test]
    fn dead_letters_come_back_once_when_the_faults_are_over() {
        let mut pace = pace(true);
        let dead = Seen { dead: 2, ..hidden(1) };
        assert_eq!(pace.next(dead, at(1)), Step::EndFaults(End::DeadLetters));
        assert_eq!(step(&mut pace, dead, at(1)), Step::PutBack);
        assert_eq!(pace.next(dead, at(2)), Step::Wait);
        assert_eq!(step(&mut pace, dead, at(2)), Step::Done, "a lost cause is left to the verdict");
    }
}
