//! SHA-256 of a key: what stands in the config in its place.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

/// SHA-256 of a key. Compared in constant time.
#[derive(Clone, Copy, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of a key in clear.
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// The bytes themselves.
    pub(in crate::policy) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its first eight bytes: as evenly spread as any hash of it would be. Nobody can choose keys whose digests agree
    /// there at will cheaply enough to matter, for the keys in a table are the operator's.
    pub(super) fn spread(&self) -> u64 {
        self.0.first_chunk::<8>().map_or(0, |first| u64::from_le_bytes(*first))
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.spread());
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
        let (pairs, []) = hex.as_bytes().as_chunks::<2>() else { return Err(ParseDigestError) };
        if pairs.len() != 32 {
            return Err(ParseDigestError);
        }
        let (mut digest, mut seen) = ([0; 32], 0);
        for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
            let (high, low) = (hex_digit(*high), hex_digit(*low));
            seen |= high | low;
            *byte = high << 4 | low & 0xf;
        }
        if seen == NO_DIGIT { Err(ParseDigestError) } else { Ok(Self(digest)) }
    }
}

/// Has every bit that a digit can have, and more.
const NO_DIGIT: u8 = 0xff;

/// What each byte stands for as a hex digit. A table, for digits and letters alternate at random: with a branch on each of
/// 64 characters a fifth of the time that a million keys take to load was spent in wrong guesses.
#[expect(clippy::indexing_slicing, reason = "it is computed when the program is compiled")]
static HEX_DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        digits[b"0123456789abcdef"[value as usize] as usize] = value;
        digits[b"0123456789ABCDEF"[value as usize] as usize] = value;
        value += 1;
    }
    digits
};

fn hex_digit(byte: u8) -> u8 {
    HEX_DIGITS.get(usize::from(byte)).copied().unwrap_or(NO_DIGIT)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
