//! Choosing an address for a request.
//!
//! First among those that are in; where none of them is left, among all that were not tried: an address that is left out
//! is better than none.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pingora::upstreams::peer::HttpPeer;

use super::peer::Address;
use super::{Attempts, Peer, Taken, Upstream};
use crate::auth::Permit;
use crate::policy::Balance;

/// Which addresses come into question.
type Accept<'a> = &'a dyn Fn(&Address) -> bool;

/// An address that could be taken, and the weight of its peer.
type Candidate = (Arc<Address>, u32);

impl Upstream {
    /// An address for the request, passing over those in `attempts`; `None` when every known one was tried, or none is
    /// known. With [`Balance::Hash`] equal `hash` lead to the same one.
    pub fn choose(
        &self,
        _admitted: &Permit,
        attempts: &Attempts,
        hash: Option<u64>,
    ) -> Option<(Box<HttpPeer>, Taken)> {
        let turn = self.turn();
        let untried: Accept<'_> = &|address| !attempts.tried(address.at());
        let healthy: Accept<'_> = &|address| address.health.is_in() && untried(address);
        let found = self.pick(turn, hash, healthy).or_else(|| self.pick(turn, hash, untried))?;
        let taken = Taken::new(found.at()?, &found.health);
        Some((Box::new(found.http.clone()), taken))
    }

    /// With one address there are no turns, and no counter that all threads share.
    fn turn(&self) -> usize {
        let single = self.turns.len() < 2 && self.peers.iter().all(Peer::has_one_address);
        if single { 0 } else { self.next_turn.fetch_add(1, Ordering::Relaxed) }
    }

    fn pick(&self, turn: usize, hash: Option<u64>, accept: Accept<'_>) -> Option<Arc<Address>> {
        match (&self.balance, hash) {
            (Balance::RoundRobin, _) => self.in_turn(turn, accept).map(|(address, _)| address),
            (Balance::LeastConnections, _) => self.least(turn, accept),
            (Balance::PowerOfTwo, _) => {
                let one = self.in_turn(random(), accept)?;
                let other = self.in_turn(random(), accept)?;
                Some(less_busy(one, other).0)
            }
            (Balance::Hash(_), Some(hash)) => self.by_hash(hash, accept),
            (Balance::Hash(_), None) => self.in_turn(random(), accept).map(|(address, _)| address),
        }
    }

    /// The address whose turn it is, or the next one that is accepted.
    fn in_turn(&self, turn: usize, accept: Accept<'_>) -> Option<Candidate> {
        let round = turn.checked_div(self.turns.len())?;
        (0..self.turns.len()).find_map(|step| {
            let at = turn.wrapping_add(step) % self.turns.len();
            let peer = self.peers.get(usize::from(*self.turns.get(at)?))?;
            Some((peer.address_in_turn(round, accept)?, peer.weight()))
        })
    }

    /// Of equals the one whose turn it is, so that the first does not get all of a quiet time.
    fn least(&self, turn: usize, accept: Accept<'_>) -> Option<Arc<Address>> {
        let first = self.in_turn(turn, accept)?;
        let least = self.candidates(accept).into_iter().fold(first, less_busy);
        Some(least.0)
    }

    /// Weighted rendezvous hashing (Schindelhauer and Schomaker, 2005): each address has a score for each hash, the
    /// highest wins, so that one which comes or goes moves its own share alone.
    fn by_hash(&self, hash: u64, accept: Accept<'_>) -> Option<Arc<Address>> {
        let scored = self.candidates(accept).into_iter().map(|(address, weight)| {
            let mut hasher = DefaultHasher::new();
            (hash, address.at()).hash(&mut hasher);
            // The upper 53 bits: as many as an f64 holds; evenly between 0 and 1.
            #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
            let even = ((hasher.finish() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
            (-f64::from(weight) / even.ln(), address)
        });
        scored.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, address)| address)
    }

    fn candidates(&self, accept: Accept<'_>) -> Vec<Candidate> {
        let of = |peer: &Peer| {
            let weight = peer.weight();
            peer.accepted(accept).into_iter().map(move |address| (address, weight))
        };
        self.in_use().flat_map(of).collect()
    }
}

/// The first unless the second has less under way for its weight.
fn less_busy(one: Candidate, other: Candidate) -> Candidate {
    let load = |of: &Candidate, weight: u32| of.0.health.under_way().saturating_mul(weight as usize);
    if load(&other, one.1) < load(&one, other.1) { other } else { one }
}

/// Evenly spread numbers (splitmix64), not secret ones.
pub(super) fn random() -> usize {
    static STATE: AtomicU64 = AtomicU64::new(0x9E37_79B9_7F4A_7C15);
    let mut number = STATE.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
    number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    usize::try_from((number ^ (number >> 31)) >> 1).unwrap_or_default()
}
