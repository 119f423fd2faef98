//! A client's connection that speaks HTTP/1, and waits for a request in little memory.
//!
//! What Pingora sets up to read a request is some 15 KiB, the future of the whole exchange, beside its read buffers. It is
//! set up here only once the first bytes of a request are there; they are read into the stack, and given to Pingora as soon
//! as it asks. An idle connection holds the socket and little else.
//!
//! What a client sends behind a request waits here for its turn (pipelining, RFC 9112 §9.3.2). Pingora must not see it
//! before: while the answer is under way it takes any byte for a fault, and breaks the exchange off. So it gets a header section,
//! then a body, and of a chunked one no byte that another parser could take for the next request's.
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
use super::framing::Framing;
use super::listener::Connections;
use crate::connection::passes_on;
use crate::proxy::{answer_to_unreadable, arrival, is_hopeless, make_readable};
use crate::telemetry::metrics::RefusedConnection;

/// The most of a request that is read at first, or before its turn: nearly every request to a language model that has no
/// image in it.
const FIRST: usize = 8 * 1024;

/// The most of a request line that is read before Pingora has it. A longer target it could not take (`http::Uri`).
const LONGEST_LINE: usize = 65 * 1024;

/// The connection.
#[derive(Debug)]
pub(super) struct ClientConnection {
    stream: Stream,
    connections: Arc<Connections>,
    /// The first bytes of a request, and perhaps of those behind it.
    first: Vec<u8>,
    /// How many of them Pingora has.
    given: usize,
    /// How many of them are its header section, as far as is known.
    head: usize,
    /// Where it ends.
    request: Framing,
    /// What is left of an answer in place of Pingora's.
    instead: Bytes,
    /// Whether something was written that may still wait in a buffer.
    is_unflushed: bool,
}

impl ClientConnection {
    pub(super) fn new(stream: Stream, connections: Arc<Connections>) -> Self {
        Self {
            stream,
            connections,
            first: Vec::new(),
            given: 0,
            head: 0,
            request: Framing::default(),
            instead: Bytes::new(),
            is_unflushed: false,
        }
    }

    /// Waits for the next request to begin; `false` if the client closes the connection instead.
    ///
    /// # Errors
    /// The connection broke.
    pub(super) async fn begins(&mut self) -> io::Result<bool> {
        std::future::poll_fn(|context| self.poll_begins(context)).await
    }

    fn poll_begins(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        self.first.drain(..std::mem::take(&mut self.given));
        (self.head, self.request) = (0, Framing::default());
        loop {
            // RFC 9112 §2.2: some clients end a body with an empty line too many.
            self.first.drain(..empty_lines(&self.first));
            if !matches!(*self.first, [] | [b'\r']) {
                return Poll::Ready(Ok(true));
            }
            if self.first.is_empty() {
                // Nothing is kept while there is nothing.
                self.first = Vec::new();
            }
            if ready!(self.poll_more(context, FIRST))? == 0 {
                return Poll::Ready(Ok(false));
            }
        }
    }

    /// Reads what the client has sent, as long as no more than `most` bytes are waiting. The number of bytes; 0 if there are no
    /// more to come.
    fn poll_more(&mut self, context: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        let mut room = [MaybeUninit::uninit(); FIRST];
        let left = most.saturating_sub(self.first.len() - self.given);
        let mut read = ReadBuf::uninit(room.get_mut(..left.min(FIRST)).unwrap_or_default());
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
        self.first.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Reads the header section, unless it is a large one; of that, the request line at least.
    fn poll_header_section(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let (seen, in_line) = (self.head, self.request.header_section.lines() == 0);
            let unseen = self.first.get(seen..).unwrap_or_default();
            self.head += self.request.header_section.own(unseen);
            let most = if self.request.header_section.lines() == 0 { LONGEST_LINE } else { FIRST };
            let is_enough = self.request.header_section.is_over() || self.head >= most;
            if is_enough || (in_line && is_hopeless(&self.first, seen)) {
                break;
            }
            if ready!(self.poll_more(context, most))? == 0 {
                break;
            }
        }
        make_readable(&mut self.first);
        Poll::Ready(Ok(()))
    }

    /// Gives Pingora of what has been read what belongs to what it reads now.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
        let is_awaited = arrival::is_awaited();
        let end = if is_awaited { self.head } else { self.first.len() };
        let rest = self.first.get(self.given..end).unwrap_or_default();
        let now = rest.get(..rest.len().min(buffer.remaining())).unwrap_or_default();
        // A header section has been looked at before.
        let own = if is_awaited { now.len() } else { self.request.own(now)? };
        buffer.put_slice(now.get(..own).unwrap_or_default());
        self.given += own;
        Ok(())
    }

    /// Reads on behind a whole request, which ends only where the client does: Pingora looks whether it is still there.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.first.len() - self.given < FIRST {
            if ready!(self.poll_more(context, FIRST))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        // Nobody looks for more, or for the end, before the answer is there.
        Poll::Pending
    }

    /// Writes an answer in place of the one that Pingora has for what it cannot read. It writes the head of that at once, and
    /// there is nothing else.
    fn poll_instead(&mut self, context: &mut Context<'_>, pingoras: &[u8]) -> Poll<io::Result<usize>> {
        if self.instead.is_empty() {
            let is_too_large = self.request.header_section.is_too_large();
            let answer = answer_to_unreadable(&self.first, is_too_large, pingoras);
            let client =
                admission::client_of(&self.stream).map_or_else(|| "?".to_owned(), |ip| ip.to_string());
            let (why, id) = (answer.message.trim_end_matches('.'), answer.request_id);
            let what = format_args!("{client} sent what is no request of HTTP ({id}): {why}");
            self.connections.refused(RefusedConnection::Unreadable, what);
            self.instead = answer.bytes.into();
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

/// How many of these bytes are empty lines at their begin.
fn empty_lines(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some(behind) = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n")) {
        rest = behind;
    }
    bytes.len() - rest.len()
}

impl AsyncRead for ClientConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Pingora reads here whenever it waits for the upstream. What it has of an answer of known length it would keep until that is
        // whole, its head too.
        if self.is_unflushed
            && let Poll::Ready(Err(error)) = self.as_mut().poll_flush(context)
        {
            return Poll::Ready(Err(error));
        }
        if arrival::is_whole() {
            return self.poll_end(context);
        }
        if arrival::is_awaited() && self.given == 0 {
            ready!(self.poll_header_section(context))?;
        }
        if self.given < self.first.len() {
            return Poll::Ready(self.give(buffer));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let read = buffer.filled().get(before..).unwrap_or_default();
        let own = self.request.own(read)?;
        // The others wait for their turn.
        self.first.extend_from_slice(read.get(own..).unwrap_or_default());
        buffer.set_filled(before + own);
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
        self.is_unflushed = true;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.is_unflushed = flushed.is_pending();
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.is_unflushed = true;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

passes_on!(ClientConnection, stream);
