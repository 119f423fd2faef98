//! `GET /api/upstreams`: where requests go, and how that does.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::Api;
use crate::upstream;

#[derive(Serialize)]
pub(super) struct Upstreams {
    upstreams: Vec<Upstream>,
}

#[derive(Serialize)]
struct Upstream {
    name: String,
    peers: Vec<Peer>,
}

#[derive(Serialize)]
struct Peer {
    /// As configured.
    address: String,
    weight: u32,
    /// New requests pass it over.
    drain: bool,
    /// What that leads to now; empty while the name has never been resolved.
    resolved: Vec<SocketAddr>,
    /// The same, and how each does.
    addresses: Vec<Address>,
}

/// One address of a peer.
#[derive(Serialize)]
pub(super) struct Address {
    address: SocketAddr,
    /// Requests go there.
    healthy: bool,
    /// Its health check fails.
    down: bool,
    /// It failed too often, and is left out for so much longer.
    ejected_seconds: Option<u64>,
    in_flight: usize,
}

impl Address {
    pub(super) fn all(peer: &upstream::Peer) -> Vec<Self> {
        let of = |reading: upstream::AddressReading| Self {
            address: reading.address,
            healthy: !reading.down && reading.ejected_for.is_none(),
            down: reading.down,
            ejected_seconds: reading.ejected_for.map(|time| time.as_secs().max(1)),
            in_flight: reading.in_flight,
        };
        peer.readings().into_iter().map(of).collect()
    }
}

pub(super) async fn list(State(api): State<Arc<Api>>) -> Json<Upstreams> {
    let mut upstreams = Vec::new();
    let peer = |peer: &upstream::Peer| Peer {
        address: peer.address().to_string(),
        weight: peer.weight(),
        drain: peer.is_drained(),
        resolved: peer.addresses(),
        addresses: Address::all(peer),
    };
    api.handles.in_force.show(&mut |_, fleet, _| {
        upstreams = fleet
            .upstreams()
            .map(|upstream| Upstream {
                name: upstream.name().to_owned(),
                peers: upstream.peers().map(peer).collect(),
            })
            .collect();
    });
    Json(Upstreams { upstreams })
}
