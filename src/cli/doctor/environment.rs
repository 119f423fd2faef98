//! What the SDKs would take from the environment. The values are never printed, and sent only where the SDK would send
//! them, or to this machine: a provider's key must not go to a stranger because somebody wanted to know what is wrong.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::auth::is_credential_header;

/// A variable, the header that an SDK makes of it, and what it puts before the value.
type Variable = (&'static str, &'static str, &'static str);

/// What an SDK does with its variables. One that is empty counts as one that is not set, for each of them.
struct Model {
    name: &'static str,
    /// The variable with its base URL.
    address: &'static str,
    variables: &'static [Variable],
    takes: Takes,
    /// The variable with header lines of the user's own, which come in place of the SDK's.
    headers: Option<&'static str>,
}

/// Which of its variables an SDK takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// The first that is set.
    First,
    /// Every one, each in its header.
    All,
}

/// As in openai 3.57, anthropic 2.13 and 1.17, and google-genai 3.6; a test compares those that are installed.
const SDKS: &[Model] = &[
    Model {
        name: "OpenAI's SDK does",
        address: "OPENAI_BASE_URL",
        variables: &[("OPENAI_API_KEY", "authorization", "Bearer ")],
        takes: Takes::First,
        headers: Some("OPENAI_CUSTOM_HEADERS"),
    },
    Model {
        name: "Anthropic's SDK does",
        address: ANTHROPIC_ADDRESS,
        variables: &[
            ("ANTHROPIC_API_KEY", "authorization", "Bearer "),
            ("ANTHROPIC_AUTH_TOKEN", "authorization", "Bearer "),
        ],
        takes: Takes::First,
        headers: ANTHROPIC_HEADERS,
    },
    Model {
        name: "Claude Code and Anthropic's SDK before 2 do",
        address: ANTHROPIC_ADDRESS,
        variables: &[
            ("ANTHROPIC_API_KEY", "x-api-key", ""),
            ("ANTHROPIC_AUTH_TOKEN", "authorization", "Bearer "),
        ],
        takes: Takes::All,
        headers: ANTHROPIC_HEADERS,
    },
    Model {
        name: "Google's SDK does",
        address: "GOOGLE_GEMINI_BASE_URL",
        variables: &[("GOOGLE_API_KEY", "x-goog-api-key", ""), ("GEMINI_API_KEY", "x-goog-api-key", "")],
        takes: Takes::First,
        headers: None,
    },
];

const ANTHROPIC_ADDRESS: &str = "ANTHROPIC_BASE_URL";
const ANTHROPIC_HEADERS: Option<&str> = Some("ANTHROPIC_CUSTOM_HEADERS");

/// What an SDK would send.
pub(super) struct Sdk {
    /// In words.
    pub(super) what: String,
    /// The headers with its keys.
    pub(super) sent: HeaderMap,
    variables: String,
    address: &'static str,
}

/// What the SDKs make of the environment.
#[derive(Default)]
pub(super) struct Environment {
    /// Their requests.
    pub(super) sdks: Vec<Sdk>,
    /// Variables that hold what no header can hold: the SDK fails before it sends anything.
    pub(super) unsendable: Vec<&'static str>,
    /// What else is worth to be told.
    pub(super) notes: Vec<String>,
}

impl Sdk {
    /// Whether its keys may go to `url` unasked: the SDK itself would send them there, or it is on this machine.
    pub(super) fn may_call(&self, url: &str) -> bool {
        is_loopback(url) || std::env::var(self.address).is_ok_and(|address| same_place(&address, url))
    }

    /// Says that its keys were kept back.
    pub(super) fn kept_back(&self) -> String {
        format!(
            "{} is set and was not sent: this is another machine, and {} does not lead here; `--send-environment` sends it",
            self.variables, self.address
        )
    }
}

impl Environment {
    /// What each SDK would send, for those that have a variable; nothing twice.
    pub(super) fn read() -> Self {
        let mut environment = Self::default();
        for model in SDKS {
            if let Some(sdk) = environment.request_of(model)
                && !environment.sdks.iter().any(|other| other.sent == sdk.sent)
            {
                environment.sdks.push(sdk);
            }
        }
        environment
    }

