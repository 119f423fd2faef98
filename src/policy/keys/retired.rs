//! Digests that counted a while ago: remembered so that a diagnosis can say "this is the old key".
//!
//! They admit nobody, and the caller is told nothing of them.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Digest, KeyTable, MAX_KEY_BYTES};
use crate::clock::UnixSeconds;

/// How long a digest is remembered: as long as somebody may still come back from a holiday with the old key.
const REMEMBERED_SECONDS: i64 = 30 * 24 * 3600;

/// At most so many; a list of keys that is replaced as a whole must not be kept twice.
const MOST: usize = 10_000;

/// A digest that counts no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retired {
    /// The name of the key that it belonged to.
    pub name: Arc<str>,
    /// When it ceased to count.
    pub since: UnixSeconds,
}

/// The digests that counted a while ago.
#[derive(Clone, Debug, Default)]
pub struct RetiredKeys(HashMap<Digest, Retired>);

impl RetiredKeys {
    /// Those to be remembered after `keys` have taken the place of `before`, at the time `now`.
    pub fn after(&self, before: &KeyTable, keys: &KeyTable, now: UnixSeconds) -> Self {
        let counts_again = |digest: &Digest| keys.find_digest(digest).is_some();
        let remembered = self
            .0
            .iter()
            .filter(|(digest, retired)| now.0 - retired.since.0 < REMEMBERED_SECONDS && !counts_again(digest))
            .map(|(digest, retired)| (*digest, retired.clone()));
        let replaced = before
            .digests()
            .filter(|(digest, _)| !counts_again(digest))
            .map(|(digest, name)| (digest, Retired { name: name.into(), since: now }));
        // The latest first: it is the one that somebody is about to use.
        Self(replaced.chain(remembered).take(MOST).collect())
    }

    /// What `credential` once was.
    pub fn find(&self, credential: &[u8]) -> Option<&Retired> {
        if credential.len() > MAX_KEY_BYTES || self.0.is_empty() {
            return None;
        }
        self.0.get(&Digest::of(credential))
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{NewKey, RulesId};
    use super::*;

    fn table(keys: &[&str]) -> KeyTable {
        let mut table = KeyTable::default();
        let rules: RulesId = table.add_rules(Default::default());
        for key in keys {
            let digest = Digest::of(key.as_bytes());
            let (public_id, not_before, expires_at) = (None, None, None);
            let name = &format!("name of {key}");
            table
                .insert(NewKey { name, digest, public_id, enabled: true, not_before, expires_at, rules })
                .unwrap();
        }
        table
    }

    #[test]
    fn a_key_that_was_taken_away_is_remembered_until_it_is_back_or_long_gone() {
        let (one, two, both) = (table(&["a"]), table(&["b"]), table(&["a", "b"]));
        let retired = RetiredKeys::default().after(&one, &two, UnixSeconds(10));
        let a = retired.find(b"a").unwrap();
        assert_eq!((&*a.name, a.since), ("name of a", UnixSeconds(10)));
        assert_eq!(retired.find(b"b"), None);
        let later = retired.after(&two, &two, UnixSeconds(20));
        assert_eq!(later.find(b"a").unwrap().since, UnixSeconds(10), "the time stays the first one");
        assert!(later.after(&two, &both, UnixSeconds(30)).is_empty(), "it counts again");
        assert!(later.after(&two, &two, UnixSeconds(10 + REMEMBERED_SECONDS)).is_empty(), "it is long gone");
    }

    #[test]
    fn no_more_are_remembered_than_the_limit() {
        let names: Vec<String> = (0..MOST + 100).map(|number| number.to_string()).collect();
        let many = table(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let retired = RetiredKeys::default().after(&many, &KeyTable::default(), UnixSeconds(1));
        assert_eq!(retired.len(), MOST);
    }
}
