//! Config to snapshot: what is wrong *between* the values, every problem at once.
//!
//! The only place that sees both worlds. A value that got through here cannot be wrong any more.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use http::HeaderValue;

use super::keys::{Digest, KeyRecord, KeyTable, MAX_KEY_BYTES};
use super::listen::{Exposure, ListenAddress, Startup, exposure_of};
use super::routes::{RouteMatch, RouteTable, UpstreamId};
use super::upstreams::{PeerAddress, PeerSpec, UpstreamSpec, is_host_name};
use super::{AuthMode, EffectiveMode, Snapshot};
use crate::clock::UnixSeconds;
use crate::config::{self, Config};
use crate::problem::{FieldPath, Problem, did_you_mean};

/// A config that can be served.
#[derive(Debug)]
pub struct Compiled {
    /// The policy.
    pub snapshot: Snapshot,
    /// What only a restart can change.
    pub startup: Startup,
    /// What is doubtful, but works.
    pub warnings: Vec<Problem>,
}

/// Compiles `config` to the policy number `generation`.
///
/// `running` is what the process was started with, if it runs: its listeners decide what `auto` means, whatever the
/// config says now (a file cannot open a listener that it does not close).
///
/// # Errors
/// Every problem that was found, warnings included.
pub fn compile(
    config: &Config,
    generation: u64,
    running: Option<&Startup>,
) -> Result<Compiled, Vec<Problem>> {
    let mut problems = Vec::new();
    let startup = compile_startup(&config.proxy, &mut problems);
    let exposure = running.unwrap_or(&startup).exposure;
    let configured_mode = compile_mode(config.proxy.auth_mode);
    let mode = configured_mode.resolve(exposure);
    let keys = compile_keys(config, &mut problems);
    warn_about_access(config, mode, exposure, &keys, &mut problems);
    let upstreams = compile_upstreams(&config.upstreams, &mut problems);
    let routes = compile_routes(config, &mut problems);
    if problems.iter().any(Problem::is_error) {
        return Err(problems);
    }
    let snapshot = Snapshot {
        generation,
        configured_mode,
        mode,
        keys,
        routes,
        upstreams,
        keepalive_timeout: config.proxy.keepalive_timeout.0,
        shutdown_grace: config.proxy.shutdown.grace.0,
        shutdown_delay: config.proxy.shutdown.delay.0,
    };
    Ok(Compiled { snapshot, startup, warnings: problems })
}

fn compile_mode(mode: config::AuthMode) -> AuthMode {
    match mode {
        config::AuthMode::Off => AuthMode::Off,
        config::AuthMode::Strict => AuthMode::Strict,
        config::AuthMode::AllExceptHealth => AuthMode::AllExceptHealth,
        config::AuthMode::Auto => AuthMode::Auto,
    }
}

fn compile_startup(proxy: &config::Proxy, problems: &mut Vec<Problem>) -> Startup {
    let lan = if proxy.allow_lan_access { Exposure::Network } else { Exposure::Loopback };
    if proxy.listen.is_empty() {
        let listen = Startup::default_listen(proxy.port, lan);
        return Startup { listen, threads: proxy.threads, exposure: lan };
    }
    let mut listen: Vec<ListenAddress> = Vec::new();
    let mut exposure = lan;
    for (at, text) in proxy.listen.iter().enumerate() {
        let path = FieldPath::root().field("proxy").field("listen").index(at);
        let address = match text.parse::<SocketAddr>() {
            Ok(address) => address,
            Err(_) => {
                problems.push(
                    Problem::error(path, format!("`{text}` is no address to listen on")).with_help(
                        "write an IP address and a port: `127.0.0.1:8045`, `0.0.0.0:8045`, `[::1]:8045`",
                    ),
                );
                continue;
            }
        };
        if address.port() != 0 && listen.iter().any(|other| other.address == address) {
            problems.push(Problem::error(path, format!("`{text}` is listed twice")));
            continue;
        }
        if exposure_of(address.ip()) == Exposure::Network {
            exposure = Exposure::Network;
            refuse_open_by_accident(proxy, path, text, problems);
        }
        listen.push(ListenAddress { address, optional: false });
    }
    Startup { listen, threads: proxy.threads, exposure }
}

/// `auto` without LAN access means "no key needed"; on an address that others reach that must be written out.
fn refuse_open_by_accident(proxy: &config::Proxy, path: FieldPath, text: &str, problems: &mut Vec<Problem>) {
    if proxy.auth_mode == config::AuthMode::Auto && !proxy.allow_lan_access {
        problems.push(
            Problem::error(
                path,
                format!("other machines reach `{text}`, and `auth_mode: auto` without LAN access asks nobody for a key"),
            )
            .with_help("set `allow_lan_access: true` (then `auto` asks for a key), or `auth_mode: strict`, or write out `auth_mode: off`"),
        );
    }
}

