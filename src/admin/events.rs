//! `GET /api/events`: what happens, as server-sent events (the HTML standard, section "Server-sent events").
//!
//! One `live` event a second, and one `denial` for each refusal. Every stream has a task that reads sums and hands bytes
//! to its connection; a client that does not read holds up that task alone, until it is given up. Each event's `id` says
//! which denials the client has seen, so that one which comes back gets those that it missed.

mod live;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Frame;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::Api;
use super::reply::Refusal;
use crate::clock::UnixSeconds;
use crate::policy::AdminToken;
use crate::telemetry::denial_records::Denial;
use live::Live;

/// Streams at a time: half of the connections that one address may have, so that there are always some for questions.
pub(super) const MOST_STREAMS: usize = 16;

/// Between two `live` events.
const PERIOD: Duration = Duration::from_secs(1);

/// A client that takes nothing for this long is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Denials that a new client gets, and the most in one second: more than anyone reads. All are to be had by id.
const MOST_DENIALS: usize = 50;

/// How long a client is to wait before it comes back.
const RETRY: &str = "retry: 1000\n\n";

/// The header in which a client says what it saw last.
const LAST_EVENT_ID: &str = "last-event-id";

pub(super) async fn stream(State(api): State<Arc<Api>>, headers: HeaderMap) -> Result<Response, Refusal> {
    let place = Arc::clone(&api.streams).try_acquire_owned().map_err(|_| Refusal::StreamsFull)?;
    let (sender, receiver) = mpsc::channel(1);
    let last_id = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
    let client = Client { seen: seen(&api, last_id), token: api.token(), _place: place };
    tokio::spawn(feed(api, sender, client));
    let body = Body::new(Events(receiver));
    Ok(([(header::CONTENT_TYPE, "text/event-stream")], body).into_response())
}

/// Who reads a stream.
struct Client {
    /// The last denial that it was told.
    seen: u64,
    /// The token that let it in.
    token: Option<AdminToken>,
    _place: OwnedSemaphorePermit,
}

/// Ends when the client is gone, takes nothing any more, or the token is another: what it came in with counts no more.
async fn feed(api: Arc<Api>, sender: mpsc::Sender<Bytes>, mut client: Client) {
    let mut text = RETRY.to_owned();
    let mut before = live::Before::default();
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = sender.closed() => return,
        }
        if api.token() != client.token {
            return;
        }
        for (number, denial) in api.handles.denials.records().since(client.seen, MOST_DENIALS) {
            client.seen = number;
            write(&mut text, "denial", &id(&api, number), &Told::of(&denial));
        }
        write(&mut text, "live", &id(&api, client.seen), &Live::read(&api, &mut before));
        let bytes = Bytes::from(std::mem::take(&mut text));
        if sender.send_timeout(bytes, PATIENCE).await.is_err() {
            return;
        }
    }
}

fn write(text: &mut String, event: &str, id: &str, data: &impl Serialize) {
    // JSON has no line breaks that are not escaped.
    let data = serde_json::to_string(data).unwrap_or_default();
    text.push_str(&format!("event: {event}\nid: {id}\ndata: {data}\n\n"));
}

/// Which process, and the last denial that was told.
fn id(api: &Api, seen: u64) -> String {
    format!("{}-{seen}", run(api))
}

fn run(api: &Api) -> String {
    format!("{}.{}", api.handles.process.started.0, std::process::id())
}

/// The last denial that the client was told; 0 if it was another process that told it.
fn seen(api: &Api, last_id: &str) -> u64 {
    match last_id.split_once('-') {
        Some((other, seen)) if other == run(api) => seen.parse().unwrap_or_default(),
        _ => 0,
    }
}

/// A denial in short.
#[derive(Serialize)]
struct Told<'a> {
    at: UnixSeconds,
    request_id: &'a str,
    client: Option<std::net::IpAddr>,
    method: &'a str,
    path: &'a str,
    status: u16,
    code: &'static str,
    header: Option<&'static str>,
    cause: Option<&'a str>,
}

impl<'a> Told<'a> {
    fn of(denial: &'a Denial) -> Self {
        let cause = denial.explanation.diagnosis.as_ref().map(|diagnosis| diagnosis.cause.as_ref());
        let Denial { at, request_id, client, method, path, status, code, header, .. } = denial;
        Self {
            at: *at,
            request_id,
            client: *client,
            method,
            path,
            status: *status,
            code,
            header: *header,
            cause,
        }
    }
}

/// The body of the answer: what the task hands over.
struct Events(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(ready!(self.0.poll_recv(context)).map(|bytes| Ok(Frame::data(bytes))))
    }
}
