//! The process log: `env_logger` by `RUST_LOG`, with a lid on the libraries that would print wire bytes.

use log::{LevelFilter, Log, Metadata, Record};

/// Without `RUST_LOG`: our own messages, and what goes wrong below.
const DEFAULT_FILTER: &str = "warn,keygate=info";

/// Crates that print headers, and so credentials, at `debug` and `trace`. `RUST_LOG=trace` must not undo the promise
/// that no key is ever logged.
const LIDDED: &[&str] = &["pingora", "h2", "hyper", "rustls", "mio", "tokio"];

/// Installs the logger. Call it once, first.
pub fn init() {
    let env = env_logger::Env::default().default_filter_or(DEFAULT_FILTER);
    let inner = env_logger::Builder::from_env(env).format_timestamp_millis().build();
    log::set_max_level(inner.filter());
    // A second logger can only be there in a test that embeds us; it keeps its own.
    let _ = log::set_boxed_logger(Box::new(LiddedLogger(inner)));
}

struct LiddedLogger(env_logger::Logger);

impl Log for LiddedLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        !is_lidded(metadata) && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !is_lidded(record.metadata()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

fn is_lidded(metadata: &Metadata<'_>) -> bool {
    metadata.level() > LevelFilter::Info
        && LIDDED.iter().any(|crate_name| metadata.target().starts_with(crate_name))
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
}
