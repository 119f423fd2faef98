//! The look-up of a route among 1, 100 and 10,000: by path, by host, and one that there is not.

use std::cell::LazyCell;

use criterion::{BenchmarkId, Criterion};
use http::{HeaderMap, Method};
use keygate::policy::{Asked, RouteId, Snapshot};

use crate::policies::{PATH, Routes, with_routes};

pub(crate) fn time(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("routes");
    for count in [1, 100, 10_000] {
        let by_path = LazyCell::new(|| with_routes(Routes::ByPath(count)));
        let path = format!("/tenant-{}{PATH}", count / 2);
        group.bench_function(BenchmarkId::new("by path", count), |bencher| {
            let policy = &*by_path;
            assert!(find(policy, "api.example", &path).is_some());
            bencher.iter(|| find(policy, "api.example", &path));
        });
        group.bench_function(BenchmarkId::new("by host", count), |bencher| {
            let policy = with_routes(Routes::ByHost(count));
            let host = format!("tenant-{}.example", count / 2);
            assert!(find(&policy, &host, PATH).is_some());
            bencher.iter(|| find(&policy, &host, PATH));
        });
        group.bench_function(BenchmarkId::new("none", count), |bencher| {
            let policy = &*by_path;
            assert!(find(policy, "api.example", PATH).is_none());
            bencher.iter(|| find(policy, "api.example", PATH));
        });
    }
}

pub(crate) fn find(policy: &Snapshot, host: &str, path: &str) -> Option<RouteId> {
    let headers = HeaderMap::new();
    let asked = Asked {
        host: Some(host.as_bytes()),
        path: path.as_bytes(),
        method: &Method::POST,
        headers: &headers,
    };
    policy.routes.find(&asked)
}
