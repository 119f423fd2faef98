//! `Secret`: text that is never printed and is overwritten when dropped.

use std::fmt;

use zeroize::Zeroizing;

/// A secret text: a key in clear, or a credential of ours toward an upstream.
///
/// `Debug` prints `Secret(..)` and there is no `Display`, so it cannot end in a log by accident; the one way in
/// is [`Secret::expose`], which is easy to search for.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text as secret.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret itself. Never log, print or store what this returns.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_the_text() {
        assert_eq!(format!("{:?}", Secret::new("sk-abc".into())), "Secret(..)");
    }
}
