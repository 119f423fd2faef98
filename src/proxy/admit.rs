//! `request_filter`: facts → decide → permit, or a reply. No request comes past it.

use http::Method;
use pingora::Result;
use pingora::http::RequestHeader;
use pingora_proxy::{FailToProxy, Session};

use super::fault::Fault;
use super::{Ctx, Gateway, body, browsers, client, guard, reply, request_id};
use crate::auth::misplaced::{Misplaced, query_holds_key};
use crate::auth::{self, Access, Cause, Content, Deny, Facts, Grounds, HEALTH_PATH, HeaderSet, Permit};
use crate::clock;
use crate::limit::{Counted, Exceeded};
use crate::policy::{Ambiguity, Asked, ambiguity, normalized};
use crate::telemetry::denial_records::Refused;

/// `Ok(true)` if the request has been answered here.
pub(super) async fn request_filter(gateway: &Gateway, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
    ctx.request_id = request_id::of(&session.req_header().headers);
    limit_keepalive(gateway, session, ctx);
    // Else who reads nothing of an answer keeps it, its connection and the upstream's for ever.
    session.set_write_timeout(Some(ctx.live.policy.request_limits.send_timeout));
    let checked = client::identify(session, ctx)
        .and_then(|()| guard::check(session, &ctx.live.policy.request_limits))
        .and_then(|()| browsers::check_local(session.req_header(), &ctx.live.policy));
    if let Err(fault) = checked {
        return fault_reply(session, ctx, fault).await;
    }
    body::limit_silence(gateway, session, ctx);
    let now = clock::now();
    let content = content(session);
    let request = session.req_header();
    let facts = facts(request, content);
    match auth::decide(&ctx.live.policy, &facts, now) {
        Ok(permit) => {
            note_use(&permit, ctx, now);
            ctx.permit = Some(permit);
        }
        Err(deny) => return refuse(gateway, session, ctx, deny, now).await,
    }
    if let Some(answer) = browsers::preflight(request, &ctx.live.policy)? {
        reply::preflight(session, answer, ctx).await?;
        return Ok(true);
    }
    if facts.path == HEALTH_PATH {
        return answer_health(gateway, session, ctx).await;
    }
    let asked =
        Asked { host: guard::host(request), path: facts.path, method: facts.method, headers: facts.headers };
    ctx.route = ctx.live.policy.routes.find(&asked);
    if ctx.route.is_none() {
        return fault_reply(session, ctx, Fault::RouteNotFound).await;
    }
    if let Err(deny) = authorize(ctx, &facts, now) {
        return refuse(gateway, session, ctx, deny, now).await;
    }
    if !means_one_thing(&asked, ctx) {
        return fault_reply(session, ctx, Fault::AmbiguousPath).await;
    }
    if let Err(fault) = guard::check_length(request, ctx.most_body_bytes()) {
        return fault_reply(session, ctx, fault).await;
    }
    match begin(ctx) {
        Ok(counted) => {
            ctx.counted = counted;
            Ok(false)
        }
        Err(exceeded) => too_much(session, ctx, exceeded).await,
    }
}

/// The key of the request was used, whatever it may do.
fn note_use(permit: &Permit, ctx: &Ctx, now: clock::UnixSeconds) {
    if let Some(key) = permit.key() {
        ctx.live.limits.last_used.note(key, now);
    }
}

/// Whether the key may do this.
fn authorize(ctx: &Ctx, facts: &Facts<'_>, now: clock::UnixSeconds) -> std::result::Result<(), Deny> {
    let Some(permit) = &ctx.permit else { return Ok(()) };
    let access = Access {
        method: facts.method,
        path: facts.path,
        route: ctx.route().and_then(|route| route.name.as_deref()),
        client: ctx.client.address,
    };
    auth::authorize(&ctx.live.policy, permit, &access, facts.headers, now)
}

/// Counts the request as one of its key's.
fn begin(ctx: &Ctx) -> std::result::Result<Counted, Exceeded> {
    match ctx.permit.as_ref().map(Permit::grounds) {
        Some(Grounds::Key(key)) => ctx.live.limits.begin(&ctx.live.policy, key, clock::ticks),
        _ => Ok(Counted::default()),
    }
}

/// Answers a refused request; wrong keys in great numbers from one address are answered otherwise.
async fn refuse(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut Ctx,
    deny: Deny,
    now: clock::UnixSeconds,
) -> Result<bool> {
    ctx.notes.deny = Some(deny);
    let content = content(session);
    note_denial(gateway, session, ctx, deny, content, now);
    if let (Cause::CredentialInvalid, Some(rate), Some(client)) =
        (deny.cause, ctx.live.policy.failed_auth, ctx.client.address)
        && let Err(exceeded) = ctx.live.limits.failures.count(rate, client, clock::ticks())
    {
        return too_much(session, ctx, exceeded).await;
    }
    reply::deny(session, &deny, ctx).await?;
    Ok(true)
}

