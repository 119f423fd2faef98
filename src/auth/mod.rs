//! THE DECISION: may this request pass? Pure: no I/O, no clock, no logging.
//!
//! [`decide`] depends on its arguments alone, so the proxy, the tests and whoever wants to know beforehand run the
//! same one. What it returns is the only way further: a [`Permit`] can be built nowhere else, and choosing a peer
//! needs one.

mod authorize;
mod credential;
mod deny;
pub mod diagnosis;
pub mod explain;
mod facts;
pub mod misplaced;
pub mod near_miss;
pub mod pasted;
mod permit;
pub mod steps;

pub use authorize::{Access, authorize};
pub use credential::{
    CREDENTIAL_HEADERS, Credential, CredentialHeader, HeaderSet, contains_key, is_credential_header,
    protocol_key, protocols,
};
pub use deny::{Cause, Deny, Malformed};
pub use facts::{Content, Facts};
pub use permit::{Grounds, Permit};

use http::Method;

use crate::clock::UnixSeconds;
use crate::policy::{EffectiveMode, KeyId, KeyRecord, Snapshot};
use steps::{Observer, Outcome, Step};

/// The path that belongs to the gateway. Compared with the raw bytes of the request's path: no decoding, no
/// normalising, no other spelling.
pub const HEALTH_PATH: &[u8] = b"/healthz";

/// Decides whether the request may pass, in the order that the contract gives:
///
/// 1. `OPTIONS` passes: a preflight carries no credentials (Fetch §3.2.2). One with content is no preflight and
///    must pass the other steps.
/// 2. Effective mode `off` passes.
/// 3. `GET` and `HEAD` of [`HEALTH_PATH`] pass in `all_except_health`.
/// 4. The first credential header present decides alone; a key among the WebSocket protocols comes last, where it counts.
/// 5. Without any configured key nobody passes.
/// 6. The credential is a configured key that may be used, or it is not.
///
/// # Errors
/// The refusal, with the header that decided and those that were ignored.
pub fn decide(policy: &Snapshot, facts: &Facts<'_>, now: UnixSeconds) -> Result<Permit, Deny> {
    decide_observed(policy, facts, now, &mut ())
}

/// The same decision, its steps told to `observer` one by one.
///
/// # Errors
/// As [`decide`].
pub fn decide_observed(
    policy: &Snapshot,
    facts: &Facts<'_>,
    now: UnixSeconds,
    observer: &mut impl Observer,
) -> Result<Permit, Deny> {
    let is_options = facts.method == Method::OPTIONS;
    if is_options && facts.content == Content::None {
        observer.step(Step::Preflight, Outcome::Allows);
        return Ok(Permit::new(Grounds::Preflight));
    }
    observer.step(Step::Preflight, Outcome::GoesOn);
    let decision = decide_credential(policy, facts, now, observer);
    if is_options {
        return decision.map_err(|deny| Deny { cause: Cause::PreflightWithContent, ..deny });
    }
    decision
}

/// Steps 2 to 6.
fn decide_credential(
    policy: &Snapshot,
    facts: &Facts<'_>,
    now: UnixSeconds,
    observer: &mut impl Observer,
) -> Result<Permit, Deny> {
    if policy.mode == EffectiveMode::Off {
        observer.step(Step::ModeOff, Outcome::Allows);
        return Ok(Permit::new(Grounds::ModeOff));
    }
    observer.step(Step::ModeOff, Outcome::GoesOn);
    if policy.mode == EffectiveMode::AllExceptHealth && is_health_check(facts) {
        observer.step(Step::Health, Outcome::Allows);
        return Ok(Permit::new(Grounds::Health));
    }
    observer.step(Step::Health, Outcome::GoesOn);
    let credential = Credential::take(facts.headers, policy.protocol_keys);
    observer.step(Step::Credential, Outcome::GoesOn);
    let (step, outcome) = if policy.keys.is_empty() {
        (Step::KeyConfigured, Err(Cause::NoKeyConfigured))
    } else {
        observer.step(Step::KeyConfigured, Outcome::GoesOn);
        (Step::KeyMatches, matching_key(policy, credential, now))
    };
    match outcome {
        Ok(key) => {
            observer.step(step, Outcome::Allows);
            Ok(Permit::new(Grounds::Key(key)))
        }
        Err(cause) => {
            observer.step(step, Outcome::Denies);
            Err(Deny { cause, present: HeaderSet::of(facts.headers, policy.protocol_keys) })
        }
    }
}

/// The key that the credential is, if it may be used.
fn matching_key(policy: &Snapshot, credential: Credential<'_>, now: UnixSeconds) -> Result<KeyId, Cause> {
    let value = match credential {
        Credential::Missing => return Err(Cause::CredentialMissing),
        Credential::Malformed(how) => return Err(Cause::CredentialMalformed(how)),
        Credential::Presented(value) => value,
    };
    check_usable(policy.keys.find(value), now)
}

/// Whether what a credential was `found` to be may be used at this time.
///
/// # Errors
/// Why not.
pub(crate) fn check_usable(found: Option<(KeyId, KeyRecord<'_>)>, now: UnixSeconds) -> Result<KeyId, Cause> {
    match found {
        None => Err(Cause::CredentialInvalid),
        Some((_, key)) if !key.enabled => Err(Cause::KeyDisabled),
        Some((_, key)) if key.expires_at.is_some_and(|end| end <= now) => Err(Cause::KeyExpired),
        Some((id, _)) => Ok(id),
    }
}

fn is_health_check(facts: &Facts<'_>) -> bool {
    facts.path == HEALTH_PATH && (facts.method == Method::GET || facts.method == Method::HEAD)
}

#[cfg(test)]
mod tests;
