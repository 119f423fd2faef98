//! THE DECISION: may this request pass? Pure: no I/O, no clock, no logging.
//!
//! [`decide`] depends on its arguments alone, so the proxy, the tests and whoever wants to know beforehand run the
//! same one. What it returns is the only way further: a [`Permit`] can be built nowhere else, and choosing a peer
//! needs one.

mod authorize;
mod credential;
mod deny;
mod facts;
mod permit;

pub use authorize::{Access, authorize};
pub use credential::{CREDENTIAL_HEADERS, Credential, CredentialHeader, HeaderSet, contains_key};
pub use deny::{Cause, Deny, Malformed};
pub use facts::{Content, Facts};
pub use permit::{Grounds, Permit};

use http::Method;

use crate::clock::UnixSeconds;
use crate::policy::{EffectiveMode, Snapshot};

/// The path that belongs to the gateway. Compared with the raw bytes of the request's path: no decoding, no
/// normalising, no other spelling.
pub const HEALTH_PATH: &[u8] = b"/healthz";

/// Decides whether the request may pass, in the order that the contract gives:
///
/// 1. `OPTIONS` passes: a preflight carries no credentials (Fetch §3.2.2). One with content is no preflight and
///    must pass the other steps.
/// 2. Effective mode `off` passes.
/// 3. `GET` and `HEAD` of [`HEALTH_PATH`] pass in `all_except_health`.
/// 4. The first credential header present decides alone.
/// 5. Without any configured key nobody passes.
/// 6. The credential is a configured key that may be used, or it is not.
///
/// # Errors
/// The refusal, with the header that decided and those that were ignored.
pub fn decide(policy: &Snapshot, facts: &Facts<'_>, now: UnixSeconds) -> Result<Permit, Deny> {
    if facts.method != Method::OPTIONS {
        return decide_credential(policy, facts, now);
    }
    match facts.content {
        Content::None => Ok(Permit::new(Grounds::Preflight)),
        Content::Some => decide_credential(policy, facts, now)
            .map_err(|deny| Deny { cause: Cause::PreflightWithContent, ..deny }),
    }
}

/// Steps 2 to 6.
fn decide_credential(policy: &Snapshot, facts: &Facts<'_>, now: UnixSeconds) -> Result<Permit, Deny> {
    match policy.mode {
        EffectiveMode::Off => return Ok(Permit::new(Grounds::ModeOff)),
        EffectiveMode::AllExceptHealth if is_health_check(facts) => return Ok(Permit::new(Grounds::Health)),
        EffectiveMode::AllExceptHealth | EffectiveMode::Strict => {}
    }
    let refuse = |cause| Err(Deny { cause, present: HeaderSet::of(facts.headers) });
    let credential = Credential::take(facts.headers);
    if policy.keys.is_empty() {
        return refuse(Cause::NoKeyConfigured);
    }
    let value = match credential {
        Credential::Missing => return refuse(Cause::CredentialMissing),
        Credential::Malformed(how) => return refuse(Cause::CredentialMalformed(how)),
        Credential::Presented(value) => value,
    };
    match policy.keys.find(value) {
        None => refuse(Cause::CredentialInvalid),
        Some((_, key)) if !key.enabled => refuse(Cause::KeyDisabled),
        Some((_, key)) if key.expires_at.is_some_and(|end| end <= now) => refuse(Cause::KeyExpired),
        Some((id, _)) => Ok(Permit::new(Grounds::Key(id))),
    }
}

fn is_health_check(facts: &Facts<'_>) -> bool {
    facts.path == HEALTH_PATH && (facts.method == Method::GET || facts.method == Method::HEAD)
}

#[cfg(test)]
mod tests;
