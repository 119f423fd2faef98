//! Ordered headers to credential: the first one present decides alone.
//!
//! Behind the three headers comes, where the policy wants it, the one that a web page can set when it opens a WebSocket:
//! `Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.KEY`, as OpenAI's Realtime clients send it. It is read
//! alike in every request: what makes a request an upgrade changes nothing here.

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};

use super::deny::Malformed;
use crate::policy::{KeyTable, ProtocolKeys};

static AUTHORIZATION: HeaderName = header::AUTHORIZATION;
static X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
static X_GOOG_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");
static SEC_WEBSOCKET_PROTOCOL: HeaderName = header::SEC_WEBSOCKET_PROTOCOL;

/// How the WebSocket protocol begins that holds a key.
const KEY_PROTOCOL: &[u8] = b"openai-insecure-api-key.";

/// The headers that can carry a credential, in the order in which they decide.
pub const CREDENTIAL_HEADERS: [CredentialHeader; 4] = [
    CredentialHeader::Authorization,
    CredentialHeader::XApiKey,
    CredentialHeader::XGoogApiKey,
    CredentialHeader::WebSocketProtocol,
];

/// A header that can carry a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialHeader {
    /// `Authorization`, the way of OpenAI's clients.
    Authorization,
    /// `x-api-key`, the way of Anthropic's clients.
    XApiKey,
    /// `x-goog-api-key`, the way of Gemini's clients.
    XGoogApiKey,
    /// `Sec-WebSocket-Protocol`, the way of pages that open a WebSocket; it counts where the policy says so.
    WebSocketProtocol,
}

impl CredentialHeader {
    /// The field name, for look-ups.
    pub fn name(self) -> &'static HeaderName {
        match self {
            Self::Authorization => &AUTHORIZATION,
            Self::XApiKey => &X_API_KEY,
            Self::XGoogApiKey => &X_GOOG_API_KEY,
            Self::WebSocketProtocol => &SEC_WEBSOCKET_PROTOCOL,
        }
    }

    /// The field name as documentation writes it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Authorization => "Authorization",
            Self::XApiKey => "x-api-key",
            Self::XGoogApiKey => "x-goog-api-key",
            Self::WebSocketProtocol => "Sec-WebSocket-Protocol",
        }
    }

    /// What could be a credential in `headers`: each line of the field, or each key among the protocols.
    pub fn values(self, headers: &HeaderMap, protocol_keys: ProtocolKeys) -> impl Iterator<Item = &[u8]> {
        let counts = self != Self::WebSocketProtocol || protocol_keys == ProtocolKeys::Count;
        let lines = headers.get_all(self.name()).iter().filter(move |_| counts);
        lines.flat_map(move |line| self.values_of_line(line.as_bytes()))
    }

    /// The same of one line of the field.
    pub fn values_of_line(self, line: &[u8]) -> impl Iterator<Item = &[u8]> {
        let among_protocols = self == Self::WebSocketProtocol;
        let whole = (!among_protocols).then_some(line);
        let keys = among_protocols.then(|| protocols(line).filter_map(protocol_key));
        whole.into_iter().chain(keys.into_iter().flatten())
    }
}

/// The protocols that a line of `Sec-WebSocket-Protocol` names (RFC 6455 §11.3.4: a list).
pub fn protocols(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b',').map(trim_field_value).filter(|protocol| !protocol.is_empty())
}

/// The key that a protocol holds, if it is one that holds a key; its name may be written in any case, for then it was meant so.
pub fn protocol_key(protocol: &[u8]) -> Option<&[u8]> {
    let (name, key) = protocol.split_at_checked(KEY_PROTOCOL.len())?;
    name.eq_ignore_ascii_case(KEY_PROTOCOL).then_some(key)
}

/// Which of the credential headers a request has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaderSet {
    present: [bool; CREDENTIAL_HEADERS.len()],
}

