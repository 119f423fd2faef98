//! The `keygate` program.

use std::process::ExitCode;

/// Several threads allocate and free at every request: measured against the system's allocator, see the README.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    keygate::cli::main()
}
