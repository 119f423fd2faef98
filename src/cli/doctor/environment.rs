//! What the SDKs would take from the environment. The values are sent, never printed.

use http::{HeaderMap, HeaderName, HeaderValue, Uri};

/// Base URLs that SDKs read.
const ADDRESSES: &[&str] = &["OPENAI_BASE_URL", "ANTHROPIC_BASE_URL"];

/// A variable, the header that an SDK makes of it, and what it puts before the value.
type Variable = (&'static str, &'static str, &'static str);

/// The headers that each SDK makes of its variables, in its order.
const SDKS: &[(&str, &[Variable])] = &[
    ("OpenAI's SDK", &[("OPENAI_API_KEY", "authorization", "Bearer ")]),
    (
        "Anthropic's SDK",
        &[("ANTHROPIC_API_KEY", "x-api-key", ""), ("ANTHROPIC_AUTH_TOKEN", "authorization", "Bearer ")],
    ),
    ("Google's SDK", &[("GEMINI_API_KEY", "x-goog-api-key", ""), ("GOOGLE_API_KEY", "x-goog-api-key", "")]),
];

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
pub(super) fn sdks() -> Vec<(String, HeaderMap)> {
    SDKS.iter()
        .filter_map(|(sdk, variables)| {
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
            (!names.is_empty()).then(|| (format!("as {sdk} does with {}", names.join(" and ")), headers))
        })
        .collect()
}

/// Whether the SDKs would call this address at all.
pub(super) fn addresses(url: &str) -> Vec<String> {
    ADDRESSES
        .iter()
        .filter_map(|variable| {
            let value = std::env::var(variable).ok()?;
            let same = authority(&value).is_some() && authority(&value) == authority(url);
            let where_to = if same { "leads here" } else { "leads somewhere else" };
            Some(format!("{variable} is set and {where_to}"))
        })
        .collect()
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
