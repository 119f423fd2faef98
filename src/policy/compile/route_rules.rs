//! What a route asks beside host and path, and what it changes: names and values that can stand in a request.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue, Method};

use super::routes::wrong_path;
use crate::config;
use crate::policy::routes::{Conditions, HeaderChanges, Rewrite, RouteTimeouts};
use crate::problem::{FieldPath, Problem};

/// Conditions or changes of one route; each request is compared with all of them.
const MOST_ENTRIES: usize = 32;

/// Who passes is not a matter of routes, and a key in the file of routes would be shown with them.
const CREDENTIALS: [&str; 3] = ["authorization", "x-api-key", "x-goog-api-key"];

/// What the gateway and HTTP itself set: length, connection, names of requests, the caller's address.
const OWN: [&str; 15] = [
    "connection",
    "content-length",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
];

pub(super) fn compile_conditions(
    route: &config::Route,
    path: &FieldPath,
    problems: &mut Vec<Problem>,
) -> Conditions {
    let mut conditions = Conditions::default();
    let here = path.field("methods");
    if route.methods.as_ref().is_some_and(Vec::is_empty) {
        problems.push(
            Problem::error(here.clone(), "no method is listed, so no request could take the route")
                .with_help("without the field the route takes every method"),
        );
    }
    for (at, text) in route.methods.iter().flatten().enumerate().take(MOST_ENTRIES) {
        match Method::from_bytes(text.as_bytes()) {
            Ok(Method::CONNECT | Method::TRACE) => problems.push(
                Problem::error(
                    here.index(at),
                    format!("`{text}` is refused everywhere, so no request could match"),
                )
                .with_help("list what the route takes: `GET`, `POST`"),
            ),
            Ok(method) if is_in_capitals(text) => conditions.methods.push(method),
            _ => problems.push(
                Problem::error(here.index(at), format!("`{text}` is no method"))
                    .with_help("methods are case-sensitive and written in capitals: `GET`"),
            ),
        }
    }
    let here = path.field("headers");
    check_number(route.headers.len(), &here, problems);
    for (name, value) in &route.headers {
        let at = here.field(name.as_str());
        let expected = if value == "*" { Some(None) } else { field_value(value, &at, problems).map(Some) };
        let name = field_name(name, &at, problems).filter(|name| {
            let credential = CREDENTIALS.contains(&name.as_str());
            if credential {
                let message = format!("`{name}` decides who passes; routes do not look at it");
                problems
                    .push(Problem::error(at, message).with_help("`routes` of a key says where it may go"));
            }
            !credential
        });
        conditions.headers.extend(name.zip(expected));
    }
    conditions
}

fn is_in_capitals(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
}

/// Which of the three ways to another path is taken, if any.
pub(super) fn compile_rewrite(
    route: &config::Route,
    path: &FieldPath,
    problems: &mut Vec<Problem>,
) -> Option<Rewrite> {
    let given = [
        ("strip_prefix", route.strip_prefix),
        ("rewrite_prefix", route.rewrite_prefix.is_some()),
        ("rewrite_path", route.rewrite_path.is_some()),
    ];
    let mut given = given.iter().filter(|(_, given)| *given);
    let (field, _) = given.next()?;
    let here = path.field(*field);
    if let Some((other, _)) = given.next() {
        problems
            .push(Problem::error(here, format!("`{field}` and `{other}` exclude each other")).with_help(
                "`rewrite_prefix` replaces what `path_prefix` matched; `strip_prefix` removes it",
            ));
        return None;
    }
    let text = route.rewrite_path.as_deref().or(route.rewrite_prefix.as_deref()).unwrap_or("/");
    if let Some((what, help)) = wrong_path(text) {
        problems.push(Problem::error(here, format!("`{text}` {what}")).with_help(help));
        return None;
    }
    if route.rewrite_path.is_some() {
        return Some(Rewrite::Path(text.into()));
    }
    let Some(prefix) = &route.path_prefix else {
        problems.push(
            Problem::error(here, format!("`{field}` needs a `path_prefix`"))
                .with_help("`rewrite_path` replaces a whole path")
                .relative(),
        );
        return None;
    };
    let matched = prefix.strip_suffix('/').unwrap_or(prefix).len();
    Some(Rewrite::Prefix { matched, replacement: text.strip_suffix('/').unwrap_or(text).into() })
}

