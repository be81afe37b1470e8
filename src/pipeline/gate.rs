//! Whether the queue is polled: not while all that is tried fails for reasons that the operator has to mend.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::ObjectReport;
use crate::core::pacing::circuit::{Circuit, Passage, Probed};
use crate::core::settlement::Finish;
use crate::world::World;

/// Messages in a row that failed so, and none between them that came further, before polling stops. One alone may be an
/// object that only looks forbidden: S3 says 403 for one that is gone, to whoever may not list the bucket.
const FAULTS_MAX: u32 = 5;
/// The shortest time without polls.
const LEAST: Duration = Duration::from_secs(10);
/// How often is looked whether it is over.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct State {
    faults: u32,
    circuit: Circuit,
}

/// The gate before the queue. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gate {
    state: Arc<Mutex<State>>,
    world: World,
}

impl Gate {
    /// It is open.
    #[must_use]
    pub fn new(world: World) -> Self {
        Self { state: Arc::default(), world }
    }

    /// Waits until the queue may be polled: for as much as there is room for, or for one message that shows whether all is
    /// well again. `None`: told to stop.
    pub(super) async fn pass(&self, stop: &CancellationToken) -> Option<Passage> {
        loop {
            match self.state().circuit.ask(self.world.now(), LEAST) {
                Passage::Shut => {}
                passage @ (Passage::Free | Passage::Probe) => return Some(passage),
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Takes in what became of a message that had passed; of a probe also that there was none.
    pub(super) fn settle(&self, passage: Passage, reports: &[ObjectReport]) {
        let mut state = self.state();
        let has = |probed| reports.iter().any(|report| said(report.finish) == probed);
        let probed = if has(Probed::Taken) {
            state.faults = 0;
            Probed::Taken
        } else if has(Probed::Refused) {
            state.faults += 1;
            if state.faults < FAULTS_MAX && passage == Passage::Free { Probed::Unsaid } else { Probed::Refused }
        } else {
            Probed::Unsaid
        };
        let before = state.circuit.is_closed();
        state.circuit.settle(passage, probed, self.world.now(), LEAST, self.world.entropy());
        match (before, state.circuit.is_closed()) {
            (true, false) => {
                let cause = reports.iter().find(|report| report.finish == Finish::GlobalFault);
                let cause = cause.and_then(|report| report.cause.as_deref());
                warn!(
                    cause,
                    "nothing works that the operator has to see to; polling stops, but for a message at a time"
                );
            }
            (false, true) => info!("it works again; polling goes on"),
            (true, true) | (false, false) => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an object's end says of the operator's side.
const fn said(finish: Finish) -> Probed {
    match finish {
        // The table, the source and the way to the tenants were used.
        Finish::Delivered | Finish::Superseded | Finish::Corrupt => Probed::Taken,
        Finish::GlobalFault => Probed::Refused,
        Finish::Skipped
        | Finish::Unknown
        | Finish::UnknownSoFar
        | Finish::Invalid
        | Finish::Missing
        | Finish::Retryable
        | Finish::Unavailable
        // A shut circuit answers without a call.
        | Finish::TenantDenied
        | Finish::ConfigInvalid => Probed::Unsaid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(finish: Finish) -> [ObjectReport; 1] {
        [ObjectReport::none(None, finish, String::new())]
    }

    #[test]
    fn faults_in_a_row_shut_it_and_one_that_works_opens_it() {
        let gate = Gate::new(World::new());
        let ask = || gate.state().circuit.ask(gate.world.now(), LEAST);
        for _ in 0..3 {
            (1..FAULTS_MAX).for_each(|_| gate.settle(Passage::Free, &ended(Finish::GlobalFault)));
            gate.settle(Passage::Free, &ended(Finish::Unavailable));
            assert_eq!(ask(), Passage::Free, "one that works is between them");
            gate.settle(Passage::Free, &ended(Finish::Delivered));
        }
        (0..FAULTS_MAX).for_each(|_| gate.settle(Passage::Free, &ended(Finish::GlobalFault)));
        assert_eq!(ask(), Passage::Shut);
        // What had passed before says nothing more.
        gate.settle(Passage::Free, &ended(Finish::Delivered));
        assert_eq!(ask(), Passage::Shut);
        gate.state().circuit = Circuit::default();
        gate.settle(Passage::Free, &ended(Finish::GlobalFault));
        assert_eq!(ask(), Passage::Free, "it counts anew");
    }
}
