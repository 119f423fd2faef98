//! How much may be repeated: a share of what was asked for the first time, with a reserve.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// Repetitions that are free after quiet times.
const RESERVE: i64 = 100;

/// What one repetition costs; a request pays in its percentage of it.
const COST: i64 = 100;

/// The account of one upstream.
#[derive(Debug)]
pub(super) struct Budget {
    percent: i64,
    balance: AtomicI64,
}

impl Budget {
    pub(super) fn new(percent: u32) -> Self {
        Self { percent: i64::from(percent), balance: AtomicI64::new(RESERVE * COST) }
    }

    /// A request came. While the reserve is full, nothing is written.
    pub(super) fn pay_in(&self) {
        if self.balance.load(Relaxed) < RESERVE * COST {
            self.balance.fetch_add(self.percent, Relaxed);
        }
    }

    /// Whether one more may be repeated.
    pub(super) fn take(&self) -> bool {
        let take = |balance| (balance >= COST).then_some(balance - COST);
        self.percent > 0 && self.balance.fetch_update(Relaxed, Relaxed, take).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_repeated_beyond_the_reserve() {
        let budget = Budget::new(20);
        assert_eq!((0..1000).filter(|_| budget.take()).count(), 100);
        (0..50).for_each(|_| budget.pay_in());
        assert_eq!((0..1000).filter(|_| budget.take()).count(), 10);
        (0..10_000).for_each(|_| budget.pay_in());
        assert_eq!((0..1000).filter(|_| budget.take()).count(), 100, "no more than the reserve");
        assert!(!Budget::new(0).take());
    }
}
