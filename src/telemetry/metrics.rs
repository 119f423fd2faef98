//! Every number that the gateway counts: where a request counts itself, and what outlives a reload. `page` shows them.
//!
//! A request finds what it counts in through the policy that it holds: [`Meters`] has a place for each route and each
//! upstream, made when that policy is put in force. So counting needs no look-up, no lock and no allocation.
//!
//! Labels are names from the config and words of closed lists, never what a caller sent; and no more than
//! [`MOST_ROUTES`] routes have a label of their own.

mod page;
mod totals;

pub use page::{PeerReading, Scrape};
pub use totals::{Totals, UpstreamTotals};

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::cells::{Bounds, Counters, Histogram};
use crate::auth::{CREDENTIAL_HEADERS, Cause, CredentialHeader, Deny};
use crate::policy::{KeyId, RouteId, Snapshot, UpstreamId};

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
