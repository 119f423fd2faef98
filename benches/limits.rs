//! What it costs to count a request of a key, and a wrong key of an address.

use std::net::{IpAddr, Ipv4Addr};

use criterion::{BenchmarkId, Criterion};
use keygate::clock::Ticks;
use keygate::limit::{Allowance, Counted, Exceeded, Failures, Ledger};
use keygate::policy::{KeyId, Period, Rate, Snapshot};

use crate::policies::{key_name, with_keys};

/// Nanoseconds between two requests, in which a key earns what a request takes.
const PAUSE: u64 = 1_000;

const ONE_AN_HOUR: Rate = Rate { requests: 1, per: Period::Hour, burst: 1 };

const MILLION_A_SECOND: Rate = Rate { requests: 1_000_000, per: Period::Second, burst: 1_000_000 };

pub(crate) fn time(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("limits");
    for count in [1, 10_000] {
        group.bench_function(BenchmarkId::new("request, keys in turn", count), |bencher| {
            let mut keys = Keys::new(count);
            assert!(keys.count_request().is_ok_and(|counted| counted.spent.is_some()));
            bencher.iter(|| keys.count_request());
        });
    }
    for (what, rate) in [("take, left", MILLION_A_SECOND), ("take, none left", ONE_AN_HOUR)] {
        group.bench_function(what, |bencher| {
            let allowance = Allowance::default();
            let mut now = Ticks(PAUSE);
            assert!(allowance.take(&rate, now).is_ok());
            bencher.iter(|| {
                now.0 += PAUSE;
                allowance.take(&rate, now)
            });
        });
    }
    group.bench_function("wrong key, addresses in turn", |bencher| {
        let failures = Failures::default();
        let (mut now, mut address) = (Ticks(PAUSE), 0_u32);
        bencher.iter(|| {
            now.0 += PAUSE;
            address = address.wrapping_add(2_654_435_761);
            failures.count(MILLION_A_SECOND, IpAddr::V4(Ipv4Addr::from_bits(address)), now)
        });
    });
}

/// Keys that make requests in turn.
pub(crate) struct Keys {
    policy: Snapshot,
    ledger: Ledger,
    ids: Vec<KeyId>,
    requests: usize,
}

impl Keys {
    pub(crate) fn new(count: usize) -> Self {
        let policy = with_keys("strict", count);
        let ledger = Ledger::new(&policy, None, Ticks(0));
        let ids = (0..count).map(|number| policy.keys.by_name(&key_name(number)).unwrap()).collect();
        Self { policy, ledger, ids, requests: 0 }
    }

    pub(crate) fn count_request(&mut self) -> Result<Counted, Exceeded> {
        let key = self.ids[self.requests % self.ids.len()];
        self.requests += 1;
        self.ledger.begin(&self.policy, key, || Ticks(self.requests as u64 * PAUSE))
    }
}
