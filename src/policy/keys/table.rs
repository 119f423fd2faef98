//! `KeyTable`: every configured key, found by the digest of what a caller presents, in one probe.
//!
//! A digest and all that the decision asks of its key lie in one cache line; what many keys have in common is stored
//! once. Names lie elsewhere, one behind the other, and only whoever wants to read one goes there: the decision does
//! not. That makes less than 100 bytes a key.

use std::hash::{DefaultHasher, Hasher};

use super::index::{Index, MAX_POSITIONS};
use super::record::{KeyRecord, Record};
use super::shapes::{Resemblance, Shapes};
use super::{Digest, KeyRules, MAX_KEY_BYTES};
use crate::clock::UnixSeconds;
use crate::policy::key_format::PublicId;

/// Position of a digest's record in its [`KeyTable`]. The digest that a key had before has one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(pub(super) u32);

impl KeyId {
    /// As an index, less than the table's [`KeyTable::positions`].
    pub fn position(self) -> usize {
        self.0 as usize
    }
}

/// Position of [`KeyRules`] in a [`KeyTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RulesId(pub(super) u32);

/// A key to be added.
#[derive(Clone, Copy, Debug)]
pub struct NewKey<'a> {
    /// See [`KeyRecord`]; one that `is_name`.
    pub name: &'a str,
    /// SHA-256 of the key.
    pub digest: Digest,
    /// See [`KeyRecord`].
    pub public_id: Option<PublicId>,
    /// See [`KeyRecord`].
    pub enabled: bool,
    /// See [`KeyRecord`].
    pub not_before: Option<UnixSeconds>,
    /// See [`KeyRecord`].
    pub expires_at: Option<UnixSeconds>,
    /// From [`KeyTable::add_rules`].
    pub rules: RulesId,
}

/// Why a key cannot be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DuplicateKey {
    /// The key of this name has the digest already.
    Digest(String),
    /// There is a key of this name.
    Name,
    /// There are as many keys as the table can hold.
    Full,
}

/// Every configured key, by digest.
#[derive(Clone, Debug, Default)]
pub struct KeyTable {
    records: Vec<Record>,
    by_digest: Index,
    by_name: Index,
    by_public_id: Index,
    shapes: Shapes,
    names: Vec<u8>,
    rules: Vec<KeyRules>,
    unrestricted: KeyRules,
    keys: usize,
}

impl KeyTable {
    /// The most keys that a table holds.
    pub const MAX_KEYS: usize = 5_000_000;

    /// An empty table with room for so many keys: one that has to grow moves everything, and computes every hash anew.
    pub fn for_keys(keys: usize) -> Self {
        let keys = keys.min(Self::MAX_KEYS);
        Self {
            records: Vec::with_capacity(keys),
            by_digest: Index::for_entries(keys),
            by_name: Index::for_entries(keys),
            ..Self::default()
        }
    }

    /// Adds rules for keys to refer to.
    pub fn add_rules(&mut self, rules: KeyRules) -> RulesId {
        self.rules.push(rules);
        RulesId(self.rules.len() as u32 - 1)
    }

    /// Adds a key.
    ///
    /// # Errors
    /// There is one with this digest or name already, or no room.
    pub fn insert(&mut self, key: NewKey<'_>) -> Result<KeyId, DuplicateKey> {
        let name_hash = hash_name(key.name.as_bytes());
        if self.find_name(name_hash, key.name).is_some() {
            return Err(DuplicateKey::Name);
        }
        let record = Record::new(&key, self.names.len());
        let id = self.push(record)?;
        self.names.extend_from_slice(key.name.as_bytes());
        let Self { records, names, by_name, .. } = self;
        by_name.insert(name_hash, id.position(), |at| {
            hash_name(records.get(at).map_or(&[], |record| record.name(names)))
        });
        if let Some(public_id) = key.public_id
            && self.by_public_id(public_id).is_none()
        {
            let Self { records, by_public_id, .. } = self;
            if by_public_id.is_empty() {
                *by_public_id = Index::for_entries(records.capacity());
            }
            by_public_id.insert(hash_id(public_id), id.position(), |at| {
                records.get(at).and_then(|record| record.public_id).map_or(0, hash_id)
            });
        }
        self.keys += 1;
        Ok(id)
    }

    /// Adds the digest that the key `id` had before; it counts until `until`.
    ///
    /// # Errors
    /// As for [`KeyTable::insert`].
    pub fn add_previous(
        &mut self,
        id: KeyId,
        digest: Digest,
        until: UnixSeconds,
    ) -> Result<(), DuplicateKey> {
        let Some(key) = self.records.get(id.position()) else { return Ok(()) };
        self.push(key.previous(id.0, digest, until)).map(drop)
    }

