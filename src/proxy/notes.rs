//! What is noted of a request as it passes, for the metrics and the access log.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::Method;
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
    /// There if it may be dropped where it stands.
    droppable: Option<Box<Droppable>>,
}

/// What is told of a request that is dropped where it stands, when there is no session to ask any more.
#[derive(Debug)]
struct Droppable {
    access_log: Option<AccessLog>,
    method: Method,
    path: Box<[u8]>,
    /// Of the response, once there is one; else 0.
    status: u16,
    bytes_out: usize,
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
            droppable: None,
        }
    }
}

impl Notes {
    /// How long ago its header section had been read.
    pub(super) fn age(&self) -> Duration {
        clock::instant().duration_since(self.begun)
    }
}

/// The request may be dropped where it stands: over HTTP/2, for silence in its body.
pub(super) fn may_be_dropped(gateway: &Gateway, session: &Session, ctx: &mut Ctx) {
    let request = session.req_header();
    ctx.notes.droppable = Some(Box::new(Droppable {
        access_log: gateway.access_log.clone(),
        method: request.method.clone(),
        path: guard::path(request).into(),
        status: 0,
        bytes_out: 0,
    }));
}

/// A header section goes to the client.
pub(super) fn answered(response: &ResponseHeader, ctx: &mut Ctx) {
    if let Some(droppable) = &mut ctx.notes.droppable
        && !response.status.is_informational()
    {
        droppable.status = response.status.as_u16();
    }
}

/// So many bytes of a response's body go to the client.
pub(super) fn sent(bytes: usize, ctx: &mut Ctx) {
    if let Some(droppable) = &mut ctx.notes.droppable {
        droppable.bytes_out += bytes;
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
        let request = session.req_header();
        let wire = Wire {
            method: request.method.as_str(),
            path: guard::path(request),
            bytes_in: session.body_bytes_read(),
            bytes_out: session.body_bytes_sent(),
        };
        write_line(access_log, &wire, ctx, &finished);
    }
}

/// The request was dropped where it stood, before [`finish`]: its body was silent, or the gateway stops.
pub(super) fn broken_off(ctx: &Ctx) {
    let (notes, ended) = (&ctx.notes, clock::instant());
    let dropped = notes.droppable.as_deref();
    let finished = Finished {
        route: ctx.route,
        key: ctx.permit.as_ref().and_then(Permit::key),
        upstream: ctx.route().map(|route| route.upstream),
        status: dropped.map_or(0, |dropped| dropped.status),
        deny: notes.deny,
        code: None,
        own_time: notes.forwarded.unwrap_or(ended).duration_since(notes.begun),
        first_byte: None,
        whole: ended.duration_since(notes.begun),
    };
    ctx.live.meters.finished(&finished);
    if let Some(Droppable { access_log: Some(access_log), method, path, bytes_out, .. }) = dropped {
        let bytes_in = usize::try_from(ctx.body.bytes()).unwrap_or(usize::MAX);
        let wire = Wire { method: method.as_str(), path, bytes_in, bytes_out: *bytes_out };
        write_line(access_log, &wire, ctx, &finished);
    }
    log::info!("a request was broken off: id={}", ctx.request_id.to_str().unwrap_or("-"));
}

/// What the wire says of a request.
struct Wire<'a> {
    method: &'a str,
    path: &'a [u8],
    bytes_in: usize,
    bytes_out: usize,
}

fn write_line(access_log: &AccessLog, wire: &Wire<'_>, ctx: &Ctx, finished: &Finished<'_>) {
    let (notes, policy) = (&ctx.notes, &ctx.live.policy);
    let key = match ctx.permit.as_ref().map(Permit::grounds) {
        Some(Grounds::Key(key)) => policy.keys.record(key),
        _ => None,
    };
    access_log.write(&Line {
        time: Time(clock::now_millis()),
        id: ctx.request_id.to_str().unwrap_or("-"),
        client: ctx.client.address,
        method: wire.method,
        path: LoggedPath(wire.path),
        route: ctx.route().map(|route| &*route.label),
        upstream: ctx.upstream().map(Upstream::name),
        peer: notes.peer,
        status: (finished.status > 0).then_some(finished.status),
        error: finished.code,
        header: notes.deny.and_then(|deny| Some(deny.present.deciding()?.label())),
        key: key.as_ref().map(KeyRecord::name),
        bytes_in: wire.bytes_in,
        bytes_out: wire.bytes_out,
        first_byte_ms: notes.first_byte.map(|at| Millis(at.duration_since(notes.begun))),
        duration_ms: Millis(finished.whole),
        generation: policy.generation,
    });
}
