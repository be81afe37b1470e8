//! The compute threads, which run the lanes' machines and finish what they have sealed.
//!
//! A [`Machine`] travels: the lane sends it with its input, a thread runs it until something is missing and sends it back
//! with what came out. A thread therefore never waits for a lane, for memory or for a send; it only ever waits for the next
//! piece of work. Sealed batches travel as well: while one thread hashes and packs them, another goes on with the machine.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::budget::{LaneBudget, Permit};
use super::machine::{Machine, Piece, Rest, Worker};
use crate::core::batch::{Batch, PACK_BYTES_MIN, SendWindow};
use crate::core::pacing::drr::Rounds;
use crate::core::shelf::Shelf;
use crate::core::tenant::TenantId;
use crate::world::World;

/// Microseconds of a thread that a tenant gets in each round, while others wait: about one turn.
const QUANTUM_MICROS: u32 = 5_000;

/// Bytes of bodies up to which they are hashed where they are: to pass them to a thread and back costs about as much.
const HASH_IN_PLACE_MAX: usize = 32 << 10;

/// A piece of work for a thread.
enum Work {
    /// One machine's turn.
    Turn {
        machine: Box<Machine>,
        budget: Arc<LaneBudget>,
        window: SendWindow,
        done: oneshot::Sender<(Box<Machine>, Rest)>,
    },
    /// Stored bytes that may be whole members, and how many decompressed ones they say that they hold.
    Decode { stored: Bytes, text: usize, memory: Permit, shelf: Arc<Shelf>, done: oneshot::Sender<Piece> },
    /// Batches to be finished.
    Finish { batches: Vec<Batch>, packs: bool, done: oneshot::Sender<Vec<Batch>> },
}

/// The work that waits: of each lane a turn at most, for a lane waits for its machine, and as many groups as may wait for its
/// sender.
struct Waiting {
    rounds: Rounds<TenantId, Work>,
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

    fn push(&self, tenant: &TenantId, work: Work) {
        self.waiting().rounds.push(tenant.clone(), work);
        self.wake.notify_one();
    }

    /// Waits for the next piece of work. `None` when there will be no more.
    fn next(&self) -> Option<(TenantId, Work)> {
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
struct Handle {
    shared: Arc<Shared>,
    threads: usize,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.waiting().closed = true;
        self.shared.wake.notify_all();
    }
}

/// The compute threads. They end when the last handle is dropped.
#[derive(Clone)]
pub struct Compute {
    place: Place,
    packing: Packing,
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
            Place::Threads(handle) => handle.shared.waiting().rounds.len(),
            Place::InPlace(_) => 0,
        };
        f.debug_struct("Compute").field("waiting", &waiting).finish_non_exhaustive()
    }
}

/// Whether batches are packed, for all that share it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Packing(Arc<AtomicBool>);

impl Packing {
    /// They are, or are not.
    #[must_use]
    pub fn new(packs: bool) -> Self {
        Self(Arc::new(AtomicBool::new(packs)))
    }

    fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// From now on they are not. Whether they were.
    pub(super) fn stop(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// Batches that are being finished.
#[derive(Debug)]
pub enum Finishing {
    /// They are.
    Done(Vec<Batch>),
    /// A thread has them, or will have.
    Waits(oneshot::Receiver<Vec<Batch>>),
}

impl Finishing {
    /// The finished batches.
    ///
    /// # Errors
    /// [`ComputeEnded`]; the batches are lost.
    pub async fn done(self) -> Result<Vec<Batch>, ComputeEnded> {
        match self {
            Self::Done(batches) => Ok(batches),
            Self::Waits(batches) => batches.await.map_err(|_| ComputeEnded),
        }
    }
}

/// The work on a thread panicked: a fault of this program.
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
        let handle = Self {
            place: Place::Threads(Arc::new(Handle { shared: Arc::clone(&shared), threads })),
            packing: Packing::default(),
        };
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
        Self { place: Place::InPlace(Arc::new(Mutex::new(Worker::new()))), packing: Packing::default() }
    }

