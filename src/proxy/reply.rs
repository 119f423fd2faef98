//! Refusal or fault to response, in the caller's dialect: the only place that writes an error body.
//!
//! The connection stays open where its state is beyond doubt: a closed connection for each 401 would make a flood of
//! bad keys four times as expensive.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora_proxy::Session;
use serde::Serialize;

use super::fault::Fault;
use super::headers::{X_KEYGATE_ERROR, X_REQUEST_ID};
use super::limits;
use super::{Ctx, browsers};
use crate::auth::{CredentialHeader, Deny, HeaderSet};
use crate::limit::Exceeded;
use crate::policy::ProtocolKeys;

/// How much of an unread request body is read, so that a client that is still sending it can read the answer.
const DRAIN_BYTES: usize = 1 << 20;

/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// What the health check answers to; `Allow` of each of its answers.
pub(super) const HEALTH_METHODS: &str = "GET, HEAD, OPTIONS";

/// Which provider's error format the caller's SDK understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    OpenAi,
    Anthropic,
    Gemini,
}

/// An error answer.
struct Answer<'a> {
    status: u16,
    code: &'static str,
    message: &'a str,
    extra: &'a [(HeaderName, HeaderValue)],
}

/// Answers a refusal.
pub(super) async fn deny(session: &mut Session, deny: &Deny, ctx: &Ctx) -> Result<()> {
    let challenge = match deny.present.deciding() {
        Some(_) => HeaderValue::from_static("Bearer realm=\"keygate\", error=\"invalid_token\""),
        None => HeaderValue::from_static("Bearer realm=\"keygate\""),
    };
    let challenge = [(header::WWW_AUTHENTICATE, challenge)];
    let status = deny.cause.status();
    let answer = Answer {
        status,
        code: deny.cause.code(),
        message: &deny.message(),
        extra: if status == 401 { &challenge } else { &[] },
    };
    write(session, &answer, ctx).await
}

/// Answers a request that was one too many.
pub(super) async fn too_much(session: &mut Session, exceeded: Exceeded, ctx: &Ctx) -> Result<()> {
    let extra = limits::fields(exceeded);
    let (code, message) = (exceeded.code(), &exceeded.message());
    write(session, &Answer { status: 429, code, message, extra: &extra }, ctx).await
}

/// Answers `GET` and `HEAD` of the health check while the gateway is well.
pub(super) async fn healthy(session: &mut Session, ctx: &Ctx) -> Result<()> {
    let body = Bytes::from_static(b"ok\n");
    let mut header = ResponseHeader::build(200, Some(6))?;
    header.insert_header(header::CONTENT_TYPE, "text/plain; charset=utf-8")?;
    header.insert_header(header::CONTENT_LENGTH, body.len())?;
    header.insert_header(header::CACHE_CONTROL, "no-store")?;
    header.insert_header(header::ALLOW, HEALTH_METHODS)?;
    send(session, header, body, ctx).await
}

/// Answers `OPTIONS` of the health check.
pub(super) async fn health_options(session: &mut Session, ctx: &Ctx) -> Result<()> {
    let mut header = ResponseHeader::build(204, Some(3))?;
    header.insert_header(header::ALLOW, HEALTH_METHODS)?;
    send(session, header, Bytes::new(), ctx).await
}

/// Answers a preflight, which has its headers already.
pub(super) async fn preflight(session: &mut Session, header: ResponseHeader, ctx: &Ctx) -> Result<()> {
    send(session, header, Bytes::new(), ctx).await
}

/// Answers a fault.
pub(super) async fn fault(session: &mut Session, fault: Fault, ctx: &Ctx) -> Result<()> {
    if !fault.keeps_connection() {
        session.set_keepalive(None);
    }
    let extra = match fault {
        Fault::MethodNotAllowed(allow) => Some((header::ALLOW, HeaderValue::from_static(allow))),
        Fault::Draining => Some((header::ALLOW, HeaderValue::from_static(HEALTH_METHODS))),
        _ => None,
    };
    let extra = extra.as_slice();
    let answer = Answer { status: fault.status(), code: fault.code(), message: fault.message(), extra };
    write(session, &answer, ctx).await
}

