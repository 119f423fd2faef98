//! What web pages may do: CORS, and the protection of a gateway that asks nobody for a key.
//!
//! Every page that a user opens can make the browser call `127.0.0.1`, and a name that its owner lets point there makes
//! the page same-origin (DNS rebinding, CVE-2024-28224). Where no key protects the upstream's credentials, the `Host`
//! must be a name of this machine, and the request no page's from elsewhere.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};

use super::fault::Fault;
use super::guard;
use crate::policy::{Cors, Snapshot};

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a page may read beside the body: what it takes to report a refusal.
const EXPOSED: &str = "x-request-id, x-keygate-error, retry-after";

/// Refuses what a page of elsewhere, or under a foreign name, asks of a gateway without keys.
pub(super) fn check_local(request: &RequestHeader, policy: &Snapshot) -> std::result::Result<(), Fault> {
    // A preflight is answered, whoever asks: it carries no credentials and is given none.
    if !policy.open_on_loopback || request.method == Method::OPTIONS {
        return Ok(());
    }
    if guard::host(request).is_some_and(|host| !is_own_name(host, policy)) {
        return Err(Fault::HostNotAllowed);
    }
    let origin = request.headers.get(header::ORIGIN).map(HeaderValue::as_bytes);
    let foreign = origin.is_some_and(|origin| !is_own_origin(origin, policy));
    let cross_site = request.headers.get(&SEC_FETCH_SITE).is_some_and(|site| site == "cross-site");
    let allowed =
        || origin.is_some_and(|origin| policy.cors.as_ref().is_some_and(|cors| cors.allows(origin)));
    if (foreign || cross_site) && !allowed() { Err(Fault::CrossSite) } else { Ok(()) }
}

/// Whether a `Host` names this machine for itself (RFC 6761 §6.3), or was allowed.
fn is_own_name(host: &[u8], policy: &Snapshot) -> bool {
    let Ok(text) = std::str::from_utf8(guard::without_port(host)) else { return false };
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    address.map_or_else(
        |_| name == "localhost" || name.ends_with(".localhost"),
        |address| address.to_canonical().is_loopback(),
    ) || policy.allowed_hosts.contains(&name)
}

fn is_own_origin(origin: &[u8], policy: &Snapshot) -> bool {
    let uri = std::str::from_utf8(origin).ok().and_then(|text| text.parse::<Uri>().ok());
    uri.as_ref().and_then(Uri::authority).is_some_and(|name| is_own_name(name.as_str().as_bytes(), policy))
}

/// The answer to a preflight, if the gateway gives it; [`decorate`] adds what every response has.
///
/// # Errors
/// A header cannot be written.
pub(super) fn preflight(request: &RequestHeader, policy: &Snapshot) -> Result<Option<ResponseHeader>> {
    let (Some(cors), true) = (&policy.cors, is_preflight(request)) else { return Ok(None) };
    let mut response = ResponseHeader::build(204, Some(6))?;
    if request.headers.get(header::ORIGIN).is_some_and(|origin| cors.allows(origin.as_bytes())) {
        response.insert_header(header::ACCESS_CONTROL_ALLOW_METHODS, &cors.methods)?;
        let asked = request.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
        if let Some(headers) = cors.headers.as_ref().or(asked) {
            response.insert_header(header::ACCESS_CONTROL_ALLOW_HEADERS, headers)?;
        }
        response.insert_header(header::ACCESS_CONTROL_MAX_AGE, &cors.max_age)?;
    }
    Ok(Some(response))
}

fn is_preflight(request: &RequestHeader) -> bool {
    request.method == Method::OPTIONS
        && request.headers.contains_key(header::ORIGIN)
        && request.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Puts the headers of CORS on a response, in place of those that an upstream may have sent.
///
/// # Errors
/// A header cannot be written.
pub(super) fn decorate(response: &mut ResponseHeader, request: &HeaderMap, policy: &Snapshot) -> Result<()> {
    let Some(cors) = &policy.cors else { return Ok(()) };
    for name in [
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
    ] {
        response.remove_header(&name);
    }
    // A cache must not give one page's answer to another.
    response.append_header(header::VARY, HeaderValue::from_static("Origin"))?;
    if let Some(origin) = request.get(header::ORIGIN).filter(|origin| cors.allows(origin.as_bytes())) {
        allow(response, cors, origin)?;
    }
    Ok(())
}

fn allow(response: &mut ResponseHeader, cors: &Cors, origin: &HeaderValue) -> Result<()> {
    response.insert_header(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin)?;
    if cors.credentials {
        response.insert_header(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true")?;
    }
    response.insert_header(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED)
}
