//! Every metric of the gateway. The only file that names one.
//!
//! A request finds what it counts in through the policy that it holds: [`Meters`] has a place for each route and each
//! upstream, made when that policy is put in force. So counting needs no look-up, no lock and no allocation.
//!
//! Labels are names from the config and words of closed lists, never what a caller sent; and no more than
//! [`MOST_ROUTES`] routes have a label of their own.

mod totals;

pub use totals::{Totals, UpstreamTotals};

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::cells::{Bounds, Counters, Histogram};
use super::exposition::{Exposition, Family};
use crate::auth::{CREDENTIAL_HEADERS, Cause, CredentialHeader, Deny};
use crate::clock::UnixSeconds;
use crate::policy::{CertificateEnd, KeyId, KeyState, RouteId, Snapshot, UpstreamId};

pub use super::exposition::CONTENT_TYPE;

/// Routes with a label of their own. What comes after them in the config counts as [`OTHER`].
const MOST_ROUTES: usize = 1000;

/// Keys with a label of their own.
const MOST_KEYS: usize = 1000;

/// The label of all further routes of an upstream.
const OTHER: &str = "other";

/// The status classes, by the first digit; 0 is a request that ended without a response.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// More codes of the gateway's own errors than there are.
const MOST_CODES: usize = 64;

/// Microseconds: what the gateway itself takes is tens of them.
const OWN_BOUNDS: Bounds =
    [10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 1_000_000];

/// Microseconds: from a cache in the next rack to a model that thinks for minutes.
const UPSTREAM_BOUNDS: Bounds = [
    1000,
    5000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    15_000_000,
    60_000_000,
    300_000_000,
];

/// The numbers of the process.
#[derive(Debug)]
pub struct Metrics {
    connections: Counters<1>,
    refused_connections: Counters<{ RefusedConnection::NAMES.len() }>,
    log_lines: Counters<2>,
    denials: Counters<{ Cause::ALL.len() * HEADERS }>,
    own_errors: [OwnError; MOST_CODES],
    own_time: Histogram,
    /// Requests that took no route.
    unrouted: Counters<{ CLASSES.len() }>,
    /// Looked into at reloads and scrapes alone.
    series: Mutex<Series>,
}

/// The deciding headers, and none.
const HEADERS: usize = CREDENTIAL_HEADERS.len() + 1;

/// Places by name, which outlive a reload.
#[derive(Debug, Default)]
struct Series {
    routes: BTreeMap<(Arc<str>, Arc<str>), Arc<RouteMeter>>,
    keys: BTreeMap<Arc<str>, Arc<RouteMeter>>,
    upstreams: BTreeMap<Arc<str>, Arc<UpstreamMeter>>,
}

/// One code of the gateway's own errors; its place is taken by the first error that has it.
#[derive(Debug, Default)]
struct OwnError {
    code: OnceLock<Box<str>>,
    count: Counters<1>,
}

type RouteMeter = Counters<{ CLASSES.len() }>;

/// What is counted for an upstream.
#[derive(Debug)]
struct UpstreamMeter {
    retries: Counters<1>,
    ejections: Counters<1>,
    first_byte: Histogram,
    whole: Histogram,
}

/// The places of one policy's routes and upstreams.
#[derive(Debug)]
pub struct Meters {
    metrics: &'static Metrics,
    routes: Box<[Arc<RouteMeter>]>,
    /// By [`KeyId::position`], as far as keys have a label of their own.
    keys: Box<[Arc<RouteMeter>]>,
    /// The other keys; `None` where keys are not counted.
    other_keys: Option<Arc<RouteMeter>>,
    upstreams: Box<[Arc<UpstreamMeter>]>,
}

/// What one request adds when it is over.
#[derive(Clone, Copy, Debug)]
pub struct Finished<'a> {
    /// The route that it took.
    pub route: Option<RouteId>,
    /// Where that led.
    pub upstream: Option<UpstreamId>,
    /// The key that it was admitted with.
    pub key: Option<KeyId>,
    /// The status that the client was sent; 0 for none.
    pub status: u16,
    /// Why the gateway refused the caller's key.
    pub deny: Option<Deny>,
    /// The `x-keygate-error` of an answer of the gateway's own.
    pub code: Option<&'a str>,
    /// What the gateway took until the request went on to a peer, or was answered here.
    pub own_time: Duration,
    /// From then to the header section of the upstream's response, if one came.
    pub first_byte: Option<Duration>,
    /// From the request's header section to its end.
    pub whole: Duration,
}

