//! The sums of all counters, for who shows them to people.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use super::{CLASSES, HEADERS, Metrics};
use crate::auth::Cause;
use crate::telemetry::cells::Reading;

/// What was counted since the process began.
#[derive(Clone, Debug)]
pub struct Totals {
    /// Requests that are over, by class of the status.
    pub by_status: BTreeMap<&'static str, u64>,
    /// Requests whose key was refused, by `x-keygate-error`.
    pub denials: BTreeMap<&'static str, u64>,
    /// What the gateway itself took.
    pub own_time: Reading,
    /// Every upstream of the policy in force.
    pub upstreams: Vec<UpstreamTotals>,
}

/// What was counted for one upstream.
#[derive(Clone, Debug)]
pub struct UpstreamTotals {
    /// Its name.
    pub name: Arc<str>,
    /// From the choice of a peer to the header section of its response.
    pub first_byte: Reading,
    /// Attempts after the first.
    pub retries: u64,
}

impl Metrics {
    /// The sums now.
    pub fn totals(&self) -> Totals {
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let mut by_status = BTreeMap::from(CLASSES.map(|class| (class, 0)));
        for meter in series.routes.values().map(|meter| &**meter).chain([&self.unrouted]) {
            for (class, sum) in CLASSES.into_iter().zip(meter.sums()) {
                *by_status.entry(class).or_default() += sum;
            }
        }
        let mut denials = BTreeMap::new();
        for (cause, sums) in Cause::ALL.iter().zip(self.denials.sums().chunks(HEADERS)) {
            *denials.entry(cause.code()).or_default() += sums.iter().sum::<u64>();
        }
        let upstreams = series.upstreams.iter().map(|(name, meter)| {
            let [retries] = meter.retries.sums();
            UpstreamTotals { name: Arc::clone(name), first_byte: meter.first_byte.read(), retries }
        });
        let upstreams = upstreams.collect();
        drop(series);
        Totals { by_status, denials, own_time: self.own_time.read(), upstreams }
    }
}
