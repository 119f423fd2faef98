//! The page for people: files that are part of the program and hold nothing, so they need no token. All that the page shows
//! it asks this API for, with the token that its reader types in.
//!
//! Nothing of it is built: what stands in `page/` is what a browser gets. Nothing is loaded from elsewhere, and what comes
//! from the gateway becomes text, never markup; the policy below holds a browser to both.

use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::reply::{InPath, Refusal};

/// Only what this listener serves, no inline script or style, no frame, no form that leaves; and no string may become
/// markup or script (W3C Trusted Types).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

const INDEX: &str = include_str!("page/index.html");

/// What stands under `/page/`, by name.
const FILES: &[(&str, &str, &str)] = &[
    ("api.js", SCRIPT, include_str!("page/api.js")),
    ("app.js", SCRIPT, include_str!("page/app.js")),
    ("chart.js", SCRIPT, include_str!("page/chart.js")),
    ("config.js", SCRIPT, include_str!("page/config.js")),
    ("dom.js", SCRIPT, include_str!("page/dom.js")),
    ("icon.svg", IMAGE, include_str!("page/icon.svg")),
    ("keys.js", SCRIPT, include_str!("page/keys.js")),
    ("peers.js", SCRIPT, include_str!("page/peers.js")),
    ("proxy.js", SCRIPT, include_str!("page/proxy.js")),
    ("snippets.js", SCRIPT, include_str!("page/snippets.js")),
    ("stream.js", SCRIPT, include_str!("page/stream.js")),
    ("style.css", CSS, include_str!("page/style.css")),
    ("text.js", SCRIPT, include_str!("page/text.js")),
    ("time.js", SCRIPT, include_str!("page/time.js")),
    ("traffic.js", SCRIPT, include_str!("page/traffic.js")),
    ("why.js", SCRIPT, include_str!("page/why.js")),
];

/// Whether a path is a part of the page, which everybody on this machine may have.
pub(super) fn has(path: &str) -> bool {
    path == "/" || path.strip_prefix("/page/").is_some_and(|name| find(name).is_some())
}

pub(super) async fn index() -> Response {
    served(HTML, INDEX)
}

pub(super) async fn file(InPath(name): InPath<String>) -> Result<Response, Refusal> {
    let (kind, text) = find(&name).ok_or(Refusal::NotFound)?;
    Ok(served(kind, text))
}

fn find(name: &str) -> Option<(&'static str, &'static str)> {
    FILES.iter().find(|(known, ..)| *known == name).map(|(_, kind, text)| (*kind, *text))
}

fn served(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    (headers, text).into_response()
}
