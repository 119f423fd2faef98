//! `GET /metrics`: what Prometheus reads.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::{Api, Outcome};
use crate::clock;
use crate::policy::Snapshot;
use crate::telemetry::metrics::{CONTENT_TYPE, PeerReading, Scrape};
use crate::upstream::Fleet;

pub(super) async fn show(State(api): State<Arc<Api>>) -> impl IntoResponse {
    let mut text = String::new();
    api.handles.in_force.show(&mut |policy, fleet, _| {
        text = api.handles.metrics.render(&scrape(&api, policy, fleet));
    });
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text)
}

fn scrape(api: &Api, policy: &Snapshot, fleet: &Fleet) -> Scrape {
    let handles = &api.handles;
    let last = handles.reloads.last();
    let peers = fleet.upstreams().flat_map(|upstream| {
        upstream.peers().map(|peer| {
            let readings = peer.readings();
            PeerReading {
                upstream: upstream.name().to_owned(),
                peer: peer.address().to_string(),
                addresses: readings.len(),
                ejected: readings.iter().filter(|reading| reading.ejected_for.is_some()).count(),
                down: readings.iter().filter(|reading| reading.down).count(),
            }
        })
    });
    Scrape {
        generation: policy.generation,
        connections: handles.connections.count(),
        requests: handles.requests.count(),
        reloads: handles.reloads.counts(),
        last_reload_accepted: last.outcome != Outcome::Rejected,
        last_reload: last.at,
        started: handles.process.started,
        keys: policy.keys.census(clock::now()),
        certificates: policy.certificate_ends().collect(),
        peers: peers.collect(),
    }
}
