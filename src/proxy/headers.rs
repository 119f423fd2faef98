//! What reaches the upstream, and what may come back.
//!
//! Pingora strips hop-by-hop fields, and those that the client's `Connection` names, before this runs; so what is added
//! here cannot be stripped by a client.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;

use super::ctx::Shown;
use super::websocket::{self, Kept};
use super::{Ctx, browsers, guard, introduce, limits, rewrite};
use crate::auth::{self, CREDENTIAL_HEADERS, CredentialHeader};
use crate::policy::{EffectiveMode, ProtocolKeys, Snapshot};

// They are set by their text: Pingora keeps that as it is, and a copy of a `HeaderName`.

/// Why the gateway answered an error itself.
pub(super) static X_KEYGATE_ERROR: HeaderName = HeaderName::from_static("x-keygate-error");
/// Names a request in logs and answers.
pub(super) static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The gateway's own family of fields; nobody else may set one.
const OWN_PREFIX: &str = "x-keygate-";

/// Fields that must not arrive under an alias, as those of proxies: some servers read `_` as `-` (CGI turned both into `_`).
const NO_ALIAS: [&str; 5] =
    ["x-api-key", "x-goog-api-key", "x-request-id", "content-length", "transfer-encoding"];

/// Where proxies write what servers then believe of the client, beside `x-forwarded-*`.
const OF_PROXIES: [&str; 6] = [
    "x-real-ip",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
];
const OF_PROXIES_PREFIX: &str = "x-forwarded-";

/// Fields by which some servers take a request for one with another method: not where the method is why it passed.
const OVERRIDES: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];

/// Makes the request that the peer receives.
pub(super) fn prepare_request(session: &Session, request: &mut RequestHeader, ctx: &mut Ctx) -> Result<()> {
    let passed = remove_credentials(request, ctx)?;
    remove_reserved(request, ctx.client.by_trusted);
    introduce::caller(request, ctx)?;
    ctx.shown = match introduce::gateway(request, ctx)? {
        true => Shown::Gateways,
        false if passed => Shown::Callers,
        false => Shown::Nobodys,
    };
    if request.method == Method::OPTIONS {
        // Whoever sends it may be unknown: it gets an answer, not a tunnel.
        request.remove_header(&header::UPGRADE);
        request.remove_header(&header::CONNECTION);
        for name in OVERRIDES {
            request.remove_header(name);
        }
    }
    if let Some(route) = ctx.route() {
        rewrite::request(route, request)?;
    }
    if session.req_header().version == Version::HTTP_2 {
        join_cookies(request)?;
    }
    add_forwarded(session, request, ctx)?;
    request.insert_header(X_REQUEST_ID.as_str(), &ctx.request_id)?;
    set_host(request, ctx)
}

/// Browsers spread cookies over several fields in HTTP/2, which nobody expects in HTTP/1 (RFC 9113 §8.2.3).
fn join_cookies(request: &mut RequestHeader) -> Result<()> {
    let cookies = request.headers.get_all(header::COOKIE);
    if cookies.iter().nth(1).is_none() {
        return Ok(());
    }
    let joined = cookies.iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b"; "[..]);
    request.insert_header(header::COOKIE, joined)
}

/// The upstream's own, or else the client's; a client of HTTP/1.0 may have sent none, which HTTP/1.1 does not allow.
fn set_host(request: &mut RequestHeader, ctx: &Ctx) -> Result<()> {
    if let Some(host) = ctx.upstream().and_then(|upstream| upstream.host()) {
        request.insert_header(header::HOST, host)
    } else if request.version == Version::HTTP_11
        && !request.headers.contains_key(header::HOST)
        && let Some(taken) = &ctx.taken
    {
        request.insert_header(header::HOST, taken.address().to_string())
    } else {
        Ok(())
    }
}

/// Takes back what only the gateway may say, and names the request.
pub(super) fn prepare_response(session: &Session, response: &mut ResponseHeader, ctx: &Ctx) -> Result<()> {
    for name in names(&response.headers, is_own) {
        response.remove_header(&name);
    }
    if let Some(route) = ctx.route() {
        rewrite::response(route, response)?;
    }
    if let Some((rate, spent)) = ctx.counted.spent
        && !response.status.is_informational()
    {
        limits::tell(response, rate, spent)?;
    }
    browsers::decorate(response, &session.req_header().headers, &ctx.live.policy)?;
    response.insert_header(X_REQUEST_ID.as_str(), &ctx.request_id)
}

/// What only the gateway may say stands in no trailer either.
pub(super) fn prepare_trailers(trailers: &mut HeaderMap) {
    for name in names(trailers, is_own) {
        trailers.remove(&name);
    }
}

/// The names of these fields, to remove them: in most messages none, which takes no allocation.
fn names(headers: &HeaderMap, are_meant: impl Fn(&str) -> bool) -> Vec<HeaderName> {
    headers.keys().filter(|name| are_meant(name.as_str())).cloned().collect()
}

