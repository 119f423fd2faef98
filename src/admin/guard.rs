//! Who may: every request to the admin API comes past here.
//!
//! A page in the operator's own browser can reach loopback, so being there is no proof of anything. In this order:
//! the `Host` must be a name of this listener (a page that rebinds its own name to 127.0.0.1 sends its own), no
//! other site may have caused the request, and the token must be right.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::listener::Client;
use super::page;
use super::reply::Refusal;

/// The one path with data that needs no token on this machine, for the scraper beside the gateway.
const METRICS_PATH: &str = "/metrics";

pub(super) async fn check(
    State(api): State<Arc<Api>>,
    Extension(Client(client)): Extension<Client>,
    request: Request,
    next: Next,
) -> Response {
    let delay = request
        .headers()
        .contains_key(header::AUTHORIZATION)
        .then(|| api.attempts.delay(client.ip(), Instant::now()))
        .flatten();
    if let Some(delay) = delay {
        tokio::time::sleep(delay).await;
    }
    let mut response = match admit(&api, client.ip(), &request, delay) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    protect(response.headers_mut());
    response
}

fn admit(api: &Api, client: IpAddr, request: &Request, waited: Option<Duration>) -> Result<(), Refusal> {
    let listen = api.handles.process.admin;
    let host = own_host(request.headers(), listen.address.ip(), |name| api.is_certified(name))?;
    // A target in absolute form has a host too, which counts (RFC 9112 §3.2.2).
    if request.uri().authority().is_some_and(|authority| authority.as_str() != host) {
        return Err(Refusal::ForeignHost);
    }
    let path = request.uri().path();
    if !(page::has(path) && opens_document(request.method(), request.headers())) {
        same_site(request.headers(), if listen.tls { "https://" } else { "http://" }, host)?;
    }
    if is_free(path, client) {
        return Ok(());
    }
    let token = api.token().ok_or(Refusal::NoTokenConfigured)?;
    let presented = bearer(request.headers()).ok_or(Refusal::TokenMissing)?;
    if token.is(presented) {
        return Ok(());
    }
    if waited.is_some() {
        return Err(Refusal::TooManyAttempts);
    }
    let refusal = api.attempts.wrong(client, Instant::now());
    if refusal == Refusal::TokenWrong {
        // One line for each that was tried within the limit.
        log::warn!("admin: {client}: a wrong token");
    }
    Err(refusal)
}

fn is_free(path: &str, client: IpAddr) -> bool {
    page::has(path) || (path == METRICS_PATH && client.to_canonical().is_loopback())
}

/// The `Host` of the request, which must be this machine by a name of its own: a certified one, or an address, for no
/// other site's page has that for a name. The port is not looked at: an `ssh -L` has another, and a name of somebody
/// else's is one with every port.
fn own_host(headers: &HeaderMap, bound: IpAddr, certified: impl Fn(&str) -> bool) -> Result<&str, Refusal> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return Err(Refusal::ForeignHost) };
    let host = host.to_str().map_err(|_| Refusal::ForeignHost)?;
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    let own_address = |address: IpAddr| address.is_loopback() || address == bound || bound.is_unspecified();
    let own =
        name.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(own_address) || certified(name);
    if own { Ok(host) } else { Err(Refusal::ForeignHost) }
}

/// Browsers say who caused a request: `Sec-Fetch-Site` on every one, `Origin` on those that could change something.
fn same_site(headers: &HeaderMap, scheme: &str, host: &str) -> Result<(), Refusal> {
    let own_origin = |origin: &HeaderValue| {
        origin
            .to_str()
            .ok()
            .and_then(|origin| origin.strip_prefix(scheme))
            .is_some_and(|origin| origin.eq_ignore_ascii_case(host))
    };
    let own_site = |site: &HeaderValue| site == "same-origin" || site == "none";
    let same = headers.get_all(header::ORIGIN).iter().all(own_origin)
        && headers.get_all("sec-fetch-site").iter().all(own_site);
    if same { Ok(()) } else { Err(Refusal::CrossSite) }
}

