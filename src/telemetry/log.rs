//! The process log: `env_logger` by `RUST_LOG`, with a lid on the libraries that would print wire bytes, or as many lines as
//! somebody cares to cause.

use std::sync::atomic::{AtomicU64, Ordering};

use log::{LevelFilter, Log, Metadata, Record};

use crate::clock::{self, Ticks};

/// Without `RUST_LOG`: our own messages, and what goes wrong below.
const DEFAULT_FILTER: &str = "warn,keygate=info";

/// Crates that print headers, and so credentials, at `debug` and `trace`. `RUST_LOG=trace` must not undo the promise
/// that no key is ever logged.
const LIDDED: &[&str] = &["pingora", "h2", "hyper", "rustls", "mio", "tokio"];

/// Lines of one kind that a library may log in [`WINDOW_NANOS`]. Who fails a TLS handshake causes one, and needs no key for
/// it; nobody reads more than some of them.
const MOST_IN_A_WINDOW: u64 = 20;

/// Ten seconds.
const WINDOW_NANOS: u64 = 10_000_000_000;

/// The half of a counter that counts lines; the other half has the number of their window.
const LINES: u64 = 0xFFFF_FFFF;

/// Kinds of lines are told apart by their place in the source. Pingora has some hundred that can be reached.
const PLACES: usize = 256;

/// Installs the logger. Call it once, first.
pub fn init() {
    let env = env_logger::Env::default().default_filter_or(DEFAULT_FILTER);
    let inner = env_logger::Builder::from_env(env).format_timestamp_millis().build();
    log::set_max_level(inner.filter());
    // A second logger can only be there in a test that embeds us; it keeps its own.
    let _ = log::set_boxed_logger(Box::new(LiddedLogger { inner, floods: Floods::default() }));
}

struct LiddedLogger {
    inner: env_logger::Logger,
    floods: Floods,
}

impl Log for LiddedLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        !is_lidded(metadata) && self.inner.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        if !is_of_a_library(record.target()) {
            return self.inner.log(record);
        }
        match self.floods.admit(place(record), clock::ticks()) {
            Admitted::No => {}
            Admitted::Yes => self.inner.log(record),
            Admitted::Last => {
                self.inner.log(record);
                let more = format_args!("more of the kind are left out for some seconds");
                self.inner.log(&Record::builder().metadata(record.metadata().clone()).args(more).build());
            }
        }
    }

    fn flush(&self) {
        self.inner.flush();
    }
}

fn is_lidded(metadata: &Metadata<'_>) -> bool {
    metadata.level() > LevelFilter::Info && is_of_a_library(metadata.target())
}

fn is_of_a_library(target: &str) -> bool {
    LIDDED.iter().any(|crate_name| target.starts_with(crate_name))
}

/// Two places may share a number, and with it what they may log.
fn place(record: &Record<'_>) -> usize {
    let line = record.line().unwrap_or(0) as usize;
    record.target().len().wrapping_mul(31).wrapping_add(line)
}

/// How many lines of each kind there were of late.
#[derive(Debug)]
struct Floods([AtomicU64; PLACES]);

impl Default for Floods {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; PLACES])
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admitted {
    Yes,
    /// The last one for a while.
    Last,
    No,
}

impl Floods {
    fn admit(&self, place: usize, now: Ticks) -> Admitted {
        let Some(cell) = self.0.get(place % PLACES) else { return Admitted::Yes };
        let window = (now.0 / WINDOW_NANOS) << 32;
        let next = |seen: u64| {
            let in_this_window = seen & !LINES == window;
            Some(if in_this_window { seen.saturating_add(1) } else { window + 1 })
        };
        let before = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or(0);
        let lines = if before & !LINES == window { before & LINES } else { 0 };
        match lines + 1 {
            MOST_IN_A_WINDOW => Admitted::Last,
            line if line > MOST_IN_A_WINDOW => Admitted::No,
            _ => Admitted::Yes,
        }
    }
}

#[cfg(test)]
mod tests {
    use log::Level;

    use super::*;

    #[test]
    fn wire_bytes_stay_out_of_the_log_at_every_level() {
        let lidded = |target, level| is_lidded(&Metadata::builder().target(target).level(level).build());
        assert!(lidded("pingora_proxy::proxy_h1", Level::Debug));
        assert!(lidded("pingora_core::protocols", Level::Trace));
        assert!(!lidded("pingora_proxy", Level::Error));
        assert!(!lidded("keygate::proxy", Level::Trace));
    }

    #[test]
    fn of_each_kind_some_lines_pass_in_a_window() {
        let floods = Floods::default();
        let in_window = |window: u64| Ticks(window * WINDOW_NANOS + 5);
        let lines = |place, window, number: u64| -> Vec<Admitted> {
            (0..number).map(|_| floods.admit(place, in_window(window))).collect()
        };
        let first = lines(1, 0, 1_000);
        assert_eq!(first.iter().filter(|&&line| line == Admitted::Yes).count(), 19);
        assert_eq!((first[19], first[20], first[999]), (Admitted::Last, Admitted::No, Admitted::No));
        assert_eq!(lines(2, 0, 1), [Admitted::Yes], "another kind");
        assert_eq!(lines(1, 1, 1), [Admitted::Yes], "another window");
        assert_eq!(lines(1, 7, 20)[19], Admitted::Last);
    }
}