async fn write(session: &mut Session, answer: &Answer<'_>, ctx: &Ctx) -> Result<()> {
    let request = session.req_header();
    let body = Dialect::of(request.uri.path(), &request.headers).body(answer, &ctx.request_id);
    let mut header = ResponseHeader::build(answer.status, Some(8))?;
    header.insert_header(header::CONTENT_TYPE, "application/json")?;
    header.insert_header(header::CONTENT_LENGTH, body.len())?;
    header.insert_header(header::CACHE_CONTROL, "no-store")?;
    header.insert_header(&X_KEYGATE_ERROR, answer.code)?;
    header.insert_header(&X_REQUEST_ID, &ctx.request_id)?;
    for (name, value) in answer.extra {
        header.insert_header(name, value)?;
    }
    send(session, header, body.into(), ctx).await
}

/// Sends a whole response of the gateway's own and settles what the client may still be sending.
async fn send(session: &mut Session, mut header: ResponseHeader, body: Bytes, ctx: &Ctx) -> Result<()> {
    browsers::decorate(&mut header, &session.req_header().headers, &ctx.live.policy)?;
    let unread = !session.is_body_done();
    if unread && will_not_be_drained(session) {
        session.set_keepalive(None);
    }
    // Or Pingora would close for any unread byte, and the reset could overtake the answer.
    session.set_close_on_response_before_downstream_finish(false);
    let no_body = session.req_header().method == Method::HEAD || body.is_empty();
    session.write_response_header(Box::new(header), no_body).await?;
    if !no_body {
        session.write_response_body(Some(body), true).await?;
    }
    if unread && !drain(session).await {
        session.set_keepalive(None);
    }
    Ok(())
}

/// A client that waits for `100 Continue` will not send its content after an error; and more than the limit is not
/// worth reading.
fn will_not_be_drained(session: &Session) -> bool {
    let headers = &session.req_header().headers;
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    headers.contains_key(header::EXPECT) || announced.is_some_and(|bytes| bytes > DRAIN_BYTES)
}

/// Reads what is left of the request body, within limits; whether that was all of it.
async fn drain(session: &mut Session) -> bool {
    if session.req_header().headers.contains_key(header::EXPECT) {
        return false;
    }
    let read = async {
        let mut total = 0;
        while let Ok(Some(chunk)) = session.read_request_body().await {
            total += chunk.len();
            if total > DRAIN_BYTES {
                return false;
            }
        }
        session.is_body_done()
    };
    tokio::time::timeout(DRAIN_TIME, read).await.unwrap_or(false)
}

impl Dialect {
    /// By the endpoint, then by what only one provider's clients send.
    fn of(path: &str, headers: &HeaderMap) -> Self {
        if path.starts_with("/v1/messages") || headers.contains_key("anthropic-version") {
            return Self::Anthropic;
        }
        let gemini = path.starts_with("/v1beta")
            || path.starts_with("/v1alpha")
            || HeaderSet::of(headers, ProtocolKeys::Ignored).deciding()
                == Some(CredentialHeader::XGoogApiKey);
        if gemini { Self::Gemini } else { Self::OpenAi }
    }

    fn body(self, answer: &Answer<'_>, request_id: &HeaderValue) -> Vec<u8> {
        let Answer { status, code, message, .. } = *answer;
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

    fn dialect(path: &str, headers: &[&'static str]) -> Dialect {
        let mut map = HeaderMap::new();
        for name in headers {
            map.insert(*name, HeaderValue::from_static("x"));
        }
        Dialect::of(path, &map)
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
        let answer = Answer { status: 401, code: "credential_invalid", message: "m", extra: &[] };
        let id = HeaderValue::from_static("r1");
        let body = |dialect: Dialect| String::from_utf8(dialect.body(&answer, &id)).unwrap();
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