/// What is read elsewhere at the moment of a scrape.
#[derive(Clone, Debug)]
pub struct Scrape {
    /// Number of the policy in force.
    pub generation: u64,
    /// Open connections of clients.
    pub connections: i64,
    /// Requests under way.
    pub requests: i64,
    /// Reloads that were accepted and rejected.
    pub reloads: (u64, u64),
    /// Whether the last reload was accepted; a start counts.
    pub last_reload_accepted: bool,
    /// When the last reload was, or the start.
    pub last_reload: UnixSeconds,
    /// When the process was started.
    pub started: UnixSeconds,
    /// Keys in each state, in the order of [`KeyState::ALL`].
    pub keys: [usize; KeyState::ALL.len()],
    /// The certificates that are shown, and when each ends.
    pub certificates: Vec<CertificateEnd>,
    /// Every peer of every upstream.
    pub peers: Vec<PeerReading>,
}

/// One peer at the moment of a scrape.
#[derive(Clone, Debug)]
pub struct PeerReading {
    /// Its upstream.
    pub upstream: String,
    /// Where it is, as configured.
    pub peer: String,
    /// Addresses that it has now; 0 while its name has never been resolved.
    pub addresses: usize,
    /// Those of them that are left out because they failed.
    pub ejected: usize,
    /// Those of them that fail their health check.
    pub down: usize,
}

impl Metrics {
    /// The numbers for the rest of the process's life.
    pub fn leak() -> &'static Self {
        Box::leak(Box::new(Self {
            connections: Counters::default(),
            refused_connections: Counters::default(),
            log_lines: Counters::default(),
            denials: Counters::default(),
            own_errors: std::array::from_fn(|_| OwnError::default()),
            own_time: Histogram::new(&OWN_BOUNDS),
            unrouted: Counters::default(),
            series: Mutex::default(),
        }))
    }

    /// Counts a connection of a client.
    pub fn connected(&self) {
        self.connections.add(0, 1);
    }

    /// Counts a connection that was closed as it came.
    pub fn refused_connection(&self, why: RefusedConnection) {
        self.refused_connections.add(why as usize, 1);
    }

    /// Counts lines of the access log that were written, or given up.
    pub fn log_lines(&self, fate: LineFate, lines: u64) {
        self.log_lines.add(fate as usize, lines);
    }

    /// The places for the routes and upstreams of `policy`. Names that were there before go on counting where they were;
    /// those that are gone are forgotten.
    pub fn meters(&'static self, policy: &Snapshot) -> Meters {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let upstream_name = |id: UpstreamId| {
            policy.upstreams.get(id.0).map_or_else(|| "".into(), |spec| Arc::clone(&spec.name))
        };
        let keys: Vec<(Arc<str>, Arc<str>)> = policy
            .routes
            .specs()
            .enumerate()
            .map(|(at, route)| {
                let label = if at < MOST_ROUTES { Arc::clone(&route.label) } else { OTHER.into() };
                (label, upstream_name(route.upstream))
            })
            .collect();
        let here: HashSet<_> = keys.iter().collect();
        series.routes.retain(|key, _| here.contains(key));
        series.upstreams.retain(|name, _| policy.upstreams.iter().any(|spec| spec.name == *name));
        let routes =
            keys.iter().map(|key| Arc::clone(series.routes.entry(key.clone()).or_default())).collect();
        let upstreams = policy
            .upstreams
            .iter()
            .map(|spec| Arc::clone(series.upstreams.entry(Arc::clone(&spec.name)).or_default()))
            .collect();
        let (keys, other_keys) = key_meters(&mut series.keys, policy);
        Meters { metrics: self, routes, keys, other_keys, upstreams }
    }

    fn count_own_error(&self, code: &str) {
        let place = self.own_errors.iter().find(|place| &**place.code.get_or_init(|| code.into()) == code);
        if let Some(place) = place {
            place.count.add(0, 1);
        }
    }
}

