//! What is noted of a request as it passes, for the metrics and the access log.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use pingora::http::ResponseHeader;
use pingora::upstreams::peer::HttpPeer;
use pingora_proxy::Session;

use super::headers::X_KEYGATE_ERROR;
use super::{Ctx, Gateway, guard};
use crate::auth::{Deny, Grounds, Permit};
use crate::clock;
use crate::policy::KeyRecord;
use crate::telemetry::access_log::{AccessLog, Line, LoggedPath, Millis, Time};
use crate::telemetry::metrics::Finished;
use crate::upstream::{Upstream, peer_address};

/// When things happened to a request, and why it was refused.
#[derive(Debug)]
pub(super) struct Notes {
    /// Its header section had been read.
    begun: Instant,
    /// A first peer was chosen.
    forwarded: Option<Instant>,
    /// The header section of the upstream's response arrived.
    first_byte: Option<Instant>,
    /// Where the request was last sent.
    peer: Option<SocketAddr>,
    /// The caller's key was refused.
    pub(super) deny: Option<Deny>,
    /// It was counted.
    pub(super) finished: bool,
}

impl Notes {
    pub(super) fn new() -> Self {
        Self {
            begun: clock::instant(),
            forwarded: None,
            first_byte: None,
            peer: None,
            deny: None,
            finished: false,
        }
    }
}

impl Notes {
    /// How long ago its header section had been read.
    pub(super) fn age(&self) -> Duration {
        clock::instant().duration_since(self.begun)
    }
}

/// A peer is about to be chosen: for the first time, or once more.
pub(super) fn peer_wanted(ctx: &mut Ctx) {
    if ctx.notes.forwarded.is_none() {
        ctx.notes.forwarded = Some(clock::instant());
    } else if let Some(route) = ctx.route() {
        ctx.live.meters.retried(route.upstream);
    }
}

/// The header section of a response arrived from a peer.
pub(super) fn response_arrived(response: &ResponseHeader, ctx: &mut Ctx) {
    if !response.status.is_informational() {
        ctx.notes.first_byte = Some(clock::instant());
    }
}

/// The request goes on to this peer.
pub(super) fn peer_chosen(peer: &HttpPeer, ctx: &mut Ctx) {
    ctx.notes.peer = peer_address(peer);
}

/// The request is over.
pub(super) fn finish(gateway: &Gateway, session: &Session, ctx: &Ctx) {
    let (notes, ended) = (&ctx.notes, clock::instant());
    let response = session.response_written();
    let own = response.filter(|_| notes.first_byte.is_none());
    let finished = Finished {
        route: ctx.route,
        key: ctx.permit.as_ref().and_then(Permit::key),
        upstream: ctx.route().map(|route| route.upstream),
        status: response.map_or(0, |response| response.status.as_u16()),
        deny: notes.deny,
        code: own.and_then(|own| own.headers.get(&X_KEYGATE_ERROR)?.to_str().ok()),
        own_time: notes.forwarded.unwrap_or(ended).duration_since(notes.begun),
        first_byte: notes.forwarded.zip(notes.first_byte).map(|(from, to)| to.duration_since(from)),
        whole: ended.duration_since(notes.begun),
    };
    ctx.live.meters.finished(&finished);
    if let Some(access_log) = &gateway.access_log {
        write_line(access_log, session, ctx, &finished);
    }
}

/// The request was dropped where it stood, before [`finish`]: its body was silent, or the gateway stops.
pub(super) fn broken_off(ctx: &Ctx) {
    let (notes, ended) = (&ctx.notes, clock::instant());
    ctx.live.meters.finished(&Finished {
        route: ctx.route,
        key: ctx.permit.as_ref().and_then(Permit::key),
        upstream: ctx.route().map(|route| route.upstream),
        status: 0,
        deny: notes.deny,
        code: None,
        own_time: notes.forwarded.unwrap_or(ended).duration_since(notes.begun),
        first_byte: None,
        whole: ended.duration_since(notes.begun),
    });
    log::info!("a request was broken off: id={}", ctx.request_id.to_str().unwrap_or("-"));
}

fn write_line(access_log: &AccessLog, session: &Session, ctx: &Ctx, finished: &Finished<'_>) {
    let (notes, policy) = (&ctx.notes, &ctx.live.policy);
    let request = session.req_header();
    let key = match ctx.permit.as_ref().map(Permit::grounds) {
        Some(Grounds::Key(key)) => policy.keys.record(key),
        _ => None,
    };
    access_log.write(&Line {
        time: Time(clock::now_millis()),
        id: ctx.request_id.to_str().unwrap_or("-"),
        client: ctx.client.address,
        method: request.method.as_str(),
        path: LoggedPath(guard::path(request)),
        route: ctx.route().map(|route| &*route.label),
        upstream: ctx.upstream().map(Upstream::name),
        peer: notes.peer,
        status: (finished.status > 0).then_some(finished.status),
        error: finished.code,
        header: notes.deny.and_then(|deny| Some(deny.present.deciding()?.label())),
        key: key.as_ref().map(KeyRecord::name),
        bytes_in: session.body_bytes_read(),
        bytes_out: session.body_bytes_sent(),
        first_byte_ms: notes.first_byte.map(|at| Millis(at.duration_since(notes.begun))),
        duration_ms: Millis(finished.whole),
        generation: policy.generation,
    });
}
