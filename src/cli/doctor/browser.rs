//! What a browser asks before it lets a page call the gateway, and whether it lets it then (Fetch §4.8, §4.10).

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::verdict::{Verdict, verdict};
use crate::auth::diagnosis::Reason;
use crate::cli::http_client::Answer;

/// Headers that a page may send unasked, or that the browser sends by itself (Fetch §2.2.2).
const NOT_ASKED: [&str; 8] =
    ["accept", "accept-language", "content-language", "cookie", "host", "origin", "referer", "user-agent"];

/// A page of another site, and the headers that it wants to send.
pub(super) struct Page {
    origin: HeaderValue,
    headers: Vec<String>,
}

impl Page {
    /// One of this origin, which sends these headers, or a key as OpenAI's clients do. `None`: browsers name no origin so.
    pub(super) fn new(origin: &str, sent: &HeaderMap) -> Option<Self> {
        // As it stands in the address bar.
        let origin = origin.trim_end_matches('/');
        let origin =
            HeaderValue::from_str(origin).ok().filter(|_| origin.contains("://") || origin == "null")?;
        let mut headers: Vec<String> = sent.keys().map(|name| name.as_str().to_owned()).collect();
        if headers.is_empty() {
            headers.push(header::AUTHORIZATION.as_str().to_owned());
        }
        headers.push(header::CONTENT_TYPE.as_str().to_owned());
        headers.retain(|name| !NOT_ASKED.contains(&name.as_str()));
        headers.sort();
        headers.dedup();
        Some(Self { origin, headers })
    }

    /// The preflight that a browser sends for it.
    pub(super) fn preflight(&self) -> HeaderMap {
        let names = HeaderValue::from_str(&self.headers.join(",")).ok();
        let fields: [(HeaderName, Option<HeaderValue>); 3] = [
            (header::ORIGIN, Some(self.origin.clone())),
            (header::ACCESS_CONTROL_REQUEST_METHOD, Some(HeaderValue::from_static("POST"))),
            (header::ACCESS_CONTROL_REQUEST_HEADERS, names),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// What stops it, if the preflight is answered so.
    pub(super) fn stopped_by(&self, answer: &Answer) -> Option<Verdict> {
        if !(200..300).contains(&answer.status) {
            return cors(
                &format!("a browser asks with OPTIONS first, and gets {} in place of 2xx", answer.status),
                "let the gateway or the upstream answer preflights (CORS)",
            );
        }
        match answer.headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
            Some(allowed) if allowed == "*" || allowed == self.origin => {}
            Some(_) => {
                return cors(
                    "`access-control-allow-origin` of the answer names another site",
                    "allow this site where CORS is configured",
                );
            }
            None => {
                return cors(
                    "the answer has no `access-control-allow-origin`, so a browser keeps it from the page",
                    "configure CORS on the gateway or the upstream, or call from a server",
                );
            }
        }
        let name = self.headers.iter().find(|name| !allows(&answer.headers, name))?;
        cors(
            &format!(
                "`access-control-allow-headers` of the answer has no `{name}`, so a page may not send it"
            ),
            "allow this header where CORS is configured (`proxy.cors.headers`)",
        )
    }
}

fn cors(cause: &str, fix: &str) -> Option<Verdict> {
    Some(verdict(Reason::Cors.name(), format!("{cause}: \"Failed to fetch\""), fix, 7))
}

/// `*` is every header but `Authorization`.
fn allows(answer: &HeaderMap, name: &str) -> bool {
    let lists =
        answer.get_all(header::ACCESS_CONTROL_ALLOW_HEADERS).iter().filter_map(|list| list.to_str().ok());
    let mut allowed = lists.flat_map(|list| list.split(',')).map(str::trim);
    allowed.any(|allowed| {
        allowed.eq_ignore_ascii_case(name) || allowed == "*" && name != header::AUTHORIZATION.as_str()
    })
}
