//! What the admin API says when it does not do what was asked: one closed enum, one shape.

use std::borrow::Cow;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::NotChanged;

/// Why the admin API does not answer what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// There are too many streams of events.
    StreamsFull,
    /// What was sent cannot be understood; says why.
    BadRequest(String),
    /// The body is no JSON, by its `Content-Type`.
    NotJson,
    /// The body is too large.
    TooLarge,
    /// A change that does not say what it is a change of.
    IfMatchMissing,
    /// Nothing was changed.
    NotChanged(NotChanged),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::ForeignHost => StatusCode::MISDIRECTED_REQUEST,
            Self::CrossSite | Self::NoTokenConfigured => StatusCode::FORBIDDEN,
            Self::TokenMissing | Self::TokenWrong => StatusCode::UNAUTHORIZED,
            Self::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Self::Busy | Self::StreamsFull => StatusCode::SERVICE_UNAVAILABLE,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::IfMatchMissing => StatusCode::PRECONDITION_REQUIRED,
            Self::NotChanged(why) => match why {
                NotChanged::Stale => StatusCode::PRECONDITION_FAILED,
                NotChanged::NotEditable(_) => StatusCode::CONFLICT,
                NotChanged::NotFound => StatusCode::NOT_FOUND,
                NotChanged::Rejected(_) => StatusCode::UNPROCESSABLE_ENTITY,
                NotChanged::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
            },
        }
    }

    fn code(&self) -> &'static str {
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
            Self::StreamsFull => "streams_full",
            Self::BadRequest(_) => "bad_request",
            Self::NotJson => "not_json",
            Self::TooLarge => "too_large",
            Self::IfMatchMissing => "if_match_missing",
            Self::NotChanged(why) => match why {
                NotChanged::Stale => "config_changed",
                NotChanged::NotEditable(_) => "not_editable",
                NotChanged::NotFound => "not_found",
                NotChanged::Rejected(_) => "rejected",
                NotChanged::Failed(_) => "not_written",
            },
        }
    }

    fn message(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::ForeignHost => {
                "The Host of this request is no name of the admin listener. Use localhost, 127.0.0.1, [::1] or a name that a \
                 certificate of `admin.tls` is for."
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
            Self::StreamsFull => "There are 16 streams of events already.",
            Self::NotJson => "Send the body as `Content-Type: application/json`.",
            Self::TooLarge => "The body is larger than 64 KiB.",
            Self::IfMatchMissing => {
                "Send the `ETag` of `GET /api/config` as `If-Match`, so that nobody else's change is lost."
            }
            Self::NotChanged(NotChanged::Stale) => {
                "The config file was changed in the meantime. Look at it again (`GET /api/config`)."
            }
            Self::NotChanged(NotChanged::NotFound) => "There is none of this name in the config file.",
            Self::NotChanged(NotChanged::Rejected(_)) => {
                "The config would have problems, so nothing was written."
            }
            Self::BadRequest(why)
            | Self::NotChanged(NotChanged::NotEditable(why) | NotChanged::Failed(why)) => {
                return Cow::Owned(why.clone());
            }
        })
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut body = json!({"error": {"code": self.code(), "message": self.message()}});
        if let Self::NotChanged(NotChanged::Rejected(problems)) = &self
            && let Some(error) = body.get_mut("error").and_then(serde_json::Value::as_object_mut)
        {
            error.insert("problems".to_owned(), problems.clone().into());
        }
        let mut response = (self.status(), Json(body)).into_response();
        let extra = match self {
            Self::TokenMissing | Self::TokenWrong => {
                (header::WWW_AUTHENTICATE, "Bearer realm=\"keygate admin\"")
            }
            Self::TooManyAttempts => (header::RETRY_AFTER, "10"),
            Self::Busy | Self::StreamsFull => (header::RETRY_AFTER, "1"),
            _ => return response,
        };
        response.headers_mut().insert(extra.0, HeaderValue::from_static(extra.1));
        response
    }
}

impl From<NotChanged> for Refusal {
    fn from(why: NotChanged) -> Self {
        Self::NotChanged(why)
    }
}

/// What stands in the path, by the names of the route.
pub(super) struct InPath<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for InPath<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path: Result<Path<T>, PathRejection> = Path::from_request_parts(parts, state).await;
        // What is no UTF-8 names nothing.
        path.map(|Path(path)| Self(path)).map_err(|_| Refusal::NotFound)
    }
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        match rejection {
            JsonRejection::MissingJsonContentType(_) => Self::NotJson,
            other if other.status() == StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge,
            // It names the field and what was expected, not what was sent.
            JsonRejection::JsonDataError(error) => Self::BadRequest(unquoted(&error.body_text())),
            _ => Self::BadRequest("The body is no JSON.".to_owned()),
        }
    }
}

/// What was sent may be a secret in the wrong field: it is not repeated.
fn unquoted(message: &str) -> String {
    // How axum begins what serde says.
    let (_, message) = message.split_once("into the target type: ").unwrap_or(("", message));
    for (what, expected) in [("invalid type", "another type"), ("invalid value", "another value")] {
        if let Some((known, _)) = message.split_once(what) {
            return format!("{known}{expected} is expected");
        }
    }
    message.to_owned()
}