/// The places for the keys of `policy`, if it wants them counted, and the one for those that have none of their own.
fn key_meters(
    series: &mut BTreeMap<Arc<str>, Arc<RouteMeter>>,
    policy: &Snapshot,
) -> (Box<[Arc<RouteMeter>]>, Option<Arc<RouteMeter>>) {
    if !policy.key_metrics {
        series.clear();
        return (Box::default(), None);
    }
    let names: Vec<Arc<str>> =
        policy.keys.digests().take(MOST_KEYS).map(|(_, name)| Arc::from(name)).collect();
    let here: HashSet<&str> = names.iter().map(|name| &**name).chain([OTHER]).collect();
    series.retain(|name, _| here.contains(&**name));
    let keys = names.iter().map(|name| Arc::clone(series.entry(Arc::clone(name)).or_default())).collect();
    (keys, Some(Arc::clone(series.entry(OTHER.into()).or_default())))
}

/// Why a connection was closed as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedConnection {
    /// There are as many as there may be.
    Total = 0,
    /// Its client has as many as it may have.
    PerClient = 1,
    /// A trusted proxy did not say in time, or not readably, whose it is.
    ProxyProtocol = 2,
    /// Its client sent what is no request of HTTP.
    Unreadable = 3,
}

impl RefusedConnection {
    /// The values of the label, in the order of the variants.
    const NAMES: [&str; 4] = ["total", "per_client", "proxy_protocol", "unreadable"];
}

/// What became of a line of the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFate {
    /// It was handed to the system.
    Written = 0,
    /// The queue was full, or the system did not take it.
    Dropped = 1,
}

impl Default for UpstreamMeter {
    fn default() -> Self {
        Self {
            retries: Counters::default(),
            ejections: Counters::default(),
            first_byte: Histogram::new(&UPSTREAM_BOUNDS),
            whole: Histogram::new(&UPSTREAM_BOUNDS),
        }
    }
}

impl Meters {
    /// The places for the next policy.
    pub fn next(&self, policy: &Snapshot) -> Self {
        self.metrics.meters(policy)
    }

    /// Counts a further attempt for a request that was sent on before.
    pub fn retried(&self, upstream: UpstreamId) {
        if let Some(meter) = self.upstreams.get(upstream.0) {
            meter.retries.add(0, 1);
        }
    }

    /// Counts an address that is left out from now on.
    pub fn ejected(&self, upstream: UpstreamId) {
        if let Some(meter) = self.upstreams.get(upstream.0) {
            meter.ejections.add(0, 1);
        }
    }

    /// Counts a request that is over.
    pub fn finished(&self, request: &Finished<'_>) {
        let metrics = self.metrics;
        let route = request.route.and_then(|route| self.routes.get(route.index()));
        route.map_or(&metrics.unrouted, |meter| meter).add(usize::from(request.status / 100), 1);
        if let (Some(other), Some(key)) = (&self.other_keys, request.key) {
            self.keys.get(key.position()).unwrap_or(other).add(usize::from(request.status / 100), 1);
        }
        metrics.own_time.observe(request.own_time);
        if let Some(upstream) = request.upstream.and_then(|id| self.upstreams.get(id.0)) {
            if let Some(first_byte) = request.first_byte {
                upstream.first_byte.observe(first_byte);
            }
            upstream.whole.observe(request.whole);
        }
        if let Some(deny) = request.deny {
            metrics.denials.add(deny.cause.index() * HEADERS + header_index(deny.present.deciding()), 1);
        }
        if let Some(code) = request.code {
            metrics.count_own_error(code);
        }
    }
}

fn header_index(header: Option<CredentialHeader>) -> usize {
    CREDENTIAL_HEADERS.iter().position(|other| Some(*other) == header).unwrap_or(HEADERS - 1)
}

/// All metrics as text. What has not happened yet is there with 0 where its labels are known.
impl Metrics {
    /// The text of a scrape.
    pub fn render(&self, scrape: &Scrape) -> String {
        let mut text = Exposition::default();
        self.requests(&mut text);
        self.refusals(&mut text);
        self.upstreams(&mut text, scrape);
        self.connections(&mut text, scrape);
        policy(&mut text, scrape);
        process(&mut text, scrape);
        text.into_text()
    }

