//! SIGTERM and SIGINT: the first one ends a mode in order, the second one at once, the third one the process.

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::ModeError;

/// What the process was told so far. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// Set by the first signal: nothing new is begun, and what is in work is finished.
    pub(super) stop: CancellationToken,
    /// Set by the second one: what is in work is given up.
    pub(super) hurry: CancellationToken,
}

/// The signals, received from their [catching](Signals::catch) on, whenever they are looked at.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on they do not end the process by themselves.
    ///
    /// # Errors
    /// [`ModeError::System`].
    pub(super) fn catch(runtime: &Runtime) -> Result<Self, ModeError> {
        let _here = runtime.enter();
        let catch =
            |kind| signal(kind).map_err(|cause| ModeError::System { what: "signals cannot be received", cause });
        Ok(Self { terminate: catch(SignalKind::terminate())?, interrupt: catch(SignalKind::interrupt())? })
    }

    /// Passes them on; the end is what the third one means.
    pub(super) async fn pass_on(mut self, told: &Told) -> ModeError {
        // Not among a line's fields: those of a line that is not logged are not evaluated.
        let (signal, _) = self.next().await;
        info!(signal, "told to stop");
        told.stop.cancel();
        let (signal, _) = self.next().await;
        warn!(signal, "told to stop again; what is in work is given up");
        told.hurry.cancel();
        let (name, kind) = self.next().await;
        ModeError::Signal { name, number: kind.as_raw_value() }
    }

    async fn next(&mut self) -> (&'static str, SignalKind) {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => ("SIGTERM", SignalKind::terminate()),
            _ = self.interrupt.recv() => ("SIGINT", SignalKind::interrupt()),
        }
    }
}
