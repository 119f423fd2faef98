//! What the SDKs would take from the environment. The values are never printed, and sent only where the SDK would send
//! them, or to this machine: a provider's key must not go to a stranger because somebody wanted to know what is wrong.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};

/// A variable, the header that an SDK makes of it, and what it puts before the value.
type Variable = (&'static str, &'static str, &'static str);

/// Each SDK: the variable with its base URL, and the headers that it makes of its others, in its order.
const SDKS: &[(&str, &str, &[Variable])] = &[
    ("OpenAI's SDK", "OPENAI_BASE_URL", &[("OPENAI_API_KEY", "authorization", "Bearer ")]),
    (
        "Anthropic's SDK",
        "ANTHROPIC_BASE_URL",
        &[("ANTHROPIC_API_KEY", "x-api-key", ""), ("ANTHROPIC_AUTH_TOKEN", "authorization", "Bearer ")],
    ),
    (
        "Google's SDK",
        "GOOGLE_GEMINI_BASE_URL",
        &[("GEMINI_API_KEY", "x-goog-api-key", ""), ("GOOGLE_API_KEY", "x-goog-api-key", "")],
    ),
];

/// What an SDK would send.
pub(super) struct Sdk {
    /// In words.
    pub(super) what: String,
    /// The headers with its keys.
    pub(super) sent: HeaderMap,
    variables: String,
    address: &'static str,
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

/// `key` in each of the headers by itself.
pub(super) fn one_at_a_time(key: &str) -> Vec<(String, HeaderMap)> {
    [("authorization", "Bearer "), ("x-api-key", ""), ("x-goog-api-key", "")]
        .into_iter()
        .filter_map(|(name, before)| {
            let label = if before.is_empty() { name.to_owned() } else { "Authorization: Bearer".to_owned() };
            Some((format!("with --key as {label}"), header(name, &format!("{before}{key}"))?))
        })
        .collect()
}

/// What each SDK would send, for those that have a variable.
pub(super) fn sdks() -> Vec<Sdk> {
    SDKS.iter()
        .filter_map(|(sdk, address, variables)| {
            let mut headers = HeaderMap::new();
            let mut names = Vec::new();
            for (variable, name, before) in *variables {
                let Ok(value) = std::env::var(variable) else { continue };
                if let Some(header) = header(name, &format!("{before}{value}"))
                    && !headers.contains_key(*name)
                {
                    headers.extend(header);
                    names.push(*variable);
                }
            }
            let variables = names.join(" and ");
            let what = format!("as {sdk} does with {variables}");
            (!names.is_empty()).then_some(Sdk { what, sent: headers, variables, address })
        })
        .collect()
}

/// Whether the SDKs would call this address at all.
pub(super) fn addresses(url: &str) -> Vec<String> {
    SDKS.iter()
        .filter_map(|(_, variable, _)| {
            let value = std::env::var(variable).ok()?;
            let where_to = if same_place(&value, url) { "leads here" } else { "leads somewhere else" };
            Some(format!("{variable} is set and {where_to}"))
        })
        .collect()
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

fn header(name: &'static str, value: &str) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).ok()?);
    Some(headers)
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