impl HeaderSet {
    /// Those that are in `headers`.
    pub fn of(headers: &HeaderMap, protocol_keys: ProtocolKeys) -> Self {
        let is_there = |header: CredentialHeader| header.values(headers, protocol_keys).next().is_some();
        Self { present: CREDENTIAL_HEADERS.map(is_there) }
    }

    /// How many there can be.
    pub const COUNT: usize = 1 << CREDENTIAL_HEADERS.len();

    /// Which of them this is, from 0.
    pub fn index(self) -> usize {
        self.present.into_iter().fold(0, |index, present| index << 1 | usize::from(present))
    }

    /// Whether this one is there.
    pub fn has(self, header: CredentialHeader) -> bool {
        self.iter().any(|present| present == header)
    }

    /// The one that decides: the first.
    pub fn deciding(self) -> Option<CredentialHeader> {
        self.iter().next()
    }

    /// Those that are present but do not count.
    pub fn ignored(self) -> impl Iterator<Item = CredentialHeader> {
        self.iter().skip(1)
    }

    /// All of them, in the order in which they decide.
    pub fn iter(self) -> impl Iterator<Item = CredentialHeader> {
        CREDENTIAL_HEADERS
            .into_iter()
            .zip(self.present)
            .filter_map(|(header, present)| present.then_some(header))
    }
}

/// What the deciding header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential<'a> {
    /// None of the headers is there.
    Missing,
    /// The header that decides can hold no key.
    Malformed(Malformed),
    /// What was presented, white space and a `Bearer ` prefix removed.
    Presented(&'a [u8]),
}

impl<'a> Credential<'a> {
    /// Takes the credential from the first header present. An empty, malformed or wrong value there is not skipped
    /// in favour of a later header.
    pub fn take(headers: &'a HeaderMap, protocol_keys: ProtocolKeys) -> Self {
        let mut all = CREDENTIAL_HEADERS.into_iter();
        all.find_map(|header| Self::of(headers, header, protocol_keys)).unwrap_or(Self::Missing)
    }

    /// What `header` says, if it is there.
    pub(super) fn of(
        headers: &'a HeaderMap,
        header: CredentialHeader,
        protocol_keys: ProtocolKeys,
    ) -> Option<Self> {
        let mut values = header.values(headers, protocol_keys);
        let value = trim_field_value(values.next()?);
        if values.next().is_some() {
            return Some(Self::Malformed(Malformed::Repeated));
        }
        if value.is_empty() {
            return Some(Self::Malformed(Malformed::Empty));
        }
        if !value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
            return Some(Self::Malformed(Malformed::Bytes));
        }
        Some(Self::Presented(match header {
            CredentialHeader::Authorization => value.strip_prefix(b"Bearer ").unwrap_or(value),
            CredentialHeader::XApiKey
            | CredentialHeader::XGoogApiKey
            | CredentialHeader::WebSocketProtocol => value,
        }))
    }
}

/// Whether this is the name of a header that can carry a credential.
pub fn is_credential_header(name: &str) -> bool {
    CREDENTIAL_HEADERS.iter().any(|header| header.label().eq_ignore_ascii_case(name))
}

/// Whether a credential header's value holds a configured key, however it is wrapped: as it is, or behind a scheme
/// name written in any way. More is found here than would pass, for what is found must not leave the gateway.
pub fn contains_key(keys: &KeyTable, value: &HeaderValue) -> bool {
    let value = trim_field_value(value.as_bytes());
    let last_word = value.rsplit(|byte| matches!(byte, b' ' | b'\t')).next().unwrap_or_default();
    let after_scheme = value
        .iter()
        .position(|byte| matches!(byte, b' ' | b'\t'))
        .map_or(&[][..], |space| trim_field_value(value.get(space..).unwrap_or_default()));
    [value, after_scheme, last_word].into_iter().any(|candidate| keys.find(candidate).is_some())
}

/// Optional white space around a field value is not part of it (RFC 9110 §5.5).
fn trim_field_value(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}
