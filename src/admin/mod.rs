//! The admin API: what the operator sees and does, on a listener and a thread of its own.
//!
//! It can never be reached through the data listeners, and a flood of requests to it never touches a thread that
//! serves. It knows neither `proxy` nor `server`: what it reads and asks for comes in as [`Handles`].
//!
//! | route | does | in |
//! |---|---|---|
//! | `GET /metrics` | metrics in the Prometheus text format, without a token | `metrics` |
//! | `GET /api/status` | what is in force, and why | `status` |
//! | `GET /api/keys` | who may use the gateway | `keys` |
//! | `GET /api/upstreams` | where requests go | `upstreams` |
//! | `GET /api/denials` | the last denials, explained | `denials` |
//! | `GET /api/denials/ID` | one of them, by its request id | `denials` |
//! | `POST /api/reload` | reads the config again | `reload` |
//!
//! Every request comes past `guard` first.

mod attempts;
mod denials;
mod guard;
mod keys;
mod listener;
mod metrics;
mod reload;
mod reply;
mod status;
mod upstreams;

pub use reload::{LastReload, Outcome, ReloadLog, ReloadRequest};

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::{io, thread};

use axum::Router;
use axum::routing::{get, post};
use tokio::sync::{mpsc, oneshot};

use crate::clock::UnixSeconds;
use crate::policy::{Exposure, Snapshot};
use crate::telemetry::denial_log::Denials;
use crate::telemetry::in_flight::InFlight;
use crate::telemetry::metrics::Metrics;
use crate::upstream::Fleet;
use attempts::Attempts;
use reply::Refusal;

/// What is in force now, whoever keeps it.
pub trait InForce: Send + Sync {
    /// Shows the policy and its peers to `look`. They do not change while it looks.
    fn show(&self, look: &mut dyn FnMut(&Snapshot, &Fleet));
}

/// All that the admin API reads and asks for.
pub struct Handles {
    /// The policy in force.
    pub in_force: Box<dyn InForce>,
    /// What came of the reloads.
    pub reloads: Arc<ReloadLog>,
    /// Asks for a reload.
    pub ask_reload: mpsc::Sender<ReloadRequest>,
    /// What does not change while the process runs.
    pub process: Process,
    /// Requests under way.
    pub requests: &'static InFlight,
    /// Connections of clients that are open.
    pub connections: &'static InFlight,
    /// The last denials.
    pub denials: &'static Denials,
    /// The numbers of the process.
    pub metrics: &'static Metrics,
}

/// What does not change while the process runs.
#[derive(Debug)]
pub struct Process {
    /// Where the gateway listens.
    pub listeners: Vec<SocketAddr>,
    /// Where the admin API listens.
    pub admin: SocketAddr,
    /// Who can connect to the gateway, which `auto` follows.
    pub exposure: Exposure,
    /// The config file; `None` for the embedded default.
    pub config_file: Option<PathBuf>,
    /// When it was started.
    pub started: UnixSeconds,
}

/// What every route and the guard share.
struct Api {
    handles: Handles,
    attempts: Attempts,
}

/// Serves the admin API on a bound socket, on a thread of its own, for the rest of the process's life.
///
/// # Errors
/// The system refuses a thread or a runtime.
pub fn serve(socket: TcpListener, handles: Handles) -> io::Result<Listening> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (open, closed) = oneshot::channel::<()>();
    let routes = routes(Arc::new(Api { handles, attempts: Attempts::default() }));
    thread::Builder::new().name("admin".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                () = listener::accept(socket, routes) => {}
                _ = closed => {}
            }
        });
    })?;
    Ok(Listening { _open: open })
}

/// The admin API answers as long as this is kept.
#[derive(Debug)]
pub struct Listening {
    _open: oneshot::Sender<()>,
}

fn routes(api: Arc<Api>) -> Router {
    Router::new()
        .route("/metrics", get(metrics::show))
        .route("/api/status", get(status::show))
        .route("/api/keys", get(keys::list))
        .route("/api/upstreams", get(upstreams::list))
        .route("/api/denials", get(denials::list))
        .route("/api/denials/{request_id}", get(denials::show))
        .route("/api/reload", post(reload::ask))
        .fallback(async || Refusal::NotFound)
        .method_not_allowed_fallback(async || Refusal::MethodNotAllowed)
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&api), guard::check))
        .with_state(api)
}
