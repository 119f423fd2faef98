//! All metrics as text, as Prometheus scrapes them. The only file that names one.
//!
//! What has not happened yet is there with 0 where its labels are known.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::{CLASSES, HEADERS, Metrics, RefusedConnection, RouteMeter};
use crate::auth::{CREDENTIAL_HEADERS, Cause};
use crate::clock::UnixSeconds;
use crate::policy::{CertificateEnd, KeyState};
use crate::telemetry::exposition::{Exposition, Family};

/// What is read elsewhere at the moment of a scrape.
#[derive(Clone, Debug)]
pub struct Scrape {
    /// Number of the policy in force.
    pub generation: u64,
    /// Open connections of clients.
    pub connections: i64,
    /// Requests under way.
    pub requests: i64,
    /// Reloads that were accepted and rejected.
    pub reloads: (u64, u64),
    /// Whether the last reload was accepted; a start counts.
    pub last_reload_accepted: bool,
    /// When the last reload was, or the start.
    pub last_reload: UnixSeconds,
    /// When the process was started.
    pub started: UnixSeconds,
    /// Keys in each state, in the order of [`KeyState::ALL`].
    pub keys: [usize; KeyState::ALL.len()],
    /// The certificates that are shown, and when each ends.
    pub certificates: Vec<CertificateEnd>,
    /// Every peer of every upstream.
    pub peers: Vec<PeerReading>,
}

/// One peer at the moment of a scrape.
#[derive(Clone, Debug)]
pub struct PeerReading {
    /// Its upstream.
    pub upstream: String,
    /// Where it is, as configured.
    pub peer: String,
    /// Addresses that it has now; 0 while its name has never been resolved.
    pub addresses: usize,
    /// Those of them that are left out because they failed.
    pub ejected: usize,
    /// Those of them that fail their health check.
    pub down: usize,
}

impl Metrics {
    /// The text of a scrape.
    pub fn render(&self, scrape: &Scrape) -> String {
        let mut text = Exposition::default();
        self.requests(&mut text);
        self.refusals(&mut text);
        self.upstreams(&mut text, scrape);
        self.connections(&mut text, scrape);
        policy(&mut text, scrape);
        process(&mut text, scrape);
        text.into_text()
    }

    fn requests(&self, text: &mut Exposition) {
        let mut family = text.counter(
            "keygate_requests_total",
            "Requests that are over, by route, upstream and class of the status (none: no response was sent).",
        );
        classes(&mut family, "", "", &self.unrouted);
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        for ((route, upstream), meter) in &series.routes {
            classes(&mut family, route, upstream, meter);
        }
        let mut family = text.counter(
            "keygate_key_requests_total",
            "Requests that are over, by name of their key and class of the status, where keys are counted.",
        );
        for (key, meter) in &series.keys {
            for (class, sum) in CLASSES.into_iter().zip(meter.sums()).filter(|(_, sum)| *sum > 0) {
                family.sample(&[("key", key), ("status", class)], sum);
            }
        }
        drop(series);
        text.histogram(
            "keygate_gateway_duration_seconds",
            "What the gateway itself took until a request went on to a peer or was answered here.",
        )
        .reading(&[], &self.own_time.read());
    }

    fn refusals(&self, text: &mut Exposition) {
        let mut family = text.counter(
            "keygate_denials_total",
            "Requests whose key was refused, by x-keygate-error and the header that decided.",
        );
        let sums = self.denials.sums();
        let mut by_code: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for (at, sum) in sums.iter().enumerate() {
            let Some(cause) = Cause::ALL.get(at / HEADERS) else { continue };
            let header = CREDENTIAL_HEADERS.get(at % HEADERS).map_or("none", |header| header.label());
            *by_code.entry((cause.code(), header)).or_default() += sum;
        }
        for ((code, header), sum) in by_code {
            family.sample(&[("code", code), ("header", header)], sum);
        }
        let mut family = text
            .counter("keygate_errors_total", "Errors that the gateway answered itself, by x-keygate-error.");
        for place in &self.own_errors {
            if let Some(code) = place.code.get() {
                let [sum] = place.count.sums();
                family.sample(&[("code", code)], sum);
            }
        }
    }

