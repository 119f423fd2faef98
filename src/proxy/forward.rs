//! After admission: choosing a peer, trying the next one, and what the caller is told when none works.

use pingora::http::ResponseHeader;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::{FailToProxy, Session};

use super::fault::Fault;
use super::reply;
use super::{Ctx, Live};
use crate::auth::{Grounds, Permit};
use crate::clock;
use crate::policy::{PolicyHandle, RevokedStreams};
use crate::upstream::peer_address;

/// A peer for the permit. Without a permit there is none.
pub(super) fn choose_peer(ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
    let (Some(permit), Some(upstream)) = (&ctx.permit, ctx.upstream()) else {
        // `request_filter` lets no such request through; should it ever, it goes nowhere.
        return Error::e_explain(ErrorType::InternalError, "no permit, no peer");
    };
    match upstream.choose(permit, &ctx.attempts) {
        Some(peer) => Ok(peer),
        None => {
            let name = upstream.name().to_owned();
            ctx.fault = Some(Fault::NoPeer);
            Error::e_explain(ErrorType::ConnectNoRoute, format!("upstream `{name}` has no address"))
        }
    }
}

/// A connection that was not made has carried nothing: the next peer may always be tried.
pub(super) fn fail_to_connect(peer: &HttpPeer, ctx: &mut Ctx, mut error: Box<Error>) -> Box<Error> {
    if let Some(address) = peer_address(peer) {
        ctx.attempts.failed(address);
    }
    error.set_retry(ctx.upstream().is_some_and(|upstream| upstream.has_untried(&ctx.attempts)));
    error
}

/// Once something was sent, only an idempotent request whose body is still whole may be sent again (RFC 9110 §9.2.2).
pub(super) fn error_while_proxy(
    peer: &HttpPeer,
    session: &Session,
    ctx: &mut Ctx,
    error: Box<Error>,
    reused: bool,
) -> Box<Error> {
    let mut error = error.more_context(format!("peer {peer}"));
    let repeatable =
        session.req_header().method.is_idempotent() && !session.as_ref().retry_buffer_truncated();
    // A fault of the client's own would be the same again.
    if !repeatable || ctx.fault.is_some() || ctx.upstream().is_none() {
        error.set_retry(false);
    } else {
        error.retry.decide_reuse(reused);
    }
    error
}

/// An upstream that refuses the gateway's own credential must not look as if the caller's were wrong.
pub(super) fn check_credential_taken(response: &ResponseHeader, ctx: &mut Ctx) -> Result<()> {
    if !ctx.credential_sent || !matches!(response.status.as_u16(), 401 | 403) {
        return Ok(());
    }
    ctx.fault = Some(Fault::UpstreamCredentialRejected);
    let name = ctx.upstream().map_or("?", |upstream| upstream.name());
    log::error!(
        "upstream `{name}` refused the gateway's credential with {}: id={}",
        response.status.as_u16(),
        ctx.request_id.to_str().unwrap_or("-")
    );
    Error::e_explain(ErrorType::HTTPStatus(502), "the upstream refused the gateway's credential")
}

/// Breaks off a response whose key counts no more, if the policy that is in force now wants that.
pub(super) fn check_still_allowed(handle: &PolicyHandle<Live>, ctx: &Ctx) -> Result<()> {
    if handle.is_in_force(&ctx.live) {
        return Ok(());
    }
    let Some(Grounds::Key(id)) = ctx.permit.as_ref().map(Permit::grounds) else { return Ok(()) };
    let (now, digest) = (handle.load(), ctx.live.policy.keys.digest(id));
    let counts = digest
        .and_then(|digest| now.policy.keys.find_digest(&digest))
        .is_some_and(|(_, key)| key.enabled && key.expires_at.is_none_or(|end| end > clock::now()));
    if counts || now.policy.revoked_streams == RevokedStreams::Finish {
        return Ok(());
    }
    Error::e_explain(ErrorType::InternalError, "the key of this request was revoked")
}

/// The end of a request that could not be forwarded.
pub(super) async fn fail_to_proxy(session: &mut Session, error: &Error, ctx: &Ctx) -> FailToProxy {
    let fault = ctx.fault.or_else(|| Fault::of(error));
    let begun = session.response_written().is_some();
    let Some(fault) = fault.filter(|_| !begun) else {
        // A response that has begun is broken off: the client must not take what it has for the whole.
        return FailToProxy { error_code: 0, can_reuse_downstream: false };
    };
    // Pingora never goes on with a connection after this, so it must not be told otherwise.
    session.set_keepalive(None);
    if let Err(error) = reply::fault(session, fault, ctx).await {
        log::debug!("the client did not take the error response: {error}");
    }
    FailToProxy { error_code: fault.status(), can_reuse_downstream: false }
}