fn warn_about_access(
    config: &Config,
    mode: EffectiveMode,
    exposure: Exposure,
    keys: &KeyTable,
    problems: &mut Vec<Problem>,
) {
    let proxy = FieldPath::root().field("proxy");
    if mode == EffectiveMode::Off && exposure == Exposure::Network {
        problems.push(
            Problem::warning(
                proxy.field("auth_mode"),
                "other machines reach this gateway and no key is needed",
            )
            .with_help("`auth_mode: strict` or `all_except_health` asks for a key"),
        );
    }
    let api_key_empty = config.proxy.api_key.as_ref().map(|key| key.value.is_empty());
    if api_key_empty == Some(true) || (keys.is_empty() && mode != EffectiveMode::Off) {
        let place = if api_key_empty.is_some() { proxy.field("api_key") } else { proxy };
        let consequence = match (keys.is_empty(), mode) {
            (false, _) => "only the named keys count",
            (true, EffectiveMode::Off) => "no key is configured",
            (true, _) => "no key is configured, so every request that needs one is denied",
        };
        problems.push(
            Problem::warning(place, format!("`api_key` is empty; {consequence}"))
                .with_help("`keygate keygen` prints a new key"),
        );
    }
}

fn compile_keys(config: &Config, problems: &mut Vec<Problem>) -> KeyTable {
    let mut table = KeyTable::default();
    let api_key_path = FieldPath::root().field("proxy").field("api_key");
    if let Some(api_key) = config.proxy.api_key.as_ref().filter(|key| !key.value.is_empty()) {
        match check_key(api_key.value.expose().as_bytes()) {
            Ok(()) => {
                let record = KeyRecord { name: "api_key".into(), enabled: true, expires_at: None };
                // The table is empty: nothing can be there twice.
                let _ = table.insert(Digest::of(api_key.value.expose().as_bytes()), record);
            }
            Err(what) => problems.push(
                Problem::error(api_key_path, format!("`api_key` {what}, so no request could ever carry it"))
                    .with_help("`keygate keygen` prints a new key"),
            ),
        }
    }
    let mut names: HashMap<&str, usize> = HashMap::from([("api_key", usize::MAX)]);
    for (at, key) in config.keys.iter().enumerate() {
        let path = FieldPath::root().field("keys").index(at);
        if key.name.is_empty() || key.name.len() > 128 || key.name.chars().any(char::is_control) {
            problems.push(Problem::error(
                path.field("name"),
                "a key's name is 1 to 128 bytes without control characters",
            ));
        } else if let Some(&other) = names.get(key.name.as_str()) {
            problems.push(duplicate_name(&path, &key.name, other));
        }
        names.insert(&key.name, at);
        insert_key(&mut table, &path, key, problems);
    }
    table
}

fn duplicate_name(path: &FieldPath, name: &str, other: usize) -> Problem {
    let message = match other {
        usize::MAX => format!("`{name}` is the name of the primary key, `proxy.api_key`"),
        other => format!("`{name}` is also the name of `keys[{other}]`"),
    };
    Problem::error(path.field("name"), message).with_help("a name tells keys apart in logs; make it unique")
}

fn insert_key(table: &mut KeyTable, path: &FieldPath, key: &config::Key, problems: &mut Vec<Problem>) {
    let digest = match key.digest.parse::<Digest>() {
        Ok(digest) => digest,
        Err(error) => {
            // What stands there may be the key itself: it is not repeated.
            problems.push(Problem::error(path.field("digest"), error.to_string()).with_help(
                "`keygate keygen` prints a key and its digest line; the key itself does not belong here",
            ));
            return;
        }
    };
    let expires_at = key.expires_at.map(|at| UnixSeconds(at.timestamp()));
    let record = KeyRecord { name: key.name.as_str().into(), enabled: key.enabled, expires_at };
    if let Err(other) = table.insert(digest, record) {
        let message = format!("the same digest as key `{}`", other.name);
        problems.push(Problem::error(path.field("digest"), message));
    }
}

/// A key must be able to arrive: field values are visible ASCII, space and tab, without white space at their ends
/// (RFC 9110 §5.5).
fn check_key(key: &[u8]) -> Result<(), &'static str> {
    if key.len() > MAX_KEY_BYTES {
        return Err("is longer than 4096 bytes");
    }
    if !key.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
        return Err("has a character outside visible ASCII");
    }
    if key.trim_ascii().len() != key.len() {
        return Err("has white space at its beginning or end");
    }
    Ok(())
}

fn compile_upstreams(
    upstreams: &BTreeMap<String, config::Upstream>,
    problems: &mut Vec<Problem>,
) -> Vec<UpstreamSpec> {
    upstreams
        .iter()
        .map(|(name, upstream)| {
            let path = FieldPath::root().field("upstreams").field(name.as_str());
            compile_upstream(name, upstream, &path, problems)
        })
        .collect()
}

