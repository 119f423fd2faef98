//! `GET /api/status`: what is in force, and why.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::{Api, LastReload};
use crate::clock::{self, UnixSeconds};
use crate::policy::{AuthMode, EffectiveMode, Exposure, Snapshot};

#[derive(Serialize)]
pub(super) struct Status {
    version: &'static str,
    pid: u32,
    started: UnixSeconds,
    uptime_seconds: i64,
    /// A stop signal came; the gateway goes on until what is under way is done.
    draining: bool,
    /// `null` for the embedded default.
    config_file: Option<String>,
    generation: u64,
    auth_mode: Mode,
    listeners: Vec<Listener>,
    keys: usize,
    upstreams: usize,
    connections: i64,
    requests_in_flight: i64,
    last_reload: LastReload,
}

#[derive(Serialize)]
struct Mode {
    configured: String,
    effective: String,
    /// The effective mode in a sentence.
    why: &'static str,
}

#[derive(Serialize)]
struct Listener {
    address: String,
    serves: &'static str,
}

pub(super) async fn show(State(api): State<Arc<Api>>) -> Json<Option<Status>> {
    let mut status = None;
    api.handles.in_force.show(&mut |policy, _, _| status = Some(Status::of(&api, policy)));
    Json(status)
}

impl Status {
    fn of(api: &Api, policy: &Snapshot) -> Self {
        let handles = &api.handles;
        let process = &handles.process;
        let listener =
            |address: &std::net::SocketAddr, serves| Listener { address: address.to_string(), serves };
        let mut listeners: Vec<_> =
            process.listeners.iter().map(|address| listener(address, "gateway")).collect();
        listeners.push(listener(&process.admin.address, "admin"));
        Self {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            started: process.started,
            uptime_seconds: clock::now().0.saturating_sub(process.started.0).max(0),
            draining: handles.requests.is_draining(),
            config_file: process.config_file.as_ref().map(|file| file.display().to_string()),
            generation: policy.generation,
            auth_mode: Mode {
                configured: policy.configured_mode.to_string(),
                effective: policy.mode.to_string(),
                why: why(policy.configured_mode, policy.mode, process.exposure),
            },
            listeners,
            keys: policy.keys.len(),
            upstreams: policy.upstreams.len(),
            connections: handles.connections.count(),
            requests_in_flight: handles.requests.count(),
            last_reload: (*handles.reloads.last()).clone(),
        }
    }
}

pub(super) fn why(configured: AuthMode, effective: EffectiveMode, exposure: Exposure) -> &'static str {
    match (configured, effective, exposure) {
        (AuthMode::Auto, EffectiveMode::Off, _) => {
            "`auto` asks nobody for a key, because only this machine can connect."
        }
        (AuthMode::Auto, _, _) => {
            "`auto` asks everybody for a key, because other machines can connect; `GET /healthz` is free."
        }
        (_, EffectiveMode::Off, Exposure::Network) => {
            "Nobody needs a key, though other machines can connect."
        }
        (_, EffectiveMode::Off, Exposure::Loopback) => "Nobody needs a key; only this machine can connect.",
        (_, EffectiveMode::Strict, _) => "Every request needs a key, `/healthz` too.",
        (_, EffectiveMode::AllExceptHealth, _) => "Every request needs a key; `GET /healthz` is free.",
    }
}
