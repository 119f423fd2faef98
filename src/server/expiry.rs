//! Says in the log which keys are about to expire: at start, at each reload, and again while it stays so.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{self, UnixSeconds};
use crate::policy::{KeyTable, PolicyHandle};
use crate::proxy::Live;

/// How often it is said again.
const AGAIN: Duration = Duration::from_secs(24 * 3600);

/// As many keys as anyone reads at once; the metric has their number.
const MOST_LINES: usize = 10;

/// Warns of keys that are about to expire.
pub(super) fn warn(keys: &KeyTable, now: UnixSeconds) {
    let mut rest = 0;
    for (number, key) in keys.expiring(now).enumerate() {
        let Some(end) = key.expires_at else { continue };
        if number >= MOST_LINES {
            rest += 1;
            continue;
        }
        let at = chrono::DateTime::from_timestamp(end.0, 0).unwrap_or_default();
        let hours = (end.0 - now.0) / 3600;
        log::warn!("key `{}` expires in {} d {} h, at {}", key.name, hours / 24, hours % 24, at.to_rfc3339());
    }
    if rest > 0 {
        log::warn!("{rest} more keys expire within a week");
    }
}

/// Warns again and again.
pub(super) async fn keep_warning(live: Arc<PolicyHandle<Live>>) {
    loop {
        tokio::time::sleep(AGAIN).await;
        warn(&live.load().policy.keys, clock::now());
    }
}
