//! Accepts the admin API's connections, within limits.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::reply::Refusal;
use crate::limit::Clients;

/// Connections at a time: operators, pages with a few streams, several scrapers. More wait in the kernel.
const MOST_CONNECTIONS: usize = 256;

/// Connections of one address, or one /64 of IPv6: an eighth, so that whoever keeps silent ones does not hold all of it. A
/// browser has six; behind one address there are several. More are closed as they come.
const MOST_PER_CLIENT: usize = 32;

/// How far apart warnings are.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(10);

/// Bytes of a header section, which is read before anybody is known: a browser's has less than a tenth.
const MOST_HEADER_BYTES: usize = 32 * 1024;

/// How long a client may take for a header section, and be idle before it.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a handshake of TLS may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one request may take, its body and the answer included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long to wait after the system refused a connection (it has no descriptors left, say).
const PAUSE: Duration = Duration::from_millis(100);

/// Who sent a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client(pub(super) SocketAddr);

pub(super) async fn accept(socket: TcpListener, tls: Option<TlsAcceptor>, routes: Router) {
    let listener = match tokio::net::TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => return log::error!("the admin API is not served: {error}"),
    };
    let free = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let clients = Clients::default();
    let mut warned = None;
    while let Ok(place) = Arc::clone(&free).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, client)) => {
                let Some(own_place) = clients.admit(client.ip(), MOST_PER_CLIENT) else {
                    warn_now_and_then(&mut warned, client.ip());
                    continue;
                };
                let (routes, tls) = (routes.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, Client(client), routes).await,
                        Some(tls) => {
                            if let Some(stream) = shake_hands(&tls, stream).await {
                                serve(stream, Client(client), routes).await;
                            }
                        }
                    }
                    drop((place, own_place));
                });
            }
            Err(error) => {
                log::warn!("the admin API cannot accept a connection: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// A flood of connections cannot fill the disk.
fn warn_now_and_then(warned: &mut Option<Instant>, client: IpAddr) {
    if warned.is_none_or(|at| at.elapsed() >= BETWEEN_WARNINGS) {
        log::warn!("admin: a connection of {client} was closed: it has {MOST_PER_CLIENT} already");
        *warned = Some(Instant::now());
    }
}

async fn shake_hands(tls: &TlsAcceptor, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            log::debug!("admin API: a handshake failed: {error}");
            None
        }
        Err(_) => None,
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, client: Client, routes: Router) {
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(client);
        answer(routes.clone(), request.map(Body::new))
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_header_size(MOST_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        log::debug!("admin API: a connection ended early: {error}");
    }
}

async fn answer(
    routes: Router,
    request: hyper::Request<Body>,
) -> Result<axum::response::Response, Infallible> {
    let answer = tower_service::Service::call(&mut routes.clone(), request);
    match tokio::time::timeout(REQUEST_TIMEOUT, answer).await {
        Ok(answer) => answer,
        Err(_) => Ok(axum::response::IntoResponse::into_response(Refusal::TimedOut)),
    }
}