pub(super) fn compile_timeouts(
    timeouts: Option<&config::RouteTimeouts>,
    path: &FieldPath,
    problems: &mut Vec<Problem>,
) -> RouteTimeouts {
    let Some(timeouts) = timeouts else { return RouteTimeouts::default() };
    check_order(timeouts.first_byte, timeouts.total, path, problems);
    RouteTimeouts {
        first_byte: timeouts.first_byte.map(|span| span.0),
        read: timeouts.read.map(|span| span.0),
        total: timeouts.total.map(|span| span.0),
    }
}

/// The first byte cannot be waited for longer than the last one.
pub(super) fn check_order(
    first_byte: Option<config::Span>,
    total: Option<config::Span>,
    path: &FieldPath,
    problems: &mut Vec<Problem>,
) {
    if first_byte.zip(total).is_some_and(|(first_byte, total)| first_byte > total) {
        problems.push(
            Problem::error(path.field("first_byte"), "`first_byte` is longer than `total`")
                .with_help("`total` counts from the request to the last byte of the response")
                .relative(),
        );
    }
}

pub(super) fn compile_changes(
    rules: &config::HeaderRules,
    path: &FieldPath,
    problems: &mut Vec<Problem>,
) -> HeaderChanges {
    check_number(rules.remove.len() + rules.set.len() + rules.add.len(), path, problems);
    let here = path.field("remove");
    let remove = rules.remove.iter().enumerate();
    HeaderChanges {
        remove: remove.filter_map(|(at, name)| changeable(name, &here.index(at), problems)).collect(),
        set: fields(&rules.set, &path.field("set"), problems),
        add: fields(&rules.add, &path.field("add"), problems),
    }
}

fn fields(
    fields: &BTreeMap<String, String>,
    path: &FieldPath,
    problems: &mut Vec<Problem>,
) -> Vec<(HeaderName, HeaderValue)> {
    let fields = fields.iter().filter_map(|(name, value)| {
        let at = path.field(name.as_str());
        let value = field_value(value, &at, problems);
        changeable(name, &at, problems).zip(value)
    });
    fields.collect()
}

/// A field that a route may change.
fn changeable(name: &str, at: &FieldPath, problems: &mut Vec<Problem>) -> Option<HeaderName> {
    let name = field_name(name, at, problems)?;
    let word = name.as_str();
    let (why_not, help) = if CREDENTIALS.contains(&word) {
        ("carries a credential, which routes do not change", "`credential` of the upstream sets one")
    } else if OWN.contains(&word) || word.starts_with("x-keygate-") {
        ("is set by the gateway", "use a name of your own: `x-team`")
    } else {
        return Some(name);
    };
    problems.push(Problem::error(at.clone(), format!("`{name}` {why_not}")).with_help(help));
    None
}

fn field_name(name: &str, at: &FieldPath, problems: &mut Vec<Problem>) -> Option<HeaderName> {
    let parsed = HeaderName::from_bytes(name.as_bytes()).ok();
    if parsed.is_none() {
        problems.push(
            Problem::error(at.clone(), format!("`{name}` is no name of a header field"))
                .with_help("letters, digits and `-`, without a colon: `x-team`"),
        );
    }
    parsed
}

fn field_value(value: &str, at: &FieldPath, problems: &mut Vec<Problem>) -> Option<HeaderValue> {
    let parsed = HeaderValue::from_str(value).ok().filter(|_| value.trim() == value);
    if parsed.is_none() {
        let message = "the value has a line break, a control character, or white space at an end";
        problems.push(
            Problem::error(at.clone(), message).with_help("write it in one line, without spaces around it"),
        );
    }
    parsed
}

fn check_number(number: usize, path: &FieldPath, problems: &mut Vec<Problem>) {
    if number > MOST_ENTRIES {
        let message = format!("{number} entries; a route has {MOST_ENTRIES} at most");
        problems.push(Problem::error(path.clone(), message).with_help("divide the route into several"));
    }
}
