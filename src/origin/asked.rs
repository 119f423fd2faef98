//! What a request asks for.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use serde::Deserialize;

/// Events of a stream, if the query does not say.
const CHUNKS: u32 = 5;

/// More events than anyone waits for.
const MOST_CHUNKS: u32 = 1_000_000;

/// The longest delay between two events, and the slowest that `/slow` can be, in milliseconds.
const LONGEST_DELAY_MS: u64 = 600_000;

/// How slow `/slow` is, if the query does not say, in milliseconds.
const SLOW_MS: u64 = 1000;

/// A request, as far as an answer depends on it.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) path: String,
    /// Whether an Anthropic client sent it.
    pub(super) anthropic: bool,
    /// Whether a Gemini client sent it; from version 3 on the SDK uses paths below `/v1/` too.
    pub(super) gemini: bool,
    /// `?chunks=N`
    pub(super) chunks: u32,
    /// `?delay_ms=M`
    pub(super) delay: Duration,
    /// `?alt=sse`, with which Gemini streams events.
    pub(super) alt_sse: bool,
    /// `?ms=M` of `/slow`.
    slow: Duration,
    /// The header section as it came; empty for HTTP/2.
    pub(super) head: Bytes,
    pub(super) body: Bytes,
}

/// The part of a body that counts.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Prompt {
    #[serde(default)]
    pub(super) model: Option<String>,
    #[serde(default)]
    pub(super) stream: bool,
}

impl Asked {
    pub(super) fn new(method: Method, uri: &Uri, headers: &HeaderMap, head: Bytes, body: Bytes) -> Self {
        let query = uri.query().unwrap_or_default();
        let number = |name: &str| parameter(query, name).and_then(|value| value.parse::<u64>().ok());
        let milliseconds =
            |name, otherwise| Duration::from_millis(number(name).unwrap_or(otherwise).min(LONGEST_DELAY_MS));
        let chunks = number("chunks").and_then(|chunks| u32::try_from(chunks).ok());
        Self {
            // HEAD asks for what GET does; the body is left out in the end.
            method: if method == Method::HEAD { Method::GET } else { method },
            path: uri.path().to_owned(),
            gemini: headers.contains_key("x-goog-api-client"),
            anthropic: headers.contains_key("anthropic-version"),
            chunks: chunks.unwrap_or(CHUNKS).min(MOST_CHUNKS),
            delay: milliseconds("delay_ms", 0),
            alt_sse: parameter(query, "alt") == Some("sse"),
            slow: milliseconds("ms", SLOW_MS),
            head,
            body,
        }
    }

    /// The prompt; `None` if the body is no JSON object.
    pub(super) fn prompt(&self) -> Option<Prompt> {
        serde_json::from_slice(&self.body).ok()
    }

    /// How long to wait before the answer.
    pub(super) fn wait(&self) -> Option<Duration> {
        (self.path == "/slow").then_some(self.slow)
    }
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}