/// Answers a request whose key was revoked while its body came, before there was a response.
pub(super) async fn refuse_midway(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut Ctx,
    cause: Cause,
) -> FailToProxy {
    let headers = &session.req_header().headers;
    let deny = Deny { cause, present: HeaderSet::of(headers, ctx.live.policy.protocol_keys) };
    ctx.notes.deny = Some(deny);
    note_denial(gateway, session, ctx, deny, Content::Some, clock::now());
    // What is left of the body is not waited for.
    session.set_keepalive(None);
    if let Err(error) = reply::deny(session, &deny, ctx).await {
        log::debug!("the client did not take the refusal: {error}");
    }
    FailToProxy { error_code: cause.status(), can_reuse_downstream: false }
}

async fn too_much(session: &mut Session, ctx: &Ctx, exceeded: Exceeded) -> Result<bool> {
    reply::too_much(session, exceeded, ctx).await?;
    Ok(true)
}

/// The route was found by the path as it is forwarded, so that path must mean the same to everyone: a server that decodes it
/// must not see one of another route.
fn means_one_thing(asked: &Asked<'_>, ctx: &Ctx) -> bool {
    let may_pass = match ambiguity(asked.path) {
        None => true,
        Some(Ambiguity::Structure) => false,
        Some(Ambiguity::EncodedSlash) => ctx.route().is_some_and(|route| route.encoded_slashes),
    };
    let leads_here =
        |path: Vec<u8>| ctx.live.policy.routes.find(&Asked { path: &path, ..*asked }) == ctx.route;
    may_pass && normalized(asked.path).is_none_or(leads_here)
}

async fn fault_reply(session: &mut Session, ctx: &Ctx, fault: Fault) -> Result<bool> {
    reply::fault(session, fault, ctx).await?;
    Ok(true)
}

/// Pingora keeps an idle HTTP/1.1 connection for ever unless it is told otherwise, on every request, and looks for `close` in
/// the first `Connection` alone.
fn limit_keepalive(gateway: &Gateway, session: &mut Session, ctx: &Ctx) {
    let says_close = || {
        let mut options = guard::connection_options(&session.req_header().headers);
        options.any(|option| option.eq_ignore_ascii_case(b"close"))
    };
    if gateway.requests.is_draining() || says_close() {
        session.set_keepalive(None);
    } else if session.get_keepalive().is_some() {
        session.set_keepalive(Some(ctx.live.policy.keepalive_timeout.as_secs().max(1)));
    }
}

fn content(session: &mut Session) -> Content {
    if session.is_body_empty() { Content::None } else { Content::Some }
}

/// What the decision looks at.
fn facts(request: &RequestHeader, content: Content) -> Facts<'_> {
    Facts { method: &request.method, path: guard::path(request), headers: &request.headers, content }
}

fn note_denial(
    gateway: &Gateway,
    session: &Session,
    ctx: &Ctx,
    deny: Deny,
    content: Content,
    now: clock::UnixSeconds,
) {
    let request = session.req_header();
    let in_query = || request.uri.query().is_some_and(|query| query_holds_key(query.as_bytes()));
    let misplaced = || Misplaced::of(&request.headers, in_query());
    gateway.denials.record(&Refused {
        deny,
        at: now,
        request_id: ctx.request_id.to_str().unwrap_or("-"),
        client: ctx.client.address,
        facts: facts(request, content),
        host: guard::host(request),
        misplaced: (deny.cause == Cause::CredentialMissing).then(misplaced).flatten(),
        generation: ctx.live.policy.generation,
    });
}

/// `/healthz` belongs to the gateway and never reaches an upstream.
async fn answer_health(gateway: &Gateway, session: &mut Session, ctx: &Ctx) -> Result<bool> {
    let method = &session.req_header().method;
    if *method == Method::OPTIONS {
        reply::health_options(session, ctx).await?;
    } else if *method != Method::GET && *method != Method::HEAD {
        return fault_reply(session, ctx, Fault::MethodNotAllowed(reply::HEALTH_METHODS)).await;
    } else if gateway.requests.is_stopping() {
        return fault_reply(session, ctx, Fault::Draining).await;
    } else {
        reply::healthy(session, ctx).await?;
    }
    Ok(true)
}
