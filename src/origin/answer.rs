//! What the origin answers.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

/// What a model says, whoever it is.
pub(super) const TEXT: &str = "Hello from the mock origin.";

/// What it says in each event of a stream.
pub(super) const CHUNK: &str = " Hello";

/// A response.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) body: Body,
}

/// Its body.
#[derive(Debug)]
pub(super) enum Body {
    /// All at once.
    Whole(Bytes),
    /// Server-sent events.
    Events(Events),
}

/// A stream: the same event again and again, between those that begin and end it.
#[derive(Debug)]
pub(super) struct Events {
    pub(super) before: Vec<Bytes>,
    pub(super) chunk: Bytes,
    pub(super) chunks: u32,
    pub(super) delay: Duration,
    pub(super) after: Vec<Bytes>,
}

impl Answer {
    pub(super) fn json(status: StatusCode, value: &Value) -> Self {
        let body = Body::Whole(value.to_string().into());
        Self { status, content_type: "application/json", body }
    }

    pub(super) fn ok(value: &Value) -> Self {
        Self::json(StatusCode::OK, value)
    }

    /// JSON that was made once for all requests.
    pub(super) fn prebuilt(json: &Bytes) -> Self {
        Self { status: StatusCode::OK, content_type: "application/json", body: Body::Whole(json.clone()) }
    }

    pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: Body::Whole(text.into()) }
    }

    pub(super) fn events(events: Events) -> Self {
        Self { status: StatusCode::OK, content_type: "text/event-stream", body: Body::Events(events) }
    }
}

/// An event without a name, as OpenAI and Gemini send them.
pub(super) fn event(data: &Value) -> Bytes {
    format!("data: {data}\n\n").into()
}

/// An event with its name, as Anthropic sends them: the name is also the `type` in it.
pub(super) fn named_event(data: &Value) -> Bytes {
    let name = data.get("type").and_then(Value::as_str).unwrap_or_default();
    format!("event: {name}\ndata: {data}\n\n").into()
}
