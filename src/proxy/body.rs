//! The request body on its way: not too long, not too slow.

use bytes::Bytes;
use http::header;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

use super::fault::Fault;
use super::{Ctx, Gateway, arrival, notes, silence};
use crate::clock::{self, Ticks};

/// How long a body may be as slow as it likes: the first bytes of a connection always are.
const LENIENT_NANOS: u64 = 10_000_000_000;

/// How much of a body has come, and since when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meter {
    bytes: u64,
    begun: Option<Ticks>,
    /// It is one side of a conversation, and has all the time in the world.
    converses: bool,
}

impl Meter {
    /// How many have come.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Limits how long a client may be silent in its body, if there is one. An upgraded connection has none that ends.
pub(super) fn limit_silence(gateway: &Gateway, session: &mut Session, ctx: &mut Ctx) {
    if session.is_body_empty() || session.as_ref().is_upgrade_req() {
        arrival::note_whole();
        return;
    }
    let limit = ctx.live.policy.request_limits.body_timeout;
    if !session.is_http2() {
        session.set_read_timeout(Some(limit));
        return;
    }
    notes::may_be_dropped(gateway, session, ctx);
    if is_grpc(session) {
        ctx.body.converses = true;
    } else {
        silence::limit(limit);
    }
}

/// The peer takes the body from now on. While it takes nothing, the client is not asked for more, which only HTTP/1's
/// time-out can tell from silence.
pub(super) fn allow_for_the_peer(session: &mut Session, ctx: &Ctx) {
    let write_timeout = ctx.upstream_spec().map(|spec| spec.write_timeout).unwrap_or_default();
    if session.is_http2() && !session.is_body_done() && !ctx.body.converses {
        silence::limit(ctx.live.policy.request_limits.body_timeout + write_timeout);
    }
}

/// The response is whole. What is left of the body is of no use to anybody, a conversation's neither.
pub(super) fn response_ended(session: &mut Session, ctx: &Ctx) {
    if session.is_http2() && !session.is_body_done() {
        silence::limit(ctx.live.policy.request_limits.body_timeout);
    }
}

/// gRPC's streams last as long as both sides want; either may be silent for hours.
fn is_grpc(session: &Session) -> bool {
    let content_type = session.req_header().headers.get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// Counts a part of the body.
///
/// # Errors
/// It is too much, or has taken too long; `ctx` says which.
pub(super) fn count(session: &mut Session, part: Option<&Bytes>, ctx: &mut Ctx) -> Result<()> {
    if session.is_body_done() {
        silence::over();
        arrival::note_whole();
    } else {
        silence::broken();
    }
    let Some(part) = part.filter(|part| !part.is_empty() && !session.as_ref().is_upgrade_req()) else {
        return Ok(());
    };
    let least_rate = ctx.live.policy.request_limits.body_min_rate;
    ctx.body.bytes = ctx.body.bytes.saturating_add(part.len() as u64);
    let fault = if ctx.body.bytes > ctx.most_body_bytes() {
        Fault::BodyTooLarge
    } else if !ctx.body.converses && is_too_slow(&mut ctx.body, least_rate, clock::ticks()) {
        Fault::BodyTooSlow
    } else {
        return Ok(());
    };
    ctx.fault = Some(fault);
    Error::e_explain(ErrorType::HTTPStatus(fault.status()), "the body breaks a limit")
}

fn is_too_slow(meter: &mut Meter, least_bytes_per_second: u64, now: Ticks) -> bool {
    let Some(begun) = meter.begun else {
        meter.begun = Some(now);
        return false;
    };
    let nanos = now.0.saturating_sub(begun.0);
    let least = u128::from(least_bytes_per_second) * u128::from(nanos) / 1_000_000_000;
    nanos > LENIENT_NANOS && u128::from(meter.bytes) < least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_too_slow_once_it_has_had_its_time() {
        let second = 1_000_000_000;
        let mut meter = Meter { bytes: 1, ..Meter::default() };
        assert!(!is_too_slow(&mut meter, 100, Ticks(5 * second)));
        assert!(!is_too_slow(&mut meter, 100, Ticks(15 * second)), "lenient at first");
        assert!(is_too_slow(&mut meter, 100, Ticks(16 * second)));
        meter.bytes = 1100;
        assert!(!is_too_slow(&mut meter, 100, Ticks(16 * second)), "fast enough on average");
        assert!(!is_too_slow(&mut Meter { begun: Some(Ticks(0)), ..meter }, 0, Ticks(u64::MAX)), "no limit");
    }
}
