//! `Fault`: what can go wrong with a request that is not the caller's key. A closed enum; code, status and message
//! stand side by side.

use pingora::{Error, ErrorSource, ErrorType};

/// Why the gateway itself answers an error other than a refused key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The request is ambiguous or breaks HTTP's grammar.
    BadRequest(&'static str),
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
    /// Every peer refused the connection, or broke it.
    UpstreamFailed,
    /// No peer could be connected to in time.
    ConnectTimeout,
    /// The peer was silent for too long.
    ReadTimeout,
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
            (_, ErrorSource::Upstream) => Some(Self::UpstreamFailed),
            // The client is gone, or was too slow to be worth an answer.
            (
                ErrorType::ReadError
                | ErrorType::WriteError
                | ErrorType::ConnectionClosed
                | ErrorType::ReadTimedout
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
            Self::UnsupportedTransferCoding => "unsupported_transfer_coding",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::RouteNotFound => "route_not_found",
            Self::NoPeer => "upstream_no_peer",
            Self::UpstreamCredentialRejected => "upstream_credential_rejected",
            Self::UpstreamFailed => "upstream_failed",
            Self::ConnectTimeout => "upstream_connect_timeout",
            Self::ReadTimeout => "upstream_read_timeout",
            Self::WriteTimeout => "upstream_write_timeout",
            Self::Draining => "draining",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status.
    pub(super) const fn status(self) -> u16 {
        match self {
            Self::BadRequest(_) => 400,
            Self::RouteNotFound => 404,
            Self::MethodNotAllowed(_) => 405,
            Self::Internal => 500,
            Self::UnsupportedTransferCoding => 501,
            Self::UpstreamFailed | Self::UpstreamCredentialRejected => 502,
            Self::NoPeer | Self::Draining => 503,
            Self::ConnectTimeout | Self::ReadTimeout | Self::WriteTimeout => 504,
        }
    }

    /// What the caller is told; nothing about addresses or names behind the gateway.
    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::BadRequest(what) => what,
            Self::UnsupportedTransferCoding => "keygate takes no transfer coding but `chunked`.",
            Self::MethodNotAllowed(_) => "keygate does not allow this method here.",
            Self::RouteNotFound => "keygate has no route for this path.",
            Self::NoPeer => "No server is known for this route at the moment.",
            Self::UpstreamCredentialRejected => {
                "The server behind keygate refused keygate's own credential. The key of this request is right; the \
                 operator must look at the `credential` of the upstream."
            }
            Self::UpstreamFailed => "The server behind keygate could not be reached or broke off.",
            Self::ConnectTimeout => "The server behind keygate could not be connected to in time.",
            Self::ReadTimeout => "The server behind keygate did not answer in time.",
            Self::WriteTimeout => "The server behind keygate did not take the request in time.",
            Self::Draining => "keygate is shutting down.",
            Self::Internal => "keygate made a mistake with this request.",
        }
    }

    /// Whether the connection's state is beyond doubt, so that it may go on.
    pub(super) const fn keeps_connection(self) -> bool {
        !matches!(self, Self::BadRequest(_) | Self::UnsupportedTransferCoding | Self::Internal)
    }
}
