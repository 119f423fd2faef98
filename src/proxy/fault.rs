//! `Fault`: what can go wrong with a request that is not the caller's key. A closed enum; code, status and message
//! stand side by side.

use std::io;

use pingora::{Error, ErrorSource, ErrorType};

/// What a connection says that finds no body in chunks where there should be one.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the chunked body is malformed")]
pub struct MalformedChunks;

/// Why the gateway itself answers an error other than a refused key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The request is ambiguous or breaks HTTP's grammar.
    BadRequest(&'static str),
    /// The header section is too large, or has too many lines (RFC 6585 §5).
    HeaderTooLarge,
    /// The request-target is too long.
    UriTooLong,
    /// The body is too long.
    BodyTooLarge,
    /// The body came too slowly, or not at all.
    BodyTooSlow,
    /// `Expect` asks for something other than `100-continue` (RFC 9110 §10.1.1).
    ExpectationFailed,
    /// Without a key this gateway answers to the names of its machine only.
    HostNotAllowed,
    /// Without a key this gateway takes no requests of pages from elsewhere.
    CrossSite,
    /// A path that two servers may read in two ways.
    AmbiguousPath,
    /// A transfer coding other than `chunked` (RFC 9112 §6.1).
    UnsupportedTransferCoding,
    /// The gateway does not do this method here; the value is the `Allow` field.
    MethodNotAllowed(&'static str),
    /// No route matches.
    RouteNotFound,
    /// No address of the upstream is known.
    NoPeer,
    /// The upstream refused the gateway's own credential.
    UpstreamCredentialRejected,
    /// The upstream asks for a credential, the caller's was taken out, and the gateway has none for it.
    UpstreamCredentialMissing,
    /// The header section of the response is too large.
    UpstreamHeaderTooLarge,
    /// The upstream changed the protocol unasked.
    UpstreamSwitched,
    /// Every peer refused the connection, or broke it.
    UpstreamFailed,
    /// No peer could be connected to in time.
    ConnectTimeout,
    /// The TLS handshake with a peer took too long.
    TlsTimeout,
    /// The response did not begin in time.
    FirstByteTimeout,
    /// The peer was silent for too long.
    ReadTimeout,
    /// The request took too long in all.
    TotalTimeout,
    /// The peer did not take the request in time.
    WriteTimeout,
    /// The health check's answer once the gateway was told to stop.
    Draining,
    /// A mistake of the gateway's own.
    Internal,
}

impl Fault {
    /// What the caller is told of an error of Pingora's; `None` if nobody is left to tell.
    pub(super) fn of(error: &Error) -> Option<Self> {
        match (error.etype(), error.esource()) {
            (ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout, _) => Some(Self::ConnectTimeout),
            (ErrorType::ReadTimedout, ErrorSource::Upstream) => Some(Self::ReadTimeout),
            (ErrorType::WriteTimedout, ErrorSource::Upstream) => Some(Self::WriteTimeout),
            (ErrorType::InvalidHTTPHeader, ErrorSource::Upstream) if is_pingoras_own_limit(error) => {
                Some(Self::UpstreamHeaderTooLarge)
            }
            (_, ErrorSource::Upstream) => Some(Self::UpstreamFailed),
            (ErrorType::ReadTimedout, ErrorSource::Downstream) => Some(Self::BodyTooSlow),
            (ErrorType::ReadError, ErrorSource::Downstream) if is_malformed_body(error) => {
                Some(Self::BadRequest(
                    "The chunked body is malformed: a length that is none, a line that does not end with CR LF, or a trailer that \
                     is no field.",
                ))
            }
            // The client is gone, has given its stream up, or is too slow to take an answer.
            (
                ErrorType::ReadError
                | ErrorType::WriteError
                | ErrorType::ConnectionClosed
                | ErrorType::H2Error
                | ErrorType::WriteTimedout,
                ErrorSource::Downstream,
            ) => None,
            (_, ErrorSource::Downstream) => {
                Some(Self::BadRequest("The header section cannot be forwarded: it breaks the rules of HTTP."))
            }
            (_, ErrorSource::Internal | ErrorSource::Unset) => Some(Self::Internal),
        }
    }

    /// The value of `x-keygate-error`.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad_request",
            Self::HeaderTooLarge => "header_too_large",
            Self::UriTooLong => "uri_too_long",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTooSlow => "body_timeout",
            Self::ExpectationFailed => "expectation_failed",
            Self::HostNotAllowed => "host_not_allowed",
            Self::CrossSite => "cross_site_request",
            Self::AmbiguousPath => "ambiguous_path",
            Self::UnsupportedTransferCoding => "unsupported_transfer_coding",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::RouteNotFound => "route_not_found",
            Self::NoPeer => "upstream_no_peer",
            Self::UpstreamCredentialRejected => "upstream_credential_rejected",
            Self::UpstreamCredentialMissing => "upstream_credential_missing",
            Self::UpstreamHeaderTooLarge => "upstream_header_too_large",
            Self::UpstreamSwitched => "upstream_switched_protocols",
            Self::UpstreamFailed => "upstream_failed",
            Self::ConnectTimeout => "upstream_connect_timeout",
            Self::TlsTimeout => "upstream_tls_timeout",
            Self::FirstByteTimeout => "upstream_first_byte_timeout",
            Self::ReadTimeout => "upstream_read_timeout",
            Self::TotalTimeout => "request_timeout",
            Self::WriteTimeout => "upstream_write_timeout",
            Self::Draining => "draining",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status.
    pub(super) const fn status(self) -> u16 {
        match self {
            Self::BadRequest(_) | Self::AmbiguousPath => 400,
            Self::RouteNotFound => 404,
            Self::CrossSite => 403,
            Self::MethodNotAllowed(_) => 405,
            Self::BodyTooSlow => 408,
            Self::BodyTooLarge => 413,
            Self::UriTooLong => 414,
            Self::ExpectationFailed => 417,
            Self::HostNotAllowed => 421,
            Self::HeaderTooLarge => 431,
            Self::Internal => 500,
            Self::UnsupportedTransferCoding => 501,
            Self::UpstreamHeaderTooLarge
            | Self::UpstreamSwitched
            | Self::UpstreamFailed
            | Self::UpstreamCredentialRejected
            | Self::UpstreamCredentialMissing => 502,
            Self::NoPeer | Self::Draining => 503,
            Self::ConnectTimeout
            | Self::TlsTimeout
            | Self::FirstByteTimeout
            | Self::ReadTimeout
            | Self::TotalTimeout
            | Self::WriteTimeout => 504,
        }
    }

    /// What the caller is told; nothing about addresses or names behind the gateway.
    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::BadRequest(what) => what,
            Self::HeaderTooLarge => "The header section is larger than keygate's `request_limits` allow.",
            Self::UriTooLong => "The request-target is longer than keygate's `request_limits` allow.",
            Self::BodyTooLarge => {
                "The body is longer than keygate's `request_limits`, or the `max_body` of its route, allow."
            }
            Self::BodyTooSlow => "The body came more slowly than keygate's `request_limits` allow.",
            Self::ExpectationFailed => "keygate knows no expectation but `100-continue`.",
            Self::HostNotAllowed => {
                "This keygate asks for no key, so it answers to `localhost` and loopback addresses only. To call it by \
                 this name, list it in `proxy.allowed_hosts`, or set an `auth_mode` that asks for a key."
            }
            Self::CrossSite => {
                "This keygate asks for no key, so it takes no requests of web pages from elsewhere. To allow this page, \
                 list its origin in `proxy.cors.origins`, or set an `auth_mode` that asks for a key."
            }
            Self::AmbiguousPath => {
                "The path can be read in two ways: it has `//`, a backslash, a `.` or `..` segment, or an encoded slash."
            }
            Self::UnsupportedTransferCoding => "keygate takes no transfer coding but `chunked`.",
            Self::MethodNotAllowed(_) => "keygate does not allow this method here.",
            Self::RouteNotFound => "keygate has no route for this path.",
            Self::NoPeer => "No server is known for this route at the moment.",
            Self::UpstreamCredentialRejected => {
                "The server behind keygate refused keygate's own credential. The key of this request is right; the \
                 operator must look at the `credential` of the upstream."
            }
            Self::UpstreamCredentialMissing => {
                "The server behind keygate asks for a credential, and keygate has none for it. The key of this request is \
                 right and stays with keygate; the operator must set a `credential` for the upstream."
            }
            Self::UpstreamHeaderTooLarge => {
                "The header section of the answer of the server behind keygate is larger than its `response_header_bytes`."
            }
            Self::UpstreamSwitched => {
                "The server behind keygate changed to another protocol, which was not asked of it."
            }
            Self::UpstreamFailed => "The server behind keygate could not be reached or broke off.",
            Self::ConnectTimeout => "The server behind keygate could not be connected to in time.",
            Self::TlsTimeout => "The TLS handshake with the server behind keygate took too long.",
            Self::FirstByteTimeout => "The server behind keygate did not begin to answer in time.",
            Self::ReadTimeout => "The server behind keygate did not answer in time.",
            Self::TotalTimeout => "The request took longer than it may.",
            Self::WriteTimeout => "The server behind keygate did not take the request in time.",
            Self::Draining => "keygate is shutting down.",
            Self::Internal => "keygate made a mistake with this request.",
        }
    }

    /// Whether the connection's state is beyond doubt, so that it may go on.
    pub(super) const fn keeps_connection(self) -> bool {
        !matches!(
            self,
            Self::BadRequest(_)
                | Self::HeaderTooLarge
                | Self::UriTooLong
                | Self::BodyTooLarge
                | Self::BodyTooSlow
                | Self::ExpectationFailed
                | Self::UnsupportedTransferCoding
                | Self::Internal
        )
    }
}

/// Whoever reads the connection has found that its bytes are no body.
fn is_malformed_body(error: &Error) -> bool {
    let cause = error.cause.as_ref().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause
        .and_then(io::Error::get_ref)
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<MalformedChunks>)
        || wrapped(error).is_some_and(is_malformed_body)
}

/// Pingora stops reading a header section after 1 MiB. Nothing but the text tells that from one that is malformed.
fn is_pingoras_own_limit(error: &Error) -> bool {
    let says_so = |text: &str| text.starts_with("Response header larger");
    error.context.as_ref().is_some_and(|text| says_so(text.as_str()))
        || wrapped(error).is_some_and(is_pingoras_own_limit)
}

/// The error that Pingora has put another one around.
fn wrapped(error: &Error) -> Option<&Error> {
    error.cause.as_ref()?.downcast_ref::<Box<Error>>().map(Box::as_ref)
}
