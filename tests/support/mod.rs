//! What the tests stand on: the real binary on a free port, a recording origin, a raw TCP client.
//!
//! Nothing here sleeps: every wait is for a condition, and has a limit that fails the test.

mod browser;
mod certificates;
mod client;
mod gateway;
mod http2;
mod origin;
mod python;
mod running_origin;

pub(crate) use browser::Browser;
pub(crate) use certificates::Authority;
pub(crate) use client::{Client, Response, find};
pub(crate) use gateway::{
    Gateway, KEY, Program, config, keygate, replace, run_to_end, without_sdk_variables,
};
pub(crate) use http2::{exchange_over_http2, try_exchange_over_http2};
pub(crate) use origin::{Origin, ReceivedRequest};
pub(crate) use python::{Python, sdk_python};
pub(crate) use running_origin::RunningOrigin;

use std::time::{Duration, Instant};

/// How long anything may take before the test fails. Long, for machines that are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until `condition` gives a value.
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        // Not a wait by the clock: how often the condition is looked at.
        std::thread::park_timeout(Duration::from_millis(1));
    }
}
