//! Refusal or fault to response, in the caller's dialect: the only place that writes an error body.
//!
//! The connection stays open where its state is beyond doubt: a closed connection for each 401 would make a flood of
//! bad keys four times as expensive.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora_proxy::Session;

use super::dialect::{ApiError, Dialect};
use super::fault::Fault;
use super::headers::{X_KEYGATE_ERROR, X_REQUEST_ID};
use super::limits;
use super::{Ctx, browsers, refusals, request_id, unreadable};
use crate::auth::{Deny, HeaderSet};
use crate::limit::Exceeded;
use crate::policy::ProtocolKeys;

/// How much of an unread request body is read, so that a client that is still sending it can read the answer.
const DRAIN_BYTES: usize = 1 << 20;

/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// What the health check answers to; `Allow` of each of its answers.
pub(super) const HEALTH_METHODS: &str = "GET, HEAD, OPTIONS";

/// An error answer.
struct Answer<'a> {
    error: ApiError<'a>,
    extra: &'a [(HeaderName, HeaderValue)],
}

/// Answers a refusal.
pub(super) async fn deny(session: &mut Session, deny: &Deny, ctx: &Ctx) -> Result<()> {
    let request = session.req_header();
    let dialect = Dialect::of(request.uri.path(), &request.headers, deny.present.deciding());
    let (header, body) = refusals::answer(*deny, dialect, &ctx.request_id)?;
    send(session, header, body, ctx).await
}

/// Answers a request that was one too many.
pub(super) async fn too_much(session: &mut Session, exceeded: Exceeded, ctx: &Ctx) -> Result<()> {
    let extra = limits::fields(exceeded);
    let error = ApiError { status: 429, code: exceeded.code(), message: &exceeded.message() };
    write(session, &Answer { error, extra: &extra }, ctx).await
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
    let error = ApiError { status: fault.status(), code: fault.code(), message: fault.message() };
    write(session, &Answer { error, extra: extra.as_slice() }, ctx).await
}

/// What is said to a client that sent no request.
pub struct AnswerToUnreadable {
    /// A head and a body, after which the connection is closed.
    pub bytes: Vec<u8>,
    /// What is wrong, in a sentence.
    pub message: &'static str,
    /// Its `x-request-id`.
    pub request_id: String,
}

/// The answer to what is no request, in place of the one that Pingora wrote. `first` are the first bytes that the client sent;
/// the header section `is_too_large` if it is more than Pingora reads.
pub fn unreadable(first: &[u8], is_too_large: bool, pingoras: &[u8]) -> AnswerToUnreadable {
    let path = unreadable::target(first).split('?').next().unwrap_or_default();
    let fault = unreadable::fault(first, is_too_large);
    let id = request_id::of(&HeaderMap::new());
    let error = ApiError { status: fault.status(), code: fault.code(), message: fault.message() };
    let body = Dialect::of(path, &HeaderMap::new(), None).body(&error, &id);
    let status = StatusCode::from_u16(fault.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let (code, length, id) = (fault.code(), body.len(), id.to_str().unwrap_or_default());
    let date = date_line(pingoras);
    let head = format!(
        "HTTP/1.1 {status}\r\n{date}content-type: application/json\r\ncontent-length: {length}\r\n\
         cache-control: no-store\r\nx-keygate-error: {code}\r\nx-request-id: {id}\r\nconnection: close\r\n\r\n"
    );
    AnswerToUnreadable {
        bytes: [head.as_bytes(), &body].concat(),
        message: fault.message(),
        request_id: id.to_owned(),
    }
}

/// The `Date` line of a head, with its end.
fn date_line(head: &[u8]) -> &str {
    let mut lines = head.split_inclusive(|&byte| byte == b'\n');
    let is_date = |line: &&[u8]| line.get(..5).is_some_and(|name| name.eq_ignore_ascii_case(b"date:"));
    lines.find(is_date).and_then(|line| std::str::from_utf8(line).ok()).unwrap_or_default()
}

async fn write(session: &mut Session, answer: &Answer<'_>, ctx: &Ctx) -> Result<()> {
    let request = session.req_header();
    let deciding = HeaderSet::of(&request.headers, ProtocolKeys::Ignored).deciding();
    let dialect = Dialect::of(request.uri.path(), &request.headers, deciding);
    let body = dialect.body(&answer.error, &ctx.request_id);
    let mut header = ResponseHeader::build(answer.error.status, Some(8))?;
    header.insert_header(header::CONTENT_TYPE, "application/json")?;
    header.insert_header(header::CONTENT_LENGTH, body.len())?;
    header.insert_header(header::CACHE_CONTROL, "no-store")?;
    header.insert_header(X_KEYGATE_ERROR.as_str(), answer.error.code)?;
    header.insert_header(X_REQUEST_ID.as_str(), &ctx.request_id)?;
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
    waits_to_continue(session) || announced.is_some_and(|bytes| bytes > DRAIN_BYTES)
}

/// With HTTP/2 clients do not always wait (curl does not), and some lose an answer whose stream is reset behind it. A
/// stream costs little, so there a client that does wait has the time to end its own.
fn waits_to_continue(session: &Session) -> bool {
    !session.is_http2() && session.req_header().headers.contains_key(header::EXPECT)
}

/// Reads what is left of the request body, within limits; whether that was all of it.
async fn drain(session: &mut Session) -> bool {
    if waits_to_continue(session) {
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
