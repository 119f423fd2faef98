//! Hands bound sockets to Pingora, and counts connections, which Pingora does not.

use std::fmt;
use std::os::fd::IntoRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::listeners::ListenerConfig;
use pingora::listeners::tls::TlsSettings;
use pingora::protocols::Stream;
use pingora::protocols::l4::stream::L4BufferSettings;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;
use pingora::services::listening;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::admission::{self, Clients, Lid, Place};
use super::bind::BoundListener;
use super::h2c;
use super::proxy_protocol::{self, ProxyProtocol};
use crate::policy::ConnectionLimits;
use crate::telemetry::in_flight::{InFlight, UnderWay};
use crate::telemetry::metrics::{Metrics, RefusedConnection};

/// How long those that came just before the listeners closed have for a first request. Pingora closes all that wait
/// for one, and one whose task has not begun is not even counted; their clients cannot know whether their request was
/// read.
const FIRST_REQUEST: Duration = Duration::from_millis(100);

/// Connections of one service: how many there are, and whether new ones are taken.
#[derive(Debug)]
pub(super) struct Connections {
    /// Those that are open.
    pub(super) open: &'static InFlight,
    /// Where those that come are counted.
    metrics: &'static Metrics,
    /// When this was made.
    made: Instant,
    /// Milliseconds from then to the connection that came last.
    last_came: AtomicU64,
    /// Told once the listeners are closed.
    closed: Notify,
    /// Keeps warnings apart.
    warnings: Lid,
}

impl Connections {
    pub(super) fn new(metrics: &'static Metrics) -> Arc<Self> {
        Arc::new(Self {
            open: InFlight::leak(),
            metrics,
            made: Instant::now(),
            last_came: AtomicU64::new(0),
            closed: Notify::new(),
            warnings: Lid::default(),
        })
    }

    /// Counts one that came, until the returned value is dropped.
    fn came(&self) -> UnderWay {
        self.metrics.connected();
        let now = self.made.elapsed().as_millis() as u64;
        // Not at each of a thousand in a millisecond: all threads share this.
        if self.last_came.load(Ordering::Relaxed) < now {
            self.last_came.store(now, Ordering::Relaxed);
        }
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

    /// Waits until those that came last have had the time for a first request. Where none came lately there is
    /// nothing to wait for.
    async fn first_requests(&self) {
        let last_came = self.made + Duration::from_millis(self.last_came.load(Ordering::Relaxed));
        tokio::time::sleep_until(last_came + FIRST_REQUEST).await;
    }

    /// Returns once the listeners are closed and no connection is left.
    pub(super) async fn drained(&self) {
        self.closed.notified().await;
        self.open.drained().await;
    }
}

/// Read and write buffers of a connection in bytes. Pingora's 64 KiB to read into would make the most of what an idle
/// connection costs; a request of a few KiB is still read at once, and a larger body into a buffer of its own.
const BUFFERS: L4BufferSettings = L4BufferSettings { read: Some(8 * 1024), write: Some(1460) };

/// A Pingora service whose sockets are bound already.
pub(super) struct ListeningService<A> {
    service: listening::Service<CountedApp<A>>,
    sockets: Vec<BoundListener>,
}

/// A bound socket and how it is spoken to.
pub(super) struct Endpoint {
    pub(super) socket: BoundListener,
    /// TLS on it, or none.
    pub(super) tls: Option<TlsSettings>,
}

impl<A> ListeningService<A> {
    pub(super) fn new(name: &str, app: A, endpoints: Vec<Endpoint>, connections: Arc<Connections>) -> Self {
        let app = CountedApp {
            app: Arc::new(app),
            connections,
            clients: Clients::default(),
            limits: None,
            proxy_protocol: None,
            h2c: false,
        };
        let mut service = listening::Service::new(name.to_owned(), app);
        let mut sockets = Vec::with_capacity(endpoints.len());
        for Endpoint { socket, tls } in endpoints {
            let listener = ListenerConfig::tcp(socket.address.to_string()).l4_buffer(BUFFERS);
            service.add_listener(match tls {
                Some(tls) => listener.tls(tls),
                None => listener,
            });
            sockets.push(socket);
        }
        Self { service, sockets }
    }

