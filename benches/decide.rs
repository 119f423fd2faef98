//! The decision: in each mode, with a right key, a wrong key and none, in each header; and among many keys.

use std::cell::LazyCell;

use criterion::{BenchmarkId, Criterion};
use http::{HeaderMap, Method};
use keygate::auth::{CREDENTIAL_HEADERS, Content, CredentialHeader, Facts, HEALTH_PATH, decide};
use keygate::clock::UnixSeconds;

use crate::policies::{WRONG_KEY, facts, key, presenting, with_keys};

pub(crate) const NOW: UnixSeconds = UnixSeconds(1_000_000_000);

/// Credentials in use at the same time, where there are many keys: their records do not all fit into the nearest cache.
const CALLERS: usize = 4096;

pub(crate) fn time(criterion: &mut Criterion) {
    for mode in ["off", "strict", "all_except_health"] {
        in_mode(criterion, mode);
    }
    health_check(criterion);
    among_keys(criterion);
}

fn in_mode(criterion: &mut Criterion, mode: &'static str) {
    let policy = LazyCell::new(|| with_keys(mode, 1));
    let right = key(0);
    let mut group = criterion.benchmark_group(format!("decide/{mode}"));
    for (outcome, key) in [("hit", right.as_str()), ("miss", WRONG_KEY)] {
        for header in CREDENTIAL_HEADERS {
            let headers = presenting(header, key);
            group.bench_function(BenchmarkId::new(outcome, header.label()), |bencher| {
                let policy = &*policy;
                assert_eq!(decide(policy, &facts(&headers), NOW).is_ok(), outcome == "hit" || mode == "off");
                bencher.iter(|| decide(policy, &facts(&headers), NOW));
            });
        }
    }
    let headers = HeaderMap::new();
    group.bench_function("no key", |bencher| {
        let policy = &*policy;
        bencher.iter(|| decide(policy, &facts(&headers), NOW));
    });
}

fn health_check(criterion: &mut Criterion) {
    let headers = HeaderMap::new();
    let facts = Facts { method: &Method::GET, path: HEALTH_PATH, headers: &headers, content: Content::None };
    criterion.bench_function("decide/all_except_health/health check", |bencher| {
        let policy = with_keys("all_except_health", 1);
        assert!(decide(&policy, &facts, NOW).is_ok());
        bencher.iter(|| decide(&policy, &facts, NOW));
    });
}

fn among_keys(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide/among keys");
    for count in [1, 10_000, 1_000_000] {
        let policy = LazyCell::new(|| with_keys("strict", count));
        // Anywhere in the table.
        let number = |caller: usize| caller.wrapping_mul(2_654_435_761) % count;
        let right =
            (0..CALLERS).map(|caller| presenting(CredentialHeader::Authorization, &key(number(caller))));
        let wrong =
            (0..CALLERS).map(|caller| presenting(CredentialHeader::Authorization, &key(count + caller)));
        for (outcome, callers) in [("hit", right.collect::<Vec<_>>()), ("miss", wrong.collect())] {
            group.bench_function(BenchmarkId::new(outcome, count), |bencher| {
                let policy = &*policy;
                assert_eq!(decide(policy, &facts(&callers[0]), NOW).is_ok(), outcome == "hit");
                let mut callers = callers.iter().cycle();
                bencher.iter(|| decide(policy, &facts(callers.next().unwrap()), NOW));
            });
        }
    }
}
