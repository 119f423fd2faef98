//! Config to snapshot: what is wrong *between* the values, every problem at once.
//!
//! The only place that sees both worlds. A value that got through here cannot be wrong any more.

mod admin;
mod balance;
mod browsers;
mod credential;
mod key_rules;
mod keys;
mod limits;
mod listen;
mod route_rules;
mod routes;
mod tls;
mod trusted_proxies;
mod upstreams;

use super::keys::{KeyTable, RetiredKeys};
use super::listen::{Exposure, Startup};
use super::upstreams::is_host_name;
use super::{
    AccessLogSpec, AccessLogTarget, AuthMode, EffectiveMode, ProtocolKeys, RevokedStreams, Snapshot,
};
use crate::config::{self, Config};
use crate::problem::{FieldPath, Problem};

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
    let mut startup = listen::compile_startup(&config.proxy, &mut problems);
    startup.access_log = compile_access_log(&config.access_log, &mut problems);
    startup.admin = admin::compile_listen(config, &startup.listen, &mut problems);
    let exposure = running.unwrap_or(&startup).exposure;
    let admin_listen = running.unwrap_or(&startup).admin;
    let configured_mode = compile_mode(config.proxy.auth_mode);
    let mode = configured_mode.resolve(exposure);
    let before_keys = problems.len();
    let keys = keys::compile_keys(config, &mut problems);
    let sound_keys = (!problems.iter().skip(before_keys).any(Problem::is_error)).then_some(&keys);
    let admin_certificates = tls::compile_admin_tls(config.admin.tls.as_ref(), &mut problems);
    let admin_token = admin::compile_token(config, &keys, &mut problems);
    warn_about_access(config, (mode, exposure), sound_keys, &mut problems);
    warn_about_restart(config, (exposure, startup.exposure), sound_keys, &mut problems);
    let cors = browsers::compile_cors(config.proxy.cors.as_ref(), &mut problems);
    let allowed_hosts = browsers::compile_allowed_hosts(&config.proxy.allowed_hosts, &mut problems);
    let trusted_proxies = trusted_proxies::compile(&config.proxy, &mut problems);
    let certificates = tls::compile_tls(config.proxy.tls.as_ref(), &mut problems);
    let upstreams = upstreams::compile_upstreams(&config.upstreams, &mut problems);
    // Where it is now, and where it will be after a restart.
    admin::keep_apart(config, [admin_listen, startup.admin], &mut problems);
    let routes = routes::compile_routes(config, &mut problems);
    if problems.iter().any(Problem::is_error) {
        return Err(problems);
    }
    let snapshot = Snapshot {
        generation,
        configured_mode,
        mode,
        keys,
        retired: RetiredKeys::default(),
        key_metrics: config.admin.key_metrics,
        failed_auth: config.limits.failed_auth.as_ref().map(key_rules::compile_rate),
        revoked_streams: match config.limits.revoked_streams {
            config::RevokedStreams::Finish => RevokedStreams::Finish,
            config::RevokedStreams::Cut => RevokedStreams::Cut,
        },
        protocol_keys: match config.proxy.websocket_protocol_keys {
            true => ProtocolKeys::Count,
            false => ProtocolKeys::Ignored,
        },
        certificates,
        routes,
        upstreams,
        admin_certificates,
        admin_token,
        admin_listen,
        open_on_loopback: mode == EffectiveMode::Off && exposure == Exposure::Loopback,
        allowed_hosts,
        trusted_proxies,
        cors,
        request_limits: limits::request_limits(config),
        keepalive_timeout: config.proxy.keepalive_timeout.0,
        dns_refresh: config.proxy.dns_refresh.0,
        shutdown_grace: config.proxy.shutdown.grace.0,
        shutdown_delay: config.proxy.shutdown.delay.0,
    };
    Ok(Compiled { snapshot, startup, warnings: problems })
}

fn compile_access_log(access_log: &config::AccessLog, problems: &mut Vec<Problem>) -> Option<AccessLogSpec> {
    let target = match access_log.to.as_deref()? {
        "" => {
            let place = FieldPath::root().field("access_log").field("to");
            let problem = Problem::error(place, "`to` is empty");
            problems.push(problem.with_help("write `stdout` or the name of a file, or leave it out"));
            return None;
        }
        "stdout" => AccessLogTarget::Stdout,
        file => AccessLogTarget::File(file.into()),
    };
    Some(AccessLogSpec { target, queue: access_log.queue })
}

fn compile_mode(mode: config::AuthMode) -> AuthMode {
    match mode {
        config::AuthMode::Off => AuthMode::Off,
        config::AuthMode::Strict => AuthMode::Strict,
        config::AuthMode::AllExceptHealth => AuthMode::AllExceptHealth,
        config::AuthMode::Auto => AuthMode::Auto,
    }
}

/// `keys` is `None` where something is wrong with them: that there is none may be no more than a consequence.
fn warn_about_access(
    config: &Config,
    (mode, exposure): (EffectiveMode, Exposure),
    keys: Option<&KeyTable>,
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
    if let Some(keys) = keys {
        warn_about_no_key(config, mode, keys, problems);
    }
}

fn warn_about_no_key(config: &Config, mode: EffectiveMode, keys: &KeyTable, problems: &mut Vec<Problem>) {
    let proxy = FieldPath::root().field("proxy");
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

/// The same of what the listeners of the config will mean, where a restart changes who can connect.
fn warn_about_restart(
    config: &Config,
    (now, later): (Exposure, Exposure),
    keys: Option<&KeyTable>,
    problems: &mut Vec<Problem>,
) {
    if now == later {
        return;
    }
    let mut warnings = Vec::new();
    let mode = compile_mode(config.proxy.auth_mode).resolve(later);
    warn_about_access(config, (mode, later), keys, &mut warnings);
    warnings.retain(|warning| !problems.contains(warning));
    problems.extend(warnings.into_iter().map(|warning| Problem {
        message: format!("once the gateway is started again: {}", warning.message),
        ..warning
    }));
}

/// A host as it stands in a `Host` field, without port.
fn is_host(name: &str) -> bool {
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    address.map_or_else(
        || is_host_name(name) || name.parse::<std::net::Ipv4Addr>().is_ok(),
        |address| address.parse::<std::net::Ipv6Addr>().is_ok(),
    )
}

#[cfg(test)]
mod tests;
