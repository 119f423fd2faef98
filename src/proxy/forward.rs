//! After admission: choosing a peer, trying the next one, and what the caller is told when none works.

use std::hash::{DefaultHasher, Hash, Hasher};

use pingora::http::ResponseHeader;
use pingora::protocols::ALPN;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::{FailToProxy, Session};

use super::ctx::Shown;
use super::fault::Fault;
use super::{Ctx, Live};
use super::{reply, watch, websocket};
use crate::auth::{self, Grounds, Permit};
use crate::clock;
use crate::policy::{Balance, HashBy, PolicyHandle, RevokedStreams};
use crate::upstream::{on_its_own, peer_address};

/// A peer for the permit. Without a permit there is none.
pub(super) fn choose_peer(session: &Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
    let (Some(permit), Some(upstream)) = (&ctx.permit, ctx.upstream()) else {
        // `request_filter` lets no such request through; should it ever, it goes nowhere.
        return Error::e_explain(ErrorType::InternalError, "no permit, no peer");
    };
    if ctx.attempts.is_first() {
        upstream.pay_into_budget();
    }
    let hash = match upstream.balance() {
        Balance::Hash(by) => hash_of(session, ctx, by),
        _ => None,
    };
    match upstream.choose(permit, &ctx.attempts, hash) {
        Some((mut peer, taken)) => {
            peer.options.read_timeout = Some(watch::read_timeout(ctx));
            if watch::is_wanted(ctx) {
                on_its_own(&mut peer);
            }
            if websocket::is_asked_for(session) && peer.options.alpn == ALPN::H2H1 {
                // Where the peer may choose, it must choose the version that has WebSockets.
                peer.options.alpn = ALPN::H1;
            }
            ctx.taken = Some(taken);
            Ok(peer)
        }
        None => {
            let name = upstream.name().to_owned();
            ctx.fault = Some(Fault::NoPeer);
            Error::e_explain(ErrorType::ConnectNoRoute, format!("upstream `{name}` has no address"))
        }
    }
}

/// What the request is told apart by; `None` where it does not have it.
fn hash_of(session: &Session, ctx: &Ctx, by: &HashBy) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    match by {
        HashBy::ClientAddress => ctx.client.address?.hash(&mut hasher),
        HashBy::Header(name) => session.req_header().headers.get(name)?.as_bytes().hash(&mut hasher),
        HashBy::Key => match ctx.permit.as_ref()?.grounds() {
            Grounds::Key(id) => ctx.live.policy.keys.record(id)?.name().hash(&mut hasher),
            _ => return None,
        },
    }
    Some(hasher.finish())
}

/// A connection that was not made has carried nothing: the next peer may always be tried.
pub(super) fn fail_to_connect(peer: &HttpPeer, ctx: &mut Ctx, mut error: Box<Error>) -> Box<Error> {
    if let Some(address) = peer_address(peer) {
        ctx.attempts.failed(address);
    }
    ctx.taken_failed();
    // Pingora has one error type for both steps; the text of the handshake's begins otherwise.
    let text = error.context.as_ref().map_or("", |context| context.as_str());
    let handshake = *error.etype() == ErrorType::ConnectTimedout && text.starts_with("connecting to server");
    ctx.fault = handshake.then_some(Fault::TlsTimeout);
    let in_time = ctx.total_timeout().is_none_or(|total| ctx.notes.age() < total);
    if !in_time {
        ctx.fault = Some(Fault::TotalTimeout);
    }
    error.set_retry(in_time && ctx.upstream().is_some_and(|upstream| upstream.has_untried(&ctx.attempts)));
    error
}

/// A 401 is the gateway's own word unless the upstream refuses what the caller sent: where the gateway took that out, the
/// upstream's is no answer to it.
pub(super) fn check_credential_taken(response: &ResponseHeader, ctx: &mut Ctx) -> Result<()> {
    let (fault, what) = match (ctx.shown, response.status.as_u16()) {
        (Shown::Gateways, 401 | 403) => {
            (Fault::UpstreamCredentialRejected, "refused the gateway's credential")
        }
        (Shown::Nobodys, 401) => (Fault::UpstreamCredentialMissing, "wants a `credential`, and has none set"),
        _ => return Ok(()),
    };
    ctx.fault = Some(fault);
    // A preflight goes without, and anyone may send a million of them.
    let preflight = ctx.permit.as_ref().is_some_and(|permit| permit.grounds() == Grounds::Preflight);
    log::log!(
        if preflight { log::Level::Debug } else { log::Level::Error },
        "upstream `{}` {what}: status={} id={}",
        ctx.upstream().map_or("?", |upstream| upstream.name()),
        response.status.as_u16(),
        ctx.request_id.to_str().unwrap_or("-")
    );
    Error::e_explain(ErrorType::HTTPStatus(fault.status()), "the upstream asks for another credential")
}

/// Whether [`check_credential_taken`] has said what is wrong; Pingora would say it once more.
pub(super) fn is_told(ctx: &Ctx) -> bool {
    matches!(ctx.fault, Some(Fault::UpstreamCredentialRejected | Fault::UpstreamCredentialMissing))
}

/// Breaks off a request or a response whose key counts no more, if the policy that is in force now wants that.
pub(super) fn check_still_allowed(handle: &PolicyHandle<Live>, ctx: &mut Ctx) -> Result<()> {
    if handle.is_in_force(&ctx.live) {
        return Ok(());
    }
    let Some(Grounds::Key(id)) = ctx.permit.as_ref().map(Permit::grounds) else { return Ok(()) };
    let (now, digest) = (handle.load(), ctx.live.policy.keys.digest(id));
    let found = digest.and_then(|digest| now.policy.keys.find_digest(&digest));
    let cause = auth::check_usable(found, clock::now()).err();
    if cause.is_none() || now.policy.revoked_streams == RevokedStreams::Finish {
        return Ok(());
    }
    ctx.revoked = cause;
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
