//! A policy made of its config, as at start and at each reload: of 1 and 10,000 routes, of 1 and 10,000 keys. What reading
//! the files costs beside that, and a million keys, `cargo bench --bench keys` tells.

use criterion::{BenchmarkId, Criterion, SamplingMode};

use crate::policies::{Routes, Shape, compile, config};

pub(crate) fn time(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("compile");
    group.sampling_mode(SamplingMode::Flat).sample_size(20);
    for count in [1, 10_000] {
        let many_routes = Shape { mode: "strict", keys: 1, routes: Routes::ByPath(count) };
        let many_keys = Shape { mode: "strict", keys: count, routes: Routes::One };
        for (what, shape) in [("routes", many_routes), ("keys", many_keys)] {
            let config = config(&shape);
            group.bench_function(BenchmarkId::new(what, count), |bencher| bencher.iter(|| compile(&config)));
        }
    }
}