    fn push(&mut self, record: Record) -> Result<KeyId, DuplicateKey> {
        if let Some((_, other)) = self.find_digest(&record.digest) {
            return Err(DuplicateKey::Digest(other.name().to_owned()));
        }
        if self.keys >= Self::MAX_KEYS || self.records.len() >= MAX_POSITIONS {
            return Err(DuplicateKey::Full);
        }
        let (at, hash) = (self.records.len(), record.digest.spread());
        self.records.push(record);
        let records = &self.records;
        self.by_digest.insert(hash, at, |at| records.get(at).map_or(0, |record| record.digest.spread()));
        Ok(KeyId(at as u32))
    }

    /// Gives back what was reserved for more keys.
    pub fn shrink_to_fit(&mut self) {
        self.records.shrink_to_fit();
        self.names.shrink_to_fit();
        self.rules.shrink_to_fit();
    }

    /// The key that `credential` is, if it is one.
    pub fn find(&self, credential: &[u8]) -> Option<(KeyId, KeyRecord<'_>)> {
        if credential.len() > MAX_KEY_BYTES || self.records.is_empty() {
            return None;
        }
        self.find_digest(&Digest::of(credential))
    }

    /// The key that has this digest, or had it before.
    pub fn find_digest(&self, digest: &Digest) -> Option<(KeyId, KeyRecord<'_>)> {
        let is_it = |at: usize| self.records.get(at).is_some_and(|record| record.digest == *digest);
        let id = KeyId(self.by_digest.find(digest.spread(), is_it)? as u32);
        Some((id, self.record(id)?))
    }

    /// The record of a key of this table, as the digest that it was found by has it.
    pub fn record(&self, id: KeyId) -> Option<KeyRecord<'_>> {
        let found = self.records.get(id.position())?;
        if !found.is_previous {
            return Some(self.view(found));
        }
        let mut key = self.view(self.records.get(found.refers_to as usize)?);
        let until = UnixSeconds(found.expires_at.into());
        key.expires_at = Some(key.expires_at.map_or(until, |end| end.min(until)));
        key.previous_until = Some(until);
        Some(key)
    }

    /// The digest that the key was found by.
    pub fn digest(&self, id: KeyId) -> Option<Digest> {
        self.records.get(id.position()).map(|record| record.digest)
    }

    /// The key of this name.
    pub fn by_name(&self, name: &str) -> Option<KeyId> {
        self.find_name(hash_name(name.as_bytes()), name)
    }

    fn find_name(&self, hash: u64, name: &str) -> Option<KeyId> {
        let is_it = |at: usize| {
            self.records.get(at).is_some_and(|record| record.name(&self.names) == name.as_bytes())
        };
        self.by_name.find(hash, is_it).map(|at| KeyId(at as u32))
    }

    /// The key of this public id; the first, if several have it.
    pub fn by_public_id(&self, id: PublicId) -> Option<KeyId> {
        let is_it = |at: usize| self.records.get(at).is_some_and(|record| record.public_id == Some(id));
        self.by_public_id.find(hash_id(id), is_it).map(|at| KeyId(at as u32))
    }

    /// Remembers what the key `id`, which the config holds in clear, looks like.
    pub fn remember_shape(&mut self, id: KeyId, key: &[u8]) {
        self.shapes.remember(id, key);
    }

    /// The key that `credential`, which is none, resembles; of those whose look is known.
    pub fn resembling(&self, credential: &[u8]) -> Option<(KeyId, Resemblance)> {
        self.shapes.resembling(credential)
    }

    /// Every key, in the order of the config.
    pub fn iter(&self) -> impl Iterator<Item = (KeyId, KeyRecord<'_>)> {
        let keys = self.records.iter().enumerate().filter(|(_, record)| !record.is_previous);
        keys.map(|(at, record)| (KeyId(at as u32), self.view(record)))
    }

    /// The digest that the key `id` had before, where it was added right after the key, as the config's are.
    pub fn previous_of(&self, id: KeyId) -> Option<KeyId> {
        let next = KeyId(id.0.checked_add(1)?);
        let record = self.records.get(next.position())?;
        (record.is_previous && record.refers_to == id.0).then_some(next)
    }

    /// Every digest that a key had before, and the key.
    pub fn previous(&self) -> impl Iterator<Item = (KeyId, KeyId)> {
        let previous = self.records.iter().enumerate().filter(|(_, record)| record.is_previous);
        previous.map(|(at, record)| (KeyId(at as u32), KeyId(record.refers_to)))
    }

    /// Every digest with the name of its key, those that keys had before included.
    pub fn digests(&self) -> impl Iterator<Item = (Digest, &str)> {
        self.records.iter().map(|record| (record.digest, self.view(record).name()))
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys
    }

    /// Whether no key is configured, so that nobody can pass where one is needed.
    pub fn is_empty(&self) -> bool {
        self.keys == 0
    }

    /// No [`KeyId::position`] is as high as this.
    pub fn positions(&self) -> usize {
        self.records.len()
    }

    /// What the keys take on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.records.capacity() * size_of::<Record>()
            + self.names.capacity()
            + self.by_digest.heap_bytes()
            + self.by_name.heap_bytes()
            + self.by_public_id.heap_bytes()
    }

    fn view<'a>(&'a self, record: &'a Record) -> KeyRecord<'a> {
        let rules = self.rules.get(record.refers_to as usize).unwrap_or(&self.unrestricted);
        record.view(&self.names, rules)
    }
}

