//! Once more, or not: what may be sent again after a peer may have seen it.
//!
//! Only an idempotent request (RFC 9110 §9.2.2) whose body is still whole in Pingora's buffer, before anything of a
//! response went to the client, within the upstream's rules and budget. A POST that may have been processed is never sent
//! twice: for a language model that is money.

use std::time::SystemTime;

use pingora::http::ResponseHeader;
use pingora::protocols::Digest;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::Session;

use super::Ctx;
use crate::upstream::{self, Taken, Upstream};

/// A peer's response with a status that stands for a failed server goes to the client only if it is the last word.
pub(super) fn check_status(session: &Session, response: &ResponseHeader, ctx: &mut Ctx) -> Result<()> {
    if response.status.is_informational() {
        return Ok(());
    }
    let status = response.status.as_u16();
    if status < 500 {
        if let Some(taken) = &ctx.taken {
            taken.succeeded();
        }
        return Ok(());
    }
    let repeated = ctx.upstream().is_some_and(|upstream| upstream.retries().statuses.contains(&status));
    let address = ctx.taken.as_ref().map(Taken::address);
    ctx.count_failure();
    if !repeated || !may_repeat(session, ctx) {
        return Ok(());
    }
    let other_is_left =
        ctx.upstream().is_some_and(|upstream| upstream.has_untried_but(&ctx.attempts, address));
    if !other_is_left || !take_from_budget(ctx) {
        return Ok(());
    }
    ctx.attempts.failed_at(address);
    ctx.repeat = true;
    Error::e_explain(ErrorType::HTTPStatus(status), "another peer is asked")
}

/// The exchange with a peer ended in an error.
pub(super) fn error_while_proxy(
    peer: &HttpPeer,
    session: &Session,
    ctx: &mut Ctx,
    error: Box<Error>,
    reused: bool,
) -> Box<Error> {
    let mut error = error.more_context(format!("peer {peer}"));
    if std::mem::take(&mut ctx.repeat) {
        // The status was counted as a failure when it came.
        ctx.taken = None;
        error.set_retry(true);
        return error;
    }
    let timed_out = ctx.watch.take().and_then(|watch| watch.fired());
    ctx.fault = ctx.fault.or(timed_out);
    let by_peer = *error.esource() == ErrorSource::Upstream;
    let too_slow =
        timed_out.is_some() || matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout);
    // A connection that idled in the pool may have been closed meanwhile, which is nobody's failure.
    let was_idle = (reused || is_older(ctx)) && !too_slow;
    if by_peer && was_idle {
        upstream::forget_idle(peer);
    }
    let address = ctx.taken.as_ref().map(Taken::address);
    let other_is_left =
        ctx.upstream().is_some_and(|upstream| upstream.has_untried_but(&ctx.attempts, address));
    if by_peer && (other_is_left || !was_idle) {
        ctx.attempts.failed_at(address);
    }
    if by_peer && !was_idle {
        ctx.taken_failed();
    }
    let left = || ctx.upstream().is_some_and(|upstream| upstream.has_untried(&ctx.attempts));
    let again = by_peer && !too_slow && ctx.fault.is_none() && may_repeat(session, ctx) && left();
    error.set_retry(again && take_from_budget(ctx));
    error
}

/// When a connection to a peer was made.
pub(super) fn connected_at(digest: &Digest) -> Option<SystemTime> {
    digest.timing_digest.iter().flatten().next().map(|layer| layer.established_ts)
}

/// Whether the connection to the peer is older than the request. Pingora does not know that of one of our own pool.
fn is_older(ctx: &Ctx) -> bool {
    let age = ctx.connected_at.and_then(|at| at.elapsed().ok());
    age.is_some_and(|age| age > ctx.notes.age())
}

/// Whether the request could be sent once more as far as itself and the time are concerned.
fn may_repeat(session: &Session, ctx: &Ctx) -> bool {
    let Some(rule) = ctx.upstream().map(Upstream::retries) else { return false };
    let age = ctx.notes.age();
    session.req_header().method.is_idempotent()
        && !session.as_ref().retry_buffer_truncated()
        && session.response_written().is_none()
        && ctx.repeated < rule.attempts
        && age < rule.within
        && ctx.total_timeout().is_none_or(|total| age < total)
}

fn take_from_budget(ctx: &mut Ctx) -> bool {
    let taken = ctx.upstream().is_some_and(Upstream::take_from_budget);
    ctx.repeated += u32::from(taken);
    taken
}
