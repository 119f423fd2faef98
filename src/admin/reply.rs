//! What the admin API says when it does not do what was asked: one closed enum, one shape.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why the admin API does not answer what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The `Host` is no name of this listener.
    ForeignHost,
    /// Another site's page caused the request.
    CrossSite,
    /// There is no token yet, so nobody may.
    NoTokenConfigured,
    /// No token was sent.
    TokenMissing,
    /// The token is another.
    TokenWrong,
    /// Too many wrong tokens.
    TooManyAttempts,
    /// No such route.
    NotFound,
    /// The route does not do that.
    MethodNotAllowed,
    /// It took too long.
    TimedOut,
    /// The gateway is busy with what was asked before.
    Busy,
}

impl Refusal {
    fn status(self) -> StatusCode {
        match self {
            Self::ForeignHost => StatusCode::MISDIRECTED_REQUEST,
            Self::CrossSite | Self::NoTokenConfigured => StatusCode::FORBIDDEN,
            Self::TokenMissing | Self::TokenWrong => StatusCode::UNAUTHORIZED,
            Self::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::ForeignHost => "foreign_host",
            Self::CrossSite => "cross_site",
            Self::NoTokenConfigured => "no_token_configured",
            Self::TokenMissing => "token_missing",
            Self::TokenWrong => "token_wrong",
            Self::TooManyAttempts => "too_many_attempts",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::TimedOut => "timed_out",
            Self::Busy => "busy",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::ForeignHost => {
                "The Host of this request is no name of the admin listener. Use localhost, 127.0.0.1 or [::1]."
            }
            Self::CrossSite => "The request was caused by a page of another site.",
            Self::NoTokenConfigured => {
                "No admin token is configured, so the admin API is closed. Set `admin.token` in the config (a literal of \
                 at least 16 characters, ${ENV_VAR}, or file:PATH) and reload; `keygate init` writes one into a new \
                 config."
            }
            Self::TokenMissing => "Send the admin token as `Authorization: Bearer TOKEN`.",
            Self::TokenWrong => "This is not the admin token (`admin.token` in the config).",
            Self::TooManyAttempts => "Too many wrong tokens. Wait a few seconds.",
            Self::NotFound => "There is nothing here.",
            Self::MethodNotAllowed => "This method does nothing here.",
            Self::TimedOut => "It took too long.",
            Self::Busy => "The gateway is busy with what was asked before. Try again.",
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({"error": {"code": self.code(), "message": self.message()}});
        let mut response = (self.status(), Json(body)).into_response();
        let extra = match self {
            Self::TokenMissing | Self::TokenWrong => {
                (header::WWW_AUTHENTICATE, "Bearer realm=\"keygate admin\"")
            }
            Self::TooManyAttempts => (header::RETRY_AFTER, "10"),
            Self::Busy => (header::RETRY_AFTER, "1"),
            _ => return response,
        };
        response.headers_mut().insert(extra.0, HeaderValue::from_static(extra.1));
        response
    }
}
