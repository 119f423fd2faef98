//! How one address does: what is under way on it, how often it failed, whether it is left out.
//!
//! Written by every request, so nothing here locks. It outlives a reload as long as its upstream keeps the address.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use crate::clock;
use crate::policy::EjectionRule;

/// The state of one address.
#[derive(Debug, Default)]
pub(super) struct Health {
    under_way: AtomicUsize,
    /// Failures in a row.
    failures: AtomicU32,
    /// Ejections in a row: without a good answer between them.
    ejections: AtomicU32,
    /// Left out until then; 0: it is not.
    out_until: AtomicU64,
    /// The health check says so.
    pub(super) down: AtomicBool,
    /// Checks in a row with another outcome than `down` says.
    pub(super) contrary_checks: AtomicU32,
    /// When it is to be checked next, in ticks.
    pub(super) next_check: AtomicU64,
}

impl Health {
    /// Whether requests go there.
    pub(super) fn is_in(&self) -> bool {
        !self.down.load(Relaxed) && !self.is_ejected()
    }

    pub(super) fn is_ejected(&self) -> bool {
        self.ejected_for().is_some()
    }

    /// How much longer it is left out.
    pub(super) fn ejected_for(&self) -> Option<Duration> {
        let until = self.out_until.load(Relaxed);
        // Nearly always 0: the clock is not asked.
        if until == 0 {
            return None;
        }
        let left = until.saturating_sub(clock::ticks().0);
        (left > 0).then(|| Duration::from_nanos(left))
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way.load(Relaxed)
    }

    /// Counts a failure; whether it is one too many.
    pub(super) fn count_failure(&self, rule: &EjectionRule) -> bool {
        let failures = self.failures.fetch_add(1, Relaxed).saturating_add(1);
        rule.failures > 0 && failures >= rule.failures && !self.is_ejected()
    }

    /// A good answer makes up for all failures before it. Nothing is written where there were none.
    pub(super) fn succeeded(&self) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
        if self.ejections.load(Relaxed) != 0 && !self.is_ejected() {
            self.ejections.store(0, Relaxed);
            self.out_until.store(0, Relaxed);
        }
    }

    /// Leaves it out, for twice as long as the last time. Back again, its first failure leaves it out once more.
    pub(super) fn eject(&self, rule: &EjectionRule) -> Duration {
        let before = self.ejections.fetch_add(1, Relaxed).min(20);
        let time = rule.time.saturating_mul(1 << before).min(rule.max_time);
        let until = clock::ticks().0.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        self.out_until.store(until, Relaxed);
        self.failures.store(rule.failures.saturating_sub(1), Relaxed);
        time
    }
}

/// An address while a request is under way on it.
#[derive(Debug)]
pub struct Taken {
    address: SocketAddr,
    health: Arc<Health>,
}

impl Taken {
    pub(super) fn new(address: SocketAddr, health: &Arc<Health>) -> Self {
        health.under_way.fetch_add(1, Relaxed);
        Self { address, health: Arc::clone(health) }
    }

    /// Where the request is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// It has answered well.
    pub fn succeeded(&self) {
        self.health.succeeded();
    }

    pub(super) fn health(&self) -> &Health {
        &self.health
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.health.under_way.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_left_out_twice_as_long_each_time_until_it_answers_well() {
        let second = Duration::from_secs(1);
        let rule = EjectionRule { failures: 3, time: second, max_time: 3 * second, max_percent: 100 };
        let health = Health::default();
        assert!(!health.count_failure(&rule) && !health.count_failure(&rule) && health.is_in());
        assert!(health.count_failure(&rule), "the third in a row");
        assert_eq!(health.eject(&rule), second);
        assert!(!health.is_in());
        assert!(!health.count_failure(&rule), "it is out already");
        health.out_until.store(1, Relaxed);
        assert!(health.is_in() && health.count_failure(&rule), "one is enough now");
        assert_eq!((health.eject(&rule), health.eject(&rule)), (2 * second, 3 * second));
        health.out_until.store(1, Relaxed);
        health.succeeded();
        assert!(!health.count_failure(&rule));
        assert_eq!(health.eject(&rule), second);
    }

    #[test]
    fn without_a_limit_nothing_is_left_out() {
        let time = Duration::from_secs(1);
        let rule = EjectionRule { failures: 0, time, max_time: time, max_percent: 100 };
        let health = Health::default();
        assert!((0..100).all(|_| !health.count_failure(&rule)));
    }
}
