//! Upstreams at run time: peers, whose turn it is, and where their names lead.
//!
//! A [`Fleet`] belongs to one generation of the policy. Choosing a peer needs a [`Permit`]: a request that was not
//! admitted cannot get one. Nothing here resolves a name while a request waits; [`resolve`] does that beside them.

mod balance;
mod peer;
pub mod resolve;

pub use peer::{Peer, address_of as peer_address};

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderValue;
use pingora::upstreams::peer::HttpPeer;

use crate::auth::Permit;
use crate::policy::{Snapshot, UpstreamId, UpstreamSpec};

/// How many peers one request tries at most.
pub const MAX_ATTEMPTS: usize = 64;

/// Every upstream of one generation.
#[derive(Debug)]
pub struct Fleet {
    upstreams: Vec<Upstream>,
}

/// One upstream: its peers and whose turn it is.
#[derive(Debug)]
pub struct Upstream {
    name: Arc<str>,
    host: Option<HeaderValue>,
    peers: Vec<Peer>,
    /// Indexes of `peers`, each as often as its weight says, evenly spread.
    turns: Vec<u16>,
    next_turn: AtomicUsize,
}

/// The addresses that one request has tried in vain. Empty, and without an allocation, for nearly all requests.
#[derive(Debug, Default)]
pub struct Attempts(Vec<SocketAddr>);

impl Attempts {
    /// Remembers that `address` did not work for this request.
    pub fn failed(&mut self, address: SocketAddr) {
        self.0.push(address);
    }

    fn tried(&self, address: Option<SocketAddr>) -> bool {
        !self.0.is_empty() && address.is_some_and(|address| self.0.contains(&address))
    }
}

impl Fleet {
    /// The fleet of a policy. Where `before` knows the addresses of a name already, they are kept.
    pub fn new(policy: &Snapshot, before: Option<&Self>) -> Self {
        let upstreams = policy.upstreams.iter().map(|spec| Upstream::new(spec, before)).collect();
        Self { upstreams }
    }

    /// An upstream by its id in the policy that this fleet was made from.
    pub fn upstream(&self, id: UpstreamId) -> Option<&Upstream> {
        self.upstreams.get(id.0)
    }

    /// Every upstream, in the order of their ids.
    pub fn upstreams(&self) -> impl Iterator<Item = &Upstream> {
        self.upstreams.iter()
    }

    /// Every peer of every upstream.
    pub fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.upstreams.iter().flat_map(|upstream| &upstream.peers)
    }
}

impl Upstream {
    fn new(spec: &UpstreamSpec, before: Option<&Fleet>) -> Self {
        let peers: Vec<Peer> = spec.peers.iter().map(|peer| Peer::new(spec, peer, before)).collect();
        let weights: Vec<u32> = spec.peers.iter().map(|peer| peer.weight).collect();
        Self {
            name: Arc::clone(&spec.name),
            host: spec.host.clone(),
            peers,
            turns: balance::smooth_weighted_turns(&weights),
            next_turn: AtomicUsize::new(0),
        }
    }

    /// Its name in the config.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its peers, in the order of the config.
    pub fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter()
    }

    /// The `Host` to send in place of the client's.
    pub fn host(&self) -> Option<&HeaderValue> {
        self.host.as_ref()
    }

    /// The peer whose turn it is, passing over those in `attempts`; `None` when every known address was tried, or
    /// none is known.
    pub fn choose(&self, _admitted: &Permit, attempts: &Attempts) -> Option<Box<HttpPeer>> {
        // With one peer there are no turns, and no counter that all threads share.
        let turn = if self.turns.len() > 1 { self.next_turn.fetch_add(1, Ordering::Relaxed) } else { 0 };
        (0..self.turns.len()).find_map(|step| {
            let at = turn.wrapping_add(step) % self.turns.len();
            let peer = self.peers.get(usize::from(*self.turns.get(at)?))?;
            peer.address_for(turn, attempts)
        })
    }

    /// Whether any address is left for a request that has tried `attempts`.
    pub fn has_untried(&self, attempts: &Attempts) -> bool {
        attempts.0.len() < MAX_ATTEMPTS && self.peers.iter().any(|peer| peer.has_untried(attempts))
    }
}
