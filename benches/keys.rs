//! What keys cost: loading a million of them, their memory, and a decision among 1, 10,000 and 1,000,000.
//!
//! `cargo bench --bench keys`. Wall time: only ratios within one run count.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a program for developers"
)]

use std::fmt::Write;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use http::{HeaderMap, HeaderValue, Method};
use keygate::auth::{Content, Facts, decide};
use keygate::clock::UnixSeconds;
use keygate::policy::{self, Digest, Snapshot};
use keygate::{config, limit};

const MILLION: usize = 1_000_000;

/// Decisions in one measurement, and measurements of which the median counts.
const DECISIONS: usize = 200_000;
const ROUNDS: usize = 9;

/// Different credentials in use at the same time.
const CALLERS: usize = 4096;

fn main() {
    let directory = std::env::temp_dir().join(format!("keygate-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let counts = [1, 10_000, MILLION];
    let policies: Vec<Snapshot> = counts.iter().map(|&count| load(&directory, count)).collect();
    std::fs::remove_dir_all(&directory).unwrap();
    let callers: Vec<Vec<HeaderMap>> = counts.iter().map(|&count| callers(count)).collect();
    let mut times = vec![Vec::new(); counts.len()];
    // By turns, so that a neighbour on the machine disturbs all alike.
    for _ in 0..ROUNDS {
        for ((policy, callers), times) in policies.iter().zip(&callers).zip(&mut times) {
            times.push(nanos_per_decision(policy, callers));
        }
    }
    for (count, times) in counts.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        println!("decide, {count:>9} keys, {CALLERS} callers in turn: {:>6.1} ns", times[ROUNDS / 2]);
    }
}

fn key(number: usize) -> String {
    format!("kg_{number:08}_0123456789abcdefghjkmnpqrstvwxyz_0000000")
}

/// Writes a config with that many keys, and says what loading it costs.
fn load(directory: &Path, count: usize) -> Snapshot {
    let mut lines = String::new();
    for number in 0..count {
        let digest = Digest::of(key(number).as_bytes());
        writeln!(lines, "{{\"name\":\"user-{number:07}\",\"digest\":\"{digest}\"}}").unwrap();
    }
    std::fs::write(directory.join("keys.jsonl"), lines).unwrap();
    let file = directory.join("keygate.yaml");
    let yaml = "proxy: {listen: ['127.0.0.1:1'], auth_mode: strict}\nkeys_file: keys.jsonl\n\
                limits: {rate: {requests: 1000, per: second}}\n\
                upstreams: {a: {peers: ['127.0.0.1:2']}}\nroutes: [{path_prefix: /, upstream: a}]\n";
    std::fs::write(&file, yaml).unwrap();
    let begun = Instant::now();
    let loaded = config::load(&file, &|_| None).unwrap();
    let read = begun.elapsed();
    let policy = policy::compile(&loaded.config, 1, None).unwrap().snapshot;
    let compiled = begun.elapsed();
    drop(loaded);
    let before = resident();
    let ledger = limit::Ledger::new(&policy, None, keygate::clock::ticks());
    let with_limits = begun.elapsed();
    println!(
        "load, {count:>9} keys: read {read:.1?}, compiled after {compiled:.1?}, with limits {with_limits:.1?}; {} bytes a \
         key, {} with the state of its limits",
        policy.keys.heap_bytes() / count,
        policy.keys.heap_bytes() / count + resident().saturating_sub(before) / count,
    );
    drop(ledger);
    policy
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

/// Headers of callers whose keys lie anywhere in the table.
fn callers(count: usize) -> Vec<HeaderMap> {
    let headers = |caller: usize| {
        let number = caller.wrapping_mul(2_654_435_761) % count;
        let value = HeaderValue::from_str(&format!("Bearer {}", key(number))).unwrap();
        HeaderMap::from_iter([(http::header::AUTHORIZATION, value)])
    };
    (0..CALLERS).map(headers).collect()
}

fn nanos_per_decision(policy: &Snapshot, callers: &[HeaderMap]) -> f64 {
    let begun = Instant::now();
    for headers in callers.iter().cycle().take(DECISIONS) {
        let facts =
            Facts { method: &Method::POST, path: b"/v1/chat/completions", headers, content: Content::Some };
        black_box(decide(policy, &facts, UnixSeconds(1))).unwrap();
    }
    begun.elapsed().as_secs_f64() * 1e9 / DECISIONS as f64
}
