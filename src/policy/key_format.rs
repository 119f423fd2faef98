//! The form of the keys that keygate makes: `kg_<id>_<secret>_<check>`.
//!
//! | part | characters | what it is |
//! |---|---|---|
//! | `kg_` | 3 | tells leak scanners and people whose key it is |
//! | id | 8 | public: names the key in logs, and in the config if it is written there |
//! | secret | 32 | 160 bits from the system's random source |
//! | check | 7 | CRC-32 of all before the last `_`: a typo or a cut is recognised without asking anybody |
//!
//! Digits and lower-case letters without `i`, `l`, `o` and `u` (Crockford's Base32), so that nothing in it is taken for
//! something else and a double click selects all of it. To the decision this form means nothing: a key is what has a
//! configured digest, whatever it looks like.

use std::fmt::{self, Write};
use std::str::FromStr;

use crate::secret::Secret;

/// What every key of this form begins with.
pub const PREFIX: &str = "kg_";

/// As a regular expression, for leak scanners.
pub const PATTERN: &str = "kg_[0-9a-hjkmnp-tv-z]{8}_[0-9a-hjkmnp-tv-z]{32}_[0-9a-hjkmnp-tv-z]{7}";

/// Characters of the public id.
pub const ID_LENGTH: usize = 8;

const SECRET_LENGTH: usize = 32;
const CHECK_LENGTH: usize = 7;
const LENGTH: usize = PREFIX.len() + ID_LENGTH + 1 + SECRET_LENGTH + 1 + CHECK_LENGTH;
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// What can be told of a text that begins like a key of this form, without knowing any key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KgKey<'a> {
    /// The public id as it stands there; a typo may be in it.
    pub id: &'a str,
    /// Whether the rest is what it was when the key was made.
    pub state: KgState,
}

/// What became of a key on its way from `keygate keygen` to here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KgState {
    /// Its checksum is right: it is a key that some keygate made, character for character.
    Intact,
    /// It has the right length and a wrong checksum: a character was changed.
    Altered,
    /// It is too short: its end is missing.
    Truncated,
    /// It is too long: something stands behind it.
    Extended,
}

/// Recognises a key of this form, whole or damaged; `None` for anything else.
pub fn inspect(text: &[u8]) -> Option<KgKey<'_>> {
    let text = std::str::from_utf8(text).ok()?;
    let after_prefix = text.strip_prefix(PREFIX)?;
    let (id, rest) = after_prefix.split_at_checked(ID_LENGTH)?;
    if !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) || !(rest.is_empty() || rest.starts_with('_')) {
        return None;
    }
    let state = match text.len() {
        ..LENGTH => KgState::Truncated,
        LENGTH if has_right_check(text) => KgState::Intact,
        LENGTH => KgState::Altered,
        _ => KgState::Extended,
    };
    Some(KgKey { id, state })
}

fn has_right_check(text: &str) -> bool {
    text.rsplit_once('_').is_some_and(|(body, written)| check(body).as_slice() == written.as_bytes())
}

/// The public id of a key, as it can stand in the config.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PublicId([u8; ID_LENGTH]);

/// The text is no public id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is the 8 characters behind `kg_` of a key")]
pub struct ParsePublicIdError;

impl FromStr for PublicId {
    type Err = ParsePublicIdError;

    fn from_str(text: &str) -> Result<Self, ParsePublicIdError> {
        let id = <[u8; ID_LENGTH]>::try_from(text.as_bytes()).map_err(|_| ParsePublicIdError)?;
        if id.iter().all(|byte| DIGITS.contains(byte)) { Ok(Self(id)) } else { Err(ParsePublicIdError) }
    }
}

impl fmt::Display for PublicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&byte| f.write_char(byte.into()))
    }
}

/// A new key of this form.
///
/// # Errors
/// The system has no random source.
pub fn generate() -> Result<Secret, getrandom::Error> {
    let mut random = [0_u8; ID_LENGTH + SECRET_LENGTH];
    getrandom::fill(&mut random)?;
    let (id, secret) = random.split_at(ID_LENGTH);
    let mut key = String::with_capacity(LENGTH);
    key.push_str(PREFIX);
    key.extend(id.iter().map(|&byte| digit(byte.into())));
    key.push('_');
    key.extend(secret.iter().map(|&byte| digit(byte.into())));
    let check = check(&key);
    key.push('_');
    key.extend(check.map(char::from));
    zeroize::Zeroize::zeroize(&mut random);
    Ok(Secret::new(key))
}

/// 32 bits in seven digits. CRC-32 finds every change of one character and of any two next to each other.
fn check(body: &str) -> [u8; CHECK_LENGTH] {
    let sum = crc32fast::hash(body.as_bytes());
    std::array::from_fn(|at| digit(sum >> (5 * (CHECK_LENGTH - 1 - at))) as u8)
}

/// The digit of the lowest five bits.
fn digit(bits: u32) -> char {
    DIGITS.get((bits & 31) as usize).copied().map_or('0', char::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(text: &str) -> Option<KgState> {
        inspect(text.as_bytes()).map(|key| key.state)
    }

    #[test]
    fn a_new_key_has_its_form_and_is_recognised() {
        let (key, other) = (generate().unwrap(), generate().unwrap());
        assert_ne!(key.expose(), other.expose());
        assert_eq!(key.expose().len(), LENGTH);
        let parts: Vec<&str> = key.expose().split('_').collect();
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [2, 8, 32, 7]);
        assert_eq!(parts[1].parse::<PublicId>().unwrap().to_string(), parts[1]);
        let found = inspect(key.expose().as_bytes()).unwrap();
        assert_eq!((found.id, found.state), (parts[1], KgState::Intact));
    }

    #[test]
    fn every_change_of_a_character_and_every_swap_of_neighbours_is_noticed() {
        let key = generate().unwrap();
        let key = key.expose().as_bytes();
        for at in PREFIX.len()..key.len() {
            for byte in DIGITS.iter().filter(|&&byte| byte != key[at]) {
                let mut changed = key.to_vec();
                changed[at] = *byte;
                assert_ne!(inspect(&changed).map(|key| key.state), Some(KgState::Intact));
            }
            let mut swapped = key.to_vec();
            swapped.swap(at - 1, at);
            assert!(swapped == key || inspect(&swapped).map(|key| key.state) != Some(KgState::Intact));
        }
    }

    #[test]
    fn a_cut_an_addition_and_another_case_are_told_apart() {
        let key = generate().unwrap();
        let key = key.expose();
        for length in PREFIX.len() + ID_LENGTH..key.len() {
            assert_eq!(state(&key[..length]), Some(KgState::Truncated), "{length}");
        }
        assert_eq!(state(&format!("{key}x")), Some(KgState::Extended));
        let upper = format!("kg_{}", key[3..].to_uppercase());
        assert_eq!(state(&upper), Some(KgState::Altered));
        for foreign in ["", "kg_", "kg_short", "sk-0123456789abcdef", "kg_12345678x", "KG_12345678_"] {
            assert_eq!(state(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn the_checksum_stays_what_it_is() {
        // Keys that are handed out must be recognised by every later version.
        let key = "kg_01234567_0123456789abcdefghjkmnpqrstvwxyz";
        let whole = format!("{key}_{}", String::from_utf8(check(key).to_vec()).unwrap());
        assert_eq!(whole, "kg_01234567_0123456789abcdefghjkmnpqrstvwxyz_076px6z");
        assert_eq!(state(&whole), Some(KgState::Intact));
    }
}
