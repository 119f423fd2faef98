//! `GET /api/upstreams`: where requests go.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::Api;

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
    /// What that leads to now; empty while the name has never been resolved.
    resolved: Vec<SocketAddr>,
}

pub(super) async fn list(State(api): State<Arc<Api>>) -> Json<Upstreams> {
    let mut upstreams = Vec::new();
    api.handles.in_force.show(&mut |_, fleet| {
        upstreams = fleet
            .upstreams()
            .map(|upstream| Upstream {
                name: upstream.name().to_owned(),
                peers: upstream
                    .peers()
                    .map(|peer| Peer { address: peer.address().to_string(), resolved: peer.addresses() })
                    .collect(),
            })
            .collect();
    });
    Json(Upstreams { upstreams })
}
