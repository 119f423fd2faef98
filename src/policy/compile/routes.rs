//! Routes: each leads to an upstream that exists and matches something that no other one does.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::is_host;
use super::route_rules::{compile_changes, compile_conditions, compile_rewrite, compile_timeouts};
use crate::config::{self, Config};
use crate::policy::routes::{
    HostMatch, InsertError, RouteMatch, RouteSpec, RouteTable, UpstreamId, normalized,
};
use crate::policy::upstreams::is_host_name;
use crate::problem::{FieldPath, Problem, did_you_mean};

pub(super) fn compile_routes(config: &Config, problems: &mut Vec<Problem>) -> RouteTable {
    let mut table = RouteTable::default();
    if config.routes.is_empty() {
        problems.push(
            Problem::warning(
                FieldPath::root().field("routes"),
                "there are no routes, so every request that passes is answered 404",
            )
            .with_help("a route: `- {path_prefix: /, upstream: NAME}`"),
        );
    }
    let ids: HashMap<&str, UpstreamId> =
        config.upstreams.keys().enumerate().map(|(at, name)| (name.as_str(), UpstreamId(at))).collect();
    check_names(config, problems);
    for (at, route) in config.routes.iter().enumerate() {
        let path = FieldPath::root().field("routes").index(at);
        let to = ids.get(route.upstream.as_str()).copied();
        if to.is_none() {
            problems.push(unknown_upstream(&path, &route.upstream, &config.upstreams));
        }
        let host = compile_route_host(route, &path, problems);
        let matching = compile_match(route, &path, problems);
        let spec = compile_spec(route, to.unwrap_or(UpstreamId(0)), &path, problems);
        if let (Some(_), Ok(host), Some(matching)) = (to, host, matching)
            && let Err(error) = table.insert(host_match(host.as_deref()), matching, spec)
        {
            problems.push(cannot_insert(path, error));
        }
    }
    table
}

fn compile_spec(
    route: &config::Route,
    upstream: UpstreamId,
    path: &FieldPath,
    problems: &mut Vec<Problem>,
) -> RouteSpec {
    let name: Option<Arc<str>> = route.name.as_deref().map(Into::into);
    RouteSpec {
        label: name.clone().unwrap_or_else(|| label(route).into()),
        name,
        upstream,
        conditions: compile_conditions(route, path, problems),
        encoded_slashes: route.encoded_slashes,
        rewrite: compile_rewrite(route, path, problems),
        request_headers: compile_changes(&route.request_headers, &path.field("request_headers"), problems),
        response_headers: compile_changes(&route.response_headers, &path.field("response_headers"), problems),
        timeouts: compile_timeouts(route.timeouts.as_ref(), &path.field("timeouts"), problems),
        max_body_bytes: route.max_body.map(|size| size.0),
    }
}

fn host_match(host: Option<&str>) -> HostMatch<'_> {
    match host.map(|host| (host, host.strip_prefix("*."))) {
        None => HostMatch::Any,
        Some((_, Some(suffix))) => HostMatch::Below(suffix),
        Some((host, None)) => HostMatch::Exact(host),
    }
}

fn cannot_insert(path: FieldPath, error: InsertError) -> Problem {
    match error {
        InsertError::Duplicate => {
            Problem::error(path, "another route has the same host, path, methods and headers")
                .with_help("it would never be taken: remove it, or let it ask for something else")
                .relative()
        }
        InsertError::TooMany => {
            let message =
                format!("more than {} routes have this host and path", RouteTable::MOST_AT_ONE_PLACE);
            Problem::error(path, message).with_help("tell some of them apart by their paths").relative()
        }
    }
}

/// As much as anyone reads in a table; a path can be longer.
const LONGEST_LABEL: usize = 128;

/// A route without a name is called by what it matches.
fn label(route: &config::Route) -> String {
    let path = route.path.as_deref().or(route.path_prefix.as_deref()).unwrap_or_default();
    let label = format!("{}{path}", route.host.as_deref().unwrap_or_default());
    label.chars().take(LONGEST_LABEL).collect()
}

