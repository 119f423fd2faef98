//! What a connection passes between its listener and the phases: the count, the limits, whose it is, what it speaks; and
//! how long it may take to ask for something.
//!
//! Pingora hands every connection of a proxy that speaks a protocol of its own to a function, together with the proxy
//! itself. That is used here for all of them: it is the one place where a connection can be looked at, refused or counted
//! before Pingora reads from it, and a proxy with a connector of its own (see `upstream`) can be had in no other way.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora::listeners::tls::Acceptor;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::protocols::l4::stream::Stream as TcpStream;
use pingora::protocols::{ALPN, Ssl, Stream};
use pingora::server::ShutdownWatch;
use pingora_proxy::{HttpProxy, ProcessCustomSession};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::admission;
use super::client::ClientConnection;
use super::h2c;
use super::listener::{Connections, LAST_REQUEST};
use super::proxy_protocol::{self, ProxyProtocol};
use crate::limit::{Clients, Place};
use crate::policy::{ConnectionLimits, PolicyHandle};
use crate::proxy::{Gateway, Live, arrival, silence};
use crate::telemetry::metrics::RefusedConnection;
use crate::timer::Timer;
use crate::upstream::Http1Connector;

/// The phases, run by Pingora.
pub(super) type Proxy = HttpProxy<Gateway, Http1Connector>;

/// What every connection passes.
pub(super) struct Front {
    pub(super) connections: Arc<Connections>,
    pub(super) clients: Clients,
    pub(super) limits: ConnectionLimits,
    /// Whose connection it is, from trusted proxies.
    pub(super) proxy_protocol: Option<Arc<ProxyProtocol>>,
    /// TLS, or none.
    pub(super) tls: Option<Acceptor>,
    /// HTTP/2 without TLS as well, where a connection begins with it.
    pub(super) h2c: bool,
    /// What is in force.
    pub(super) live: Arc<PolicyHandle<Live>>,
}

impl Front {
    /// As Pingora calls it. The proxy's own options must say `force_custom`.
    pub(super) fn into_session(self) -> ProcessCustomSession<Gateway, Http1Connector> {
        let front = Arc::new(self);
        Arc::new(move |proxy, stream, shutdown| {
            let (front, shutdown) = (Arc::clone(&front), shutdown.clone());
            let open = front.connections.came();
            // Pingora's task holds what it would take for a TLS handshake, 13 KiB. This one is a tenth of that.
            tokio::spawn(async move {
                front.serve(proxy, stream, shutdown).await;
                drop(open);
            });
            Box::pin(std::future::ready(None))
        })
    }

    /// Until the connection is over, for whatever reason.
    async fn serve(&self, proxy: Arc<Proxy>, stream: Stream, shutdown: ShutdownWatch) -> Option<()> {
        if !self.has_room() {
            return None;
        }
        let came_at = Instant::now();
        let stream = match &self.proxy_protocol {
            Some(proxy_protocol) => proxy_protocol::read(proxy_protocol, stream).await?,
            None => stream,
        };
        let _place = self.admit(&stream)?;
        let left = || self.limits.header_timeout.saturating_sub(came_at.elapsed());
        let (stream, http2) = match &self.tls {
            // What a handshake takes, 13 KiB, goes with it.
            Some(tls) => Box::pin(self.secure(tls, stream, left())).await?,
            None => {
                let mut stream = stream;
                let http2 = self.h2c && h2c::detect(&mut stream, left()).await?;
                (stream, http2)
            }
        };
        if http2 {
            return self.serve_http2(proxy, stream, &shutdown, left()).await;
        }
        self.serve_http1(&proxy, stream, &shutdown, came_at).await
    }

