//! `Deny`: why a request may not pass. A closed enum; code, status and message stand side by side.
//!
//! All of it is safe to show to the caller: it never holds any part of a credential, nor says how close one was.

use super::credential::{CREDENTIAL_HEADERS, CredentialHeader, HeaderSet};

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deny {
    /// Why.
    pub cause: Cause,
    /// The credential headers that were there: the first one decided, the others were ignored.
    pub present: HeaderSet,
}

impl Deny {
    /// What the caller is told: which header decided, what is the matter with it, which others were ignored.
    pub fn message(&self) -> String {
        let mut message = match self.present.deciding() {
            Some(header) => self.cause.about(header),
            None => self.cause.without_header(),
        };
        for (number, header) in self.present.ignored().enumerate() {
            message.push_str(if number == 0 { " Also present, and ignored: `" } else { "`, `" });
            message.push_str(header.label());
        }
        if self.present.ignored().next().is_some() {
            message.push_str("`.");
        }
        message
    }
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
    /// A key whose time has not come.
    KeyNotYetValid,
    /// The key's `addresses` do not include the client's.
    AddressNotAllowed,
    /// The key's `methods` do not include the request's.
    MethodNotAllowed,
    /// The key's `routes` do not cover the request.
    RouteNotAllowed,
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
    pub const ALL: [Self; 13] = [
        Self::CredentialMissing,
        Self::CredentialInvalid,
        Self::CredentialMalformed(Malformed::Empty),
        Self::CredentialMalformed(Malformed::Repeated),
        Self::CredentialMalformed(Malformed::Bytes),
        Self::NoKeyConfigured,
        Self::KeyExpired,
        Self::KeyDisabled,
        Self::KeyNotYetValid,
        Self::AddressNotAllowed,
        Self::MethodNotAllowed,
        Self::RouteNotAllowed,
        Self::PreflightWithContent,
    ];

    /// Where it stands in [`Cause::ALL`], without a search.
    pub const fn index(self) -> usize {
        match self {
            Self::CredentialMissing => 0,
            Self::CredentialInvalid => 1,
            Self::CredentialMalformed(Malformed::Empty) => 2,
            Self::CredentialMalformed(Malformed::Repeated) => 3,
            Self::CredentialMalformed(Malformed::Bytes) => 4,
            Self::NoKeyConfigured => 5,
            Self::KeyExpired => 6,
            Self::KeyDisabled => 7,
            Self::KeyNotYetValid => 8,
            Self::AddressNotAllowed => 9,
            Self::MethodNotAllowed => 10,
            Self::RouteNotAllowed => 11,
            Self::PreflightWithContent => 12,
        }
    }

