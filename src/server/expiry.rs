//! Says in the log which keys and certificates are about to end: at start, at each reload, and again while it stays so.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{self, UnixSeconds};
use crate::policy::{CertificateEnd, KeyTable, PolicyHandle, Snapshot};
use crate::proxy::Live;

/// How often it is said again.
const AGAIN: Duration = Duration::from_secs(24 * 3600);

/// As many keys as anyone reads at once; the metric has their number.
const MOST_LINES: usize = 10;

/// Warns of keys and certificates that are about to end.
pub(super) fn warn(policy: &Snapshot, now: UnixSeconds) {
    warn_of_keys(&policy.keys, now);
    for certificate in policy.certificate_ends().filter(|end| end.is_near(now)) {
        warn_of_certificate(&certificate, now);
    }
}

/// As many lines as there are certificates: unlike keys they are few, and each is a site that is about to go dark.
fn warn_of_certificate(certificate: &CertificateEnd, now: UnixSeconds) {
    let CertificateEnd { place, name, not_after } = certificate;
    let name = if name.is_empty() { String::new() } else { format!(" ({name})") };
    let at = chrono::DateTime::from_timestamp(not_after.0, 0).unwrap_or_default().to_rfc3339();
    let hours = (not_after.0 - now.0) / 3600;
    if *not_after <= now {
        log::error!("certificate `{place}`{name} has ended, at {at}");
    } else {
        log::warn!("certificate `{place}`{name} ends in {} d {} h, at {at}", hours / 24, hours % 24);
    }
}

fn warn_of_keys(keys: &KeyTable, now: UnixSeconds) {
    let mut rest = 0;
    for (number, key) in keys.expiring(now).enumerate() {
        let Some(end) = key.expires_at else { continue };
        if number >= MOST_LINES {
            rest += 1;
            continue;
        }
        let at = chrono::DateTime::from_timestamp(end.0, 0).unwrap_or_default();
        let hours = (end.0 - now.0) / 3600;
        log::warn!(
            "key `{}` expires in {} d {} h, at {}",
            key.name(),
            hours / 24,
            hours % 24,
            at.to_rfc3339()
        );
    }
    if rest > 0 {
        log::warn!("{rest} more keys expire within a week");
    }
}

/// Warns again and again.
pub(super) async fn keep_warning(live: Arc<PolicyHandle<Live>>) {
    loop {
        tokio::time::sleep(AGAIN).await;
        warn(&live.load().policy, clock::now());
    }
}
