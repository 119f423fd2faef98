//! Breaks off what takes too long: a response that does not begin, a peer that falls silent, a request that never ends.
//!
//! Pingora has one time-out for each read, the same before the response as within it, and none for the whole. Where a
//! route or its upstream wants another, the connection to the peer is shut down when the time is over; Pingora then sees it
//! closed. Over HTTP/2 such a request is alone on its connection. Each thread has one task that looks after all its attempts: most are
//! over long before, and a task for each would cost a small request a tenth.

use std::cell::RefCell;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use nix::sys::socket::{self, Shutdown};
use pingora::protocols::{Digest, SocketDigest};
use slab::Slab;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::Ctx;
use super::fault::Fault;
use crate::clock;

/// The watch over one attempt; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    attempt: Arc<Attempt>,
    /// Its place among those of its thread.
    place: usize,
}

#[derive(Debug)]
struct Attempt {
    limits: Limits,
    connection: Connection,
    /// When it began, in ticks.
    begun: u64,
    /// When the last bytes of the response came, in ticks; 0: none yet.
    last_byte: AtomicU64,
    /// Which limit was passed, see [`FIRED`], or that it is [`OVER`].
    fired: AtomicU8,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    first_byte: Option<Duration>,
    /// Where it is shorter than that: else Pingora's own is right.
    idle: Option<Duration>,
    /// What is left of the whole.
    total: Option<Duration>,
}

/// What `fired` stands for; 0 is none.
const FIRED: [Fault; 3] = [Fault::FirstByteTimeout, Fault::ReadTimeout, Fault::TotalTimeout];

/// However many attempts end one after another, all are looked at no more often than this, so a limit may be passed by as much.
const PACE: Duration = Duration::from_millis(10);

/// The attempt has ended, and its connection may be another request's.
const OVER: u8 = u8::MAX;

/// Pingora's own limit for each read must not be shorter than what is wanted at any time.
pub(super) fn read_timeout(ctx: &Ctx) -> Duration {
    let idle = ctx.idle_timeout().unwrap_or_default();
    ctx.first_byte_timeout().map_or(idle, |first_byte| first_byte.max(idle))
}

/// Whether there is a limit that Pingora does not know.
pub(super) fn is_wanted(ctx: &Ctx) -> bool {
    ctx.first_byte_timeout().is_some() || ctx.total_timeout().is_some()
}

thread_local! {
    static WATCHED: RefCell<Watched> = RefCell::default();
}

/// The attempts of one thread.
#[derive(Debug, Default)]
struct Watched {
    attempts: Slab<Arc<Attempt>>,
    /// When their task looks at them, in ticks; without it there is none.
    round: Option<u64>,
    /// No round is sooner than this.
    not_before: u64,
    /// Tells the task that the round is sooner than it was.
    sooner: Arc<Notify>,
}

impl Watch {
    /// Watches the exchange over `socket`, if there is a limit that Pingora does not know.
    pub(super) fn over(socket: RawFd, digest: Option<&Digest>, ctx: &Ctx) -> Option<Self> {
        if !is_wanted(ctx) {
            return None;
        }
        let (first_byte, idle) = (ctx.first_byte_timeout(), ctx.idle_timeout()?);
        let limits = Limits {
            first_byte,
            idle: first_byte.is_some_and(|first_byte| first_byte > idle).then_some(idle),
            total: ctx.total_timeout().map(|total| total.saturating_sub(ctx.notes.age())),
        };
        let attempt = Arc::new(Attempt {
            limits,
            connection: Connection::of(socket, digest?.socket_digest.clone()?),
            begun: clock::ticks().0,
            last_byte: AtomicU64::new(0),
            fired: AtomicU8::new(0),
        });
        let place = with_watched(|watched| {
            watched.look_by(attempt.next());
            watched.attempts.insert(Arc::clone(&attempt))
        })?;
        Some(Self { attempt, place })
    }

    /// Bytes of the response came.
    pub(super) fn byte_arrived(&self) {
        let is_first = self.attempt.last_byte.load(Relaxed) == 0;
        self.attempt.last_byte.store(clock::ticks().0, Relaxed);
        if is_first {
            with_watched(|watched| watched.look_by(self.attempt.next()));
        }
    }

