//! `Permit`: proof that a request was admitted.

use crate::policy::KeyId;

/// Proof of admission. It is built by [`decide`](super::decide) alone and cannot be copied, so whoever holds one
/// holds it for a request that passed.
#[derive(Debug)]
pub struct Permit {
    grounds: Grounds,
}

/// On what grounds a request passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grounds {
    /// `OPTIONS` without content: whoever sends it is unknown.
    Preflight,
    /// The effective mode is `off`: whoever sends it is unknown.
    ModeOff,
    /// A health check: whoever sends it is unknown.
    Health,
    /// The caller presented this key.
    Key(KeyId),
}

impl Permit {
    /// Only the decision can say so.
    pub(super) fn new(grounds: Grounds) -> Self {
        Self { grounds }
    }

    /// The key that it passes with, if it needed one.
    pub fn key(&self) -> Option<KeyId> {
        match self.grounds {
            Grounds::Key(key) => Some(key),
            Grounds::Preflight | Grounds::ModeOff | Grounds::Health => None,
        }
    }

    /// Why the request passes.
    pub fn grounds(&self) -> Grounds {
        self.grounds
    }
}
