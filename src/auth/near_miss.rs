//! What was probably meant by a credential that matches nothing. For operators, off the request path: what the caller
//! is told never depends on it.
//!
//! The work is bounded and does not grow with the number of keys: what was presented is undone step by step (scheme,
//! quotes, escapes), and each outcome is looked up by its digest, as a credential is. Never a key is kept in clear
//! for this; see `policy` for what is remembered of those that the config holds in clear.

mod foreign;
mod mangled;
mod scheme;

pub use mangled::Mangling;
pub use scheme::SchemeMistake;

use super::CredentialHeader;
use crate::clock::UnixSeconds;
use crate::policy::key_format::{self, KgState};
use crate::policy::{Resemblance, Snapshot};

/// Of longer credentials only the beginning is looked at: no key that anybody configures is longer, and hashing takes time.
const LONGEST: usize = 512;

/// Layers of quotes, escapes and the like that are taken off.
const MOST_LAYERS: usize = 4;

/// Extra characters that are looked for at the end and at the beginning of a key of which only the digest is known.
const MOST_EXTRA: usize = 8;

/// What was probably meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NearMiss {
    /// The scheme before the key is written otherwise.
    Scheme(SchemeMistake),
    /// The key was copied or expanded wrongly.
    Mangled(Mangling),
    /// The key is damaged.
    Damaged(Damage),
    /// It is a credential of somebody else.
    Foreign(&'static str),
    /// It is a key that counted until then.
    Retired(UnixSeconds),
    /// It has the form of a key of keygate, and its checksum is right, but it is none of this gateway.
    OtherGateway,
    /// Nothing behind the scheme: the variable was empty.
    NothingBehindScheme,
    /// Nothing is known of it.
    Unknown,
}

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A part is missing.
    Truncated,
    /// There is more than the key.
    Extended,
    /// Letters are in another case.
    OtherCase,
    /// Characters are others.
    Altered,
}

/// What was found out about a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Analysis {
    /// What was probably meant.
    pub miss: NearMiss,
    /// The name of the key that was probably meant.
    pub key: Option<String>,
}

impl Analysis {
    fn new(miss: NearMiss, key: Option<&str>) -> Self {
        Self { miss, key: key.map(str::to_owned) }
    }
}

/// Analyses the `value` of the deciding `header`, which matched no key.
pub fn analyse(policy: &Snapshot, header: CredentialHeader, value: &[u8]) -> Analysis {
    let (scheme, inner) = scheme::take_off(header, value.trim_ascii());
    if inner.len() > LONGEST {
        return Analysis::new(foreign::recognise(inner).map_or(NearMiss::Unknown, NearMiss::Foreign), None);
    }
    if inner.is_empty() {
        return Analysis::new(NearMiss::NothingBehindScheme, None);
    }
    if let Some(name) = configured(policy, inner) {
        let miss = scheme.map_or(NearMiss::Unknown, NearMiss::Scheme);
        return Analysis::new(miss, Some(name));
    }
    let (layers, core) = undo(policy, inner);
    if let Some(name) = configured(policy, &core) {
        let miss =
            scheme.map(NearMiss::Scheme).or(layers.map(NearMiss::Mangled)).unwrap_or(NearMiss::Unknown);
        return Analysis::new(miss, Some(name));
    }
    let analysis = of_core(policy, &core);
    if analysis.miss != NearMiss::Unknown {
        return analysis;
    }
    // Whatever it is, it is written wrongly too.
    let miss = scheme.map(NearMiss::Scheme).or(layers.map(NearMiss::Mangled)).unwrap_or(NearMiss::Unknown);
    Analysis::new(miss, None)
}

/// The name of the key that `credential` is.
pub(super) fn configured<'a>(policy: &'a Snapshot, credential: &[u8]) -> Option<&'a str> {
    policy.keys.find(credential).map(|(_, key)| key.name())
}

/// Takes off what does not belong to a key, until it is one or nothing is left to take off. The first layer is told.
fn undo(policy: &Snapshot, value: &[u8]) -> (Option<Mangling>, Vec<u8>) {
    let (mut outermost, mut core) = (None, value.to_vec());
    for _ in 0..MOST_LAYERS {
        let Some((layer, inner)) = mangled::take_off(&core) else { break };
        outermost = outermost.or(Some(layer));
        core = inner;
        if configured(policy, &core).is_some() {
            break;
        }
    }
    (outermost, core)
}

/// What is known of a value by itself.
fn of_core(policy: &Snapshot, core: &[u8]) -> Analysis {
    if let Some(retired) = policy.retired.find(core) {
        return Analysis::new(NearMiss::Retired(retired.since), Some(&retired.name));
    }
    if let Some(mistake) = mangled::stands_for_a_key(core) {
        return Analysis::new(NearMiss::Mangled(mistake), None);
    }
    if let Some(whose) = foreign::recognise(core) {
        return Analysis::new(NearMiss::Foreign(whose), None);
    }
    damaged(policy, core).unwrap_or(Analysis { miss: NearMiss::Unknown, key: None })
}

fn damaged(policy: &Snapshot, core: &[u8]) -> Option<Analysis> {
    let damage = |damage, name| Some(Analysis::new(NearMiss::Damaged(damage), name));
    for folded in [core.to_ascii_lowercase(), core.to_ascii_uppercase()] {
        if let Some(name) = configured(policy, &folded) {
            return damage(Damage::OtherCase, Some(name));
        }
    }
    for extra in 1..=MOST_EXTRA.min(core.len()) {
        let parts = [core.get(..core.len() - extra), core.get(extra..)];
        if let Some(name) = parts.into_iter().flatten().find_map(|part| configured(policy, part)) {
            return damage(Damage::Extended, Some(name));
        }
    }
    if let Some(kg) = key_format::inspect(core) {
        let by_id = kg.id.to_ascii_lowercase().parse().ok().and_then(|id| policy.keys.by_public_id(id));
        let meant = by_id.or_else(|| policy.keys.resembling(core).map(|(id, _)| id));
        let name = meant.and_then(|id| policy.keys.record(id)).map(|key| key.name());
        return match (kg.state, name) {
            (KgState::Truncated, name) => damage(Damage::Truncated, name),
            (KgState::Extended, name) => damage(Damage::Extended, name),
            (KgState::Altered, name) => damage(Damage::Altered, name),
            (KgState::Intact, Some(name)) => damage(Damage::Altered, Some(name)),
            (KgState::Intact, None) => Some(Analysis::new(NearMiss::OtherGateway, None)),
        };
    }
    let (id, how) = policy.keys.resembling(core)?;
    let how = match how {
        Resemblance::Truncated => Damage::Truncated,
        Resemblance::Extended => Damage::Extended,
        Resemblance::OtherCase => Damage::OtherCase,
        Resemblance::Altered => Damage::Altered,
    };
    damage(how, policy.keys.record(id).map(|key| key.name()))
}

#[cfg(test)]
mod tests;
