//! Keys: digest to record, at the same cost for one key and for a million.
//!
//! No key in clear is kept: what a caller presents is hashed and looked up. SHA-256, because any tool can make the
//! digest (`printf %s "$KEY" | sha256sum`) and processors have instructions for it; keys are random, so a slow
//! password hash would buy nothing.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use crate::clock::UnixSeconds;
use crate::secret::Secret;

/// The longest key that can be configured, in bytes; a longer credential matches nothing and is not even hashed.
pub const MAX_KEY_BYTES: usize = 4096;

/// SHA-256 of a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of a key in clear.
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// The bytes themselves.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not `sha256:` and 64 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is `sha256:` and 64 hex digits")]
pub struct ParseDigestError;

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        let hex = text.strip_prefix("sha256:").ok_or(ParseDigestError)?;
        if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ParseDigestError);
        }
        let mut digest = [0; 32];
        for (at, byte) in digest.iter_mut().enumerate() {
            let pair = hex.get(2 * at..2 * at + 2).ok_or(ParseDigestError)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| ParseDigestError)?;
        }
        Ok(Self(digest))
    }
}

/// Whether a key may have this name: short enough for logs, and one line.
pub fn is_key_name(name: &str) -> bool {
    (1..=128).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// Position of a key's record in its [`KeyTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyId(u32);

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// Whose key it is; `api_key` for the primary one.
    pub name: Arc<str>,
    /// Whether it may be used at all.
    pub enabled: bool,
    /// From when on it may not be used any more.
    pub expires_at: Option<UnixSeconds>,
}

/// Every configured key, by digest.
#[derive(Clone, Debug, Default)]
pub struct KeyTable {
    by_digest: HashMap<DigestKey, KeyId, BuildHasherDefault<DigestHasher>>,
    records: Vec<KeyRecord>,
}

impl KeyTable {
    /// Adds a key.
    ///
    /// # Errors
    /// The name of the key that has this digest already.
    pub fn insert(&mut self, digest: Digest, record: KeyRecord) -> Result<KeyId, Arc<str>> {
        if let Some(&other) = self.by_digest.get(&DigestKey(digest)) {
            return Err(self.record(other).map(|record| Arc::clone(&record.name)).unwrap_or_default());
        }
        let id = KeyId(u32::try_from(self.records.len()).unwrap_or(u32::MAX));
        self.by_digest.insert(DigestKey(digest), id);
        self.records.push(record);
        Ok(id)
    }

    /// The key that `credential` is, if it is one.
    pub fn find(&self, credential: &[u8]) -> Option<(KeyId, &KeyRecord)> {
        if credential.len() > MAX_KEY_BYTES {
            return None;
        }
        let id = *self.by_digest.get(&DigestKey(Digest::of(credential)))?;
        Some((id, self.record(id)?))
    }

    /// The record of a key of this table.
    pub fn record(&self, id: KeyId) -> Option<&KeyRecord> {
        self.records.get(id.0 as usize)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether no key is configured, so that nobody can pass where one is needed.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

/// A digest as a key of the table: compared in constant time.
#[derive(Clone, Copy, Debug, Eq)]
struct DigestKey(Digest);

impl PartialEq for DigestKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.0.ct_eq(&other.0.0).into()
    }
}

impl std::hash::Hash for DigestKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0.0);
    }
}

/// Takes the first eight bytes of a digest as its hash: they are as evenly spread as any hash of them would be,
/// and nobody can choose keys whose digests collide there at will cheaply enough to matter, for the keys in the
/// table are the operator's.
#[derive(Clone, Copy, Debug, Default)]
struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A new key: `sk-` and 32 lower-case hex digits, 128 bits from the system's random source.
///
/// # Errors
/// The system has no random source.
pub fn generate_key() -> Result<Secret, getrandom::Error> {
    let mut random = [0_u8; 16];
    getrandom::fill(&mut random)?;
    let mut key = String::with_capacity(35);
    key.push_str("sk-");
    for byte in random {
        key.extend([byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0')));
    }
    Ok(Secret::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str) -> KeyRecord {
        KeyRecord { name: name.into(), enabled: true, expires_at: None }
    }

    #[test]
    fn a_key_is_found_by_itself_and_by_nothing_else() {
        let mut table = KeyTable::default();
        table.insert(Digest::of(b"sk-right"), record("a")).unwrap();
        assert_eq!(&*table.find(b"sk-right").unwrap().1.name, "a");
        for wrong in ["", "sk-righ", "sk-right ", "SK-RIGHT"] {
            assert!(table.find(wrong.as_bytes()).is_none(), "{wrong:?}");
        }
        assert!(table.find(&vec![b'x'; MAX_KEY_BYTES + 1]).is_none());
    }

    #[test]
    fn the_same_digest_cannot_be_added_twice() {
        let mut table = KeyTable::default();
        table.insert(Digest::of(b"k"), record("first")).unwrap();
        assert_eq!(&*table.insert(Digest::of(b"k"), record("second")).unwrap_err(), "first");
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_digest_reads_back_what_it_prints_and_what_sha256sum_prints() {
        let digest = Digest::of(b"abc");
        let printed = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.to_string(), printed);
        assert_eq!(printed.parse(), Ok(digest));
        assert_eq!(printed.to_uppercase().replace("SHA256", "sha256").parse(), Ok(digest));
        for wrong in
            ["", "sha256:", "md5:00", &printed[..70], &format!("{printed}0"), &printed.replace('b', "g")]
        {
            assert_eq!(wrong.parse::<Digest>(), Err(ParseDigestError), "{wrong}");
        }
    }

    #[test]
    fn generated_keys_have_their_form_and_differ() {
        let (one, other) = (generate_key().unwrap(), generate_key().unwrap());
        let hex = one.expose().strip_prefix("sk-").unwrap();
        assert_eq!(hex.len(), 32);
        assert!(hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)));
        assert_ne!(one.expose(), other.expose());
    }
}
