//! `Deny`: why a request may not pass. A closed enum; code and status stand side by side.
//!
//! All of it is safe to show to the caller: it never holds any part of a credential.

use super::credential::HeaderSet;

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deny {
    /// Why.
    pub cause: Cause,
    /// The credential headers that were there: the first one decided, the others were ignored.
    pub present: HeaderSet,
}

/// Why a request may not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// None of the three headers is present.
    CredentialMissing,
    /// The deciding header's value matches no key.
    CredentialInvalid,
    /// The deciding header can hold no key.
    CredentialMalformed(Malformed),
    /// A key is needed and none is configured.
    NoKeyConfigured,
    /// A known key whose time is over.
    KeyExpired,
    /// A known key that was switched off.
    KeyDisabled,
    /// An `OPTIONS` with content is no preflight and did not pass as a request either.
    PreflightWithContent,
}

/// Why a header can hold no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Its value is empty.
    Empty,
    /// It stands on more than one line; parsers disagree on which counts.
    Repeated,
    /// It holds bytes outside visible ASCII, space and tab.
    Bytes,
}

impl Cause {
    /// Every cause, for whoever counts them.
    pub const ALL: [Self; 9] = [
        Self::CredentialMissing,
        Self::CredentialInvalid,
        Self::CredentialMalformed(Malformed::Empty),
        Self::CredentialMalformed(Malformed::Repeated),
        Self::CredentialMalformed(Malformed::Bytes),
        Self::NoKeyConfigured,
        Self::KeyExpired,
        Self::KeyDisabled,
        Self::PreflightWithContent,
    ];

    /// The value of `x-keygate-error`, also the name in logs and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::CredentialMissing => "credential_missing",
            Self::CredentialInvalid => "credential_invalid",
            Self::CredentialMalformed(_) => "credential_malformed",
            Self::NoKeyConfigured => "no_key_configured",
            Self::KeyExpired => "key_expired",
            Self::KeyDisabled => "key_disabled",
            Self::PreflightWithContent => "preflight_with_content",
        }
    }

    /// The HTTP status: 401 always means that the caller's key was refused.
    pub const fn status(self) -> u16 {
        match self {
            Self::PreflightWithContent => 413,
            _ => 401,
        }
    }
}
