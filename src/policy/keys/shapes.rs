//! What is remembered of the look of keys that the config holds in clear, so that a mistyped one can be recognised.
//!
//! Of each such key: its length, and three fingerprints of 16 bits (of its first characters, of its last ones, and of
//! the whole in lower case), made with a random number of this process. Whoever reads the memory learns at most 48
//! bits of a key from them, of the 128 that a generated one has. Keys of which only the digest is known have no entry.

use std::hash::{BuildHasher, RandomState};

use super::KeyId;

/// As many keys as are looked at for each refused credential; those behind them are recognised by their id alone.
const MOST: usize = 256;

/// Shorter keys would be given away by their fingerprints.
const SHORTEST: usize = 20;

/// Characters of the first and of the last fingerprint.
const END: usize = 8;

/// How a credential resembles a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resemblance {
    /// Its end, or its beginning, is missing.
    Truncated,
    /// There is more than the key.
    Extended,
    /// Letters are in another case.
    OtherCase,
    /// As long, and the same at one end.
    Altered,
}

/// The look of some keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Shapes {
    shapes: Vec<Shape>,
    fingerprint: Fingerprint,
}

#[derive(Clone, Copy, Debug)]
struct Shape {
    key: KeyId,
    length: usize,
    first: u16,
    last: u16,
    folded: u16,
}

impl Shapes {
    /// Remembers the look of `key`.
    pub(super) fn remember(&mut self, id: KeyId, key: &[u8]) {
        if key.len() < SHORTEST || self.shapes.len() >= MOST {
            return;
        }
        let fingerprint = &self.fingerprint;
        self.shapes.push(Shape {
            key: id,
            length: key.len(),
            first: fingerprint.of(first(key)),
            last: fingerprint.of(last(key)),
            folded: fingerprint.of(&key.to_ascii_lowercase()),
        });
    }

    /// The key that `credential`, which is none, resembles.
    pub(super) fn resembling(&self, credential: &[u8]) -> Option<(KeyId, Resemblance)> {
        if credential.len() < END + 4 {
            return None;
        }
        let of = |part: &[u8]| self.fingerprint.of(part);
        let (begin, end) = (of(first(credential)), of(last(credential)));
        let folded = of(&credential.to_ascii_lowercase());
        self.shapes.iter().find_map(|shape| {
            let alike = begin == shape.first || end == shape.last;
            let how = match credential.len().cmp(&shape.length) {
                std::cmp::Ordering::Equal if folded == shape.folded => Resemblance::OtherCase,
                std::cmp::Ordering::Equal if alike => Resemblance::Altered,
                std::cmp::Ordering::Less if alike => Resemblance::Truncated,
                std::cmp::Ordering::Greater if alike => Resemblance::Extended,
                _ => return None,
            };
            Some((shape.key, how))
        })
    }
}

/// Keys begin alike (`sk-`): what is behind that tells them apart.
fn first(key: &[u8]) -> &[u8] {
    key.get(..END + 4).unwrap_or(key)
}

fn last(key: &[u8]) -> &[u8] {
    key.get(key.len().saturating_sub(END)..).unwrap_or_default()
}

/// Keyed with a random number: the same key has other fingerprints in another process.
#[derive(Clone, Debug, Default)]
struct Fingerprint(RandomState);

impl Fingerprint {
    /// 16 bits, whatever is hashed: no more can be learned from it.
    fn of(&self, part: &[u8]) -> u16 {
        self.0.hash_one(part) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::keys::{Digest, KeyTable, NewKey};

    const KEY: &str = "sk-0123456789abcdefABCDEF0123456789";

    #[test]
    fn a_damaged_key_is_recognised_and_a_stranger_is_not() {
        let mut table = KeyTable::default();
        let rules = table.add_rules(crate::policy::KeyRules::default());
        let key = NewKey {
            name: "a",
            digest: Digest::of(KEY.as_bytes()),
            public_id: None,
            enabled: true,
            not_before: None,
            expires_at: None,
            rules,
        };
        let id = table.insert(key).unwrap();
        table.remember_shape(id, KEY.as_bytes());
        let how = |text: &str| table.resembling(text.as_bytes()).map(|(_, how)| how);
        assert_eq!(how(&KEY[..30]), Some(Resemblance::Truncated));
        assert_eq!(how(&KEY[5..]), Some(Resemblance::Truncated));
        assert_eq!(how(&format!("{KEY}=")), Some(Resemblance::Extended));
        assert_eq!(how(&KEY.to_lowercase()), Some(Resemblance::OtherCase));
        assert_eq!(how(&KEY.replace("0123", "9123").replace("789", "780")), None, "both ends are others");
        assert_eq!(how(&format!("{}x", &KEY[..34])), Some(Resemblance::Altered));
        assert_eq!(how("sk-"), None);
        // 16 bits: one stranger in 20,000 may be taken for a relative.
        let strangers = (0..2000).filter(|n| how(&format!("sk-{:032x}", n * 7_919)).is_some());
        assert!(strangers.count() < 10);
    }
}