fn compile_upstream(
    name: &str,
    upstream: &config::Upstream,
    path: &FieldPath,
    problems: &mut Vec<Problem>,
) -> UpstreamSpec {
    let peers_path = path.field("peers");
    if upstream.peers.is_empty() || upstream.peers.len() > UpstreamSpec::MAX_PEERS {
        let message = format!(
            "upstream `{name}` has {} peers; 1 to {} can be used",
            upstream.peers.len(),
            UpstreamSpec::MAX_PEERS
        );
        problems.push(Problem::error(peers_path.clone(), message));
    }
    let mut peers: Vec<PeerSpec> = Vec::with_capacity(upstream.peers.len());
    for (at, peer) in upstream.peers.iter().enumerate() {
        match PeerAddress::parse(&peer.address) {
            Ok(address) => peers.push(PeerSpec { address, weight: peer.weight }),
            Err(what) => {
                let message = format!("upstream `{name}`: `{}` {what}", peer.address);
                problems.push(Problem::error(peers_path.index(at), message));
            }
        }
    }
    if upstream.sni.is_some() && !upstream.tls {
        problems.push(
            Problem::error(path.field("sni"), format!("upstream `{name}`: `sni` counts with TLS only"))
                .with_help("add `tls: true`"),
        );
    }
    let sni = upstream.sni.clone().filter(|sni| {
        let valid = is_host_name(sni);
        if !valid {
            problems.push(Problem::error(path.field("sni"), format!("`{sni}` is no host name")));
        }
        valid
    });
    UpstreamSpec {
        name: name.into(),
        peers,
        connect_timeout: upstream.timeouts.connect.0,
        read_timeout: upstream.timeouts.read.0,
        write_timeout: upstream.timeouts.write.0,
        idle_timeout: upstream.timeouts.idle.0,
        tls: upstream.tls,
        sni,
        host: upstream.host.as_deref().and_then(|host| compile_host(host, &path.field("host"), problems)),
    }
}

fn compile_host(host: &str, path: &FieldPath, problems: &mut Vec<Problem>) -> Option<HeaderValue> {
    let name =
        host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(name, _)| name);
    match HeaderValue::from_str(host) {
        Ok(value) if is_host(name) => Some(value),
        _ => {
            problems.push(Problem::error(path.clone(), format!("`{host}` is no host name or address")));
            None
        }
    }
}

/// A host as it stands in a `Host` field, without port.
fn is_host(name: &str) -> bool {
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    address.map_or_else(
        || is_host_name(name) || name.parse::<std::net::Ipv4Addr>().is_ok(),
        |address| address.parse::<std::net::Ipv6Addr>().is_ok(),
    )
}

fn compile_routes(config: &Config, problems: &mut Vec<Problem>) -> RouteTable {
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
    for (at, route) in config.routes.iter().enumerate() {
        let path = FieldPath::root().field("routes").index(at);
        let to = ids.get(route.upstream.as_str()).copied();
        if to.is_none() {
            problems.push(unknown_upstream(&path, &route.upstream, &config.upstreams));
        }
        let host = compile_route_host(route, &path, problems);
        let matching = compile_match(route, &path, problems);
        if let (Some(to), Ok(host), Some(matching)) = (to, host, matching) {
            if table.insert(host.as_deref(), matching, to).is_err() {
                problems.push(Problem::error(path, "another route has the same host and path"));
            }
        }
    }
    table
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
    if is_host(host) {
        return Ok(Some(host.to_ascii_lowercase()));
    }
    problems.push(
        Problem::error(path.field("host"), format!("`{host}` is no host name"))
            .with_help("write it as in a URL, without scheme and port: `api.example.com`"),
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
            problems
                .push(Problem::error(path.clone(), message).with_help("`path_prefix: /` takes every path"));
            return None;
        }
    };
    if let Some(what) = wrong_path(text) {
        problems.push(Problem::error(path.field(field), format!("`{text}` {what}")));
        return None;
    }
    if text == "/healthz" && route.path.is_some() {
        problems.push(Problem::error(
            path.field(field),
            "`/healthz` is answered by the gateway and never forwarded",
        ));
        return None;
    }
    Some(matching(text.as_bytes().to_vec()))
}

/// Why no request could ever have this path.
fn wrong_path(text: &str) -> Option<&'static str> {
    if !text.starts_with('/') {
        return Some("does not start with `/`");
    }
    if text.contains(['?', '#']) {
        return Some("has a query or fragment; routes match the path alone");
    }
    (!text.bytes().all(|byte| byte.is_ascii_graphic()))
        .then_some("has a character that must be percent-encoded in a path")
}

#[cfg(test)]
mod tests;
