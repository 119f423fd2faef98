//! What is noted of a request as it passes, for the metrics and the access log.

use std::time::Instant;

use pingora::http::ResponseHeader;
use pingora_proxy::Session;

use super::Ctx;
use super::headers::X_KEYGATE_ERROR;
use crate::auth::{Deny, Permit};
use crate::clock;
use crate::telemetry::metrics::Finished;

/// When things happened to a request, and why it was refused.
#[derive(Debug)]
pub(super) struct Notes {
    /// Its header section had been read.
    begun: Instant,
    /// A first peer was chosen.
    forwarded: Option<Instant>,
    /// The header section of the upstream's response arrived.
    first_byte: Option<Instant>,
    /// The caller's key was refused.
    pub(super) deny: Option<Deny>,
}

impl Notes {
    pub(super) fn new() -> Self {
        Self { begun: clock::instant(), forwarded: None, first_byte: None, deny: None }
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

/// The request is over.
pub(super) fn finish(session: &Session, ctx: &Ctx) {
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
}