    fn upstreams(&self, text: &mut Exposition, scrape: &Scrape) {
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let mut family = text.histogram(
            "keygate_upstream_first_byte_seconds",
            "From the choice of a peer to the header section of its response, connecting included.",
        );
        for (name, meter) in &series.upstreams {
            family.reading(&[("upstream", name)], &meter.first_byte.read());
        }
        let mut family = text.histogram(
            "keygate_request_duration_seconds",
            "From the header section of a request to its end, streams included.",
        );
        for (name, meter) in &series.upstreams {
            family.reading(&[("upstream", name)], &meter.whole.read());
        }
        let mut family =
            text.counter("keygate_upstream_retries_total", "Attempts after the first for one request.");
        for (name, meter) in &series.upstreams {
            let [sum] = meter.retries.sums();
            family.sample(&[("upstream", name)], sum);
        }
        let mut family = text.counter(
            "keygate_upstream_ejections_total",
            "Addresses that failed too often in a row and were left out for a while.",
        );
        for (name, meter) in &series.upstreams {
            let [sum] = meter.ejections.sums();
            family.sample(&[("upstream", name)], sum);
        }
        let mut family = text.gauge(
            "keygate_peer_addresses",
            "Addresses that a peer has; 0 while its name could never be resolved.",
        );
        for PeerReading { upstream, peer, addresses, .. } in &scrape.peers {
            family.sample(&[("upstream", upstream), ("peer", peer)], addresses);
        }
        let mut family =
            text.gauge("keygate_peer_ejected", "Addresses of a peer that are left out because they failed.");
        for PeerReading { upstream, peer, ejected, .. } in &scrape.peers {
            family.sample(&[("upstream", upstream), ("peer", peer)], ejected);
        }
        let mut family = text.gauge("keygate_peer_down", "Addresses of a peer that fail their health check.");
        for PeerReading { upstream, peer, down, .. } in &scrape.peers {
            family.sample(&[("upstream", upstream), ("peer", peer)], down);
        }
    }

    fn connections(&self, text: &mut Exposition, scrape: &Scrape) {
        let [connections] = self.connections.sums();
        text.counter("keygate_connections_total", "Connections of clients that were accepted.")
            .sample(&[], connections);
        let mut family = text.counter(
            "keygate_connections_refused_total",
            "Connections that were closed as they came: over `connection_limits`, or without the PROXY protocol header that is asked for.",
        );
        for (reason, sum) in RefusedConnection::NAMES.into_iter().zip(self.refused_connections.sums()) {
            family.sample(&[("reason", reason)], sum);
        }
        text.gauge("keygate_connections_open", "Connections of clients that are open.")
            .sample(&[], scrape.connections);
        text.gauge("keygate_requests_in_flight", "Requests under way.").sample(&[], scrape.requests);
        let mut family = text.counter(
            "keygate_access_log_lines_total",
            "Lines of the access log: written, or dropped for want of room.",
        );
        let sums = self.log_lines.sums();
        for (fate, sum) in ["written", "dropped"].into_iter().zip(sums) {
            family.sample(&[("outcome", fate)], sum);
        }
    }
}

fn classes(family: &mut Family<'_>, route: &str, upstream: &str, meter: &RouteMeter) {
    for (class, sum) in CLASSES.into_iter().zip(meter.sums()) {
        // Six lines for each route would be mostly zeros.
        if sum > 0 || class == "2xx" {
            family.sample(&[("route", route), ("upstream", upstream), ("status", class)], sum);
        }
    }
}

fn policy(text: &mut Exposition, scrape: &Scrape) {
    text.gauge("keygate_config_generation", "Number of the policy in force.").sample(&[], scrape.generation);
    let mut family =
        text.gauge("keygate_keys", "Configured keys by state (expiring: valid, but for less than a week).");
    for (state, count) in KeyState::ALL.into_iter().zip(scrape.keys) {
        family.sample(&[("state", state.name())], count);
    }
    let mut family = text.gauge(
        "keygate_certificate_not_after_timestamp_seconds",
        "When a certificate ends that is shown to clients or peers, by its place in the config and its first name.",
    );
    for CertificateEnd { place, name, not_after } in &scrape.certificates {
        family.sample(&[("place", place), ("name", name)], not_after.0);
    }
    let mut family =
        text.counter("keygate_config_reloads_total", "Reloads of the config, by what came of them.");
    family.sample(&[("outcome", "accepted")], scrape.reloads.0);
    family.sample(&[("outcome", "rejected")], scrape.reloads.1);
    text.gauge(
        "keygate_config_last_reload_successful",
        "Whether the config as it stands in the file is in force (0: it was rejected).",
    )
    .sample(&[], u8::from(scrape.last_reload_accepted));
    text.gauge("keygate_config_last_reload_timestamp_seconds", "When the config was last read.")
        .sample(&[], scrape.last_reload.0);
}

fn process(text: &mut Exposition, scrape: &Scrape) {
    text.gauge("keygate_build_info", "The version that runs; always 1.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    text.gauge("process_start_time_seconds", "When the process was started.").sample(&[], scrape.started.0);
    #[cfg(target_os = "linux")]
    if let Ok(this) = procfs::process::Process::myself() {
        if let Ok(stat) = this.stat() {
            let cpu = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
            text.counter("process_cpu_seconds_total", "CPU time, user and system.").sample(&[], cpu);
            text.gauge("process_resident_memory_bytes", "Memory that is resident.")
                .sample(&[], stat.rss * procfs::page_size());
        }
        if let Ok(descriptors) = this.fd_count() {
            text.gauge("process_open_fds", "Open file descriptors.").sample(&[], descriptors);
        }
    }
}
