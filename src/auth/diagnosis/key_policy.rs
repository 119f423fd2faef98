//! A key that is right and may not be used: which of its rules forbids it.

use super::{Diagnosis, Reason, found, named};
use crate::auth::{Cause, Credential, Facts};
use crate::clock::UnixSeconds;
use crate::policy::{KeyRecord, Snapshot};

/// What became of the key that the request holds.
pub(super) fn key_policy(policy: &Snapshot, facts: &Facts<'_>, cause: Cause, now: UnixSeconds) -> Diagnosis {
    let key = match Credential::take(facts.headers, policy.protocol_keys) {
        Credential::Presented(value) => policy.keys.find(value).map(|(_, key)| key),
        _ => None,
    };
    let name = key.map(|key| key.name());
    if let Some(KeyRecord { previous_until: Some(until), .. }) = key
        && until <= now
    {
        let what = format!("this is the old key{}, which counts no more since {}", named(name), until);
        let diagnosis = found(Reason::RetiredKey, what, "use the new key");
        return Diagnosis { key: name.map(str::to_owned), ..diagnosis };
    }
    let (what, fix) = broken_rule(cause, key.as_ref());
    let diagnosis = found(Reason::KeyPolicy, format!("the key{} is right, but {what}", named(name)), fix);
    Diagnosis { key: name.map(str::to_owned), ..diagnosis }
}

/// Which rule of the key it is, and what to change.
fn broken_rule(cause: Cause, key: Option<&KeyRecord<'_>>) -> (String, &'static str) {
    let at = |time: Option<UnixSeconds>| time.map_or_else(|| "then".to_owned(), |time| time.to_string());
    let not_in = |what: &str, field: &str| {
        format!("it may not be used {what}: the rule `{field}` of the key forbids it")
    };
    match cause {
        Cause::KeyExpired => (
            format!("it expired at {} (`expires_at`)", at(key.and_then(|key| key.expires_at))),
            "use another key, or set its `expires_at` later",
        ),
        Cause::KeyNotYetValid => (
            format!("it may be used from {} on (`not_before`)", at(key.and_then(|key| key.not_before))),
            "wait, or set its `not_before` earlier",
        ),
        Cause::AddressNotAllowed => (
            not_in("from this address", "addresses"),
            "use another key, or add the address to its `addresses`",
        ),
        Cause::MethodNotAllowed => {
            (not_in("with this method", "methods"), "use another key, or add the method to its `methods`")
        }
        Cause::RouteNotAllowed => {
            (not_in("for this path", "routes"), "use another key, or add the route to its `routes`")
        }
        _ => ("it is disabled (`enabled: false`)".to_owned(), "use another key, or set `enabled: true`"),
    }
}
