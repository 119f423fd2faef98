//! How connections to peers are made where they speak HTTP/1: as Pingora makes them, with sessions of TLS that are
//! kept ([`tls`]), and within a [`Gathering`].
//!
//! Pingora asks this for a connection where a peer's protocol is none that it knows ([`http1`]), and is content with a bare
//! stream: it then speaks its own HTTP/1 over it, whether it comes from the [`pool`] or is new.

use std::time::Duration;

use async_trait::async_trait;
use pingora::Result;
use pingora::connectors::http::custom::{Connection, Connector};
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::protocols::ALPN;
use pingora::protocols::tls::CustomALPN;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::Peer;

use super::gather::Gathering;
use super::pool::{self, Lease};
use super::tls;

/// The protocol of peers whose connections are made here. It is never said to them.
pub(super) fn http1() -> ALPN {
    ALPN::Custom(CustomALPN::new(b"1".to_vec()))
}

/// Makes connections to peers of HTTP/1.
pub struct Http1Connector {
    transport: TransportConnector,
    tls: tls::Configs,
}

impl Http1Connector {
    /// With what the server's configuration says of connections to peers, where there is one.
    pub fn new(conf: Option<&ServerConf>) -> Self {
        let transport = TransportConnector::new(conf.map(ConnectorOptions::from_server_conf));
        Self { transport, tls: tls::Configs::new() }
    }
}

#[async_trait]
impl Connector for Http1Connector {
    /// There are none: a session is Pingora's own.
    type Session = ();

    async fn get_http_session<P: Peer + Send + Sync + 'static>(
        &self,
        peer: &P,
    ) -> Result<(Connection<()>, bool)> {
        let lease = Lease::of(peer);
        if let Some(stream) = pool::take(&lease) {
            return Ok((Connection::Stream(Box::new(Gathering::new(stream, lease))), true));
        }
        let stream = match self.tls.connect(&self.transport, peer).await {
            Some(stream) => stream?,
            None => {
                if peer.tls() {
                    // ALPN says so.
                    self.transport.prefer_h1(peer);
                }
                self.transport.new_stream(peer).await?
            }
        };
        Ok((Connection::Stream(Box::new(Gathering::new(stream, lease))), false))
    }

    async fn reused_http_session<P: Peer + Send + Sync + 'static>(&self, _: &P) -> Option<()> {
        None
    }

    async fn release_http_session<P: Peer + Send + Sync + 'static>(
        &self,
        (): (),
        _: &P,
        _: Option<Duration>,
    ) {
    }
}
