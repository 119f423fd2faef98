//! The admin API: what the operator sees and does, on a listener and a thread of its own.
//!
//! It can never be reached through the data listeners, and a flood of requests to it never touches a thread that
//! serves. It knows neither `proxy` nor `server`: what it reads and asks for comes in as [`Handles`].
//!
//! | route | does | in |
//! |---|---|---|
//! | `GET /`, `GET /page/…` | the page for people, without a token | `page` |
//! | `GET /metrics` | metrics in the Prometheus text format, on this machine without a token | `metrics` |
//! | `GET /api/status` | what is in force, and why | `status` |
//! | `GET /api/keys` | who may use the gateway | `keys` |
//! | `GET /api/upstreams` | where requests go | `upstreams` |
//! | `GET /api/denials` | the last denials, explained | `denials` |
//! | `GET /api/denials/ID` | one of them, by its request id | `denials` |
//! | `POST /api/reload` | reads the config again | `reload` |
//! | `POST /api/explain` | what is decided about a request that is pasted | `explain` |
//! | `GET /api/openapi.json` | the description of this API | `openapi` |
//! | `GET /api/events` | what happens, as it happens | `events` |
//! | `GET /api/config` | what is configured, without secrets | `config` |
//! | `PUT /api/config/…` | changes of a field | `changes` |
//! | `POST /api/config/api_key/…` | a new primary key, or the one in force | `changes` |
//! | `POST`, `PATCH`, `DELETE /api/keys…` | keys made, changed, removed | `changes` |
//! | `PATCH /api/upstreams/…` | a peer drained, or used again | `changes` |
//!
//! Every request comes past `guard` first.

mod attempts;
mod changes;
mod config;
mod denials;
mod events;
mod explain;
mod guard;
mod keys;
mod listener;
mod metrics;
mod openapi;
mod order;
mod page;
mod reload;
mod reply;
mod status;
mod tls;
mod upstreams;

pub use order::{ApiKeyShown, Change, ChangeOrder, Changed, ConfigShown, NotChanged, Order};
pub use reload::{LastReload, Outcome, ReloadLog};

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::{io, thread};

use axum::Router;
use axum::body::HttpBody;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::{get, patch, post, put};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::clock::UnixSeconds;
use crate::limit::Ledger;
use crate::policy::{AdminListen, AdminToken, Exposure, Snapshot};
use crate::telemetry::denial_log::Denials;
use crate::telemetry::in_flight::InFlight;
use crate::telemetry::metrics::Metrics;
use crate::upstream::Fleet;
use attempts::Attempts;
use reply::Refusal;

/// Bytes of a body: a pasted command line with all that a browser sends is a tenth of it.
const MOST_BYTES: usize = 64 * 1024;

/// What is in force now, whoever keeps it.
pub trait InForce: Send + Sync {
    /// Shows the policy, its peers and what its keys have used to `look`. They belong together while it looks.
    fn show(&self, look: &mut dyn FnMut(&Snapshot, &Fleet, &Ledger));
}

/// All that the admin API reads and asks for.
pub struct Handles {
    /// The policy in force.
    pub in_force: Box<dyn InForce>,
    /// What came of the reloads.
    pub reloads: Arc<ReloadLog>,
    /// Asks whoever follows the config.
    pub ask: mpsc::Sender<Order>,
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
    /// Where the admin API listens, and how it is spoken to.
    pub admin: AdminListen,
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
    /// Places for streams of events.
    streams: Arc<Semaphore>,
}

impl Api {
    /// The token that counts now.
    fn token(&self) -> Option<AdminToken> {
        let mut token = None;
        self.handles.in_force.show(&mut |policy, _, _| token = policy.admin_token);
        token
    }

    /// Whether a certificate of the admin listener is for this name.
    fn is_certified(&self, name: &str) -> bool {
        let mut certified = false;
        self.handles.in_force.show(&mut |policy, _, _| certified = policy.admin_certificates.is_for(name));
        certified
    }

    /// Asks whoever follows the config, and waits for the answer.
    ///
    /// # Errors
    /// Too much was asked before, or the gateway is about to stop.
    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.handles.ask.try_send(order(reply)).map_err(|_| Refusal::Busy)?;
        answer.await.map_err(|_| Refusal::Busy)
    }
}

/// Serves the admin API on a bound socket, on a thread of its own, for the rest of the process's life.
///
/// # Errors
/// The system refuses a thread or a runtime, or TLS cannot be set up.
pub fn serve(socket: TcpListener, handles: Handles) -> io::Result<Listening> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (open, closed) = oneshot::channel::<()>();
    let streams = Arc::new(Semaphore::new(events::MOST_STREAMS));
    let api = Arc::new(Api { handles, attempts: Attempts::default(), streams });
    let tls = api.handles.process.admin.tls.then(|| tls::acceptor(&api)).transpose()?;
    let routes = routes(api);
    thread::Builder::new().name("admin".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                () = listener::accept(socket, tls, routes) => {}
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
        .route("/", get(page::index))
        .route("/page/{file}", get(page::file))
        .route("/metrics", get(metrics::show))
        .route("/api/status", get(status::show))
        .route("/api/keys", get(keys::list).post(changes::add_key))
        .route("/api/upstreams", get(upstreams::list))
        .route("/api/upstreams/{upstream}/peers/{peer}", patch(changes::peer))
        .route("/api/denials", get(denials::list))
        .route("/api/denials/{request_id}", get(denials::show))
        .route("/api/reload", post(reload::ask))
        .route("/api/explain", post(explain::explain))
        .route("/api/openapi.json", get(openapi::show))
        .route("/api/events", get(events::stream))
        .route("/api/config", get(config::show))
        .route("/api/config/auth_mode", put(changes::auth_mode))
        .route("/api/config/allow_lan_access", put(changes::allow_lan_access))
        .route("/api/config/api_key", put(changes::api_key))
        .route("/api/config/api_key/regenerate", post(changes::regenerate))
        .route("/api/config/api_key/reveal", post(config::reveal))
        .route("/api/keys/{name}", patch(changes::key).delete(changes::remove_key))
        .fallback(async || Refusal::NotFound)
        .method_not_allowed_fallback(async || Refusal::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .layer(axum::middleware::from_fn(refuse_announced))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&api), guard::check))
        .with_state(api)
}

/// A body that is too large by its `Content-Length` is not waited for.
async fn refuse_announced(request: Request, next: Next) -> Result<Response, Refusal> {
    if request.body().size_hint().lower() > MOST_BYTES as u64 {
        return Err(Refusal::TooLarge);
    }
    Ok(next.run(request).await)
}
