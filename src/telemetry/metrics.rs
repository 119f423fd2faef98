//! Every metric of the gateway, in the Prometheus text format. The only file that names one.

use std::fmt::Write;

/// The media type of the text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is read at the moment of a scrape.
#[derive(Clone, Copy, Debug)]
pub struct Gauges {
    /// Number of the policy in force.
    pub generation: u64,
    /// Open connections of clients.
    pub connections: i64,
    /// Requests under way.
    pub requests: i64,
}

/// All metrics as text.
pub fn render(gauges: &Gauges) -> String {
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, labels: &str, value: i64| {
        // Writing to a string cannot fail.
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name}{labels} {value}\n");
    };
    let version = concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}");
    gauge("keygate_build_info", "The version that runs; always 1.", version, 1);
    gauge("keygate_config_generation", "Number of the policy in force.", "", gauges.generation as i64);
    gauge("keygate_connections_open", "Open connections of clients.", "", gauges.connections);
    gauge("keygate_requests_in_flight", "Requests under way.", "", gauges.requests);
    text
}
