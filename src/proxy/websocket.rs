//! WebSockets: what may become one, on both sides, and what of the handshake stays here.
//!
//! A request is an upgrade only if it is the handshake of RFC 6455 §4.1. Of every other one `Upgrade` is taken out before
//! anything is decided, and it goes on as what it else is: RFC 9110 §7.8 lets a server ignore the field, and clients that
//! offer `h2c` with their first request rely on that. A peer may switch only where it was asked to.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

use super::fault::Fault;
use super::{Ctx, guard};
use crate::auth;
use crate::policy::KeyTable;

static HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Leaves `Upgrade` on handshakes alone, so that Pingora takes nothing else for an upgrade.
pub(super) fn settle(request: &mut RequestHeader) {
    if request.headers.contains_key(header::UPGRADE) && !is_handshake(request) {
        request.remove_header(&header::UPGRADE);
        request.remove_header(&HTTP2_SETTINGS);
    }
}

/// Whether the request, which was [settled](settle), asks for a WebSocket.
pub(super) fn is_asked_for(session: &Session) -> bool {
    session.as_ref().is_upgrade_req()
}

/// RFC 6455 §4.1, without content: what follows is frames already.
fn is_handshake(request: &RequestHeader) -> bool {
    let headers = &request.headers;
    request.version == Version::HTTP_11
        && request.method == Method::GET
        && switches_to_websocket(headers)
        && only(headers, &header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13")
        && only(headers, &header::SEC_WEBSOCKET_KEY).is_some()
        && !headers.contains_key(header::TRANSFER_ENCODING)
        && headers.get(header::CONTENT_LENGTH).is_none_or(|length| length == "0")
}

/// `Upgrade: websocket`, which `Connection` names.
fn switches_to_websocket(headers: &HeaderMap) -> bool {
    only(headers, &header::UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && guard::connection_options(headers).any(|option| option.eq_ignore_ascii_case(b"upgrade"))
}

/// The field, if it stands once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none())
}

/// A 101 that nobody asked for, or to another protocol, would let bytes through that nothing here has looked at.
///
/// # Errors
/// It is one; `ctx` has the fault.
pub(super) fn check_switch(session: &Session, response: &ResponseHeader, ctx: &mut Ctx) -> Result<()> {
    if response.status != http::StatusCode::SWITCHING_PROTOCOLS
        || (is_asked_for(session) && switches_to_websocket(&response.headers))
    {
        return Ok(());
    }
    ctx.fault = Some(Fault::UpstreamSwitched);
    let mut error = Error::explain(ErrorType::InvalidHTTPHeader, "a 101 that was not asked for");
    error.as_up();
    Err(error)
}

/// Which of the protocols that a client offers stay here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// Every one that holds a credential.
    Credentials,
    /// Those that are, or hold, a key of the gateway's.
    OwnKeys,
}

/// Takes protocols out of those that are offered; the others go on, in their order.
pub(super) fn remove_protocols(request: &mut RequestHeader, kept: Kept, keys: &KeyTable) -> Result<()> {
    let stays = |protocol: &[u8]| match auth::protocol_key(protocol) {
        Some(key) => kept == Kept::Credentials || keys.find(key).is_some(),
        None => keys.find(protocol).is_some(),
    };
    let lines = request.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let offered = || lines.iter().flat_map(|line| auth::protocols(line.as_bytes()));
    if !offered().any(stays) {
        return Ok(());
    }
    let others: Vec<&[u8]> = offered().filter(|protocol| !stays(protocol)).collect();
    let others = others.join(&b", "[..]);
    request.remove_header(&header::SEC_WEBSOCKET_PROTOCOL);
    if !others.is_empty() {
        request.insert_header(header::SEC_WEBSOCKET_PROTOCOL, others)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, fields: &[(&'static str, &str)]) -> RequestHeader {
        let mut request = RequestHeader::build(method, b"/", None).unwrap();
        for (name, value) in fields {
            request.append_header(*name, *value).unwrap();
        }
        request
    }

    const HANDSHAKE: [(&str, &str); 4] = [
        ("upgrade", "WebSocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    #[test]
    fn only_a_handshake_stays_an_upgrade() {
        let stays = |mut request: RequestHeader| {
            settle(&mut request);
            request.headers.contains_key(header::UPGRADE)
        };
        assert!(stays(request("GET", &HANDSHAKE)));
        assert!(stays(request("GET", &[&HANDSHAKE[..], &[("content-length", "0")]].concat())));
        for method in ["POST", "HEAD", "OPTIONS", "get"] {
            assert!(!stays(request(method, &HANDSHAKE)), "{method}");
        }
        for (field, value) in [
            ("upgrade", "h2c"),
            ("upgrade", "websocket, h2c"),
            ("connection", "keep-alive"),
            ("sec-websocket-version", "8"),
            ("sec-websocket-version", "13, 8"),
        ] {
            let mut request = request("GET", &HANDSHAKE);
            request.insert_header(field, value).unwrap();
            assert!(!stays(request), "{field}: {value}");
        }
        for (left_out, _) in HANDSHAKE {
            let mut request = request("GET", &HANDSHAKE);
            request.remove_header(left_out);
            assert!(!stays(request), "without {left_out}");
        }
        for more in [
            ("content-length", "1"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            assert!(!stays(request("GET", &[&HANDSHAKE[..], &[more]].concat())), "{more:?}");
        }
    }
}