fn is_own(name: &str) -> bool {
    name.starts_with(OWN_PREFIX)
}

/// HTTP/1.0 knows no chunks (RFC 9112 §6.1): a body of unknown length ends with the connection.
pub(super) fn suit_http10(session: &mut Session, response: &mut ResponseHeader) {
    if session.req_header().version == Version::HTTP_10
        && response.remove_header(&header::TRANSFER_ENCODING).is_some()
    {
        session.set_keepalive(None);
    }
}

/// The caller's credential stays here, unless the gateway neither asked for one nor has one of its own to send: then
/// it may be meant for the upstream, except where it is a key of the gateway's. Whether it passed unchanged.
fn remove_credentials(request: &mut RequestHeader, ctx: &Ctx) -> Result<bool> {
    let policy = &ctx.live.policy;
    let has_own = ctx.upstream_spec().is_some_and(|upstream| upstream.credential.is_some());
    let may_pass = policy.mode == EffectiveMode::Off && !has_own;
    let mut passed = may_pass;
    let whole =
        CREDENTIAL_HEADERS.into_iter().filter(|header| *header != CredentialHeader::WebSocketProtocol);
    for header in whole {
        if !may_pass || holds_key(policy, &request.headers, header.name()) {
            request.remove_header(header.name());
            passed = false;
        }
    }
    let kept = match policy.protocol_keys {
        ProtocolKeys::Ignored if may_pass => Kept::OwnKeys,
        _ => Kept::Credentials,
    };
    websocket::remove_protocols(request, kept, &policy.keys)?;
    Ok(passed)
}

fn holds_key(policy: &Snapshot, headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get_all(name).iter().any(|value| auth::contains_key(&policy.keys, value))
}

/// Removes what a client may not say: the gateway's own family, aliases of fields that count, and where the request
/// came by no trusted proxy, what only one of those may say.
fn remove_reserved(request: &mut RequestHeader, by_trusted: bool) {
    for name in names(&request.headers, |name| is_reserved(name, by_trusted)) {
        request.remove_header(&name);
    }
}

fn is_reserved(name: &str, by_trusted: bool) -> bool {
    let of_proxies = |name: &str| name.starts_with(OF_PROXIES_PREFIX) || OF_PROXIES.contains(&name);
    if !name.contains('_') {
        return is_own(name) || (!by_trusted && of_proxies(name));
    }
    let meant = name.replace('_', "-");
    is_own(&meant) || NO_ALIAS.contains(&meant.as_str()) || of_proxies(&meant)
}

/// Some servers read `_` as `-`, or `-` as `_`: what a client writes so must not stand beside what the gateway sets.
pub(super) fn remove_aliases(request: &mut RequestHeader, field: &HeaderName) {
    let is_alias =
        |name: &str| name != field.as_str() && name.replace('_', "-") == field.as_str().replace('_', "-");
    for name in names(&request.headers, is_alias) {
        request.remove_header(&name);
    }
}

/// Who asked, and for what: words about it that nobody trusted vouches for are replaced.
fn add_forwarded(session: &Session, request: &mut RequestHeader, ctx: &Ctx) -> Result<()> {
    request.remove_header(&header::FORWARDED);
    match ctx.client.forwarded_for() {
        Some(addresses) => request.insert_header(X_FORWARDED_FOR.as_str(), addresses)?,
        None => drop(request.remove_header(&X_FORWARDED_FOR)),
    }
    let told = &ctx.client.told;
    match told.host.as_ref().map(HeaderValue::as_bytes).or_else(|| guard::host(session.req_header())) {
        Some(host) => request.insert_header(X_FORWARDED_HOST.as_str(), host)?,
        None => drop(request.remove_header(&X_FORWARDED_HOST)),
    }
    let tls = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
    let scheme = told.scheme.unwrap_or(if tls { "https" } else { "http" });
    request.insert_header(X_FORWARDED_PROTO.as_str(), HeaderValue::from_static(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_of_fields_that_count_are_reserved_and_others_are_not() {
        for name in [
            "x-keygate-key",
            "x_keygate_key",
            "x-keygate_key",
            "x_api_key",
            "x-api_key",
            "x_goog_api_key",
            "x_request_id",
            "content_length",
            "x_real_ip",
            "x_forwarded_for",
        ] {
            assert!(is_reserved(name, true) && is_reserved(name, false), "{name}");
        }
        for name in ["x-api-key", "x_custom", "authorization", "x-keygatex", "user_agent"] {
            assert!(!is_reserved(name, true) && !is_reserved(name, false), "{name}");
        }
    }

    #[test]
    fn what_proxies_say_is_theirs_to_say() {
        for name in ["x-real-ip", "true-client-ip", "x-forwarded-port", "x-forwarded-user"] {
            assert!(is_reserved(name, false) && !is_reserved(name, true), "{name}");
        }
    }
}
