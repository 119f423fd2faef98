//! The main thread's loop: signals, file changes, names to resolve; and the end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};

use super::listener::Connections;
use super::reload::{Reloader, Trigger};
use super::signals::{Asked, Signals};
use super::stop::{self, Limits, Stopper};
use super::upgrade::Upgrade;
use super::{RunError, expiry};
use crate::admin::{Listening, Order};
use crate::clock;
use crate::policy::PolicyHandle;
use crate::proxy::Live;
use crate::telemetry::access_log;
use crate::telemetry::in_flight::{Draining, InFlight};
use crate::upstream::{check, resolve};

/// All that the loop needs.
pub(super) struct Supervisor {
    pub(super) live: Arc<PolicyHandle<Live>>,
    pub(super) requests: &'static InFlight,
    pub(super) connections: Arc<Connections>,
    pub(super) stopper: Stopper,
    pub(super) signals: Signals,
    /// What the admin API asks for.
    pub(super) orders: mpsc::Receiver<Order>,
    /// The admin API, if it is on.
    pub(super) admin: Option<Listening>,
    pub(super) upgrade: Upgrade,
    /// The access log, if there is one.
    pub(super) access_log: Option<access_log::Control>,
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
        expiry::warn(&self.live.load(), clock::now());
        tokio::spawn(expiry::keep_warning(Arc::clone(&self.live)));
        tokio::spawn(keep_checked(Arc::clone(&self.live)));
        loop {
            tokio::select! {
                asked = self.signals.next() => match asked {
                    Asked::Reload => reloader.reload(Trigger::Signal).await,
                    Asked::ReopenLog => self.access_log.iter().for_each(access_log::Control::reopen),
                    Asked::Upgrade => self.upgrade.start(),
                    Asked::Relieved => {
                        log::info!("another process serves now; this one drains");
                        // Its successor answers there; two would answer in turn.
                        self.admin = None;
                        self.drain(Draining::HandOver).await;
                        return Ok(());
                    }
                    Asked::Stop(signal) => {
                        log::info!("{signal} received");
                        self.drain(Draining::Stop).await;
                        return Ok(());
                    }
                },
                Some(order) = self.orders.recv() => reloader.carry_out(order).await,
                how = self.upgrade.failed() => {
                    log::error!("not upgraded: the new process ended ({how}); this one goes on");
                }
                () = reloader.file_event() => reloader.reload(Trigger::FileEvent).await,
                _ = &mut ended => return Err(RunError::Ended),
            }
        }
    }

    async fn drain(&mut self, why: Draining) {
        // Or the sockets would go on listening with nobody to accept.
        self.upgrade.close_sockets();
        let policy = &self.live.load().policy;
        // A load balancer has nothing to notice where another process serves already.
        let delay = if why == Draining::Stop { policy.shutdown_delay } else { Duration::ZERO };
        let limits = Limits { delay, grace: policy.shutdown_grace, why };
        stop::drain(&self.stopper, limits, self.requests, &self.connections, &mut self.signals).await;
        if let Some(access_log) = self.access_log.take() {
            access_log.finish();
        }
    }
}

/// Resolves the peers' names again and again, and at once when there are new ones.
async fn keep_resolved(live: Arc<PolicyHandle<Live>>, now: Arc<Notify>) {
    loop {
        // Over in time or notified: either way it is due.
        let every = live.load().policy.dns_refresh;
        let _ = tokio::time::timeout(every, now.notified()).await;
        resolve::refresh(&live.load().fleet).await;
    }
}

/// Checks the health of the peers that want it, of the policy that is in force at the time.
async fn keep_checked(live: Arc<PolicyHandle<Live>>) {
    let mut checker = check::Checker::default();
    loop {
        let again = checker.round(&live.load().fleet);
        tokio::time::sleep(again).await;
    }
}