    fn request_of(&mut self, model: &Model) -> Option<Sdk> {
        let (mut sent, mut names, mut empty) = (HeaderMap::new(), Vec::new(), None);
        for (variable, name, before) in model.variables {
            let Some(value) = std::env::var_os(variable) else { continue };
            if value.is_empty() {
                empty.get_or_insert(*variable);
                continue;
            }
            match header_value(before, value.as_encoded_bytes()) {
                Some(value) => sent.insert(HeaderName::from_static(name), value),
                None => {
                    self.unsendable.extend((!self.unsendable.contains(variable)).then_some(*variable));
                    return None;
                }
            };
            names.push(*variable);
            if model.takes == Takes::First {
                break;
            }
        }
        if let (true, Some(variable)) = (names.is_empty(), empty) {
            self.note(format!(
                "{variable} is set and empty: an SDK then behaves as if it were not set, and sends no request"
            ));
        }
        if names.is_empty() {
            return None;
        }
        if let Some(variable) = model.headers
            && own_headers(variable, &mut sent)
        {
            names.push(variable);
        }
        let variables = names.join(" and ");
        let what = format!("as {} with {variables}", model.name);
        Some(Sdk { what, sent, variables, address: model.address })
    }

    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

/// Puts credentials of the user's own header lines in place of the SDK's; whether there are any.
fn own_headers(variable: &str, sent: &mut HeaderMap) -> bool {
    let lines = std::env::var(variable).unwrap_or_default();
    let credential = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let name = name.trim();
        let name = is_credential_header(name).then(|| name.parse::<HeaderName>().ok())??;
        Some((name, header_value("", value.trim().as_bytes())?))
    };
    let credentials: Vec<_> = lines.lines().filter_map(credential).collect();
    let any = !credentials.is_empty();
    for (name, value) in credentials {
        sent.insert(name, value);
    }
    any
}

/// `key` in each of the headers by itself; none if no header can hold it.
pub(super) fn one_at_a_time(key: &str) -> Vec<(String, HeaderMap)> {
    [("authorization", "Bearer "), ("x-api-key", ""), ("x-goog-api-key", "")]
        .into_iter()
        .filter_map(|(name, before)| {
            let label = if before.is_empty() { name.to_owned() } else { "Authorization: Bearer".to_owned() };
            let value = header_value(before, key.as_bytes())?;
            let sent = HeaderMap::from_iter([(HeaderName::from_static(name), value)]);
            Some((format!("with --key as {label}"), sent))
        })
        .collect()
}

/// Whether the SDKs would call this address at all.
pub(super) fn addresses(url: &str) -> Vec<String> {
    let mut variables: Vec<&str> = SDKS.iter().map(|model| model.address).collect();
    variables.dedup();
    let lead = |variable: &str| {
        let value = std::env::var(variable).ok()?;
        let where_to = if same_place(&value, url) { "leads here" } else { "leads somewhere else" };
        Some(format!("{variable} is set and {where_to}"))
    };
    variables.into_iter().filter_map(lead).collect()
}

fn same_place(one: &str, other: &str) -> bool {
    authority(one).is_some_and(|authority_of_one| Some(authority_of_one) == authority(other))
}

/// Whether what is sent to `url` stays on this machine. A name may lead anywhere, but for `localhost` (RFC 6761 §6.3).
fn is_loopback(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn authority(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let host = uri.host()?.replace("localhost", "127.0.0.1");
    let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    Some(format!("{host}:{}", uri.port_u16().unwrap_or(default)))
}

/// `None`: no header can hold it (RFC 9110 §5.5).
fn header_value(before: &str, value: &[u8]) -> Option<HeaderValue> {
    HeaderValue::from_bytes(&[before.as_bytes(), value].concat()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_this_machine() {
        for here in ["http://127.0.0.1:8045", "http://127.9.9.9", "https://LOCALHOST", "http://[::1]:8045"] {
            assert!(is_loopback(here), "{here}");
        }
        for elsewhere in [
            "http://0.0.0.0:8045",
            "http://localhost.example",
            "http://127.0.0.1.example",
            "http://127.0.0.1@evil.example",
            "http://[::2]",
            "http://10.0.0.1",
            "x",
        ] {
            assert!(!is_loopback(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn the_same_place_has_the_same_host_and_port() {
        assert!(same_place("http://localhost:8045/v1", "http://127.0.0.1:8045"));
        assert!(same_place("https://a.example/v1", "https://a.example:443"));
        assert!(!same_place("http://a.example", "https://a.example"));
        assert!(!same_place("http://a.example:1", "http://a.example:2"));
        assert!(!same_place("", ""));
    }
}
