//! Assembles the gateway: config and policy to Pingora's server, its listeners, reload and stop.
//!
//! Everything that can fail at start fails here, before anything is served: the sockets are bound first and handed to
//! Pingora, whose own bind would fail inside a task and leave a process without a listener.
//!
//! The main thread supervises (signals, file changes, names to resolve); Pingora's threads serve.

mod admin_handles;
mod admission;
mod bind;
mod change;
mod client;
mod config_file;
mod denials;
mod endpoints;
mod expiry;
mod framing;
mod front;
mod h2c;
mod listener;
mod orders;
mod proxy_protocol;
mod reload;
mod signals;
mod source;
mod stop;
mod supervise;
mod tls;
mod upgrade;
mod watch;

pub use bind::BindError;
pub use source::{ConfigSource, LoadedPolicy, Rejected};

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use pingora::apps::HttpServerOptions;
use pingora::protocols::http::v2::server::default_h2_options;
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server};
use pingora::services::listening;
use pingora_proxy::ProxyServiceBuilder;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::admin::{self, Process, ReloadLog};
use crate::clock;
use crate::limit::{Clients, Ledger};
use crate::origin::Origin;
use crate::policy::{AdminListen, Compiled, PolicyHandle, Snapshot, Startup};
use crate::proxy::{Gateway, Live};
use crate::telemetry::access_log::{self, AccessLog};
use crate::telemetry::in_flight::InFlight;
use crate::telemetry::metrics::Metrics;
use crate::upstream::{Fleet, Http1Connector, MAX_ATTEMPTS, resolve};
use bind::BoundListener;
use front::{Front, Proxy};
use listener::{Connections, ListeningService};
use proxy_protocol::ProxyProtocol;
use reload::{InForce, Reloader};
use signals::Signals;
use stop::Stopper;
use supervise::Supervisor;
use upgrade::Upgrade;

/// What to serve.
#[derive(Debug)]
pub struct Options {
    /// Where the config comes from.
    pub config: ConfigSource,
    /// Addresses to listen on in place of those of the config.
    pub listen: Vec<SocketAddr>,
    /// An origin to serve beside the gateway, for the embedded default.
    pub origin: Option<OriginListener>,
}

/// A bound socket for the built-in origin, so that its port is known before the config that names it.
#[derive(Debug)]
pub struct OriginListener(BoundListener);

impl OriginListener {
    /// Binds the origin's address; port 0 lets the system choose one.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        bind::bind(address).map(Self)
    }

    /// The address that was bound.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }
}

/// Why the gateway does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The config cannot be used; one rendered problem each.
    #[error("{}", .0.join("\n"))]
    Config(Vec<String>),
    /// An address cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The operating system refused something else.
    #[error("cannot {what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What came of it.
        error: io::Error,
    },
    /// Pingora's server ended although nobody had asked it to; what it logged says why.
    #[error("the server ended by itself")]
    Ended,
}

