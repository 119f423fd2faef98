//! How many keys are in which state: for metrics and warnings, off the request path.

use super::{KeyRecord, KeyTable};
use crate::clock::UnixSeconds;

/// How long before its end a key is said to be about to expire: a week is time enough to hand out another.
const SOON_SECONDS: i64 = 7 * 24 * 3600;

/// The state of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It may be used.
    Valid,
    /// It may be used, but not for long any more.
    Expiring,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// It was switched off.
    Disabled,
}

impl KeyState {
    /// Every state, in the order of [`KeyTable::census`].
    pub const ALL: [Self; 5] =
        [Self::Valid, Self::Expiring, Self::Expired, Self::NotYetValid, Self::Disabled];

    /// The state of `key` at the time `now`.
    pub fn of(key: &KeyRecord<'_>, now: UnixSeconds) -> Self {
        match key.expires_at {
            _ if !key.enabled => Self::Disabled,
            Some(end) if end <= now => Self::Expired,
            _ if key.not_before.is_some_and(|begin| now < begin) => Self::NotYetValid,
            Some(end) if end.0 - now.0 < SOON_SECONDS => Self::Expiring,
            _ => Self::Valid,
        }
    }

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Expiring => "expiring",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Disabled => "disabled",
        }
    }
}

impl KeyTable {
    /// How many keys are in each state, in the order of [`KeyState::ALL`].
    pub fn census(&self, now: UnixSeconds) -> [usize; KeyState::ALL.len()] {
        let mut counts = [0; KeyState::ALL.len()];
        for (_, key) in self.iter() {
            let state = KeyState::of(&key, now);
            for (count, _) in counts.iter_mut().zip(KeyState::ALL).filter(|(_, other)| *other == state) {
                *count += 1;
            }
        }
        counts
    }

    /// The keys that are about to expire.
    pub fn expiring(&self, now: UnixSeconds) -> impl Iterator<Item = KeyRecord<'_>> {
        self.iter().map(|(_, key)| key).filter(move |key| KeyState::of(key, now) == KeyState::Expiring)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Digest, NewKey};
    use super::*;

    #[test]
    fn every_key_is_in_one_state() {
        let mut table = KeyTable::default();
        let rules = table.add_rules(Default::default());
        let now = UnixSeconds(1_000_000);
        let mut add = |name: &str, enabled, not_before: Option<i64>, expires_at: Option<i64>| {
            let (not_before, expires_at) = (not_before.map(UnixSeconds), expires_at.map(UnixSeconds));
            let digest = Digest::of(name.as_bytes());
            let key = NewKey { name, digest, public_id: None, enabled, not_before, expires_at, rules };
            table.insert(key).unwrap();
        };
        add("valid", true, Some(now.0), None);
        add("valid, for long", true, None, Some(now.0 + SOON_SECONDS));
        add("expiring", true, None, Some(now.0 + 1));
        add("expired", true, None, Some(now.0));
        add("not yet", true, Some(now.0 + 1), Some(now.0 + 2));
        add("disabled", false, None, Some(now.0));
        assert_eq!(table.census(now), [2, 1, 1, 1, 1]);
        assert_eq!(table.expiring(now).map(|key| key.name()).collect::<Vec<_>>(), ["expiring"]);
    }
}
