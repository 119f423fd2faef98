//! Upstreams at run time: peers, whose turn it is, and where their names lead.
//!
//! A [`Fleet`] belongs to one generation of the policy. Choosing a peer needs a [`Permit`](crate::auth::Permit): a request that was not
//! admitted cannot get one. Nothing here resolves a name while a request waits; [`resolve`] does that beside them.

mod balance;
mod budget;
pub mod check;
mod choose;
mod connect;
mod gather;
mod health;
mod peer;
mod pool;
pub mod resolve;
mod tls;

pub use connect::Http1Connector;
pub use health::Taken;
pub use peer::{AddressReading, Peer, address_of as peer_address, on_its_own};
pub use pool::forget as forget_idle;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderValue;

use crate::policy::{
    AdminListen, Balance, CheckRule, EjectionRule, PeerAddress, PeerSpec, RetryRule, Snapshot, UpstreamId,
    UpstreamSpec,
};
use budget::Budget;

/// How many peers one request tries at most.
pub const MAX_ATTEMPTS: usize = 64;

/// Every upstream of one generation.
#[derive(Debug)]
pub struct Fleet {
    upstreams: Vec<Upstream>,
    /// Where no peer may be.
    admin: Option<AdminListen>,
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
    balance: Balance,
    retries: RetryRule,
    budget: Budget,
    ejection: EjectionRule,
    check: Option<Arc<CheckRule>>,
    /// Held by who leaves an address out, so that two do not go beyond the share together.
    ejecting: Mutex<()>,
}

/// What becomes of an address that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Requests go on to it.
    Stays,
    /// It is left out for a while, from now on.
    Ejected,
}

/// The addresses that one request has tried in vain. Empty, and without an allocation, for nearly all requests.
#[derive(Debug, Default)]
pub struct Attempts(Vec<SocketAddr>);

impl Attempts {
    /// Remembers that `address` did not work for this request.
    pub fn failed(&mut self, address: SocketAddr) {
        self.0.push(address);
    }

    /// The same, where an address was known.
    pub fn failed_at(&mut self, address: Option<SocketAddr>) {
        if let Some(address) = address.filter(|address| !self.0.contains(address)) {
            self.0.push(address);
        }
    }

    /// Whether nothing has failed yet.
    pub fn is_first(&self) -> bool {
        self.0.is_empty()
    }

    fn tried(&self, address: Option<SocketAddr>) -> bool {
        !self.0.is_empty() && address.is_some_and(|address| self.0.contains(&address))
    }
}

impl Fleet {
    /// The fleet of a policy. What `before` knows of names and addresses is kept.
    pub fn new(policy: &Snapshot, before: Option<&Self>) -> Self {
        let known = Known::of(before);
        let upstreams = policy.upstreams.iter().map(|spec| Upstream::new(spec, &known)).collect();
        Self { upstreams, admin: policy.admin_listen }
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

/// What the generation before knew.
#[derive(Default)]
struct Known<'a> {
    of_upstream: HashMap<(&'a str, &'a PeerAddress), &'a Peer>,
    by_address: HashMap<&'a PeerAddress, &'a Peer>,
}

impl<'a> Known<'a> {
    fn of(before: Option<&'a Fleet>) -> Self {
        let mut known = Self::default();
        for upstream in before.iter().flat_map(|fleet| &fleet.upstreams) {
            for peer in &upstream.peers {
                known.of_upstream.insert((upstream.name(), peer.address()), peer);
                known.by_address.insert(peer.address(), peer);
            }
        }
        known
    }
}

impl Upstream {
    fn new(spec: &UpstreamSpec, known: &Known<'_>) -> Self {
        let peer = |peer: &PeerSpec| {
            let same = known.of_upstream.get(&(&*spec.name, &peer.address)).copied();
            Peer::new(spec, peer, same, known.by_address.get(&peer.address).copied())
        };
        let weights: Vec<u32> =
            spec.peers.iter().map(|peer| if peer.drain { 0 } else { peer.weight }).collect();
        let peers: Vec<Peer> = spec.peers.iter().map(peer).collect();
        if spec.check.is_none() {
            // Nobody would find it well again.
            peers.iter().for_each(Peer::forget_checks);
        }
        Self {
            name: Arc::clone(&spec.name),
            host: spec.host.clone(),
            peers,
            turns: balance::smooth_weighted_turns(&weights),
            next_turn: AtomicUsize::new(0),
            balance: spec.balance.clone(),
            retries: spec.retries.clone(),
            budget: Budget::new(spec.retries.budget_percent),
            ejection: spec.ejection,
            check: spec.check.clone(),
            ejecting: Mutex::new(()),
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

    /// Those that new requests may go to.
    fn in_use(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter().filter(|peer| !peer.is_drained())
    }

    /// The `Host` to send in place of the client's.
    pub fn host(&self) -> Option<&HeaderValue> {
        self.host.as_ref()
    }

    /// How requests are spread.
    pub fn balance(&self) -> &Balance {
        &self.balance
    }

    /// How its addresses are asked whether they are well.
    pub(super) fn check(&self) -> Option<&Arc<CheckRule>> {
        self.check.as_ref()
    }

    /// What is sent again.
    pub fn retries(&self) -> &RetryRule {
        &self.retries
    }

    /// A request came for it: so much more may be repeated.
    pub fn pay_into_budget(&self) {
        self.budget.pay_in();
    }

    /// Whether one more request may be repeated; if so, it counts as repeated.
    pub fn take_from_budget(&self) -> bool {
        self.budget.take()
    }

    /// The address failed. Too many failures in a row, and it is left out for a while, if not too many are already.
    pub fn failed(&self, taken: &Taken) -> Verdict {
        if !taken.health().count_failure(&self.ejection) {
            return Verdict::Stays;
        }
        let _one_at_a_time = self.ejecting.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut all, mut out) = (0_usize, 0_usize);
        for address in self.in_use().flat_map(|peer| peer.all().to_vec()) {
            all += 1;
            out += usize::from(address.health.is_ejected());
        }
        let most = all.saturating_mul(self.ejection.max_percent as usize) / 100;
        if taken.health().is_ejected() || out >= most {
            return Verdict::Stays;
        }
        let time = taken.health().eject(&self.ejection);
        log::warn!(
            "upstream `{}`: {} is left out for {time:?} after {} failures in a row",
            self.name,
            taken.address(),
            self.ejection.failures
        );
        Verdict::Ejected
    }

    /// Whether any address is left for a request that has tried `attempts`.
    pub fn has_untried(&self, attempts: &Attempts) -> bool {
        attempts.0.len() < MAX_ATTEMPTS && self.in_use().any(|peer| peer.has_untried(attempts))
    }

    /// Whether one would be left if `address` had failed too.
    pub fn has_untried_but(&self, attempts: &Attempts, address: Option<SocketAddr>) -> bool {
        let others = self.in_use().flat_map(Peer::addresses);
        attempts.0.len() < MAX_ATTEMPTS
            && others.map(Some).any(|other| other != address && !attempts.tried(other))
    }
}