/// Serves the gateway until it is told to stop. `ready` is called with the addresses once they are bound.
///
/// # Errors
/// Whatever kept it from starting; nothing has been served then.
pub fn run(options: Options, ready: impl FnOnce(&[SocketAddr])) -> Result<(), RunError> {
    let Options { config: source, listen, origin } = options;
    let LoadedPolicy { config, shown, compiled, files, warnings } =
        source.load(&listen, 1, None).map_err(|rejected| RunError::Config(rejected.problems))?;
    let Compiled { snapshot, startup, .. } = compiled;
    log_warnings(&warnings);
    let mut inherited = upgrade::inherited_sockets();
    let sockets = bind::bind_all(&startup.listen, inherited.gateway)?;
    let addresses: Vec<SocketAddr> = sockets.staying.iter().map(|listener| listener.address).collect();
    let admin = admin_handles::bind(&source, startup.admin.map(|admin| admin.address), &mut inherited.admin)?;
    let upgrade = Upgrade::prepare(&sockets, admin.as_ref(), snapshot.shutdown_delay);
    let runtime = supervising_runtime()?;
    let signals = install_signals(&runtime)?;
    let metrics = Metrics::leak();
    let live = first_live(snapshot, metrics, &runtime);
    let (requests, connections) = (InFlight::leak(), Connections::new(metrics));
    let mut server = new_server(startup.threads);
    let (access_log, log_control) = open_access_log(&source, &startup, metrics)?.unzip();
    let reloads = Arc::new(ReloadLog::new(clock::now(), warnings));
    let denials = denials::start(&live, &reloads)?;
    let gateway = Gateway::new(Arc::clone(&live), requests, denials).with_access_log(access_log);
    endpoints::add_gateway(&mut server, &gateway, sockets, &connections, &startup, &live)?;
    if let Some(origin) = origin {
        server.add_service(origin_service(origin).with_threads(1));
    }
    log_start(&live.load(), server.configuration.threads, &startup, &addresses);
    let stopper = Stopper::default();
    let ended = serve(server, stopper.clone())?;
    ready(&addresses);

    let (ask, orders) = mpsc::channel(admin_handles::MOST_WAITING);
    let mut admin_api = None;
    if let Some(BoundListener { address, socket }) = admin {
        let handles = admin::Handles {
            in_force: Box::new(admin_handles::Shown(Arc::clone(&live))),
            reloads: Arc::clone(&reloads),
            ask,
            process: process(&source, &startup, addresses, address),
            requests,
            connections: connections.open,
            denials,
            metrics,
        };
        admin_api = Some(serve_admin(socket, handles)?);
    }
    let resolve_now = Arc::new(Notify::new());
    let in_force = InForce { config, shown, files, startup };
    let on_the_runtime = runtime.enter();
    let reloader =
        Reloader::new(source, listen, in_force, Arc::clone(&live), Arc::clone(&resolve_now), reloads);
    drop(on_the_runtime);
    upgrade::relieve_predecessor();
    let supervisor = Supervisor {
        live,
        requests,
        connections,
        stopper,
        signals,
        orders,
        admin: admin_api,
        upgrade,
        access_log: log_control,
    };
    let outcome = runtime.block_on(supervisor.run(reloader, resolve_now, ended));
    denials.flush();
    // A look-up that hangs must not hold up the end.
    runtime.shutdown_background();
    outcome
}

/// What is in force first, with the peers' names looked up.
fn first_live(snapshot: Snapshot, metrics: &'static Metrics, runtime: &Runtime) -> Arc<PolicyHandle<Live>> {
    let fleet = Fleet::new(&snapshot, None);
    runtime.block_on(resolve::refresh(&fleet));
    let meters = metrics.meters(&snapshot);
    let limits = Ledger::new(&snapshot, None, clock::ticks());
    Arc::new(PolicyHandle::new(Arc::new(Live { policy: snapshot, fleet, limits, meters })))
}

/// What the admin API tells of the process itself.
fn process(
    source: &ConfigSource,
    startup: &Startup,
    listeners: Vec<SocketAddr>,
    address: SocketAddr,
) -> Process {
    let admin = AdminListen { address, tls: startup.admin.is_some_and(|admin| admin.tls) };
    let (config_file, started) = (source.file(), clock::now());
    Process { listeners, admin, exposure: startup.exposure, config_file, started }
}

fn open_access_log(
    source: &ConfigSource,
    startup: &Startup,
    metrics: &'static Metrics,
) -> Result<Option<(AccessLog, access_log::Control)>, RunError> {
    let Some(spec) = &startup.access_log else { return Ok(None) };
    let file = source.file().unwrap_or_default();
    access_log::open(spec, file.parent().unwrap_or(Path::new("")), metrics)
        .map(Some)
        .map_err(|error| RunError::System { what: "open the access log", error })
}

fn serve_admin(socket: TcpListener, handles: admin::Handles) -> Result<admin::Listening, RunError> {
    let url = handles.process.admin.url();
    let listening = admin::serve(socket, handles)
        .map_err(|error| RunError::System { what: "serve the admin API", error })?;
    log::info!("admin API on {url}");
    Ok(listening)
}

/// Serves the origin alone until it is told to stop. `ready` is called with its address once it is bound.
///
/// # Errors
/// Whatever kept it from starting.
pub fn run_origin(
    address: SocketAddr,
    threads: Option<usize>,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), RunError> {
    let listener = bind::bind(address)?;
    let address = listener.address;
    let runtime = supervising_runtime()?;
    let mut signals = install_signals(&runtime)?;
    let mut server = new_server(threads);
    server.add_service(origin_service(OriginListener(listener)));
    let ended = serve(server, Stopper::default())?;
    ready(address);
    runtime.block_on(async {
        tokio::select! {
            _ = signals.stop() => Ok(()),
            _ = ended => Err(RunError::Ended),
        }
    })
}

/// What small DATA frames of one connection may cost before they are read; each counts as what it lacks of 256 bytes. The
/// connection's window is 65,535 bytes, which is 13,107 of the smallest gRPC messages: a client that keeps to the window is
/// never cut off. With the default of `h2`, a burst of 130 ended the connection.
const SMALL_FRAMES_BUDGET: usize = 13_107 * 251;

