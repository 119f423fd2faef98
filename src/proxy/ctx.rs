//! What one request carries through the phases.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderValue;

use super::Live;
use super::body::Meter;
use super::client::Client;
use super::fault::Fault;
use super::notes::{self, Notes};
use super::watch::Watch;
use crate::auth::{Cause, Permit};
use crate::limit::Counted;
use crate::policy::{RouteId, RouteSpec, UpstreamSpec};
use crate::telemetry::in_flight::UnderWay;
use crate::upstream::{Attempts, Taken, Upstream, Verdict};

/// The state of one request, from its header section to its end.
#[derive(Debug)]
pub struct Ctx {
    /// The policy and the peers that this request sees, whatever is reloaded meanwhile.
    pub(super) live: Arc<Live>,
    /// The value of `x-request-id`, known once `request_filter` began.
    pub(super) request_id: HeaderValue,
    /// Who sent it, known once `request_filter` began.
    pub(super) client: Client,
    /// There once the request was admitted.
    pub(super) permit: Option<Permit>,
    /// What it counts for in the limits of its key, from when it was admitted.
    pub(super) counted: Counted,
    /// The route that was taken.
    pub(super) route: Option<RouteId>,
    /// Whose credential went upstream.
    pub(super) shown: Shown,
    /// What has come of the body.
    pub(super) body: Meter,
    /// Addresses tried in vain.
    pub(super) attempts: Attempts,
    /// The address that the request is under way on.
    pub(super) taken: Option<Taken>,
    /// How often it was sent again after a peer may have seen it.
    pub(super) repeated: u32,
    /// The response that just came is not passed on: the request goes to another peer.
    pub(super) repeat: bool,
    /// When the connection to the peer was made.
    pub(super) connected_at: Option<SystemTime>,
    /// Breaks off what takes too long.
    pub(super) watch: Option<Watch>,
    /// What to tell the caller, where Pingora's error alone would not say it.
    pub(super) fault: Option<Fault>,
    /// Why its key counts no more, where the request was broken off for that.
    pub(super) revoked: Option<Cause>,
    /// When what happened to it.
    pub(super) notes: Notes,
    /// Counts this request as under way.
    _under_way: UnderWay,
}

impl Drop for Ctx {
    fn drop(&mut self) {
        if !self.notes.finished {
            notes::broken_off(self);
        }
    }
}

/// Whose credential an upstream is shown. It says whose an upstream's refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// What the caller sent, be it nothing.
    Callers,
    /// The `credential` of the upstream.
    Gateways,
    /// The caller's was taken out, and there is no other.
    Nobodys,
}

impl Ctx {
    pub(super) fn new(live: Arc<Live>, under_way: UnderWay) -> Self {
        Self {
            live,
            request_id: HeaderValue::from_static("-"),
            client: Client::default(),
            permit: None,
            counted: Counted::default(),
            route: None,
            shown: Shown::Callers,
            body: Meter::default(),
            attempts: Attempts::default(),
            taken: None,
            repeated: 0,
            repeat: false,
            connected_at: None,
            watch: None,
            fault: None,
            revoked: None,
            notes: Notes::new(),
            _under_way: under_way,
        }
    }

    /// The route that was taken.
    pub(super) fn route(&self) -> Option<&RouteSpec> {
        self.live.policy.routes.route(self.route?)
    }

    /// What the config says of the upstream that the route leads to.
    pub(super) fn upstream_spec(&self) -> Option<&UpstreamSpec> {
        self.live.policy.upstreams.get(self.route()?.upstream.0)
    }

    /// The upstream that the route leads to.
    pub(super) fn upstream(&self) -> Option<&Upstream> {
        self.live.fleet.upstream(self.route()?.upstream)
    }

    /// The address that was taken failed; it is left.
    pub(super) fn taken_failed(&mut self) {
        self.count_failure();
        self.taken = None;
    }

    /// The address that was taken failed.
    pub(super) fn count_failure(&self) {
        if let (Some(taken), Some(route)) = (&self.taken, self.route())
            && let Some(upstream) = self.live.fleet.upstream(route.upstream)
            && upstream.failed(taken) == Verdict::Ejected
        {
            self.live.meters.ejected(route.upstream);
        }
    }

    /// How many bytes its body may have.
    pub(super) fn most_body_bytes(&self) -> u64 {
        let own = self.route().and_then(|route| route.max_body_bytes);
        own.unwrap_or(self.live.policy.request_limits.body_bytes)
    }

    /// How long the whole request may take.
    pub(super) fn total_timeout(&self) -> Option<Duration> {
        self.route()?.timeouts.total.or(self.upstream_spec()?.total_timeout)
    }

    /// How long the response may take to begin.
    pub(super) fn first_byte_timeout(&self) -> Option<Duration> {
        self.route()?.timeouts.first_byte.or(self.upstream_spec()?.first_byte_timeout)
    }

    /// How long a peer may be silent.
    pub(super) fn idle_timeout(&self) -> Option<Duration> {
        Some(self.route()?.timeouts.read.unwrap_or(self.upstream_spec()?.read_timeout))
    }
}