    fn requests(&self, text: &mut Exposition) {
        let mut family = text.counter(
            "keygate_requests_total",
            "Requests that are over, by route, upstream and class of the status (none: no response was sent).",
        );
        classes(&mut family, "", "", &self.unrouted);
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        for ((route, upstream), meter) in &series.routes {
            classes(&mut family, route, upstream, meter);
        }
        let mut family = text.counter(
            "keygate_key_requests_total",
            "Requests that are over, by name of their key and class of the status, where keys are counted.",
        );
        for (key, meter) in &series.keys {
            for (class, sum) in CLASSES.into_iter().zip(meter.sums()).filter(|(_, sum)| *sum > 0) {
                family.sample(&[("key", key), ("status", class)], sum);
            }
        }
        drop(series);
        text.histogram(
            "keygate_gateway_duration_seconds",
            "What the gateway itself took until a request went on to a peer or was answered here.",
        )
        .reading(&[], &self.own_time.read());
    }

    fn refusals(&self, text: &mut Exposition) {
        let mut family = text.counter(
            "keygate_denials_total",
            "Requests whose key was refused, by x-keygate-error and the header that decided.",
        );
        let sums = self.denials.sums();
        let mut by_code: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for (at, sum) in sums.iter().enumerate() {
            let Some(cause) = Cause::ALL.get(at / HEADERS) else { continue };
            let header = CREDENTIAL_HEADERS.get(at % HEADERS).map_or("none", |header| header.label());
            *by_code.entry((cause.code(), header)).or_default() += sum;
        }
        for ((code, header), sum) in by_code {
            family.sample(&[("code", code), ("header", header)], sum);
        }
        let mut family = text
            .counter("keygate_errors_total", "Errors that the gateway answered itself, by x-keygate-error.");
        for place in &self.own_errors {
            if let Some(code) = place.code.get() {
                let [sum] = place.count.sums();
                family.sample(&[("code", code)], sum);
            }
        }
    }

    fn upstreams(&self, text: &mut Exposition, scrape: &Scrape) {
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let mut family = text.histogram(
            "keygate_upstream_first_byte_seconds",
            "From the choice of a peer to the header section of its response, connecting included.",
        );
        for (name, meter) in &series.upstreams {
            family.reading(&[("upstream", name)], &meter.first_byte.read());
        }
        let mut family = text.histogram(
            "keygate_request_duration_seconds",
            "From the header section of a request to its end, streams included.",
        );
        for (name, meter) in &series.upstreams {
            family.reading(&[("upstream", name)], &meter.whole.read());
        }
        let mut family =
            text.counter("keygate_upstream_retries_total", "Attempts after the first for one request.");
        for (name, meter) in &series.upstreams {
            let [sum] = meter.retries.sums();
            family.sample(&[("upstream", name)], sum);
        }
        let mut family = text.counter(
            "keygate_upstream_ejections_total",
            "Addresses that failed too often in a row and were left out for a while.",
        );
        for (name, meter) in &series.upstreams {
            let [sum] = meter.ejections.sums();
            family.sample(&[("upstream", name)], sum);
        }
        let mut family = text.gauge(
            "keygate_peer_addresses",
            "Addresses that a peer has; 0 while its name could never be resolved.",
        );
        for PeerReading { upstream, peer, addresses, .. } in &scrape.peers {
            family.sample(&[("upstream", upstream), ("peer", peer)], addresses);
        }
        let mut family =
            text.gauge("keygate_peer_ejected", "Addresses of a peer that are left out because they failed.");
        for PeerReading { upstream, peer, ejected, .. } in &scrape.peers {
            family.sample(&[("upstream", upstream), ("peer", peer)], ejected);
        }
        let mut family = text.gauge("keygate_peer_down", "Addresses of a peer that fail their health check.");
        for PeerReading { upstream, peer, down, .. } in &scrape.peers {
            family.sample(&[("upstream", upstream), ("peer", peer)], down);
        }
    }

