//! The `live` event: what the gateway does now.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Serialize;

use crate::admin::keys::Lately;
use crate::admin::upstreams::Address;
use crate::admin::{Api, Outcome};
use crate::clock::{self, UnixSeconds};
use crate::telemetry::cells::Reading;
use crate::upstream::Fleet;

/// What was read for the event before.
#[derive(Default)]
pub(super) struct Before {
    /// By the name of the upstream; the gateway's own has none.
    times: BTreeMap<Arc<str>, Reading>,
    /// Of each key that is listed, by name.
    keys: HashMap<String, Lately>,
}

#[derive(Serialize)]
pub(super) struct Live {
    at: UnixSeconds,
    started: UnixSeconds,
    generation: u64,
    effective_mode: String,
    draining: bool,
    last_reload: LastReload,
    /// All that are over.
    requests: u64,
    by_status: BTreeMap<&'static str, u64>,
    denials: BTreeMap<&'static str, u64>,
    connections: i64,
    in_flight: i64,
    own_time: Durations,
    upstreams: Vec<Upstream>,
    /// Those of the keys that are listed about which something is other than in the event before; all in the first.
    keys: Vec<Key>,
}

#[derive(Serialize)]
struct Key {
    name: String,
    #[serde(flatten)]
    lately: Lately,
}

#[derive(Serialize)]
struct LastReload {
    outcome: Outcome,
    at: UnixSeconds,
}

/// How long something took: since the start of the process, and how half and nearly all of the last second's did.
#[derive(Serialize)]
struct Durations {
    count: u64,
    sum_seconds: f64,
    p50_seconds: Option<f64>,
    p99_seconds: Option<f64>,
}

#[derive(Serialize)]
struct Upstream {
    name: String,
    first_byte: Durations,
    retries: u64,
    peers: Vec<Peer>,
}

#[derive(Serialize)]
struct Peer {
    address: String,
    weight: u32,
    drain: bool,
    addresses: Vec<Address>,
}

impl Live {
    pub(super) fn read(api: &Api, before: &mut Before) -> Self {
        let handles = &api.handles;
        let totals = handles.metrics.totals();
        let last = handles.reloads.last();
        let at = clock::now();
        let (mut generation, mut effective_mode, mut peers) = (0, String::new(), BTreeMap::new());
        let mut keys = HashMap::new();
        handles.in_force.show(&mut |policy, fleet, used| {
            (generation, effective_mode) = (policy.generation, policy.mode.to_string());
            peers = peers_of(fleet);
            keys = Lately::all(policy, used, at).collect();
        });
        let upstreams = totals.upstreams.into_iter().map(|upstream| Upstream {
            peers: peers.remove(&*upstream.name).unwrap_or_default(),
            first_byte: before.durations(&upstream.name, upstream.first_byte),
            retries: upstream.retries,
            name: upstream.name.to_string(),
        });
        Self {
            upstreams: upstreams.collect(),
            at,
            started: handles.process.started,
            generation,
            effective_mode,
            draining: handles.requests.is_draining(),
            last_reload: LastReload { outcome: last.outcome, at: last.at },
            requests: totals.by_status.values().sum(),
            by_status: totals.by_status,
            denials: totals.denials,
            connections: handles.connections.count(),
            in_flight: handles.requests.count(),
            own_time: before.durations(&"".into(), totals.own_time),
            keys: before.changed(keys),
        }
    }
}

fn peers_of(fleet: &Fleet) -> BTreeMap<String, Vec<Peer>> {
    let peers = |upstream: &crate::upstream::Upstream| {
        let peers = upstream.peers().map(|peer| Peer {
            address: peer.address().to_string(),
            weight: peer.weight(),
            drain: peer.is_drained(),
            addresses: Address::all(peer),
        });
        (upstream.name().to_owned(), peers.collect())
    };
    fleet.upstreams().map(peers).collect()
}

impl Before {
    fn durations(&mut self, name: &Arc<str>, now: Reading) -> Durations {
        let before = self.times.get(name);
        let durations = Durations {
            count: now.buckets.last().map_or(0, |(_, count)| *count),
            sum_seconds: now.sum,
            p50_seconds: before.and_then(|before| quantile(before, &now, 0.5)),
            p99_seconds: before.and_then(|before| quantile(before, &now, 0.99)),
        };
        self.times.insert(Arc::clone(name), now);
        durations
    }

    fn changed(&mut self, keys: HashMap<String, Lately>) -> Vec<Key> {
        let before = std::mem::replace(&mut self.keys, keys);
        let changed = self.keys.iter().filter(|(name, lately)| before.get(*name) != Some(*lately));
        changed.map(|(name, lately)| Key { name: name.clone(), lately: lately.clone() }).collect()
    }
}

/// As Prometheus' `histogram_quantile` estimates it: evenly spread within a bucket; beyond the last bound, that bound.
fn quantile(before: &Reading, now: &Reading, share: f64) -> Option<f64> {
    let buckets: Vec<(f64, f64)> = now
        .buckets
        .iter()
        .zip(&before.buckets)
        .map(|((bound, now), (_, before))| (*bound, now.saturating_sub(*before) as f64))
        .collect();
    let all = buckets.last()?.1;
    if all == 0.0 {
        return None;
    }
    let rank = share * all;
    let (mut lower, mut below) = (0.0, 0.0);
    for (bound, count) in buckets {
        if count >= rank {
            let part = if count > below { (rank - below) / (count - below) } else { 1.0 };
            return Some(if bound.is_finite() { lower + (bound - lower) * part } else { lower });
        }
        (lower, below) = (bound, count);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(counts: [u64; 3]) -> Reading {
        Reading { buckets: [1.0, 2.0, f64::INFINITY].into_iter().zip(counts).collect(), sum: 0.0 }
    }

    #[test]
    fn a_quantile_is_that_of_what_came_since() {
        let before = reading([100, 100, 100]);
        assert_eq!(quantile(&before, &before, 0.5), None, "nothing came");
        assert_eq!(quantile(&before, &reading([110, 110, 110]), 0.5), Some(0.5));
        assert_eq!(quantile(&before, &reading([100, 110, 110]), 0.5), Some(1.5));
        assert_eq!(quantile(&before, &reading([100, 100, 110]), 0.99), Some(2.0), "the last bound");
    }
}
