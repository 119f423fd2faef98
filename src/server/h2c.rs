//! HTTP/2 without TLS, by prior knowledge (RFC 9113 §3.3), beside HTTP/1.1 on the same port.
//!
//! Pingora can do this too, but waits for the 24 bytes of the preface without a limit, so that a client with a shorter
//! HTTP/1.0 request, or with no intention at all, would hold a connection for ever.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pingora::protocols::tls::SslDigest;
use pingora::protocols::{ALPN, Ssl, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use crate::connection::passes_on;

/// How every connection of HTTP/2 begins (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much of it tells it from every request of HTTP/1, the shortest of which is longer.
const FIRST: usize = 4;

/// How long a client may take to begin.
const BEGIN: Duration = Duration::from_secs(10);

/// The connection, marked as HTTP/2 if it begins as such; `None` if the client is gone, or too slow.
pub(super) async fn detect(mut stream: Stream) -> Option<Stream> {
    let begins_as_http2 = timeout(BEGIN, begins_as_http2(&mut stream)).await.ok()?.ok()?;
    Some(if begins_as_http2 { Box::new(PriorKnowledge(stream)) } else { stream })
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

/// A connection that says of itself what ALPN would have said of one with TLS.
#[derive(Debug)]
struct PriorKnowledge(Stream);

impl Ssl for PriorKnowledge {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        None
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        Some(ALPN::H2)
    }
}

impl AsyncRead for PriorKnowledge {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for PriorKnowledge {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

passes_on!(PriorKnowledge, 0);
