//! A connection to a peer over which the header section and the beginning of the body leave together.
//!
//! Pingora writes the header section of a request and flushes it, and then the first piece of the body: two segments, each
//! with its way through the whole TCP stack on both sides, and a wake-up of the peer that can do nothing with the first.
//! Here the header section of a request that has a body is kept back until the first piece comes, or until it is clear that
//! none is at hand: Pingora asks for the response as often as its task runs, and when it asks a second time in vain the body
//! is still on its way (`Expect: 100-continue`, an upload that is slow to begin), and the header section goes out alone.
//! Nothing waits for a clock, and what is not kept back passes as it is.
//!
//! When an exchange is over the connection goes to the [`pool`].
//!
//! A peer that takes no more of a request ends the exchange with the time-out for writes. Pingora by itself goes on to wait for
//! an answer then, as long as it waits for any; here it gets what the peer has said already, and no more.

#[cfg(test)]
mod tests;

use std::io;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pingora::protocols::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pool::{self, Lease};
use crate::connection::passes_on;

/// The most that is gathered: a segment over loopback, and one record of TLS.
const MOST: usize = 16 * 1024;

/// Room for a usual header section and a short body; one that had to grow is given back when it has gone out.
const USUAL: usize = 4 * 1024;

/// What becomes of what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A response was read, or nothing was written yet: what comes next is a request.
    Fresh,
    /// A request has begun; its bytes pass.
    Begun,
    /// Its header section is kept back.
    Holding {
        /// Pingora flushed it, as it does after each header section.
        flushed: bool,
        /// The response was asked for.
        awaited: bool,
    },
    /// What was gathered is on its way.
    Sending,
}

/// The connection.
#[derive(Debug)]
pub(super) struct Gathering {
    stream: Stream,
    state: State,
    gathered: Vec<u8>,
    sent: usize,
    /// What it leads to, for the pool.
    lease: Lease,
    /// A write was told to wait. Pingora does nothing else with the connection meanwhile: if it reads, it has given that up.
    blocked: bool,
}

impl Gathering {
    pub(super) fn new(stream: Stream, lease: Lease) -> Self {
        Self { stream, state: State::Fresh, gathered: Vec::new(), sent: 0, lease, blocked: false }
    }

    /// Whether Pingora asks if the peer has closed the connection, before it keeps it for another request. It asks for a single
    /// byte then, in an array; responses are read into what is not initialised, be there room for one byte only.
    fn is_over(&self, buffer: &ReadBuf<'_>) -> bool {
        self.state == State::Fresh && buffer.capacity() == 1 && buffer.initialized().len() == 1
    }

    /// Gives the connection away to the pool. To Pingora it is closed.
    fn retire(&mut self) {
        let closed = Box::new(io::Cursor::new(Vec::new()));
        pool::keep(&self.lease, std::mem::replace(&mut self.stream, closed));
    }

    fn noted<T>(&mut self, written: Poll<T>) -> Poll<T> {
        self.blocked = written.is_pending();
        written
    }

    fn poll_write_on(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut Stream>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.state == State::Sending {
            ready!(self.poll_send(context))?;
        }
        self.state = State::Begun;
        write(Pin::new(&mut self.stream), context)
    }

    /// Takes the first pieces of a body to the header section that was kept back, and writes them out together.
    fn poll_gather(
        &mut self,
        context: &mut Context<'_>,
        pieces: &[impl Deref<Target = [u8]>],
    ) -> Poll<io::Result<usize>> {
        let before = self.gathered.len();
        for piece in pieces {
            let room = MOST.saturating_sub(self.gathered.len());
            self.gathered.extend_from_slice(piece.get(..room).unwrap_or(piece));
        }
        let taken = self.gathered.len() - before;
        // What does not go out now goes with the next write, flush or read.
        match self.poll_send(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(taken)),
        }
    }

    /// Writes out what is left of what was gathered.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !matches!(self.state, State::Holding { .. } | State::Sending) {
            return Poll::Ready(Ok(()));
        }
        self.state = State::Sending;
        while let Some(rest) = self.gathered.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
        }
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.state = State::Begun;
        self.sent = 0;
        self.gathered.clear();
        self.gathered.shrink_to(USUAL);
        Poll::Ready(Ok(()))
    }
}

/// Whether these bytes are the header section of a request that may have a body. Pingora writes a header section at once.
fn announces_a_body(bytes: &[u8]) -> bool {
    let method =
        [b"POST ".as_slice(), b"PUT ", b"PATCH "].into_iter().any(|method| bytes.starts_with(method));
    method && bytes.len() < MOST && bytes.ends_with(b"\r\n\r\n")
}

impl AsyncRead for Gathering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.state {
            State::Holding { awaited: false, flushed } => {
                self.state = State::Holding { awaited: true, flushed };
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            State::Holding { .. } | State::Sending => {
                if let Poll::Ready(Err(error)) = self.poll_send(context) {
                    return Poll::Ready(Err(error));
                }
            }
            State::Fresh | State::Begun => {}
        }
        let is_over = self.is_over(buffer);
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if self.state == State::Begun && buffer.filled().len() > before {
            self.state = State::Fresh;
        }
        match read {
            Poll::Pending if is_over => {
                self.retire();
                Poll::Ready(Ok(()))
            }
            Poll::Pending if self.blocked => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
            Poll::Ready(read) => {
                self.blocked = false;
                Poll::Ready(read)
            }
        }
    }
}

impl AsyncWrite for Gathering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.state {
            State::Fresh if announces_a_body(bytes) => {
                self.gathered.extend_from_slice(bytes);
                self.state = State::Holding { flushed: false, awaited: false };
                Poll::Ready(Ok(bytes.len()))
            }
            State::Holding { .. } => self.poll_gather(context, &[bytes]),
            _ => {
                let written =
                    self.poll_write_on(context, |stream, context| stream.poll_write(context, bytes));
                self.noted(written)
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let State::Holding { flushed: false, awaited } = self.state {
            self.state = State::Holding { flushed: true, awaited };
            return Poll::Ready(Ok(()));
        }
        let flushed = match self.poll_send(context) {
            Poll::Ready(Ok(())) => Pin::new(&mut self.stream).poll_flush(context),
            other => other,
        };
        self.noted(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.state {
            // A chunk: its size, its bytes, its end.
            State::Holding { .. } => self.poll_gather(context, slices),
            _ => {
                let written = self
                    .poll_write_on(context, |stream, context| stream.poll_write_vectored(context, slices));
                self.noted(written)
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

passes_on!(Gathering, stream);
