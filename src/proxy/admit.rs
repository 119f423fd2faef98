//! `request_filter`: facts → decide → permit, or a reply. No request comes past it.

use http::Method;
use pingora::Result;
use pingora_proxy::Session;

use super::fault::Fault;
use super::{Ctx, Gateway, guard, reply, request_id};
use crate::auth::{self, Content, Deny, Facts, HEALTH_PATH};
use crate::clock;
use crate::telemetry::denial_log::Denied;

/// `Ok(true)` if the request has been answered here.
pub(super) async fn request_filter(gateway: &Gateway, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
    ctx.request_id = request_id::of(&session.req_header().headers);
    limit_keepalive(gateway, session, ctx);
    if let Err(fault) = guard::check(session) {
        return fault_reply(session, ctx, fault).await;
    }
    let now = clock::now();
    let content = if session.is_body_empty() { Content::None } else { Content::Some };
    let request = session.req_header();
    let facts =
        Facts { method: &request.method, path: guard::path(request), headers: &request.headers, content };
    match auth::decide(&ctx.live.policy, &facts, now) {
        Ok(permit) => ctx.permit = Some(permit),
        Err(deny) => {
            ctx.notes.deny = Some(deny);
            log_denial(gateway, session, ctx, deny, now);
            reply::deny(session, &deny, &ctx.request_id).await?;
            return Ok(true);
        }
    }
    if facts.path == HEALTH_PATH {
        return answer_health(gateway, session, ctx).await;
    }
    match ctx.live.policy.routes.find(guard::host(request), facts.path) {
        None => fault_reply(session, ctx, Fault::RouteNotFound).await,
        route => {
            ctx.route = route;
            Ok(false)
        }
    }
}

async fn fault_reply(session: &mut Session, ctx: &Ctx, fault: Fault) -> Result<bool> {
    reply::fault(session, fault, &ctx.request_id).await?;
    Ok(true)
}

/// Pingora keeps an idle HTTP/1.1 connection for ever unless it is told otherwise, on every request.
fn limit_keepalive(gateway: &Gateway, session: &mut Session, ctx: &Ctx) {
    if gateway.requests.is_draining() {
        session.set_keepalive(None);
    } else if session.get_keepalive().is_some() {
        session.set_keepalive(Some(ctx.live.policy.keepalive_timeout.as_secs().max(1)));
    }
}

fn log_denial(gateway: &Gateway, session: &Session, ctx: &Ctx, deny: Deny, now: clock::UnixSeconds) {
    let headers = &session.req_header().headers;
    let credential = deny.present.deciding().and_then(|header| headers.get(header.name()));
    gateway.denials.record(&Denied {
        deny,
        request_id: ctx.request_id.to_str().unwrap_or("-"),
        client: session.client_addr().and_then(|address| Some(address.as_inet()?.ip())),
        credential: credential.map(http::HeaderValue::as_bytes),
        generation: ctx.live.policy.generation,
        now,
    });
}

/// `/healthz` belongs to the gateway and never reaches an upstream.
async fn answer_health(gateway: &Gateway, session: &mut Session, ctx: &Ctx) -> Result<bool> {
    let method = &session.req_header().method;
    if *method == Method::OPTIONS {
        reply::health_options(session).await?;
    } else if *method != Method::GET && *method != Method::HEAD {
        return fault_reply(session, ctx, Fault::MethodNotAllowed(reply::HEALTH_METHODS)).await;
    } else if gateway.requests.is_stopping() {
        return fault_reply(session, ctx, Fault::Draining).await;
    } else {
        reply::healthy(session).await?;
    }
    Ok(true)
}
