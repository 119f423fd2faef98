//! Says in the log which keys and certificates are about to end: at start, at each reload, and again while it stays so.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{self, UnixSeconds};
use crate::policy::{CertificateEnd, KeyState, KeyTable, PolicyHandle};
use crate::proxy::Live;

/// How often it is said again.
const AGAIN: Duration = Duration::from_secs(24 * 3600);

/// As many keys as anyone reads at once; the metric has their number.
const MOST_LINES: usize = 10;

/// Warns of keys and certificates that are about to end.
pub(super) fn warn(live: &Live, now: UnixSeconds) {
    warn_of_keys(&live.policy.keys, now);
    warn_of_previous(live, now);
    for certificate in live.policy.certificate_ends().filter(|end| end.is_near(now)) {
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

/// Warns of a digest that a key had before and that somebody has used: who does will be refused when its time is over.
fn warn_of_previous(live: &Live, now: UnixSeconds) {
    let keys = &live.policy.keys;
    let used = keys.previous().filter_map(|(id, _)| Some((keys.record(id)?, live.limits.last_used.of(id)?)));
    for (key, used) in used.filter(|(key, _)| KeyState::of(key, now) == KeyState::Expiring).take(MOST_LINES) {
        let until = key.previous_until.unwrap_or(now);
        log::warn!("the previous digest of key `{}`, last used at {used}, counts until {until}", key.name());
    }
}

/// Warns again and again.
pub(super) async fn keep_warning(live: Arc<PolicyHandle<Live>>) {
    loop {
        tokio::time::sleep(AGAIN).await;
        warn(&live.load(), clock::now());
    }
}
