//! The thread that finds out why requests were refused, and writes the lines about it.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::RunError;
use crate::admin::ReloadLog;
use crate::auth::diagnosis::Circumstances;
use crate::clock;
use crate::policy::PolicyHandle;
use crate::proxy::Live;
use crate::telemetry::denial_log::Denials;

/// Between two rounds of work: in a flood it explains some hundred denials a second, and leaves the processor to those
/// who serve.
const PACE: Duration = Duration::from_millis(20);

/// Starts it, for the rest of the process's life.
///
/// # Errors
/// The system refuses a thread.
pub(super) fn start(
    live: &Arc<PolicyHandle<Live>>,
    reloads: &Arc<ReloadLog>,
) -> Result<&'static Denials, RunError> {
    let denials = Denials::leak();
    let (live, reloads) = (Arc::clone(live), Arc::clone(reloads));
    let explain = move || {
        loop {
            denials.wait();
            let around = Circumstances { rejected: reloads.rejected_problem() };
            denials.work(&live.load().policy, &around, clock::now());
            thread::sleep(PACE);
        }
    };
    thread::Builder::new()
        .name("denials".to_owned())
        .spawn(explain)
        .map_err(|error| RunError::System { what: "start a thread", error })?;
    Ok(denials)
}