    /// The limit that was passed.
    pub(super) fn fired(&self) -> Option<Fault> {
        let fired = usize::from(self.attempt.fired.load(Relaxed));
        FIRED.get(fired.checked_sub(1)?).copied()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.attempt.fired.store(OVER, Relaxed);
        with_watched(|watched| {
            let is_it =
                watched.attempts.get(self.place).is_some_and(|attempt| Arc::ptr_eq(attempt, &self.attempt));
            is_it.then(|| watched.attempts.remove(self.place))
        });
    }
}

/// What belongs to this thread; a request stays on its own.
fn with_watched<T>(with: impl FnOnce(&mut Watched) -> T) -> Option<T> {
    WATCHED.try_with(|watched| Some(with(&mut *watched.try_borrow_mut().ok()?))).ok()?
}

impl Watched {
    /// Sees to it that the attempts are looked at when this limit is passed.
    fn look_by(&mut self, next: Option<(u8, u64)>) {
        let Some((_, at)) = next else { return };
        let at = at.max(self.not_before);
        match self.round {
            Some(round) if at < round => {
                self.round = Some(at);
                self.sooner.notify_one();
            }
            Some(_) => {}
            None => {
                if let Ok(runtime) = Handle::try_current() {
                    self.round = Some(at);
                    runtime.spawn(look_after(Arc::clone(&self.sooner)));
                }
            }
        }
    }

    /// Breaks off those whose time is over; the next round is when that of the others may be.
    fn look(&mut self) {
        let now = clock::ticks().0;
        let mut round = None;
        self.attempts.retain(|_, attempt| match attempt.next() {
            Some((fired, at)) if at <= now => {
                attempt.break_off(fired);
                false
            }
            Some((_, at)) => {
                round = Some(round.map_or(at, |round: u64| round.min(at)));
                true
            }
            None => attempt.fired.load(Relaxed) == 0,
        });
        self.not_before = after(now, PACE);
        self.round = round.map(|round| round.max(self.not_before));
    }
}

/// Looks at the attempts of this thread, round by round, as long as there are any.
async fn look_after(sooner: Arc<Notify>) {
    while let Some(round) = with_watched(|watched| watched.round).flatten() {
        let left = Duration::from_nanos(round.saturating_sub(clock::ticks().0));
        tokio::select! {
            () = tokio::time::sleep(left) => drop(with_watched(Watched::look)),
            () = sooner.notified() => {}
        }
    }
}

impl Attempt {
    /// The limit that is passed next, and when, in ticks; `None` once one was.
    fn next(&self) -> Option<(u8, u64)> {
        if self.fired.load(Relaxed) != 0 {
            return None;
        }
        let total = self.limits.total.map(|limit| (3, after(self.begun, limit)));
        let silence = match self.last_byte.load(Relaxed) {
            0 => self.limits.first_byte.map(|limit| (1, after(self.begun, limit))),
            last_byte => self.limits.idle.map(|limit| (2, after(last_byte, limit))),
        };
        [silence, total].into_iter().flatten().min_by_key(|(_, at)| *at)
    }

    fn break_off(&self, fired: u8) {
        self.fired.store(fired, Relaxed);
        self.connection.shut_down();
    }
}

/// The end of a span that begins at `begin`, in ticks.
fn after(begin: u64, span: Duration) -> u64 {
    begin.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
}

/// A connection, told from another one that has its number later.
#[derive(Debug)]
struct Connection {
    socket: RawFd,
    /// Knows its two addresses.
    digest: Arc<SocketDigest>,
}

impl Connection {
    fn of(socket: RawFd, digest: Arc<SocketDigest>) -> Self {
        // They are asked for once, however many requests it carries.
        let _ = (digest.local_addr(), digest.peer_addr());
        Self { socket, digest }
    }

    fn shut_down(&self) {
        let now = SocketDigest::from_raw_fd(self.socket);
        if now.local_addr() == self.digest.local_addr() && now.peer_addr() == self.digest.peer_addr() {
            let _ = socket::shutdown(self.socket, Shutdown::Both);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_however_short_makes_rounds_more_frequent() {
        let mut watched = Watched::default();
        watched.look();
        assert_eq!(watched.round, None, "nothing is watched");
        watched.round = Some(u64::MAX);
        watched.look_by(Some((1, clock::ticks().0 + 1)));
        assert_eq!(watched.round, Some(watched.not_before));
        let later = watched.not_before + 1;
        watched.round = Some(u64::MAX);
        watched.look_by(Some((1, later)));
        assert_eq!(watched.round, Some(later));
    }
}
