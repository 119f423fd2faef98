//! Hands bound sockets to Pingora, and stops it in an order that loses nothing.

use std::collections::HashSet;
use std::fmt;
use std::os::fd::IntoRawFd;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::listeners::ListenerConfig;
use pingora::protocols::l4::stream::L4BufferSettings;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;
use pingora::services::listening;
use pingora_runtime::current_handle;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use super::admission::Lid;
use super::bind::BoundListener;
use crate::telemetry::in_flight::{InFlight, UnderWay};
use crate::telemetry::metrics::{Metrics, RefusedConnection};

/// How long a connection waits for one more request once the gateway stops, from when it came or was last used: the next
/// request of a client that is busy may be on its way already, and it cannot know whether anybody has read it.
pub(super) const LAST_REQUEST: Duration = Duration::from_secs(1);

/// Connections of one service: how many there are, and whether new ones are taken.
#[derive(Debug)]
pub(super) struct Connections {
    /// Those that are open.
    pub(super) open: &'static InFlight,
    /// Where those that come are counted.
    metrics: &'static Metrics,
    /// When this was made.
    made: Instant,
    /// Whether those that wait for a request are to be closed.
    closing: watch::Sender<bool>,
    /// Told once the listeners are closed.
    closed: Notify,
    /// Keeps warnings apart.
    warnings: Lid,
}

impl Connections {
    pub(super) fn new(metrics: &'static Metrics) -> Arc<Self> {
        Self::counted_in(InFlight::leak(), metrics)
    }

    /// For listeners that close before these: their connections count among all.
    pub(super) fn beside(&self) -> Arc<Self> {
        Self::counted_in(self.open, self.metrics)
    }

    fn counted_in(open: &'static InFlight, metrics: &'static Metrics) -> Arc<Self> {
        Arc::new(Self {
            open,
            metrics,
            made: Instant::now(),
            closing: watch::Sender::new(false),
            closed: Notify::new(),
            warnings: Lid::default(),
        })
    }

    /// Counts one that came, until the returned value is dropped.
    pub(super) fn came(&self) -> UnderWay {
        self.metrics.connected();
        self.open.begin()
    }

    /// Counts one that is closed as it came, and says so now and then.
    pub(super) fn refused(&self, why: RefusedConnection, what: fmt::Arguments<'_>) {
        self.metrics.refused_connection(why);
        if self.warnings.lifts(why as usize, self.made.elapsed()) {
            log::warn!(
                "a connection was closed: {what}; more of the kind are counted, and named once in 10 s"
            );
        }
    }

    /// Told when those that wait for a request are to be closed, each after [`LAST_REQUEST`].
    pub(super) fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    /// Returns once the listeners are closed and no connection is left.
    pub(super) async fn drained(&self) {
        self.closed.notified().await;
        self.open.drained().await;
    }
}

/// Read and write buffers of a connection in bytes. Pingora's 64 KiB to read into would make the most of what an idle
/// connection costs. All that is read here is read in pieces of KiB, which go past a buffer that is smaller; the front
/// takes a few bytes at a time to see what a connection speaks.
const BUFFERS: L4BufferSettings = L4BufferSettings { read: Some(256), write: Some(1460) };

/// A Pingora service whose sockets are bound already.
pub(super) struct ListeningService<A> {
    service: listening::Service<A>,
    sockets: Vec<BoundListener>,
    /// Those that are waited for when it stops.
    connections: Option<Arc<Connections>>,
    /// Threads of the server, which are its own as well unless it is told otherwise.
    server_threads: usize,
    /// When it closes its listeners by itself.
    end: Option<Duration>,
}

impl<A> ListeningService<A> {
    pub(super) fn new(mut service: listening::Service<A>, sockets: Vec<BoundListener>) -> Self {
        for socket in &sockets {
            service.add_listener(ListenerConfig::tcp(socket.address.to_string()).l4_buffer(BUFFERS));
        }
        Self { service, sockets, connections: None, server_threads: 1, end: None }
    }

    /// One that leaves its connections the time for a last request when it stops, on a server with that many threads.
    pub(super) fn with_connections(mut self, connections: Arc<Connections>, server_threads: usize) -> Self {
        self.connections = Some(connections);
        self.server_threads = server_threads;
        self
    }

    /// Until so long after its start; what is in flight then is finished.
    pub(super) fn with_end(mut self, end: Duration) -> Self {
        self.end = Some(end);
        self
    }

    /// With that many threads of its own, in place of the server's number.
    pub(super) fn with_threads(mut self, threads: usize) -> Self {
        self.service.threads = Some(threads);
        self
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> Service for ListeningService<A> {
    async fn start_service(
        &mut self,
        inherited: Option<ListenFds>,
        shutdown: ShutdownWatch,
        listeners_per_fd: usize,
    ) {
        let mut shutdown = match self.end {
            Some(end) => shutdown_within(end, shutdown),
            None => shutdown,
        };
        if let Some(inherited) = &inherited {
            // Pingora looks here first, for sockets that an older process handed over, and binds only what is missing.
            let mut table = inherited.lock();
            for socket in self.sockets.drain(..) {
                table.add(socket.address.to_string(), socket.socket.into_raw_fd());
            }
        }
        let threads = self.service.threads.unwrap_or(self.server_threads);
        let service = self.service.start_service(inherited, shutdown.clone(), listeners_per_fd);
        let Some(connections) = &self.connections else { return service.await };
        let mut service = pin!(service);
        tokio::select! {
            // First, for the listeners, in tasks of their own, may have closed before this one looks.
            biased;
            () = told_to_stop(&mut shutdown) => {
                connections.closing.send_replace(true);
                // Pingora then breaks off every request of which there is but a part; those that wait have their time first.
                let _ = timeout(LAST_REQUEST, connections.open.drained()).await;
                service.await;
            }
            () = &mut service => {
                connections.closing.send_replace(true);
            }
        }
        all_begun(threads).await;
        connections.closed.notify_one();
    }

    fn name(&self) -> &str {
        self.service.name()
    }

    fn threads(&self) -> Option<usize> {
        self.service.threads()
    }
}

/// Returns once all that was handed to the threads of this runtime has begun. A connection that was taken just before the
/// listeners closed is not counted before that.
async fn all_begun(threads: usize) {
    let mut seen = HashSet::new();
    // Each goes to a thread by chance: that one of them is left out by so many is as good as impossible.
    for _ in 0..64 * threads {
        let mark = current_handle().spawn(async {
            // What a thread has for itself may be behind what comes from others, but only once.
            tokio::task::yield_now().await;
            std::thread::current().id()
        });
        seen.extend(mark.await);
        if seen.len() >= threads {
            return;
        }
    }
}

/// Says that it is time to stop after so long, or earlier where it is time for all.
fn shutdown_within(end: Duration, mut all: ShutdownWatch) -> ShutdownWatch {
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        let _ = timeout(end, told_to_stop(&mut all)).await;
        let _ = stop.send(true);
        // Connections that go on ask again.
        stop.closed().await;
    });
    stopped
}

/// Returns once the server stops.
async fn told_to_stop(shutdown: &mut ShutdownWatch) {
    // An error says that nobody is left to tell.
    let _ = shutdown.wait_for(|stopped| *stopped).await;
}