/// The phases, run by Pingora, on these listeners.
///
/// # Errors
/// The authorities of the clients cannot be used.
fn gateway_service(
    server: &Server,
    gateway: &Gateway,
    sockets: Vec<BoundListener>,
    connections: &Arc<Connections>,
    startup: &Startup,
    live: &Arc<PolicyHandle<Live>>,
) -> Result<ListeningService<Proxy>, RunError> {
    let limits = startup.connection_limits;
    let proxy_protocol = startup.proxy_protocol.then(|| {
        let (live, connections) = (Arc::clone(live), Arc::clone(connections));
        Arc::new(ProxyProtocol { live, connections, limit: limits.header_timeout })
    });
    let mut options = HttpServerOptions::default();
    // CONNECT is refused like everything else, in the caller's dialect, instead of by Pingora.
    options.allow_connect_method_proxying = true;
    // Every connection goes to the front.
    options.force_custom = true;
    let tls = startup.tls.as_ref().map(|tls| tls::acceptor(tls, live)).transpose();
    let front = Front {
        connections: Arc::clone(connections),
        clients: Clients::default(),
        limits,
        proxy_protocol,
        tls: tls.map_err(|what| RunError::Config(vec![what]))?,
        h2c: startup.h2c,
        live: Arc::clone(live),
    };
    let conf = &server.configuration;
    let mut service = ProxyServiceBuilder::new(conf, gateway.clone())
        .name("keygate")
        .custom(Http1Connector::new(Some(conf)), front.into_session())
        .server_options(options)
        .build();
    if let Some(proxy) = service.app_logic_mut() {
        let mut http2_options = default_h2_options();
        http2_options.max_concurrent_streams(limits.http2_streams);
        http2_options.data_frame_budget(SMALL_FRAMES_BUDGET);
        proxy.h2_options = Some(http2_options);
    }
    Ok(ListeningService::new(service, sockets).with_connections(Arc::clone(connections), conf.threads))
}

/// The origin of the embedded default, beside the gateway.
fn origin_service(OriginListener(socket): OriginListener) -> ListeningService<Origin> {
    let service = listening::Service::new("origin".to_owned(), Origin::new());
    ListeningService::new(service, vec![socket])
}

fn supervising_runtime() -> Result<Runtime, RunError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| RunError::System { what: "start a runtime", error })
}

/// Before the first connection is accepted: a stop signal drains from the beginning.
fn install_signals(runtime: &Runtime) -> Result<Signals, RunError> {
    let _inside = runtime.enter();
    Signals::install().map_err(|error| RunError::System { what: "handle signals", error })
}

fn new_server(threads: Option<usize>) -> Server {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let conf = ServerConf {
        threads: threads.unwrap_or(cores),
        // Single-threaded runtimes side by side, as in nginx: no request moves between cores.
        work_stealing: false,
        // How often a request may try another peer; `upstream` decides whether it does.
        max_retries: MAX_ATTEMPTS,
        // Idle upstream connections kept a thread: as many as streams may end at once, or each burst connects anew.
        upstream_keepalive_pool_size: 1024,
        // We decide when it is over, and end the process then.
        grace_period_seconds: Some(stop::NEVER_SECONDS),
        ..ServerConf::default()
    };
    Server::new_with_opt_and_conf(None, conf)
}

/// Runs Pingora's server on a thread of its own. The receiver hears of its end.
fn serve(server: Server, stopper: Stopper) -> Result<oneshot::Receiver<()>, RunError> {
    let (alive, ended) = oneshot::channel();
    std::thread::Builder::new()
        .name("pingora".to_owned())
        .spawn(move || {
            let _alive = alive;
            server.run(RunArgs { shutdown_signal: Box::new(stopper) });
        })
        .map_err(|error| RunError::System { what: "start a thread", error })?;
    Ok(ended)
}

fn log_warnings(warnings: &[String]) {
    for warning in warnings {
        log::warn!("{warning}");
    }
}

fn log_start(live: &Live, threads: usize, startup: &Startup, addresses: &[SocketAddr]) {
    let policy = &live.policy;
    log::info!(
        "keygate {}: generation {}, auth_mode {}, effective mode {}, {} keys, {} upstreams, {threads} threads",
        env!("CARGO_PKG_VERSION"),
        policy.generation,
        policy.configured_mode,
        policy.mode,
        policy.keys.len(),
        policy.upstreams.len(),
    );
    let addresses: Vec<String> =
        addresses.iter().map(|address| format!("{}://{address}", startup.scheme())).collect();
    log::info!("listening on {}", addresses.join(", "));
}