    fn connections(&self, text: &mut Exposition, scrape: &Scrape) {
        let [connections] = self.connections.sums();
        text.counter("keygate_connections_total", "Connections of clients that were accepted.")
            .sample(&[], connections);
        let mut family = text.counter(
            "keygate_connections_refused_total",
            "Connections that were closed as they came: over `connection_limits`, or without the PROXY protocol header that is asked for.",
        );
        for (reason, sum) in RefusedConnection::NAMES.into_iter().zip(self.refused_connections.sums()) {
            family.sample(&[("reason", reason)], sum);
        }
        text.gauge("keygate_connections_open", "Connections of clients that are open.")
            .sample(&[], scrape.connections);
        text.gauge("keygate_requests_in_flight", "Requests under way.").sample(&[], scrape.requests);
        let mut family = text.counter(
            "keygate_access_log_lines_total",
            "Lines of the access log: written, or dropped for want of room.",
        );
        let sums = self.log_lines.sums();
        for (fate, sum) in ["written", "dropped"].into_iter().zip(sums) {
            family.sample(&[("outcome", fate)], sum);
        }
    }
}

fn classes(family: &mut Family<'_>, route: &str, upstream: &str, meter: &RouteMeter) {
    for (class, sum) in CLASSES.into_iter().zip(meter.sums()) {
        // Six lines for each route would be mostly zeros.
        if sum > 0 || class == "2xx" {
            family.sample(&[("route", route), ("upstream", upstream), ("status", class)], sum);
        }
    }
}

fn policy(text: &mut Exposition, scrape: &Scrape) {
    text.gauge("keygate_config_generation", "Number of the policy in force.").sample(&[], scrape.generation);
    let mut family =
        text.gauge("keygate_keys", "Configured keys by state (expiring: valid, but for less than a week).");
    for (state, count) in KeyState::ALL.into_iter().zip(scrape.keys) {
        family.sample(&[("state", state.name())], count);
    }
    let mut family = text.gauge(
        "keygate_certificate_not_after_timestamp_seconds",
        "When a certificate ends that is shown to clients or peers, by its place in the config and its first name.",
    );
    for CertificateEnd { place, name, not_after } in &scrape.certificates {
        family.sample(&[("place", place), ("name", name)], not_after.0);
    }
    let mut family =
        text.counter("keygate_config_reloads_total", "Reloads of the config, by what came of them.");
    family.sample(&[("outcome", "accepted")], scrape.reloads.0);
    family.sample(&[("outcome", "rejected")], scrape.reloads.1);
    text.gauge(
        "keygate_config_last_reload_successful",
        "Whether the config as it stands in the file is in force (0: it was rejected).",
    )
    .sample(&[], u8::from(scrape.last_reload_accepted));
    text.gauge("keygate_config_last_reload_timestamp_seconds", "When the config was last read.")
        .sample(&[], scrape.last_reload.0);
}

fn process(text: &mut Exposition, scrape: &Scrape) {
    text.gauge("keygate_build_info", "The version that runs; always 1.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    text.gauge("process_start_time_seconds", "When the process was started.").sample(&[], scrape.started.0);
    #[cfg(target_os = "linux")]
    if let Ok(this) = procfs::process::Process::myself() {
        if let Ok(stat) = this.stat() {
            let cpu = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
            text.counter("process_cpu_seconds_total", "CPU time, user and system.").sample(&[], cpu);
            text.gauge("process_resident_memory_bytes", "Memory that is resident.")
                .sample(&[], stat.rss * procfs::page_size());
        }
        if let Ok(descriptors) = this.fd_count() {
            text.gauge("process_open_fds", "Open file descriptors.").sample(&[], descriptors);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_beyond_the_limit_are_not_counted_and_nothing_breaks() {
        let metrics = Metrics::leak();
        for code in 0..2 * MOST_CODES {
            metrics.count_own_error(&code.to_string());
            metrics.count_own_error("0");
        }
        assert_eq!(metrics.own_errors[0].count.sums(), [2 * MOST_CODES as u64 + 1]);
        assert_eq!(metrics.own_errors[MOST_CODES - 1].count.sums(), [1]);
    }
}
