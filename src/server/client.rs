//! A client's connection that speaks HTTP/1, and waits for a request in little memory.
//!
//! What Pingora sets up to read a request is some 15 KiB, the future of the whole exchange, beside its read buffers. It is
//! set up here only once the first bytes of a request are there; they are read into the stack, and given to Pingora as soon
//! as it asks. An idle connection holds the socket and little else.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{ALPN, Ssl, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connection::passes_on;

/// The most of a request that is read at first: nearly every request to a language model that has no image in it.
const FIRST: usize = 8 * 1024;

/// The connection.
#[derive(Debug)]
pub(super) struct ClientConnection {
    stream: Stream,
    /// What was read of the next request and not yet asked for.
    ahead: Vec<u8>,
    given: usize,
}

impl ClientConnection {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, ahead: Vec::new(), given: 0 }
    }

    /// Waits for the next request to begin; `false` if the client closes the connection instead.
    ///
    /// # Errors
    /// The connection broke.
    pub(super) async fn begins(&mut self) -> io::Result<bool> {
        std::future::poll_fn(|context| self.poll_begins(context)).await
    }

    fn poll_begins(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.given < self.ahead.len() {
            return Poll::Ready(Ok(true));
        }
        let mut room = [MaybeUninit::uninit(); FIRST];
        let mut read = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
        self.given = 0;
        self.ahead.clear();
        self.ahead.extend_from_slice(read.filled());
        Poll::Ready(Ok(!self.ahead.is_empty()))
    }
}

impl AsyncRead for ClientConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let ahead = self.ahead.get(self.given..).unwrap_or_default();
        if ahead.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let now = ahead.len().min(buffer.remaining());
        buffer.put_slice(ahead.get(..now).unwrap_or_default());
        self.given += now;
        if self.given == self.ahead.len() {
            (self.given, self.ahead) = (0, Vec::new());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl Ssl for ClientConnection {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.stream.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

passes_on!(ClientConnection, stream);