/// A name is one word, and no path: where routes are named, a path prefix can stand as well.
fn check_names(config: &Config, problems: &mut Vec<Problem>) {
    let mut names: HashMap<&str, usize> = HashMap::new();
    for (at, route) in config.routes.iter().enumerate() {
        let Some(name) = &route.name else { continue };
        let path = FieldPath::root().field("routes").index(at).field("name");
        let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if !(1..=64).contains(&name.len()) || !name.bytes().all(word) {
            let message = "a route's name is 1 to 64 letters, digits, `-`, `_` and `.`";
            problems.push(Problem::error(path, message).with_help("write one word: `chat`"));
        } else if let Some(other) = names.insert(name, at) {
            let message = format!("`{name}` is also the name of `routes[{other}]`");
            problems.push(Problem::error(path, message).with_help("give one of the two another name"));
        }
    }
}

fn unknown_upstream(path: &FieldPath, name: &str, upstreams: &BTreeMap<String, config::Upstream>) -> Problem {
    let problem = Problem::error(path.field("upstream"), format!("no upstream named `{name}`"));
    match did_you_mean(name, upstreams.keys().map(String::as_str)) {
        Some(meant) => problem.with_help(format!("did you mean `{meant}`?")),
        None if upstreams.is_empty() => problem.with_help("define it under `upstreams`"),
        None => {
            let names: Vec<String> = upstreams.keys().take(10).map(|name| format!("`{name}`")).collect();
            problem.with_help(format!("defined are: {}", names.join(", ")))
        }
    }
}

/// `Err` where the host was given and is wrong (which has been reported).
fn compile_route_host(
    route: &config::Route,
    path: &FieldPath,
    problems: &mut Vec<Problem>,
) -> Result<Option<String>, ()> {
    let Some(host) = &route.host else { return Ok(None) };
    let name = host.strip_prefix("*.").unwrap_or(host);
    if is_host(name) && (name == host || is_host_name(name)) {
        return Ok(Some(host.to_ascii_lowercase()));
    }
    problems.push(
        Problem::error(path.field("host"), format!("`{host}` is no host name")).with_help(
            "write it as in a URL, without scheme and port: `api.example.com`, or `*.example.com`",
        ),
    );
    Err(())
}

fn compile_match(route: &config::Route, path: &FieldPath, problems: &mut Vec<Problem>) -> Option<RouteMatch> {
    let (text, field, matching): (_, _, fn(Vec<u8>) -> RouteMatch) = match (&route.path, &route.path_prefix) {
        (Some(exact), None) => (exact, "path", RouteMatch::Exact),
        (None, Some(prefix)) => (prefix, "path_prefix", RouteMatch::Prefix),
        (given, _) => {
            let message = if given.is_some() {
                "a route has `path` or `path_prefix`, not both"
            } else {
                "a route needs `path` or `path_prefix`"
            };
            let problem = Problem::error(path.clone(), message);
            problems.push(problem.with_help("`path_prefix: /` takes every path").relative());
            return None;
        }
    };
    if let Some((what, help)) = wrong_path(text) {
        problems.push(Problem::error(path.field(field), format!("`{text}` {what}")).with_help(help));
        return None;
    }
    if let Some(normal) = normalized(text.as_bytes()) {
        let what = format!("`{text}` encodes what needs no encoding, or not as paths are compared");
        let normal = String::from_utf8_lossy(&normal);
        problems.push(Problem::error(path.field(field), what).with_help(format!("write `{normal}`")));
        return None;
    }
    if text == "/healthz" && route.path.is_some() {
        problems.push(
            Problem::error(path.field(field), "`/healthz` is answered by the gateway and never forwarded")
                .with_help("remove this route; a `path_prefix` may have `/healthz` in it"),
        );
        return None;
    }
    Some(matching(text.as_bytes().to_vec()))
}

/// Why no request could ever have this path, and what helps.
pub(super) fn wrong_path(text: &str) -> Option<(&'static str, &'static str)> {
    if !text.starts_with('/') {
        return Some(("does not start with `/`", "write what follows the host in a URL: `/v1`"));
    }
    if text.contains(['?', '#']) {
        return Some((
            "has a query or fragment; routes match the path alone",
            "leave it out, from `?` or `#` on",
        ));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some((
            "has a character that must be percent-encoded in a path",
            "write it as clients send it: `%20` for a space",
        ));
    }
    crate::policy::routes::ambiguity(text.as_bytes()).map(|_| {
        let what = "is a path that is refused: `//`, `\\`, or a segment `.` or `..`";
        (what, "write the path that is meant, without these")
    })
}
