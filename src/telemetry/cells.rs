//! Counters and histograms that every thread adds to on a cache line of its own: no lock, no allocation, no line that
//! processors pass to and fro.
//!
//! The sums are made by whoever reads, which is rare. A sum is not one moment of all threads; each number of it is
//! right, and none goes backwards.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::in_flight::thread_number;

/// Threads with lines of their own; more share. A gateway with a thousand routes has a thousand counters, so this is
/// less than the cores of the largest machines.
const SHARDS: usize = 8;

/// `N` numbers that are counted together.
#[derive(Debug)]
pub struct Counters<const N: usize>([Shard<N>; SHARDS]);

#[derive(Debug)]
#[repr(align(64))]
struct Shard<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Counters<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Shard(std::array::from_fn(|_| AtomicU64::new(0)))))
    }
}

impl<const N: usize> Counters<N> {
    /// Adds to number `at`; one that does not exist counts nowhere.
    pub fn add(&self, at: usize, amount: u64) {
        let shard = self.0.get(thread_number() % SHARDS);
        if let Some(number) = shard.and_then(|shard| shard.0.get(at)) {
            number.fetch_add(amount, Ordering::Relaxed);
        }
    }

    /// The sums.
    pub fn sums(&self) -> [u64; N] {
        let mut sums = [0; N];
        for shard in &self.0 {
            for (sum, number) in sums.iter_mut().zip(&shard.0) {
                *sum += number.load(Ordering::Relaxed);
            }
        }
        sums
    }
}

/// Upper bounds of a histogram's buckets in microseconds, ascending. There is one more without bound.
pub type Bounds = [u64; BOUNDS];

/// How many bounds each histogram has.
pub const BOUNDS: usize = 14;

/// How long things took.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static Bounds,
    buckets: Counters<{ BOUNDS + 1 }>,
    nanoseconds: Counters<1>,
}

/// What a histogram held when it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Upper bound in seconds, and how many took no longer; the last one is infinite and counts all.
    pub buckets: Vec<(f64, u64)>,
    /// All durations together, in seconds.
    pub sum: f64,
}

impl Histogram {
    /// An empty one.
    pub fn new(bounds: &'static Bounds) -> Self {
        Self { bounds, buckets: Counters::default(), nanoseconds: Counters::default() }
    }

    /// Adds one duration.
    pub fn observe(&self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.buckets.add(self.bounds.partition_point(|bound| bound * 1000 < nanoseconds), 1);
        self.nanoseconds.add(0, nanoseconds);
    }

    /// The buckets, cumulative as Prometheus has them.
    pub fn read(&self) -> Reading {
        let mut count = 0;
        let bounds = self.bounds.iter().map(|bound| *bound as f64 / 1e6).chain([f64::INFINITY]);
        let buckets = bounds
            .zip(self.buckets.sums())
            .map(|(bound, in_bucket)| {
                count += in_bucket;
                (bound, count)
            })
            .collect();
        let [nanoseconds] = self.nanoseconds.sums();
        Reading { buckets, sum: nanoseconds as f64 / 1e9 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_threads_add_is_summed() {
        let counters = Counters::<2>::default();
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| (0..1000).for_each(|_| counters.add(1, 2)));
            }
        });
        counters.add(2, 1);
        assert_eq!(counters.sums(), [0, 40_000]);
    }

    #[test]
    fn a_duration_counts_in_its_bucket_and_in_all_above() {
        static BOUNDS: Bounds = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 1000];
        let histogram = Histogram::new(&BOUNDS);
        for micros in [1, 2, 1000, 1001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let reading = histogram.read();
        let count = |bound: f64| reading.buckets.iter().find(|bucket| bucket.0 == bound).unwrap().1;
        assert_eq!((count(1e-6), count(2e-6), count(13e-6), count(1e-3)), (1, 2, 2, 3));
        assert_eq!(reading.buckets.last(), Some(&(f64::INFINITY, 4)));
        assert!((reading.sum - 0.002_004).abs() < 1e-9);
    }
}
