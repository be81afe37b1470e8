//! The circuits of deliveries that refuse.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::future::Cache;
use tracing::{info, warn};

use crate::core::pacing::circuit::{Circuit, Passage, Probed};
use crate::core::settlement::Finish;
use crate::core::tenant::DeliveryKey;
use crate::world::World;

/// Deliveries that refuse and are remembered; of more, the least used are tried again early.
const CIRCUITS_MAX: u64 = 10_000;
/// Time after which one that nothing was asked for is forgotten.
const IDLE: Duration = Duration::from_secs(4 * 60 * 60);

/// The circuits that are not closed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Circuits {
    open: Cache<DeliveryKey, Arc<Mutex<Circuit>>>,
    least: Duration,
    world: World,
}

impl Circuits {
    /// All closed. `least`: the shortest time that one is open.
    #[must_use]
    pub fn new(least: Duration, world: World) -> Self {
        Self { open: Cache::builder().max_capacity(CIRCUITS_MAX).time_to_idle(IDLE).build(), least, world }
    }

    /// Whether an object may go to a delivery.
    pub async fn ask(&self, to: &DeliveryKey) -> Passage {
        match self.open.get(to).await {
            Some(circuit) => circuit.lock().unwrap_or_else(PoisonError::into_inner).ask(self.world.now(), self.least),
            None => Passage::Free,
        }
    }

    /// Takes in what became of an object that had passed.
    pub async fn settle(&self, to: &DeliveryKey, passage: Passage, finish: Finish) {
        let probed = match finish {
            Finish::Delivered => Probed::Taken,
            Finish::TenantDenied => Probed::Refused,
            Finish::Skipped
            | Finish::Unknown
            | Finish::UnknownSoFar
            | Finish::Invalid
            | Finish::Superseded
            | Finish::Missing
            | Finish::Corrupt
            | Finish::Retryable
            | Finish::Unavailable
            | Finish::ConfigInvalid
            | Finish::GlobalFault => Probed::Unsaid,
        };
        if passage == Passage::Free && probed != Probed::Refused {
            return;
        }
        let circuit = self.open.get_with_by_ref(to, async { Arc::default() }).await;
        let (before, after) = {
            let mut circuit = circuit.lock().unwrap_or_else(PoisonError::into_inner);
            let before = circuit.is_closed();
            circuit.settle(passage, probed, self.world.now(), self.least, self.world.entropy());
            (before, circuit.is_closed())
        };
        if after {
            self.open.invalidate(to).await;
        }
        match (before, after) {
            (true, false) => {
                warn!(tenant = %to.tenant(), "delivery refused: its objects are handed back unread, until a later one is let in")
            }
            (false, true) => info!(tenant = %to.tenant(), "delivery works again"),
            (true, true) | (false, false) => {}
        }
    }
}
