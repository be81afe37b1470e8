//! The compute threads, which run the lanes' machines.
//!
//! A [`Machine`] travels: the lane sends it with its input, a thread runs it until something is missing and sends it back
//! with what came out. A thread therefore never waits for a lane, for memory or for a send; it only ever waits for the next
//! machine.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use tokio::sync::{Semaphore, oneshot};

use super::budget::LaneBudget;
use super::machine::{Machine, Rest, Worker};
use crate::core::batch::SendWindow;

/// Machines that may wait for a thread, per thread. Lanes wait for a place without holding a thread.
const TURNS_WAITING_PER_THREAD: usize = 64;

/// One machine's turn on a thread.
struct Turn {
    machine: Box<Machine>,
    budget: Arc<LaneBudget>,
    window: SendWindow,
    done: oneshot::Sender<(Box<Machine>, Rest)>,
}

/// The compute threads. They end when the last handle is dropped.
#[derive(Clone)]
pub struct Compute {
    place: Place,
}

/// Where machines run.
#[derive(Clone)]
enum Place {
    Threads { turns: Sender<Turn>, places: Arc<Semaphore> },
    InPlace(Arc<Mutex<Worker>>),
}

impl std::fmt::Debug for Compute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let waiting = match &self.place {
            Place::Threads { turns, .. } => turns.len(),
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
    pub fn start(threads: usize) -> std::io::Result<Self> {
        let threads = threads.max(1);
        let places = threads * TURNS_WAITING_PER_THREAD;
        let (turns, waiting) = crossbeam_channel::bounded(places);
        for number in 0..threads {
            let waiting = waiting.clone();
            let _detached: JoinHandle<()> =
                std::thread::Builder::new().name(format!("compute-{number}")).spawn(move || serve(&waiting))?;
        }
        Ok(Self { place: Place::Threads { turns, places: Arc::new(Semaphore::new(places)) } })
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
        let (turns, places) = match &self.place {
            Place::Threads { turns, places } => (turns, places),
            Place::InPlace(worker) => {
                let mut machine = machine;
                let rest = worker.lock().map_err(|_| ComputeEnded)?.turn(&mut machine, budget, window);
                return Ok((machine, rest));
            }
        };
        // A place in the queue is held until the machine is back, so the queue never is too full to send.
        let _place = places.acquire().await.map_err(|_| ComputeEnded)?;
        let (done, back) = oneshot::channel();
        let turn = Turn { machine, budget: Arc::clone(budget), window, done };
        match turns.try_send(turn) {
            Ok(()) => back.await.map_err(|_| ComputeEnded),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(ComputeEnded),
        }
    }
}

/// A compute thread: turn after turn. A panic, which is a fault of this program, costs the lane its machine and its
/// objects' messages an attempt, but not the other lanes the thread.
fn serve(waiting: &Receiver<Turn>) {
    let mut worker = Worker::new();
    for Turn { mut machine, budget, window, done } in waiting {
        let turn = AssertUnwindSafe(|| {
            let rest = worker.turn(&mut machine, &budget, window);
            (machine, rest)
        });
        match catch_unwind(turn) {
            // The lane may have been cut off meanwhile; its machine then goes with it.
            Ok(turned) => {
                let _lane_is_gone = done.send(turned);
            }
            Err(_) => worker = Worker::new(),
        }
    }
}
