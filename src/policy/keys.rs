//! Keys: digest to record, at the same cost for one key and for a million.
//!
//! No key in clear is kept: what a caller presents is hashed and looked up. SHA-256, because any tool can make the
//! digest (`printf %s "$KEY" | sha256sum`) and processors have instructions for it; keys are random, so a slow
//! password hash would buy nothing.

mod census;
mod digest;
mod index;
mod record;
mod retired;
mod rules;
mod shapes;
mod table;

pub use census::KeyState;
pub use digest::{Digest, ParseDigestError};
pub use record::KeyRecord;
pub use retired::{Retired, RetiredKeys};
pub use rules::{AddressRange, KeyRules, PathRule, Period, Rate};
pub use shapes::Resemblance;
pub use table::{DuplicateKey, KeyId, KeyTable, NewKey, RulesId};

use crate::secret::Secret;

/// The longest key that can be configured, in bytes; a longer credential matches nothing and is not even hashed.
pub const MAX_KEY_BYTES: usize = 4096;

/// The longest name of a key or an upstream, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// What [`is_name`] asks of a key, in words.
pub const KEY_NAME: &str = "a key's name is 1 to 128 bytes without control characters, without white space at its ends, \
                            and not `.` or `..`";

/// Whether a key or an upstream may have this name: short enough for logs, and one line. White space at its ends is no part
/// of a field's value (RFC 9110 §5.5): an upstream would take ` alice` for `alice`. `.` and `..` cannot be named in a URL: a
/// browser takes them out of every path, however they are written (RFC 3986 §5.2.4, WHATWG URL).
pub fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && !name.chars().any(char::is_control)
        && name.trim() == name
        && ![".", ".."].contains(&name)
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

    #[test]
    fn a_name_is_short_one_line_and_has_a_url() {
        let long = "x".repeat(128);
        for name in ["alice", "o'n \"q\" #: x", "ünï", "a/b", "...", ".a", "%2e%2e", &long] {
            assert!(is_name(name), "{name:?}");
        }
        for name in ["", ".", "..", " a", "a\u{a0}", "a\nb", "a\u{7f}", &(long.clone() + "x")] {
            assert!(!is_name(name), "{name:?}");
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
