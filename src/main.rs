//! The `keygate` program.

use std::process::ExitCode;

/// Several threads allocate and free at every request: measured against the system's allocator, see the README.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    without_huge_pages();
    keygate::cli::main()
}

/// The allocator asks for transparent huge pages. A buffer of 64 KiB that a few bytes were read into then costs all of
/// its memory: 1,000 streams took 136 MB with them and 70 MB without, at the same CPU time a request.
fn without_huge_pages() {
    #[cfg(target_os = "linux")]
    // Older kernels have no such switch (Linux 3.15), and nothing depends on it.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}
