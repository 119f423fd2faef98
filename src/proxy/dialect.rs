//! The error formats of the providers, so that the caller's SDK understands what the gateway answers.

use http::{HeaderMap, HeaderValue};
use serde::Serialize;

use crate::auth::CredentialHeader;

/// Which provider's error format the caller's SDK understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    OpenAi,
    Anthropic,
    Gemini,
}

/// An error, before it is written in a dialect.
#[derive(Clone, Copy, Debug)]
pub(super) struct ApiError<'a> {
    pub(super) status: u16,
    /// The value of `x-keygate-error`.
    pub(super) code: &'static str,
    pub(super) message: &'a str,
}

impl Dialect {
    /// How many there are.
    pub(super) const COUNT: usize = 3;

    /// By the endpoint, then by what only one provider's clients send. `deciding` is the credential header that decided.
    pub(super) fn of(path: &str, headers: &HeaderMap, deciding: Option<CredentialHeader>) -> Self {
        if path.starts_with("/v1/messages") || headers.contains_key("anthropic-version") {
            return Self::Anthropic;
        }
        let gemini = path.starts_with("/v1beta")
            || path.starts_with("/v1alpha")
            || deciding == Some(CredentialHeader::XGoogApiKey);
        if gemini { Self::Gemini } else { Self::OpenAi }
    }

    /// The body of `error`.
    pub(super) fn body(self, error: &ApiError<'_>, request_id: &HeaderValue) -> Vec<u8> {
        let ApiError { status, code, message } = *error;
        let body = match self {
            Self::OpenAi => {
                let code = if status == 401 { "invalid_api_key" } else { code };
                Body::OpenAi { error: OpenAiError { message, kind: openai_type(status), param: (), code } }
            }
            Self::Anthropic => Body::Anthropic {
                kind: "error",
                error: AnthropicError { kind: anthropic_type(status), message },
                request_id: request_id.to_str().unwrap_or_default(),
            },
            Self::Gemini => {
                Body::Gemini { error: GeminiError { code: status, message, status: gemini_status(status) } }
            }
        };
        // Strings and a number: there is nothing in it that could not be written.
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

/// The error bodies, field by field in the order in which the providers write them.
#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    OpenAi {
        error: OpenAiError<'a>,
    },
    Anthropic {
        #[serde(rename = "type")]
        kind: &'static str,
        error: AnthropicError<'a>,
        request_id: &'a str,
    },
    Gemini {
        error: GeminiError<'a>,
    },
}

#[derive(Serialize)]
struct OpenAiError<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    param: (),
    code: &'static str,
}

#[derive(Serialize)]
struct AnthropicError<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: &'a str,
}

#[derive(Serialize)]
struct GeminiError<'a> {
    code: u16,
    message: &'a str,
    status: &'static str,
}

/// The types of OpenAI's error objects (platform.openai.com/docs/guides/error-codes).
fn openai_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

/// The types of Anthropic's error objects (docs.anthropic.com/en/api/errors).
fn anthropic_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        504 => "timeout_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

/// The canonical codes of Google's APIs (google.rpc.Code).
fn gemini_status(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        501 => "UNIMPLEMENTED",
        502 | 503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::HeaderSet;
    use crate::policy::ProtocolKeys;

    fn dialect(path: &str, headers: &[&'static str]) -> Dialect {
        let mut map = HeaderMap::new();
        for name in headers {
            map.insert(*name, HeaderValue::from_static("x"));
        }
        Dialect::of(path, &map, HeaderSet::of(&map, ProtocolKeys::Ignored).deciding())
    }

    #[test]
    fn the_dialect_is_the_callers() {
        assert_eq!(dialect("/v1/chat/completions", &["authorization"]), Dialect::OpenAi);
        assert_eq!(dialect("/", &[]), Dialect::OpenAi);
        assert_eq!(dialect("/v1/messages", &[]), Dialect::Anthropic);
        assert_eq!(dialect("/v1/messages/count_tokens", &["x-goog-api-key"]), Dialect::Anthropic);
        assert_eq!(dialect("/v1/models", &["anthropic-version"]), Dialect::Anthropic);
        assert_eq!(dialect("/v1beta/models", &["authorization"]), Dialect::Gemini);
        assert_eq!(dialect("/v1alpha/models", &[]), Dialect::Gemini);
        assert_eq!(dialect("/v1/models", &["x-goog-api-key"]), Dialect::Gemini);
        assert_eq!(
            dialect("/v1/models", &["x-goog-api-key", "x-api-key"]),
            Dialect::OpenAi,
            "x-api-key decided"
        );
    }

    #[test]
    fn bodies_have_the_shape_of_the_contract() {
        let error = ApiError { status: 401, code: "credential_invalid", message: "m" };
        let id = HeaderValue::from_static("r1");
        let body = |dialect: Dialect| String::from_utf8(dialect.body(&error, &id)).unwrap();
        assert_eq!(
            body(Dialect::OpenAi),
            r#"{"error":{"message":"m","type":"authentication_error","param":null,"code":"invalid_api_key"}}"#
        );
        assert_eq!(
            body(Dialect::Anthropic),
            r#"{"type":"error","error":{"type":"authentication_error","message":"m"},"request_id":"r1"}"#
        );
        assert_eq!(
            body(Dialect::Gemini),
            r#"{"error":{"code":401,"message":"m","status":"UNAUTHENTICATED"}}"#
        );
    }
}
