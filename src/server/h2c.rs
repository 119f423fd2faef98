//! HTTP/2 without TLS, by prior knowledge (RFC 9113 §3.3), beside HTTP/1.1 on the same port.
//!
//! Pingora can do this too, but waits for the 24 bytes of the preface without a limit, so that a client with a shorter
//! HTTP/1.0 request, or with no intention at all, would hold a connection for ever.

use std::io;
use std::time::Duration;

use pingora::protocols::Stream;
use tokio::time::timeout;

/// How every connection of HTTP/2 begins (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much of it tells it from every request of HTTP/1, the shortest of which is longer.
const FIRST: usize = 4;

/// Whether the connection begins as HTTP/2, of which nothing is taken away; `None` if the client is gone, or does not begin
/// within `limit`.
pub(super) async fn detect(stream: &mut Stream, limit: Duration) -> Option<bool> {
    timeout(limit, begins_as_http2(stream)).await.ok()?.ok()
}

async fn begins_as_http2(stream: &mut Stream) -> io::Result<bool> {
    let mut first = [0; FIRST];
    if !stream.try_peek(&mut first).await? || !PREFACE.starts_with(&first) {
        return Ok(false);
    }
    let mut preface = [0; PREFACE.len()];
    stream.try_peek(&mut preface).await?;
    Ok(preface == *PREFACE)
}
