//! Requests are made unambiguous before anything is decided on them.
//!
//! What is decided on must be what is forwarded. A `Host` that is no host, a length that two parsers could read in two ways:
//! all are refused. An absolute-form target is rewritten to origin-form, so that no upstream can take it for a request to be
//! proxied further. What Pingora would refuse or rewrite before anything here sees it is `unreadable`'s.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Uri, Version, header};
use pingora::http::RequestHeader;
use pingora_proxy::Session;

use super::fault::Fault;
use super::{arrival, reply, websocket};
use crate::auth::HEALTH_PATH;
use crate::policy::RequestLimits;

/// `Allow` where the method is refused everywhere.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// How many fields `Connection` may name: what Pingora takes. Clients send one or two.
const CONNECTION_OPTIONS: usize = 9;

/// What the gateway or the framing needs, and no client may take out.
const END_TO_END: [&str; 4] = ["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];

/// Refuses or normalises.
pub(super) fn check(session: &mut Session, limits: &RequestLimits) -> Result<(), Fault> {
    check_size(session, limits)?;
    let raw =
        session.as_http1().map(pingora::protocols::http::v1::server::HttpSession::get_headers_raw_bytes);
    if let Some(raw) = &raw {
        // Before anything is refused that keeps the connection: where the body ends, the next request begins.
        check_framing(session.req_header(), raw)?;
    }
    let method = &session.req_header().method;
    if *method == Method::CONNECT || *method == Method::TRACE {
        if *method == Method::CONNECT {
            // What follows a CONNECT may not be HTTP at all.
            session.set_keepalive(None);
        }
        let health = path(session.req_header()) == HEALTH_PATH;
        return Err(Fault::MethodNotAllowed(if health { reply::HEALTH_METHODS } else { METHODS }));
    }
    if let Some(raw) = &raw {
        check_target(session.req_header_mut(), raw)?;
    } else if session.req_header().raw_path().first() != Some(&b'/')
        && *session.req_header().raw_path() != *b"*"
    {
        return Err(Fault::BadRequest("The `:path` must start with `/`."));
    }
    check_host(session.req_header())?;
    check_connection(&session.req_header().headers)?;
    check_expectation(session.req_header())?;
    check_length(session.req_header(), limits.largest_body_bytes)?;
    websocket::settle(session.req_header_mut());
    Ok(())
}

/// Before anything else looks at it.
fn check_size(session: &Session, limits: &RequestLimits) -> Result<(), Fault> {
    let request = session.req_header();
    if request.raw_path().len() > limits.uri_bytes {
        return Err(Fault::UriTooLong);
    }
    let bytes = match session.as_http1() {
        Some(http1) => http1.get_headers_raw_bytes().len(),
        None => request.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum(),
    };
    if bytes > limits.header_bytes || request.headers.len() > limits.header_count {
        return Err(Fault::HeaderTooLarge);
    }
    Ok(())
}

fn check_expectation(request: &RequestHeader) -> Result<(), Fault> {
    let continues = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    let all_known = request.headers.get_all(header::EXPECT).iter().all(continues);
    if all_known { Ok(()) } else { Err(Fault::ExpectationFailed) }
}

/// What is known of the body before it comes. Its route may allow less than `most_bytes`, which is asked once that is
/// known.
pub(super) fn check_length(request: &RequestHeader, most_bytes: u64) -> Result<(), Fault> {
    let announced = request.headers.get(header::CONTENT_LENGTH);
    // A number that does not fit into 64 bits is too large by itself.
    let fits = |length: &str| length.parse::<u64>().is_ok_and(|bytes| bytes <= most_bytes);
    match announced.and_then(|length| length.to_str().ok()) {
        Some(length) if !fits(length) => Err(Fault::BodyTooLarge),
        _ => Ok(()),
    }
}

/// `example.com:8045` → `example.com`.
pub(super) fn without_port(host: &[u8]) -> &[u8] {
    match host.iter().rposition(|&byte| byte == b':' || byte == b']') {
        Some(at) if host.get(at) == Some(&b':') => host.get(..at).unwrap_or(host),
        _ => host,
    }
}

/// The host that is asked for: `Host`, or in HTTP/2 `:authority`.
pub(super) fn host(request: &RequestHeader) -> Option<&[u8]> {
    let field = request.headers.get(header::HOST).map(HeaderValue::as_bytes);
    field.or_else(|| request.uri.authority().map(|authority| authority.as_str().as_bytes()))
}

/// The raw bytes of the request-target before `?`.
pub(super) fn path(request: &RequestHeader) -> &[u8] {
    let target = request.raw_path();
    target.iter().position(|&byte| byte == b'?').and_then(|query| target.get(..query)).unwrap_or(target)
}

/// RFC 9112 §3.2: origin-form, `OPTIONS *`, and absolute-form, which a server must accept.
fn check_target(request: &mut RequestHeader, raw: &Bytes) -> Result<(), Fault> {
    let target = request_target(raw).ok_or(Fault::BadRequest("The request line is malformed."))?;
    if target != request.raw_path() {
        return Err(Fault::BadRequest("The request-target has characters that may not stand in it."));
    }
    match target.first() {
        Some(b'/') => Ok(()),
        Some(b'*') if target == b"*" && request.method == Method::OPTIONS => Ok(()),
        _ => to_origin_form(request),
    }
}

/// The bytes between the two spaces of the request line.
fn request_target(raw: &[u8]) -> Option<&[u8]> {
    let line = raw.split(|&byte| byte == b'\r' || byte == b'\n').next()?;
    let mut words = line.split(|&byte| byte == b' ');
    let (_method, target, _version, None) = (words.next()?, words.next()?, words.next()?, words.next())
    else {
        return None;
    };
    Some(target)
}

fn to_origin_form(request: &mut RequestHeader) -> Result<(), Fault> {
    const WRONG: Fault = Fault::BadRequest("The request-target must start with `/`.");
    let target: Uri =
        std::str::from_utf8(request.raw_path()).ok().and_then(|text| text.parse().ok()).ok_or(WRONG)?;
    let (Some("http" | "https"), Some(authority)) = (target.scheme_str(), target.authority()) else {
        return Err(WRONG);
    };
    // Pingora has refused a `Host` that differs already; HTTP/1.0 may have none.
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| WRONG)?;
    request.insert_header(header::HOST, host).map_err(|_| WRONG)?;
    let origin_form = target.path_and_query().map_or("/", |path| path.as_str());
    request.set_uri(origin_form.parse().map_err(|_| WRONG)?);
    Ok(())
}