    /// The same connection with TLS, and whether it speaks HTTP/2. Not left to Pingora, which would take 60 s for a handshake, and
    /// keep a connection of HTTP/2 from coming here.
    async fn secure(&self, tls: &Acceptor, stream: Stream, limit: Duration) -> Option<(Stream, bool)> {
        let client = admission::client_of(&stream);
        let socket = stream.into_any().downcast::<TcpStream>().ok()?;
        let what = match timeout(limit, tls.tls_handshake(*socket)).await {
            Ok(Ok(stream)) => {
                let http2 = stream.selected_alpn_proto() == Some(ALPN::H2);
                return Some((Box::new(stream), http2));
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it took too long".to_owned(),
        };
        let client = client.map_or_else(|| "?".to_owned(), |client| client.to_string());
        // As a line of the library, of which there are only so many (see `telemetry::log`).
        log::error!(target: "rustls", "TLS handshake error from {client}: {what}");
        None
    }

    /// Its streams, until the client closes, or has had none for a while. The first has to begin in time, as over HTTP/1.
    async fn serve_http2(
        &self,
        proxy: Arc<Proxy>,
        stream: Stream,
        shutdown: &ShutdownWatch,
        first_request: Duration,
    ) -> Option<()> {
        let mut options = HttpServerOptions::default();
        options.h2_idle_timeout = Some(self.live.load().policy.keepalive_timeout);
        // Without TLS Pingora looks for the preface too, and it is there.
        options.h2c = true;
        let http2 = Arc::new(Http2 { proxy, options, asked: Notify::new() });
        let mut streams = http2.process_new(stream, shutdown);
        // Pingora waits for the preface without a limit.
        tokio::select! {
            _ = &mut streams => return Some(()),
            () = http2.asked.notified() => {}
            () = tokio::time::sleep(first_request) => return None,
        }
        streams.await;
        Some(())
    }

    /// One request after another, until the client closes or the connection must be closed.
    async fn serve_http1(
        &self,
        proxy: &Arc<Proxy>,
        stream: Stream,
        shutdown: &ShutdownWatch,
        came_at: Instant,
    ) -> Option<()> {
        let limit = self.limits.header_timeout;
        let mut connection = Box::new(ClientConnection::new(stream, Arc::clone(&self.connections)));
        let mut closing = self.connections.closing();
        // These two wait as long as the connection lives: to begin to wait anew for each request would cost as much as to look
        // for its key.
        let begun = Instant::now();
        let idle_from = AtomicU64::new(0);
        let mut closing = pin!(async {
            let _ = closing.wait_for(|closing| *closing).await;
            let end = || begun + Duration::from_millis(idle_from.load(Ordering::Relaxed)) + LAST_REQUEST;
            while Instant::now() < end() {
                tokio::time::sleep_until(end()).await;
            }
        });
        let mut timer = Timer::default();
        let mut settings: Option<HttpPersistentSettings> = None;
        loop {
            // The first header section has its time from the connection on, the next ones from their first bytes.
            let is_first = settings.is_none();
            let left = || if is_first { limit.saturating_sub(came_at.elapsed()) } else { limit };
            let wait = if is_first { left() } else { self.live.load().policy.keepalive_timeout };
            let now = Instant::now();
            idle_from.store(now.duration_since(begun).as_millis() as u64, Ordering::Relaxed);
            let deadline = now + wait;
            tokio::select! {
                biased;
                begun = connection.begins() => begun.ok()?.then_some(())?,
                () = poll_fn(|context| timer.poll_passed(deadline, context)) => return None,
                () = closing.as_mut() => return None,
            }
            let mut session = ServerSession::new_http1(connection);
            match settings.take() {
                Some(settings) => settings.apply_to_session(&mut session),
                None => {
                    session.set_keepalive((!*shutdown.borrow()).then_some(limit.as_secs().max(1)));
                    // Pingora counts how often a connection is used again.
                    session.set_keepalive_reuses_remaining(Some(self.limits.requests.saturating_sub(1)));
                }
            }
            let exchange = proxy.process_new_http(session, shutdown);
            let (stream, kept) = arrival::within(left(), exchange).await.flatten()?.consume();
            (connection, settings) = (stream.into_any().downcast().ok()?, kept);
        }
    }

    /// Whether there is room for one more.
    fn has_room(&self) -> bool {
        let total = usize::try_from(self.connections.open.count()).unwrap_or(0);
        if total <= self.limits.total {
            return true;
        }
        let what = format_args!("there are {} already", self.limits.total);
        self.connections.refused(RefusedConnection::Total, what);
        false
    }

    /// The place that it takes among its client's, if there is one left.
    fn admit(&self, stream: &Stream) -> Option<Option<Place>> {
        let Some(client) = admission::client_of(stream) else { return Some(None) };
        let place = self.clients.admit(client, self.limits.per_client);
        if place.is_none() {
            let what = format_args!("{client} has {} already", self.limits.per_client);
            self.connections.refused(RefusedConnection::PerClient, what);
        }
        place.map(Some)
    }
}

/// The proxy for a connection of HTTP/2, where each request is a task of its own.
struct Http2 {
    proxy: Arc<Proxy>,
    options: HttpServerOptions,
    /// Told of each request; the first one counts.
    asked: Notify,
}

#[async_trait]
impl HttpServerApp for Http2 {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        self.asked.notify_one();
        silence::within(self.proxy.process_new_http(session, shutdown)).await.flatten()
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.proxy.h2_options()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}
