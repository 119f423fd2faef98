//! Breaks off what takes too long: a response that does not begin, a peer that falls silent, a request that never ends.
//!
//! Pingora has one time-out for each read, the same before the response as within it, and none for the whole. Where a
//! route or its upstream wants another, a task beside the request shuts the connection to the peer down when the time is
//! over; Pingora then sees it closed. Over HTTP/2 such a request is alone on its connection. There is no such task where none
//! of these limits is set.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use nix::sys::socket::{self, Shutdown, SockaddrStorage};
use tokio::task::JoinHandle;

use super::Ctx;
use super::fault::Fault;
use crate::clock;

/// The watch over one attempt; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    limits: Limits,
    /// When the attempt began, in ticks.
    begun: u64,
    /// When the last bytes of the response came, in ticks; 0: none yet.
    last_byte: AtomicU64,
    /// Which limit was passed; see [`FIRED`].
    fired: AtomicU8,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    first_byte: Option<Duration>,
    idle: Duration,
    /// What is left of the whole.
    total: Option<Duration>,
}

/// What `fired` stands for; 0 is none.
const FIRED: [Fault; 3] = [Fault::FirstByteTimeout, Fault::ReadTimeout, Fault::TotalTimeout];

/// Pingora's own limit for each read must not be shorter than what is wanted at any time.
pub(super) fn read_timeout(ctx: &Ctx) -> Duration {
    let idle = ctx.idle_timeout().unwrap_or_default();
    ctx.first_byte_timeout().map_or(idle, |first_byte| first_byte.max(idle))
}

/// Whether there is a limit that Pingora does not know.
pub(super) fn is_wanted(ctx: &Ctx) -> bool {
    ctx.first_byte_timeout().is_some() || ctx.total_timeout().is_some()
}

impl Watch {
    /// Watches the exchange over `socket`, if there is a limit that Pingora does not know.
    pub(super) fn over(socket: RawFd, ctx: &Ctx) -> Option<Self> {
        let total = ctx.total_timeout().map(|total| total.saturating_sub(ctx.notes.age()));
        let limits = Limits { first_byte: ctx.first_byte_timeout(), idle: ctx.idle_timeout()?, total };
        if !is_wanted(ctx) {
            return None;
        }
        let begun = clock::ticks().0;
        let state = Arc::new(State { limits, begun, last_byte: AtomicU64::new(0), fired: AtomicU8::new(0) });
        let connection = Connection::of(socket)?;
        let watched = Arc::clone(&state);
        let task = tokio::spawn(async move {
            let fired = watched.wait().await;
            watched.fired.store(fired, Relaxed);
            connection.shut_down();
        });
        Some(Self { state, task })
    }

    /// Bytes of the response came.
    pub(super) fn byte_arrived(&self) {
        self.state.last_byte.store(clock::ticks().0, Relaxed);
    }

    /// The limit that was passed.
    pub(super) fn fired(&self) -> Option<Fault> {
        let fired = usize::from(self.state.fired.load(Relaxed));
        FIRED.get(fired.checked_sub(1)?).copied()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    /// Returns once a limit is passed.
    async fn wait(&self) -> u8 {
        loop {
            let now = clock::ticks().0;
            let last_byte = self.last_byte.load(Relaxed);
            let since = |then: u64| Duration::from_nanos(now.saturating_sub(then));
            let total = self.limits.total.map(|total| (3, total.saturating_sub(since(self.begun))));
            let silence = match last_byte {
                0 => self.limits.first_byte.map(|limit| (1, limit.saturating_sub(since(self.begun)))),
                _ => Some((2, self.limits.idle.saturating_sub(since(last_byte)))),
            };
            let next = [silence, total].into_iter().flatten().min_by_key(|(_, left)| *left);
            match next {
                Some((fired, Duration::ZERO)) => return fired,
                // Bytes wake nobody: if the first ones come now, their silence counts from then.
                Some((_, left)) => tokio::time::sleep(left.min(self.limits.idle)).await,
                None => std::future::pending().await,
            }
        }
    }
}

/// A connection, told from another one that has its number later.
struct Connection {
    socket: RawFd,
    ends: (SockaddrStorage, SockaddrStorage),
}

impl Connection {
    fn of(socket: RawFd) -> Option<Self> {
        Some(Self { socket, ends: Self::ends(socket)? })
    }

    fn ends(socket: RawFd) -> Option<(SockaddrStorage, SockaddrStorage)> {
        Some((socket::getsockname(socket).ok()?, socket::getpeername(socket).ok()?))
    }

    fn shut_down(&self) {
        if Self::ends(self.socket).as_ref() == Some(&self.ends) {
            let _ = socket::shutdown(self.socket, Shutdown::Both);
        }
    }
}
