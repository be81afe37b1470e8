//! A circuit per delivery: one that is refused is left alone for a while, then tried with one object.
//!
//! Closed: all objects pass. A refusal opens it. Open: none passes, until its time is up; then the next object is the
//! probe. Half-open: the probe alone is on its way. What becomes of it closes the circuit or opens it for longer.

use std::time::Duration;

use super::backoff::equal_jitter;
use crate::core::time::Tick;

/// How often the longest time that a circuit is open is the shortest.
const GROWTH_MAX: u32 = 12;
/// How often the shortest time is waited for a probe of which nothing is heard.
const PROBE_LOST_AFTER: u32 = 2;

/// First and longest delay by which what was refused is tried again, if `least` is the shortest there may be. Half of each
/// is fixed, the other half is drawn ([`equal_jitter`]).
#[must_use]
pub const fn delays(least: Duration) -> (Duration, Duration) {
    (least.saturating_mul(2), least.saturating_mul(GROWTH_MAX))
}

/// Whether an object may go to a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It may.
    Free,
    /// It may, and what becomes of it decides for those behind it.
    Probe,
    /// It may not.
    Shut,
}

/// What became of an object that had passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probed {
    /// The delivery took it.
    Taken,
    /// The delivery's owner has it refused.
    Refused,
    /// It ended otherwise, and says nothing about the delivery.
    Unsaid,
}

/// A delivery's circuit. [`Default`] is closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Circuit {
    /// Refusals in a row that opened it.
    refusals: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    Open {
        until: Tick,
    },
    HalfOpen {
        since: Tick,
    },
}

impl Circuit {
    /// Asks whether an object may pass at `now`. [`Passage::Probe`] is answered once for each time that it was open.
    /// `least`: the shortest time that it is open.
    pub fn ask(&mut self, now: Tick, least: Duration) -> Passage {
        match self.state {
            State::Closed => Passage::Free,
            State::Open { until } if now < until => Passage::Shut,
            State::HalfOpen { since } if now.since(since) < least * PROBE_LOST_AFTER => Passage::Shut,
            State::Open { .. } | State::HalfOpen { .. } => {
                self.state = State::HalfOpen { since: now };
                Passage::Probe
            }
        }
    }

    /// Takes in what became of an object that had passed as `passage` at `now`.
    pub fn settle(&mut self, passage: Passage, probed: Probed, now: Tick, least: Duration, entropy: u64) {
        match (passage, probed, self.state) {
            // Others than the probe had passed before it opened, and say nothing new.
            (Passage::Shut, _, _) | (Passage::Free, _, State::Open { .. } | State::HalfOpen { .. }) => {}
            (Passage::Free, Probed::Taken | Probed::Unsaid, State::Closed) => {}
            (_, Probed::Taken, _) => *self = Self::default(),
            (_, Probed::Refused, _) => {
                let (first, longest) = delays(least);
                let open = equal_jitter(self.refusals, first, longest, entropy);
                self.refusals = self.refusals.saturating_add(1);
                self.state = State::Open { until: now.after(open) };
            }
            // The next one is the probe.
            (_, Probed::Unsaid, _) => self.state = State::Open { until: now },
        }
    }

    /// Whether all objects pass, so that nothing need be remembered of it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEAST: Duration = Duration::from_secs(300);

    const fn minute(minutes: u64) -> Tick {
        Tick(minutes * 60 * 1_000_000_000)
    }

    #[test]
    fn a_refusal_opens_it_and_one_probe_at_a_time_finds_out() {
        let mut circuit = Circuit::default();
        assert_eq!(circuit.ask(minute(0), LEAST), Passage::Free);
        circuit.settle(Passage::Free, Probed::Unsaid, minute(0), LEAST, 0);
        assert!(circuit.is_closed());
        circuit.settle(Passage::Free, Probed::Refused, minute(0), LEAST, 0);
        // One that had passed before is refused too: that is no news.
        circuit.settle(Passage::Free, Probed::Refused, minute(1), LEAST, 0);
        circuit.settle(Passage::Free, Probed::Taken, minute(1), LEAST, 0);
        assert_eq!([circuit.ask(minute(1), LEAST), circuit.ask(minute(4), LEAST)], [Passage::Shut, Passage::Shut]);
        assert_eq!([circuit.ask(minute(5), LEAST), circuit.ask(minute(5), LEAST)], [Passage::Probe, Passage::Shut]);
        // Refused again, it is open for longer: ten minutes at least.
        circuit.settle(Passage::Probe, Probed::Refused, minute(6), LEAST, 0);
        assert_eq!([circuit.ask(minute(15), LEAST), circuit.ask(minute(16), LEAST)], [Passage::Shut, Passage::Probe]);
        circuit.settle(Passage::Probe, Probed::Unsaid, minute(17), LEAST, 0);
        assert_eq!(circuit.ask(minute(17), LEAST), Passage::Probe);
        circuit.settle(Passage::Probe, Probed::Taken, minute(18), LEAST, 0);
        assert_eq!((circuit, circuit.ask(minute(18), LEAST)), (Circuit::default(), Passage::Free));
    }

    #[test]
    fn a_probe_that_is_never_heard_of_gives_way_to_another() {
        let mut circuit = Circuit::default();
        circuit.settle(Passage::Free, Probed::Refused, minute(0), LEAST, 0);
        assert_eq!(circuit.ask(minute(20), LEAST), Passage::Probe);
        assert_eq!([circuit.ask(minute(29), LEAST), circuit.ask(minute(30), LEAST)], [Passage::Shut, Passage::Probe]);
    }

    #[test]
    fn its_time_grows_from_five_minutes_to_an_hour() {
        for (entropy, expected) in [(0, [5, 10, 20, 30, 30]), (u64::MAX, [10, 20, 40, 60, 60])] {
            let (mut circuit, mut now) = (Circuit::default(), minute(0));
            let mut passage = circuit.ask(now, LEAST);
            for minutes in expected {
                circuit.settle(passage, Probed::Refused, now, LEAST, entropy);
                let State::Open { until } = circuit.state else { panic!("{circuit:?}") };
                assert_eq!(until.since(now), Duration::from_secs(minutes * 60));
                now = until;
                passage = circuit.ask(now, LEAST);
                assert_eq!(passage, Passage::Probe);
            }
        }
    }

    proptest! {
        /// While a delivery refuses all, an object passes once in five minutes at most; and once it takes one, all pass.
        #[test]
        fn refused_objects_are_few(waits in prop::collection::vec((0_u64..120, any::<u64>()), 1..200)) {
            let (mut circuit, mut now, mut passed) = (Circuit::default(), Tick(0), Vec::<Tick>::new());
            for (seconds, entropy) in waits {
                now = now.after(Duration::from_secs(seconds));
                let passage = circuit.ask(now, LEAST);
                if passage != Passage::Shut {
                    if let Some(last) = passed.last() {
                        prop_assert!(now.since(*last) >= Duration::from_secs(300));
                    }
                    passed.push(now);
                    circuit.settle(passage, Probed::Refused, now, LEAST, entropy);
                }
            }
            let later = now.after(Duration::from_secs(3600));
            let passage = circuit.ask(later, LEAST);
            prop_assert_eq!(passage, Passage::Probe);
            circuit.settle(passage, Probed::Taken, later, LEAST, 0);
            prop_assert_eq!(circuit.ask(later, LEAST), Passage::Free);
        }
    }
}