    /// The value of `x-keygate-error`, also the name in logs and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::CredentialMissing => "credential_missing",
            Self::CredentialInvalid => "credential_invalid",
            Self::CredentialMalformed(_) => "credential_malformed",
            Self::NoKeyConfigured => "no_key_configured",
            Self::KeyExpired => "key_expired",
            Self::KeyDisabled => "key_disabled",
            Self::KeyNotYetValid => "key_not_yet_valid",
            Self::AddressNotAllowed => "key_address_not_allowed",
            Self::MethodNotAllowed => "key_method_not_allowed",
            Self::RouteNotAllowed => "key_route_not_allowed",
            Self::PreflightWithContent => "preflight_with_content",
        }
    }

    /// The HTTP status: 401 always means that the caller's key was refused, 403 that it is right but not for this.
    pub const fn status(self) -> u16 {
        match self {
            Self::PreflightWithContent => 413,
            Self::KeyNotYetValid
            | Self::AddressNotAllowed
            | Self::MethodNotAllowed
            | Self::RouteNotAllowed => 403,
            _ => 401,
        }
    }

    /// The message where `header` decided.
    fn about(self, header: CredentialHeader) -> String {
        let header = header.label();
        let what = match self {
            Self::CredentialMissing | Self::CredentialInvalid => return invalid(header),
            Self::CredentialMalformed(Malformed::Empty) => {
                "is empty (is the variable that should hold the key set?), so no key was sent"
            }
            Self::CredentialMalformed(Malformed::Repeated) => "stands on more than one line; send it once",
            Self::CredentialMalformed(Malformed::Bytes) => "holds characters that no key can hold",
            Self::KeyExpired => "holds a key that has expired",
            Self::KeyDisabled => "holds a key that has been disabled",
            Self::KeyNotYetValid => "holds a key that may not be used yet: its `not_before` has not come",
            Self::AddressNotAllowed => {
                "holds a key that may not be used from this address: its `addresses` do not include it"
            }
            Self::MethodNotAllowed => {
                "holds a key that may not be used with this method: its `methods` do not include it"
            }
            Self::RouteNotAllowed => {
                "holds a key that may not be used for this path: its `routes` do not cover it"
            }
            Self::NoKeyConfigured => {
                return format!("{} (The `{header}` header decided.)", self.without_header());
            }
            Self::PreflightWithContent => {
                return format!(
                    "An OPTIONS request with content is no preflight, so it needs a key, and the one in the `{header}` \
                     header, which decided, is not accepted. Send no content, or a valid key."
                );
            }
        };
        format!("keygate refused the key of this request: the `{header}` header decided, and it {what}.")
    }

    /// The message where none of the headers is present.
    fn without_header(self) -> String {
        match self {
            Self::NoKeyConfigured => {
                "No key is configured on this gateway, so it refuses every request; its operator must set \
                 `proxy.api_key`."
            }
            Self::PreflightWithContent => {
                "An OPTIONS request with content is no preflight, so it needs a key, and none was sent."
            }
            _ => return missing(),
        }
        .to_owned()
    }
}

/// The rule for the scheme is told with every wrong `Authorization`, whatever stands there, so it tells nothing of it.
fn invalid(header: &str) -> String {
    let rule = if header == CredentialHeader::Authorization.label() {
        " It is read as `Authorization: Bearer <key>`, with a capital B and one space."
    } else {
        ""
    };
    format!(
        "keygate refused the key of this request: the `{header}` header decided, and its value matches no key of \
         this gateway.{rule}"
    )
}

fn missing() -> String {
    let [first, second, third, _] = CREDENTIAL_HEADERS.map(CredentialHeader::label);
    format!(
        "keygate needs a key and this request has none: send it as `{first}: Bearer <key>`, `{second}: <key>` or \
         `{third}: <key>`."
    )
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::policy::ProtocolKeys;

    fn message(cause: Cause, headers: &[&'static str]) -> String {
        let mut map = HeaderMap::new();
        for name in headers {
            map.insert(*name, "x".parse().unwrap());
        }
        Deny { cause, present: HeaderSet::of(&map, ProtocolKeys::Ignored) }.message()
    }

    #[test]
    fn each_cause_knows_its_place() {
        for (place, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause.index(), place, "{cause:?}");
        }
    }

    #[test]
    fn the_message_names_the_deciding_header_and_the_ignored_ones() {
        for cause in Cause::ALL {
            let alone = message(cause, &["x-api-key"]);
            assert!(alone.contains("`x-api-key`") && !alone.contains("ignored"), "{alone}");
            let three = message(cause, &["x-goog-api-key", "x-api-key", "authorization"]);
            assert!(
                three.contains("the `Authorization` header") || three.contains("The `Authorization` header"),
                "{three}"
            );
            assert!(three.ends_with("Also present, and ignored: `x-api-key`, `x-goog-api-key`."), "{three}");
        }
    }

    #[test]
    fn a_request_without_any_is_told_where_the_key_goes() {
        let text = message(Cause::CredentialMissing, &[]);
        assert!(CREDENTIAL_HEADERS.iter().take(3).all(|header| text.contains(header.label())), "{text}");
    }
}
