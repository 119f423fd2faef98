//! One peer: its prebuilt Pingora `HttpPeer`s, one for each address it has.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use pingora::protocols::ALPN;
use pingora::protocols::l4::socket;
use pingora::upstreams::peer::{HttpPeer, PeerOptions};
use pingora::utils::tls::{CertKey, WrappedX509};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Attempts, Fleet};
use crate::policy::{PeerAddress, PeerSpec, Protocol, UpstreamSpec};

/// Streams that share a connection with HTTP/2; what most servers allow.
const STREAMS_PER_CONNECTION: usize = 100;

/// One peer of an upstream.
#[derive(Debug)]
pub struct Peer {
    address: PeerAddress,
    /// What every connection to it is made with; only the address differs.
    template: HttpPeer,
    /// One for each address; empty while its name has never been resolved.
    resolved: ArcSwap<Vec<HttpPeer>>,
}

impl Peer {
    pub(super) fn new(upstream: &UpstreamSpec, spec: &PeerSpec, before: Option<&Fleet>) -> Self {
        let peer = Self {
            address: spec.address.clone(),
            template: template(upstream, &spec.address),
            resolved: ArcSwap::default(),
        };
        match peer.address {
            PeerAddress::Fixed(address) => peer.set_addresses(&[address]),
            PeerAddress::Name { .. } => {
                let known =
                    before.and_then(|fleet| fleet.peers().find(|other| other.address == peer.address));
                if let Some(known) = known {
                    peer.set_addresses(&known.addresses());
                }
            }
        }
        peer
    }

    /// Where it is, as configured.
    pub fn address(&self) -> &PeerAddress {
        &self.address
    }

    /// The addresses that it has now.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.resolved.load().iter().filter_map(address_of).collect()
    }

    /// Puts new addresses in place of the old ones, for requests that choose a peer from now on.
    pub fn set_addresses(&self, addresses: &[SocketAddr]) {
        let peers = addresses
            .iter()
            .map(|&address| {
                let mut peer = self.template.clone();
                peer._address = socket::SocketAddr::Inet(address);
                peer
            })
            .collect();
        self.resolved.store(Arc::new(peers));
    }

    /// An address that the request has not tried; several of one name take turns.
    pub(super) fn address_for(&self, turn: usize, attempts: &Attempts) -> Option<Box<HttpPeer>> {
        let peers = self.resolved.load();
        (0..peers.len())
            .filter_map(|step| peers.get(turn.wrapping_add(step) % peers.len()))
            .find(|peer| !attempts.tried(address_of(peer)))
            .map(|peer| Box::new(peer.clone()))
    }

    pub(super) fn has_untried(&self, attempts: &Attempts) -> bool {
        self.resolved.load().iter().any(|peer| !attempts.tried(address_of(peer)))
    }
}

/// The address that a Pingora peer leads to.
pub fn address_of(peer: &HttpPeer) -> Option<SocketAddr> {
    peer._address.as_inet().copied()
}

/// Built without Pingora's own constructor, which would resolve a name on the spot and panic if it cannot.
fn template(upstream: &UpstreamSpec, address: &PeerAddress) -> HttpPeer {
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let sni =
        if upstream.tls { upstream.sni.clone().unwrap_or_else(|| address.host()) } else { String::new() };
    let mut peer = HttpPeer::new(nowhere, upstream.tls, sni);
    let mut options = PeerOptions::new();
    // Without TLS there is one step to wait for, with it two; the limit is on both together.
    options.connection_timeout = Some(upstream.connect_timeout);
    options.total_connection_timeout = Some(upstream.connect_timeout);
    options.read_timeout = Some(upstream.read_timeout);
    options.write_timeout = Some(upstream.write_timeout);
    options.idle_timeout = Some(upstream.idle_timeout);
    options.verify_cert = upstream.verify;
    options.verify_hostname = upstream.verify;
    options.ca = upstream.authorities.as_ref().map(|certificates| parsed(certificates));
    options.alpn = match upstream.protocol {
        Protocol::Http1 => ALPN::H1,
        Protocol::Http2 => ALPN::H2,
        Protocol::Auto => ALPN::H2H1,
    };
    options.max_h2_streams = STREAMS_PER_CONNECTION;
    peer.options = options;
    peer.client_cert_key = upstream
        .client_certificate
        .as_ref()
        .map(|certificate| Arc::new(CertKey::new(certificate.chain.clone(), certificate.key.to_vec())));
    // Pingora's pool tells peers apart by address and name, but not by authorities or protocol.
    peer.group_key = group_key(upstream);
    peer
}

/// Connections to one address are shared only where they were made, and verified, in the same way.
fn group_key(upstream: &UpstreamSpec) -> u64 {
    let mut hasher = DefaultHasher::new();
    (upstream.tls, upstream.verify, upstream.protocol as u8, &upstream.authorities).hash(&mut hasher);
    upstream.client_certificate.as_ref().map(|certificate| &certificate.chain).hash(&mut hasher);
    hasher.finish()
}

/// The policy has parsed each of them before.
#[expect(
    clippy::expect_used,
    reason = "the policy refuses what cannot be parsed, and no request waits for this"
)]
fn parsed(certificates: &[Vec<u8>]) -> Arc<[WrappedX509]> {
    let parsed = |der: &Vec<u8>| {
        WrappedX509::new(der.clone(), |der| {
            X509Certificate::from_der(der).expect("a certificate that was parsed before").1
        })
    };
    certificates.iter().map(parsed).collect()
}
