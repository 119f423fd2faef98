//! One peer: its prebuilt Pingora `HttpPeer`s, one for each address it has.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora::protocols::ALPN;
use pingora::protocols::l4::socket;
use pingora::upstreams::peer::{HttpPeer, PeerOptions};
use pingora::utils::tls::{CertKey, WrappedX509};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::health::Health;
use super::{Attempts, connect};
use crate::policy::{PeerAddress, PeerSpec, Protocol, UpstreamSpec};

/// Streams that share a connection with HTTP/2; what most servers allow.
const STREAMS_PER_CONNECTION: usize = 100;

/// How much of a response a peer may send ahead of its reader, in bytes. The connection takes that of each stream: with one
/// window of 8 MiB for both, as Pingora has it, a few clients that do not read held up all others on the connection.
/// 256 KiB are 10 MB a second over a way of 25 ms.
const STREAM_WINDOW: u32 = 256 * 1024;

/// One peer of an upstream.
#[derive(Debug)]
pub struct Peer {
    address: PeerAddress,
    weight: u32,
    drain: bool,
    /// What every connection to it is made with; only the address differs.
    template: HttpPeer,
    /// Empty while its name has never been resolved.
    resolved: ArcSwap<Vec<Arc<Address>>>,
}

/// One address of a peer, and how it does.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) http: HttpPeer,
    pub(super) health: Arc<Health>,
}

/// How one address does.
#[derive(Clone, Copy, Debug)]
pub struct AddressReading {
    /// Which one.
    pub address: SocketAddr,
    /// Its health check fails.
    pub down: bool,
    /// It failed too often, and is left out for so much longer.
    pub ejected_for: Option<Duration>,
    /// Requests under way on it.
    pub in_flight: usize,
}

impl Address {
    pub(super) fn at(&self) -> Option<SocketAddr> {
        address_of(&self.http)
    }
}

impl Peer {
    /// `same` is this peer of this upstream in the generation before, `named` one with this name there.
    pub(super) fn new(
        upstream: &UpstreamSpec,
        spec: &PeerSpec,
        same: Option<&Self>,
        named: Option<&Self>,
    ) -> Self {
        let peer = Self {
            address: spec.address.clone(),
            weight: spec.weight,
            drain: spec.drain,
            template: template(upstream, &spec.address),
            resolved: ArcSwap::default(),
        };
        let known = same.map(|peer| peer.resolved.load_full()).unwrap_or_default();
        match (&peer.address, same.or(named)) {
            (PeerAddress::Fixed(address), _) => peer.put(&[*address], &known),
            (PeerAddress::Name { .. }, Some(before)) => peer.put(&before.addresses(), &known),
            (PeerAddress::Name { .. }, None) => {}
        }
        peer
    }

    /// Where it is, as configured.
    pub fn address(&self) -> &PeerAddress {
        &self.address
    }

    /// Whether new requests pass it over.
    pub fn is_drained(&self) -> bool {
        self.drain
    }