    /// Closes what goes beyond these limits as it comes.
    pub(super) fn with_limits(mut self, limits: ConnectionLimits) -> Self
    where
        A: ServerApp + Send + Sync + 'static,
    {
        if let Some(app) = self.service.app_logic_mut() {
            app.limits = Some(limits);
        }
        self
    }

    /// Takes HTTP/2 without TLS as well, where a connection begins with it.
    pub(super) fn with_h2c(mut self) -> Self
    where
        A: ServerApp + Send + Sync + 'static,
    {
        if let Some(app) = self.service.app_logic_mut() {
            app.h2c = true;
        }
        self
    }

    /// Reads from trusted proxies whose connection it is, before anything else.
    pub(super) fn with_proxy_protocol(mut self, proxy_protocol: ProxyProtocol) -> Self
    where
        A: ServerApp + Send + Sync + 'static,
    {
        let proxy_protocol = Arc::new(proxy_protocol);
        // Pingora calls this where there is TLS, and only there.
        self.service.endpoints().set_pre_tls_callback(Arc::<ProxyProtocol>::clone(&proxy_protocol));
        if let Some(app) = self.service.app_logic_mut() {
            app.proxy_protocol = Some(proxy_protocol);
        }
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
        if let Some(inherited) = &inherited {
            // Pingora looks here first, for sockets that an older process handed over, and binds only what is missing.
            let mut table = inherited.lock();
            for socket in self.sockets.drain(..) {
                table.add(socket.address.to_string(), socket.socket.into_raw_fd());
            }
        }
        self.service.start_service(inherited, shutdown, listeners_per_fd).await;
    }

    fn name(&self) -> &str {
        self.service.name()
    }

    fn threads(&self) -> Option<usize> {
        self.service.threads()
    }
}

/// An app whose connections are counted.
struct CountedApp<A> {
    app: Arc<A>,
    connections: Arc<Connections>,
    clients: Clients,
    limits: Option<ConnectionLimits>,
    proxy_protocol: Option<Arc<ProxyProtocol>>,
    h2c: bool,
}

impl<A> CountedApp<A> {
    /// Whether there is room for one more.
    fn has_room(&self) -> bool {
        let total = usize::try_from(self.connections.open.count()).unwrap_or(0);
        let Some(limits) = self.limits.as_ref().filter(|limits| total > limits.total) else { return true };
        let what = format_args!("there are {} already", limits.total);
        self.connections.refused(RefusedConnection::Total, what);
        false
    }

    /// The place that it takes among its client's, if there is one left.
    fn admit(&self, stream: &Stream) -> Option<Option<Place>> {
        let (Some(limits), Some(client)) = (&self.limits, admission::client_of(stream)) else {
            return Some(None);
        };
        let place = self.clients.admit(client, limits.per_client);
        if place.is_none() {
            let what = format_args!("{client} has {} already", limits.per_client);
            self.connections.refused(RefusedConnection::PerClient, what);
        }
        place.map(Some)
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServerApp for CountedApp<A> {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let _open = self.connections.came();
        if !self.has_room() {
            return None;
        }
        let cleartext = stream.get_ssl_digest().is_none();
        let stream = match &self.proxy_protocol {
            Some(proxy_protocol) if cleartext => proxy_protocol::read(proxy_protocol, stream).await?,
            _ => stream,
        };
        let _place = self.admit(&stream)?;
        let stream = if self.h2c && cleartext { h2c::detect(stream).await? } else { stream };
        self.app.process_new(stream, shutdown).await
    }

    async fn cleanup(&self) {
        self.connections.first_requests().await;
        self.app.cleanup().await;
        self.connections.closed.notify_one();
    }
}
