//! The causes by name, as logs and JSON have them.

use serde::Serialize;

/// Why a request is refused, as a person who has to mend it would say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// `auto` asks for a key since other machines can connect.
    LanAccess,
    /// A header that does not match decides over one that would.
    OtherHeaderDecides,
    /// `Bearer<key>`.
    SpaceMissing,
    /// There is no key that could be right.
    NoKeyConfigured,
    /// `strict` asks for a key on `/healthz` too.
    StrictHealth,
    /// The scheme is written otherwise.
    Scheme,
    /// The key was copied or expanded wrongly.
    MangledKey,
    /// The key is cut, longer, or changed.
    DamagedKey,
    /// The credential is of somebody else.
    ForeignCredential,
    /// The key counted once.
    RetiredKey,
    /// The key is right, and may not be used for this, or now.
    KeyPolicy,
    /// An empty header decides.
    EmptyHeader,
    /// The upstream refused.
    UpstreamRefused,
    /// A browser's rules.
    Cors,
    /// What was changed in the file is not in force.
    ReloadRejected,
    /// No credential was sent.
    NoCredential,
    /// The key stands in the query, which is not read.
    KeyInQuery,
    /// The key stands in a header that is not read.
    KeyInOtherHeader,
    /// Nothing is known of the credential.
    UnknownKey,
    /// The header stands on several lines.
    RepeatedHeader,
    /// `OPTIONS` with content.
    PreflightWithContent,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 21] = [
        Self::LanAccess,
        Self::OtherHeaderDecides,
        Self::SpaceMissing,
        Self::NoKeyConfigured,
        Self::StrictHealth,
        Self::Scheme,
        Self::MangledKey,
        Self::DamagedKey,
        Self::ForeignCredential,
        Self::RetiredKey,
        Self::KeyPolicy,
        Self::EmptyHeader,
        Self::UpstreamRefused,
        Self::Cors,
        Self::ReloadRejected,
        Self::NoCredential,
        Self::KeyInQuery,
        Self::KeyInOtherHeader,
        Self::UnknownKey,
        Self::RepeatedHeader,
        Self::PreflightWithContent,
    ];

    /// Its name in logs and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LanAccess => "lan_access",
            Self::OtherHeaderDecides => "other_header_decides",
            Self::SpaceMissing => "space_missing",
            Self::NoKeyConfigured => "no_key_configured",
            Self::StrictHealth => "strict_health",
            Self::Scheme => "scheme",
            Self::MangledKey => "mangled_key",
            Self::DamagedKey => "damaged_key",
            Self::ForeignCredential => "foreign_credential",
            Self::RetiredKey => "retired_key",
            Self::KeyPolicy => "key_policy",
            Self::EmptyHeader => "empty_header",
            Self::UpstreamRefused => "upstream_refused",
            Self::Cors => "cors",
            Self::ReloadRejected => "reload_rejected",
            Self::NoCredential => "no_credential",
            Self::KeyInQuery => "key_in_query",
            Self::KeyInOtherHeader => "key_in_other_header",
            Self::UnknownKey => "unknown_key",
            Self::RepeatedHeader => "repeated_header",
            Self::PreflightWithContent => "preflight_with_content",
        }
    }

    /// Whether an edit of the file that is not in force could be what is missing.
    pub(super) fn could_be_edited_away(self) -> bool {
        matches!(self, Self::UnknownKey | Self::NoKeyConfigured | Self::KeyPolicy)
    }
}
