//! What keys cost: reading a million of them, making a policy of them, and the memory that they take.
//!
//! `cargo bench --bench keys`. Once each, for a start happens once: only ratios within one run count. What a decision
//! among so many costs, `cargo bench --bench micro -- decide` tells.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a program for developers")]

mod policies;

use std::time::Instant;

use keygate::{clock, config, limit, policy};
use policies::{Routes, Shape, write};

fn main() {
    for count in [1, 10_000, 1_000_000] {
        load(count);
    }
}

/// Says what it costs to load a config with that many keys.
fn load(count: usize) {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), &Shape { mode: "strict", keys: count, routes: Routes::One });
    let begun = Instant::now();
    let loaded = config::load(&file, &|_| None).unwrap();
    let read = begun.elapsed();
    let policy = policy::compile(&loaded.config, 1, None).unwrap().snapshot;
    let compiled = begun.elapsed();
    drop(loaded);
    let before = resident();
    let ledger = limit::Ledger::new(&policy, None, clock::ticks());
    let with_limits = begun.elapsed();
    println!(
        "load, {count:>9} keys: read {read:.1?}, compiled after {compiled:.1?}, with limits {with_limits:.1?}; {} bytes a \
         key, {} with the state of its limits",
        policy.keys.heap_bytes() / count,
        policy.keys.heap_bytes() / count + resident().saturating_sub(before) / count,
    );
    drop(ledger);
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}
