//! The micro-benchmarks: what each part of the gateway's own work costs.
//!
//! `cargo bench --bench micro` times them; a word behind `--` chooses, such as `-- decide` or `-- routes/`. With
//! `-- --instructions` some of them are counted in instructions instead, by valgrind: see `instructions`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a program for developers"
)]

mod compile;
mod decide;
mod instructions;
mod limits;
mod policies;
mod refusals;
mod routes;

use std::time::Duration;

use criterion::{Criterion, criterion_group};

/// As the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

criterion_group! {
    name = timed;
    // A second each: there are many, and what is left of the noise shows in the interval that is printed.
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = decide::time, routes::time, compile::time, limits::time, refusals::time
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !instructions::asked_for(&arguments) {
        timed();
        Criterion::default().configure_from_args().final_summary();
    }
}
