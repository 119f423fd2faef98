//! How much of a request has arrived, and a limit on how long its header section may take (slowloris).
//!
//! Pingora has a time-out for each read of it, so a client that sends a byte a second holds a connection for ever
//! (cloudflare/pingora#447). Here the whole of it has one: whoever runs an exchange does so [`within`] a limit, which
//! counts no more once the header section is there.
//!
//! The phases note how far the request has come. Who reads its connection can ask, and tell its bytes from the next one's.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::Sleep;

tokio::task_local! {
    static ARRIVED: Cell<Arrived>;
}

/// What there is of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrived {
    Nothing,
    /// The header section, and perhaps some of what follows.
    HeaderSection,
    /// The same, and what follows is a body in chunks.
    Chunks,
    Whole,
}

/// Runs `exchange`; `None` if its header section does not arrive within `limit`. What has begun by then is dropped, and
/// with it the connection.
pub async fn within<F: Future>(limit: Duration, exchange: F) -> Option<F::Output> {
    let mut exchange = pin!(exchange);
    // None for the header section that is there at once, as nearly all are.
    let mut late: Option<Pin<Box<Sleep>>> = None;
    let outcome = poll_fn(|context| {
        if let Poll::Ready(ended) = exchange.as_mut().poll(context) {
            return Poll::Ready(Some(ended));
        }
        if ARRIVED.with(Cell::get) != Arrived::Nothing {
            return Poll::Pending;
        }
        let late = late.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        late.as_mut().poll(context).map(|()| None)
    });
    ARRIVED.scope(Cell::new(Arrived::Nothing), outcome).await
}

/// Notes that the header section of this task's exchange is there.
pub(super) fn note_header_section() {
    note(Arrived::HeaderSection);
}

/// Notes that its body is chunked.
pub(super) fn note_chunks() {
    note(Arrived::Chunks);
}

/// Notes that the whole request is there: what the client sends now belongs to the next one. After the handshake of a
/// WebSocket nothing may come either before it is answered (RFC 6455 §4.1).
pub(super) fn note_whole() {
    note(Arrived::Whole);
}

/// Notes that the connection changes its protocol: what the client sends now belongs to that.
pub(super) fn note_switch() {
    note(Arrived::HeaderSection);
}

/// HTTP/2 reads header sections by itself, and runs each request as a task of its own: nothing is noted there.
fn note(what: Arrived) {
    let _ = ARRIVED.try_with(|arrived| arrived.set(what));
}

/// Whether the header section of this task's exchange has not been read: whatever is written now is no answer to it.
pub fn is_awaited() -> bool {
    is(Arrived::Nothing)
}

/// Whether what this task's exchange has not read is a body in chunks.
pub fn is_chunked() -> bool {
    is(Arrived::Chunks)
}

/// Whether the whole request of this task's exchange has been read.
pub fn is_whole() -> bool {
    is(Arrived::Whole)
}

fn is(what: Arrived) -> bool {
    ARRIVED.try_with(|arrived| arrived.get() == what).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    fn run(exchange: impl Future<Output = u8>) -> Option<u8> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(within(Duration::from_millis(5), exchange))
    }

    async fn longer_than_the_limit() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    #[test]
    fn only_what_comes_before_the_header_section_is_limited() {
        assert_eq!(run(async { 1 }), Some(1));
        assert_eq!(run(pending()), None);
        let long = async {
            note_header_section();
            longer_than_the_limit().await;
            2
        };
        assert_eq!(run(long), Some(2));
        let late = async {
            longer_than_the_limit().await;
            note_header_section();
            3
        };
        assert_eq!(run(late), None);
        note_header_section();
    }
}
