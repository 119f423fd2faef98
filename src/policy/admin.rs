//! `AdminToken`: what the admin API asks for. Only its digest is kept.

use std::fmt::Write;

use subtle::ConstantTimeEq;

use super::keys::Digest;
use crate::secret::Secret;

/// The digest of the admin token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminToken(Digest);

impl AdminToken {
    /// The longest token that is looked at, in bytes.
    pub const MAX_BYTES: usize = 4096;

    /// From the token in clear.
    pub fn of(token: &str) -> Self {
        Self(Digest::of(token.as_bytes()))
    }

    /// Whether `presented` is the token. The time that takes depends on the length of `presented` alone.
    pub fn is(&self, presented: &[u8]) -> bool {
        presented.len() <= Self::MAX_BYTES && self.0.bytes().ct_eq(Digest::of(presented).bytes()).into()
    }
}

/// A new random token: `admin-` and 32 hex digits, so that nobody takes it for a key.
///
/// # Errors
/// The system has no random numbers.
pub fn generate_admin_token() -> Result<Secret, getrandom::Error> {
    let mut random = [0_u8; 16];
    getrandom::fill(&mut random)?;
    let mut token = String::with_capacity(38);
    token.push_str("admin-");
    for byte in random {
        // Writing to a string cannot fail.
        let _ = write!(token, "{byte:02x}");
    }
    Ok(Secret::new(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_is_the_token() {
        let token = AdminToken::of("admin-0123456789");
        assert!(token.is(b"admin-0123456789"));
        for wrong in ["", "admin-012345678", "admin-0123456789 ", "ADMIN-0123456789"] {
            assert!(!token.is(wrong.as_bytes()), "{wrong:?}");
        }
    }

    #[test]
    fn no_two_tokens_are_the_same() {
        let (one, other) = (generate_admin_token().unwrap(), generate_admin_token().unwrap());
        assert_eq!(one.expose().len(), 38);
        assert_ne!(one.expose(), other.expose());
    }
}
