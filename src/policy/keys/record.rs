//! `Record`: what a table keeps of one digest, and `KeyRecord`: what others see of it.

use super::{Digest, KeyRules, NewKey};
use crate::clock::UnixSeconds;
use crate::policy::key_format::PublicId;

/// What is known of a key.
#[derive(Clone, Copy, Debug)]
pub struct KeyRecord<'a> {
    /// Not a `str`: to cut one out of the names would read there, and wait for memory at each look-up.
    name: &'a [u8],
    /// Its public id, if it has one and the config tells it.
    pub public_id: Option<PublicId>,
    /// Whether it may be used at all.
    pub enabled: bool,
    /// From when on it may be used.
    pub not_before: Option<UnixSeconds>,
    /// From when on it may not be used any more.
    pub expires_at: Option<UnixSeconds>,
    /// If it was found by the digest that it had before: until when that one counts.
    pub previous_until: Option<UnixSeconds>,
    /// What it may do.
    pub rules: &'a KeyRules,
}

impl<'a> KeyRecord<'a> {
    /// Whose key it is; `api_key` for the primary one.
    pub fn name(&self) -> &'a str {
        std::str::from_utf8(self.name).unwrap_or_default()
    }
}

/// One digest. Exactly a cache line, so that a look-up waits for memory once.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Record {
    pub(super) digest: Digest,
    /// Position of its rules; of the key's own record, if this is the digest that the key had before.
    pub(super) refers_to: u32,
    name_at: u32,
    /// Seconds since 1970; 0 for always.
    not_before: u32,
    /// Seconds since 1970; `u32::MAX` (in the year 2106) for never.
    pub(super) expires_at: u32,
    pub(super) public_id: Option<PublicId>,
    name_length: u8,
    enabled: bool,
    pub(super) is_previous: bool,
}

impl Record {
    /// The record of a key whose name begins at `name_at` of the names.
    pub(super) fn new(key: &NewKey<'_>, name_at: usize) -> Self {
        Self {
            digest: key.digest,
            refers_to: key.rules.0,
            name_at: name_at as u32,
            not_before: key.not_before.map_or(0, |time| time.0.clamp(0, u32::MAX.into()) as u32),
            expires_at: key.expires_at.map_or(u32::MAX, end_seconds),
            public_id: key.public_id,
            name_length: key.name.len().min(u8::MAX.into()) as u8,
            enabled: key.enabled,
            is_previous: false,
        }
    }

    /// The record of the digest that the key `id` had before, until `until`.
    pub(super) fn previous(&self, id: u32, digest: Digest, until: UnixSeconds) -> Self {
        let expires_at = end_seconds(until);
        Self { digest, refers_to: id, expires_at, is_previous: true, ..self.clone() }
    }

    /// The bytes of its name. They are only pointed at.
    pub(super) fn name<'a>(&self, names: &'a [u8]) -> &'a [u8] {
        let start = self.name_at as usize;
        names.get(start..start + usize::from(self.name_length)).unwrap_or_default()
    }

    pub(super) fn view<'a>(&self, names: &'a [u8], rules: &'a KeyRules) -> KeyRecord<'a> {
        KeyRecord {
            name: self.name(names),
            public_id: self.public_id,
            enabled: self.enabled,
            not_before: (self.not_before > 0).then(|| UnixSeconds(self.not_before.into())),
            expires_at: (self.expires_at < u32::MAX).then(|| UnixSeconds(self.expires_at.into())),
            previous_until: None,
            rules,
        }
    }
}

/// An end that is one: never `u32::MAX`.
fn end_seconds(end: UnixSeconds) -> u32 {
    end.0.clamp(0, (u32::MAX - 1).into()) as u32
}
