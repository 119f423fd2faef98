//! `InFlight`: how much is under way, cheap to count on every thread, and possible to wait for.

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Threads that count on cache lines of their own; more threads share.
const SHARDS: usize = 64;

/// Counts what is under way: requests, or connections.
///
/// Each thread counts on a cache line of its own, so a request costs two uncontended additions. Whoever drains waits
/// for the sum to reach zero; only then does the end of a request look further than its own line.
#[derive(Debug)]
pub struct InFlight {
    shards: [Shard; SHARDS],
    draining: AtomicU8,
    ended: Notify,
}

/// Why there is a wait for the end of what is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Draining {
    /// The gateway stops.
    Stop = 1,
    /// Another process serves in its place.
    HandOver = 2,
}

/// Two lines: processors prefetch in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(AtomicI64);

/// One thing under way; it ends when this is dropped.
#[derive(Debug)]
pub struct UnderWay(&'static InFlight);

impl InFlight {
    /// A counter for the rest of the process's life.
    pub fn leak() -> &'static Self {
        Box::leak(Box::new(Self {
            shards: std::array::from_fn(|_| Shard::default()),
            draining: AtomicU8::new(0),
            ended: Notify::new(),
        }))
    }

    /// Counts one more until the returned value is dropped.
    pub fn begin(&'static self) -> UnderWay {
        self.add(1);
        UnderWay(self)
    }

    /// How many are under way.
    pub fn count(&self) -> i64 {
        self.shards.iter().map(|shard| shard.0.load(Ordering::SeqCst)).sum()
    }

    /// From now on it is being waited for.
    pub fn start_draining(&self, why: Draining) {
        self.draining.store(why as u8, Ordering::SeqCst);
    }

    /// Whether it is being waited for.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst) != 0
    }

    /// Whether it is being waited for because the gateway stops.
    pub fn is_stopping(&self) -> bool {
        self.draining.load(Ordering::SeqCst) == Draining::Stop as u8
    }

    /// Returns once nothing is under way. Call [`InFlight::start_draining`] first, or the end may go unnoticed.
    pub async fn drained(&self) {
        // SeqCst on both sides: either we see the last one's end in the sum, or it sees that we are draining and
        // notifies. `notify_one` keeps one notification for a waiter that is not there yet.
        while self.count() > 0 {
            self.ended.notified().await;
        }
        // Whoever else waits.
        self.ended.notify_one();
    }

    fn add(&self, change: i64) {
        if let Some(shard) = self.shards.get(thread_number() % SHARDS) {
            shard.0.fetch_add(change, Ordering::SeqCst);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.add(-1);
        if self.0.is_draining() {
            self.0.ended.notify_one();
        }
    }
}

/// Threads numbered in the order in which they first ask.
pub(super) fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static NUMBER: Cell<Option<usize>> = const { Cell::new(None) });
    NUMBER.with(|number| {
        number.get().unwrap_or_else(|| {
            let mine = NEXT.fetch_add(1, Ordering::Relaxed);
            number.set(Some(mine));
            mine
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_on_one_thread_may_end_on_another() {
        let in_flight = InFlight::leak();
        let (one, other) = (in_flight.begin(), in_flight.begin());
        assert_eq!(in_flight.count(), 2);
        std::thread::spawn(move || drop(one)).join().unwrap();
        assert_eq!(in_flight.count(), 1);
        drop(other);
        assert_eq!(in_flight.count(), 0);
    }

    #[test]
    fn drained_waits_for_the_last_one() {
        let in_flight = InFlight::leak();
        let last = in_flight.begin();
        in_flight.start_draining(Draining::Stop);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut drained = Box::pin(in_flight.drained());
            let pending = std::future::poll_fn(|context| {
                std::task::Poll::Ready(drained.as_mut().poll(context).is_pending())
            });
            assert!(pending.await, "one is under way");
            std::thread::spawn(move || drop(last));
            drained.await;
        });
    }
}
