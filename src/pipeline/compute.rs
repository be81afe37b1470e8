//! The compute threads, which run the lanes' machines.
//!
//! A [`Machine`] travels: the lane sends it with its input, a thread runs it until something is missing and sends it back
//! with what came out. A thread therefore never waits for a lane, for memory or for a send; it only ever waits for the next
//! machine.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::budget::LaneBudget;
use super::machine::{Machine, Rest, Worker};
use crate::core::batch::SendWindow;
use crate::core::pacing::drr::Rounds;
use crate::core::tenant::TenantId;
use crate::world::World;

/// Microseconds of a thread that a tenant gets in each round, while others wait: about one turn.
const QUANTUM_MICROS: u32 = 5_000;

/// One machine's turn on a thread.
struct Turn {
    machine: Box<Machine>,
    budget: Arc<LaneBudget>,
    window: SendWindow,
    done: oneshot::Sender<(Box<Machine>, Rest)>,
}

/// The turns that wait: one for each lane at most, for a lane waits for its machine.
struct Waiting {
    rounds: Rounds<TenantId, Turn>,
    /// Whether the last handle was dropped.
    closed: bool,
}

/// What handles and threads share.
struct Shared {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next turn. `None` when there will be no more.
    fn next(&self) -> Option<(TenantId, Turn)> {
        let mut waiting = self.waiting();
        loop {
            if let Some(next) = waiting.rounds.pop() {
                return Some(next);
            }
            if waiting.closed {
                return None;
            }
            waiting = self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Ends the threads with the last handle.
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.waiting().closed = true;
        self.0.wake.notify_all();
    }
}

/// The compute threads. They end when the last handle is dropped.
#[derive(Clone)]
pub struct Compute {
    place: Place,
}

/// Where machines run.
#[derive(Clone)]
enum Place {
    Threads(Arc<Handle>),
    InPlace(Arc<Mutex<Worker>>),
}

impl std::fmt::Debug for Compute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let waiting = match &self.place {
            Place::Threads(threads) => threads.0.waiting().rounds.len(),
            Place::InPlace(_) => 0,
        };
        f.debug_struct("Compute").field("waiting", &waiting).finish_non_exhaustive()
    }
}

/// The machine's turn panicked: a fault of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the work on the object broke off; this is a bug")]
pub struct ComputeEnded;

impl Compute {
    /// Starts `threads` threads, at least one.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub fn start(threads: usize, world: World) -> std::io::Result<Self> {
        let waiting = Mutex::new(Waiting { rounds: Rounds::new(QUANTUM_MICROS), closed: false });
        let shared = Arc::new(Shared { waiting, wake: Condvar::new() });
        let handle = Self { place: Place::Threads(Arc::new(Handle(Arc::clone(&shared)))) };
        for number in 0..threads.max(1) {
            let shared = Arc::clone(&shared);
            let _detached: JoinHandle<()> =
                std::thread::Builder::new().name(format!("compute-{number}")).spawn(move || serve(&shared, &world))?;
        }
        Ok(handle)
    }

    /// No threads: whoever asks for a turn runs it, and all else waits meanwhile. So the order of turns is that of the
    /// tasks that ask.
    #[must_use]
    pub fn in_place() -> Self {
        Self { place: Place::InPlace(Arc::new(Mutex::new(Worker::new()))) }
    }

    /// Runs a machine until it rests, and gives it back.
    ///
    /// # Errors
    /// [`ComputeEnded`]; the machine is lost with what it held.
    pub async fn run(
        &self,
        machine: Box<Machine>,
        budget: &Arc<LaneBudget>,
        window: SendWindow,
    ) -> Result<(Box<Machine>, Rest), ComputeEnded> {
        let shared = match &self.place {
            Place::Threads(threads) => &threads.0,
            Place::InPlace(worker) => {
                let mut machine = machine;
                let rest = worker.lock().map_err(|_| ComputeEnded)?.turn(&mut machine, budget, window);
                return Ok((machine, rest));
            }
        };
        let (done, back) = oneshot::channel();
        let turn = Turn { machine, budget: Arc::clone(budget), window, done };
        shared.waiting().rounds.push(budget.tenant().clone(), turn);
        shared.wake.notify_one();
        back.await.map_err(|_| ComputeEnded)
    }
}

/// A compute thread: turn after turn. A panic, which is a fault of this program, costs the lane its machine and its
/// objects' messages an attempt, but not the other lanes the thread.
fn serve(shared: &Shared, world: &World) {
    let mut worker = Worker::new();
    while let Some((tenant, Turn { mut machine, budget, window, done })) = shared.next() {
        let begun = world.now();
        let turn = AssertUnwindSafe(|| {
            let rest = worker.turn(&mut machine, &budget, window);
            (machine, rest)
        });
        let turned = catch_unwind(turn);
        let cost = u32::try_from(world.now().since(begun).as_micros()).unwrap_or(u32::MAX);
        shared.waiting().rounds.pay(&tenant, cost);
        match turned {
            // The lane may have been cut off meanwhile; its machine then goes with it.
            Ok(turned) => {
                let _lane_is_gone = done.send(turned);
            }
            Err(_) => worker = Worker::new(),
        }
    }
}