/// Somebody followed a link, as from a dashboard, or typed an address: a window of its own shows the answer, not a frame,
/// and no script of the other site can read it (Fetch Metadata §2.1, §2.2; such a request has no `Origin`).
fn opens_document(method: &Method, headers: &HeaderMap) -> bool {
    let is = |name: &str, value: &str| {
        let mut values = headers.get_all(name).iter();
        matches!((values.next(), values.next()), (Some(one), None) if one == value)
    };
    *method == Method::GET
        && !headers.contains_key(header::ORIGIN)
        && is("sec-fetch-mode", "navigate")
        && is("sec-fetch-dest", "document")
}

/// The token that was sent, if one was, in the one way that there is.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.as_bytes().strip_prefix(b"Bearer "),
        _ => None,
    }
}

/// What a browser must not do with any answer: keep it, guess its type, run or load anything, show it in a frame.
fn protect(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        // The same for browsers, and scanners, that do not know `frame-ancestors`.
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn only_names_of_this_machine_are_its_own() {
        let certified = |name: &str| name == "gateway.example";
        let own_at = |bound: IpAddr, host| own_host(&headers(&[("host", host)]), bound, certified).is_ok();
        let own = |host| own_at([127, 0, 0, 1].into(), host);
        for host in [
            "localhost",
            "LOCALHOST:8046",
            "127.0.0.1:8046",
            "127.0.0.1",
            "[::1]:9000",
            "127.9.9.9:1",
            "gateway.example:1",
        ] {
            assert!(own(host), "{host}");
        }
        for host in
            ["", "rebound.example:8046", "localhost.example", "127.0.0.1.example", "10.0.0.1", "[::2]:8046"]
        {
            assert!(!own(host), "{host}");
        }
        assert!(
            own_at([0, 0, 0, 0].into(), "10.0.0.1:8046") && !own_at([0, 0, 0, 0].into(), "rebound.example")
        );
        assert!(own_at([10, 0, 0, 1].into(), "10.0.0.1") && !own_at([10, 0, 0, 1].into(), "10.0.0.2"));
        assert!(own_host(&headers(&[]), [127, 0, 0, 1].into(), certified).is_err());
        let twice = headers(&[("host", "localhost"), ("host", "localhost")]);
        assert!(own_host(&twice, [127, 0, 0, 1].into(), certified).is_err());
    }

    #[test]
    fn only_a_followed_link_opens_a_document() {
        let link = [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        assert!(opens_document(&Method::GET, &headers(&link)));
        assert!(!opens_document(&Method::POST, &headers(&link)));
        for (at, other) in [(1, "no-cors"), (1, "cors"), (2, "iframe"), (2, "script"), (2, "empty")] {
            let mut fields = link;
            fields[at].1 = other;
            assert!(!opens_document(&Method::GET, &headers(&fields)), "{other}");
        }
        for more in [("origin", "http://evil.example"), ("sec-fetch-dest", "iframe")] {
            assert!(!opens_document(&Method::GET, &headers(&[&link[..], &[more]].concat())), "{more:?}");
        }
        assert!(!opens_document(&Method::GET, &headers(&[])));
    }

    #[test]
    fn metrics_are_free_on_this_machine_and_the_page_everywhere() {
        let free = |path, client: &str| is_free(path, client.parse().unwrap());
        for client in ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"] {
            assert!(
                free("/metrics", client) && free("/", client) && !free("/api/status", client),
                "{client}"
            );
        }
        for client in ["10.0.0.1", "fe80::1", "::ffff:10.0.0.1", "0.0.0.0"] {
            assert!(
                !free("/metrics", client) && free("/", client) && !free("/api/status", client),
                "{client}"
            );
        }
    }

    #[test]
    fn another_site_gets_nothing() {
        let same = |fields: &[_]| same_site(&headers(fields), "http://", "localhost:8046").is_ok();
        assert!(same(&[]));
        assert!(same(&[("origin", "http://localhost:8046"), ("sec-fetch-site", "same-origin")]));
        assert!(same(&[("sec-fetch-site", "none")]));
        for origin in ["null", "http://localhost:8047", "https://localhost:8046", "http://evil.example"] {
            assert!(!same(&[("origin", origin)]), "{origin}");
        }
        for site in ["cross-site", "same-site", ""] {
            assert!(!same(&[("sec-fetch-site", site)]), "{site}");
        }
    }
}
