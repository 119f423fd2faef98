//! A client's connection that speaks HTTP/1, and waits for a request in little memory.
//!
//! What Pingora sets up to read a request is some 15 KiB, the future of the whole exchange, beside its read buffers. It is
//! set up here only once the first bytes of a request are there; they are read into the stack, and given to Pingora as soon
//! as it asks. An idle connection holds the socket and little else.
//!
//! It is also the one place that sees what Pingora makes of bytes that are no request.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use pingora::protocols::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::admission;
use super::listener::Connections;
use crate::connection::passes_on;
use crate::proxy::{answer_to_unreadable, arrival, make_readable};
use crate::telemetry::metrics::RefusedConnection;

/// The most of a request that is read at first: nearly every request to a language model that has no image in it.
const FIRST: usize = 8 * 1024;

/// The connection.
#[derive(Debug)]
pub(super) struct ClientConnection {
    stream: Stream,
    connections: Arc<Connections>,
    /// The first bytes of a request.
    first: Vec<u8>,
    /// How many of them Pingora has.
    given: usize,
    /// What is left of an answer in place of Pingora's.
    instead: Bytes,
}

impl ClientConnection {
    pub(super) fn new(stream: Stream, connections: Arc<Connections>) -> Self {
        Self { stream, connections, first: Vec::new(), given: 0, instead: Bytes::new() }
    }

    /// Waits for the next request to begin; `false` if the client closes the connection instead.
    ///
    /// # Errors
    /// The connection broke.
    pub(super) async fn begins(&mut self) -> io::Result<bool> {
        std::future::poll_fn(|context| self.poll_begins(context)).await
    }

    fn poll_begins(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.given < self.first.len() {
            return Poll::Ready(Ok(true));
        }
        // Those of the last request are of no use while there is none.
        (self.given, self.first) = (0, Vec::new());
        let mut room = [MaybeUninit::uninit(); FIRST];
        let mut read = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
        self.first.extend_from_slice(read.filled());
        make_readable(&mut self.first);
        Poll::Ready(Ok(!self.first.is_empty()))
    }

    /// Writes an answer in place of the one that Pingora has for what it cannot read. It writes the head of that at once, and
    /// there is nothing else.
    fn poll_instead(&mut self, context: &mut Context<'_>, pingoras: &[u8]) -> Poll<io::Result<usize>> {
        if self.instead.is_empty() {
            self.instead = answer_to_unreadable(&self.first, pingoras).into();
            let client =
                admission::client_of(&self.stream).map_or_else(|| "?".to_owned(), |ip| ip.to_string());
            let what = format_args!("{client} sent what is no request of HTTP");
            self.connections.refused(RefusedConnection::Unreadable, what);
        }
        while !self.instead.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.instead))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.instead.advance(written);
        }
        Poll::Ready(Ok(pingoras.len()))
    }
}

impl AsyncRead for ClientConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = self.first.get(self.given..).unwrap_or_default();
        if rest.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let now = rest.len().min(buffer.remaining());
        buffer.put_slice(rest.get(..now).unwrap_or_default());
        self.given += now;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if arrival::is_awaited() && bytes.starts_with(b"HTTP/1.1 400 ") {
            return self.poll_instead(context, bytes);
        }
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

passes_on!(ClientConnection, stream);
