//! TLS towards peers that have an authority of their own, or that want a certificate of ours: with sessions that are resumed.
//!
//! For such a peer Pingora makes a configuration for each connection and throws it away, and with it the sessions that the
//! peer offers. Here each peer keeps its own. All else is as Pingora does it, the handshake too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use pingora::connectors::TransportConnector;
use pingora::protocols::Stream;
use pingora::protocols::l4;
use pingora::protocols::tls::client::handshake;
use pingora::tls::{TlsConnector, load_platform_certs_incl_env_into_store};
use pingora::upstreams::peer::{HttpPeer, Peer};
use pingora::{Error, ErrorType, OrErr, Result};
use rustls::client::Resumption;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::peer::nowhere;

/// Configurations that are kept, one for each address of a peer. With more, all begin anew.
const MOST: usize = 1024;

/// Sessions that are kept of a peer: those of as many connections as are often opened at once.
const SESSIONS: usize = 32;

/// The only protocol that is offered: HTTP/2 has connections that many share, and Pingora makes them.
const ALPN: &[u8] = b"http/1.1";

/// The configurations.
pub(super) struct Configs {
    /// The system's authorities.
    system: Arc<RootCertStore>,
    /// By what Pingora's pool tells connections apart by: address, name, authorities, certificate.
    by_peer: Mutex<HashMap<u64, Arc<ClientConfig>>>,
}

impl Configs {
    /// Reads the authorities of the system.
    pub(super) fn new() -> Self {
        let mut system = RootCertStore::empty();
        if let Err(error) = load_platform_certs_incl_env_into_store(&mut system) {
            log::warn!("the authorities of the system cannot be read: {error}");
        }
        Self { system: Arc::new(system), by_peer: Mutex::default() }
    }

    /// A new connection to a peer, if it is one of those that this is for.
    ///
    /// # Errors
    /// The connection or the handshake fails, or takes too long.
    pub(super) async fn connect<P: Peer + Send + Sync + 'static>(
        &self,
        connector: &TransportConnector,
        peer: &P,
    ) -> Option<Result<Stream>> {
        is_for(peer).then_some(())?;
        Some(self.connect_to(connector, peer).await)
    }

    async fn connect_to<P: Peer + Send + Sync + 'static>(
        &self,
        connector: &TransportConnector,
        peer: &P,
    ) -> Result<Stream> {
        let config = TlsConnector::from(self.config(peer)?);
        let stream = connector.new_stream(&without_tls(peer)).await?;
        let stream = stream.into_any().downcast::<l4::stream::Stream>().map_err(|_| {
            Error::explain(ErrorType::InternalError, "a connection without TLS is none of the transport")
        })?;
        let shaken = handshake(&config, peer.sni(), *stream);
        let Some(limit) = peer.connection_timeout() else { return Ok(Box::new(shaken.await?)) };
        match tokio::time::timeout(limit, shaken).await {
            Ok(stream) => Ok(Box::new(stream?)),
            // As Pingora says it; see `proxy::forward`.
            Err(_) => Error::e_explain(
                ErrorType::ConnectTimedout,
                format!("connecting to server {peer}, timeout {limit:?}"),
            ),
        }
    }

    /// The configuration of this peer, made at its first connection.
    fn config<P: Peer>(&self, peer: &P) -> Result<Arc<ClientConfig>> {
        let key = peer.reuse_hash();
        // Taken for new connections alone, and never while one is made.
        let known = self.by_peer.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(config) = known {
            return Ok(config);
        }
        let config = Arc::new(self.make(peer)?);
        let mut by_peer = self.by_peer.lock().unwrap_or_else(PoisonError::into_inner);
        if by_peer.len() >= MOST {
            by_peer.clear();
        }
        Ok(Arc::clone(by_peer.entry(key).or_insert(config)))
    }

    fn make<P: Peer>(&self, peer: &P) -> Result<ClientConfig> {
        let mut roots = Arc::clone(&self.system);
        if let Some(authorities) = peer.get_ca() {
            let mut own = RootCertStore::empty();
            for authority in authorities.iter() {
                own.add(CertificateDer::from(authority)).or_err(ErrorType::InvalidCert, "an authority")?;
            }
            roots = Arc::new(own);
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .or_err(ErrorType::InternalError, "versions of TLS")?
            .with_root_certificates(roots);
        let mut config = match peer.get_client_cert_key() {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let chain = std::iter::once(pair.leaf()).chain(pair.intermediates());
                let key = PrivateKeyDer::try_from(pair.key().clone())
                    .map_err(|what| Error::explain(ErrorType::InvalidCert, what))?;
                builder
                    .with_client_auth_cert(chain.map(CertificateDer::from).collect(), key)
                    .or_err(ErrorType::InvalidCert, "the client certificate")?
            }
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(config)
    }
}

/// Pingora keeps the sessions of the others itself, but for peers that are not verified: nothing of those is worth keeping.
/// Names with an underscore are left to it too, because it looks for them in certificates in a way of its own.
fn is_for<P: Peer>(peer: &P) -> bool {
    let own = peer.get_ca().is_some() || peer.get_client_cert_key().is_some();
    let verified = peer.verify_cert() && peer.verify_hostname() && !peer.sni().is_empty();
    peer.tls() && own && verified && !peer.sni().contains('_')
}

/// The same peer for the connection beneath.
fn without_tls<P: Peer>(peer: &P) -> HttpPeer {
    let mut plain = HttpPeer::new(nowhere(), false, String::new());
    plain._address = peer.address().clone();
    if let Some(options) = peer.get_peer_options() {
        plain.options = options.clone();
    }
    plain
}