/// RFC 9112 §3.2: exactly one `Host` in HTTP/1.1; RFC 9110 §7.2: it is `uri-host [":" port]` and nothing else.
/// Servers have been talked into another path by a `Host` with a `/` in it (CVE-2026-48710).
fn check_host(request: &RequestHeader) -> Result<(), Fault> {
    let mut lines = request.headers.get_all(header::HOST).iter();
    match (lines.next(), lines.next()) {
        (None, _) if request.version == Version::HTTP_11 => Err(Fault::BadRequest("`Host` is missing.")),
        (_, Some(_)) => Err(Fault::BadRequest("`Host` stands on more than one line.")),
        _ if host(request).is_some_and(|host| !is_host(host)) => {
            Err(Fault::BadRequest("`Host` is no host and port."))
        }
        _ => Ok(()),
    }
}

pub(super) fn is_host(host: &[u8]) -> bool {
    let (name, port) = match host.iter().rposition(|&byte| byte == b':' || byte == b']') {
        Some(at) if host.get(at) == Some(&b':') => host.split_at_checked(at).unwrap_or((host, b"")),
        _ => (host, &b""[..]),
    };
    let port = port.strip_prefix(b":").unwrap_or(port);
    port.len() <= 5 && port.iter().all(u8::is_ascii_digit) && (is_reg_name(name) || is_ip_literal(name))
}

/// Letters, digits, `-`, `.`, `_`: what host names are made of, of all that RFC 3986 §3.2.2 would allow.
fn is_reg_name(name: &[u8]) -> bool {
    (1..=255).contains(&name.len())
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

fn is_ip_literal(name: &[u8]) -> bool {
    let inner = name.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    inner
        .and_then(|inner| std::str::from_utf8(inner).ok())
        .is_some_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
}

/// What `Connection` names, in all of its lines.
pub(super) fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(header::CONNECTION).iter();
    let options = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    options.map(<[u8]>::trim_ascii).filter(|option| !option.is_empty())
}