fn hash_id(id: PublicId) -> u64 {
    let mut hasher = DefaultHasher::new();
    std::hash::Hash::hash(&id, &mut hasher);
    hasher.finish()
}

fn hash_name(name: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(name);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(name: &str, digest: Digest) -> NewKey<'_> {
        NewKey {
            name,
            digest,
            public_id: None,
            enabled: true,
            not_before: None,
            expires_at: None,
            rules: RulesId(0),
        }
    }

    #[test]
    fn a_key_is_found_by_itself_and_by_nothing_else() {
        let mut table = KeyTable::default();
        assert!(table.find(b"sk-right").is_none());
        table.insert(new("a", Digest::of(b"sk-right"))).unwrap();
        assert_eq!(table.find(b"sk-right").unwrap().1.name(), "a");
        for wrong in ["", "sk-righ", "sk-right ", "SK-RIGHT"] {
            assert!(table.find(wrong.as_bytes()).is_none(), "{wrong:?}");
        }
        assert!(table.find(&vec![b'x'; MAX_KEY_BYTES + 1]).is_none());
    }

    #[test]
    fn neither_a_digest_nor_a_name_can_be_there_twice() {
        let mut table = KeyTable::default();
        table.insert(new("first", Digest::of(b"k"))).unwrap();
        let twice = table.insert(new("second", Digest::of(b"k")));
        assert_eq!(twice, Err(DuplicateKey::Digest("first".into())));
        assert_eq!(table.insert(new("first", Digest::of(b"l"))), Err(DuplicateKey::Name));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_key_is_found_by_the_digest_that_it_had_before() {
        let mut table = KeyTable::default();
        let id = table.insert(new("a", Digest::of(b"new"))).unwrap();
        table.add_previous(id, Digest::of(b"old"), UnixSeconds(100)).unwrap();
        let (found, record) = table.find(b"old").unwrap();
        assert_eq!((record.name(), record.expires_at), ("a", Some(UnixSeconds(100))));
        assert_eq!(table.previous().collect::<Vec<_>>(), [(found, id)]);
        assert_eq!((table.previous_of(id), table.previous_of(found)), (Some(found), None));
        assert_eq!(record.previous_until, Some(UnixSeconds(100)));
        assert_eq!(table.find(b"new").unwrap().1.expires_at, None);
        assert_eq!((table.len(), table.iter().count(), table.positions()), (1, 1, 2));
        let other = table.insert(new("b", Digest::of(b"other"))).unwrap();
        assert_eq!((table.previous_of(other), table.previous_of(id)), (None, Some(found)));
    }

    #[test]
    fn times_and_ids_come_back_as_they_were_given() {
        let mut table = KeyTable::default();
        let id = "0a1b2c3d".parse().unwrap();
        let key = NewKey {
            public_id: Some(id),
            enabled: false,
            not_before: Some(UnixSeconds(5)),
            expires_at: Some(UnixSeconds(i64::MAX)),
            ..new("a", Digest::of(b"k"))
        };
        table.insert(key).unwrap();
        let (at, record) = table.find(b"k").unwrap();
        assert_eq!(record.public_id.unwrap().to_string(), "0a1b2c3d");
        assert!(!record.enabled);
        assert_eq!(record.not_before, Some(UnixSeconds(5)));
        assert_eq!(record.expires_at, Some(UnixSeconds(i64::from(u32::MAX) - 1)));
        assert_eq!(table.by_public_id(id), Some(at));
        assert_eq!(table.by_name("a"), Some(at));
    }

    #[test]
    fn a_key_among_many_takes_less_than_100_bytes() {
        let mut table = KeyTable::default();
        let count = 100_000;
        for number in 0..count {
            let name = format!("user-{number:06}");
            table.insert(new(&name, Digest::of(name.as_bytes()))).unwrap();
        }
        table.shrink_to_fit();
        assert_eq!(size_of::<Record>(), 64);
        assert!(table.heap_bytes() / count <= 100, "{}", table.heap_bytes() / count);
        let found = (0..count).filter(|number| {
            let name = format!("user-{number:06}");
            table.find(name.as_bytes()).is_some_and(|(_, record)| record.name() == name)
        });
        assert_eq!(found.count(), count);
    }
}
