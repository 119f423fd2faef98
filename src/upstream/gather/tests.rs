//! What leaves together, and what does not.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use pingora::upstreams::peer::HttpPeer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// What was written to a connection, a string for each write, and what there is to be read.
#[derive(Debug, Default)]
struct Wire {
    writes: Vec<String>,
    to_read: VecDeque<u8>,
    /// The next write takes only so much, and the one after it nothing at first.
    short: Option<usize>,
}

#[derive(Debug, Default)]
struct Peer(Arc<Mutex<Wire>>);

impl AsyncRead for Peer {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut wire = self.0.lock().unwrap();
        if wire.to_read.is_empty() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let bytes: Vec<u8> = wire.to_read.drain(..).collect();
        buffer.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Peer {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut wire = self.0.lock().unwrap();
        let taken = match wire.short {
            Some(0) => {
                wire.short = None;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(most) => {
                wire.short = Some(0);
                most.min(bytes.len())
            }
            None => bytes.len(),
        };
        wire.writes.push(String::from_utf8_lossy(&bytes[..taken]).into_owned());
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl pingora::protocols::Ssl for Peer {}

mod the_rest {
    use super::Peer;

    #[async_trait::async_trait]
    impl pingora::protocols::Shutdown for Peer {
        async fn shutdown(&mut self) {}
    }

    impl pingora::protocols::UniqueID for Peer {
        fn id(&self) -> pingora::protocols::UniqueIDType {
            -1
        }
    }

    impl pingora::protocols::GetTimingDigest for Peer {
        fn get_timing_digest(&self) -> Vec<Option<pingora::protocols::TimingDigest>> {
            Vec::new()
        }
    }

    impl pingora::protocols::GetProxyDigest for Peer {
        fn get_proxy_digest(&self) -> Option<std::sync::Arc<pingora::protocols::raw_connect::ProxyDigest>> {
            None
        }
    }

    impl pingora::protocols::GetSocketDigest for Peer {
        fn get_socket_digest(&self) -> Option<std::sync::Arc<pingora::protocols::SocketDigest>> {
            None
        }
    }

    impl pingora::protocols::Peek for Peer {}
}

const POST: &str = "POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\n";

fn lease() -> Lease {
    Lease::of(&HttpPeer::new("127.0.0.1:1", false, String::new()))
}

/// Runs an exchange over a connection; what was written.
fn writes(short: Option<usize>, exchange: impl AsyncFnOnce(&mut Gathering, &Mutex<Wire>)) -> Vec<String> {
    let wire = Arc::new(Mutex::new(Wire { short, ..Wire::default() }));
    let mut connection = Gathering::new(Box::new(Peer(Arc::clone(&wire))), lease());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(exchange(&mut connection, &wire));
    let wire = wire.lock().unwrap();
    wire.writes.clone()
}

/// As Pingora does it.
async fn write_header(connection: &mut Gathering, header: &str) {
    connection.write_all(header.as_bytes()).await.unwrap();
    connection.flush().await.unwrap();
}

async fn answer(connection: &mut Gathering, wire: &Mutex<Wire>) {
    wire.lock().unwrap().to_read.extend(b"HTTP/1.1 200 OK\r\n\r\n");
    assert!(connection.read(&mut [0; 64]).await.unwrap() > 0);
}

#[test]
fn a_header_section_and_the_first_piece_of_a_body_leave_together() {
    let written = writes(None, async |connection, wire| {
        for _ in 0..2 {
            write_header(connection, POST).await;
            connection.write_all(b"hel").await.unwrap();
            connection.write_all(b"lo").await.unwrap();
            connection.flush().await.unwrap();
            answer(connection, wire).await;
        }
    });
    let once = [format!("{POST}hel"), "lo".to_owned()];
    assert_eq!(written, [once.clone(), once].concat());
}

#[test]
fn a_chunk_is_one_piece() {
    let written = writes(None, async |connection, _| {
        write_header(connection, POST).await;
        let pieces = [io::IoSlice::new(b"5\r\n"), io::IoSlice::new(b"hello"), io::IoSlice::new(b"\r\n")];
        assert_eq!(connection.write_vectored(&pieces).await.unwrap(), 10);
    });
    assert_eq!(written, [format!("{POST}5\r\nhello\r\n")]);
}

#[test]
fn a_header_section_goes_out_alone_where_its_body_is_late() {
    let written = writes(None, async |connection, wire| {
        write_header(connection, POST).await;
        answer(connection, wire).await;
        connection.write_all(b"hello").await.unwrap();
    });
    assert_eq!(written, [POST, "hello"]);
    let flushed_again = writes(None, async |connection, _| {
        write_header(connection, POST).await;
        connection.flush().await.unwrap();
    });
    assert_eq!(flushed_again, [POST]);
    let closed = writes(None, async |connection, _| {
        write_header(connection, POST).await;
        connection.shutdown().await.unwrap();
    });
    assert_eq!(closed, [POST]);
}

#[test]
fn what_has_no_body_goes_out_at_once() {
    const GET: &str = "GET / HTTP/1.1\r\n\r\n";
    assert_eq!(writes(None, async |connection, _| write_header(connection, GET).await), [GET]);
}

#[test]
fn nothing_is_lost_where_the_peer_takes_little() {
    for short in [1, POST.len(), POST.len() + 2] {
        let written = writes(Some(short), async |connection, _| {
            write_header(connection, POST).await;
            connection.write_all(b"hel").await.unwrap();
            connection.write_all(b"lo").await.unwrap();
            connection.flush().await.unwrap();
        });
        assert_eq!(written.concat(), format!("{POST}hello"), "{short}");
    }
}

#[test]
fn a_write_that_was_given_up_leaves_what_was_said_already() {
    writes(Some(0), async |connection, wire| {
        let mut pinned = Pin::new(connection);
        let write = poll_fn(|context| Poll::Ready(pinned.as_mut().poll_write(context, b"x")));
        assert!(write.await.is_pending());
        answer(&mut pinned, wire).await;
        wire.lock().unwrap().short = Some(0);
        let write = poll_fn(|context| Poll::Ready(pinned.as_mut().poll_write(context, b"x")));
        assert!(write.await.is_pending());
        assert_eq!(pinned.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    });
}

#[test]
fn a_body_that_looks_like_a_header_section_passes() {
    let body = "POST /x\r\n\r\n";
    let written = writes(None, async |connection, _| {
        write_header(connection, POST).await;
        connection.write_all(b"a").await.unwrap();
        connection.write_all(body.as_bytes()).await.unwrap();
    });
    assert_eq!(written, [format!("{POST}a"), body.to_owned()]);
}

#[test]
fn more_than_a_record_goes_out_in_two() {
    let body = "x".repeat(MOST);
    let written = writes(None, async |connection, _| {
        write_header(connection, POST).await;
        connection.write_all(body.as_bytes()).await.unwrap();
    });
    assert_eq!(written.iter().map(String::len).collect::<Vec<_>>(), [MOST, POST.len()]);
}

#[test]
fn after_an_exchange_the_connection_is_in_the_pool_and_after_half_of_one_it_is_not() {
    writes(None, async |connection, wire| {
        write_header(connection, "GET / HTTP/1.1\r\n\r\n").await;
        let waits = poll_fn(|context| {
            Poll::Ready(
                Pin::new(&mut *connection).poll_read(context, &mut ReadBuf::new(&mut [0])).is_pending(),
            )
        });
        assert!(waits.await, "the answer is not there");
        assert!(pool::take(&lease()).is_none());
        answer(connection, wire).await;
        let mut rest = BytesMut::with_capacity(1);
        let waits =
            poll_fn(|context| Poll::Ready(pin!(connection.read_buf(&mut rest)).poll(context).is_pending()));
        assert!(waits.await, "the response may go on");
        assert!(pool::take(&lease()).is_none());
        assert_eq!(connection.read(&mut [0]).await.unwrap(), 0);
        assert!(pool::take(&lease()).is_some());
        assert!(pool::take(&lease()).is_none());
        assert!(connection.write(b"GET").await.is_ok(), "into nothing");
        assert_eq!(wire.lock().unwrap().writes.len(), 1);
    });
}
