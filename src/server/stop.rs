//! Stopping: what happens between the signal and the end of the process.
//!
//! 1. `/healthz` answers 503 and responses close their connections; the listeners stay open while requests are in
//!    flight, for at most `shutdown.delay`, so that a load balancer notices before connections are refused.
//! 2. The listeners close; connections that have been idle for a second are closed; requests and streams in flight go on.
//! 3. The process ends as soon as no connection is left, or `shutdown.grace` after the signal.
//!
//! A second signal ends it at once; the first is the successor's where there is one, and a stop of both that follows takes
//! nothing from what is in flight. Nothing here sleeps while there is nothing to wait for.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::listener::Connections;
use super::signals::Signals;
use crate::telemetry::in_flight::{Draining, InFlight};

/// Longer than any grace that a config can have: the process ends before Pingora's own waiting does.
pub(super) const NEVER_SECONDS: u64 = 7 * 24 * 3600;

/// Tells Pingora to stop.
#[derive(Clone, Debug, Default)]
pub(super) struct Stopper(Arc<Notify>);

impl Stopper {
    /// Closes the listeners and the idle connections.
    fn stop(&self) {
        self.0.notify_one();
    }
}

/// Pingora waits here in place of its own signal handlers.
#[async_trait]
impl ShutdownSignalWatch for Stopper {
    async fn recv(&self) -> ShutdownSignal {
        self.0.notified().await;
        ShutdownSignal::GracefulTerminate
    }
}

/// How long the steps may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) delay: Duration,
    pub(super) grace: Duration,
    pub(super) why: Draining,
}

/// Runs the three steps.
pub(super) async fn drain(
    stopper: &Stopper,
    limits: Limits,
    requests: &'static InFlight,
    connections: &Connections,
    signals: &mut Signals,
) {
    let begun = Instant::now();
    requests.start_draining(limits.why);
    connections.open.start_draining(limits.why);
    log::info!(
        "stopping: {} requests in flight may take up to {}",
        requests.count(),
        humantime::format_duration(limits.grace)
    );
    let steps = async {
        // Over in time or not, the listeners close next.
        let _ = timeout_at(begun + limits.delay.min(limits.grace), requests.drained()).await;
        stopper.stop();
        match timeout_at(begun + limits.grace, connections.drained()).await {
            Ok(()) => log::info!("stopped"),
            Err(_) => log::warn!("stopped: {} connections were cut off", connections.open.count()),
        }
    };
    tokio::select! {
        () = steps => {}
        signal = second_stop(limits.why, signals) => {
            log::warn!("second {signal}: {} connections are cut off", connections.open.count());
        }
    }
}

/// Waits for a signal to stop that comes on top of one, and gives its name. A hand-over is none: a service manager that stops
/// the service then tells all its processes, and each has its time.
async fn second_stop(why: Draining, signals: &mut Signals) -> &'static str {
    if why == Draining::HandOver {
        let signal = signals.stop().await;
        log::info!("{signal} received; this process drains already");
    }
    signals.stop().await
}
