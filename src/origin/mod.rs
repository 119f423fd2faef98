//! A mock AI upstream: answers as OpenAI, Anthropic and Gemini do, asks for no key, thinks of nothing.
//!
//! For trying the gateway out, for its tests, and fast enough to benchmark against.

mod answer;
mod anthropic;
mod asked;
mod gemini;
mod openai;
mod plain;
mod responses;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, StatusCode, Version, header};
use pingora::Result;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;

use answer::{Answer, Body, Events};
use asked::Asked;

/// A longer body is answered with 413.
const LARGEST_BODY: usize = 32 << 20;

/// How long an idle connection is kept.
const KEEPALIVE_SECS: u64 = 60;

/// The mock upstream.
#[derive(Debug, Default)]
pub struct Origin;

impl Origin {
    /// A mock upstream.
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl HttpServerApp for Origin {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        match session.read_request().await {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => {
                log::debug!("origin: no request: {error}");
                return None;
            }
        }
        // `None` already where the client wants to close: that is not to be changed.
        if session.get_keepalive().is_some() {
            session.set_keepalive((!*shutdown.borrow()).then_some(KEEPALIVE_SECS));
        }
        if let Err(error) = exchange(&mut session).await {
            log::debug!("origin: broken off: {error}");
            return None;
        }
        let settings = HttpPersistentSettings::for_session(&session);
        let reusable = session.finish().await.ok()??;
        Some(ReusedHttpStream::from_reusable_stream(reusable, settings))
    }
}

/// Reads the rest of the request and answers it.
async fn exchange(session: &mut ServerSession) -> Result<()> {
    if expects_continue(session) {
        // Or a client with a long prompt waits a second before it sends it. Pingora takes this for an answer to an
        // unfinished request, after which it would close.
        session.set_close_on_response_before_downstream_finish(false);
        session.write_continue_response().await?;
        session.set_close_on_response_before_downstream_finish(true);
    }
    let Some(body) = read_body(session).await? else {
        session.set_keepalive(None);
        let answer = Answer::text(StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than 32 MiB\n");
        send(session, answer).await?;
        return discard(session).await;
    };
    let head = session.as_http1().map(|http1| http1.get_headers_raw_bytes().clone()).unwrap_or_default();
    let request = session.req_header();
    let asked = Asked::new(request.method.clone(), &request.uri, &request.headers, head, body);
    if let Some(wait) = asked.wait() {
        // What `/slow` is there for.
        tokio::time::sleep(wait).await;
    }
    send(session, route(&asked)).await
}

/// HTTP/1.0 has no interim responses, so there it means nothing (RFC 9110, section 10.1.1).
fn expects_continue(session: &ServerSession) -> bool {
    let request = session.req_header();
    request.version >= Version::HTTP_11
        && request
            .headers
            .get(header::EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// The whole body, or nothing if it is longer than anyone's.
async fn read_body(session: &mut ServerSession) -> Result<Option<Bytes>> {
    let mut whole = BytesMut::new();
    while let Some(part) = session.read_request_body().await? {
        if whole.len() + part.len() > LARGEST_BODY {
            return Ok(None);
        }
        whole.extend_from_slice(&part);
    }
    Ok(Some(whole.freeze()))
}

/// Reads what a client goes on sending, as much again as a body may have: closing on it could cost it the answer (RFC 9112 §9.6).
async fn discard(session: &mut ServerSession) -> Result<()> {
    let mut bytes = 0;
    while bytes < LARGEST_BODY {
        let Some(part) = session.read_request_body().await? else { break };
        bytes += part.len();
    }
    Ok(())
}

/// Which endpoint it is.
fn route(asked: &Asked) -> Answer {
    let path = asked.path.as_str();
    let found = if path.starts_with("/v1beta/") || path.starts_with("/v1alpha/") || asked.gemini {
        gemini::answer(asked)
    } else if path.starts_with("/v1/messages") || (path.starts_with("/v1/models") && asked.anthropic) {
        anthropic::answer(asked)
    } else if path.starts_with("/v1/") {
        openai::answer(asked)
    } else {
        plain::answer(asked)
    };
    found.unwrap_or_else(|| Answer::text(StatusCode::NOT_FOUND, "no such endpoint; `GET /` lists them\n"))
}

async fn send(session: &mut ServerSession, answer: Answer) -> Result<()> {
    let bodiless = session.req_header().method == Method::HEAD;
    let mut head = ResponseHeader::build(answer.status, Some(4))?;
    head.insert_header(header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type))?;
    match answer.body {
        Body::Whole(body) => {
            if !matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
                head.insert_header(header::CONTENT_LENGTH, body.len())?;
            }
            session.write_response_header(Box::new(head)).await?;
            if bodiless || body.is_empty() {
                return Ok(());
            }
            session.write_response_body(body, true).await
        }
        Body::Events(events) => {
            head.insert_header(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
            head.insert_header(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))?;
            session.write_response_header(Box::new(head)).await?;
            if bodiless { Ok(()) } else { stream(session, events).await }
        }
    }
}

/// Event by event, each with its delay before it.
async fn stream(session: &mut ServerSession, events: Events) -> Result<()> {
    for event in events.before {
        session.write_response_body(event, false).await?;
    }
    for _ in 0..events.chunks {
        if events.delay > Duration::ZERO {
            tokio::time::sleep(events.delay).await;
        }
        session.write_response_body(events.chunk.clone(), false).await?;
    }
    for event in events.after {
        session.write_response_body(event, false).await?;
    }
    session.write_response_body(Bytes::new(), true).await
}
