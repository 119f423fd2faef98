//! What the gateway's own part of a request costs: the decision for each header, hit and miss; a route among 1, 100 and
//! 10,000; a policy made of its config; a note of a refusal.
//!
//! `cargo bench --bench requests`. Wall time: only ratios within one run count. That a decision allocates nothing is a
//! test (`src/auth/tests/reference.rs`).

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a program for developers")]

use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

use http::{HeaderMap, HeaderValue, Method};
use keygate::auth::{CREDENTIAL_HEADERS, Content, Facts, decide};
use keygate::clock::UnixSeconds;
use keygate::config::Config;
use keygate::policy::{self, Asked, Snapshot};
use keygate::telemetry::denial_log::Denials;
use keygate::telemetry::denial_records::Refused;

const KEY: &str = "sk-0123456789abcdef0123456789abcdef";

/// Runs in one measurement, and measurements of which the median counts.
const RUNS: u32 = 50_000;
const ROUNDS: usize = 9;

fn main() {
    decisions();
    routes();
    denials();
}

fn decisions() {
    for mode in ["off", "strict", "all_except_health"] {
        let policy = compile(&config(mode, 1));
        for (what, key) in [("right", KEY), ("wrong", "sk-wrong")] {
            for header in CREDENTIAL_HEADERS {
                let value = HeaderValue::from_static(key);
                let headers = HeaderMap::from_iter([(header.name().clone(), value)]);
                let facts = facts(&headers);
                let nanos = nanos(|| decide(&policy, &facts, UnixSeconds(1)));
                println!("decide, {mode:<17} {what} key in {:<14} {nanos:>7.1} ns", header.label());
            }
        }
        let headers = HeaderMap::new();
        let facts = facts(&headers);
        let nanos = nanos(|| decide(&policy, &facts, UnixSeconds(1)));
        println!("decide, {mode:<17} no key                      {nanos:>7.1} ns");
    }
}

/// What it costs to take note of a refusal, beyond the lines that a second has room for.
fn denials() {
    let (policy, denials) = (compile(&config("strict", 1)), Denials::default());
    let value = HeaderValue::from_static("Bearer sk-wrong");
    let headers = HeaderMap::from_iter([(http::header::AUTHORIZATION, value)]);
    let (facts, at) = (facts(&headers), UnixSeconds(1));
    let deny = decide(&policy, &facts, at).unwrap_err();
    let refused = Refused {
        deny,
        at,
        request_id: "0123456789abcdef0123456789abcdef",
        client: Some([127, 0, 0, 1].into()),
        facts,
        host: Some(b"127.0.0.1"),
        generation: 1,
    };
    let nanos = nanos(|| denials.record(&refused));
    println!("take note of a denial: {nanos:.1} ns");
}

fn facts(headers: &HeaderMap) -> Facts<'_> {
    Facts { method: &Method::POST, path: b"/v1/chat/completions", headers, content: Content::Some }
}

fn routes() {
    for count in [1_usize, 100, 10_000] {
        let config = config("strict", count);
        let begun = Instant::now();
        let policy = compile(&config);
        let compiled = begun.elapsed();
        let (method, headers) = (Method::POST, HeaderMap::new());
        let path = format!("/tenant-{}/v1/chat/completions", count / 2);
        let asked =
            Asked { host: Some(b"api.example"), path: path.as_bytes(), method: &method, headers: &headers };
        assert!(policy.routes.find(&asked).is_some());
        let nanos = nanos(|| policy.routes.find(&asked));
        println!("route among {count:>6}: {nanos:>7.1} ns; compiled in {compiled:.1?}");
    }
}

fn config(mode: &str, routes: usize) -> Config {
    let mut yaml = format!(
        "proxy: {{listen: ['127.0.0.1:1'], auth_mode: {mode}, api_key: {KEY}}}\nupstreams: {{a: {{peers: ['127.0.0.1:2']}}}}\n\
         routes:\n"
    );
    for number in 0..routes {
        writeln!(yaml, "  - {{path_prefix: /tenant-{number}/v1, upstream: a}}").unwrap();
    }
    serde_yaml::from_str(&yaml).unwrap()
}

fn compile(config: &Config) -> Snapshot {
    policy::compile(config, 1, None).unwrap().snapshot
}

/// The median of several rounds.
fn nanos<T>(run: impl Fn() -> T) -> f64 {
    let round = || {
        let begun = Instant::now();
        (0..RUNS).for_each(|_| drop(black_box(run())));
        begun.elapsed().as_secs_f64() * 1e9 / f64::from(RUNS)
    };
    let mut rounds = [(); ROUNDS].map(|()| round());
    rounds.sort_by(f64::total_cmp);
    rounds.into_iter().nth(ROUNDS / 2).unwrap()
}
