//! SIGINT and SIGTERM.
//!
//! The main thread looks at [`Stop`] between writes and is woken from its pauses. A write into a pipe that nobody
//! reads never returns, so the listening thread ends the process itself when the main thread has not after [`GRACE`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::Failure;
use crate::progress::Progress;

/// How long the main thread has to end by itself.
const GRACE: Duration = Duration::from_secs(1);

/// Whether a signal asked for the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn requested(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Listens from now on. Call it on the main thread: it is the one to wake.
    pub(crate) fn on_signals(progress: &Arc<Progress>) -> Result<Self, Failure> {
        let stop = Self::default();
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(Failure::Signals)?;
        let (asked, progress, main) = (stop.clone(), Arc::clone(progress), std::thread::current());
        let listen = move || {
            if signals.forever().next().is_some() {
                asked.0.store(true, Ordering::Release);
                main.unpark();
                let clock = progress.clock();
                clock.pause_until(clock.elapsed() + GRACE, || false);
                progress.end();
                // The main thread is stuck in a write that will not return.
                std::process::exit(0);
            }
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(listen).map_err(Failure::Signals)?;
        Ok(stop)
    }
}