    /// Its share, relative to the other peers'.
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// The addresses that it has now.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.resolved.load().iter().filter_map(|address| address.at()).collect()
    }

    /// The addresses that requests go to now: neither ejected nor failing their health check.
    pub fn healthy_addresses(&self) -> usize {
        self.resolved.load().iter().filter(|address| address.health.is_in()).count()
    }

    /// How each of its addresses does.
    pub fn readings(&self) -> Vec<AddressReading> {
        let reading = |address: &Arc<Address>| {
            let health = &address.health;
            Some(AddressReading {
                address: address.at()?,
                down: health.down.load(Ordering::Relaxed),
                ejected_for: health.ejected_for(),
                in_flight: health.under_way(),
            })
        };
        self.resolved.load().iter().filter_map(reading).collect()
    }

    /// Puts new addresses in place of the old ones, for requests that choose a peer from now on.
    pub fn set_addresses(&self, addresses: &[SocketAddr]) {
        self.put(addresses, &self.resolved.load());
    }

    /// What is known of an address stays known.
    fn put(&self, addresses: &[SocketAddr], known: &[Arc<Address>]) {
        let new = addresses.iter().map(|&address| {
            let mut http = self.template.clone();
            http._address = socket::SocketAddr::Inet(address);
            let before = known.iter().find(|known| known.at() == Some(address));
            Arc::new(Address {
                http,
                health: before.map(|known| Arc::clone(&known.health)).unwrap_or_default(),
            })
        });
        self.resolved.store(Arc::new(new.collect()));
    }

    /// What health checks have found counts no more.
    pub(super) fn forget_checks(&self) {
        for address in self.resolved.load().iter() {
            address.health.down.store(false, Ordering::Relaxed);
        }
    }

    pub(super) fn all(&self) -> Arc<Vec<Arc<Address>>> {
        self.resolved.load_full()
    }

    pub(super) fn has_one_address(&self) -> bool {
        self.resolved.load().len() < 2
    }

    /// An address that is accepted; several of one name take turns.
    pub(super) fn address_in_turn(
        &self,
        turn: usize,
        accept: &dyn Fn(&Address) -> bool,
    ) -> Option<Arc<Address>> {
        let addresses = self.resolved.load();
        (0..addresses.len())
            .filter_map(|step| addresses.get(turn.wrapping_add(step) % addresses.len()))
            .find(|address| accept(address))
            .cloned()
    }

    pub(super) fn accepted(&self, accept: &dyn Fn(&Address) -> bool) -> Vec<Arc<Address>> {
        self.resolved.load().iter().filter(|address| accept(address)).cloned().collect()
    }

    pub(super) fn has_untried(&self, attempts: &Attempts) -> bool {
        self.resolved.load().iter().any(|address| !attempts.tried(address.at()))
    }
}

/// With a connection of its own where it speaks HTTP/2: one that may be closed under whatever goes over it. Such connections
/// are used again by their like alone.
pub fn on_its_own(peer: &mut HttpPeer) {
    if peer.options.max_h2_streams > 1 {
        peer.options.max_h2_streams = 1;
        peer.options.h2_connection_window_size = Some(STREAM_WINDOW);
        peer.group_key = peer.group_key.wrapping_add(1);
    }
}

/// The address that a Pingora peer leads to.
pub fn address_of(peer: &HttpPeer) -> Option<SocketAddr> {
    peer._address.as_inet().copied()
}

/// An address that is replaced.
pub(super) fn nowhere() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 0))
}

/// Built without Pingora's own constructor, which would resolve a name on the spot and panic if it cannot.
fn template(upstream: &UpstreamSpec, address: &PeerAddress) -> HttpPeer {
    let sni =
        if upstream.tls { upstream.sni.clone().unwrap_or_else(|| address.host()) } else { String::new() };
    let mut peer = HttpPeer::new(nowhere(), upstream.tls, sni);
    let mut options = PeerOptions::new();
    // Pingora takes it for the connection and once more for the TLS handshake.
    options.connection_timeout = Some(upstream.connect_timeout);
    options.read_timeout = Some(upstream.read_timeout);
    options.write_timeout = Some(upstream.write_timeout);
    options.idle_timeout = Some(upstream.idle_timeout);
    options.verify_cert = upstream.verify;
    options.verify_hostname = upstream.verify;
    options.ca = upstream.authorities.as_ref().map(|certificates| parsed(certificates));
    options.alpn = match upstream.protocol {
        Protocol::Http1 => connect::http1(),
        Protocol::Http2 => ALPN::H2,
        Protocol::Auto => ALPN::H2H1,
    };
    options.max_h2_streams = STREAMS_PER_CONNECTION;
    options.h2_stream_window_size = Some(STREAM_WINDOW);
    options.h2_connection_window_size = Some(STREAM_WINDOW * STREAMS_PER_CONNECTION as u32);
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