/// What `Connection` names goes no further (RFC 9110 §7.6.1), so it may not name what the upstream must get. Pingora refuses
/// the same, but once a peer was chosen and as an error of the gateway's.
fn check_connection(headers: &HeaderMap) -> Result<(), Fault> {
    let mut count = 0;
    for option in connection_options(headers) {
        count += 1;
        if count > CONNECTION_OPTIONS {
            return Err(Fault::BadRequest("`Connection` names too many fields."));
        }
        if !option.iter().all(|&byte| is_token_byte(byte)) {
            return Err(Fault::BadRequest("`Connection` names something that is no field."));
        }
        if END_TO_END.iter().any(|name| option.eq_ignore_ascii_case(name.as_bytes())) {
            return Err(Fault::BadRequest("`Connection` names a field that must reach the upstream."));
        }
    }
    Ok(())
}

/// `tchar` of RFC 9110 §5.6.2.
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// One canonical length, or exactly `chunked`: nothing that another parser could read otherwise (RFC 9112 §6).
fn check_framing(request: &RequestHeader, raw: &[u8]) -> Result<(), Fault> {
    let headers = &request.headers;
    if headers.contains_key(header::TRANSFER_ENCODING) {
        // Pingora has removed a `Content-Length` beside it already; the raw header section still has it.
        if has_field(raw, b"content-length") {
            return Err(Fault::BadRequest("`Content-Length` and `Transfer-Encoding` exclude each other."));
        }
        if !is_exactly_chunked(headers) {
            return Err(Fault::UnsupportedTransferCoding);
        }
        arrival::note_chunks();
        return Ok(());
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(()),
        (Some(length), None) if is_canonical_number(length.as_bytes()) => Ok(()),
        _ => Err(Fault::BadRequest("`Content-Length` is not one number.")),
    }
}

fn is_exactly_chunked(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (lines.next(), lines.next()) {
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}

fn is_canonical_number(digits: &[u8]) -> bool {
    digits == b"0"
        || (digits.first().is_some_and(|&first| first != b'0') && digits.iter().all(u8::is_ascii_digit))
}

/// Whether the raw header section has a line with this name (given in lower case). Only read where a request has a
/// `Transfer-Encoding`.
fn has_field(raw: &[u8], name: &[u8]) -> bool {
    raw.split(|&byte| byte == b'\n').skip(1).any(|line| {
        line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
            && line.get(name.len()).is_some_and(|&next| next == b':')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_is_a_host() {
        for host in ["a", "a.example", "A.Example:8045", "127.0.0.1", "[::1]", "[::1]:80", "my_host:1", "a:"]
        {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            ":80",
            "127.0.0.1/healthz?",
            "a b",
            "a:b",
            "a:123456",
            "u@a",
            "[::1",
            "::1",
            "[x]",
            "a%00",
            "a,b",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn the_target_is_what_stands_between_two_spaces() {
        assert_eq!(request_target(b"GET /a?b HTTP/1.1\r\nHost: x\r\n"), Some(&b"/a?b"[..]));
        for wrong in [&b"GET /a"[..], b"GET  /a HTTP/1.1\r\n", b"GET /a b HTTP/1.1\r\n", b""] {
            assert_eq!(request_target(wrong), None);
        }
    }

    #[test]
    fn connection_names_what_may_end_here() {
        let checked = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONNECTION, HeaderValue::from_static(value));
            check_connection(&headers)
        };
        for right in ["", "close", "keep-alive, Upgrade", ",, x-hop ,", "a,b,c,d,e,f,g,h,i"] {
            assert_eq!(checked(right), Ok(()), "{right}");
        }
        for wrong in ["Host", "close,X-Forwarded-For", "\"host\"", ":path", "a b", "a,b,c,d,e,f,g,h,i,j"] {
            assert!(checked(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_length_is_written_in_one_way() {
        for right in ["0", "5", "10", "18446744073709551616"] {
            assert!(is_canonical_number(right.as_bytes()));
        }
        for wrong in ["", "00", "05", "+5", "5, 5", "5 ", "0x5", "-1"] {
            assert!(!is_canonical_number(wrong.as_bytes()), "{wrong:?}");
        }
    }
}
