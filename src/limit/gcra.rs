//! The generic cell rate algorithm (ITU-T I.371, annex A): a leaky bucket whose whole state is one time.
//!
//! The state is the *theoretical arrival time*: when the bucket will be empty again if nothing more comes. A request
//! moves it on by the interval that the rate leaves to each; one that would move it further ahead of now than a burst
//! is, is refused and moves nothing. In any time span of length `t` that lets through no more than
//! `burst + floor(t / interval)`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Ticks;
use crate::policy::Rate;

/// What is left of a rate: eight bytes, changed in one step by any number of threads.
#[derive(Debug, Default)]
pub struct Allowance(AtomicU64);

/// What a request leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Requests that could come at once now.
    pub remaining: u32,
    /// When all of the burst will be there again.
    pub full_after: Duration,
}

impl Allowance {
    /// Takes one request from it.
    ///
    /// # Errors
    /// None is left; how long until there is.
    pub fn take(&self, rate: &Rate, now: Ticks) -> Result<Spent, Duration> {
        let interval = rate.interval_nanos();
        let burst = interval.saturating_mul(rate.burst.into());
        // Nothing else hangs on this value, so no order with other memory is needed.
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |arrival| {
            let next = arrival.max(now.0).saturating_add(interval);
            (next - now.0 <= burst).then_some(next)
        });
        match taken {
            Ok(before) => {
                let ahead = before.max(now.0).saturating_add(interval) - now.0;
                let remaining = (burst - ahead).checked_div(interval).unwrap_or(0);
                let remaining = u32::try_from(remaining).unwrap_or(u32::MAX);
                Ok(Spent { remaining, full_after: Duration::from_nanos(ahead) })
            }
            Err(arrival) => {
                let next = arrival.max(now.0).saturating_add(interval);
                Err(Duration::from_nanos((next - now.0).saturating_sub(burst)))
            }
        }
    }

    /// Counts what was used under `before` as used under `rate`, from `now` on.
    pub fn convert(&self, before: &Rate, rate: &Rate, now: Ticks) {
        if before == rate {
            return;
        }
        let ahead = self.0.load(Ordering::Relaxed).saturating_sub(now.0);
        let used = ahead.div_ceil(before.interval_nanos().max(1)).min(rate.burst.into());
        self.0.store(now.0.saturating_add(used.saturating_mul(rate.interval_nanos())), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::Period;

    const SECOND: u64 = 1_000_000_000;

    fn rate(requests: u32, per: Period, burst: u32) -> Rate {
        Rate { requests, per, burst }
    }

    #[test]
    fn a_burst_passes_at_once_and_then_one_an_interval() {
        let (allowance, rate) = (Allowance::default(), rate(10, Period::Second, 3));
        let start = Ticks(50 * SECOND);
        let left: Vec<_> = (0..3).map(|_| allowance.take(&rate, start).unwrap().remaining).collect();
        assert_eq!(left, [2, 1, 0]);
        assert_eq!(allowance.take(&rate, start), Err(Duration::from_millis(100)));
        assert_eq!(allowance.take(&rate, Ticks(start.0 + SECOND / 10 - 1)), Err(Duration::from_nanos(1)));
        assert!(allowance.take(&rate, Ticks(start.0 + SECOND / 10)).is_ok());
        assert!(allowance.take(&rate, Ticks(start.0 + SECOND / 10)).is_err());
    }

    #[test]
    fn a_refused_request_costs_nothing() {
        let (allowance, rate) = (Allowance::default(), rate(1, Period::Second, 1));
        assert!(allowance.take(&rate, Ticks(SECOND)).is_ok());
        for nanos in 0..1000 {
            assert!(allowance.take(&rate, Ticks(SECOND + nanos)).is_err());
        }
        assert!(allowance.take(&rate, Ticks(2 * SECOND)).is_ok());
    }

    #[test]
    fn a_changed_rate_takes_over_what_was_used() {
        let (hourly, quick) = (rate(1, Period::Hour, 100), rate(100, Period::Second, 10));
        let allowance = Allowance::default();
        let now = Ticks(SECOND);
        assert!((0..4).all(|_| allowance.take(&hourly, now).is_ok()));
        allowance.convert(&hourly, &quick, now);
        assert_eq!(allowance.take(&quick, now).unwrap().remaining, 5, "4 of 10 were used, and this one");
        assert!((0..5).all(|_| allowance.take(&quick, now).is_ok()));
        assert!(allowance.take(&quick, now).unwrap_err() <= Duration::from_millis(10), "not in hours");
    }

    #[test]
    fn many_threads_together_get_no_more_than_the_burst() {
        let (allowance, rate) = (Allowance::default(), rate(1, Period::Hour, 1000));
        let passed: usize = std::thread::scope(|scope| {
            let take = || (0..1000).filter(|_| allowance.take(&rate, Ticks(SECOND)).is_ok()).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(passed, 1000);
    }

    /// The reference: a bucket of tokens that are earned in whole numbers of nanoseconds, without a trick.
    struct Bucket {
        /// Tokens times the interval.
        nanos: u64,
        at: u64,
    }

    impl Bucket {
        fn take(&mut self, rate: &Rate, now: u64) -> bool {
            let interval = rate.interval_nanos();
            let most = interval * u64::from(rate.burst);
            self.nanos = (self.nanos + (now - self.at)).min(most);
            self.at = now;
            let enough = self.nanos >= interval;
            if enough {
                self.nanos -= interval;
            }
            enough
        }
    }

    fn any_rate() -> impl Strategy<Value = Rate> {
        let per = prop_oneof![Just(Period::Second), Just(Period::Minute), Just(Period::Hour)];
        (1_u32..2000, per, 1_u32..50).prop_map(|(requests, per, burst)| Rate { requests, per, burst })
    }

    proptest! {
        /// Request by request it says the same as the reference, and no window holds more than is permitted.
        #[test]
        fn it_agrees_with_a_bucket_of_tokens_and_no_window_holds_more_than_permitted(
            rate in any_rate(),
            // Pauses in hundredths of an interval, some long.
            pauses in prop::collection::vec(prop_oneof![0_u64..30, 0_u64..400, 0_u64..10_000], 1..200),
        ) {
            let interval = rate.interval_nanos();
            let mut now = 7 * SECOND;
            let allowance = Allowance::default();
            let mut bucket = Bucket { nanos: interval * u64::from(rate.burst), at: now };
            let mut passed: Vec<u64> = Vec::new();
            for pause in pauses {
                now += pause * interval / 100;
                let outcome = allowance.take(&rate, Ticks(now));
                prop_assert_eq!(outcome.is_ok(), bucket.take(&rate, now));
                match outcome {
                    Ok(spent) => {
                        prop_assert_eq!(u64::from(spent.remaining), bucket.nanos / interval);
                        passed.push(now);
                    }
                    Err(wait) => prop_assert_eq!(wait.as_nanos() as u64, interval - bucket.nanos),
                }
            }
            for (first, start) in passed.iter().enumerate() {
                for (last, end) in passed.iter().enumerate().skip(first) {
                    let permitted = u64::from(rate.burst) + (end - start) / interval;
                    prop_assert!((last - first + 1) as u64 <= permitted);
                }
            }
        }
    }
}