    /// The same, which packs batches as long as `packing` says so.
    #[must_use]
    pub fn with_packing(self, packing: Packing) -> Self {
        Self { packing, ..self }
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
            Place::Threads(_) if machine.is_light() => return light(machine, budget, window),
            Place::Threads(handle) => &handle.shared,
            Place::InPlace(worker) => {
                let mut machine = machine;
                let rest = worker.lock().map_err(|_| ComputeEnded)?.turn(&mut machine, budget, window);
                return Ok((machine, rest));
            }
        };
        let (done, back) = oneshot::channel();
        let work = Work::Turn { machine, budget: Arc::clone(budget), window, done };
        shared.push(budget.tenant(), work);
        back.await.map_err(|_| ComputeEnded)
    }

    /// Whether a thread has time for what may be done before its turn, beside the one that a turn was just given to.
    #[must_use]
    pub fn has_time(&self) -> bool {
        match &self.place {
            Place::Threads(handle) => handle.threads > 1 && handle.shared.waiting().rounds.len() <= 1,
            Place::InPlace(_) => true,
        }
    }

    /// Begins to decode stored bytes that may be whole members, which say that they hold so many bytes; there is memory for them.
    #[must_use]
    pub fn decode(
        &self,
        budget: &LaneBudget,
        stored: Bytes,
        (text, memory): (usize, Permit),
    ) -> oneshot::Receiver<Piece> {
        let (done, decoded) = oneshot::channel();
        let shelf = Arc::clone(budget.chunks());
        match &self.place {
            Place::InPlace(_) => _ = done.send(Worker::decode(stored, text, &shelf, memory)),
            Place::Threads(handle) => {
                handle.shared.push(budget.tenant(), Work::Decode { stored, text, memory, shelf, done });
            }
        }
        decoded
    }

    /// Begins to finish a tenant's batches: to pack them, if that is wanted, and to hash them.
    #[must_use]
    pub fn finish(&self, tenant: &TenantId, mut batches: Vec<Batch>) -> Finishing {
        let packs = self.packing.is_on();
        let in_place_max = if packs { PACK_BYTES_MIN } else { HASH_IN_PLACE_MAX };
        match &self.place {
            Place::InPlace(worker) => {
                worker.lock().unwrap_or_else(PoisonError::into_inner).finish(&mut batches, packs);
                Finishing::Done(batches)
            }
            Place::Threads(_) if batches.iter().map(|batch| batch.body().len()).sum::<usize>() <= in_place_max => {
                batches.iter_mut().for_each(|batch| batch.finish(None));
                Finishing::Done(batches)
            }
            Place::Threads(handle) => {
                let (done, back) = oneshot::channel();
                handle.shared.push(tenant, Work::Finish { batches, packs, done });
                Finishing::Waits(back)
            }
        }
    }
}

/// A turn where the lane is, by the tools of its thread.
fn light(
    mut machine: Box<Machine>,
    budget: &LaneBudget,
    window: SendWindow,
) -> Result<(Box<Machine>, Rest), ComputeEnded> {
    thread_local! {
        static WORKER: RefCell<Worker> = RefCell::new(Worker::new());
    }
    WORKER.with_borrow_mut(|worker| {
        let turned = catch_unwind(AssertUnwindSafe(|| worker.light_turn(&mut machine, budget, window)));
        match turned {
            Ok(rest) => Ok((machine, rest)),
            Err(_) => {
                *worker = Worker::new();
                Err(ComputeEnded)
            }
        }
    })
}

/// A compute thread: one piece of work after the other. A panic, which is a fault of this program, costs the lane what it gave
/// and its objects' messages an attempt, but not the other lanes the thread.
fn serve(shared: &Shared, world: &World) {
    let mut worker = Worker::new();
    while let Some((tenant, work)) = shared.next() {
        // The lane may have been cut off meanwhile; what it gave then goes with it.
        match work {
            Work::Turn { mut machine, budget, window, done } => {
                let turn = |worker: &mut Worker| {
                    let rest = worker.turn(&mut machine, &budget, window);
                    (machine, rest)
                };
                let _lane_is_gone = paid(shared, world, &tenant, &mut worker, turn).map(|turned| done.send(turned));
            }
            // Nobody waits for it: the object was let go of.
            Work::Decode { done, .. } if done.is_closed() => {}
            Work::Decode { stored, text, memory, shelf, done } => {
                let decode = |_: &mut Worker| Worker::decode(stored, text, &shelf, memory);
                let _lane_is_gone = paid(shared, world, &tenant, &mut worker, decode).map(|piece| done.send(piece));
            }
            Work::Finish { mut batches, packs, done } => {
                let finish = |worker: &mut Worker| {
                    worker.finish(&mut batches, packs);
                    batches
                };
                let _lane_is_gone = paid(shared, world, &tenant, &mut worker, finish).map(|batches| done.send(batches));
            }
        }
    }
}

/// Has a tenant's work done, and the tenant pay for it. `None`: it panicked.
fn paid<T>(
    shared: &Shared,
    world: &World,
    tenant: &TenantId,
    worker: &mut Worker,
    work: impl FnOnce(&mut Worker) -> T,
) -> Option<T> {
    let begun = world.now();
    let worked = catch_unwind(AssertUnwindSafe(|| work(worker)));
    let cost = u32::try_from(world.now().since(begun).as_micros()).unwrap_or(u32::MAX);
    shared.waiting().rounds.pay(tenant, cost);
    if worked.is_err() {
        *worker = Worker::new();
    }
    worked.ok()
}
