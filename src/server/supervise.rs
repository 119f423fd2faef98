//! The main thread's loop: signals, file changes, names to resolve; and the end.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot};

use super::RunError;
use super::listener::Connections;
use super::reload::{Reloader, Trigger};
use super::signals::{Asked, Signals};
use super::stop::{self, Limits, Stopper};
use crate::admin::ReloadRequest;
use crate::policy::PolicyHandle;
use crate::proxy::Live;
use crate::telemetry::in_flight::InFlight;
use crate::upstream::resolve;

/// All that the loop needs.
pub(super) struct Supervisor {
    pub(super) live: Arc<PolicyHandle<Live>>,
    pub(super) requests: &'static InFlight,
    pub(super) connections: Arc<Connections>,
    pub(super) stopper: Stopper,
    pub(super) signals: Signals,
    /// Reloads that the admin API asks for.
    pub(super) reloads_asked: mpsc::Receiver<ReloadRequest>,
}

impl Supervisor {
    /// Returns when the gateway has stopped.
    ///
    /// # Errors
    /// Pingora's server ended by itself.
    pub(super) async fn run(
        mut self,
        mut reloader: Reloader,
        resolve_now: Arc<Notify>,
        mut ended: oneshot::Receiver<()>,
    ) -> Result<(), RunError> {
        tokio::spawn(keep_resolved(Arc::clone(&self.live), resolve_now));
        loop {
            tokio::select! {
                asked = self.signals.next() => match asked {
                    Asked::Reload => reloader.reload(Trigger::Signal).await,
                    Asked::Stop(signal) => {
                        log::info!("{signal} received");
                        self.stop().await;
                        return Ok(());
                    }
                },
                Some(reply) = self.reloads_asked.recv() => {
                    reloader.reload(Trigger::Signal).await;
                    // Who asked may be gone.
                    let _ = reply.send(reloader.last());
                }
                () = reloader.file_event() => reloader.reload(Trigger::FileEvent).await,
                _ = &mut ended => return Err(RunError::Ended),
            }
        }
    }

    async fn stop(&mut self) {
        let policy = &self.live.load().policy;
        let limits = Limits { delay: policy.shutdown_delay, grace: policy.shutdown_grace };
        stop::drain(&self.stopper, limits, self.requests, &self.connections, &mut self.signals).await;
    }
}

/// Resolves the peers' names again and again, and at once when there are new ones.
async fn keep_resolved(live: Arc<PolicyHandle<Live>>, now: Arc<Notify>) {
    loop {
        // Over in time or notified: either way it is due.
        let _ = tokio::time::timeout(resolve::REFRESH_INTERVAL, now.notified()).await;
        resolve::refresh(&live.load().fleet).await;
    }
}
