//! Connections to peers of HTTP/1 between two requests.
//!
//! Pingora's pool is one for all threads, and has each idle connection watched by a task that begins and ends with it: more
//! work for a small request than deciding on it. Here each thread keeps its own, and one task looks after them. Pingora asks
//! a connection once more for a byte before it keeps it; that is when [`Gathering`](super::gather::Gathering) takes it away.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Waker};
use std::time::Duration;

use pingora::protocols::Stream;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::upstreams::peer::Peer;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::runtime::Handle;
use tokio::task::coop::unconstrained;
use tokio::time::Instant;

/// How many one thread keeps.
const MOST: usize = 1024;

/// How soon a connection that its peer has closed, or whose time is over, is closed here too.
const ROUND: Duration = Duration::from_secs(1);

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
}

/// What a connection leads to, and how long it may be idle.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    /// What tells connections apart that must not be taken for each other: address, name, authorities, certificate.
    peer: u64,
    address: SocketAddr,
    idle_timeout: Option<Duration>,
}

impl Lease {
    pub(super) fn of(peer: &impl Peer) -> Self {
        Self { peer: peer.reuse_hash(), address: peer.address().clone(), idle_timeout: peer.idle_timeout() }
    }
}

/// Those of one thread.
#[derive(Debug, Default)]
struct Pool {
    /// By peer; the last one was used last, and is used first: the others may be closed in the end.
    idle: HashMap<u64, Vec<Idle>>,
    count: usize,
    /// There is a task that looks after them.
    watched: bool,
}

#[derive(Debug)]
struct Idle {
    stream: Stream,
    address: SocketAddr,
    until: Option<Instant>,
}

impl Pool {
    /// Closes those whose time is over, and those that their peer has closed. Whether there are others.
    fn look_after(&mut self) -> bool {
        let now = Instant::now();
        for idle in self.idle.values_mut() {
            idle.retain_mut(|idle| idle.until.is_none_or(|until| now < until) && is_silent(&mut idle.stream));
        }
        self.idle.retain(|_, idle| !idle.is_empty());
        self.count = self.idle.values().map(Vec::len).sum();
        self.watched = self.count > 0;
        self.watched
    }
}

/// A connection of this thread that is idle and was open a moment ago.
pub(super) fn take(lease: &Lease) -> Option<Stream> {
    POOL.try_with(|pool| {
        let mut pool = pool.try_borrow_mut().ok()?;
        loop {
            let mut idle = pool.idle.get_mut(&lease.peer)?.pop()?;
            pool.count -= 1;
            if idle.address == lease.address && is_silent(&mut idle.stream) {
                return Some(idle.stream);
            }
        }
    })
    .ok()?
}

/// Closes those of this thread that lead to a peer: one of them was closed as a request came over it, and the others are as old.
pub fn forget(peer: &impl Peer) {
    let _ = POOL.try_with(|pool| {
        let Ok(mut pool) = pool.try_borrow_mut() else { return };
        let closed = pool.idle.remove(&peer.reuse_hash()).map_or(0, |idle| idle.len());
        pool.count -= closed;
    });
}

/// Keeps a connection for the next request of this thread, if there is room.
pub(super) fn keep(lease: &Lease, stream: Stream) {
    let Ok(runtime) = Handle::try_current() else { return };
    let until = lease.idle_timeout.map(|timeout| Instant::now() + timeout);
    let _ = POOL.try_with(|pool| {
        let Ok(mut pool) = pool.try_borrow_mut() else { return };
        if pool.count >= MOST {
            return;
        }
        pool.count += 1;
        pool.idle.entry(lease.peer).or_default().push(Idle { stream, address: lease.address.clone(), until });
        if !pool.watched {
            pool.watched = true;
            runtime.spawn(watch());
        }
    });
}

async fn watch() {
    let mut rounds = tokio::time::interval_at(Instant::now() + ROUND, ROUND);
    loop {
        rounds.tick().await;
        if !POOL
            .try_with(|pool| pool.try_borrow_mut().is_ok_and(|mut pool| pool.look_after()))
            .unwrap_or(false)
        {
            return;
        }
    }
}

/// Whether nothing is to be read: no end, and no bytes that nobody asked for. It is not waited for.
fn is_silent(stream: &mut Stream) -> bool {
    let mut byte = [0];
    let mut buffer = ReadBuf::new(&mut byte);
    let read = pin!(unconstrained(poll_fn(|context| Pin::new(&mut *stream).poll_read(context, &mut buffer))));
    read.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}
